/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/ulid.h"

static void test_ulid__writes_the_vectors(void **state)
{
    (void)state;
    const uint8_t zero[ULID_RANDOM_BYTES] = {0};
    uint8_t ones[ULID_RANDOM_BYTES];
    /* Time part of the specification's example, https://github.com/ulid/spec: 01ARYZ6S41 is
     * 1469918176385; the random part is 80 bits, the first byte most significant. */
    const uint8_t counting[ULID_RANDOM_BYTES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    char text[ULID_TEXT];
    memset(ones, 0xff, sizeof ones);
    ulid_format(0, zero, text);
    assert_string_equal(text, "00000000000000000000000000");
    ulid_format((INT64_C(1) << 48) - 1, ones, text);
    assert_string_equal(text, "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
    ulid_format(1469918176385, counting, text);
    assert_string_equal(text, "01ARYZ6S41000G40R40M30E209");
}

static void test_ulid__sorts_by_time(void **state)
{
    (void)state;
    const uint8_t zero[ULID_RANDOM_BYTES] = {0};
    uint8_t ones[ULID_RANDOM_BYTES];
    memset(ones, 0xff, sizeof ones);
    for (int64_t ms = 1; ms < INT64_C(1) << 47; ms *= 2) {
        char before[ULID_TEXT];
        char after[ULID_TEXT];
        ulid_format(ms, ones, before);
        ulid_format(ms + 1, zero, after);
        assert_true(strcmp(before, after) < 0);
        assert_int_equal(ulid_unix_ms(before), ms);
        assert_int_equal(ulid_unix_ms(after), ms + 1);
    }
}

static void test_ulid__accepts_only_the_canonical_form(void **state)
{
    (void)state;
    assert_true(ulid_valid("01ARYZ6S41TSV4RRFFQ69G5FAV"));
    assert_true(ulid_valid("7ZZZZZZZZZZZZZZZZZZZZZZZZZ"));
    assert_false(ulid_valid("8ZZZZZZZZZZZZZZZZZZZZZZZZZ"));
    assert_false(ulid_valid("01aryz6s41tsv4rrffq69g5fav"));
    assert_false(ulid_valid("01ARYZ6S41TSV4RRFFQ69G5FA"));
    assert_false(ulid_valid("01ARYZ6S41TSV4RRFFQ69G5FAVV"));
    assert_false(ulid_valid("01ARYZ6S41TSV4RRFFQ69G5FAI"));
    assert_false(ulid_valid("01ARYZ6S41TSV4RRFFQ69G5FAU"));
    assert_false(ulid_valid(""));
    assert_false(ulid_valid(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ulid__writes_the_vectors),
        cmocka_unit_test(test_ulid__sorts_by_time),
        cmocka_unit_test(test_ulid__accepts_only_the_canonical_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
