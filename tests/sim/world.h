/* SPDX-License-Identifier: Apache-2.0
 *
 * A fleet in one process: captain, devices, bus and clock, the story they tell, and the rules that
 * are held against them after every step.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/err.h"
#include "common/base/rng.h"
#include "tests/sim/bus.h"
#include "tests/sim/captain.h"
#include "tests/sim/clock.h"
#include "tests/sim/device.h"

enum {
    WORLD_WHY_MAX = 512,
    WORLD_SITES = 4,
    WORLD_GROUPS = 2,
    WORLD_ONLINE_MS = 60000,
    WORLD_LATE_MAX = 8
};

/* How long things take, and how the fleet is cut. */
struct world_rules {
    uint32_t devices;
    uint32_t sites; /* at most WORLD_SITES */
    uint8_t base;   /* what all run at the beginning; 0: nothing */
    uint32_t confirm_ms, grace_ms;
    uint32_t fetch_ms, stop_ms, start_ms; /* each with as much again by chance */
    struct bus_rules bus;
};

struct plan;

struct world {
    struct world_rules rules;
    struct clock clock;
    struct bus_rules bus;
    struct captain captain;
    struct device *devices;
    uint32_t devices_len, devices_capacity;
    struct rng rng;
    uint64_t steps;
    uint32_t stirred;        /* whose turn is next */
    const struct plan *plan; /* what CLOCK_FAULT means */
    FILE *story;             /* NULL: nobody listens */
    bool kept;               /* the newest rollout was aborted with --keep */
    bool failed;
    char why[WORLD_WHY_MAX]; /* which rule was broken */
};

void world_init(struct world *world, const struct world_rules *rules, uint64_t seed);
void world_fini(struct world *world);
/* A device that comes late; a member of the live rollout, if there is one. */
struct device *world_join(struct world *world, uint8_t release);
/* Until nothing more happens, or the step is reached; false when a rule was broken. */
bool world_run(struct world *world, uint64_t steps_max);

/* News: at most so many of the devices that wait for it ask again. */
void world_stir(struct world *world, uint32_t most);

/* One sentence of the story. */
void world_say(struct world *world, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* A rule is broken; the first one counts. */
void world_break(struct world *world, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* rules.c: held after each input of captain, and when all is quiet. */
void rules_step(struct world *world);
void rules_granted(struct world *world, const struct rollout_effect *effect);
void rules_begun(struct world *world);
void rules_published(struct world *world, const struct rollout_effect *effect);
void rules_verdict(struct world *world, const struct gate_result *result);
void rules_moved(struct world *world, const struct rollout_effect *effect);
void rules_quiet(struct world *world);
/* How many devices wait for news although they could have a lease now. */
uint32_t rules_waiting(const struct world *world);
