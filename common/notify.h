/* SPDX-License-Identifier: Apache-2.0
 *
 * Tells systemd how a service does (sd_notify). Without NOTIFY_SOCKET each call does nothing.
 */
#pragma once

#include <stdint.h>

#include "common/base/err.h"

void notify_ready(void);
void notify_stopping(void);
/* One line for `systemctl status`. */
void notify_status(const char *fmt, ...) PRINTF_LIKE(1, 2);
void notify_watchdog(void);
/* How often notify_watchdog must be called (half of WATCHDOG_USEC), in ms; 0: no watchdog. */
int64_t notify_watchdog_interval_ms(void);
