/* SPDX-License-Identifier: Apache-2.0
 *
 * Who is in a wave. Canaries are drawn at random within strata and named one by one; later waves
 * follow the order of cohort_hash, by a cut, so that a device decides for itself what captain
 * counted (common/base/cohort.h): the cut lies one above the hash of the k-th device, exactly.
 * Pure; no allocation: lists belong to the caller and are reordered in place.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "captain/core/policy.h"

/* All devices; a list below is of indexes into it. Borrowed. */
struct wave_devices {
    const uint64_t *hash; /* cohort_hash(rollout id, "site/device") */
    const uint16_t *stratum;
    uint32_t strata_len;
};

/* How many new devices a COUNT, PERCENT or ALL wave takes when `eligible` devices are eligible and
 * `taken` of them are in earlier waves. A percentage is rounded down, but is never 0. */
uint32_t wave_size(const struct policy_wave *wave, uint32_t eligible, uint32_t taken);

/* Draws k of list (len): each stratum gives its share (largest remainder, ties by lot), and within
 * a stratum each device is equally likely. The drawn ones come to the front of the list. Returns
 * min(k, len). quota: scratch of strata_len numbers. The same seed draws the same devices. */
uint32_t wave_draw(const struct wave_devices *devices, uint32_t *list, uint32_t len, uint32_t k,
                   uint64_t seed, uint32_t *quota);

/* Sorts list by hash and gives the cut that takes its first k (hash < cut); 0 for k = 0. */
uint64_t wave_cut(const struct wave_devices *devices, uint32_t *list, uint32_t len, uint32_t k);
