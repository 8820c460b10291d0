/* SPDX-License-Identifier: Apache-2.0
 *
 * The bus side of the agent: desired states in, health, telemetry and events out.
 *   - the root chain (link_root.h);
 *   - desired: the republished subject dn.channel.<app>.<channel>, and a direct get of the last
 * message on each connect and on a slow jittered timer;
 *   - health: at its interval with jitter, and at once on change (coalesced per turn, at most two a
 * second);
 *   - events: from the store's outbox in order, at most LINK_WINDOW without acknowledgement; sent
 * again from the first one missing when captain says so, after a connect, and after a timeout with
 * backoff. A row goes only when captain has stored it, so each reaches it at least once, and its id
 * lets it count once.
 */
#pragma once

#include "agent/config.h"
#include "agent/io/agent_store.h"
#include "agent/link_root.h"
#include "common/base/rng.h"
#include "common/bus.h"
#include "common/loop.h"
#include "proto/messages.h"

enum { LINK_WINDOW = 64, LINK_HEALTH_MIN_MS = 500 };

struct link;

/* In the place of an app: the document is about the device. */
#define LINK_DEVICE SIZE_MAX

struct link_owner {
    void (*desired)(void *arg, size_t app,
                    struct bytes envelope); /* app: its place in the configuration */
    void (*bus)(void *arg, bool connected);
    void (*refused)(void *arg); /* the server refused the credential; may be NULL */
    /* Fill the apps; all memory from the arena. */
    void (*health)(void *arg, struct arena *arena, struct health *ret);
    void (*telemetry)(void *arg, struct arena *arena, struct telemetry *ret);
    void *arg;
};

struct link_options {
    struct loop *loop;
    struct agent_store *store;
    const struct config *config; /* borrowed */
    struct rng *rng;
    struct link_owner owner;
    struct link_root_owner root;
};

/* Subscribes and starts to connect. */
MUST_USE enum err_code link_open(const struct link_options *options, struct link **ret,
                                 struct err *err);
/* Sends what is out for at most flush_ms. Not from a callback. NULL is fine. */
void link_close(struct link *link, int64_t flush_ms);

/* Asks captain for leave to change. answer is borrowed; NULL: none came. fn runs once, later; not
 * at all when this fails (ERR_NO_CONTACT). */
typedef void (*link_lease_fn)(void *arg, const struct lease_reply *answer);
MUST_USE enum err_code link_ask(struct link *link, const struct lease_request *request,
                                link_lease_fn fn, void *arg, struct err *err);
/* Gives a lease back; lost on a broken bus, since every lease ends by itself. */
void link_give_back(struct link *link, const struct lease_request *request);

/* As bus_request, on renew.<site>.<device>. */
MUST_USE enum err_code link_renew(struct link *link, struct bytes request, bus_reply_fn fn,
                                  void *arg, struct err *err);
/* There is a new credential: connects anew at a quiet moment, within half a minute. Without a
 * connection there is nothing to do: each connect reads the credential. */
void link_reconnect(struct link *link);

/* What health says has changed: it is sent at the end of a turn. */
void link_changed(struct link *link);
/* At the end of a turn, after its commit: sends what is due. */
void link_turn(struct link *link);
