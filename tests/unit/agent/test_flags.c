/* SPDX-License-Identifier: Apache-2.0
 *
 * Which value a device has, and what an app reads of it.
 */
#include "agent/core/flags.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/cohort.h"
#include "common/base/mem.h"
#include "tests/support/proc.h"
#include "tests/support/tempdir.h"

enum { DEVICES = 10000, ARENA_BYTES = 1 << 20 };

static struct flag flag_of(unsigned percent)
{
    return (struct flag){"new-ui", "on", "off", "app/new-ui", cohort_cut_percent(percent)};
}

static bool has_it(const struct flag *flag, unsigned device)
{
    char name[64];
    (void)snprintf(name, sizeof name, "site-%u/gw-%u", device % 7, device);
    return str_equal(flags_value(flag, name), "on");
}

static void test_flags__a_share_of_ten_thousand_devices_comes_out_right(void **state)
{
    (void)state;
    static const unsigned percents[] = {0, 1, 5, 10, 25, 50, 75, 90, 99, 100};
    for (size_t i = 0; i < ARRAY_LEN(percents); i++) {
        struct flag flag = flag_of(percents[i]);
        unsigned have = 0;
        for (unsigned k = 0; k < DEVICES; k++)
            have += has_it(&flag, k);
        unsigned want = DEVICES / 100 * percents[i];
        /* three standard deviations of a binomial share at its widest are 150 */
        unsigned slack = percents[i] == 0 || percents[i] == 100 ? 0 : 150;
        assert_in_range(have, want > slack ? want - slack : 0, want + slack);
    }
}

static void test_flags__a_higher_percentage_only_adds_devices(void **state)
{
    (void)state;
    for (unsigned k = 0; k < 1000; k++) {
        bool before = false;
        for (unsigned percent = 0; percent <= 100; percent += 5) {
            struct flag flag = flag_of(percent);
            bool now = has_it(&flag, k);
            assert_false(before && !now);
            before = now;
        }
        assert_true(before);
    }
}

static void test_flags__another_salt_draws_other_devices(void **state)
{
    (void)state;
    struct flag one = flag_of(50), other = flag_of(50);
    unsigned both = 0;
    other.salt = "app/other";
    for (unsigned k = 0; k < DEVICES; k++)
        both += has_it(&one, k) && has_it(&other, k);
    assert_in_range(both, 2300, 2700);
}

static void test_flags__a_literal_is_what_every_reader_takes_for_the_same_number(void **state)
{
    (void)state;
    static const char *const literals[] = {"true", "false", "0",       "-0",
                                           "12",   "-7",    "3.14",    "1e5",
                                           "2E-3", "1e+9",  "0.00001", "123456789012345"};
    static const char *const texts[] = {
        "",    "True",  "null",  "+1",    "01",  "1.",    ".5",        "1e",
        "0x1", "1e100", " 1",    "1 ",    "NaN", "-",     "truefalse", "1234567890123456",
        "1,5", "--1",   "1.2.3", "1e5.0", "{}",  "\"a\"", "Infinity",  "1_000"};
    for (size_t i = 0; i < ARRAY_LEN(literals); i++)
        assert_true(flags_is_literal(literals[i]));
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        if (flags_is_literal(texts[i]))
            fail_msg("\"%s\" is taken for a literal", texts[i]);
    }
}

struct texts {
    struct arena arena;
    struct bytes json, env;
    struct err err;
};

static enum err_code write_all(struct texts *t, const struct flag *flags, size_t len)
{
    arena_init(&t->arena, ARENA_BYTES);
    return flags_write(flags, len, "lyon/gw-1", &t->arena, &t->json, &t->env, &t->err);
}

static void assert_text(struct bytes found, const char *expected)
{
    char *text = mem_new(1, found.len + 1);
    memcpy(text, found.ptr, found.len);
    assert_string_equal(text, expected);
    mem_free(text);
}

#define EVERYONE(name, value)                                                                      \
    {                                                                                              \
        name, value, "", "", COHORT_CUT_ALL                                                        \
    }

static void test_flags__are_written_in_the_order_of_their_names(void **state)
{
    (void)state;
    struct texts t;
    static const struct flag flags[] = {
        EVERYONE("zoom", "1.5"),
        EVERYONE("new-ui", "true"),
        {"limit", "never", "12", "s", 0},
        EVERYONE("greeting", "it's \"$HOME\" `x` \\ !"),
        EVERYONE("new_ui", "lost in the environment"),
        EVERYONE("zoom", "a second one of that name"),
    };
    assert_int_equal(write_all(&t, flags, ARRAY_LEN(flags)), ERR_OK);
    assert_text(t.json, "{\n"
                        " \"greeting\": \"it's \\\"$HOME\\\" `x` \\\\ !\",\n"
                        " \"limit\": 12,\n"
                        " \"new-ui\": true,\n"
                        " \"new_ui\": \"lost in the environment\",\n"
                        " \"zoom\": 1.5\n"
                        "}\n");
    assert_text(t.env, "FLAG_GREETING=\"it's \\\"\\$HOME\\\" \\`x\\` \\\\ !\"\n"
                       "FLAG_LIMIT=\"12\"\n"
                       "FLAG_NEW_UI=\"true\"\n"
                       "FLAG_ZOOM=\"1.5\"\n");
    arena_fini(&t.arena);
}

static void test_flags__none_is_an_empty_object(void **state)
{
    (void)state;
    struct texts t;
    assert_int_equal(write_all(&t, NULL, 0), ERR_OK);
    assert_text(t.json, "{}\n");
    assert_text(t.env, "");
    arena_fini(&t.arena);
}

static void test_flags__more_than_there_may_be_are_refused(void **state)
{
    (void)state;
    struct texts t;
    struct flag flags[FLAGS_MAX + 1];
    char names[FLAGS_MAX + 1][16];
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        (void)snprintf(names[i], sizeof names[i], "flag%zu", i);
        flags[i] = (struct flag)EVERYONE(names[i], "x");
    }
    assert_int_equal(write_all(&t, flags, FLAGS_MAX + 1), ERR_SIZE);
    arena_fini(&t.arena);
    assert_int_equal(write_all(&t, flags, FLAGS_MAX), ERR_OK);
    arena_fini(&t.arena);
}

/* Every printable character comes back as it was, by a real shell. */
static void test_flags__a_shell_reads_back_what_was_written(void **state)
{
    (void)state;
    struct texts t;
    char value[128] = "";
    for (int c = ' '; c <= '~'; c++)
        value[c - ' '] = (char)c;
    struct flag flag = EVERYONE("all", value);
    char *dir = tempdir_make();
    char *file = tempdir_path(dir, "flags.env"), *out = tempdir_path(dir, "out");
    assert_int_equal(write_all(&t, &flag, 1), ERR_OK);
    tempdir_write(file, t.env.ptr, t.env.len);
    const char *argv[] = {"sh", "-c", ". \"$1\"; printf %s \"$FLAG_ALL\"", "sh", file, NULL};
    struct proc_options options = {.argv = argv, .out_path = out};
    assert_int_equal(proc_run(&options, 10000), 0);
    char *text = tempdir_read(out, NULL);
    assert_string_equal(text, value);
    free(text);
    free(file);
    free(out);
    tempdir_remove(dir);
    arena_fini(&t.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flags__a_share_of_ten_thousand_devices_comes_out_right),
        cmocka_unit_test(test_flags__a_higher_percentage_only_adds_devices),
        cmocka_unit_test(test_flags__another_salt_draws_other_devices),
        cmocka_unit_test(test_flags__a_literal_is_what_every_reader_takes_for_the_same_number),
        cmocka_unit_test(test_flags__are_written_in_the_order_of_their_names),
        cmocka_unit_test(test_flags__none_is_an_empty_object),
        cmocka_unit_test(test_flags__more_than_there_may_be_are_refused),
        cmocka_unit_test(test_flags__a_shell_reads_back_what_was_written),
    };
    return cmocka_run_group_tests_name("flags", tests, NULL, NULL);
}
