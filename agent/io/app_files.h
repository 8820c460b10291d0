/* SPDX-License-Identifier: Apache-2.0
 *
 * The feature flags of an app as files of its folder: flags.json and flags.env, each replaced by one
 * rename, so that a reader finds the old or the new one, whole. flags.json is the last, so who has
 * seen it changed finds flags.env changed too.
 */
#pragma once

#include <stdbool.h>

#include "common/base/str.h"

enum { APP_FILES_PATH_MAX = 1100 };

/* FOLDER/flags.json, FOLDER/flags.env. */
void app_files_paths(const char *folder, char ret_json[static APP_FILES_PATH_MAX],
                     char ret_env[static APP_FILES_PATH_MAX]);

/* Whether both files hold this already. */
bool app_files_same(const char *folder, struct bytes json, struct bytes env);
/* Mode 0644: whom the folder lets in may read them. The file that holds its bytes already is left
 * as it is. */
MUST_USE enum err_code app_files_write(const char *folder, struct bytes json, struct bytes env,
                                       struct err *err);
