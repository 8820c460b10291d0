/* SPDX-License-Identifier: Apache-2.0
 *
 * Unpacks a verified archive (tar, tar.gz, tar.zst, zip) into a new folder, the only file of the
 * device that includes archive.h. Takes only what a release is made of: files, folders, links that
 * stay inside. Refuses, and leaves nothing behind: absolute paths, "..", paths through links, links
 * that leave the folder, devices, fifos, sockets, more bytes or files than allowed. Owner, setuid,
 * setgid, sticky bits and the write permission of group and others are not taken over.
 */
#pragma once

#include <stdint.h>

#include "common/base/str.h"

struct unpack_options {
    int archive_fd;     /* at its start; borrowed */
    int folder_fd;      /* the folder that will hold the new one; borrowed */
    const char *name;   /* of the new folder in it; one that exists is replaced */
    uint64_t bytes_max; /* of all files together, unpacked */
    uint32_t files_max; /* files, folders and links together */
};

/* The folder appears by one rename after everything in it is on disk (syncfs): when it is there, it
 * is whole. Changes the working folder of the process for its duration. ERR_MALFORMED, ERR_SIZE,
 * ERR_NO_SPACE, ERR_IO. */
MUST_USE enum err_code unpack_run(const struct unpack_options *options, uint64_t *ret_bytes,
                                  struct err *err);
