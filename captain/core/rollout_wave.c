/* SPDX-License-Identifier: Apache-2.0
 *
 * Who takes part: the start, waves, and those that come, fall silent or go in between.
 */
#include <string.h>

#include "captain/core/rollout_private.h"
#include "captain/core/wave.h"
#include "common/base/cohort.h"
#include "common/base/mem.h"

static bool has_flags(const struct rollout *r, uint32_t i, unsigned flags)
{
    return (r->members[i].flags & flags) != 0;
}

/* The start and joining */

static void grow(struct rollout *r, uint32_t capacity)
{
    r->members = mem_grow(r->members, r->capacity, capacity, sizeof *r->members);
    r->hash = mem_grow(r->hash, r->capacity, capacity, sizeof *r->hash);
    r->stratum = mem_grow(r->stratum, r->capacity, capacity, sizeof *r->stratum);
    r->order = mem_grow(r->order, r->capacity, capacity, sizeof *r->order);
    r->capacity = capacity;
}

static void add_member(struct rollout *r, const struct rollout_join *join)
{
    const uint32_t i = r->len++;
    struct rollout_member *m = &r->members[i];
    *m = (struct rollout_member){.lost_prev = ROLLOUT_UNLINKED,
                                 .wave = ROLLOUT_WAVE_NONE,
                                 .pick = join->pick,
                                 .lost_ds = rollout_ds(r, r->now_ms)};
    if (join->eligible || join->online)
        m->flags |= ROLLOUT_F_ELIGIBLE;
    if (!join->online)
        m->flags |= ROLLOUT_F_LOST;
    r->hash[i] = join->hash;
    r->stratum[i] = join->stratum;
    r->book.sites[r->strata[join->stratum].site].devices++;
    rollout_put(r, i);
    if (join->lease_until_ms > r->now_ms)
        rollout_lease(r, i, join->lease_until_ms, false);
}

static void set_strata(struct rollout *r, const struct rollout_start *start)
{
    uint32_t sites = 0;
    uint32_t groups = 0;
    for (uint32_t s = 0; s < start->strata_len; s++) {
        if (start->strata[s].site >= sites)
            sites = start->strata[s].site + 1u;
        if (start->strata[s].group >= groups)
            groups = start->strata[s].group + 1u;
    }
    r->strata_len = start->strata_len;
    r->strata = mem_new(start->strata_len, sizeof *r->strata);
    memcpy(r->strata, start->strata, start->strata_len * sizeof *r->strata);
    r->quota = mem_new(start->strata_len, sizeof *r->quota);
    r->canary_risk = mem_new(start->strata_len, sizeof *r->canary_risk);
    r->control_risk = mem_new(start->strata_len, sizeof *r->control_risk);
    r->book.sites = mem_new(sites, sizeof *r->book.sites);
    r->book.sites_len = sites;
    r->book.group_in_flight = mem_new(groups, sizeof *r->book.group_in_flight);
    r->book.groups_len = groups;
}

static bool is_startable(struct rollout *r, const struct rollout_start *start)
{
    struct err err;
    if (policy_check(start->policy, &err) != ERR_OK) {
        rollout_refuse(r, ERR_USAGE, "%.200s", err.text);
        return false;
    }
    if (start->members_len > ROLLOUT_MEMBERS_MAX || start->strata_len > ROLLOUT_STRATA_MAX) {
        rollout_refuse(r, ERR_FULL, "at most %d devices in %d strata", ROLLOUT_MEMBERS_MAX,
                       ROLLOUT_STRATA_MAX);
        return false;
    }
    for (uint32_t i = 0; i < start->members_len; i++) {
        if (start->members[i].stratum < start->strata_len)
            continue;
        rollout_refuse(r, ERR_USAGE, "device %u is of no stratum", i);
        return false;
    }
    return true;
}

void rollout_begin(struct rollout *r, const struct rollout_input *input)
{
    const struct rollout_start *start = &input->u.start;
    if (r->started) {
        rollout_refuse(r, ERR_CONFLICT, "the rollout has begun");
        return;
    }
    if (!is_startable(r, start))
        return;
    r->started = true;
    r->policy = *start->policy;
    r->has_base = start->has_base;
    r->frozen = start->frozen;
    r->seed = start->seed;
    r->origin_ms = r->now_ms;
    set_strata(r, start);
    grow(r, start->members_len > 0 ? start->members_len : 1);
    for (uint32_t i = 0; i < start->members_len; i++)
        add_member(r, &start->members[i]);
    rollout_update_windows(r);
}

static void assign(struct rollout *r, uint32_t i, bool in_n)
{
    struct rollout_member *m = rollout_take(r, i);
    m->wave = (uint8_t)r->wave;
    m->device = ROLLOUT_OFFERED;
    if (in_n)
        m->flags |= ROLLOUT_F_IN_N;
    if (!(m->flags & ROLLOUT_F_RISKED))
        m->flags |= ROLLOUT_F_AT_RISK | ROLLOUT_F_RISKED;
    rollout_put(r, i);
    if (m->flags & ROLLOUT_F_LOST)
        m->lost_ds = rollout_ds(r, r->now_ms); /* silence after the offer counts from the offer */
    rollout_watch(r, i);
}

static void observe_control(struct rollout *r, uint32_t i)
{
    if (has_flags(r, i, ROLLOUT_F_RISKED | ROLLOUT_F_OUT) || !has_flags(r, i, ROLLOUT_F_ELIGIBLE) ||
        rollout_is_assigned(&r->members[i]) || r->wave == ROLLOUT_WAVE_NONE)
        return;
    rollout_set_flags(r, i, ROLLOUT_F_AT_RISK | ROLLOUT_F_RISKED, 0);
    r->members[i].lost_ds = rollout_ds(r, r->now_ms);
    rollout_watch(r, i);
}

bool rollout_covers(const struct rollout *r, uint32_t i)
{
    const struct rollout_member *m = &r->members[i];
    if (r->wave == ROLLOUT_WAVE_NONE)
        return false;
    if (r->cut == COHORT_CUT_ALL || r->hash[i] < r->cut || m->flags & ROLLOUT_F_NAMED)
        return true;
    return m->pick < POLICY_WAVES_MAX && r->selectors & 1u << m->pick;
}

/* One that was not there when its wave began goes through the same gates, outside of N. */
static void admit_late(struct rollout *r, uint32_t i)
{
    if (rollout_is_assigned(&r->members[i]) || has_flags(r, i, ROLLOUT_F_OUT))
        return;
    if (rollout_is_gated(r) && rollout_covers(r, i)) {
        assign(r, i, false);
        r->progress_from_ms = r->now_ms;
    } else if (rollout_is_gated(r)) {
        observe_control(r, i);
    }
}

void rollout_seen(struct rollout *r, uint32_t i)
{
    if ((r->members[i].flags & (ROLLOUT_F_LOST | ROLLOUT_F_ELIGIBLE)) != ROLLOUT_F_ELIGIBLE) {
        rollout_set_flags(r, i, ROLLOUT_F_ELIGIBLE, ROLLOUT_F_LOST);
        rollout_watch(r, i);
    }
    admit_late(r, i);
}

void rollout_silent(struct rollout *r, uint32_t i, int64_t since_ms)
{
    if (has_flags(r, i, ROLLOUT_F_LOST))
        return;
    rollout_set_flags(r, i, ROLLOUT_F_LOST, 0);
    const int64_t since = since_ms < r->now_ms ? since_ms : r->now_ms;
    r->members[i].lost_ds = rollout_ds(r, since);
    if (rollout_is_assigned(&r->members[i]) &&
        rollout_ds(r, r->wave_from_ms) > r->members[i].lost_ds)
        r->members[i].lost_ds = rollout_ds(r, r->wave_from_ms);
    rollout_watch(r, i);
}

void rollout_join(struct rollout *r, const struct rollout_join *join)
{
    if (r->len == ROLLOUT_MEMBERS_MAX || join->stratum >= r->strata_len) {
        rollout_refuse(r, r->len == ROLLOUT_MEMBERS_MAX ? ERR_FULL : ERR_USAGE,
                       "the rollout has no place for this device");
        return;
    }
    if (r->len == r->capacity)
        grow(r, r->capacity * 2);
    add_member(r, join);
    if (join->online)
        admit_late(r, r->len - 1);
}

void rollout_take_out(struct rollout *r, uint32_t i, enum rollout_flag flag)
{
    if (has_flags(r, i, flag))
        return;
    if (flag == ROLLOUT_F_DELETED)
        r->book.sites[r->strata[r->stratum[i]].site].devices--;
    rollout_undwell(r, i);
    rollout_set_flags(r, i, flag, ROLLOUT_F_AT_RISK);
    rollout_watch(r, i);
    r->progress_from_ms = r->now_ms;
}

/* Waves */

static bool is_candidate(const struct rollout *r, uint32_t i)
{
    const struct rollout_member *m = &r->members[i];
    if (rollout_is_assigned(m) || m->flags & ROLLOUT_F_OUT || !(m->flags & ROLLOUT_F_ELIGIBLE))
        return false;
    return !(m->flags & ROLLOUT_F_LOST) ||
           r->now_ms - rollout_ds_ms(r, m->lost_ds) <= r->policy.eligible_age_ms;
}

static bool is_picking(const struct policy_wave *wave)
{
    return wave->kind == POLICY_WAVE_SELECTOR || wave->kind == POLICY_WAVE_NAMED;
}

/* Candidates into order[], those of the wave's own choice only if it picks. */
static uint32_t gather(struct rollout *r, uint32_t number)
{
    const bool picking = is_picking(&r->policy.waves[number]);
    uint32_t len = 0;
    for (uint32_t i = 0; i < r->len; i++)
        if (is_candidate(r, i) && (!picking || r->members[i].pick == number))
            r->order[len++] = i;
    return len;
}

/* What stands in the wave before is no more waited for; what is healthy has passed. */
static void close_wave(struct rollout *r)
{
    for (uint32_t i = 0; i < r->len; i++) {
        if (!rollout_is_assigned(&r->members[i]))
            continue;
        rollout_undwell(r, i);
        if (r->members[i].device == ROLLOUT_HEALTHY)
            rollout_set_flags(r, i, ROLLOUT_F_DWELT,
                              ROLLOUT_F_IN_N | ROLLOUT_F_AT_RISK | ROLLOUT_F_FLAPPED);
        else
            rollout_set_flags(r, i, 0, ROLLOUT_F_IN_N);
        rollout_watch(r, i);
    }
}

void rollout_restart_gates(struct rollout *r)
{
    r->wave_from_ms = r->now_ms;
    r->coverage_from_ms = r->now_ms;
    r->progress_from_ms = r->now_ms;
    r->missing_acked = 0;
    r->no_control_acked = false;
    r->waived = 0;
    r->failed_new = 0;
    memset(r->class_new, 0, sizeof r->class_new);
    r->approved_len = 0;
    memset(r->metrics, 0, sizeof r->metrics);
    for (uint32_t k = 0; k < POLICY_METRICS_MAX; k++)
        r->metrics[k].deadline_from_ms = r->now_ms;
}

static void name_one(struct rollout *r, uint32_t i)
{
    if (r->named_len == POLICY_NAMED_MAX)
        return;
    r->named[r->named_len++] = i;
    rollout_set_flags(r, i, ROLLOUT_F_NAMED, 0);
}

/* Sets names, cut or selector so that they take k of order[] (len). */
static void choose(struct rollout *r, const struct policy_wave *wave, uint32_t len, uint32_t k)
{
    const struct wave_devices devices = {r->hash, r->stratum, r->strata_len};
    if (wave->kind == POLICY_WAVE_ALL) {
        r->cut = COHORT_CUT_ALL;
    } else if (wave->kind == POLICY_WAVE_SELECTOR) {
        r->selectors |= 1u << r->wave;
    } else if (wave->kind == POLICY_WAVE_NAMED || wave->canary) {
        if (wave->canary)
            k = wave_draw(&devices, r->order, len, k, r->seed + r->wave, r->quota);
        for (uint32_t n = 0; n < k; n++)
            name_one(r, r->order[n]);
    } else {
        const uint64_t cut = wave_cut(&devices, r->order, len, k);
        r->cut = cut > r->cut ? cut : r->cut;
    }
}

static void publish(struct rollout *r)
{
    struct rollout_effect effect = {.kind = ROLLOUT_PUBLISH_COHORT, .member = ROLLOUT_NONE};
    effect.u.cohort.wave = r->wave;
    effect.u.cohort.cut = r->cut;
    effect.u.cohort.named_len = r->named_len;
    effect.u.cohort.selectors = r->selectors;
    rollout_emit(r, &effect);
}

static void enter_wave(struct rollout *r, uint32_t number)
{
    const struct policy_wave *wave = &r->policy.waves[number];
    if (number == 0) {
        r->wave = 0;
        for (uint32_t i = 0; i < r->len; i++)
            observe_control(r, i);
    }
    r->wave = number;
    r->soak_ms = wave->soak_ms < 0 ? r->policy.soak_ms : wave->soak_ms;
    rollout_restart_gates(r);
}

void rollout_open_wave(struct rollout *r, uint32_t number)
{
    if (r->has_policy_next) {
        r->policy = r->policy_next;
        r->has_policy_next = false;
    }
    const struct policy_wave *wave = &r->policy.waves[number];
    const uint32_t len = gather(r, number);
    const uint32_t taken = r->sums.assigned;
    const uint32_t k = is_picking(wave) ? len : wave_size(wave, len + taken, taken);
    /* A wave that earlier ones have filled adds nobody: its gates look at the N there is. */
    const bool fills = k > 0 || taken == 0 || is_picking(wave);
    if (fills)
        close_wave(r);
    enter_wave(r, number);
    choose(r, wave, len, k);
    for (uint32_t n = 0; n < len; n++)
        if (rollout_covers(r, r->order[n]))
            assign(r, r->order[n], true);
    publish(r);
}

/* The leader's wave, whatever the policy here says of it. */
void rollout_follow_wave(struct rollout *r, uint32_t number)
{
    const struct rollout *leader = r->leader;
    bool fills = number == 0;
    for (uint32_t i = 0; i < r->len && !fills; i++)
        fills = leader->members[i].wave == number && leader->members[i].flags & ROLLOUT_F_IN_N;
    if (fills)
        close_wave(r);
    enter_wave(r, number);
    r->cut = leader->cut;
    r->selectors = leader->selectors;
    r->named_len = leader->named_len;
    memcpy(r->named, leader->named, sizeof r->named);
    for (uint32_t i = 0; i < r->len; i++) {
        const struct rollout_member *led = &leader->members[i];
        rollout_set_flags(r, i, led->flags & ROLLOUT_F_NAMED, 0);
        if (led->wave == number && !rollout_is_assigned(&r->members[i]))
            assign(r, i, led->flags & ROLLOUT_F_IN_N);
    }
}
