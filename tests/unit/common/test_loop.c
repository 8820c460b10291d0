/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/clock.h"
#include "common/loop.h"
#include "tests/support/wait.h"

static struct loop *loop;

static int setup(void **state)
{
    struct err err = {0};
    (void)state;
    return loop_open(&loop, &err) == ERR_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    loop_close(loop);
    return 0;
}

/* ---- timers ---- */

struct fire {
    struct loop_timer timer;
    int id;
};

static int fired[4096];
static unsigned fired_len;

static void on_fire(void *arg)
{
    const struct fire *fire = arg;
    fired[fired_len++] = fire->id;
}

static void test_loop__timers_fire_in_order_of_time_and_then_of_arming(void **state)
{
    (void)state;
    struct fire fires[4] = {{.id = 0}, {.id = 1}, {.id = 2}, {.id = 3}};
    int64_t now_ms = loop_now_ms(loop);
    fired_len = 0;
    loop_timer_at(loop, &fires[0].timer, now_ms + 20, on_fire, &fires[0]);
    loop_timer_at(loop, &fires[1].timer, now_ms + 10, on_fire, &fires[1]);
    loop_timer_at(loop, &fires[2].timer, now_ms + 20, on_fire, &fires[2]);
    loop_timer_at(loop, &fires[3].timer, now_ms - 500, on_fire, &fires[3]);
    turn_for(loop, 40);
    assert_int_equal(fired_len, 4);
    assert_memory_equal(fired, ((int[]){3, 1, 0, 2}), 4 * sizeof(int));
    assert_int_equal(fires[0].timer.slot, 0);
}

static void test_loop__a_timer_never_fires_early(void **state)
{
    (void)state;
    struct fire fire = {.id = 7};
    fired_len = 0;
    int64_t at_ms = clock_mono_ms() + 30;
    loop_timer_at(loop, &fire.timer, at_ms, on_fire, &fire);
    while (fired_len == 0) {
        loop_turn(loop, 1000);
    }
    assert_true(clock_mono_ms() >= at_ms);
    assert_true(clock_mono_ms() < at_ms + 500);
}

static struct loop_timer again;
static unsigned again_count;

static void on_again(void *arg)
{
    (void)arg;
    again_count++;
    loop_timer_at(loop, &again, 0, on_again, NULL);
}

static void test_loop__a_timer_armed_in_the_past_by_itself_waits_for_the_next_turn(void **state)
{
    (void)state;
    again_count = 0;
    loop_timer_at(loop, &again, 0, on_again, NULL);
    for (unsigned i = 1; i <= 5; i++) {
        loop_turn(loop, 1000);
        assert_int_equal(again_count, i);
    }
    loop_timer_stop(&again);
    loop_timer_stop(&again);
    loop_turn(loop, 0);
    assert_int_equal(again_count, 5);
}

/* Against a plain list: whatever was armed, moved and stopped, the same fire in the same order. */
static void test_loop__the_heap_agrees_with_a_list(void **state)
{
    (void)state;
    enum { N = 500 };
    static struct fire fires[N];
    struct rng rng;
    uint64_t seed = (uint64_t)clock_mono_ns();
    print_message("seed %" PRIu64 "\n", seed);
    rng_seed(&rng, seed);
    memset(fires, 0, sizeof fires);
    fired_len = 0;
    int64_t base_ms = loop_now_ms(loop) + 5;
    for (int i = 0; i < 4 * N; i++) {
        struct fire *fire = &fires[rng_below(&rng, N)];
        fire->id = (int)(fire - fires);
        if (rng_below(&rng, 4) == 0) {
            loop_timer_stop(&fire->timer);
        } else {
            loop_timer_at(loop, &fire->timer, base_ms + (int64_t)rng_below(&rng, 20), on_fire,
                          fire);
        }
    }
    unsigned armed = 0;
    struct fire copy[N];
    for (int i = 0; i < N; i++) {
        armed += fires[i].timer.slot != 0;
        copy[i] = fires[i];
    }
    turn_for(loop, 60);
    assert_int_equal(fired_len, armed);
    for (unsigned i = 1; i < fired_len; i++) {
        const struct loop_timer *a = &copy[fired[i - 1]].timer, *b = &copy[fired[i]].timer;
        assert_true(a->at_ms < b->at_ms || (a->at_ms == b->at_ms && a->order < b->order));
    }
}

/* ---- turns and posts ---- */

static char story[64];

static void add_hook(void *arg)
{
    (void)strncat(story, arg, sizeof story - strlen(story) - 1);
}

static void add_once(void *arg)
{
    add_hook(arg);
}

static void test_loop__hooks_run_last_in_each_turn_in_order(void **state)
{
    (void)state;
    story[0] = '\0';
    loop_on_turn_end(loop, add_hook, (char[]){"1"});
    loop_on_turn_end(loop, add_hook, (char[]){"2"});
    loop_post(loop, add_once, (char[]){"a"});
    loop_post(loop, add_once, (char[]){"b"});
    loop_turn(loop, 1000);
    loop_turn(loop, 0);
    assert_string_equal(story, "ab1212");
}

enum { POSTERS = 4, POSTS = 5000 };

struct poster {
    unsigned next; /* the loop's: what comes next if the order is kept */
    bool disorder;
};

struct posted {
    struct poster *poster;
    unsigned number;
};

static unsigned posted_total;

static void on_posted(void *arg)
{
    struct posted *posted = arg;
    posted->poster->disorder |= posted->number != posted->poster->next++;
    posted_total++;
    mem_free(posted);
}

static void *post_many(void *arg)
{
    for (unsigned i = 0; i < POSTS; i++) {
        struct posted *posted = mem_new(1, sizeof *posted);
        *posted = (struct posted){arg, i};
        loop_post(loop, on_posted, posted);
    }
    return NULL;
}

static bool all_posted(void *arg)
{
    (void)arg;
    return posted_total == POSTERS * POSTS;
}

static void test_loop__posts_of_many_threads_all_arrive_each_in_its_order(void **state)
{
    (void)state;
    struct poster posters[POSTERS] = {{0}};
    pthread_t threads[POSTERS];
    posted_total = 0;
    for (int i = 0; i < POSTERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, &posters[i]), 0);
    }
    assert_true(wait_turning(loop, all_posted, NULL, 20000));
    for (int i = 0; i < POSTERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_false(posters[i].disorder);
    }
}

static void stop_loop(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

static void *post_stop(void *arg)
{
    (void)arg;
    loop_post(loop, stop_loop, NULL);
    return NULL;
}

static void test_loop__runs_until_another_thread_posts_a_stop(void **state)
{
    (void)state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, post_stop, NULL), 0);
    loop_run(loop);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void test_loop__drops_posts_that_never_ran_without_a_leak(void **state)
{
    (void)state;
    story[0] = '\0';
    loop_post(loop, add_once, (char[]){"x"});
    /* teardown closes the loop; ASan watches */
    assert_string_equal(story, "");
}

/* ---- signals, descriptors, processes ---- */

static void test_loop__terminates_on_sigterm_and_sigint(void **state)
{
    (void)state;
    story[0] = '\0';
    loop_on_terminate(loop, add_once, (char[]){"t"});
    assert_int_equal(kill(getpid(), SIGTERM), 0);
    loop_turn(loop, 1000);
    assert_int_equal(kill(getpid(), SIGINT), 0);
    loop_turn(loop, 1000);
    assert_string_equal(story, "tt");
}

static struct loop_reader *reader;

static void on_bytes(void *arg, int fd)
{
    char byte;
    ssize_t got = read(fd, &byte, 1);
    char text[2] = {got == 1 ? byte : '$', '\0'};
    add_hook(text);
    if (got == 0) {
        loop_reader_close(*(struct loop_reader **)arg);
    }
}

static void test_loop__reads_until_the_end_and_may_close_in_its_callback(void **state)
{
    (void)state;
    int fds[2];
    struct err err = {0};
    story[0] = '\0';
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(loop_reader_open(loop, fds[0], on_bytes, &reader, &reader, &err), ERR_OK);
    assert_int_equal(write(fds[1], "ab", 2), 2);
    assert_int_equal(close(fds[1]), 0);
    for (int i = 0; i < 5; i++) {
        loop_turn(loop, i < 3 ? 1000 : 0);
    }
    assert_string_equal(story, "ab$");
    assert_int_equal(close(fds[0]), 0); /* still ours */
}

struct ended {
    unsigned count;
    int status;
};

static void on_ended(void *arg, int status)
{
    struct ended *ended = arg;
    ended->count++;
    ended->status = status;
}

static bool has_ended(void *arg)
{
    return ((struct ended *)arg)->count > 0;
}

static pid_t fork_child(int exit_code)
{
    pid_t pid = fork();
    if (pid == 0) {
        if (exit_code >= 0) {
            _exit(exit_code);
        }
        for (;;) {
            (void)pause();
        }
    }
    return pid;
}

/* A process whose parent is gone: not ours. */
static pid_t fork_grandchild(void)
{
    int out[2];
    assert_int_equal(pipe(out), 0);
    pid_t child = fork();
    if (child == 0) {
        pid_t pid = fork_child(-1);
        _exit(write(out[1], &pid, sizeof pid) == sizeof pid ? 0 : 1);
    }
    assert_int_equal(waitpid(child, NULL, 0), child);
    pid_t pid = 0;
    assert_int_equal(read(out[0], &pid, sizeof pid), sizeof pid);
    (void)close(out[0]);
    (void)close(out[1]);
    return pid;
}

static void test_loop__tells_how_a_child_ended_and_reaps_it(void **state)
{
    (void)state;
    struct err err = {0};
    struct loop_process *process;
    struct ended exited = {0}, killed = {0};
    pid_t pid = fork_child(7);
    assert_int_equal(loop_process_watch(loop, pid, on_ended, &exited, &process, &err), ERR_OK);
    assert_true(wait_turning(loop, has_ended, &exited, 5000));
    assert_true(WIFEXITED(exited.status) && WEXITSTATUS(exited.status) == 7);
    assert_int_equal(waitpid(pid, NULL, WNOHANG), -1);

    pid = fork_child(-1);
    assert_int_equal(loop_process_watch(loop, pid, on_ended, &killed, &process, &err), ERR_OK);
    loop_turn(loop, 0);
    assert_int_equal(killed.count, 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_true(wait_turning(loop, has_ended, &killed, 5000));
    assert_true(WIFSIGNALED(killed.status) && WTERMSIG(killed.status) == SIGKILL);
    assert_int_equal(killed.count, 1);
}

/* The shell's child, which becomes an orphan, is nobody's child here. */
static void test_loop__sees_the_end_of_a_process_that_is_no_child(void **state)
{
    (void)state;
    struct err err = {0};
    struct loop_process *process;
    struct ended ended = {0};
    pid_t pid = fork_grandchild();
    assert_int_equal(loop_process_watch(loop, pid, on_ended, &ended, &process, &err), ERR_OK);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_true(wait_turning(loop, has_ended, &ended, 5000));
    assert_int_equal(ended.status, -1);
}

static void test_loop__says_when_a_process_is_gone_already(void **state)
{
    (void)state;
    struct err err = {0};
    struct loop_process *process;
    pid_t pid = fork_child(0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(loop_process_watch(loop, pid, on_ended, NULL, &process, &err), ERR_NOT_FOUND);
}

static void test_loop__an_unwatched_process_is_not_told(void **state)
{
    (void)state;
    struct err err = {0};
    struct loop_process *process;
    struct ended ended = {0};
    pid_t pid = fork_child(-1);
    assert_int_equal(loop_process_watch(loop, pid, on_ended, &ended, &process, &err), ERR_OK);
    loop_process_unwatch(process);
    loop_process_unwatch(NULL);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    loop_turn(loop, 10);
    assert_int_equal(ended.count, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_loop__timers_fire_in_order_of_time_and_then_of_arming),
        T(test_loop__a_timer_never_fires_early),
        T(test_loop__a_timer_armed_in_the_past_by_itself_waits_for_the_next_turn),
        T(test_loop__the_heap_agrees_with_a_list),
        T(test_loop__hooks_run_last_in_each_turn_in_order),
        T(test_loop__posts_of_many_threads_all_arrive_each_in_its_order),
        T(test_loop__runs_until_another_thread_posts_a_stop),
        T(test_loop__drops_posts_that_never_ran_without_a_leak),
        T(test_loop__terminates_on_sigterm_and_sigint),
        T(test_loop__reads_until_the_end_and_may_close_in_its_callback),
        T(test_loop__tells_how_a_child_ended_and_reaps_it),
        T(test_loop__sees_the_end_of_a_process_that_is_no_child),
        T(test_loop__says_when_a_process_is_gone_already),
        T(test_loop__an_unwatched_process_is_not_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
