/* SPDX-License-Identifier: Apache-2.0
 *
 * The decision log's own copy: append-only (a trigger refuses UPDATE and DELETE).
 */
#pragma once

#include "captain/io/store/store.h"
#include "proto/messages.h"

struct store_log_row {
    uint64_t seq;
    struct bytes entry; /* encoded LogEntry */
    uint8_t hash[DIGEST_BYTES];
};

/* seq must be the last one plus 1. */
MUST_USE enum err_code store_log_append(struct db *db, const struct log_entry *entry,
                                        struct bytes encoded, const uint8_t hash[DIGEST_BYTES],
                                        struct err *err);
/* seq 0 and a zero hash when the log is empty. */
MUST_USE enum err_code store_log_last(struct db *db, uint64_t *ret_seq,
                                      uint8_t ret_hash[DIGEST_BYTES], struct err *err);
/* ERR_NOT_FOUND. */
MUST_USE enum err_code store_log_get(struct db *db, uint64_t seq, struct arena *arena,
                                     struct store_log_row *ret, struct err *err);
/* Newest first, entries below `before` (0: all), at most limit; kind and subject: "" for any. */
MUST_USE enum err_code store_log_list(struct db *db, uint64_t before, const char *kind,
                                      const char *subject, uint32_t limit, struct arena *arena,
                                      struct store_log_row **ret, size_t *ret_len, struct err *err);
