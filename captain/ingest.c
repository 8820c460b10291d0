/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/ingest.h"

#include <string.h>

#include "captain/ingest_private.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/log.h"
#include "proto/codec.h"

enum {
    DEVICE_NAME_MAX = 2 * TOKEN_MAX + 2,
    HOUR_MS = 3600 * 1000,
    STREAM_RETRY_MS = 2000,
    STREAM_LOOK_MS = 3000,
    STREAM_LOOK_MAX_MS = 10 * 60 * 1000,
};
#define EVENTS_MAX_AGE_MS (30LL * 24 * HOUR_MS)
#define EVENTS_DUPLICATES_MS (2LL * 60 * 1000)

/* Who speaks: the subject, which the server's permissions guard. The payload cannot claim another.
 */

/* "health.<site>.<device>" -> "site/device". */
static bool subject_device(const char *subject, char ret[static DEVICE_NAME_MAX])
{
    char site[TOKEN_MAX + 1];
    const char *first = strchr(subject, '.');
    const char *second = first ? strchr(first + 1, '.') : NULL;
    const size_t len = second ? (size_t)(second - first - 1) : 0;
    if (len == 0 || len > TOKEN_MAX)
        return false;
    memcpy(site, first + 1, len);
    site[len] = '\0';
    if (!str_is_token(site) || !str_is_token(second + 1))
        return false;
    memcpy(ret, site, len);
    ret[len] = '/';
    memcpy(ret + len + 1, second + 1, strlen(second + 1) + 1);
    return true;
}

/* Once per device and hour; those without a readable subject together. */
static void log_garbage(uint32_t *logged_hour, const struct bus_message *message, const char *why)
{
    const uint32_t hour = (uint32_t)(clock_unix_ms() / HOUR_MS);
    if (*logged_hour == hour)
        return;
    *logged_hour = hour;
    log_write(LOG_LEVEL_WARNING, "message on %s cannot be read: %s (said once an hour)",
              message->subject, why);
}

static void take_garbage(struct ingest *ingest, uint32_t device, const struct bus_message *message,
                         const char *why)
{
    ingest->counts.garbage++;
    if (device == FLEET_NONE) {
        log_garbage(&ingest->garbage_hour, message, why);
        return;
    }
    struct ingest_device *at = ingest_device_at(ingest, device);
    (void)fleet_garbage(ingest->fleet, device);
    if (at->garbage < UINT32_MAX)
        at->garbage++;
    fleet_seen(ingest->fleet, device, clock_unix_ms());
    ingest_idle_at(ingest, device)->garbage = true;
    log_garbage(&at->garbage_hour, message, why);
}

/* FLEET_NONE: the message has been counted as garbage, or counts for nothing. */
static uint32_t speaker(struct ingest *ingest, const struct bus_message *message)
{
    char name[DEVICE_NAME_MAX];
    if (message->echo)
        return FLEET_NONE; /* a device asked a stream, and had the answer go where another one speaks */
    if (!subject_device(message->subject, name)) {
        take_garbage(ingest, FLEET_NONE, message, "site and device are not two tokens");
        return FLEET_NONE;
    }
    const uint32_t device = fleet_add(ingest->fleet, name);
    if (device == FLEET_NONE)
        take_garbage(ingest, FLEET_NONE, message, "the fleet is full");
    else if (fleet_is_out(ingest->fleet, device))
        return FLEET_NONE; /* retired: what it says on its way out counts for nothing */
    return device;
}

/* Health. */

struct report {
    struct fleet_app_report apps[FLEET_APPS_MAX];
    char names[FLEET_APPS_MAX][2][CHANNEL_NAME_MAX];
    size_t len;
};

static const char *join(char ret[static CHANNEL_NAME_MAX], const char *left, char sep,
                        const char *right)
{
    const size_t left_len = strlen(left), right_len = strlen(right);
    if (left_len + right_len + 2 > CHANNEL_NAME_MAX)
        return NULL; /* the fleet refuses it */
    memcpy(ret, left, left_len);
    ret[left_len] = sep;
    memcpy(ret + left_len + 1, right, right_len + 1);
    return ret;
}

/* An app that follows no channel yet has no place in the counters. */
static void report_of(const struct health *health, struct report *ret)
{
    ret->len = 0;
    for (size_t i = 0; i < health->apps_len && ret->len < FLEET_APPS_MAX; i++) {
        const struct app_status *app = &health->apps[i];
        if (!app->channel[0])
            continue;
        ret->apps[ret->len] = (struct fleet_app_report){
            join(ret->names[ret->len][0], app->app, '/', app->channel),
            app->version[0] ? join(ret->names[ret->len][1], app->app, '@', app->version) : "",
            (unsigned)app->state, app->generation};
        ret->len++;
    }
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    return hash ^ (hash >> 32);
}

/* Over every message, and only in memory: eight bytes at a step, where rng_hash takes one. */
static uint64_t hash_part(uint64_t hash, const void *data, size_t len)
{
    const uint8_t *bytes = data;
    uint64_t word = 0;
    hash = mix(hash, len);
    for (; len > sizeof word; bytes += sizeof word, len -= sizeof word) {
        memcpy(&word, bytes, sizeof word);
        hash = mix(hash, word);
    }
    word = 0;
    if (len > 0)
        memcpy(&word, bytes, len);
    return mix(hash, word);
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
    return hash_part(hash, text, strlen(text));
}

static uint64_t hash_bytes_of(uint64_t hash, struct bytes bytes)
{
    return hash_part(hash, bytes.ptr, bytes.len);
}

/* All that `device show` prints; not the times and counters that every message changes. */
static uint64_t content_of(const struct health *health)
{
    uint64_t hash = hash_text(hash_text(0, health->epoch), health->agent_version);
    for (size_t i = 0; i < health->apps_len; i++) {
        const struct app_status *app = &health->apps[i];
        const uint64_t numbers[] = {(uint64_t)app->state, app->generation, app->restarts};
        hash = hash_text(hash_text(hash_text(hash, app->app), app->channel), app->version);
        hash = hash_bytes_of(hash_bytes_of(hash_text(hash, app->reason), app->digest),
                             app->desired_digest);
        hash = hash_part(hash, numbers, sizeof numbers);
        hash = hash_text(hash_text(hash, app->rollout), app->waiting);
        hash = hash_text(hash, app->pinned ? "pinned" : "");
    }
    for (size_t i = 0; i < health->labels_len; i++)
        hash = hash_text(hash_text(hash, health->labels[i].key), health->labels[i].value);
    return hash_text(hash, health->hardware);
}

static void note_changed(struct ingest *ingest, uint32_t device, struct bytes health)
{
    struct ingest_device *at = ingest_device_at(ingest, device);
    if (at->changed == 0) {
        ingest->changed = ingest_grow(ingest->changed, &ingest->changed_cap,
                                      ingest->changed_len + 1, sizeof *ingest->changed);
        ingest->changed[ingest->changed_len++] = (struct ingest_changed){.device = device};
        at->changed = ingest->changed_len;
    }
    ingest_keep(&ingest->changed[at->changed - 1].health, health);
}

static void note_behind(struct ingest *ingest, uint32_t device, const struct health *health)
{
    struct ingest_device *at = ingest_device_at(ingest, device);
    const uint32_t epoch = ingest_epoch_hash(health->epoch);
    if (health->event_seq == 0 || (at->epoch == epoch && health->event_seq <= at->stored))
        return;
    if (at->epoch != epoch) {
        struct err err = {0};
        uint64_t stored = 0;
        if (at->id &&
            store_event_last(ingest->db, at->id, health->epoch, &stored, &err) != ERR_OK) {
            log_err("the newest event of a device could not be read", &err);
            return;
        }
        at->epoch = epoch;
        at->stored = stored;
    }
    if (health->event_seq <= at->stored || ingest->behind_len == INGEST_BEHIND_MAX)
        return; /* what does not fit is said again by the next health */
    struct ingest_behind *behind = &ingest->behind[ingest->behind_len];
    *behind = (struct ingest_behind){
        .device = device, .event_seq = health->event_seq, .event_first = health->event_first};
    if (str_copy(behind->epoch, sizeof behind->epoch, health->epoch) == ERR_OK)
        ingest->behind_len++;
}

static void on_health(void *arg, const struct bus_message *message)
{
    struct ingest *ingest = arg;
    struct health health;
    struct report report;
    struct err err = {0};
    const uint32_t device = speaker(ingest, message);
    if (device == FLEET_NONE)
        return;
    arena_reset(&ingest->arena);
    if (codec_decode(&codec_health, message->data, &ingest->arena, &health, &err) != ERR_OK) {
        take_garbage(ingest, device, message, err.text);
        return;
    }
    report_of(&health, &report);
    if (fleet_report(ingest->fleet, device, clock_unix_ms(), report.apps, report.len) ==
        FLEET_REFUSED) {
        take_garbage(ingest, device, message,
                     "it names one channel twice, or more than captain can hold");
        return;
    }
    ingest->counts.health++;
    const uint64_t content = content_of(&health);
    struct ingest_device *at = ingest_device_at(ingest, device);
    if (at->content != content || at->id == 0)
        note_changed(ingest, device, message->data);
    at->content = content;
    (void)ingest_idle_at(ingest, device);
    note_behind(ingest, device, &health);
    if (ingest->hooks.health)
        ingest->hooks.health(ingest->hooks.arg, device, &health);
}

/* Telemetry. */

static void on_telemetry(void *arg, const struct bus_message *message)
{
    struct ingest *ingest = arg;
    struct telemetry telemetry;
    struct err err = {0};
    const uint32_t device = speaker(ingest, message);
    if (device == FLEET_NONE)
        return;
    arena_reset(&ingest->arena);
    if (codec_decode(&codec_telemetry, message->data, &ingest->arena, &telemetry, &err) != ERR_OK) {
        take_garbage(ingest, device, message, err.text);
        return;
    }
    const int64_t now_ms = clock_unix_ms();
    ingest->counts.telemetry++;
    fleet_seen(ingest->fleet, device, now_ms);
    struct ingest_idle *idle = ingest_idle_at(ingest, device);
    idle->telemetry_ms = now_ms;
    ingest_keep(&idle->telemetry, message->data);
    if (ingest->hooks.telemetry)
        ingest->hooks.telemetry(ingest->hooks.arg, device, &telemetry);
}

/* Events. */

static MUST_USE enum err_code keep_event(struct ingest *ingest, uint32_t device,
                                         const struct bus_message *message, struct err *err)
{
    struct ingest_event *entry = &ingest->events[ingest->events_len];
    const void *copy = arena_dup(&ingest->events_arena, message->data.ptr, message->data.len);
    if (!copy)
        return err_set(err, ERR_FULL, "the events of a turn take too much memory");
    *entry = (struct ingest_event){.device = device, .encoded = bytes_of(copy, message->data.len)};
    const enum err_code code =
        codec_decode(&codec_event, entry->encoded, &ingest->events_arena, &entry->event, err);
    if (code == ERR_OK)
        ingest->events_len++;
    return code;
}

static void on_event(void *arg, const struct bus_message *message)
{
    struct ingest *ingest = arg;
    struct err err = {0};
    /* A batch at its bound is written before the turn ends. */
    if (ingest->consuming && (ingest->events_len == INGEST_EVENTS_MAX ||
                              ingest->events_arena.used_bytes > INGEST_EVENTS_ARENA / 2))
        (void)ingest_write(ingest, false, &err);
    if (!ingest->consuming)
        return; /* the last write failed: this one comes again */
    if (message->stream_seq > ingest->events_seen)
        ingest->events_seen = message->stream_seq;
    const uint32_t device = speaker(ingest, message);
    if (device == FLEET_NONE)
        return;
    if (keep_event(ingest, device, message, &err) != ERR_OK) {
        take_garbage(ingest, device, message, err.text);
        return;
    }
    fleet_seen(ingest->fleet, device, clock_unix_ms());
    (void)ingest_idle_at(ingest, device);
}

static void ask_stream(void *arg);

static void ask_stream_in(struct ingest *ingest, int64_t wait_ms)
{
    loop_timer_at(ingest->loop, &ingest->stream_timer, loop_now_ms(ingest->loop) + wait_ms,
                  ask_stream, ingest);
}

static MUST_USE enum err_code consume(struct ingest *ingest, struct err *err)
{
    enum err_code code =
        bus_consume(ingest->streams, "EVENTS", ingest->events_saved + 1, on_event, ingest, err);
    ingest->consuming = code == ERR_OK;
    return code;
}

/* Nothing came since the last look although the stream had more then: the consumer is gone, for
 * whatever reason. */
static bool is_stuck(const struct ingest *ingest)
{
    return ingest->events_seen == ingest->looked_seen && ingest->events_seen < ingest->looked_end;
}

static MUST_USE enum err_code look_at(struct ingest *ingest, const struct bus_stream_state *state,
                                      struct err *err)
{
    enum err_code code = ERR_OK;
    const bool stuck = is_stuck(ingest);
    /* Fewer messages than were read of it before it was asked: it is another stream. Its events may
     * be new to captain, and those it knows are told from them by their numbers. */
    const bool another = state->last_seq < ingest->looked_seen;
    if (another)
        ingest->events_seen = ingest->events_saved = 0;
    if (stuck || another)
        log_write(LOG_LEVEL_WARNING, "stream EVENTS %s: reading it again",
                  another ? "was made anew" : "has events that do not come");
    if (stuck || another || !ingest->consuming)
        code = consume(ingest, err);
    /* Where the end of the stream was deleted by hand, nothing can come. */
    ingest->look_ms = stuck ? ingest->look_ms * 2 : STREAM_LOOK_MS;
    if (ingest->look_ms > STREAM_LOOK_MAX_MS)
        ingest->look_ms = STREAM_LOOK_MAX_MS;
    ingest->looked = true;
    ingest->looked_seen = ingest->events_seen;
    ingest->looked_end = state->messages > 0 ? state->last_seq : 0;
    return code;
}

static void on_stream(void *arg, const struct bus_stream_state *state, const struct err *err)
{
    struct ingest *ingest = arg;
    struct err failed = {0};
    if (!ingest->streams || !bus_connected(ingest->streams))
        return; /* ingest_connected comes again */
    if (ingest->stalled)
        return; /* the write that goes well again comes here */
    if (err->code == ERR_OK && look_at(ingest, state, &failed) == ERR_OK) {
        ask_stream_in(ingest, ingest->look_ms);
        return;
    }
    log_err("stream EVENTS cannot be read, trying again", err->code == ERR_OK ? &failed : err);
    ask_stream_in(ingest, STREAM_RETRY_MS);
}

/* Makes the stream where it is missing, and tells how far it goes. */
static void ask_stream(void *arg)
{
    struct ingest *ingest = arg;
    const struct bus_stream stream = {.name = "EVENTS",
                                      .subject = "event.>",
                                      .max_age_ms = EVENTS_MAX_AGE_MS,
                                      .duplicates_ms = EVENTS_DUPLICATES_MS,
                                      .allow_direct = true,
                                      .no_ack = ingest->streams != ingest->bus};
    struct err err = {0};
    if (!ingest->streams || !bus_connected(ingest->streams))
        return;
    if (bus_stream_ensure(ingest->streams, &stream, on_stream, ingest, &err) != ERR_OK)
        on_stream(ingest, NULL, &err);
}

void ingest_consume(struct ingest *ingest)
{
    ingest->consuming = ingest->looked = false;
    ingest->looked_seen = ingest->events_saved;
    ingest->looked_end = 0;
    ask_stream(ingest);
}

void ingest_connected(struct ingest *ingest)
{
    ingest_consume(ingest);
}

/* Open and close. */

static bool load_device(void *arg, const struct store_device *device)
{
    struct ingest *ingest = arg;
    const int64_t now_ms = clock_unix_ms();
    const uint32_t number = fleet_add(ingest->fleet, device->device);
    struct health health;
    struct report report;
    struct err err = {0};
    if (number == FLEET_NONE)
        return false;
    struct ingest_device *at = ingest_device_at(ingest, number);
    at->id = (uint32_t)device->id;
    at->garbage = device->garbage < UINT32_MAX ? (uint32_t)device->garbage : UINT32_MAX;
    at->epoch = device->epoch[0] ? ingest_epoch_hash(device->epoch) : 0;
    at->stored = device->event_seq;
    arena_reset(&ingest->arena);
    if (device->health.len &&
        codec_decode(&codec_health, device->health, &ingest->arena, &health, &err) == ERR_OK) {
        report_of(&health, &report);
        /* Now, so that the wheel stands at the present; the true time follows. */
        if (fleet_report(ingest->fleet, number, now_ms, report.apps, report.len) != FLEET_REFUSED)
            at->content = content_of(&health);
    }
    const int64_t seen_ms = device->last_seen_ms ? device->last_seen_ms : device->first_seen_ms;
    fleet_seen(ingest->fleet, number, seen_ms < now_ms ? seen_ms : now_ms);
    return true;
}

static MUST_USE enum err_code load(struct ingest *ingest, struct err *err)
{
    int64_t saved = 0;
    enum err_code code = store_device_each(ingest->db, load_device, ingest, err);
    if (code == ERR_OK)
        code = store_setting_get_int(ingest->db, INGEST_SETTING_EVENTS, 0, &saved, err);
    ingest->events_saved = ingest->events_seen = (uint64_t)saved;
    return code;
}

enum err_code ingest_open(struct loop *loop, struct bus *bus, struct db *db, struct fleet *fleet,
                          int64_t flush_ms, struct ingest **ret, struct err *err)
{
    struct ingest *ingest = mem_new(1, sizeof *ingest);
    *ingest = (struct ingest){
        .loop = loop, .bus = bus, .streams = bus, .db = db, .fleet = fleet, .flush_ms = flush_ms};
    arena_init(&ingest->arena, INGEST_MESSAGE_ARENA);
    arena_init(&ingest->events_arena, INGEST_EVENTS_ARENA);
    ingest->events = mem_new(INGEST_EVENTS_MAX, sizeof *ingest->events);
    ingest->behind = mem_new(INGEST_BEHIND_MAX, sizeof *ingest->behind);
    enum err_code code = load(ingest, err);
    if (code == ERR_OK)
        code = bus_subscribe(bus, "health.*.*", on_health, ingest, err);
    if (code == ERR_OK)
        code = bus_subscribe(bus, "telemetry.*.*", on_telemetry, ingest, err);
    if (code != ERR_OK) {
        ingest_close(ingest);
        return err_wrap(err, "what devices report");
    }
    loop_on_turn_end(loop, ingest_turn_end, ingest);
    *ret = ingest;
    return ERR_OK;
}

void ingest_streams(struct ingest *ingest, struct bus *streams)
{
    ingest->streams = streams;
}

void ingest_watch(struct ingest *ingest, const struct ingest_hooks *hooks)
{
    ingest->hooks = *hooks;
}

void ingest_close(struct ingest *ingest)
{
    struct err err = {0};
    if (!ingest)
        return;
    ingest->bus = ingest->streams = NULL; /* closed before: its callbacks come here */
    if (ingest_flush(ingest, &err) != ERR_OK)
        log_write(LOG_LEVEL_WARNING, "what devices reported last is not written");
    loop_timer_stop(&ingest->flush_timer);
    loop_timer_stop(&ingest->retry_timer);
    loop_timer_stop(&ingest->stream_timer);
    for (uint32_t i = 0; i < ingest->changed_len; i++)
        ingest_keep(&ingest->changed[i].health, (struct bytes){0});
    for (uint32_t i = 0; i < ingest->idle_len; i++)
        ingest_keep(&ingest->idle[i].telemetry, (struct bytes){0});
    mem_free(ingest->changed);
    mem_free(ingest->idle);
    mem_free(ingest->devices);
    mem_free(ingest->events);
    mem_free(ingest->behind);
    mem_free(ingest->added);
    arena_fini(&ingest->arena);
    arena_fini(&ingest->events_arena);
    mem_free(ingest);
}

enum err_code ingest_flush(struct ingest *ingest, struct err *err)
{
    enum err_code code = ingest_write(ingest, true, err);
    while (code == ERR_OK && ingest->idle_len > 0)
        code = ingest_write(ingest, true, err);
    return code;
}

void ingest_counts(const struct ingest *ingest, struct ingest_counts *ret)
{
    *ret = ingest->counts;
}

int64_t ingest_device_id(const struct ingest *ingest, uint32_t device)
{
    const uint32_t id = device < ingest->devices_cap ? ingest->devices[device].id : 0;
    return id ? (int64_t)id : -1;
}
