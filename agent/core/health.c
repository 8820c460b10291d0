/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/core/health.h"

#include <assert.h>

void health_start(struct health_state *health, const struct health_check_rule *rules,
                  uint32_t rules_len, int64_t first_ms)
{
    assert(rules_len <= HEALTH_CHECKS_MAX);
    *health = (struct health_state){.checks_len = rules_len,
                                    .verdict = rules_len > 0 ? HEALTH_UNKNOWN : HEALTH_GOOD,
                                    .first_ms = first_ms,
                                    .good_since_ms = rules_len > 0 ? -1 : first_ms};
    for (uint32_t i = 0; i < rules_len; i++)
        health->checks[i] = (struct health_check){.rule = rules[i], .due_ms = first_ms};
}

int health_next_due(struct health_state *health, int64_t now_ms)
{
    for (uint32_t i = 0; i < health->checks_len; i++) {
        struct health_check *check = &health->checks[i];
        if (!check->running && check->due_ms <= now_ms) {
            check->running = true;
            return (int)i;
        }
    }
    return -1;
}

int64_t health_deadline_ms(const struct health_state *health)
{
    int64_t next_ms = INT64_MAX;
    for (uint32_t i = 0; i < health->checks_len; i++) {
        if (!health->checks[i].running && health->checks[i].due_ms < next_ms)
            next_ms = health->checks[i].due_ms;
    }
    return next_ms;
}

/* The first point of the grid after now_ms. */
static int64_t next_on_grid(int64_t first_ms, int64_t step_ms, int64_t now_ms)
{
    if (now_ms < first_ms)
        return first_ms;
    return first_ms + ((now_ms - first_ms) / step_ms + 1) * step_ms;
}

static int64_t step_ms(const struct health_state *health, const struct health_check *check,
                       int64_t now_ms)
{
    bool eager = health->good_since_ms < 0 && check->verdict != HEALTH_GOOD &&
                 now_ms - health->first_ms < HEALTH_EAGER_FOR_MS;
    if (eager && check->rule.interval_ms > HEALTH_EAGER_MS)
        return HEALTH_EAGER_MS;
    return check->rule.interval_ms > 0 ? check->rule.interval_ms : 1;
}

static enum health_verdict verdict_of_all(const struct health_state *health)
{
    enum health_verdict worst = HEALTH_GOOD;
    for (uint32_t i = 0; i < health->checks_len; i++) {
        if (health->checks[i].rule.excused)
            continue;
        if (health->checks[i].verdict == HEALTH_BAD)
            return HEALTH_BAD;
        if (health->checks[i].verdict == HEALTH_UNKNOWN)
            worst = HEALTH_UNKNOWN;
    }
    return worst;
}

static void count(struct health_check *check, bool ok)
{
    bool same = check->run_length > 0 && check->last_ok == ok;
    check->run_length = !same                            ? 1
                        : check->run_length < UINT32_MAX ? check->run_length + 1
                                                         : UINT32_MAX;
    check->last_ok = ok;
    if (ok && check->run_length >= check->rule.healthy_threshold)
        check->verdict = HEALTH_GOOD;
    else if (!ok && check->run_length >= check->rule.unhealthy_threshold)
        check->verdict = HEALTH_BAD;
}

bool health_result(struct health_state *health, uint32_t check, bool ok, int64_t now_ms)
{
    assert(check < health->checks_len);
    struct health_check *it = &health->checks[check];
    it->running = false;
    count(it, ok);
    it->rule.excused = it->rule.excused && it->verdict != HEALTH_GOOD;
    enum health_verdict before = health->verdict;
    health->verdict = verdict_of_all(health);
    if (health->verdict != HEALTH_GOOD)
        health->good_since_ms = -1;
    else if (before != HEALTH_GOOD)
        health->good_since_ms = now_ms;
    it->due_ms = next_on_grid(health->first_ms, step_ms(health, it, now_ms), now_ms);
    return health->verdict != before;
}
