/* SPDX-License-Identifier: Apache-2.0
 *
 * A verdict again from what was stored, and what another policy would have said.
 */
#include <stdio.h>

#include "captain/core/history.h"
#include "tests/unit/captain/rollout_world.h"

struct tape {
    const struct world *world;
    size_t at;
    char story[2048];
};

static bool next(void *context, struct rollout_input *ret)
{
    struct tape *tape = context;
    if (tape->at == tape->world->inputs_len)
        return false;
    *ret = tape->world->inputs[tape->at++];
    return true;
}

static void tell(void *context, uint64_t input, int64_t now_ms, uint32_t wave,
                 const struct gate_result *result)
{
    struct tape *tape = context;
    const size_t len = strlen(tape->story);
    (void)input;
    (void)snprintf(tape->story + len, sizeof tape->story - len, "%lldm wave %u: %s %s %s\n",
                   (long long)((now_ms - WORLD_START_MS) / MINUTE_MS), wave + 1,
                   gate_verdict_name(result->verdict), gate_name(result->gate),
                   gate_reason_name(result->reason));
}

/* 4 canaries well, then 36 of which devices fail one by one, a minute apart, until it stops. */
static void bad_second_wave(struct world *w)
{
    world_init(w, 40);
    w->policy.failures.min_abs = 3;
    w->policy.rate.on = w->policy.compare.on = false;
    world_waves(w, 4, 0);
    world_start(w);
    (void)world_try_all(w, ROLLOUT_REPORT_HEALTHY);
    world_pass(w, 30 * MINUTE_MS);
    assert_int_equal(world_view(w).wave, 1);
    while (world_view(w).state == ROLLOUT_RUNNING) {
        world_pass(w, MINUTE_MS);
        world_try(w, world_offered(w, 0), ROLLOUT_REPORT_HEALTHY);
        world_try(w, world_offered(w, 0), ROLLOUT_REPORT_FAILED);
    }
    world_expect(w, ROLLOUT_ROLLING_BACK);
}

static void test_history__the_same_policy_gives_the_same_verdicts(void **state)
{
    (void)state;
    struct world w;
    struct history_diff diff;
    struct err err;
    bad_second_wave(&w);
    struct tape tape = {.world = &w};
    assert_int_equal(history_replay(next, &tape, UINT64_MAX, NULL, tell, &diff, &err), ERR_OK);
    assert_int_equal(diff.inputs, w.inputs_len);
    assert_true(diff.fingerprint == rollout_fingerprint(w.rollout));
    assert_true(diff.recorded.failed);
    assert_string_equal(tape.story, "0m wave 1: wait coverage waiting_reports\n"
                                    "0m wave 1: wait soak dwelling\n"
                                    "30m wave 1: pass coverage ok\n"
                                    "30m wave 2: wait coverage waiting_reports\n"
                                    "34m wave 2: fail failures limit\n");
    struct tape again = {.world = &w};
    assert_int_equal(history_replay(next, &again, UINT64_MAX, &w.policy, tell, &diff, &err),
                     ERR_OK);
    assert_false(diff.differs);
    assert_string_equal(again.story, tape.story);
    assert_int_equal(diff.devices_later, 0);
    world_fini(&w);
}

static void test_history__a_stricter_policy_would_have_stopped_earlier(void **state)
{
    (void)state;
    struct world w;
    struct history_diff diff;
    struct err err;
    bad_second_wave(&w);
    struct policy strict = w.policy;
    strict.failures.min_abs = 1;
    struct tape tape = {.world = &w};
    assert_int_equal(history_replay(next, &tape, UINT64_MAX, &strict, tell, &diff, &err), ERR_OK);
    assert_true(diff.recorded.failed);
    assert_true(diff.other.failed);
    assert_true(diff.other.fail_input < diff.recorded.fail_input);
    assert_int_equal(diff.recorded.fail_exposed, 4 + 8);
    assert_int_equal(diff.other.fail_exposed, 4 + 4);
    assert_int_equal(diff.devices_later, -4);
    assert_true(diff.differs);
    assert_int_equal(diff.differs_input, diff.other.fail_input);
    assert_int_equal(diff.differs_other.verdict, GATE_FAIL);
    world_fini(&w);
}

static void test_history__a_looser_policy_would_not_have_stopped(void **state)
{
    (void)state;
    struct world w;
    struct history_diff diff;
    struct err err;
    bad_second_wave(&w);
    struct policy loose = w.policy;
    loose.failures.min_abs = loose.failures.max_abs = 50;
    struct tape tape = {.world = &w};
    assert_int_equal(history_replay(next, &tape, UINT64_MAX, &loose, NULL, &diff, &err), ERR_OK);
    assert_false(diff.other.failed);
    assert_true(diff.recorded.failed);
    world_fini(&w);
}

/* A longer soak is counted anew, though the recorded rollout went on. */
static void test_history__another_soak_is_judged_on_what_happened(void **state)
{
    (void)state;
    struct world w;
    struct history_diff diff;
    struct err err;
    bad_second_wave(&w);
    struct policy patient = w.policy;
    patient.soak_ms = HOUR_MS;
    struct tape tape = {.world = &w};
    assert_int_equal(history_replay(next, &tape, UINT64_MAX, &patient, NULL, &diff, &err), ERR_OK);
    assert_false(diff.differs_recorded.verdict == GATE_WAIT && diff.differs_other.verdict == 0);
    assert_int_equal(diff.other.fail_input, diff.recorded.fail_input);
    world_fini(&w);
}

static void test_history__stops_at_the_input_asked_for(void **state)
{
    (void)state;
    struct world w;
    struct history_diff diff;
    struct err err;
    bad_second_wave(&w);
    struct tape tape = {.world = &w};
    assert_int_equal(history_replay(next, &tape, 5, NULL, NULL, &diff, &err), ERR_OK);
    assert_int_equal(diff.inputs, 6);
    assert_false(diff.recorded.failed);
    world_fini(&w);
}

static void test_history__refuses_what_is_none(void **state)
{
    (void)state;
    struct world w;
    struct history_diff diff;
    struct err err;
    world_init(&w, 4);
    struct tape tape = {.world = &w};
    assert_int_equal(history_replay(next, &tape, 5, NULL, NULL, &diff, &err), ERR_MALFORMED);
    world_start(&w);
    struct policy bad = w.policy;
    bad.waves_len = 0;
    assert_int_equal(history_replay(next, &tape, 5, &bad, NULL, &diff, &err), ERR_MALFORMED);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_history__the_same_policy_gives_the_same_verdicts),
        cmocka_unit_test(test_history__a_stricter_policy_would_have_stopped_earlier),
        cmocka_unit_test(test_history__a_looser_policy_would_not_have_stopped),
        cmocka_unit_test(test_history__another_soak_is_judged_on_what_happened),
        cmocka_unit_test(test_history__stops_at_the_input_asked_for),
        cmocka_unit_test(test_history__refuses_what_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
