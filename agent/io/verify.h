/* SPDX-License-Identifier: Apache-2.0
 *
 * Takes a fetched file over and hashes it again, through the very descriptor that is used
 * afterwards, in a thread of its own, so that the loop goes on. While it hashes, the disk writes;
 * when it says yes, the bytes are on disk. If somebody may still change the file, its bytes are
 * copied first, and the copy is what is hashed and handed on.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "common/base/str.h"
#include "common/loop.h"

struct verify;

struct verify_request {
    const char *path;      /* what captain-fetch wrote; no links on its way */
    const char *copy_path; /* in a folder that is ours alone; used only in doubt */
    uint64_t size_bytes;
    const uint8_t *sha256; /* DIGEST_BYTES */
    mode_t mode;           /* of the file, when it is accepted */
};

/* Runs once, on the loop thread, never before verify_start returned; the verify is freed when it
 * returns. fd: the accepted file, at its start, for reading only, owned by the function; -1 with an
 * error: ERR_HASH, ERR_SIZE (a wrong one), ERR_DENIED, ERR_IO, ERR_NO_SPACE. */
typedef void (*verify_done_fn)(void *arg, int fd, const struct err *err);

/* Everything is copied. */
MUST_USE enum err_code verify_start(struct loop *loop, const struct verify_request *request,
                                    verify_done_fn done, void *arg, struct verify **ret,
                                    struct err *err);
/* done will not run. Waits for the piece that is being hashed or synced. NULL is fine. */
void verify_cancel(struct verify *verify);
