/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/vault.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/file.h"
#include "common/hash.h"

/* Subkeys of the master key. */
#define CONTEXT "cptvault"
enum { SUBKEY_SEAL = 1, SUBKEY_CHECK = 2, TEXT_MAX = 80 };

_Static_assert(VAULT_MASTER_BYTES == crypto_kdf_KEYBYTES, "the master key is a key of crypto_kdf");
_Static_assert(VAULT_KEY_BYTES == crypto_box_PUBLICKEYBYTES, "X25519");
_Static_assert(VAULT_SEAL_BYTES == crypto_box_SEALBYTES, "crypto_box_seal");

struct vault {
    char *folder;
    uint8_t public_key[VAULT_KEY_BYTES];
    uint8_t check[DIGEST_BYTES];
    uint8_t *secret_key; /* sodium_malloc */
    uint8_t *value;      /* the same: room for one open value */
};

/* The master key's text. */

static enum err_code read_file(const char *path, char ret[static TEXT_MAX], struct err *err)
{
    size_t len = 0;
    enum err_code code = file_read_secret(path, ret, TEXT_MAX, &len, err);
    if (code == ERR_NOT_FOUND) {
        (void)err_wrap(err, "master key");
        return err_hint(err, "restore it from a backup; without it no secret can be read again");
    }
    return code ? err_wrap(err, "master key") : ERR_OK;
}

static enum err_code read_relative(const char *folder, const char *name, char ret[static TEXT_MAX],
                                   struct err *err)
{
    char path[PATH_MAX];
    const bool absolute = name[0] == '/';
    const int len =
        snprintf(path, sizeof path, "%s%s%s", absolute ? "" : folder, absolute ? "" : "/", name);
    if (len < 0 || (size_t)len >= sizeof path)
        return err_set(err, ERR_SIZE, "the path of the master key is too long");
    return read_file(path, ret, err);
}

static enum err_code read_credential(const char *name, char ret[static TEXT_MAX], struct err *err)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    if (strchr(name, '/') || name[0] == '.')
        return err_set(err, ERR_USAGE, "'%s' is not the name of a credential", name);
    if (folder)
        return read_relative(folder, name, ret, err);
    (void)err_set(err, ERR_NOT_FOUND,
                  "master key: there is no credential %s, for the service "
                  "manager gave none at all",
                  name);
    return err_hint(err, "in the unit: LoadCredentialEncrypted=%s:/etc/captain/%s.cred", name,
                    name);
}

/* No child of ours, and nobody who reads /proc/self/environ, finds it there afterwards. */
static enum err_code read_variable(const char *name, char ret[static TEXT_MAX], struct err *err)
{
    char *value = getenv(name);
    if (!value) {
        (void)err_set(err, ERR_NOT_FOUND, "master key: the variable %s is not set", name);
        return err_hint(err, "export it for this start, or use file: or credential:");
    }
    const enum err_code code = str_copy(ret, TEXT_MAX, value);
    sodium_memzero(value, strlen(value));
    if (unsetenv(name) != 0)
        return err_sys(err, errno, "taking %s out of the environment", name);
    return code ? err_set(err, ERR_MALFORMED, "master key: %s is too long", name) : ERR_OK;
}

static enum err_code read_text(const char *spec, const char *folder, char ret[static TEXT_MAX],
                               struct err *err)
{
    if (strncmp(spec, "file:", 5) == 0 && spec[5])
        return read_relative(folder, spec + 5, ret, err);
    if (strncmp(spec, "credential:", 11) == 0 && spec[11])
        return read_credential(spec + 11, ret, err);
    if (strncmp(spec, "env:", 4) == 0 && spec[4])
        return read_variable(spec + 4, ret, err);
    (void)err_set(err, ERR_USAGE, "master_key is of none of the forms it can have");
    return err_hint(err, "\"file:keys/master.key\", \"credential:NAME\" or \"env:NAME\"");
}

static enum err_code parse(char *text, uint8_t ret[static VAULT_MASTER_BYTES], struct err *err)
{
    const size_t len = strlen(text);
    if (len > 0 && text[len - 1] == '\n')
        text[len - 1] = '\0';
    if (strlen(text) == 2 * (size_t)VAULT_MASTER_BYTES &&
        str_unhex(text, ret, VAULT_MASTER_BYTES) == ERR_OK)
        return ERR_OK;
    (void)err_set(err, ERR_MALFORMED, "the master key is not 64 hexadecimal digits");
    return err_hint(err, "captain init makes one; or: openssl rand -hex 32");
}

/* Opening. */

static enum err_code derive(struct vault *vault, const uint8_t master[static VAULT_MASTER_BYTES],
                            struct err *err)
{
    uint8_t seed[crypto_box_SEEDBYTES];
    int bad = crypto_kdf_derive_from_key(seed, sizeof seed, SUBKEY_SEAL, CONTEXT, master);
    if (bad == 0)
        bad = crypto_box_seed_keypair(vault->public_key, vault->secret_key, seed);
    if (bad == 0)
        bad = crypto_kdf_derive_from_key(vault->check, sizeof vault->check, SUBKEY_CHECK, CONTEXT,
                                         master);
    sodium_memzero(seed, sizeof seed);
    return bad ? err_set(err, ERR_FAILED, "the master key gives no key pair") : ERR_OK;
}

static enum err_code load(struct vault *vault, const char *spec, struct err *err)
{
    char text[TEXT_MAX] = "";
    uint8_t master[VAULT_MASTER_BYTES];
    enum err_code code = read_text(spec, vault->folder, text, err);
    if (code == ERR_OK)
        code = parse(text, master, err);
    if (code == ERR_OK)
        code = derive(vault, master, err);
    sodium_memzero(text, sizeof text);
    sodium_memzero(master, sizeof master);
    return code;
}

enum err_code vault_open(const char *spec, const char *folder, struct vault **ret, struct err *err)
{
    if (sodium_init() < 0)
        return err_set(err, ERR_FAILED, "libsodium cannot start");
    struct vault *vault = mem_new(1, sizeof *vault);
    vault->folder = mem_strdup(folder);
    vault->secret_key = sodium_malloc(crypto_box_SECRETKEYBYTES);
    vault->value = sodium_malloc(VAULT_VALUE_MAX);
    enum err_code code = ERR_OK;
    if (!vault->secret_key || !vault->value)
        code = err_set(err, ERR_FULL, "no locked memory for the master key");
    if (code == ERR_OK)
        code = load(vault, spec, err);
    if (code != ERR_OK) {
        vault_close(vault);
        return code;
    }
    *ret = vault;
    return ERR_OK;
}

void vault_close(struct vault *vault)
{
    if (!vault)
        return;
    sodium_free(vault->secret_key); /* both wipe */
    sodium_free(vault->value);
    mem_free(vault->folder);
    mem_free(vault);
}

const uint8_t *vault_public_key(const struct vault *vault)
{
    return vault->public_key;
}

void vault_check(const struct vault *vault, uint8_t ret[static DIGEST_BYTES])
{
    memcpy(ret, vault->check, DIGEST_BYTES);
}

/* Values. */

/* Into vault->value, which the caller wipes. */
static enum err_code open_value(const struct vault *vault, struct bytes sealed, size_t *ret_len,
                                struct err *err)
{
    if (sealed.len <= VAULT_SEAL_BYTES || sealed.len > VAULT_SEALED_MAX)
        return err_set(err, ERR_SIZE, "a secret has 1 to %d bytes, this one %zu", VAULT_VALUE_MAX,
                       sealed.len < VAULT_SEAL_BYTES ? 0 : sealed.len - VAULT_SEAL_BYTES);
    if (crypto_box_seal_open(vault->value, sealed.ptr, sealed.len, vault->public_key,
                             vault->secret_key) != 0) {
        sodium_memzero(vault->value, VAULT_VALUE_MAX);
        return err_set(err, ERR_DENIED, "it is not sealed to this captain's vault key");
    }
    *ret_len = sealed.len - VAULT_SEAL_BYTES;
    return ERR_OK;
}

enum err_code vault_test(const struct vault *vault, struct bytes sealed, struct err *err)
{
    size_t len = 0;
    const enum err_code code = open_value(vault, sealed, &len, err);
    sodium_memzero(vault->value, VAULT_VALUE_MAX);
    return code;
}

static enum err_code path_of(const char *folder, const uint8_t digest[DIGEST_BYTES],
                             char ret[static PATH_MAX], struct err *err)
{
    char hex[DIGEST_HEX];
    str_hex(bytes_of(digest, DIGEST_BYTES), hex);
    const int len = snprintf(ret, PATH_MAX, "%s/secret/%s", folder, hex);
    return len < 0 || len >= PATH_MAX
               ? err_set(err, ERR_SIZE, "the path of folder %s is too long", folder)
               : ERR_OK;
}

/* Opens the box and closes it again for somebody else. */
static enum err_code seal_again(const struct vault *vault, struct bytes sealed,
                                const uint8_t to[static VAULT_KEY_BYTES], uint8_t *ret,
                                size_t *ret_len, struct err *err)
{
    size_t len = 0;
    enum err_code code = open_value(vault, sealed, &len, err);
    if (code == ERR_OK && crypto_box_seal(ret, vault->value, len, to) != 0)
        code = err_set(err, ERR_DENIED, "the device's key is none that can be sealed to");
    sodium_memzero(vault->value, VAULT_VALUE_MAX);
    *ret_len = len + VAULT_SEAL_BYTES;
    return code;
}

enum err_code vault_reseal(const struct vault *vault, const uint8_t digest[DIGEST_BYTES],
                           const uint8_t to[static VAULT_KEY_BYTES], struct arena *arena,
                           struct bytes *ret, struct err *err)
{
    char path[PATH_MAX];
    uint8_t is[DIGEST_BYTES], *box = arena_alloc(arena, VAULT_SEALED_MAX);
    struct bytes sealed = {0};
    size_t len = 0;
    if (!box)
        return err_set(err, ERR_SIZE, "the secrets of a device take too much memory");
    enum err_code code = path_of(vault->folder, digest, path, err);
    if (code == ERR_OK)
        code = file_read(path, VAULT_SEALED_MAX, arena, &sealed, err);
    if (code != ERR_OK)
        return code;
    hash_bytes(sealed, is);
    if (memcmp(is, digest, DIGEST_BYTES) != 0)
        return err_set(err, ERR_HASH, "%s was changed", path);
    code = seal_again(vault, sealed, to, box, &len, err);
    if (code == ERR_OK)
        *ret = bytes_of(box, len);
    return code;
}

/* Files. */

enum err_code vault_put(const char *folder, struct bytes sealed,
                        uint8_t ret_digest[static DIGEST_BYTES], struct err *err)
{
    char path[PATH_MAX];
    uint8_t digest[DIGEST_BYTES];
    hash_bytes(sealed, digest);
    enum err_code code = path_of(folder, digest, path, err);
    if (code != ERR_OK)
        return code;
    char *name = strrchr(path, '/');
    *name = '\0';
    code = file_make_dirs(path, 0700, err);
    if (code == ERR_OK)
        code = file_sync_dir(folder, err);
    *name = '/';
    if (code == ERR_OK)
        code = file_replace(path, sealed, 0600, err);
    if (code == ERR_OK)
        memcpy(ret_digest, digest, DIGEST_BYTES);
    return code;
}

enum err_code vault_remove(const char *folder, const uint8_t digest[DIGEST_BYTES], struct err *err)
{
    char path[PATH_MAX];
    enum err_code code = path_of(folder, digest, path, err);
    if (code == ERR_OK && unlink(path) != 0 && errno != ENOENT)
        code = err_sys(err, errno, "removing %s", path);
    return code;
}

/* A name that is no digest is file_replace's, cut off on its way. */
static enum err_code sweep_one(int dir_fd, const char *name, vault_keep_fn keep, void *arg,
                               struct err *err)
{
    uint8_t digest[DIGEST_BYTES];
    if (name[0] == '.')
        return ERR_OK;
    if (str_unhex(name, digest, DIGEST_BYTES) == ERR_OK && keep(arg, digest))
        return ERR_OK;
    if (unlinkat(dir_fd, name, 0) != 0 && errno != ENOENT)
        return err_sys(err, errno, "removing secret/%s", name);
    return ERR_OK;
}

enum err_code vault_sweep(const char *folder, vault_keep_fn keep, void *arg, struct err *err)
{
    char path[PATH_MAX];
    const int len = snprintf(path, sizeof path, "%s/secret", folder);
    if (len < 0 || (size_t)len >= sizeof path)
        return err_set(err, ERR_SIZE, "the path of folder %s is too long", folder);
    DIR *dir = opendir(path);
    if (!dir)
        return errno == ENOENT ? ERR_OK : err_sys(err, errno, "reading %s", path);
    enum err_code code = ERR_OK;
    for (struct dirent *entry = readdir(dir); entry && code == ERR_OK; entry = readdir(dir))
        code = sweep_one(dirfd(dir), entry->d_name, keep, arg, err);
    (void)closedir(dir);
    return code;
}
