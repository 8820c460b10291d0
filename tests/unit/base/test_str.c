/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/base/str.h"

static const char x64[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

static void test_str__equal_treats_null_as_nothing_else(void **state)
{
    (void)state;
    assert_true(str_equal("a", "a"));
    assert_true(str_equal(NULL, NULL));
    assert_false(str_equal("", NULL));
    assert_false(str_equal(NULL, ""));
    assert_false(str_equal("a", "b"));
    assert_true(bytes_equal(bytes_of(NULL, 0), bytes_of("x", 0)));
    assert_false(bytes_equal(bytes_of("ab", 2), bytes_of("a", 1)));
    assert_false(bytes_equal(bytes_of("ab", 2), bytes_of("ac", 2)));
    assert_true(bytes_equal(bytes_of("ab", 2), bytes_of("ab", 2)));
}

static void test_str__tokens_and_versions(void **state)
{
    (void)state;
    static const char *const tokens[] = {"a", "Z-9_", "-", x64};
    static const char *const no_tokens[] = {"", "a.b", "a b", "*", ">", "a/b", "\xc3\xa4", NULL};
    static const char *const versions[] = {"1", "1.2.3-rc1+b~2", "v1", x64};
    static const char *const no_versions[] = {"", ".1", "-1", "+", "~", "_", "1/2", "1 ", NULL};
    for (size_t i = 0; i < ARRAY_LEN(tokens); i++)
        assert_true(str_is_token(tokens[i]));
    for (size_t i = 0; i < ARRAY_LEN(no_tokens); i++)
        assert_false(str_is_token(no_tokens[i]));
    for (size_t i = 0; i < ARRAY_LEN(versions); i++)
        assert_true(str_is_version(versions[i]));
    for (size_t i = 0; i < ARRAY_LEN(no_versions); i++)
        assert_false(str_is_version(no_versions[i]));
    char x65[66];
    memset(x65, 'x', 65);
    x65[65] = '\0';
    assert_false(str_is_token(x65));
    assert_false(str_is_version(x65));
}

static void test_str__inner_paths_stay_inside(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "a/b", ".a", "...", "a/..b", "a b/\xc3\xa4"};
    static const char *const bad[] = {"",     "/a",  "a/",    "a//b", ".",     "..",     "a/..",
                                      "../a", "./a", "a/./b", "a\nb", "a\x7f", "a/\x01", NULL};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(str_is_inner_path(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(str_is_inner_path(bad[i]));
    char longest[1026];
    memset(longest, 'p', sizeof longest);
    longest[1024] = '\0';
    assert_true(str_is_inner_path(longest));
    longest[1024] = 'p';
    longest[1025] = '\0';
    assert_false(str_is_inner_path(longest));
}

static void test_str__copy_takes_all_or_nothing(void **state)
{
    (void)state;
    char small[4] = "old";
    assert_int_equal(str_copy(small, sizeof small, "four"), ERR_SIZE);
    assert_string_equal(small, "old");
    assert_int_equal(str_copy(small, sizeof small, "abc"), ERR_OK);
    assert_string_equal(small, "abc");
    assert_int_equal(str_copy(small, 0, ""), ERR_SIZE);
}

static void test_str__splits_pairs(void **state)
{
    (void)state;
    char left[TOKEN_MAX + 1] = "old";
    char right[TOKEN_MAX + 1] = "old";
    struct err err;
    assert_int_equal(str_split_pair("app/stable", '/', left, right, &err), ERR_OK);
    assert_string_equal(left, "app");
    assert_string_equal(right, "stable");
    assert_int_equal(str_split_pair("app@1.2+3", '@', left, right, &err), ERR_OK);
    assert_string_equal(right, "1.2+3");
    char longest[131];
    memset(longest, 'x', sizeof longest);
    longest[64] = '/';
    longest[129] = '\0';
    assert_int_equal(str_split_pair(longest, '/', left, right, &err), ERR_OK);
    assert_int_equal(strlen(left), 64);
    assert_int_equal(strlen(right), 64);
}

static void test_str__a_bad_pair_says_why_and_changes_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        char sep;
        const char *says;
    } bad[] = {
        {"app", '/', "must be app/channel"}, {"app", '@', "must be app@version"},
        {"/x", '/', "the app must"},         {"a b/x", '/', "the app must"},
        {"app/", '/', "the channel must"},   {"app/a/b", '/', "the channel must"},
        {"app@.1", '@', "the version must"}, {NULL, '/', "must be app/channel"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char left[TOKEN_MAX + 1] = "old";
        char right[TOKEN_MAX + 1] = "old";
        struct err err;
        assert_int_equal(str_split_pair(bad[i].text, bad[i].sep, left, right, &err), ERR_MALFORMED);
        assert_non_null(strstr(err.text, bad[i].says));
        assert_string_equal(left, "old");
        assert_string_equal(right, "old");
    }
}

static void test_str__hex_and_back(void **state)
{
    (void)state;
    const uint8_t in[] = {0x00, 0x9f, 0xff, 0xa0};
    char hex[9];
    uint8_t back[4] = {1, 1, 1, 1};
    str_hex(bytes_of(in, sizeof in), hex);
    assert_string_equal(hex, "009fffa0");
    assert_int_equal(str_unhex("009FffA0", back, 4), ERR_OK);
    assert_memory_equal(back, in, 4);
    assert_int_equal(str_unhex("009fff", back, 4), ERR_MALFORMED);
    assert_int_equal(str_unhex("009fffa000", back, 4), ERR_MALFORMED);
    assert_int_equal(str_unhex("12345g78", back, 4), ERR_MALFORMED);
    assert_int_equal(str_unhex(NULL, back, 4), ERR_MALFORMED);
    assert_memory_equal(back, in, 4);
}

static void test_str__numbers(void **state)
{
    (void)state;
    uint64_t n = 5;
    assert_int_equal(str_u64("18446744073709551615", UINT64_MAX, &n), ERR_OK);
    assert_true(n == UINT64_MAX);
    assert_int_equal(str_u64("007", 7, &n), ERR_OK);
    assert_int_equal(n, 7);
    static const char *const bad[] = {"", "8", "-1", "+1", " 1", "1 ", "1x", "0x1", NULL};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(str_u64(bad[i], 7, &n), ERR_MALFORMED);
    assert_int_equal(str_u64("18446744073709551616", UINT64_MAX, &n), ERR_MALFORMED);
    assert_int_equal(str_u64("99999999999999999999", UINT64_MAX, &n), ERR_MALFORMED);
    assert_int_equal(n, 7);
}

static void test_str__durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"250ms", 250},     {"30s", 30000},    {"5m", 300000},
                {"1h30m", 5400000}, {"7d", 604800000}, {"1d2h3m4s5ms", 93784005},
                {"0s", 0},          {"90m", 5400000}};
    static const char *const bad[] = {
        "",    "30", "s",  "1h30", "30m1h", "1s1s", "-1s",           "1.5s",
        "1 s", "1S", "1w", "1sm",  "1mss",  NULL,   "106751991168d", "9223372036854775808ms"};
    int64_t ms = -1;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(str_duration_ms(good[i].text, &ms), ERR_OK);
        assert_int_equal(ms, good[i].ms);
    }
    ms = -1;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(str_duration_ms(bad[i], &ms), ERR_MALFORMED);
    assert_int_equal(ms, -1);
}

static void test_str__sizes(void **state)
{
    (void)state;
    uint64_t size = 0;
    assert_int_equal(str_size_bytes("4096", &size), ERR_OK);
    assert_int_equal(size, 4096);
    assert_int_equal(str_size_bytes("64K", &size), ERR_OK);
    assert_int_equal(size, 65536);
    assert_int_equal(str_size_bytes("2G", &size), ERR_OK);
    assert_int_equal(size, UINT64_C(2) << 30);
    static const char *const bad[] = {"", "K", "1k", "1KB", "-1", "1.5M", "16777216T", "1Z", NULL};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(str_size_bytes(bad[i], &size), ERR_MALFORMED);
    assert_int_equal(size, UINT64_C(2) << 30);
}

static void test_str__formats_for_people(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } durations[] = {{0, "0ms"},         {250, "250ms"},   {1500, "1s500ms"},
                     {90000, "1m30s"},   {3600000, "1h"},  {93784005, "1d2h"},
                     {-90000, "-1m30s"}, {86400000, "1d"}, {INT64_MIN, "-106751991167d7h"}};
    static const struct {
        uint64_t size;
        const char *text;
    } sizes[] = {{0, "0 B"},
                 {1023, "1023 B"},
                 {1024, "1.0 KiB"},
                 {1572864, "1.5 MiB"},
                 {UINT64_MAX, "15.9 EiB"}};
    char text[32];
    for (size_t i = 0; i < ARRAY_LEN(durations); i++) {
        str_format_duration(durations[i].ms, text);
        assert_string_equal(text, durations[i].text);
    }
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        str_format_size(sizes[i].size, text);
        assert_string_equal(text, sizes[i].text);
    }
    str_format_exit(0, text);
    assert_string_equal(text, "exit code 0");
    str_format_exit(255 << 8, text);
    assert_string_equal(text, "exit code 255");
    str_format_exit(SIGKILL, text); /* a status without a code is the signal */
    assert_string_equal(text, "killed by signal 9");
}

static void test_str__formats_time_in_utc(void **state)
{
    (void)state;
    /* Numbers from date -u -d. */
    static const struct {
        int64_t ms;
        const char *text;
    } times[] = {{0, "1970-01-01T00:00:00.000Z"},
                 {-1, "1969-12-31T23:59:59.999Z"},
                 {951782399999, "2000-02-28T23:59:59.999Z"},
                 {951782400000, "2000-02-29T00:00:00.000Z"},
                 {951868800000, "2000-03-01T00:00:00.000Z"},
                 {1795290165123, "2026-11-21T19:42:45.123Z"},
                 {4107542400000, "2100-03-01T00:00:00.000Z"},
                 {-62135596800000, "0001-01-01T00:00:00.000Z"},
                 {INT64_MAX, "292278994-08-17T07:12:55.807Z"},
                 {INT64_MIN, "-292275055-05-16T16:47:04.192Z"}};
    char text[32];
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        str_format_time(times[i].ms, text);
        assert_string_equal(text, times[i].text);
    }
}

static void test_str__distance(void **state)
{
    (void)state;
    assert_int_equal(str_distance("", ""), 0);
    assert_int_equal(str_distance("kitten", "sitting"), 3);
    assert_int_equal(str_distance("", "abc"), 3);
    assert_int_equal(str_distance("chanel", "channel"), 1);
    assert_int_equal(str_distance("ab", "ba"), 2);
    assert_int_equal(str_distance(x64, x64), 64);
    assert_int_equal(str_distance(x64 + 1, x64 + 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_str__equal_treats_null_as_nothing_else),
        cmocka_unit_test(test_str__tokens_and_versions),
        cmocka_unit_test(test_str__inner_paths_stay_inside),
        cmocka_unit_test(test_str__copy_takes_all_or_nothing),
        cmocka_unit_test(test_str__splits_pairs),
        cmocka_unit_test(test_str__a_bad_pair_says_why_and_changes_nothing),
        cmocka_unit_test(test_str__hex_and_back),
        cmocka_unit_test(test_str__numbers),
        cmocka_unit_test(test_str__durations),
        cmocka_unit_test(test_str__sizes),
        cmocka_unit_test(test_str__formats_for_people),
        cmocka_unit_test(test_str__formats_time_in_utc),
        cmocka_unit_test(test_str__distance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
