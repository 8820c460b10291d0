/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-256 by OpenSSL's EVP (uses the CPU's instructions).
 */
#pragma once

#include "common/base/err.h"
#include "common/base/str.h"

struct hash; /* a running SHA-256 */

struct hash *hash_new(void);
void hash_update(struct hash *hash, const void *data, size_t len);
/* Gives the digest; the object may then be used again from the start. */
void hash_final(struct hash *hash, uint8_t ret[static DIGEST_BYTES]);
void hash_free(struct hash *hash);

void hash_bytes(struct bytes in, uint8_t ret[static DIGEST_BYTES]);
/* Reads the file from the start to the end. */
MUST_USE enum err_code hash_file(int fd, uint8_t ret[static DIGEST_BYTES], uint64_t *ret_size,
                                 struct err *err);
