/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/core/retry.h"

int64_t retry_delay_ms(const struct retry_policy *policy, uint32_t failures, struct rng *rng)
{
    int64_t ceiling_ms = policy->base_ms;
    for (uint32_t i = 0; i < failures && ceiling_ms < policy->max_ms; i++)
        ceiling_ms = ceiling_ms > policy->max_ms / 2 ? policy->max_ms : ceiling_ms * 2;
    if (ceiling_ms > policy->max_ms)
        ceiling_ms = policy->max_ms;
    if (ceiling_ms <= policy->min_ms)
        return policy->min_ms;
    uint64_t spread = (uint64_t)(ceiling_ms - policy->min_ms) + 1;
    return policy->min_ms + (int64_t)rng_below(rng, spread);
}
