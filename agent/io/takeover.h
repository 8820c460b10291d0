/* SPDX-License-Identifier: Apache-2.0
 *
 * What captain-fetch's user wrote becomes ours: afterwards that user can neither open it for writing
 * nor change its name. Nothing on a path is followed through a link, nothing of a third user is
 * taken. When the helper runs as our own user there is no border to guard, and only forms are
 * checked.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/str.h"

/* A regular file with one name, open for reading only; mode 0600 from now on; owned. *ret_held:
 * somebody has it open for writing still (or the file system cannot tell): its bytes may change, and
 * only a copy is to be trusted. ERR_NOT_FOUND; ERR_DENIED: not what the helper may have left. */
MUST_USE enum err_code takeover_file(const char *path, int *ret_fd, bool *ret_held,
                                     struct err *err);

/* Takes a small file over and reads it once; ERR_SIZE above max_bytes. */
MUST_USE enum err_code takeover_read(const char *path, size_t max_bytes, struct arena *arena,
                                     struct bytes *ret, struct err *err);

struct takeover_limits {
    uint64_t bytes_max; /* of all files together */
    uint32_t files_max; /* files, folders and links together, without the top */
};

/* A folder with all that is in it: files, folders, and links that stay inside. Write permission of
 * group and others, setuid, setgid and sticky bits go. ERR_MALFORMED: another kind of thing, or a
 * link that leaves; ERR_SIZE; ERR_DENIED: somebody has a file open for writing. limits NULL: none. */
MUST_USE enum err_code takeover_tree(const char *path, const struct takeover_limits *limits,
                                     struct err *err);

/* Opens a folder; no link is followed anywhere on the way. Negative: errno says why. */
int takeover_open_folder(const char *path);
