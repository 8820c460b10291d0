/* SPDX-License-Identifier: Apache-2.0
 *
 * The artifacts of a release.yaml on this machine: folders are packed, files hashed, all before
 * anything is sent.
 */
#pragma once

#include "captain/cli/release_yaml.h"

enum { RELEASE_FILES_MAX = 64 };

struct release_file {
    const char *path; /* to send from; NULL: it is elsewhere, by url */
    const char *label;
};
struct release_files {
    char *temp; /* folder of the packed trees; removed by release_files_fini; NULL: none */
    struct artifact artifacts[RELEASE_FILES_MAX];
    struct release_file files[RELEASE_FILES_MAX]; /* one to one */
    size_t len;
};

/* yaml_path: where the file lies; its paths count from that folder. ret is zeroed by the caller;
 * finish it even after an error. ERR_USAGE with file, line and column for a path that is missing or
 * has another hash than it must. */
MUST_USE enum err_code release_files_prepare(const struct release_yaml *yaml, const char *yaml_path,
                                             struct arena *arena, struct release_files *ret,
                                             struct err *err);
void release_files_fini(struct release_files *files);
