/* SPDX-License-Identifier: Apache-2.0
 *
 * From check results to health: thresholds of consecutive results, a verdict for the app, and when
 * each check is due next. Due times lie on one grid per app, first_ms + k * interval, so that
 * checks of one interval (and of its multiples) fall due together and an idle agent wakes rarely;
 * the caller spreads devices by first_ms. Pure.
 *
 * While the app is not well yet, a check that has not passed is asked every HEALTH_EAGER_MS for the
 * first HEALTH_EAGER_FOR_MS: a service that needs a moment to open its port is seen soon after it
 * did.
 *
 * What worked before is the baseline: a check that failed before the release came is excused, and
 * says nothing about the app until it has passed for the first time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { HEALTH_CHECKS_MAX = 32, HEALTH_EAGER_MS = 500, HEALTH_EAGER_FOR_MS = 60000 };

struct health_check_rule {
    uint32_t interval_ms;         /* at least 1 */
    uint32_t healthy_threshold;   /* at least 1 */
    uint32_t unhealthy_threshold; /* at least 1 */
    bool excused;                 /* it failed before already: counts only once it has passed */
};

enum health_verdict {
    HEALTH_UNKNOWN, /* some check has not reached a threshold yet */
    HEALTH_GOOD,
    HEALTH_BAD, /* at least one check has failed unhealthy_threshold times in a row */
};

struct health_check {
    struct health_check_rule rule;
    enum health_verdict verdict;
    uint32_t run_length; /* consecutive equal results */
    bool last_ok;
    bool running; /* a probe is out */
    int64_t due_ms;
};

struct health_state {
    struct health_check checks[HEALTH_CHECKS_MAX];
    uint32_t checks_len;
    enum health_verdict verdict;
    int64_t first_ms;
    int64_t good_since_ms; /* -1: not good */
};

/* first_ms: when the first probes are due (a service needs a moment to open its port). An app
 * without checks is GOOD from then on. rules_len at most HEALTH_CHECKS_MAX. */
void health_start(struct health_state *health, const struct health_check_rule *rules,
                  uint32_t rules_len, int64_t first_ms);

/* The next check to probe now (marks it running), or -1. */
int health_next_due(struct health_state *health, int64_t now_ms);
/* When the next one is due; INT64_MAX: none (all running, or no checks). */
int64_t health_deadline_ms(const struct health_state *health);

/* A probe's result. Returns true when the app's verdict changed. */
bool health_result(struct health_state *health, uint32_t check, bool ok, int64_t now_ms);
