/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/keyring.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "captain/cli/output.h"
#include "captain/cli/passphrase.h"
#include "common/base/mem.h"
#include "common/file.h"

#define SUFFIX ".key"

enum { TRIES = 3 };

static enum err_code find_folder(struct arena *arena, const char **ret, struct err *err)
{
    const char *xdg = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");
    if (xdg && xdg[0] == '/')
        *ret = arena_printf(arena, "%s/captain/keys", xdg);
    else if (home && home[0] == '/')
        *ret = arena_printf(arena, "%s/.config/captain/keys", home);
    else
        return err_set(err, ERR_USAGE, "neither XDG_CONFIG_HOME nor HOME says where keys live");
    return *ret ? ERR_OK : err_set(err, ERR_SIZE, "the path of the keys is too long");
}

static enum err_code named_path(const char *name, struct arena *arena, const char **ret_folder,
                                const char **ret, struct err *err)
{
    if (find_folder(arena, ret_folder, err))
        return err->code;
    *ret = arena_printf(arena, "%s/%s" SUFFIX, *ret_folder, name);
    return *ret ? ERR_OK : err_set(err, ERR_SIZE, "the path of the key is too long");
}

enum err_code keyring_new_path(const char *name, struct arena *arena, const char **ret,
                               struct err *err)
{
    const char *folder;
    if (!str_is_token(name)) {
        err_set(err, ERR_USAGE, "%.80s is no plain name for a key", name);
        return err_hint(err, "letters, digits, _ and -, at most %d", TOKEN_MAX);
    }
    if (named_path(name, arena, &folder, ret, err) || file_make_dirs(folder, 0700, err))
        return err->code;
    if (access(*ret, F_OK) == 0) {
        err_set(err, ERR_CONFLICT, "there is a key %s already; a key is never replaced", name);
        return err_hint(err, "captain key ls");
    }
    return ERR_OK;
}

enum err_code keyring_path(const char *word, struct arena *arena, const char **ret, struct err *err)
{
    const char *folder;
    if (!str_is_token(word)) {
        *ret = word;
        return ERR_OK;
    }
    if (named_path(word, arena, &folder, ret, err))
        return err->code;
    if (access(*ret, F_OK) == 0)
        return ERR_OK;
    err_set(err, ERR_USAGE, "there is no key %s", word);
    return err_hint(err, "captain key ls; a file is named with its folder: ./%s", word);
}

enum err_code keyring_each(const char *words, size_t max, struct arena *arena, keyring_word_fn fn,
                           void *arg, struct err *err)
{
    size_t count = 0;
    for (const char *at = words;; count++) {
        size_t len = strcspn(at, ",");
        char *word = arena_printf(arena, "%.*s", (int)len, at);
        if (!word || len == 0)
            return err_set(err, ERR_USAGE, "\"%.100s\" has an empty part", words);
        if (count == max)
            return err_set(err, ERR_USAGE, "\"%.100s\" has more than %zu parts", words, max);
        if (fn(arg, word, err))
            return err->code;
        if (at[len] == '\0')
            return ERR_OK;
        at += len + 1;
    }
}

/* -- to sign with ----------------------------------------------------------------------------- */

struct loading {
    struct keyring_signers *signers;
    struct passphrase *passphrase;
    struct arena *arena;
};

/* Whoever mistypes a passphrase is asked again. */
static enum err_code load_patiently(const char *path, struct passphrase *passphrase,
                                    struct sign_key *ret, struct err *err)
{
    for (unsigned i = 1;; i++) {
        passphrase->asked = false;
        enum err_code code = key_file_load(path, passphrase_ask, passphrase, ret, err);
        if (code != ERR_DENIED || !passphrase->asked || i == TRIES)
            return code;
        output_note("%s", err->text);
        *err = (struct err){0};
    }
}

static enum err_code load_one(void *arg, char *word, struct err *err)
{
    struct loading *loading = arg;
    struct keyring_signers *signers = loading->signers;
    struct sign_key *key = &signers->keys[signers->len];
    const char *path;
    if (keyring_path(word, loading->arena, &path, err))
        return err->code;
    enum err_code code = load_patiently(path, loading->passphrase, key, err);
    if (code == ERR_NOT_FOUND)
        return err->code = ERR_USAGE; /* no object of captain's is missing: the words are off */
    if (code)
        return code;
    for (size_t i = 0; i < signers->len; i++)
        if (memcmp(signers->keys[i].public_key, key->public_key, SIGN_PUBLIC_BYTES) == 0) {
            sign_key_wipe(key);
            return err_set(err, ERR_USAGE, "%s and %s are one key; it counts once",
                           signers->names[i], word);
        }
    signers->names[signers->len++] = word;
    return ERR_OK;
}

enum err_code keyring_signers(const struct invocation *invocation, const char *words,
                              struct keyring_signers *ret, struct err *err)
{
    struct passphrase passphrase DEFER(passphrase_wipe) = {.source =
                                                               invocation->flags[FLAG_PASSPHRASE]};
    struct loading loading = {ret, &passphrase, invocation->arena};
    ret->len = 0;
    return keyring_each(words, SIGN_SIGNATURES_MAX, invocation->arena, load_one, &loading, err);
}

void keyring_signers_wipe(struct keyring_signers *signers)
{
    for (size_t i = 0; i < signers->len; i++)
        sign_key_wipe(&signers->keys[i]);
    signers->len = 0;
}

/* -- public keys ------------------------------------------------------------------------------ */

enum err_code keyring_public(const char *word, struct arena *arena,
                             uint8_t ret[static SIGN_PUBLIC_BYTES], struct err *err)
{
    struct key_file file;
    const char *path;
    if (strlen(word) == 2 * SIGN_PUBLIC_BYTES && str_unhex(word, ret, SIGN_PUBLIC_BYTES) == ERR_OK)
        return ERR_OK;
    if (keyring_path(word, arena, &path, err) || key_file_inspect(path, &file, err)) {
        err->code = err->code == ERR_NOT_FOUND ? ERR_USAGE : err->code;
        return err_hint(err, "a key is 64 hexadecimal digits, or a name of captain key ls");
    }
    memcpy(ret, file.public_key, SIGN_PUBLIC_BYTES);
    return ERR_OK;
}

static void close_folder(DIR **dir)
{
    if (*dir)
        (void)closedir(*dir);
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const struct keyring_entry *)a)->name, ((const struct keyring_entry *)b)->name);
}

/* False for what is no key. */
static bool load_entry(const char *folder, const char *file_name, struct arena *arena,
                       struct keyring_entry *ret)
{
    struct err err = {0};
    size_t len = strlen(file_name);
    size_t suffix = strlen(SUFFIX);
    if (len <= suffix || !str_equal(file_name + len - suffix, SUFFIX))
        return false;
    ret->name = arena_printf(arena, "%.*s", (int)(len - suffix), file_name);
    ret->path = arena_printf(arena, "%s/%s", folder, file_name);
    if (!ret->name || !ret->path || !str_is_token(ret->name))
        return false;
    if (key_file_inspect(ret->path, &ret->file, &err) == ERR_OK)
        return true;
    output_note("%s", err.text);
    return false;
}

enum err_code keyring_load(struct arena *arena, struct keyring *ret, struct err *err)
{
    const char *folder;
    *ret = (struct keyring){0};
    if (find_folder(arena, &folder, err)) {
        *err = (struct err){0}; /* no home: no keys; making one will say so */
        return ERR_OK;
    }
    ret->list = arena_alloc(arena, KEYRING_MAX * sizeof *ret->list);
    DIR *dir DEFER(close_folder) = opendir(folder);
    if (!ret->list)
        return err_set(err, ERR_SIZE, "no room for the keys");
    if (!dir)
        return errno == ENOENT ? ERR_OK : err_sys(err, errno, "cannot read %s", folder);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (ret->len == KEYRING_MAX)
            return err_set(err, ERR_FULL, "%s holds more than %d keys", folder, KEYRING_MAX);
        if (load_entry(folder, entry->d_name, arena, &ret->list[ret->len]))
            ret->len++;
    }
    qsort(ret->list, ret->len, sizeof *ret->list, compare_entries);
    return ERR_OK;
}

const char *keyring_name(const struct keyring *keyring, const uint8_t *public_key)
{
    for (size_t i = 0; i < keyring->len; i++)
        if (memcmp(keyring->list[i].file.public_key, public_key, SIGN_PUBLIC_BYTES) == 0)
            return keyring->list[i].name;
    return "";
}
