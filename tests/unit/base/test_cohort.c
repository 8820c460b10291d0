/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/base/cohort.h"
#include "common/base/mem.h"
#include "common/base/rng.h"

#define SALT_A "01J0000000000000000000000A"
#define SALT_B "01J0000000000000000000000B"

static void test_cohort__hashes_are_pinned(void **state)
{
    (void)state;
    /* Part of the protocol; computed apart from this code. A change here moves devices of a running
     * rollout from one side to the other. */
    static const struct {
        const char *salt, *device;
        uint64_t hash;
    } pinned[] = {
        {SALT_A, "berlin/d1", 0x61aa5fa33ec55915u},     {SALT_A, "berlin/d2", 0x6ff64d656b80442fu},
        {SALT_A, "a/b", 0x255043367c4a725fu},           {SALT_A, "x/y_z", 0xf101a9de9b9ee56eu},
        {SALT_A, "tokyo/press-7", 0x3832d43465a0b427u}, {SALT_B, "berlin/d1", 0x983516770b7d7070u},
        {SALT_B, "berlin/d2", 0x1301f885d8c937a7u},     {SALT_B, "a/b", 0x2eff83435cc7e187u},
        {"", "berlin/d1", 0xda74cdfd2d4d5c6fu},         {"", "x/y_z", 0x0992dc08898e0904u},
    };
    for (size_t i = 0; i < ARRAY_LEN(pinned); i++)
        assert_true(cohort_hash(pinned[i].salt, pinned[i].device) == pinned[i].hash);
}

static void assert_members(const char *salt, const int *members, size_t len)
{
    const struct cohort_rule rule = {.salt = salt, .cut = cohort_cut_percent(10)};
    size_t next = 0;
    for (int i = 0; i < 100; i++) {
        char device[16];
        (void)snprintf(device, sizeof device, "s/d%d", i);
        bool expected = next < len && members[next] == i;
        assert_int_equal(cohort_contains(&rule, device), expected);
        next += expected;
    }
    assert_int_equal(next, len);
}

static void test_cohort__membership_is_pinned_and_the_salt_changes_it(void **state)
{
    (void)state;
    static const int a[] = {49, 55, 57, 96};
    static const int b[] = {2, 12, 13, 15, 17, 30, 44, 54, 61, 62, 67, 90, 95};
    assert_members(SALT_A, a, ARRAY_LEN(a));
    assert_members(SALT_B, b, ARRAY_LEN(b));
}

static void test_cohort__cuts_are_exact(void **state)
{
    (void)state;
    assert_true(cohort_cut_percent(0) == 0);
    assert_true(cohort_cut_percent(1) == 184467440737095516u);
    assert_true(cohort_cut_percent(10) == 1844674407370955161u);
    assert_true(cohort_cut_percent(33) == 6087425544324152033u);
    assert_true(cohort_cut_percent(50) == 9223372036854775808u);
    assert_true(cohort_cut_percent(99) == 18262276632972456099u);
    assert_true(cohort_cut_percent(100) == COHORT_CUT_ALL);
    assert_true(cohort_cut_percent(101) == COHORT_CUT_ALL);
}

static void test_cohort__named_devices_belong_whatever_the_cut(void **state)
{
    (void)state;
    static const char *const names[] = {"berlin/d1", "a/b"};
    struct cohort_rule rule = {.salt = SALT_A, .devices = names, .devices_len = 2};
    assert_true(cohort_contains(&rule, "berlin/d1"));
    assert_true(cohort_contains(&rule, "a/b"));
    assert_false(cohort_contains(&rule, "berlin/d2"));
    assert_false(cohort_contains(&rule, "berlin/d"));
    rule.cut = 0x6ff64d656b80442fu;
    assert_false(cohort_contains(&rule, "berlin/d2")); /* below the cut, not at it */
    rule.cut++;
    assert_true(cohort_contains(&rule, "berlin/d2"));
}

static void test_cohort__nobody_and_everybody(void **state)
{
    (void)state;
    const struct cohort_rule nobody = {.salt = SALT_A};
    const struct cohort_rule all = {.salt = NULL, .cut = COHORT_CUT_ALL};
    for (int i = 0; i < 1000; i++) {
        char device[16];
        (void)snprintf(device, sizeof device, "s/d%d", i);
        assert_false(cohort_contains(&nobody, device));
        assert_true(cohort_contains(&all, device));
    }
}

/* How many of 100,000 devices with random names a percentage takes. */
static unsigned count_members(struct rng *rng, const char *salt, unsigned percent)
{
    const struct cohort_rule rule = {.salt = salt, .cut = cohort_cut_percent(percent)};
    unsigned members = 0;
    for (int i = 0; i < 100000; i++) {
        char device[40];
        (void)snprintf(device, sizeof device, "site%u/%llx", (unsigned)rng_below(rng, 20),
                       (unsigned long long)rng_next(rng));
        members += cohort_contains(&rule, device);
    }
    return members;
}

static void test_cohort__a_percentage_takes_its_share(void **state)
{
    (void)state;
    static const unsigned percents[] = {1, 10, 50, 90};
    /* 5 standard deviations of the binomial distribution: sqrt(100000 * p * (1 - p)). */
    static const unsigned slack[] = {158, 475, 791, 475};
    const uint64_t seed = 20261121;
    struct rng rng;
    rng_seed(&rng, seed);
    for (size_t i = 0; i < ARRAY_LEN(percents); i++) {
        unsigned members = count_members(&rng, SALT_A, percents[i]);
        unsigned share = percents[i] * 1000;
        if (members < share - slack[i] || members > share + slack[i])
            fail_msg("seed %llu: %u%% took %u", (unsigned long long)seed, percents[i], members);
    }
}

static void test_cohort__consecutive_names_take_their_share_too(void **state)
{
    (void)state;
    const struct cohort_rule rule = {.salt = SALT_B, .cut = cohort_cut_percent(10)};
    unsigned members = 0;
    for (int i = 0; i < 100000; i++) {
        char device[24];
        (void)snprintf(device, sizeof device, "site/d%06d", i);
        members += cohort_contains(&rule, device);
    }
    assert_in_range(members, 10000 - 475, 10000 + 475);
}

static void test_cohort__a_wider_cut_keeps_its_devices_and_a_new_salt_draws_anew(void **state)
{
    (void)state;
    unsigned moved = 0;
    for (int i = 0; i < 10000; i++) {
        char device[16];
        (void)snprintf(device, sizeof device, "s/d%d", i);
        const struct cohort_rule narrow = {.salt = SALT_A, .cut = cohort_cut_percent(10)};
        const struct cohort_rule wide = {.salt = SALT_A, .cut = cohort_cut_percent(50)};
        const struct cohort_rule other = {.salt = SALT_B, .cut = cohort_cut_percent(10)};
        if (cohort_contains(&narrow, device)) {
            assert_true(cohort_contains(&wide, device));
            moved += !cohort_contains(&other, device);
        }
    }
    assert_in_range(moved, 800, 1000); /* about 90% of about 1000 */
}

/* Of each of 100,000 random devices: what the rule says is what its words say, computed apart. */
static void test_cohort__selectors_choose_by_labels(void **state)
{
    (void)state;
    static const char *const tiers[] = {"gold", "silver", "lead"};
    const struct cohort_label gold[] = {{"tier", "gold"}, {"site", "site3"}},
                              fast[] = {{"line", "fast"}};
    const struct cohort_selector selectors[] = {{gold, 2}, {fast, 1}, {NULL, 0}};
    struct cohort_rule rule = {
        .salt = SALT_A, .cut = cohort_cut_percent(5), .selectors = selectors, .selectors_len = 3};
    const uint64_t seed = 20261122;
    struct rng rng;
    rng_seed(&rng, seed);
    unsigned members = 0, by_cut = 0;
    for (int i = 0; i < 100000; i++) {
        char device[40];
        unsigned site = (unsigned)rng_below(&rng, 10), tier = (unsigned)rng_below(&rng, 3);
        bool is_fast = rng_below(&rng, 20) == 0, moved = rng_below(&rng, 50) == 0;
        (void)snprintf(device, sizeof device, "site%u/%llx", site,
                       (unsigned long long)rng_next(&rng));
        const struct cohort_label labels[] = {{"tier", tiers[tier]},
                                              {"line", is_fast ? "fast" : "slow"},
                                              {moved ? "site" : "x", "site3"},
                                              {"tier", "gold"}, /* said before: does not count */
                                              {"line", "fast"}};
        bool cut = cohort_hash(SALT_A, device) < rule.cut;
        bool expected = cut || (tier == 0 && (site == 3 || moved)) || is_fast;
        bool is_in = cohort_contains_labelled(&rule, device, labels, ARRAY_LEN(labels));
        if (is_in != expected)
            fail_msg("seed %llu, device %d (%s): %d", (unsigned long long)seed, i, device, is_in);
        members += is_in;
        by_cut += cut;
        assert_int_equal(cohort_contains(&rule, device), cut);
    }
    assert_true(members > by_cut && members < 50000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cohort__hashes_are_pinned),
        cmocka_unit_test(test_cohort__membership_is_pinned_and_the_salt_changes_it),
        cmocka_unit_test(test_cohort__cuts_are_exact),
        cmocka_unit_test(test_cohort__named_devices_belong_whatever_the_cut),
        cmocka_unit_test(test_cohort__nobody_and_everybody),
        cmocka_unit_test(test_cohort__a_percentage_takes_its_share),
        cmocka_unit_test(test_cohort__consecutive_names_take_their_share_too),
        cmocka_unit_test(test_cohort__a_wider_cut_keeps_its_devices_and_a_new_salt_draws_anew),
        cmocka_unit_test(test_cohort__selectors_choose_by_labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
