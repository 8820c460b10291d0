/* SPDX-License-Identifier: Apache-2.0
 *
 * The decision table of the gates, line by line, and what nobody may pass for lack of.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "captain/core/gate.h"

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS (60 * MINUTE_MS)
#define START_MS INT64_C(1000000)

struct wave {
    struct policy policy;
    struct gate_snapshot snapshot;
    struct gate_eval eval;
};

/* A wave of n with defaults, everything but coverage content. */
static struct wave wave_of(uint32_t n)
{
    struct wave wave;
    memset(&wave, 0, sizeof wave);
    policy_default(&wave.policy);
    wave.snapshot.n = n;
    wave.snapshot.coverage_from_ms = START_MS;
    wave.snapshot.progress_from_ms = START_MS;
    wave.snapshot.control = 90;
    wave.snapshot.compare_e = wave.snapshot.rate_e = wave.snapshot.compare_p = 1;
    wave.snapshot.progress_stopped = true;
    return wave;
}

static struct wave with(uint32_t n, uint32_t healthy, uint32_t failed)
{
    struct wave wave = wave_of(n);
    wave.snapshot.healthy = healthy;
    wave.snapshot.dwelt = healthy;
    wave.snapshot.failed = wave.snapshot.failed_new = failed;
    wave.snapshot.class_new[POLICY_FAILED] = failed;
    return wave;
}

static const struct gate_result *at(struct wave *wave, int64_t after_ms)
{
    gate_eval(&wave->policy, &wave->snapshot, START_MS + after_ms, &wave->eval);
    return &wave->eval.worst;
}

static void check(const struct gate_result *result, enum gate_verdict verdict, enum gate_id gate,
                  enum gate_reason reason)
{
    if (result->verdict != verdict || result->gate != gate || result->reason != reason)
        fail_msg("%s %s %s, expected %s %s %s", gate_verdict_name(result->verdict),
                 gate_name(result->gate), gate_reason_name(result->reason),
                 gate_verdict_name(verdict), gate_name(gate), gate_reason_name(reason));
}

static void test_gate__decided_none_waits_then_holds_no_data(void **state)
{
    (void)state;
    struct wave wave = with(10, 0, 0);
    check(at(&wave, HOUR_MS), GATE_WAIT, GATE_COVERAGE, GATE_WAITING_REPORTS);
    assert_int_equal(wave.eval.worst.until_ms, START_MS + 24 * HOUR_MS);
    check(at(&wave, 24 * HOUR_MS), GATE_HOLD, GATE_COVERAGE, GATE_NO_DATA);
    wave.policy.coverage.max_missing_set = true;
    wave.policy.coverage.max_missing = 10; /* even if everyone may be missing */
    check(at(&wave, 24 * HOUR_MS), GATE_HOLD, GATE_COVERAGE, GATE_NO_DATA);
    wave.snapshot.missing_acked = 10; /* and a person has seen it */
    check(at(&wave, 24 * HOUR_MS), GATE_HOLD, GATE_COVERAGE, GATE_NO_DATA);
}

static void test_gate__nine_of_ten_pass_coverage(void **state)
{
    (void)state;
    struct wave wave = with(10, 9, 0);
    assert_int_equal(at(&wave, 1)->verdict, GATE_PASS);
    check(&wave.eval.gates[GATE_COVERAGE], GATE_PASS, GATE_COVERAGE, GATE_OK);
}

static void test_gate__eight_of_ten_wait_then_hold_missing(void **state)
{
    (void)state;
    struct wave wave = with(10, 8, 0);
    check(at(&wave, 24 * HOUR_MS - 1), GATE_WAIT, GATE_COVERAGE, GATE_WAITING_REPORTS);
    check(at(&wave, 24 * HOUR_MS), GATE_HOLD, GATE_COVERAGE, GATE_MISSING);
    wave.policy.coverage.on_missing = POLICY_ON_FAIL;
    check(at(&wave, 24 * HOUR_MS), GATE_FAIL, GATE_COVERAGE, GATE_MISSING);
    wave.snapshot.missing_acked = 2;
    assert_int_equal(at(&wave, 24 * HOUR_MS)->verdict, GATE_PASS);
}

static void test_gate__one_failed_of_ten_is_within_the_limit(void **state)
{
    (void)state;
    struct wave wave = with(10, 9, 1);
    assert_int_equal(at(&wave, 1)->verdict, GATE_PASS);
}

static void test_gate__two_failed_of_ten_fail(void **state)
{
    (void)state;
    struct wave wave = with(10, 8, 2);
    check(at(&wave, 1), GATE_FAIL, GATE_FAILURES, GATE_LIMIT);
    wave = with(10, 0, 2); /* and without waiting for anyone else */
    check(at(&wave, 1), GATE_FAIL, GATE_FAILURES, GATE_LIMIT);
}

/* The complaint about Flagger. */
static void test_gate__fail_outranks_every_waiting_gate(void **state)
{
    (void)state;
    struct wave wave = with(10, 0, 2);
    wave.snapshot.approvals_needed = 2;
    wave.snapshot.frozen = true;
    wave.snapshot.control = 0;
    wave.snapshot.progress_stopped = false;
    wave.policy.metrics_len = 1;
    wave.policy.metrics[0] = (struct policy_metric){.count = 1, .deadline_ms = 1, .max_age_ms = 1};
    check(at(&wave, 25 * HOUR_MS), GATE_FAIL, GATE_FAILURES, GATE_LIMIT);
    assert_int_equal(wave.eval.gates[GATE_APPROVAL].verdict, GATE_WAIT);
    assert_int_equal(wave.eval.gates[GATE_FREEZE].verdict, GATE_WAIT);
    assert_int_equal(wave.eval.gates[GATE_COMPARE].verdict, GATE_HOLD);
    assert_int_equal(wave.eval.gates[GATE_PROGRESS].verdict, GATE_HOLD);
}

static void test_gate__nobody_eligible_holds(void **state)
{
    (void)state;
    struct wave wave = with(0, 0, 0);
    check(at(&wave, 0), GATE_HOLD, GATE_COVERAGE, GATE_NO_ELIGIBLE);
    assert_int_not_equal(wave.eval.gates[GATE_SOAK].verdict, GATE_PASS);
}

static struct wave with_metric(void)
{
    struct wave wave = with(10, 10, 0);
    wave.policy.metrics_len = 1;
    wave.policy.metrics[0] = (struct policy_metric){.name = "errors",
                                                    .op = POLICY_OP_BELOW,
                                                    .limit = 5,
                                                    .count = 2,
                                                    .max_age_ms = 10 * MINUTE_MS,
                                                    .deadline_ms = HOUR_MS};
    wave.snapshot.metrics[0].deadline_from_ms = START_MS;
    return wave;
}

static void test_gate__one_nan_holds_inconclusive(void **state)
{
    (void)state;
    struct wave wave = with_metric();
    wave.snapshot.metrics[0].inconclusive = 1;
    check(at(&wave, 1), GATE_HOLD, GATE_METRIC, GATE_INCONCLUSIVE);
    wave.policy.metrics[0].inconclusive_limit = 1;
    check(at(&wave, 1), GATE_WAIT, GATE_METRIC, GATE_MEASURING);
}

/* The complaint about Argo Rollouts: no measurement is no success. */
static void test_gate__no_measurement_waits_then_holds(void **state)
{
    (void)state;
    struct wave wave = with_metric();
    check(at(&wave, HOUR_MS - 1), GATE_WAIT, GATE_METRIC, GATE_MEASURING);
    assert_int_equal(wave.eval.worst.until_ms, START_MS + HOUR_MS);
    check(at(&wave, HOUR_MS), GATE_HOLD, GATE_METRIC, GATE_NO_DATA);
}

static void test_gate__metric_passes_fails_errs_and_grows_stale(void **state)
{
    (void)state;
    struct wave wave = with_metric();
    wave.snapshot.metrics[0].passed = 2;
    wave.snapshot.metrics[0].last_ms = START_MS + MINUTE_MS;
    assert_int_equal(at(&wave, 2 * MINUTE_MS)->verdict, GATE_PASS);
    assert_int_equal(at(&wave, 11 * MINUTE_MS)->verdict, GATE_PASS);
    check(at(&wave, 11 * MINUTE_MS + 1), GATE_WAIT, GATE_METRIC, GATE_STALE);
    check(at(&wave, HOUR_MS), GATE_HOLD, GATE_METRIC, GATE_STALE);
    wave.snapshot.metrics[0].errors = 1;
    check(at(&wave, 2 * MINUTE_MS), GATE_HOLD, GATE_METRIC, GATE_SOURCE_ERROR);
    wave.snapshot.metrics[0].failed = 1;
    check(at(&wave, 2 * MINUTE_MS), GATE_FAIL, GATE_METRIC, GATE_THRESHOLD);
}

static void test_gate__soak_waits_for_the_last_minute(void **state)
{
    (void)state;
    struct wave wave = with(10, 10, 0);
    wave.snapshot.dwelt = 0;
    wave.snapshot.soak_ms = 30 * MINUTE_MS;
    wave.snapshot.quorum_dwelt_ms = START_MS + 30 * MINUTE_MS;
    check(at(&wave, 29 * MINUTE_MS), GATE_WAIT, GATE_SOAK, GATE_DWELLING);
    assert_int_equal(wave.eval.worst.until_ms, START_MS + 29 * MINUTE_MS + MINUTE_MS);
    wave.snapshot.dwelt = 9;
    assert_int_equal(at(&wave, 30 * MINUTE_MS)->verdict, GATE_PASS);
}

static void test_gate__soak_never_passes_with_nobody_healthy(void **state)
{
    (void)state;
    struct wave wave = with(10, 0, 10);
    wave.policy.failures.min_abs = wave.policy.failures.max_abs = 10;
    wave.policy.failures.max_percent = 100;
    /* No time will change that: a person has to look. */
    check(at(&wave, 0), GATE_HOLD, GATE_SOAK, GATE_NO_DATA);
    check(at(&wave, 25 * HOUR_MS), GATE_HOLD, GATE_SOAK, GATE_NO_DATA);
}

static void test_gate__e_fails_at_one_over_alpha(void **state)
{
    (void)state;
    struct wave wave = with(10, 10, 0);
    wave.snapshot.compare_e = 99.99;
    wave.snapshot.rate_e = 99.99;
    assert_int_equal(at(&wave, 1)->verdict, GATE_PASS);
    wave.snapshot.compare_e = 100.0;
    check(at(&wave, 1), GATE_FAIL, GATE_COMPARE, GATE_EVIDENCE);
    wave.snapshot.rate_e = 100.0;
    check(at(&wave, 1), GATE_FAIL, GATE_RATE, GATE_EVIDENCE);
}

static void test_gate__no_control_holds_unless_allowed(void **state)
{
    (void)state;
    struct wave wave = with(10, 10, 0);
    wave.snapshot.control = 5;
    assert_int_equal(at(&wave, 1)->verdict, GATE_PASS);
    wave.snapshot.control = 4;
    check(at(&wave, 1), GATE_HOLD, GATE_COMPARE, GATE_NO_CONTROL);
    wave.snapshot.last_wave = true; /* which by design leaves none */
    assert_int_equal(at(&wave, 1)->verdict, GATE_PASS);
    wave.policy.compare.no_control = POLICY_NO_CONTROL_NEVER;
    check(at(&wave, 1), GATE_HOLD, GATE_COMPARE, GATE_NO_CONTROL);
    wave.snapshot.no_control_acked = true;
    assert_int_equal(at(&wave, 1)->verdict, GATE_PASS);
    wave.snapshot.compare_e = 100;
    assert_int_equal(at(&wave, 1)->verdict, GATE_FAIL);
}

static void test_gate__limit_is_of_integers(void **state)
{
    (void)state;
    struct policy policy;
    policy_default(&policy);
    const uint32_t expected[][2] = {{0, 1},   {10, 1},   {39, 1},    {40, 2},
                                    {100, 5}, {999, 49}, {1000, 50}, {100000, 50}};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        assert_int_equal(gate_failures_limit(&policy, expected[i][0]), expected[i][1]);
    assert_int_equal(gate_quorum(&policy, 10), 9);
    assert_int_equal(gate_quorum(&policy, 1), 1);
    assert_int_equal(gate_quorum(&policy, 11), 10);
    assert_int_equal(gate_quorum(&policy, 100000), 90000);
    assert_int_equal(gate_max_missing(&policy, 9), 0);
    assert_int_equal(gate_max_missing(&policy, 19), 1);
}

static void test_gate__a_class_has_its_own_limit(void **state)
{
    (void)state;
    struct wave wave = with(100, 97, 2);
    wave.snapshot.class_new[POLICY_REJECTED] = 1;
    assert_int_equal(at(&wave, 1)->verdict, GATE_PASS);
    wave.policy.failures.class_limit[POLICY_REJECTED] = 0;
    check(at(&wave, 1), GATE_FAIL, GATE_FAILURES, GATE_CLASS_LIMIT);
    assert_int_equal(wave.eval.worst.evidence.class, POLICY_REJECTED);
}

static void test_gate__approval_needs_its_number(void **state)
{
    (void)state;
    struct wave wave = with(10, 10, 0);
    wave.snapshot.approvals_needed = 2;
    wave.snapshot.approvals = 1;
    check(at(&wave, 1), GATE_WAIT, GATE_APPROVAL, GATE_APPROVALS);
    wave.snapshot.approvals = 2;
    assert_int_equal(at(&wave, 1)->verdict, GATE_PASS);
}

static void test_gate__no_progress_holds_unless_the_clock_stands(void **state)
{
    (void)state;
    struct wave wave = with(10, 3, 0);
    wave.snapshot.progress_stopped = false;
    check(at(&wave, 2 * HOUR_MS - 1), GATE_WAIT, GATE_COVERAGE, GATE_WAITING_REPORTS);
    assert_int_equal(wave.eval.until_ms, START_MS + 2 * HOUR_MS);
    check(at(&wave, 2 * HOUR_MS), GATE_HOLD, GATE_PROGRESS, GATE_NO_PROGRESS);
    wave.snapshot.progress_stopped = true;
    check(at(&wave, 2 * HOUR_MS), GATE_WAIT, GATE_COVERAGE, GATE_WAITING_REPORTS);
}

static void test_gate__freeze_waits(void **state)
{
    (void)state;
    struct wave wave = with(10, 10, 0);
    wave.snapshot.frozen = true;
    check(at(&wave, 1), GATE_WAIT, GATE_FREEZE, GATE_FROZEN);
}

static void test_gate__without_a_base_fail_is_hold(void **state)
{
    (void)state;
    struct wave wave = with(10, 8, 2);
    wave.snapshot.no_base = true;
    check(at(&wave, 1), GATE_HOLD, GATE_FAILURES, GATE_LIMIT);
    wave.snapshot.waived = ~0u; /* and is not waived either */
    check(at(&wave, 1), GATE_HOLD, GATE_FAILURES, GATE_LIMIT);
}

static void test_gate__promote_waives_waiting_but_no_failure(void **state)
{
    (void)state;
    struct wave wave = with(10, 1, 0);
    wave.snapshot.waived = ~0u;
    assert_int_equal(at(&wave, 1)->verdict, GATE_PASS);
    wave.snapshot.failed_new = 2;
    check(at(&wave, 1), GATE_FAIL, GATE_FAILURES, GATE_LIMIT);
}

static void test_gate__the_last_wave_waits_for_everyone(void **state)
{
    (void)state;
    struct wave wave = with(10, 9, 0);
    wave.snapshot.last_wave = true;
    wave.snapshot.outstanding = 1;
    check(at(&wave, 1), GATE_WAIT, GATE_COVERAGE, GATE_COMPLETING);
    wave.snapshot.outstanding = 0;
    assert_int_equal(at(&wave, 1)->verdict, GATE_PASS);
}

static void test_gate__same_inputs_give_the_same_bytes(void **state)
{
    (void)state;
    struct wave a = with_metric();
    struct wave b = with_metric();
    memset(&a.eval, 0x55, sizeof a.eval);
    memset(&b.eval, 0xaa, sizeof b.eval);
    (void)at(&a, MINUTE_MS);
    (void)at(&b, MINUTE_MS);
    assert_memory_equal(&a.eval, &b.eval, sizeof a.eval);
}

static void test_gate__speaks_to_people(void **state)
{
    (void)state;
    char text[GATE_SENTENCE_MAX];
    struct wave wave = with(10, 8, 2);
    gate_sentence(&wave.policy, at(&wave, 1), text);
    assert_string_equal(text, "2 of 10 failed, limit 1");
    wave = with(5, 5, 0);
    (void)at(&wave, 1);
    gate_sentence(&wave.policy, &wave.eval.gates[GATE_FAILURES], text);
    assert_string_equal(text, "0 of 5 failed: with 95 % confidence the rate is below 45 %");
    for (unsigned id = 1; id < GATE_IDS; id++)
        assert_int_equal(gate_by_name(gate_name(id)), id);
    assert_int_equal(gate_by_name("gate"), 0);
}

static void test_policy__named_ones_are_valid_and_errors_are_sentences(void **state)
{
    (void)state;
    struct policy policy;
    struct err err;
    const char *const names[] = {"careful", "normal", "fast"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(policy_named(names[i], &policy, &err), ERR_OK);
        assert_int_equal(policy_check(&policy, &err), ERR_OK);
        assert_string_equal(policy.name, names[i]);
    }
    assert_int_equal(policy_named("bold", &policy, &err), ERR_NOT_FOUND);
    policy_default(&policy);
    policy.waves_len = 2;
    assert_int_equal(policy_check(&policy, &err), ERR_MALFORMED);
    assert_string_equal(err.text, "the last wave must take all devices, or the rollout has no end");
    policy_default(&policy);
    policy.coverage.quorum = NAN;
    assert_int_equal(policy_check(&policy, &err), ERR_MALFORMED);
    policy_default(&policy);
    policy.metrics_len = 1;
    assert_int_equal(policy_check(&policy, &err), ERR_MALFORMED);
    assert_non_null(strstr(err.text, "nothing passes without a measurement"));
}

static void test_policy__what_has_begun_does_not_change(void **state)
{
    (void)state;
    struct policy from;
    struct policy to;
    struct err err;
    policy_default(&from);
    to = from;
    to.soak_ms = 1;
    to.waves[2].kind = POLICY_WAVE_PERCENT;
    to.waves[2].percent = 50;
    to.waves[3] = from.waves[2];
    to.waves_len = 4;
    assert_int_equal(policy_check_change(&from, &to, 1, &err), ERR_OK);
    assert_int_equal(policy_check_change(&from, &to, 2, &err), ERR_CONFLICT);
    to = from;
    to.waves[1].kind = POLICY_WAVE_SELECTOR;
    assert_int_equal(policy_check_change(&from, &to, 0, &err), ERR_CONFLICT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gate__decided_none_waits_then_holds_no_data),
        cmocka_unit_test(test_gate__nine_of_ten_pass_coverage),
        cmocka_unit_test(test_gate__eight_of_ten_wait_then_hold_missing),
        cmocka_unit_test(test_gate__one_failed_of_ten_is_within_the_limit),
        cmocka_unit_test(test_gate__two_failed_of_ten_fail),
        cmocka_unit_test(test_gate__fail_outranks_every_waiting_gate),
        cmocka_unit_test(test_gate__nobody_eligible_holds),
        cmocka_unit_test(test_gate__one_nan_holds_inconclusive),
        cmocka_unit_test(test_gate__no_measurement_waits_then_holds),
        cmocka_unit_test(test_gate__metric_passes_fails_errs_and_grows_stale),
        cmocka_unit_test(test_gate__soak_waits_for_the_last_minute),
        cmocka_unit_test(test_gate__soak_never_passes_with_nobody_healthy),
        cmocka_unit_test(test_gate__e_fails_at_one_over_alpha),
        cmocka_unit_test(test_gate__no_control_holds_unless_allowed),
        cmocka_unit_test(test_gate__limit_is_of_integers),
        cmocka_unit_test(test_gate__a_class_has_its_own_limit),
        cmocka_unit_test(test_gate__approval_needs_its_number),
        cmocka_unit_test(test_gate__no_progress_holds_unless_the_clock_stands),
        cmocka_unit_test(test_gate__freeze_waits),
        cmocka_unit_test(test_gate__without_a_base_fail_is_hold),
        cmocka_unit_test(test_gate__promote_waives_waiting_but_no_failure),
        cmocka_unit_test(test_gate__the_last_wave_waits_for_everyone),
        cmocka_unit_test(test_gate__same_inputs_give_the_same_bytes),
        cmocka_unit_test(test_gate__speaks_to_people),
        cmocka_unit_test(test_policy__named_ones_are_valid_and_errors_are_sentences),
        cmocka_unit_test(test_policy__what_has_begun_does_not_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
