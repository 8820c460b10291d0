/* SPDX-License-Identifier: Apache-2.0
 *
 * A rollout for people: what captain says of it (RolloutInfo) as lines of text. Functions of what is given;
 * no terminal, no clock.
 */
#pragma once

#include "captain/cli/output.h"

struct rollout_view_size {
    unsigned width, height; /* 0: as much as there is to say */
    bool plain;             /* the terminal knows no UTF-8 */
};

/* rollout -> wave -> site -> failing devices. Sites without a failure fold into a count; the open wave says
 * which gate it waits for and why, how long, and what comes next. What does not fit the height is cut where
 * it tells least, and counted. Rows live in the arena; fewer when that is full. */
struct output_row *rollout_view_tree(const struct rollout_info *info, int64_t now_ms,
                                     const struct rollout_view_size *size, struct arena *arena,
                                     size_t *ret_len);

/* What has changed since before (NULL: all is new), a line each, with RFC 3339 time: state, wave, verdict,
 * devices that began to fail. */
struct output_row *rollout_view_changes(const struct rollout_info *before,
                                        const struct rollout_info *info, int64_t now_ms,
                                        struct arena *arena, size_t *ret_len);

/* It has ended, whatever the outcome. */
bool rollout_view_over(const struct rollout_info *info);
/* How it ended, for the last line and the error of `wait`: "aborted by gate failures: 2 of 3 failed, limit
 * 1". In the arena. */
const char *rollout_view_outcome(const struct rollout_info *info, struct arena *arena);
