/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/io/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/io/takeover.h"
#include "common/base/mem.h"
#include "common/file.h"

static void close_ref(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

static enum err_code enter(int parent, const char *name, int *ret_fd, struct err *err)
{
    if (mkdirat(parent, name, 0755) != 0 && errno != EEXIST)
        return err_sys(err, errno, "making folder %s", name);
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_sys(err, errno, "opening folder %s (links are not followed here)", name);
    *ret_fd = fd;
    return ERR_OK;
}

static enum err_code open_root(const char *root, int *ret_fd, struct err *err)
{
    if (mkdir(root, 0755) != 0 && errno != EEXIST)
        return err_sys(err, errno, "making folder %s", root);
    *ret_fd = takeover_open_folder(root);
    return *ret_fd < 0 ? err_sys(err, errno, "opening folder %s", root) : ERR_OK;
}

/* Every folder from root down to the one that will hold path, link by link. */
static enum err_code open_parent(const char *root, const char *path, int *ret_fd,
                                 const char **ret_name, struct err *err)
{
    char part[PATH_MAX];
    int at = -1;
    if (!str_is_inner_path(path))
        return err_set(err, ERR_MALFORMED, "%s is no path in a release", path);
    enum err_code code = open_root(root, &at, err);
    for (const char *slash = strchr(path, '/'); code == ERR_OK && slash != NULL;
         slash = strchr(path, '/')) {
        int next = -1;
        (void)snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
        code = enter(at, part, &next, err);
        (void)close(at);
        at = next;
        path = slash + 1;
    }
    if (code != ERR_OK)
        return code;
    *ret_fd = at;
    *ret_name = path;
    return ERR_OK;
}

enum err_code stage_file(const char *root, const char *path, int fd, struct err *err)
{
    int folder DEFER(close_ref) = -1;
    const char *name = NULL;
    char own[64];
    enum err_code code = open_parent(root, path, &folder, &name, err);
    if (code != ERR_OK)
        return code;
    if (unlinkat(folder, name, 0) != 0 && errno != ENOENT)
        return err_sys(err, errno, "replacing %s", path);
    /* The file of the descriptor, whatever its old name means by now. */
    (void)snprintf(own, sizeof own, "/proc/self/fd/%d", fd);
    if (linkat(AT_FDCWD, own, folder, name, AT_SYMLINK_FOLLOW) != 0)
        return err_sys(err, errno, "putting %s in its place", path);
    return ERR_OK;
}

enum err_code stage_tree(const char *root, const char *path, const char *from, struct err *err)
{
    int folder DEFER(close_ref) = -1;
    const char *name = NULL;
    char place[PATH_MAX];
    bool top = str_equal(path, ".");
    enum err_code code = top ? ERR_OK : open_parent(root, path, &folder, &name, err);
    if (code != ERR_OK)
        return code;
    int len = snprintf(place, sizeof place, "%s%s%s", root, top ? "" : "/", top ? "" : path);
    if (len < 0 || (size_t)len >= sizeof place)
        return err_set(err, ERR_SIZE, "%s is too long a path", path);
    code = file_remove_tree(place, err);
    if (code == ERR_OK && rename(from, place) != 0)
        return err_sys(err, errno, "putting folder %s in its place", path);
    return code;
}
