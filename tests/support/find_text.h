/* SPDX-License-Identifier: Apache-2.0
 *
 * Where some bytes are: to show that a secret is nowhere it must not be.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* In a regular file below the folder; links are not followed. True with its path. */
bool find_text_in_tree(const char *dir, const char *text, char *ret_path, size_t size);
/* In the command line or environment of a process of this machine that we may look at. */
bool find_text_in_processes(const char *text, char *ret_path, size_t size);
