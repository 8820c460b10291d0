/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/keys.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/file.h"
#include "common/hash.h"
#include "proto/codec.h"

enum {
    KEYS_ARENA_BYTES = 512 << 10,
    ROLE_KEYS_MAX = 16,
    ROLES = 3,
};
#define ROOT_VALID_MS (365 * INT64_C(86400000))

static const char *const ROLE_NAMES[ROLES] = {"root", "release", "desired"};

/* The folder keys/ appears by one rename with all four in it, so a first start that was cut off
 * leaves either nothing or everything. FOLDER/root.dsse is the copy for devices. */
static const char *const FILES[] = {"root.key", "release.key", "desired.key", "root.dsse"};

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
    for (size_t i = 0; i < ARRAY_LEN(FILES); i++) {
        enum err_code code = join(path, dir, FILES[i], err);
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

static const struct role *find_role(const struct root *root, const char *name)
{
    for (size_t i = 0; i < root->roles_len; i++)
        if (str_equal(root->roles[i].name, name))
            return &root->roles[i];
    return NULL;
}

static enum err_code role_keys(const struct root *root, const char *name,
                               uint8_t ret_keys[ROLE_KEYS_MAX][SIGN_PUBLIC_BYTES],
                               struct sign_role *ret, struct err *err)
{
    const struct role *role = find_role(root, name);
    if (!role || role->keys_len > ROLE_KEYS_MAX)
        return err_set(err, ERR_ROOT_CHAIN, "the root names no usable role \"%s\"", name);
    for (size_t i = 0; i < role->keys_len; i++)
        memcpy(ret_keys[i], role->keys[i].ptr, SIGN_PUBLIC_BYTES);
    *ret = (struct sign_role){(const uint8_t(*)[SIGN_PUBLIC_BYTES])ret_keys, role->keys_len,
                              role->threshold};
    return ERR_OK;
}

/* The root must be signed by root.key, be of this tenant, and name desired.key. */
static enum err_code load_root(const char *dir, const char *tenant, struct keys *keys,
                               struct err *err)
{
    char path[PATH_MAX];
    struct sign_key root_key;
    struct bytes payload;
    enum err_code code = join(path, dir, "root.key", err);
    if (code == ERR_OK)
        code = sign_key_load(path, &root_key, err);
    if (code == ERR_OK)
        code = join(path, dir, "root.dsse", err);
    if (code == ERR_OK)
        code = file_read(path, SIGN_ROOT_MAX_BYTES, &keys->arena, &keys->root_envelope, err);
    if (code != ERR_OK)
        return code;
    struct sign_role anchor = {(const uint8_t(*)[SIGN_PUBLIC_BYTES])root_key.public_key, 1, 1};
    code = sign_open(SIGN_TYPE_ROOT, SIGN_ROOT_MAX_BYTES, keys->root_envelope, &anchor,
                     &keys->arena, &payload, err);
    sign_key_wipe(&root_key);
    if (code == ERR_OK)
        code = codec_decode(&codec_root, payload, &keys->arena, &keys->root, err);
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
    uint8_t raw[ROLE_KEYS_MAX][SIGN_PUBLIC_BYTES];
    struct sign_role role;
    enum err_code code = join(path, dir, "desired.key", err);
    if (code == ERR_OK)
        code = sign_key_load(path, &keys->desired, err);
    if (code == ERR_OK)
        code = role_keys(&keys->root, "desired", raw, &role, err);
    if (code != ERR_OK)
        return code;
    for (size_t i = 0; i < role.keys_len; i++)
        if (memcmp(raw[i], keys->desired.public_key, SIGN_PUBLIC_BYTES) == 0)
            return ERR_OK;
    return err_set(err, ERR_ROOT_CHAIN, "%s is not a key that the root names for desired state",
                   path);
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
    arena_fini(&scratch);
    if (same)
        return ERR_OK;
    if (code != ERR_OK && code != ERR_NOT_FOUND)
        return code;
    if (code == ERR_OK)
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

static enum err_code check_allowed(const struct root *root, const struct release *release,
                                   const uint8_t digest[DIGEST_BYTES], struct err *err)
{
    for (size_t i = 0; i < root->revoked_len; i++)
        if (bytes_equal(root->revoked[i], bytes_of(digest, DIGEST_BYTES)))
            return err_set(err, ERR_REVOKED, "release %s@%s is revoked", release->app,
                           release->version);
    for (size_t i = 0; i < root->floors_len; i++)
        if (str_equal(root->floors[i].app, release->app) &&
            release->sequence < root->floors[i].sequence)
            return err_set(err, ERR_ROLLBACK,
                           "release %s@%s has sequence %llu, below the floor %llu", release->app,
                           release->version, (unsigned long long)release->sequence,
                           (unsigned long long)root->floors[i].sequence);
    return ERR_OK;
}

enum err_code keys_open_release(const struct keys *keys, struct bytes envelope, struct arena *arena,
                                struct release *ret, uint8_t ret_digest[DIGEST_BYTES],
                                struct err *err)
{
    uint8_t raw[ROLE_KEYS_MAX][SIGN_PUBLIC_BYTES];
    uint8_t digest[DIGEST_BYTES];
    struct sign_role role;
    struct bytes payload;
    struct release release;
    enum err_code code = role_keys(&keys->root, "release", raw, &role, err);
    if (code == ERR_OK)
        code = sign_open(SIGN_TYPE_RELEASE, SIGN_RELEASE_MAX_BYTES, envelope, &role, arena,
                         &payload, err);
    if (code == ERR_OK)
        code = codec_decode(&codec_release, payload, arena, &release, err);
    if (code != ERR_OK)
        return code;
    hash_bytes(payload, digest);
    code = check_allowed(&keys->root, &release, digest, err);
    if (code != ERR_OK)
        return code;
    *ret = release;
    memcpy(ret_digest, digest, DIGEST_BYTES);
    return ERR_OK;
}
