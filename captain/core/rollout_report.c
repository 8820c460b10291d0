/* SPDX-License-Identifier: Apache-2.0
 *
 * What devices ask and say, and what their silence says.
 */
#include "captain/core/rollout_private.h"

enum { TRIES_BITS = 3, TRIES_MASK = 7, CLASS_SHIFT = 12, CLASS_MASK = 7 };

static uint32_t tries_of(const struct rollout_member *m, enum policy_class class)
{
    return (uint32_t)m->tries >> (class * TRIES_BITS) & TRIES_MASK;
}

static void note_class(struct rollout_member *m, enum policy_class class, bool one_more)
{
    uint32_t tries = m->tries & (((1u << CLASS_SHIFT) - 1) | ROLLOUT_TRIES_STRANDED);
    if (one_more)
        tries += 1u << (class * TRIES_BITS);
    m->tries = (uint16_t)(tries | (unsigned)class << CLASS_SHIFT);
}

static enum policy_class class_of(const struct rollout_member *m)
{
    return (enum policy_class)(m->tries >> CLASS_SHIFT & CLASS_MASK);
}

static bool is_over(const struct rollout_member *m)
{
    return m->device == ROLLOUT_FAILED || m->device == ROLLOUT_BACK ||
           m->device == ROLLOUT_QUARANTINED;
}

static void leave_dwell(struct rollout *r, uint32_t i)
{
    rollout_undwell(r, i);
    rollout_set_flags(r, i, 0, ROLLOUT_F_DWELT);
}

static void count_risk(struct rollout *r, uint32_t i)
{
    const struct rollout_member *m = &r->members[i];
    if (!(m->flags & ROLLOUT_F_AT_RISK))
        return;
    const uint16_t stratum = r->stratum[i];
    evalue_compare_add(&r->compare, r->policy.compare.tolerance, r->canary_risk[stratum],
                       r->control_risk[stratum], rollout_is_assigned(m));
}

static void emit_class(struct rollout *r, enum rollout_effect_kind kind, uint32_t i,
                       enum policy_class class)
{
    rollout_emit(r, &(struct rollout_effect){.kind = kind, .member = i, .u.class = class});
}

static void count_failure(struct rollout *r, uint32_t i, enum policy_class class)
{
    count_risk(r, i);
    rollout_set_flags(r, i, ROLLOUT_F_FAILED | ROLLOUT_F_BOXED, ROLLOUT_F_AT_RISK);
    r->failures[class]++;
    r->class_new[class]++;
    r->failed_new++;
    r->rate_new++;
    r->rate_all++;
    emit_class(r, ROLLOUT_BOXED, i, class);
}

/* An attempt, or the wait for one, ended badly. */
void rollout_fail_member(struct rollout *r, uint32_t i, enum policy_class class)
{
    struct rollout_member *m = &r->members[i];
    const bool never_tried = m->attempt == 0;
    leave_dwell(r, i);
    if (!never_tried)
        rollout_set_device(r, i, ROLLOUT_FAILED);
    if (!rollout_is_forward(r) || m->flags & (ROLLOUT_F_OUT | ROLLOUT_F_FAILED))
        return;
    r->progress_from_ms = r->now_ms;
    const bool retry = tries_of(m, class) < r->policy.retries[class];
    note_class(m, class, retry);
    if (!retry)
        count_failure(r, i, class);
}

/* A device on the base did what a failing canary does: evidence for compare, nothing else. */
void rollout_fail_control(struct rollout *r, uint32_t i)
{
    count_risk(r, i);
    rollout_set_flags(r, i, 0, ROLLOUT_F_AT_RISK);
    rollout_watch(r, i);
}

void rollout_quarantine(struct rollout *r, uint32_t i, enum policy_class class)
{
    if (r->members[i].device == ROLLOUT_QUARANTINED) {
        if (class == POLICY_FAILED) /* its own word outranks its silence */
            note_class(&r->members[i], class, false);
        return;
    }
    leave_dwell(r, i);
    note_class(&r->members[i], class, false);
    rollout_set_device(r, i, ROLLOUT_QUARANTINED);
    emit_class(r, ROLLOUT_IS_QUARANTINED, i, class);
}

/* Asks */

static bool may_have_target(const struct rollout_member *m)
{
    return m->device == ROLLOUT_APPLYING || m->device == ROLLOUT_HEALTHY ||
           m->device == ROLLOUT_UNHEALTHY || m->device == ROLLOUT_FAILED ||
           m->device == ROLLOUT_RETURNING || m->device == ROLLOUT_QUARANTINED;
}

static enum lease_answer admit_forward(const struct rollout *r, const struct rollout_member *m)
{
    if (!rollout_is_forward(r) || r->state == ROLLOUT_SUCCEEDED)
        return LEASE_ENDED;
    if (m->flags & ROLLOUT_F_EXCLUDED)
        return LEASE_EXCLUDED;
    if (m->flags & ROLLOUT_F_BOXED || m->device == ROLLOUT_QUARANTINED)
        return LEASE_BOXED;
    if (!rollout_is_assigned(m) || m->flags & ROLLOUT_F_DELETED)
        return LEASE_NOT_IN_WAVE;
    if (m->device == ROLLOUT_HEALTHY)
        return LEASE_DONE;
    if (r->state == ROLLOUT_PAUSED || r->state == ROLLOUT_PENDING)
        return LEASE_PAUSED;
    if (r->state == ROLLOUT_HELD && r->held_verdict == GATE_FAIL)
        return LEASE_HELD;
    return r->frozen ? LEASE_FROZEN : LEASE_GRANTED;
}

/* Whoever asks for the way back is not on the base, whatever is known of it here: a rollout that was
 * superseded may have left it on a third release. Only who is on the way to the target may not. */
static enum lease_answer admit_back(const struct rollout *r, const struct rollout_member *m)
{
    /* The base does not run there: to try it again and again would only keep the device down. */
    if (m->device == ROLLOUT_QUARANTINED && class_of(m) == POLICY_FAILED)
        return LEASE_BOXED;
    if (rollout_is_stranded(m))
        return LEASE_BOXED;
    const bool strays = !rollout_is_assigned(m) || m->flags & ROLLOUT_F_OUT;
    if (rollout_is_backward(r) || (rollout_is_forward(r) && strays))
        return LEASE_GRANTED;
    return LEASE_ENDED;
}

/* What stands against the ask apart from the caps. */
static enum lease_answer admit_member(const struct rollout *r, uint32_t i, uint32_t attempt,
                                      bool rollback)
{
    const struct rollout_member *m = &r->members[i];
    if (attempt <= m->attempt || attempt > ROLLOUT_ATTEMPT_MAX)
        return LEASE_STALE;
    if (rollback)
        return admit_back(r, m);
    return rollout_is_backward(r) ? LEASE_ENDED : admit_forward(r, m);
}

static struct lease_ask make_ask(const struct rollout *r, uint32_t i, bool rollback, int64_t now_ms)
{
    const struct rollout_stratum *stratum = &r->strata[r->stratum[i]];
    return (struct lease_ask){.site = stratum->site,
                              .group = stratum->group,
                              .rollback = rollback,
                              .successes = r->successes,
                              .now_ms = now_ms};
}

enum lease_answer rollout_would_answer(const struct rollout *r, uint32_t member, bool rollback,
                                       int64_t now_ms, int64_t *ret_retry_ms)
{
    *ret_retry_ms = 0;
    if (!r->started || member >= r->len)
        return LEASE_NOT_IN_WAVE;
    const enum lease_answer answer =
        admit_member(r, member, r->members[member].attempt + 1u, rollback);
    if (answer != LEASE_GRANTED)
        return answer;
    const struct lease_ask ask = make_ask(r, member, rollback, now_ms);
    return lease_admit(&r->book, &r->policy, &ask, ret_retry_ms);
}

enum lease_answer rollout_would_lease(const struct rollout *r, uint32_t member, int64_t now_ms,
                                      int64_t *ret_retry_ms)
{
    return rollout_would_answer(r, member, rollout_is_backward(r), now_ms, ret_retry_ms);
}

static void answer_ask(struct rollout *r, uint32_t i, uint32_t attempt, enum lease_answer answer,
                       int64_t retry_ms)
{
    struct rollout_effect effect = {.kind = ROLLOUT_LEASE, .member = i};
    effect.u.lease.answer = answer;
    effect.u.lease.attempt = attempt;
    effect.u.lease.retry_ms = retry_ms;
    if (answer == LEASE_GRANTED)
        effect.u.lease.until_ms = rollout_ds_ms(r, r->members[i].phase_ds);
    rollout_emit(r, &effect);
}

/* A rollback waits for it from now on; where nothing is waited for, it only holds a lease. */
static void set_out(struct rollout *r, uint32_t i, bool rollback)
{
    const bool waits = r->state == ROLLOUT_ABORTING || r->state == ROLLOUT_ROLLING_BACK ||
                       (r->state == ROLLOUT_HELD && r->held_gate == GATE_ROLLBACK);
    if (!rollback)
        rollout_set_device(r, i, ROLLOUT_APPLYING);
    else if (rollout_is_assigned(&r->members[i]) && (waits || may_have_target(&r->members[i])))
        rollout_set_device(r, i, ROLLOUT_RETURNING);
}

static void grant(struct rollout *r, uint32_t i, uint32_t attempt, bool rollback)
{
    rollout_undwell(r, i);
    struct rollout_member *m = rollout_take(r, i);
    m->attempt = (uint16_t)attempt;
    m->flaps = 0;
    m->flags &= (uint16_t)~ROLLOUT_F_FLAPPED;
    rollout_put(r, i);
    set_out(r, i, rollback);
    rollout_lease(r, i, r->now_ms + r->policy.admission.lease_ms, rollback);
}

/* A replay gives the leases that were given. */
static enum lease_answer led_answer(const struct rollout *r, uint32_t i, uint32_t attempt)
{
    const struct rollout_member *m = &r->leader->members[i];
    return m->flags & ROLLOUT_F_LEASED && m->attempt == attempt ? LEASE_GRANTED : LEASE_CAP_FLEET;
}

static void strand(struct rollout *r, uint32_t i)
{
    struct rollout_member *m = &r->members[i];
    if (rollout_is_assigned(m) || rollout_is_stranded(m))
        return;
    note_class(m, POLICY_FAILED, false);
    m->tries |= ROLLOUT_TRIES_STRANDED;
    emit_class(r, ROLLOUT_BOXED, i, POLICY_FAILED);
}

/* The attempt before, when nobody has said how it ended: it failed, and its report comes later than
 * the ask. Left open, a device that cannot go back would try for ever. */
static void end_unheard(struct rollout *r, uint32_t i, bool rollback)
{
    struct rollout_member *m = &r->members[i];
    const bool was_back = m->flags & ROLLOUT_F_LEASED && m->flags & ROLLOUT_F_BACKWARD;
    rollout_unlease(r, i);
    if (m->device == ROLLOUT_APPLYING && !rollback)
        rollout_fail_member(r, i, POLICY_FAILED);
    else if (m->device == ROLLOUT_RETURNING && rollback)
        rollout_quarantine(r, i, POLICY_FAILED);
    else if (was_back && rollback)
        strand(r, i);
}

void rollout_ask(struct rollout *r, const struct rollout_input *input)
{
    const uint32_t i = input->member;
    const uint32_t attempt = input->u.ask.attempt;
    const bool rollback = input->u.ask.rollback;
    struct rollout_member *m = &r->members[i];
    int64_t retry_ms = 0;
    rollout_seen(r, i);
    if (m->flags & ROLLOUT_F_LEASED && attempt == m->attempt && attempt > 0 &&
        rollback == !!(m->flags & ROLLOUT_F_BACKWARD)) {
        answer_ask(r, i, attempt, LEASE_GRANTED, 0); /* the answer was lost; the end stays */
        return;
    }
    if (attempt > m->attempt) {
        /* A device has one attempt at a time: asking for the next ends the one before. */
        end_unheard(r, i, rollback);
    }
    enum lease_answer answer = admit_member(r, i, attempt, rollback);
    if (r->leader) {
        answer = led_answer(r, i, attempt);
    } else if (answer == LEASE_GRANTED) {
        const struct lease_ask ask = make_ask(r, i, rollback, r->now_ms);
        answer = lease_admit(&r->book, &r->policy, &ask, &retry_ms);
    }
    if (answer == LEASE_GRANTED)
        grant(r, i, attempt, rollback);
    answer_ask(r, i, attempt, answer, retry_ms);
}

void rollout_return(struct rollout *r, const struct rollout_input *input)
{
    struct rollout_member *m = &r->members[input->member];
    if (!(m->flags & ROLLOUT_F_LEASED) || input->u.lease_return.attempt != m->attempt) {
        r->ignored++;
        return;
    }
    rollout_unlease(r, input->member);
    if (m->device == ROLLOUT_APPLYING)
        rollout_set_device(r, input->member,
                           rollout_is_forward(r) ? ROLLOUT_OFFERED : ROLLOUT_BACK);
    const bool waited = r->state == ROLLOUT_ABORTING || r->state == ROLLOUT_ROLLING_BACK;
    if (m->device == ROLLOUT_RETURNING && waited)
        rollout_set_device(r, input->member, ROLLOUT_FAILED);
    else if (m->device == ROLLOUT_RETURNING)
        rollout_quarantine(r, input->member, POLICY_FAILED); /* tried from quarantine, in vain */
}

/* Reports */

/* How many flaps this report tells of that were not known. */
static uint32_t new_flaps(struct rollout_member *m, uint32_t told, bool is_flap)
{
    if (told == 0 && is_flap && m->device == ROLLOUT_HEALTHY)
        told = m->flaps + 1u;
    if (told > UINT8_MAX)
        told = UINT8_MAX;
    if (told <= m->flaps)
        return 0;
    const uint32_t fresh = told - m->flaps;
    m->flaps = (uint8_t)told;
    return fresh;
}

static void flap(struct rollout *r, uint32_t i, uint32_t times)
{
    struct rollout_member *m = &r->members[i];
    const bool twice = times + !!(m->flags & ROLLOUT_F_FLAPPED) >= 2;
    leave_dwell(r, i);
    m->flags |= ROLLOUT_F_FLAPPED;
    if (twice && !is_over(m))
        rollout_fail_member(r, i, POLICY_FAILED);
}

/* The first word that the attempt was confirmed; a flap implies one. */
static void note_success(struct rollout *r, const struct rollout_member *m)
{
    if (rollout_is_forward(r) && m->device == ROLLOUT_APPLYING)
        r->successes++;
}

static void report_healthy(struct rollout *r, uint32_t i, uint32_t flaps)
{
    struct rollout_member *m = &r->members[i];
    const uint32_t times = new_flaps(m, flaps, false);
    rollout_unlease(r, i);
    if (m->device == ROLLOUT_QUARANTINED || (m->device == ROLLOUT_HEALTHY && times == 0))
        return;
    note_success(r, m);
    if (times > 0)
        flap(r, i, times);
    rollout_set_device(r, i, ROLLOUT_HEALTHY);
    if (rollout_is_forward(r) && m->flags & ROLLOUT_F_IN_N &&
        !(m->flags & (ROLLOUT_F_FAILED | ROLLOUT_F_OUT | ROLLOUT_F_DWELLING)))
        rollout_dwell(r, i);
}

static void report_unhealthy(struct rollout *r, uint32_t i, uint32_t flaps)
{
    struct rollout_member *m = &r->members[i];
    const uint32_t times = new_flaps(m, flaps, true);
    if (is_over(m) || m->device == ROLLOUT_RETURNING)
        return;
    if (times == 0)
        return;
    rollout_unlease(r, i);
    note_success(r, m);
    flap(r, i, times);
    if (!is_over(m))
        rollout_set_device(r, i, ROLLOUT_UNHEALTHY);
}

static void end_attempt(struct rollout *r, uint32_t i, enum policy_class class)
{
    rollout_unlease(r, i);
    if (!is_over(&r->members[i]))
        rollout_fail_member(r, i, class);
}

static void take_report(struct rollout *r, uint32_t i, enum rollout_report what, uint32_t flaps)
{
    switch (what) {
    case ROLLOUT_REPORT_APPLYING:
        if (r->members[i].device == ROLLOUT_OFFERED)
            rollout_set_device(r, i, ROLLOUT_APPLYING);
        return;
    case ROLLOUT_REPORT_HEALTHY:
        report_healthy(r, i, flaps);
        return;
    case ROLLOUT_REPORT_UNHEALTHY:
        report_unhealthy(r, i, flaps);
        return;
    case ROLLOUT_REPORT_FAILED:
        end_attempt(r, i, POLICY_FAILED);
        return;
    case ROLLOUT_REPORT_REJECTED:
        end_attempt(r, i, POLICY_REJECTED);
        rollout_set_device(r, i, ROLLOUT_BACK);
        return;
    case ROLLOUT_REPORT_ROLLED_BACK:
        if (r->members[i].device == ROLLOUT_OFFERED) {
            rollout_unlease(r, i); /* to the base from elsewhere; the target is still before it */
            return;
        }
        end_attempt(r, i, POLICY_FAILED);
        rollout_set_device(r, i, ROLLOUT_BACK);
        return;
    case ROLLOUT_REPORT_ROLLBACK_FAILED:
        end_attempt(r, i, POLICY_FAILED);
        if (rollout_is_forward(r) && !(r->members[i].flags & (ROLLOUT_F_OUT | ROLLOUT_F_FAILED)))
            count_failure(r, i, POLICY_FAILED); /* no retry can help it */
        rollout_quarantine(r, i, POLICY_FAILED);
        return;
    case ROLLOUT_REPORTS:
        return;
    }
}

static bool is_later(const struct rollout_member *m, const struct rollout_input *input)
{
    return m->sequence == 0 || (int32_t)(input->u.report.sequence - m->sequence) > 0;
}

/* Old attempts, repeated or overtaken events, and words of devices that were never offered. */
static bool is_news(const struct rollout_member *m, const struct rollout_input *input)
{
    const uint32_t attempt = input->u.report.attempt;
    if (attempt == 0 || attempt > ROLLOUT_ATTEMPT_MAX || attempt < m->attempt)
        return false;
    if (!rollout_is_assigned(m) || m->flags & ROLLOUT_F_DELETED)
        return false;
    return is_later(m, input);
}

/* One that was never offered goes back from a third release: its last word gives back the lease.
 * Whatever it says is no news any more when it is told again after the offer. */
static void hear_stray(struct rollout *r, const struct rollout_input *input)
{
    const enum rollout_report what = input->u.report.what;
    struct rollout_member *m = &r->members[input->member];
    const bool goes_on = what == ROLLOUT_REPORT_APPLYING || what == ROLLOUT_REPORT_UNHEALTHY;
    if (!is_later(m, input))
        return;
    m->sequence = input->u.report.sequence;
    if (goes_on || m->attempt == 0 || input->u.report.attempt != m->attempt)
        return;
    if (what == ROLLOUT_REPORT_ROLLBACK_FAILED)
        strand(r, input->member);
    rollout_unlease(r, input->member);
}

void rollout_report(struct rollout *r, const struct rollout_input *input)
{
    const uint32_t i = input->member;
    rollout_seen(r, i);
    struct rollout_member *m = &r->members[i];
    if (r->state != ROLLOUT_SUPERSEDED && !rollout_is_assigned(m))
        hear_stray(r, input);
    if (r->state == ROLLOUT_SUPERSEDED || !is_news(m, input)) {
        r->ignored++;
        return;
    }
    m->sequence = input->u.report.sequence;
    if (input->u.report.attempt > m->attempt) {
        /* Begun without a lease of ours (the channel allows it, or the answer came from before). */
        rollout_unlease(r, i);
        leave_dwell(r, i);
        rollout_take(r, i)->attempt = (uint16_t)input->u.report.attempt;
        rollout_put(r, i);
        m->flaps = 0;
        if (m->device != ROLLOUT_QUARANTINED)
            rollout_set_device(r, i, rollout_is_backward(r) ? ROLLOUT_RETURNING : ROLLOUT_APPLYING);
    }
    take_report(r, i, input->u.report.what, input->u.report.flaps);
    rollout_watch(r, i);
}

/* Time */

static bool has_room(struct rollout *r)
{
    if (r->effects->len + ROLLOUT_EFFECTS_ROOM < ROLLOUT_EFFECTS_MAX)
        return true;
    r->effects->more = true;
    return false;
}

static void end_lease(struct rollout *r, uint32_t i)
{
    struct rollout_member *m = &r->members[i];
    const bool foreign = m->attempt == 0;
    const bool backward = m->flags & ROLLOUT_F_BACKWARD;
    rollout_unlease(r, i);
    if (foreign || m->flags & ROLLOUT_F_DELETED)
        return;
    if (backward && m->device == ROLLOUT_RETURNING)
        rollout_quarantine(r, i, POLICY_TIMED_OUT);
    else if (!is_over(m) && m->device == ROLLOUT_APPLYING)
        rollout_fail_member(r, i, m->flags & ROLLOUT_F_LOST ? POLICY_SILENT : POLICY_TIMED_OUT);
    rollout_watch(r, i);
}

static void end_soak(struct rollout *r, uint32_t i)
{
    rollout_undwell(r, i);
    rollout_set_flags(r, i, ROLLOUT_F_DWELT, ROLLOUT_F_FLAPPED | ROLLOUT_F_AT_RISK);
    rollout_watch(r, i);
}

static void end_silence(struct rollout *r, uint32_t i)
{
    struct rollout_member *m = &r->members[i];
    if (!rollout_is_assigned(m)) {
        rollout_fail_control(r, i);
        return;
    }
    if (rollout_is_forward(r))
        rollout_fail_member(r, i, POLICY_SILENT);
    m->lost_ds = rollout_ds(r, r->now_ms); /* with a retry left the clock starts again */
    if (rollout_is_forward(r))
        rollout_watch(r, i);
    else
        rollout_unwatch(r, i);
}

static bool is_due(const struct rollout *r, uint32_t ds, int64_t after_ms)
{
    return rollout_ds_ms(r, ds) + after_ms <= r->now_ms;
}

void rollout_expire(struct rollout *r)
{
    while (r->leases.len > 0 && is_due(r, r->members[r->leases.head].phase_ds, 0) && has_room(r))
        end_lease(r, r->leases.head);
    while (r->dwelling.len > 0 && is_due(r, r->members[r->dwelling.head].phase_ds, r->soak_ms))
        end_soak(r, r->dwelling.head);
    while (r->lost.len > 0 && is_due(r, r->members[r->lost.head].lost_ds, r->policy.silent_ms) &&
           has_room(r))
        end_silence(r, r->lost.head);
}
