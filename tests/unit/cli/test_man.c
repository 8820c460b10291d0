/* SPDX-License-Identifier: Apache-2.0
 *
 * captain.1 and the help text against the command table, captain-release.yaml.5 against the parser.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "captain/cli/command.h"
#include "captain/cli/output.h"
#include "captain/cli/release_yaml.h"
#include "captain/io/policy_yaml.h"
#include "common/file.h"

enum { PAGE_MAX_BYTES = 1 << 20, HELP_COLUMNS = 80 };

struct page {
    struct arena arena;
    const char *text;
};

static const char *read_page(struct page *page, const char *name)
{
    struct bytes text;
    struct err err = {0};
    const char *path =
        arena_printf(&page->arena, "%s/packaging/man/%s", getenv("CAPTAIN_SOURCE_DIR"), name);
    if (file_read(path, PAGE_MAX_BYTES, &page->arena, &text, &err))
        fail_msg("%s", err.text);
    return arena_printf(&page->arena, "%.*s", (int)text.len, (const char *)text.ptr);
}

static int setup(void **state)
{
    static struct page page;
    arena_init(&page.arena, 8 * PAGE_MAX_BYTES);
    page.text = read_page(&page, "captain.1.scd");
    *state = &page;
    return 0;
}

static int teardown(void **state)
{
    struct page *page = *state;
    arena_fini(&page->arena);
    return 0;
}

static const char *heading(struct page *page, const struct command *command)
{
    return arena_printf(&page->arena, "\n*captain %s%s%s*", command->noun, command->verb ? " " : "",
                        command->verb ? command->verb : "");
}

/* From the command's heading to the next heading. */
static const char *section(struct page *page, const struct command *command)
{
    const char *name = heading(page, command);
    const char *start = strstr(page->text, name);
    if (!start)
        fail_msg("captain.1 does not name%s", name);
    const char *command_end = strstr(start + 1, "\n*captain ");
    const char *part_end = strstr(start + 1, "\n# ");
    const char *end = command_end && command_end < part_end ? command_end : part_end;
    return arena_printf(&page->arena, "%.*s", (int)(end - start), start);
}

static void expect_flag(struct page *page, const char *part, enum flag_id id)
{
    const struct flag *flag = &command_flags[id];
    if (!strstr(part, arena_printf(&page->arena, "*--%s*", flag->name)))
        fail_msg("captain.1 does not name --%s in:%s", flag->name, part);
    if (flag->letter && !strstr(part, arena_printf(&page->arena, "*-%c*", flag->letter)))
        fail_msg("captain.1 does not name -%c in:%s", flag->letter, part);
}

static void test_man__every_command_is_there_with_its_flags(void **state)
{
    struct page *page = *state;
    for (size_t i = 0; i < commands_len; i++) {
        const char *part = section(page, &commands[i]);
        for (size_t k = 0; k < FLAG_COUNT; k++)
            if (commands[i].flags & FLAG_BIT(k))
                expect_flag(page, part, (enum flag_id)k);
    }
}

static void test_man__flags_of_every_command_are_there(void **state)
{
    struct page *page = *state;
    const char *part = strstr(page->text, "# FLAGS OF EVERY COMMAND");
    assert_non_null(part);
    for (size_t k = 0; k < FLAG_COUNT; k++)
        if (FLAGS_EVERYWHERE & FLAG_BIT(k))
            expect_flag(page, part, (enum flag_id)k);
}

static bool is_flag(const struct command *command, const char *name, size_t len)
{
    for (size_t k = 0; k < FLAG_COUNT; k++)
        if (command_takes(command, (enum flag_id)k) && strlen(command_flags[k].name) == len &&
            memcmp(command_flags[k].name, name, len) == 0)
            return true;
    return false;
}

static void test_man__no_flag_is_there_that_the_command_does_not_take(void **state)
{
    struct page *page = *state;
    for (size_t i = 0; i < commands_len; i++) {
        const char *part = section(page, &commands[i]);
        for (const char *at = part; (at = strstr(at, "*--")); at++) {
            size_t len = strcspn(at + 3, "*");
            if (!is_flag(&commands[i], at + 3, len))
                fail_msg("captain.1 has --%.*s in:%s", (int)len, at + 3, part);
        }
    }
}

static void test_man__no_command_is_there_that_does_not_exist(void **state)
{
    struct page *page = *state;
    size_t found = 0;
    const char *end = strstr(page->text, "\n# FLAGS OF EVERY COMMAND");
    const char *at = strstr(page->text, "\n# COMMANDS");
    assert_non_null(at);
    for (; (at = strstr(at, "\n*captain ")) && at < end; at++)
        found++;
    assert_int_equal(found, commands_len);
}

static void test_man__the_example_of_a_release_is_one(void **state)
{
    struct page *page = *state;
    const char *text = read_page(page, "captain-release.yaml.5.scd");
    const char *start = strstr(text, "\n```\n");
    assert_non_null(start);
    start += strlen("\n```\n");
    const char *end = strstr(start, "\n```\n");
    assert_non_null(end);
    struct release_yaml yaml;
    struct err err = {0};
    if (release_yaml_parse("example", bytes_of(start, (size_t)(end - start) + 1), &page->arena,
                           &yaml, &err))
        fail_msg("%s", err.text);
    assert_string_equal(yaml.app, "hello");
    assert_int_equal(yaml.checks_len, 4);
}

static void test_man__the_example_of_a_policy_is_one(void **state)
{
    struct page *page = *state;
    const char *text = read_page(page, "captain-policy.yaml.5.scd");
    const char *start = strstr(text, "\n```\n");
    assert_non_null(start);
    start += strlen("\n```\n");
    const char *end = strstr(start, "\n```\n");
    assert_non_null(end);
    struct policy policy;
    struct err err = {0};
    if (policy_yaml_parse("example", bytes_of(start, (size_t)(end - start) + 1), &policy, &err))
        fail_msg("%s", err.text);
    assert_string_equal(policy.name, "nightly");
    assert_int_equal(policy.waves_len, 5);
}

/* What help prints, from a real stdout. */
static char *help_text(void)
{
    struct err err = {0};
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(fflush(stdout), 0);
    int saved = dup(STDOUT_FILENO);
    assert_true(dup2(fileno(file), STDOUT_FILENO) >= 0);
    assert_int_equal(output_open(false, "never", &err), ERR_OK);
    help_print(NULL, NULL);
    for (size_t i = 0; i < commands_len; i++) {
        help_print(&commands[i], NULL);
        help_print(NULL, commands[i].noun);
    }
    enum err_code code = output_flush(&err);
    assert_true(dup2(saved, STDOUT_FILENO) >= 0);
    (void)close(saved);
    assert_int_equal(code, ERR_OK);
    long size = ftell(file);
    char *text = calloc(1, (size_t)size + 1);
    assert_non_null(text);
    rewind(file);
    assert_int_equal(fread(text, 1, (size_t)size, file), size);
    (void)fclose(file);
    return text;
}

static void test_man__help_fits_a_terminal(void **state)
{
    (void)state;
    char *text = help_text();
    size_t lines = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), lines++)
        if (strlen(line) > HELP_COLUMNS)
            fail_msg("%zu columns: %s", strlen(line), line);
    free(text);
    assert_true(lines > commands_len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_man__every_command_is_there_with_its_flags),
        cmocka_unit_test(test_man__flags_of_every_command_are_there),
        cmocka_unit_test(test_man__no_flag_is_there_that_the_command_does_not_take),
        cmocka_unit_test(test_man__no_command_is_there_that_does_not_exist),
        cmocka_unit_test(test_man__the_example_of_a_release_is_one),
        cmocka_unit_test(test_man__the_example_of_a_policy_is_one),
        cmocka_unit_test(test_man__help_fits_a_terminal),
    };
    return cmocka_run_group_tests_name("man", tests, setup, teardown);
}
