/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of the root chain.
 */
#pragma once

#include "captain/io/store/store.h"

enum { STORE_ROOTS_MAX = 4096 };

struct store_root {
    uint64_t version;
    struct bytes envelope;
    int64_t expires_ms;
    int64_t at_ms;
    const char *by;
    const char *reason;
    uint64_t decision;
};

MUST_USE enum err_code store_root_add(struct db *db, const struct store_root *root,
                                      struct err *err);
/* version 0: the newest. ERR_NOT_FOUND. */
MUST_USE enum err_code store_root_get(struct db *db, uint64_t version, struct arena *arena,
                                      struct store_root *ret, struct err *err);
/* Oldest first, without the envelopes; at most STORE_ROOTS_MAX. */
MUST_USE enum err_code store_root_list(struct db *db, struct arena *arena, struct store_root **ret,
                                       size_t *ret_len, struct err *err);
