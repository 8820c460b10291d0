/* SPDX-License-Identifier: Apache-2.0
 *
 * captain dev --secure as a user runs it.
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

enum { CUT_MS = 5000 };

/* The only entry of the run's folder; "": none. */
static void work_folder(struct run *run, char ret[300])
{
    DIR *dir = opendir(run->dir);
    assert_non_null(dir);
    ret[0] = '\0';
    for (struct dirent *entry; (entry = readdir(dir));)
        if (entry->d_name[0] != '.')
            (void)snprintf(ret, 300, "%s/%s", run->dir, entry->d_name);
    (void)closedir(dir);
}

static void no_folder_is_left(struct run *run)
{
    char folder[300];
    work_folder(run, folder);
    assert_string_equal(folder, "");
}

static void test_dev_secure__check_proves_what_it_shows(void **state)
{
    struct run *run = *state;
    start(run, (const char *[]){"--secure", "--check", "--json", "--agents", "3", NULL});
    assert_int_equal(finish(run, DEV_MS), 0);
    char *out = tempdir_read(run->out, NULL);
    json_t *json = json_loads(out, 0, NULL);
    assert_non_null(json);
    assert_true(json_is_true(json_object_get(json, "ok")));
    const char *url = json_string_value(json_object_get(json, "natsUrl"));
    assert_memory_equal(url, "tls://localhost:", 16);
    assert_string_equal(json_string_value(json_object_get(json_object_get(json, "bad"), "state")),
                        "aborted");
    json_t *secure = json_object_get(json, "secure");
    assert_true(json_integer_value(json_object_get(secure, "enrolledMs")) > 0);
    const char *settings = json_string_value(json_object_get(secure, "settings"));
    assert_memory_equal(settings, "welcome=on api-key=", 19);
    assert_int_equal(strspn(settings + 19, "0123456789abcdef"), 16);
    assert_string_equal(json_string_value(json_object_get(secure, "revoked")), "north/d3");
    const json_int_t cut_ms = json_integer_value(json_object_get(secure, "cutMs"));
    assert_true(cut_ms > 0 && cut_ms < CUT_MS);
    assert_int_equal(access(json_string_value(json_object_get(secure, "secrets")), F_OK), -1);
    json_decref(json);
    free(out);
    no_folder_is_left(run);
}

static void test_dev_secure__an_interrupt_leaves_no_keys_and_no_secrets(void **state)
{
    struct run *run = *state;
    char folder[300], path[400];
    start(run, (const char *[]){"--secure", "--check", "--agents", "2", NULL});
    assert_true(wait_until(agents_report, run, DEV_MS));
    work_folder(run, folder);
    (void)snprintf(path, sizeof path, "%s/agents/d1.json", folder);
    json_t *config = json_load_file(path, 0, NULL);
    assert_non_null(config);
    assert_null(json_object_get(config, "nats")); /* from enrolment alone */
    assert_null(json_object_get(config, "root"));
    (void)snprintf(path, sizeof path, "%s", json_string_value(json_object_get(config, "secrets")));
    json_decref(config);
    *strrchr(path, '/') = '\0';
    assert_int_equal(access(path, F_OK), 0);
    proc_signal(run->proc, SIGINT);
    int status;
    assert_true(proc_wait(run->proc, END_MS, &status));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 130);
    assert_int_equal(access(path, F_OK), -1);
    no_folder_is_left(run);
}

static void test_dev_secure__a_server_elsewhere_is_refused(void **state)
{
    struct run *run = *state;
    start(run, (const char *[]){"--secure", "--check", "--nats", "nats://127.0.0.1:1", NULL});
    int status;
    assert_true(proc_wait(run->proc, DEV_MS, &status));
    assert_int_equal(WEXITSTATUS(status), 2);
    assert_true(says(run, "nats-server of its own"));
    no_folder_is_left(run);
}

#define DEV_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DEV_TEST(test_dev_secure__check_proves_what_it_shows),
        DEV_TEST(test_dev_secure__an_interrupt_leaves_no_keys_and_no_secrets),
        DEV_TEST(test_dev_secure__a_server_elsewhere_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
