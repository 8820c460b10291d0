/* SPDX-License-Identifier: Apache-2.0 */
#include "common/notify.h"

#include <stdio.h>
#include <systemd/sd-daemon.h>

enum { STATUS_MAX = 512 };

/* Whether systemd hears it changes nothing for us: a lost watchdog call is its own alarm. */
void notify_ready(void)
{
    (void)sd_notify(0, "READY=1");
}

void notify_stopping(void)
{
    (void)sd_notify(0, "STOPPING=1");
}

void notify_status(const char *fmt, ...)
{
    char line[STATUS_MAX] = "STATUS=";
    const size_t prefix = sizeof "STATUS=" - 1;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(line + prefix, sizeof line - prefix, fmt, args);
    va_end(args);
    for (char *c = line; *c; c++)
        if (*c == '\n')
            *c = ' '; /* a second line would be another variable */
    (void)sd_notify(0, line);
}

void notify_watchdog(void)
{
    (void)sd_notify(0, "WATCHDOG=1");
}

int64_t notify_watchdog_interval_ms(void)
{
    uint64_t interval_us = 0;
    if (sd_watchdog_enabled(0, &interval_us) <= 0)
        return 0;
    int64_t half_ms = (int64_t)(interval_us / 2000);
    return half_ms > 0 ? half_ms : 1;
}
