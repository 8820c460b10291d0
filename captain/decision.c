/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/decision.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "captain/decision_private.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/hash.h"
#include "common/log.h"
#include "proto/codec.h"

enum {
    FLIGHT_ARENA_BYTES = 16 << 20,
    MESSAGE_HEADERS_BYTES = 4096, /* room for the bus's headers beside an entry */
    RETRY_MIN_MS = 100,
    RETRY_MAX_MS = 5000,
};

static void take_next(struct decisions *d);

struct decision_call *decision_call_new(struct decisions *d, uint64_t seq)
{
    struct decision_call *call = mem_new(1, sizeof *call);
    *call = (struct decision_call){d, d->serial, seq};
    d->calls++;
    return call;
}

static void free_all(struct decisions *d)
{
    arena_fini(&d->flight.arena);
    arena_fini(&d->sync.batch.arena);
    mem_free(d);
}

bool decision_call_end(struct decision_call *call)
{
    struct decisions *d = call->decisions;
    bool wanted = !d->closed && call->serial == d->serial;
    mem_free(call);
    d->calls--;
    if (d->closed && d->calls == 0)
        free_all(d);
    return wanted;
}

void decision_message_id(uint64_t seq, const uint8_t hash[DIGEST_BYTES],
                         char ret[static DECISION_ID_TEXT])
{
    char hex[DIGEST_HEX];
    str_hex(bytes_of(hash, DIGEST_BYTES), hex);
    (void)snprintf(ret, DECISION_ID_TEXT, "%" PRIu64 "-%.16s", seq, hex);
}

enum err_code decision_read(const struct decisions *d, uint64_t seq, struct bytes encoded,
                            struct arena *arena, struct log_entry *ret, struct err *err)
{
    enum err_code code = codec_decode(&codec_log_entry, encoded, arena, ret, err);
    if (code != ERR_OK)
        return err_wrap(err, "entry %" PRIu64 " of the log", seq);
    if (ret->seq != seq)
        return err_set(err, ERR_MALFORMED, "the entry at %" PRIu64 " calls itself %" PRIu64, seq,
                       ret->seq);
    if (!bytes_equal(ret->previous, bytes_of(d->last_hash, DIGEST_BYTES)))
        return err_set(err, ERR_HASH,
                       "the chain breaks: entry %" PRIu64 " does not follow the one before it",
                       seq);
    return ERR_OK;
}

enum err_code decision_write(struct decisions *d, const struct log_entry *entry,
                             struct bytes encoded, const uint8_t hash[DIGEST_BYTES],
                             struct err *err)
{
    enum err_code code = db_begin(d->db, err);
    if (code == ERR_OK)
        code = store_log_append(d->db, entry, encoded, hash, err);
    if (code == ERR_OK)
        code = d->hooks.apply(d->hooks.arg, entry, err);
    return code;
}

/* Ends the flight; the next may take its place before done returns. */
static void finish_flight(struct decisions *d, uint64_t seq, const struct err *err)
{
    struct decision_pending pending = d->flight.pending;
    d->flight.active = false;
    if (pending.done)
        pending.done(pending.arg, seq, err);
}

static void end_pending(struct decisions *d, const struct err *err)
{
    if (d->flight.active)
        finish_flight(d, 0, err);
    while (d->queue_len > 0) {
        struct decision_pending pending = d->queue[d->queue_head];
        d->queue_head = (d->queue_head + 1) % DECISION_QUEUE_MAX;
        d->queue_len--;
        pending.done(pending.arg, 0, err);
    }
}

void decision_lose(struct decisions *d, const struct err *err)
{
    struct err why = *err; /* it may lie in what ends here */
    if (d->state == DECISION_LOST)
        return;
    d->state = DECISION_LOST;
    d->serial++;
    loop_timer_stop(&d->wake);
    loop_timer_stop(&d->retry);
    loop_timer_stop(&d->verify.timer);
    end_pending(d, &why);
    d->hooks.lost(d->hooks.arg, &why);
}

static void on_retry(void *arg)
{
    decision_sync_start(arg);
}

void decision_try_again(struct decisions *d, const struct err *err)
{
    d->serial++;
    d->state = DECISION_WAITING;
    unsigned shift = d->failures < 6 ? d->failures : 6;
    int64_t wait_ms = (int64_t)RETRY_MIN_MS << shift;
    if (wait_ms > RETRY_MAX_MS)
        wait_ms = RETRY_MAX_MS;
    d->failures++;
    log_err("log: comparing the copies again", err);
    loop_timer_at(d->loop, &d->retry, loop_now_ms(d->loop) + wait_ms, on_retry, d);
}

void decision_land(struct decisions *d)
{
    struct err err = {0};
    struct decision_flight *flight = &d->flight;
    enum err_code code = decision_write(d, &flight->entry, flight->encoded, flight->hash, &err);
    if (code == ERR_OK)
        code = db_commit(d->db, &err);
    if (code != ERR_OK) {
        db_rollback(d->db);
        (void)err_wrap(&err, "entry %" PRIu64 " is in the stream but not in captain.db",
                       flight->entry.seq);
        (void)err_hint(&err, "the next start completes it");
        decision_lose(d, &err);
        return;
    }
    d->last_seq = flight->entry.seq;
    memcpy(d->last_hash, flight->hash, DIGEST_BYTES);
    d->failures = d->conflicts = 0;
    d->hooks.committed(d->hooks.arg, &flight->entry);
    finish_flight(d, d->last_seq, &err);
}

void decision_surprised(struct decisions *d, const struct err *err)
{
    struct err why = *err;
    if (d->conflicts++ < DECISION_CONFLICTS_MAX) {
        decision_try_again(d, &why);
        return;
    }
    (void)err_wrap(&why, "stream %s contradicts itself", DECISION_STREAM);
    why.code = ERR_CONFLICT;
    (void)err_hint(&why, "captain.db is whole: remove the stream and it is written again");
    decision_lose(d, &why);
}

static void on_stored(void *arg, uint64_t seq, bool duplicate, const struct err *err)
{
    struct decision_call *call = arg;
    struct decisions *d = call->decisions;
    (void)duplicate; /* the same bytes, stored before */
    if (!decision_call_end(call))
        return;
    if (err->code == ERR_OK && seq == d->flight.entry.seq) {
        decision_land(d);
        take_next(d);
        return;
    }
    struct err why = *err;
    if (err->code == ERR_OK)
        (void)err_set(&why, ERR_CONFLICT, "entry %" PRIu64 " was stored as %" PRIu64,
                      d->flight.entry.seq, seq);
    if (why.code == ERR_CONFLICT)
        decision_surprised(d, &why);
    else
        decision_try_again(d, &why);
}

static void send_flight(struct decisions *d)
{
    struct err err = {0};
    char id[DECISION_ID_TEXT];
    struct decision_flight *flight = &d->flight;
    struct decision_call *call = decision_call_new(d, flight->entry.seq);
    struct bus_expect expect = {.enabled = true, .last_seq = flight->entry.seq - 1};
    decision_message_id(flight->entry.seq, flight->hash, id);
    if (bus_store(d->bus, DECISION_SUBJECT, flight->encoded, id, expect, DECISION_TIMEOUT_MS,
                  on_stored, call, &err) == ERR_OK)
        return;
    (void)decision_call_end(call);
    decision_try_again(d, &err);
}

/* An entry that the tables would refuse must not get into the stream, where it could not be taken
 * back. Not while somebody else's rows wait in the transaction: a refusal would throw them away. */
static enum err_code rehearse(struct decisions *d, struct err *err)
{
    if (db_in_transaction(d->db))
        return ERR_OK;
    struct decision_flight *flight = &d->flight;
    enum err_code code = decision_write(d, &flight->entry, flight->encoded, flight->hash, err);
    db_rollback(d->db);
    return code;
}

static enum err_code encode_flight(struct decisions *d, const struct decision *decision,
                                   struct err *err)
{
    struct decision_flight *flight = &d->flight;
    struct log_entry entry = {.seq = d->last_seq + 1,
                              .previous = bytes_of(d->last_hash, DIGEST_BYTES),
                              .time_ms = clock_unix_ms(),
                              .actor = decision->actor,
                              .kind = decision->kind,
                              .subject = decision->subject,
                              .body = decision->body,
                              .reason = decision->reason,
                              .evidence = decision->evidence,
                              .evidence_len = decision->evidence_len};
    enum err_code code =
        codec_encode(&codec_log_entry, &entry, &flight->arena, &flight->encoded, err);
    if (code != ERR_OK)
        return code;
    if (flight->encoded.len > BUS_PAYLOAD_MAX - MESSAGE_HEADERS_BYTES)
        return err_set(err, ERR_SIZE, "the decision takes %zu bytes, more than one message carries",
                       flight->encoded.len);
    hash_bytes(flight->encoded, flight->hash);
    return decision_read(d, entry.seq, flight->encoded, &flight->arena, &flight->entry, err);
}

static enum err_code prepare_flight(struct decisions *d, struct err *err)
{
    struct decision decision = {0};
    struct decision_flight *flight = &d->flight;
    arena_reset(&flight->arena);
    enum err_code code =
        flight->pending.prepare(flight->pending.arg, &flight->arena, &decision, err);
    if (code == ERR_OK)
        code = encode_flight(d, &decision, err);
    if (code == ERR_OK)
        code = rehearse(d, err);
    return code;
}

static bool may_take(const struct decisions *d)
{
    return d->state == DECISION_OPEN && d->started && !d->flight.active && d->queue_len > 0;
}

static void take_next(struct decisions *d)
{
    while (may_take(d)) {
        struct err err = {0};
        d->flight.pending = d->queue[d->queue_head];
        d->queue_head = (d->queue_head + 1) % DECISION_QUEUE_MAX;
        d->queue_len--;
        d->flight.active = true;
        if (prepare_flight(d, &err) == ERR_OK)
            send_flight(d);
        else
            finish_flight(d, 0, &err);
    }
}

static enum err_code prepare_started(void *arg, struct arena *arena, struct decision *ret,
                                     struct err *err)
{
    struct decisions *d = arg;
    struct captain_started started = {
        .holder = d->holder, .folder = d->folder, .version = CAPTAIN_VERSION};
    *ret = (struct decision){.actor = arena_printf(arena, "captain:%s", d->holder),
                             .kind = "captain.started",
                             .subject = d->holder};
    return codec_encode(&codec_captain_started, &started, arena, &ret->body, err);
}

static void announce(struct decisions *d)
{
    if (d->announced)
        return;
    d->announced = true;
    d->hooks.ready(d->hooks.arg);
}

static void on_started(void *arg, uint64_t seq, const struct err *err)
{
    struct decisions *d = arg;
    if (err->code != ERR_OK)
        return; /* lost or closed: said there */
    d->started = true;
    log_write(LOG_LEVEL_INFO, "log: led by %s from entry %" PRIu64 " on", d->holder, seq);
    if (d->state == DECISION_OPEN)
        announce(d);
}

static void begin_started(struct decisions *d)
{
    struct err err = {0};
    d->flight.pending = (struct decision_pending){prepare_started, on_started, d};
    d->flight.active = true;
    if (prepare_flight(d, &err) == ERR_OK)
        send_flight(d);
    else
        decision_lose(d, &err);
}

void decision_synced(struct decisions *d)
{
    d->state = DECISION_OPEN;
    if (d->flight.active)
        send_flight(d);
    else if (!d->started)
        begin_started(d);
    if (d->started && d->state == DECISION_OPEN)
        announce(d);
    take_next(d);
}

static void on_wake(void *arg)
{
    take_next(arg);
}

enum err_code decisions_submit(struct decisions *d, decision_prepare_fn prepare,
                               decision_done_fn done, void *arg, struct err *err)
{
    if (!d->started || d->state == DECISION_LOST)
        return err_set(err, ERR_NO_CONTACT, "captain does not lead the log yet; try again");
    if (d->queue_len == DECISION_QUEUE_MAX)
        return err_set(err, ERR_FULL, "%d decisions wait already", DECISION_QUEUE_MAX);
    unsigned tail = (d->queue_head + d->queue_len++) % DECISION_QUEUE_MAX;
    d->queue[tail] = (struct decision_pending){prepare, done, arg};
    if (!d->flight.active)
        loop_timer_at(d->loop, &d->wake, loop_now_ms(d->loop), on_wake, d);
    return ERR_OK;
}

uint64_t decisions_last_seq(const struct decisions *d)
{
    return d->last_seq;
}

/* A captain that starts asks who is there. */
static void on_holder_asked(void *arg, const struct bus_message *message)
{
    struct decisions *d = arg;
    char text[sizeof d->holder + sizeof d->folder + 1];
    if (d->closed || !d->started || d->state == DECISION_LOST || !message->reply)
        return;
    int len = snprintf(text, sizeof text, "%s\n%s", d->holder, d->folder);
    struct err err = {0};
    if (bus_publish(d->bus, message->reply, bytes_of(text, (size_t)len), NULL, NULL, &err) !=
        ERR_OK)
        log_err("log: naming the holder", &err); /* the appending of the other one is refused */
}

/* Every append passes by here, ours too. One that is not ours says that we are fenced: the stream
 * is asked at once, so that a captain without decisions to take does not go on issuing for days. */
static void on_appended(void *arg, const struct bus_message *message)
{
    struct decisions *d = arg;
    struct log_entry entry;
    struct arena arena;
    if (d->closed || !d->started || d->state != DECISION_OPEN)
        return;
    if (d->flight.active && bytes_equal(message->data, d->flight.encoded))
        return;
    arena_init(&arena, FLIGHT_ARENA_BYTES);
    bool foreign = codec_decode(&codec_log_entry, message->data, &arena, &entry, NULL) != ERR_OK ||
                   entry.seq > d->last_seq;
    arena_fini(&arena);
    if (foreign)
        decision_sync_start(d);
}

void decisions_connected(struct decisions *d)
{
    if (d->state != DECISION_LOST)
        decision_sync_start(d);
}

void decisions_disconnected(struct decisions *d)
{
    if (d->state == DECISION_LOST)
        return;
    d->serial++;
    d->announced = false;
    d->state = DECISION_OFFLINE;
    loop_timer_stop(&d->retry);
}

static enum err_code fill(struct decisions *d, const char *holder, const char *folder,
                          struct err *err)
{
    if (str_copy(d->holder, sizeof d->holder, holder) != ERR_OK ||
        str_copy(d->folder, sizeof d->folder, folder) != ERR_OK)
        return err_set(err, ERR_SIZE, "the name of holder or folder is too long");
    enum err_code code = store_log_last(d->db, &d->last_seq, d->last_hash, err);
    if (code == ERR_OK)
        code = bus_subscribe(d->bus, DECISION_HOLDER_SUBJECT, on_holder_asked, d, err);
    if (code == ERR_OK)
        code = bus_subscribe(d->bus, DECISION_SUBJECT, on_appended, d, err);
    return code;
}

enum err_code decisions_open(struct loop *loop, struct bus *bus, struct db *db, const char *holder,
                             const char *folder, const struct decisions_hooks *hooks,
                             struct decisions **ret, struct err *err)
{
    struct decisions *d = mem_new(1, sizeof *d);
    d->loop = loop;
    d->bus = bus;
    d->db = db;
    d->hooks = *hooks;
    arena_init(&d->flight.arena, FLIGHT_ARENA_BYTES);
    arena_init(&d->sync.batch.arena, DECISION_BATCH_BYTES);
    enum err_code code = fill(d, holder, folder, err);
    if (code != ERR_OK) {
        free_all(d);
        return code;
    }
    decision_verify_start(d);
    *ret = d;
    return ERR_OK;
}

void decisions_close(struct decisions *d)
{
    if (!d)
        return;
    struct err unknown = {0};
    struct err undecided = {0};
    (void)err_set(&unknown, ERR_TIMEOUT, "captain ended while the decision was being taken");
    (void)err_hint(&unknown, "look whether it was taken (captain log ls) before you ask again");
    (void)err_set(&undecided, ERR_NO_CONTACT, "captain is ending; nothing was decided");
    d->closed = true;
    loop_timer_stop(&d->wake);
    loop_timer_stop(&d->retry);
    loop_timer_stop(&d->verify.timer);
    if (d->flight.active)
        finish_flight(d, 0, &unknown);
    end_pending(d, &undecided);
    if (d->calls == 0)
        free_all(d);
}
