/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent/core/retry.h"

static const struct retry_policy policy = {.min_ms = 100, .base_ms = 1000, .max_ms = 60000};

static void bounds(uint32_t failures, int64_t *ret_low_ms, int64_t *ret_high_ms)
{
    struct rng rng;
    rng_seed(&rng, 7);
    *ret_low_ms = INT64_MAX;
    *ret_high_ms = 0;
    for (int i = 0; i < 20000; i++) {
        int64_t ms = retry_delay_ms(&policy, failures, &rng);
        *ret_low_ms = ms < *ret_low_ms ? ms : *ret_low_ms;
        *ret_high_ms = ms > *ret_high_ms ? ms : *ret_high_ms;
    }
}

static void test_retry__doubles_up_to_the_maximum_with_full_jitter(void **unused)
{
    (void)unused;
    static const struct {
        uint32_t failures;
        int64_t ceiling_ms;
    } rows[] = {{1, 2000}, {2, 4000}, {5, 32000}, {6, 60000}, {1000, 60000}, {UINT32_MAX, 60000}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t low_ms, high_ms;
        bounds(rows[i].failures, &low_ms, &high_ms);
        assert_in_range(low_ms, policy.min_ms, policy.min_ms + rows[i].ceiling_ms / 100);
        assert_in_range(high_ms, rows[i].ceiling_ms - rows[i].ceiling_ms / 100, rows[i].ceiling_ms);
    }
}

static void test_retry__never_overflows(void **unused)
{
    (void)unused;
    struct retry_policy huge = {.min_ms = 1, .base_ms = INT64_MAX / 3, .max_ms = INT64_MAX - 1};
    struct rng rng;
    rng_seed(&rng, 1);
    for (uint32_t failures = 1; failures < 100; failures++)
        assert_true(retry_delay_ms(&huge, failures, &rng) >= 1);
}

static void test_retry__minimum_above_the_rest_wins(void **unused)
{
    (void)unused;
    struct retry_policy fixed = {.min_ms = 500, .base_ms = 10, .max_ms = 100};
    struct rng rng;
    rng_seed(&rng, 1);
    assert_int_equal(retry_delay_ms(&fixed, 3, &rng), 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retry__doubles_up_to_the_maximum_with_full_jitter),
        cmocka_unit_test(test_retry__never_overflows),
        cmocka_unit_test(test_retry__minimum_above_the_rest_wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
