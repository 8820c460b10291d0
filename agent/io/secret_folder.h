/* SPDX-License-Identifier: Apache-2.0
 *
 * Secrets of apps as files that never touch a disk:
 *   BASE/                 tmpfs or ramfs, ours; locked by the agent that uses it
 *   BASE/<app> -> .<app>.<n>
 *   BASE/.<app>.<n>/      0500, of the app's user; one file 0400 for each secret, its value whole
 * A new set is written beside the old one and takes its place by one rename of the link: who reads
 * BASE/<app>/<name> finds the old or the new value, and who opens the folder once and reads in it
 * has one set. The old set stays until secret_folder_sweep, for those who are on their way into it.
 * What is on a disk, or of somebody else, is refused before anything is written.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "agent/io/app_user.h"
#include "common/base/str.h"

enum { SECRET_FOLDER_PATH_MAX = 1024 };

struct secret {
    const char *name; /* letters, digits, _ and - */
    struct bytes value;
};

struct secret_folder;

/* Where secrets go: configured, else the first of $RUNTIME_DIRECTORY, else /run/captain-agent. */
const char *secret_folder_base(const char *configured, char ret[static SECRET_FOLDER_PATH_MAX]);
/* BASE/APP. */
void secret_folder_path(const char *base, const char *app, char ret[static SECRET_FOLDER_PATH_MAX]);

/* Touches nothing yet; base is copied. */
struct secret_folder *secret_folder_new(const char *base);
/* Lets the base go; what is in it stays. NULL is fine. */
void secret_folder_free(struct secret_folder *folder);

/* Whether exactly this is there already, with owner and modes. */
bool secret_folder_same(struct secret_folder *folder, const char *app, const struct secret *secrets,
                        size_t len, const struct app_user *user);
/* Makes base and set; user NULL: ours. ERR_DENIED: base is on a disk or not ours alone;
 * ERR_CONFLICT: another agent uses it. On any error the old set stays. */
MUST_USE enum err_code secret_folder_put(struct secret_folder *folder, const char *app,
                                         const struct secret *secrets, size_t len,
                                         const struct app_user *user, struct err *err);
/* Nothing of the app is there any more; nothing was there is fine. */
MUST_USE enum err_code secret_folder_drop(struct secret_folder *folder, const char *app,
                                          struct err *err);
/* Removes the sets of the app that the link does not name. */
MUST_USE enum err_code secret_folder_sweep(struct secret_folder *folder, const char *app,
                                           struct err *err);
/* Removes all that is of none of these apps, and their old sets. A base that is not there is fine. */
MUST_USE enum err_code secret_folder_keep_only(struct secret_folder *folder,
                                               const char *const *apps, size_t len,
                                               struct err *err);
