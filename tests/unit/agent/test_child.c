/* SPDX-License-Identifier: Apache-2.0
 *
 * Real processes: gate, environment, limits, groups, adoption, logs.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/io/child.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

struct world {
    char *dir;
    char *log;
    struct loop *loop;
    struct child *child;
    unsigned ended;
    int status;
    struct child_identity identity;
    struct err err;
};

static int set_up(void **state)
{
    struct world *w = mem_new(1, sizeof *w);
    w->dir = tempdir_make();
    w->log = tempdir_path(w->dir, "log");
    assert_int_equal(loop_open(&w->loop, NULL), ERR_OK);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    if (w->child != NULL && w->ended == 0) {
        (void)kill((pid_t)-w->identity.pid, SIGKILL);
        child_forget(w->child);
    }
    loop_close(w->loop);
    tempdir_remove(w->dir);
    free(w->log);
    mem_free(w);
    return 0;
}

static void on_ended(void *arg, int status)
{
    struct world *w = arg;
    w->ended++;
    w->status = status;
}

static bool has_ended(void *arg)
{
    return ((struct world *)arg)->ended > 0;
}

static bool log_is_there(void *arg)
{
    struct world *w = arg;
    struct stat st;
    return stat(w->log, &st) == 0 && st.st_size > 0;
}

static void spawn_spec(struct world *w, struct child_spec spec)
{
    spec.name = "hello/web";
    spec.log_path = w->log;
    spec.folder = spec.folder != NULL ? spec.folder : w->dir;
    assert_int_equal(child_spawn(w->loop, &spec, on_ended, w, &w->child, &w->err), ERR_OK);
    child_identity(w->child, &w->identity);
}

static void spawn_shell(struct world *w, const char *script)
{
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    const char *env[] = {"PATH=/usr/bin:/bin", "COLOR=blue", NULL};
    spawn_spec(w, (struct child_spec){.argv = argv, .env = env});
}

static char *read_log(struct world *w)
{
    char *text = tempdir_read(w->log, NULL);
    assert_non_null(text);
    return text;
}

static void assert_ends(struct world *w, int status)
{
    assert_true(wait_turning(w->loop, has_ended, w, 20000));
    assert_int_equal(w->status, status);
    turn_for(w->loop, 20);
    assert_int_equal(w->ended, 1);
}

static void test_child__waits_at_the_gate(void **state)
{
    struct world *w = *state;
    spawn_shell(w, "echo ran");
    turn_for(w->loop, 150);
    assert_int_equal(w->ended, 0);
    assert_false(log_is_there(w));
    child_release(w->child);
    child_release(w->child);
    assert_ends(w, 0);
    char *text = read_log(w);
    assert_string_equal(text, "ran\n");
    free(text);
}

static void test_child__ends_unstarted_when_the_agent_dies_before_the_gate(void **state)
{
    struct world *w = *state;
    int words[2];
    pid_t pid = 0;
    assert_int_equal(pipe(words), 0);
    pid_t agent = fork();
    if (agent == 0) {
        struct loop *loop;
        struct child *child;
        struct child_identity identity;
        const char *argv[] = {"/bin/sh", "-c", "echo ran; sleep 60", NULL};
        struct child_spec spec = {.name = "x", .argv = argv, .folder = w->dir, .log_path = w->log};
        bool worked = loop_open(&loop, NULL) == ERR_OK &&
                      child_spawn(loop, &spec, on_ended, w, &child, NULL) == ERR_OK;
        if (!worked)
            _exit(1);
        child_identity(child, &identity);
        pid = (pid_t)identity.pid;
        (void)!write(words[1], &pid, sizeof pid);
        (void)raise(SIGKILL);
    }
    assert_int_equal(read(words[0], &pid, sizeof pid), sizeof pid);
    (void)close(words[0]);
    (void)close(words[1]);
    assert_int_equal(waitpid(agent, NULL, 0), agent);
    struct loop_process *process = NULL;
    if (loop_process_watch(w->loop, pid, on_ended, w, &process, NULL) == ERR_OK)
        assert_true(wait_turning(w->loop, has_ended, w, 20000));
    assert_false(log_is_there(w));
    w->ended = 0;
}

static void test_child__has_its_own_environment_folder_and_session(void **state)
{
    struct world *w = *state;
    char expected[256];
    assert_int_equal(setenv("SECRET_OF_THE_AGENT", "x", 1), 0);
    spawn_shell(w, "pwd; env | grep -v -e PWD -e SHLVL -e _= | sort; ls /proc/self/fd | wc -l;"
                   "cut -d' ' -f1,5,6 /proc/$$/stat; umask");
    child_release(w->child);
    assert_ends(w, 0);
    char *text = read_log(w);
    long pid = (long)w->identity.pid;
    /* ls: three standard ones and the folder it reads */
    (void)snprintf(expected, sizeof expected,
                   "%s\nCOLOR=blue\nPATH=/usr/bin:/bin\n4\n%ld %ld %ld\n0022\n", w->dir, pid, pid,
                   pid);
    assert_string_equal(text, expected);
    free(text);
}

static void test_child__has_no_signal_blocked_or_ignored(void **state)
{
    struct world *w = *state;
    sigset_t all;
    (void)sigfillset(&all);
    void (*before)(int) = signal(SIGPIPE, SIG_IGN);
    (void)sigprocmask(SIG_BLOCK, &all, NULL);
    spawn_shell(w, "grep -e SigBlk -e SigIgn /proc/self/status");
    (void)sigprocmask(SIG_UNBLOCK, &all, NULL);
    (void)signal(SIGPIPE, before);
    child_release(w->child);
    assert_ends(w, 0);
    char *text = read_log(w);
    assert_string_equal(text, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    free(text);
}

static void test_child__obeys_its_limits(void **state)
{
    struct world *w = *state;
    const char *argv[] = {"sh", "-c", "ulimit -n; ulimit -d", NULL};
    const char *env[] = {"PATH=/usr/bin:/bin", NULL};
    spawn_spec(w,
               (struct child_spec){
                   .argv = argv, .env = env, .memory_max_bytes = 64 << 20, .open_files_max = 33});
    child_release(w->child);
    assert_ends(w, 0);
    char *text = read_log(w);
    assert_string_equal(text, "33\n65536\n");
    free(text);
}

static void test_child__finds_its_program_relative_to_its_folder(void **state)
{
    struct world *w = *state;
    char *program = tempdir_path(w->dir, "run.sh");
    static const char script[] = "#!/bin/sh\necho here\n";
    const char *argv[] = {"./run.sh", NULL};
    const char *env[] = {"PATH=/usr/bin:/bin", NULL};
    tempdir_write(program, script, sizeof script - 1);
    assert_int_equal(chmod(program, 0755), 0);
    spawn_spec(w, (struct child_spec){.argv = argv, .env = env});
    child_release(w->child);
    assert_ends(w, 0);
    free(program);
}

static void test_child__reports_a_program_that_cannot_be_run(void **state)
{
    struct world *w = *state;
    const char *argv[] = {"./missing", NULL};
    const char *env[] = {NULL};
    spawn_spec(w, (struct child_spec){.argv = argv, .env = env});
    child_release(w->child);
    assert_ends(w, 127 << 8);
    char *text = read_log(w);
    assert_non_null(strstr(text, "./missing: No such file"));
    free(text);
}

static void test_child__reports_exit_codes_and_signals(void **state)
{
    struct world *w = *state;
    spawn_shell(w, "exit 3");
    child_release(w->child);
    assert_ends(w, 3 << 8);
    w->ended = 0;
    spawn_shell(w, "kill -9 $$");
    child_release(w->child);
    assert_ends(w, SIGKILL);
}

static void test_child__stops_by_term(void **state)
{
    struct world *w = *state;
    spawn_shell(w, "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.05; done");
    child_release(w->child);
    assert_true(wait_turning(w->loop, log_is_there, w, 20000));
    child_stop(w->child, 10000);
    child_stop(w->child, 10000);
    assert_ends(w, 5 << 8);
}

static void test_child__stops_by_kill_what_ignores_term(void **state)
{
    struct world *w = *state;
    spawn_shell(w, "trap '' TERM; echo up; while :; do sleep 0.05; done");
    child_release(w->child);
    assert_true(wait_turning(w->loop, log_is_there, w, 20000));
    int64_t start_ms = clock_mono_ms();
    child_stop(w->child, 300);
    assert_ends(w, SIGKILL);
    assert_in_range(clock_mono_ms() - start_ms, 290, 10000);
}

static void test_child__stops_at_the_gate(void **state)
{
    struct world *w = *state;
    spawn_shell(w, "echo ran");
    child_stop(w->child, 10000);
    assert_true(wait_turning(w->loop, has_ended, w, 20000));
    assert_false(log_is_there(w));
}

static bool group_is_gone(void *arg)
{
    struct world *w = arg;
    return kill((pid_t)-w->identity.pid, 0) != 0;
}

static void test_child__leaves_nothing_of_its_group_behind(void **state)
{
    struct world *w = *state;
    spawn_shell(w, "(trap '' TERM; while :; do sleep 0.05; done) & echo up; exit 0");
    child_release(w->child);
    assert_ends(w, 0);
    assert_true(wait_until(group_is_gone, w, 20000));
}

/* ---- adoption ---- */

static void test_child__is_adopted_by_its_identity(void **state)
{
    struct world *w = *state;
    spawn_shell(w, "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done");
    child_release(w->child);
    assert_true(wait_turning(w->loop, log_is_there, w, 20000));
    child_forget(w->child);
    w->child = NULL;
    turn_for(w->loop, 100);
    assert_int_equal(w->ended, 0); /* it goes on */
    assert_int_equal(child_adopt(w->loop, &w->identity, on_ended, w, &w->child, &w->err), ERR_OK);
    child_stop(w->child, 10000);
    assert_true(wait_turning(w->loop, has_ended, w, 20000));
}

/* A real orphan: its parent is gone, so there is no status. */
static void test_child__is_adopted_after_its_agent_died(void **state)
{
    struct world *w = *state;
    int words[2];
    assert_int_equal(pipe(words), 0);
    pid_t agent = fork();
    if (agent == 0) {
        struct loop *loop;
        struct child *child;
        const char *argv[] = {"/bin/sh", "-c", "echo up; while :; do sleep 0.05; done", NULL};
        const char *env[] = {"PATH=/usr/bin:/bin", NULL};
        struct child_spec spec = {
            .name = "x", .argv = argv, .env = env, .folder = w->dir, .log_path = w->log};
        bool worked = loop_open(&loop, NULL) == ERR_OK &&
                      child_spawn(loop, &spec, on_ended, w, &child, NULL) == ERR_OK;
        if (!worked)
            _exit(1);
        child_identity(child, &w->identity);
        (void)!write(words[1], &w->identity, sizeof w->identity);
        child_release(child);
        (void)raise(SIGKILL);
    }
    assert_int_equal(read(words[0], &w->identity, sizeof w->identity), sizeof w->identity);
    (void)close(words[0]);
    (void)close(words[1]);
    assert_int_equal(waitpid(agent, NULL, 0), agent);
    assert_true(wait_until(log_is_there, w, 20000));
    assert_int_equal(child_adopt(w->loop, &w->identity, on_ended, w, &w->child, &w->err), ERR_OK);
    child_stop(w->child, 10000);
    assert_ends(w, -1);
    assert_true(wait_until(group_is_gone, w, 20000));
}

static void test_child__adopts_no_stranger(void **state)
{
    struct world *w = *state;
    struct child *child = NULL;
    struct child_identity identity;
    spawn_shell(w, "echo up; while :; do sleep 0.05; done");
    child_release(w->child);
    identity = w->identity;
    identity.start_ticks++; /* the pid was reused */
    assert_int_equal(child_adopt(w->loop, &identity, on_ended, w, &child, &w->err), ERR_NOT_FOUND);
    identity = w->identity;
    identity.boot_id[0] ^= 1; /* of another boot */
    assert_int_equal(child_adopt(w->loop, &identity, on_ended, w, &child, &w->err), ERR_NOT_FOUND);
    identity = w->identity;
    identity.pid = 1;
    assert_int_equal(child_adopt(w->loop, &identity, on_ended, w, &child, &w->err), ERR_NOT_FOUND);
    child_stop(w->child, 0);
    assert_true(wait_turning(w->loop, has_ended, w, 20000));
    assert_int_equal(child_adopt(w->loop, &w->identity, on_ended, w, &child, &w->err),
                     ERR_NOT_FOUND);
}

/* ---- log ---- */

static void test_child__log_is_cut_to_its_newest_half(void **state)
{
    struct world *w = *state;
    enum { LINE = 9 };
    char *text = mem_new(1001, LINE);
    for (int i = 0; i < 1000; i++)
        (void)snprintf(text + (size_t)i * LINE, LINE + 1, "line %03d\n", i);
    tempdir_write(w->log, text, strlen(text));
    child_trim_log(w->log, 20000); /* below the bound: untouched */
    struct stat st;
    assert_int_equal(stat(w->log, &st), 0);
    assert_int_equal(st.st_size, 9000);
    int fd = open(w->log, O_WRONLY | O_APPEND);
    child_trim_log(w->log, 2000);
    assert_int_equal(write(fd, "after\n", 6), 6); /* the writer goes on at the end */
    (void)close(fd);
    char *left = read_log(w);
    assert_in_range(strlen(left), 900, 1006);
    assert_memory_equal(left, "line ", 5);
    assert_string_equal(left + strlen(left) - 15, "line 999\nafter\n");
    free(left);
    mem_free(text);
    child_trim_log("/nonexistent/log", 10);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_child__waits_at_the_gate),
        T(test_child__ends_unstarted_when_the_agent_dies_before_the_gate),
        T(test_child__has_its_own_environment_folder_and_session),
        T(test_child__has_no_signal_blocked_or_ignored),
        T(test_child__obeys_its_limits),
        T(test_child__finds_its_program_relative_to_its_folder),
        T(test_child__reports_a_program_that_cannot_be_run),
        T(test_child__reports_exit_codes_and_signals),
        T(test_child__stops_by_term),
        T(test_child__stops_by_kill_what_ignores_term),
        T(test_child__stops_at_the_gate),
        T(test_child__leaves_nothing_of_its_group_behind),
        T(test_child__is_adopted_by_its_identity),
        T(test_child__is_adopted_after_its_agent_died),
        T(test_child__adopts_no_stranger),
        T(test_child__log_is_cut_to_its_newest_half),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
