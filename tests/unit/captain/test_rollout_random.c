/* SPDX-License-Identifier: Apache-2.0
 *
 * Random rollouts: any input at any time. After each one the invariants hold and no cap is broken; a
 * restart is the same state; what is duplicated changes nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/unit/captain/rollout_world.h"

enum { SEEDS = 300, STEPS = 250 };

static uint32_t below(struct rng *rng, uint32_t bound)
{
    return (uint32_t)rng_below(rng, bound);
}

static void random_policy(struct world *w, struct rng *rng)
{
    struct policy *policy = &w->policy;
    policy->on_fail = below(rng, 4) ? POLICY_FAIL_ABORT : POLICY_FAIL_HOLD;
    policy->failures.min_abs = 1 + below(rng, 5);
    policy->failures.max_abs = 5;
    policy->soak_ms = below(rng, 3) * 10 * MINUTE_MS;
    policy->approvals = below(rng, 5) == 0;
    policy->admission.max_in_flight = below(rng, 6);
    policy->admission.max_in_flight_per_site = below(rng, 4);
    policy->admission.max_unavailable_per_site_percent = 25 * (1 + below(rng, 4));
    policy->admission.allow_one = true;
    policy->compare.no_control = below(rng, 3);
    for (int c = 0; c < POLICY_CLASSES; c++)
        policy->retries[c] = below(rng, 3);
    world_waves(w, below(rng, 5), below(rng, 2) * 30);
}

static void random_world(struct world *w, struct rng *rng)
{
    world_init(w, 1 + below(rng, 50));
    w->strata_len = 6;
    for (uint16_t s = 0; s < 6; s++)
        w->strata[s] = (struct rollout_stratum){.site = s % 3, .group = s / 3};
    for (uint32_t i = 0; i < w->len; i++) {
        w->members[i].stratum = (uint16_t)below(rng, 6);
        w->members[i].online = below(rng, 10) > 0;
        w->members[i].eligible = w->members[i].online || below(rng, 2);
        if (below(rng, 15) == 0)
            w->members[i].lease_until_ms = WORLD_START_MS + below(rng, 60) * MINUTE_MS;
    }
    w->has_base = below(rng, 8) > 0;
    random_policy(w, rng);
    world_start(w);
}

/* Leases are given below the caps only. Carried ones may be above at the start. */
static void check_caps(const struct world *w, uint32_t member, uint32_t before)
{
    const uint32_t cap = w->policy.admission.max_in_flight;
    const uint32_t now = world_view(w).in_flight;
    if (now <= before)
        return;
    if (cap > 0)
        assert_in_range(now, 0, cap);
    uint32_t leased = 0;
    uint32_t devices = 0;
    for (uint32_t i = 0; i < world_view(w).members; i++) {
        const struct rollout_device_view device = world_device(w, i);
        if (w->strata[device.stratum].site != w->strata[world_device(w, member).stratum].site)
            continue;
        leased += device.leased;
        devices += !device.deleted;
    }
    if (w->policy.admission.max_in_flight_per_site > 0)
        assert_in_range(leased, 0, w->policy.admission.max_in_flight_per_site);
    if (w->policy.admission.max_unavailable_per_site_percent < 100)
        assert_in_range(leased, 0, lease_site_cap(&w->policy, devices));
}

static void random_device(struct world *w, struct rng *rng, uint32_t i)
{
    const uint32_t before = world_view(w).in_flight;
    const bool back =
        world_view(w).state >= ROLLOUT_ABORTING || world_view(w).state == ROLLOUT_HELD;
    switch (below(rng, 12)) {
    case 0:
        world_silent(w, i);
        return;
    case 1:
        world_do(w, ROLLOUT_IN_SEEN, i);
        return;
    case 2:
        world_do(w, ROLLOUT_IN_CONTROL_FAILED, i);
        return;
    case 3:
    case 4:
    case 5:
        (void)world_ask(w, i, back && below(rng, 2));
        check_caps(w, i, before);
        return;
    default:
        break;
    }
    if (w->attempt[i] == 0)
        return;
    const uint32_t lot = below(rng, 20);
    world_report(
        w, i, lot < 14 ? ROLLOUT_REPORT_HEALTHY : (enum rollout_report)below(rng, ROLLOUT_REPORTS));
}

static void random_operator(struct world *w, struct rng *rng)
{
    const struct rollout_view view = world_view(w);
    switch (below(rng, 12)) {
    case 0:
        world_do(w, ROLLOUT_IN_PAUSE, ROLLOUT_NONE);
        return;
    case 1:
    case 2:
    case 3:
        world_resume(w, view.held_gate, view.wave == ROLLOUT_NONE ? 0 : view.wave);
        return;
    case 4:
        world_do(w, ROLLOUT_IN_PROMOTE, ROLLOUT_NONE);
        return;
    case 5:
        if (below(rng, 6) == 0)
            world_abort(w, below(rng, 3) == 0);
        return;
    case 6:
        world_do(w, ROLLOUT_IN_RETRY, below(rng, w->len));
        return;
    case 7:
        world_do(w, below(rng, 2) ? ROLLOUT_IN_EXCLUDE : ROLLOUT_IN_DELETE, below(rng, w->len));
        return;
    case 8:
        world_freeze(w, below(rng, 3) == 0);
        return;
    case 9:
        if (w->len < WORLD_MEMBERS_MAX - 1) {
            struct rollout_input input = {.kind = ROLLOUT_IN_JOIN};
            input.u.join = (struct rollout_join){
                .hash = rng_next(rng), .pick = 255, .stratum = 2, .online = true, .eligible = true};
            world_step(w, &input);
            w->len++;
        }
        return;
    default:
        world_approve(w, below(rng, 3), view.wave);
    }
}

static void random_step(struct world *w, struct rng *rng)
{
    const uint32_t lot = below(rng, 20);
    if (lot < 14)
        random_device(w, rng, below(rng, w->len));
    else if (lot < 17)
        world_pass(w, (int64_t)below(rng, 20) * MINUTE_MS);
    else
        random_operator(w, rng);
}

static void run(uint64_t seed)
{
    struct world *w = mem_new(1, sizeof *w);
    struct rng rng;
    rng_seed(&rng, seed);
    random_world(w, &rng);
    const uint32_t started = w->len;
    for (int step = 0; step < STEPS && w->inputs_len < WORLD_INPUTS_MAX - 500; step++)
        random_step(w, &rng);
    w->len = started; /* START as it was */
    world_expect_restart_is_same(w);
    world_fini(w);
    mem_free(w);
}

static void test_rollout__random_rollouts_keep_the_invariants(void **state)
{
    (void)state;
    const char *given = getenv("ROLLOUT_SEED");
    const uint64_t first = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) * 1000;
    for (uint64_t seed = first; seed < first + (given ? 1 : SEEDS); seed++) {
        print_message("%sseed %llu (ROLLOUT_SEED=%llu)%s", seed == first ? "" : "\r",
                      (unsigned long long)seed, (unsigned long long)seed,
                      seed + 1 == first + SEEDS || given ? "\n" : "");
        run(seed);
    }
}

/* The whole history twice over, each report a second time right after the first. */
static void test_rollout__every_report_twice_is_the_same(void **state)
{
    (void)state;
    const uint64_t seed = (uint64_t)time(NULL);
    print_message("seed %llu\n", (unsigned long long)seed);
    for (uint64_t k = 0; k < 30; k++) {
        struct world *w = mem_new(1, sizeof *w);
        struct rng rng;
        rng_seed(&rng, seed + k);
        random_world(w, &rng);
        const uint32_t started = w->len;
        for (int step = 0; step < 100; step++)
            random_step(w, &rng);
        struct rollout *twice = rollout_new();
        struct rollout_effects effects;
        w->len = started;
        for (size_t i = 0; i < w->inputs_len; i++) {
            rollout_step(twice, &w->inputs[i], &effects);
            const bool more = effects.more;
            if (w->inputs[i].kind == ROLLOUT_IN_REPORT && !more)
                rollout_step(twice, &w->inputs[i], &effects);
        }
        assert_true(rollout_fingerprint(twice) == rollout_fingerprint(w->rollout));
        rollout_free(twice);
        world_fini(w);
        mem_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rollout__random_rollouts_keep_the_invariants),
        cmocka_unit_test(test_rollout__every_report_twice_is_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
