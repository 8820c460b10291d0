/* SPDX-License-Identifier: Apache-2.0
 *
 * NATS, the only file that includes nats.h. Treats the bus as a lossy transport:
 *   - one thread makes every call that may block (connect, socket writes, stream management);
 *   - messages arrive in a bounded inbox, orders leave by a bounded outbox; every callback runs on the
 *     loop thread;
 *   - it reconnects by itself, for ever: a connection that closed for any reason (auth errors too) is
 *     thrown away and a new one made after full jitter, base 250 ms doubling to reconnect_max_ms; after a
 *     session that worked the first delay is uniform in [0, reconnect_first_ms);
 *   - subscriptions are made before bus_start and live as long as the bus.
 *
 * Delivery: bus_publish is at most once. bus_request and what builds on it ends in exactly one callback:
 * a reply, or an error (ERR_TIMEOUT, ERR_NO_CONTACT, ERR_NOT_FOUND, ERR_CONFLICT ...).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/loop.h"

enum {
    BUS_SUBSCRIPTIONS_MAX = 32,
    BUS_SUBJECT_MAX = 255,
    BUS_INBOX_MAX = 65536, /* messages waiting for the loop; beyond it they are dropped and counted,
                                  requests only BUS_REQUESTS_MAX later */
    BUS_INBOX_MAX_BYTES = 64 << 20,
    BUS_OUTBOX_MAX = 16384, /* orders waiting for the bus thread; beyond it ERR_FULL */
    BUS_OUTBOX_MAX_BYTES = 64 << 20,
    BUS_REQUESTS_MAX = 4096,   /* requests without their reply yet */
    BUS_PAYLOAD_MAX = 1 << 20, /* the server's default max_payload */
};

enum bus_event {
    BUS_CONNECTED, /* subscriptions are in place: publish state, fetch state */
    BUS_DISCONNECTED, /* text says why; also when a connect failed (once a minute for the same reason) */
    BUS_CONGESTED,  /* the outbox passed three quarters */
    BUS_RELIEVED,   /* it fell below one quarter */
    BUS_SLOW,       /* the inbox dropped messages; count since the last event */
    BUS_AUTH_ERROR, /* the server refused the credentials and it will be tried again, or refused one
                         operation and the connection goes on; text says which */
};

struct bus;
typedef void (*bus_event_fn)(void *arg, enum bus_event event, const char *text, uint64_t count);

struct bus_message {
    const char *subject;
    const char *reply; /* NULL: no reply wanted */
    struct bytes data;
    uint64_t stream_seq; /* from Nats-Sequence (republished, direct get) or the consumer; 0: none */
    bool echo;           /* a stream's words: republished, or an answer that somebody wanted here */
};
/* The message is borrowed for the call. */
typedef void (*bus_message_fn)(void *arg, const struct bus_message *message);

/* message is NULL when err->code is not ERR_OK; err is never NULL. */
typedef void (*bus_reply_fn)(void *arg, const struct bus_message *message, const struct err *err);

/* seq is the stream's sequence of the stored message; duplicate: its id had been stored before. On
 * ERR_CONFLICT the expected sequence was wrong and nothing was stored; on ERR_TIMEOUT and
 * ERR_NO_CONTACT nobody knows: publish the same again. */
typedef void (*bus_stored_fn)(void *arg, uint64_t seq, bool duplicate, const struct err *err);

struct bus_options {
    const char *url;           /* nats:// or tls://, several with commas; copied, as all of these */
    const char *name;          /* of the connection, for operators */
    const char *inbox_prefix;  /* "_INBOX.x"; NULL: "_INBOX" */
    const char *creds_path;    /* NATS credentials file, or NULL; read again at each connect */
    const char *tls_ca_path;   /* PEM, or NULL: no TLS unless the url says so */
    const char *tls_cert_path; /* client certificate, or NULL */
    const char *tls_key_path;
    uint64_t seed;              /* of the jitter */
    int64_t reconnect_first_ms; /* 0: 250 */
    int64_t reconnect_max_ms;   /* 0: 300,000 */
    int64_t write_deadline_ms;  /* 0: 5,000 */
    int64_t ping_interval_ms;   /* 0: 30,000; a dead peer is noticed after about three of them */
    bool ask_version; /* for bus_server_version; needs leave for $SYS.REQ.ACCOUNT.PING.STATZ */
    bus_event_fn on_event;
    void *arg;
};

MUST_USE enum err_code bus_open(struct loop *loop, const struct bus_options *options,
                                struct bus **ret, struct err *err);
/* Before bus_start. subject may have wildcards. Each message goes to fn on the loop thread. */
MUST_USE enum err_code bus_subscribe(struct bus *bus, const char *subject, bus_message_fn fn,
                                     void *arg, struct err *err);
/* Starts the thread and the first connect. */
MUST_USE enum err_code bus_start(struct bus *bus, struct err *err);
/* Sends what is in the outbox for at most flush_ms, ends the thread, drops the rest; outstanding
 * requests end with ERR_NO_CONTACT. Against a frozen server it may take write_deadline_ms longer. Not
 * from a callback of the bus. NULL is fine. */
void bus_close(struct bus *bus, int64_t flush_ms);

bool bus_connected(const struct bus *bus);
/* The connected server's version ("2.9.10"); "" when not connected or not known (ask_version). */
const char *bus_server_version(const struct bus *bus);
/* Messages the inbox had to drop since bus_open. */
uint64_t bus_dropped(const struct bus *bus);

/* Copies data. msg_id may be NULL (becomes Nats-Msg-Id); reply may be NULL. ERR_NO_CONTACT while not
 * connected (nothing is kept for later: state is published again on BUS_CONNECTED), ERR_FULL. */
MUST_USE enum err_code bus_publish(struct bus *bus, const char *subject, struct bytes data,
                                   const char *msg_id, const char *reply, struct err *err);

/* The three below never call fn before they return; when they fail fn is never called. */
MUST_USE enum err_code bus_request(struct bus *bus, const char *subject, struct bytes data,
                                   int64_t timeout_ms, bus_reply_fn fn, void *arg, struct err *err);

/* Publishes into a stream and waits for its acknowledgement. */
struct bus_expect {
    bool enabled;
    uint64_t last_seq; /* of the whole stream; 0: the stream holds no message of this subject */
};
MUST_USE enum err_code bus_store(struct bus *bus, const char *subject, struct bytes data,
                                 const char *msg_id, struct bus_expect expect, int64_t timeout_ms,
                                 bus_stored_fn fn, void *arg, struct err *err);

/* The last message of a subject by direct get ($JS.API.DIRECT.GET.<stream>.<subject>), with the subject
 * it was stored under; ERR_NOT_FOUND when there is none, ERR_TIMEOUT when there is no such stream or it
 * does not allow direct gets (nobody says so). */
MUST_USE enum err_code bus_get_last(struct bus *bus, const char *stream, const char *subject,
                                    int64_t timeout_ms, bus_reply_fn fn, void *arg,
                                    struct err *err);
/* The message at a sequence, likewise by direct get ($JS.API.DIRECT.GET.<stream>). */
MUST_USE enum err_code bus_get_at(struct bus *bus, const char *stream, uint64_t seq,
                                  int64_t timeout_ms, bus_reply_fn fn, void *arg, struct err *err);

struct bus_stream {
    const char *name;
    const char *subject;          /* one, may have wildcards */
    int64_t max_msgs_per_subject; /* 0: no bound */
    int64_t max_bytes;            /* 0: no bound */
    int64_t max_age_ms;           /* 0: for ever */
    int64_t duplicates_ms;        /* window of Nats-Msg-Id; 0: the server's 2 min */
    bool allow_direct;
    bool deny_delete;
    bool no_ack; /* nobody who publishes into it is answered (bus_store ends with ERR_TIMEOUT) */
    const char *republish_source; /* NULL: none */
    const char *republish_dest;
};
struct bus_stream_state {
    uint64_t first_seq, last_seq, messages;
};
typedef void (*bus_stream_fn)(void *arg, const struct bus_stream_state *state,
                              const struct err *err);
/* Creates the stream or brings it to this configuration, then tells its state. The strings are copied. */
MUST_USE enum err_code bus_stream_ensure(struct bus *bus, const struct bus_stream *stream,
                                         bus_stream_fn fn, void *arg, struct err *err);

/* Every message of the stream from start_seq on, in order and without gaps of the bus's making, to fn, by
 * one ordered consumer. A slow loop loses nothing: the rest is asked for again. Ends with the connection
 * (call it again on BUS_CONNECTED); when the stream cannot be consumed the connection is closed, and
 * BUS_DISCONNECTED says why. One at a time per bus: a second call replaces the first. */
MUST_USE enum err_code bus_consume(struct bus *bus, const char *stream, uint64_t start_seq,
                                   bus_message_fn fn, void *arg, struct err *err);
