/* SPDX-License-Identifier: Apache-2.0
 *
 * Virtual time: a heap of events. Whatever happens at one instant happens in the order in which it
 * was put there, so a run is the same each time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/sim/bus.h"

enum clock_kind {
    CLOCK_MESSAGE, /* arrives */
    CLOCK_DEVICE,  /* a device's timer */
    CLOCK_STIR,    /* the same, after news */
    CLOCK_BOOT,
    CLOCK_WAKE,    /* a hung device is rescued */
    CLOCK_CONTACT, /* captain notices that it has not heard of a device */
    CLOCK_CAPTAIN, /* captain's timer */
    CLOCK_RESTART, /* captain's supervisor starts it again */
    CLOCK_FAULT,   /* the next line of the plan */
    CLOCK_KINDS
};

struct clock_event {
    int64_t at_ms;
    uint64_t order; /* ties */
    enum clock_kind kind;
    uint32_t who;
    struct bus_message message;
};

struct clock {
    int64_t now_ms;
    uint64_t order;
    struct clock_event *heap;
    size_t len, capacity;
};

void clock_fini(struct clock *clock);
/* A time that has passed means now. */
void clock_put(struct clock *clock, int64_t at_ms, enum clock_kind kind, uint32_t who,
               const struct bus_message *message);
/* Takes the next event and moves the time to it; false: nothing more will ever happen. */
bool clock_next(struct clock *clock, struct clock_event *ret);
