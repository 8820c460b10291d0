/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/io/release_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/io/takeover.h"
#include "common/file.h"

#define CURRENT "current"
#define CURRENT_NEW "current.new"
#define DOCUMENT "release.dsse"
#define RELEASES "releases"
#define ROOT "root"
#define STAGING "staging"

/* ---- paths ---- */

/* A path that does not fit becomes "", which no call takes for a file; release_dir_open leaves room
 * for all. */
static void join(char ret[static RELEASE_DIR_PATH_MAX], const struct release_dir *dir,
                 const char *rest)
{
    int len = snprintf(ret, RELEASE_DIR_PATH_MAX, "%s/%s", dir->path, rest);
    if (len < 0 || len >= RELEASE_DIR_PATH_MAX)
        ret[0] = '\0';
}

static void digest_path(const struct release_dir *dir, const char *folder,
                        const uint8_t digest[DIGEST_BYTES], const char *rest, char *ret)
{
    char hex[DIGEST_HEX];
    char inner[DIGEST_HEX + 64];
    str_hex(bytes_of(digest, DIGEST_BYTES), hex);
    (void)snprintf(inner, sizeof inner, "%s/%s%s", folder, hex, rest);
    join(ret, dir, inner);
}

void release_dir_document(const struct release_dir *dir, const uint8_t digest[DIGEST_BYTES],
                          char *ret)
{
    digest_path(dir, release_dir_has(dir, digest) ? RELEASES : STAGING, digest, "/" DOCUMENT, ret);
}

void release_dir_root(const struct release_dir *dir, const uint8_t digest[DIGEST_BYTES], char *ret)
{
    digest_path(dir, RELEASES, digest, "/" ROOT, ret);
}

void release_dir_state(const struct release_dir *dir, char *ret)
{
    join(ret, dir, "state");
}

bool release_dir_has(const struct release_dir *dir, const uint8_t digest[DIGEST_BYTES])
{
    char path[RELEASE_DIR_PATH_MAX];
    struct stat st;
    digest_path(dir, RELEASES, digest, "", path);
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

enum err_code release_dir_staging(const struct release_dir *dir, const uint8_t digest[DIGEST_BYTES],
                                  char *ret, struct err *err)
{
    char path[RELEASE_DIR_PATH_MAX];
    struct stat st;
    digest_path(dir, STAGING, digest, "", path);
    enum err_code code = ERR_OK;
    /* Only what nobody else could write is worth going on with. */
    if (lstat(path, &st) == 0 && (!S_ISDIR(st.st_mode) || st.st_uid != geteuid()))
        code = file_remove_tree(path, err);
    if (code == ERR_OK)
        code = file_make_dirs(path, 0700, err);
    if (code == ERR_OK)
        memcpy(ret, path, sizeof path);
    return code;
}

enum err_code release_dir_open(struct release_dir *dir, const char *path, struct err *err)
{
    static const char *const folders[] = {STAGING, RELEASES, "state"};
    char inner[RELEASE_DIR_PATH_MAX];
    enum { LONGEST = sizeof RELEASES + DIGEST_HEX + sizeof "/" DOCUMENT };
    if (strlen(path) + LONGEST >= RELEASE_DIR_PATH_MAX ||
        str_copy(dir->path, sizeof dir->path, path) != ERR_OK)
        return err_set(err, ERR_SIZE, "the app's folder has a path over %d bytes",
                       RELEASE_DIR_PATH_MAX - LONGEST);
    enum err_code code = ERR_OK;
    for (size_t i = 0; code == ERR_OK && i < sizeof folders / sizeof *folders; i++) {
        join(inner, dir, folders[i]);
        code = file_make_dirs(inner, 0700, err);
    }
    join(inner, dir, CURRENT_NEW);
    if (code == ERR_OK && unlink(inner) != 0 && errno != ENOENT)
        return err_sys(err, errno, "removing %s", inner);
    return code;
}

/* ---- current ---- */

enum err_code release_dir_current(const struct release_dir *dir, bool *ret_set,
                                  uint8_t ret_digest[DIGEST_BYTES], struct err *err)
{
    char path[RELEASE_DIR_PATH_MAX];
    char target[RELEASE_DIR_PATH_MAX];
    uint8_t digest[DIGEST_BYTES];
    const size_t prefix = sizeof RELEASES; /* with its slash */
    join(path, dir, CURRENT);
    *ret_set = false;
    ssize_t len = readlink(path, target, sizeof target - 1);
    if (len < 0)
        return errno == ENOENT || errno == EINVAL ? ERR_OK
                                                  : err_sys(err, errno, "reading %s", path);
    target[len] = '\0';
    bool ours = strncmp(target, RELEASES "/", prefix) == 0 &&
                strlen(target + prefix) == DIGEST_HEX - 1 &&
                str_unhex(target + prefix, digest, DIGEST_BYTES) == ERR_OK;
    if (!ours || !release_dir_has(dir, digest))
        return ERR_OK;
    memcpy(ret_digest, digest, DIGEST_BYTES);
    *ret_set = true;
    return ERR_OK;
}

enum err_code release_dir_switch(const struct release_dir *dir, const uint8_t digest[DIGEST_BYTES],
                                 struct err *err)
{
    char hex[DIGEST_HEX];
    char target[sizeof RELEASES + DIGEST_HEX];
    char next[RELEASE_DIR_PATH_MAX];
    char current[RELEASE_DIR_PATH_MAX];
    if (!release_dir_has(dir, digest))
        return err_set(err, ERR_NOT_FOUND, "the release to switch to is not installed");
    str_hex(bytes_of(digest, DIGEST_BYTES), hex);
    (void)snprintf(target, sizeof target, RELEASES "/%s", hex);
    join(next, dir, CURRENT_NEW);
    join(current, dir, CURRENT);
    if (unlink(next) != 0 && errno != ENOENT)
        return err_sys(err, errno, "removing %s", next);
    if (symlink(target, next) != 0 || rename(next, current) != 0)
        return err_sys(err, errno, "switching %s", current);
    return file_sync_dir(dir->path, err);
}

enum err_code release_dir_clear(const struct release_dir *dir, struct err *err)
{
    char path[RELEASE_DIR_PATH_MAX];
    join(path, dir, CURRENT);
    if (unlink(path) != 0 && errno != ENOENT)
        return err_sys(err, errno, "removing %s", path);
    return file_sync_dir(dir->path, err);
}

/* ---- commit ---- */

/* What is left of transfers, and whatever else is beside document and root. */
static enum err_code remove_rest(const char *staging, struct err *err)
{
    char path[RELEASE_DIR_PATH_MAX + NAME_MAX + 2];
    DIR *folder = opendir(staging);
    if (folder == NULL)
        return err_sys(err, errno, "reading folder %s", staging);
    enum err_code code = ERR_OK;
    for (struct dirent *entry = readdir(folder); entry != NULL && code == ERR_OK;
         entry = readdir(folder)) {
        const char *name = entry->d_name;
        bool stays = str_equal(name, ".") || str_equal(name, "..") || str_equal(name, ROOT) ||
                     str_equal(name, DOCUMENT);
        (void)snprintf(path, sizeof path, "%s/%s", staging, name);
        code = stays ? ERR_OK : file_remove_tree(path, err);
    }
    (void)closedir(folder);
    return code;
}

/* One syncfs instead of an fsync per file: a release has hundreds of them, mostly on disk already.
 */
static enum err_code sync_all(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || syncfs(fd) != 0) {
        int why = errno;
        if (fd >= 0)
            (void)close(fd);
        return err_sys(err, why, "syncing %s", path);
    }
    (void)close(fd);
    return ERR_OK;
}

static enum err_code move(const struct release_dir *dir, const char *from, const char *to,
                          struct err *err)
{
    char folder[RELEASE_DIR_PATH_MAX];
    if (rename(from, to) != 0)
        return err_sys(err, errno, "moving the release to %s", to);
    join(folder, dir, RELEASES);
    enum err_code code = file_sync_dir(folder, err);
    join(folder, dir, STAGING);
    return code == ERR_OK ? file_sync_dir(folder, err) : code;
}

enum err_code release_dir_commit(const struct release_dir *dir, const uint8_t digest[DIGEST_BYTES],
                                 struct err *err)
{
    char from[RELEASE_DIR_PATH_MAX];
    char to[RELEASE_DIR_PATH_MAX];
    digest_path(dir, STAGING, digest, "", from);
    digest_path(dir, RELEASES, digest, "", to);
    /* After a crash the rename may have happened without its caller knowing. */
    if (release_dir_has(dir, digest))
        return file_remove_tree(from, err);
    enum err_code code = remove_rest(from, err);
    if (code == ERR_OK)
        code = takeover_tree(from, NULL, err);
    if (code == ERR_OK)
        code = sync_all(from, err);
    return code == ERR_OK ? move(dir, from, to, err) : code;
}

/* ---- prune ---- */

static bool is_kept(const char *name, const uint8_t (*keep)[DIGEST_BYTES], size_t keep_len)
{
    uint8_t digest[DIGEST_BYTES];
    if (strlen(name) != DIGEST_HEX - 1 || str_unhex(name, digest, DIGEST_BYTES) != ERR_OK)
        return false;
    for (size_t i = 0; i < keep_len; i++) {
        if (memcmp(keep[i], digest, DIGEST_BYTES) == 0)
            return true;
    }
    return false;
}

/* A half-removed release must not look whole: it leaves releases/ by one rename first. */
static enum err_code remove_one(const struct release_dir *dir, const char *folder, const char *name,
                                struct err *err)
{
    char path[RELEASE_DIR_PATH_MAX];
    char inner[RELEASE_DIR_PATH_MAX];
    char trash[RELEASE_DIR_PATH_MAX];
    (void)snprintf(inner, sizeof inner, "%s/%s", folder, name);
    join(path, dir, inner);
    join(trash, dir, STAGING "/trash");
    if (path[0] == '\0')
        return err_set(err, ERR_SIZE, "%s has a path that is too long", name);
    if (!str_equal(folder, RELEASES))
        return file_remove_tree(path, err);
    enum err_code code = file_remove_tree(trash, err);
    if (code == ERR_OK && rename(path, trash) != 0)
        return err_sys(err, errno, "removing %s", path);
    return code == ERR_OK ? file_remove_tree(trash, err) : code;
}

static enum err_code prune_folder(const struct release_dir *dir, const char *folder,
                                  const uint8_t (*keep)[DIGEST_BYTES], size_t keep_len,
                                  struct err *err)
{
    char path[RELEASE_DIR_PATH_MAX];
    join(path, dir, folder);
    DIR *listing = opendir(path);
    if (listing == NULL)
        return err_sys(err, errno, "reading %s", path);
    enum err_code code = ERR_OK;
    for (struct dirent *entry = readdir(listing); entry != NULL && code == ERR_OK;
         entry = readdir(listing)) {
        bool own = str_equal(entry->d_name, ".") || str_equal(entry->d_name, "..");
        if (!own && !is_kept(entry->d_name, keep, keep_len))
            code = remove_one(dir, folder, entry->d_name, err);
    }
    (void)closedir(listing);
    return code;
}

enum err_code release_dir_prune(const struct release_dir *dir, const uint8_t (*keep)[DIGEST_BYTES],
                                size_t keep_len, struct err *err)
{
    enum err_code code = prune_folder(dir, RELEASES, keep, keep_len, err);
    return code == ERR_OK ? prune_folder(dir, STAGING, keep, keep_len, err) : code;
}
