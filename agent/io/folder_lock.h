/* SPDX-License-Identifier: Apache-2.0
 *
 * The lock of the agent's folder: one agent (its supervising parent, where there is one) at a time;
 * names the process.
 */
#pragma once

#include "common/base/err.h"

/* Makes the folder. ERR_CONFLICT names who has it. A holder that is dead already, whose child is
 * just being ended with it, is waited for a moment. The descriptor is owned; a fork shares it. */
MUST_USE enum err_code folder_lock_take(const char *folder, int *ret_fd, struct err *err);
/* Kills the holder, if there is one, and takes the lock. */
MUST_USE enum err_code folder_lock_wrest(const char *folder, int *ret_fd, struct err *err);
