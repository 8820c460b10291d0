/* SPDX-License-Identifier: Apache-2.0
 *
 * captain dev as a user runs it: it proves what it says, and leaves nothing behind however it ends.
 */
#include <dirent.h>
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/e2e/dev_run.h"
#include "tests/support/proc.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

static bool is_empty(const char *path)
{
    unsigned entries = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while (readdir(dir))
        entries++;
    (void)closedir(dir);
    return entries == 2;
}

/* A file of /proc/PID holds this text. */
static bool names(const char *pid, const char *what, const char *text_in_it)
{
    char path[300], text[4096];
    (void)snprintf(path, sizeof path, "/proc/%s/%s", pid, what);
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    size_t len = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    for (size_t i = 0; i < len; i++)
        if (text[i] == '\0')
            text[i] = ' ';
    text[len] = '\0';
    return strstr(text, text_in_it) != NULL;
}

/* Its working folder lies there: true for the services of agents. */
static bool works_in(const char *pid, const char *dir)
{
    char path[300], folder[4096];
    (void)snprintf(path, sizeof path, "/proc/%s/cwd", pid);
    ssize_t len = readlink(path, folder, sizeof folder - 1);
    folder[len > 0 ? len : 0] = '\0';
    return strncmp(folder, dir, strlen(dir)) == 0;
}

/* The environment carries XDG_CONFIG_HOME inside the folder, and services run with agent's paths. */
static bool no_process_left(void *arg)
{
    struct run *run = arg;
    bool none = true;
    DIR *proc = opendir("/proc");
    for (struct dirent *entry; none && (entry = readdir(proc));)
        none = !(entry->d_name[0] >= '0' && entry->d_name[0] <= '9' &&
                 (works_in(entry->d_name, run->dir) || names(entry->d_name, "cmdline", run->dir) ||
                  names(entry->d_name, "environ", run->dir)));
    (void)closedir(proc);
    return none;
}

static void test_dev__check_proves_that_the_good_one_arrives_and_the_bad_one_goes_back(void **state)
{
    struct run *run = *state;
    start(run, (const char *[]){"--check", "--json", "--agents", "3", NULL});
    assert_int_equal(finish(run, DEV_MS), 0);
    char *out = tempdir_read(run->out, NULL);
    json_error_t why;
    json_t *json = json_loads(out, 0, &why);
    assert_non_null(json);
    assert_true(json_is_true(json_object_get(json, "ok")));
    json_t *devices = json_object_get(json, "devices");
    assert_int_equal(json_array_size(devices), 3);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(
            json_string_value(json_object_get(json_array_get(devices, i), "serves")),
            "hello from version 1.1");
    json_t *bad = json_object_get(json, "bad");
    assert_string_equal(json_string_value(json_object_get(bad, "state")), "aborted");
    assert_int_equal(json_integer_value(json_object_get(bad, "exposed")), 2);
    assert_true(json_integer_value(json_object_get(bad, "served")) >= 1);
    json_t *waves = json_array_get(json_object_get(json, "moves"), 1);
    assert_true(json_integer_value(json_object_get(waves, "waves")) >= 2);
    json_decref(json);
    free(out);
    assert_true(no_process_left(run));
    assert_true(is_empty(run->dir));
}

static void end_by(struct run *run, int signum)
{
    start(run, (const char *[]){"--check", "--agents", "2", NULL});
    assert_true(wait_until(agents_report, run, DEV_MS));
    proc_signal(run->proc, signum);
    int status;
    assert_true(proc_wait(run->proc, END_MS, &status));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 130);
    assert_true(says(run, "interrupted"));
    assert_true(no_process_left(run));
    assert_true(is_empty(run->dir));
}

static void test_dev__an_interrupt_leaves_nothing_behind(void **state)
{
    end_by(*state, SIGINT);
}

static void test_dev__a_closed_terminal_leaves_nothing_behind(void **state)
{
    assert_true(signal(SIGHUP, SIG_DFL) != SIG_ERR); /* these tests may run under nohup */
    end_by(*state, SIGHUP);
}

static bool first_release_serves(void *arg)
{
    return says(arg, "device serves hello@1.0");
}

/* Killed, it cannot clean its folder; but nothing of it goes on running. */
static void test_dev__no_process_survives_its_death(void **state)
{
    struct run *run = *state;
    start(run, (const char *[]){"--check", "--agents", "2", NULL});
    assert_true(wait_until(first_release_serves, run, DEV_MS));
    assert_false(no_process_left(run));
    proc_signal(run->proc, SIGKILL);
    assert_true(wait_until(no_process_left, run, END_MS));
}

static void test_dev__a_server_that_is_not_there_is_named(void **state)
{
    struct run *run = *state;
    start(run, (const char *[]){"--check", "--nats", "nats://127.0.0.1:1", NULL});
    int status;
    assert_true(proc_wait(run->proc, DEV_MS, &status));
    assert_int_equal(WEXITSTATUS(status), 8);
    assert_true(says(run, "error: no contact with NATS at nats://127.0.0.1:1"));
    assert_true(no_process_left(run));
    assert_true(is_empty(run->dir));
}

static void test_dev__a_folder_that_holds_something_is_not_touched(void **state)
{
    struct run *run = *state;
    char path[300];
    (void)snprintf(path, sizeof path, "%s/mine", run->dir);
    tempdir_write(path, "x", 1);
    start(run, (const char *[]){"--check", "--state-dir", run->dir, NULL});
    int status;
    assert_true(proc_wait(run->proc, DEV_MS, &status));
    assert_int_equal(WEXITSTATUS(status), 2);
    char *kept = tempdir_read(path, NULL);
    assert_string_equal(kept, "x");
    free(kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_dev__check_proves_that_the_good_one_arrives_and_the_bad_one_goes_back, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(test_dev__an_interrupt_leaves_nothing_behind, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_dev__a_closed_terminal_leaves_nothing_behind, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_dev__no_process_survives_its_death, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_dev__a_server_that_is_not_there_is_named, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_dev__a_folder_that_holds_something_is_not_touched,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
