/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/clock.h"
#include "common/file.h"

#define ALGORITHM "argon2id13"

_Static_assert(KEY_FILE_SALT_BYTES == crypto_pwhash_SALTBYTES, "libsodium's salt");
_Static_assert(KEY_FILE_NONCE_BYTES == crypto_secretbox_NONCEBYTES, "libsodium's nonce");
_Static_assert(KEY_FILE_BOX_BYTES == SIGN_SEED_BYTES + crypto_secretbox_MACBYTES, "its box");

enum { SEED_DIGITS = 2 * SIGN_SEED_BYTES };

static void json_unref(json_t **json)
{
    json_decref(*json);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

static void wipe_text(char (*text)[KEY_FILE_MAX_BYTES + 1])
{
    sodium_memzero(*text, sizeof *text);
}

static void wipe_file(struct key_file *file)
{
    sodium_memzero(file, sizeof *file);
}

/* -- reading ---------------------------------------------------------------------------------- */

/* An object has these keys and no others. */
static enum err_code check_keys(const char *where, json_t *json, const char *const *keys,
                                struct err *err)
{
    const char *key;
    json_t *value;
    if (!json_is_object(json))
        return err_set(err, ERR_MALFORMED, "%s is no key file", where);
    json_object_foreach(json, key, value)
    {
        size_t i = 0;
        while (keys[i] && !str_equal(keys[i], key))
            i++;
        if (!keys[i])
            return err_set(err, ERR_MALFORMED, "%s has the unknown key \"%.64s\"", where, key);
    }
    return ERR_OK;
}

static enum err_code read_hex(const char *where, json_t *json, const char *key, uint8_t *ret,
                              size_t ret_len, struct err *err)
{
    const char *text = json_string_value(json_object_get(json, key));
    if (text && str_unhex(text, ret, ret_len) == ERR_OK)
        return ERR_OK;
    return err_set(err, ERR_MALFORMED, "%s: \"%s\" must be %zu hexadecimal digits", where, key,
                   2 * ret_len);
}

static enum err_code read_number(const char *where, json_t *json, const char *key, json_int_t min,
                                 json_int_t max, uint32_t *ret, struct err *err)
{
    json_t *value = json_object_get(json, key);
    if (!json_is_integer(value) || json_integer_value(value) < min ||
        json_integer_value(value) > max)
        return err_set(err, ERR_MALFORMED,
                       "%s: \"%s\" must be a number from %" JSON_INTEGER_FORMAT
                       " to %" JSON_INTEGER_FORMAT,
                       where, key, min, max);
    *ret = (uint32_t)json_integer_value(value);
    return ERR_OK;
}

static enum err_code read_kdf(const char *where, json_t *kdf, struct key_file *ret, struct err *err)
{
    static const char *const keys[] = {"algorithm", "ops", "mem", "salt", NULL};
    if (check_keys(where, kdf, keys, err))
        return err->code;
    if (!str_equal(json_string_value(json_object_get(kdf, "algorithm")), ALGORITHM))
        return err_set(err, ERR_MALFORMED, "%s: \"algorithm\" must be \"" ALGORITHM "\"", where);
    if (read_number(where, kdf, "ops", 1, KEY_FILE_OPS_MAX, &ret->ops, err) ||
        read_number(where, kdf, "mem", KEY_FILE_MEM_MIN, KEY_FILE_MEM_MAX, &ret->mem, err))
        return err->code;
    return read_hex(where, kdf, "salt", ret->salt, sizeof ret->salt, err);
}

static enum err_code read_sealed(const char *where, json_t *json, struct key_file *ret,
                                 struct err *err)
{
    static const char *const keys[] = {"captain_key", "name", "public", "kdf",
                                       "nonce",       "box",  NULL};
    uint32_t form;
    const char *name;
    if (check_keys(where, json, keys, err) ||
        read_number(where, json, "captain_key", 1, 1, &form, err))
        return err->code;
    name = json_string_value(json_object_get(json, "name"));
    if (!name || !str_is_token(name) || str_copy(ret->name, sizeof ret->name, name))
        return err_set(err, ERR_MALFORMED, "%s: \"name\" must be a plain name", where);
    if (read_hex(where, json, "public", ret->public_key, sizeof ret->public_key, err) ||
        read_kdf(where, json_object_get(json, "kdf"), ret, err) ||
        read_hex(where, json, "nonce", ret->nonce, sizeof ret->nonce, err))
        return err->code;
    ret->sealed = true;
    return read_hex(where, json, "box", ret->box, sizeof ret->box, err);
}

static enum err_code parse_plain(const char *where, struct bytes text, struct key_file *ret,
                                 struct err *err)
{
    char digits[SEED_DIGITS + 1] = "";
    struct sign_key key;
    if (text.len == SEED_DIGITS || (text.len == SEED_DIGITS + 1 && text.ptr[SEED_DIGITS] == '\n'))
        memcpy(digits, text.ptr, SEED_DIGITS);
    enum err_code code = str_unhex(digits, ret->seed, sizeof ret->seed);
    sodium_memzero(digits, sizeof digits);
    if (code) /* its text is not said: it may be a secret all the same */
        return err_set(err, ERR_MALFORMED,
                       "%s is no key file: neither 64 hexadecimal digits nor a sealed key", where);
    sign_key_from_seed(ret->seed, &key);
    memcpy(ret->public_key, key.public_key, sizeof ret->public_key);
    sign_key_wipe(&key);
    return ERR_OK;
}

enum err_code key_file_parse(const char *where, struct bytes text, struct key_file *ret,
                             struct err *err)
{
    struct key_file file DEFER(wipe_file) = {0};
    json_error_t why;
    if (text.len > KEY_FILE_MAX_BYTES)
        return err_set(err, ERR_SIZE, "%s is no key file: more than %d bytes", where,
                       KEY_FILE_MAX_BYTES);
    enum err_code code;
    if (text.len > 0 && text.ptr[0] == '{') {
        json_t *json DEFER(json_unref) =
            json_loadb((const char *)text.ptr, text.len, JSON_REJECT_DUPLICATES, &why);
        code = json ? read_sealed(where, json, &file, err)
                    : err_set(err, ERR_MALFORMED, "%s:%d:%d: %s", where, why.line, why.column,
                              why.text);
    } else {
        code = parse_plain(where, text, &file, err);
    }
    if (code == ERR_OK)
        *ret = file;
    return code;
}

/* Mode and text of one descriptor, so that the file cannot be swapped in between. */
static enum err_code read_text(const char *path, char ret[static KEY_FILE_MAX_BYTES + 1],
                               size_t *ret_len, struct err *err)
{
    struct stat st;
    int fd DEFER(close_fd) = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return err_set(err, ERR_NOT_FOUND, "%s does not exist", path);
    if (fd < 0 || fstat(fd, &st))
        return err_sys(err, errno, "opening %s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_MALFORMED, "%s is no file", path);
    if (st.st_mode & (S_IRWXG | S_IRWXO)) {
        (void)err_set(err, ERR_DENIED, "the key file %s may be read by others (mode %03o)", path,
                      (unsigned)st.st_mode & 0777u);
        return err_hint(err, "chmod 600 %s", path);
    }
    *ret_len = 0;
    for (;;) {
        ssize_t n = read(fd, ret + *ret_len, KEY_FILE_MAX_BYTES + 1 - *ret_len);
        if (n < 0 && errno != EINTR)
            return err_sys(err, errno, "reading %s", path);
        if (n == 0 || *ret_len == KEY_FILE_MAX_BYTES + 1)
            return ERR_OK;
        *ret_len += n > 0 ? (size_t)n : 0;
    }
}

static enum err_code read_file(const char *path, struct key_file *ret, struct err *err)
{
    char text[KEY_FILE_MAX_BYTES + 1] DEFER(wipe_text);
    size_t len = 0;
    if (read_text(path, text, &len, err))
        return err->code;
    return key_file_parse(path, bytes_of(text, len), ret, err);
}

enum err_code key_file_inspect(const char *path, struct key_file *ret, struct err *err)
{
    struct key_file file DEFER(wipe_file) = {0};
    if (read_file(path, &file, err))
        return err->code;
    sodium_memzero(file.seed, sizeof file.seed);
    *ret = file;
    return ERR_OK;
}

/* -- passphrases ------------------------------------------------------------------------------ */

/* The key of the box, from passphrase, salt and limits. */
static enum err_code derive(const struct key_file *file, const char *passphrase,
                            uint8_t ret[static crypto_secretbox_KEYBYTES], struct err *err)
{
    if (crypto_pwhash(ret, crypto_secretbox_KEYBYTES, passphrase, strlen(passphrase), file->salt,
                      file->ops, file->mem, crypto_pwhash_ALG_ARGON2ID13) == 0)
        return ERR_OK;
    return err_set(err, ERR_FAILED, "a passphrase needs %u MiB of memory for a moment",
                   file->mem >> 20);
}

static enum err_code open_box(const char *path, const struct key_file *file, const char *passphrase,
                              struct sign_key *ret, struct err *err)
{
    uint8_t box_key[crypto_secretbox_KEYBYTES];
    uint8_t seed[SIGN_SEED_BYTES];
    enum err_code code = derive(file, passphrase, box_key, err);
    if (code == ERR_OK &&
        crypto_secretbox_open_easy(seed, file->box, sizeof file->box, file->nonce, box_key))
        code = err_set(err, ERR_DENIED, "this is not the passphrase of the key %s", file->name);
    if (code == ERR_OK)
        sign_key_from_seed(seed, ret);
    sodium_memzero(box_key, sizeof box_key);
    sodium_memzero(seed, sizeof seed);
    if (code == ERR_OK && memcmp(ret->public_key, file->public_key, SIGN_PUBLIC_BYTES) != 0) {
        sign_key_wipe(ret);
        return err_set(err, ERR_MALFORMED, "%s: \"public\" is not the public key of what is in it",
                       path);
    }
    return code;
}

static enum err_code ask_and_open(const char *path, const struct key_file *file,
                                  key_file_ask_fn ask, void *arg, struct sign_key *ret,
                                  struct err *err)
{
    char passphrase[KEY_FILE_PASSPHRASE_MAX + 1] = "";
    enum err_code code = ask(arg, file->name, passphrase, err);
    if (code == ERR_OK)
        code = open_box(path, file, passphrase, ret, err);
    sodium_memzero(passphrase, sizeof passphrase);
    return code;
}

enum err_code key_file_load(const char *path, key_file_ask_fn ask, void *arg, struct sign_key *ret,
                            struct err *err)
{
    struct key_file file DEFER(wipe_file) = {0};
    if (sodium_init() < 0)
        abort(); /* a machine that libsodium cannot run on */
    if (read_file(path, &file, err))
        return err->code;
    if (file.sealed)
        return ask_and_open(path, &file, ask, arg, ret, err);
    sign_key_from_seed(file.seed, ret);
    return ERR_OK;
}

/* -- writing ---------------------------------------------------------------------------------- */

static enum err_code seal_box(const struct sign_key *key, const char *passphrase,
                              struct key_file *file, struct err *err)
{
    uint8_t box_key[crypto_secretbox_KEYBYTES];
    file->sealed = true;
    file->ops = crypto_pwhash_OPSLIMIT_MODERATE;
    file->mem = crypto_pwhash_MEMLIMIT_MODERATE;
    memcpy(file->public_key, key->public_key, sizeof file->public_key);
    clock_random(file->salt, sizeof file->salt);
    clock_random(file->nonce, sizeof file->nonce);
    enum err_code code = derive(file, passphrase, box_key, err);
    if (code == ERR_OK)
        (void)crypto_secretbox_easy(file->box, key->seed, SIGN_SEED_BYTES, file->nonce, box_key);
    sodium_memzero(box_key, sizeof box_key);
    return code;
}

static json_t *hex(const uint8_t *data, size_t len)
{
    char digits[2 * KEY_FILE_BOX_BYTES + 1];
    str_hex(bytes_of(data, len), digits);
    return json_string(digits);
}

/* Owned by the caller (free): nothing of it is secret. */
static char *sealed_text(const struct key_file *file)
{
    json_t *json DEFER(json_unref) = json_object();
    json_t *kdf = json_object();
    (void)json_object_set_new(kdf, "algorithm", json_string(ALGORITHM));
    (void)json_object_set_new(kdf, "ops", json_integer(file->ops));
    (void)json_object_set_new(kdf, "mem", json_integer(file->mem));
    (void)json_object_set_new(kdf, "salt", hex(file->salt, sizeof file->salt));
    (void)json_object_set_new(json, "captain_key", json_integer(1));
    (void)json_object_set_new(json, "name", json_string(file->name));
    (void)json_object_set_new(json, "public", hex(file->public_key, sizeof file->public_key));
    (void)json_object_set_new(json, "kdf", kdf);
    (void)json_object_set_new(json, "nonce", hex(file->nonce, sizeof file->nonce));
    (void)json_object_set_new(json, "box", hex(file->box, sizeof file->box));
    return json_dumps(json, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
}

static enum err_code write_all(int fd, const char *path, const char *text, size_t len,
                               struct err *err)
{
    while (len > 0) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno != EINTR)
            return err_sys(err, errno, "writing %s", path);
        text += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return fsync(fd) ? err_sys(err, errno, "writing %s", path) : ERR_OK;
}

/* Never over a file that is there; one that could not be written whole is taken away. */
static enum err_code write_new(const char *path, const char *text, size_t len, struct err *err)
{
    char *folder DEFER(mem_free_ref) = mem_strdup(path);
    char *slash = strrchr(folder, '/');
    int fd DEFER(close_fd) = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        return err_set(err, ERR_CONFLICT, "%s exists; a key is never replaced", path);
    if (fd < 0)
        return err_sys(err, errno, "making %s", path);
    if (write_all(fd, path, text, len, err)) {
        (void)unlink(path);
        return err->code;
    }
    if (slash)
        *slash = '\0';
    return file_sync_dir(!slash ? "." : slash == folder ? "/" : folder, err);
}

static enum err_code save_plain(const struct sign_key *key, const char *path, struct err *err)
{
    char digits[SEED_DIGITS + 1];
    str_hex(bytes_of(key->seed, SIGN_SEED_BYTES), digits);
    digits[SEED_DIGITS] = '\n';
    enum err_code code = write_new(path, digits, sizeof digits, err);
    sodium_memzero(digits, sizeof digits);
    return code;
}

static enum err_code save_sealed(const struct sign_key *key, const char *name,
                                 const char *passphrase, const char *path, struct err *err)
{
    struct key_file file DEFER(wipe_file) = {0};
    if (!str_is_token(name) || str_copy(file.name, sizeof file.name, name))
        return err_set(err, ERR_USAGE, "%.80s is no plain name for a key", name);
    if (seal_box(key, passphrase, &file, err))
        return err->code;
    char *text = sealed_text(&file);
    enum err_code code = text ? write_new(path, text, strlen(text), err)
                              : err_set(err, ERR_FAILED, "no memory for %s", path);
    free(text);
    return code;
}

enum err_code key_file_save(const struct sign_key *key, const char *name, const char *passphrase,
                            const char *path, struct err *err)
{
    if (sodium_init() < 0)
        abort(); /* a machine that libsodium cannot run on */
    return passphrase ? save_sealed(key, name, passphrase, path, err) : save_plain(key, path, err);
}
