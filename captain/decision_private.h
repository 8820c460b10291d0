/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by decision.c (one decision at a time), decision_sync.c (the two copies compared and
 * completed) and decision_verify.c (the chain here, from its start); nobody else includes it.
 */
#pragma once

#include <limits.h>

#include "captain/decision.h"
#include "captain/io/store/log.h"

#define DECISION_STREAM "LOG"
#define DECISION_SUBJECT "log.decision"
#define DECISION_HOLDER_SUBJECT "captain.holder"

enum {
    DECISION_TIMEOUT_MS = 5000,
    DECISION_HOLDER_WAIT_MS = 300, /* for a living captain to name itself */
    DECISION_BATCH = 64,           /* entries on their way at once while the copies are completed */
    DECISION_BATCH_BYTES = 48 << 20,
    DECISION_CONFLICTS_MAX = 8, /* in a row, without anything gained */
    DECISION_ID_TEXT = 40,
};

struct decision_pending {
    decision_prepare_fn prepare;
    decision_done_fn done;
    void *arg;
};

/* The decision that is being appended. Its bytes stay the same until somebody has them. */
struct decision_flight {
    bool active;
    struct decision_pending pending;
    struct arena arena;
    struct log_entry entry; /* decoded from encoded: what a recovery would see */
    struct bytes encoded;
    uint8_t hash[DIGEST_BYTES];
};

enum decision_state {
    DECISION_OFFLINE,
    DECISION_SYNCING,
    DECISION_WAITING, /* for the retry timer */
    DECISION_OPEN,    /* the copies agree; appends may go */
    DECISION_LOST,
};

/* A batch of entries that are fetched from the stream or appended to it. */
struct decision_batch {
    struct arena arena;
    struct bytes items[DECISION_BATCH];
    uint64_t first;
    size_t len, missing;
    struct err err; /* the first failure */
};

struct decision_sync {
    uint64_t ours_at_start;
    uint64_t theirs;    /* last sequence of the stream */
    uint64_t first;     /* oldest message of the stream */
    uint64_t pushed;    /* appended to the stream by this sync */
    uint64_t low, high; /* bisecting: equal at low, different at high */
    char hash_here[DIGEST_HEX], hash_there[DIGEST_HEX]; /* at high */
    struct decision_batch batch;
};

struct decision_verify {
    uint64_t next, end;
    uint8_t hash[DIGEST_BYTES]; /* of the entry before next */
    struct loop_timer timer;
};

struct decisions {
    struct loop *loop;
    struct bus *bus;
    struct db *db;
    char holder[256];
    char folder[PATH_MAX];
    struct decisions_hooks hooks;
    enum decision_state state;
    bool started;   /* our captain.started is in */
    bool announced; /* ready() was called for this connection */
    bool closed;
    uint64_t serial; /* of the sync; calls of an older one are stale */
    unsigned calls;  /* of the bus that have not ended */
    unsigned failures;
    unsigned conflicts;
    uint64_t last_seq;
    uint8_t last_hash[DIGEST_BYTES];
    struct decision_pending queue[DECISION_QUEUE_MAX];
    unsigned queue_head, queue_len;
    struct decision_flight flight;
    struct loop_timer wake, retry;
    struct decision_sync sync;
    struct decision_verify verify;
};

/* One call of the bus. */
struct decision_call {
    struct decisions *decisions;
    uint64_t serial;
    uint64_t seq;
};

struct decision_call *decision_call_new(struct decisions *d, uint64_t seq);
/* Frees the call, and the decisions when they are closed and this was the last one. True when the
 * answer is still wanted. */
bool decision_call_end(struct decision_call *call);

/* "<seq>-<first 16 digits of the hash>" */
void decision_message_id(uint64_t seq, const uint8_t hash[DIGEST_BYTES],
                         char ret[static DECISION_ID_TEXT]);
/* Decodes and checks an entry that must follow the last one of the log here. */
MUST_USE enum err_code decision_read(const struct decisions *d, uint64_t seq, struct bytes encoded,
                                     struct arena *arena, struct log_entry *ret, struct err *err);
/* Log row and projection in the open transaction. */
MUST_USE enum err_code decision_write(struct decisions *d, const struct log_entry *entry,
                                      struct bytes encoded, const uint8_t hash[DIGEST_BYTES],
                                      struct err *err);
/* The stream has the flight: commits, publishes, answers. */
void decision_land(struct decisions *d);
/* Ends all work; err is told to whoever waits. */
void decision_lose(struct decisions *d, const struct err *err);
/* Starts a sync after a while. */
void decision_try_again(struct decisions *d, const struct err *err);
/* The stream is not what we took it for. Compares again, but not for ever. */
void decision_surprised(struct decisions *d, const struct err *err);
/* decision_sync.c calls it when both copies agree. */
void decision_synced(struct decisions *d);

/* decision_verify.c: begins; what is wrong ends all work. */
void decision_verify_start(struct decisions *d);

/* decision_sync.c */
void decision_sync_start(struct decisions *d);
