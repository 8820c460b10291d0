/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests of the CLI to captain, one after the other: connects within the timeout, sends
 * api.<operator>.<noun>.<verb>, waits, and gives captain's error as if it had happened here. Runs
 * the loop while it waits.
 */
#pragma once

#include "captain/cli/command.h"
#include "captain/cli/context.h"
#include "common/bus.h"
#include "proto/codec.h"

struct client;

/* Connects as the invocation's flags and context say. ERR_NO_CONTACT within --timeout (5 s),
 * ERR_DENIED when the server refuses the credentials. */
MUST_USE enum err_code client_open(const struct invocation *invocation, struct client **ret,
                                   struct err *err);
/* The same, and every message on subject goes to fn while the client runs its loop. */
MUST_USE enum err_code client_open_on(const struct invocation *invocation, const char *subject,
                                      bus_message_fn fn, void *arg, struct client **ret,
                                      struct err *err);
/* Runs the loop once, waiting at most wait_ms. */
void client_turn(struct client *client, int64_t wait_ms);
/* From now on SIGINT and SIGTERM are taken note of, instead of ending the process. */
void client_catch_interrupt(struct client *client);
bool client_interrupted(const struct client *client);
void client_close(struct client *client);
/* For DEFER. */
void client_close_ref(struct client **client);

/* Sends request and fills reply, both plain structs of these types; the reply lives in arena. The
 * error of captain is passed on with its code, sentence and hint. ERR_NO_CONTACT: no captain
 * listens there; ERR_TIMEOUT: no answer, and whether it was done is not known. */
struct client_call {
    const char *noun, *verb;
    const struct codec_type *request_type;
    const void *request;
    const struct codec_type *reply_type;
    void *reply;
};
MUST_USE enum err_code client_call(struct client *client, const struct client_call *call,
                                   struct arena *arena, struct err *err);

const struct context *client_context(const struct client *client);

/* --timeout or 5 s. */
MUST_USE enum err_code client_timeout(const struct invocation *invocation, int64_t *ret_ms,
                                      struct err *err);
/* url without the user and password in it, into ret (cut to fit). */
void client_url_for_people(const char *url, char *ret, size_t ret_size);
