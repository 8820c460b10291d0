/* SPDX-License-Identifier: Apache-2.0
 *
 * One transfer by one captain-fetch process: started, followed by its progress lines, ended by its
 * last line. The helper does HTTP, hashing, writing and unpacking without privileges (agent/fetch);
 * this file only speaks with it. The protocol on its standard output, one line each:
 *
 *   - "progress BYTES TOTAL", at most twice a second; TOTAL 0: unknown
 *   - "done BYTES"
 *   - "error CODE SENTENCE", CODE being an err_code
 *
 * A helper that ends without done or error (killed) counts as ERR_FAILED and can be tried again.
 *
 * `to` and unpack_to appear by a rename, after everything in them is on disk: what is there under
 * its name is whole. What is not yet whole lies beside it under hidden names (".captain-HEX.part",
 * ".tag", ".unpack"), and an unpack_to that exists is replaced.
 */
#pragma once

#include "common/base/str.h"
#include "common/loop.h"

struct download;

struct download_request {
    const char *helper;      /* path of captain-fetch */
    const char *user;        /* when we are root: who it becomes, and who is given the folders of to
                              * and unpack_to, whose paths may hold no links; NULL: stays */
    const char *const *urls; /* http or https; tried in order, ended by NULL */
    const char *to;          /* file; a partial one is resumed */
    uint64_t max_bytes;      /* more is ERR_SIZE */
    uint64_t size_bytes;     /* exact size, or 0: unknown */
    const uint8_t *sha256;   /* DIGEST_BYTES, or NULL: not checked here, and neither resumed nor
                              * unpacked */
    const char *unpack_to; /* folder, or NULL: not an archive; the archive is removed afterwards */
    uint64_t unpack_bytes_max;
    uint32_t unpack_files_max;
    bool executable;          /* mode 0755 instead of 0644 */
    uint32_t low_speed_bytes; /* per second, over low_speed_s: ERR_TOO_SLOW; 0: 1,000 */
    uint32_t low_speed_s;     /* 0: 30 */
    const char *ca_path;      /* PEM for https, or NULL: the system's */
};

typedef void (*download_progress_fn)(void *arg, uint64_t done_bytes, uint64_t total_bytes);
/* Runs once, on the loop thread; the download is freed when it returns. */
typedef void (*download_done_fn)(void *arg, const struct err *err);

/* Everything is copied. */
MUST_USE enum err_code download_start(struct loop *loop, const struct download_request *request,
                                      download_progress_fn progress, download_done_fn done,
                                      void *arg, struct download **ret, struct err *err);
/* Kills the helper; done will not run. NULL is fine. */
void download_cancel(struct download *download);
