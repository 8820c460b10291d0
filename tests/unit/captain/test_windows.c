/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/windows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"

enum { MAX = 64 };
#define HOUR_MS INT64_C(3600000)
#define DAY_MS (24 * HOUR_MS)
/* 2026-03-27 00:00 UTC, a Friday; clocks in Europe go forward on Sunday the 29th at 01:00 UTC. */
#define FRIDAY INT64_C(1774569600000)

struct windows {
    struct lease_window at[MAX];
    size_t len;
};

static struct windows between(const char *text, int64_t from_ms, int64_t to_ms)
{
    struct windows w;
    struct err err = {0};
    if (windows_between(text, from_ms, to_ms, w.at, MAX, &w.len, &err) != ERR_OK)
        fail_msg("%s: %s", text, err.text);
    return w;
}

static void assert_window(const struct windows *w, size_t i, int64_t from_ms, int64_t to_ms)
{
    assert_true(i < w->len);
    assert_int_equal(w->at[i].from_ms, from_ms);
    assert_int_equal(w->at[i].to_ms, to_ms);
}

static void test_windows__are_in_the_zone_of_the_site_with_daylight_saving(void **state)
{
    (void)state;
    const struct windows w = between("daily 01:00-05:00 Europe/Paris", FRIDAY, FRIDAY + 4 * DAY_MS);
    assert_int_equal(w.len, 5); /* the last one begins an hour before the end */
    assert_window(&w, 0, FRIDAY, FRIDAY + 4 * HOUR_MS); /* UTC+1 */
    assert_window(&w, 1, FRIDAY + DAY_MS, FRIDAY + DAY_MS + 4 * HOUR_MS);
    /* The night in which an hour is missing: 01:00 +1 to 05:00 +2. */
    assert_window(&w, 2, FRIDAY + 2 * DAY_MS, FRIDAY + 2 * DAY_MS + 3 * HOUR_MS);
    assert_window(&w, 3, FRIDAY + 3 * DAY_MS - HOUR_MS, FRIDAY + 3 * DAY_MS + 3 * HOUR_MS);
}

static void test_windows__days_and_nights(void **state)
{
    (void)state;
    struct windows w = between("sat,sun 22:00-06:00", FRIDAY, FRIDAY + 7 * DAY_MS);
    assert_int_equal(w.len, 2);
    assert_window(&w, 0, FRIDAY + DAY_MS + 22 * HOUR_MS, FRIDAY + 2 * DAY_MS + 6 * HOUR_MS);
    assert_window(&w, 1, FRIDAY + 2 * DAY_MS + 22 * HOUR_MS, FRIDAY + 3 * DAY_MS + 6 * HOUR_MS);
    w = between("fri-mon 00:00-24:00 UTC", FRIDAY, FRIDAY + 7 * DAY_MS);
    assert_int_equal(w.len, 1); /* one after the other is one */
    assert_window(&w, 0, FRIDAY, FRIDAY + 4 * DAY_MS);
    w = between("wed 12:00-13:00 UTC; thu 12:00-13:00 UTC", FRIDAY, FRIDAY + 7 * DAY_MS);
    assert_int_equal(w.len, 2);
    /* One that has begun and is not over is part of the answer. */
    w = between("thu 23:00-01:00 UTC", FRIDAY + HOUR_MS / 2, FRIDAY + HOUR_MS);
    assert_int_equal(w.len, 1);
    assert_window(&w, 0, FRIDAY - HOUR_MS, FRIDAY + HOUR_MS);
}

static void test_windows__leave_the_zone_of_the_process(void **state)
{
    (void)state;
    assert_int_equal(setenv("TZ", "Asia/Tokyo", 1), 0);
    (void)between("daily 01:00-05:00 Europe/Paris", FRIDAY, FRIDAY + DAY_MS);
    assert_string_equal(getenv("TZ"), "Asia/Tokyo");
    assert_int_equal(unsetenv("TZ"), 0);
    (void)between("daily 01:00-05:00 Europe/Paris", FRIDAY, FRIDAY + DAY_MS);
    assert_null(getenv("TZ"));
}

static void test_windows__refuse_what_they_do_not_understand(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "days"},
        {"mon", "times"},
        {"funday 01:00-02:00 UTC", "funday"},
        {"mon-fr 01:00-02:00 UTC", "mon-fr"},
        {"mon 1:00-02:00", "1:00-02:00"},
        {"mon 01:00-25:00", "01:00-25:00"},
        {"mon 24:00-02:00", "24:00-02:00"},
        {"mon 01:00-02:60", "01:00-02:60"},
        {"mon 01:00-02:00 Mars/Olympus", "Mars/Olympus"},
        {"mon 01:00-02:00 ../../etc/passwd", "passwd"},
        {"mon 01:00-02:00 UTC please", "please"},
        {"mon 01:00-02:00 UTC;", "days"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        assert_int_equal(windows_check(cases[i].text, &err), ERR_MALFORMED);
        if (!strstr(err.text, cases[i].part))
            fail_msg("'%s': %s", cases[i].text, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows__are_in_the_zone_of_the_site_with_daylight_saving),
        cmocka_unit_test(test_windows__days_and_nights),
        cmocka_unit_test(test_windows__leave_the_zone_of_the_process),
        cmocka_unit_test(test_windows__refuse_what_they_do_not_understand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
