/* SPDX-License-Identifier: Apache-2.0
 *
 * A plan from a seed: policies, releases that go wrong in every way, and troubles of all kinds.
 */
#include <string.h>

#include "tests/sim/plan.h"

#define MINUTE_MS 60000

static uint32_t below(struct rng *rng, uint32_t bound)
{
    return (uint32_t)rng_below(rng, bound);
}

static uint32_t between(struct rng *rng, uint32_t min, uint32_t max)
{
    return min + below(rng, max - min + 1);
}

static bool once_in(struct rng *rng, uint32_t n)
{
    return below(rng, n) == 0;
}

static void draw_waves(struct policy *policy, struct rng *rng)
{
    policy->waves[0].count = between(rng, 1, 5);
    policy->waves[1].percent = between(rng, 10, 60);
    policy->waves[1].canary = once_in(rng, 4);
    if (once_in(rng, 4)) {
        policy->waves[1] = policy->waves[2];
        policy->waves_len = 2;
    }
}

static void draw_gates(struct policy *policy, struct rng *rng)
{
    policy->soak_ms = between(rng, 0, 10) * MINUTE_MS;
    policy->coverage.quorum = once_in(rng, 3) ? 1.0 : 0.9;
    policy->coverage.deadline_ms = between(rng, 1, 3) * 60 * MINUTE_MS;
    policy->coverage.on_missing = once_in(rng, 4) ? POLICY_ON_FAIL : POLICY_ON_HOLD;
    policy->progress_ms = between(rng, 30, 120) * MINUTE_MS;
    policy->on_fail = once_in(rng, 6) ? POLICY_FAIL_HOLD : POLICY_FAIL_ABORT;
    policy->failures.max_percent = between(rng, 1, 20);
    policy->rate.on = !once_in(rng, 3);
    policy->compare.on = once_in(rng, 3);
    policy->compare.no_control = POLICY_NO_CONTROL_ALWAYS;
    policy->approvals = once_in(rng, 8);
    policy->silent_ms = between(rng, 3, 15) * MINUTE_MS;
    policy->rollback_ms = between(rng, 20, 40) * MINUTE_MS;
    for (int class = 0; class < POLICY_CLASSES; class ++)
        policy->retries[class] = once_in(rng, 3) ? between(rng, 1, 2) : 0;
}

static void draw_admission(struct policy *policy, struct rng *rng)
{
    static const uint32_t caps[] = {0, 1, 3, 10, 25};
    static const uint32_t percents[] = {100, 50, 25, 10};
    policy->admission.lease_ms = between(rng, 5, 20) * MINUTE_MS;
    policy->admission.max_in_flight = once_in(rng, 2) ? caps[below(rng, 5)] : 0;
    policy->admission.max_in_flight_per_site = once_in(rng, 3) ? caps[below(rng, 5)] : 0;
    policy->admission.max_in_flight_per_group = once_in(rng, 4) ? caps[below(rng, 5)] : 0;
    policy->admission.max_unavailable_per_site_percent = percents[below(rng, 4)];
    policy->admission.allow_one = true;
    policy->admission.ramp_start = once_in(rng, 4) ? between(rng, 1, 4) : 0;
    policy->admission.ramp_gain = 1;
}

static struct device_truth draw_truth(struct rng *rng)
{
    switch (below(rng, 7)) {
    case 0:
        return (struct device_truth){.nature = DEVICE_NEVER_STARTS};
    case 1:
        return (struct device_truth){.nature = DEVICE_HANGS,
                                     .hang_ms = once_in(rng, 2) ? 0 : 20 * MINUTE_MS};
    case 2:
        return (struct device_truth){.nature = DEVICE_CUTS};
    case 3:
        return (struct device_truth){.nature = DEVICE_REFUSES};
    case 4: /* flaps */
        return (struct device_truth){.bad_from_ms = (int32_t)between(rng, 60, 300) * 1000,
                                     .bad_for_ms = (int32_t)between(rng, 40, 90) * 1000,
                                     .period_ms = 4 * MINUTE_MS,
                                     .times = between(rng, 1, 3)};
    case 5: /* well at first */
        return (struct device_truth){.bad_from_ms = (int32_t)between(rng, 20, 400) * 1000,
                                     .bad_for_ms = INT32_MAX,
                                     .times = 1};
    default:
        return (struct device_truth){.bad_for_ms = INT32_MAX, .times = 1};
    }
}

static void draw_releases(struct plan *plan, struct rng *rng)
{
    static const uint32_t shares[] = {1000, 300, 50, 10};
    for (uint32_t release = 2; release < DEVICE_RELEASES; release++) {
        struct plan_release *of = &plan->releases[release];
        if (once_in(rng, 2))
            continue;
        of->bad_permille = shares[below(rng, 4)];
        of->bad = draw_truth(rng);
        of->only_site = (uint16_t)(once_in(rng, 4) ? between(rng, 1, plan->rules.sites) : 0);
    }
    if (once_in(rng, 10)) {
        plan->releases[1].bad_permille = 50;
        plan->releases[1].bad = (struct device_truth){.bad_for_ms = INT32_MAX, .times = 1};
    }
    plan->liars_permille = once_in(rng, 8) ? 40 : 0;
}

static void draw_rules(struct plan *plan, struct rng *rng, uint32_t devices)
{
    plan->rules = (struct world_rules){
        .devices = devices,
        .sites = between(rng, 1, WORLD_SITES),
        .base = once_in(rng, 30) ? 0 : 1,
        .confirm_ms = between(rng, 20, 120) * 1000,
        .grace_ms = 60000,
        .fetch_ms = between(rng, 1, 60) * 1000,
        .stop_ms = 1000,
        .start_ms = 3000,
        .bus = {.delay_min_ms = 1, .delay_max_ms = 300},
    };
    if (once_in(rng, 3))
        return;
    plan->rules.bus.drop = between(rng, 0, once_in(rng, 4) ? 300 : 50);
    plan->rules.bus.twice = between(rng, 0, 50);
    plan->rules.bus.slow = between(rng, 0, 100);
    plan->rules.bus.slow_ms = between(rng, 1, 90) * 1000;
}

static void add(struct plan *plan, int64_t at_ms, enum plan_kind kind, uint32_t device, uint32_t a,
                int64_t ms)
{
    if (plan->faults_len < PLAN_FAULTS_MAX)
        plan->faults[plan->faults_len++] = (struct plan_fault){at_ms, kind, device, a, ms};
}

static void draw_partition(struct plan *plan, struct rng *rng, int64_t at_ms, int64_t ms)
{
    add(plan, at_ms, PLAN_PARTITION, 0, between(rng, 10, 100), 0);
    add(plan, at_ms + ms, PLAN_PARTITION, 0, 0, 0);
}

static void draw_operator(struct plan *plan, struct rng *rng, int64_t at_ms)
{
    switch (below(rng, 10)) {
    case 0:
        add(plan, at_ms, PLAN_PAUSE, 0, 0, 0);
        add(plan, at_ms + between(rng, 1, 60) * MINUTE_MS, PLAN_RESUME, 0, 0, 0);
        return;
    case 1:
        add(plan, at_ms, PLAN_ABORT, 0, once_in(rng, 5), 0);
        return;
    case 2:
        add(plan, at_ms, PLAN_PROMOTE, 0, 0, 0);
        return;
    case 3:
        add(plan, at_ms, PLAN_FREEZE, 0, 1, 0);
        add(plan, at_ms + between(rng, 1, 60) * MINUTE_MS, PLAN_FREEZE, 0, 0, 0);
        return;
    case 4:
        add(plan, at_ms, PLAN_POLICY, 0, between(rng, 0, 10), 0);
        return;
    case 5:
    case 6:
        add(plan, at_ms, PLAN_START, 0, between(rng, 2, DEVICE_RELEASES - 1), 0);
        return;
    case 7:
        add(plan, at_ms, PLAN_RESUME, 0, 0, 0);
        return;
    default:
        add(plan, at_ms, PLAN_RETRY + below(rng, PLAN_JOIN - PLAN_RETRY + 1), below(rng, 100000),
            once_in(rng, 4), 0);
    }
}

static void draw_trouble(struct plan *plan, struct rng *rng, int64_t at_ms)
{
    const int64_t ms = between(rng, 1, 90) * MINUTE_MS;
    const uint32_t device = below(rng, 100000);
    switch (below(rng, 10)) {
    case 0:
        draw_partition(plan, rng, at_ms, ms);
        return;
    case 1:
        add(plan, at_ms, PLAN_CRASH, 0, 0, between(rng, 0, 600) * 1000);
        return;
    case 2:
    case 3:
        add(plan, at_ms, PLAN_CRASH_AT, 0, between(rng, 1, 60), between(rng, 0, 60) * 1000);
        return;
    case 4:
        add(plan, at_ms, PLAN_SKEW, 0, 0,
            (int64_t)between(rng, 0, 7200) * 1000 - (once_in(rng, 2) ? 3600000 : 0));
        return;
    case 5:
        add(plan, at_ms, PLAN_OFFLINE, device, 1, 0);
        add(plan, at_ms + ms, PLAN_OFFLINE, device, 0, 0);
        return;
    case 6:
        add(plan, at_ms, PLAN_HANG, device, 0, once_in(rng, 3) ? 0 : ms);
        return;
    case 7:
        add(plan, at_ms, PLAN_CUT, device, between(rng, 1, 16), 0);
        return;
    default:
        add(plan, at_ms, PLAN_POWER + below(rng, PLAN_SPACE - PLAN_POWER + 1), device,
            between(rng, 1, 16), ms);
    }
}

void plan_draw(struct plan *plan, uint64_t seed, uint32_t devices)
{
    struct rng rng;
    memset(plan, 0, sizeof *plan);
    rng_seed(&rng, seed);
    plan->seed = seed;
    policy_default(&plan->policy);
    draw_waves(&plan->policy, &rng);
    draw_gates(&plan->policy, &rng);
    draw_admission(&plan->policy, &rng);
    draw_rules(plan, &rng, devices);
    draw_releases(plan, &rng);
    add(plan, 1000, PLAN_START, 0, 2, 0);
    const uint32_t operators = below(&rng, 5);
    const uint32_t troubles = below(&rng, 9);
    for (uint32_t i = 0; i < operators; i++)
        draw_operator(plan, &rng, (int64_t)between(&rng, 10, 10000) * 1000);
    for (uint32_t i = 0; i < troubles; i++)
        draw_trouble(plan, &rng, (int64_t)between(&rng, 1, 10000) * 1000);
    const int64_t end_ms = (int64_t)5 * 60 * MINUTE_MS;
    if (!once_in(&rng, 4))
        add(plan, end_ms, PLAN_CLEAR, 0, 0, 0);
    for (int64_t i = 1; i < 4; i++)
        add(plan, end_ms + i * 4 * 60 * MINUTE_MS, PLAN_SETTLE, 0, below(&rng, 2), 0);
}
