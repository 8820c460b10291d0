/* SPDX-License-Identifier: Apache-2.0
 *
 * What every helper of this folder shares: a helper that cannot do its work ends the test at once,
 * with a sentence on stderr, since a test without its surroundings proves nothing. Independent of
 * cmocka.
 */
#pragma once

#include "common/base/err.h"

/* Says what failed (with strerror when sys_errno is not 0) and aborts. */
void support_die(int sys_errno, const char *fmt, ...) PRINTF_LIKE(2, 3) __attribute__((noreturn));
