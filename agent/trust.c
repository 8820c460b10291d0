/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/trust.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "common/base/mem.h"
#include "common/file.h"
#include "common/log.h"

enum { TRUST_ARENA_MAX_BYTES = 4 << 20, COUNTER_NAME_MAX = 192 };
#define COUNTER_ROOT "root"
#define COUNTER_EPOCH "desired_epoch"

struct trust {
    struct agent_store *store;
    char *kept;
    struct arena arena; /* the root document */
    struct root root;
    struct utsname machine;
    char hardware[TOKEN_MAX + 1];
    struct trust_target self;
};

/* ---- counters ---- */

/* Of the epoch's own counters, as their names begin: "" before role desired ever changed. */
static void epoch_prefix(uint64_t epoch, char ret[static 24])
{
    ret[0] = '\0';
    if (epoch > 0)
        (void)snprintf(ret, 24, "e%" PRIu64 "/", epoch);
}

static void counter_name(const struct trust *trust, char ret[static COUNTER_NAME_MAX],
                         const char *name)
{
    char prefix[24];
    epoch_prefix(agent_store_counter(trust->store, COUNTER_EPOCH), prefix);
    (void)snprintf(ret, COUNTER_NAME_MAX, "%s%s", prefix, name);
}

static uint64_t epoch_counter(const struct trust *trust, const char *name)
{
    char full[COUNTER_NAME_MAX];
    counter_name(trust, full, name);
    return agent_store_counter(trust->store, full);
}

static enum err_code raise_epoch_counter(struct trust *trust, const char *name, uint64_t value,
                                         struct err *err)
{
    char full[COUNTER_NAME_MAX];
    counter_name(trust, full, name);
    return agent_store_raise_counter(trust->store, full, value, err);
}

/* Those of the epoch before are of no use any more. */
static enum err_code forget_epoch(struct trust *trust, uint64_t epoch, struct err *err)
{
    static const char *const first[] = {"desired/", "device", "signed_ms"};
    char prefix[24];
    enum err_code code = ERR_OK;
    epoch_prefix(epoch, prefix);
    if (epoch > 0)
        return agent_store_drop_counters(trust->store, prefix, err);
    for (size_t i = 0; code == ERR_OK && i < ARRAY_LEN(first); i++)
        code = agent_store_drop_counters(trust->store, first[i], err);
    return code;
}

/* old may be NULL: not known, so no change is seen. The version first: a device that loses its power
 * between the two is behind, and walks the chain again. */
static enum err_code count_root(struct trust *trust, const struct root *old,
                                const struct root *next, struct err *err)
{
    uint64_t before = agent_store_counter(trust->store, COUNTER_EPOCH);
    enum err_code code = agent_store_raise_counter(trust->store, COUNTER_ROOT, next->version, err);
    if (code != ERR_OK || !old || !trust_role_changed(old, next, TRUST_ROLE_DESIRED) ||
        next->version <= before)
        return code;
    code = agent_store_raise_counter(trust->store, COUNTER_EPOCH, next->version, err);
    return code ? code : forget_epoch(trust, before, err);
}

/* ---- the root ---- */

struct candidate {
    struct arena arena;
    struct bytes envelope;
    struct root root;
};

static enum err_code load(const char *path, const char *tenant, struct candidate *ret,
                          struct err *err)
{
    *ret = (struct candidate){0};
    arena_init(&ret->arena, TRUST_ARENA_MAX_BYTES);
    enum err_code code =
        path ? file_read(path, SIGN_ROOT_MAX_BYTES, &ret->arena, &ret->envelope, err)
             : err_set(err, ERR_NOT_FOUND, "no root document is configured");
    if (code == ERR_OK)
        code = trust_root_anchor(ret->envelope, &ret->arena, &ret->root, err);
    if (code == ERR_OK && !str_equal(ret->root.tenant, tenant))
        code = err_set(err, ERR_WRONG_TARGET, "is of tenant \"%s\", this device belongs to \"%s\"",
                       ret->root.tenant, tenant);
    if (code == ERR_OK)
        return ERR_OK;
    arena_fini(&ret->arena);
    ret->root = (struct root){0};
    return path ? err_wrap(err, "root document %s", path) : code;
}

/* Takes the candidate's arena. */
static void put_in_force(struct trust *trust, struct candidate *candidate)
{
    arena_fini(&trust->arena);
    trust->arena = candidate->arena;
    trust->root = candidate->root;
    *candidate = (struct candidate){0};
}

static enum err_code keep(struct trust *trust, const struct root *old, struct candidate *next,
                          struct err *err)
{
    enum err_code code = count_root(trust, old, &next->root, err);
    if (code == ERR_OK)
        code = file_replace(trust->kept, next->envelope, 0644, err);
    if (code == ERR_OK)
        put_in_force(trust, next);
    return code;
}

/* A version is 1 at least, so 0 says that there is none. */
static enum err_code choose(struct trust *trust, struct candidate *anchor, struct candidate *kept,
                            struct err *err)
{
    if (anchor->root.version >= kept->root.version &&
        !bytes_equal(anchor->envelope, kept->envelope))
        return keep(trust, kept->root.version > 0 ? &kept->root : NULL, anchor, err);
    put_in_force(trust, kept);
    return agent_store_raise_counter(trust->store, COUNTER_ROOT, trust->root.version, err);
}

static enum err_code open_root(struct trust *trust, const struct trust_options *options,
                               struct err *err)
{
    struct candidate anchor, kept;
    struct err kept_err;
    enum err_code code = load(options->anchor, options->tenant, &anchor, err);
    enum err_code kept_code = load(options->kept, options->tenant, &kept, &kept_err);
    if (code == ERR_NOT_FOUND && kept_code == ERR_OK)
        code = ERR_OK; /* it was only the way in */
    if (code == ERR_OK && kept_code != ERR_OK && kept_code != ERR_NOT_FOUND)
        log_err("the newest root is lost and is fetched again", &kept_err);
    if (code == ERR_OK)
        code = choose(trust, &anchor, &kept, err);
    arena_fini(&anchor.arena);
    arena_fini(&kept.arena);
    return code;
}

static enum err_code check_not_behind(const struct trust *trust, struct err *err)
{
    uint64_t seen = agent_store_counter(trust->store, COUNTER_ROOT);
    if (trust->root.version >= seen)
        return ERR_OK;
    return err_set(err, ERR_ROLLBACK,
                   "the root document here has version %" PRIu64 ", older than version %" PRIu64
                   " seen before; the newer one is awaited",
                   trust->root.version, seen);
}

static void fill_self(struct trust *trust, const struct trust_options *options)
{
    trust->self =
        (struct trust_target){.tenant = trust->root.tenant, .agent_version = CAPTAIN_VERSION};
    if (options->hardware &&
        str_copy(trust->hardware, sizeof trust->hardware, options->hardware) == ERR_OK)
        trust->self.hardware = trust->hardware;
    (void)uname(&trust->machine); /* it failed: "" fits only what is for any system */
    for (char *p = trust->machine.sysname; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    trust->self.os = trust->machine.sysname;
    trust->self.arch = trust->machine.machine;
}

enum err_code trust_open(const struct trust_options *options, struct trust **ret, struct err *err)
{
    struct trust *trust = mem_new(1, sizeof *trust);
    struct err behind;
    trust->store = options->store;
    trust->kept = mem_strdup(options->kept);
    enum err_code code = open_root(trust, options, err);
    if (code != ERR_OK) {
        trust_close(trust);
        return code;
    }
    fill_self(trust, options);
    if (check_not_behind(trust, &behind) != ERR_OK)
        log_err("nothing new is taken", &behind);
    *ret = trust;
    return ERR_OK;
}

void trust_close(struct trust *trust)
{
    if (!trust)
        return;
    arena_fini(&trust->arena);
    mem_free(trust->kept);
    mem_free(trust);
}

uint64_t trust_root_version(const struct trust *trust)
{
    return trust->root.version;
}

const struct trust_target *trust_self(const struct trust *trust)
{
    return &trust->self;
}

enum err_code trust_take_root(struct trust *trust, struct bytes envelope, struct err *err)
{
    struct candidate next = {.envelope = envelope};
    arena_init(&next.arena, TRUST_ARENA_MAX_BYTES);
    enum err_code code = trust_root_next(&trust->root, envelope, &next.arena, &next.root, err);
    if (code == ERR_OK)
        code = keep(trust, &trust->root, &next, err);
    arena_fini(&next.arena);
    if (code == ERR_OK)
        trust->self.tenant = trust->root.tenant;
    return code;
}

/* ---- what captain's online key signed ---- */

static struct trust_seen seen_of(const struct trust *trust, const char *counter, struct bytes last,
                                 uint64_t last_generation)
{
    struct trust_seen seen = {last, last_generation, epoch_counter(trust, counter)};
    bool began_anew = agent_store_counter(trust->store, COUNTER_EPOCH) > 0;
    if (began_anew && seen.generation < last_generation) { /* last is of the epoch before */
        seen.last = bytes_of(NULL, 0);
        seen.last_generation = 0;
    }
    return seen;
}

static enum err_code raise_issued(struct trust *trust, const char *counter, uint64_t generation,
                                  int64_t issued_ms, struct err *err)
{
    enum err_code code = raise_epoch_counter(trust, counter, generation, err);
    if (code == ERR_OK && issued_ms > 0)
        code = raise_epoch_counter(trust, "signed_ms", (uint64_t)issued_ms, err);
    return code;
}

enum err_code trust_desired(struct trust *trust, struct bytes envelope, const char *app,
                            const char *channel, struct bytes last, uint64_t last_generation,
                            int64_t now_ms, struct arena *arena, struct desired *ret,
                            struct err *err)
{
    struct desired desired;
    struct trust_target target = {.tenant = trust->root.tenant, .app = app, .channel = channel};
    char counter[COUNTER_NAME_MAX];
    (void)snprintf(counter, sizeof counter, "desired/%s/%s", app, channel);
    struct trust_seen seen = seen_of(trust, counter, last, last_generation);
    enum err_code code;
    if ((code = check_not_behind(trust, err)) ||
        (code = trust_check_desired(&trust->root, envelope, &target, &seen, now_ms, arena, &desired,
                                    err)) ||
        (code = raise_issued(trust, counter, desired.generation, desired.issued_ms, err)))
        return code;
    *ret = desired;
    return ERR_OK;
}

enum err_code trust_device(struct trust *trust, struct bytes envelope, const char *device,
                           struct bytes last, uint64_t last_generation, int64_t now_ms,
                           struct arena *arena, struct device_desired *ret, struct err *err)
{
    struct device_desired desired;
    struct trust_target target = {.tenant = trust->root.tenant, .device = device};
    struct trust_seen seen = seen_of(trust, "device", last, last_generation);
    enum err_code code;
    if ((code = check_not_behind(trust, err)) ||
        (code = trust_check_device(&trust->root, envelope, &target, &seen, now_ms, arena, &desired,
                                   err)) ||
        (code = raise_issued(trust, "device", desired.generation, desired.issued_ms, err)))
        return code;
    *ret = desired;
    return ERR_OK;
}

/* ---- releases ---- */

enum err_code trust_release(struct trust *trust, struct bytes envelope,
                            const uint8_t digest[DIGEST_BYTES], const char *app, int64_t now_ms,
                            struct arena *arena, struct release *ret, struct err *err)
{
    struct release release;
    uint8_t found[DIGEST_BYTES];
    char floor[COUNTER_NAME_MAX];
    struct trust_target target = trust->self;
    target.app = app;
    (void)snprintf(floor, sizeof floor, "floor/%s", app);
    uint64_t lowest = trust_floor(&trust->root, app);
    enum err_code code = check_not_behind(trust, err);
    if (code == ERR_OK && lowest > 0)
        code = agent_store_raise_counter(trust->store, floor, lowest, err);
    if (code != ERR_OK)
        return code;
    struct trust_release_want want = {digest, agent_store_counter(trust->store, floor),
                                      (int64_t)epoch_counter(trust, "signed_ms")};
    code = trust_check_release(&trust->root, envelope, &want, &target, now_ms, arena, &release,
                               found, err);
    if (code == ERR_OK)
        *ret = release;
    return code;
}
