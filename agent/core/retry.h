/* SPDX-License-Identifier: Apache-2.0
 *
 * Exponential backoff with full jitter: delay = uniform in [min, min(max, base * 2^failures)]
 * (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog 2015). Pure: randomness is the
 * caller's rng.
 */
#pragma once

#include <stdint.h>

#include "common/base/rng.h"

struct retry_policy {
    int64_t min_ms;
    int64_t base_ms;
    int64_t max_ms;
};

/* failures: how many in a row so far, at least 1. */
int64_t retry_delay_ms(const struct retry_policy *policy, uint32_t failures, struct rng *rng);
