/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/captain/ingest_world.h"

#include <unistd.h>

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

/* A request of JetStream's own interface, for what captain never does. */
static void admin(struct world *w, const char *subject)
{
    w->answered = false;
    assert_ok(w, bus_request(w->device, subject, (struct bytes){0}, 5000, on_deleted, w, &w->err));
    assert_true(wait_turning(w->loop, was_answered, w, WAIT_MS));
    assert_true(w->stored);
}

static void drop_tables(struct world *w)
{
    static const char *const names[] = {"captain.db", "captain.db-wal", "captain.db-shm"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char *path = tempdir_path(w->dir, names[i]);
        (void)unlink(path);
        free(path);
    }
}

/* Tables made anew from the log, and a stream that has let go of old events: the device has deleted
 * what was acknowledged, so its next event is not number 1. */
static void test_ingest__goes_on_behind_events_that_nobody_has(void **state)
{
    struct world *w = *state;
    struct health health = health_of(NULL, epoch_1, 7);
    for (uint64_t seq = 1; seq <= 5; seq++)
        store_event(w, "event.lab.a", epoch_1, seq);
    wait_for((struct expect){.w = w, .events = 5});
    admin(w, "$JS.API.STREAM.PURGE.EVENTS");
    captain_close(w);
    drop_tables(w);
    captain_open(w);
    store_event(w, "event.lab.a", epoch_1, 6);
    store_event(w, "event.lab.a", epoch_1, 7);
    turn_for(w->loop, NOTHING_MS);
    assert_int_equal(counts_of(w).events, 0); /* 1 to 5 may still come */
    health.event_first = 6;
    const int64_t until_ms = clock_mono_ms() + WAIT_MS;
    while (counts_of(w).events < 2) {
        assert_true(clock_mono_ms() < until_ms);
        say(w, "health.lab.a", &codec_health, &health);
        store_event(w, "event.lab.a", epoch_1, 6);
        store_event(w, "event.lab.a", epoch_1, 7);
        turn_for(w->loop, 100);
    }
    assert_int_equal(stored_device(w, "lab/a").events, 2);
    assert_int_equal(stored_device(w, "lab/a").event_seq, 7);
}

/* While the stream still has them, they are waited for, whatever a device says. */
static void test_ingest__passes_over_nothing_that_the_stream_has(void **state)
{
    struct world *w = *state;
    struct health health = health_of(NULL, epoch_1, 100);
    health.event_first = 101;
    for (uint64_t seq = 1; seq <= 100; seq++)
        store_event(w, "event.lab.a", epoch_1, seq);
    wait_for((struct expect){.w = w, .events = 100});
    captain_close(w);
    drop_tables(w);
    w->acks_len = 0;
    captain_open(w);
    const int64_t until_ms = clock_mono_ms() + WAIT_MS;
    while (counts_of(w).events < 100) {
        assert_true(clock_mono_ms() < until_ms);
        say(w, "health.lab.a", &codec_health, &health);
        turn_for(w->loop, 1);
    }
    assert_int_equal(stored_device(w, "lab/a").events, 100);
}

/* Nobody tells captain: it has to look. */
static void test_ingest__makes_a_lost_stream_again(void **state)
{
    struct world *w = *state;
    for (uint64_t seq = 1; seq <= 3; seq++)
        store_event(w, "event.lab.a", epoch_1, seq);
    wait_for((struct expect){.w = w, .events = 3});
    admin(w, "$JS.API.STREAM.DELETE.EVENTS");
    store_event(w, "event.lab.a", epoch_1, 4);
    wait_for((struct expect){.w = w, .events = 4});
    assert_int_equal(stored_device(w, "lab/a").events, 4);
}

static void on_names(void *arg, const struct bus_message *message, const struct err *err)
{
    struct world *w = arg;
    static const char key[] = "\"consumers\":[\"";
    assert_int_equal(err->code, ERR_OK);
    const char *text =
        arena_printf(&w->arena, "%.*s", (int)message->data.len, (const char *)message->data.ptr);
    const char *name = strstr(text, key);
    assert_non_null(name);
    name += sizeof key - 1;
    w->consumer = arena_printf(&w->arena, "%.*s", (int)strcspn(name, "\""), name);
    w->answered = true;
}

static void test_ingest__reads_on_when_its_consumer_is_gone(void **state)
{
    struct world *w = *state;
    store_event(w, "event.lab.a", epoch_1, 1);
    wait_for((struct expect){.w = w, .events = 1});
    w->answered = false;
    assert_ok(w, bus_request(w->device, "$JS.API.CONSUMER.NAMES.EVENTS", (struct bytes){0}, 5000,
                             on_names, w, &w->err));
    assert_true(wait_turning(w->loop, was_answered, w, WAIT_MS));
    admin(w, arena_printf(&w->arena, "$JS.API.CONSUMER.DELETE.EVENTS.%s", w->consumer));
    store_event(w, "event.lab.a", epoch_1, 2);
    wait_for((struct expect){.w = w, .events = 2});
    assert_int_equal(stored_device(w, "lab/a").events, 2);
}

static bool was_asked_again(void *arg)
{
    return ((struct world *)arg)->asked >= 2;
}

static void test_ingest__asks_again_while_jetstream_is_unavailable(void **state)
{
    struct world *w = *state;
    captain_close(w);
    nats_server_stop(w->server);
    nats_server_restart(w->server, "accounts { A { users: [ { user: a, password: b } ] } }\n"
                                   "no_auth_user: a"); /* an account without JetStream */
    w->plays_jetstream = true;
    captain_open(w);
    assert_true(wait_turning(w->loop, was_asked_again, w, WAIT_MS));
    assert_true(bus_connected(w->bus));
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
        WORLD_TEST(test_ingest__reads_a_stream_that_was_made_anew),
        WORLD_TEST(test_ingest__goes_on_behind_events_that_nobody_has),
        WORLD_TEST(test_ingest__passes_over_nothing_that_the_stream_has),
        WORLD_TEST(test_ingest__makes_a_lost_stream_again),
        WORLD_TEST(test_ingest__reads_on_when_its_consumer_is_gone),
        WORLD_TEST(test_ingest__asks_again_while_jetstream_is_unavailable),
        WORLD_TEST(test_ingest__goes_on_after_nats_server_was_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
