/* SPDX-License-Identifier: Apache-2.0
 *
 * The gates of a wave. gate_eval is a function of (policy, snapshot, now): same inputs, same bytes.
 * Nothing passes for lack of data; FAIL outranks HOLD outranks WAIT outranks PASS, and among equals
 * the lower gate number speaks. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "captain/core/policy.h"

enum gate_verdict { GATE_PASS, GATE_WAIT, GATE_HOLD, GATE_FAIL };

/* Numbered: the number ranks, and is what is stored. */
enum gate_id {
    GATE_COVERAGE = 1,
    GATE_FAILURES = 2,
    GATE_RATE = 3,
    GATE_COMPARE = 4,
    GATE_SOAK = 5,
    GATE_METRIC = 6,
    GATE_APPROVAL = 7,
    GATE_PROGRESS = 8,
    GATE_FREEZE = 9,
    GATE_ROLLBACK = 10, /* no gate of a wave: what holds a rollout whose rollback failed */
    GATE_IDS
};

enum gate_reason {
    GATE_OK,
    GATE_OFF,             /* the policy does not ask */
    GATE_WAITING_REPORTS, /* coverage: quorum not reached */
    GATE_COMPLETING, /* coverage, last wave: quorum reached, every eligible device is waited for */
    GATE_NO_DATA,    /* nothing decided, or no measurement */
    GATE_MISSING,
    GATE_NO_ELIGIBLE,
    GATE_LIMIT,       /* failures over the limit */
    GATE_CLASS_LIMIT, /* failures of one class over its limit */
    GATE_EVIDENCE,    /* E >= 1 / alpha */
    GATE_NO_CONTROL,
    GATE_DWELLING,
    GATE_MEASURING,
    GATE_THRESHOLD, /* measurements beyond the limit */
    GATE_INCONCLUSIVE,
    GATE_SOURCE_ERROR,
    GATE_STALE,
    GATE_APPROVALS,
    GATE_NO_PROGRESS,
    GATE_FROZEN,
    GATE_ROLLBACK_FAILED,
    GATE_REASONS
};

/* What a gate saw. observed and threshold are of the gate's own kind (count, E, ms, value). */
struct gate_evidence {
    uint32_t n, healthy, failed, missing;
    double observed;
    double threshold;
    double p;        /* compare: p-value; else 0 */
    uint32_t metric; /* metric: which */
    uint32_t class;  /* class_limit: which */
};

struct gate_result {
    enum gate_verdict verdict;
    enum gate_id gate;
    enum gate_reason reason;
    struct gate_evidence evidence;
    int64_t until_ms; /* Unix; when time alone may change it; 0: never */
};

struct gate_metric_state {
    uint32_t passed, failed, inconclusive, errors;
    double last_value;
    int64_t last_ms;          /* of the last passing measurement; 0: none */
    int64_t deadline_from_ms; /* wave start, or the last resume of the gate */
};

/* One wave as the gates see it. The owner keeps these numbers; nothing is counted here. Zero it
 * before filling: its bytes are digested. */
struct gate_snapshot {
    uint32_t n;                         /* frozen at the wave's start; deleted members stay in it */
    uint32_t healthy;                   /* of N: confirmed healthy on the target, now */
    uint32_t failed;                    /* of N: failed for good (retries used up) */
    uint32_t failed_new;                /* on the target, any wave, since last acknowledged */
    uint32_t class_new[POLICY_CLASSES]; /* the same by class */
    uint32_t outstanding;               /* last wave: eligible devices not yet on the target */
    bool last_wave;
    int64_t coverage_from_ms; /* wave start, or the last resume of coverage */
    uint32_t missing_acked;   /* by a person */
    double rate_e;
    double compare_e;
    double compare_p;
    uint32_t control;        /* control devices at risk */
    bool no_control_acked;   /* by a person */
    uint32_t dwelt;          /* of N: healthy without a break for the soak */
    int64_t quorum_dwelt_ms; /* when the quorum-th will have; 0: not so many are healthy */
    int64_t soak_ms;
    struct gate_metric_state metrics[POLICY_METRICS_MAX];
    uint32_t approvals; /* distinct operators */
    uint32_t approvals_needed;
    bool progress_stopped;    /* paused, frozen, every window closed, or nothing left to change */
    int64_t progress_from_ms; /* shifted by the time the clock stood */
    bool frozen;
    bool no_base;
    uint32_t waived; /* bits 1 << gate_id that promote waived; never covers FAIL */
};

struct gate_eval {
    struct gate_result worst;
    struct gate_result gates[GATE_IDS]; /* by gate_id; [0] and [GATE_ROLLBACK] unused */
    int64_t until_ms;                   /* the earliest of all; 0: none */
};

void gate_eval(const struct policy *policy, const struct gate_snapshot *snapshot, int64_t now_ms,
               struct gate_eval *ret);

/* max(min_abs, min(max_abs, floor(percent * n / 100))). FAIL iff failed > limit. */
uint32_t gate_failures_limit(const struct policy *policy, uint32_t n);
/* ceil(quorum * n), safe against rounding of products that are whole. */
uint32_t gate_quorum(const struct policy *policy, uint32_t n);
uint32_t gate_max_missing(const struct policy *policy, uint32_t n);

const char *gate_verdict_name(enum gate_verdict verdict);
const char *gate_name(enum gate_id gate);
const char *gate_reason_name(enum gate_reason reason);
/* The gate called so, or 0. */
enum gate_id gate_by_name(const char *name);
/* One sentence for people, without a full stop: "2 of 10 failed, limit 1". */
enum { GATE_SENTENCE_MAX = 256 };
void gate_sentence(const struct policy *policy, const struct gate_result *result,
                   char ret[static GATE_SENTENCE_MAX]);
