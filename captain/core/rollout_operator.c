/* SPDX-License-Identifier: Apache-2.0
 *
 * What operators, the fleet's flags and the sources of metrics say.
 */
#include <math.h>
#include <string.h>

#include "captain/core/rollout_private.h"

void rollout_update_windows(struct rollout *r)
{
    r->windows_open = false;
    r->windows_change_ms = 0;
    for (uint32_t s = 0; s < r->book.sites_len; s++) {
        int64_t change_ms;
        if (lease_window_open(&r->book.sites[s], r->now_ms, &change_ms))
            r->windows_open = true;
        if (change_ms > 0 && (r->windows_change_ms == 0 || change_ms < r->windows_change_ms))
            r->windows_change_ms = change_ms;
    }
    if (r->book.sites_len == 0)
        r->windows_open = true;
}

static void set_windows(struct rollout *r, const struct rollout_input *input)
{
    if (input->u.windows.site >= r->book.sites_len) {
        rollout_refuse(r, ERR_NOT_FOUND, "no device of the rollout is at site %u",
                       input->u.windows.site);
        return;
    }
    struct lease_site *site = &r->book.sites[input->u.windows.site];
    site->windowed = input->u.windows.windowed;
    site->windows = input->u.windows.windows;
    site->windows_len = input->u.windows.len;
    rollout_update_windows(r);
}

static void pause_it(struct rollout *r)
{
    if (r->state == ROLLOUT_PAUSED)
        return;
    if (!rollout_is_forward(r) || !rollout_may_move(r->state, ROLLOUT_PAUSED))
        rollout_refuse(r, ERR_CONFLICT, "a rollout that is %s cannot be paused",
                       rollout_state_name(r->state));
    else
        rollout_move(r, ROLLOUT_PAUSED, NULL);
}

/* What a person has seen does not hold again; only what comes after does. */
static void acknowledge(struct rollout *r, enum gate_id gate)
{
    const uint32_t decided = r->sums.healthy + r->sums.failed;
    switch (gate) {
    case GATE_COVERAGE:
        r->missing_acked = r->sums.n > decided ? r->sums.n - decided : 0;
        if (decided == 0)
            r->coverage_from_ms = r->now_ms; /* never PASS without data: the wait begins again */
        return;
    case GATE_FAILURES:
        r->failed_new = 0;
        memset(r->class_new, 0, sizeof r->class_new);
        return;
    case GATE_RATE:
        r->rate_new = 0;
        return;
    case GATE_COMPARE:
        if (r->verdict.reason == GATE_NO_CONTROL)
            r->no_control_acked = true;
        else
            r->compare = (struct evalue_compare){0};
        return;
    case GATE_METRIC:
        memset(r->metrics, 0, sizeof r->metrics);
        for (uint32_t k = 0; k < POLICY_METRICS_MAX; k++)
            r->metrics[k].deadline_from_ms = r->now_ms;
        return;
    case GATE_PROGRESS:
        r->progress_from_ms = r->now_ms;
        return;
    default:
        return;
    }
}

static void resume_held(struct rollout *r, enum gate_id gate, uint32_t wave)
{
    if (gate != r->held_gate || (gate != GATE_ROLLBACK && wave != r->wave)) {
        rollout_refuse(r, ERR_CONFLICT, "held by gate %s of wave %u; resume exactly that",
                       gate_name(r->held_gate), r->wave + 1);
        return;
    }
    r->held_gate = 0;
    if (gate == GATE_ROLLBACK) {
        rollout_move(r, ROLLOUT_ABORTED, NULL);
        return;
    }
    acknowledge(r, gate);
    rollout_move(r, ROLLOUT_RUNNING, NULL);
    if (gate == GATE_COVERAGE && r->sums.n == 0 && !r->leader)
        rollout_open_wave(r, r->wave); /* who is eligible now */
}

static void resume(struct rollout *r, const struct rollout_input *input)
{
    const enum gate_id gate = input->u.resume.gate;
    if (r->state == ROLLOUT_HELD) {
        resume_held(r, gate, input->u.resume.wave);
    } else if (r->state == ROLLOUT_PAUSED && gate == 0) {
        rollout_move(r, r->held_gate ? ROLLOUT_HELD : ROLLOUT_RUNNING,
                     r->held_gate ? &r->verdict : NULL);
    } else if (r->state != ROLLOUT_RUNNING || gate != 0) {
        rollout_refuse(r, ERR_CONFLICT, "the rollout is %s, %s", rollout_state_name(r->state),
                       r->state == ROLLOUT_PAUSED ? "by an operator and not by a gate"
                                                  : "there is nothing to resume");
    }
}

static void promote(struct rollout *r)
{
    if (!rollout_is_gated(r) || r->state == ROLLOUT_PAUSED) {
        rollout_refuse(r, ERR_CONFLICT, "a rollout that is %s has no wave to promote",
                       rollout_state_name(r->state));
        return;
    }
    if (r->wave + 1 == r->policy.waves_len) {
        rollout_refuse(r, ERR_CONFLICT, "the last wave ends when its devices are healthy");
        return;
    }
    if (r->verdict.verdict == GATE_FAIL || (r->held_gate && r->held_verdict == GATE_FAIL)) {
        rollout_refuse(r, ERR_CONFLICT, "gate %s has failed; a failed gate is not passed by",
                       gate_name(r->verdict.gate));
        return;
    }
    r->waived = ~0u & ~(1u << GATE_FREEZE);
    r->held_gate = 0;
    if (r->state == ROLLOUT_HELD)
        rollout_move(r, ROLLOUT_RUNNING, NULL);
}

static void abort_it(struct rollout *r, bool keep)
{
    /* In every state, and twice: where it is on its way back or over, nothing is left to do. */
    if (rollout_is_forward(r))
        rollout_abort(r, keep, NULL);
}

/* From quarantine the device is waited for again; from the box it may try again. */
static void retry(struct rollout *r, uint32_t i)
{
    struct rollout_member *m = &r->members[i];
    const bool quarantined = m->device == ROLLOUT_QUARANTINED;
    const bool boxed = m->flags & ROLLOUT_F_BOXED || rollout_is_stranded(m);
    if (r->state == ROLLOUT_SUPERSEDED || r->state == ROLLOUT_SUCCEEDED ||
        r->state == ROLLOUT_ABORTED) {
        rollout_refuse(r, ERR_CONFLICT, "the rollout is %s", rollout_state_name(r->state));
        return;
    }
    if (m->flags & ROLLOUT_F_OUT || !(quarantined || boxed)) {
        rollout_refuse(r, ERR_CONFLICT,
                       "the device is neither in the penalty box nor in quarantine");
        return;
    }
    m->tries = 0;
    if (boxed)
        rollout_emit(r, &(struct rollout_effect){
                            .kind = ROLLOUT_UNBOXED, .member = i, .u.class = POLICY_CLASS_NONE});
    rollout_set_flags(r, i, 0, ROLLOUT_F_BOXED | ROLLOUT_F_FAILED | ROLLOUT_F_FLAPPED);
    if (quarantined)
        rollout_set_device(r, i, ROLLOUT_FAILED);
    m->lost_ds = rollout_ds(r, r->now_ms);
    rollout_watch(r, i);
    r->progress_from_ms = r->now_ms;
    if (r->state == ROLLOUT_HELD && r->held_gate == GATE_ROLLBACK && quarantined) {
        rollout_move(r, ROLLOUT_ROLLING_BACK, NULL);
        if (!r->leader)
            r->held_gate = 0;
    }
}

static void approve(struct rollout *r, const struct rollout_input *input)
{
    if (!rollout_is_gated(r) || input->u.approve.wave != r->wave) {
        rollout_refuse(r, ERR_CONFLICT, "wave %u is not open for approval",
                       input->u.approve.wave + 1);
        return;
    }
    for (uint32_t k = 0; k < r->approved_len; k++)
        if (r->approved[k] == input->u.approve.operator_id)
            return;
    if (r->approved_len < POLICY_APPROVALS_MAX)
        r->approved[r->approved_len++] = input->u.approve.operator_id;
}

static void supersede(struct rollout *r, bool to_base)
{
    if (to_base) {
        abort_it(r, false);
        return;
    }
    r->approved_len = 0;
    r->held_gate = 0;
    if (r->state != ROLLOUT_SUPERSEDED)
        rollout_move(r, ROLLOUT_SUPERSEDED, NULL);
}

static bool passes(const struct policy_metric *metric, double value)
{
    switch (metric->op) {
    case POLICY_OP_BELOW:
        return value < metric->limit;
    case POLICY_OP_AT_MOST:
        return value <= metric->limit;
    case POLICY_OP_ABOVE:
        return value > metric->limit;
    case POLICY_OP_AT_LEAST:
        return value >= metric->limit;
    }
    return false;
}

static void sample(struct rollout *r, const struct rollout_input *input)
{
    const uint32_t k = input->u.metric.metric;
    if (k >= r->policy.metrics_len || !rollout_is_gated(r)) {
        r->ignored++;
        return;
    }
    const struct policy_metric *metric = &r->policy.metrics[k];
    struct gate_metric_state *state = &r->metrics[k];
    const double value = input->u.metric.value;
    const bool stale = r->now_ms - input->u.metric.measured_ms > metric->max_age_ms;
    if (input->u.metric.sample == ROLLOUT_SAMPLE_ERROR) {
        state->errors++;
    } else if (input->u.metric.sample == ROLLOUT_SAMPLE_EMPTY || isnan(value) || stale) {
        state->inconclusive++;
    } else if (passes(metric, value)) {
        state->passed++;
        state->last_value = value;
        state->last_ms = input->u.metric.measured_ms;
    } else {
        state->failed++;
        state->last_value = value;
    }
}

static void change_policy(struct rollout *r, const struct policy *policy)
{
    struct err err;
    if (!rollout_is_forward(r) || r->state == ROLLOUT_SUCCEEDED) {
        rollout_refuse(r, ERR_CONFLICT, "the rollout is %s", rollout_state_name(r->state));
        return;
    }
    const bool begun = r->wave != ROLLOUT_WAVE_NONE;
    const enum err_code code =
        begun ? policy_check_change(&r->policy, policy, r->wave, &err) : policy_check(policy, &err);
    if (code != ERR_OK) {
        rollout_refuse(r, code, "%.200s", err.text);
        return;
    }
    r->policy_next = *policy;
    r->has_policy_next = true;
    r->approved_len = 0; /* given for what was asked then */
}

static void operate_devices(struct rollout *r, const struct rollout_input *input)
{
    switch (input->kind) {
    case ROLLOUT_IN_RETRY:
        retry(r, input->member);
        return;
    case ROLLOUT_IN_EXCLUDE:
        rollout_take_out(r, input->member, ROLLOUT_F_EXCLUDED);
        return;
    case ROLLOUT_IN_FREEZE:
        r->frozen = input->u.freeze.on;
        return;
    case ROLLOUT_IN_METRIC:
        sample(r, input);
        return;
    case ROLLOUT_IN_POLICY:
        change_policy(r, input->u.policy);
        return;
    case ROLLOUT_IN_WINDOWS:
        set_windows(r, input);
        return;
    default:
        return; /* TICK: time has passed, nothing else */
    }
}

void rollout_operator(struct rollout *r, const struct rollout_input *input)
{
    switch (input->kind) {
    case ROLLOUT_IN_PAUSE:
        pause_it(r);
        return;
    case ROLLOUT_IN_RESUME:
        resume(r, input);
        return;
    case ROLLOUT_IN_PROMOTE:
        promote(r);
        return;
    case ROLLOUT_IN_ABORT:
        abort_it(r, input->u.abort.keep);
        return;
    case ROLLOUT_IN_APPROVE:
        approve(r, input);
        return;
    case ROLLOUT_IN_SUPERSEDE:
        supersede(r, input->u.supersede.to_base);
        return;
    default:
        operate_devices(r, input);
    }
}
