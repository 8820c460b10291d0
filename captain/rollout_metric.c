/* SPDX-License-Identifier: Apache-2.0
 *
 * Measurements as inputs of rollouts.
 */
#include "captain/rollouts_private.h"

bool rollouts_live_at(struct rollouts *r, uint32_t i, struct rollout_handle *ret)
{
    for (uint32_t at = 0; at < r->lives_len; at++) {
        const struct rollouts_live *live = r->lives[at];
        if (!rollouts_is_live(live) || !live->begun || i-- > 0)
            continue;
        rollouts_handle_of(live, ret);
        return true;
    }
    return false;
}

void rollouts_metric(struct rollouts *r, const char *id, uint32_t metric,
                     enum rollout_sample sample, double value, int64_t measured_ms)
{
    struct rollouts_live *live = rollouts_by_id(r, id);
    struct rollout_input input = {.kind = ROLLOUT_IN_METRIC};
    if (!r->ready || !live || !live->begun || !rollouts_is_live(live))
        return;
    input.u.metric.metric = metric;
    input.u.metric.sample = sample;
    input.u.metric.value = value;
    input.u.metric.measured_ms = measured_ms;
    rollouts_push(live, &input, NULL, NULL);
}
