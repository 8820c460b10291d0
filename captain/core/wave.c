/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/core/wave.h"

#include <string.h>

#include "common/base/cohort.h"
#include "common/base/rng.h"

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

uint32_t wave_size(const struct policy_wave *wave, uint32_t eligible, uint32_t taken)
{
    uint32_t total = eligible;
    if (wave->kind == POLICY_WAVE_COUNT)
        total = min_u32(wave->count, eligible);
    if (wave->kind == POLICY_WAVE_PERCENT) {
        total = (uint32_t)((uint64_t)eligible * wave->percent / 100);
        if (total == 0)
            total = min_u32(1, eligible);
    }
    const uint32_t size = total > taken ? total - taken : 0;
    return wave->canary ? min_u32(size, POLICY_NAMED_MAX) : size;
}

static void swap(uint32_t *list, uint32_t a, uint32_t b)
{
    const uint32_t kept = list[a];
    list[a] = list[b];
    list[b] = kept;
}

static void shuffle(uint32_t *list, uint32_t len, struct rng *rng)
{
    for (uint32_t i = len; i > 1; i--)
        swap(list, i - 1, (uint32_t)rng_below(rng, i));
}

/* Every stratum gets floor(k * its size / len); quota holds sizes before and shares after. */
static uint32_t share_out(uint32_t *quota, uint32_t strata_len, uint32_t len, uint32_t k)
{
    uint32_t given = 0;
    for (uint32_t s = 0; s < strata_len; s++) {
        quota[s] = (uint32_t)((uint64_t)k * quota[s] / len);
        given += quota[s];
    }
    return given;
}

static void count_strata(const struct wave_devices *devices, const uint32_t *list, uint32_t len,
                         uint32_t *ret_sizes)
{
    memset(ret_sizes, 0, devices->strata_len * sizeof *ret_sizes);
    for (uint32_t i = 0; i < len; i++)
        ret_sizes[devices->stratum[list[i]]]++;
}

/* Brings those within their stratum's quota to the front, in the list's (random) order. */
static uint32_t take_quota(const struct wave_devices *devices, uint32_t *list, uint32_t len,
                           uint32_t *quota)
{
    uint32_t taken = 0;
    for (uint32_t i = 0; i < len; i++) {
        uint32_t *left = &quota[devices->stratum[list[i]]];
        if (*left == 0)
            continue;
        (*left)--;
        swap(list, i, taken++);
    }
    return taken;
}

/* Of what is left behind `taken`, the seats that floors did not give go to the largest remainders
 * k * size mod len. One seat a stratum, the order within equals being the shuffled one: at most
 * strata_len rounds over the list would be slow for many strata, so a threshold is searched by
 * bits and the list gone through twice. */
static uint32_t take_remainders(const struct wave_devices *devices, uint32_t *list, uint32_t len,
                                uint32_t k, uint32_t taken, uint32_t *sizes)
{
    count_strata(devices, list, len, sizes);
    for (uint32_t s = 0; s < devices->strata_len; s++)
        sizes[s] = (uint32_t)((uint64_t)k * sizes[s] % len);
    uint32_t bar = 0; /* the largest for which at least as many strata as seats reach it */
    for (uint32_t bit = 1u << 31; bit; bit >>= 1) {
        uint32_t reach = 0;
        for (uint32_t s = 0; s < devices->strata_len; s++)
            reach += sizes[s] >= (bar | bit);
        if (reach >= k - taken)
            bar |= bit;
    }
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = taken; i < len && taken < k; i++) {
            uint32_t *rest = &sizes[devices->stratum[list[i]]];
            if (*rest == 0 || (round == 0 ? *rest <= bar : *rest != bar))
                continue;
            *rest = 0; /* one seat a stratum */
            swap(list, i, taken++);
        }
    }
    return taken;
}

uint32_t wave_draw(const struct wave_devices *devices, uint32_t *list, uint32_t len, uint32_t k,
                   uint64_t seed, uint32_t *quota)
{
    if (k >= len)
        return len;
    if (k == 0)
        return 0;
    struct rng rng;
    rng_seed(&rng, seed);
    shuffle(list, len, &rng);
    count_strata(devices, list, len, quota);
    const uint32_t given = share_out(quota, devices->strata_len, len, k);
    uint32_t taken = take_quota(devices, list, len, quota);
    if (given < k)
        taken = take_remainders(devices, list, len, k, taken, quota);
    return taken;
}

static void sift_down(const uint64_t *hash, uint32_t *list, uint32_t root, uint32_t len)
{
    for (;;) {
        uint32_t child = 2 * root + 1;
        if (child >= len)
            return;
        if (child + 1 < len && hash[list[child]] < hash[list[child + 1]])
            child++;
        if (hash[list[root]] >= hash[list[child]])
            return;
        swap(list, root, child);
        root = child;
    }
}

/* Heapsort: in place, no worst case, no libc callback. */
static void sort_by_hash(const uint64_t *hash, uint32_t *list, uint32_t len)
{
    for (uint32_t i = len / 2; i > 0; i--)
        sift_down(hash, list, i - 1, len);
    for (uint32_t i = len; i > 1; i--) {
        swap(list, 0, i - 1);
        sift_down(hash, list, 0, i - 1);
    }
}

uint64_t wave_cut(const struct wave_devices *devices, uint32_t *list, uint32_t len, uint32_t k)
{
    sort_by_hash(devices->hash, list, len);
    if (k == 0 || len == 0)
        return 0;
    const uint64_t last = devices->hash[list[min_u32(k, len) - 1]];
    return last >= COHORT_CUT_ALL - 1 ? COHORT_CUT_ALL : last + 1;
}
