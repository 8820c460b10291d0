/* SPDX-License-Identifier: Apache-2.0
 *
 * What is asked of the person at the terminal, on /dev/tty, so that stdin and stdout stay free.
 * Without a terminal the answer is ERR_USAGE; the caller's hint names the flag that answers instead.
 * Ctrl-C gives ERR_INTERRUPTED, with the terminal as it was.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/err.h"

/* A line without echo, into ret. ERR_SIZE when it does not fit; ret is wiped then. */
MUST_USE enum err_code terminal_secret(const char *prompt, char *ret, size_t ret_size,
                                       struct err *err);
/* "question [y/N] "; ERR_INTERRUPTED when the answer is not yes. */
MUST_USE enum err_code terminal_confirm(const char *question, struct err *err);
