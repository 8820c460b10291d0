/* SPDX-License-Identifier: Apache-2.0
 *
 * The e-processes against the vectors of the rules.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "captain/core/evalue.h"
#include "common/base/mem.h"
#include "common/base/rng.h"

static void assert_near(double value, double expected)
{
    if (!(fabs(value - expected) <= 1e-6 * fmax(1, fabs(expected))))
        fail_msg("%.9g, expected %.9g", value, expected);
}

/* order: '1' the canary failed, '0' the control failed. */
static void check_compare(uint32_t canary, uint32_t control, const char *order,
                          const double *expected)
{
    struct evalue_compare evalue = {0};
    for (size_t i = 0; order[i]; i++) {
        const bool canary_failed = order[i] == '1';
        evalue_compare_add(&evalue, 1, canary, control, canary_failed);
        if (canary_failed)
            canary--;
        else
            control--;
        assert_near(exp(evalue_compare_log(&evalue)), expected[i]);
    }
}

static void test_evalue__compare_gives_the_vectors(void **state)
{
    (void)state;
    check_compare(10, 90, "1111", (const double[]){3.485912, 16.276593, 93.784347, 626.920745});
    check_compare(5, 95, "1011", (const double[]){4.383044, 3.335921, 20.383956, 171.378646});
    check_compare(
        10, 10, "1111111",
        (const double[]){1.558693, 2.583906, 4.598129, 8.876737, 18.830165, 44.643445, 121.244848});
}

static void test_evalue__p_is_of_the_largest_e_so_far(void **state)
{
    (void)state;
    struct evalue_compare evalue = {0};
    assert_near(evalue_compare_p(&evalue), 1);
    evalue_compare_add(&evalue, 1, 5, 95, true);
    evalue_compare_add(&evalue, 1, 4, 95, false);
    assert_near(evalue_compare_p(&evalue), 1 / 4.383044);
}

static void test_evalue__an_empty_arm_tells_nothing(void **state)
{
    (void)state;
    struct evalue_compare evalue = {0};
    evalue_compare_add(&evalue, 1, 10, 0, true);
    evalue_compare_add(&evalue, 1, 0, 10, false);
    assert_near(evalue_compare_log(&evalue), 0);
}

/* One step by hand: t = 2, 10 of 100: rho' = 20 / 110. */
static void test_evalue__tolerance_moves_the_null(void **state)
{
    (void)state;
    static const double thetas[] = {1.5, 2, 4, 8, 16};
    const double rho = 20.0 / 110;
    double mean = 0;
    for (size_t j = 0; j < ARRAY_LEN(thetas); j++)
        mean += thetas[j] / (thetas[j] * rho + 1 - rho) / 5;
    struct evalue_compare evalue = {0};
    evalue_compare_add(&evalue, 2, 10, 90, true);
    assert_near(exp(evalue_compare_log(&evalue)), mean);
}

/* The defining property: under the null each factor has mean 1. */
static void test_evalue__a_step_under_the_null_is_fair(void **state)
{
    (void)state;
    for (uint32_t canary = 1; canary < 50; canary += 7) {
        for (uint32_t control = 1; control < 200; control += 31) {
            struct evalue_compare hit = {0};
            struct evalue_compare miss = {0};
            evalue_compare_add(&hit, 1, canary, control, true);
            evalue_compare_add(&miss, 1, canary, control, false);
            const double rho = (double)canary / (canary + control);
            assert_near(rho * exp(evalue_compare_log(&hit)) +
                            (1 - rho) * exp(evalue_compare_log(&miss)),
                        1);
        }
    }
}

static void test_evalue__strata_add_their_own_factors(void **state)
{
    (void)state;
    /* Two strata with one failure each: theta by theta the product of both. */
    struct evalue_compare a = {0};
    struct evalue_compare b = {0};
    struct evalue_compare both = {0};
    evalue_compare_add(&a, 1, 2, 8, true);
    evalue_compare_add(&b, 1, 5, 5, false);
    evalue_compare_add(&both, 1, 2, 8, true);
    evalue_compare_add(&both, 1, 5, 5, false);
    for (int j = 0; j < EVALUE_ALTERNATIVES; j++)
        assert_near(both.log[j], a.log[j] + b.log[j]);
}

static void test_evalue__rate_gives_the_vectors(void **state)
{
    (void)state;
    assert_near(exp(evalue_rate_log(.02, 1, 9)), 1.489975);
    assert_near(exp(evalue_rate_log(.02, 2, 8)), 11.254869);
    assert_near(exp(evalue_rate_log(.02, 3, 7)), 148.146715);
    assert_near(exp(evalue_rate_log(.02, 0, 10)), .345812);
    assert_near(evalue_rate_log(.02, 0, 0), 0);
}

static void test_evalue__stays_finite_at_a_million(void **state)
{
    (void)state;
    assert_true(isfinite(evalue_rate_log(.02, 1000000, 0)));
    assert_true(isfinite(evalue_rate_log(.02, 0, 100000000)));
    struct evalue_compare evalue = {0};
    for (uint32_t i = 0; i < 100000; i++)
        evalue_compare_add(&evalue, 1, 100000 - i, 100000, true);
    assert_true(isfinite(evalue_compare_log(&evalue)));
    assert_true(evalue_compare_p(&evalue) >= 0);
}

static void test_evalue__several_metrics_are_the_mean_of_their_e(void **state)
{
    (void)state;
    const double logs[] = {log(2), log(4), log(9)};
    assert_near(exp(evalue_log_mean(logs, 3)), 5);
    assert_near(evalue_log_mean(NULL, 0), 0);
    const double large[] = {1000, 1000};
    assert_near(evalue_log_mean(large, 2), 1000);
}

static void test_evalue__zero_failures_bound_the_rate(void **state)
{
    (void)state;
    assert_int_equal(lround(100 * evalue_zero_failures_bound(5)), 45);
    assert_int_equal(lround(100 * evalue_zero_failures_bound(59)), 5);
    assert_int_equal(lround(100 * evalue_zero_failures_bound(299)), 1);
    assert_near(evalue_zero_failures_bound(0), 1);
}

/* With alpha .01 fewer than 3 canaries can never reject, whatever the control. */
static void test_evalue__two_canaries_never_reject_at_one_percent(void **state)
{
    (void)state;
    for (uint32_t control = 1; control < 1000000; control *= 3) {
        struct evalue_compare evalue = {0};
        evalue_compare_add(&evalue, 1, 2, control, true);
        evalue_compare_add(&evalue, 1, 1, control, true);
        assert_true(exp(evalue_compare_log(&evalue)) < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_evalue__compare_gives_the_vectors),
        cmocka_unit_test(test_evalue__p_is_of_the_largest_e_so_far),
        cmocka_unit_test(test_evalue__an_empty_arm_tells_nothing),
        cmocka_unit_test(test_evalue__tolerance_moves_the_null),
        cmocka_unit_test(test_evalue__a_step_under_the_null_is_fair),
        cmocka_unit_test(test_evalue__strata_add_their_own_factors),
        cmocka_unit_test(test_evalue__rate_gives_the_vectors),
        cmocka_unit_test(test_evalue__stays_finite_at_a_million),
        cmocka_unit_test(test_evalue__several_metrics_are_the_mean_of_their_e),
        cmocka_unit_test(test_evalue__zero_failures_bound_the_rate),
        cmocka_unit_test(test_evalue__two_canaries_never_reject_at_one_percent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
