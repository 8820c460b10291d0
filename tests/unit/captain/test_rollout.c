/* SPDX-License-Identifier: Apache-2.0
 *
 * Rollouts from start to end: the lines of the decision table that need more than one gate, and what
 * systems before this one got wrong.
 */
#include <stdio.h>

#include "tests/unit/captain/rollout_world.h"

static int set_up(void **state)
{
    struct world *w = mem_new(1, sizeof *w);
    world_init(w, 40);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    world_expect_restart_is_same(w);
    world_fini(w);
    mem_free(w);
    return 0;
}

/* One wave of n devices for everyone; no control is asked for. */
static void one_wave(struct world *w, uint32_t n)
{
    w->len = n;
    world_waves(w, 0, 0);
    world_start(w);
    world_expect(w, ROLLOUT_RUNNING);
}

static void test_rollout__goes_out_in_waves_and_succeeds(void **state)
{
    struct world *w = *state;
    world_waves(w, 4, 25);
    world_start(w);
    const struct rollout_effect *published = world_effect(w, ROLLOUT_PUBLISH_COHORT);
    assert_non_null(published);
    assert_int_equal(published->u.cohort.named_len, 4);
    assert_int_equal(published->u.cohort.cut, 0);
    const uint32_t sizes[] = {4, 6, 30};
    for (uint32_t wave = 0; wave < 3; wave++) {
        assert_int_equal(world_view(w).wave, wave);
        assert_int_equal(world_view(w).n, sizes[wave]);
        assert_int_equal(world_try_all(w, ROLLOUT_REPORT_HEALTHY), sizes[wave]);
        world_expect_verdict(w, GATE_WAIT, GATE_SOAK, GATE_DWELLING);
        world_pass(w, 30 * MINUTE_MS);
    }
    world_expect(w, ROLLOUT_SUCCEEDED);
    assert_int_equal(world_view(w).by_device[ROLLOUT_HEALTHY], 40);
}

/* Counts are exact: published names and cut take those and only those that captain counts. */
static void test_rollout__devices_decide_as_it_counts(void **state)
{
    struct world *w = *state;
    world_waves(w, 4, 50);
    world_start(w);
    (void)world_try_all(w, ROLLOUT_REPORT_HEALTHY);
    world_pass(w, 30 * MINUTE_MS);
    assert_int_equal(world_view(w).wave, 1);
    uint32_t in = 0;
    for (uint32_t i = 0; i < w->len; i++) {
        bool named = false;
        for (uint32_t k = 0; k < world_view(w).named_len; k++)
            named = named || rollout_named(w->rollout, k) == i;
        const bool takes = named || w->members[i].hash < world_view(w).cut;
        assert_int_equal(takes, world_device(w, i).wave != ROLLOUT_NONE);
        in += takes;
    }
    assert_int_equal(in, 20);
}

static void test_rollout__two_failed_of_ten_go_back(void **state)
{
    struct world *w = *state;
    one_wave(w, 10);
    world_try(w, 0, ROLLOUT_REPORT_HEALTHY);
    world_try(w, 1, ROLLOUT_REPORT_FAILED);
    world_expect(w, ROLLOUT_RUNNING); /* limit 1, strict */
    world_try(w, 2, ROLLOUT_REPORT_FAILED);
    assert_non_null(world_effect(w, ROLLOUT_PUBLISH_BASE));
    world_expect(w, ROLLOUT_ROLLING_BACK);
    assert_int_equal(world_view(w).verdict.verdict, GATE_FAIL);
    assert_int_equal(world_view(w).to_go_back, 3);
    world_report(w, 1, ROLLOUT_REPORT_ROLLED_BACK);
    world_report(w, 2, ROLLOUT_REPORT_ROLLED_BACK);
    assert_int_equal(world_ask(w, 0, true), LEASE_GRANTED);
    world_report(w, 0, ROLLOUT_REPORT_ROLLED_BACK);
    world_expect(w, ROLLOUT_ABORTED);
}

/* Flagger. */
static void test_rollout__failures_do_not_wait_for_approval(void **state)
{
    struct world *w = *state;
    w->policy.approvals = 1;
    one_wave(w, 10);
    world_try(w, 1, ROLLOUT_REPORT_FAILED);
    world_try(w, 2, ROLLOUT_REPORT_FAILED);
    world_expect(w, ROLLOUT_ROLLING_BACK);
}

/* AWS starts its timers at IN_PROGRESS; hawkBit has none. */
static void test_rollout__silence_after_an_offer_is_a_failure(void **state)
{
    struct world *w = *state;
    world_waves(w, 4, 25);
    world_start(w);
    const uint32_t a = rollout_named(w->rollout, 0);
    const uint32_t b = rollout_named(w->rollout, 1);
    world_silent(w, a); /* never asked for anything */
    world_silent(w, b);
    world_pass(w, 10 * MINUTE_MS - 1000);
    assert_int_equal(world_view(w).failed, 0);
    world_pass(w, 1000);
    assert_int_equal(world_view(w).failures[POLICY_SILENT], 2);
    world_expect(w, ROLLOUT_ABORTED); /* nobody ever had the target */
}

/* Out of contact before the offer, and seen lately enough to be asked: the offer starts the clock. */
static void test_rollout__silence_counts_from_the_offer(void **state)
{
    struct world *w = *state;
    w->frozen = true;
    w->members[9].online = false;
    w->len = 10;
    world_waves(w, 0, 0);
    world_start(w);
    world_expect(w, ROLLOUT_PENDING);
    world_pass(w, 4 * MINUTE_MS);
    world_freeze(w, false);
    world_expect(w, ROLLOUT_RUNNING);
    assert_int_equal(world_view(w).n, 10);
    world_pass(w, 10 * MINUTE_MS - 1000);
    assert_int_equal(world_view(w).failed, 0);
    world_pass(w, 1000);
    assert_int_equal(world_view(w).failed, 1);
}

static void test_rollout__silence_of_a_control_counts_anew_from_its_offer(void **state)
{
    struct world *w = *state;
    world_waves(w, 4, 0);
    world_start(w);
    (void)world_try_all(w, ROLLOUT_REPORT_HEALTHY);
    world_pass(w, 27 * MINUTE_MS);
    uint32_t control = 0;
    while (world_device(w, control).wave != ROLLOUT_NONE)
        control++;
    world_silent(w, control);
    world_pass(w, 3 * MINUTE_MS);
    assert_int_equal(world_view(w).wave, 1);
    world_pass(w, 10 * MINUTE_MS - 1000);
    assert_int_equal(world_view(w).failed, 0);
    world_pass(w, 1000);
    assert_int_equal(world_view(w).failed, 1);
    assert_int_equal(world_device(w, control).class, POLICY_SILENT);
}

static void test_rollout__silence_in_the_soak_is_a_failure(void **state)
{
    struct world *w = *state;
    world_waves(w, 4, 25);
    world_start(w);
    (void)world_try_all(w, ROLLOUT_REPORT_HEALTHY);
    world_silent(w, rollout_named(w->rollout, 0));
    world_silent(w, rollout_named(w->rollout, 1));
    world_pass(w, 10 * MINUTE_MS);
    world_expect(w, ROLLOUT_ROLLING_BACK);
}

/* A site that loses power takes control and canary alike: that is no evidence. */
static void test_rollout__silence_of_control_counts_the_same(void **state)
{
    struct world *w = *state;
    w->policy.failures.min_abs = 100;
    w->policy.failures.max_abs = 100;
    w->policy.rate.on = false;
    world_waves(w, 10, 0);
    world_start(w);
    struct gate_snapshot before;
    assert_true(rollout_snapshot(w->rollout, w->now_ms, &before));
    assert_int_equal(before.control, 30);
    for (uint32_t i = 0; i < w->len; i++)
        world_silent(w, i);
    w->now_ms += 10 * MINUTE_MS;
    world_do(w, ROLLOUT_IN_TICK, ROLLOUT_NONE);
    struct gate_snapshot after;
    assert_true(rollout_snapshot(w->rollout, w->now_ms, &after));
    assert_int_equal(after.control, 0);
    assert_true(after.compare_e < 100);
    assert_int_equal(world_view(w).failures[POLICY_SILENT], 10);
}

static void test_rollout__a_canary_worse_than_control_fails_by_compare(void **state)
{
    struct world *w = *state;
    w->policy.failures.min_abs = 100;
    w->policy.rate.on = false;
    world_waves(w, 10, 0);
    world_start(w);
    for (int k = 0; k < 4; k++)
        world_try(w, world_offered(w, 0), ROLLOUT_REPORT_FAILED);
    world_expect(w, ROLLOUT_RUNNING);
    world_try(w, world_offered(w, 0), ROLLOUT_REPORT_FAILED);
    assert_int_equal(world_view(w).verdict.gate, GATE_COMPARE);
    world_expect(w, ROLLOUT_ROLLING_BACK);
}

static void test_rollout__compare_uses_the_formula(void **state)
{
    struct world *w = *state;
    w->len = 100;
    for (uint32_t i = 40; i < 100; i++)
        w->members[i] = (struct rollout_join){.hash = i, .pick = 255, .eligible = 1, .online = 1};
    w->policy.failures.min_abs = 100;
    world_waves(w, 10, 0);
    world_start(w);
    world_try(w, world_offered(w, 0), ROLLOUT_REPORT_FAILED);
    world_try(w, world_offered(w, 0), ROLLOUT_REPORT_REJECTED);
    struct gate_snapshot snapshot;
    assert_true(rollout_snapshot(w->rollout, w->now_ms, &snapshot));
    assert_float_equal(snapshot.compare_e, 16.276593, 1e-6);
    assert_float_equal(snapshot.rate_e, 11.254869, 1e-6);
}

static void test_rollout__eight_of_ten_hold_missing_until_a_person_resumes(void **state)
{
    struct world *w = *state;
    w->policy.progress_ms = 48 * HOUR_MS;
    world_waves(w, 10, 0);
    world_start(w);
    for (int k = 0; k < 8; k++)
        world_try(w, world_offered(w, 0), ROLLOUT_REPORT_HEALTHY);
    world_pass(w, 24 * HOUR_MS - 1);
    world_expect(w, ROLLOUT_RUNNING);
    world_pass(w, 1);
    world_expect(w, ROLLOUT_HELD);
    world_expect_verdict(w, GATE_HOLD, GATE_COVERAGE, GATE_MISSING);
    world_resume(w, GATE_PROGRESS, 0); /* not exactly that gate */
    assert_non_null(world_effect(w, ROLLOUT_REFUSED));
    world_resume(w, GATE_COVERAGE, 1); /* nor that wave */
    world_expect(w, ROLLOUT_HELD);
    world_resume(w, GATE_COVERAGE, 0);
    world_expect(w, ROLLOUT_RUNNING);
    assert_int_equal(world_view(w).wave, 1);
}

/* hawkBit went on when neither threshold was met. */
static void test_rollout__nobody_reports_nothing_advances(void **state)
{
    struct world *w = *state;
    w->policy.progress_ms = 48 * HOUR_MS;
    world_waves(w, 4, 25);
    world_start(w);
    world_pass(w, 25 * HOUR_MS);
    world_expect(w, ROLLOUT_HELD);
    world_expect_verdict(w, GATE_HOLD, GATE_COVERAGE, GATE_NO_DATA);
    world_resume(w, GATE_COVERAGE, 0); /* the wait begins again, nothing passes */
    world_expect(w, ROLLOUT_RUNNING);
    world_pass(w, 24 * HOUR_MS);
    world_expect(w, ROLLOUT_HELD);
    assert_int_equal(world_view(w).wave, 0);
}

static void test_rollout__nobody_eligible_holds_and_looks_again(void **state)
{
    struct world *w = *state;
    for (uint32_t i = 0; i < w->len; i++)
        w->members[i].eligible = w->members[i].online = false;
    world_waves(w, 4, 0);
    world_start(w);
    world_expect(w, ROLLOUT_HELD);
    world_expect_verdict(w, GATE_HOLD, GATE_COVERAGE, GATE_NO_ELIGIBLE);
    world_do(w, ROLLOUT_IN_SEEN, 3);
    world_resume(w, GATE_COVERAGE, 0);
    world_expect(w, ROLLOUT_HELD); /* control is gone, now that there is a wave */
    assert_int_equal(world_view(w).n, 1);
    world_expect_verdict(w, GATE_HOLD, GATE_COMPARE, GATE_NO_CONTROL);
}

static void test_rollout__a_flap_restarts_the_dwell_and_two_fail(void **state)
{
    struct world *w = *state;
    one_wave(w, 10);
    (void)world_try_all(w, ROLLOUT_REPORT_HEALTHY);
    world_pass(w, 20 * MINUTE_MS);
    for (uint32_t i = 0; i < 2; i++) {
        world_report(w, i, ROLLOUT_REPORT_UNHEALTHY);
        world_report(w, i, ROLLOUT_REPORT_HEALTHY);
    }
    world_pass(w, 29 * MINUTE_MS);
    world_expect_verdict(w, GATE_WAIT, GATE_SOAK, GATE_DWELLING);
    assert_int_equal(world_view(w).verdict.until_ms, w->now_ms + MINUTE_MS);
    world_report(w, 0, ROLLOUT_REPORT_UNHEALTHY);
    assert_int_equal(world_view(w).failed, 1);
    world_report(w, 0, ROLLOUT_REPORT_HEALTHY);
    world_report(w, 0, ROLLOUT_REPORT_UNHEALTHY);
    assert_int_equal(world_view(w).failed, 1); /* once */
    world_pass(w, MINUTE_MS);
    world_expect(w, ROLLOUT_SUCCEEDED);
}

static void test_rollout__deleted_members_stay_in_n_as_missing(void **state)
{
    struct world *w = *state;
    w->policy.progress_ms = 48 * HOUR_MS;
    one_wave(w, 10);
    world_try(w, 0, ROLLOUT_REPORT_HEALTHY);
    world_do(w, ROLLOUT_IN_DELETE, 0);
    world_do(w, ROLLOUT_IN_DELETE, 1);
    for (uint32_t i = 2; i < 10; i++)
        world_try(w, i, ROLLOUT_REPORT_HEALTHY);
    assert_int_equal(world_view(w).n, 10);
    assert_int_equal(world_view(w).healthy, 8);
    world_pass(w, 24 * HOUR_MS);
    world_expect_verdict(w, GATE_HOLD, GATE_COVERAGE, GATE_MISSING);
}

static void test_rollout__after_a_resume_only_new_failures_count(void **state)
{
    struct world *w = *state;
    w->policy.on_fail = POLICY_FAIL_HOLD;
    w->policy.rate.on = w->policy.compare.on = false;
    one_wave(w, 10);
    world_try(w, 0, ROLLOUT_REPORT_FAILED);
    world_try(w, 1, ROLLOUT_REPORT_FAILED);
    world_expect(w, ROLLOUT_HELD);
    assert_int_equal(world_ask(w, 2, false), LEASE_HELD);
    world_do(w, ROLLOUT_IN_PROMOTE, ROLLOUT_NONE);
    assert_non_null(world_effect(w, ROLLOUT_REFUSED));
    world_resume(w, GATE_FAILURES, 0);
    world_expect(w, ROLLOUT_RUNNING);
    world_try(w, 2, ROLLOUT_REPORT_FAILED);
    world_expect(w, ROLLOUT_RUNNING);
    world_try(w, 3, ROLLOUT_REPORT_FAILED);
    world_expect(w, ROLLOUT_HELD);
}

static void test_rollout__pause_stops_leases_and_not_failures(void **state)
{
    struct world *w = *state;
    one_wave(w, 10);
    (void)world_ask(w, 0, false);
    (void)world_ask(w, 1, false);
    world_do(w, ROLLOUT_IN_PAUSE, ROLLOUT_NONE);
    assert_int_equal(world_ask(w, 2, false), LEASE_PAUSED);
    world_pass(w, HOUR_MS / 4);
    world_report(w, 0, ROLLOUT_REPORT_FAILED);
    world_expect(w, ROLLOUT_PAUSED);
    world_report(w, 1, ROLLOUT_REPORT_FAILED);
    world_expect(w, ROLLOUT_ROLLING_BACK);
}

static void test_rollout__the_progress_clock_stops_while_paused(void **state)
{
    struct world *w = *state;
    one_wave(w, 10);
    world_pass(w, HOUR_MS);
    world_do(w, ROLLOUT_IN_PAUSE, ROLLOUT_NONE);
    world_pass(w, 10 * HOUR_MS);
    world_resume(w, 0, 0);
    world_expect(w, ROLLOUT_RUNNING);
    world_pass(w, HOUR_MS - 1000);
    world_expect(w, ROLLOUT_RUNNING);
    world_pass(w, 1000);
    world_expect_verdict(w, GATE_HOLD, GATE_PROGRESS, GATE_NO_PROGRESS);
    world_resume(w, GATE_PROGRESS, 0);
    world_expect(w, ROLLOUT_RUNNING);
}

static void test_rollout__the_progress_clock_stops_outside_the_window(void **state)
{
    struct world *w = *state;
    static const struct lease_window night[] = {
        {WORLD_START_MS, WORLD_START_MS + HOUR_MS},
        {WORLD_START_MS + 20 * HOUR_MS, WORLD_START_MS + 22 * HOUR_MS}};
    one_wave(w, 10);
    struct rollout_input input = {.kind = ROLLOUT_IN_WINDOWS};
    input.u.windows.windows = night;
    input.u.windows.len = 2;
    input.u.windows.windowed = true;
    world_step(w, &input);
    world_pass(w, 15 * HOUR_MS);
    world_expect(w, ROLLOUT_RUNNING);
    assert_int_equal(world_ask(w, 0, false), LEASE_WINDOW);
    assert_int_equal(world_effect(w, ROLLOUT_LEASE)->u.lease.retry_ms,
                     WORLD_START_MS + 20 * HOUR_MS);
    world_pass(w, 5 * HOUR_MS + HOUR_MS);
    world_expect_verdict(w, GATE_HOLD, GATE_PROGRESS, GATE_NO_PROGRESS);
}

static void test_rollout__approvals_are_of_distinct_people_and_void_after_a_change(void **state)
{
    struct world *w = *state;
    w->policy.approvals = 2;
    w->policy.soak_ms = 0;
    world_waves(w, 4, 0);
    world_start(w);
    (void)world_try_all(w, ROLLOUT_REPORT_HEALTHY);
    world_approve(w, 11, 0);
    world_approve(w, 11, 0);
    world_expect_verdict(w, GATE_WAIT, GATE_APPROVAL, GATE_APPROVALS);
    struct policy changed = w->policy;
    changed.soak_ms = 1000;
    world_step(w, &(struct rollout_input){.kind = ROLLOUT_IN_POLICY, .u.policy = &changed});
    world_approve(w, 12, 0);
    assert_int_equal(world_view(w).wave, 0);
    world_approve(w, 11, 0);
    assert_int_equal(world_view(w).wave, 1);
    assert_int_equal(rollout_policy(w->rollout)->soak_ms, 1000); /* from this wave on */
    world_expect_restart_is_same(w);
    w->inputs_len = 0; /* the changed policy does not outlive this function */
    rollout_free(w->rollout);
    w->rollout = rollout_new();
}

static void test_rollout__late_joiners_go_through_the_same_gates(void **state)
{
    struct world *w = *state;
    one_wave(w, 10);
    world_step(w, &(struct rollout_input){.kind = ROLLOUT_IN_JOIN,
                                          .u.join = {.pick = 255, .eligible = 1, .online = 1}});
    assert_int_equal(world_view(w).n, 10); /* frozen */
    assert_int_equal(world_device(w, 10).device, ROLLOUT_OFFERED);
    world_try(w, 0, ROLLOUT_REPORT_FAILED);
    world_try(w, 10, ROLLOUT_REPORT_FAILED);
    world_expect(w, ROLLOUT_ROLLING_BACK);
}

/* Success means: confirmed healthy on the target release; one device outstanding is no success. */
static void test_rollout__succeeds_only_with_every_eligible_device(void **state)
{
    struct world *w = *state;
    one_wave(w, 20);
    for (uint32_t i = 0; i < 19; i++)
        world_try(w, i, ROLLOUT_REPORT_HEALTHY);
    world_pass(w, HOUR_MS);
    world_expect_verdict(w, GATE_WAIT, GATE_COVERAGE, GATE_COMPLETING);
    world_pass(w, HOUR_MS);
    world_expect_verdict(w, GATE_HOLD, GATE_PROGRESS, GATE_NO_PROGRESS);
    world_do(w, ROLLOUT_IN_EXCLUDE, 19);
    world_resume(w, GATE_PROGRESS, 0);
    world_expect(w, ROLLOUT_SUCCEEDED);
}

static void test_rollout__promote_passes_by_what_waits(void **state)
{
    struct world *w = *state;
    world_waves(w, 4, 0);
    world_start(w);
    world_do(w, ROLLOUT_IN_PROMOTE, ROLLOUT_NONE);
    assert_int_equal(world_view(w).wave, 1);
    world_do(w, ROLLOUT_IN_PROMOTE, ROLLOUT_NONE);
    assert_non_null(world_effect(w, ROLLOUT_REFUSED));
    world_expect(w, ROLLOUT_RUNNING);
}

static void test_rollout__metrics_are_counted_by_what_they_are(void **state)
{
    struct world *w = *state;
    w->policy.soak_ms = 0;
    w->policy.metrics_len = 1;
    w->policy.metrics[0] = (struct policy_metric){.op = POLICY_OP_AT_MOST,
                                                  .limit = 1,
                                                  .count = 1,
                                                  .max_age_ms = MINUTE_MS,
                                                  .deadline_ms = HOUR_MS};
    one_wave(w, 10);
    (void)world_try_all(w, ROLLOUT_REPORT_HEALTHY);
    world_expect_verdict(w, GATE_WAIT, GATE_METRIC, GATE_MEASURING);
    struct rollout_input input = {.kind = ROLLOUT_IN_METRIC};
    input.u.metric.value = 0.5;
    input.u.metric.measured_ms = w->now_ms - 2 * MINUTE_MS; /* stale */
    world_step(w, &input);
    world_expect(w, ROLLOUT_HELD);
    world_expect_verdict(w, GATE_HOLD, GATE_METRIC, GATE_INCONCLUSIVE);
    world_resume(w, GATE_METRIC, 0);
    world_expect_verdict(w, GATE_WAIT, GATE_METRIC, GATE_MEASURING);
    input.u.metric.measured_ms = w->now_ms;
    world_step(w, &input);
    world_expect(w, ROLLOUT_SUCCEEDED);
}

static void test_rollout__the_table_says_what_may_follow(void **state)
{
    (void)state;
    for (int to = 0; to < ROLLOUT_STATES; to++) {
        assert_false(rollout_may_move(ROLLOUT_SUPERSEDED, to));
        assert_int_equal(rollout_may_move(ROLLOUT_SUCCEEDED, to),
                         to == ROLLOUT_ABORTING || to == ROLLOUT_SUPERSEDED);
        /* a rollback never causes a rollback */
        assert_false(rollout_may_move(ROLLOUT_ROLLING_BACK, ROLLOUT_ABORTING));
    }
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(test_rollout__goes_out_in_waves_and_succeeds),
        STORY(test_rollout__devices_decide_as_it_counts),
        STORY(test_rollout__two_failed_of_ten_go_back),
        STORY(test_rollout__failures_do_not_wait_for_approval),
        STORY(test_rollout__silence_after_an_offer_is_a_failure),
        STORY(test_rollout__silence_counts_from_the_offer),
        STORY(test_rollout__silence_of_a_control_counts_anew_from_its_offer),
        STORY(test_rollout__silence_in_the_soak_is_a_failure),
        STORY(test_rollout__silence_of_control_counts_the_same),
        STORY(test_rollout__a_canary_worse_than_control_fails_by_compare),
        STORY(test_rollout__compare_uses_the_formula),
        STORY(test_rollout__eight_of_ten_hold_missing_until_a_person_resumes),
        STORY(test_rollout__nobody_reports_nothing_advances),
        STORY(test_rollout__nobody_eligible_holds_and_looks_again),
        STORY(test_rollout__a_flap_restarts_the_dwell_and_two_fail),
        STORY(test_rollout__deleted_members_stay_in_n_as_missing),
        STORY(test_rollout__after_a_resume_only_new_failures_count),
        STORY(test_rollout__pause_stops_leases_and_not_failures),
        STORY(test_rollout__the_progress_clock_stops_while_paused),
        STORY(test_rollout__the_progress_clock_stops_outside_the_window),
        STORY(test_rollout__approvals_are_of_distinct_people_and_void_after_a_change),
        STORY(test_rollout__late_joiners_go_through_the_same_gates),
        STORY(test_rollout__succeeds_only_with_every_eligible_device),
        STORY(test_rollout__promote_passes_by_what_waits),
        STORY(test_rollout__metrics_are_counted_by_what_they_are),
        STORY(test_rollout__the_table_says_what_may_follow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
