/* SPDX-License-Identifier: Apache-2.0
 *
 * Verdicts again, from the stored inputs: the same policy must give the same verdicts; another
 * policy tells what it would have said of what really happened. With another policy the recorded
 * rollout leads: waves, leases and moves are as they were, only counting (soak, silence, retries)
 * and gates follow the other policy, whose verdicts move nothing. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "captain/core/gate.h"
#include "captain/core/rollout.h"

/* The next stored input, in order; false at the end. What it points to lives until the next call
 * (windows: until the end of the replay). */
typedef bool (*history_next_fn)(void *context, struct rollout_input *ret);

/* Each change of verdict, in order; may be NULL. */
typedef void (*history_verdict_fn)(void *context, uint64_t input, int64_t now_ms, uint32_t wave,
                                   const struct gate_result *result);

struct history_stop {
    bool stopped;                    /* the first HOLD or FAIL */
    bool failed;                     /* the first FAIL */
    uint64_t stop_input, fail_input; /* numbers of inputs, from 0 */
    int64_t stop_ms, fail_ms;
    uint32_t stop_exposed, fail_exposed; /* devices that had had a lease for the target by then */
    struct gate_result stop, fail;
};

struct history_diff {
    uint64_t inputs;
    struct history_stop recorded, other;
    bool differs; /* the first input after which the verdicts are not the same */
    uint64_t differs_input;
    int64_t differs_ms;
    struct gate_result differs_recorded, differs_other;
    uint64_t fingerprint;  /* of the recorded rollout at the end */
    int64_t devices_later; /* fail_exposed of other - of recorded; only when both failed */
};

/* Replays up to and including input number until (UINT64_MAX: all). other NULL: only recorded. The
 * waves of other count for nothing but their soak and approvals. verdict sees the other policy's if
 * there is one. ERR_MALFORMED when the first input is no START or other is not valid. */
MUST_USE enum err_code history_replay(history_next_fn next, void *context, uint64_t until,
                                      const struct policy *other, history_verdict_fn verdict,
                                      struct history_diff *ret, struct err *err);
