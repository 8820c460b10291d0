/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/keys.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/file.h"
#include "common/trust.h"
#include "proto/codec.h"

enum {
    KEYS_ARENA_BYTES = 4 << 20,
    ROLES = 3,
};
#define ROOT_VALID_MS (365 * INT64_C(86400000))

static const char *const ROLE_NAMES[ROLES] = {TRUST_ROLE_ROOT, TRUST_ROLE_RELEASE,
                                              TRUST_ROLE_DESIRED};

/* The folder keys/ appears by one rename with all four in it, so a first start that was cut off
 * leaves either nothing or everything. FOLDER/root.dsse is the copy for devices. */
static const char *const FILES[] = {"root.key", "release.key", "desired.key", "root.dsse"};
/* The others may be kept elsewhere. */
static const char *const NEEDED[] = {"desired.key", "root.dsse"};

static enum err_code join(char ret[static PATH_MAX], const char *folder, const char *name,
                          struct err *err)
{
    int len = snprintf(ret, PATH_MAX, "%s/%s", folder, name);
    if (len < 0 || len >= PATH_MAX)
        return err_set(err, ERR_SIZE, "the path of folder %s is too long", folder);
    return ERR_OK;
}

/* ERR_NOT_FOUND: the folder is not there. ERR_FAILED: it is there in part. */
static enum err_code check_complete(const char *dir, struct err *err)
{
    char path[PATH_MAX];
    if (access(dir, F_OK) != 0)
        return errno == ENOENT ? ERR_NOT_FOUND : err_sys(err, errno, "looking for %s", dir);
    for (size_t i = 0; i < ARRAY_LEN(NEEDED); i++) {
        enum err_code code = join(path, dir, NEEDED[i], err);
        if (code != ERR_OK)
            return code;
        if (access(path, F_OK) == 0)
            continue;
        if (errno != ENOENT)
            return err_sys(err, errno, "looking for %s", path);
        (void)err_set(err, ERR_FAILED, "%s is missing, while other keys of the fleet are there",
                      path);
        return err_hint(err,
                        "restore it from a backup; new keys would be strangers to the devices");
    }
    return ERR_OK;
}

static enum err_code seal_root(const struct sign_key keys[static ROLES], const char *tenant,
                               int64_t now_ms, struct arena *arena, struct bytes *ret,
                               struct err *err)
{
    struct bytes publics[ROLES];
    struct role roles[ROLES] = {0};
    for (int i = 0; i < ROLES; i++) {
        publics[i] = bytes_of(keys[i].public_key, SIGN_PUBLIC_BYTES);
        roles[i] = (struct role){
            .name = ROLE_NAMES[i], .threshold = 1, .keys = &publics[i], .keys_len = 1};
    }
    struct root root = {.tenant = tenant,
                        .version = 1,
                        .expires_ms = now_ms + ROOT_VALID_MS,
                        .roles = roles,
                        .roles_len = ROLES};
    struct bytes payload;
    enum err_code code = codec_encode(&codec_root, &root, arena, &payload, err);
    if (code != ERR_OK)
        return code;
    return sign_seal(SIGN_TYPE_ROOT, payload, &keys[0], 1, arena, ret, err);
}

static enum err_code write_all(const char *dir, const struct sign_key keys[static ROLES],
                               struct bytes root, struct err *err)
{
    char path[PATH_MAX];
    enum err_code code = file_make_dirs(dir, 0700, err);
    for (int i = 0; code == ERR_OK && i < ROLES; i++) {
        code = join(path, dir, FILES[i], err);
        if (code == ERR_OK)
            code = sign_key_save(&keys[i], path, err);
    }
    if (code == ERR_OK)
        code = join(path, dir, FILES[ROLES], err);
    if (code == ERR_OK)
        code = file_replace(path, root, 0600, err);
    return code;
}

static enum err_code put_in_place(const char *folder, const char *from, const char *to,
                                  struct err *err)
{
    enum err_code code = file_sync_dir(from, err);
    if (code != ERR_OK)
        return code;
    if (rename(from, to) != 0)
        return err_sys(err, errno, "renaming %s", from);
    return file_sync_dir(folder, err);
}

static enum err_code create(const char *folder, const char *dir, const char *tenant, int64_t now_ms,
                            struct arena *arena, struct err *err)
{
    char fresh[PATH_MAX];
    struct sign_key keys[ROLES];
    struct bytes root;
    enum err_code code = join(fresh, folder, "keys.new", err);
    if (code == ERR_OK)
        code = file_remove_tree(fresh, err); /* of a first start that was cut off */
    if (code != ERR_OK)
        return code;
    for (int i = 0; i < ROLES; i++)
        sign_key_new(&keys[i]);
    code = seal_root(keys, tenant, now_ms, arena, &root, err);
    if (code == ERR_OK)
        code = write_all(fresh, keys, root, err);
    for (int i = 0; i < ROLES; i++)
        sign_key_wipe(&keys[i]);
    if (code == ERR_OK)
        code = put_in_place(folder, fresh, dir, err);
    return code;
}

static enum err_code load_root(const char *dir, const char *tenant, struct keys *keys,
                               struct err *err)
{
    char path[PATH_MAX];
    enum err_code code = join(path, dir, "root.dsse", err);
    if (code == ERR_OK)
        code = file_read(path, SIGN_ROOT_MAX_BYTES, &keys->arena, &keys->root_envelope, err);
    if (code != ERR_OK)
        return code;
    code = trust_root_anchor(keys->root_envelope, &keys->arena, &keys->root, err);
    if (code != ERR_OK)
        return err_wrap(err, "%s", path);
    if (!str_equal(keys->root.tenant, tenant))
        return err_set(err, ERR_USAGE, "%s belongs to tenant \"%s\", not to \"%s\"", path,
                       keys->root.tenant, tenant);
    return ERR_OK;
}

static enum err_code load_desired(const char *dir, struct keys *keys, struct err *err)
{
    char path[PATH_MAX];
    enum err_code code = join(path, dir, "desired.key", err);
    if (code == ERR_OK)
        code = sign_key_load(path, &keys->desired, err);
    if (code != ERR_OK || trust_role_has(&keys->root, TRUST_ROLE_DESIRED, keys->desired.public_key))
        return code;
    return err_set(err, ERR_ROOT_CHAIN, "%s is not a key that the root names for desired state",
                   path);
}

/* Older than keys/root.dsse: its writing was cut off after that one's. */
static bool is_of_before(struct bytes envelope, const struct keys *keys)
{
    struct root root;
    struct err err;
    struct arena arena DEFER(arena_fini) = {0};
    arena_init(&arena, KEYS_ARENA_BYTES);
    return trust_root_anchor(envelope, &arena, &root, &err) == ERR_OK &&
           str_equal(root.tenant, keys->root.tenant) && root.version < keys->root.version;
}

/* Devices are given FOLDER/root.dsse. */
static enum err_code publish_root(const char *folder, const struct keys *keys, struct err *err)
{
    char path[PATH_MAX];
    enum err_code code = join(path, folder, "root.dsse", err);
    if (code != ERR_OK)
        return code;
    struct bytes there;
    struct arena scratch;
    arena_init(&scratch, 2 * SIGN_ROOT_MAX_BYTES);
    code = file_read(path, SIGN_ROOT_MAX_BYTES, &scratch, &there, err);
    bool same = code == ERR_OK && bytes_equal(there, keys->root_envelope);
    bool before = code == ERR_OK && is_of_before(there, keys);
    arena_fini(&scratch);
    if (same)
        return ERR_OK;
    if (code != ERR_OK && code != ERR_NOT_FOUND)
        return code;
    if (code == ERR_OK && !before)
        return err_set(err, ERR_ROOT_CHAIN, "%s and keys/root.dsse differ", path);
    return file_replace(path, keys->root_envelope, 0644, err);
}

enum err_code keys_open(const char *folder, const char *tenant, int64_t now_ms, struct keys *ret,
                        bool *ret_created, struct err *err)
{
    char dir[PATH_MAX];
    *ret = (struct keys){0};
    arena_init(&ret->arena, KEYS_ARENA_BYTES);
    enum err_code code = join(dir, folder, "keys", err);
    if (code == ERR_OK)
        code = check_complete(dir, err);
    bool created = code == ERR_NOT_FOUND;
    if (created)
        code = create(folder, dir, tenant, now_ms, &ret->arena, err);
    if (code == ERR_OK)
        code = load_root(dir, tenant, ret, err);
    if (code == ERR_OK)
        code = load_desired(dir, ret, err);
    if (code == ERR_OK)
        code = publish_root(folder, ret, err);
    if (code != ERR_OK) {
        keys_close(ret);
        return code;
    }
    *ret_created = created;
    return ERR_OK;
}

void keys_close(struct keys *keys)
{
    sign_key_wipe(&keys->desired);
    arena_fini(&keys->arena);
    *keys = (struct keys){0};
}

enum err_code keys_check_root(const struct keys *keys, struct bytes envelope, struct arena *arena,
                              struct root *ret, struct err *err)
{
    struct root next;
    char id[17];
    enum err_code code = trust_root_next(&keys->root, envelope, arena, &next, err);
    if (code != ERR_OK)
        return code;
    if (!trust_role_has(&next, TRUST_ROLE_DESIRED, keys->desired.public_key)) {
        sign_key_id(keys->desired.public_key, id);
        (void)err_set(err, ERR_ROOT_CHAIN,
                      "root version %llu does not name captain's own key %s for desired state",
                      (unsigned long long)next.version, id);
        return err_hint(err, "publish a root that names the old and the new key, put the new one "
                             "into keys/desired.key, start captain again, then drop the old one");
    }
    *ret = next;
    return ERR_OK;
}

static enum err_code write_root(const char *folder, struct bytes envelope, struct err *err)
{
    char path[PATH_MAX];
    enum err_code code = join(path, folder, "keys/root.dsse", err);
    if (code == ERR_OK)
        code = file_replace(path, envelope, 0600, err);
    if (code == ERR_OK)
        code = join(path, folder, "root.dsse", err);
    return code ? code : file_replace(path, envelope, 0644, err);
}

enum err_code keys_take_root(struct keys *keys, const char *folder, struct bytes envelope,
                             struct err *err)
{
    struct keys next = {.desired = keys->desired};
    arena_init(&next.arena, KEYS_ARENA_BYTES);
    const void *copy = arena_dup(&next.arena, envelope.ptr, envelope.len);
    next.root_envelope = bytes_of(copy, envelope.len);
    enum err_code code =
        copy ? keys_check_root(keys, next.root_envelope, &next.arena, &next.root, err)
             : err_set(err, ERR_SIZE, "the root document is too large");
    if (code == ERR_OK)
        code = write_root(folder, envelope, err);
    if (code == ERR_OK) {
        arena_fini(&keys->arena);
        *keys = next;
    } else {
        arena_fini(&next.arena);
    }
    sign_key_wipe(&next.desired);
    return code;
}

enum err_code keys_open_release(const struct keys *keys, struct bytes envelope, struct arena *arena,
                                struct release *ret, uint8_t ret_digest[DIGEST_BYTES],
                                struct err *err)
{
    const struct trust_release_want want = {0};
    const struct trust_target anybody = {0};
    return trust_check_release(&keys->root, envelope, &want, &anybody, TRUST_ANY_TIME, arena, ret,
                               ret_digest, err);
}
