/* SPDX-License-Identifier: Apache-2.0
 *
 * --policy careful|normal|fast|FILE: read and checked here, so that what is wrong with a file is told with
 * line and column before anything is sent.
 */
#pragma once

#include "captain/cli/command.h"

struct policy_file {
    const char *name; /* "" when no policy was asked for */
    const char *text; /* "" for a named one */
};
/* word NULL: none was asked for. Texts live in the arena. ERR_USAGE, ERR_NOT_FOUND. */
MUST_USE enum err_code policy_file_read(const char *word, struct arena *arena,
                                        struct policy_file *ret, struct err *err);
