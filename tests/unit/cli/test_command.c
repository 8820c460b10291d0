/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "captain/cli/cli.h"
#include "common/base/str.h"

enum { WORDS_MAX = 16 };

static enum err_code parse(const char *line, struct invocation *ret, struct err *err)
{
    static char copy[512];
    static char *argv[WORDS_MAX + 1];
    int argc = 0;
    assert_int_equal(str_copy(copy, sizeof copy, line), ERR_OK);
    for (char *word = strtok(copy, " "); word && argc < WORDS_MAX; word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc] = NULL;
    *ret = (struct invocation){0};
    *err = (struct err){0};
    return command_parse(argc, argv, ret, err);
}

static void expect_wrong(const char *line, const char *error, const char *hint)
{
    struct invocation invocation;
    struct err err;
    assert_int_equal(parse(line, &invocation, &err), ERR_USAGE);
    assert_string_equal(err.text, error);
    assert_string_equal(err.hint, hint);
}

static void test_command__flags_stand_before_or_behind_the_command(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "captain --json channel set hello/stable hello@1.1 --reason why",
        "captain channel --json set --reason=why hello/stable hello@1.1",
        "captain channel set hello/stable --reason why hello@1.1 --json",
    };
    for (size_t i = 0; i < 3; i++) {
        struct invocation invocation;
        struct err err;
        assert_int_equal(parse(lines[i], &invocation, &err), ERR_OK);
        assert_ptr_equal(invocation.command->run, cmd_channel_set);
        assert_int_equal(invocation.args_len, 2);
        assert_string_equal(invocation.args[0], "hello/stable");
        assert_string_equal(invocation.args[1], "hello@1.1");
        assert_string_equal(invocation.flags[FLAG_REASON], "why");
        assert_non_null(invocation.flags[FLAG_JSON]);
        assert_null(invocation.flags[FLAG_NATS]);
    }
}

static void test_command__letters_and_the_end_of_flags(void **state)
{
    (void)state;
    struct invocation invocation;
    struct err err;
    assert_int_equal(parse("captain release create -f x.yaml -o json", &invocation, &err), ERR_OK);
    assert_string_equal(invocation.flags[FLAG_FILE], "x.yaml");
    assert_string_equal(invocation.flags[FLAG_FORMAT], "json");
    assert_int_equal(parse("captain device show -- --odd", &invocation, &err), ERR_OK);
    assert_string_equal(invocation.args[0], "--odd");
}

static void test_command__a_beginning_of_a_flag_is_not_the_flag(void **state)
{
    (void)state;
    expect_wrong("captain status --jso", "there is no flag --jso", "did you mean --json?");
    expect_wrong("captain status --time 5s", "there is no flag --time", "did you mean --timeout?");
    expect_wrong("captain status --time=5s", "there is no flag --time", "did you mean --timeout?");
    expect_wrong("captain status --wibble", "there is no flag --wibble", "captain help");
}

static void test_command__the_nearest_name_is_offered(void **state)
{
    (void)state;
    expect_wrong("captain relaese ls", "there is no command relaese",
                 "did you mean captain release?");
    expect_wrong("captain chanel ls", "there is no command chanel",
                 "did you mean captain channel?");
    expect_wrong("captain zzz", "there is no command zzz", "captain help");
    expect_wrong("captain channel hist hello/stable",
                 "captain channel knows no hist, but: set, ls, show, history",
                 "did you mean captain channel history?");
    expect_wrong("captain log", "captain log needs a verb: ls, show", "captain help log");
    expect_wrong("captain", "no command was given", "captain help");
}

static void test_command__flags_and_arguments_fit_the_command(void **state)
{
    (void)state;
    expect_wrong("captain release ls --output x", "captain release ls has no flag --output",
                 "captain help release ls");
    expect_wrong("captain channel set hello/stable", "an argument is missing",
                 "captain channel set APP/CHANNEL APP@VERSION");
    expect_wrong("captain log show 1 2", "there is an argument too many: 2",
                 "captain log show SEQ");
    expect_wrong("captain status --nats", "--nats needs a value", "--nats VALUE");
    expect_wrong("captain status --nats a --nats b", "--nats is given twice", "");
}

static void test_command__help_asks_for_no_arguments(void **state)
{
    (void)state;
    struct invocation invocation;
    struct err err;
    assert_int_equal(parse("captain channel set --help", &invocation, &err), ERR_OK);
    assert_ptr_equal(invocation.command->run, cmd_channel_set);
    assert_int_equal(parse("captain --version", &invocation, &err), ERR_OK);
    assert_null(invocation.command);
}

/* What help, completion and the parser read must hold together. */
static void test_command__the_table_is_sound(void **state)
{
    (void)state;
    uint64_t used = FLAGS_EVERYWHERE;
    for (size_t i = 0; i < commands_len; i++) {
        assert_non_null(commands[i].run);
        assert_true(strlen(commands[i].summary) > 0 && strlen(commands[i].summary) < 60);
        assert_true(commands[i].args_min <= commands[i].args_max);
        assert_true(commands[i].args_max <= COMMAND_ARGS_MAX - 2);
        assert_int_equal(commands[i].flags & FLAGS_EVERYWHERE, 0);
        used |= commands[i].flags;
        for (size_t k = 0; k < i; k++)
            assert_false(str_equal(commands[i].noun, commands[k].noun) &&
                         str_equal(commands[i].verb, commands[k].verb));
    }
    assert_int_equal(used, (FLAG_BIT(FLAG_COUNT - 1) << 1) - 1);
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        assert_non_null(command_flags[i].name);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(command_flags[i].name, command_flags[k].name);
    }
}

static void test_command__exit_codes_are_the_operators(void **state)
{
    (void)state;
    static const struct {
        enum err_code code;
        int exit;
    } rows[] = {
        {ERR_OK, 0},        {ERR_FAILED, 1},        {ERR_USAGE, 2},          {ERR_NOT_FOUND, 3},
        {ERR_DENIED, 4},    {ERR_CONFLICT, 5},      {ERR_UNHEALTHY, 6},      {ERR_NO_CONTACT, 8},
        {ERR_TIMEOUT, 124}, {ERR_INTERRUPTED, 130}, {ERR_HASH, 1},           {ERR_MALFORMED, 1},
        {ERR_IO, 1},        {ERR_EXPIRED, 1},       {(enum err_code)999, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(cli_exit_code(rows[i].code), rows[i].exit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command__flags_stand_before_or_behind_the_command),
        cmocka_unit_test(test_command__letters_and_the_end_of_flags),
        cmocka_unit_test(test_command__a_beginning_of_a_flag_is_not_the_flag),
        cmocka_unit_test(test_command__the_nearest_name_is_offered),
        cmocka_unit_test(test_command__flags_and_arguments_fit_the_command),
        cmocka_unit_test(test_command__help_asks_for_no_arguments),
        cmocka_unit_test(test_command__the_table_is_sound),
        cmocka_unit_test(test_command__exit_codes_are_the_operators),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
