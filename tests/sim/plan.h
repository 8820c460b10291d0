/* SPDX-License-Identifier: Apache-2.0
 *
 * What will happen to a fleet: drawn from a seed or written by hand, as a list of lines, so that a
 * plan that breaks a rule can be made smaller line by line.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "captain/core/policy.h"
#include "tests/sim/device.h"
#include "tests/sim/world.h"

enum { PLAN_FAULTS_MAX = 48 };

enum plan_kind {
    PLAN_START, /* a: release */
    PLAN_PAUSE,
    PLAN_RESUME, /* what holds or pauses */
    PLAN_PROMOTE,
    PLAN_ABORT,   /* a: keep */
    PLAN_APPROVE, /* a: operator */
    PLAN_FREEZE,  /* a: on */
    PLAN_POLICY,  /* a: soak in minutes */
    PLAN_SETTLE,  /* an operator who finds it paused or held lets it go on, or aborts */
    PLAN_RETRY,   /* of a device from here on */
    PLAN_EXCLUDE,
    PLAN_DELETE,
    PLAN_CONTROL, /* fails on the base, unless it was offered */
    PLAN_JOIN,    /* a: on the base, or with nothing */
    PLAN_POWER,   /* ms: for so long */
    PLAN_CUT,     /* a: power goes at the a-th point */
    PLAN_HANG,
    PLAN_AGENT,
    PLAN_SPACE,
    PLAN_OFFLINE,
    PLAN_PARTITION, /* a: percent of the fleet; ms */
    PLAN_CRASH,     /* captain, for ms */
    PLAN_CRASH_AT,  /* a: at the a-th point from here; ms */
    PLAN_SKEW,      /* captain's clock, by ms */
    PLAN_CLEAR,     /* every fault ends */
    PLAN_KINDS
};

struct plan_fault {
    int64_t at_ms; /* since the beginning */
    enum plan_kind kind;
    uint32_t device;
    uint32_t a;
    int64_t ms;
};

/* How a release behaves in the fleet. */
struct plan_release {
    uint32_t bad_permille;
    struct device_truth bad;
    uint16_t only_site; /* bad on this site only, counted from 1; 0: everywhere */
};

struct plan {
    uint64_t seed;
    struct world_rules rules;
    struct policy policy;
    struct plan_release releases[DEVICE_RELEASES];
    uint32_t liars_permille;
    struct plan_fault faults[PLAN_FAULTS_MAX];
    uint32_t faults_len;
};

void plan_draw(struct plan *plan, uint64_t seed, uint32_t devices);
/* The beginning of it. The plan is lent to the world. */
void plan_world(const struct plan *plan, struct world *world, FILE *story);
/* A line falls due. */
void plan_fault(struct world *world, uint32_t line);
const char *plan_kind_name(enum plan_kind kind);
