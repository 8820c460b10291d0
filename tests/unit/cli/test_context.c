/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/context.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common/base/str.h"
#include "tests/support/tempdir.h"

struct world {
    char *dir;
    char path[512];
    struct arena arena;
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    world->dir = tempdir_make();
    (void)snprintf(world->path, sizeof world->path, "%s/captain/contexts.json", world->dir);
    arena_init(&world->arena, 1 << 20);
    (void)setenv("XDG_CONFIG_HOME", world->dir, 1);
    (void)unsetenv("NATS_URL");
    (void)unsetenv("CAPTAIN_CONTEXT");
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    tempdir_remove(world->dir);
    arena_fini(&world->arena);
    free(world);
    return 0;
}

static void write_file(struct world *world, const char *text, mode_t mode)
{
    char folder[512];
    (void)snprintf(folder, sizeof folder, "%s/captain", world->dir);
    (void)mkdir(folder, 0700);
    tempdir_write(world->path, text, strlen(text));
    assert_int_equal(chmod(world->path, mode), 0);
}

static void expect_refused(struct world *world, const char *text, const char *error)
{
    struct contexts contexts;
    struct err err = {0};
    write_file(world, text, 0600);
    assert_int_equal(contexts_load(&world->arena, &contexts, &err), ERR_MALFORMED);
    assert_non_null(strstr(err.text, error));
}

static void test_context__what_was_saved_is_loaded(void **state)
{
    struct world *world = *state;
    struct contexts contexts;
    struct err err = {0};
    assert_int_equal(contexts_load(&world->arena, &contexts, &err), ERR_OK);
    assert_int_equal(contexts.list_len, 0);
    contexts.list[0] = (struct context){.name = "lab",
                                        .url = "nats://lab:4222",
                                        .operator_name = "ada",
                                        .release_key = "/k/release.key"};
    contexts.list[1] = (struct context){.name = "field", .url = "tls://field:4222"};
    contexts.list_len = 2;
    contexts.current = "lab";
    assert_int_equal(contexts_save(&contexts, &err), ERR_OK);

    struct stat st;
    assert_int_equal(stat(world->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);

    struct contexts again;
    assert_int_equal(contexts_load(&world->arena, &again, &err), ERR_OK);
    assert_int_equal(again.list_len, 2);
    assert_string_equal(again.current, "lab");
    assert_string_equal(contexts_find(&again, "lab")->operator_name, "ada");
    assert_string_equal(contexts_find(&again, "lab")->release_key, "/k/release.key");
    assert_null(contexts_find(&again, "field")->operator_name);
    assert_null(contexts_find(&again, "nowhere"));
}

static void test_context__a_file_others_may_read_is_refused(void **state)
{
    struct world *world = *state;
    struct contexts contexts;
    struct err err = {0};
    write_file(world, "{\"contexts\": {}}", 0644);
    assert_int_equal(contexts_load(&world->arena, &contexts, &err), ERR_DENIED);
    assert_non_null(strstr(err.hint, "chmod 600"));
}

static void test_context__a_broken_file_is_refused_with_its_place(void **state)
{
    struct world *world = *state;
    expect_refused(world, "{\"contexts\":\n  {]}", "contexts.json:2:");
    expect_refused(world, "[]", "is not of the form");
    expect_refused(world, "{\"contexts\": {\"a\": {\"urll\": \"x\"}}}", "unknown key \"urll\"");
    expect_refused(world, "{\"contexts\": {\"a\": {\"url\": 4}}}", "\"url\" of context \"a\"");
    expect_refused(world, "{\"contexts\": {\"a b\": {}}}", "no object with a plain name");
}

static void resolve(struct world *world, const char *context, const char *nats, struct context *ret)
{
    struct invocation invocation = {.arena = &world->arena};
    struct err err = {0};
    invocation.flags[FLAG_CONTEXT] = context;
    invocation.flags[FLAG_NATS] = nats;
    assert_int_equal(context_resolve(&invocation, ret, &err), ERR_OK);
}

static void test_context__flags_come_before_the_environment_before_the_file(void **state)
{
    struct world *world = *state;
    struct context context;
    resolve(world, NULL, NULL, &context);
    assert_string_equal(context.url, "nats://127.0.0.1:4222");
    write_file(world,
               "{\"current\": \"lab\", \"contexts\": {\"lab\": {\"url\": \"nats://lab:1\", "
               "\"operator\": \"ada\"}, \"field\": {\"url\": \"nats://field:1\"}}}",
               0600);
    resolve(world, NULL, NULL, &context);
    assert_string_equal(context.url, "nats://lab:1");
    assert_string_equal(context.operator_name, "ada");
    resolve(world, "field", NULL, &context);
    assert_string_equal(context.url, "nats://field:1");
    (void)setenv("NATS_URL", "nats://env:1", 1);
    resolve(world, NULL, NULL, &context);
    assert_string_equal(context.url, "nats://env:1");
    assert_string_equal(context.operator_name, "ada");
    resolve(world, NULL, "nats://flag:1", &context);
    assert_string_equal(context.url, "nats://flag:1");
}

static void test_context__an_unknown_context_is_no_guess(void **state)
{
    struct world *world = *state;
    struct invocation invocation = {.arena = &world->arena};
    struct context context;
    struct err err = {0};
    write_file(world, "{\"contexts\": {\"field\": {\"url\": \"nats://field:1\"}}}", 0600);
    invocation.flags[FLAG_CONTEXT] = "filed";
    assert_int_equal(context_resolve(&invocation, &context, &err), ERR_USAGE);
    assert_string_equal(err.hint, "did you mean field?");
}

static void test_context__any_user_name_becomes_a_token(void **state)
{
    struct world *world = *state;
    struct context context;
    char token[TOKEN_MAX + 1];
    context_token("ada.lovelace@corp", token);
    assert_string_equal(token, "ada_lovelace_corp");
    assert_true(str_is_token(token));
    context_token(NULL, token);
    assert_string_equal(token, "");
    (void)setenv("USER", "ada.l", 1);
    resolve(world, NULL, NULL, &context);
    assert_string_equal(context.operator_name, "ada_l");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_context__what_was_saved_is_loaded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_context__a_file_others_may_read_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_context__a_broken_file_is_refused_with_its_place,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_context__flags_come_before_the_environment_before_the_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_context__an_unknown_context_is_no_guess, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_context__any_user_name_becomes_a_token, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
