/* SPDX-License-Identifier: Apache-2.0
 *
 * One member: its part in the sums, and its place in the lists that time is read from.
 */
#include <assert.h>
#include <stddef.h>

#include "captain/core/rollout_private.h"

uint32_t rollout_ds(const struct rollout *r, int64_t ms)
{
    if (ms <= r->origin_ms)
        return 0;
    const int64_t ds = (ms - r->origin_ms + ROLLOUT_TICK_MS - 1) / ROLLOUT_TICK_MS;
    return ds < (int64_t)UINT32_MAX ? (uint32_t)ds : UINT32_MAX;
}

int64_t rollout_ds_ms(const struct rollout *r, uint32_t ds)
{
    return r->origin_ms + (int64_t)ds * ROLLOUT_TICK_MS;
}

bool rollout_is_assigned(const struct rollout_member *m)
{
    return m->wave != ROLLOUT_WAVE_NONE;
}

bool rollout_is_stranded(const struct rollout_member *m)
{
    return !rollout_is_assigned(m) && m->tries & ROLLOUT_TRIES_STRANDED;
}

static bool is_to_go_back(const struct rollout_member *m)
{
    switch ((enum rollout_device)m->device) {
    case ROLLOUT_APPLYING:
    case ROLLOUT_HEALTHY:
    case ROLLOUT_UNHEALTHY:
    case ROLLOUT_FAILED:
    case ROLLOUT_RETURNING:
        return !(m->flags & ROLLOUT_F_DELETED);
    default:
        return false;
    }
}

static void add(uint32_t *sum, int sign, bool counts)
{
    if (counts)
        *sum += (uint32_t)sign;
}

static void account_wave(struct rollout_sums *sums, const struct rollout_member *m, int sign)
{
    const bool assigned = rollout_is_assigned(m) && !(m->flags & ROLLOUT_F_OUT);
    const bool failed = m->flags & ROLLOUT_F_FAILED;
    const bool in_n = m->flags & ROLLOUT_F_IN_N && !(m->flags & ROLLOUT_F_EXCLUDED);
    const bool present = in_n && !(m->flags & ROLLOUT_F_DELETED);
    const bool healthy = m->device == ROLLOUT_HEALTHY && !failed;
    add(&sums->n, sign, in_n);
    add(&sums->healthy, sign, present && healthy);
    add(&sums->failed, sign, present && failed);
    add(&sums->dwelt, sign, present && healthy && m->flags & ROLLOUT_F_DWELT);
    add(&sums->assigned, sign, assigned);
    add(&sums->outstanding, sign, assigned && !healthy && !failed);
}

void rollout_account(struct rollout *r, struct rollout_sums *sums, uint32_t *canary_risk,
                     uint32_t *control_risk, uint32_t i, int sign)
{
    const struct rollout_member *m = &r->members[i];
    const bool at_risk = m->flags & ROLLOUT_F_AT_RISK;
    const bool leased = m->flags & ROLLOUT_F_LEASED;
    add(&sums->by_device[m->device], sign, !(m->flags & ROLLOUT_F_DELETED));
    account_wave(sums, m, sign);
    add(&sums->to_go_back, sign, is_to_go_back(m));
    add(&sums->eligible, sign, m->flags & ROLLOUT_F_ELIGIBLE && !(m->flags & ROLLOUT_F_OUT));
    add(&sums->boxed, sign, m->flags & ROLLOUT_F_BOXED && !(m->flags & ROLLOUT_F_OUT));
    add(&sums->exposed, sign, m->attempt > 0 && rollout_is_assigned(m));
    add(&sums->leased, sign, leased);
    add(&sums->leased_forward, sign, leased && m->attempt > 0 && !(m->flags & ROLLOUT_F_BACKWARD));
    add(&sums->control, sign, at_risk && !rollout_is_assigned(m));
    add(&sums->lost, sign, m->lost_prev != ROLLOUT_UNLINKED);
    add(&canary_risk[r->stratum[i]], sign, at_risk && rollout_is_assigned(m));
    add(&control_risk[r->stratum[i]], sign, at_risk && !rollout_is_assigned(m));
}

struct rollout_member *rollout_take(struct rollout *r, uint32_t i)
{
    rollout_account(r, &r->sums, r->canary_risk, r->control_risk, i, -1);
    return &r->members[i];
}

void rollout_put(struct rollout *r, uint32_t i)
{
    rollout_account(r, &r->sums, r->canary_risk, r->control_risk, i, 1);
}

void rollout_set_device(struct rollout *r, uint32_t i, enum rollout_device device)
{
    if (r->members[i].device == device)
        return;
    rollout_take(r, i)->device = (uint8_t)device;
    rollout_put(r, i);
    r->progress_from_ms = r->now_ms;
}

void rollout_set_flags(struct rollout *r, uint32_t i, unsigned set, unsigned clear)
{
    struct rollout_member *m = rollout_take(r, i);
    m->flags = (uint16_t)((m->flags & ~clear) | set);
    rollout_put(r, i);
}

/* Lists. `at` is the offset of the pair (prev, next) in a member. */

static uint32_t *link_of(struct rollout *r, uint32_t i, size_t at)
{
    return (uint32_t *)(void *)((char *)&r->members[i] + at);
}

#define PHASE offsetof(struct rollout_member, phase_prev)
#define LOST offsetof(struct rollout_member, lost_prev)

static void link_after(struct rollout *r, struct rollout_list *list, uint32_t i, uint32_t after,
                       size_t at)
{
    uint32_t *link = link_of(r, i, at);
    link[0] = after;
    link[1] = after == ROLLOUT_NONE ? list->head : link_of(r, after, at)[1];
    if (link[0] == ROLLOUT_NONE)
        list->head = i;
    else
        link_of(r, link[0], at)[1] = i;
    if (link[1] == ROLLOUT_NONE)
        list->tail = i;
    else
        link_of(r, link[1], at)[0] = i;
    list->len++;
}

static void unlink_one(struct rollout *r, struct rollout_list *list, uint32_t i, size_t at)
{
    uint32_t *link = link_of(r, i, at);
    if (link[0] == ROLLOUT_NONE)
        list->head = link[1];
    else
        link_of(r, link[0], at)[1] = link[1];
    if (link[1] == ROLLOUT_NONE)
        list->tail = link[0];
    else
        link_of(r, link[1], at)[0] = link[0];
    list->len--;
}

void rollout_lease(struct rollout *r, uint32_t i, int64_t until_ms, bool backward)
{
    assert(!(r->members[i].flags & (ROLLOUT_F_LEASED | ROLLOUT_F_DWELLING)));
    struct rollout_member *m = rollout_take(r, i);
    m->flags |= ROLLOUT_F_LEASED;
    if (backward)
        m->flags |= ROLLOUT_F_BACKWARD;
    m->phase_ds = rollout_ds(r, until_ms);
    /* Terms are equal but for a change of policy: the place is at or near the tail. */
    uint32_t after = r->leases.tail;
    while (after != ROLLOUT_NONE && r->members[after].phase_ds > m->phase_ds)
        after = r->members[after].phase_prev;
    link_after(r, &r->leases, i, after, PHASE);
    rollout_put(r, i);
    const struct rollout_stratum *stratum = &r->strata[r->stratum[i]];
    lease_take(&r->book, stratum->site, stratum->group);
}

void rollout_unlease(struct rollout *r, uint32_t i)
{
    if (!(r->members[i].flags & ROLLOUT_F_LEASED))
        return;
    struct rollout_member *m = rollout_take(r, i);
    m->flags &= (uint16_t) ~(ROLLOUT_F_LEASED | ROLLOUT_F_BACKWARD);
    unlink_one(r, &r->leases, i, PHASE);
    rollout_put(r, i);
    const struct rollout_stratum *stratum = &r->strata[r->stratum[i]];
    lease_return(&r->book, stratum->site, stratum->group);
}

void rollout_dwell(struct rollout *r, uint32_t i)
{
    assert(!(r->members[i].flags & (ROLLOUT_F_LEASED | ROLLOUT_F_DWELLING)));
    r->members[i].flags |= ROLLOUT_F_DWELLING;
    r->members[i].phase_ds = rollout_ds(r, r->now_ms);
    link_after(r, &r->dwelling, i, r->dwelling.tail, PHASE);
}

void rollout_undwell(struct rollout *r, uint32_t i)
{
    struct rollout_member *m = &r->members[i];
    if (!(m->flags & ROLLOUT_F_DWELLING))
        return;
    if (m->flags & ROLLOUT_F_NTH) {
        if (r->nth == i)
            r->nth = m->phase_prev;
        r->nth_rank--;
    }
    m->flags &= (uint16_t) ~(ROLLOUT_F_DWELLING | ROLLOUT_F_NTH);
    unlink_one(r, &r->dwelling, i, PHASE);
}

/* Moves the mark of the quorum-th to where the sums say it is: a step or two per change. */
void rollout_sync_nth(struct rollout *r)
{
    const uint32_t quorum = gate_quorum(&r->policy, r->sums.n);
    const uint32_t have = r->sums.failed + r->sums.dwelt;
    uint32_t want = quorum > have ? quorum - have : 0;
    if (want > r->dwelling.len)
        want = r->dwelling.len;
    while (r->nth_rank < want) {
        r->nth = r->nth_rank == 0 ? r->dwelling.head : r->members[r->nth].phase_next;
        r->members[r->nth].flags |= ROLLOUT_F_NTH;
        r->nth_rank++;
    }
    while (r->nth_rank > want) {
        r->members[r->nth].flags &= (uint16_t)~ROLLOUT_F_NTH;
        r->nth = r->members[r->nth].phase_prev;
        r->nth_rank--;
    }
}

/* Silence counts for those under observation: control at risk, and who was offered the target until
 * it has failed or dwelt. */
static bool is_watched(const struct rollout_member *m)
{
    if (!(m->flags & ROLLOUT_F_LOST) || m->flags & ROLLOUT_F_OUT)
        return false;
    if (!rollout_is_assigned(m))
        return m->flags & ROLLOUT_F_AT_RISK;
    return !(m->flags & (ROLLOUT_F_FAILED | ROLLOUT_F_DWELT));
}

void rollout_unwatch(struct rollout *r, uint32_t i)
{
    if (r->members[i].lost_prev == ROLLOUT_UNLINKED)
        return;
    struct rollout_member *m = rollout_take(r, i);
    unlink_one(r, &r->lost, i, LOST);
    m->lost_prev = ROLLOUT_UNLINKED;
    rollout_put(r, i);
}

void rollout_watch(struct rollout *r, uint32_t i)
{
    rollout_unwatch(r, i);
    if (!is_watched(&r->members[i]))
        return;
    struct rollout_member *m = rollout_take(r, i);
    /* The list stays in order by never letting a clock start before the last one in it: what is told
     * late is late by as much, and no report costs a search. */
    const uint32_t tail = r->lost.tail;
    if (tail != ROLLOUT_NONE && r->members[tail].lost_ds > m->lost_ds)
        m->lost_ds = r->members[tail].lost_ds;
    link_after(r, &r->lost, i, tail, LOST);
    rollout_put(r, i);
}
