/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by ingest.c (what messages say) and ingest_write.c (how it reaches the tables); no one
 * else's.
 *
 * Nothing is written while messages come in: they leave entries here, and one call of ingest_write
 * at the end of the turn turns them into one transaction. So a transaction that fails takes nothing
 * with it: entries stay for the next try, and events are consumed from the stream once more.
 */
#pragma once

#include "captain/ingest.h"
#include "captain/io/store/device.h"
#include "common/base/ulid.h"
#include "common/loop.h"
#include "proto/messages.h"

enum {
    INGEST_EVENTS_MAX = 2048, /* of one transaction */
    INGEST_IDLE_SLICE = 8192, /* rows of one transaction that could wait: the loop must go on */
    INGEST_EVENTS_ARENA = 24 << 20,   /* what they may take decoded */
    INGEST_BEHIND_MAX = 4096,         /* devices told in one turn that events are missing */
    INGEST_MESSAGE_ARENA = 256 << 10, /* one health or telemetry message, decoded */
};
#define INGEST_SETTING_EVENTS "events_seq" /* newest message of EVENTS that the tables hold */

/* What captain keeps of a device beside its row in the fleet; indexed by the fleet's number. */
struct ingest_device {
    uint64_t content;      /* hash of the last health without its times and counters */
    uint64_t stored;       /* newest event stored of epoch */
    uint32_t id;           /* row in the tables; 0: none yet */
    uint32_t epoch;        /* hash; 0: not known */
    uint32_t garbage;      /* messages that could not be read, in all */
    uint32_t garbage_hour; /* when that was logged last */
    uint32_t changed;      /* place in ingest.changed, plus 1 */
    uint32_t idle;         /* place in ingest.idle, plus 1 */
    uint32_t acked;        /* ingest.batch in which it was */
};

/* A health with new content: written at the end of the turn. */
struct ingest_changed {
    uint32_t device;
    struct bytes health; /* owned */
};
/* What may wait for the next flush. */
struct ingest_idle {
    uint32_t device;
    bool garbage;
    int64_t telemetry_ms;
    struct bytes telemetry; /* owned; empty: none */
};
struct ingest_event {
    uint32_t device;
    struct event event; /* in events_arena, as encoded is */
    struct bytes encoded;
    uint64_t last; /* stored of its epoch after it */
    bool stored;
};
/* Says it has written more events than are stored. */
struct ingest_behind {
    uint32_t device;
    uint64_t event_seq;
    uint64_t event_first; /* the oldest it can still send; 0: not said */
    char epoch[ULID_TEXT];
};

struct ingest {
    struct loop *loop;
    struct bus *bus;
    struct bus *streams; /* where EVENTS is; bus, or one of its own */
    struct db *db;
    struct fleet *fleet;
    int64_t flush_ms;
    struct ingest_counts counts;
    struct ingest_hooks hooks;
    struct arena arena; /* of the message at hand */
    uint32_t garbage_hour;

    struct ingest_device *devices;
    uint32_t devices_cap;
    struct ingest_changed *changed;
    uint32_t changed_len, changed_cap;
    struct ingest_idle *idle;
    uint32_t idle_len, idle_cap;
    struct ingest_event *events; /* INGEST_EVENTS_MAX */
    uint32_t events_len;
    struct arena events_arena;
    struct ingest_behind *behind; /* INGEST_BEHIND_MAX */
    uint32_t behind_len;
    uint32_t *added; /* devices given a row by the transaction at hand */
    uint32_t added_len, added_cap;
    uint32_t batch;

    bool stalled;   /* events were dropped by a failed transaction */
    bool consuming; /* events are taken; false until the stream is consumed from the right place */
    uint64_t events_seen;  /* newest sequence of EVENTS that came */
    uint64_t events_saved; /* and that is in the tables */
    struct loop_timer flush_timer;
    struct loop_timer retry_timer;
    struct loop_timer stream_timer;
    bool looked;          /* in this session */
    uint64_t looked_seen; /* events_seen, and the stream's end, when it was looked at last */
    uint64_t looked_end;
    int64_t look_ms;  /* until it is looked at again */
    int64_t retry_ms; /* 0: the last transaction went well */
};

/* Arrays grow by half: doubling would cost a large fleet as much again. */
void *ingest_grow(void *old, uint32_t *cap, uint32_t want, size_t size);
struct ingest_device *ingest_device_at(struct ingest *ingest, uint32_t device);
/* Notes that the device has something for the next flush. */
struct ingest_idle *ingest_idle_at(struct ingest *ingest, uint32_t device);
void ingest_keep(struct bytes *owned, struct bytes data);

/* Hash of an epoch as ingest_device keeps it. */
uint32_t ingest_epoch_hash(const char *epoch);

/* One transaction of everything urgent (changes, events), and of the rest if idle_too; then
 * acknowledges. When it fails, that has been logged, what was pending still is, and it will be
 * tried again: the result is for those who wait for an answer. */
enum err_code ingest_write(struct ingest *ingest, bool idle_too, struct err *err);
/* The hook at the end of each turn. */
void ingest_turn_end(void *arg);
/* Tells the device the newest number of its events that is stored. */
void ingest_acknowledge(struct ingest *ingest, uint32_t device, const char *epoch, uint64_t seq);
/* Reads EVENTS from where the tables are, and keeps looking whether what it has comes. */
void ingest_consume(struct ingest *ingest);
