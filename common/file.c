/* SPDX-License-Identifier: Apache-2.0 */
#include "common/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"

enum {
    READ_FIRST_BYTES = 4096,
    TREE_DEPTH_MAX = 128,
    HOLDER_MAX = 200,
    NEIGHBOUR_TRIES_MAX = 100,
};

static void close_ref(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

/* The folder that holds path, "." for a bare name. */
static enum err_code parent_of(const char *path, char ret[static PATH_MAX], struct err *err)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 1;
    if (len >= PATH_MAX)
        return err_set(err, ERR_SIZE, "the path is longer than %d bytes", PATH_MAX);
    if (len == 0)
        len = 1; /* the root */
    memcpy(ret, slash ? path : ".", len);
    ret[len] = '\0';
    return ERR_OK;
}

static enum err_code sync_parent(const char *path, struct err *err)
{
    char parent[PATH_MAX];
    enum err_code code = parent_of(path, parent, err);
    return code == ERR_OK ? file_sync_dir(parent, err) : code;
}

enum err_code file_sync_dir(const char *path, struct err *err)
{
    int fd DEFER(close_ref) = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(err, errno, "opening folder %s", path);
    if (fsync(fd) != 0)
        return err_sys(err, errno, "syncing folder %s", path);
    return ERR_OK;
}

static enum err_code make_dir(const char *path, mode_t mode, struct err *err)
{
    struct stat st;
    if (mkdir(path, mode) == 0)
        return sync_parent(path, err);
    int why = errno;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return ERR_OK;
    return err_sys(err, why == EEXIST ? ENOTDIR : why, "making folder %s", path);
}

enum err_code file_make_dirs(const char *path, mode_t mode, struct err *err)
{
    char part[PATH_MAX];
    if (!*path)
        return err_set(err, ERR_USAGE, "the folder has no name");
    if (str_copy(part, sizeof part, path) != ERR_OK)
        return err_set(err, ERR_SIZE, "the path is longer than %d bytes", PATH_MAX);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        enum err_code code = make_dir(part, mode, err);
        if (code != ERR_OK)
            return code;
        *slash = '/';
    }
    return make_dir(part, mode, err);
}

/* Opens and locks the neighbour. Its name is always the same, so that a power cut leaves at most
 * one behind; the lock keeps two writers apart. ret_fd is -1 when the one before us renamed it
 * away. */
static enum err_code lock_neighbour(const char *neighbour, int *ret_fd, struct err *err)
{
    int fd = open(neighbour, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_sys(err, errno, "opening %s", neighbour);
    struct stat ours;
    struct stat named;
    if (flock(fd, LOCK_EX) != 0 || fstat(fd, &ours) != 0) {
        int why = errno;
        (void)close(fd);
        return err_sys(err, why, "locking %s", neighbour);
    }
    bool same =
        stat(neighbour, &named) == 0 && named.st_ino == ours.st_ino && named.st_dev == ours.st_dev;
    if (!same)
        (void)close(fd);
    *ret_fd = same ? fd : -1;
    return ERR_OK;
}

enum err_code file_read_secret(const char *path, char *ret, size_t ret_size, size_t *ret_len,
                               struct err *err)
{
    int fd DEFER(close_ref) = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? err_set(err, ERR_NOT_FOUND, "%s does not exist", path)
                               : err_sys(err, errno, "opening %s", path);
    struct stat st = {0};
    ssize_t len = fstat(fd, &st) == 0 ? read(fd, ret, ret_size) : -1;
    if (len < 0)
        return err_sys(err, errno, "reading %s", path);
    if ((size_t)len == ret_size)
        return err_set(err, ERR_SIZE, "%s is larger than %zu bytes", path, ret_size - 1);
    ret[len] = '\0';
    *ret_len = (size_t)len;
    if ((st.st_mode & (S_IRWXG | S_IRWXO)) == 0)
        return ERR_OK;
    (void)err_set(err, ERR_DENIED, "the key file %s may be read by others (mode %03o)", path,
                  (unsigned)st.st_mode & 0777u);
    (void)err_hint(err, "chmod 600 %s", path);
    return ERR_DENIED;
}

static bool write_all(int fd, struct bytes data)
{
    while (data.len > 0) {
        ssize_t put = write(fd, data.ptr, data.len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return false;
        data = bytes_of(data.ptr + put, data.len - (size_t)put);
    }
    return true;
}

static enum err_code fill_and_rename(int fd, const char *neighbour, const char *path,
                                     struct bytes data, mode_t mode, struct err *err)
{
    if (ftruncate(fd, 0) == 0 && fchmod(fd, mode) == 0 && write_all(fd, data) && fsync(fd) == 0 &&
        rename(neighbour, path) == 0)
        return sync_parent(path, err);
    int why = errno;
    (void)unlink(neighbour);
    return err_sys(err, why, "writing %s", path);
}

enum err_code file_replace(const char *path, struct bytes data, mode_t mode, struct err *err)
{
    char neighbour[PATH_MAX];
    int len = snprintf(neighbour, sizeof neighbour, "%s.tmp", path);
    if (len < 0 || (size_t)len >= sizeof neighbour)
        return err_set(err, ERR_SIZE, "the path is longer than %d bytes", PATH_MAX);
    for (int i = 0; i < NEIGHBOUR_TRIES_MAX; i++) {
        int fd DEFER(close_ref) = -1;
        enum err_code code = lock_neighbour(neighbour, &fd, err);
        if (code != ERR_OK)
            return code;
        if (fd >= 0)
            return fill_and_rename(fd, neighbour, path, data, mode, err);
    }
    return err_set(err, ERR_CONFLICT, "%s is being written by others all the time", path);
}

/* Up to max_bytes + 1 bytes, owned, in *ret. */
static enum err_code read_some(int fd, const char *path, size_t max_bytes, uint8_t **ret,
                               size_t *ret_len, struct err *err)
{
    size_t size = 0;
    size_t len = 0;
    for (;;) {
        if (len == size) {
            size_t want = size ? size * 2 : READ_FIRST_BYTES;
            want = want > max_bytes ? max_bytes + 1 : want;
            *ret = mem_grow(*ret, size, want, 1);
            size = want;
        }
        ssize_t got = read(fd, *ret + len, size - len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_sys(err, errno, "reading %s", path);
        len += (size_t)got;
        if (got == 0 || len > max_bytes)
            break;
    }
    *ret_len = len;
    return ERR_OK;
}

enum err_code file_read(const char *path, size_t max_bytes, struct arena *arena, struct bytes *ret,
                        struct err *err)
{
    int fd DEFER(close_ref) = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return err_set(err, ERR_NOT_FOUND, "%s does not exist", path);
    if (fd < 0)
        return err_sys(err, errno, "opening %s", path);
    uint8_t *data DEFER(mem_free_ref) = NULL;
    size_t len = 0;
    enum err_code code = read_some(fd, path, max_bytes, &data, &len, err);
    if (code != ERR_OK)
        return code;
    if (len > max_bytes)
        return err_set(err, ERR_SIZE, "%s is larger than %zu bytes", path, max_bytes);
    uint8_t *copy = arena_alloc(arena, len + 1);
    if (!copy)
        return err_set(err, ERR_SIZE, "%s does not fit into the %zu bytes allowed", path,
                       arena->limit_bytes);
    memcpy(copy, data, len);
    *ret = bytes_of(copy, len);
    return ERR_OK;
}

/* One level of a tree that is being removed. */
struct level {
    const char *path; /* of the whole tree, for the error */
    dev_t device;
    int depth;
};

static enum err_code empty_dir(int fd, struct level level, struct err *err);

static enum err_code remove_dir(int parent, const char *name, struct level level, struct err *err)
{
    if (level.depth >= TREE_DEPTH_MAX)
        return err_set(err, ERR_FULL, "removing %s: deeper than %d folders", level.path,
                       TREE_DEPTH_MAX);
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_sys(err, errno, "removing %s: opening %s", level.path, name);
    level.depth++;
    enum err_code code = empty_dir(fd, level, err);
    if (code == ERR_OK && unlinkat(parent, name, AT_REMOVEDIR) != 0)
        return err_sys(err, errno, "removing %s: folder %s", level.path, name);
    return code;
}

static enum err_code remove_entry(int parent, const char *name, struct level level, struct err *err)
{
    struct stat st;
    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? ERR_OK : err_sys(err, errno, "removing %s: %s", level.path, name);
    if (S_ISDIR(st.st_mode))
        return remove_dir(parent, name, level, err);
    if (unlinkat(parent, name, 0) != 0 && errno != ENOENT)
        return err_sys(err, errno, "removing %s: %s", level.path, name);
    return ERR_OK;
}

/* Takes fd. */
static enum err_code empty_dir(int fd, struct level level, struct err *err)
{
    struct stat st;
    bool known = fstat(fd, &st) == 0;
    if (!known || st.st_dev != level.device) {
        (void)close(fd);
        return err_set(err, ERR_FAILED, "removing %s: another file system is mounted inside",
                       level.path);
    }
    /* A tree that came without write permission is ours to remove all the same. */
    if ((st.st_mode & S_IRWXU) != S_IRWXU)
        (void)fchmod(fd, S_IRWXU);
    DIR *dir = fdopendir(fd);
    if (!dir) {
        int why = errno;
        (void)close(fd);
        return err_sys(err, why, "removing %s", level.path);
    }
    enum err_code code = ERR_OK;
    for (struct dirent *entry = readdir(dir); entry && code == ERR_OK; entry = readdir(dir))
        if (!str_equal(entry->d_name, ".") && !str_equal(entry->d_name, ".."))
            code = remove_entry(dirfd(dir), entry->d_name, level, err);
    (void)closedir(dir);
    return code;
}

enum err_code file_remove_tree(const char *path, struct err *err)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? ERR_OK : err_sys(err, errno, "removing %s", path);
    struct level level = {.path = path, .device = st.st_dev, .depth = 0};
    return remove_entry(AT_FDCWD, path, level, err);
}

static enum err_code name_holder(int fd, const char *path, struct err *err)
{
    char text[HOLDER_MAX + 1] = "";
    ssize_t len = pread(fd, text, HOLDER_MAX, 0);
    if (len <= 0)
        return err_set(err, ERR_CONFLICT, "%s is held by another process", path);
    text[len] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return err_set(err, ERR_CONFLICT, "%s is held by %s", path, text);
}

enum err_code file_lock(const char *path, const char *holder, int *ret_fd, struct err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_sys(err, errno, "opening %s", path);
    enum err_code code = ERR_OK;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        code = errno == EWOULDBLOCK ? name_holder(fd, path, err)
                                    : err_sys(err, errno, "locking %s", path);
    else if (ftruncate(fd, 0) != 0 || !write_all(fd, bytes_of(holder, strlen(holder))))
        code = err_sys(err, errno, "writing the holder into %s", path);
    if (code != ERR_OK) {
        (void)close(fd);
        return code;
    }
    *ret_fd = fd;
    return ERR_OK;
}
