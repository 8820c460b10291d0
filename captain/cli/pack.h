/* SPDX-License-Identifier: Apache-2.0
 *
 * A folder as a tar.zst (libarchive) that depends on nothing but names, contents, the owner's x bit
 * and link targets: sorted, no times, no owners. The same folder gives the same digest on every
 * machine with the same libzstd.
 */
#pragma once

#include <stdint.h>

#include "common/base/str.h"

enum { PACK_FILES_MAX = 1000000, PACK_DEPTH_MAX = 64 };

struct pack {
    uint8_t sha256[DIGEST_BYTES];
    uint64_t size_bytes;     /* of the archive */
    uint64_t unpacked_bytes; /* of all files in it, exactly */
    uint32_t entries;        /* files, folders and links in it, exactly */
};

/* Writes the archive to path (made 0600, replaced). Links must be relative and stay inside; a
 * socket, a device, an unreadable file or one that changes meanwhile is an error that names it. */
MUST_USE enum err_code pack_tree(const char *folder, const char *path, struct pack *ret,
                                 struct err *err);
