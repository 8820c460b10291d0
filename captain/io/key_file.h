/* SPDX-License-Identifier: Apache-2.0
 *
 * A private key in a file, mode 0600; one that others may read is refused. Either plain, the 64
 * digits of sign_key_save (machines that nobody sits at), or sealed with a passphrase, a small JSON
 * object (argon2id makes the key of a crypto_secretbox):
 *   {"captain_key": 1, "name": "ada", "public": HEX,
 *    "kdf": {"algorithm": "argon2id13", "ops": 3, "mem": 268435456, "salt": HEX},
 *    "nonce": HEX, "box": HEX}
 * What making that key may cost is in the file, and bounded when a foreign one is read. Every buffer
 * that held a secret is wiped.
 */
#pragma once

#include <stdbool.h>

#include "common/sign.h"

enum {
    KEY_FILE_MAX_BYTES = 4096,
    KEY_FILE_PASSPHRASE_MAX = 1024, /* bytes, without its NUL */
    KEY_FILE_SALT_BYTES = 16,
    KEY_FILE_NONCE_BYTES = 24,
    KEY_FILE_BOX_BYTES = SIGN_SEED_BYTES + 16,
    KEY_FILE_OPS_MAX = 8,
    KEY_FILE_MEM_MIN = 8 << 10,
    KEY_FILE_MEM_MAX = 1 << 30,
};

/* What a file holds. */
struct key_file {
    bool sealed;
    char name[TOKEN_MAX + 1]; /* "" in a plain file */
    uint8_t public_key[SIGN_PUBLIC_BYTES];
    uint8_t seed[SIGN_SEED_BYTES]; /* of a plain file */
    uint32_t ops, mem;             /* of a sealed one, all below; mem in bytes */
    uint8_t salt[KEY_FILE_SALT_BYTES];
    uint8_t nonce[KEY_FILE_NONCE_BYTES];
    uint8_t box[KEY_FILE_BOX_BYTES];
};

/* Asks for the passphrase of the key called name (or of the file, when it has no name). */
typedef enum err_code (*key_file_ask_fn)(void *arg, const char *name,
                                         char ret[static KEY_FILE_PASSPHRASE_MAX + 1],
                                         struct err *err);

/* Writes a new file; one that is there is never replaced (ERR_CONFLICT). passphrase NULL: plain,
 * and name is not kept. */
MUST_USE enum err_code key_file_save(const struct sign_key *key, const char *name,
                                     const char *passphrase, const char *path, struct err *err);

/* Takes either form; ask is called only for a sealed one. ERR_NOT_FOUND, ERR_DENIED (mode, or a
 * wrong passphrase), ERR_MALFORMED (also when the key is not the one that "public" promises). */
MUST_USE enum err_code key_file_load(const char *path, key_file_ask_fn ask, void *arg,
                                     struct sign_key *ret, struct err *err);

/* What can be said of a file without its passphrase; no secret is left in ret. The public key of a
 * sealed file is what the file says, until it has been opened. */
MUST_USE enum err_code key_file_inspect(const char *path, struct key_file *ret, struct err *err);

/* Text of a file; where stands for it in complaints. ERR_MALFORMED, ERR_SIZE. */
MUST_USE enum err_code key_file_parse(const char *where, struct bytes text, struct key_file *ret,
                                      struct err *err);
