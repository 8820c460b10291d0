/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/pack.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/hash.h"

enum { BUFFER_BYTES = 256 << 10 };

struct packer {
    struct archive *archive;
    char *buffer;
    const char *folder;
    struct pack result;
    struct err *err;
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

/* The names in a folder, sorted by bytes. */
struct names {
    char **list;
    size_t len;
};

static void names_fini(struct names *names)
{
    for (size_t i = 0; i < names->len; i++)
        mem_free(names->list[i]);
    mem_free(names->list);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum err_code names_read(int dir_fd, const char *path, struct names *ret, struct err *err)
{
    int own = dup(dir_fd);
    DIR *dir = own < 0 ? NULL : fdopendir(own);
    if (!dir) {
        int why = errno;
        close_fd(&own);
        return err_sys(err, why, "cannot read %s", path);
    }
    rewinddir(dir);
    size_t room = 0;
    enum err_code code = ERR_OK;
    for (struct dirent *entry; code == ERR_OK && (entry = readdir(dir)) != NULL;) {
        if (str_equal(entry->d_name, ".") || str_equal(entry->d_name, ".."))
            continue;
        if (ret->len == room) {
            ret->list = mem_grow(ret->list, room, room * 2 + 16, sizeof *ret->list);
            room = room * 2 + 16;
        }
        ret->list[ret->len++] = mem_strdup(entry->d_name);
        if (ret->len > PACK_FILES_MAX)
            code = err_set(err, ERR_SIZE, "%s has more than %d files", path, PACK_FILES_MAX);
    }
    (void)closedir(dir);
    if (ret->len)
        qsort(ret->list, ret->len, sizeof *ret->list, compare_names);
    return code;
}

static enum err_code archive_failed(struct packer *packer)
{
    const char *why = archive_error_string(packer->archive);
    return err_set(packer->err, ERR_IO, "cannot write the archive: %s",
                   why ? why : "unknown reason");
}

static enum err_code write_header(struct packer *packer, const char *inner, const struct stat *st,
                                  const char *target)
{
    struct archive_entry *entry = archive_entry_new();
    if (!entry)
        return err_set(packer->err, ERR_FAILED, "no memory for an archive entry");
    bool runs = S_ISDIR(st->st_mode) || (st->st_mode & S_IXUSR);
    archive_entry_set_pathname(entry, inner);
    archive_entry_set_filetype(entry, st->st_mode & S_IFMT);
    archive_entry_set_perm(entry, target ? 0777 : runs ? 0755 : 0644);
    archive_entry_set_mtime(entry, 0, 0);
    archive_entry_set_uid(entry, 0);
    archive_entry_set_gid(entry, 0);
    archive_entry_set_size(entry, S_ISREG(st->st_mode) ? st->st_size : 0);
    if (target)
        archive_entry_set_symlink(entry, target);
    int result = archive_write_header(packer->archive, entry);
    archive_entry_free(entry);
    if (result != ARCHIVE_OK)
        return archive_failed(packer);
    if (++packer->result.entries > PACK_FILES_MAX)
        return err_set(packer->err, ERR_SIZE, "%s has more than %d files", packer->folder,
                       PACK_FILES_MAX);
    return ERR_OK;
}

static enum err_code write_file(struct packer *packer, int dir_fd, const char *name,
                                const char *inner)
{
    int fd DEFER(close_fd) = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st))
        return err_sys(packer->err, errno, "cannot read %s/%s", packer->folder, inner);
    if (write_header(packer, inner, &st, NULL))
        return packer->err->code;
    uint64_t left = (uint64_t)st.st_size;
    while (left) {
        ssize_t n = read(fd, packer->buffer, left < BUFFER_BYTES ? left : BUFFER_BYTES);
        if (n < 0)
            return err_sys(packer->err, errno, "cannot read %s/%s", packer->folder, inner);
        if (n == 0)
            return err_set(packer->err, ERR_FAILED, "%s/%s changed while it was packed",
                           packer->folder, inner);
        if (archive_write_data(packer->archive, packer->buffer, (size_t)n) != n)
            return archive_failed(packer);
        left -= (uint64_t)n;
    }
    packer->result.unpacked_bytes += (uint64_t)st.st_size;
    return ERR_OK;
}

/* A link at inner that points to target never leaves the folder. */
static bool link_stays_inside(const char *inner, const char *target)
{
    if (target[0] == '/' || target[0] == '\0')
        return false;
    int depth = 0;
    for (const char *p = inner; *p; p++)
        depth += *p == '/';
    for (const char *part = target; *part;) {
        size_t len = strcspn(part, "/");
        if (len == 2 && strncmp(part, "..", 2) == 0)
            depth--;
        else if (len > 0 && !(len == 1 && part[0] == '.'))
            depth++;
        if (depth < 0)
            return false;
        part += len + (part[len] == '/');
    }
    return true;
}

static enum err_code write_link(struct packer *packer, int dir_fd, const char *name,
                                const char *inner, const struct stat *st)
{
    char target[PATH_MAX];
    ssize_t len = readlinkat(dir_fd, name, target, sizeof target - 1);
    if (len < 0)
        return err_sys(packer->err, errno, "cannot read the link %s/%s", packer->folder, inner);
    target[len] = '\0';
    if (!link_stays_inside(inner, target))
        return err_set(packer->err, ERR_USAGE, "the link %s/%s leaves the folder: %s",
                       packer->folder, inner, target);
    return write_header(packer, inner, st, target);
}

static enum err_code write_folder(struct packer *packer, int dir_fd, const char *prefix,
                                  unsigned depth);

static enum err_code write_below(struct packer *packer, int dir_fd, const char *name,
                                 const char *inner, const struct stat *st, unsigned depth)
{
    if (write_header(packer, inner, st, NULL))
        return packer->err->code;
    int fd DEFER(close_fd) = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_sys(packer->err, errno, "cannot read %s/%s", packer->folder, inner);
    return write_folder(packer, fd, inner, depth + 1);
}

static enum err_code write_any(struct packer *packer, int dir_fd, const char *prefix,
                               const char *name, unsigned depth)
{
    char inner[PATH_MAX];
    struct stat st;
    int len = snprintf(inner, sizeof inner, "%s%s%s", prefix, prefix[0] ? "/" : "", name);
    if (len < 0 || (size_t)len >= sizeof inner || !str_is_inner_path(inner))
        return err_set(packer->err, ERR_USAGE,
                       "a file name in %s/%s is too long or holds control characters",
                       packer->folder, prefix);
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW))
        return err_sys(packer->err, errno, "cannot read %s/%s", packer->folder, inner);
    if (S_ISREG(st.st_mode))
        return write_file(packer, dir_fd, name, inner);
    if (S_ISLNK(st.st_mode))
        return write_link(packer, dir_fd, name, inner, &st);
    if (S_ISDIR(st.st_mode))
        return write_below(packer, dir_fd, name, inner, &st, depth);
    return err_set(packer->err, ERR_USAGE, "%s/%s is neither file, folder nor link", packer->folder,
                   inner);
}

static enum err_code write_folder(struct packer *packer, int dir_fd, const char *prefix,
                                  unsigned depth)
{
    struct names names DEFER(names_fini) = {0};
    if (depth > PACK_DEPTH_MAX)
        return err_set(packer->err, ERR_SIZE, "%s/%s is deeper than %d folders", packer->folder,
                       prefix, PACK_DEPTH_MAX);
    enum err_code code =
        names_read(dir_fd, prefix[0] ? prefix : packer->folder, &names, packer->err);
    for (size_t i = 0; code == ERR_OK && i < names.len; i++)
        code = write_any(packer, dir_fd, prefix, names.list[i], depth);
    return code;
}

static void archive_drop(struct archive **archive)
{
    if (*archive)
        (void)archive_write_free(*archive);
}

static enum err_code write_archive(struct packer *packer, int folder_fd, int out_fd)
{
    struct archive *archive DEFER(archive_drop) = archive_write_new();
    char *buffer DEFER(mem_free_ref) = mem_new(1, BUFFER_BYTES);
    packer->archive = archive;
    packer->buffer = buffer;
    if (!archive)
        return err_set(packer->err, ERR_FAILED, "no memory for an archive");
    if (archive_write_add_filter_zstd(archive) != ARCHIVE_OK ||
        archive_write_set_format_pax_restricted(archive) != ARCHIVE_OK ||
        archive_write_open_fd(archive, out_fd) != ARCHIVE_OK)
        return archive_failed(packer);
    if (write_folder(packer, folder_fd, "", 0))
        return packer->err->code;
    return archive_write_close(archive) == ARCHIVE_OK ? ERR_OK : archive_failed(packer);
}

enum err_code pack_tree(const char *folder, const char *path, struct pack *ret, struct err *err)
{
    struct packer packer = {.folder = folder, .err = err};
    int folder_fd DEFER(close_fd) = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd < 0)
        return err_sys(err, errno, "cannot read the folder %s", folder);
    int out_fd DEFER(close_fd) = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (out_fd < 0)
        return err_sys(err, errno, "cannot write %s", path);
    if (write_archive(&packer, folder_fd, out_fd) ||
        hash_file(out_fd, packer.result.sha256, &packer.result.size_bytes, err))
        return err->code;
    *ret = packer.result;
    return ERR_OK;
}
