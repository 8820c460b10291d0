/* SPDX-License-Identifier: Apache-2.0
 *
 * A folder of the test's own, and small files in it.
 */
#pragma once

#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/err.h"

/* Makes an empty folder under $TMPDIR or /tmp. Its path is owned by the caller; end with
 * tempdir_remove. */
char *tempdir_make(void);

/* Removes the folder with all that is in it (links are not followed) and frees the path. NULL is
 * fine. */
void tempdir_remove(char *dir);

/* "dir/name", owned by the caller (free). */
char *tempdir_path(const char *dir, const char *name);

/* The same, of the arena; dies when that is full. */
char *tempdir_in(struct arena *arena, const char *dir, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Writes a file, replacing what was there; dies when it cannot. */
void tempdir_write(const char *path, const void *data, size_t len);

/* The whole file with a NUL after it, owned by the caller (free); NULL when there is none. ret_len
 * may be NULL. */
char *tempdir_read(const char *path, size_t *ret_len);
