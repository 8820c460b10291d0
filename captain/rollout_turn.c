/* SPDX-License-Identifier: Apache-2.0
 *
 * Inputs of rollouts: stored in the turn's transaction, given to the core after its commit.
 */
#include <string.h>

#include "captain/rollouts_private.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/log.h"

enum { PACK_ARENA_BYTES = 512 << 20, TURN_ARENA_BYTES_KEPT = 4 << 20 };

static const char *copy_name(struct rollouts_live *live, const char *name)
{
    const char *copy = arena_strdup(&live->arena, name);
    return copy ? copy : "";
}

/* What a start says beside the core's numbers, for those that join later. */
static void keep_names(struct rollouts_live *live, const struct rollout_start *start,
                       const struct rollout_names *names)
{
    if (live->strata)
        return; /* a start that was thrown away and came again */
    const char **sites = mem_new(names->sites_len + 1, sizeof *sites);
    const char **groups = mem_new(names->groups_len + 1, sizeof *groups);
    for (uint32_t i = 0; i < names->sites_len; i++)
        sites[i] = copy_name(live, names->sites[i]);
    for (uint32_t i = 0; i < names->groups_len; i++)
        groups[i] = copy_name(live, names->groups[i]);
    live->names =
        (struct rollout_names){sites, names->sites_len, groups, names->groups_len, NULL, 0};
    live->strata = mem_new(start->strata_len + 1, sizeof *live->strata);
    memcpy(live->strata, start->strata, start->strata_len * sizeof *live->strata);
    live->strata_len = start->strata_len;
    live->windows = mem_new(names->sites_len + 1, sizeof *live->windows);
}

/* Pushing. */

static struct rollouts_pending *add_pending(struct rollouts *r)
{
    if (r->pending_len == r->pending_cap) {
        const uint32_t cap = r->pending_cap ? r->pending_cap * 2 : 64;
        r->pending = mem_grow(r->pending, r->pending_cap, cap, sizeof *r->pending);
        r->pending_cap = cap;
    }
    return &r->pending[r->pending_len++];
}

static void add_members(struct rollouts_live *live, const struct rollout_names *names)
{
    for (uint32_t i = 0; i < names->devices_len; i++)
        rollouts_add_member(live, fleet_add(live->rollouts->parts.fleet, names->devices[i]));
}

static enum err_code store_input(struct rollouts_live *live, const struct rollout_input *input,
                                 const struct rollout_names *names, struct err *err)
{
    struct bytes encoded;
    struct arena arena DEFER(arena_fini) = {0};
    arena_init(&arena, PACK_ARENA_BYTES);
    enum err_code code = db_begin(live->rollouts->parts.db, err);
    if (code == ERR_OK)
        code = rollout_codec_pack(input, names, NULL, &arena, &encoded, err);
    if (code == ERR_OK)
        code = store_rollout_input_add(live->rollouts->parts.db, live->row.id, live->stored,
                                       encoded, err);
    return code;
}

void rollouts_push(struct rollouts_live *live, const struct rollout_input *input,
                   const struct rollout_names *names, const char *reply)
{
    struct rollouts *r = live->rollouts;
    struct err err = {0};
    struct rollout_input timed = *input;
    if (timed.now_ms == 0)
        timed.now_ms = clock_unix_ms();
    if (store_input(live, &timed, names, &err) != ERR_OK) {
        log_err("an input of a rollout could not be stored", &err);
        return; /* the transaction is poisoned: its end is told to rollouts_rolled_back */
    }
    live->stored++;
    if (timed.kind == ROLLOUT_IN_START || timed.kind == ROLLOUT_IN_JOIN)
        add_members(live, names);
    if (timed.kind == ROLLOUT_IN_START) {
        keep_names(live, &timed.u.start, names);
        live->begun = true;
    }
    *add_pending(r) =
        (struct rollouts_pending){live, timed, reply ? arena_strdup(&r->turn_arena, reply) : NULL};
}

/* Stepping. */

/* The core borrows windows until they are replaced. */
static void keep_windows(struct rollouts_live *live, struct rollout_input *input)
{
    const size_t len = input->u.windows.len;
    if (input->kind != ROLLOUT_IN_WINDOWS || input->u.windows.site >= live->names.sites_len)
        return;
    struct lease_window *copy = mem_new(len + 1, sizeof *copy);
    memcpy(copy, input->u.windows.windows, len * sizeof *copy);
    input->u.windows.windows = copy;
}

static void drop_windows(struct rollouts_live *live, const struct rollout_input *input)
{
    if (input->kind != ROLLOUT_IN_WINDOWS || input->u.windows.site >= live->names.sites_len)
        return;
    struct lease_window **at = &live->windows[input->u.windows.site];
    mem_free(*at);
    *at = (struct lease_window *)(uintptr_t)input->u.windows.windows;
}

static void note(struct rollouts_live *live, const struct rollout_input *input)
{
    if (input->kind == ROLLOUT_IN_START)
        live->members_stepped += input->u.start.members_len;
    if (input->kind == ROLLOUT_IN_JOIN)
        live->members_stepped++;
    if (input->kind == ROLLOUT_IN_REPORT && input->u.report.sequence > live->reports)
        live->reports = input->u.report.sequence;
    if (input->member >= live->members_len)
        return;
    struct rollouts_member *member = &live->members[input->member];
    if (input->kind == ROLLOUT_IN_REPORT && input->u.report.what == ROLLOUT_REPORT_APPLYING)
        member->activated = (uint16_t)input->u.report.attempt;
    if (input->kind == ROLLOUT_IN_CONTROL_FAILED)
        member->control_failed = true;
}

static void answer_lease(struct rollouts_live *live, const struct rollout_effect *effect,
                         const char *reply, int64_t now_ms)
{
    const int64_t until_ms = effect->u.lease.until_ms, retry_ms = effect->u.lease.retry_ms;
    struct lease_reply answer = {.rollout = live->row.id,
                                 .attempt_number = effect->u.lease.attempt,
                                 .granted = effect->u.lease.answer == LEASE_GRANTED,
                                 .answer = lease_answer_name(effect->u.lease.answer)};
    if (answer.granted && until_ms > now_ms)
        answer.lease_ms = (uint32_t)(until_ms - now_ms);
    if (!answer.granted && retry_ms > now_ms)
        answer.retry_ms = retry_ms - now_ms < UINT32_MAX ? (uint32_t)(retry_ms - now_ms) : 0;
    rollouts_answer(live->rollouts, reply, &answer);
}

static void act(struct rollouts_live *live, const struct rollout_effect *effect,
                const struct rollouts_pending *pending)
{
    switch (effect->kind) {
    case ROLLOUT_LEASE:
        if (pending && pending->reply)
            answer_lease(live, effect, pending->reply, pending->input.now_ms);
        return;
    case ROLLOUT_REFUSED:
        if (pending)
            log_write(LOG_LEVEL_WARNING, "rollout %s: %s", live->row.id, effect->u.refused.text);
        return;
    case ROLLOUT_FINISHED:
        live->over = true;
        return;
    default:
        live->over = false; /* an abort after its end */
        rollouts_effect(live, effect);
    }
}

/* pending is NULL at a replay. */
static void step(struct rollouts_live *live, struct rollout_input *input,
                 const struct rollouts_pending *pending)
{
    struct rollout_effects effects;
    keep_windows(live, input);
    rollout_step(live->core, input, &effects);
    drop_windows(live, input);
    note(live, input);
    live->stepped++;
    live->changed = true;
    live->more = effects.more;
    for (uint32_t i = 0; i < effects.len; i++)
        act(live, &effects.at[i], pending);
}

void rollouts_step(struct rollouts *r)
{
    for (uint32_t i = 0; i < r->pending_len; i++) {
        struct rollouts_pending *pending = &r->pending[i];
        step(pending->live, &pending->input, pending);
    }
    r->pending_len = 0;
    if (r->turn_arena.used_bytes > TURN_ARENA_BYTES_KEPT)
        arena_fini(&r->turn_arena);
    else
        arena_reset(&r->turn_arena);
}

/* Replay. */

struct replay {
    struct rollouts_live *live;
    struct arena arena;
    struct err err;
};

static bool replay_one(void *arg, uint64_t number, struct bytes encoded)
{
    struct replay *replay = arg;
    struct rollouts_live *live = replay->live;
    struct rollout_input input;
    struct rollout_names names;
    arena_reset(&replay->arena);
    if (rollout_codec_unpack(encoded, &replay->arena, &input, &names, &replay->err) != ERR_OK) {
        (void)err_wrap(&replay->err, "rollout %s, input %llu", live->row.id,
                       (unsigned long long)number);
        return false;
    }
    rollout_codec_hash(&input, &names, live->row.id);
    add_members(live, &names);
    if (input.kind == ROLLOUT_IN_START)
        keep_names(live, &input.u.start, &names);
    live->begun = true;
    live->stored++;
    step(live, &input, NULL);
    return true;
}

enum err_code rollouts_replay(struct rollouts_live *live, struct err *err)
{
    struct replay replay = {.live = live};
    arena_init(&replay.arena, ROLLOUTS_INPUT_ARENA);
    enum err_code code = store_rollout_inputs(live->rollouts->parts.db, live->row.id, live->stored,
                                              replay_one, &replay, err);
    arena_fini(&replay.arena);
    if (code == ERR_OK && replay.err.code != ERR_OK) {
        code = replay.err.code;
        if (err)
            *err = replay.err;
    }
    return code;
}

/* Ticks. */

static void on_tick(void *arg)
{
    struct rollouts_live *live = arg;
    if (rollouts_is_live(live) && live->begun)
        rollouts_push(live, &(struct rollout_input){.kind = ROLLOUT_IN_TICK}, NULL, NULL);
}

void rollouts_arm(struct rollouts_live *live)
{
    struct rollouts *r = live->rollouts;
    const int64_t deadline_ms = live->begun ? rollout_deadline_ms(live->core) : 0;
    loop_timer_stop(&live->tick);
    if (!rollouts_is_live(live) || deadline_ms == 0)
        return;
    /* Rounded up: a tick that comes early would ask for another at once. */
    const int64_t wait_ms = deadline_ms - clock_unix_ms();
    loop_timer_at(r->parts.loop, &live->tick,
                  loop_now_ms(r->parts.loop) + (wait_ms > 0 ? wait_ms + 1 : 1), on_tick, live);
}

/* The end of a turn. */

static void forget_last_member(struct rollouts_live *live)
{
    const uint32_t device = live->devices[--live->members_len];
    if (device < live->member_of_len)
        live->member_of[device] = 0;
}

void rollouts_rolled_back(struct rollouts *r)
{
    for (uint32_t i = 0; i < r->pending_len; i++) {
        struct rollouts_live *live = r->pending[i].live;
        live->stored = live->stepped;
        live->begun = live->stored > 0;
        while (live->members_len > live->members_stepped)
            forget_last_member(live);
    }
    r->pending_len = 0;
    arena_reset(&r->turn_arena);
}

static void tell_change(void *arg)
{
    struct rollouts_live *live = arg;
    struct rollouts *r = live->rollouts;
    struct rollout_handle handle;
    if (!live->changed || !live->begun)
        return;
    live->changed = false;
    live->told_ms = loop_now_ms(r->parts.loop);
    if (!r->on_change)
        return;
    rollouts_handle_of(live, &handle);
    r->on_change(r->on_change_arg, &handle);
}

static void tell_later(struct rollouts_live *live)
{
    struct loop *loop = live->rollouts->parts.loop;
    if (live->changed && live->tell.slot == 0)
        loop_timer_at(loop, &live->tell, live->told_ms + ROLLOUTS_CHANGE_MS, tell_change, live);
}

/* What follows from the steps of this turn. */
static void follow(struct rollouts *r)
{
    for (uint32_t i = 0; i < r->lives_len; i++) {
        struct rollouts_live *live = r->lives[i];
        if (!rollouts_is_live(live))
            continue;
        if (!live->begun && r->ready)
            rollouts_begin(live);
        else if (live->more)
            rollouts_push(live, &(struct rollout_input){.kind = ROLLOUT_IN_TICK}, NULL, NULL);
        live->more = false;
    }
}

/* Commits, steps, and so on, until nothing follows. True when anything was stepped. */
static bool settle(struct rollouts *r)
{
    struct err err = {0};
    bool any = false;
    for (int round = 0; round < ROLLOUTS_ROUNDS_MAX; round++) {
        follow(r);
        if (r->pending_len == 0)
            return any;
        any = true;
        if (db_commit(r->parts.db, &err) != ERR_OK) {
            log_err("what rollouts have to take could not be written", &err);
            rollouts_rolled_back(r);
            return any;
        }
        rollouts_step(r);
    }
    return any;
}

void rollouts_turn_end(struct rollouts *r)
{
    const bool any = settle(r);
    for (uint32_t i = 0; i < r->lives_len; i++) {
        if (any)
            rollouts_arm(r->lives[i]);
        tell_later(r->lives[i]);
    }
    if (r->retry.slot == 0)
        rollouts_submit(r);
}
