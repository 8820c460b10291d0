/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/ingest_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/clock.h"
#include "common/log.h"
#include "proto/codec.h"

enum { RETRY_FIRST_MS = 1000, RETRY_MAX_MS = 30000, ACK_ARENA = 4096 };

void *ingest_grow(void *old, uint32_t *cap, uint32_t want, size_t size)
{
    if (want <= *cap)
        return old;
    uint32_t more = *cap + *cap / 2 + 64;
    if (more < want)
        more = want;
    void *at = mem_grow(old, *cap, more, size);
    *cap = more;
    return at;
}

struct ingest_device *ingest_device_at(struct ingest *ingest, uint32_t device)
{
    ingest->devices =
        ingest_grow(ingest->devices, &ingest->devices_cap, device + 1, sizeof *ingest->devices);
    return &ingest->devices[device];
}

void ingest_keep(struct bytes *owned, struct bytes data)
{
    mem_free((void *)(uintptr_t)owned->ptr);
    *owned = (struct bytes){0};
    if (data.len == 0)
        return;
    uint8_t *copy = mem_new(1, data.len);
    memcpy(copy, data.ptr, data.len);
    *owned = bytes_of(copy, data.len);
}

uint32_t ingest_epoch_hash(const char *epoch)
{
    const uint32_t hash = (uint32_t)rng_hash(1, epoch, strlen(epoch));
    return hash ? hash : 1;
}

static void flush_due(void *arg)
{
    struct ingest *ingest = arg;
    struct err err = {0};
    if (ingest->retry_ms == 0)
        (void)ingest_write(ingest, true, &err);
    /* The next slice in the next turn; after a failure, when it has been tried again. */
    if (ingest->idle_len > 0)
        loop_timer_at(ingest->loop, &ingest->flush_timer,
                      loop_now_ms(ingest->loop) + ingest->retry_ms, flush_due, ingest);
}

struct ingest_idle *ingest_idle_at(struct ingest *ingest, uint32_t device)
{
    struct ingest_device *at = ingest_device_at(ingest, device);
    if (at->idle == 0) {
        ingest->idle = ingest_grow(ingest->idle, &ingest->idle_cap, ingest->idle_len + 1,
                                   sizeof *ingest->idle);
        ingest->idle[ingest->idle_len++] = (struct ingest_idle){.device = device};
        at->idle = ingest->idle_len;
        if (ingest->idle_len == 1)
            loop_timer_at(ingest->loop, &ingest->flush_timer,
                          loop_now_ms(ingest->loop) + ingest->flush_ms, flush_due, ingest);
    }
    return &ingest->idle[at->idle - 1];
}

/* Writing. */

static MUST_USE enum err_code row_of(struct ingest *ingest, uint32_t device, int64_t *ret,
                                     struct err *err)
{
    struct ingest_device *at = ingest_device_at(ingest, device);
    if (at->id == 0) {
        int64_t id = 0;
        const enum err_code code = store_device_add(
            ingest->db, fleet_device_name(ingest->fleet, device), clock_unix_ms(), &id, err);
        if (code != ERR_OK)
            return code;
        if (id <= 0 || id > UINT32_MAX)
            return err_set(err, ERR_FULL, "no row is left for another device");
        ingest->added = ingest_grow(ingest->added, &ingest->added_cap, ingest->added_len + 1,
                                    sizeof *ingest->added);
        ingest->added[ingest->added_len++] = device;
        at->id = (uint32_t)id;
    }
    *ret = at->id;
    return ERR_OK;
}

static MUST_USE enum err_code write_changed(struct ingest *ingest, struct err *err)
{
    enum err_code code = ERR_OK;
    for (uint32_t i = 0; i < ingest->changed_len && code == ERR_OK; i++) {
        int64_t id = 0;
        code = row_of(ingest, ingest->changed[i].device, &id, err);
        if (code == ERR_OK)
            code = store_device_health(ingest->db, id, ingest->changed[i].health, err);
    }
    return code;
}

static MUST_USE enum err_code write_one_idle(struct ingest *ingest, const struct ingest_idle *idle,
                                             struct err *err)
{
    int64_t id = 0;
    struct fleet_row row;
    enum err_code code = row_of(ingest, idle->device, &id, err);
    if (code != ERR_OK)
        return code;
    fleet_row(ingest->fleet, idle->device, &row);
    code = store_device_seen(ingest->db, id, row.last_seen_ms, err);
    if (code == ERR_OK && idle->telemetry.len)
        code = store_device_telemetry(ingest->db, id, idle->telemetry_ms, idle->telemetry, err);
    if (code == ERR_OK && idle->garbage)
        code = store_device_garbage(ingest->db, id, ingest->devices[idle->device].garbage, err);
    return code;
}

static MUST_USE enum err_code write_events(struct ingest *ingest, struct err *err)
{
    for (uint32_t i = 0; i < ingest->events_len; i++) {
        struct ingest_event *entry = &ingest->events[i];
        enum store_event_result result;
        int64_t id = 0;
        enum err_code code = row_of(ingest, entry->device, &id, err);
        if (code == ERR_OK)
            code = store_event_add(ingest->db, id, &entry->event, entry->encoded, &result,
                                   &entry->last, err);
        if (code != ERR_OK)
            return code;
        entry->stored = result == STORE_EVENT_STORED;
        if (entry->stored && ingest->hooks.event)
            ingest->hooks.event(ingest->hooks.arg, entry->device, &entry->event);
    }
    return ERR_OK;
}

static MUST_USE enum err_code write_all(struct ingest *ingest, uint32_t idle_from, struct err *err)
{
    enum err_code code = write_changed(ingest, err);
    for (uint32_t i = idle_from; i < ingest->idle_len && code == ERR_OK; i++)
        code = write_one_idle(ingest, &ingest->idle[i], err);
    if (code == ERR_OK)
        code = write_events(ingest, err);
    if (code == ERR_OK && ingest->events_seen != ingest->events_saved)
        code = store_setting_set_int(ingest->db, INGEST_SETTING_EVENTS,
                                     (int64_t)ingest->events_seen, err);
    return code == ERR_OK ? db_commit(ingest->db, err) : code;
}

/* After the commit. */

static void forget_changed(struct ingest *ingest)
{
    for (uint32_t i = 0; i < ingest->changed_len; i++) {
        ingest->devices[ingest->changed[i].device].changed = 0;
        ingest_keep(&ingest->changed[i].health, (struct bytes){0});
    }
    ingest->changed_len = 0;
}

static void forget_idle(struct ingest *ingest, uint32_t from)
{
    for (uint32_t i = from; i < ingest->idle_len; i++) {
        ingest->devices[ingest->idle[i].device].idle = 0;
        ingest_keep(&ingest->idle[i].telemetry, (struct bytes){0});
    }
    ingest->idle_len = from;
    if (from == 0)
        loop_timer_stop(&ingest->flush_timer);
}

static void forget_events(struct ingest *ingest)
{
    ingest->events_len = 0;
    arena_reset(&ingest->events_arena);
}

void ingest_acknowledge(struct ingest *ingest, uint32_t device, const char *epoch, uint64_t seq)
{
    char subject[BUS_SUBJECT_MAX + 1];
    struct arena arena DEFER(arena_fini) = {0};
    struct err err = {0};
    struct bytes data;
    if (!ingest->bus)
        return;
    const char *name = fleet_device_name(ingest->fleet, device);
    const int site_len = (int)strcspn(name, "/");
    const struct ack ack = {.epoch = epoch, .seq = seq};
    arena_init(&arena, ACK_ARENA);
    const int len =
        snprintf(subject, sizeof subject, "ack.%.*s.%s", site_len, name, name + site_len + 1);
    if (len < 0 || (size_t)len >= sizeof subject)
        return;
    enum err_code code = codec_encode(&codec_ack, &ack, &arena, &data, &err);
    if (code == ERR_OK)
        code = bus_publish(ingest->bus, subject, data, NULL, NULL, &err);
    /* The device says with every health where it is, so what is lost here is said again. */
    if (code != ERR_OK)
        log_write(LOG_LEVEL_DEBUG, "%s: %s", subject, err.text);
}

/* One for each device: the newest of the batch, which holds for those before it. */
static void acknowledge_events(struct ingest *ingest)
{
    ingest->batch++;
    for (uint32_t i = ingest->events_len; i-- > 0;) {
        const struct ingest_event *entry = &ingest->events[i];
        struct ingest_device *at = &ingest->devices[entry->device];
        ingest->counts.events += entry->stored;
        if (at->acked == ingest->batch)
            continue;
        at->acked = ingest->batch;
        at->epoch = ingest_epoch_hash(entry->event.epoch);
        at->stored = entry->last;
        ingest_acknowledge(ingest, entry->device, entry->event.epoch, entry->last);
    }
}

static void retry_due(void *arg)
{
    struct err err = {0};
    (void)ingest_write(arg, true, &err);
}

/* Health and times stay for the next try. Events are not kept here: nothing was acknowledged, the
 * stream has them, and they are consumed again from the last one that was saved. */
static void write_failed(struct ingest *ingest, const struct err *err)
{
    db_rollback(ingest->db);
    if (ingest->hooks.rolled_back)
        ingest->hooks.rolled_back(ingest->hooks.arg);
    for (uint32_t i = 0; i < ingest->added_len; i++)
        ingest->devices[ingest->added[i]].id = 0;
    if (ingest->events_seen != ingest->events_saved) {
        ingest->stalled = true;
        ingest->consuming = false;
    }
    forget_events(ingest);
    ingest->events_seen = ingest->events_saved;
    log_err("what devices report could not be written, trying again", err);
    ingest->retry_ms = ingest->retry_ms ? ingest->retry_ms * 2 : RETRY_FIRST_MS;
    if (ingest->retry_ms > RETRY_MAX_MS)
        ingest->retry_ms = RETRY_MAX_MS;
    loop_timer_at(ingest->loop, &ingest->retry_timer, loop_now_ms(ingest->loop) + ingest->retry_ms,
                  retry_due, ingest);
}

static bool anything(const struct ingest *ingest, bool idle_too)
{
    return ingest->changed_len || ingest->events_len ||
           (idle_too && (ingest->idle_len || ingest->events_seen != ingest->events_saved));
}

enum err_code ingest_write(struct ingest *ingest, bool idle_too, struct err *err)
{
    const uint32_t slice =
        ingest->idle_len < INGEST_IDLE_SLICE ? ingest->idle_len : INGEST_IDLE_SLICE;
    const uint32_t idle_from = ingest->idle_len - (idle_too ? slice : 0);
    ingest->added_len = 0;
    const enum err_code code =
        anything(ingest, idle_too) || ingest->retry_ms ? write_all(ingest, idle_from, err) : ERR_OK;
    if (code != ERR_OK) {
        write_failed(ingest, err);
        return code;
    }
    if (ingest->retry_ms)
        log_write(LOG_LEVEL_INFO, "what devices report is written again");
    ingest->retry_ms = 0;
    loop_timer_stop(&ingest->retry_timer);
    ingest->events_saved = ingest->events_seen;
    forget_changed(ingest);
    acknowledge_events(ingest);
    forget_events(ingest);
    forget_idle(ingest, idle_from);
    const bool stalled = ingest->stalled;
    ingest->stalled = false;
    if (stalled)
        ingest_consume(ingest);
    return ERR_OK;
}

/* The stream has been read up to where it ended at the last look. */
static bool is_read(const struct ingest *ingest)
{
    return ingest->looked && ingest->consuming && ingest->retry_ms == 0 &&
           ingest->events_seen >= ingest->looked_end;
}

/* Captain's tables are older than what it acknowledged once, and the stream has let go of what lies
 * between. Nobody can send it again, so nothing later would ever be the next one. */
static MUST_USE enum err_code skip_lost(struct ingest *ingest, const struct ingest_behind *behind,
                                        struct err *err)
{
    struct ingest_device *at = &ingest->devices[behind->device];
    if (at->id == 0 || at->epoch != ingest_epoch_hash(behind->epoch) ||
        behind->event_first <= at->stored + 1 || behind->event_first > behind->event_seq + 1)
        return ERR_OK;
    const enum err_code code =
        store_event_skip(ingest->db, at->id, behind->epoch, behind->event_first - 1, err);
    if (code != ERR_OK)
        return code;
    log_write(LOG_LEVEL_WARNING,
              "events %" PRIu64 " to %" PRIu64 " of %s are lost: neither it "
              "nor stream EVENTS has them any more",
              at->stored + 1, behind->event_first - 1,
              fleet_device_name(ingest->fleet, behind->device));
    at->stored = behind->event_first - 1;
    return ERR_OK;
}

static void skip_all_lost(struct ingest *ingest)
{
    struct err err = {0};
    enum err_code code = ERR_OK;
    if (ingest->behind_len == 0 || !is_read(ingest))
        return;
    for (uint32_t i = 0; i < ingest->behind_len && code == ERR_OK; i++)
        code = skip_lost(ingest, &ingest->behind[i], &err);
    if (code == ERR_OK)
        code = db_commit(ingest->db, &err);
    if (code != ERR_OK) {
        db_rollback(ingest->db);
        log_err("events that are lost could not be passed over", &err);
        for (uint32_t i = 0; i < ingest->behind_len; i++)
            ingest->devices[ingest->behind[i].device].epoch = 0; /* read again */
        ingest->behind_len = 0;
    }
}

/* A device is behind when its newest event is still not stored after this turn's were. */
static void answer_behind(struct ingest *ingest)
{
    for (uint32_t i = 0; i < ingest->behind_len; i++) {
        const struct ingest_behind *behind = &ingest->behind[i];
        const struct ingest_device *at = &ingest->devices[behind->device];
        if (at->epoch == ingest_epoch_hash(behind->epoch) && at->stored < behind->event_seq)
            ingest_acknowledge(ingest, behind->device, behind->epoch, at->stored);
    }
    ingest->behind_len = 0;
}

void ingest_settle(struct ingest *ingest)
{
    struct err err = {0};
    /* After a failure the retry timer decides when to write. */
    if (ingest->retry_ms == 0 && anything(ingest, false))
        (void)ingest_write(ingest, false, &err);
}

void ingest_turn_end(void *arg)
{
    struct ingest *ingest = arg;
    ingest_settle(ingest);
    skip_all_lost(ingest);
    answer_behind(ingest);
}
