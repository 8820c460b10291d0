/* SPDX-License-Identifier: Apache-2.0
 *
 * The artifact store: files named by their SHA-256 under FOLDER/artifact/<hex>, and release documents
 * (signed envelopes) under FOLDER/release/<digest hex>. An upload grows in FOLDER/upload/<hex>.part, is
 * hashed when its last byte came, fsynced and renamed: nothing half-stored is ever visible. Immutable.
 */
#pragma once

#include "common/base/arena.h"
#include "common/base/str.h"

enum { ARTIFACT_PIECE_MAX = 512 << 10, ARTIFACT_UPLOADS_MAX = 32 };
#define ARTIFACT_MAX_BYTES (16ull << 30)

struct artifacts;

MUST_USE enum err_code artifacts_open(const char *folder, struct artifacts **ret, struct err *err);
void artifacts_close(struct artifacts *artifacts);

bool artifacts_has(struct artifacts *artifacts, const uint8_t sha256[DIGEST_BYTES],
                   uint64_t size_bytes);

/* Writes a piece at offset, which must be at most what is there. ret_next: where to go on; size_bytes
 * when complete. ERR_HASH or ERR_SIZE: the upload was wrong and is gone. */
MUST_USE enum err_code artifacts_put(struct artifacts *artifacts,
                                     const uint8_t sha256[DIGEST_BYTES], uint64_t size_bytes,
                                     uint64_t offset, struct bytes data, uint64_t *ret_next,
                                     bool *ret_complete, struct err *err);
/* ERR_NOT_FOUND. Reads at most length bytes from offset into the arena. */
MUST_USE enum err_code artifacts_get(struct artifacts *artifacts,
                                     const uint8_t sha256[DIGEST_BYTES], uint64_t offset,
                                     uint32_t length, struct arena *arena, struct bytes *ret,
                                     uint64_t *ret_size, struct err *err);
/* Stores a release document under the digest of its payload; the same again is fine. */
MUST_USE enum err_code artifacts_put_release(struct artifacts *artifacts,
                                             const uint8_t digest[DIGEST_BYTES],
                                             struct bytes envelope, struct err *err);
