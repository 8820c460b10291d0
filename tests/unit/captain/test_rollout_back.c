/* SPDX-License-Identifier: Apache-2.0
 *
 * Attempts and ways back: leases, retries, reports in any order, aborts in any state.
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

static void test_rollout_back__abort_waits_for_those_that_apply(void **state)
{
    struct world *w = *state;
    one_wave(w, 10);
    world_try(w, 0, ROLLOUT_REPORT_HEALTHY);
    (void)world_ask(w, 1, false);
    (void)world_ask(w, 2, false);
    world_abort(w, false);
    assert_non_null(world_effect(w, ROLLOUT_PUBLISH_BASE)); /* one message, at once */
    world_expect(w, ROLLOUT_ABORTING);
    assert_int_equal(world_ask(w, 3, false), LEASE_ENDED);
    world_report(w, 1, ROLLOUT_REPORT_ROLLED_BACK); /* at its next safe point */
    world_expect(w, ROLLOUT_ABORTING);
    const uint64_t before = rollout_fingerprint(w->rollout);
    world_abort(w, false); /* twice: same state */
    assert_int_equal(w->effects.len, 0);
    assert_true(rollout_fingerprint(w->rollout) == before);
    world_pass(w, 30 * MINUTE_MS); /* the other says nothing until its lease ends */
    world_expect(w, ROLLOUT_ROLLING_BACK);
    world_report(w, 2, ROLLOUT_REPORT_ROLLED_BACK);
    assert_int_equal(world_ask(w, 0, true), LEASE_GRANTED);
    world_report(w, 0, ROLLOUT_REPORT_ROLLED_BACK);
    world_expect(w, ROLLOUT_ABORTED);
    world_abort(w, false);
    world_expect(w, ROLLOUT_ABORTED);
}

/* Argo ignores an abort after the full promote. */
static void test_rollout_back__abort_is_taken_in_every_state(void **state)
{
    struct world *w = *state;
    for (int which = ROLLOUT_PENDING; which <= ROLLOUT_SUPERSEDED; which++) {
        world_fini(w);
        world_init(w, 10);
        w->policy.soak_ms = 0;
        world_waves(w, 0, 0);
        w->frozen = which == ROLLOUT_PENDING;
        world_start(w);
        if (which == ROLLOUT_PAUSED)
            world_do(w, ROLLOUT_IN_PAUSE, ROLLOUT_NONE);
        if (which == ROLLOUT_HELD)
            world_pass(w, 3 * HOUR_MS);
        if (which == ROLLOUT_SUCCEEDED)
            (void)world_try_all(w, ROLLOUT_REPORT_HEALTHY);
        if (which == ROLLOUT_ABORTING)
            (void)world_ask(w, 0, false);
        if (which == ROLLOUT_ROLLING_BACK)
            world_try(w, 0, ROLLOUT_REPORT_HEALTHY);
        if (which == ROLLOUT_SUPERSEDED)
            world_do(w, ROLLOUT_IN_SUPERSEDE, ROLLOUT_NONE);
        if (which <= ROLLOUT_SUCCEEDED)
            world_expect(w, which);
        for (int twice = 0; twice < 2; twice++) {
            world_abort(w, false);
            assert_null(world_effect(w, ROLLOUT_REFUSED));
            const enum rollout_state now = world_view(w).state;
            assert_true(which == ROLLOUT_SUPERSEDED ? now == ROLLOUT_SUPERSEDED
                                                    : now >= ROLLOUT_ABORTING);
        }
    }
}

static void test_rollout_back__abort_keep_leaves_devices_where_they_are(void **state)
{
    struct world *w = *state;
    one_wave(w, 10);
    world_try(w, 0, ROLLOUT_REPORT_HEALTHY);
    world_abort(w, true);
    assert_null(world_effect(w, ROLLOUT_PUBLISH_BASE));
    world_expect(w, ROLLOUT_ABORTED);
    assert_int_equal(world_device(w, 0).device, ROLLOUT_HEALTHY);
    assert_int_equal(world_ask(w, 1, false), LEASE_ENDED);
}

static void test_rollout_back__a_failed_rollback_quarantines_and_holds(void **state)
{
    struct world *w = *state;
    one_wave(w, 10);
    world_try(w, 0, ROLLOUT_REPORT_HEALTHY);
    world_try(w, 1, ROLLOUT_REPORT_HEALTHY);
    world_abort(w, false);
    (void)world_ask(w, 0, true);
    world_report(w, 0, ROLLOUT_REPORT_ROLLBACK_FAILED);
    assert_non_null(world_effect(w, ROLLOUT_IS_QUARANTINED));
    assert_int_equal(world_device(w, 0).device, ROLLOUT_QUARANTINED);
    world_expect(w, ROLLOUT_ROLLING_BACK); /* the other one still goes back */
    (void)world_ask(w, 1, true);
    world_report(w, 1, ROLLOUT_REPORT_ROLLED_BACK);
    world_expect(w, ROLLOUT_HELD);
    assert_int_equal(world_view(w).held_gate, GATE_ROLLBACK);
    world_do(w, ROLLOUT_IN_RETRY, 0); /* on purpose */
    world_expect(w, ROLLOUT_ROLLING_BACK);
    (void)world_ask(w, 0, true);
    world_report(w, 0, ROLLOUT_REPORT_ROLLBACK_FAILED);
    world_resume(w, GATE_ROLLBACK, 0);
    world_expect(w, ROLLOUT_ABORTED);
}

static void test_rollout_back__a_rollback_that_stands_still_quarantines(void **state)
{
    struct world *w = *state;
    one_wave(w, 40);
    (void)world_try_all(w, ROLLOUT_REPORT_HEALTHY);
    world_abort(w, false);
    world_pass(w, 31 * MINUTE_MS);
    world_expect(w, ROLLOUT_HELD);
    assert_int_equal(world_view(w).quarantined, 40); /* more than one step has room for */
}

static void test_rollout_back__duplicates_and_old_attempts_change_nothing(void **state)
{
    struct world *w = *state;
    w->policy.retries[POLICY_FAILED] = 1;
    one_wave(w, 10);
    world_try(w, 0, ROLLOUT_REPORT_FAILED);
    const struct rollout_input first = w->inputs[w->inputs_len - 1];
    uint64_t before = rollout_fingerprint(w->rollout);
    const uint64_t ignored = world_view(w).ignored;
    world_step(w, &first); /* the same report again */
    assert_true(rollout_fingerprint(w->rollout) == before);
    assert_int_equal(world_view(w).ignored, ignored + 1);
    world_try(w, 0, ROLLOUT_REPORT_HEALTHY); /* the second attempt */
    before = rollout_fingerprint(w->rollout);
    struct rollout_input old = first;
    old.u.report.sequence = 100; /* newer in time, of the older attempt */
    world_step(w, &old);
    assert_true(rollout_fingerprint(w->rollout) == before);
    assert_int_equal(world_view(w).ignored, ignored + 2);
    assert_int_equal(world_view(w).healthy, 1);
}

/* All orders of the reports of one attempt end in the same state. */
static void test_rollout_back__every_order_of_reports_is_the_same(void **state)
{
    struct world *w = *state;
    static const enum rollout_report stories[][3] = {
        {ROLLOUT_REPORT_APPLYING, ROLLOUT_REPORT_FAILED, ROLLOUT_REPORT_ROLLED_BACK},
        {ROLLOUT_REPORT_APPLYING, ROLLOUT_REPORT_APPLYING, ROLLOUT_REPORT_HEALTHY},
        {ROLLOUT_REPORT_APPLYING, ROLLOUT_REPORT_FAILED, ROLLOUT_REPORT_ROLLBACK_FAILED},
        {ROLLOUT_REPORT_HEALTHY, ROLLOUT_REPORT_UNHEALTHY, ROLLOUT_REPORT_HEALTHY},
    };
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                     {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (size_t s = 0; s < ARRAY_LEN(stories); s++) {
        uint64_t expected = 0;
        for (int o = 0; o < 6; o++) {
            world_fini(w);
            world_init(w, 10);
            one_wave(w, 10);
            (void)world_ask(w, 0, false);
            for (int k = 0; k < 3; k++) {
                const int which = orders[o][k];
                struct rollout_input input = {.kind = ROLLOUT_IN_REPORT, .member = 0};
                input.u.report.what = stories[s][which];
                input.u.report.attempt = 1;
                input.u.report.sequence = (uint32_t)which + 1;
                input.u.report.flaps = s == 3 && which >= 1;
                world_step(w, &input);
            }
            const uint64_t print = rollout_fingerprint(w->rollout);
            if (o == 0)
                expected = print;
            if (print != expected)
                fail_msg("story %zu, order %d ends otherwise", s, o);
        }
    }
}

static void test_rollout_back__a_lost_answer_is_given_again(void **state)
{
    struct world *w = *state;
    one_wave(w, 10);
    (void)world_ask(w, 0, false);
    const struct rollout_effect first = *world_effect(w, ROLLOUT_LEASE);
    w->now_ms += MINUTE_MS;
    w->attempt[0] = 0;
    assert_int_equal(world_ask(w, 0, false), LEASE_GRANTED);
    assert_int_equal(world_effect(w, ROLLOUT_LEASE)->u.lease.until_ms, first.u.lease.until_ms);
    assert_int_equal(world_view(w).in_flight, 1);
}

static void test_rollout_back__a_lease_that_ends_is_a_failure(void **state)
{
    struct world *w = *state;
    one_wave(w, 10);
    (void)world_ask(w, 0, false);
    world_pass(w, 30 * MINUTE_MS);
    assert_int_equal(world_view(w).in_flight, 0);
    assert_int_equal(world_view(w).failures[POLICY_TIMED_OUT], 1);
    assert_int_equal(world_ask(w, 0, false), LEASE_BOXED);
    world_do(w, ROLLOUT_IN_RETRY, 0);
    assert_int_equal(world_view(w).boxed, 0);
    assert_int_equal(world_ask(w, 0, false), LEASE_GRANTED);
}

static void test_rollout_back__retries_are_counted_by_class(void **state)
{
    struct world *w = *state;
    w->policy.retries[POLICY_REJECTED] = 2;
    one_wave(w, 10);
    world_try(w, 0, ROLLOUT_REPORT_REJECTED);
    world_try(w, 0, ROLLOUT_REPORT_REJECTED);
    assert_int_equal(world_view(w).failed, 0);
    world_try(w, 0, ROLLOUT_REPORT_REJECTED);
    assert_int_equal(world_view(w).failed, 1);
    assert_non_null(world_effect(w, ROLLOUT_BOXED));
    world_try(w, 1, ROLLOUT_REPORT_FAILED); /* has no retry */
    world_expect(w, ROLLOUT_ROLLING_BACK);
}

static void test_rollout_back__the_first_release_holds_where_it_would_go_back(void **state)
{
    struct world *w = *state;
    w->has_base = false;
    one_wave(w, 10);
    world_try(w, 0, ROLLOUT_REPORT_FAILED);
    world_try(w, 1, ROLLOUT_REPORT_FAILED);
    world_expect(w, ROLLOUT_HELD);
    assert_null(world_effect(w, ROLLOUT_PUBLISH_BASE));
    assert_int_equal(world_ask(w, 2, false), LEASE_HELD); /* and nobody else gets it */
    world_abort(w, false);
    assert_non_null(world_effect(w, ROLLOUT_PUBLISH_BASE)); /* nobody new takes it */
    world_expect(w, ROLLOUT_ABORTED);
}

static void test_rollout_back__leases_outlive_a_supersede(void **state)
{
    struct world *w = *state;
    w->policy.admission.max_in_flight = 2;
    w->members[0].lease_until_ms = WORLD_START_MS + 5 * MINUTE_MS;
    w->members[1].lease_until_ms = WORLD_START_MS + 6 * MINUTE_MS;
    one_wave(w, 10);
    assert_int_equal(world_view(w).in_flight, 2);
    assert_int_equal(world_ask(w, 2, false), LEASE_CAP_FLEET);
    world_pass(w, 5 * MINUTE_MS);
    assert_int_equal(world_view(w).in_flight, 1);
    assert_int_equal(world_view(w).failed, 0);
    assert_int_equal(world_ask(w, 2, false), LEASE_GRANTED);
    assert_int_equal(world_ask(w, 3, false), LEASE_CAP_FLEET);
    world_step(w, &(struct rollout_input){.kind = ROLLOUT_IN_RETURN, .member = 1});
    assert_int_equal(world_ask(w, 3, false), LEASE_GRANTED);
}

static void test_rollout_back__superseding_with_the_base_is_the_fast_way_back(void **state)
{
    struct world *w = *state;
    one_wave(w, 10);
    world_try(w, 0, ROLLOUT_REPORT_HEALTHY);
    struct rollout_input input = {.kind = ROLLOUT_IN_SUPERSEDE};
    input.u.supersede.to_base = true;
    world_step(w, &input);
    assert_non_null(world_effect(w, ROLLOUT_PUBLISH_BASE));
    world_expect(w, ROLLOUT_ROLLING_BACK);
    world_do(w, ROLLOUT_IN_SUPERSEDE, ROLLOUT_NONE);
    world_expect(w, ROLLOUT_SUPERSEDED);
}

static void test_rollout_back__a_quarter_of_eight_at_a_site(void **state)
{
    struct world *w = *state;
    w->policy.admission.max_unavailable_per_site_percent = 25;
    one_wave(w, 8);
    assert_int_equal(world_ask(w, 0, false), LEASE_GRANTED);
    assert_int_equal(world_ask(w, 1, false), LEASE_GRANTED);
    assert_int_equal(world_ask(w, 2, false), LEASE_CAP_SITE_PERCENT);
    world_silent(w, 0); /* silent, and still in flight */
    assert_int_equal(world_ask(w, 2, false), LEASE_CAP_SITE_PERCENT);
    world_report(w, 1, ROLLOUT_REPORT_HEALTHY);
    assert_int_equal(world_ask(w, 2, false), LEASE_GRANTED);
}

static void test_rollout_back__freeze_waits_and_lets_go_back(void **state)
{
    struct world *w = *state;
    one_wave(w, 10);
    world_try(w, 0, ROLLOUT_REPORT_HEALTHY);
    world_freeze(w, true);
    assert_int_equal(world_ask(w, 1, false), LEASE_FROZEN);
    world_abort(w, false);
    assert_int_equal(world_ask(w, 0, true), LEASE_GRANTED);
    world_report(w, 0, ROLLOUT_REPORT_ROLLED_BACK);
    world_expect(w, ROLLOUT_ABORTED);
}

/* One that never says how its tries end and always begins another does not go on for ever. */
static void test_rollout_back__the_next_attempt_ends_the_one_before(void **state)
{
    struct world *w = *state;
    w->policy.retries[POLICY_FAILED] = 1;
    one_wave(w, 10);
    assert_int_equal(world_ask(w, 0, false), LEASE_GRANTED);
    assert_int_equal(world_ask(w, 0, false), LEASE_GRANTED);
    assert_int_equal(world_view(w).in_flight, 1);
    assert_int_equal(world_ask(w, 0, false), LEASE_BOXED);
    assert_int_equal(world_view(w).in_flight, 0);
    assert_int_equal(world_view(w).failed, 1);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(test_rollout_back__abort_waits_for_those_that_apply),
        STORY(test_rollout_back__abort_is_taken_in_every_state),
        STORY(test_rollout_back__abort_keep_leaves_devices_where_they_are),
        STORY(test_rollout_back__a_failed_rollback_quarantines_and_holds),
        STORY(test_rollout_back__a_rollback_that_stands_still_quarantines),
        STORY(test_rollout_back__duplicates_and_old_attempts_change_nothing),
        STORY(test_rollout_back__every_order_of_reports_is_the_same),
        STORY(test_rollout_back__a_lost_answer_is_given_again),
        STORY(test_rollout_back__a_lease_that_ends_is_a_failure),
        STORY(test_rollout_back__retries_are_counted_by_class),
        STORY(test_rollout_back__the_first_release_holds_where_it_would_go_back),
        STORY(test_rollout_back__leases_outlive_a_supersede),
        STORY(test_rollout_back__superseding_with_the_base_is_the_fast_way_back),
        STORY(test_rollout_back__a_quarter_of_eight_at_a_site),
        STORY(test_rollout_back__freeze_waits_and_lets_go_back),
        STORY(test_rollout_back__the_next_attempt_ends_the_one_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
