/* SPDX-License-Identifier: Apache-2.0
 *
 * What an operator may choose for a rollout: waves, gates, retries, admission. A plain struct
 * without pointers, so that it can be copied, stored and digested as bytes (policy_default zeroes
 * padding too). Durations in ms. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

enum {
    POLICY_WAVES_MAX = 16,
    POLICY_METRICS_MAX = 8,
    POLICY_FLOORS_MAX = 8,
    POLICY_NAME_MAX = 64,
    POLICY_TEXT_MAX = 256,
    POLICY_NAMED_MAX = 1024, /* canaries stand by name in desired: never more of them than this */
    POLICY_RETRIES_MAX = 7,
    POLICY_APPROVALS_MAX = 8,
};
#define POLICY_NO_LIMIT UINT32_MAX

/* Why an attempt did not end well. NONE is no failure. */
enum policy_class {
    POLICY_FAILED,    /* unhealthy, crashed, two flaps: went back by itself or should have */
    POLICY_REJECTED,  /* would not take it (signature, space, data version); nothing was switched */
    POLICY_TIMED_OUT, /* alive, but its lease ended without a word about the attempt */
    POLICY_SILENT,    /* not heard of for silent_ms after the offer */
    POLICY_CLASSES,
    POLICY_CLASS_NONE = POLICY_CLASSES,
};

enum policy_wave_kind {
    POLICY_WAVE_COUNT,    /* so many devices in all, those of earlier waves included */
    POLICY_WAVE_PERCENT,  /* so much of the eligible, earlier waves included; at least one device */
    POLICY_WAVE_SELECTOR, /* those the selector picks */
    POLICY_WAVE_NAMED,    /* those named */
    POLICY_WAVE_ALL,      /* everyone; must be the last, and only it ends a rollout */
};

struct policy_wave {
    char name[POLICY_NAME_MAX];
    enum policy_wave_kind kind;
    bool canary; /* COUNT and PERCENT: drawn at random within strata and named one by one; else
                  * taken in the order of cohort_hash by a cut */
    uint32_t count;
    uint32_t percent;               /* 1 to 100 */
    char selector[POLICY_TEXT_MAX]; /* the shell resolves it (struct rollout_join, pick) */
    int64_t soak_ms;                /* -1: the policy's */
    uint32_t approvals;             /* to close this wave; added to the policy's */
};

enum policy_on { POLICY_ON_HOLD, POLICY_ON_FAIL };
enum policy_fail { POLICY_FAIL_ABORT, POLICY_FAIL_HOLD };
/* When the compare gate may do without control devices. */
enum policy_no_control {
    POLICY_NO_CONTROL_LAST,  /* in the wave that takes everyone, which by design leaves none */
    POLICY_NO_CONTROL_NEVER, /* HOLD no_control even there */
    POLICY_NO_CONTROL_ALWAYS,
};
enum policy_op { POLICY_OP_BELOW, POLICY_OP_AT_MOST, POLICY_OP_ABOVE, POLICY_OP_AT_LEAST };

struct policy_metric {
    char name[POLICY_NAME_MAX];
    char source[POLICY_TEXT_MAX]; /* for the shell: a telemetry expression or a Prometheus query */
    enum policy_op op;
    double limit;                /* a measurement passes when `value op limit` */
    uint32_t count;              /* passing measurements to PASS; at least 1 */
    uint32_t failure_limit;      /* FAIL when more measurements than this do not pass */
    uint32_t inconclusive_limit; /* HOLD when more than this were NaN, empty or stale */
    uint32_t error_limit;        /* HOLD when the source failed more often than this */
    int64_t max_age_ms;          /* an older measurement is stale, and a PASS needs a fresh one */
    int64_t deadline_ms;         /* from the wave's start; without enough by then: HOLD */
    int64_t every_ms;            /* how often the shell asks */
};

/* A version every device must pass through, and why. The shell asks policy_floors before a start.
 */
struct policy_floor {
    char version[POLICY_NAME_MAX];
    char reason[POLICY_TEXT_MAX];
};

enum policy_window_end {
    POLICY_WINDOW_FINISH,      /* leases until the last moment; what has begun finishes */
    POLICY_WINDOW_STOP_OFFERS, /* no lease whose term would reach past the window's end */
};

struct policy {
    char name[POLICY_NAME_MAX];
    struct policy_wave waves[POLICY_WAVES_MAX];
    uint32_t waves_len;
    enum policy_fail on_fail;
    int64_t eligible_age_ms; /* eligible: seen within it */

    struct {
        double quorum; /* of N, 0 < quorum <= 1 */
        bool max_missing_set;
        uint32_t max_missing; /* unless set: 0 if N < 10, else floor(0.1 N) */
        int64_t deadline_ms;
        enum policy_on on_missing;
    } coverage;
    struct {
        uint32_t min_abs, max_abs, max_percent;
        uint32_t class_limit[POLICY_CLASSES]; /* FAIL when more of this class; POLICY_NO_LIMIT */
    } failures;
    struct {
        bool on;
        double p0, alpha;
    } rate;
    struct {
        bool on;
        double tolerance, alpha;
        uint32_t min_control;
        enum policy_no_control no_control;
    } compare;
    int64_t soak_ms;
    int64_t progress_ms;
    uint32_t approvals; /* distinct operators, for every wave */
    struct policy_metric metrics[POLICY_METRICS_MAX];
    uint32_t metrics_len;

    uint32_t retries[POLICY_CLASSES]; /* of one device; after the last one: the penalty box */
    int64_t silent_ms;                /* without contact for so long after the offer: failed */
    int64_t rollback_ms;              /* a device that has not gone back by then: quarantined */

    struct {
        int64_t lease_ms;                /* from grant to its end; also the time an attempt has */
        uint32_t max_in_flight;          /* 0: no cap */
        uint32_t max_in_flight_per_site; /* 0: no cap */
        uint32_t max_in_flight_per_group;
        uint32_t max_unavailable_per_site_percent; /* floor; 100: no cap */
        bool allow_one;                            /* a site too small for the percentage: one */
        uint32_t ramp_start; /* 0: none; else in flight at most start + gain * successes */
        uint32_t ramp_gain;
        enum policy_window_end window_end;
        bool rollback_in_windows; /* default no: a failed release is worse than a window */
    } admission;
    struct policy_floor floors[POLICY_FLOORS_MAX];
    uint32_t floors_len;
};

/* The numbers of the gates' table; waves: 1 canary, 25 %, all. */
void policy_default(struct policy *ret);

/* "careful", "normal" (the default) or "fast"; ERR_NOT_FOUND otherwise. */
MUST_USE enum err_code policy_named(const char *name, struct policy *ret, struct err *err);

/* ERR_MALFORMED with the first thing that is wrong, as a sentence that names the field. */
MUST_USE enum err_code policy_check(const struct policy *policy, struct err *err);

/* Whether `to` may replace `from` in a running rollout: waves up to and including `wave` are as
 * they were, and selector and named waves keep their selection (it was resolved at the start). */
MUST_USE enum err_code policy_check_change(const struct policy *from, const struct policy *to,
                                           uint32_t wave, struct err *err);

const char *policy_class_name(enum policy_class class);
