/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line against a real captain: exit codes, at most three lines of error, nothing sent
 * when the words are wrong.
 */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "tests/e2e/world.h"
#include "tests/support/tempdir.h"

static struct world *world;

static int set_up(void **state)
{
    (void)state;
    world = world_new(0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_free(world);
    return 0;
}

static unsigned lines(const char *text)
{
    unsigned count = 0;
    for (; text && *text; text++)
        count += *text == '\n';
    return count;
}

static void expect_refused(const char *const *args, int code, const char *line)
{
    char *out DEFER(mem_free_ref) = NULL;
    char *err DEFER(mem_free_ref) = NULL;
    int got = world_cli(world, args, &out, &err);
    if (got != code || !strstr(err, line))
        print_error("exit %d, stderr: %s", got, err);
    assert_int_equal(got, code);
    assert_string_equal(out, "");
    assert_true(strncmp(err, "error: ", 7) == 0);
    assert_true(lines(err) <= 3);
    assert_non_null(strstr(err, line));
}

static size_t releases_in_log(void)
{
    json_t *log =
        world_json(world, (const char *[]){"log", "ls", "--kind", "release.created", NULL});
    size_t count = json_array_size(json_object_get(log, "entries"));
    json_decref(log);
    return count;
}

static const char *key(void)
{
    static char path[512];
    (void)snprintf(path, sizeof path, "%s/keys/release.key", world->captain_dir);
    return path;
}

/* Writes world/NAME/release.yaml with these lines behind app, version and sources; returns its
 * path. */
static const char *describe(const char *name, const char *version, const char *rest)
{
    static char path[512];
    char text[4096];
    (void)snprintf(path, sizeof path, "%s/%s", world->dir, name);
    (void)mkdir(path, 0700);
    (void)snprintf(path, sizeof path, "%s/%s/release.yaml", world->dir, name);
    (void)snprintf(text, sizeof text,
                   "app: tool\nversion: %s\nsources: [{repository: \"https://example.org/t.git\", "
                   "commit: \"%040d\"}]\n%s",
                   version, 9, rest);
    tempdir_write(path, text, strlen(text));
    return path;
}

static int create(const char *yaml, char **ret_err)
{
    return world_cli(world, (const char *[]){"release", "create", "-f", yaml, "--key", key(), NULL},
                     NULL, ret_err);
}

static void test_cli__a_wrong_description_sends_nothing(void **state)
{
    (void)state;
    size_t before = releases_in_log();
    const char *yaml = describe("wrong", "1.0", "services:\n  - {name: web, comand: [x]}\n");
    expect_refused((const char *[]){"release", "create", "-f", yaml, "--key", key(), NULL}, 2,
                   "release.yaml:5:17: a service has no key \"comand\"");
    yaml = describe("wrong", "1.0", "artifacts: [{path: nowhere}]\n");
    expect_refused((const char *[]){"release", "create", "-f", yaml, "--key", key(), NULL}, 2,
                   "release.yaml:4:13: cannot read nowhere");
    yaml = describe("wrong", "1.0",
                    "artifacts: [{path: release.yaml, sha256: "
                    "0000000000000000000000000000000000000000000000000000000000000000}]\n");
    expect_refused((const char *[]){"release", "create", "-f", yaml, "--key", key(), NULL}, 2,
                   "release.yaml has another sha256 than it must");
    yaml = describe("wrong", "1.0", "");
    expect_refused((const char *[]){"release", "create", "-f", yaml, NULL}, 2, "--key FILE");
    expect_refused((const char *[]){"release", "create", "-f", "/nowhere.yaml", NULL}, 2,
                   "/nowhere.yaml");
    assert_int_equal(releases_in_log(), before);
}

static void test_cli__the_same_release_again_is_fine_another_is_not(void **state)
{
    (void)state;
    char *err DEFER(mem_free_ref) = NULL;
    const char *yaml =
        describe("same", "1.0", "data_version: 1\nartifacts: [{path: release.yaml}]\n");
    assert_int_equal(create(yaml, NULL), 0);
    size_t before = releases_in_log();
    assert_int_equal(create(yaml, &err), 0);
    assert_non_null(strstr(err, "is there already"));
    yaml = describe("same", "1.0", "data_version: 2\nartifacts: [{path: release.yaml}]\n");
    expect_refused((const char *[]){"release", "create", "-f", yaml, "--key", key(), NULL}, 5,
                   "tool@1.0 exists with other content");
    assert_int_equal(releases_in_log(), before);
}

static void test_cli__an_exported_release_is_whole_and_a_damaged_one_is_refused(void **state)
{
    (void)state;
    char folder[512], document[600];
    (void)snprintf(folder, sizeof folder, "%s/out", world->dir);
    const char *yaml = describe("export", "2.0", "artifacts: [{path: release.yaml}]\n");
    assert_int_equal(create(yaml, NULL), 0);
    json_t *info = world_json(
        world, (const char *[]){"release", "export", "tool@2.0", "--output", folder, NULL});
    json_t *shown = world_json(world, (const char *[]){"release", "show", "tool@2.0", NULL});
    const char *digest = json_string_value(
        json_object_get(json_array_get(json_object_get(shown, "artifacts"), 0), "sha256"));
    assert_non_null(json_object_get(info, "envelope"));
    (void)snprintf(document, sizeof document, "%s/artifacts/%s", folder, digest);
    char *stored = tempdir_read(document, NULL);
    char *mine = tempdir_read(yaml, NULL);
    assert_string_equal(stored, mine);
    const char *bundle[] = {"release", "create", "--bundle", folder, NULL};
    assert_int_equal(world_cli(world, bundle, NULL, NULL), 0);
    tempdir_write(document, "x", 1);
    expect_refused(bundle, 1, "is damaged");
    free(stored);
    free(mine);
    json_decref(info);
    json_decref(shown);
}

static void test_cli__exit_codes_say_what_happened(void **state)
{
    (void)state;
    expect_refused((const char *[]){"release", "show", "tool@9", NULL}, 3, "tool@9");
    expect_refused((const char *[]){"channel", "show", "no/such", NULL}, 3, "no/such");
    expect_refused((const char *[]){"log", "show", "99999", NULL}, 3, "99999");
    expect_refused((const char *[]){"channel", "set", "tool", "tool@1.0", NULL}, 2, "APP/CHANNEL");
    expect_refused((const char *[]){"release", "show", "tool", NULL}, 2, "APP@VERSION");
    expect_refused((const char *[]){"log", "show", "x", NULL}, 2, "captain log ls");
    expect_refused((const char *[]){"--timeout", "0s", "status", NULL}, 2, "--timeout");
    expect_refused((const char *[]){"--color", "pink", "status", NULL}, 2, "--color");
}

static int run_alone(const char *const *args, const char *url, char **ret_err)
{
    const char *argv[16] = {getenv("CAPTAIN_BIN"), "--nats", url};
    char path[512];
    size_t len = 3;
    for (; *args && len < 15; args++)
        argv[len++] = *args;
    (void)snprintf(path, sizeof path, "%s/alone.err", world->dir);
    (void)remove(path);
    const char *env[] = {"XDG_CONFIG_HOME=/nonexistent", "USER=tester", NULL};
    int code = proc_run(
        &(struct proc_options){.argv = argv, .env = env, .err_path = path, .out_path = "/dev/null"},
        30000);
    *ret_err = tempdir_read(path, NULL);
    return code;
}

static void test_cli__no_contact_is_told_from_no_captain(void **state)
{
    (void)state;
    char *err DEFER(mem_free_ref) = NULL;
    const char *status[] = {"--timeout", "500ms", "status", NULL};
    assert_int_equal(run_alone(status, "nats://user:secret@127.0.0.1:1", &err), 8);
    assert_non_null(strstr(err, "no contact with NATS at nats://127.0.0.1:1"));
    assert_null(strstr(err, "secret"));
    assert_true(lines(err) <= 3);

    struct nats_server *lonely = nats_server_start(NULL);
    char *err2 DEFER(mem_free_ref) = NULL;
    assert_int_equal(run_alone(status, nats_server_url(lonely), &err2), 8);
    assert_non_null(strstr(err2, "captain does not answer"));
    assert_non_null(strstr(err2, "captain serve"));
    nats_server_free(lonely);
}

static void test_cli__refused_credentials_are_not_authorised(void **state)
{
    (void)state;
    char *err DEFER(mem_free_ref) = NULL;
    struct nats_server *locked =
        nats_server_start("authorization { user: ada, password: lovelace }\n");
    const char *status[] = {"status", NULL};
    assert_int_equal(run_alone(status, nats_server_url(locked), &err), 4);
    assert_non_null(strstr(err, "does not let us in"));
    nats_server_free(locked);
}

static void test_cli__data_goes_to_stdout_and_words_to_stderr(void **state)
{
    (void)state;
    char *out DEFER(mem_free_ref) = NULL;
    char *err DEFER(mem_free_ref) = NULL;
    assert_int_equal(world_cli(world, (const char *[]){"device", "ls", NULL}, &out, &err), 0);
    assert_string_equal(out, "");
    assert_string_equal(err, "no such devices\n");
    json_t *list = world_json(world, (const char *[]){"device", "ls", NULL});
    assert_true(json_is_array(json_object_get(list, "devices")));
    json_decref(list);
}

static void test_cli__colours_are_for_terminals_or_by_order(void **state)
{
    (void)state;
    char *plain DEFER(mem_free_ref) = NULL;
    char *colored DEFER(mem_free_ref) = NULL;
    assert_int_equal(create(describe("color", "3.0", ""), NULL), 0);
    assert_int_equal(world_cli(world,
                               (const char *[]){"channel", "set", "tool/stable", "tool@3.0", NULL},
                               NULL, NULL),
                     0);
    assert_int_equal(world_cli(world, (const char *[]){"channel", "ls", NULL}, &plain, NULL), 0);
    assert_null(strchr(plain, '\033'));
    const char *always[] = {"--color", "always", "channel", "ls", NULL};
    assert_int_equal(world_cli(world, always, &colored, NULL), 0);
    assert_non_null(strchr(colored, '\033'));
}

static void test_cli__contexts_are_kept_and_used(void **state)
{
    (void)state;
    const char *make[] = {
        "context",       "create", "lab",        "--url", nats_server_url(world->nats),
        "--release-key", key(),    "--operator", "ada",   NULL};
    assert_int_equal(world_cli(world, make, NULL, NULL), 0);
    json_t *shown = world_json(world, (const char *[]){"context", "show", NULL});
    assert_string_equal(json_string_value(json_object_get(shown, "operator")), "ada");
    json_decref(shown);
    /* The context signs, and its operator is the actor. */
    const char *yaml = describe("context", "4.0", "");
    assert_int_equal(
        world_cli(world, (const char *[]){"release", "create", "-f", yaml, NULL}, NULL, NULL), 0);
    shown = world_json(world, (const char *[]){"release", "show", "tool@4.0", NULL});
    assert_string_equal(json_string_value(json_object_get(shown, "createdBy")), "operator:ada");
    json_decref(shown);
    assert_int_equal(world_cli(world, (const char *[]){"context", "rm", "lab", NULL}, NULL, NULL),
                     0);
    expect_refused((const char *[]){"context", "use", "lab", NULL}, 3, "there is no context lab");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli__a_wrong_description_sends_nothing),
        cmocka_unit_test(test_cli__the_same_release_again_is_fine_another_is_not),
        cmocka_unit_test(test_cli__an_exported_release_is_whole_and_a_damaged_one_is_refused),
        cmocka_unit_test(test_cli__exit_codes_say_what_happened),
        cmocka_unit_test(test_cli__no_contact_is_told_from_no_captain),
        cmocka_unit_test(test_cli__refused_credentials_are_not_authorised),
        cmocka_unit_test(test_cli__data_goes_to_stdout_and_words_to_stderr),
        cmocka_unit_test(test_cli__colours_are_for_terminals_or_by_order),
        cmocka_unit_test(test_cli__contexts_are_kept_and_used),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
