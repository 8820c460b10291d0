/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/clock.h"

static void test_clock__unix_time_is_the_systems(void **state)
{
    (void)state;
    int64_t before = (int64_t)time(NULL) * 1000;
    int64_t now = clock_unix_ms();
    assert_true(now >= before - 1000 && now <= before + 60000);
}

static void test_clock__intervals_never_go_back(void **state)
{
    (void)state;
    int64_t ms = clock_mono_ms();
    int64_t ns = clock_mono_ns();
    const int64_t start_ns = ns;
    while (clock_mono_ns() - start_ns < 20000000) {
        int64_t next_ms = clock_mono_ms();
        int64_t next_ns = clock_mono_ns();
        assert_true(next_ms >= ms);
        assert_true(next_ns >= ns);
        ms = next_ms;
        ns = next_ns;
    }
    struct timespec boot;
    assert_int_equal(clock_gettime(CLOCK_BOOTTIME, &boot), 0);
    assert_in_range((int64_t)boot.tv_sec * 1000 + boot.tv_nsec / 1000000 - ms, 0, 60000);
}

static void test_clock__boot_id_is_one_and_the_same(void **state)
{
    (void)state;
    char id[37];
    char again[37];
    clock_boot_id(id);
    clock_boot_id(again);
    assert_int_equal(strlen(id), 36);
    assert_int_equal(strspn(id, "0123456789abcdef-"), 36);
    assert_string_equal(id, again);
}

static void test_clock__random_bytes_differ(void **state)
{
    (void)state;
    unsigned char a[1000] = {0};
    unsigned char b[1000] = {0};
    clock_random(a, sizeof a);
    clock_random(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    size_t zeros = 0;
    for (size_t i = 0; i < sizeof a; i++)
        zeros += a[i] == 0;
    assert_true(zeros < 50); /* about 4; all of them when nothing was written */
    clock_random(a, 0);
}

static void test_clock__ulids_are_valid_new_and_of_now(void **state)
{
    (void)state;
    char a[ULID_TEXT];
    char b[ULID_TEXT];
    int64_t before = clock_unix_ms();
    clock_ulid(a);
    clock_ulid(b);
    assert_true(ulid_valid(a));
    assert_string_not_equal(a, b);
    assert_true(ulid_unix_ms(a) >= before && ulid_unix_ms(a) <= clock_unix_ms());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock__unix_time_is_the_systems),
        cmocka_unit_test(test_clock__intervals_never_go_back),
        cmocka_unit_test(test_clock__boot_id_is_one_and_the_same),
        cmocka_unit_test(test_clock__random_bytes_differ),
        cmocka_unit_test(test_clock__ulids_are_valid_new_and_of_now),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
