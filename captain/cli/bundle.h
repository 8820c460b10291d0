/* SPDX-License-Identifier: Apache-2.0
 *
 * A release in a folder, as it travels without network: DIR/release.dsse and DIR/artifacts/<sha256>.
 */
#pragma once

#include "captain/cli/release_files.h"

/* DIR/artifacts/<sha256>, in the arena; NULL beyond its limit. */
const char *bundle_artifact_path(const char *folder, const struct artifact *artifact,
                                 struct arena *arena);

/* The file is what its name says. ERR_NOT_FOUND, ERR_SIZE, ERR_HASH. */
MUST_USE enum err_code bundle_check_file(const char *path, const struct artifact *artifact,
                                         struct err *err);

/* Writes artifacts and then the document; a folder that holds a release already is ERR_CONFLICT.
 * Every file is checked where it was written. */
MUST_USE enum err_code bundle_write(const char *folder, const struct release_files *files,
                                    struct bytes envelope, struct arena *arena, struct err *err);
