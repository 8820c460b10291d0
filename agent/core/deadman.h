/* SPDX-License-Identifier: Apache-2.0
 *
 * The dead-man timer of one switch: when somebody else than the agent must take the device back.
 * The record is written before the switch and says until when the agent must have confirmed the
 * target. Pure: decides from the record and the clocks.
 *
 *   - Within one boot the deadline stands, however often the agent ends and is started again.
 *   - After a reboot a new window begins (the time without power is nobody's fault), but not more
 * than DEADMAN_REBOOTS_MAX times.
 *   - A fired record stays until the agent has reported it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/str.h"

enum {
    DEADMAN_REBOOTS_MAX = 3,
    DEADMAN_PROCESSES_MAX = 32,
    DEADMAN_SPARE_MS = 5000,
};

enum deadman_state { DEADMAN_ARMED, DEADMAN_FIRED };

/* A process of the target: the pair names it within one boot. */
struct deadman_process {
    int64_t pid;
    uint64_t start_ticks;
};

struct deadman {
    enum deadman_state state;
    uint8_t target[DIGEST_BYTES];
    bool has_previous; /* false: nothing to go back to, the link is removed */
    uint8_t previous[DIGEST_BYTES];
    char boot_id[37];         /* that deadline_ms and the processes belong to */
    int64_t deadline_ms;      /* CLOCK_BOOTTIME */
    int64_t deadline_unix_ms; /* for people, and for a timer of systemd */
    int64_t window_ms;
    uint32_t reboots;
    struct deadman_process processes[DEADMAN_PROCESSES_MAX];
    uint32_t processes_len;
};

struct deadman_clock {
    int64_t mono_ms; /* CLOCK_BOOTTIME */
    int64_t unix_ms;
    const char *boot_id;
};

/* How long the agent is given: time for two windows, since it may be started again in the first. */
int64_t deadman_window_ms(uint32_t confirm_ms, uint32_t grace_ms);
/* Arms for window_ms from now; target, previous and processes are the caller's. */
void deadman_arm(struct deadman *deadman, int64_t window_ms, const struct deadman_clock *now);
/* The first look after a start: true when the record changed (another boot) and must be written. */
bool deadman_resumed(struct deadman *deadman, const struct deadman_clock *now);
/* True: take the device back now. */
bool deadman_due(const struct deadman *deadman, const struct deadman_clock *now);
