/* SPDX-License-Identifier: Apache-2.0
 *
 * Who takes part in a rollout that starts: every device that says it follows the channel, by site and
 * hardware, with what the policy's selectors and names pick.
 */
#include <stdio.h>
#include <string.h>

#include "captain/core/names.h"
#include "captain/io/policy_yaml.h"
#include "captain/io/store/device.h"
#include "captain/rollouts_private.h"
#include "captain/selector.h"
#include "common/base/cohort.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/log.h"
#include "proto/codec.h"

enum {
    HEALTH_ARENA_BYTES = 256 << 10,
    SETS_ARENA_BYTES = 64 << 20,
    LABELS_MAX = 64,
    STRATUM_KEY_MAX = 24,
};

/* A wave that picks by itself. */
struct pick {
    enum policy_wave_kind kind;
    struct cohort_selector selector; /* SELECTOR */
    const char *names;               /* NAMED: "site/a,site/b" */
};

struct census {
    struct rollouts *r;
    struct arena *arena;
    struct arena health_arena; /* of the device at hand */
    const char *app, *channel, *id;
    const struct policy *policy;
    int64_t now_ms;
    struct pick picks[POLICY_WAVES_MAX];
    bool picks_labels;
    struct store_device_set *sets;
    size_t sets_len;
    struct names sites, groups, strata_names;
    struct rollout_stratum *strata; /* grows on the heap, then moves into the arena */
    uint32_t strata_len, strata_cap;
    struct rollout_join *members;
    uint32_t *devices;
    uint32_t len, cap;
    bool failed;
};

/* Picks. */

static enum err_code read_picks(struct census *c, struct err *err)
{
    for (uint32_t i = 0; i < c->policy->waves_len; i++) {
        const struct policy_wave *wave = &c->policy->waves[i];
        c->picks[i].kind = wave->kind;
        c->picks[i].names = wave->selector;
        if (wave->kind != POLICY_WAVE_SELECTOR)
            continue;
        c->picks_labels = true;
        enum err_code code = selector_rule(wave->selector, c->arena, &c->picks[i].selector, err);
        if (code != ERR_OK)
            return err_wrap(err, "wave %s", wave->name);
    }
    return ERR_OK;
}

/* "a,b" has b. */
static bool list_has(const char *list, const char *name)
{
    const size_t len = strlen(name);
    while (*list) {
        list += strspn(list, ", ");
        const size_t part = strcspn(list, ", ");
        if (part == len && strncmp(list, name, len) == 0)
            return true;
        list += part;
    }
    return false;
}

static size_t add_labels(struct census *c, const struct device_label_set *labels, size_t labels_len,
                         struct cohort_label *ret, size_t len)
{
    (void)c;
    for (size_t i = 0; i < labels_len && len < LABELS_MAX; i++)
        ret[len++] = (struct cohort_label){labels[i].key, labels[i].value};
    return len;
}

static const struct store_device_set *find_set(const struct census *c, const char *device)
{
    size_t low = 0, high = c->sets_len;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        const int order = strcmp(c->sets[middle].device, device);
        if (order == 0)
            return &c->sets[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* What captain says of the device comes before what it says itself. */
static size_t labels_of(struct census *c, const char *device, const struct health *health,
                        struct cohort_label ret[static LABELS_MAX])
{
    const struct store_device_set *row = find_set(c, device);
    struct device_set set;
    size_t len = 0;
    if (row && codec_decode(&codec_device_set, row->set, &c->health_arena, &set, NULL) == ERR_OK)
        len = add_labels(c, set.labels, set.labels_len, ret, len);
    for (size_t i = 0; i < health->labels_len && len < LABELS_MAX; i++)
        ret[len++] = (struct cohort_label){health->labels[i].key, health->labels[i].value};
    return len;
}

static uint8_t pick_of(struct census *c, const char *device, const struct health *health)
{
    struct cohort_label labels[LABELS_MAX];
    const size_t len = c->picks_labels ? labels_of(c, device, health, labels) : 0;
    for (uint32_t i = 0; i < c->policy->waves_len; i++) {
        const struct pick *pick = &c->picks[i];
        if (pick->kind == POLICY_WAVE_SELECTOR &&
            cohort_selects(&pick->selector, device, labels, len))
            return (uint8_t)i;
        if (pick->kind == POLICY_WAVE_NAMED && list_has(pick->names, device))
            return (uint8_t)i;
    }
    return ROLLOUT_PICK_NONE;
}

bool rollouts_pins(struct bytes text, const char *app, struct arena *arena)
{
    struct device_set set;
    if (codec_decode(&codec_device_set, text, arena, &set, NULL) != ERR_OK)
        return false;
    for (size_t i = 0; i < set.pins_len; i++)
        if (str_equal(set.pins[i].app, app))
            return true;
    return false;
}

/* A pin that was decided holds from then on, though the device has not told yet that it heard. */
static bool is_pinned(struct census *c, const char *device)
{
    const struct store_device_set *row = find_set(c, device);
    return row && rollouts_pins(row->set, c->app, &c->health_arena);
}

/* Strata. */

static void site_of(const char *device, char ret[static TOKEN_MAX + 1])
{
    (void)snprintf(ret, TOKEN_MAX + 1, "%.*s", (int)strcspn(device, "/"), device);
}

static uint32_t stratum_number(struct census *c, const char *site, const char *group)
{
    char key[STRATUM_KEY_MAX];
    const uint32_t site_id = names_hold(&c->sites, site);
    const uint32_t group_id = names_hold(&c->groups, group);
    if (site_id == NAMES_NONE || group_id == NAMES_NONE)
        return ROLLOUT_NONE;
    (void)snprintf(key, sizeof key, "%u/%u", site_id, group_id);
    const uint32_t number = names_hold(&c->strata_names, key);
    if (number == NAMES_NONE || number < c->strata_len)
        return number;
    if (c->strata_len == c->strata_cap) {
        const uint32_t cap = c->strata_cap ? c->strata_cap * 2 : 16;
        c->strata = mem_grow(c->strata, c->strata_cap, cap, sizeof *c->strata);
        c->strata_cap = cap;
    }
    c->strata[c->strata_len++] = (struct rollout_stratum){(uint16_t)site_id, (uint16_t)group_id};
    return number;
}

/* Members. */

static const struct app_status *follows(const struct census *c, const struct health *health)
{
    for (size_t i = 0; i < health->apps_len; i++)
        if (str_equal(health->apps[i].app, c->app) &&
            str_equal(health->apps[i].channel, c->channel) && !health->apps[i].pinned)
            return &health->apps[i];
    return NULL;
}

static void add_member(struct census *c, const char *device, uint32_t number,
                       const struct health *health)
{
    char site[TOKEN_MAX + 1];
    struct fleet_row row;
    if (c->len == c->cap) {
        const uint32_t cap = c->cap ? c->cap * 2 : 64;
        c->members = mem_grow(c->members, c->cap, cap, sizeof *c->members);
        c->devices = mem_grow(c->devices, c->cap, cap, sizeof *c->devices);
        c->cap = cap;
    }
    site_of(device, site);
    const uint32_t stratum = stratum_number(c, site, health->hardware);
    if (stratum >= ROLLOUT_STRATA_MAX) {
        c->failed = true;
        return;
    }
    fleet_row(c->r->parts.fleet, number, &row);
    c->members[c->len] = (struct rollout_join){
        .hash = cohort_hash(c->id, device),
        .stratum = (uint16_t)stratum,
        .pick = pick_of(c, device, health),
        .eligible = c->now_ms - row.last_seen_ms <= c->policy->eligible_age_ms,
        .online = fleet_online(c->r->parts.fleet, number, c->now_ms)};
    c->devices[c->len++] = number;
}

static bool count_device(void *arg, const struct store_device *device)
{
    struct census *c = arg;
    struct health health;
    const uint32_t number = fleet_find(c->r->parts.fleet, device->device);
    arena_reset(&c->health_arena);
    if (number == FLEET_NONE || device->health.len == 0 ||
        codec_decode(&codec_health, device->health, &c->health_arena, &health, NULL) != ERR_OK ||
        !follows(c, &health) || is_pinned(c, device->device))
        return true;
    add_member(c, device->device, number, &health);
    return !c->failed && c->len < ROLLOUT_MEMBERS_MAX;
}

static enum err_code count_all(struct census *c, struct arena *sets_arena, struct err *err)
{
    enum err_code code = read_picks(c, err);
    if (code == ERR_OK)
        code =
            store_device_set_list(c->r->parts.db, false, sets_arena, &c->sets, &c->sets_len, err);
    if (code == ERR_OK)
        code = store_device_each(c->r->parts.db, count_device, c, err);
    if (code == ERR_OK && c->failed)
        return err_set(err, ERR_FULL, "more than %d pairs of site and hardware",
                       ROLLOUT_STRATA_MAX);
    /* Who comes later from a site that nobody is of yet shares this stratum. */
    if (code == ERR_OK)
        (void)stratum_number(c, "", "");
    return code;
}

/* Into the arena. */

static const char *const *copy_names(const struct names *names, uint32_t *ret_len,
                                     struct arena *arena)
{
    const char **copy = arena_alloc(arena, (names->len + 1) * sizeof *copy);
    for (uint32_t i = 0; copy && i < names->len; i++) {
        copy[i] = arena_strdup(arena, names_text(names, i));
        if (!copy[i])
            return NULL;
    }
    *ret_len = names->len;
    return copy;
}

static const char *const *name_devices(const struct census *c)
{
    const char **names = arena_alloc(c->arena, ((size_t)c->len + 1) * sizeof *names);
    for (uint32_t i = 0; names && i < c->len; i++)
        names[i] = fleet_device_name(c->r->parts.fleet, c->devices[i]);
    return names;
}

static enum err_code hand_over(struct census *c, struct rollout_start *ret,
                               const uint32_t **ret_devices, struct rollout_names *ret_names,
                               struct err *err)
{
    static const uint8_t nothing[8] = {0};
    const size_t len = c->len;
    ret->members =
        arena_dup(c->arena, len ? (void *)c->members : nothing, len ? len * sizeof *c->members : 1);
    ret->members_len = c->len;
    ret->strata = arena_dup(c->arena, c->strata, c->strata_len * sizeof *c->strata);
    ret->strata_len = c->strata_len;
    *ret_devices =
        arena_dup(c->arena, len ? (void *)c->devices : nothing, len ? len * sizeof *c->devices : 1);
    ret_names->sites = copy_names(&c->sites, &ret_names->sites_len, c->arena);
    ret_names->groups = copy_names(&c->groups, &ret_names->groups_len, c->arena);
    ret_names->devices = name_devices(c);
    ret_names->devices_len = c->len;
    if (ret->members && ret->strata && *ret_devices && ret_names->sites && ret_names->groups &&
        ret_names->devices)
        return ERR_OK;
    return err_set(err, ERR_SIZE, "%u devices take too much memory", c->len);
}

struct order {
    const char *app, *channel, *id;
    const struct policy *policy;
    uint64_t seed;
};

static enum err_code members_now(struct rollouts *r, const struct order *order, struct arena *arena,
                                 struct rollout_start *ret, const uint32_t **ret_devices,
                                 struct rollout_names *ret_names, struct err *err)
{
    struct arena sets_arena DEFER(arena_fini) = {0};
    struct census *c = mem_new(1, sizeof *c);
    *c = (struct census){.r = r,
                         .arena = arena,
                         .app = order->app,
                         .channel = order->channel,
                         .id = order->id,
                         .policy = order->policy,
                         .now_ms = clock_unix_ms()};
    arena_init(&sets_arena, SETS_ARENA_BYTES);
    arena_init(&c->health_arena, HEALTH_ARENA_BYTES);
    names_init(&c->sites, ROLLOUTS_SITES_MAX);
    names_init(&c->groups, ROLLOUTS_SITES_MAX);
    names_init(&c->strata_names, ROLLOUT_STRATA_MAX);
    *ret = (struct rollout_start){.policy = order->policy, .seed = order->seed};
    enum err_code code = count_all(c, &sets_arena, err);
    if (code == ERR_OK)
        code = hand_over(c, ret, ret_devices, ret_names, err);
    names_fini(&c->sites);
    names_fini(&c->groups);
    names_fini(&c->strata_names);
    arena_fini(&c->health_arena);
    mem_free(c->strata);
    mem_free(c->members);
    mem_free(c->devices);
    mem_free(c);
    return code;
}

enum err_code rollouts_members_now(struct rollouts *r, const char *app, const char *channel,
                                   const char *rollout_id, const struct policy *policy,
                                   uint64_t seed, struct arena *arena, struct rollout_start *ret,
                                   const uint32_t **ret_devices, struct err *err)
{
    struct rollout_names names = {0};
    const struct order order = {app, channel, rollout_id, policy, seed};
    return members_now(r, &order, arena, ret, ret_devices, &names, err);
}

/* The start. */

/* Leases that older rollouts of the channel gave still count. */
static void carry_leases(struct rollouts_live *live, struct rollout_join *members,
                         const uint32_t *devices, uint32_t len)
{
    struct rollouts *r = live->rollouts;
    for (uint32_t k = 0; k < r->lives_len; k++) {
        const struct rollouts_live *old = r->lives[k];
        if (old == live || !old->begun || !str_equal(old->row.app, live->row.app) ||
            !str_equal(old->row.channel, live->row.channel))
            continue;
        for (uint32_t i = 0; i < len; i++) {
            struct rollout_device_view view;
            const uint32_t member = rollouts_member_of(old, devices[i]);
            if (member >= old->members_stepped)
                continue;
            rollout_device_view(old->core, member, &view);
            if (view.leased && view.lease_until_ms > members[i].lease_until_ms)
                members[i].lease_until_ms = view.lease_until_ms;
        }
    }
}

static enum err_code begin(struct rollouts_live *live, struct policy *policy, struct err *err)
{
    struct rollouts *r = live->rollouts;
    const struct store_rollout *row = &live->row;
    struct rollout_input input = {.kind = ROLLOUT_IN_START};
    struct rollout_names names = {0};
    const uint32_t *devices;
    const struct order order = {row->app, row->channel, row->id, policy, row->seed};
    const char *name = row->policy_name[0] ? row->policy_name : "policy";
    enum err_code code =
        policy_yaml_parse(name, bytes_of(row->policy, strlen(row->policy)), policy, err);
    if (code == ERR_OK)
        code = members_now(r, &order, &r->turn_arena, &input.u.start, &devices, &names, err);
    if (code != ERR_OK)
        return code;
    input.u.start.has_base = row->has_base;
    input.u.start.frozen = rollouts_frozen(r);
    carry_leases(live, (struct rollout_join *)(uintptr_t)input.u.start.members, devices,
                 input.u.start.members_len);
    rollouts_push(live, &input, &names, NULL);
    if (live->begun)
        rollouts_begin_windows(live);
    return ERR_OK;
}

void rollouts_begin(struct rollouts_live *live)
{
    struct err err = {0};
    struct policy *policy = arena_alloc(&live->rollouts->turn_arena, sizeof *policy);
    enum err_code code = policy ? begin(live, policy, &err)
                                : err_set(&err, ERR_SIZE, "the turn's memory is used up");
    if (code == ERR_OK)
        return;
    (void)err_wrap(&err, "rollout %s cannot start", live->row.id);
    log_err("rollouts", &err);
    rollouts_give_up(live);
}
