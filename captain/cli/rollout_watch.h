/* SPDX-License-Identifier: Apache-2.0
 *
 * Following one rollout to its end.
 */
#pragma once

#include "captain/cli/command.h"

/* Shows how the rollout `id` goes on, until it ends: on a terminal the live tree, elsewhere one line per
 * transition (silent: nothing; --json: one object per change). ERR_OK when every device has the target,
 * ERR_UNHEALTHY when it ended otherwise, ERR_INTERRUPTED on Ctrl-C (the rollout goes on), ERR_TIMEOUT when
 * --timeout is given and runs out. */
MUST_USE enum err_code rollout_follow(struct invocation *invocation, const char *id, bool silent,
                                      struct err *err);
