/* SPDX-License-Identifier: Apache-2.0
 *
 * The update lock of an app: a file by which the app (or a person) says "not now". It is held
 *   - while somebody holds a lock on it (flock or fcntl), whatever is in it; or
 *   - while it exists with text in it: the first line names the holder. A holder that is a process
 * id counts only while that process lives, so that a crash does not hold updates for ever.
 * An empty file that nobody has locked is what flock(1) leaves behind: not held.
 */
#pragma once

#include <stdbool.h>

enum { UPDATE_LOCK_HOLDER_MAX = 96 };

/* follow: a link in its place is followed; not where an app with a user of its own could make it
 * name a file of somebody else. ret_holder: printable, "process 12" or the file's first line; set when held. A file that
 * cannot be looked at counts as held: its owner's name is unknown. */
bool update_lock_held(const char *path, bool follow,
                      char ret_holder[static UPDATE_LOCK_HOLDER_MAX]);
