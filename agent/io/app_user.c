/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/io/app_user.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/file.h"

enum { TREE_DEPTH_MAX = 128, PATH_BYTES = 1100 };

enum err_code app_user_find(const char *name, struct app_user *ret, struct err *err)
{
    errno = 0;
    const struct passwd *entry = getpwnam(name);
    if (!entry && errno != 0 && errno != ENOENT)
        return err_sys(err, errno, "looking up the user %s", name);
    if (!entry) {
        (void)err_set(err, ERR_NOT_FOUND, "there is no user %s", name);
        return err_hint(err, "useradd --system %s", name);
    }
    if (geteuid() != 0 && entry->pw_uid != geteuid()) {
        (void)err_set(err, ERR_DENIED, "the agent is not root, so it cannot run programs as %s",
                      name);
        return err_hint(err, "run captain-agent as root, or leave \"user\" out");
    }
    struct app_user user = {.uid = entry->pw_uid, .gid = entry->pw_gid};
    user.groups_len = APP_USER_GROUPS_MAX;
    if (getgrouplist(name, user.gid, user.groups, &user.groups_len) < 0)
        return err_set(err, ERR_SIZE, "%s is in more than %d groups", name, APP_USER_GROUPS_MAX);
    *ret = user;
    return ERR_OK;
}

/* ---- trees ---- */

/* What is done with each file and folder of a tree; a folder after its entries. Links, sockets and
 * devices are left alone: they cannot be opened without side effects. */
typedef enum err_code (*visit_fn)(const void *arg, const char *name, int fd, const struct stat *st,
                                  struct err *err);

struct walk {
    visit_fn visit;
    const void *arg;
    dev_t device;
};

static enum err_code walk_entry(const struct walk *walk, int parent, const char *name, int depth,
                                struct err *err);

static enum err_code walk_folder(const struct walk *walk, int fd, const char *name, int depth,
                                 struct err *err)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    DIR *folder = copy >= 0 ? fdopendir(copy) : NULL;
    if (!folder) {
        int why = errno;
        if (copy >= 0)
            (void)close(copy);
        return err_sys(err, why, "reading folder %s", name);
    }
    enum err_code code = ERR_OK;
    for (struct dirent *entry = readdir(folder); entry && code == ERR_OK; entry = readdir(folder)) {
        if (!str_equal(entry->d_name, ".") && !str_equal(entry->d_name, ".."))
            code = walk_entry(walk, fd, entry->d_name, depth + 1, err);
    }
    (void)closedir(folder);
    return code;
}

static enum err_code walk_opened(const struct walk *walk, int parent, const char *name, int depth,
                                 struct err *err)
{
    struct stat st;
    int fd = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? ERR_OK : err_sys(err, errno, "opening %s", name);
    enum err_code code = fstat(fd, &st) == 0 ? ERR_OK : err_sys(err, errno, "looking at %s", name);
    if (code == ERR_OK && S_ISDIR(st.st_mode) && st.st_dev == walk->device)
        code = walk_folder(walk, fd, name, depth, err);
    if (code == ERR_OK && st.st_dev == walk->device)
        code = walk->visit(walk->arg, name, fd, &st, err);
    (void)close(fd);
    return code;
}

static enum err_code walk_entry(const struct walk *walk, int parent, const char *name, int depth,
                                struct err *err)
{
    struct stat st;
    if (depth > TREE_DEPTH_MAX)
        return err_set(err, ERR_SIZE, "%s is deeper than %d folders", name, TREE_DEPTH_MAX);
    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? ERR_OK : err_sys(err, errno, "looking at %s", name);
    if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
        return walk_opened(walk, parent, name, depth, err);
    return ERR_OK;
}

static enum err_code walk_tree(const char *path, visit_fn visit, const void *arg, struct err *err)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return err_sys(err, errno, "looking at %s", path);
    struct walk walk = {.visit = visit, .arg = arg, .device = st.st_dev};
    return walk_entry(&walk, AT_FDCWD, path, 0, err);
}

/* ---- give ---- */

struct gift {
    const struct app_user *to;
    uid_t from;
};

/* A second name of somebody else's file may have been planted here: only what was the old owner's
 * changes hands. */
static enum err_code give_one(const void *arg, const char *name, int fd, const struct stat *st,
                              struct err *err)
{
    const struct gift *gift = arg;
    uid_t uid = gift->to->uid;
    gid_t gid = gift->to->gid;
    if (st->st_uid != gift->from || (st->st_uid == uid && st->st_gid == gid))
        return ERR_OK;
    return fchown(fd, uid, gid) == 0
               ? ERR_OK
               : err_sys(err, errno, "giving %s to user %u", name, (unsigned)uid);
}

enum err_code app_user_give(const char *path, const struct app_user *user, struct err *err)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return err_sys(err, errno, "looking at %s", path);
    if (st.st_uid == user->uid && st.st_gid == user->gid)
        return ERR_OK;
    struct gift gift = {.to = user, .from = st.st_uid};
    return walk_tree(path, give_one, &gift, err);
}

/* ---- let in ---- */

static enum err_code add_mode(const char *path, mode_t add, struct err *err)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return err_sys(err, errno, "looking at %s", path);
    if ((st.st_mode & add) == add || chmod(path, (st.st_mode | add) & 07777) == 0)
        return ERR_OK;
    return err_sys(err, errno, "opening %s for the app's user", path);
}

enum err_code app_user_let_in(const char *folder, const char *app_dir, const struct app_user *user,
                              struct err *err)
{
    char part[PATH_BYTES];
    size_t top = strlen(folder);
    if (strncmp(app_dir, folder, top) != 0 || str_copy(part, sizeof part, app_dir) != ERR_OK)
        return err_set(err, ERR_SIZE, "%s is not inside %s", app_dir, folder);
    for (char *slash = strrchr(part, '/'); slash && slash >= part + top;
         slash = strrchr(part, '/')) {
        *slash = '\0';
        enum err_code code = add_mode(part, S_IXGRP | S_IXOTH, err);
        if (code != ERR_OK)
            return code;
    }
    (void)snprintf(part, sizeof part, "%s/releases", app_dir);
    enum err_code code = add_mode(part, S_IXGRP | S_IXOTH, err);
    if (code != ERR_OK)
        return code;
    if (chown(app_dir, (uid_t)-1, user->gid) != 0 || chmod(app_dir, 0710) != 0)
        return err_sys(err, errno, "opening %s for the app's user", app_dir);
    return ERR_OK;
}

static enum err_code open_one(const void *arg, const char *name, int fd, const struct stat *st,
                              struct err *err)
{
    (void)arg;
    bool pass = S_ISDIR(st->st_mode) || (st->st_mode & S_IXUSR);
    mode_t add = S_IRGRP | S_IROTH | (pass ? S_IXGRP | S_IXOTH : 0);
    if ((st->st_mode & add) == add || fchmod(fd, (st->st_mode | add) & 0755) == 0)
        return ERR_OK;
    return err_sys(err, errno, "opening %s for the app's user", name);
}

enum err_code app_user_open_release(const char *path, struct err *err)
{
    return walk_tree(path, open_one, NULL, err);
}

/* ---- read ---- */

enum err_code app_user_read(const char *path, const struct app_user *user, size_t max_bytes,
                            struct arena *arena, struct bytes *ret, struct err *err)
{
    char opened[64];
    struct stat st;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? err_set(err, ERR_NOT_FOUND, "%s does not exist", path)
                               : err_sys(err, errno, "opening %s", path);
    enum err_code code = ERR_OK;
    if (fstat(fd, &st) != 0)
        code = err_sys(err, errno, "looking at %s", path);
    else if (!S_ISREG(st.st_mode) || (user && st.st_uid != user->uid))
        code = err_set(err, ERR_DENIED, "%s is no file of the app's", path);
    /* The file that was looked at, whatever the path means by now. */
    (void)snprintf(opened, sizeof opened, "/proc/self/fd/%d", fd);
    if (code == ERR_OK)
        code = file_read(opened, max_bytes, arena, ret, err);
    (void)close(fd);
    return code;
}
