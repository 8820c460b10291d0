/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/io/takeover.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/openat2.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/mem.h"

enum { TREE_DEPTH_MAX = 128, OTHERS_WRITE = 022, ODD_BITS = 07000 };

struct tree {
    bool foreign; /* another user wrote it */
    uid_t owner;  /* that user */
    uint64_t bytes_left;
    uint32_t files_left;
    struct err *err;
};

static void close_ref(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

int takeover_open_folder(const char *path)
{
    struct open_how how = {
        .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
        .resolve = RESOLVE_NO_SYMLINKS,
    };
    return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
}

/* The folder that holds path, and its last part; *ret_owner is whom the folder was given to. */
static enum err_code open_parent(const char *path, int *ret_fd, const char **ret_name,
                                 uid_t *ret_owner, struct err *err)
{
    char folder[PATH_MAX];
    struct stat st;
    const char *slash = strrchr(path, '/');
    if (str_copy(folder, sizeof folder, path) != ERR_OK || slash == NULL || slash == path ||
        slash[1] == '\0')
        return err_set(err, ERR_USAGE, "%s is no absolute path in a folder", path);
    folder[slash - path] = '\0';
    int fd = takeover_open_folder(folder);
    if (fd < 0)
        return err_sys(err, errno, "opening folder %s (links are not followed here)", folder);
    if (fstat(fd, &st) != 0) {
        int why = errno;
        (void)close(fd);
        return err_sys(err, why, "looking at folder %s", folder);
    }
    *ret_fd = fd;
    *ret_name = slash + 1;
    *ret_owner = st.st_uid;
    return ERR_OK;
}

/* A read lease is given only while nobody has the file open for writing, by descriptor or by
 * mapping. It is given back at once: nobody can open it for writing any more. */
static bool is_held(int fd)
{
    /* Should somebody with root's rights open it meanwhile, the signal must be a harmless one. */
    if (fcntl(fd, F_SETSIG, SIGURG) != 0 || fcntl(fd, F_SETLEASE, F_RDLCK) != 0)
        return true;
    (void)fcntl(fd, F_SETLEASE, F_UNLCK);
    return false;
}

/* ---- a file ---- */

/* Owner first, then mode (a changed owner may still hold the mode's rights for a moment), then the
 * question who has it open. */
static enum err_code take_file(int fd, uid_t owner, const char *path, bool *ret_held,
                               struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return err_sys(err, errno, "looking at %s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_DENIED, "%s is not a file", path);
    if (st.st_uid != owner && st.st_uid != geteuid())
        return err_set(err, ERR_DENIED, "%s belongs to user %u, who did not fetch it", path,
                       (unsigned)st.st_uid);
    if (st.st_nlink > 1)
        return err_set(err, ERR_DENIED, "%s has another name elsewhere", path);
    if ((st.st_uid != geteuid() || st.st_gid != getegid()) && fchown(fd, geteuid(), getegid()) != 0)
        return err_sys(err, errno, "taking over %s", path);
    if (fchmod(fd, 0600) != 0)
        return err_sys(err, errno, "setting the mode of %s", path);
    *ret_held = owner != geteuid() && is_held(fd);
    return ERR_OK;
}

enum err_code takeover_file(const char *path, int *ret_fd, bool *ret_held, struct err *err)
{
    int folder DEFER(close_ref) = -1;
    const char *name = NULL;
    uid_t owner = 0;
    enum err_code code = open_parent(path, &folder, &name, &owner, err);
    if (code != ERR_OK)
        return code;
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return err_set(err, ERR_NOT_FOUND, "%s is not there", path);
    if (fd < 0 && errno == ELOOP)
        return err_set(err, ERR_DENIED, "%s is a link", path);
    if (fd < 0)
        return err_sys(err, errno, "opening %s", path);
    code = take_file(fd, owner, path, ret_held, err);
    if (code != ERR_OK) {
        (void)close(fd);
        return code;
    }
    *ret_fd = fd;
    return ERR_OK;
}

enum err_code takeover_read(const char *path, size_t max_bytes, struct arena *arena,
                            struct bytes *ret, struct err *err)
{
    int fd DEFER(close_ref) = -1;
    bool held = false; /* what is read once does not change any more */
    struct stat st;
    enum err_code code = takeover_file(path, &fd, &held, err);
    if (code != ERR_OK)
        return code;
    if (fstat(fd, &st) != 0)
        return err_sys(err, errno, "looking at %s", path);
    size_t size = (size_t)st.st_size;
    if ((uint64_t)st.st_size > max_bytes)
        return err_set(err, ERR_SIZE, "%s has more than %zu bytes", path, max_bytes);
    uint8_t *data = arena_alloc(arena, size + 1);
    if (data == NULL)
        return err_set(err, ERR_SIZE, "%s is too large for its arena", path);
    size_t len = 0;
    ssize_t got = 1;
    while (len < size && got > 0) {
        got = read(fd, data + len, size - len);
        if (got < 0 && errno != EINTR)
            return err_sys(err, errno, "reading %s", path);
        len += got > 0 ? (size_t)got : 0;
        got = got < 0 ? 1 : got;
    }
    data[len] = '\0';
    *ret = bytes_of(data, len);
    return ERR_OK;
}

/* ---- a tree ---- */

static enum err_code take_entry(struct tree *tree, int parent, const char *name, unsigned depth);

static enum err_code take_entries(struct tree *tree, int fd, const char *name, unsigned depth)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    DIR *folder = copy >= 0 ? fdopendir(copy) : NULL;
    if (folder == NULL) {
        int why = errno;
        if (copy >= 0)
            (void)close(copy);
        return err_sys(tree->err, why, "reading folder %s", name);
    }
    enum err_code code = ERR_OK;
    errno = 0;
    for (struct dirent *entry = readdir(folder); entry != NULL && code == ERR_OK;
         entry = readdir(folder)) {
        if (!str_equal(entry->d_name, ".") && !str_equal(entry->d_name, ".."))
            code = take_entry(tree, fd, entry->d_name, depth);
        errno = 0;
    }
    if (code == ERR_OK && errno != 0)
        code = err_sys(tree->err, errno, "reading folder %s", name);
    (void)closedir(folder);
    return code;
}

static enum err_code check_owner(struct tree *tree, const struct stat *st, const char *name)
{
    if (st->st_uid == tree->owner || st->st_uid == geteuid())
        return ERR_OK;
    return err_set(tree->err, ERR_DENIED, "%s belongs to user %u, who did not unpack it", name,
                   (unsigned)st->st_uid);
}

/* fd is a file or folder. Writes only what differs: an unchanged inode need not go to the disk
 * again. */
static enum err_code take_inode(struct tree *tree, int fd, const struct stat *st, const char *name)
{
    bool theirs = st->st_uid != geteuid() || st->st_gid != getegid();
    mode_t mode = st->st_mode & ~(mode_t)(S_IFMT | OTHERS_WRITE | ODD_BITS);
    /* Ours among theirs is the second name of a file that was taken over a moment ago. Or a link
     * that they made to a file that always was ours, whose mode is not for them to have changed. */
    if (!theirs && tree->foreign && S_ISREG(st->st_mode))
        return ERR_OK;
    if (theirs && fchown(fd, geteuid(), getegid()) != 0)
        return err_sys(tree->err, errno, "taking over %s", name);
    if ((theirs || mode != (st->st_mode & ~(mode_t)S_IFMT)) && fchmod(fd, mode) != 0)
        return err_sys(tree->err, errno, "setting the mode of %s", name);
    if (theirs && S_ISREG(st->st_mode) && is_held(fd))
        return err_set(tree->err, ERR_DENIED, "somebody still has %s open for writing", name);
    return ERR_OK;
}

static enum err_code take_opened(struct tree *tree, int parent, const char *name, unsigned depth)
{
    struct stat st;
    int fd DEFER(close_ref) =
        openat(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        return err_sys(tree->err, errno, "opening %s", name);
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return err_set(tree->err, ERR_MALFORMED, "%s is neither file, folder nor link", name);
    enum err_code code = check_owner(tree, &st, name);
    if (code == ERR_OK)
        code = take_inode(tree, fd, &st, name);
    if (code != ERR_OK || S_ISREG(st.st_mode))
        return code;
    /* The folder first: once it is ours, nobody else changes its entries. */
    return take_entries(tree, fd, name, depth + 1);
}

/* The folder it lies in is ours by now, so the link is not exchanged any more. */
static enum err_code take_link(struct tree *tree, int parent, const char *name, unsigned depth,
                               const struct stat *st)
{
    char target[PATH_MAX];
    ssize_t len = readlinkat(parent, name, target, sizeof target);
    enum err_code code = check_owner(tree, st, name);
    if (code != ERR_OK)
        return code;
    if (len < 0)
        return err_sys(tree->err, errno, "reading link %s", name);
    if ((size_t)len >= sizeof target)
        return err_set(tree->err, ERR_MALFORMED, "%s is a link with too long a target", name);
    target[len] = '\0';
    if (!str_is_inner_link(depth - 1, target))
        return err_set(tree->err, ERR_MALFORMED, "%s is a link that leaves the folder", name);
    bool theirs = st->st_uid != geteuid() || st->st_gid != getegid();
    if (theirs && fchownat(parent, name, geteuid(), getegid(), AT_SYMLINK_NOFOLLOW) != 0)
        return err_sys(tree->err, errno, "taking over %s", name);
    return ERR_OK;
}

static enum err_code count(struct tree *tree, const struct stat *st)
{
    uint64_t bytes = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0;
    if (tree->files_left == 0 || bytes > tree->bytes_left)
        return err_set(tree->err, ERR_SIZE, "what was unpacked is more than the release says");
    tree->files_left--;
    tree->bytes_left -= bytes;
    return ERR_OK;
}

/* depth: of the entry itself; the top has 0. */
static enum err_code take_entry(struct tree *tree, int parent, const char *name, unsigned depth)
{
    struct stat st;
    if (depth > TREE_DEPTH_MAX)
        return err_set(tree->err, ERR_SIZE, "the folder is deeper than %d folders", TREE_DEPTH_MAX);
    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return err_sys(tree->err, errno, "looking at %s", name);
    enum err_code code = depth == 0 ? ERR_OK : count(tree, &st);
    if (code != ERR_OK)
        return code;
    if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
        return take_opened(tree, parent, name, depth);
    if (S_ISLNK(st.st_mode) && depth > 0)
        return take_link(tree, parent, name, depth, &st);
    return err_set(tree->err, ERR_MALFORMED, "%s is neither file, folder nor link", name);
}

enum err_code takeover_tree(const char *path, const struct takeover_limits *limits, struct err *err)
{
    int folder DEFER(close_ref) = -1;
    const char *name = NULL;
    struct stat st;
    struct tree tree = {
        .bytes_left = limits != NULL ? limits->bytes_max : UINT64_MAX,
        .files_left = limits != NULL ? limits->files_max : UINT32_MAX,
        .err = err,
    };
    enum err_code code = open_parent(path, &folder, &name, &tree.owner, err);
    if (code != ERR_OK)
        return code;
    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return err_sys(err, errno, "looking at %s", path);
    if (!S_ISDIR(st.st_mode))
        return err_set(err, ERR_MALFORMED, "%s is not a folder", path);
    tree.foreign = tree.owner != geteuid();
    return take_entry(&tree, folder, name, 0);
}
