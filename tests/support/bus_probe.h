/* SPDX-License-Identifier: Apache-2.0
 *
 * A bus on a loop of its own that writes down what happens to it: for tests of the bus and of what
 * talks over one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/bus.h"
#include "common/loop.h"

enum { BUS_PROBE_TEXT_MAX = 1024, BUS_PROBE_SEQS_MAX = 64 };

struct bus_probe {
    struct loop *loop;
    struct bus *bus;
    struct err err; /* of the last call that took it */

    /* Events. */
    unsigned connected, disconnected, auth_errors, congested, relieved, slow;
    uint64_t slow_count;     /* the sum over BUS_SLOW */
    char text[ERR_TEXT_MAX]; /* of the last DISCONNECTED or AUTH_ERROR */

    /* What bus_probe_message saw. */
    unsigned messages;
    char subject[BUS_SUBJECT_MAX + 1], reply[BUS_SUBJECT_MAX + 1], data[BUS_PROBE_TEXT_MAX];
    uint64_t stream_seq;
    uint64_t seqs[BUS_PROBE_SEQS_MAX]; /* the first stream sequences */

    /* What the callbacks below were told last; ended counts every one of their calls. */
    unsigned ended;
    enum err_code code;
    char answer[BUS_PROBE_TEXT_MAX], answer_subject[BUS_SUBJECT_MAX + 1];
    uint64_t answer_seq;
    bool duplicate;
    struct bus_stream_state state;
};

/* Options without zeroes for a quick test: reconnects within 100 ms, deadlines of 500 ms. */
struct bus_options bus_probe_options(const char *url);
/* Opens loop and bus; subscribe, then bus_probe_start. options->on_event and arg are the probe's.
 */
void bus_probe_open(struct bus_probe *probe, const struct bus_options *options);
void bus_probe_subscribe(struct bus_probe *probe, const char *subject);
/* Starts and waits for the first BUS_CONNECTED; dies after 20 s. */
void bus_probe_start(struct bus_probe *probe);
void bus_probe_close(struct bus_probe *probe);

/* Turns the loop until *counter is at least value; false after ms. counter is one of the probe's.
 */
bool bus_probe_wait(struct bus_probe *probe, const unsigned *counter, unsigned value, int64_t ms);

/* The callbacks, with the probe as arg. */
void bus_probe_message(void *arg, const struct bus_message *message);
/* The same, and answers with the data it got. */
void bus_probe_echo(void *arg, const struct bus_message *message);
void bus_probe_replied(void *arg, const struct bus_message *message, const struct err *err);
void bus_probe_stored(void *arg, uint64_t seq, bool duplicate, const struct err *err);
void bus_probe_ensured(void *arg, const struct bus_stream_state *state, const struct err *err);

/* Each waits for its end (at most 10 s) and returns the code it ended with. */
enum err_code bus_probe_request(struct bus_probe *probe, const char *subject, const char *text,
                                int64_t timeout_ms);
enum err_code bus_probe_store(struct bus_probe *probe, const char *subject, const char *text,
                              const char *msg_id, struct bus_expect expect);
enum err_code bus_probe_get_last(struct bus_probe *probe, const char *stream, const char *subject);
enum err_code bus_probe_ensure(struct bus_probe *probe, const struct bus_stream *stream);
/* The same for what was just called and returned code. */
enum err_code bus_probe_end(struct bus_probe *probe, enum err_code code);
