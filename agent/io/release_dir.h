/* SPDX-License-Identifier: Apache-2.0
 *
 * Releases of one app on disk:
 *   APPDIR/staging/<digest>/      being fetched (app_artifact.h); the agent's alone, but for the
 *                                 folders incoming/ and unpack/ in it
 *   APPDIR/releases/<digest>/     whole and verified: release.dsse and root/ (the release's folder)
 *   APPDIR/current -> releases/<digest>
 *   APPDIR/state/                 the app's own; never touched by an upgrade
 * A release appears under releases/ by one rename after everything in it is fsynced; `current`
 * moves by one rename. Nothing else is ever trusted to be whole.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/str.h"

enum { RELEASE_DIR_PATH_MAX = 1024 };

struct release_dir {
    char path[RELEASE_DIR_PATH_MAX]; /* APPDIR */
};

/* Makes the folders; removes leftovers of an interrupted switch. */
MUST_USE enum err_code release_dir_open(struct release_dir *dir, const char *path, struct err *err);

/* Where `current` points; *ret_set false when there is no link or it dangles. */
MUST_USE enum err_code release_dir_current(const struct release_dir *dir, bool *ret_set,
                                           uint8_t ret_digest[DIGEST_BYTES], struct err *err);
bool release_dir_has(const struct release_dir *dir, const uint8_t digest[DIGEST_BYTES]);

/* Paths, written into ret of RELEASE_DIR_PATH_MAX bytes: the staging folder (made if missing, or if
 * it is another user's), the
 * file release.dsse in staging or in releases, the release's root folder. */
MUST_USE enum err_code release_dir_staging(const struct release_dir *dir,
                                           const uint8_t digest[DIGEST_BYTES], char *ret,
                                           struct err *err);
void release_dir_document(const struct release_dir *dir, const uint8_t digest[DIGEST_BYTES],
                          char *ret);
void release_dir_root(const struct release_dir *dir, const uint8_t digest[DIGEST_BYTES], char *ret);
void release_dir_state(const struct release_dir *dir, char *ret);

/* Staging becomes a release: whatever is beside document and root goes, a file or folder of another
 * user, a link that leaves and a device are errors (takeover_tree), write permission of group and
 * others goes, all is synced and renamed. The same again is fine. */
MUST_USE enum err_code release_dir_commit(const struct release_dir *dir,
                                          const uint8_t digest[DIGEST_BYTES], struct err *err);
MUST_USE enum err_code release_dir_switch(const struct release_dir *dir,
                                          const uint8_t digest[DIGEST_BYTES], struct err *err);
/* Removes the link. */
MUST_USE enum err_code release_dir_clear(const struct release_dir *dir, struct err *err);
/* Removes every release and staging folder whose digest is not in keep. */
MUST_USE enum err_code release_dir_prune(const struct release_dir *dir,
                                         const uint8_t (*keep)[DIGEST_BYTES], size_t keep_len,
                                         struct err *err);
