/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/io/app_files.h"

#include <stdio.h>

#include "common/file.h"

enum { FILE_MAX_BYTES = 1 << 20, FILE_MODE = 0644 };

void app_files_paths(const char *folder, char ret_json[static APP_FILES_PATH_MAX],
                     char ret_env[static APP_FILES_PATH_MAX])
{
    (void)snprintf(ret_json, APP_FILES_PATH_MAX, "%s/flags.json", folder);
    (void)snprintf(ret_env, APP_FILES_PATH_MAX, "%s/flags.env", folder);
}

static bool holds(const char *path, struct bytes data)
{
    struct arena arena;
    struct bytes found;
    struct err ignored;
    arena_init(&arena, 2 * FILE_MAX_BYTES);
    bool same = file_read(path, FILE_MAX_BYTES, &arena, &found, &ignored) == ERR_OK &&
                bytes_equal(found, data);
    arena_fini(&arena);
    return same;
}

bool app_files_same(const char *folder, struct bytes json, struct bytes env)
{
    char json_path[APP_FILES_PATH_MAX], env_path[APP_FILES_PATH_MAX];
    app_files_paths(folder, json_path, env_path);
    return holds(json_path, json) && holds(env_path, env);
}

static enum err_code replace(const char *path, struct bytes data, struct err *err)
{
    return holds(path, data) ? ERR_OK : file_replace(path, data, FILE_MODE, err);
}

enum err_code app_files_write(const char *folder, struct bytes json, struct bytes env,
                              struct err *err)
{
    char json_path[APP_FILES_PATH_MAX], env_path[APP_FILES_PATH_MAX];
    app_files_paths(folder, json_path, env_path);
    enum err_code code = replace(env_path, env, err);
    return code ? code : replace(json_path, json, err);
}
