/* SPDX-License-Identifier: Apache-2.0
 *
 * Fetches one file over http or https into a folder, the only file that includes curl.h. Resumes
 * what an earlier run left (partial.h), hashes while it streams, and believes nothing the server
 * says: sizes are checked when they are announced and again as the bytes come, redirects are
 * followed by hand so that each hop is held against the rules (at most 5; http to http or https;
 * https only to https), and the file gets its name only after size and hash matched.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/str.h"

enum { TRANSFER_URLS_MAX = 16, TRANSFER_REDIRECTS_MAX = 5, TRANSFER_CONNECT_TIMEOUT_S = 20 };

typedef void (*transfer_progress_fn)(void *arg, uint64_t done_bytes, uint64_t total_bytes);

struct transfer_options {
    const char *const *urls; /* tried in order, ended by NULL */
    int folder_fd;           /* the folder the file goes to */
    const char *name;        /* in it */
    uint64_t max_bytes;
    uint64_t size_bytes;      /* exact, or 0: unknown */
    const uint8_t *sha256;    /* DIGEST_BYTES, or NULL: not checked, and then never resumed */
    uint32_t low_speed_bytes; /* per second over low_speed_s: ERR_TOO_SLOW */
    uint32_t low_speed_s;
    struct bytes ca_pem;           /* the only authorities trusted; empty: the system's */
    bool hash_later;               /* the agent does: here only the size is checked */
    bool hash_is_proof;            /* who answers is not asked; only with sha256 */
    transfer_progress_fn progress; /* after each piece; may be NULL */
    void *arg;
};

/* ret_fd: the whole file, open for reading at its start, the very file that was hashed; owned.
 * ERR_HASH (the bytes are removed), ERR_SIZE (likewise when they came), ERR_TOO_SLOW, ERR_NO_SPACE
 * and ERR_NO_CONTACT (the bytes stay), ERR_NOT_FOUND (404, 410), ERR_DENIED (401, 403, a forbidden
 * scheme or redirect, a certificate that is not trusted), ERR_CONFLICT (another process fetches
 * it). Of several URLs the last one's error. */
MUST_USE enum err_code transfer_run(const struct transfer_options *options, int *ret_fd,
                                    uint64_t *ret_bytes, struct err *err);
