/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/io/identity_files.h"

#include <errno.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "common/nkey.h"

enum { FOLDER_MODE = 0700, FILE_MODE = 0600, NATS_MAX_BYTES = 16 << 10, URL_MAX_BYTES = 512 };

static const char *const names[] = {
    [IDENTITY_DEVICE_KEY] = "identity/device.nk",
    [IDENTITY_SEAL_KEY] = "identity/seal.key",
    [IDENTITY_DEVICE_CREDS] = "identity/device.creds",
    [IDENTITY_ENROLL_CREDS] = "identity/enroll.creds",
    [IDENTITY_CA] = "identity/ca.pem",
    [IDENTITY_NATS] = "identity/nats.json",
    [IDENTITY_ROOT] = "root.dsse",
};

void identity_files_path(const char *folder, enum identity_file file,
                         char ret[static IDENTITY_PATH_MAX])
{
    (void)snprintf(ret, IDENTITY_PATH_MAX, "%.1200s/%s", folder, names[file]);
}

bool identity_files_has(const char *folder, enum identity_file file)
{
    char path[IDENTITY_PATH_MAX];
    identity_files_path(folder, file, path);
    return access(path, F_OK) == 0;
}

/* ---- keys ---- */

static enum err_code read_device_key(const char *path, struct identity_keys *ret, struct err *err)
{
    return nkey_load(NKEY_USER, path, &ret->device, err);
}

/* The file is a seed as of a signing key; here it is the X25519 secret. */
static enum err_code read_seal_key(const char *path, struct identity_keys *ret, struct err *err)
{
    struct sign_key key;
    enum err_code code = sign_key_load(path, &key, err);
    if (code != ERR_OK)
        return code;
    memcpy(ret->seal_secret, key.seed, sizeof ret->seal_secret);
    sign_key_wipe(&key);
    if (crypto_scalarmult_base(ret->seal_public, ret->seal_secret) != 0)
        return err_set(err, ERR_MALFORMED, "%s is not an X25519 key", path);
    return ERR_OK;
}

static enum err_code make_device_key(const char *path, struct err *err)
{
    struct sign_key key;
    sign_key_new(&key);
    enum err_code code = nkey_save(NKEY_USER, &key, path, err);
    sign_key_wipe(&key);
    return code;
}

static enum err_code make_seal_key(const char *path, struct err *err)
{
    struct sign_key key;
    sign_key_new(&key);
    enum err_code code = sign_key_save(&key, path, err);
    sign_key_wipe(&key);
    return code;
}

static const struct {
    enum identity_file file;
    enum err_code (*read)(const char *path, struct identity_keys *ret, struct err *err);
    enum err_code (*make)(const char *path, struct err *err);
} kinds[] = {
    {IDENTITY_DEVICE_KEY, read_device_key, make_device_key},
    {IDENTITY_SEAL_KEY, read_seal_key, make_seal_key},
};

enum { KINDS = sizeof kinds / sizeof *kinds };

enum err_code identity_files_keys(const char *folder, struct identity_keys *ret, struct err *err)
{
    char path[IDENTITY_PATH_MAX];
    struct identity_keys keys;
    for (size_t i = 0; i < KINDS; i++) {
        identity_files_path(folder, kinds[i].file, path);
        if (kinds[i].read(path, &keys, err) != ERR_OK) {
            identity_keys_wipe(&keys);
            return err_wrap(err, "this device's key");
        }
    }
    *ret = keys;
    identity_keys_wipe(&keys);
    return ERR_OK;
}

void identity_keys_wipe(struct identity_keys *keys)
{
    sodium_memzero(keys, sizeof *keys);
}

/* Only what is not there: a key that cannot be read may be read again some day, and captain knows
 * this device by it. */
static enum err_code make_missing(const char *folder, struct err *err)
{
    char path[IDENTITY_PATH_MAX];
    struct stat st;
    for (size_t i = 0; i < KINDS; i++) {
        identity_files_path(folder, kinds[i].file, path);
        if (lstat(path, &st) == 0)
            continue;
        if (errno != ENOENT)
            return err_sys(err, errno, "looking for %s", path);
        enum err_code code = kinds[i].make(path, err);
        if (code != ERR_OK)
            return code;
    }
    return ERR_OK;
}

static enum err_code make_folder(const char *path, struct err *err)
{
    enum err_code code = file_make_dirs(path, FOLDER_MODE, err);
    if (code == ERR_OK && chmod(path, FOLDER_MODE) != 0)
        return err_sys(err, errno, "closing %s to others", path);
    return code;
}

enum err_code identity_files_make(const char *folder, int *ret_lock_fd, struct identity_keys *ret,
                                  struct err *err)
{
    char path[IDENTITY_PATH_MAX], holder[64];
    int lock_fd;
    enum err_code code;
    (void)snprintf(path, sizeof path, "%.1200s/identity", folder);
    (void)snprintf(holder, sizeof holder, "captain-agent enroll, process %d", (int)getpid());
    if ((code = make_folder(path, err)))
        return code;
    (void)snprintf(path, sizeof path, "%.1200s/identity/lock", folder);
    if ((code = file_lock(path, holder, &lock_fd, err)))
        return code;
    if ((code = make_missing(folder, err)) || (code = identity_files_keys(folder, ret, err))) {
        (void)close(lock_fd);
        return code;
    }
    *ret_lock_fd = lock_fd;
    return ERR_OK;
}

enum err_code identity_files_write(const char *folder, enum identity_file file, struct bytes data,
                                   struct err *err)
{
    char path[IDENTITY_PATH_MAX];
    identity_files_path(folder, file, path);
    return file_replace(path, data, FILE_MODE, err);
}

/* ---- nats.json ---- */

static bool url_is_good(const char *url)
{
    bool known = strncmp(url, "nats://", 7) == 0 || strncmp(url, "tls://", 6) == 0;
    return known && strlen(url) <= URL_MAX_BYTES && !strchr(url, ',');
}

static enum err_code check_urls(const char *const *urls, size_t urls_len, struct err *err)
{
    if (urls_len == 0 || urls_len > IDENTITY_URLS_MAX)
        return err_set(err, ERR_MALFORMED, "%zu NATS servers are named, must be 1 to %d", urls_len,
                       IDENTITY_URLS_MAX);
    for (size_t i = 0; i < urls_len; i++) {
        if (!url_is_good(urls[i]))
            return err_set(err, ERR_MALFORMED,
                           "the NATS server \"%.80s\" must begin with nats:// or tls://", urls[i]);
    }
    return ERR_OK;
}

enum err_code identity_files_write_nats(const char *folder, const char *const *urls,
                                        size_t urls_len, const char *tenant, struct err *err)
{
    enum err_code code = check_urls(urls, urls_len, err);
    if (code != ERR_OK)
        return code;
    json_t *list = json_array();
    for (size_t i = 0; i < urls_len; i++)
        (void)json_array_append_new(list, json_string(urls[i]));
    json_t *root = json_pack("{s:o, s:s}", "urls", list, "tenant", tenant);
    char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    code = text ? identity_files_write(folder, IDENTITY_NATS, bytes_of(text, strlen(text)), err)
                : err_set(err, ERR_MALFORMED, "the NATS servers are not plain text");
    free(text);
    json_decref(root);
    return code;
}

static const char *join_urls(const json_t *list, struct arena *arena)
{
    const char *all = "";
    size_t i;
    json_t *value;
    if (!json_is_array(list) || json_array_size(list) == 0 ||
        json_array_size(list) > IDENTITY_URLS_MAX)
        return NULL;
    json_array_foreach(list, i, value)
    {
        const char *url = json_string_value(value);
        if (!url || !url_is_good(url) || !all)
            return NULL;
        all = arena_printf(arena, "%s%s%s", all, i ? "," : "", url);
    }
    return all;
}

enum err_code identity_files_read_nats(const char *folder, struct arena *arena,
                                       struct identity_nats *ret, struct err *err)
{
    char path[IDENTITY_PATH_MAX];
    struct bytes text;
    identity_files_path(folder, IDENTITY_NATS, path);
    enum err_code code = file_read(path, NATS_MAX_BYTES, arena, &text, err);
    if (code != ERR_OK)
        return code;
    json_t *root = json_loadb((const char *)text.ptr, text.len, JSON_REJECT_DUPLICATES, NULL);
    const char *tenant = json_string_value(json_object_get(root, "tenant"));
    const char *url = join_urls(json_object_get(root, "urls"), arena);
    const char *copy = tenant && str_is_token(tenant) ? arena_strdup(arena, tenant) : NULL;
    json_decref(root);
    if (!url || !copy) {
        err_set(err, ERR_MALFORMED, "%s is not what captain-agent enroll writes", path);
        return err_hint(err, "captain-agent enroll writes it anew");
    }
    *ret = (struct identity_nats){url, copy};
    return ERR_OK;
}
