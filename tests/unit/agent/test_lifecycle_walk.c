/* SPDX-License-Identifier: Apache-2.0
 *
 * Every order of a few wishes, and a random walk through worlds that crash at every point: never between two
 * releases, and in the end the one that is wanted, or refused with the previous one serving.
 */
#include "tests/unit/agent/lifecycle_world.h"

#include "common/base/rng.h"
#include "common/clock.h"

/* Every order in which three wishes can follow each other, with a crash after each: it always ends
 * with the last one running. */
static void test_lifecycle__all_orders_of_three_wishes(void **unused)
{
    (void)unused;
    static const int orders[6][3] = {{1, 2, 3}, {1, 3, 2}, {2, 1, 3},
                                     {2, 3, 1}, {3, 1, 2}, {3, 2, 1}};
    static const int64_t gaps_ms[] = {0, CONFIRM_MS / 2, 5 * CONFIRM_MS};
    for (unsigned o = 0; o < 6; o++) {
        for (unsigned g = 0; g < 3 * 3 * 2; g++) {
            struct world w;
            world_init(&w);
            for (unsigned i = 0; i < 3; i++) {
                want(&w, orders[o][i]);
                run(&w, gaps_ms[i == 1 ? g / 3 % 3 : g % 3]);
                crash(&w, g >= 9);
            }
            run(&w, 20 * CONFIRM_MS);
            assert_int_equal(w.lifecycle.state, LIFECYCLE_SERVING);
            assert_int_equal(w.running, orders[o][2]);
        }
    }
}

/* The random walk: one action of fate between any two steps, and a crash at any point of a turn. */

static void never_between(const struct world *w)
{
    assert_true(w->current == 0 || w->on_disk[w->current]);
    assert_true(w->running == 0 || w->on_disk[w->running]);
    if (w->stored.confirmed.set)
        assert_true(w->on_disk[id_of(&w->stored.confirmed)]);
}

/* As turn, but the agent may die before the state is kept, between keeping and acting, and after
 * acting. */
static void turn_and_maybe_crash(struct world *w, struct rng *rng)
{
    struct lifecycle_desired desired = desire(w);
    struct lifecycle_observed seen = look(w);
    struct lifecycle_effects effects;
    unsigned fate = (unsigned)rng_below(rng, 24);
    bool reboot = fate % 2;
    lifecycle_step(&w->lifecycle, &desired, &seen, w->now_ms, &effects);
    if (fate < 2) {
        crash(w, reboot);
        return;
    }
    if (effects.moved) {
        w->stored = w->lifecycle;
        w->fetch = LIFECYCLE_FETCH_IDLE;
        w->switch_error = ERR_OK;
        w->retry_at_ms = w->now_ms + 100;
        if (w->lifecycle.state == LIFECYCLE_REFUSED)
            w->deadman = false;
    }
    give_back(w, &effects);
    if (fate < 4) {
        crash(w, reboot);
        return;
    }
    act(w, &effects);
    if (fate < 6)
        crash(w, reboot);
}

static void fate(struct world *w, struct rng *rng)
{
    switch (rng_below(rng, 24)) {
    case 0:
        want(w, (int)rng_below(rng, RELEASES + 1));
        break;
    case 1:
        w->network_down = !w->network_down;
        break;
    case 2:
        w->bus = !w->bus;
        break;
    case 3:
        w->disk_full = rng_below(rng, 3) == 0;
        w->switch_error = ERR_OK; /* space is looked at when it is missed */
        break;
    case 4:
        w->now_ms += (int64_t)rng_below(rng, 2 * CONFIRM_MS);
        break;
    case 5: /* a service dies by itself and is not up again yet */
        w->healthy_since_ms = -1;
        break;
    case 7:
        w->locked = rng_below(rng, 4) == 0;
        w->lease = rng_below(rng, 2);
        w->gives = rng_below(rng, 2);
        w->hook_says = (enum lifecycle_hook)rng_below(rng, 5);
        if (w->hook_says == LIFECYCLE_HOOK_UNASKED || w->hook_says == LIFECYCLE_HOOK_RUNNING)
            w->hook_says = LIFECYCLE_HOOK_PASSED;
        w->hook = w->hook_says ? LIFECYCLE_HOOK_UNASKED : LIFECYCLE_HOOK_NONE;
        break;
    case 8:
        if (w->stored.confirmed.set && rng_below(rng, 4) == 0 &&
            (w->stored.state == LIFECYCLE_SWITCHING || w->stored.state == LIFECYCLE_STARTING ||
             w->stored.state == LIFECYCLE_CONFIRMING)) {
            fire_deadman(w);
            crash(w, rng_below(rng, 2));
        }
        break;
    case 6: /* somebody cleans up */
        if (w->desired != w->current && w->desired != id_of(&w->stored.confirmed))
            w->on_disk[w->desired] = false;
        break;
    default:
        w->now_ms += (int64_t)rng_below(rng, 50);
        if (w->started && !w->kinds[w->current].sick && !w->kinds[w->current].crashing &&
            w->healthy_since_ms < 0)
            w->healthy_since_ms = w->now_ms;
    }
}

static void ends_well(struct world *w)
{
    int wish = w->desired;
    const struct kind *kind = &w->kinds[wish];
    bool good = !kind->sick && !kind->crashing && kind->fetch_error == ERR_OK;
    enum lifecycle_state state = w->lifecycle.state;
    assert_true(state == LIFECYCLE_SERVING || state == LIFECYCLE_REFUSED ||
                state == LIFECYCLE_EMPTY);
    assert_int_equal(w->running, w->current);
    assert_int_equal(w->running, id_of(&w->lifecycle.confirmed));
    if (wish == 0) {
        assert_int_equal(state, w->running ? LIFECYCLE_SERVING : LIFECYCLE_EMPTY);
    } else if (state == LIFECYCLE_SERVING) {
        assert_int_equal(w->running, wish);
    } else {
        assert_int_equal(state, LIFECYCLE_REFUSED);
        assert_int_equal(id_of(&w->lifecycle.refused), wish);
        bool downgrade = kind->data_version < w->lifecycle.data_version;
        assert_true(!good || downgrade || w->lifecycle.refused_code == ERR_UNHEALTHY);
    }
}

static void walk(uint64_t seed)
{
    struct rng rng;
    rng_seed(&rng, seed);
    struct world w;
    world_init(&w);
    for (int i = 1; i <= RELEASES; i++) {
        w.kinds[i].data_version = 1 + (uint32_t)rng_below(&rng, 2);
        w.kinds[i].sick = rng_below(&rng, 5) == 0;
        w.kinds[i].crashing = rng_below(&rng, 6) == 0;
        w.kinds[i].fetch_error = rng_below(&rng, 6) == 0 ? ERR_BAD_SIGNATURE : ERR_OK;
    }
    for (int i = 0; i < 300; i++) {
        fate(&w, &rng);
        turn_and_maybe_crash(&w, &rng);
        never_between(&w);
    }
    /* The world calms down; a release that is well now says so again. */
    w.network_down = w.disk_full = w.locked = false;
    w.lease = false; /* else captain lets bad ones be tried for ever */
    w.hook_says = w.hook_says ? LIFECYCLE_HOOK_PASSED : LIFECYCLE_HOOK_NONE;
    w.bus = true;
    crash(&w, true);
    run(&w, 100 * (CONFIRM_MS + GRACE_MS));
    never_between(&w);
    ends_well(&w);
}

static void test_lifecycle__random_worlds_with_crashes_everywhere(void **unused)
{
    (void)unused;
    const char *given = getenv("CAPTAIN_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)clock_unix_ms();
    print_message("seed %llu (CAPTAIN_SEED repeats it)\n", (unsigned long long)seed);
    for (uint64_t i = 0; i < 2000; i++)
        walk(seed + i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lifecycle__all_orders_of_three_wishes),
        cmocka_unit_test(test_lifecycle__random_worlds_with_crashes_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
