/* SPDX-License-Identifier: Apache-2.0
 *
 * The keys of this person: $XDG_CONFIG_HOME/captain/keys/NAME.key (or ~/.config), folder 0700. Where
 * a command takes a key, it takes the name of one of these or the path of a key file (anything with
 * a '/' or a '.' in it).
 */
#pragma once

#include "captain/cli/command.h"
#include "captain/io/key_file.h"

enum { KEYRING_MAX = 256 };

/* Private keys to sign with. */
struct keyring_signers {
    struct sign_key keys[SIGN_SIGNATURES_MAX];
    const char *names[SIGN_SIGNATURES_MAX];
    size_t len;
};

struct keyring_entry {
    const char *name, *path;
    struct key_file file;
};
struct keyring {
    struct keyring_entry *list; /* by name */
    size_t len;
};

/* Path of a key that is to be made, its folder made too; ERR_CONFLICT when it is there. */
MUST_USE enum err_code keyring_new_path(const char *name, struct arena *arena, const char **ret,
                                        struct err *err);
/* Path of the key that word names; whether it can be read is not looked at for a path. ERR_USAGE. */
MUST_USE enum err_code keyring_path(const char *word, struct arena *arena, const char **ret,
                                    struct err *err);

/* "ada,keys/root.key": each opened, with its passphrase if it has one (--passphrase, or asked for).
 * A key that is named twice is ERR_USAGE. Wipe ret even after an error. */
MUST_USE enum err_code keyring_signers(const struct invocation *invocation, const char *words,
                                       struct keyring_signers *ret, struct err *err);
void keyring_signers_wipe(struct keyring_signers *signers);

/* A public key: 64 hexadecimal digits, or the word of a key. */
MUST_USE enum err_code keyring_public(const char *word, struct arena *arena,
                                      uint8_t ret[static SIGN_PUBLIC_BYTES], struct err *err);

/* All of them; one that cannot be read is left out, with a note. */
MUST_USE enum err_code keyring_load(struct arena *arena, struct keyring *ret, struct err *err);
/* Its name here, or "". */
const char *keyring_name(const struct keyring *keyring, const uint8_t *public_key);

/* Calls fn for each part of "a,b,c", a copy in the arena. ERR_USAGE for an empty part or more than
 * max. */
typedef enum err_code (*keyring_word_fn)(void *arg, char *word, struct err *err);
MUST_USE enum err_code keyring_each(const char *words, size_t max, struct arena *arena,
                                    keyring_word_fn fn, void *arg, struct err *err);
