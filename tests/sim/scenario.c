/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/scenario.h"

#include <string.h>

#include "common/base/mem.h"

#define MINUTE_MS 60000

/* Nine devices at three sites, a calm bus, waves of 1, a third and all, a soak of 5 minutes. */
static void calm(struct plan *plan, uint32_t devices)
{
    memset(plan, 0, sizeof *plan);
    plan->seed = 7;
    policy_default(&plan->policy);
    plan->policy.waves[1].percent = 33;
    plan->policy.soak_ms = 5 * MINUTE_MS;
    plan->policy.compare.on = false;
    plan->policy.rate.on = false;
    plan->policy.admission.lease_ms = 10 * MINUTE_MS;
    plan->policy.admission.max_unavailable_per_site_percent = 100;
    plan->policy.silent_ms = 5 * MINUTE_MS;
    plan->rules = (struct world_rules){.devices = devices,
                                       .sites = 3,
                                       .base = 1,
                                       .confirm_ms = 30000,
                                       .grace_ms = 30000,
                                       .fetch_ms = 2000,
                                       .stop_ms = 1000,
                                       .start_ms = 2000,
                                       .bus = {.delay_min_ms = 10, .delay_max_ms = 20}};
}

static struct plan_fault *line(struct plan *plan, int64_t at_s, enum plan_kind kind)
{
    struct plan_fault *fault = &plan->faults[plan->faults_len++];
    *fault = (struct plan_fault){.at_ms = at_s * 1000, .kind = kind};
    return fault;
}

static void start(struct plan *plan, int64_t at_s, uint32_t release)
{
    line(plan, at_s, PLAN_START)->a = release;
}

static void bad(struct plan *plan, uint32_t release, uint32_t permille)
{
    plan->releases[release].bad_permille = permille;
    plan->releases[release].bad = (struct device_truth){.bad_for_ms = INT32_MAX, .times = 1};
}

static void good_rollout(struct plan *plan)
{
    calm(plan, 9);
    start(plan, 1, 2);
}

static void canary_fails(struct plan *plan)
{
    calm(plan, 9);
    plan->policy.waves[0].count = 3;
    bad(plan, 2, 1000);
    start(plan, 1, 2);
}

/* The release hangs the whole machine: nothing is ever heard of it again. */
static void silent_canary(struct plan *plan)
{
    calm(plan, 9);
    plan->policy.failures.min_abs = 0;
    plan->releases[2].bad_permille = 1000;
    plan->releases[2].bad = (struct device_truth){.nature = DEVICE_HANGS};
    start(plan, 1, 2);
}

static void supersede_in_canary(struct plan *plan)
{
    calm(plan, 9);
    start(plan, 1, 2);
    start(plan, 120, 3);
}

/* Half of the canaries run it, the others are on their way. */
static void abort_while_applying(struct plan *plan)
{
    calm(plan, 9);
    plan->policy.waves[0].count = 4;
    plan->policy.admission.max_in_flight = 2;
    start(plan, 1, 2);
    line(plan, 55, PLAN_ABORT);
    line(plan, 56, PLAN_ABORT);
}

static void abort_everywhere(struct plan *plan)
{
    calm(plan, 6);
    start(plan, 1, 2);
    line(plan, 20, PLAN_PAUSE);
    line(plan, 25, PLAN_ABORT);
    line(plan, 27, PLAN_ABORT);
    start(plan, 300, 3);
    line(plan, 301, PLAN_FREEZE)->a = 1;
    line(plan, 302, PLAN_ABORT);
    line(plan, 303, PLAN_FREEZE);
    line(plan, 2000, PLAN_ABORT);
}

static void captain_crashes(struct plan *plan)
{
    calm(plan, 6);
    plan->policy.waves[1] = plan->policy.waves[2];
    plan->policy.waves_len = 2;
    for (uint32_t i = 0; i < 8; i++) {
        struct plan_fault *fault = line(plan, i * 15, PLAN_CRASH_AT);
        fault->a = 1 + i % 3;
        fault->ms = 4000;
    }
    start(plan, 1, 2);
}

static void partition_of_half(struct plan *plan)
{
    calm(plan, 9);
    plan->policy.coverage.deadline_ms = 60 * MINUTE_MS;
    start(plan, 1, 2);
    line(plan, 330, PLAN_PARTITION)->a = 50;
    line(plan, 330 + 180, PLAN_PARTITION)->a = 0;
}

static void clock_jump(struct plan *plan)
{
    calm(plan, 6);
    start(plan, 1, 2);
    line(plan, 30, PLAN_SKEW)->ms = -3600000;
    line(plan, 60, PLAN_SKEW)->ms = 3 * 3600000;
}

/* An approval is asked for, and the failures come first: FAIL outranks every waiting gate. */
static void approval_and_fail(struct plan *plan)
{
    calm(plan, 9);
    plan->policy.waves[0].count = 3;
    plan->policy.approvals = 1;
    plan->releases[2].bad_permille = 1000;
    plan->releases[2].bad = (struct device_truth){
        .bad_from_ms = 60000, .bad_for_ms = 40000, .period_ms = 90000, .times = 2};
    start(plan, 1, 2);
}

/* The base itself does not run any more on one device. */
static void rollback_fails(struct plan *plan)
{
    calm(plan, 6);
    plan->policy.waves[0].count = 3;
    bad(plan, 1, 300);
    start(plan, 1, 2);
    line(plan, 150, PLAN_ABORT);
    line(plan, 1500, PLAN_RESUME);
}

static void site_caps(struct plan *plan)
{
    calm(plan, 11);
    plan->rules.sites = 2;
    plan->policy.waves[0] = plan->policy.waves[2];
    plan->policy.waves_len = 1;
    plan->policy.admission.max_unavailable_per_site_percent = 34;
    plan->policy.admission.allow_one = true;
    start(plan, 1, 2);
}

static void late_joiner(struct plan *plan)
{
    calm(plan, 4);
    start(plan, 1, 2);
    line(plan, 400, PLAN_JOIN);
    line(plan, 500, PLAN_JOIN)->a = 1;
    line(plan, 2000, PLAN_JOIN)->a = 1;
}

static void liar(struct plan *plan)
{
    calm(plan, 9);
    plan->policy.waves[0].count = 4;
    plan->seed = 13;
    plan->liars_permille = 150;
    start(plan, 1, 2);
}

/* One failing device: two tries, the penalty box, let out on purpose, excluded. */
static void penalty_box(struct plan *plan)
{
    calm(plan, 6);
    plan->policy.waves[0] = plan->policy.waves[2];
    plan->policy.waves_len = 1;
    plan->policy.retries[POLICY_FAILED] = 1;
    plan->policy.failures.min_abs = 10;
    bad(plan, 2, 200);
    start(plan, 1, 2);
    for (uint32_t i = 0; i < 6; i++) {
        struct plan_fault *fault = line(plan, 260, PLAN_RETRY);
        fault->device = i;
    }
}

static void power_cut(struct plan *plan)
{
    calm(plan, 3);
    plan->policy.waves[0] = plan->policy.waves[2];
    plan->policy.waves_len = 1;
    for (uint32_t i = 0; i < 3; i++) {
        struct plan_fault *fault = line(plan, 0, PLAN_CUT);
        fault->device = i;
        fault->a = 6 + 3 * i;
    }
    start(plan, 1, 2);
}

static void no_space(struct plan *plan)
{
    calm(plan, 3);
    plan->policy.waves[0] = plan->policy.waves[2];
    plan->policy.waves_len = 1;
    plan->policy.retries[POLICY_REJECTED] = 2;
    struct plan_fault *fault = line(plan, 0, PLAN_SPACE);
    fault->device = 1;
    fault->ms = 5 * MINUTE_MS;
    start(plan, 1, 2);
}

/* A superseded canary that the next rollout does not draw again goes back first. */
static void strays_go_back(struct plan *plan)
{
    calm(plan, 9);
    plan->policy.waves[0].count = 4;
    start(plan, 1, 2);
    start(plan, 200, 3);
    line(plan, 320, PLAN_ABORT);
}

const struct scenario scenarios[] = {
    {"good_rollout", "three waves, and it succeeds", good_rollout, ROLLOUT_SUCCEEDED},
    {"canary_fails", "every canary fails, and all go back", canary_fails, ROLLOUT_ABORTED},
    {"silent_canary", "silence after an offer is a failure", silent_canary, ROLLOUT_HELD},
    {"supersede_in_canary", "another release in mid-canary", supersede_in_canary,
     ROLLOUT_SUCCEEDED},
    {"abort_while_applying", "they stop at the next safe point", abort_while_applying,
     ROLLOUT_ABORTED},
    {"abort_everywhere", "paused, aborted, frozen", abort_everywhere, ROLLOUT_ABORTED},
    {"captain_crashes", "captain dies again and again", captain_crashes, ROLLOUT_SUCCEEDED},
    {"partition_of_half", "half of the fleet is cut off", partition_of_half, ROLLOUT_SUCCEEDED},
    {"clock_jump", "captain's clock jumps back and forth", clock_jump, ROLLOUT_SUCCEEDED},
    {"approval_and_fail", "FAIL outranks a pending approval", approval_and_fail, ROLLOUT_ABORTED},
    {"rollback_fails", "a device cannot go back", rollback_fails, ROLLOUT_ABORTED},
    {"site_caps", "a third of a site at most", site_caps, ROLLOUT_SUCCEEDED},
    {"late_joiner", "who comes late goes through the same gates", late_joiner, ROLLOUT_SUCCEEDED},
    {"liar", "a device that lies changes nothing for the others", liar, ROLLOUT_HELD},
    {"penalty_box", "in, out on purpose, in again", penalty_box, ROLLOUT_SUCCEEDED},
    {"power_cut", "at any instruction", power_cut, ROLLOUT_SUCCEEDED},
    {"no_space", "no try before space grew", no_space, ROLLOUT_SUCCEEDED},
    {"strays_go_back", "a superseded canary is brought back too", strays_go_back, ROLLOUT_ABORTED},
};
const size_t scenarios_len = ARRAY_LEN(scenarios);

bool scenario_run(const struct scenario *scenario, FILE *story, struct shrink_result *ret)
{
    struct plan plan;
    struct rollout_view view = {0};
    struct world world;
    scenario->make(&plan);
    plan_world(&plan, &world, story);
    world_run(&world, 1000000);
    if (world.captain.core)
        rollout_view(world.captain.core, &view);
    if (!world.captain.core || view.state != scenario->end)
        world_break(&world, "it ends %s, not %s", rollout_state_name(view.state),
                    rollout_state_name(scenario->end));
    ret->steps = world.steps;
    memcpy(ret->why, world.why, sizeof ret->why);
    const bool ok = !world.failed;
    world_fini(&world);
    return ok;
}
