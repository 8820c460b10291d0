/* SPDX-License-Identifier: Apache-2.0
 *
 * One piece of work by one captain-fetch process: started, followed by its progress lines, ended by
 * its last line. The helper does HTTP, hashing, writing and unpacking without privileges
 * (agent/fetch); this file only speaks with it. The protocol on its standard output, one line each:
 *
 *   - "progress BYTES TOTAL", at most twice a second; TOTAL 0: unknown
 *   - "done BYTES"
 *   - "error CODE SENTENCE", CODE being an err_code
 *
 * A helper that ends without done or error (killed) counts as ERR_FAILED and can be tried again.
 *
 * Nothing the helper says or leaves is believed: what it fetched is taken over and hashed again
 * (verify.h) before anybody uses it, what it unpacked is taken over (takeover.h).
 *
 * A result appears under its name by a rename, but a fetched file need not be on disk yet: verify.h
 * sees to that. What is not yet whole lies beside it under hidden names, and stays for the next try.
 */
#pragma once

#include "common/base/arena.h"
#include "common/base/str.h"
#include "common/loop.h"

struct download;

struct download_request {
    const char *helper;      /* path of captain-fetch */
    const char *user;        /* when we are root: who it becomes, and who is given the folder of to,
                              * whose path may hold no links; NULL: stays */
    const char *const *urls; /* http or https; tried in order, ended by NULL */
    const char *to;          /* file; a partial one is resumed */
    uint64_t max_bytes;      /* more is ERR_SIZE */
    uint64_t size_bytes;     /* exact size, or 0: unknown */
    const uint8_t *sha256;   /* DIGEST_BYTES, or NULL: not checked here, and not resumed */
    uint32_t low_speed_bytes; /* per second, over low_speed_s: ERR_TOO_SLOW; 0: 1,000 */
    uint32_t low_speed_s;     /* 0: 30 */
    const char *ca_path;      /* PEM for https, the only ones trusted; NULL: the system's */
    bool hash_later;          /* sha256 is for resuming only; who fetches hashes it himself */
    bool hash_is_proof;       /* who answers is not asked, because sha256 says it all: only with
                               * sha256, and at most DOWNLOAD_PROVEN_MAX_BYTES */
};

enum { DOWNLOAD_PROVEN_MAX_BYTES = 64 << 10 };

/* A verified archive becomes a folder. */
struct download_unpack {
    const char *helper, *user; /* as above; user is given the folder of to */
    int archive_fd;            /* open for reading only, at its start; borrowed until it returns */
    const char *to;            /* the new folder; one that exists is replaced */
    uint64_t bytes_max;        /* unpacked, together */
    uint32_t files_max;
};

typedef void (*download_progress_fn)(void *arg, uint64_t done_bytes, uint64_t total_bytes);
/* Runs once, on the loop thread; the download is freed when it returns. */
typedef void (*download_done_fn)(void *arg, const struct err *err);

/* Everything is copied. */
MUST_USE enum err_code download_start(struct loop *loop, const struct download_request *request,
                                      download_progress_fn progress, download_done_fn done,
                                      void *arg, struct download **ret, struct err *err);
MUST_USE enum err_code download_unpack_start(struct loop *loop,
                                             const struct download_unpack *request,
                                             download_done_fn done, void *arg,
                                             struct download **ret, struct err *err);
/* Kills the helper; done will not run. NULL is fine. */
void download_cancel(struct download *download);

/* For a program that is doing nothing else: fetches the few bytes whose hash is known from a
 * server that is not (the enrolment bundle, "<url>/trust/<sha256>"), and returns them, hashed again
 * here, in the arena. Runs a loop of its own until then. folder: ours, exists; a temporary one is
 * made in it and removed. */
struct download_proven {
    const char *helper, *user;
    const char *url;
    const uint8_t *sha256; /* DIGEST_BYTES */
    const char *folder;
};
MUST_USE enum err_code download_proven(const struct download_proven *request, struct arena *arena,
                                       struct bytes *ret, struct err *err);
