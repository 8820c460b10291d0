/* SPDX-License-Identifier: Apache-2.0
 *
 * What the agent remembers, over clean and unclean ends.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/io/agent_store.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/clock.h"
#include "proto/codec.h"
#include "tests/support/tempdir.h"

struct world {
    char *dir;
    char *path;
    char *counters;
    struct agent_store *store;
    struct arena arena;
    struct err err;
};

static void open_store(struct world *w)
{
    assert_int_equal(agent_store_open(w->path, &w->store, &w->err), ERR_OK);
}

static void reopen(struct world *w)
{
    agent_store_close(w->store);
    open_store(w);
}

static int set_up(void **state)
{
    struct world *w = mem_new(1, sizeof *w);
    w->dir = tempdir_make();
    w->path = tempdir_path(w->dir, "agent.db");
    w->counters = tempdir_path(w->dir, "agent.db.counters");
    arena_init(&w->arena, 32 << 20);
    open_store(w);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    agent_store_close(w->store);
    arena_fini(&w->arena);
    tempdir_remove(w->dir);
    free(w->path);
    free(w->counters);
    mem_free(w);
    return 0;
}

static void commit(struct world *w)
{
    assert_int_equal(agent_store_commit(w->store, &w->err), ERR_OK);
}

static enum err_code add(struct world *w, enum event_kind kind, uint64_t *ret_seq)
{
    struct event event = {.time_ms = 1, .kind = kind, .app = "hello", .text = "t"};
    enum err_code code = agent_store_add_event(w->store, &event, &w->err);
    if (code == ERR_OK)
        assert_string_equal(event.epoch, agent_store_epoch(w->store));
    *ret_seq = event.seq;
    return code;
}

static void test_agent_store__keeps_its_epoch(void **state)
{
    struct world *w = *state;
    char epoch[ULID_TEXT];
    struct stat st;
    assert_true(ulid_valid(agent_store_epoch(w->store)));
    assert_int_equal(str_copy(epoch, sizeof epoch, agent_store_epoch(w->store)), ERR_OK);
    reopen(w);
    assert_string_equal(agent_store_epoch(w->store), epoch);
    assert_int_equal(stat(w->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    agent_store_close(w->store);
    assert_int_equal(unlink(w->path), 0);
    open_store(w);
    assert_string_not_equal(agent_store_epoch(w->store), epoch);
}

static void test_agent_store__keeps_an_app(void **state)
{
    struct world *w = *state;
    struct agent_app_row got;
    struct agent_app_row row = {
        .lifecycle = {.state = LIFECYCLE_CONFIRMING,
                      .target = {.set = true},
                      .confirmed = {.set = true},
                      .decision = 7,
                      .refused_decision = 5,
                      .data_version = 3,
                      .failures = 2,
                      .since_ms = -4,
                      .refused_code = ERR_UNHEALTHY,
                      .reason_code = ERR_HASH},
        .desired = bytes_of("signed", 6),
        .generation = 9,
        .attempt = "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    };
    memset(row.lifecycle.target.digest, 1, DIGEST_BYTES);
    memset(row.lifecycle.confirmed.digest, 2, DIGEST_BYTES);
    assert_int_equal(agent_store_get_app(w->store, "hello", &w->arena, &got, &w->err),
                     ERR_NOT_FOUND);
    assert_int_equal(agent_store_put_app(w->store, "hello", &row, &w->err), ERR_OK);
    commit(w);
    reopen(w);
    assert_int_equal(agent_store_get_app(w->store, "hello", &w->arena, &got, &w->err), ERR_OK);
    assert_int_equal(got.lifecycle.state, LIFECYCLE_CONFIRMING);
    assert_true(got.lifecycle.target.set && got.lifecycle.confirmed.set);
    assert_false(got.lifecycle.previous.set || got.lifecycle.refused.set);
    assert_memory_equal(got.lifecycle.target.digest, row.lifecycle.target.digest, DIGEST_BYTES);
    assert_memory_equal(got.lifecycle.confirmed.digest, row.lifecycle.confirmed.digest,
                        DIGEST_BYTES);
    assert_int_equal(got.lifecycle.decision, 7);
    assert_int_equal(got.lifecycle.refused_decision, 5);
    assert_int_equal(got.lifecycle.data_version, 3);
    assert_int_equal(got.lifecycle.failures, 2);
    assert_int_equal(got.lifecycle.since_ms, -4);
    assert_int_equal(got.lifecycle.refused_code, ERR_UNHEALTHY);
    assert_int_equal(got.lifecycle.reason_code, ERR_HASH);
    assert_int_equal(got.generation, 9);
    assert_string_equal(got.attempt, row.attempt);
    assert_true(bytes_equal(got.desired, row.desired));
    row.lifecycle.state = LIFECYCLE_SERVING;
    row.desired = (struct bytes){0};
    assert_int_equal(agent_store_put_app(w->store, "hello", &row, &w->err), ERR_OK);
    assert_int_equal(agent_store_get_app(w->store, "hello", &w->arena, &got, &w->err), ERR_OK);
    assert_int_equal(got.lifecycle.state, LIFECYCLE_SERVING);
    assert_int_equal(got.desired.len, 0);
    assert_int_equal(agent_store_get_app(w->store, "other", &w->arena, &got, &w->err),
                     ERR_NOT_FOUND);
}

static void test_agent_store__numbers_events_without_gaps(void **state)
{
    struct world *w = *state;
    struct agent_outbox_row *rows;
    struct event event;
    size_t len = 0;
    uint64_t seq = 0;
    for (uint64_t i = 1; i <= 5; i++) {
        assert_int_equal(add(w, EVENT_KIND_FETCHED, &seq), ERR_OK);
        assert_int_equal(seq, i);
    }
    commit(w);
    reopen(w);
    assert_int_equal(agent_store_event_seq(w->store), 5);
    assert_int_equal(agent_store_outbox(w->store, 2, 2, &w->arena, &rows, &len, &w->err), ERR_OK);
    assert_int_equal(len, 2);
    assert_int_equal(rows[0].seq, 3);
    assert_int_equal(rows[1].seq, 4);
    assert_int_equal(codec_decode(&codec_event, rows[0].encoded, &w->arena, &event, &w->err),
                     ERR_OK);
    assert_int_equal(event.seq, 3);
    assert_string_equal(event.epoch, agent_store_epoch(w->store));
    assert_string_equal(event.app, "hello");
    assert_int_equal(agent_store_acked(w->store, 5, &w->err), ERR_OK);
    commit(w);
    reopen(w); /* all acknowledged and gone: the numbers go on */
    assert_int_equal(agent_store_outbox(w->store, 0, 100, &w->arena, &rows, &len, &w->err), ERR_OK);
    assert_int_equal(len, 0);
    assert_int_equal(add(w, EVENT_KIND_FETCHED, &seq), ERR_OK);
    assert_int_equal(seq, 6);
}

static void test_agent_store__writes_no_event_that_breaks_the_contract(void **state)
{
    struct world *w = *state;
    uint64_t seq = 0;
    struct event event = {.time_ms = 1, .kind = EVENT_KIND_FETCHED, .app = "not a token!"};
    assert_int_equal(agent_store_add_event(w->store, &event, &w->err), ERR_MALFORMED);
    assert_int_equal(add(w, EVENT_KIND_FETCHED, &seq), ERR_OK);
    assert_int_equal(seq, 1);
    commit(w);
}

static void test_agent_store__bounds_the_outbox_without_a_gap(void **state)
{
    struct world *w = *state;
    uint64_t seq = 0;
    for (int i = 0; i < AGENT_OUTBOX_MAX; i++)
        assert_int_equal(add(w, EVENT_KIND_HEALTHY, &seq), ERR_OK);
    assert_int_equal(add(w, EVENT_KIND_HEALTHY, &seq), ERR_FULL);
    assert_int_equal(add(w, EVENT_KIND_UNHEALTHY, &seq), ERR_FULL);
    assert_int_equal(add(w, EVENT_KIND_SERVICE_EXITED, &seq), ERR_FULL);
    assert_int_equal(add(w, EVENT_KIND_ROLLED_BACK, &seq), ERR_OK); /* what matters still goes in */
    assert_int_equal(seq, AGENT_OUTBOX_MAX + 1);
    commit(w);
    reopen(w);
    assert_int_equal(add(w, EVENT_KIND_HEALTHY, &seq), ERR_FULL);
    assert_int_equal(agent_store_acked(w->store, 2, &w->err), ERR_OK);
    assert_int_equal(add(w, EVENT_KIND_HEALTHY, &seq), ERR_OK);
    assert_int_equal(seq, AGENT_OUTBOX_MAX + 2);
    assert_int_equal(add(w, EVENT_KIND_HEALTHY, &seq), ERR_FULL);
    commit(w);
}

static void test_agent_store__forgets_a_turn_that_was_not_committed(void **state)
{
    struct world *w = *state;
    uint64_t seq = 0;
    assert_int_equal(add(w, EVENT_KIND_FETCHED, &seq), ERR_OK);
    commit(w);
    assert_int_equal(add(w, EVENT_KIND_CONFIRMED, &seq), ERR_OK);
    reopen(w);
    assert_int_equal(agent_store_event_seq(w->store), 1);
    assert_int_equal(add(w, EVENT_KIND_FAILED, &seq), ERR_OK);
    assert_int_equal(seq, 2);
}

static void test_agent_store__keeps_processes(void **state)
{
    struct world *w = *state;
    struct child_identity identity = {
        .pid = 42, .start_ticks = 12345678901234ULL, .boot_id = "boot"};
    struct child_identity got;
    const char **names;
    size_t len = 0;
    assert_int_equal(agent_store_get_process(w->store, "hello", "web", &got, &w->err),
                     ERR_NOT_FOUND);
    assert_int_equal(agent_store_put_process(w->store, "hello", "web", &identity, &w->err), ERR_OK);
    identity.pid = 43;
    assert_int_equal(agent_store_put_process(w->store, "hello", "db", &identity, &w->err), ERR_OK);
    assert_int_equal(agent_store_put_process(w->store, "other", "web", &identity, &w->err), ERR_OK);
    commit(w);
    reopen(w);
    assert_int_equal(agent_store_get_process(w->store, "hello", "web", &got, &w->err), ERR_OK);
    assert_int_equal(got.pid, 42);
    assert_int_equal(got.start_ticks, 12345678901234ULL);
    assert_string_equal(got.boot_id, "boot");
    assert_int_equal(
        agent_store_list_processes(w->store, "hello", &w->arena, &names, &len, &w->err), ERR_OK);
    assert_int_equal(len, 2);
    assert_string_equal(names[0], "db");
    assert_string_equal(names[1], "web");
    assert_int_equal(agent_store_drop_process(w->store, "hello", "web", &w->err), ERR_OK);
    assert_int_equal(agent_store_drop_process(w->store, "hello", "web", &w->err), ERR_OK);
    assert_int_equal(agent_store_get_process(w->store, "hello", "web", &got, &w->err),
                     ERR_NOT_FOUND);
    assert_int_equal(agent_store_get_process(w->store, "other", "web", &got, &w->err), ERR_OK);
}

/* ---- counters ---- */

static void raise_to(struct world *w, const char *name, uint64_t value)
{
    assert_int_equal(agent_store_raise_counter(w->store, name, value, &w->err), ERR_OK);
}

static void test_agent_store__counters_only_rise(void **state)
{
    struct world *w = *state;
    assert_int_equal(agent_store_counter(w->store, "root"), 0);
    raise_to(w, "root", 3);
    raise_to(w, "root", 2);
    assert_int_equal(agent_store_counter(w->store, "root"), 3);
    raise_to(w, "generation hello/stable", 10);
    raise_to(w, "root", 4);
    assert_int_equal(agent_store_counter(w->store, "root"), 4);
    assert_int_equal(agent_store_counter(w->store, "generation hello/stable"), 10);
    assert_int_equal(agent_store_raise_counter(w->store, "root", UINT64_MAX, &w->err), ERR_SIZE);
    assert_int_equal(agent_store_raise_counter(w->store, "a\nb", 1, &w->err), ERR_USAGE);
    assert_int_equal(agent_store_counter(w->store, "root"), 4);
}

/* Durable on return: the turn is not committed, the process is gone. */
static void test_agent_store__counters_survive_without_a_commit(void **state)
{
    struct world *w = *state;
    agent_store_close(w->store);
    pid_t pid = fork();
    if (pid == 0) {
        bool worked = agent_store_open(w->path, &w->store, NULL) == ERR_OK &&
                      agent_store_raise_counter(w->store, "root", 8, NULL) == ERR_OK;
        (void)raise(worked ? SIGKILL : SIGTERM);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WTERMSIG(status), SIGKILL);
    open_store(w);
    assert_int_equal(agent_store_counter(w->store, "root"), 8);
}

static void test_agent_store__counters_survive_the_loss_of_either_copy(void **state)
{
    struct world *w = *state;
    raise_to(w, "root", 5);
    commit(w);
    agent_store_close(w->store);
    assert_int_equal(unlink(w->path), 0);
    open_store(w);
    assert_int_equal(agent_store_counter(w->store, "root"), 5);
    agent_store_close(w->store);
    assert_int_equal(unlink(w->counters), 0);
    open_store(w);
    assert_int_equal(agent_store_counter(w->store, "root"), 5);
}

static void test_agent_store__the_larger_counter_wins(void **state)
{
    struct world *w = *state;
    static const char lower[] = "1 root\nrubbish\n99999999999999999999 huge\n7 other\n";
    raise_to(w, "root", 5);
    commit(w);
    agent_store_close(w->store);
    tempdir_write(w->counters, lower, sizeof lower - 1); /* set back, and damaged */
    open_store(w);
    assert_int_equal(agent_store_counter(w->store, "root"), 5);
    assert_int_equal(agent_store_counter(w->store, "other"), 7);
    assert_int_equal(agent_store_counter(w->store, "huge"), 0);
    char *text = tempdir_read(w->counters, NULL);
    assert_non_null(strstr(text, "5 root\n")); /* mended */
    free(text);
}

static void test_agent_store__bounds_the_counters(void **state)
{
    struct world *w = *state;
    char name[32];
    enum err_code code = ERR_OK;
    int made = 0;
    for (; made < 1000 && code == ERR_OK; made++) {
        (void)snprintf(name, sizeof name, "counter%d", made);
        code = agent_store_raise_counter(w->store, name, 1, &w->err);
    }
    assert_int_equal(code, ERR_FULL);
    assert_int_equal(made, 257);
    commit(w);
    reopen(w);
    assert_int_equal(agent_store_counter(w->store, "counter255"), 1);
}

/* ---- killed anywhere ---- */

/* Events and app in one turn each: after a kill both say the same. */
static void churn(struct world *w)
{
    struct agent_app_row row = {0};
    for (;;) {
        struct event event = {.time_ms = 1, .kind = EVENT_KIND_FETCHED, .app = "hello"};
        bool worked = agent_store_add_event(w->store, &event, &w->err) == ERR_OK;
        row.lifecycle.decision = event.seq;
        worked = worked && agent_store_put_app(w->store, "hello", &row, &w->err) == ERR_OK &&
                 agent_store_raise_counter(w->store, "seen", event.seq, &w->err) == ERR_OK &&
                 agent_store_commit(w->store, &w->err) == ERR_OK;
        if (worked && event.seq % 5 == 0)
            worked = agent_store_acked(w->store, event.seq - 2, &w->err) == ERR_OK;
        if (!worked)
            _exit(1);
    }
}

static void assert_consistent(struct world *w)
{
    struct agent_app_row row;
    struct agent_outbox_row *rows;
    size_t len = 0;
    uint64_t seq = agent_store_event_seq(w->store);
    if (seq == 0)
        return;
    assert_int_equal(agent_store_get_app(w->store, "hello", &w->arena, &row, &w->err), ERR_OK);
    assert_int_equal(row.lifecycle.decision, seq);
    assert_in_range(agent_store_counter(w->store, "seen"), seq, seq + 1);
    assert_int_equal(agent_store_outbox(w->store, 0, 100, &w->arena, &rows, &len, &w->err), ERR_OK);
    assert_in_range(len, 1, 99); /* an acknowledgement may die with its turn, more than once */
    for (size_t i = 0; i < len; i++)
        assert_int_equal(rows[i].seq, seq - len + 1 + i);
}

static void test_agent_store__is_consistent_whenever_it_is_killed(void **state)
{
    struct world *w = *state;
    struct rng rng;
    uint64_t seed = (uint64_t)clock_mono_ns();
    rng_seed(&rng, seed);
    print_message("seed %llu\n", (unsigned long long)seed);
    for (int round = 0; round < 25; round++) {
        agent_store_close(w->store);
        pid_t pid = fork();
        if (pid == 0) {
            if (agent_store_open(w->path, &w->store, NULL) != ERR_OK)
                _exit(1);
            churn(w);
        }
        /* Random moments are what this test is about. */
        long ns = 5000000 + (long)rng_below(&rng, 60000000);
        (void)nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
        assert_int_equal(kill(pid, SIGKILL), 0);
        int status = 0;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        open_store(w);
        assert_consistent(w);
    }
    assert_true(agent_store_event_seq(w->store) > 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_agent_store__keeps_its_epoch),
        T(test_agent_store__keeps_an_app),
        T(test_agent_store__numbers_events_without_gaps),
        T(test_agent_store__writes_no_event_that_breaks_the_contract),
        T(test_agent_store__bounds_the_outbox_without_a_gap),
        T(test_agent_store__forgets_a_turn_that_was_not_committed),
        T(test_agent_store__keeps_processes),
        T(test_agent_store__counters_only_rise),
        T(test_agent_store__counters_survive_without_a_commit),
        T(test_agent_store__counters_survive_the_loss_of_either_copy),
        T(test_agent_store__the_larger_counter_wins),
        T(test_agent_store__bounds_the_counters),
        T(test_agent_store__is_consistent_whenever_it_is_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
