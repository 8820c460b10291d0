/* SPDX-License-Identifier: Apache-2.0
 *
 * The two copies of the log, compared from the end and completed. Every step is a call of the bus
 * and its answer:
 *   1. who is there?           a living captain is not pushed aside
 *   2. the stream's state      made when it is missing
 *   3. hashes at the last common entry; when they differ, the first difference is searched and told
 *   4. entries only there are checked, applied and committed here, in batches;
 *      entries only here are appended there, in batches
 * Any failure of the bus ends in a new start of the whole, which finds what was done.
 */
#include "captain/decision_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/hash.h"
#include "common/log.h"
#include "proto/codec.h"

enum { READ_ARENA_BYTES = 16 << 20, DECISION_DUPLICATES_MS = 120000 };

static void complete(struct decisions *d);

static void lose(struct decisions *d, enum err_code code, const char *text, const char *hint)
{
    struct err err = {0};
    (void)err_set(&err, code, "%s", text);
    (void)err_hint(&err, "%s", hint);
    decision_lose(d, &err);
}

static void lose_to(struct decisions *d, const char *holder, const char *folder)
{
    char text[ERR_TEXT_MAX];
    (void)snprintf(text, sizeof text, "captain %.120s with folder %.200s holds this log", holder,
                   folder);
    lose(d, ERR_CONFLICT, text, "stop it first: one captain leads a fleet");
}

/* An entry that is not where it was, or another sequence than asked for, is no silence. */
static void stream_failed(struct decisions *d, const struct err *err)
{
    if (err->code == ERR_NOT_FOUND || err->code == ERR_CONFLICT)
        decision_surprised(d, err);
    else
        decision_try_again(d, err);
}

/* The row's own hash must be that of its bytes: a damaged row is nothing to compare with. */
static bool hash_here(struct decisions *d, uint64_t seq, uint8_t ret[DIGEST_BYTES])
{
    struct err err = {0};
    struct store_log_row row;
    struct arena arena;
    arena_init(&arena, READ_ARENA_BYTES);
    enum err_code code = store_log_get(d->db, seq, &arena, &row, &err);
    if (code == ERR_OK) {
        hash_bytes(row.entry, ret);
        if (memcmp(ret, row.hash, DIGEST_BYTES) != 0)
            code = err_set(&err, ERR_HASH, "entry %" PRIu64 " of captain.db was edited", seq);
    }
    arena_fini(&arena);
    if (code != ERR_OK)
        decision_lose(d, &err);
    return code == ERR_OK;
}

/* Step 4, entries only there. */

/* The first foreign entry is the captain.started of whoever fenced us. */
static void lose_to_entry(struct decisions *d, struct bytes encoded)
{
    struct err err = {0};
    struct log_entry entry;
    struct captain_started started;
    struct arena arena;
    arena_init(&arena, READ_ARENA_BYTES);
    bool read = codec_decode(&codec_log_entry, encoded, &arena, &entry, &err) == ERR_OK;
    if (read && str_equal(entry.kind, "captain.started") &&
        codec_decode(&codec_captain_started, entry.body, &arena, &started, &err) == ERR_OK)
        lose_to(d, started.holder, started.folder);
    else
        lose_to(d, read ? entry.actor : "unknown", "unknown");
    arena_fini(&arena);
}

static bool is_flight(const struct decisions *d, uint64_t seq, struct bytes encoded)
{
    return d->flight.active && d->flight.entry.seq == seq &&
           bytes_equal(d->flight.encoded, encoded);
}

static enum err_code take_one(struct decisions *d, uint64_t seq, struct bytes encoded,
                              struct err *err)
{
    uint8_t hash[DIGEST_BYTES];
    struct log_entry entry;
    struct arena arena;
    arena_init(&arena, READ_ARENA_BYTES);
    enum err_code code = decision_read(d, seq, encoded, &arena, &entry, err);
    if (code == ERR_OK) {
        hash_bytes(encoded, hash);
        code = decision_write(d, &entry, encoded, hash, err);
    }
    if (code == ERR_OK) {
        d->last_seq = seq;
        memcpy(d->last_hash, hash, DIGEST_BYTES);
    }
    arena_fini(&arena);
    return code;
}

/* In one transaction; where it fails, last_seq no longer matters: the log is lost. */
static void take_batch(struct decisions *d)
{
    struct err err = {0};
    struct decision_batch *batch = &d->sync.batch;
    enum err_code code = ERR_OK;
    for (size_t i = 0; code == ERR_OK && i < batch->len; i++)
        code = take_one(d, batch->first + i, batch->items[i], &err);
    if (code == ERR_OK)
        code = db_commit(d->db, &err);
    if (code != ERR_OK) {
        db_rollback(d->db);
        (void)err_wrap(&err, "taking entries from stream %s", DECISION_STREAM);
        decision_lose(d, &err);
        return;
    }
    complete(d);
}

/* Ours if it is the flight whose answer was lost; else, once we lead, somebody else's. */
static void batch_fetched(struct decisions *d)
{
    struct decision_batch *batch = &d->sync.batch;
    if (batch->err.code != ERR_OK) {
        stream_failed(d, &batch->err);
        return;
    }
    if (!d->started && !d->flight.active) {
        take_batch(d);
        return;
    }
    if (!is_flight(d, batch->first, batch->items[0])) {
        lose_to_entry(d, batch->items[0]);
        return;
    }
    uint64_t serial = d->serial;
    decision_land(d);
    if (d->serial == serial)
        complete(d);
}

static void batch_part_ended(struct decisions *d, const struct err *err,
                             void (*done)(struct decisions *))
{
    struct decision_batch *batch = &d->sync.batch;
    if (err->code != ERR_OK && batch->err.code == ERR_OK)
        batch->err = *err;
    if (--batch->missing == 0)
        done(d);
}

static void on_fetched(void *arg, const struct bus_message *message, const struct err *err)
{
    struct decision_call *call = arg;
    struct decisions *d = call->decisions;
    uint64_t seq = call->seq;
    if (!decision_call_end(call))
        return;
    struct err result = *err;
    struct decision_batch *batch = &d->sync.batch;
    if (err->code == ERR_OK) {
        const void *copy = arena_dup(&batch->arena, message->data.ptr, message->data.len);
        batch->items[seq - batch->first] = bytes_of(copy, message->data.len);
        if (!copy)
            (void)err_set(&result, ERR_SIZE, "entry %" PRIu64 " is larger than an entry may be",
                          seq);
    }
    batch_part_ended(d, &result, batch_fetched);
}

static void batch_begin(struct decisions *d, uint64_t first, uint64_t last)
{
    struct decision_batch *batch = &d->sync.batch;
    uint64_t len = last - first + 1;
    /* The number of large entries on their way is bounded by the arena. */
    uint64_t most = DECISION_BATCH_BYTES / BUS_PAYLOAD_MAX;
    if (most > DECISION_BATCH)
        most = DECISION_BATCH;
    arena_reset(&batch->arena);
    batch->first = first;
    batch->len = batch->missing = (size_t)(len < most ? len : most);
    batch->err = (struct err){0};
}

static void fetch_batch(struct decisions *d)
{
    struct err err = {0};
    struct decision_batch *batch = &d->sync.batch;
    batch_begin(d, d->last_seq + 1, d->sync.theirs);
    for (size_t i = 0; i < batch->len; i++) {
        struct decision_call *call = decision_call_new(d, batch->first + i);
        if (bus_get_at(d->bus, DECISION_STREAM, call->seq, DECISION_TIMEOUT_MS, on_fetched, call,
                       &err) == ERR_OK)
            continue;
        (void)decision_call_end(call);
        decision_try_again(d, &err);
        return;
    }
}

/* Step 4, entries only here. */

static void batch_appended(struct decisions *d)
{
    struct decision_batch *batch = &d->sync.batch;
    if (batch->err.code != ERR_OK) {
        stream_failed(d, &batch->err);
        return;
    }
    d->sync.theirs = batch->first + batch->len - 1;
    d->sync.pushed += batch->len;
    complete(d);
}

static void on_appended(void *arg, uint64_t seq, bool duplicate, const struct err *err)
{
    struct decision_call *call = arg;
    struct decisions *d = call->decisions;
    struct err result = *err;
    (void)duplicate;
    if (err->code == ERR_OK && seq != call->seq)
        (void)err_set(&result, ERR_CONFLICT, "entry %" PRIu64 " was stored as %" PRIu64, call->seq,
                      seq);
    if (decision_call_end(call))
        batch_part_ended(d, &result, batch_appended);
}

static enum err_code append_one(struct decisions *d, uint64_t seq, struct err *err)
{
    char id[DECISION_ID_TEXT];
    struct store_log_row row;
    enum err_code code = store_log_get(d->db, seq, &d->sync.batch.arena, &row, err);
    if (code != ERR_OK)
        return code;
    struct bus_expect expect = {.enabled = true, .last_seq = seq - 1};
    struct decision_call *call = decision_call_new(d, seq);
    decision_message_id(seq, row.hash, id);
    code = bus_store(d->bus, DECISION_SUBJECT, row.entry, id, expect, DECISION_TIMEOUT_MS,
                     on_appended, call, err);
    if (code != ERR_OK)
        (void)decision_call_end(call);
    return code;
}

static void append_batch(struct decisions *d)
{
    struct err err = {0};
    struct decision_batch *batch = &d->sync.batch;
    batch_begin(d, d->sync.theirs + 1, d->last_seq);
    for (size_t i = 0; i < batch->len; i++) {
        if (append_one(d, batch->first + i, &err) == ERR_OK)
            continue;
        decision_try_again(d, &err);
        return;
    }
}

static void say_what_was_done(const struct decisions *d)
{
    uint64_t taken = d->last_seq - d->sync.ours_at_start;
    if (taken > 0)
        log_write(LOG_LEVEL_INFO, "log: %" PRIu64 " entries taken from the stream, up to %" PRIu64,
                  taken, d->last_seq);
    if (d->sync.pushed > 0)
        log_write(LOG_LEVEL_WARNING,
                  "log: the stream had lost %" PRIu64 " entries; appended again, up to %" PRIu64,
                  d->sync.pushed, d->last_seq);
}

static void complete(struct decisions *d)
{
    if (d->state != DECISION_SYNCING)
        return;
    if (d->sync.theirs > d->last_seq) {
        fetch_batch(d);
        return;
    }
    if (d->sync.theirs < d->last_seq) {
        append_batch(d);
        return;
    }
    say_what_was_done(d);
    decision_synced(d);
}

/* Step 3. */

static void bisect(struct decisions *d);

static void diverged(struct decisions *d)
{
    char text[ERR_TEXT_MAX];
    (void)snprintf(text, sizeof text,
                   "the log here and stream %s differ from entry %" PRIu64 " on: here %s, there %s",
                   DECISION_STREAM, d->sync.high, d->sync.hash_here, d->sync.hash_there);
    lose(d, ERR_HASH, text,
         "decide which one is true; move captain.db away or remove the stream, then start again");
}

static void on_compared(void *arg, const struct bus_message *message, const struct err *err)
{
    struct decision_call *call = arg;
    struct decisions *d = call->decisions;
    uint64_t seq = call->seq;
    uint8_t here[DIGEST_BYTES];
    uint8_t there[DIGEST_BYTES];
    if (!decision_call_end(call))
        return;
    if (err->code != ERR_OK) {
        stream_failed(d, err);
        return;
    }
    if (!hash_here(d, seq, here))
        return;
    hash_bytes(message->data, there);
    bool same = memcmp(here, there, DIGEST_BYTES) == 0;
    if (same && d->sync.high == 0) {
        complete(d);
        return;
    }
    if (same) {
        d->sync.low = seq;
    } else {
        d->sync.high = seq;
        str_hex(bytes_of(here, DIGEST_BYTES), d->sync.hash_here);
        str_hex(bytes_of(there, DIGEST_BYTES), d->sync.hash_there);
    }
    bisect(d);
}

static void compare_at(struct decisions *d, uint64_t seq)
{
    struct err err = {0};
    struct decision_call *call = decision_call_new(d, seq);
    if (bus_get_at(d->bus, DECISION_STREAM, seq, DECISION_TIMEOUT_MS, on_compared, call, &err) ==
        ERR_OK)
        return;
    (void)decision_call_end(call);
    decision_try_again(d, &err);
}

/* A chain that differs once differs in all that follows. */
static void bisect(struct decisions *d)
{
    if (d->sync.high - d->sync.low <= 1)
        diverged(d);
    else
        compare_at(d, d->sync.low + (d->sync.high - d->sync.low) / 2);
}

static void compare(struct decisions *d)
{
    struct decision_sync *sync = &d->sync;
    uint64_t common = sync->theirs < d->last_seq ? sync->theirs : d->last_seq;
    if (d->last_seq + 1 < sync->first) {
        char text[ERR_TEXT_MAX];
        (void)snprintf(text, sizeof text,
                       "captain.db ends at entry %" PRIu64 " and stream %s begins at %" PRIu64
                       ": the entries between are missing",
                       d->last_seq, DECISION_STREAM, sync->first);
        lose(d, ERR_NOT_FOUND, text, "restore captain.db from a backup");
        return;
    }
    if (common >= sync->first)
        compare_at(d, common);
    else
        complete(d);
}

/* Step 2. */

static void on_stream(void *arg, const struct bus_stream_state *state, const struct err *err)
{
    struct decision_call *call = arg;
    struct decisions *d = call->decisions;
    if (!decision_call_end(call))
        return;
    if (err->code != ERR_OK) {
        decision_try_again(d, err);
        return;
    }
    d->sync.theirs = state->last_seq;
    d->sync.first = state->messages > 0 ? state->first_seq : state->last_seq + 1;
    if (d->sync.first > 1)
        log_write(LOG_LEVEL_INFO, "log: stream %s was purged up to entry %" PRIu64, DECISION_STREAM,
                  d->sync.first - 1);
    d->sync.low = d->sync.first - 1;
    compare(d);
}

static void ensure_stream(struct decisions *d)
{
    struct err err = {0};
    struct decision_call *call = decision_call_new(d, 0);
    struct bus_stream stream = {.name = DECISION_STREAM,
                                .subject = DECISION_SUBJECT,
                                .duplicates_ms = DECISION_DUPLICATES_MS,
                                .allow_direct = true,
                                .deny_delete = true};
    if (bus_stream_ensure(d->bus, &stream, on_stream, call, &err) == ERR_OK)
        return;
    (void)decision_call_end(call);
    decision_try_again(d, &err);
}

/* Step 1. */

/* "host:pid\nfolder" */
static void somebody_is_there(struct decisions *d, struct bytes answer)
{
    char text[sizeof d->holder + sizeof d->folder + 1];
    size_t len = answer.len < sizeof text - 1 ? answer.len : sizeof text - 1;
    memcpy(text, answer.ptr, len);
    text[len] = '\0';
    char *folder = strchr(text, '\n');
    if (folder)
        *folder++ = '\0';
    if (str_equal(text, d->holder))
        ensure_stream(d);
    else
        lose_to(d, text, folder ? folder : "unknown");
}

static void on_holder(void *arg, const struct bus_message *message, const struct err *err)
{
    struct decision_call *call = arg;
    struct decisions *d = call->decisions;
    if (!decision_call_end(call))
        return;
    if (err->code == ERR_OK && message->data.len > 0)
        somebody_is_there(d, message->data);
    else
        ensure_stream(d);
}

static void ask_for_holder(struct decisions *d)
{
    struct err err = {0};
    struct decision_call *call = decision_call_new(d, 0);
    if (bus_request(d->bus, DECISION_HOLDER_SUBJECT, (struct bytes){0}, DECISION_HOLDER_WAIT_MS,
                    on_holder, call, &err) == ERR_OK)
        return;
    (void)decision_call_end(call);
    decision_try_again(d, &err);
}

void decision_sync_start(struct decisions *d)
{
    d->serial++;
    d->state = DECISION_SYNCING;
    loop_timer_stop(&d->retry);
    d->sync.ours_at_start = d->last_seq;
    d->sync.pushed = 0;
    d->sync.high = 0;
    if (d->started || d->flight.active)
        ensure_stream(d);
    else
        ask_for_holder(d);
}
