/* SPDX-License-Identifier: Apache-2.0
 *
 * Waiting for a condition with a deadline: the only way a test waits for something.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/loop.h"

typedef bool (*wait_fn)(void *arg);

/* Asks fn about every 2 ms until it says true; false when ms passed without. */
bool wait_until(wait_fn fn, void *arg, int64_t ms);

/* The same while running turns of the loop. */
bool wait_turning(struct loop *loop, wait_fn fn, void *arg, int64_t ms);

/* Runs turns of the loop for ms, whatever happens: to see that something does not happen. */
void turn_for(struct loop *loop, int64_t ms);
