/* SPDX-License-Identifier: Apache-2.0
 *
 * Maintenance windows of a site as an operator writes them, in the site's own time zone:
 *
 *     mon-fri 01:00-05:00 Europe/Paris
 *     sat,sun 22:00-06:00 Europe/Paris; wed 12:00-13:00 Europe/Paris
 *
 * Days, times, zone; several windows parted by ";". "daily" is every day; an end that is not after its start
 * is on the next day. Zones are those of the system's database; without one, UTC. A time that a change of
 * clocks skips or repeats is what mktime(3) makes of it. Sets TZ for the time of a call: loop thread only.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "captain/core/lease.h"
#include "common/base/err.h"

enum { WINDOWS_TEXT_MAX = 512, WINDOWS_MAX = 16 };

/* ERR_MALFORMED with a sentence that says which word is not understood. */
MUST_USE enum err_code windows_check(const char *text, struct err *err);

/* The windows that touch [from_ms, to_ms), ascending, merged where they touch; at most max. */
MUST_USE enum err_code windows_between(const char *text, int64_t from_ms, int64_t to_ms,
                                       struct lease_window *ret, size_t max, size_t *ret_len,
                                       struct err *err);
