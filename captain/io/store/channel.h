/* SPDX-License-Identifier: Apache-2.0
 *
 * Channels: where each points now, the signed desired state last issued for it, and the outbox mark that
 * says the bus has not confirmed it yet. Their history is the log.
 */
#pragma once

#include "captain/io/store/store.h"

struct store_channel {
    const char *app;
    const char *channel;
    uint8_t digest[DIGEST_BYTES];
    bool has_base;
    uint8_t base_digest[DIGEST_BYTES];
    int64_t since_ms;
    const char *set_by;
    const char *reason;
    uint64_t decision;
    uint64_t generation; /* 0: never issued */
    int64_t issued_ms;
    struct bytes desired; /* the signed envelope last issued */
    bool unsent;          /* the stream has not acknowledged it */
    bool unsettled; /* no release has succeeded here yet: digest is the one that is tried first */
};

/* Creates or moves; leaves generation and desired as they are. */
MUST_USE enum err_code store_channel_set(struct db *db, const struct store_channel *channel,
                                         struct err *err);
MUST_USE enum err_code store_channel_issued(struct db *db, const char *app, const char *channel,
                                            uint64_t generation, int64_t issued_ms,
                                            struct bytes desired, struct err *err);
/* Clears the mark if generation is still the newest. */
MUST_USE enum err_code store_channel_sent(struct db *db, const char *app, const char *channel,
                                          uint64_t generation, struct err *err);
/* ERR_NOT_FOUND. */
MUST_USE enum err_code store_channel_get(struct db *db, const char *app, const char *channel,
                                         struct arena *arena, struct store_channel *ret,
                                         struct err *err);
/* By name. */
MUST_USE enum err_code store_channel_list(struct db *db, struct arena *arena,
                                          struct store_channel **ret, size_t *ret_len,
                                          struct err *err);
/* Those whose newest desired state the bus has not confirmed. By name. */
MUST_USE enum err_code store_channel_list_unsent(struct db *db, struct arena *arena,
                                                 struct store_channel **ret, size_t *ret_len,
                                                 struct err *err);
