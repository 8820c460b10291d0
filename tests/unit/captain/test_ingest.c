/* SPDX-License-Identifier: Apache-2.0 */
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
};

#define assert_ok(w, call)                                                                         \
    do {                                                                                           \
        if ((call) != ERR_OK)                                                                      \
            fail_msg("%s: %s", #call, (w)->err.text);                                              \
    } while (0)

static void on_captain_event(void *arg, enum bus_event event, const char *text, uint64_t count)
{
    struct world *w = arg;
    (void)text, (void)count;
    if (event == BUS_CONNECTED)
        ingest_connected(w->ingest);
}

static void on_device_event(void *arg, enum bus_event event, const char *text, uint64_t count)
{
    (void)arg, (void)event, (void)text, (void)count;
}

static void on_ack(void *arg, const struct bus_message *message)
{
    struct world *w = arg;
    assert_true(w->acks_len < ACKS_MAX);
    (void)snprintf(w->ack_subjects[w->acks_len], sizeof w->ack_subjects[0], "%s", message->subject);
    const void *copy = arena_dup(&w->arena, message->data.ptr, message->data.len);
    assert_ok(w, codec_decode(&codec_ack, bytes_of(copy, message->data.len), &w->arena,
                              &w->acks[w->acks_len], &w->err));
    w->acks_len++;
}

static bool captain_connected(void *arg)
{
    return bus_connected(((struct world *)arg)->bus);
}

static bool device_connected(void *arg)
{
    return bus_connected(((struct world *)arg)->device);
}

static void captain_open(struct world *w)
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
    assert_ok(w, bus_start(w->device, &w->err));
    assert_true(wait_turning(w->loop, captain_connected, w, WAIT_MS));
    assert_true(wait_turning(w->loop, device_connected, w, WAIT_MS));
}

static void captain_close(struct world *w)
{
    bus_close(w->device, 1000);
    bus_close(w->bus, 1000);
    ingest_close(w->ingest);
    fleet_free(w->fleet);
    db_close(w->db);
    loop_close(w->loop);
}

static int set_up(void **state)
{
    struct world *w = mem_new(1, sizeof *w);
    w->server = nats_server_start(NULL);
    w->dir = tempdir_make();
    arena_init(&w->arena, 16 << 20);
    captain_open(w);
    *state = w;
    return 0;
}

static int tear_down(void **state)
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

static struct health health_of(const struct app_status *app, const char *epoch, uint64_t event_seq)
{
    return (struct health){.epoch = epoch,
                           .event_seq = event_seq,
                           .sent_ms = clock_unix_ms(),
                           .interval_ms = 10000,
                           .agent_version = "0.1.0",
                           .apps = app,
                           .apps_len = app ? 1 : 0};
}

static struct app_status hello(const char *version, enum app_state state)
{
    return (struct app_status){
        .app = "hello", .channel = "stable", .state = state, .version = version, .generation = 7};
}

static void say(struct world *w, const char *subject, const struct codec_type *type,
                const void *message)
{
    struct bytes data;
    assert_ok(w, codec_encode(type, message, &w->arena, &data, &w->err));
    assert_ok(w, bus_publish(w->device, subject, data, NULL, NULL, &w->err));
}

static void on_stored(void *arg, uint64_t seq, bool duplicate, const struct err *err)
{
    struct world *w = arg;
    (void)seq, (void)duplicate;
    w->answered = true;
    w->stored = err->code == ERR_OK;
}

static bool was_answered(void *arg)
{
    return ((struct world *)arg)->answered;
}

/* Into the stream, as soon as captain has made it. */
static void store_bytes(struct world *w, const char *subject, struct bytes data)
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

static void store_event(struct world *w, const char *subject, const char *epoch, uint64_t seq)
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

static struct store_device stored_device(struct world *w, const char *name)
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

static struct ingest_counts counts_of(const struct world *w)
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

static bool counts_reached(void *arg)
{
    const struct expect *e = arg;
    const struct ingest_counts counts = counts_of(e->w);
    return counts.health >= e->health && counts.telemetry >= e->telemetry &&
           counts.events >= e->events && counts.garbage >= e->garbage && e->w->acks_len >= e->acks;
}

static void wait_for(struct expect expect)
{
    if (!wait_turning(expect.w->loop, counts_reached, &expect, WAIT_MS)) {
        const struct ingest_counts counts = counts_of(expect.w);
        fail_msg("health %llu telemetry %llu events %llu garbage %llu acks %zu",
                 (unsigned long long)counts.health, (unsigned long long)counts.telemetry,
                 (unsigned long long)counts.events, (unsigned long long)counts.garbage,
                 expect.w->acks_len);
    }
}

static void assert_last_ack(const struct world *w, const char *subject, const char *epoch,
                            uint64_t seq)
{
    assert_true(w->acks_len > 0);
    assert_string_equal(w->ack_subjects[w->acks_len - 1], subject);
    assert_string_equal(w->acks[w->acks_len - 1].epoch, epoch);
    assert_int_equal(w->acks[w->acks_len - 1].seq, seq);
}

static void test_ingest__health_reaches_counters_and_tables(void **state)
{
    struct world *w = *state;
    const struct app_status app = hello("1.0", APP_STATE_HEALTHY);
    const struct health health = health_of(&app, epoch_1, 0);
    struct fleet_count counts[2];
    say(w, "health.lab.a", &codec_health, &health);
    wait_for((struct expect){.w = w, .health = 1});
    assert_int_equal(fleet_channel_counts(w->fleet, "hello/stable", counts, 2), 1);
    assert_string_equal(counts[0].release, "hello@1.0");
    assert_int_equal(counts[0].by_state[APP_STATE_HEALTHY], 1);
    const struct store_device row = stored_device(w, "lab/a");
    struct health back;
    assert_ok(w, codec_decode(&codec_health, row.health, &w->arena, &back, &w->err));
    assert_string_equal(back.apps[0].version, "1.0");
    assert_true(row.last_seen_ms >= health.sent_ms);
    assert_int_equal(w->acks_len, 0);
}

static void test_ingest__unchanged_health_writes_only_the_time(void **state)
{
    struct world *w = *state;
    struct app_status app = hello("1.0", APP_STATE_HEALTHY);
    struct health health = health_of(&app, epoch_1, 0), back;
    const int64_t first_ms = health.sent_ms;
    say(w, "health.lab.a", &codec_health, &health);
    wait_for((struct expect){.w = w, .health = 1});
    const struct store_device before = stored_device(w, "lab/a");
    health.sent_ms += 5;
    turn_for(w->loop, 5); /* so that the time is another */
    say(w, "health.lab.a", &codec_health, &health);
    wait_for((struct expect){.w = w, .health = 2});
    const struct store_device same = stored_device(w, "lab/a");
    assert_ok(w, codec_decode(&codec_health, same.health, &w->arena, &back, &w->err));
    assert_int_equal(back.sent_ms, first_ms);
    assert_true(same.last_seen_ms > before.last_seen_ms);
    app.reason = "check web: 500";
    say(w, "health.lab.a", &codec_health, &health);
    wait_for((struct expect){.w = w, .health = 3});
    const struct store_device changed = stored_device(w, "lab/a");
    assert_ok(w, codec_decode(&codec_health, changed.health, &w->arena, &back, &w->err));
    assert_string_equal(back.apps[0].reason, "check web: 500");
}

static void test_ingest__the_fleet_is_there_again_after_a_restart(void **state)
{
    struct world *w = *state;
    const struct app_status app = hello("1.0", APP_STATE_HEALTHY);
    const struct health health = health_of(&app, epoch_1, 0);
    const struct telemetry telemetry = {.sent_ms = 1, .cpu_permille = 123};
    struct fleet_count counts[2];
    say(w, "health.lab.a", &codec_health, &health);
    say(w, "telemetry.lab.a", &codec_telemetry, &telemetry);
    store_event(w, "event.lab.a", epoch_1, 1);
    wait_for((struct expect){.w = w, .health = 1, .telemetry = 1, .events = 1});
    captain_close(w); /* flushes */
    captain_open(w);
    assert_int_equal(fleet_channel_counts(w->fleet, "hello/stable", counts, 2), 1);
    assert_int_equal(counts[0].by_state[APP_STATE_HEALTHY], 1);
    const struct store_device row = stored_device(w, "lab/a");
    assert_int_equal(row.event_seq, 1);
    assert_true(row.telemetry.len > 0);
    /* The stream is read on from there: the first is not counted twice. */
    store_event(w, "event.lab.a", epoch_1, 2);
    wait_for((struct expect){.w = w, .events = 1});
    uint64_t events = 0;
    assert_ok(w, store_event_count(w->db, &events, &w->err));
    assert_int_equal(events, 2);
    assert_int_equal(counts_of(w).events, 1);
}

static void test_ingest__events_are_acknowledged_when_stored(void **state)
{
    struct world *w = *state;
    for (uint64_t seq = 1; seq <= 5; seq++)
        store_event(w, "event.lab.a", epoch_1, seq);
    wait_for((struct expect){.w = w, .events = 5, .acks = 1});
    assert_true(
        wait_turning(w->loop, counts_reached, &(struct expect){.w = w, .events = 5}, WAIT_MS));
    turn_for(w->loop, NOTHING_MS);
    assert_last_ack(w, "ack.lab.a", epoch_1, 5);
    assert_int_equal(stored_device(w, "lab/a").events, 5);
}

static void test_ingest__gaps_and_duplicates_are_told_where_to_go_on(void **state)
{
    struct world *w = *state;
    store_event(w, "event.lab.a", epoch_1, 1);
    wait_for((struct expect){.w = w, .events = 1, .acks = 1});
    store_event(w, "event.lab.a", epoch_1, 3); /* 2 was lost */
    wait_for((struct expect){.w = w, .acks = 2});
    assert_last_ack(w, "ack.lab.a", epoch_1, 1);
    store_event(w, "event.lab.a", epoch_1, 1);
    wait_for((struct expect){.w = w, .acks = 3});
    assert_last_ack(w, "ack.lab.a", epoch_1, 1);
    store_event(w, "event.lab.a", epoch_1, 2);
    store_event(w, "event.lab.a", epoch_1, 3);
    wait_for((struct expect){.w = w, .events = 3, .acks = 5});
    assert_last_ack(w, "ack.lab.a", epoch_1, 3);
    assert_int_equal(counts_of(w).events, 3);
    store_event(w, "event.lab.a", epoch_2, 1); /* a new store of the agent counts from 1 */
    wait_for((struct expect){.w = w, .events = 4, .acks = 6});
    assert_last_ack(w, "ack.lab.a", epoch_2, 1);
}

static void test_ingest__device_that_is_ahead_is_asked_to_send_again(void **state)
{
    struct world *w = *state;
    store_event(w, "event.lab.a", epoch_1, 1);
    wait_for((struct expect){.w = w, .events = 1, .acks = 1});
    struct health health = health_of(NULL, epoch_1, 1);
    say(w, "health.lab.a", &codec_health, &health);
    wait_for((struct expect){.w = w, .health = 1});
    turn_for(w->loop, NOTHING_MS);
    assert_int_equal(w->acks_len, 1);
    health.event_seq = 4;
    say(w, "health.lab.a", &codec_health, &health);
    wait_for((struct expect){.w = w, .acks = 2});
    assert_last_ack(w, "ack.lab.a", epoch_1, 1);
    health.epoch = epoch_2;
    say(w, "health.lab.a", &codec_health, &health);
    wait_for((struct expect){.w = w, .acks = 3});
    assert_last_ack(w, "ack.lab.a", epoch_2, 0);
}

static void test_ingest__garbage_is_counted_and_harms_nothing(void **state)
{
    struct world *w = *state;
    static const uint8_t junk[] = {0xff, 0xff, 0xff, 0x07, 'x'};
    const struct bytes garbage = bytes_of(junk, sizeof junk);
    const struct app_status app = hello("1.0", APP_STATE_HEALTHY);
    const struct app_status twice[] = {app, app};
    struct health health = health_of(&app, epoch_1, 0);
    say(w, "health.lab.a", &codec_health, &health);
    assert_ok(w, bus_publish(w->device, "health.lab.a", garbage, NULL, NULL, &w->err));
    assert_ok(w, bus_publish(w->device, "telemetry.lab.a", garbage, NULL, NULL, &w->err));
    assert_ok(w, bus_publish(w->device, "health.lab.a", (struct bytes){0}, NULL, NULL, &w->err));
    assert_ok(w, bus_publish(w->device, "health.$x.a", garbage, NULL, NULL, &w->err));
    health.apps = twice; /* one channel twice */
    health.apps_len = 2;
    say(w, "health.lab.a", &codec_health, &health);
    store_bytes(w, "event.lab.a", garbage);
    store_bytes(w, "event.lab", garbage);
    store_event(w, "event.lab.a", epoch_1, 1);
    wait_for((struct expect){.w = w, .health = 1, .events = 1, .garbage = 7});
    assert_int_equal(counts_of(w).garbage, 7);
    const struct store_device row = stored_device(w, "lab/a");
    assert_int_equal(row.garbage, 5);
    assert_int_equal(row.events, 1);
    captain_close(w);
    captain_open(w);
    assert_ok(w, bus_publish(w->device, "health.lab.a", garbage, NULL, NULL, &w->err));
    wait_for((struct expect){.w = w, .garbage = 1});
    assert_int_equal(stored_device(w, "lab/a").garbage, 6); /* counted on */
}

static void run_sql(struct world *w, const char *sql)
{
    char *path = tempdir_path(w->dir, "captain.db");
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    (void)sqlite3_busy_timeout(db, 5000);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    (void)sqlite3_close(db);
    free(path);
}

static void test_ingest__nothing_is_lost_when_the_disk_takes_nothing(void **state)
{
    struct world *w = *state;
    const struct app_status app = hello("1.0", APP_STATE_HEALTHY);
    const struct health health = health_of(&app, epoch_1, 0);
    store_event(w, "event.lab.a", epoch_1, 1);
    wait_for((struct expect){.w = w, .events = 1, .acks = 1});
    run_sql(w, "CREATE TRIGGER full BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, 'disk is "
               "full'); END");
    store_event(w, "event.lab.a", epoch_1, 2);
    store_event(w, "event.lab.b", epoch_2, 1);
    say(w, "health.lab.c", &codec_health, &health);
    wait_for((struct expect){.w = w, .health = 1});
    turn_for(w->loop, NOTHING_MS);
    assert_int_equal(w->acks_len, 1); /* nothing acknowledged */
    assert_int_equal(counts_of(w).events, 1);
    run_sql(w, "DROP TRIGGER full");
    wait_for((struct expect){.w = w, .events = 3, .acks = 3});
    assert_int_equal(stored_device(w, "lab/a").events, 2);
    assert_int_equal(stored_device(w, "lab/b").events, 1);
    assert_true(stored_device(w, "lab/c").health.len > 0);
}

static int64_t count_sql(struct world *w, const char *sql)
{
    char *path = tempdir_path(w->dir, "captain.db");
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    const int64_t count = sqlite3_column_int64(stmt, 0);
    (void)sqlite3_finalize(stmt);
    (void)sqlite3_close(db);
    free(path);
    return count;
}

/* More than one slice of rows, and more than one turn of messages. */
static void test_ingest__a_large_fleet_is_written_in_slices(void **state)
{
    struct world *w = *state;
    const struct app_status app = hello("1.0", APP_STATE_HEALTHY);
    const struct health health = health_of(&app, epoch_1, 0);
    struct bytes data;
    assert_ok(w, codec_encode(&codec_health, &health, &w->arena, &data, &w->err));
    for (int i = 0; i < MANY;) {
        char subject[64];
        (void)snprintf(subject, sizeof subject, "health.lab.d%d", i);
        if (bus_publish(w->device, subject, data, NULL, NULL, &w->err) == ERR_OK)
            i++;
        else
            turn_for(w->loop, 1); /* the outbox is full */
    }
    wait_for((struct expect){.w = w, .health = MANY});
    struct fleet_totals totals;
    fleet_totals(w->fleet, clock_unix_ms(), &totals);
    assert_int_equal(totals.devices, MANY);
    assert_int_equal(totals.online, MANY);
    assert_ok(w, ingest_flush(w->ingest, &w->err));
    assert_int_equal(count_sql(w, "SELECT count(*) FROM device_seen"), MANY);
    assert_int_equal(count_sql(w, "SELECT count(*) FROM device_health"), MANY);
}

static void on_deleted(void *arg, const struct bus_message *message, const struct err *err)
{
    struct world *w = arg;
    (void)message;
    w->answered = true;
    w->stored = err->code == ERR_OK;
}

static void test_ingest__reads_a_stream_that_was_made_anew(void **state)
{
    struct world *w = *state;
    for (uint64_t seq = 1; seq <= 3; seq++)
        store_event(w, "event.lab.a", epoch_1, seq);
    wait_for((struct expect){.w = w, .events = 3});
    assert_ok(w, ingest_flush(w->ingest, &w->err));
    w->answered = false;
    assert_ok(w, bus_request(w->device, "$JS.API.STREAM.DELETE.EVENTS", (struct bytes){0}, 5000,
                             on_deleted, w, &w->err));
    assert_true(wait_turning(w->loop, was_answered, w, WAIT_MS));
    assert_true(w->stored);
    ingest_connected(w->ingest); /* as after a reconnect */
    store_event(w, "event.lab.a", epoch_1, 3);
    store_event(w, "event.lab.a", epoch_1, 4);
    wait_for((struct expect){.w = w, .events = 4});
    turn_for(w->loop, NOTHING_MS);
    assert_last_ack(w, "ack.lab.a", epoch_1, 4);
    assert_int_equal(stored_device(w, "lab/a").events, 4);
}

static void test_ingest__goes_on_after_nats_server_was_killed(void **state)
{
    struct world *w = *state;
    store_event(w, "event.lab.a", epoch_1, 1);
    wait_for((struct expect){.w = w, .events = 1});
    nats_server_kill(w->server);
    nats_server_restart(w->server, NULL);
    assert_true(wait_turning(w->loop, device_connected, w, WAIT_MS));
    const int64_t until_ms = clock_mono_ms() + WAIT_MS;
    /* The device says again what was not acknowledged; here: once it is connected for good. */
    while (counts_of(w).events < 2) {
        const struct event event = {
            .epoch = epoch_1, .seq = 2, .time_ms = 1, .kind = EVENT_KIND_FAILED};
        struct bytes data;
        assert_true(clock_mono_ms() < until_ms);
        assert_ok(w, codec_encode(&codec_event, &event, &w->arena, &data, &w->err));
        if (bus_publish(w->device, "event.lab.a", data, NULL, NULL, &w->err) != ERR_OK)
            assert_int_equal(w->err.code, ERR_NO_CONTACT);
        turn_for(w->loop, 100);
    }
    assert_int_equal(stored_device(w, "lab/a").events, 2);
}

#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(test_ingest__health_reaches_counters_and_tables),
        WORLD_TEST(test_ingest__unchanged_health_writes_only_the_time),
        WORLD_TEST(test_ingest__the_fleet_is_there_again_after_a_restart),
        WORLD_TEST(test_ingest__events_are_acknowledged_when_stored),
        WORLD_TEST(test_ingest__gaps_and_duplicates_are_told_where_to_go_on),
        WORLD_TEST(test_ingest__device_that_is_ahead_is_asked_to_send_again),
        WORLD_TEST(test_ingest__garbage_is_counted_and_harms_nothing),
        WORLD_TEST(test_ingest__nothing_is_lost_when_the_disk_takes_nothing),
        WORLD_TEST(test_ingest__a_large_fleet_is_written_in_slices),
        WORLD_TEST(test_ingest__reads_a_stream_that_was_made_anew),
        WORLD_TEST(test_ingest__goes_on_after_nats_server_was_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
