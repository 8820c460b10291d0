/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/captain/ingest_world.h"

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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
