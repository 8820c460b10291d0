/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/rollouts.h"

#include <stdio.h>
#include <string.h>

#include "captain/rollouts_private.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/log.h"
#include "proto/codec.h"

enum { LIST_ARENA_BYTES = 256 << 20, LIVE_ARENA_BYTES = 64 << 20, PREFIX_MIN = 4 };

/* Which there are. */

bool rollouts_is_live(const struct rollouts_live *live)
{
    return live->row.ended_ms == 0 && !live->lost;
}

struct rollouts_live *rollouts_by_id(struct rollouts *r, const char *id)
{
    for (uint32_t i = r->lives_len; i-- > 0;)
        if (str_equal(r->lives[i]->row.id, id))
            return r->lives[i];
    return NULL;
}

struct rollouts_live *rollouts_of_channel(struct rollouts *r, const char *app, const char *channel)
{
    for (uint32_t i = r->lives_len; i-- > 0;) {
        struct rollouts_live *live = r->lives[i];
        if (rollouts_is_live(live) && str_equal(live->row.app, app) &&
            str_equal(live->row.channel, channel))
            return live;
    }
    return NULL;
}

uint32_t rollouts_member_of(const struct rollouts_live *live, uint32_t device)
{
    return device < live->member_of_len ? live->member_of[device] - 1u : ROLLOUT_NONE;
}

static void grow_member_of(struct rollouts_live *live, uint32_t device)
{
    uint32_t len = live->member_of_len ? live->member_of_len : 64;
    while (len <= device)
        len *= 2;
    live->member_of = mem_grow(live->member_of, live->member_of_len, len, sizeof *live->member_of);
    live->member_of_len = len;
}

void rollouts_add_member(struct rollouts_live *live, uint32_t device)
{
    if (live->members_len == live->members_cap) {
        const uint32_t cap = live->members_cap ? live->members_cap * 2 : 64;
        live->members = mem_grow(live->members, live->members_cap, cap, sizeof *live->members);
        live->devices = mem_grow(live->devices, live->members_cap, cap, sizeof *live->devices);
        live->members_cap = cap;
    }
    live->members[live->members_len] = (struct rollouts_member){0};
    live->devices[live->members_len++] = device;
    if (device == FLEET_NONE)
        return; /* the fleet is full: it stays silent */
    if (device >= live->member_of_len)
        grow_member_of(live, device);
    live->member_of[device] = live->members_len;
}

/* Loading. */

static void free_live(struct rollouts_live *live)
{
    loop_timer_stop(&live->tick);
    loop_timer_stop(&live->tell);
    for (uint32_t i = 0; live->windows && i < live->names.sites_len; i++)
        mem_free(live->windows[i]);
    mem_free(live->windows);
    mem_free((void *)(uintptr_t)live->names.sites);
    mem_free((void *)(uintptr_t)live->names.groups);
    mem_free(live->strata);
    mem_free(live->members);
    mem_free(live->devices);
    mem_free(live->member_of);
    rollout_free(live->core);
    arena_fini(&live->arena);
    mem_free(live);
}

static void remove_live(struct rollouts *r, uint32_t at)
{
    free_live(r->lives[at]);
    memmove(&r->lives[at], &r->lives[at + 1], (r->lives_len - at - 1) * sizeof *r->lives);
    r->lives_len--;
}

/* Of those that have ended, a few are kept for reading. */
static void make_room(struct rollouts *r)
{
    uint32_t ended = 0;
    for (uint32_t i = 0; i < r->lives_len; i++)
        ended += r->lives[i]->row.ended_ms > 0;
    for (uint32_t i = 0; i < r->lives_len && ended >= ROLLOUTS_ENDED_MAX; i++) {
        if (r->lives[i]->row.ended_ms == 0 || r->lives[i]->stored > r->lives[i]->stepped)
            continue;
        remove_live(r, i--);
        ended--;
    }
}

static void insert_live(struct rollouts *r, struct rollouts_live *live)
{
    uint32_t at = r->lives_len++;
    for (; at > 0 && r->lives[at - 1]->row.decision > live->row.decision; at--)
        r->lives[at] = r->lives[at - 1];
    r->lives[at] = live;
}

/* Effects that the log has, but that the stored inputs do not give: inputs are missing. */
static void check_history(struct rollouts_live *live)
{
    if (live->effects >= live->row.effects)
        return;
    live->lost = true;
    if (live->row.ended_ms > 0)
        return;
    log_write(LOG_LEVEL_ERROR, "rollout %s: its history is lost (%llu of %llu effects); it ends",
              live->row.id, (unsigned long long)live->effects,
              (unsigned long long)live->row.effects);
    rollouts_give_up(live);
}

static enum err_code load(struct rollouts *r, const char *id, struct rollouts_live **ret,
                          struct err *err)
{
    make_room(r);
    if (r->lives_len == ARRAY_LEN(r->lives))
        return err_set(err, ERR_FULL, "%d rollouts live already", ROLLOUTS_LIVE_MAX);
    struct rollouts_live *live = mem_new(1, sizeof *live);
    live->rollouts = r;
    live->core = rollout_new();
    arena_init(&live->arena, LIVE_ARENA_BYTES);
    enum err_code code = store_rollout_get(r->parts.db, id, &live->arena, &live->row, err);
    live->logged = live->row.effects;
    if (code == ERR_OK)
        code = rollouts_replay(live, err);
    if (code != ERR_OK) {
        free_live(live);
        return err_wrap(err, "loading rollout %s", id);
    }
    live->changed = true;
    insert_live(r, live);
    check_history(live);
    *ret = live;
    return ERR_OK;
}

/* What lives by the tables and is not here yet; what is here takes what decisions stored. */
static enum err_code load_all(struct rollouts *r, struct err *err)
{
    struct store_rollout *rows;
    size_t len;
    struct arena arena DEFER(arena_fini) = {0};
    arena_init(&arena, LIST_ARENA_BYTES);
    enum err_code code = store_rollout_list(r->parts.db, "", true, 0, &arena, &rows, &len, err);
    for (size_t i = len; code == ERR_OK && i-- > 0;) {
        struct rollouts_live *live = rollouts_by_id(r, rows[i].id);
        if (!live) {
            code = load(r, rows[i].id, &live, err);
            continue;
        }
        live->row.ended_ms = 0;
        if (rows[i].effects > live->logged)
            live->logged = rows[i].effects;
        if (!live->lost)
            code = rollouts_replay(live, err);
    }
    return code;
}

/* Decisions. */

static void take_stored(struct rollouts *r)
{
    struct err err = {0};
    rollouts_step(r); /* what is pending was committed with the decision */
    if (load_all(r, &err) != ERR_OK)
        log_err("rollouts could not take what was decided", &err);
    /* At once, not at the end of the turn: who is answered next finds it under way. */
    rollouts_turn_end(r);
    for (uint32_t i = 0; i < r->lives_len; i++)
        rollouts_arm(r->lives[i]);
}

static void take_moved(struct rollouts *r, const struct log_entry *entry)
{
    struct rollout_moved moved;
    struct err err = {0};
    struct arena arena DEFER(arena_fini) = {0};
    arena_init(&arena, 1 << 20);
    if (codec_decode(&codec_rollout_moved, entry->body, &arena, &moved, &err) != ERR_OK) {
        log_err("a move of a rollout", &err);
        return;
    }
    struct rollouts_live *live = rollouts_by_id(r, moved.id);
    if (!live)
        return;
    live->changed = true;
    const char *state = arena_strdup(&live->arena, moved.to);
    live->row.state = state ? state : live->row.state;
    if (moved.finished)
        live->row.ended_ms = entry->time_ms;
}

void rollouts_committed(struct rollouts *r, const struct log_entry *entry)
{
    if (str_equal(entry->kind, "rollout.started") || str_equal(entry->kind, "rollout.command") ||
        str_equal(entry->kind, "fleet.frozen") || str_equal(entry->kind, "fleet.thawed"))
        take_stored(r);
    else if (str_equal(entry->kind, "rollout.moved"))
        take_moved(r, entry);
    else if (str_equal(entry->kind, "site.windows"))
        rollouts_tell_windows(r, true);
}

void rollouts_connected(struct rollouts *r)
{
    r->ready = true;
    r->contact_ms = clock_unix_ms();
    take_stored(r);
    rollouts_tell_windows(r, true);
    rollouts_sweep_arm(r);
}

/* Reading. */

void rollouts_handle_of(const struct rollouts_live *live, struct rollout_handle *ret)
{
    const struct store_rollout *row = &live->row;
    *ret = (struct rollout_handle){.id = row->id,
                                   .app = row->app,
                                   .channel = row->channel,
                                   .policy_name = row->policy_name,
                                   .policy_text = row->policy,
                                   .started_by = row->started_by,
                                   .reason = row->reason,
                                   .started_ms = row->started_ms,
                                   .ended_ms = row->ended_ms,
                                   .has_base = row->has_base,
                                   .decision = row->decision,
                                   .core = live->core,
                                   .lost_state = live->lost ? row->state : NULL,
                                   .members_len = live->members_stepped,
                                   .members = live->devices};
    memcpy(ret->digest, row->digest, DIGEST_BYTES);
    memcpy(ret->base_digest, row->base_digest, DIGEST_BYTES);
}

uint32_t rollouts_member(struct rollouts *r, const struct rollout_handle *handle, uint32_t device)
{
    const struct rollouts_live *live = rollouts_by_id(r, handle->id);
    const uint32_t member = live ? rollouts_member_of(live, device) : ROLLOUT_NONE;
    return member < handle->members_len ? member : ROLLOUT_NONE;
}

bool rollouts_live(struct rollouts *r, const char *app, const char *channel,
                   struct rollout_handle *ret)
{
    const struct rollouts_live *live = rollouts_of_channel(r, app, channel);
    if (live)
        rollouts_handle_of(live, ret);
    return live != NULL;
}

bool rollouts_frozen(const struct rollouts *r)
{
    int64_t frozen = 0;
    struct err err = {0};
    if (store_setting_get_int(r->parts.db, "frozen", 0, &frozen, &err) != ERR_OK)
        log_err("the freeze could not be read", &err);
    return frozen != 0;
}

void rollouts_on_change(struct rollouts *r, rollouts_change_fn fn, void *arg)
{
    r->on_change = fn;
    r->on_change_arg = arg;
}

/* The id that the text means, by the tables. */
static enum err_code find_id(struct rollouts *r, const char *text, char ret[static ULID_TEXT],
                             struct err *err)
{
    struct store_rollout *rows;
    size_t len = 0, found = 0;
    const bool is_channel = strchr(text, '/') != NULL;
    struct arena arena DEFER(arena_fini) = {0};
    arena_init(&arena, LIST_ARENA_BYTES);
    enum err_code code = store_rollout_list(r->parts.db, is_channel ? text : "", false,
                                            is_channel ? 1 : 0, &arena, &rows, &len, err);
    if (code != ERR_OK)
        return code;
    for (size_t i = 0; i < len; i++) {
        if (!is_channel && strncmp(rows[i].id, text, strlen(text)) != 0)
            continue;
        if (found++ == 0)
            (void)snprintf(ret, ULID_TEXT, "%s", rows[i].id);
    }
    if (found > 1)
        return err_set(err, ERR_CONFLICT, "%zu rollouts begin with %s: say more of the id", found,
                       text);
    if (found == 0)
        return err_set(err, ERR_NOT_FOUND,
                       is_channel ? "channel %s has had no rollout" : "no rollout is called %s",
                       text);
    return ERR_OK;
}

enum err_code rollouts_find(struct rollouts *r, const char *text, struct rollout_handle *ret,
                            struct err *err)
{
    char id[ULID_TEXT];
    struct rollouts_live *live = rollouts_by_id(r, text);
    enum err_code code = ERR_OK;
    if (!live && strlen(text) < PREFIX_MIN)
        return err_set(err, ERR_NOT_FOUND, "say at least %d characters of a rollout's id",
                       PREFIX_MIN);
    if (!live) {
        code = find_id(r, text, id, err);
        live = code == ERR_OK ? rollouts_by_id(r, id) : NULL;
    }
    if (code == ERR_OK && !live)
        code = load(r, id, &live, err);
    if (code == ERR_OK)
        rollouts_handle_of(live, ret);
    return code;
}

/* Opening and closing. */

enum err_code rollouts_open(const struct rollouts_parts *parts, struct rollouts **ret,
                            struct err *err)
{
    struct rollouts *r = mem_new(1, sizeof *r);
    r->parts = *parts;
    r->orders_end = &r->orders;
    arena_init(&r->turn_arena, ROLLOUTS_INPUT_ARENA);
    enum err_code code = bus_subscribe(parts->bus, "lease.*.*", rollouts_on_lease, r, err);
    if (code == ERR_OK)
        code = load_all(r, err);
    if (code != ERR_OK) {
        rollouts_close(r);
        return code;
    }
    *ret = r;
    return ERR_OK;
}

void rollouts_close(struct rollouts *r)
{
    if (!r)
        return;
    loop_timer_stop(&r->sweep);
    loop_timer_stop(&r->retry);
    for (uint32_t i = 0; i < r->lives_len; i++)
        free_live(r->lives[i]);
    rollouts_drop_orders(r);
    mem_free(r->pending);
    arena_fini(&r->turn_arena);
    mem_free(r);
}
