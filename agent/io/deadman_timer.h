/* SPDX-License-Identifier: Apache-2.0
 *
 * Where systemd runs: a transient timer beside the supervising parent, that runs
 * `captain-agent --deadman APPDIR` though both of our processes are stuck. Best effort: without
 * systemd, or when it refuses, nothing happens.
 */
#pragma once

#include <stdint.h>

#include "common/loop.h"

void deadman_timer_arm(struct loop *loop, const char *app, const char *dir, int64_t after_ms);
void deadman_timer_disarm(struct loop *loop, const char *app);
