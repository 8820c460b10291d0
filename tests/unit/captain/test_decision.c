/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/captain/log_actor.h"

#include "tests/support/proxy.h"

struct world {
    struct nats_server *server;
    const char *url;
    struct loop *loop;
    char *dir, *dir2;
    struct actor a, b;
};

static int set_up(void **state)
{
    struct world *w = mem_new(1, sizeof *w);
    struct err err = {0};
    w->server = nats_server_start(NULL);
    w->url = nats_server_url(w->server);
    w->dir = tempdir_make();
    w->dir2 = tempdir_make();
    if (loop_open(&w->loop, &err) != ERR_OK)
        fail_msg("%s", err.text);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    if (w->a.bus)
        actor_close(&w->a);
    if (w->b.bus)
        actor_close(&w->b);
    loop_close(w->loop);
    nats_server_free(w->server);
    tempdir_remove(w->dir);
    tempdir_remove(w->dir2);
    mem_free(w);
    return 0;
}

static void lead(struct world *w)
{
    actor_lead(&w->a, w->loop, w->url, w->dir, "one:1");
}

static void decide_many(struct world *w, int count)
{
    for (int i = 0; i < count; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "n%d", i);
        assert_int_equal(actor_decide(&w->a, name, NULL), ERR_OK);
    }
}

static void drop_db(struct world *w)
{
    static const char *const names[] = {"captain.db", "captain.db-wal", "captain.db-shm"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char *path = tempdir_path(w->dir, names[i]);
        (void)unlink(path);
        free(path);
    }
}

static void keep_db(struct world *w, const char *dir)
{
    char *path = tempdir_path(dir, "captain.db");
    assert_int_equal(db_backup(w->a.db, path, &w->a.err), ERR_OK);
    free(path);
}

static void expect_lost(struct world *w, struct actor *a, enum err_code code, const char *part)
{
    assert_true(wait_turning(w->loop, actor_is_lost, a, WAIT_MS));
    if (a->lost.code != code || !strstr(a->lost.text, part))
        fail_msg("lost with %d: %s", (int)a->lost.code, a->lost.text);
}

static void test_decision__appends_commits_and_answers(void **state)
{
    struct world *w = *state;
    uint64_t seq = 0;
    lead(w);
    assert_int_equal(decisions_last_seq(w->a.decisions), 1); /* captain.started */
    assert_int_equal(actor_decide(&w->a, "x", &seq), ERR_OK);
    assert_int_equal(seq, 2);
    assert_int_equal(setting_of(&w->a, "x"), 2);
    assert_int_equal(actor_decide(&w->a, "y", &seq), ERR_OK);
    assert_int_equal(seq, 3);
    assert_int_equal(w->a.committed, 3);
    assert_copies_agree(&w->a, 1, 3);
}

static void test_decision__what_is_refused_leaves_no_trace(void **state)
{
    struct world *w = *state;
    struct order order = {.refuse = true};
    lead(w);
    order_submit(&w->a, &order, "x");
    assert_true(wait_turning(w->loop, order_is_done, &order, WAIT_MS));
    assert_int_equal(order.err.code, ERR_USAGE);
    assert_int_equal(actor_decide(&w->a, "poison", NULL), ERR_FAILED);
    assert_string_equal(w->a.err.text, "the tables refuse it");
    assert_int_equal(actor_decide(&w->a, "y", NULL), ERR_OK);
    assert_copies_agree(&w->a, 1, 2);
    assert_int_equal(setting_of(&w->a, "notes"), 1);
}

static void test_decision__waits_for_contact_and_has_a_bound(void **state)
{
    struct world *w = *state;
    static struct order orders[DECISION_QUEUE_MAX + 1];
    struct err err = {0};
    actor_open(&w->a, w->loop, w->url, w->dir, "one:1");
    assert_int_equal(decisions_submit(w->a.decisions, order_prepare, order_done, &orders[0], &err),
                     ERR_NO_CONTACT);
    assert_true(wait_turning(w->loop, actor_is_ready, &w->a, WAIT_MS));
    for (int i = 0; i < DECISION_QUEUE_MAX; i++)
        order_submit(&w->a, &orders[i], "x");
    assert_int_equal(decisions_submit(w->a.decisions, order_prepare, order_done,
                                      &orders[DECISION_QUEUE_MAX], &err),
                     ERR_FULL);
    actor_close(&w->a);
    for (int i = 0; i < DECISION_QUEUE_MAX; i++) {
        assert_int_equal(orders[i].calls, 1);
        assert_int_equal(orders[i].err.code, ERR_NO_CONTACT);
    }
}

static void test_decision__a_living_captain_is_named_and_left_alone(void **state)
{
    struct world *w = *state;
    lead(w);
    actor_open(&w->b, w->loop, w->url, w->dir2, "two:2");
    expect_lost(w, &w->b, ERR_CONFLICT, "captain one:1 with folder ");
    assert_non_null(strstr(w->b.lost.text, w->dir));
    assert_int_equal(actor_decide(&w->a, "x", NULL), ERR_OK);
    assert_copies_agree(&w->a, 1, 2);
}

/* The first one is cut off, not dead: when it is back, the log is no longer its. */
static void test_decision__a_fenced_captain_learns_who_has_the_log(void **state)
{
    struct world *w = *state;
    struct order order = {0};
    struct proxy *proxy = proxy_start(nats_server_port(w->server));
    actor_lead(&w->a, w->loop, proxy_url(proxy), w->dir, "one:1");
    assert_int_equal(actor_decide(&w->a, "x", NULL), ERR_OK);
    proxy_hold(proxy, 1);
    actor_lead(&w->b, w->loop, w->url, w->dir2, "two:2");
    assert_int_equal(setting_of(&w->b, "x"), 2);
    order_submit(&w->a, &order, "y");
    proxy_hold(proxy, 0);
    expect_lost(w, &w->a, ERR_CONFLICT, "captain two:2 with folder ");
    assert_non_null(strstr(w->a.lost.text, w->dir2));
    assert_true(order.done);
    assert_int_equal(order.err.code, ERR_CONFLICT);
    assert_int_equal(actor_decide(&w->b, "z", NULL), ERR_OK);
    assert_copies_agree(&w->b, 1, 4);
    assert_int_equal(setting_of(&w->b, "y"), 0);
    actor_close(&w->a);
    proxy_free(proxy);
}

static void test_decision__a_fenced_captain_learns_it_without_deciding(void **state)
{
    struct world *w = *state;
    struct proxy *proxy = proxy_start(nats_server_port(w->server));
    actor_lead(&w->a, w->loop, proxy_url(proxy), w->dir, "one:1");
    proxy_hold(proxy, 1);
    actor_lead(&w->b, w->loop, w->url, w->dir2, "two:2");
    assert_int_equal(w->a.lost.code, ERR_OK);
    proxy_hold(proxy, 0);
    expect_lost(w, &w->a, ERR_CONFLICT, "captain two:2 with folder ");
    actor_close(&w->a);
    proxy_free(proxy);
}

static void test_decision__a_stream_removed_under_it_is_written_again(void **state)
{
    struct world *w = *state;
    uint64_t seq = 0;
    lead(w);
    decide_many(w, 100);
    actor_admin(&w->a, "$JS.API.STREAM.DELETE.LOG");
    assert_int_equal(actor_decide(&w->a, "after", &seq), ERR_OK);
    assert_int_equal(seq, 102);
    assert_copies_agree(&w->a, 1, 102);
    assert_int_equal(w->a.ready, 1); /* once per connection */
}

static void test_decision__a_stream_lost_while_it_was_down_is_written_again(void **state)
{
    struct world *w = *state;
    lead(w);
    decide_many(w, 70);
    actor_admin(&w->a, "$JS.API.STREAM.DELETE.LOG");
    actor_close(&w->a);
    lead(w);
    assert_copies_agree(&w->a, 1, 72);
    assert_int_equal(setting_of(&w->a, "notes"), 70);
    assert_int_equal(w->a.taken, 0);
}

static void test_decision__lost_tables_are_rebuilt_from_the_stream(void **state)
{
    struct world *w = *state;
    lead(w);
    decide_many(w, 150);
    actor_close(&w->a);
    drop_db(w);
    lead(w);
    assert_copies_agree(&w->a, 1, 152);
    assert_int_equal(setting_of(&w->a, "notes"), 150);
    assert_int_equal(setting_of(&w->a, "n149"), 151);
    assert_int_equal(w->a.taken, 150);
}

static void test_decision__an_older_copy_of_the_tables_takes_what_it_misses(void **state)
{
    struct world *w = *state;
    lead(w);
    decide_many(w, 3);
    keep_db(w, w->dir2);
    decide_many(w, 5);
    actor_close(&w->a);
    actor_lead(&w->a, w->loop, w->url, w->dir2, "two:2");
    assert_int_equal(w->a.taken, 5);
    assert_int_equal(setting_of(&w->a, "notes"), 8);
    assert_copies_agree(&w->a, 1, 10);
}

static void is_stored(void *arg, uint64_t seq, bool duplicate, const struct err *err)
{
    struct look *look = arg;
    (void)seq;
    (void)duplicate;
    look->done = true;
    look->err = *err;
}

/* The stream as it was after `last` entries: what a power cut leaves. */
static void cut_stream(struct world *w, uint64_t last)
{
    struct arena arena;
    arena_init(&arena, 1 << 20);
    actor_admin(&w->a, "$JS.API.STREAM.DELETE.LOG");
    struct look made = {0};
    char config[] = "{\"name\":\"LOG\",\"subjects\":[\"log.decision\"],\"allow_direct\":true,"
                    "\"deny_delete\":true,\"duplicate_window\":120000000000,\"storage\":\"file\","
                    "\"num_replicas\":1}";
    assert_int_equal(bus_request(w->a.bus, "$JS.API.STREAM.CREATE.LOG",
                                 bytes_of(config, sizeof config - 1), WAIT_MS, look_reply, &made,
                                 &w->a.err),
                     ERR_OK);
    assert_true(wait_turning(w->loop, look_is_done, &made, WAIT_MS));
    for (uint64_t seq = 1; seq <= last; seq++) {
        struct store_log_row row;
        struct look look = {0};
        assert_int_equal(store_log_get(w->a.db, seq, &arena, &row, &w->a.err), ERR_OK);
        assert_int_equal(bus_store(w->a.bus, "log.decision", row.entry, NULL,
                                   (struct bus_expect){0}, WAIT_MS, is_stored, &look, &w->a.err),
                         ERR_OK);
        assert_true(wait_turning(w->loop, look_is_done, &look, WAIT_MS));
        assert_int_equal(look.err.code, ERR_OK);
    }
    arena_fini(&arena);
}

static void test_decision__a_stream_that_lost_its_tail_gets_it_back(void **state)
{
    struct world *w = *state;
    lead(w);
    decide_many(w, 9);
    cut_stream(w, 4);
    actor_close(&w->a);
    lead(w);
    assert_copies_agree(&w->a, 1, 11);
    assert_int_equal(setting_of(&w->a, "notes"), 9);
}

static void test_decision__two_histories_are_refused_with_both_hashes(void **state)
{
    struct world *w = *state;
    struct arena arena;
    struct store_log_row row;
    char here[DIGEST_HEX];
    struct look look;
    arena_init(&arena, 1 << 20);
    lead(w);
    decide_many(w, 4); /* 1 to 5 */
    keep_db(w, w->dir2);
    decide_many(w, 20); /* 6 to 25 */
    cut_stream(w, 5);
    assert_int_equal(store_log_get(w->a.db, 6, &arena, &row, &w->a.err), ERR_OK);
    str_hex(bytes_of(row.hash, DIGEST_BYTES), here);
    actor_close(&w->a);
    actor_lead(&w->b, w->loop, w->url, w->dir2, "two:2"); /* writes another 6 */
    for (int i = 0; i < 9; i++)
        assert_int_equal(actor_decide(&w->b, "other", NULL), ERR_OK);
    look_at(&w->b, 6, &look);
    char there[DIGEST_HEX];
    uint8_t hash[DIGEST_BYTES];
    hash_bytes(bytes_of(look.data, look.len), hash);
    str_hex(bytes_of(hash, DIGEST_BYTES), there);
    actor_close(&w->b);
    actor_open(&w->a, w->loop, w->url, w->dir, "one:1");
    expect_lost(w, &w->a, ERR_HASH, "differ from entry 6 on: here ");
    assert_non_null(strstr(w->a.lost.text, here));
    assert_non_null(strstr(w->a.lost.text, there));
    assert_int_equal(setting_of(&w->a, "other"), 0); /* nothing was changed */
    actor_close(&w->a);
    actor_lead(&w->b, w->loop, w->url, w->dir2, "two:2");
    assert_copies_agree(&w->b, 1, 16);
    arena_fini(&arena);
}

static void test_decision__an_edited_row_is_noticed(void **state)
{
    static const char drop[] = "DROP TRIGGER log_is_not_edited";
    static const char edit[] = "UPDATE log SET entry = x'00' WHERE seq = 2";
    struct world *w = *state;
    lead(w);
    decide_many(w, 1);
    assert_int_equal(db_run(w->a.db, db_stmt(w->a.db, drop, ""), &w->a.err), ERR_OK);
    assert_int_equal(db_run(w->a.db, db_stmt(w->a.db, edit, ""), &w->a.err), ERR_OK);
    assert_int_equal(db_commit(w->a.db, &w->a.err), ERR_OK);
    actor_close(&w->a);
    actor_open(&w->a, w->loop, w->url, w->dir, "one:1");
    expect_lost(w, &w->a, ERR_HASH, "entry 2 of captain.db was edited");
}

/* In the middle, with the hash made to fit: the ends of the copies agree all the same. */
static void test_decision__an_old_row_edited_with_care_is_noticed(void **state)
{
    static const char drop[] = "DROP TRIGGER log_is_not_edited";
    static const char swap[] = "UPDATE log SET (hash, entry) = (SELECT hash, entry FROM log WHERE "
                               "seq = 3) WHERE seq = 2";
    static const char *const edits[] = {swap, "UPDATE log SET hash = zeroblob(32) WHERE seq = 2"};
    struct world *w = *state;
    lead(w);
    decide_many(w, 600); /* more than one slice */
    actor_close(&w->a);
    for (size_t i = 0; i < ARRAY_LEN(edits); i++) {
        struct db *db;
        struct err err = {0};
        char *whole = tempdir_path(w->dir2, "captain.db");
        actor_open(&w->a, w->loop, w->url, w->dir, "one:1");
        keep_db(w, w->dir2);
        actor_close(&w->a);
        assert_int_equal(store_open(w->dir2, &db, &err), ERR_OK);
        assert_int_equal(db_run(db, db_stmt(db, drop, ""), &err), ERR_OK);
        assert_int_equal(db_run(db, db_stmt(db, edits[i], ""), &err), ERR_OK);
        assert_int_equal(db_commit(db, &err), ERR_OK);
        db_close(db);
        actor_open(&w->b, w->loop, w->url, w->dir2, "one:1");
        expect_lost(w, &w->b, ERR_HASH, "entry 2 of captain.db was edited");
        actor_close(&w->b);
        assert_int_equal(unlink(whole), 0);
        free(whole);
    }
}

/* Entry 2 is another one, well made, that follows entry 1: only what comes after tells. */
static void test_decision__a_row_replaced_by_a_forged_one_is_noticed(void **state)
{
    static const char drop[] = "DROP TRIGGER log_is_not_edited";
    struct world *w = *state;
    struct arena arena;
    struct store_log_row row;
    struct log_entry entry;
    struct bytes forged;
    uint8_t hash[DIGEST_BYTES];
    arena_init(&arena, 1 << 20);
    lead(w);
    decide_many(w, 4);
    assert_int_equal(store_log_get(w->a.db, 2, &arena, &row, &w->a.err), ERR_OK);
    assert_int_equal(codec_decode(&codec_log_entry, row.entry, &arena, &entry, &w->a.err), ERR_OK);
    entry.actor = "operator:somebody-else";
    assert_int_equal(codec_encode(&codec_log_entry, &entry, &arena, &forged, &w->a.err), ERR_OK);
    hash_bytes(forged, hash);
    assert_int_equal(db_run(w->a.db, db_stmt(w->a.db, drop, ""), &w->a.err), ERR_OK);
    assert_int_equal(db_run(w->a.db,
                            db_stmt(w->a.db, "UPDATE log SET hash = ?1, entry = ?2 WHERE seq = 2",
                                    "bb", bytes_of(hash, DIGEST_BYTES), forged),
                            &w->a.err),
                     ERR_OK);
    assert_int_equal(db_commit(w->a.db, &w->a.err), ERR_OK);
    actor_close(&w->a);
    actor_open(&w->a, w->loop, w->url, w->dir, "one:1");
    expect_lost(w, &w->a, ERR_HASH, "entry 3 of captain.db does not follow");
    arena_fini(&arena);
}

/* Sent, and captain ends before the answer: a program that asks again by itself would decide twice. */
static void test_decision__one_on_its_way_at_the_end_is_not_known(void **state)
{
    struct world *w = *state;
    static struct order orders[3];
    lead(w);
    nats_server_freeze(w->server);
    for (size_t i = 0; i < ARRAY_LEN(orders); i++)
        order_submit(&w->a, &orders[i], "x");
    loop_turn(w->loop, 0); /* the first is taken */
    actor_close(&w->a);
    nats_server_thaw(w->server);
    assert_int_equal(orders[0].err.code, ERR_TIMEOUT);
    assert_int_equal(orders[1].err.code, ERR_NO_CONTACT);
    assert_int_equal(orders[2].err.code, ERR_NO_CONTACT);
}

static void test_decision__a_purged_stream_is_no_loss(void **state)
{
    struct world *w = *state;
    lead(w);
    decide_many(w, 5);
    actor_admin(&w->a, "$JS.API.STREAM.PURGE.LOG");
    decide_many(w, 1);
    assert_copies_agree(&w->a, 7, 7);
    actor_admin(&w->a, "$JS.API.STREAM.PURGE.LOG");
    actor_close(&w->a);
    lead(w);
    decide_many(w, 1);
    assert_copies_agree(&w->a, 8, 9);
    actor_close(&w->a);
    drop_db(w);
    actor_open(&w->a, w->loop, w->url, w->dir, "one:1");
    expect_lost(w, &w->a, ERR_NOT_FOUND, "captain.db ends at entry 0 and stream LOG begins at 8");
}

static void test_decision__a_broken_chain_in_the_stream_is_not_taken(void **state)
{
    struct world *w = *state;
    struct look look = {0};
    lead(w);
    decide_many(w, 2);
    assert_int_equal(bus_store(w->a.bus, "log.decision", bytes_of("junk", 4), NULL,
                               (struct bus_expect){0}, WAIT_MS, is_stored, &look, &w->a.err),
                     ERR_OK);
    assert_true(wait_turning(w->loop, look_is_done, &look, WAIT_MS));
    actor_close(&w->a);
    actor_open(&w->a, w->loop, w->url, w->dir, "one:1");
    expect_lost(w, &w->a, ERR_MALFORMED, "entry 4 of the log");
    assert_int_equal(decisions_last_seq(w->a.decisions), 3);
}

struct burst {
    struct order orders[200];
    int open;
};

static bool burst_is_done(void *arg)
{
    struct burst *burst = arg;
    for (size_t i = 0; i < ARRAY_LEN(burst->orders); i++)
        if (!burst->orders[i].done)
            return false;
    return true;
}

static bool burst_is_under_way(void *arg)
{
    struct burst *burst = arg;
    return burst->orders[20].done;
}

static void test_decision__a_server_killed_in_between_costs_nothing(void **state)
{
    struct world *w = *state;
    static struct burst burst;
    lead(w);
    for (size_t i = 0; i < ARRAY_LEN(burst.orders); i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "b%zu", i);
        order_submit(&w->a, &burst.orders[i], name);
    }
    assert_true(wait_turning(w->loop, burst_is_under_way, &burst, WAIT_MS));
    nats_server_kill(w->server);
    assert_false(burst_is_done(&burst));
    turn_for(w->loop, 50);
    nats_server_restart(w->server, NULL);
    assert_true(wait_turning(w->loop, burst_is_done, &burst, WAIT_MS));
    for (size_t i = 0; i < ARRAY_LEN(burst.orders); i++) {
        assert_int_equal(burst.orders[i].err.code, ERR_OK);
        assert_int_equal(burst.orders[i].calls, 1);
        assert_int_equal(burst.orders[i].seq, i + 2);
    }
    assert_copies_agree(&w->a, 1, ARRAY_LEN(burst.orders) + 1);
    assert_int_equal(setting_of(&w->a, "notes"), (int)ARRAY_LEN(burst.orders));
    assert_int_equal(w->a.ready, 2);
}

#define LOG_TEST(name) cmocka_unit_test_setup_teardown(test_decision__##name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(appends_commits_and_answers),
        LOG_TEST(what_is_refused_leaves_no_trace),
        LOG_TEST(waits_for_contact_and_has_a_bound),
        LOG_TEST(a_living_captain_is_named_and_left_alone),
        LOG_TEST(a_fenced_captain_learns_who_has_the_log),
        LOG_TEST(a_fenced_captain_learns_it_without_deciding),
        LOG_TEST(a_stream_removed_under_it_is_written_again),
        LOG_TEST(a_stream_lost_while_it_was_down_is_written_again),
        LOG_TEST(lost_tables_are_rebuilt_from_the_stream),
        LOG_TEST(an_older_copy_of_the_tables_takes_what_it_misses),
        LOG_TEST(a_stream_that_lost_its_tail_gets_it_back),
        LOG_TEST(two_histories_are_refused_with_both_hashes),
        LOG_TEST(an_edited_row_is_noticed),
        LOG_TEST(an_old_row_edited_with_care_is_noticed),
        LOG_TEST(a_row_replaced_by_a_forged_one_is_noticed),
        LOG_TEST(one_on_its_way_at_the_end_is_not_known),
        LOG_TEST(a_purged_stream_is_no_loss),
        LOG_TEST(a_broken_chain_in_the_stream_is_not_taken),
        LOG_TEST(a_server_killed_in_between_costs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
