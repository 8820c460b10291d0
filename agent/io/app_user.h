/* SPDX-License-Identifier: Apache-2.0
 *
 * The user that an app's programs run as, and what of the agent's folders that user may reach. All
 * of it is looked up before a fork: between fork and exec only system calls are made.
 */
#pragma once

#include <sys/types.h>

#include "common/base/arena.h"
#include "common/base/str.h"

enum { APP_USER_GROUPS_MAX = 64 };

struct app_user {
    uid_t uid;
    gid_t gid;
    gid_t groups[APP_USER_GROUPS_MAX]; /* supplementary ones, gid among them */
    int groups_len;
};

/* ERR_NOT_FOUND: there is no such user. ERR_DENIED: it is not ours and we are not root. */
MUST_USE enum err_code app_user_find(const char *name, struct app_user *ret, struct err *err);

/* Hands a folder with all in it over to the user: everything that belongs to the folder's owner so
 * far. Links are not followed; nothing happens when the folder is the user's already. */
MUST_USE enum err_code app_user_give(const char *path, const struct app_user *user,
                                     struct err *err);

/* APPDIR opens for the user's group (0710); the folders above it, up to `folder`, may be passed
 * through, not listed (0711). */
MUST_USE enum err_code app_user_let_in(const char *folder, const char *app_dir,
                                       const struct app_user *user, struct err *err);

/* Reads a plain file that the app wrote, as file_read does. With a user it must be that user's: a
 * link of the app to somebody else's file gives ERR_DENIED, not its bytes. NULL: anybody's. */
MUST_USE enum err_code app_user_read(const char *path, const struct app_user *user,
                                     size_t max_bytes, struct arena *arena, struct bytes *ret,
                                     struct err *err);

/* A release's folder of ours becomes readable for whoever gets to it: folders and programs r-x,
 * files r--. Nothing becomes writable. */
MUST_USE enum err_code app_user_open_release(const char *path, struct err *err);
