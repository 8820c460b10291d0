/* SPDX-License-Identifier: Apache-2.0
 *
 * Small and complete: every order of the reports of up to four devices, and a captain that dies at
 * every point of a rollout.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "tests/sim/plan.h"

enum { DEVICES_MAX = 4, OUTCOMES = 4, STEPS_MAX = 200000, POINTS_LEAST = 20 };

/* The last words of one device. */
static const enum rollout_report outcomes[OUTCOMES] = {
    ROLLOUT_REPORT_HEALTHY, ROLLOUT_REPORT_FAILED, ROLLOUT_REPORT_REJECTED,
    ROLLOUT_REPORT_ROLLED_BACK};

struct result {
    enum rollout_state state;
    enum rollout_device device[DEVICES_MAX];
    bool boxed[DEVICES_MAX];
};

static struct rollout_effects effects;

static void step(struct rollout *core, const struct rollout_input *input)
{
    char text[ROLLOUT_TEXT_MAX];
    rollout_step(core, input, &effects);
    assert_false(effects.more);
    if (!rollout_check(core, text))
        fail_msg("%s", text);
}

static void begin(struct rollout *core, const struct policy *policy, uint32_t n)
{
    static const struct rollout_stratum stratum;
    struct rollout_join members[DEVICES_MAX] = {{0}};
    for (uint32_t i = 0; i < n; i++)
        members[i] = (struct rollout_join){
            .hash = i + 1, .pick = ROLLOUT_PICK_NONE, .eligible = true, .online = true};
    struct rollout_input input = {.kind = ROLLOUT_IN_START, .now_ms = 1000000};
    input.u.start = (struct rollout_start){.policy = policy,
                                           .has_base = true,
                                           .members = members,
                                           .members_len = n,
                                           .strata = &stratum,
                                           .strata_len = 1};
    step(core, &input);
    for (uint32_t i = 0; i < n; i++) {
        input = (struct rollout_input){
            .kind = ROLLOUT_IN_ASK, .now_ms = 1000000, .member = i, .u.ask.attempt = 1};
        step(core, &input);
    }
}

static void report(struct rollout *core, uint32_t member, enum rollout_report what,
                   uint32_t sequence)
{
    struct rollout_input input = {.kind = ROLLOUT_IN_REPORT, .now_ms = 1000000, .member = member};
    input.u.report.what = what;
    input.u.report.attempt = 1;
    input.u.report.sequence = sequence;
    step(core, &input);
}

/* Each device says two things; `order` names whose turn it is, `overtaken` devices' words arrive the
 * wrong way round, and each word arrives twice. */
static void run_order(const struct policy *policy, uint32_t n, const uint32_t *order,
                      const uint32_t *outcome, uint32_t overtaken, struct result *ret)
{
    struct rollout *core = rollout_new();
    uint32_t said[DEVICES_MAX] = {0};
    struct rollout_view view;
    begin(core, policy, n);
    for (uint32_t k = 0; k < 2 * n; k++) {
        const uint32_t i = order[k];
        const bool first = (said[i]++ == 0) != !!(overtaken & 1u << i);
        for (int twice = 0; twice < 2; twice++)
            report(core, i, first ? ROLLOUT_REPORT_APPLYING : outcomes[outcome[i]], first ? 1 : 2);
    }
    rollout_view(core, &view);
    ret->state = view.state;
    for (uint32_t i = 0; i < n; i++) {
        struct rollout_device_view device;
        rollout_device_view(core, i, &device);
        ret->device[i] = device.device;
        ret->boxed[i] = device.boxed;
    }
    rollout_free(core);
}

struct walk {
    const struct policy *policy;
    uint32_t n, len;
    uint32_t order[2 * DEVICES_MAX];
    uint32_t left[DEVICES_MAX];
    const uint32_t *outcome;
    struct result first;
    bool has_first;
    uint64_t orders;
};

static void compare(struct walk *walk, uint32_t overtaken)
{
    struct result result;
    memset(&result, 0, sizeof result);
    run_order(walk->policy, walk->n, walk->order, walk->outcome, overtaken, &result);
    walk->orders++;
    if (!walk->has_first)
        walk->first = result;
    walk->has_first = true;
    assert_int_equal(result.state, walk->first.state);
    for (uint32_t i = 0; i < walk->n; i++) {
        assert_int_equal(result.device[i], walk->first.device[i]);
        if (result.state < ROLLOUT_ABORTING) /* after a FAIL nothing more is counted */
            assert_int_equal(result.boxed[i], walk->first.boxed[i]);
    }
}

static void every_order(struct walk *walk)
{
    if (walk->len == 2 * walk->n) {
        compare(walk, 0);
        compare(walk, (1u << walk->n) - 1);
        return;
    }
    for (uint32_t i = 0; i < walk->n; i++) {
        if (walk->left[i] == 0)
            continue;
        walk->left[i]--;
        walk->order[walk->len++] = i;
        every_order(walk);
        walk->len--;
        walk->left[i]++;
    }
}

static uint64_t every_order_of(const struct policy *policy, uint32_t n, const uint32_t *outcome)
{
    struct walk walk = {.policy = policy, .n = n, .outcome = outcome};
    for (uint32_t i = 0; i < n; i++)
        walk.left[i] = 2;
    every_order(&walk);
    return walk.orders;
}

static struct policy one_wave(uint32_t limit)
{
    struct policy policy;
    policy_default(&policy);
    policy.waves[0] = policy.waves[policy.waves_len - 1];
    memset(&policy.waves[1], 0, sizeof policy.waves - sizeof policy.waves[0]);
    policy.waves_len = 1;
    policy.rate.on = policy.compare.on = false;
    policy.soak_ms = 0;
    policy.failures.min_abs = policy.failures.max_abs = limit;
    policy.admission.max_unavailable_per_site_percent = 100;
    return policy;
}

/* Orders in which the same things are said end the same; every outcome of up to three devices, and
 * of four when none makes the wave fail on the way (a FAIL in mid-order stops the counting). */
static void test_orders__every_order_of_reports_ends_the_same(void **state)
{
    (void)state;
    uint64_t orders = 0;
    const struct policy policy = one_wave(DEVICES_MAX);
    for (uint32_t n = 1; n <= 3; n++) {
        uint32_t outcome[DEVICES_MAX] = {0};
        uint32_t all = 1;
        for (uint32_t i = 0; i < n; i++)
            all *= OUTCOMES;
        for (uint32_t code = 0; code < all; code++) {
            for (uint32_t i = 0, rest = code; i < n; i++, rest /= OUTCOMES)
                outcome[i] = rest % OUTCOMES;
            orders += every_order_of(&policy, n, outcome);
        }
    }
    assert_true(orders > 10000);
}

static void test_orders__every_order_of_four_devices(void **state)
{
    (void)state;
    const struct policy policy = one_wave(DEVICES_MAX);
    static const uint32_t mixes[][DEVICES_MAX] = {
        {0, 0, 0, 0}, {0, 0, 0, 3}, {0, 0, 2, 3}, {0, 1, 2, 3}, {3, 3, 3, 3}};
    for (size_t k = 0; k < ARRAY_LEN(mixes); k++)
        assert_int_equal(every_order_of(&policy, 4, mixes[k]), 2 * 2520);
}

/* A wave that fails fails in every order, with one device or two going back late. */
static void test_orders__a_failure_is_one_in_every_order(void **state)
{
    (void)state;
    const struct policy policy = one_wave(1);
    static const uint32_t two[DEVICES_MAX] = {3, 3, 0, 0};
    struct walk walk = {.policy = &policy, .n = 3, .outcome = two, .left = {2, 2, 2}};
    every_order(&walk);
    assert_true(walk.first.state == ROLLOUT_ABORTING || walk.first.state == ROLLOUT_ROLLING_BACK);
}

/* Crashes */

static void plan_small(struct plan *plan, bool bad)
{
    memset(plan, 0, sizeof *plan);
    plan->seed = 3;
    policy_default(&plan->policy);
    plan->policy.waves[0].count = 2;
    plan->policy.soak_ms = 60000;
    plan->policy.compare.on = plan->policy.rate.on = false;
    plan->policy.admission.max_unavailable_per_site_percent = 100;
    plan->policy.admission.max_in_flight = 2;
    plan->policy.failures.min_abs = 0;
    plan->rules = (struct world_rules){.devices = 6,
                                       .sites = 2,
                                       .base = 1,
                                       .confirm_ms = 20000,
                                       .grace_ms = 20000,
                                       .fetch_ms = 1000,
                                       .stop_ms = 500,
                                       .start_ms = 500,
                                       .bus = {.delay_min_ms = 5, .delay_max_ms = 10}};
    if (bad) /* well at first: it fails in the second wave */
        plan->releases[2] = (struct plan_release){
            .bad_permille = 500, .bad = {.bad_from_ms = 0, .bad_for_ms = INT32_MAX, .times = 1}};
    plan->faults[plan->faults_len++] =
        (struct plan_fault){.at_ms = 1000, .kind = PLAN_START, .a = 2};
}

/* How it ends when captain dies at the n-th point (0: never); false: there is no such point. */
static bool run_crash(bool bad, uint32_t n, int64_t down_ms, struct result *ret)
{
    struct plan plan;
    struct world world;
    struct rollout_view view;
    plan_small(&plan, bad);
    plan_world(&plan, &world, NULL);
    world.captain.crash_in = n;
    world.captain.down_ms = down_ms;
    if (!world_run(&world, STEPS_MAX))
        fail_msg("dead at point %u: %s", n, world.why);
    rollout_view(world.captain.core, &view);
    memset(ret, 0, sizeof *ret);
    ret->state = view.state;
    for (uint32_t i = 0; i < DEVICES_MAX; i++) {
        ret->device[i] = (enum rollout_device)world.devices[i].current;
        ret->boxed[i] = false;
    }
    const bool died = world.captain.crashes > 0;
    world_fini(&world);
    return died;
}

static void every_crash(bool bad, int64_t down_ms)
{
    struct result calm;
    struct result result;
    (void)run_crash(bad, 0, down_ms, &calm);
    assert_int_equal(calm.state, bad ? ROLLOUT_ABORTED : ROLLOUT_SUCCEEDED);
    uint32_t n = 1;
    for (; run_crash(bad, n, down_ms, &result); n++)
        assert_memory_equal(&result, &calm, sizeof calm);
    assert_true(n > POINTS_LEAST);
}

static void test_orders__captain_may_die_at_every_point_of_a_good_rollout(void **state)
{
    (void)state;
    every_crash(false, 0);
    every_crash(false, 30000);
}

static void test_orders__captain_may_die_at_every_point_of_a_bad_one(void **state)
{
    (void)state;
    every_crash(true, 0);
    every_crash(true, 30000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orders__every_order_of_reports_ends_the_same),
        cmocka_unit_test(test_orders__every_order_of_four_devices),
        cmocka_unit_test(test_orders__a_failure_is_one_in_every_order),
        cmocka_unit_test(test_orders__captain_may_die_at_every_point_of_a_good_rollout),
        cmocka_unit_test(test_orders__captain_may_die_at_every_point_of_a_bad_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
