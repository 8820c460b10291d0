/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/captain/fixture.h"

#include "captain/desired.h"
#include "captain/io/store/channel.h"
#include "captain/projection.h"
#include "common/clock.h"
#include "tests/support/nats_server.h"
#include "tests/support/wait.h"

enum { WAIT_MS = 20000 };
#define DAY_MS INT64_C(86400000)

struct world {
    struct fixture f;
    struct nats_server *server;
    struct loop *loop;
    struct bus *bus;
    struct desired_publisher *publisher;
    const char *store_url;
    int64_t reissue_ms;
    uint8_t one[DIGEST_BYTES], two[DIGEST_BYTES];
    unsigned heard; /* on dn.channel.hello.stable */
    uint64_t heard_generation;
    struct desired latest;
    struct arena arena;
};

static void read_document(struct world *w, struct bytes envelope, struct desired *ret)
{
    struct sign_role role = {(const uint8_t(*)[SIGN_PUBLIC_BYTES])w->f.keys.desired.public_key, 1,
                             1};
    struct bytes payload;
    assert_ok(&w->f, sign_open(SIGN_TYPE_DESIRED, SIGN_DESIRED_MAX_BYTES, envelope, &role,
                               &w->f.arena, &payload, &w->f.err));
    assert_ok(&w->f, codec_decode(&codec_desired, payload, &w->f.arena, ret, &w->f.err));
}

static void on_republished(void *arg, const struct bus_message *message)
{
    struct world *w = arg;
    struct desired document;
    read_document(w, message->data, &document);
    assert_true(document.generation >= w->heard_generation);
    w->heard_generation = document.generation;
    w->heard++;
}

static void on_event(void *arg, enum bus_event event, const char *text, uint64_t count)
{
    struct world *w = arg;
    (void)text;
    (void)count;
    if (event == BUS_CONNECTED)
        desired_connected(w->publisher);
}

static void start(struct world *w)
{
    struct bus_options bus = {.url = nats_server_url(w->server),
                              .name = "test",
                              .seed = 1,
                              .reconnect_max_ms = 300,
                              .on_event = on_event,
                              .arg = w};
    struct desired_options options = {"default", w->store_url, 7 * DAY_MS, w->reissue_ms};
    assert_ok(&w->f, loop_open(&w->loop, &w->f.err));
    assert_ok(&w->f, bus_open(w->loop, &bus, &w->bus, &w->f.err));
    assert_ok(&w->f,
              bus_subscribe(w->bus, "dn.channel.hello.stable", on_republished, w, &w->f.err));
    assert_ok(&w->f, desired_open(w->loop, w->bus, w->f.db, &w->f.keys, &options, &w->publisher,
                                  &w->f.err));
    assert_ok(&w->f, bus_start(w->bus, &w->f.err));
}

static void stop(struct world *w)
{
    bus_close(w->bus, 1000);
    desired_close(w->publisher);
    loop_close(w->loop);
    w->bus = NULL;
}

static void apply(struct world *w, uint64_t seq, const char *kind, struct bytes body)
{
    struct log_entry entry = {.seq = seq,
                              .time_ms = FIXTURE_NOW_MS,
                              .actor = "operator:alice",
                              .kind = kind,
                              .subject = "",
                              .body = body,
                              .reason = ""};
    assert_ok(&w->f, projection_apply(w->f.db, w->f.artifacts, &entry, &w->f.err));
    assert_ok(&w->f, db_commit(w->f.db, &w->f.err));
}

static int set_up(void **state)
{
    struct world *w = mem_new(1, sizeof *w);
    fixture_open(&w->f);
    w->server = nats_server_start(NULL);
    w->store_url = "http://127.0.0.1:1";
    w->reissue_ms = DAY_MS;
    struct bytes one = fixture_release(&w->f, "hello", "1.0", 1, w->one);
    struct bytes two = fixture_release(&w->f, "hello", "1.1", 2, w->two);
    apply(w, 1, "release.created", fixture_release_body(&w->f, w->one, one));
    apply(w, 2, "release.created", fixture_release_body(&w->f, w->two, two));
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    if (w->bus)
        stop(w);
    nats_server_free(w->server);
    fixture_close(&w->f);
    mem_free(w);
    return 0;
}

static void set_channel(struct world *w, uint64_t seq, const uint8_t *digest, const uint8_t *base)
{
    struct bytes body = fixture_channel_body(&w->f, "hello", "stable", digest, base);
    apply(w, seq, "channel.set", body);
    assert_ok(&w->f, desired_issue(w->publisher, "hello", "stable", seq, &w->f.err));
    assert_ok(&w->f, db_commit(w->f.db, &w->f.err));
    desired_send(w->publisher);
}

static struct store_channel row_of(struct world *w)
{
    struct store_channel row;
    assert_ok(&w->f, store_channel_get(w->f.db, "hello", "stable", &w->f.arena, &row, &w->f.err));
    return row;
}

static bool is_heard(void *arg)
{
    return ((struct world *)arg)->heard > 0;
}

static bool is_cleared(void *arg)
{
    return !row_of(arg).unsent;
}

struct look {
    bool done;
    struct err err;
    struct world *w;
    struct bytes data;
};

static void on_look(void *arg, const struct bus_message *message, const struct err *err)
{
    struct look *look = arg;
    look->done = true;
    look->err = *err;
    if (message)
        look->data = bytes_of(arena_dup(&look->w->f.arena, message->data.ptr, message->data.len),
                              message->data.len);
}

static bool look_is_done(void *arg)
{
    return ((struct look *)arg)->done;
}

static struct bytes last_of_stream(struct world *w)
{
    struct look look = {.w = w};
    assert_ok(&w->f, bus_get_last(w->bus, "DESIRED", "desired.channel.hello.stable", WAIT_MS,
                                  on_look, &look, &w->f.err));
    assert_true(wait_turning(w->loop, look_is_done, &look, WAIT_MS));
    assert_int_equal(look.err.code, ERR_OK);
    return look.data;
}

static void admin(struct world *w, const char *subject)
{
    struct look look = {.w = w};
    assert_ok(&w->f,
              bus_request(w->bus, subject, (struct bytes){0}, WAIT_MS, on_look, &look, &w->f.err));
    assert_true(wait_turning(w->loop, look_is_done, &look, WAIT_MS));
    assert_int_equal(look.err.code, ERR_OK);
}

static void test_desired__is_signed_republished_and_confirmed(void **state)
{
    struct world *w = *state;
    struct desired document;
    start(w);
    set_channel(w, 3, w->one, NULL);
    assert_true(row_of(w).unsent);
    assert_true(wait_turning(w->loop, is_heard, w, WAIT_MS));
    assert_true(wait_turning(w->loop, is_cleared, w, WAIT_MS));
    struct store_channel row = row_of(w);
    assert_true(bytes_equal(last_of_stream(w), row.desired));
    read_document(w, row.desired, &document);
    assert_string_equal(document.tenant, "default");
    assert_string_equal(document.app, "hello");
    assert_string_equal(document.channel, "stable");
    assert_memory_equal(document.release_digest.ptr, w->one, DIGEST_BYTES);
    assert_string_equal(document.release_version, "1.0");
    assert_int_equal(document.release_sequence, 1);
    assert_int_equal(document.base_digest.len, 0);
    assert_true(document.cohort->cut == UINT64_MAX);
    assert_int_equal(document.stores_len, 1);
    assert_string_equal(document.stores[0], w->store_url);
    assert_int_equal(document.decision, 3);
    assert_int_equal(document.expires_ms - document.issued_ms, 7 * DAY_MS);
    assert_int_equal(document.generation, w->heard_generation);
}

static void test_desired__generations_rise_with_each_issue(void **state)
{
    struct world *w = *state;
    struct desired document;
    start(w);
    set_channel(w, 3, w->one, NULL);
    uint64_t first = row_of(w).generation;
    assert_true(first + 60000 > (uint64_t)clock_unix_ms());
    set_channel(w, 4, w->two, w->one);
    uint64_t second = row_of(w).generation;
    assert_true(second > first);
    assert_true(wait_turning(w->loop, is_cleared, w, WAIT_MS));
    read_document(w, last_of_stream(w), &document);
    assert_int_equal(document.generation, second);
    assert_string_equal(document.release_version, "1.1");
    assert_string_equal(document.base_version, "1.0");
    assert_memory_equal(document.base_digest.ptr, w->one, DIGEST_BYTES);
}

static void test_desired__is_sent_after_a_crash_between_commit_and_sending(void **state)
{
    struct world *w = *state;
    start(w);
    struct bytes body = fixture_channel_body(&w->f, "hello", "stable", w->one, NULL);
    apply(w, 3, "channel.set", body);
    assert_ok(&w->f, desired_issue(w->publisher, "hello", "stable", 3, &w->f.err));
    assert_ok(&w->f, db_commit(w->f.db, &w->f.err));
    stop(w); /* desired_send was never called */
    uint64_t generation = row_of(w).generation;
    start(w);
    assert_true(wait_turning(w->loop, is_cleared, w, WAIT_MS));
    assert_int_equal(w->heard_generation, generation); /* the same document */
    assert_true(bytes_equal(last_of_stream(w), row_of(w).desired));
}

static bool is_heard_again(void *arg)
{
    struct world *w = arg;
    return w->heard >= 2;
}

static void test_desired__comes_back_into_a_stream_that_lost_it(void **state)
{
    struct world *w = *state;
    start(w);
    set_channel(w, 3, w->one, NULL);
    assert_true(wait_turning(w->loop, is_cleared, w, WAIT_MS));
    admin(w, "$JS.API.STREAM.DELETE.DESIRED");
    stop(w);
    start(w);
    assert_true(wait_turning(w->loop, is_heard_again, w, WAIT_MS));
    assert_true(wait_turning(w->loop, is_cleared, w, WAIT_MS));
    assert_true(bytes_equal(last_of_stream(w), row_of(w).desired));
    admin(w, "$JS.API.STREAM.DELETE.DESIRED"); /* and while it runs */
    set_channel(w, 4, w->two, w->one);
    assert_true(wait_turning(w->loop, is_cleared, w, WAIT_MS));
    assert_true(bytes_equal(last_of_stream(w), row_of(w).desired));
}

static bool is_newer(void *arg)
{
    struct world *w = arg;
    return w->heard_generation > w->latest.generation;
}

/* Tables rebuilt while the clock was set back: devices have seen a higher generation. */
static void test_desired__rises_above_what_the_stream_has_seen(void **state)
{
    struct world *w = *state;
    start(w);
    set_channel(w, 3, w->one, NULL);
    assert_true(wait_turning(w->loop, is_cleared, w, WAIT_MS));
    struct store_channel row = row_of(w);
    uint64_t high = row.generation + 1000 * (uint64_t)DAY_MS;
    assert_ok(&w->f, store_channel_issued(w->f.db, "hello", "stable", high, row.issued_ms,
                                          row.desired, &w->f.err));
    assert_ok(&w->f, desired_issue(w->publisher, "hello", "stable", 3, &w->f.err));
    assert_ok(&w->f, db_commit(w->f.db, &w->f.err));
    desired_send(w->publisher);
    assert_true(wait_turning(w->loop, is_cleared, w, WAIT_MS));
    assert_int_equal(w->heard_generation, high + 1);
    stop(w);
    assert_ok(&w->f, store_channel_issued(w->f.db, "hello", "stable", row.generation, row.issued_ms,
                                          row.desired, &w->f.err));
    assert_ok(&w->f, db_commit(w->f.db, &w->f.err));
    w->latest.generation = high + 1;
    start(w);
    assert_true(wait_turning(w->loop, is_newer, w, WAIT_MS));
    assert_true(row_of(w).generation == high + 2);
}

static void test_desired__is_issued_again_when_the_store_moves_or_a_day_passed(void **state)
{
    struct world *w = *state;
    struct desired document;
    start(w);
    set_channel(w, 3, w->one, NULL);
    assert_true(wait_turning(w->loop, is_cleared, w, WAIT_MS));
    w->latest.generation = w->heard_generation;
    stop(w);
    w->store_url = "http://127.0.0.1:2";
    start(w);
    assert_true(wait_turning(w->loop, is_newer, w, WAIT_MS));
    read_document(w, row_of(w).desired, &document);
    assert_string_equal(document.stores[0], "http://127.0.0.1:2");
    assert_int_equal(document.decision, 3);
    w->latest.generation = w->heard_generation;
    stop(w);
    w->reissue_ms = 1500; /* a short day */
    start(w);
    assert_true(wait_turning(w->loop, is_newer, w, WAIT_MS));
    w->latest.generation = w->heard_generation;
    assert_true(wait_turning(w->loop, is_newer, w, WAIT_MS));
}

static void test_desired__survives_a_killed_server(void **state)
{
    struct world *w = *state;
    start(w);
    set_channel(w, 3, w->one, NULL);
    assert_true(wait_turning(w->loop, is_cleared, w, WAIT_MS));
    nats_server_kill(w->server);
    set_channel(w, 4, w->two, w->one);
    turn_for(w->loop, 50);
    nats_server_restart(w->server, NULL);
    assert_true(wait_turning(w->loop, is_cleared, w, WAIT_MS));
    assert_true(bytes_equal(last_of_stream(w), row_of(w).desired));
}

#define DESIRED_TEST(name) cmocka_unit_test_setup_teardown(test_desired__##name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESIRED_TEST(is_signed_republished_and_confirmed),
        DESIRED_TEST(generations_rise_with_each_issue),
        DESIRED_TEST(is_sent_after_a_crash_between_commit_and_sending),
        DESIRED_TEST(comes_back_into_a_stream_that_lost_it),
        DESIRED_TEST(rises_above_what_the_stream_has_seen),
        DESIRED_TEST(is_issued_again_when_the_store_moves_or_a_day_passed),
        DESIRED_TEST(survives_a_killed_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
