/* SPDX-License-Identifier: Apache-2.0
 *
 * The state machine as one table and one move, the step, and what follows from verdicts.
 */
#include "captain/core/rollout.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "captain/core/rollout_private.h"
#include "common/base/mem.h"

#define TO(state) (1u << ROLLOUT_##state)

static const struct {
    const char *name;
    unsigned to;
} table[ROLLOUT_STATES] = {
    [ROLLOUT_PENDING] = {"pending", TO(RUNNING) | TO(PAUSED) | TO(ABORTING) | TO(SUPERSEDED)},
    [ROLLOUT_RUNNING] = {"running",
                         TO(PAUSED) | TO(HELD) | TO(SUCCEEDED) | TO(ABORTING) | TO(SUPERSEDED)},
    [ROLLOUT_PAUSED] = {"paused", TO(RUNNING) | TO(HELD) | TO(ABORTING) | TO(SUPERSEDED)},
    /* ROLLING_BACK and ABORTED: from HELD by a rollback that failed, by a person. */
    [ROLLOUT_HELD] = {"held", TO(RUNNING) | TO(PAUSED) | TO(ABORTING) | TO(ROLLING_BACK) |
                                  TO(ABORTED) | TO(SUPERSEDED)},
    [ROLLOUT_SUCCEEDED] = {"succeeded", TO(ABORTING) | TO(SUPERSEDED)},
    [ROLLOUT_ABORTING] = {"aborting", TO(ROLLING_BACK) | TO(SUPERSEDED)},
    [ROLLOUT_ROLLING_BACK] = {"rolling_back", TO(ABORTED) | TO(HELD) | TO(SUPERSEDED)},
    [ROLLOUT_ABORTED] = {"aborted", TO(SUPERSEDED)},
    [ROLLOUT_SUPERSEDED] = {"superseded", 0},
};

const char *rollout_state_name(enum rollout_state state)
{
    return (unsigned)state < ROLLOUT_STATES ? table[state].name : "unknown";
}

bool rollout_may_move(enum rollout_state from, enum rollout_state to)
{
    return (unsigned)from < ROLLOUT_STATES && (unsigned)to < ROLLOUT_STATES &&
           table[from].to & 1u << to;
}

static bool is_end(enum rollout_state state)
{
    return state == ROLLOUT_SUCCEEDED || state == ROLLOUT_ABORTED || state == ROLLOUT_SUPERSEDED;
}

void rollout_move(struct rollout *r, enum rollout_state to, const struct gate_result *cause)
{
    if (r->leader)
        return; /* a replay goes where its leader goes */
    assert(rollout_may_move(r->state, to));
    struct rollout_effect effect = {.kind = ROLLOUT_MOVED, .member = ROLLOUT_NONE};
    effect.u.moved.from = r->state;
    effect.u.moved.to = to;
    if (cause)
        effect.u.moved.cause = *cause;
    r->state = to;
    rollout_emit(r, &effect);
    if (is_end(to))
        rollout_emit(r, &(struct rollout_effect){
                            .kind = ROLLOUT_FINISHED, .member = ROLLOUT_NONE, .u.finished = to});
}

bool rollout_is_forward(const struct rollout *r)
{
    return r->state <= ROLLOUT_SUCCEEDED &&
           !(r->state == ROLLOUT_HELD && r->held_gate == GATE_ROLLBACK);
}

bool rollout_is_backward(const struct rollout *r)
{
    return !rollout_is_forward(r) && r->state != ROLLOUT_SUPERSEDED && !r->keep;
}

bool rollout_is_gated(const struct rollout *r)
{
    if (r->wave == ROLLOUT_WAVE_NONE || !rollout_is_forward(r))
        return false;
    return r->state == ROLLOUT_RUNNING || r->state == ROLLOUT_PAUSED || r->state == ROLLOUT_HELD;
}

/* Effects */

void rollout_emit(struct rollout *r, const struct rollout_effect *effect)
{
    /* Steps leave room for what one input can cause; a replay of old inputs ignores effects. */
    assert(r->effects->len < ROLLOUT_EFFECTS_MAX);
    r->effects->at[r->effects->len++] = *effect;
}

void rollout_refuse(struct rollout *r, enum err_code code, const char *fmt, ...)
{
    struct rollout_effect effect = {.kind = ROLLOUT_REFUSED, .member = ROLLOUT_NONE};
    effect.u.refused.code = code;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(effect.u.refused.text, sizeof effect.u.refused.text, fmt, args);
    va_end(args);
    rollout_emit(r, &effect);
}

/* Going back */

void rollout_abort(struct rollout *r, bool keep, const struct gate_result *cause)
{
    r->keep = keep || !r->has_base;
    r->held_gate = 0;
    r->rollback_scan = ROLLOUT_NONE;
    r->progress_from_ms = r->now_ms;
    rollout_move(r, ROLLOUT_ABORTING, cause);
    if (keep)
        return;
    r->cut = 0;
    r->selectors = 0;
    for (uint32_t n = 0; n < r->named_len; n++)
        rollout_set_flags(r, r->named[n], 0, ROLLOUT_F_NAMED);
    r->named_len = 0;
    rollout_emit(r, &(struct rollout_effect){.kind = ROLLOUT_PUBLISH_BASE, .member = ROLLOUT_NONE});
}

/* Whom a rollback that stands still waits for is quarantined; a few a step. */
static void quarantine_rest(struct rollout *r)
{
    if (r->rollback_scan == ROLLOUT_NONE) {
        if (r->sums.to_go_back == 0 || r->now_ms < r->progress_from_ms + r->policy.rollback_ms)
            return;
        r->rollback_scan = 0;
    }
    for (; r->rollback_scan < r->len && r->sums.to_go_back > 0; r->rollback_scan++) {
        const struct rollout_member *m = &r->members[r->rollback_scan];
        const bool waited = m->device == ROLLOUT_APPLYING || m->device == ROLLOUT_HEALTHY ||
                            m->device == ROLLOUT_UNHEALTHY || m->device == ROLLOUT_FAILED ||
                            m->device == ROLLOUT_RETURNING;
        if (!waited || m->flags & (ROLLOUT_F_DELETED | ROLLOUT_F_LEASED))
            continue;
        if (r->effects->len + ROLLOUT_EFFECTS_ROOM >= ROLLOUT_EFFECTS_MAX) {
            r->effects->more = true;
            return;
        }
        rollout_quarantine(r, r->rollback_scan,
                           m->flags & ROLLOUT_F_LOST ? POLICY_SILENT : POLICY_TIMED_OUT);
    }
    r->rollback_scan = ROLLOUT_NONE;
    r->progress_from_ms = r->now_ms;
}

static void hold_rollback(struct rollout *r)
{
    struct gate_result cause;
    memset(&cause, 0, sizeof cause);
    cause.verdict = GATE_HOLD;
    cause.gate = GATE_ROLLBACK;
    cause.reason = GATE_ROLLBACK_FAILED;
    cause.evidence.observed = r->sums.by_device[ROLLOUT_QUARANTINED];
    r->verdict = cause;
    r->held_gate = GATE_ROLLBACK;
    r->held_verdict = GATE_HOLD;
    rollout_move(r, ROLLOUT_HELD, &cause);
}

static bool step_back(struct rollout *r)
{
    if (r->state == ROLLOUT_ABORTING) {
        if (r->sums.leased_forward > 0)
            return false;
        rollout_move(r, ROLLOUT_ROLLING_BACK, NULL);
        return true;
    }
    if (!r->keep)
        quarantine_rest(r);
    if (!r->keep && r->sums.to_go_back > 0)
        return false;
    if (!r->keep && r->sums.by_device[ROLLOUT_QUARANTINED] > 0)
        hold_rollback(r);
    else
        rollout_move(r, ROLLOUT_ABORTED, NULL);
    return true;
}

/* Verdicts */

static double e_of(double log_e)
{
    return fmin(exp(log_e), 1e300);
}

static uint32_t metric_count(const struct rollout *r)
{
    return r->policy.metrics_len;
}

static void snapshot_counts(const struct rollout *r, struct gate_snapshot *ret)
{
    ret->n = r->sums.n;
    ret->healthy = r->sums.healthy;
    ret->failed = r->sums.failed;
    ret->failed_new = r->failed_new;
    memcpy(ret->class_new, r->class_new, sizeof ret->class_new);
    ret->outstanding = r->sums.outstanding;
    ret->last_wave = r->wave + 1 == r->policy.waves_len;
    ret->coverage_from_ms = r->coverage_from_ms;
    ret->missing_acked = r->missing_acked;
    ret->dwelt = r->sums.dwelt;
    ret->soak_ms = r->soak_ms;
    if (r->nth_rank > 0)
        ret->quorum_dwelt_ms = rollout_ds_ms(r, r->members[r->nth].phase_ds) + r->soak_ms;
}

static void snapshot_evidence(const struct rollout *r, struct gate_snapshot *ret)
{
    const uint32_t good = r->sums.assigned > r->rate_all ? r->sums.assigned - r->rate_all : 0;
    if (r->policy.rate.on)
        ret->rate_e = e_of(evalue_rate_log(r->policy.rate.p0, r->rate_new, good));
    ret->compare_e = e_of(evalue_compare_log(&r->compare));
    ret->compare_p = evalue_compare_p(&r->compare);
    ret->control = r->sums.control;
    ret->no_control_acked = r->no_control_acked;
}

static void fill_snapshot(const struct rollout *r, struct gate_snapshot *ret)
{
    memset(ret, 0, sizeof *ret);
    snapshot_counts(r, ret);
    snapshot_evidence(r, ret);
    for (uint32_t i = 0; i < metric_count(r); i++)
        ret->metrics[i] = r->metrics[i];
    ret->approvals = r->approved_len;
    ret->approvals_needed = r->policy.approvals + r->policy.waves[r->wave].approvals;
    ret->progress_stopped = r->progress_stopped;
    ret->progress_from_ms = r->progress_from_ms;
    ret->frozen = r->frozen;
    ret->no_base = !r->has_base;
    ret->waived = r->waived;
}

bool rollout_snapshot(const struct rollout *r, int64_t now_ms, struct gate_snapshot *ret)
{
    (void)now_ms; /* nothing in it depends on the time of looking */
    if (!rollout_is_gated(r))
        return false;
    fill_snapshot(r, ret);
    return true;
}

static bool is_same(const struct gate_result *a, const struct gate_result *b)
{
    return a->verdict == b->verdict && a->gate == b->gate && a->reason == b->reason;
}

static void evaluate(struct rollout *r)
{
    rollout_sync_nth(r);
    struct gate_snapshot snapshot;
    fill_snapshot(r, &snapshot);
    struct gate_eval eval;
    gate_eval(&r->policy, &snapshot, r->now_ms, &eval);
    r->until_ms = eval.until_ms;
    const bool changed = !is_same(&r->verdict, &eval.worst);
    r->verdict = eval.worst;
    if (!changed)
        return;
    struct rollout_effect effect = {.kind = ROLLOUT_VERDICT, .member = ROLLOUT_NONE};
    effect.u.verdict.wave = r->wave;
    effect.u.verdict.result = r->verdict;
    rollout_emit(r, &effect);
}

/* What holds only because there is no base to go back to is a failure still: no leases, no promote. */
static enum gate_verdict gravity(const struct rollout *r)
{
    switch (r->verdict.reason) {
    case GATE_LIMIT:
    case GATE_CLASS_LIMIT:
    case GATE_EVIDENCE:
    case GATE_THRESHOLD:
        return GATE_FAIL;
    default:
        return r->verdict.verdict;
    }
}

/* A gate takes hold when none has, or when it is worse than the one that has. */
static bool hold(struct rollout *r)
{
    if (r->held_gate && gravity(r) <= r->held_verdict)
        return false;
    r->held_gate = r->verdict.gate;
    r->held_verdict = gravity(r);
    if (r->state != ROLLOUT_RUNNING)
        return false;
    rollout_move(r, ROLLOUT_HELD, &r->verdict);
    return true;
}

/* One consequence of the verdict; true when there may be another. */
static bool follow_verdict(struct rollout *r)
{
    evaluate(r);
    if (r->leader)
        return false;
    if (r->verdict.verdict == GATE_FAIL && r->policy.on_fail == POLICY_FAIL_ABORT) {
        rollout_abort(r, false, &r->verdict);
        return true;
    }
    if (r->verdict.verdict >= GATE_HOLD)
        return hold(r);
    if (r->verdict.verdict != GATE_PASS || r->state != ROLLOUT_RUNNING)
        return false;
    if (r->wave + 1 < r->policy.waves_len)
        rollout_open_wave(r, r->wave + 1);
    else
        rollout_move(r, ROLLOUT_SUCCEEDED, &r->verdict);
    return true;
}

static bool settle_once(struct rollout *r)
{
    switch (r->state) {
    case ROLLOUT_PENDING:
        if (r->frozen)
            return false;
        rollout_move(r, ROLLOUT_RUNNING, NULL);
        return !r->leader;
    case ROLLOUT_RUNNING:
        if (r->wave == ROLLOUT_WAVE_NONE) {
            if (r->frozen || r->leader)
                return false;
            rollout_open_wave(r, 0);
        }
        return follow_verdict(r);
    case ROLLOUT_PAUSED:
    case ROLLOUT_HELD:
        return rollout_is_gated(r) && follow_verdict(r);
    case ROLLOUT_ABORTING:
    case ROLLOUT_ROLLING_BACK:
        return !r->leader && step_back(r);
    default:
        return false;
    }
}

static void settle(struct rollout *r)
{
    while (settle_once(r)) {
        if (r->effects->len + 5 > ROLLOUT_EFFECTS_MAX) {
            r->effects->more = true;
            return;
        }
    }
}

/* Time that the progress clock stood is not counted. */
static void run_clocks(struct rollout *r, int64_t now_ms)
{
    if (r->progress_stopped && now_ms > r->now_ms)
        r->progress_from_ms += now_ms - r->now_ms;
    r->now_ms = now_ms;
    if (r->windows_change_ms > 0 && now_ms >= r->windows_change_ms)
        rollout_update_windows(r);
}

static void stop_clocks(struct rollout *r)
{
    const uint32_t decided = r->sums.healthy + r->sums.failed;
    const bool idle = decided >= r->sums.n && r->sums.outstanding == 0;
    r->progress_stopped =
        rollout_is_gated(r) && (r->frozen || r->state == ROLLOUT_PAUSED || !r->windows_open ||
                                idle || (r->state == ROLLOUT_HELD && r->held_verdict == GATE_FAIL));
}

static void apply_device(struct rollout *r, const struct rollout_input *input)
{
    switch (input->kind) {
    case ROLLOUT_IN_ASK:
        rollout_ask(r, input);
        return;
    case ROLLOUT_IN_RETURN:
        rollout_return(r, input);
        return;
    case ROLLOUT_IN_REPORT:
        rollout_report(r, input);
        return;
    case ROLLOUT_IN_CONTROL_FAILED:
        rollout_seen(r, input->member);
        if (rollout_is_assigned(&r->members[input->member]))
            r->ignored++;
        else
            rollout_fail_control(r, input->member);
        return;
    case ROLLOUT_IN_SILENT:
        rollout_silent(r, input->member, input->u.silent.since_ms);
        return;
    case ROLLOUT_IN_SEEN:
        rollout_seen(r, input->member);
        return;
    case ROLLOUT_IN_DELETE:
        rollout_take_out(r, input->member, ROLLOUT_F_DELETED);
        return;
    default:
        rollout_operator(r, input);
    }
}

static bool names_member(enum rollout_input_kind kind)
{
    return (kind >= ROLLOUT_IN_ASK && kind <= ROLLOUT_IN_DELETE && kind != ROLLOUT_IN_JOIN) ||
           kind == ROLLOUT_IN_RETRY || kind == ROLLOUT_IN_EXCLUDE;
}

static void apply(struct rollout *r, const struct rollout_input *input)
{
    if (input->kind == ROLLOUT_IN_START)
        rollout_begin(r, input);
    else if (!r->started)
        rollout_refuse(r, ERR_USAGE, "the rollout has not begun");
    else if (names_member(input->kind) && input->member >= r->len)
        rollout_refuse(r, ERR_NOT_FOUND, "the rollout has no device %u", input->member);
    else if (input->kind == ROLLOUT_IN_JOIN)
        rollout_join(r, &input->u.join);
    else
        apply_device(r, input);
}

void rollout_step(struct rollout *r, const struct rollout_input *input, struct rollout_effects *ret)
{
    ret->len = 0;
    ret->more = false;
    r->effects = ret;
    r->inputs++;
    run_clocks(r, input->now_ms > r->now_ms ? input->now_ms : r->now_ms);
    if (r->started)
        rollout_expire(r);
    stop_clocks(r);
    apply(r, input);
    if (r->started) {
        rollout_expire(r); /* a soak of no length, a window just given */
        stop_clocks(r);
        settle(r);
        stop_clocks(r);
    }
    r->effects = NULL;
}

static void earlier(int64_t *until_ms, bool is, int64_t candidate_ms)
{
    if (is && candidate_ms > 0 && (*until_ms == 0 || candidate_ms < *until_ms))
        *until_ms = candidate_ms;
}

int64_t rollout_deadline_ms(const struct rollout *r)
{
    int64_t until_ms = 0;
    if (!r->started || r->state == ROLLOUT_SUPERSEDED)
        return 0;
    earlier(&until_ms, rollout_is_gated(r), r->until_ms);
    earlier(&until_ms, r->leases.len > 0,
            r->leases.len ? rollout_ds_ms(r, r->members[r->leases.head].phase_ds) : 0);
    earlier(&until_ms, r->dwelling.len > 0,
            r->dwelling.len ? rollout_ds_ms(r, r->members[r->dwelling.head].phase_ds) + r->soak_ms
                            : 0);
    earlier(&until_ms, r->lost.len > 0,
            r->lost.len ? rollout_ds_ms(r, r->members[r->lost.head].lost_ds) + r->policy.silent_ms
                        : 0);
    earlier(&until_ms, r->state == ROLLOUT_ROLLING_BACK && !r->keep,
            r->progress_from_ms + r->policy.rollback_ms);
    earlier(&until_ms, rollout_is_gated(r), r->windows_change_ms);
    return until_ms;
}

struct rollout *rollout_new(void)
{
    struct rollout *r = mem_new(1, sizeof *r);
    const struct rollout_list empty = {ROLLOUT_NONE, ROLLOUT_NONE, 0};
    r->wave = ROLLOUT_WAVE_NONE;
    r->leases = r->dwelling = r->lost = empty;
    r->nth = ROLLOUT_NONE;
    r->rollback_scan = ROLLOUT_NONE;
    r->windows_open = true;
    return r;
}

void rollout_free(struct rollout *r)
{
    if (!r)
        return;
    mem_free(r->members);
    mem_free(r->hash);
    mem_free(r->stratum);
    mem_free(r->order);
    mem_free(r->strata);
    mem_free(r->quota);
    mem_free(r->canary_risk);
    mem_free(r->control_risk);
    mem_free(r->book.sites);
    mem_free(r->book.group_in_flight);
    mem_free(r);
}
