/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent/core/health.h"

static const struct health_check_rule every_10_s = {
    .interval_ms = 10000, .healthy_threshold = 1, .unhealthy_threshold = 3};

static void probe(struct health_state *health, bool ok, int64_t *now_ms)
{
    int64_t due_ms = health_deadline_ms(health);
    *now_ms = due_ms > *now_ms ? due_ms : *now_ms;
    int check = health_next_due(health, *now_ms);
    assert_true(check >= 0);
    (void)health_result(health, (uint32_t)check, ok, *now_ms);
}

static void test_health__no_checks_is_good_from_the_first_moment(void **unused)
{
    (void)unused;
    struct health_state health;
    health_start(&health, NULL, 0, 500);
    assert_int_equal(health.verdict, HEALTH_GOOD);
    assert_int_equal(health.good_since_ms, 500);
    assert_int_equal(health_next_due(&health, 1000000), -1);
    assert_true(health_deadline_ms(&health) == INT64_MAX);
}

static void test_health__good_when_every_check_reached_its_threshold(void **unused)
{
    (void)unused;
    struct health_check_rule rules[2] = {every_10_s, every_10_s};
    rules[1].healthy_threshold = 2;
    struct health_state health;
    health_start(&health, rules, 2, 0);
    assert_int_equal(health_next_due(&health, 0), 0);
    assert_int_equal(health_next_due(&health, 0), 1);
    assert_int_equal(health_next_due(&health, 0), -1); /* both are out */
    assert_true(health_deadline_ms(&health) == INT64_MAX);
    assert_false(health_result(&health, 0, true, 10));
    assert_false(health_result(&health, 1, true, 10));
    assert_int_equal(health.verdict, HEALTH_UNKNOWN);
    assert_int_equal(health_next_due(&health, 500), 1); /* eager: it has not passed yet */
    assert_true(health_result(&health, 1, true, 510));
    assert_int_equal(health.verdict, HEALTH_GOOD);
    assert_int_equal(health.good_since_ms, 510);
}

static void test_health__bad_after_three_failures_in_a_row(void **unused)
{
    (void)unused;
    struct health_state health;
    int64_t now_ms = 0;
    health_start(&health, &every_10_s, 1, 0);
    probe(&health, true, &now_ms);
    for (int i = 0; i < 10; i++) { /* two, and one that passes: never bad */
        probe(&health, false, &now_ms);
        probe(&health, false, &now_ms);
        assert_int_equal(health.verdict, HEALTH_GOOD);
        probe(&health, true, &now_ms);
    }
    assert_int_equal(health.good_since_ms, 0);
    probe(&health, false, &now_ms);
    probe(&health, false, &now_ms);
    probe(&health, false, &now_ms);
    assert_int_equal(health.verdict, HEALTH_BAD);
    assert_int_equal(health.good_since_ms, -1);
    probe(&health, true, &now_ms);
    assert_int_equal(health.verdict, HEALTH_GOOD);
    assert_int_equal(health.good_since_ms, now_ms);
}

static void test_health__one_bad_check_makes_the_app_bad(void **unused)
{
    (void)unused;
    struct health_check_rule rules[3] = {every_10_s, every_10_s, every_10_s};
    struct health_state health;
    health_start(&health, rules, 3, 0);
    for (uint32_t i = 0; i < 3; i++)
        (void)health_result(&health, i, true, 0);
    bool changed = false;
    for (int i = 0; i < 3; i++)
        changed |= health_result(&health, 1, false, 1000 * i);
    assert_true(changed);
    assert_int_equal(health.verdict, HEALTH_BAD);
}

static void test_health__checks_of_one_interval_fall_due_together(void **unused)
{
    (void)unused;
    struct health_check_rule rules[3] = {every_10_s, every_10_s, every_10_s};
    rules[2].interval_ms = 20000;
    struct health_state health;
    health_start(&health, rules, 3, 777);
    int64_t last_ms = 0;
    unsigned wakes = 0;
    for (int64_t now_ms = 777; now_ms < 777 + 600000; now_ms = health_deadline_ms(&health)) {
        wakes += now_ms != last_ms;
        last_ms = now_ms;
        int check;
        while ((check = health_next_due(&health, now_ms)) >= 0)
            (void)health_result(&health, (uint32_t)check, true,
                                now_ms + 3 + check); /* probes take a while */
    }
    assert_int_equal(wakes, 60); /* one wake-up in ten seconds for three checks */
}

static void test_health__eager_only_in_the_beginning(void **unused)
{
    (void)unused;
    struct health_state health;
    int64_t now_ms = 0;
    health_start(&health, &every_10_s, 1, 0);
    unsigned probes = 0;
    for (; now_ms < 10 * HEALTH_EAGER_FOR_MS; probes++)
        probe(&health, false, &now_ms);
    assert_in_range(probes, 120 + 50, 120 + 60);
}

static void test_health__a_late_result_does_not_pile_up_probes(void **unused)
{
    (void)unused;
    struct health_state health;
    health_start(&health, &every_10_s, 1, 0);
    assert_int_equal(health_next_due(&health, 0), 0);
    (void)health_result(&health, 0, true, 35000); /* the machine slept */
    assert_int_equal(health_deadline_ms(&health), 40000);
}

static void test_health__what_failed_before_counts_once_it_has_passed(void **unused)
{
    (void)unused;
    struct health_check_rule rules[2] = {every_10_s, every_10_s};
    rules[0].excused = true;
    struct health_state health;
    health_start(&health, rules, 2, 0);
    assert_int_equal(health_next_due(&health, 0), 0);
    assert_int_equal(health_next_due(&health, 0), 1);
    assert_true(health_result(&health, 1, true, 10));
    assert_int_equal(health.verdict, HEALTH_GOOD); /* though nothing is known of the other */
    for (int i = 1; i <= 3; i++)
        assert_false(health_result(&health, 0, false, i * 10000));
    assert_int_equal(health.checks[0].verdict, HEALTH_BAD);
    assert_int_equal(health.verdict, HEALTH_GOOD);
    assert_int_equal(health.good_since_ms, 10); /* without a break */
    assert_false(health_result(&health, 0, true, 50000));
    for (int i = 6; i <= 7; i++)
        assert_false(health_result(&health, 0, false, i * 10000));
    assert_true(health_result(&health, 0, false, 80000));
    assert_int_equal(health.verdict, HEALTH_BAD);
}

static void test_health__nothing_but_excused_checks_is_good_when_one_was_asked(void **unused)
{
    (void)unused;
    struct health_check_rule rule = every_10_s;
    rule.excused = true;
    struct health_state health;
    health_start(&health, &rule, 1, 0);
    assert_int_equal(health_next_due(&health, 0), 0);
    assert_true(health_result(&health, 0, false, 10));
    assert_int_equal(health.verdict, HEALTH_GOOD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_health__what_failed_before_counts_once_it_has_passed),
        cmocka_unit_test(test_health__nothing_but_excused_checks_is_good_when_one_was_asked),
        cmocka_unit_test(test_health__no_checks_is_good_from_the_first_moment),
        cmocka_unit_test(test_health__good_when_every_check_reached_its_threshold),
        cmocka_unit_test(test_health__bad_after_three_failures_in_a_row),
        cmocka_unit_test(test_health__one_bad_check_makes_the_app_bad),
        cmocka_unit_test(test_health__checks_of_one_interval_fall_due_together),
        cmocka_unit_test(test_health__eager_only_in_the_beginning),
        cmocka_unit_test(test_health__a_late_result_does_not_pile_up_probes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
