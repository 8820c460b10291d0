/* SPDX-License-Identifier: Apache-2.0
 *
 * Files that survive a power cut, and folders. Paths are borrowed. Modes: folders 0700, files 0600
 * unless said.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/arena.h"
#include "common/base/str.h"

/* mkdir -p. */
MUST_USE enum err_code file_make_dirs(const char *path, mode_t mode, struct err *err);

/* Writes all of data to a temporary neighbour (path.tmp, locked while it is written), fsyncs it, renames
 * it over path, fsyncs the folder. */
MUST_USE enum err_code file_replace(const char *path, struct bytes data, mode_t mode,
                                    struct err *err);

/* Whole file into the arena, with a NUL behind it that len does not count. ERR_NOT_FOUND when it is
 * missing, ERR_SIZE when it is larger than max_bytes. */
MUST_USE enum err_code file_read(const char *path, size_t max_bytes, struct arena *arena,
                                 struct bytes *ret, struct err *err);

/* A small file with a secret, with a NUL behind it that ret_len does not count; mode and bytes of one
 * descriptor, so that it cannot be swapped in between. ERR_NOT_FOUND, ERR_DENIED with the chmod that
 * mends it when others may read it, ERR_SIZE when it does not fit. The caller wipes ret. */
MUST_USE enum err_code file_read_secret(const char *path, char *ret, size_t ret_size,
                                        size_t *ret_len, struct err *err);

MUST_USE enum err_code file_sync_dir(const char *path, struct err *err);

/* rm -rf, without following links or leaving path's file system; a missing path is fine. */
MUST_USE enum err_code file_remove_tree(const char *path, struct err *err);

/* Takes an exclusive flock on path (created 0600) and writes holder into it. ERR_CONFLICT naming the
 * holder's text when it is taken. The descriptor is returned owned; closing it releases the lock. */
MUST_USE enum err_code file_lock(const char *path, const char *holder, int *ret_fd,
                                 struct err *err);
