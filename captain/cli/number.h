/* SPDX-License-Identifier: Apache-2.0
 *
 * Flags and arguments that are numbers.
 */
#pragma once

#include "captain/cli/command.h"

/* The flag's value, 1 to max; ret stays as it is when the flag is not given. ERR_USAGE. */
MUST_USE enum err_code number_flag(const struct invocation *invocation, enum flag_id flag,
                                   uint32_t max, uint32_t *ret, struct err *err);
/* A number of the log, 1 and up. */
MUST_USE enum err_code number_sequence(const char *text, uint64_t *ret, struct err *err);
