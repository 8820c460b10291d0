/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/core/gate.h"

#include <math.h>
#include <string.h>

#include "common/base/mem.h"

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t max_u32(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

uint32_t gate_failures_limit(const struct policy *policy, uint32_t n)
{
    const uint32_t share = (uint32_t)((uint64_t)policy->failures.max_percent * n / 100);
    return max_u32(policy->failures.min_abs, min_u32(policy->failures.max_abs, share));
}

uint32_t gate_quorum(const struct policy *policy, uint32_t n)
{
    /* 0.9 * 10 may come out a hair above 9: that must not ask for the tenth device. */
    const double wanted = policy->coverage.quorum * (double)n;
    const uint32_t quorum = (uint32_t)ceil(wanted - 1e-9 * fmax(1, wanted));
    return max_u32(1, min_u32(quorum, n));
}

uint32_t gate_max_missing(const struct policy *policy, uint32_t n)
{
    if (policy->coverage.max_missing_set)
        return policy->coverage.max_missing;
    return n < 10 ? 0 : n / 10;
}

static uint32_t decided(const struct gate_snapshot *snapshot)
{
    return snapshot->healthy + snapshot->failed;
}

static uint32_t missing(const struct gate_snapshot *snapshot)
{
    return snapshot->n - min_u32(snapshot->n, decided(snapshot));
}

static int64_t coverage_deadline_ms(const struct policy *policy,
                                    const struct gate_snapshot *snapshot)
{
    return snapshot->coverage_from_ms + policy->coverage.deadline_ms;
}

static void put(struct gate_result *ret, enum gate_verdict verdict, enum gate_reason reason)
{
    ret->verdict = verdict;
    ret->reason = reason;
}

static void coverage_overdue(const struct policy *policy, const struct gate_snapshot *snapshot,
                             struct gate_result *ret)
{
    const enum gate_verdict bad =
        policy->coverage.on_missing == POLICY_ON_FAIL ? GATE_FAIL : GATE_HOLD;
    const uint32_t allowed =
        max_u32(gate_max_missing(policy, snapshot->n), snapshot->missing_acked);
    ret->evidence.observed = missing(snapshot);
    ret->evidence.threshold = allowed;
    if (decided(snapshot) == 0)
        put(ret, bad, GATE_NO_DATA);
    else if (missing(snapshot) > allowed)
        put(ret, bad, GATE_MISSING);
}

static void coverage(const struct policy *policy, const struct gate_snapshot *snapshot,
                     int64_t now_ms, struct gate_result *ret)
{
    if (snapshot->n == 0) {
        put(ret, GATE_HOLD, GATE_NO_ELIGIBLE);
        return;
    }
    ret->evidence.observed = decided(snapshot);
    ret->evidence.threshold = gate_quorum(policy, snapshot->n);
    if (decided(snapshot) < gate_quorum(policy, snapshot->n)) {
        if (now_ms < coverage_deadline_ms(policy, snapshot)) {
            put(ret, GATE_WAIT, GATE_WAITING_REPORTS);
            ret->until_ms = coverage_deadline_ms(policy, snapshot);
            return;
        }
        coverage_overdue(policy, snapshot, ret);
    }
    if (ret->verdict == GATE_PASS && snapshot->last_wave && snapshot->outstanding > 0) {
        put(ret, GATE_WAIT, GATE_COMPLETING);
        ret->evidence.observed = snapshot->outstanding;
        ret->evidence.threshold = 0;
    }
}

static void failures(const struct policy *policy, const struct gate_snapshot *snapshot,
                     int64_t now_ms, struct gate_result *ret)
{
    (void)now_ms;
    const uint32_t limit = gate_failures_limit(policy, snapshot->n);
    ret->evidence.observed = snapshot->failed_new;
    ret->evidence.threshold = limit;
    if (snapshot->failed_new > limit) {
        put(ret, GATE_FAIL, GATE_LIMIT);
        return;
    }
    for (uint32_t class = 0; class < POLICY_CLASSES; class ++) {
        if (snapshot->class_new[class] <= policy->failures.class_limit[class])
            continue;
        put(ret, GATE_FAIL, GATE_CLASS_LIMIT);
        ret->evidence.class = class;
        ret->evidence.observed = snapshot->class_new[class];
        ret->evidence.threshold = policy->failures.class_limit[class];
        return;
    }
}

static void rate(const struct policy *policy, const struct gate_snapshot *snapshot, int64_t now_ms,
                 struct gate_result *ret)
{
    (void)now_ms;
    if (!policy->rate.on) {
        ret->reason = GATE_OFF;
        return;
    }
    ret->evidence.observed = snapshot->rate_e;
    ret->evidence.threshold = 1 / policy->rate.alpha;
    if (snapshot->rate_e >= 1 / policy->rate.alpha)
        put(ret, GATE_FAIL, GATE_EVIDENCE);
}

static bool may_lack_control(const struct policy *policy, const struct gate_snapshot *snapshot)
{
    if (snapshot->no_control_acked || policy->compare.no_control == POLICY_NO_CONTROL_ALWAYS)
        return true;
    return policy->compare.no_control == POLICY_NO_CONTROL_LAST && snapshot->last_wave;
}

static void compare(const struct policy *policy, const struct gate_snapshot *snapshot,
                    int64_t now_ms, struct gate_result *ret)
{
    (void)now_ms;
    if (!policy->compare.on) {
        ret->reason = GATE_OFF;
        return;
    }
    ret->evidence.observed = snapshot->compare_e;
    ret->evidence.threshold = 1 / policy->compare.alpha;
    ret->evidence.p = snapshot->compare_p;
    if (snapshot->compare_e >= 1 / policy->compare.alpha) {
        put(ret, GATE_FAIL, GATE_EVIDENCE);
    } else if (snapshot->control < policy->compare.min_control &&
               !may_lack_control(policy, snapshot)) {
        put(ret, GATE_HOLD, GATE_NO_CONTROL);
        ret->evidence.observed = snapshot->control;
        ret->evidence.threshold = policy->compare.min_control;
    }
}

/* How many must have dwelt: the quorum, of which the failed are decided already; after the coverage
 * deadline those that are healthy. Never nobody. */
static uint32_t soak_needed(const struct policy *policy, const struct gate_snapshot *snapshot,
                            int64_t now_ms)
{
    const uint32_t quorum = gate_quorum(policy, snapshot->n);
    uint32_t needed = quorum - min_u32(quorum, snapshot->failed);
    if (now_ms >= coverage_deadline_ms(policy, snapshot))
        needed = min_u32(needed, snapshot->healthy);
    return max_u32(1, needed);
}

static void soak(const struct policy *policy, const struct gate_snapshot *snapshot, int64_t now_ms,
                 struct gate_result *ret)
{
    const uint32_t needed = soak_needed(policy, snapshot, now_ms);
    ret->evidence.observed = snapshot->dwelt;
    ret->evidence.threshold = needed;
    if (snapshot->dwelt >= needed)
        return;
    if (snapshot->n > 0 && decided(snapshot) >= snapshot->n && snapshot->healthy == 0) {
        put(ret, GATE_HOLD, GATE_NO_DATA); /* nobody is left who could dwell */
        return;
    }
    put(ret, GATE_WAIT, GATE_DWELLING);
    if (snapshot->healthy >= needed)
        ret->until_ms = snapshot->quorum_dwelt_ms;
}

static bool is_fresh(const struct policy_metric *metric, const struct gate_metric_state *state,
                     int64_t now_ms)
{
    return now_ms - state->last_ms <= metric->max_age_ms;
}

static void one_metric(const struct policy_metric *metric, const struct gate_metric_state *state,
                       int64_t now_ms, struct gate_result *ret)
{
    const int64_t deadline_ms = state->deadline_from_ms + metric->deadline_ms;
    ret->evidence.observed = state->last_value;
    ret->evidence.threshold = metric->limit;
    if (state->failed > metric->failure_limit) {
        put(ret, GATE_FAIL, GATE_THRESHOLD);
    } else if (state->inconclusive > metric->inconclusive_limit) {
        put(ret, GATE_HOLD, GATE_INCONCLUSIVE);
    } else if (state->errors > metric->error_limit) {
        put(ret, GATE_HOLD, GATE_SOURCE_ERROR);
    } else if (state->passed >= metric->count && is_fresh(metric, state, now_ms)) {
        ret->until_ms = state->last_ms + metric->max_age_ms + 1;
    } else if (now_ms < deadline_ms) {
        put(ret, GATE_WAIT, state->passed >= metric->count ? GATE_STALE : GATE_MEASURING);
        ret->until_ms = deadline_ms;
    } else {
        put(ret, GATE_HOLD, state->passed >= metric->count ? GATE_STALE : GATE_NO_DATA);
    }
}

static void earlier(int64_t *until_ms, int64_t candidate_ms)
{
    if (candidate_ms > 0 && (*until_ms == 0 || candidate_ms < *until_ms))
        *until_ms = candidate_ms;
}

static void metrics(const struct policy *policy, const struct gate_snapshot *snapshot,
                    int64_t now_ms, struct gate_result *ret)
{
    if (policy->metrics_len == 0)
        ret->reason = GATE_OFF;
    int64_t until_ms = 0;
    for (uint32_t i = 0; i < policy->metrics_len; i++) {
        struct gate_result one = *ret;
        put(&one, GATE_PASS, GATE_OK);
        one.until_ms = 0;
        one.evidence.metric = i;
        one_metric(&policy->metrics[i], &snapshot->metrics[i], now_ms, &one);
        earlier(&until_ms, one.until_ms);
        if (i == 0 || one.verdict > ret->verdict)
            *ret = one;
    }
    ret->until_ms = until_ms;
}

static void approval(const struct policy *policy, const struct gate_snapshot *snapshot,
                     int64_t now_ms, struct gate_result *ret)
{
    (void)policy;
    (void)now_ms;
    ret->evidence.observed = snapshot->approvals;
    ret->evidence.threshold = snapshot->approvals_needed;
    if (snapshot->approvals < snapshot->approvals_needed)
        put(ret, GATE_WAIT, GATE_APPROVALS);
    else if (snapshot->approvals_needed == 0)
        ret->reason = GATE_OFF;
}

static void progress(const struct policy *policy, const struct gate_snapshot *snapshot,
                     int64_t now_ms, struct gate_result *ret)
{
    if (snapshot->progress_stopped)
        return;
    const int64_t deadline_ms = snapshot->progress_from_ms + policy->progress_ms;
    ret->evidence.observed = (double)(now_ms - snapshot->progress_from_ms);
    ret->evidence.threshold = (double)policy->progress_ms;
    if (now_ms >= deadline_ms)
        put(ret, GATE_HOLD, GATE_NO_PROGRESS);
    else
        ret->until_ms = deadline_ms;
}

static void freeze(const struct policy *policy, const struct gate_snapshot *snapshot,
                   int64_t now_ms, struct gate_result *ret)
{
    (void)policy;
    (void)now_ms;
    if (snapshot->frozen)
        put(ret, GATE_WAIT, GATE_FROZEN);
}

typedef void (*gate_fn)(const struct policy *policy, const struct gate_snapshot *snapshot,
                        int64_t now_ms, struct gate_result *ret);

static const gate_fn gates[GATE_IDS] = {
    [GATE_COVERAGE] = coverage, [GATE_FAILURES] = failures, [GATE_RATE] = rate,
    [GATE_COMPARE] = compare,   [GATE_SOAK] = soak,         [GATE_METRIC] = metrics,
    [GATE_APPROVAL] = approval, [GATE_PROGRESS] = progress, [GATE_FREEZE] = freeze,
};

static void one_gate(const struct policy *policy, const struct gate_snapshot *snapshot,
                     int64_t now_ms, enum gate_id id, struct gate_result *ret)
{
    ret->gate = id;
    ret->evidence.n = snapshot->n;
    ret->evidence.healthy = snapshot->healthy;
    ret->evidence.failed = snapshot->failed;
    ret->evidence.missing = missing(snapshot);
    gates[id](policy, snapshot, now_ms, ret);
    if (ret->verdict == GATE_FAIL && snapshot->no_base)
        ret->verdict = GATE_HOLD; /* there is nothing to go back to */
    else if (ret->verdict != GATE_FAIL && snapshot->waived & 1u << id)
        ret->verdict = GATE_PASS;
}

void gate_eval(const struct policy *policy, const struct gate_snapshot *snapshot, int64_t now_ms,
               struct gate_eval *ret)
{
    memset(ret, 0, sizeof *ret);
    for (enum gate_id id = GATE_COVERAGE; id <= GATE_FREEZE; id++) {
        struct gate_result *gate = &ret->gates[id];
        one_gate(policy, snapshot, now_ms, id, gate);
        earlier(&ret->until_ms, gate->until_ms);
        if (id == GATE_COVERAGE || gate->verdict > ret->worst.verdict)
            ret->worst = *gate;
    }
}
