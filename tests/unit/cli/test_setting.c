/* SPDX-License-Identifier: Apache-2.0
 *
 * What `captain flag` and `captain secret` make of their words.
 */
#include "captain/cli/setting.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "tests/support/tempdir.h"

enum { WORDS_MAX = 16 };

static enum err_code parse(const char *line, struct invocation *ret, struct err *err)
{
    static char copy[512];
    static char *argv[WORDS_MAX + 1];
    struct arena *arena = ret->arena;
    int argc = 0;
    assert_int_equal(str_copy(copy, sizeof copy, line), ERR_OK);
    for (char *word = strtok(copy, " "); word && argc < WORDS_MAX; word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc] = NULL;
    *ret = (struct invocation){.arena = arena};
    *err = (struct err){0};
    return command_parse(argc, argv, ret, err);
}

static void test_setting__percentages(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t permyriad;
    } good[] = {{"100", 10000}, {"100.00", 10000}, {"12.5", 1250}, {"12.50", 1250}, {"0.01", 1},
                {"1", 100},     {"99.99", 9999},   {"05", 500},    {"0.1", 10}};
    static const char *const bad[] = {"",      "0",  "0.00", "100.01", "101",
                                      "-1",    "+1", "1.",   ".5",     "1.234",
                                      "1,5",   "5%", "1e1",  " 5",     "12345678901234567890",
                                      "1.2.3", "nan"};
    uint32_t permyriad = 0;
    struct err err = {0};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(setting_percent(good[i].text, &permyriad, &err), ERR_OK);
        assert_int_equal(permyriad, good[i].permyriad);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (setting_percent(bad[i], &permyriad, &err) != ERR_USAGE || !err.hint[0])
            fail_msg("'%s' is taken for a percentage", bad[i]);
}

static void test_setting__the_others_have_the_other_value(void **state)
{
    (void)state;
    assert_string_equal(setting_otherwise("true"), "false");
    assert_string_equal(setting_otherwise("false"), "true");
    assert_string_equal(setting_otherwise("blue"), "");
    assert_string_equal(setting_otherwise(""), "");
}

static enum err_code name_of(const char *line, struct arena *arena, char app[TOKEN_MAX + 1],
                             const char **name, const char **scope, struct err *err)
{
    struct invocation invocation = {.arena = arena};
    if (parse(line, &invocation, err))
        return err->code;
    return setting_secret_name(&invocation, app, name, scope, err);
}

static void test_setting__names_and_scopes(void **state)
{
    (void)state;
    static const struct {
        const char *line, *scope;
    } good[] = {
        {"captain secret set hello/db-1 --from x", ""},
        {"captain secret set hello/db-1 --from x --channel beta", "channel:beta"},
        {"captain secret rotate hello/db-1 --site lab", "site:lab"},
        {"captain secret rm --device lab/a hello/db-1", "device:lab/a"},
    };
    static const char *const bad[] = {
        "captain secret set hello --from x",
        "captain secret set hello/ --from x",
        "captain secret set /db --from x",
        "captain secret set hello/a/b --from x",
        "captain secret set he.llo/db --from x",
        "captain secret set hello/db --from x --site lab --device lab/a",
    };
    struct arena arena DEFER(arena_fini) = {0};
    struct err err = {0};
    char app[TOKEN_MAX + 1];
    const char *name, *scope;
    arena_init(&arena, 1 << 16);
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (name_of(good[i].line, &arena, app, &name, &scope, &err) != ERR_OK)
            fail_msg("%s: %s", good[i].line, err.text);
        assert_string_equal(app, "hello");
        assert_string_equal(name, "db-1");
        assert_string_equal(scope, good[i].scope);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (name_of(bad[i], &arena, app, &name, &scope, &err) != ERR_USAGE || !err.hint[0])
            fail_msg("%s is taken", bad[i]);
}

/* Nor is it said again: errors end up in logs. */
static void test_setting__a_value_cannot_be_an_argument(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "captain secret set hello/db hunter2",
        "captain secret set hello/db=hunter2",
        "captain secret rotate hello/db hunter2 --from x",
        "captain secret set hello/db --from x hunter2 hunter2 hunter2",
    };
    static const char *const unknown[] = {"captain secret set hello/db --value=hunter2",
                                          "captain secret set hello/db --value hunter2"};
    struct arena arena DEFER(arena_fini) = {0};
    struct err err = {0};
    char app[TOKEN_MAX + 1];
    const char *name, *scope;
    arena_init(&arena, 1 << 16);
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        assert_int_equal(name_of(lines[i], &arena, app, &name, &scope, &err), ERR_USAGE);
        assert_non_null(strstr(err.text, "cannot be an argument"));
        assert_non_null(strstr(err.hint, "--from FILE"));
        assert_null(strstr(err.text, "hunter2"));
        assert_null(strstr(err.hint, "hunter2"));
    }
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
        assert_int_equal(name_of(unknown[i], &arena, app, &name, &scope, &err), ERR_USAGE);
        assert_null(strstr(err.text, "hunter2"));
    }
}

static void expect_read(const char *from, enum err_code code, const char *value, size_t value_len)
{
    static uint8_t ret[SETTING_VALUE_MAX];
    struct err err = {0};
    size_t len = 0;
    if (setting_read_value(from, ret, &len, &err) != code)
        fail_msg("%s: %s", from, err.text);
    if (code != ERR_OK)
        return;
    assert_int_equal(len, value_len);
    assert_memory_equal(ret, value, value_len);
}

static void test_setting__values_are_read_byte_for_byte(void **state)
{
    (void)state;
    char *dir = tempdir_make(), *path = tempdir_path(dir, "value");
    char large[SETTING_VALUE_MAX + 1];
    memset(large, 'x', sizeof large);
    tempdir_write(path, "a\0b\n", 4);
    expect_read(path, ERR_OK, "a\0b\n", 4);
    tempdir_write(path, large, SETTING_VALUE_MAX);
    expect_read(path, ERR_OK, large, SETTING_VALUE_MAX);
    tempdir_write(path, large, sizeof large);
    expect_read(path, ERR_SIZE, NULL, 0);
    tempdir_write(path, "", 0);
    expect_read(path, ERR_USAGE, NULL, 0);
    expect_read("/nowhere/at-all", ERR_NOT_FOUND, NULL, 0);
    assert_int_equal(setenv("SETTING_TEST", "from the environment", 1), 0);
    expect_read("env://SETTING_TEST", ERR_OK, "from the environment", 20);
    assert_null(getenv("SETTING_TEST"));
    expect_read("env://SETTING_TEST", ERR_NOT_FOUND, NULL, 0);
    free(path);
    tempdir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_setting__percentages),
        cmocka_unit_test(test_setting__the_others_have_the_other_value),
        cmocka_unit_test(test_setting__names_and_scopes),
        cmocka_unit_test(test_setting__a_value_cannot_be_an_argument),
        cmocka_unit_test(test_setting__values_are_read_byte_for_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
