/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/core/renew.h"

enum { HOUR_MS = 3600 * 1000, DAY_MS = 24 * HOUR_MS, LIFE_MS = 7 * DAY_MS };

static const int64_t issued_ms = 1700000000000;
static const struct renew_credential week = {issued_ms, issued_ms + LIFE_MS};
static const int64_t start_ms = 5000; /* of the clock that only rises */

static struct rng rng;
static struct renew renew;

static int setup(void **state)
{
    (void)state;
    rng_seed(&rng, 11);
    return 0;
}

static void begin(int64_t age_ms)
{
    renew_begin(&renew, true, &week, issued_ms + age_ms, start_ms, &rng);
}

static void test_renew__is_due_after_two_thirds_spread_over_a_twelfth(void **unused)
{
    (void)unused;
    int64_t low_ms = INT64_MAX, high_ms = 0;
    for (int i = 0; i < 2000; i++) {
        begin(0);
        renew_connected(&renew, true);
        int64_t at_ms = renew_deadline_ms(&renew) - start_ms;
        low_ms = at_ms < low_ms ? at_ms : low_ms;
        high_ms = at_ms > high_ms ? at_ms : high_ms;
    }
    assert_in_range(high_ms, LIFE_MS / 3 * 2 - LIFE_MS / 100, LIFE_MS / 3 * 2);
    assert_in_range(low_ms, LIFE_MS / 3 * 2 - LIFE_MS / 12, LIFE_MS / 3 * 2 - LIFE_MS / 13);
}

static void test_renew__of_an_old_one_is_due_at_once_or_soon(void **unused)
{
    (void)unused;
    static const struct {
        int64_t age_ms, from_ms, to_ms; /* after the start */
    } rows[] = {
        {LIFE_MS / 3, LIFE_MS / 3 - LIFE_MS / 12 - 2, LIFE_MS / 3},
        {LIFE_MS - HOUR_MS, 0, 60000},
        {60LL * DAY_MS, 0, 60000},     /* two months off */
        {3650LL * DAY_MS, 0, 60000},   /* or a clock ten years ahead */
        {-19000LL * DAY_MS, 0, 60000}, /* a clock at 1970 proves nothing */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        begin(rows[i].age_ms);
        renew_connected(&renew, true);
        int64_t at_ms = renew_deadline_ms(&renew);
        assert_in_range(at_ms - start_ms, rows[i].from_ms, rows[i].to_ms);
        assert_int_equal(renew_way(&renew, at_ms - 1), at_ms == start_ms ? RENEW_OWN : RENEW_NOT);
        assert_int_equal(renew_way(&renew, at_ms), RENEW_OWN);
    }
}

static void test_renew__of_one_without_end_is_never_due(void **unused)
{
    (void)unused;
    const struct renew_credential forever = {issued_ms, 0};
    renew_begin(&renew, true, &forever, issued_ms + 1000LL * DAY_MS, start_ms, &rng);
    renew_connected(&renew, true);
    assert_true(renew_deadline_ms(&renew) == INT64_MAX);
    assert_int_equal(renew_way(&renew, INT64_MAX - 1), RENEW_NOT);
}

/* Whatever the wall clock says, a new credential lasts its own life. */
static void test_renew__counts_a_new_one_from_its_arrival(void **unused)
{
    (void)unused;
    begin(3650LL * DAY_MS);
    renew_connected(&renew, true);
    int64_t at_ms = renew_deadline_ms(&renew);
    renew_sent(&renew);
    assert_int_equal(renew_way(&renew, at_ms), RENEW_NOT); /* one at a time */
    renew_granted(&renew, &week, at_ms, &rng);
    assert_in_range(renew_deadline_ms(&renew) - at_ms, LIFE_MS / 2, LIFE_MS / 3 * 2);
}

/* The library refuses one connect in 256 by itself. */
static void test_renew__takes_three_refusals_in_a_row_for_the_other_way(void **unused)
{
    (void)unused;
    begin(0);
    renew_refused(&renew);
    renew_refused(&renew);
    assert_int_equal(renew_way(&renew, start_ms), RENEW_NOT);
    assert_false(renew_wants_enrol(&renew, start_ms));
    renew_connected(&renew, true);
    renew_connected(&renew, false);
    renew_refused(&renew);
    renew_refused(&renew);
    assert_int_equal(renew_way(&renew, start_ms), RENEW_NOT);
    renew_refused(&renew);
    assert_int_equal(renew_way(&renew, start_ms), RENEW_ENROL);
    assert_true(renew_deadline_ms(&renew) <= start_ms);
    renew_connected(&renew, true); /* the server has changed its mind */
    assert_int_equal(renew_way(&renew, start_ms), RENEW_NOT);
}

static void test_renew__takes_one_refusal_when_it_has_run_out(void **unused)
{
    (void)unused;
    begin(LIFE_MS + 1);
    assert_int_equal(renew_way(&renew, start_ms + LIFE_MS), RENEW_NOT); /* not tried yet */
    renew_refused(&renew);
    assert_int_equal(renew_way(&renew, start_ms), RENEW_ENROL);
    begin(LIFE_MS - 1000);
    renew_refused(&renew);
    assert_int_equal(renew_way(&renew, start_ms), RENEW_NOT);
    assert_int_equal(renew_deadline_ms(&renew), start_ms + 1000);
    assert_int_equal(renew_way(&renew, start_ms + 1000), RENEW_ENROL);
}

static void test_renew__without_any_asks_over_enrolment_at_once(void **unused)
{
    (void)unused;
    renew_begin(&renew, false, &(struct renew_credential){0, 0}, issued_ms, start_ms, &rng);
    assert_int_equal(renew_way(&renew, start_ms), RENEW_ENROL);
}

static void test_renew__is_not_given_up_without_an_answer(void **unused)
{
    (void)unused;
    begin(LIFE_MS - HOUR_MS);
    renew_connected(&renew, true);
    int64_t now_ms = renew_deadline_ms(&renew), longest_ms = 0;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(renew_way(&renew, now_ms), RENEW_OWN);
        renew_sent(&renew);
        assert_true(renew_deadline_ms(&renew) == INT64_MAX);
        renew_unheard(&renew, now_ms, &rng);
        int64_t at_ms = renew_deadline_ms(&renew);
        assert_in_range(at_ms - now_ms, 30000, HOUR_MS);
        longest_ms = at_ms - now_ms > longest_ms ? at_ms - now_ms : longest_ms;
        now_ms = at_ms;
    }
    assert_true(longest_ms > HOUR_MS / 2);
}

static void test_renew__keeps_captains_time_and_is_slow_after_a_refusal_for_good(void **unused)
{
    (void)unused;
    for (int i = 0; i < 1000; i++) {
        begin(LIFE_MS - HOUR_MS);
        renew_connected(&renew, true);
        renew_sent(&renew);
        renew_denied(&renew, 100000, false, start_ms, &rng);
        assert_in_range(renew.again_ms - start_ms, 100000, 120000);
        renew_sent(&renew);
        renew_denied(&renew, 0, true, start_ms, &rng);
        assert_in_range(renew.again_ms - start_ms, HOUR_MS, 6 * HOUR_MS);
        assert_int_equal(renew_way(&renew, renew.again_ms), RENEW_OWN); /* for ever */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_renew__is_due_after_two_thirds_spread_over_a_twelfth, setup),
        cmocka_unit_test_setup(test_renew__of_an_old_one_is_due_at_once_or_soon, setup),
        cmocka_unit_test_setup(test_renew__of_one_without_end_is_never_due, setup),
        cmocka_unit_test_setup(test_renew__counts_a_new_one_from_its_arrival, setup),
        cmocka_unit_test_setup(test_renew__takes_three_refusals_in_a_row_for_the_other_way, setup),
        cmocka_unit_test_setup(test_renew__takes_one_refusal_when_it_has_run_out, setup),
        cmocka_unit_test_setup(test_renew__without_any_asks_over_enrolment_at_once, setup),
        cmocka_unit_test_setup(test_renew__is_not_given_up_without_an_answer, setup),
        cmocka_unit_test_setup(test_renew__keeps_captains_time_and_is_slow_after_a_refusal_for_good,
                               setup),
    };
    return cmocka_run_group_tests_name("renew", tests, NULL, NULL);
}
