/* SPDX-License-Identifier: Apache-2.0
 *
 * Devices that a superseded rollout left on a third release, and those that cannot go back: what the
 * simulator found, one by one.
 */
#include "tests/unit/captain/rollout_world.h"

static int set_up(void **state)
{
    struct world *w = mem_new(1, sizeof *w);
    world_init(w, 10);
    world_waves(w, 1, 0);
    w->policy.compare.on = false;
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

/* A member that the canary wave did not draw. */
static uint32_t start_with_stray(struct world *w)
{
    world_start(w);
    for (uint32_t i = 0; i < w->len; i++)
        if (world_device(w, i).device == ROLLOUT_ON_BASE)
            return i;
    fail();
    return 0;
}

static void test_rollout_stray__goes_back_while_the_rollout_goes_forward(void **state)
{
    struct world *w = *state;
    w->policy.admission.max_in_flight = 1;
    const uint32_t stray = start_with_stray(w);
    const uint32_t canary = world_offered(w, 0);
    assert_int_equal(world_ask(w, stray, true), LEASE_GRANTED);
    assert_int_equal(world_ask(w, canary, false), LEASE_CAP_FLEET); /* it counts */
    assert_int_equal(world_view(w).exposed, 0);
    world_report(w, stray, ROLLOUT_REPORT_ROLLED_BACK);
    assert_int_equal(world_view(w).in_flight, 0);
    assert_int_equal(world_view(w).failed, 0);
    assert_int_equal(world_device(w, stray).device, ROLLOUT_ON_BASE);
    assert_int_equal(world_ask(w, canary, false), LEASE_GRANTED);
}

static void test_rollout_stray__a_device_on_its_way_to_the_target_may_not_turn_back(void **state)
{
    struct world *w = *state;
    (void)start_with_stray(w);
    assert_int_equal(world_ask(w, world_offered(w, 0), true), LEASE_ENDED);
}

static void test_rollout_stray__its_wave_opens_while_it_goes_back(void **state)
{
    struct world *w = *state;
    const uint32_t stray = start_with_stray(w);
    (void)world_ask(w, stray, true);
    (void)world_try_all(w, ROLLOUT_REPORT_HEALTHY);
    world_pass(w, 30 * MINUTE_MS);
    assert_int_equal(world_device(w, stray).device, ROLLOUT_OFFERED);
    world_report(w, stray, ROLLOUT_REPORT_ROLLED_BACK);
    assert_false(world_device(w, stray).failed); /* it is where it was to be */
    assert_int_equal(world_device(w, stray).device, ROLLOUT_OFFERED);
    world_try(w, stray, ROLLOUT_REPORT_HEALTHY);
    assert_int_equal(world_device(w, stray).device, ROLLOUT_HEALTHY);
}

static void test_rollout_stray__is_waited_for_by_a_rollback(void **state)
{
    struct world *w = *state;
    world_waves(w, 0, 0);
    world_start(w);
    world_try(w, 1, ROLLOUT_REPORT_HEALTHY);
    world_abort(w, false);
    assert_int_equal(world_ask(w, 0, true), LEASE_GRANTED); /* was offered; runs something else */
    assert_int_equal(world_device(w, 0).device, ROLLOUT_RETURNING);
    (void)world_ask(w, 1, true);
    world_report(w, 1, ROLLOUT_REPORT_ROLLED_BACK);
    world_expect(w, ROLLOUT_ROLLING_BACK);
    world_report(w, 0, ROLLOUT_REPORT_ROLLED_BACK);
    world_expect(w, ROLLOUT_ABORTED);
}

static void test_rollout_stray__does_not_try_a_base_that_fails_for_ever(void **state)
{
    struct world *w = *state;
    const uint32_t stray = start_with_stray(w);
    (void)world_ask(w, stray, true);
    world_report(w, stray, ROLLOUT_REPORT_ROLLBACK_FAILED);
    assert_non_null(world_effect(w, ROLLOUT_BOXED));
    assert_true(world_device(w, stray).boxed);
    assert_int_equal(world_device(w, stray).class, POLICY_FAILED);
    assert_int_equal(world_ask(w, stray, true), LEASE_BOXED);
    world_do(w, ROLLOUT_IN_RETRY, stray);
    assert_false(world_device(w, stray).boxed);
    assert_int_equal(world_ask(w, stray, true), LEASE_GRANTED);
}

static void test_rollout_stray__told_again_after_its_offer_changes_nothing(void **state)
{
    struct world *w = *state;
    const uint32_t stray = start_with_stray(w);
    struct rollout_input early = {.kind = ROLLOUT_IN_REPORT, .member = stray};
    early.u.report.what = ROLLOUT_REPORT_APPLYING;
    early.u.report.attempt = 1;
    early.u.report.sequence = 5;
    world_step(w, &early); /* of a device that was never offered: ignored */
    (void)world_try_all(w, ROLLOUT_REPORT_HEALTHY);
    world_pass(w, 30 * MINUTE_MS);
    assert_int_equal(world_device(w, stray).device, ROLLOUT_OFFERED);
    const uint64_t before = rollout_fingerprint(w->rollout);
    world_step(w, &early);
    assert_true(rollout_fingerprint(w->rollout) == before);
}

/* All on the target, and on their way back. */
static void start_back(struct world *w)
{
    world_waves(w, 0, 0);
    w->len = 2;
    world_start(w);
    world_try(w, 0, ROLLOUT_REPORT_HEALTHY);
    world_try(w, 1, ROLLOUT_REPORT_HEALTHY);
    world_abort(w, false);
    (void)world_ask(w, 0, true);
}

static void test_rollout_stray__quarantine_ends_the_tries_to_go_back(void **state)
{
    struct world *w = *state;
    start_back(w);
    world_report(w, 0, ROLLOUT_REPORT_ROLLBACK_FAILED);
    assert_int_equal(world_ask(w, 0, true), LEASE_BOXED);
    world_do(w, ROLLOUT_IN_RETRY, 0);
    assert_int_equal(world_ask(w, 0, true), LEASE_GRANTED);
}

/* The ask for the next attempt is faster than the event that says how the last one ended. */
static void test_rollout_stray__an_ask_that_overtakes_its_report_is_a_failure(void **state)
{
    struct world *w = *state;
    start_back(w);
    assert_int_equal(world_ask(w, 0, true), LEASE_BOXED);
    assert_int_equal(world_device(w, 0).device, ROLLOUT_QUARANTINED);
    world_report(w, 0, ROLLOUT_REPORT_ROLLBACK_FAILED);
    assert_int_equal(world_device(w, 0).device, ROLLOUT_QUARANTINED);
}

/* Quarantined for its silence, it says later that it failed: no more tries then either. */
static void test_rollout_stray__a_word_of_failure_outranks_silence(void **state)
{
    struct world *w = *state;
    start_back(w);
    world_pass(w, 31 * MINUTE_MS);
    assert_int_equal(world_device(w, 0).class, POLICY_TIMED_OUT);
    world_report(w, 0, ROLLOUT_REPORT_ROLLBACK_FAILED);
    assert_int_equal(world_device(w, 0).class, POLICY_FAILED);
    assert_int_equal(world_ask(w, 0, true), LEASE_BOXED);
}

/* One canary, limit 1: it failed alone. Nobody is left to soak, and nothing would ever change. */
static void test_rollout_stray__a_wave_of_failures_below_the_limit_holds(void **state)
{
    struct world *w = *state;
    (void)start_with_stray(w);
    w->policy.rate.on = false;
    world_try(w, world_offered(w, 0), ROLLOUT_REPORT_ROLLED_BACK);
    world_expect_verdict(w, GATE_HOLD, GATE_SOAK, GATE_NO_DATA);
    world_expect(w, ROLLOUT_HELD);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_rollout_stray__##name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(goes_back_while_the_rollout_goes_forward),
        TEST(a_device_on_its_way_to_the_target_may_not_turn_back),
        TEST(its_wave_opens_while_it_goes_back),
        TEST(is_waited_for_by_a_rollback),
        TEST(does_not_try_a_base_that_fails_for_ever),
        TEST(told_again_after_its_offer_changes_nothing),
        TEST(quarantine_ends_the_tries_to_go_back),
        TEST(an_ask_that_overtakes_its_report_is_a_failure),
        TEST(a_word_of_failure_outranks_silence),
        TEST(a_wave_of_failures_below_the_limit_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
