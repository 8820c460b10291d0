/* SPDX-License-Identifier: Apache-2.0
 *
 * Secrets at rest. One master key, of which the X25519 pair that values are sealed to is derived; sealed
 * values lie in FOLDER/secret/<sha256 of the box>, mode 0600. The private half stays in locked
 * memory (sodium_malloc) and is wiped at close; an opened value lives only inside vault_reseal.
 */
#pragma once

#include <stdbool.h>

#include "common/base/arena.h"
#include "common/base/str.h"

enum {
    VAULT_MASTER_BYTES = 32,
    VAULT_KEY_BYTES = 32,   /* X25519 */
    VAULT_VALUE_MAX = 4096, /* bytes of a value, at least 1 */
    VAULT_SEAL_BYTES = 48,  /* what crypto_box_seal adds */
    VAULT_SEALED_MAX = VAULT_VALUE_MAX + VAULT_SEAL_BYTES,
};

struct vault;

/* The master key, 64 hexadecimal digits and perhaps a newline, from spec:
 *   "file:PATH"        PATH relative to folder, mode 0600
 *   "credential:NAME"  $CREDENTIALS_DIRECTORY/NAME (systemd)
 *   "env:NAME"         the variable, which is overwritten and taken out of the environment
 * ERR_USAGE for another spec, ERR_NOT_FOUND, ERR_DENIED (others may read it), ERR_MALFORMED. */
MUST_USE enum err_code vault_open(const char *spec, const char *folder, struct vault **ret,
                                  struct err *err);
/* NULL is fine. */
void vault_close(struct vault *vault);

/* Values are sealed to it (crypto_box_seal). */
const uint8_t *vault_public_key(const struct vault *vault);
/* What this master key makes of a constant: tells keys apart, and says nothing of them. */
void vault_check(const struct vault *vault, uint8_t ret[static DIGEST_BYTES]);

/* Whether the box holds 1 to VAULT_VALUE_MAX bytes sealed to our key: ERR_DENIED, ERR_SIZE. */
MUST_USE enum err_code vault_test(const struct vault *vault, struct bytes sealed, struct err *err);
/* The stored value, sealed to another key (of a device), in the arena; the open value is wiped.
 * ERR_NOT_FOUND (no such file), ERR_HASH (it was changed), ERR_DENIED (sealed to another key). */
MUST_USE enum err_code vault_reseal(const struct vault *vault, const uint8_t digest[DIGEST_BYTES],
                                    const uint8_t to[static VAULT_KEY_BYTES], struct arena *arena,
                                    struct bytes *ret, struct err *err);

/* Files; they need no master key. Durable on return. The same again is fine. */
MUST_USE enum err_code vault_put(const char *folder, struct bytes sealed,
                                 uint8_t ret_digest[static DIGEST_BYTES], struct err *err);
/* One that is not there is fine. */
MUST_USE enum err_code vault_remove(const char *folder, const uint8_t digest[DIGEST_BYTES],
                                    struct err *err);
/* Removes every file that keep does not want: what a decision that was never taken left. */
typedef bool (*vault_keep_fn)(void *arg, const uint8_t digest[DIGEST_BYTES]);
MUST_USE enum err_code vault_sweep(const char *folder, vault_keep_fn keep, void *arg,
                                   struct err *err);
