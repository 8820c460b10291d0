/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/plan.h"

#include <string.h>

#include "common/base/mem.h"

const char *plan_kind_name(enum plan_kind kind)
{
    static const char *const names[PLAN_KINDS] = {
        "start",  "pause",    "resume", "promote", "abort",  "approve", "freeze",
        "policy", "settle",   "retry",  "exclude", "delete", "control", "join",
        "power",  "cut",      "hang",   "agent",   "space",  "offline", "partition",
        "crash",  "crash_at", "skew",   "clear"};
    return (unsigned)kind < PLAN_KINDS ? names[kind] : "unknown";
}

/* The same whatever the size of the fleet: from the seed, the device and the release alone. */
static uint64_t lot(uint64_t seed, uint32_t device, uint32_t what)
{
    const uint32_t key[] = {device, what};
    return rng_hash(seed, key, sizeof key);
}

static void draw_device(const struct plan *plan, struct device *d)
{
    d->liar = lot(plan->seed, d->number, 100) % 1000 < plan->liars_permille;
    for (uint32_t release = 1; release < DEVICE_RELEASES; release++) {
        const struct plan_release *of = &plan->releases[release];
        if (of->only_site != 0 && of->only_site != d->site + 1)
            continue;
        if (lot(plan->seed, d->number, release) % 1000 < of->bad_permille)
            d->truth[release] = of->bad;
    }
}

void plan_world(const struct plan *plan, struct world *world, FILE *story)
{
    world_init(world, &plan->rules, plan->seed);
    world->plan = plan;
    world->story = story;
    for (uint32_t i = 0; i < world->devices_len; i++)
        draw_device(plan, &world->devices[i]);
    for (uint32_t i = 0; i < plan->faults_len; i++)
        clock_put(&world->clock, world->clock.now_ms + plan->faults[i].at_ms, CLOCK_FAULT, i, NULL);
}

static void give(struct world *world, enum rollout_input_kind kind, uint32_t member)
{
    captain_input(world, &(struct rollout_input){.kind = kind, .member = member});
}

static void resume(struct world *world)
{
    struct rollout_input input = {.kind = ROLLOUT_IN_RESUME};
    struct rollout_view view;
    rollout_view(world->captain.core, &view);
    if (view.state == ROLLOUT_HELD) {
        input.u.resume.gate = view.held_gate;
        input.u.resume.wave = view.wave;
    }
    world->captain.failed = false; /* a person has seen it */
    world_say(world, "operator resumes %s",
              view.state == ROLLOUT_HELD ? gate_name(view.held_gate) : "it");
    captain_input(world, &input);
}

static void abort_it(struct world *world, bool keep)
{
    struct rollout_input input = {.kind = ROLLOUT_IN_ABORT};
    struct rollout_view view;
    rollout_view(world->captain.core, &view);
    input.u.abort.keep = keep;
    if (view.state < ROLLOUT_ABORTING &&
        !(view.state == ROLLOUT_HELD && view.held_gate == GATE_ROLLBACK))
        world->kept = keep;
    world_say(world, "operator aborts%s", keep ? " and keeps devices where they are" : "");
    captain_input(world, &input);
}

static void settle(struct world *world, uint32_t a)
{
    struct rollout_view view;
    rollout_view(world->captain.core, &view);
    if (view.state == ROLLOUT_PAUSED)
        resume(world);
    else if (view.state == ROLLOUT_HELD && view.held_gate != GATE_ROLLBACK)
        a % 2 ? resume(world) : abort_it(world, false);
}

static void freeze(struct world *world, bool on)
{
    struct rollout_input input = {.kind = ROLLOUT_IN_FREEZE, .u.freeze.on = on};
    if (!world->captain.up)
        return;
    world_say(world, "operator %s the fleet", on ? "freezes" : "thaws");
    world->captain.frozen = on;
    captain_input(world, &input);
}

static void change_policy(struct world *world, uint32_t minutes)
{
    struct policy *policy = mem_new(1, sizeof *policy);
    memcpy(policy, rollout_policy(world->captain.core), sizeof *policy);
    policy->soak_ms = minutes * 60000;
    struct rollout_input input = {.kind = ROLLOUT_IN_POLICY, .u.policy = policy};
    world_say(world, "operator changes the policy: soak %u min", minutes);
    captain_input(world, &input);
}

static void approve(struct world *world, uint32_t operator_id)
{
    struct rollout_input input = {.kind = ROLLOUT_IN_APPROVE};
    struct rollout_view view;
    rollout_view(world->captain.core, &view);
    input.u.approve.operator_id = operator_id;
    input.u.approve.wave = view.wave;
    world_say(world, "operator %u approves", operator_id);
    captain_input(world, &input);
}

/* Operators speak to a captain that is there; else they try again by another line. */
static void operate(struct world *world, const struct plan_fault *fault)
{
    if (!world->captain.up || !world->captain.core)
        return;
    switch (fault->kind) {
    case PLAN_PAUSE:
        world_say(world, "operator pauses");
        give(world, ROLLOUT_IN_PAUSE, 0);
        return;
    case PLAN_RESUME:
        resume(world);
        return;
    case PLAN_PROMOTE:
        world_say(world, "operator promotes");
        give(world, ROLLOUT_IN_PROMOTE, 0);
        return;
    case PLAN_ABORT:
        abort_it(world, fault->a);
        return;
    case PLAN_APPROVE:
        approve(world, fault->a);
        return;
    case PLAN_POLICY:
        change_policy(world, fault->a);
        return;
    case PLAN_SETTLE:
        settle(world, fault->a);
        return;
    default:
        return;
    }
}

static void about_device(struct world *world, const struct plan_fault *fault, struct device *d)
{
    static const struct {
        const char *words;
        enum rollout_input_kind input;
    } table[PLAN_KINDS] = {[PLAN_RETRY] = {"operator lets %s try again", ROLLOUT_IN_RETRY},
                           [PLAN_EXCLUDE] = {"operator excludes %s", ROLLOUT_IN_EXCLUDE},
                           [PLAN_DELETE] = {"operator deletes %s", ROLLOUT_IN_DELETE},
                           [PLAN_CONTROL] = {"%s fails on the base", ROLLOUT_IN_CONTROL_FAILED}};
    if (!world->captain.up || !world->captain.core || d->number >= world->captain.members)
        return;
    switch (fault->kind) {
    case PLAN_RETRY:
        world_say(world, "operator lets %s try again", d->name);
        break;
    case PLAN_EXCLUDE:
        world_say(world, "operator excludes %s", d->name);
        break;
    case PLAN_DELETE:
        world_say(world, "operator deletes %s", d->name);
        break;
    default:
        if (!device_is_reachable(d))
            return; /* it cannot say so */
        world_say(world, "%s is unhealthy on the base", d->name);
    }
    give(world, table[fault->kind].input, d->number);
}

static void partition(struct world *world, uint32_t percent, int64_t ms, uint32_t line)
{
    world_say(world, percent ? "a partition cuts off %u %% of the fleet" : "the partition heals",
              percent);
    for (uint32_t i = 0; i < world->devices_len; i++) {
        struct device *d = &world->devices[i];
        const bool was = d->cut_off;
        d->cut_off = lot(world->plan->seed, i, 1000 + line) % 100 < percent;
        if (was != d->cut_off)
            device_contact(world, d);
    }
    (void)ms;
}

static void to_device(struct world *world, const struct plan_fault *fault, struct device *d)
{
    switch (fault->kind) {
    case PLAN_POWER:
        device_power_off(world, d, fault->ms);
        return;
    case PLAN_CUT:
        d->cut_in = fault->a;
        return;
    case PLAN_HANG:
        device_hang(world, d, fault->ms);
        return;
    case PLAN_AGENT:
        device_crash_agent(world, d);
        return;
    case PLAN_SPACE:
        d->no_space_until_ms = world->clock.now_ms + fault->ms;
        return;
    case PLAN_OFFLINE:
        world_say(world, "%s goes %s", d->name, fault->a ? "offline" : "online");
        d->cut_off = fault->a;
        device_contact(world, d);
        return;
    default:
        about_device(world, fault, d);
    }
}

static void clear(struct world *world)
{
    world_say(world, "all troubles end");
    world->bus.drop = world->bus.twice = world->bus.slow = 0;
    for (uint32_t i = 0; i < world->devices_len; i++) {
        struct device *d = &world->devices[i];
        d->no_space_until_ms = 0;
        d->cut_in = 0;
        d->cut_off = false;
        device_contact(world, d);
        device_boot(world, d);
        device_wake(world, d);
    }
    world->captain.crash_in = 0;
    captain_restart(world);
    freeze(world, false);
}

static void to_captain(struct world *world, const struct plan_fault *fault)
{
    switch (fault->kind) {
    case PLAN_START:
        captain_begin(world, &world->plan->policy, (uint8_t)fault->a);
        return;
    case PLAN_FREEZE:
        freeze(world, fault->a);
        return;
    case PLAN_CRASH:
        captain_crash(world, fault->ms);
        return;
    case PLAN_CRASH_AT:
        world->captain.crash_in = fault->a;
        world->captain.down_ms = fault->ms;
        return;
    case PLAN_SKEW:
        world_say(world, "captain's clock jumps by %lld s", (long long)(fault->ms / 1000));
        world->captain.skew_ms += fault->ms;
        captain_timer(world);
        return;
    default:
        operate(world, fault);
    }
}

void plan_fault(struct world *world, uint32_t line)
{
    const struct plan_fault *fault = &world->plan->faults[line];
    if (fault->kind == PLAN_CLEAR) {
        clear(world);
    } else if (fault->kind == PLAN_PARTITION) {
        partition(world, fault->a, fault->ms, line);
    } else if (fault->kind == PLAN_JOIN) {
        struct device *d = world_join(world, fault->a ? 0 : world->rules.base);
        if (d)
            draw_device(world->plan, d);
    } else if (fault->kind >= PLAN_RETRY && fault->kind <= PLAN_OFFLINE) {
        if (world->devices_len > 0)
            to_device(world, fault, &world->devices[fault->device % world->devices_len]);
    } else {
        to_captain(world, fault);
    }
}
