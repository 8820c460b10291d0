/* SPDX-License-Identifier: Apache-2.0
 *
 * Releases: immutable, one row each, the signed envelope as it came.
 */
#pragma once

#include "captain/io/store/store.h"

struct store_release {
    uint8_t digest[DIGEST_BYTES]; /* sha256 of the payload */
    const char *app;
    const char *version;
    uint64_t sequence;
    int64_t created_ms;
    const char *created_by;
    uint64_t decision;
    uint64_t size_bytes; /* of all artifacts */
    struct bytes envelope;
};

MUST_USE enum err_code store_release_add(struct db *db, const struct store_release *release,
                                         struct err *err);
/* ERR_NOT_FOUND. */
MUST_USE enum err_code store_release_find(struct db *db, const char *app, const char *version,
                                          struct arena *arena, struct store_release *ret,
                                          struct err *err);
MUST_USE enum err_code store_release_get(struct db *db, const uint8_t digest[DIGEST_BYTES],
                                         struct arena *arena, struct store_release *ret,
                                         struct err *err);
/* app "": all. Newest sequence first. Without envelopes, which may be large: they come out empty. */
MUST_USE enum err_code store_release_list(struct db *db, const char *app, struct arena *arena,
                                          struct store_release **ret, size_t *ret_len,
                                          struct err *err);
/* 0 when the app has none. */
MUST_USE enum err_code store_release_last_sequence(struct db *db, const char *app, uint64_t *ret,
                                                   struct err *err);
