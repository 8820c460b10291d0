/* SPDX-License-Identifier: Apache-2.0
 *
 * Captain's edge with real tables, and a device's side of the bus, for the tests of ingest.
 */
#pragma once

#include "captain/ingest.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "captain/io/store/device.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "proto/codec.h"
#include "tests/support/nats_server.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"
#include "tests/unit/captain/assert_ok.h"

enum {
    WAIT_MS = 20000,
    FLUSH_MS = 50,
    ONLINE_MS = 90000,
    NOTHING_MS = 300,
    ACKS_MAX = 256,
    MANY = 20000
};
static const char epoch_1[] = "01HF7YAT00AAAAAAAAAAAAAAAA";
static const char epoch_2[] = "01HF7YAT00BBBBBBBBBBBBBBBB";

/* Captain's edge and a device's side of the bus, on one loop. */
struct world {
    struct nats_server *server;
    char *dir;
    struct loop *loop;
    struct arena arena;
    struct err err;
    struct db *db;
    struct fleet *fleet;
    struct bus *bus;
    struct ingest *ingest;
    struct bus *device;
    struct ack acks[ACKS_MAX];
    char ack_subjects[ACKS_MAX][64];
    size_t acks_len;
    bool stored, answered;
    const char *consumer;
    bool plays_jetstream;
    unsigned asked; /* for stream EVENTS, of the JetStream played */
};

static inline void on_captain_event(void *arg, enum bus_event event, const char *text,
                                    uint64_t count)
{
    struct world *w = arg;
    (void)text, (void)count;
    if (event == BUS_CONNECTED)
        ingest_connected(w->ingest);
}

static inline void on_device_event(void *arg, enum bus_event event, const char *text,
                                   uint64_t count)
{
    (void)arg, (void)event, (void)text, (void)count;
}

static inline void on_ack(void *arg, const struct bus_message *message)
{
    struct world *w = arg;
    assert_true(w->acks_len < ACKS_MAX);
    (void)snprintf(w->ack_subjects[w->acks_len], sizeof w->ack_subjects[0], "%s", message->subject);
    const void *copy = arena_dup(&w->arena, message->data.ptr, message->data.len);
    assert_ok(w, codec_decode(&codec_ack, bytes_of(copy, message->data.len), &w->arena,
                              &w->acks[w->acks_len], &w->err));
    w->acks_len++;
}

/* The device plays a JetStream that is not there yet: 503, on a connection that stays. */
static inline void on_create(void *arg, const struct bus_message *message)
{
    struct world *w = arg;
    static const char refusal[] = "{\"error\":{\"code\":503,\"err_code\":10008,\"description\":"
                                  "\"JetStream system temporarily unavailable\"}}";
    w->asked++;
    if (message->reply)
        assert_ok(w, bus_publish(w->device, message->reply, bytes_of(refusal, sizeof refusal - 1),
                                 NULL, NULL, &w->err));
}

static inline bool captain_connected(void *arg)
{
    return bus_connected(((struct world *)arg)->bus);
}

static inline bool device_connected(void *arg)
{
    return bus_connected(((struct world *)arg)->device);
}

static inline void captain_open(struct world *w)
{
    const struct bus_options options = {.url = nats_server_url(w->server),
                                        .name = "captain",
                                        .seed = 1,
                                        .reconnect_max_ms = 200,
                                        .on_event = on_captain_event,
                                        .arg = w};
    assert_ok(w, loop_open(&w->loop, &w->err));
    assert_ok(w, store_open(w->dir, &w->db, &w->err));
    w->fleet = fleet_new(MANY, ONLINE_MS);
    assert_ok(w, bus_open(w->loop, &options, &w->bus, &w->err));
    assert_ok(w, ingest_open(w->loop, w->bus, w->db, w->fleet, FLUSH_MS, &w->ingest, &w->err));
    assert_ok(w, bus_start(w->bus, &w->err));

    const struct bus_options other = {.url = nats_server_url(w->server),
                                      .name = "device",
                                      .seed = 2,
                                      .reconnect_max_ms = 200,
                                      .on_event = on_device_event,
                                      .arg = w};
    assert_ok(w, bus_open(w->loop, &other, &w->device, &w->err));
    assert_ok(w, bus_subscribe(w->device, "ack.>", on_ack, w, &w->err));
    if (w->plays_jetstream)
        assert_ok(w,
                  bus_subscribe(w->device, "$JS.API.STREAM.CREATE.EVENTS", on_create, w, &w->err));
    assert_ok(w, bus_start(w->device, &w->err));
    assert_true(wait_turning(w->loop, captain_connected, w, WAIT_MS));
    assert_true(wait_turning(w->loop, device_connected, w, WAIT_MS));
}

static inline void captain_close(struct world *w)
{
    bus_close(w->device, 1000);
    bus_close(w->bus, 1000);
    ingest_close(w->ingest);
    fleet_free(w->fleet);
    db_close(w->db);
    loop_close(w->loop);
}

static inline int set_up(void **state)
{
    struct world *w = mem_new(1, sizeof *w);
    w->server = nats_server_start(NULL);
    w->dir = tempdir_make();
    arena_init(&w->arena, 16 << 20);
    captain_open(w);
    *state = w;
    return 0;
}

static inline int tear_down(void **state)
{
    struct world *w = *state;
    captain_close(w);
    nats_server_free(w->server);
    tempdir_remove(w->dir);
    arena_fini(&w->arena);
    mem_free(w);
    return 0;
}

/* What the device says. */

static inline struct health health_of(const struct app_status *app, const char *epoch,
                                      uint64_t event_seq)
{
    return (struct health){.epoch = epoch,
                           .event_seq = event_seq,
                           .sent_ms = clock_unix_ms(),
                           .interval_ms = 10000,
                           .agent_version = "0.1.0",
                           .apps = app,
                           .apps_len = app ? 1 : 0};
}

static inline struct app_status hello(const char *version, enum app_state state)
{
    return (struct app_status){
        .app = "hello", .channel = "stable", .state = state, .version = version, .generation = 7};
}

static inline void say(struct world *w, const char *subject, const struct codec_type *type,
                       const void *message)
{
    struct bytes data;
    assert_ok(w, codec_encode(type, message, &w->arena, &data, &w->err));
    assert_ok(w, bus_publish(w->device, subject, data, NULL, NULL, &w->err));
}

static inline void on_stored(void *arg, uint64_t seq, bool duplicate, const struct err *err)
{
    struct world *w = arg;
    (void)seq, (void)duplicate;
    w->answered = true;
    w->stored = err->code == ERR_OK;
}

static inline bool was_answered(void *arg)
{
    return ((struct world *)arg)->answered;
}

/* Into the stream, as soon as captain has made it. */
static inline void store_bytes(struct world *w, const char *subject, struct bytes data)
{
    const int64_t until_ms = clock_mono_ms() + WAIT_MS;
    for (w->stored = false; !w->stored;) {
        assert_true(clock_mono_ms() < until_ms);
        w->answered = false;
        assert_ok(w, bus_store(w->device, subject, data, NULL, (struct bus_expect){0}, 1000,
                               on_stored, w, &w->err));
        assert_true(wait_turning(w->loop, was_answered, w, WAIT_MS));
    }
}

static inline void store_event(struct world *w, const char *subject, const char *epoch,
                               uint64_t seq)
{
    const struct event event = {.epoch = epoch,
                                .seq = seq,
                                .time_ms = clock_unix_ms(),
                                .kind = EVENT_KIND_CONFIRMED,
                                .app = "hello",
                                .channel = "stable",
                                .version = "1.1"};
    struct bytes data;
    assert_ok(w, codec_encode(&codec_event, &event, &w->arena, &data, &w->err));
    store_bytes(w, subject, data);
}

/* What captain made of it. */

static inline struct store_device stored_device(struct world *w, const char *name)
{
    struct store_device row = {0};
    const uint32_t device = fleet_find(w->fleet, name);
    assert_int_not_equal(device, FLEET_NONE);
    assert_ok(w, ingest_flush(w->ingest, &w->err));
    const int64_t id = ingest_device_id(w->ingest, device);
    assert_true(id > 0);
    assert_ok(w, store_device_get(w->db, id, &w->arena, &row, &w->err));
    return row;
}

static inline struct ingest_counts counts_of(const struct world *w)
{
    struct ingest_counts counts;
    ingest_counts(w->ingest, &counts);
    return counts;
}

struct expect {
    struct world *w;
    uint64_t health, telemetry, events, garbage;
    size_t acks;
};

static inline bool counts_reached(void *arg)
{
    const struct expect *e = arg;
    const struct ingest_counts counts = counts_of(e->w);
    return counts.health >= e->health && counts.telemetry >= e->telemetry &&
           counts.events >= e->events && counts.garbage >= e->garbage && e->w->acks_len >= e->acks;
}

static inline void wait_for(struct expect expect)
{
    if (!wait_turning(expect.w->loop, counts_reached, &expect, WAIT_MS)) {
        const struct ingest_counts counts = counts_of(expect.w);
        fail_msg("health %llu telemetry %llu events %llu garbage %llu acks %zu",
                 (unsigned long long)counts.health, (unsigned long long)counts.telemetry,
                 (unsigned long long)counts.events, (unsigned long long)counts.garbage,
                 expect.w->acks_len);
    }
}

static inline void assert_last_ack(const struct world *w, const char *subject, const char *epoch,
                                   uint64_t seq)
{
    assert_true(w->acks_len > 0);
    assert_string_equal(w->ack_subjects[w->acks_len - 1], subject);
    assert_string_equal(w->acks[w->acks_len - 1].epoch, epoch);
    assert_int_equal(w->acks[w->acks_len - 1].seq, seq);
}
