/* SPDX-License-Identifier: Apache-2.0
 *
 * Puts verified files and folders at their place in a release that is being made. The root folder
 * and all in it are ours alone; folders on the way are made, links on the way are refused.
 */
#pragma once

#include "common/base/str.h"

/* fd's file gets the name root/path (replacing a file that has it); it must lie in the same file
 * system. */
MUST_USE enum err_code stage_file(const char *root, const char *path, int fd, struct err *err);
/* The folder `from` becomes root/path, or root itself (path "."); what was there goes. */
MUST_USE enum err_code stage_tree(const char *root, const char *path, const char *from,
                                  struct err *err);
