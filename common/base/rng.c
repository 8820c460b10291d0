/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/rng.h"

void rng_seed(struct rng *rng, uint64_t seed)
{
    rng->state = seed;
}

uint64_t rng_next(struct rng *rng)
{
    rng->state += 0x9e3779b97f4a7c15u;
    uint64_t z = rng->state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t rng_below(struct rng *rng, uint64_t bound)
{
    if (bound == 0)
        return 0;
    /* Without the lowest 2^64 mod bound values each remainder is equally likely. */
    const uint64_t reject = (UINT64_MAX - bound + 1) % bound;
    uint64_t x = rng_next(rng);
    while (x < reject)
        x = rng_next(rng);
    return x % bound;
}

static uint64_t fmix64(uint64_t h)
{
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdu;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53u;
    return h ^ (h >> 33);
}

uint64_t rng_hash(uint64_t seed, const void *data, uint64_t len)
{
    const uint8_t *bytes = data;
    uint64_t h = 0xcbf29ce484222325u ^ seed;
    for (uint64_t i = 0; i < len; i++)
        h = (h ^ bytes[i]) * 0x100000001b3u;
    return fmix64(h);
}
