/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/err.h"

static void test_err__set_overwrites_everything(void **state)
{
    (void)state;
    struct err err = {.code = ERR_IO, .sys = 5, .text = "old", .hint = "old"};
    assert_int_equal(err_set(&err, ERR_ROLLBACK, "sequence %d", 3), ERR_ROLLBACK);
    assert_int_equal(err.code, ERR_ROLLBACK);
    assert_int_equal(err.sys, 0);
    assert_string_equal(err.text, "sequence 3");
    assert_string_equal(err.hint, "");
}

static void test_err__set_may_quote_its_own_text(void **state)
{
    (void)state;
    struct err err = {.text = "inner"};
    (void)err_set(&err, ERR_FAILED, "outer (%s)", err.text);
    assert_string_equal(err.text, "outer (inner)");
    (void)err_wrap(&err, "again %s", err.text);
    assert_string_equal(err.text, "again outer (inner): outer (inner)");
}

static void test_err__null_gives_only_the_code(void **state)
{
    (void)state;
    assert_int_equal(err_set(NULL, ERR_HASH, "x"), ERR_HASH);
    assert_int_equal(err_sys(NULL, EACCES, "x"), ERR_IO);
    assert_int_equal(err_sys(NULL, ENOSPC, "x"), ERR_NO_SPACE);
}

static void test_err__sys_appends_the_reason(void **state)
{
    (void)state;
    struct err err;
    assert_int_equal(err_sys(&err, ENOENT, "opening %s", "f"), ERR_IO);
    assert_string_equal(err.text, "opening f: No such file or directory");
    assert_int_equal(err.sys, ENOENT);
    assert_int_equal(err_sys(&err, EDQUOT, "writing"), ERR_NO_SPACE);
}

static void test_err__wrap_and_hint_keep_the_code(void **state)
{
    (void)state;
    struct err err;
    (void)err_set(&err, ERR_EXPIRED, "too old");
    assert_int_equal(err_wrap(&err, "release %s", "a@1"), ERR_EXPIRED);
    assert_string_equal(err.text, "release a@1: too old");
    assert_int_equal(err_hint(&err, "sign it again"), ERR_EXPIRED);
    assert_string_equal(err.hint, "sign it again");
}

static void test_err__long_texts_are_cut_with_a_nul(void **state)
{
    (void)state;
    char longer[2 * ERR_TEXT_MAX];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    struct err err;
    (void)err_set(&err, ERR_FAILED, "%s", longer);
    assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
    (void)err_wrap(&err, "context");
    assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
    assert_memory_equal(err.text, "context: xxx", 12);
    (void)err_sys(&err, ENOENT, "%s", longer);
    assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
}

static void test_err__names_and_numbers_of_the_protocol_are_pinned(void **state)
{
    (void)state;
    static const struct {
        int code;
        const char *name;
    } pinned[] = {
        {10, "bad_signature"}, {11, "threshold"},  {12, "expired"},
        {13, "rollback"},      {14, "hash"},       {15, "size"},
        {16, "wrong_target"},  {17, "revoked"},    {18, "malformed"},
        {19, "too_slow"},      {20, "root_chain"}, {21, "no_space"},
        {22, "unhealthy"},     {124, "timeout"},   {0, "ok"},
        {9, "unknown"},
    };
    for (size_t i = 0; i < sizeof pinned / sizeof pinned[0]; i++)
        assert_string_equal(err_name((enum err_code)pinned[i].code), pinned[i].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err__set_overwrites_everything),
        cmocka_unit_test(test_err__set_may_quote_its_own_text),
        cmocka_unit_test(test_err__null_gives_only_the_code),
        cmocka_unit_test(test_err__sys_appends_the_reason),
        cmocka_unit_test(test_err__wrap_and_hint_keep_the_code),
        cmocka_unit_test(test_err__long_texts_are_cut_with_a_nul),
        cmocka_unit_test(test_err__names_and_numbers_of_the_protocol_are_pinned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
