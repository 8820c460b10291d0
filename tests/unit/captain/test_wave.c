/* SPDX-License-Identifier: Apache-2.0
 *
 * Who is in a wave: counts by captain equal what devices decide; canaries are spread and fair.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "captain/core/wave.h"
#include "common/base/cohort.h"
#include "common/base/mem.h"
#include "common/base/rng.h"

enum { MANY = 100000, NAME_MAX = 40 };

static void name_of(uint32_t i, char ret[static NAME_MAX])
{
    (void)snprintf(ret, NAME_MAX, "site%u/device%u", i % 37, i);
}

static uint64_t random_seed(void)
{
    const uint64_t seed = (uint64_t)time(NULL);
    print_message("seed %llu\n", (unsigned long long)seed);
    return seed;
}

/* The cut that captain computes takes exactly those devices that find themselves in it. */
static void test_wave__devices_decide_as_captain_counts(void **state)
{
    (void)state;
    char salt[32];
    (void)snprintf(salt, sizeof salt, "rollout-%llu", (unsigned long long)random_seed());
    uint64_t *hash DEFER(mem_free_ref) = mem_new(MANY, sizeof *hash);
    uint16_t *stratum DEFER(mem_free_ref) = mem_new(MANY, sizeof *stratum);
    uint32_t *list DEFER(mem_free_ref) = mem_new(MANY, sizeof *list);
    for (uint32_t i = 0; i < MANY; i++) {
        char name[NAME_MAX];
        name_of(i, name);
        hash[i] = cohort_hash(salt, name);
        list[i] = i;
    }
    const struct wave_devices devices = {hash, stratum, 1};
    const uint32_t sizes[] = {1, 10, 2500, 25000, 99999, MANY};
    for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
        const struct cohort_rule rule = {.salt = salt,
                                         .cut = wave_cut(&devices, list, MANY, sizes[s])};
        uint32_t in = 0;
        for (uint32_t i = 0; i < MANY; i++) {
            char name[NAME_MAX];
            name_of(i, name);
            in += cohort_contains(&rule, name);
        }
        assert_int_equal(in, sizes[s]);
    }
}

static void test_wave__no_devices_no_cut(void **state)
{
    (void)state;
    const uint64_t hash[] = {UINT64_MAX, 7};
    const uint16_t stratum[] = {0, 0};
    const struct wave_devices devices = {hash, stratum, 1};
    uint32_t list[] = {0, 1};
    assert_int_equal(wave_cut(&devices, list, 2, 0), 0);
    assert_int_equal(wave_cut(&devices, list, 0, 5), 0);
    assert_int_equal(wave_cut(&devices, list, 2, 1), 8);
    assert_true(wave_cut(&devices, list, 2, 2) == COHORT_CUT_ALL);
}

static void test_wave__sizes_count_earlier_waves(void **state)
{
    (void)state;
    const struct policy_wave count = {.kind = POLICY_WAVE_COUNT, .count = 5};
    const struct policy_wave quarter = {.kind = POLICY_WAVE_PERCENT, .percent = 25};
    const struct policy_wave all = {.kind = POLICY_WAVE_ALL};
    const struct policy_wave canaries = {
        .kind = POLICY_WAVE_PERCENT, .percent = 50, .canary = true};
    assert_int_equal(wave_size(&count, 100, 0), 5);
    assert_int_equal(wave_size(&count, 3, 0), 3);
    assert_int_equal(wave_size(&quarter, 100, 5), 20);
    assert_int_equal(wave_size(&quarter, 3, 0), 1); /* never nobody */
    assert_int_equal(wave_size(&quarter, 3, 1), 0); /* but those there are count */
    assert_int_equal(wave_size(&quarter, 0, 0), 0);
    assert_int_equal(wave_size(&all, 100, 25), 75);
    assert_int_equal(wave_size(&canaries, MANY, 0), POLICY_NAMED_MAX);
}

struct world {
    uint64_t hash[1000];
    uint16_t stratum[1000];
    uint32_t list[1000];
    uint32_t quota[16];
};

static struct wave_devices fill(struct world *world, uint32_t len, uint32_t strata)
{
    for (uint32_t i = 0; i < len; i++) {
        world->list[i] = i;
        world->stratum[i] = (uint16_t)(i % strata);
        world->hash[i] = i;
    }
    return (struct wave_devices){world->hash, world->stratum, strata};
}

static void test_wave__canaries_are_spread_over_strata(void **state)
{
    (void)state;
    struct world world;
    const uint64_t seed = random_seed();
    for (uint32_t k = 1; k <= 100; k++) {
        const struct wave_devices devices = fill(&world, 100, 10);
        assert_int_equal(wave_draw(&devices, world.list, 100, k, seed + k, world.quota), k);
        uint32_t drawn[10] = {0};
        for (uint32_t i = 0; i < k; i++)
            drawn[world.stratum[world.list[i]]]++;
        for (int s = 0; s < 10; s++)
            assert_in_range(drawn[s], k / 10, (k + 9) / 10);
    }
}

static void test_wave__the_same_seed_draws_the_same_canaries(void **state)
{
    (void)state;
    struct world a;
    struct world b;
    const struct wave_devices devices = fill(&a, 1000, 7);
    (void)fill(&b, 1000, 7);
    (void)wave_draw(&devices, a.list, 1000, 30, 5, a.quota);
    (void)wave_draw(&devices, b.list, 1000, 30, 5, b.quota);
    assert_memory_equal(a.list, b.list, sizeof a.list);
    (void)fill(&b, 1000, 7);
    (void)wave_draw(&devices, b.list, 1000, 30, 6, b.quota);
    assert_memory_not_equal(a.list, b.list, 30 * sizeof *a.list);
}

/* Each of 10 devices of a stratum is drawn about as often as any other; the whole list stays a
 * permutation. */
static void test_wave__canaries_are_fair(void **state)
{
    (void)state;
    struct world world;
    uint32_t drawn[20] = {0};
    const uint64_t seed = random_seed();
    for (uint32_t round = 0; round < 4000; round++) {
        const struct wave_devices devices = fill(&world, 20, 2);
        assert_int_equal(wave_draw(&devices, world.list, 20, 5, seed + round, world.quota), 5);
        for (int i = 0; i < 5; i++)
            drawn[world.list[i]]++;
        uint32_t sum = 0;
        for (int i = 0; i < 20; i++)
            sum += world.list[i];
        assert_int_equal(sum, 190);
    }
    for (int i = 0; i < 20; i++) /* 1000 expected, deviation 27 */
        assert_in_range(drawn[i], 1000 - 170, 1000 + 170);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wave__devices_decide_as_captain_counts),
        cmocka_unit_test(test_wave__no_devices_no_cut),
        cmocka_unit_test(test_wave__sizes_count_earlier_waves),
        cmocka_unit_test(test_wave__canaries_are_spread_over_strata),
        cmocka_unit_test(test_wave__the_same_seed_draws_the_same_canaries),
        cmocka_unit_test(test_wave__canaries_are_fair),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
