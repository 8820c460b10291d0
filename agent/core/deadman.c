/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/core/deadman.h"

#include <string.h>

int64_t deadman_window_ms(uint32_t confirm_ms, uint32_t grace_ms)
{
    return 2 * ((int64_t)confirm_ms + grace_ms) + DEADMAN_SPARE_MS;
}

static void set_deadline(struct deadman *d, const struct deadman_clock *now)
{
    d->deadline_ms = now->mono_ms + d->window_ms;
    d->deadline_unix_ms = now->unix_ms + d->window_ms;
    if (str_copy(d->boot_id, sizeof d->boot_id, now->boot_id) != ERR_OK)
        d->boot_id[0] = '\0';
}

void deadman_arm(struct deadman *d, int64_t window_ms, const struct deadman_clock *now)
{
    d->state = DEADMAN_ARMED;
    d->window_ms = window_ms;
    d->reboots = 0;
    set_deadline(d, now);
}

bool deadman_resumed(struct deadman *d, const struct deadman_clock *now)
{
    if (d->state != DEADMAN_ARMED || str_equal(d->boot_id, now->boot_id))
        return false;
    d->reboots++;
    d->processes_len = 0; /* none of them survived */
    set_deadline(d, now);
    return true;
}

bool deadman_due(const struct deadman *d, const struct deadman_clock *now)
{
    return d->state == DEADMAN_ARMED &&
           (d->reboots >= DEADMAN_REBOOTS_MAX ||
            (str_equal(d->boot_id, now->boot_id) && now->mono_ms >= d->deadline_ms));
}
