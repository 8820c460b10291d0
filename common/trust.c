/* SPDX-License-Identifier: Apache-2.0 */
#include "common/trust.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/hash.h"
#include "proto/codec.h"

enum { ROLE_KEYS_MAX = SIGN_SIGNATURES_MAX };
#define LINT_SOON_MS (30 * INT64_C(86400000))

static const char *const ROLES[] = {TRUST_ROLE_ROOT, TRUST_ROLE_RELEASE, TRUST_ROLE_DESIRED};

/* ---- roles ---- */

static const struct role *find_role(const struct root *root, const char *name)
{
    for (size_t i = 0; i < root->roles_len; i++)
        if (str_equal(root->roles[i].name, name))
            return &root->roles[i];
    return NULL;
}

static bool has_key(const struct role *role, struct bytes key, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (bytes_equal(role->keys[i], key))
            return true;
    return false;
}

static enum err_code check_role(const struct role *role, struct err *err)
{
    if (role->threshold == 0 || role->threshold > role->keys_len)
        return err_set(err, ERR_ROOT_CHAIN,
                       "role \"%s\": %u signatures are asked for, but there are %zu keys",
                       role->name, role->threshold, role->keys_len);
    for (size_t i = 0; i < role->keys_len; i++) {
        if (has_key(role, role->keys[i], i))
            return err_set(err, ERR_ROOT_CHAIN, "role \"%s\": key %zu is there twice", role->name,
                           i + 1);
        if (role->keys[i].len != SIGN_PUBLIC_BYTES || !sign_public_key_usable(role->keys[i].ptr))
            return err_set(err, ERR_ROOT_CHAIN, "role \"%s\": key %zu is not a usable key",
                           role->name, i + 1);
    }
    return ERR_OK;
}

enum err_code trust_root_form(const struct root *root, struct err *err)
{
    for (size_t i = 0; i < root->roles_len; i++) {
        if (find_role(root, root->roles[i].name) != &root->roles[i])
            return err_set(err, ERR_ROOT_CHAIN, "role \"%s\" is there twice", root->roles[i].name);
        enum err_code code = check_role(&root->roles[i], err);
        if (code != ERR_OK)
            return code;
    }
    for (size_t i = 0; i < ARRAY_LEN(ROLES); i++)
        if (!find_role(root, ROLES[i]))
            return err_set(err, ERR_ROOT_CHAIN, "the root document names no role \"%s\"", ROLES[i]);
    return ERR_OK;
}

/* Signed by that role of root; then, and only then, parsed. ret_payload may be NULL. */
struct document {
    const char *role, *type;
    size_t max_bytes;
    const struct codec_type *codec;
};
static const struct document ROOT = {TRUST_ROLE_ROOT, SIGN_TYPE_ROOT, SIGN_ROOT_MAX_BYTES,
                                     &codec_root};
static const struct document RELEASE = {TRUST_ROLE_RELEASE, SIGN_TYPE_RELEASE,
                                        SIGN_RELEASE_MAX_BYTES, &codec_release};
static const struct document DESIRED = {TRUST_ROLE_DESIRED, SIGN_TYPE_DESIRED,
                                        SIGN_DESIRED_MAX_BYTES, &codec_desired};
static const struct document DEVICE = {TRUST_ROLE_DESIRED, SIGN_TYPE_DEVICE, SIGN_DESIRED_MAX_BYTES,
                                       &codec_device_desired};

static enum err_code verify(const struct root *root, const struct document *document,
                            struct bytes envelope, struct arena *arena, struct bytes *ret_payload,
                            struct err *err)
{
    uint8_t keys[ROLE_KEYS_MAX][SIGN_PUBLIC_BYTES];
    const struct role *role = find_role(root, document->role);
    if (!role || role->keys_len > ROLE_KEYS_MAX)
        return err_set(err, ERR_ROOT_CHAIN, "the root document names no usable role \"%s\"",
                       document->role);
    for (size_t i = 0; i < role->keys_len; i++)
        memcpy(keys[i], role->keys[i].ptr, sizeof keys[i]);
    struct sign_role signers = {(const uint8_t(*)[SIGN_PUBLIC_BYTES])keys, role->keys_len,
                                role->threshold};
    return sign_open(document->type, document->max_bytes, envelope, &signers, arena, ret_payload,
                     err);
}

static enum err_code open_document(const struct root *root, const struct document *document,
                                   struct bytes envelope, struct arena *arena, void *ret,
                                   struct err *err)
{
    struct bytes payload;
    enum err_code code = verify(root, document, envelope, arena, &payload, err);
    return code ? code : codec_decode(document->codec, payload, arena, ret, err);
}

/* ---- root ---- */

/* Which keys must have signed an anchor stands in it, so here, and only here, bytes are parsed
 * before they are verified; what is handed out is parsed anew from those that were. */
enum err_code trust_root_anchor(struct bytes envelope, struct arena *arena, struct root *ret,
                                struct err *err)
{
    struct envelope outer;
    struct root claimed, root;
    enum err_code code;
    if (envelope.len > SIGN_ROOT_MAX_BYTES)
        return err_set(err, ERR_SIZE, "the root document has %zu bytes, at most %d are allowed",
                       envelope.len, SIGN_ROOT_MAX_BYTES);
    if ((code = codec_decode(&codec_envelope, envelope, arena, &outer, err)) ||
        (code = codec_decode(&codec_root, outer.payload, arena, &claimed, err)) ||
        (code = trust_root_form(&claimed, err)) ||
        (code = open_document(&claimed, &ROOT, envelope, arena, &root, err)))
        return code;
    *ret = root;
    return ERR_OK;
}

static enum err_code check_succeeds(const struct root *old, const struct root *next,
                                    struct err *err)
{
    if (!str_equal(old->tenant, next->tenant))
        return err_set(err, ERR_ROOT_CHAIN, "it is a root of tenant \"%s\", not of \"%s\"",
                       next->tenant, old->tenant);
    if (next->version <= old->version)
        return err_set(err, ERR_ROLLBACK,
                       "root version %" PRIu64 " is not newer than version %" PRIu64, next->version,
                       old->version);
    if (next->version - old->version != 1)
        return err_set(err, ERR_ROOT_CHAIN,
                       "root version %" PRIu64 " does not follow version %" PRIu64 " at once",
                       next->version, old->version);
    return trust_root_form(next, err);
}

enum err_code trust_root_next(const struct root *old, struct bytes envelope, struct arena *arena,
                              struct root *ret, struct err *err)
{
    struct root next;
    struct bytes payload;
    enum err_code code = open_document(old, &ROOT, envelope, arena, &next, err);
    if (code != ERR_OK)
        return err_wrap(err, "for the keys of root version %" PRIu64, old->version);
    if ((code = check_succeeds(old, &next, err)))
        return code;
    if ((code = verify(&next, &ROOT, envelope, arena, &payload, err)))
        return err_wrap(err, "for its own root keys");
    *ret = next;
    return ERR_OK;
}

bool trust_role_changed(const struct root *old, const struct root *next, const char *role)
{
    const struct role *a = find_role(old, role), *b = find_role(next, role);
    if (!a || !b)
        return a != b;
    bool same = a->threshold == b->threshold && a->keys_len == b->keys_len;
    for (size_t i = 0; same && i < a->keys_len; i++)
        same = has_key(b, a->keys[i], b->keys_len) && has_key(a, b->keys[i], a->keys_len);
    return !same;
}

bool trust_role_has(const struct root *root, const char *role,
                    const uint8_t key[static SIGN_PUBLIC_BYTES])
{
    const struct role *found = find_role(root, role);
    return found && has_key(found, bytes_of(key, SIGN_PUBLIC_BYTES), found->keys_len);
}

/* now_ms TRUST_ANY_TIME never is past it. */
static enum err_code check_expiry(const char *what, int64_t expires_ms, int64_t now_ms,
                                  struct err *err)
{
    if (expires_ms == 0 || now_ms < expires_ms)
        return ERR_OK;
    char when[32];
    str_format_time(expires_ms, when);
    return err_set(err, ERR_EXPIRED, "%s expired at %s", what, when);
}

enum err_code trust_root_fresh(const struct root *root, int64_t now_ms, struct err *err)
{
    return check_expiry("the root document", root->expires_ms, now_ms, err);
}

/* ---- what is odd ---- */

struct odd {
    struct arena *arena;
    const char **sentences;
    size_t len, max;
};

static void note(struct odd *odd, const char *sentence)
{
    if (sentence && odd->len < odd->max)
        odd->sentences[odd->len++] = sentence;
}

static void lint_role(const struct role *role, struct odd *odd)
{
    bool online = str_equal(role->name, TRUST_ROLE_DESIRED); /* captain's own: one is the rule */
    if (role->threshold == 1 && !online)
        note(odd, arena_printf(odd->arena, "role %s: one key of %zu is enough", role->name,
                               role->keys_len));
    if (role->threshold == role->keys_len && role->keys_len > 1)
        note(odd, arena_printf(odd->arena, "role %s: all %zu keys are needed, so none may be lost",
                               role->name, role->keys_len));
}

static void lint_shared(const struct role *a, const struct role *b, struct odd *odd)
{
    for (size_t i = 0; i < a->keys_len; i++) {
        char id[17];
        if (!has_key(b, a->keys[i], b->keys_len))
            continue;
        sign_key_id(a->keys[i].ptr, id);
        note(odd,
             arena_printf(odd->arena, "key %s is in role %s and in role %s", id, a->name, b->name));
    }
}

static void lint_expiry(const struct root *root, int64_t now_ms, struct odd *odd)
{
    char when[32];
    str_format_time(root->expires_ms, when);
    if (root->expires_ms == 0)
        note(odd, "the root never expires");
    else if (now_ms >= root->expires_ms)
        note(odd,
             arena_printf(odd->arena, "the root expired at %s: devices install nothing", when));
    else if (root->expires_ms - now_ms < LINT_SOON_MS)
        note(odd, arena_printf(odd->arena, "the root expires soon, at %s", when));
}

size_t trust_root_lint(const struct root *root, int64_t now_ms, struct arena *arena,
                       const char **ret, size_t max)
{
    struct odd odd = {.arena = arena, .sentences = ret, .max = max};
    lint_expiry(root, now_ms, &odd);
    for (size_t i = 0; i < root->roles_len; i++) {
        lint_role(&root->roles[i], &odd);
        for (size_t k = 0; k < i; k++)
            lint_shared(&root->roles[k], &root->roles[i], &odd);
    }
    return odd.len;
}

/* ---- desired ---- */

static enum err_code check_tenant(const struct root *root, const struct trust_target *target,
                                  const char *tenant, struct err *err)
{
    const char *own = target->tenant ? target->tenant : root->tenant;
    return str_equal(tenant, own)
               ? ERR_OK
               : err_set(err, ERR_WRONG_TARGET, "it is of tenant \"%s\"", tenant);
}

/* What both documents of captain's online key have. */
struct issued {
    struct bytes envelope;
    uint64_t generation;
    int64_t expires_ms;
};

static enum err_code check_issued(const struct issued *issued, const struct trust_seen *seen,
                                  int64_t now_ms, struct err *err)
{
    /* A counter above the last document kept: that document was lost, its bytes cannot be compared. */
    bool have_last = seen->last.len > 0 && seen->last_generation >= seen->generation;
    uint64_t newest =
        seen->last_generation > seen->generation ? seen->last_generation : seen->generation;
    if (issued->generation < newest)
        return err_set(err, ERR_ROLLBACK,
                       "generation %" PRIu64 " is older than %" PRIu64 " seen before",
                       issued->generation, newest);
    if (issued->generation == newest && have_last && !bytes_equal(issued->envelope, seen->last))
        return err_set(err, ERR_ROLLBACK,
                       "another document bears the generation %" PRIu64 " seen before", newest);
    return check_expiry("it", issued->expires_ms, now_ms, err);
}

static enum err_code check_channel(const struct trust_target *target, const struct desired *desired,
                                   struct err *err)
{
    if ((!target->app || str_equal(desired->app, target->app)) &&
        (!target->channel || str_equal(desired->channel, target->channel)))
        return ERR_OK;
    return err_set(err, ERR_WRONG_TARGET, "it is of channel %s/%s", desired->app, desired->channel);
}

enum err_code trust_check_desired(const struct root *root, struct bytes envelope,
                                  const struct trust_target *target, const struct trust_seen *seen,
                                  int64_t now_ms, struct arena *arena, struct desired *ret,
                                  struct err *err)
{
    struct desired desired;
    enum err_code code;
    if ((code = trust_root_fresh(root, now_ms, err)) ||
        (code = open_document(root, &DESIRED, envelope, arena, &desired, err)) ||
        (code = check_tenant(root, target, desired.tenant, err)) ||
        (code = check_channel(target, &desired, err)))
        return code;
    struct issued issued = {envelope, desired.generation, desired.expires_ms};
    if ((code = check_issued(&issued, seen, now_ms, err)))
        return code;
    *ret = desired;
    return ERR_OK;
}

enum err_code trust_check_device(const struct root *root, struct bytes envelope,
                                 const struct trust_target *target, const struct trust_seen *seen,
                                 int64_t now_ms, struct arena *arena, struct device_desired *ret,
                                 struct err *err)
{
    struct device_desired desired;
    enum err_code code;
    if ((code = trust_root_fresh(root, now_ms, err)) ||
        (code = open_document(root, &DEVICE, envelope, arena, &desired, err)) ||
        (code = check_tenant(root, target, desired.tenant, err)))
        return code;
    if (target->device && !str_equal(desired.device, target->device))
        return err_set(err, ERR_WRONG_TARGET, "it is about device %s", desired.device);
    struct issued issued = {envelope, desired.generation, desired.expires_ms};
    if ((code = check_issued(&issued, seen, now_ms, err)))
        return code;
    *ret = desired;
    return ERR_OK;
}

/* ---- release ---- */

/* Hashing is not parsing: a store that serves other bytes is told from a release that is signed
 * wrongly. Takes the payload out of the envelope, unverified. */
static enum err_code check_digest(struct bytes envelope, const uint8_t *digest, struct arena *arena,
                                  struct bytes *ret_payload, struct err *err)
{
    struct envelope outer;
    uint8_t found[DIGEST_BYTES];
    char hex[DIGEST_HEX];
    if (envelope.len > SIGN_RELEASE_MAX_BYTES)
        return err_set(err, ERR_SIZE, "the release document is larger than %d bytes",
                       SIGN_RELEASE_MAX_BYTES);
    if (codec_decode(&codec_envelope, envelope, arena, &outer, err) != ERR_OK)
        return err_set(err, ERR_HASH, "what the store served is no release document");
    *ret_payload = outer.payload;
    hash_bytes(outer.payload, found);
    if (memcmp(found, digest, DIGEST_BYTES) == 0)
        return ERR_OK;
    str_hex(bytes_of(found, DIGEST_BYTES), hex);
    return err_set(err, ERR_HASH, "what the store served is another release document (%.16s...)",
                   hex);
}

static bool suits(const char *wanted, const char *own)
{
    return !own || !wanted[0] || str_equal(wanted, own);
}

bool trust_artifact_fits(const struct artifact *artifact, const struct trust_target *target)
{
    return suits(artifact->os, target->os) && suits(artifact->arch, target->arch) &&
           suits(artifact->hardware, target->hardware);
}

/* Some artifact for each path. */
static enum err_code check_artifacts(const struct release *release,
                                     const struct trust_target *target, struct err *err)
{
    for (size_t i = 0; i < release->artifacts_len; i++) {
        bool found = false;
        for (size_t k = 0; !found && k < release->artifacts_len; k++)
            found = str_equal(release->artifacts[k].path, release->artifacts[i].path) &&
                    trust_artifact_fits(&release->artifacts[k], target);
        if (!found)
            return err_set(err, ERR_WRONG_TARGET,
                           "release %s has no artifact for this device's system and hardware (%s)",
                           release->version, release->artifacts[i].path);
    }
    return ERR_OK;
}

static uint64_t next_number(const char **text)
{
    uint64_t number = 0;
    for (; **text >= '0' && **text <= '9'; (*text)++)
        number = number > UINT32_MAX ? number : number * 10 + (uint64_t)(**text - '0');
    if (**text == '.')
        (*text)++;
    return number;
}

/* Numbers with dots between; whatever follows them ("-rc1") does not count. */
static bool is_older(const char *version, const char *minimum)
{
    while (*minimum >= '0' && *minimum <= '9') {
        uint64_t have = next_number(&version), need = next_number(&minimum);
        if (have != need)
            return have < need;
    }
    return false;
}

static enum err_code check_target(const struct release *release, const struct trust_target *target,
                                  struct err *err)
{
    if (target->app && !str_equal(release->app, target->app))
        return err_set(err, ERR_WRONG_TARGET, "it is a release of app \"%s\"", release->app);
    if (target->agent_version && is_older(target->agent_version, release->minimum_agent))
        return err_set(err, ERR_WRONG_TARGET, "it needs captain-agent %s, this one is %s",
                       release->minimum_agent, target->agent_version);
    return check_artifacts(release, target, err);
}

static enum err_code check_revoked(const struct root *root, const struct release *release,
                                   const uint8_t digest[static DIGEST_BYTES], struct err *err)
{
    for (size_t i = 0; i < root->revoked_len; i++)
        if (bytes_equal(root->revoked[i], bytes_of(digest, DIGEST_BYTES)))
            return err_set(err, ERR_REVOKED, "release %s@%s is revoked by the root document",
                           release->app, release->version);
    return ERR_OK;
}

uint64_t trust_floor(const struct root *root, const char *app)
{
    uint64_t floor = 0;
    for (size_t i = 0; i < root->floors_len; i++)
        if (str_equal(root->floors[i].app, app) && root->floors[i].sequence > floor)
            floor = root->floors[i].sequence;
    return floor;
}

static enum err_code check_floor(const struct root *root, const struct release *release,
                                 uint64_t seen, struct err *err)
{
    uint64_t floor = trust_floor(root, release->app);
    floor = seen > floor ? seen : floor;
    if (release->sequence >= floor)
        return ERR_OK;
    return err_set(err, ERR_ROLLBACK,
                   "release %s@%s has sequence %" PRIu64 ", below the floor %" PRIu64, release->app,
                   release->version, release->sequence, floor);
}

enum err_code trust_check_clock(int64_t signed_ms, int64_t now_ms, struct err *err)
{
    if (now_ms == TRUST_ANY_TIME || now_ms >= signed_ms - TRUST_CLOCK_SKEW_MS)
        return ERR_OK;
    char when[32];
    str_format_time(signed_ms, when);
    (void)err_set(err, ERR_EXPIRED, "clock unsure: it is before the last signed time %s", when);
    return err_hint(err, "set this device's clock");
}

static enum err_code check_release(const struct root *root, const struct release *release,
                                   const struct trust_release_want *want,
                                   const uint8_t digest[static DIGEST_BYTES], int64_t now_ms,
                                   struct err *err)
{
    enum err_code code;
    if ((code = trust_root_fresh(root, now_ms, err)) ||
        (code = check_expiry("the release", release->expires_ms, now_ms, err)) ||
        (code = check_revoked(root, release, digest, err)) ||
        (code = check_floor(root, release, want->floor_seen, err)))
        return code;
    return trust_check_clock(want->signed_ms, now_ms, err);
}

enum err_code trust_check_release(const struct root *root, struct bytes envelope,
                                  const struct trust_release_want *want,
                                  const struct trust_target *target, int64_t now_ms,
                                  struct arena *arena, struct release *ret,
                                  uint8_t ret_digest[static 32], struct err *err)
{
    struct bytes payload;
    struct release release;
    uint8_t digest[DIGEST_BYTES];
    enum err_code code = ERR_OK;
    if (want->digest)
        code = check_digest(envelope, want->digest, arena, &payload, err);
    if (code || (code = verify(root, &RELEASE, envelope, arena, &payload, err)) ||
        (code = codec_decode(&codec_release, payload, arena, &release, err)))
        return code;
    hash_bytes(payload, digest);
    if ((code = check_target(&release, target, err)) ||
        (code = check_release(root, &release, want, digest, now_ms, err)))
        return code;
    *ret = release;
    memcpy(ret_digest, digest, DIGEST_BYTES);
    return ERR_OK;
}

enum err_code trust_check_installed(struct bytes envelope, const uint8_t digest[static 32],
                                    const char *app, struct arena *arena, struct release *ret,
                                    struct err *err)
{
    struct bytes payload;
    struct release release;
    enum err_code code;
    if ((code = check_digest(envelope, digest, arena, &payload, err)) ||
        (code = codec_decode(&codec_release, payload, arena, &release, err)))
        return code;
    if (!str_equal(release.app, app))
        return err_set(err, ERR_WRONG_TARGET, "it is a release of app \"%s\"", release.app);
    *ret = release;
    return ERR_OK;
}
