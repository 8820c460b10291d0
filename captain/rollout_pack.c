/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/rollout_pack.h"

#include <string.h>

enum {
    VERSION = 1,
    HAS_BASE = 1, /* of the start */
    FROZEN = 2,
    ELIGIBLE = 1, /* of a member */
    ONLINE = 2,
    LEASED = 4,
    NAME_MAX_BYTES = 2 * TOKEN_MAX + 1,
    MEMBER_MIN_BYTES = 5,
};

struct writer {
    uint8_t *at;
    size_t len;
};

static void put(struct writer *w, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        w->at[w->len++] = (uint8_t)(value >> (8 * i));
}

static void put_name(struct writer *w, const char *name)
{
    const size_t len = strlen(name);
    put(w, len, 1);
    memcpy(w->at + w->len, name, len);
    w->len += len;
}

static void put_names(struct writer *w, const char *const *names, uint32_t len)
{
    put(w, len, 4);
    for (uint32_t i = 0; i < len; i++)
        put_name(w, names[i]);
}

static void put_member(struct writer *w, const struct rollout_join *join, const char *name)
{
    const bool leased = join->lease_until_ms > 0;
    put(w, join->stratum, 2);
    put(w, join->pick, 1);
    put(w, (join->eligible ? ELIGIBLE : 0) | (join->online ? ONLINE : 0) | (leased ? LEASED : 0),
        1);
    if (leased)
        put(w, (uint64_t)join->lease_until_ms, 8);
    put_name(w, name);
}

static size_t size_of_names(const char *const *names, uint32_t len)
{
    size_t sum = 4;
    for (uint32_t i = 0; i < len; i++)
        sum += 1 + strlen(names[i]);
    return sum;
}

enum err_code rollout_pack_members(const struct rollout_start *start,
                                   const struct rollout_names *names, struct arena *arena,
                                   struct bytes *ret, struct err *err)
{
    const size_t size = 10 + size_of_names(names->sites, names->sites_len) +
                        size_of_names(names->groups, names->groups_len) + 4 +
                        4 * (size_t)start->strata_len + 4 + 12 * (size_t)start->members_len +
                        size_of_names(names->devices, names->devices_len);
    struct writer w = {.at = arena_alloc(arena, size)};
    if (!w.at)
        return err_set(err, ERR_SIZE, "%u devices are more than a rollout can hold",
                       start->members_len);
    put(&w, VERSION, 1);
    put(&w, start->seed, 8);
    put(&w, (start->has_base ? HAS_BASE : 0u) | (start->frozen ? FROZEN : 0u), 1);
    put_names(&w, names->sites, names->sites_len);
    put_names(&w, names->groups, names->groups_len);
    put(&w, start->strata_len, 4);
    for (uint32_t i = 0; i < start->strata_len; i++) {
        put(&w, start->strata[i].site, 2);
        put(&w, start->strata[i].group, 2);
    }
    put(&w, start->members_len, 4);
    for (uint32_t i = 0; i < start->members_len; i++)
        put_member(&w, &start->members[i], names->devices[i]);
    *ret = bytes_of(w.at, w.len);
    return ERR_OK;
}

/* Reading; the first thing that is missing or too large sets failed, and all that follows is 0. */

struct reader {
    struct bytes in;
    size_t at;
    struct arena *arena;
    bool failed;
};

static uint64_t get(struct reader *r, size_t bytes)
{
    uint64_t value = 0;
    if (r->failed || r->in.len - r->at < bytes) {
        r->failed = true;
        return 0;
    }
    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t)r->in.ptr[r->at++] << (8 * i);
    return value;
}

static const char *get_name(struct reader *r)
{
    const size_t len = (size_t)get(r, 1);
    if (r->failed || len > NAME_MAX_BYTES || r->in.len - r->at < len) {
        r->failed = true;
        return "";
    }
    char *name = arena_alloc(r->arena, len + 1);
    if (!name) {
        r->failed = true;
        return "";
    }
    memcpy(name, r->in.ptr + r->at, len);
    r->at += len;
    return name;
}

/* An array for as many things as are announced, if the bytes that are left can hold them. */
static void *get_array(struct reader *r, size_t min_bytes, size_t item_bytes, uint32_t *ret_len)
{
    const uint32_t len = (uint32_t)get(r, 4);
    void *items = NULL;
    if (!r->failed && (r->in.len - r->at) / min_bytes >= len)
        items = arena_alloc(r->arena, ((size_t)len + 1) * item_bytes);
    r->failed = r->failed || !items;
    *ret_len = r->failed ? 0 : len;
    return items;
}

static const char *const *get_names(struct reader *r, uint32_t *ret_len)
{
    const char **names = get_array(r, 1, sizeof *names, ret_len);
    for (uint32_t i = 0; i < *ret_len; i++)
        names[i] = get_name(r);
    return names;
}

static struct rollout_stratum *get_strata(struct reader *r, const struct rollout_names *names,
                                          uint32_t *ret_len)
{
    struct rollout_stratum *strata = get_array(r, 4, sizeof *strata, ret_len);
    for (uint32_t i = 0; i < *ret_len; i++) {
        strata[i].site = (uint16_t)get(r, 2);
        strata[i].group = (uint16_t)get(r, 2);
        if (strata[i].site >= names->sites_len || strata[i].group >= names->groups_len)
            r->failed = true;
    }
    return strata;
}

static struct rollout_join *get_members(struct reader *r, struct rollout_names *names,
                                        uint32_t *ret_len)
{
    struct rollout_join *members = get_array(r, MEMBER_MIN_BYTES, sizeof *members, ret_len);
    const char **devices =
        r->failed ? NULL : arena_alloc(r->arena, ((size_t)*ret_len + 1) * sizeof *devices);
    r->failed = r->failed || !devices;
    for (uint32_t i = 0; i < *ret_len && !r->failed; i++) {
        members[i].stratum = (uint16_t)get(r, 2);
        members[i].pick = (uint8_t)get(r, 1);
        const uint64_t flags = get(r, 1);
        members[i].eligible = flags & ELIGIBLE;
        members[i].online = flags & ONLINE;
        members[i].lease_until_ms = flags & LEASED ? (int64_t)get(r, 8) : 0;
        devices[i] = get_name(r);
    }
    names->devices = devices;
    names->devices_len = *ret_len;
    return members;
}

enum err_code rollout_unpack_members(struct bytes in, struct arena *arena,
                                     struct rollout_start *ret, struct rollout_names *ret_names,
                                     struct err *err)
{
    struct reader r = {.in = in, .arena = arena};
    *ret = (struct rollout_start){0};
    *ret_names = (struct rollout_names){0};
    const uint64_t version = get(&r, 1);
    ret->seed = get(&r, 8);
    const uint64_t flags = get(&r, 1);
    ret->has_base = flags & HAS_BASE;
    ret->frozen = flags & FROZEN;
    ret_names->sites = get_names(&r, &ret_names->sites_len);
    ret_names->groups = get_names(&r, &ret_names->groups_len);
    ret->strata = get_strata(&r, ret_names, &ret->strata_len);
    ret->members = get_members(&r, ret_names, &ret->members_len);
    if (!r.failed && version == VERSION && r.at == in.len)
        return ERR_OK;
    return err_set(err, ERR_MALFORMED, "the packed members of a rollout end early or are wrong");
}
