/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/trust.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/file.h"
#include "common/hash.h"
#include "common/sign.h"
#include "proto/codec.h"

enum { TRUST_ARENA_MAX_BYTES = 512 << 10, COUNTER_NAME_MAX = 160 };

struct trust {
    struct agent_store *store;
    struct arena arena; /* the root document */
    struct root root;
};

/* A role's keys as one array; lives in the arena. */
static enum err_code find_role(const struct root *root, const char *name, struct arena *arena,
                               struct sign_role *ret, struct err *err)
{
    for (size_t i = 0; i < root->roles_len; i++) {
        const struct role *role = &root->roles[i];
        if (!str_equal(role->name, name))
            continue;
        uint8_t(*keys)[SIGN_PUBLIC_BYTES] = arena_alloc(arena, role->keys_len * sizeof *keys);
        if (!keys)
            return err_set(err, ERR_SIZE, "the root document names too many keys");
        for (size_t k = 0; k < role->keys_len; k++)
            memcpy(keys[k], role->keys[k].ptr, sizeof *keys);
        *ret = (struct sign_role){(const uint8_t(*)[SIGN_PUBLIC_BYTES])keys, role->keys_len,
                                  role->threshold};
        return ERR_OK;
    }
    return err_set(err, ERR_ROOT_CHAIN, "the root document names no role \"%s\"", name);
}

static enum err_code check_keys(const struct root *root, struct err *err)
{
    for (size_t i = 0; i < root->roles_len; i++) {
        const struct role *role = &root->roles[i];
        if (role->threshold > role->keys_len)
            return err_set(err, ERR_ROOT_CHAIN,
                           "role \"%s\": %u signatures are asked for, but there are %zu keys",
                           role->name, role->threshold, role->keys_len);
        for (size_t k = 0; k < role->keys_len; k++) {
            if (!sign_public_key_usable(role->keys[k].ptr))
                return err_set(err, ERR_ROOT_CHAIN, "role \"%s\": key %zu is not a usable key",
                               role->name, k + 1);
        }
    }
    return ERR_OK;
}

/* The anchor is a file of this device, so it may be read before it is checked: it names the keys
 * that must have signed it. */
static enum err_code open_root(struct trust *trust, struct bytes file, struct err *err)
{
    struct envelope envelope;
    struct root claimed;
    struct sign_role role;
    struct bytes payload;
    enum err_code code;
    if ((code = codec_decode(&codec_envelope, file, &trust->arena, &envelope, err)) ||
        (code = codec_decode(&codec_root, envelope.payload, &trust->arena, &claimed, err)) ||
        (code = check_keys(&claimed, err)) ||
        (code = find_role(&claimed, "root", &trust->arena, &role, err)) ||
        (code = sign_open(SIGN_TYPE_ROOT, SIGN_ROOT_MAX_BYTES, file, &role, &trust->arena, &payload,
                          err)))
        return code;
    return codec_decode(&codec_root, payload, &trust->arena, &trust->root, err);
}

static enum err_code check_root(struct trust *trust, const char *tenant, struct err *err)
{
    if (!str_equal(trust->root.tenant, tenant))
        return err_set(err, ERR_WRONG_TARGET, "is of tenant \"%s\", this device belongs to \"%s\"",
                       trust->root.tenant, tenant);
    uint64_t seen = agent_store_counter(trust->store, "root");
    if (trust->root.version < seen)
        return err_set(err, ERR_ROLLBACK,
                       "version %" PRIu64 " is older than version %" PRIu64 " seen before",
                       trust->root.version, seen);
    return agent_store_raise_counter(trust->store, "root", trust->root.version, err);
}

enum err_code trust_open(const char *root_path, const char *tenant, struct agent_store *store,
                         struct trust **ret, struct err *err)
{
    struct trust *trust = mem_new(1, sizeof *trust);
    trust->store = store;
    arena_init(&trust->arena, TRUST_ARENA_MAX_BYTES);
    struct bytes file;
    enum err_code code = file_read(root_path, SIGN_ROOT_MAX_BYTES, &trust->arena, &file, err);
    if (code == ERR_OK &&
        ((code = open_root(trust, file, err)) || (code = check_root(trust, tenant, err))))
        code = err_wrap(err, "root document %s", root_path);
    if (code != ERR_OK) {
        trust_close(trust);
        return code;
    }
    *ret = trust;
    return ERR_OK;
}

void trust_close(struct trust *trust)
{
    if (!trust)
        return;
    arena_fini(&trust->arena);
    mem_free(trust);
}

static enum err_code check_root_expiry(const struct trust *trust, int64_t now_ms, struct err *err)
{
    if (trust->root.expires_ms == 0 || now_ms < trust->root.expires_ms)
        return ERR_OK;
    char when[32];
    str_format_time(trust->root.expires_ms, when);
    return err_set(err, ERR_EXPIRED, "the root document expired at %s", when);
}

static enum err_code check_expiry(const char *what, int64_t expires_ms, int64_t now_ms,
                                  struct err *err)
{
    if (expires_ms == 0 || now_ms < expires_ms)
        return ERR_OK;
    char when[32];
    str_format_time(expires_ms, when);
    return err_set(err, ERR_EXPIRED, "%s expired at %s", what, when);
}

/* A document signed by captain's online key. */
static enum err_code open_online(struct trust *trust, const char *sign_type,
                                 const struct codec_type *codec, struct bytes envelope,
                                 struct arena *arena, void *ret, struct err *err)
{
    struct sign_role role;
    struct bytes payload;
    enum err_code code;
    if ((code = find_role(&trust->root, "desired", arena, &role, err)) ||
        (code =
             sign_open(sign_type, SIGN_DESIRED_MAX_BYTES, envelope, &role, arena, &payload, err)))
        return code;
    return codec_decode(codec, payload, arena, ret, err);
}

static enum err_code check_meant(const struct trust *trust, const struct desired *desired,
                                 const char *app, const char *channel, struct err *err)
{
    if (!str_equal(desired->tenant, trust->root.tenant))
        return err_set(err, ERR_WRONG_TARGET, "it is of tenant \"%s\"", desired->tenant);
    if (!str_equal(desired->app, app) || !str_equal(desired->channel, channel))
        return err_set(err, ERR_WRONG_TARGET, "it is of channel %s/%s", desired->app,
                       desired->channel);
    return ERR_OK;
}

static enum err_code check_generation(uint64_t generation, bool same_bytes, bool have_last,
                                      uint64_t last, struct err *err)
{
    if (generation < last)
        return err_set(err, ERR_ROLLBACK,
                       "generation %" PRIu64 " is older than %" PRIu64 " seen before", generation,
                       last);
    if (generation == last && have_last && !same_bytes)
        return err_set(err, ERR_ROLLBACK,
                       "another document bears the generation %" PRIu64 " seen before", generation);
    return ERR_OK;
}

/* What both documents of captain's online key have. */
struct issued {
    struct bytes envelope;
    uint64_t generation;
    int64_t issued_ms, expires_ms;
};

static enum err_code raise_issued(struct trust *trust, const char *counter,
                                  const struct issued *issued, struct err *err)
{
    enum err_code code = agent_store_raise_counter(trust->store, counter, issued->generation, err);
    if (code == ERR_OK && issued->issued_ms > 0)
        code =
            agent_store_raise_counter(trust->store, "signed_ms", (uint64_t)issued->issued_ms, err);
    return code;
}

/* Not older than what was seen under that counter, not expired; seen from now on. */
static enum err_code check_issued(struct trust *trust, const char *counter,
                                  const struct issued *issued, const struct issued *last,
                                  int64_t now_ms, struct err *err)
{
    uint64_t seen = agent_store_counter(trust->store, counter);
    /* A counter above the last document kept: that document was lost, its bytes cannot be compared.
     */
    bool have_last = last->envelope.len > 0 && last->generation >= seen;
    uint64_t floor = last->generation > seen ? last->generation : seen;
    bool same = bytes_equal(issued->envelope, last->envelope);
    enum err_code code;
    if ((code = check_generation(issued->generation, same, have_last, floor, err)) ||
        (code = check_expiry("it", issued->expires_ms, now_ms, err)))
        return code;
    return raise_issued(trust, counter, issued, err);
}

enum err_code trust_desired(struct trust *trust, struct bytes envelope, const char *app,
                            const char *channel, struct bytes last, uint64_t last_generation,
                            int64_t now_ms, struct arena *arena, struct desired *ret,
                            struct err *err)
{
    struct desired desired;
    enum err_code code;
    if ((code = check_root_expiry(trust, now_ms, err)) ||
        (code = open_online(trust, SIGN_TYPE_DESIRED, &codec_desired, envelope, arena, &desired,
                            err)) ||
        (code = check_meant(trust, &desired, app, channel, err)))
        return code;
    char counter[COUNTER_NAME_MAX];
    (void)snprintf(counter, sizeof counter, "desired/%s/%s", app, channel);
    struct issued now = {envelope, desired.generation, desired.issued_ms, desired.expires_ms},
                  before = {.envelope = last, .generation = last_generation};
    if ((code = check_issued(trust, counter, &now, &before, now_ms, err)))
        return code;
    *ret = desired;
    return ERR_OK;
}

enum err_code trust_device(struct trust *trust, struct bytes envelope, const char *device,
                           struct bytes last, uint64_t last_generation, int64_t now_ms,
                           struct arena *arena, struct device_desired *ret, struct err *err)
{
    struct device_desired desired;
    enum err_code code;
    if ((code = check_root_expiry(trust, now_ms, err)) ||
        (code = open_online(trust, SIGN_TYPE_DEVICE, &codec_device_desired, envelope, arena,
                            &desired, err)))
        return code;
    if (!str_equal(desired.tenant, trust->root.tenant))
        return err_set(err, ERR_WRONG_TARGET, "it is of tenant \"%s\"", desired.tenant);
    if (!str_equal(desired.device, device))
        return err_set(err, ERR_WRONG_TARGET, "it is about device %s", desired.device);
    struct issued now = {envelope, desired.generation, desired.issued_ms, desired.expires_ms},
                  before = {.envelope = last, .generation = last_generation};
    if ((code = check_issued(trust, "device", &now, &before, now_ms, err)))
        return code;
    *ret = desired;
    return ERR_OK;
}

/* Hashing is not parsing: a store that serves other bytes is told from a release that is signed
 * wrongly. */
static enum err_code check_digest(struct bytes envelope, const uint8_t digest[DIGEST_BYTES],
                                  struct arena *arena, struct err *err)
{
    struct envelope outer;
    if (envelope.len > SIGN_RELEASE_MAX_BYTES)
        return err_set(err, ERR_SIZE, "the release document is larger than %d bytes",
                       SIGN_RELEASE_MAX_BYTES);
    if (codec_decode(&codec_envelope, envelope, arena, &outer, err) != ERR_OK)
        return err_set(err, ERR_HASH, "what the store served is no release document");
    uint8_t found[DIGEST_BYTES];
    hash_bytes(outer.payload, found);
    if (memcmp(found, digest, DIGEST_BYTES) == 0)
        return ERR_OK;
    char hex[DIGEST_HEX];
    str_hex(bytes_of(found, DIGEST_BYTES), hex);
    return err_set(err, ERR_HASH, "what the store served is another release document (%.16s...)",
                   hex);
}

enum err_code trust_installed(struct trust *trust, struct bytes envelope,
                              const uint8_t digest[DIGEST_BYTES], const char *app,
                              struct arena *arena, struct release *ret, struct err *err)
{
    struct sign_role role;
    struct bytes payload;
    struct release release;
    enum err_code code;
    if ((code = check_digest(envelope, digest, arena, err)) ||
        (code = find_role(&trust->root, "release", arena, &role, err)) ||
        (code = sign_open(SIGN_TYPE_RELEASE, SIGN_RELEASE_MAX_BYTES, envelope, &role, arena,
                          &payload, err)) ||
        (code = codec_decode(&codec_release, payload, arena, &release, err)))
        return code;
    if (!str_equal(release.app, app))
        return err_set(err, ERR_WRONG_TARGET, "it is a release of app \"%s\"", release.app);
    *ret = release;
    return ERR_OK;
}

static enum err_code check_revoked(const struct trust *trust, const uint8_t digest[DIGEST_BYTES],
                                   struct err *err)
{
    for (size_t i = 0; i < trust->root.revoked_len; i++) {
        if (bytes_equal(trust->root.revoked[i], bytes_of(digest, DIGEST_BYTES)))
            return err_set(err, ERR_REVOKED, "it is revoked by the root document");
    }
    return ERR_OK;
}

static enum err_code check_floor(const struct trust *trust, const struct release *release,
                                 struct err *err)
{
    for (size_t i = 0; i < trust->root.floors_len; i++) {
        const struct release_floor *floor = &trust->root.floors[i];
        if (str_equal(floor->app, release->app) && release->sequence < floor->sequence)
            return err_set(err, ERR_ROLLBACK,
                           "its sequence %" PRIu64 " is below the floor %" PRIu64
                           " of the root document",
                           release->sequence, floor->sequence);
    }
    return ERR_OK;
}

static enum err_code check_clock(const struct trust *trust, int64_t now_ms, struct err *err)
{
    uint64_t signed_ms = agent_store_counter(trust->store, "signed_ms");
    if (now_ms >= 0 && (uint64_t)now_ms + TRUST_CLOCK_SKEW_MS >= signed_ms)
        return ERR_OK;
    char when[32];
    str_format_time((int64_t)signed_ms, when);
    err_set(err, ERR_EXPIRED, "clock unsure: it is before the last signed time %s", when);
    return err_hint(err, "set this device's clock");
}

enum err_code trust_release(struct trust *trust, struct bytes envelope,
                            const uint8_t digest[DIGEST_BYTES], const char *app, int64_t now_ms,
                            struct arena *arena, struct release *ret, struct err *err)
{
    struct release release;
    enum err_code code;
    if ((code = trust_installed(trust, envelope, digest, app, arena, &release, err)) ||
        (code = check_root_expiry(trust, now_ms, err)) ||
        (code = check_expiry("the release", release.expires_ms, now_ms, err)) ||
        (code = check_revoked(trust, digest, err)) || (code = check_floor(trust, &release, err)) ||
        (code = check_clock(trust, now_ms, err)))
        return code;
    *ret = release;
    return ERR_OK;
}
