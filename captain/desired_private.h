/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by desired.c (channels on their way), desired_document.c (what their documents say) and
 * desired_device.c (documents of single devices); no one else's.
 */
#pragma once

#include "captain/desired.h"
#include "proto/codec.h"

struct desired_signer {
    struct db *db;
    const struct keys *keys;
    char tenant[TOKEN_MAX + 1];
    char store_url[256];
    int64_t valid_ms;
};

/* The larger of the last one plus 1 and the time. */
uint64_t desired_generation(uint64_t last, int64_t now_ms);
/* Encodes and signs. */
MUST_USE enum err_code desired_seal(const struct desired_signer *signer,
                                    const struct codec_type *type, const void *document,
                                    struct arena *arena, struct bytes *ret, struct err *err);
/* Builds and signs the channel's next document and keeps it in its row. ERR_NOT_FOUND: the channel has no
 * release yet. */
MUST_USE enum err_code desired_document(const struct desired_signer *signer, const char *app,
                                        const char *channel, uint64_t decision, struct arena *arena,
                                        struct err *err);
