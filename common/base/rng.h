/* SPDX-License-Identifier: Apache-2.0
 *
 * Seeded pseudo-random numbers for jitter and simulation; never for keys. splitmix64 (Steele, Lea,
 * Flood 2014). The same seed gives the same sequence on every machine. Pure.
 */
#pragma once

#include <stdint.h>

struct rng {
    uint64_t state;
};

void rng_seed(struct rng *rng, uint64_t seed);
uint64_t rng_next(struct rng *rng);
/* Uniform in [0, bound); bound 0 gives 0. */
uint64_t rng_below(struct rng *rng, uint64_t bound);

/* 64 bits of a text: FNV-1a, then the finalizer of MurmurHash3. Part of the protocol (cohorts). */
uint64_t rng_hash(uint64_t seed, const void *data, uint64_t len);
