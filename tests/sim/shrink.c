/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/shrink.h"

#include <string.h>

enum { STEPS_PER_DEVICE = 20000, STEPS_LEAST = 200000 };

bool shrink_run(const struct plan *plan, uint64_t steps_max, FILE *story, struct shrink_result *ret)
{
    struct world world;
    const uint64_t most = STEPS_LEAST + (uint64_t)plan->rules.devices * STEPS_PER_DEVICE;
    plan_world(plan, &world, story);
    bool ok = world_run(&world, steps_max < most ? steps_max : most);
    if (ok && world.steps > most) {
        world_break(&world, "it never comes to rest");
        ok = false;
    }
    if (ret) {
        ret->steps = world.steps;
        memcpy(ret->why, world.why, sizeof ret->why);
    }
    world_fini(&world);
    return ok;
}

static bool fails(const struct plan *plan)
{
    return !shrink_run(plan, UINT64_MAX, NULL, NULL);
}

static bool fewer_devices(struct plan *plan)
{
    struct plan smaller = *plan;
    for (uint32_t devices = plan->rules.devices / 2; devices > 0; devices /= 2) {
        smaller.rules.devices = plan->rules.devices - devices;
        if (!fails(&smaller))
            continue;
        *plan = smaller;
        return true;
    }
    return false;
}

static bool without(struct plan *plan, uint32_t from, uint32_t len)
{
    struct plan smaller = *plan;
    memmove(smaller.faults + from, plan->faults + from + len,
            (plan->faults_len - from - len) * sizeof *plan->faults);
    smaller.faults_len -= len;
    if (!fails(&smaller))
        return false;
    *plan = smaller;
    return true;
}

static bool fewer_lines(struct plan *plan)
{
    bool any = false;
    for (uint32_t len = (plan->faults_len + 1) / 2; len > 0; len /= 2)
        for (uint32_t from = 0; from + len <= plan->faults_len;)
            if (without(plan, from, len))
                any = true;
            else
                from += len;
    return any;
}

static bool calmer(struct plan *plan)
{
    struct plan smaller = *plan;
    smaller.rules.bus.drop = smaller.rules.bus.twice = smaller.rules.bus.slow = 0;
    smaller.liars_permille = 0;
    if (memcmp(&smaller, plan, sizeof smaller) == 0 || !fails(&smaller))
        return false;
    *plan = smaller;
    return true;
}

void shrink_tell(const struct plan *plan, FILE *story)
{
    struct shrink_result result;
    struct plan smallest = *plan;
    (void)shrink_run(plan, UINT64_MAX, NULL, &result);
    (void)printf(
        "seed %llu FAILED at step %llu: %s\n  again: tests/sim/run --seed %llu --devices %u\n",
        (unsigned long long)plan->seed, (unsigned long long)result.steps, result.why,
        (unsigned long long)plan->seed, plan->rules.devices);
    for (bool smaller = true; smaller;) {
        smaller = fewer_lines(&smallest);
        smaller |= fewer_devices(&smallest);
        smaller |= calmer(&smallest);
    }
    (void)shrink_run(&smallest, UINT64_MAX, NULL, &result);
    (void)printf("  smallest: %u devices, %u lines, %llu steps: %s\n", smallest.rules.devices,
                 smallest.faults_len, (unsigned long long)result.steps, result.why);
    for (uint32_t i = 0; i < smallest.faults_len; i++) {
        const struct plan_fault *fault = &smallest.faults[i];
        (void)printf("    at %lld s %s device %u a %u ms %lld\n", (long long)(fault->at_ms / 1000),
                     plan_kind_name(fault->kind), fault->device, fault->a, (long long)fault->ms);
    }
    if (story)
        (void)shrink_run(&smallest, UINT64_MAX, story, NULL);
}
