/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "captain/core/secret_scope.h"
#include "common/base/mem.h"
#include "common/base/str.h"

static void test_secret_scope__what_each_scope_reaches(void **state)
{
    (void)state;
    static const struct {
        const char *scope, *device, *channel;
        enum secret_rank rank;
    } table[] = {
        {"", "lab/a", "stable", SECRET_OF_APP},
        {"channel:stable", "lab/a", "stable", SECRET_OF_CHANNEL},
        {"channel:stable", "lab/a", "stable2", SECRET_ELSEWHERE},
        {"channel:stable", "lab/a", "stabl", SECRET_ELSEWHERE},
        {"site:lab", "lab/a", "stable", SECRET_OF_SITE},
        {"site:la", "lab/a", "stable", SECRET_ELSEWHERE},
        {"site:lab", "lab2/a", "stable", SECRET_ELSEWHERE},
        {"site:a", "lab/a", "stable", SECRET_ELSEWHERE},
        {"device:lab/a", "lab/a", "stable", SECRET_OF_DEVICE},
        {"device:lab/a", "lab/ab", "stable", SECRET_ELSEWHERE},
        {"device:lab/a", "lab2/a", "stable", SECRET_ELSEWHERE},
        {"tenant:x", "lab/a", "stable", SECRET_ELSEWHERE},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (secret_scope_rank(table[i].scope, table[i].device, table[i].channel) != table[i].rank)
            fail_msg("row %zu: scope %s, device %s", i, table[i].scope, table[i].device);
}

static void test_secret_scope__only_four_forms_are_one(void **state)
{
    (void)state;
    static const char *const good[] = {"", "channel:stable", "site:lab-1", "device:lab/a_1"};
    static const char *const bad[] = {
        "app",      "channel:",   "channel:a.b",  "site:",     "site:lab/a",
        "device:",  "device:lab", "device:lab/",  "device:/a", "device:a/b/c",
        "Site:lab", " ",          "device:la b/c"};
    struct err err = {0};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_int_equal(secret_scope_check(good[i], &err), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (secret_scope_check(bad[i], &err) != ERR_USAGE || !err.hint[0])
            fail_msg("'%s' is taken for a scope", bad[i]);
}

static void assert_chosen(const char *device, const struct secret_app *apps, size_t apps_len,
                          const char *expected)
{
    static const struct secret_rule rules[] = {
        {"alpha", "key", ""},
        {"hello", "db", ""},
        {"hello", "db", "channel:stable"},
        {"hello", "db", "device:lab/a"},
        {"hello", "db", "site:lab"},
        {"hello", "token", "channel:beta"},
        {"hello", "token", "site:shop"},
        {"other", "db", ""},
    };
    uint32_t chosen[ARRAY_LEN(rules)];
    char text[256] = "";
    const size_t len = secret_choose(rules, ARRAY_LEN(rules), device, apps, apps_len, chosen);
    for (size_t i = 0; i < len; i++) {
        const struct secret_rule *rule = &rules[chosen[i]];
        const size_t used = strnlen(text, sizeof text);
        (void)snprintf(text + used, sizeof text - used, "%s%s/%s<%s>", i ? " " : "", rule->app,
                       rule->name, rule->scope);
    }
    assert_string_equal(text, expected);
}

static void test_secret_scope__the_most_specific_one_wins(void **state)
{
    (void)state;
    const struct secret_app stable[] = {{"hello", "stable"}}, beta[] = {{"hello", "beta"}};
    const struct secret_app both[] = {{"other", "x"}, {"hello", "edge"}};
    assert_chosen("lab/a", stable, 1, "hello/db<device:lab/a>");
    assert_chosen("lab/b", stable, 1, "hello/db<site:lab>");
    assert_chosen("shop/a", stable, 1, "hello/db<channel:stable> hello/token<site:shop>");
    assert_chosen("shop/a", beta, 1, "hello/db<> hello/token<site:shop>");
    assert_chosen("depot/a", beta, 1, "hello/db<> hello/token<channel:beta>");
    assert_chosen("depot/a", both, 2, "hello/db<> other/db<>");
    assert_chosen("lab/a", NULL, 0, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_secret_scope__what_each_scope_reaches),
        cmocka_unit_test(test_secret_scope__only_four_forms_are_one),
        cmocka_unit_test(test_secret_scope__the_most_specific_one_wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
