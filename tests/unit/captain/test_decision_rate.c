/* SPDX-License-Identifier: Apache-2.0
 *
 * Two thousand decisions in a row, each in both copies when it is answered; prints their rate
 * beside its two parts: SQLite commits with synchronous=FULL, and JetStream publishes one at a
 * time.
 */
#include "tests/unit/captain/log_actor.h"

#include "common/clock.h"

enum { DECISIONS = 2000, QUEUED = 512 };

struct world {
    struct nats_server *server;
    struct loop *loop;
    char *dir;
    struct actor a;
    unsigned stored;
    uint64_t last;
};

static double rate_of(int64_t from_ns)
{
    return DECISIONS * 1e9 / (double)(clock_mono_ns() - from_ns);
}

static double rate_decisions(struct world *w)
{
    static struct order orders[DECISIONS];
    unsigned next = 0;
    int64_t from_ns = clock_mono_ns();
    for (unsigned done = 0; done < DECISIONS;) {
        for (; next < DECISIONS && next - done < QUEUED; next++)
            order_submit(&w->a, &orders[next], "x");
        assert_true(wait_turning(w->loop, order_is_done, &orders[done], WAIT_MS));
        for (; done < next && orders[done].done; done++)
            assert_int_equal(orders[done].err.code, ERR_OK);
    }
    return rate_of(from_ns);
}

static double rate_commits(struct world *w)
{
    int64_t from_ns = clock_mono_ns();
    for (int i = 0; i < DECISIONS; i++) {
        assert_int_equal(store_setting_set_int(w->a.db, "raw", i, &w->a.err), ERR_OK);
        assert_int_equal(db_commit(w->a.db, &w->a.err), ERR_OK);
    }
    return rate_of(from_ns);
}

static void store_next(struct world *w);

static void on_stored(void *arg, uint64_t seq, bool duplicate, const struct err *err)
{
    struct world *w = arg;
    assert_int_equal(err->code, ERR_OK);
    assert_false(duplicate);
    w->last = seq;
    if (++w->stored < DECISIONS)
        store_next(w);
}

static void store_next(struct world *w)
{
    static const uint8_t data[200];
    struct bus_expect expect = {.enabled = true, .last_seq = w->last};
    if (bus_store(w->a.bus, "raw.x", bytes_of(data, sizeof data), NULL, expect, WAIT_MS, on_stored,
                  w, &w->a.err) != ERR_OK)
        fail_msg("%s", w->a.err.text);
}

static void on_stream(void *arg, const struct bus_stream_state *state, const struct err *err)
{
    (void)state;
    assert_int_equal(err->code, ERR_OK);
    store_next(arg);
}

static bool all_stored(void *arg)
{
    return ((struct world *)arg)->stored == DECISIONS;
}

static double rate_publishes(struct world *w)
{
    struct bus_stream stream = {.name = "RAW", .subject = "raw.x"};
    int64_t from_ns = clock_mono_ns();
    assert_int_equal(bus_stream_ensure(w->a.bus, &stream, on_stream, w, &w->a.err), ERR_OK);
    assert_true(wait_turning(w->loop, all_stored, w, 10 * WAIT_MS));
    return rate_of(from_ns);
}

static void test_decision__two_thousand_in_a_row(void **state)
{
    (void)state;
    struct world w = {.server = nats_server_start(NULL), .dir = tempdir_make()};
    struct err err = {0};
    assert_int_equal(loop_open(&w.loop, &err), ERR_OK);
    actor_lead(&w.a, w.loop, nats_server_url(w.server), w.dir, "one:1");
    double decisions = rate_decisions(&w);
    double commits = rate_commits(&w);
    double publishes = rate_publishes(&w);
    (void)fprintf(stderr,
                  "decisions %.0f/s; SQLite FULL commits %.0f/s; JetStream publishes one at a time "
                  "%.0f/s; both in a row %.0f/s\n",
                  decisions, commits, publishes, 1 / (1 / commits + 1 / publishes));
    assert_int_equal(setting_of(&w.a, "notes"), DECISIONS);
    assert_int_equal(decisions_last_seq(w.a.decisions), DECISIONS + 1);
    actor_close(&w.a);
    loop_close(w.loop);
    nats_server_free(w.server);
    tempdir_remove(w.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decision__two_thousand_in_a_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
