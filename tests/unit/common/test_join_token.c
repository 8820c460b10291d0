/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/join_token.h"

#define ID "01ARZ3NDEKTSV4RRFFQ69G5FAV"
#define SEED "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
#define TEXT "captain-" ID "-" SEED

static void test_join_token__comes_back_from_its_text(void **state)
{
    (void)state;
    struct join_token token, again;
    char text[JOIN_TOKEN_TEXT];
    memcpy(token.id, ID, sizeof ID);
    sign_key_new(&token.key);
    join_token_text(&token, text);
    assert_int_equal(strlen(text), JOIN_TOKEN_TEXT - 1);
    assert_int_equal(join_token_parse(text, &again, NULL), ERR_OK);
    assert_string_equal(again.id, ID);
    assert_memory_equal(&again.key, &token.key, sizeof token.key);
}

static void test_join_token__reads_the_written_form(void **state)
{
    (void)state;
    struct join_token token;
    char hex[65];
    assert_int_equal(join_token_parse(TEXT, &token, NULL), ERR_OK);
    str_hex(bytes_of(token.key.public_key, sizeof token.key.public_key), hex);
    assert_string_equal(hex, "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
}

static void test_join_token__refuses_what_is_none_and_never_repeats_it(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "captain-",
        TEXT "0",
        "Captain-" ID "-" SEED,
        "captain-" ID "+" SEED,
        "captain-01arz3ndektsv4rrffq69g5fav-" SEED,
        "captain-" ID "-9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f6g",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct join_token token = {.id = "untouched"};
        struct err err = {0};
        assert_int_equal(join_token_parse(bad[i], &token, &err), ERR_MALFORMED);
        assert_string_equal(token.id, "untouched");
        assert_null(strstr(err.text, "9d61b19d"));
        assert_true(err.hint[0]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_join_token__comes_back_from_its_text),
        cmocka_unit_test(test_join_token__reads_the_written_form),
        cmocka_unit_test(test_join_token__refuses_what_is_none_and_never_repeats_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
