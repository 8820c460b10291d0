/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking at a rollout: views, the invariants, fingerprint.
 */
#include <stdio.h>
#include <string.h>

#include "captain/core/rollout_private.h"
#include "common/base/mem.h"
#include "common/base/rng.h"

const char *rollout_device_name(enum rollout_device device)
{
    static const char *const names[ROLLOUT_DEVICES] = {
        "on_base", "offered",   "applying", "healthy",     "unhealthy",
        "failed",  "returning", "back",     "quarantined",
    };
    return (unsigned)device < ROLLOUT_DEVICES ? names[device] : "unknown";
}

void rollout_view(const struct rollout *r, struct rollout_view *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->state = r->state;
    ret->held_gate = r->held_gate;
    ret->wave = r->wave == ROLLOUT_WAVE_NONE ? ROLLOUT_NONE : r->wave;
    ret->wave_from_ms = r->wave_from_ms;
    ret->verdict = r->verdict;
    ret->members = r->len;
    ret->eligible_now = r->sums.eligible;
    ret->n = r->sums.n;
    ret->healthy = r->sums.healthy;
    ret->failed = r->sums.failed;
    ret->outstanding = r->sums.outstanding;
    ret->to_go_back = r->sums.to_go_back;
    ret->in_flight = r->book.in_flight;
    ret->in_flight_forward = r->sums.leased_forward;
    memcpy(ret->by_device, r->sums.by_device, sizeof ret->by_device);
    ret->boxed = r->sums.boxed;
    ret->quarantined = r->sums.by_device[ROLLOUT_QUARANTINED];
    ret->exposed = r->sums.exposed;
    memcpy(ret->failures, r->failures, sizeof ret->failures);
    ret->ignored = r->ignored;
    ret->cut = r->cut;
    ret->named_len = r->named_len;
    ret->inputs = r->inputs;
}

void rollout_device_view(const struct rollout *r, uint32_t member, struct rollout_device_view *ret)
{
    const struct rollout_member *m = &r->members[member];
    const unsigned class = m->tries >> 12 & 7;
    memset(ret, 0, sizeof *ret);
    ret->device = m->device;
    ret->wave = rollout_is_assigned(m) ? m->wave : ROLLOUT_NONE;
    ret->in_n = m->flags & ROLLOUT_F_IN_N;
    ret->eligible = m->flags & ROLLOUT_F_ELIGIBLE;
    ret->silent = m->flags & ROLLOUT_F_LOST;
    ret->boxed = m->flags & ROLLOUT_F_BOXED || rollout_is_stranded(m);
    ret->failed = m->flags & ROLLOUT_F_FAILED;
    ret->excluded = m->flags & ROLLOUT_F_EXCLUDED;
    ret->deleted = m->flags & ROLLOUT_F_DELETED;
    ret->class = class < POLICY_CLASSES && m->tries ? (enum policy_class) class : POLICY_CLASS_NONE;
    if (ret->boxed || ret->failed || m->device == ROLLOUT_QUARANTINED)
        ret->class = (enum policy_class) class;
    ret->attempt = m->attempt;
    ret->leased = m->flags & ROLLOUT_F_LEASED;
    if (ret->leased)
        ret->lease_until_ms = rollout_ds_ms(r, m->phase_ds);
    ret->stratum = r->stratum[member];
}

uint32_t rollout_named(const struct rollout *r, uint32_t i)
{
    return r->named[i];
}

bool rollout_targets(const struct rollout *r, uint32_t member)
{
    return member < r->len && rollout_covers(r, member);
}

const struct policy *rollout_policy(const struct rollout *r)
{
    return &r->policy;
}

size_t rollout_memory_bytes(const struct rollout *r)
{
    const size_t member =
        sizeof *r->members + sizeof *r->hash + sizeof *r->stratum + sizeof *r->order;
    const size_t stratum = sizeof *r->strata + 3 * sizeof *r->quota;
    return sizeof *r + r->capacity * member + r->strata_len * stratum +
           r->book.sites_len * sizeof *r->book.sites +
           r->book.groups_len * sizeof *r->book.group_in_flight;
}

/* Everything that decides what happens next; how many inputs it took, and which were for nothing,
 * does not. */
uint64_t rollout_fingerprint(const struct rollout *r)
{
    uint64_t h = rng_hash(0, r->members, r->len * sizeof *r->members);
    h = rng_hash(h, r->hash, r->len * sizeof *r->hash);
    h = rng_hash(h, &r->sums, sizeof r->sums);
    h = rng_hash(h, &r->compare, sizeof r->compare);
    h = rng_hash(h, r->metrics, sizeof r->metrics);
    h = rng_hash(h, r->failures, sizeof r->failures);
    h = rng_hash(h, r->named, r->named_len * sizeof *r->named);
    const int64_t rest[] = {r->state,          r->wave,           r->selectors,
                            (int64_t)r->cut,   r->wave_from_ms,   r->coverage_from_ms,
                            r->missing_acked,  r->waived,         r->no_control_acked,
                            r->failed_new,     r->rate_new,       r->rate_all,
                            r->approved_len,   r->successes,      r->progress_from_ms,
                            r->held_gate,      r->held_verdict,   r->keep,
                            r->frozen,         r->book.in_flight, r->nth,
                            r->verdict.gate,   r->verdict.reason, r->verdict.verdict,
                            r->has_policy_next};
    return rng_hash(h, rest, sizeof rest);
}

/* Invariants */

static bool broken(char *ret_text, const char *what, uint64_t have, uint64_t should)
{
    (void)snprintf(ret_text, ROLLOUT_TEXT_MAX, "%s: %llu, should be %llu", what,
                   (unsigned long long)have, (unsigned long long)should);
    return false;
}

/* The sums are fields of one type in a row: compared as numbers, told by place. */
static bool check_sums(const struct rollout *r, char *ret_text)
{
    struct rollout *mutable = (struct rollout *)(uintptr_t)r; /* account reads members only */
    uint32_t *risk = mem_new(2 * (size_t)r->strata_len + 1, sizeof *risk);
    struct rollout_sums sums;
    memset(&sums, 0, sizeof sums);
    for (uint32_t i = 0; i < r->len; i++)
        rollout_account(mutable, &sums, risk, risk + r->strata_len, i, 1);
    bool ok = true;
    for (uint32_t s = 0; s < r->strata_len && ok; s++)
        ok = risk[s] == r->canary_risk[s] && risk[r->strata_len + s] == r->control_risk[s];
    if (!ok)
        (void)snprintf(ret_text, ROLLOUT_TEXT_MAX, "the numbers at risk are not the members'");
    mem_free(risk);
    const uint32_t *have = (const uint32_t *)&r->sums;
    const uint32_t *should = (const uint32_t *)&sums;
    for (size_t k = 0; ok && k < sizeof sums / sizeof *have; k++) {
        if (have[k] == should[k])
            continue;
        char what[64];
        (void)snprintf(what, sizeof what, "sum number %zu", k);
        return broken(ret_text, what, have[k], should[k]);
    }
    return ok;
}

static bool check_list(const struct rollout *r, const struct rollout_list *list, unsigned flag,
                       char *ret_text)
{
    uint32_t len = 0;
    uint32_t before = 0;
    for (uint32_t i = list->head; i != ROLLOUT_NONE; i = r->members[i].phase_next) {
        if (!(r->members[i].flags & flag) || r->members[i].phase_ds < before || len > list->len)
            return broken(ret_text, "a list is out of order at member", i, i);
        before = r->members[i].phase_ds;
        len++;
    }
    return len == list->len || broken(ret_text, "length of a list", list->len, len);
}

static bool check_lost(const struct rollout *r, char *ret_text)
{
    uint32_t len = 0;
    uint32_t before = 0;
    for (uint32_t i = r->lost.head; i != ROLLOUT_NONE; i = r->members[i].lost_next) {
        if (!(r->members[i].flags & ROLLOUT_F_LOST) || r->members[i].lost_ds < before ||
            len > r->lost.len)
            return broken(ret_text, "the list of the silent is out of order at member", i, i);
        before = r->members[i].lost_ds;
        len++;
    }
    return len == r->lost.len ||
           broken(ret_text, "length of the list of the silent", r->lost.len, len);
}

/* The book counts what members hold. */
static bool check_book(const struct rollout *r, char *ret_text)
{
    uint32_t *sites = mem_new(2 * (size_t)r->book.sites_len + 1, sizeof *sites);
    for (uint32_t i = 0; i < r->len; i++) {
        const uint16_t site = r->strata[r->stratum[i]].site;
        sites[site] += !!(r->members[i].flags & ROLLOUT_F_LEASED);
        sites[r->book.sites_len + site] += !(r->members[i].flags & ROLLOUT_F_DELETED);
    }
    bool ok = r->book.in_flight == r->sums.leased && r->leases.len == r->sums.leased;
    for (uint32_t s = 0; s < r->book.sites_len && ok; s++)
        ok = sites[s] == r->book.sites[s].in_flight &&
             sites[r->book.sites_len + s] == r->book.sites[s].devices;
    mem_free(sites);
    return ok || broken(ret_text, "leases in the book", r->book.in_flight, r->sums.leased);
}

static bool check_member(const struct rollout *r, uint32_t i, char *ret_text)
{
    const struct rollout_member *m = &r->members[i];
    if (m->flags & ROLLOUT_F_FAILED && m->flags & ROLLOUT_F_AT_RISK)
        return broken(ret_text, "failed and still at risk, member", i, i);
    if (m->device == ROLLOUT_ON_BASE && rollout_is_assigned(m))
        return broken(ret_text, "in a wave and not offered, member", i, i);
    if (rollout_is_assigned(m) && rollout_is_gated(r) && !rollout_covers(r, i))
        return broken(ret_text, "in a wave, but desired does not give it the target, member", i, i);
    if (!rollout_is_assigned(m) && m->device != ROLLOUT_ON_BASE)
        return broken(ret_text, "has an attempt and no wave, member", i, i);
    if (r->state == ROLLOUT_SUCCEEDED && rollout_is_assigned(m) &&
        !(m->flags & (ROLLOUT_F_OUT | ROLLOUT_F_FAILED)) && m->attempt == 0)
        return broken(ret_text, "succeeded without a word of member", i, i);
    const bool back = m->device == ROLLOUT_ON_BASE || m->device == ROLLOUT_OFFERED ||
                      m->device == ROLLOUT_BACK || m->device == ROLLOUT_QUARANTINED ||
                      m->device == ROLLOUT_RETURNING || m->flags & ROLLOUT_F_DELETED;
    if (r->state == ROLLOUT_ABORTED && !r->keep && !back && m->sequence == 0)
        return broken(ret_text, "aborted without knowing of member", i, i);
    return true;
}

static bool check_state(const struct rollout *r, char *ret_text)
{
    if (r->state == ROLLOUT_HELD && r->held_gate == 0)
        return broken(ret_text, "held by no gate", 0, 1);
    if (r->state == ROLLOUT_RUNNING && rollout_is_gated(r) && r->verdict.verdict == GATE_FAIL)
        return broken(ret_text, "runs on after a FAIL of gate", r->verdict.gate, 0);
    if (r->cut != 0 && r->wave == ROLLOUT_WAVE_NONE)
        return broken(ret_text, "a cut without a wave", r->cut, 0);
    if (!rollout_is_forward(r) && !r->keep && (r->cut != 0 || r->named_len != 0) &&
        r->state != ROLLOUT_SUPERSEDED)
        return broken(ret_text, "going back, and the cohort is not empty: named", r->named_len, 0);
    return true;
}

bool rollout_check(const struct rollout *r, char ret_text[static ROLLOUT_TEXT_MAX])
{
    if (!r->started)
        return true;
    if (!check_sums(r, ret_text) || !check_book(r, ret_text) || !check_state(r, ret_text) ||
        !check_list(r, &r->leases, ROLLOUT_F_LEASED, ret_text) ||
        !check_list(r, &r->dwelling, ROLLOUT_F_DWELLING, ret_text) || !check_lost(r, ret_text))
        return false;
    for (uint32_t i = 0; i < r->len; i++)
        if (!check_member(r, i, ret_text))
            return false;
    return true;
}
