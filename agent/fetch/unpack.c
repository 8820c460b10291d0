/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/fetch/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/fetch/partial.h"
#include "common/base/mem.h"
#include "common/file.h"

enum {
    READ_BYTES = 64 << 10,
    PATH_MAX_BYTES = 1024,
    FILTERS_MAX = 2, /* one compression, and the bottom that libarchive counts too */
    SHOWN_MAX = 120,
};

struct unpack {
    const struct unpack_options *options;
    struct archive *in;
    struct archive *out;
    uint64_t bytes;
    uint32_t files;
    uint64_t entries;                /* read so far, for errors */
    char parent[PATH_MAX_BYTES + 1]; /* of the last entry: known to exist */
};

/* ---- what an entry may be ---- */

/* Names of foreign origin go into an error readable and bounded. */
static const char *shown(const char *text, char ret[static SHOWN_MAX])
{
    size_t i = 0;
    for (; text[i] != '\0' && i + 1 < SHOWN_MAX; i++)
        ret[i] = (char)(text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i]);
    ret[i] = '\0';
    return ret;
}

static enum err_code refuse(const struct unpack *u, const char *path, const char *why,
                            struct err *err)
{
    char text[SHOWN_MAX];
    return err_set(err, ERR_MALFORMED, "archive entry %" PRIu64 " \"%s\" %s", u->entries,
                   shown(path, text), why);
}

/* "./a/b/" -> "a/b"; "." and "./" -> "". */
static enum err_code clean_path(const struct unpack *u, const char *raw, char *ret, struct err *err)
{
    const char *from = raw;
    while (from[0] == '.' && from[1] == '/')
        from += strspn(from + 1, "/") + 1;
    if (str_equal(from, "."))
        from++;
    if (from == raw && raw[0] == '\0')
        return refuse(u, raw, "has no name", err);
    if (str_copy(ret, PATH_MAX_BYTES + 1, from) != ERR_OK)
        return refuse(u, raw, "has a name over 1024 bytes", err);
    size_t len = strlen(ret);
    while (len > 1 && ret[len - 1] == '/')
        ret[--len] = '\0';
    if (len > 0 && !str_is_inner_path(ret))
        return refuse(u, raw, "leaves the folder or has a forbidden name", err);
    return ERR_OK;
}

static unsigned depth_of(const char *path)
{
    unsigned depth = 0;
    for (const char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/'))
        depth++;
    return depth;
}

static enum err_code check_symlink(const struct unpack *u, struct archive_entry *entry,
                                   const char *path, struct err *err)
{
    const char *target = archive_entry_symlink(entry);
    /* Its own folder is a real one (paths through links are refused), so the climb is exact; below,
     * every link again obeys this rule. */
    if (target == NULL || !str_is_inner_link(depth_of(path), target))
        return refuse(u, path, "is a link that leaves the folder", err);
    return ERR_OK;
}

/* A hard link names a regular file unpacked before; it carries no bytes of its own. */
static enum err_code check_hardlink(const struct unpack *u, struct archive_entry *entry,
                                    const char *path, struct err *err)
{
    char target[PATH_MAX_BYTES + 1];
    struct stat st;
    enum err_code code = clean_path(u, archive_entry_hardlink(entry), target, err);
    if (code != ERR_OK)
        return code;
    if (target[0] == '\0' || lstat(target, &st) != 0 || !S_ISREG(st.st_mode))
        return refuse(u, path, "is a hard link to something else than a file before it", err);
    archive_entry_set_hardlink(entry, target);
    archive_entry_unset_size(entry);
    return ERR_OK;
}

static enum err_code check_kind(const struct unpack *u, struct archive_entry *entry,
                                const char *path, struct err *err)
{
    if (archive_entry_hardlink(entry) != NULL)
        return check_hardlink(u, entry, path, err);
    switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
    case AE_IFDIR:
        return ERR_OK;
    case AE_IFLNK:
        return check_symlink(u, entry, path, err);
    default:
        return refuse(u, path, "is neither file, folder nor link", err);
    }
}

/* ---- bounds ---- */

/* Folders above the entry that it will bring with it. */
static uint32_t missing_folders(struct unpack *u, const char *path)
{
    char part[PATH_MAX_BYTES + 1];
    struct stat st;
    uint32_t missing = 0;
    (void)snprintf(part, sizeof part, "%s", path);
    for (char *slash = strrchr(part, '/'); slash != NULL; slash = strrchr(part, '/')) {
        *slash = '\0';
        if (str_equal(part, u->parent) || lstat(part, &st) == 0)
            break;
        missing++;
    }
    return missing;
}

static enum err_code too_many_bytes(const struct unpack *u, struct err *err)
{
    return err_set(err, ERR_SIZE, "the archive unpacks to more than %" PRIu64 " bytes",
                   u->options->bytes_max);
}

static enum err_code count_entry(struct unpack *u, struct archive_entry *entry, const char *path,
                                 struct err *err)
{
    u->files += 1 + missing_folders(u, path);
    if (u->files > u->options->files_max)
        return err_set(err, ERR_SIZE, "the archive unpacks to more than %u files",
                       u->options->files_max);
    int64_t size = archive_entry_size_is_set(entry) ? archive_entry_size(entry) : 0;
    if (size < 0 || (uint64_t)size > u->options->bytes_max - u->bytes)
        return too_many_bytes(u, err);
    return ERR_OK;
}

/* ---- writing: here a warning of libarchive (a full disk is one) counts as an error ---- */

static enum err_code out_error(const struct unpack *u, const char *path, struct err *err)
{
    char text[SHOWN_MAX];
    int why = archive_errno(u->out);
    if (why == ENOSPC || why == EDQUOT)
        return err_sys(err, why, "unpacking \"%s\"", shown(path, text));
    if (why == EFBIG)
        return too_many_bytes(u, err);
    const char *said = archive_error_string(u->out);
    return refuse(u, path, said != NULL ? said : "cannot be written", err);
}

static enum err_code in_error(const struct unpack *u, struct err *err)
{
    char text[SHOWN_MAX];
    const char *said = archive_error_string(u->in);
    return err_set(err, ERR_MALFORMED, "the archive cannot be read after entry %" PRIu64 ": %s",
                   u->entries, shown(said != NULL ? said : "unknown reason", text));
}

/* Counts the end of each piece, so that a sparse file counts with its holes. */
static enum err_code copy_data(struct unpack *u, const char *path, struct err *err)
{
    const void *data;
    size_t len;
    int64_t offset;
    uint64_t end = 0;
    for (;;) {
        int rc = archive_read_data_block(u->in, &data, &len, &offset);
        if (rc == ARCHIVE_EOF)
            break;
        if (rc < ARCHIVE_WARN)
            return in_error(u, err);
        if (offset < 0 || (uint64_t)offset > u->options->bytes_max - u->bytes ||
            len > u->options->bytes_max - u->bytes - (uint64_t)offset)
            return too_many_bytes(u, err);
        if (archive_write_data_block(u->out, data, len, offset) < ARCHIVE_OK)
            return out_error(u, path, err);
        end = (uint64_t)offset + len > end ? (uint64_t)offset + len : end;
    }
    u->bytes += end;
    return ERR_OK;
}

static void set_mode(struct archive_entry *entry)
{
    bool folder = archive_entry_filetype(entry) == AE_IFDIR;
    mode_t mode = archive_entry_perm(entry) & 0755;
    archive_entry_set_perm(entry, mode | (folder ? 0700 : 0600));
}

static void remember_parent(struct unpack *u, const char *path)
{
    (void)snprintf(u->parent, sizeof u->parent, "%s", path);
    char *slash = strrchr(u->parent, '/');
    *(slash != NULL ? slash : u->parent) = '\0';
}

static enum err_code write_entry(struct unpack *u, struct archive_entry *entry, const char *path,
                                 struct err *err)
{
    bool has_data =
        archive_entry_hardlink(entry) == NULL && archive_entry_filetype(entry) == AE_IFREG;
    archive_entry_set_pathname(entry, path);
    set_mode(entry);
    if (archive_write_header(u->out, entry) < ARCHIVE_OK)
        return out_error(u, path, err);
    enum err_code code = has_data ? copy_data(u, path, err) : ERR_OK;
    if (code == ERR_OK && archive_write_finish_entry(u->out) < ARCHIVE_OK)
        return out_error(u, path, err);
    remember_parent(u, path);
    return code;
}

static enum err_code take_entry(struct unpack *u, struct archive_entry *entry, struct err *err)
{
    char path[PATH_MAX_BYTES + 1];
    const char *raw = archive_entry_pathname(entry);
    u->entries++;
    enum err_code code = clean_path(u, raw != NULL ? raw : "", path, err);
    if (code == ERR_OK && path[0] == '\0')
        return archive_entry_filetype(entry) == AE_IFDIR ? ERR_OK
                                                         : refuse(u, raw, "has no name", err);
    if (code == ERR_OK)
        code = check_kind(u, entry, path, err);
    if (code == ERR_OK)
        code = count_entry(u, entry, path, err);
    return code == ERR_OK ? write_entry(u, entry, path, err) : code;
}

/* ---- the whole ---- */

/* Each must be built in: otherwise libarchive would start a program for it. */
static bool support_formats(struct archive *in)
{
    return archive_read_support_format_tar(in) == ARCHIVE_OK &&
           archive_read_support_format_zip(in) == ARCHIVE_OK &&
           archive_read_support_filter_gzip(in) == ARCHIVE_OK &&
           archive_read_support_filter_zstd(in) == ARCHIVE_OK;
}

static enum err_code read_entries(struct unpack *u, struct err *err)
{
    struct archive_entry *entry;
    enum err_code code = ERR_OK;
    while (code == ERR_OK) {
        int rc = archive_read_next_header(u->in, &entry);
        if (rc == ARCHIVE_EOF)
            break;
        if (rc < ARCHIVE_WARN)
            return in_error(u, err);
        if (archive_filter_count(u->in) > FILTERS_MAX)
            return err_set(err, ERR_MALFORMED, "the archive is compressed more than once");
        code = take_entry(u, entry, err);
    }
    if (code == ERR_OK && archive_write_close(u->out) < ARCHIVE_OK)
        return out_error(u, "", err);
    return code;
}

/* Into the working folder. */
static enum err_code extract(struct unpack *u, struct err *err)
{
    const int flags = ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_SECURE_SYMLINKS |
                      ARCHIVE_EXTRACT_SECURE_NODOTDOT | ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS;
    u->in = archive_read_new();
    u->out = archive_write_disk_new();
    enum err_code code = ERR_OK;
    if (u->in == NULL || u->out == NULL || !support_formats(u->in) ||
        archive_write_disk_set_options(u->out, flags) != ARCHIVE_OK)
        code = err_set(err, ERR_FAILED, "libarchive cannot be started");
    else if (archive_read_open_fd(u->in, u->options->archive_fd, READ_BYTES) < ARCHIVE_WARN)
        code = in_error(u, err);
    else
        code = read_entries(u, err);
    (void)archive_read_free(u->in);
    (void)archive_write_free(u->out);
    return code;
}

static enum err_code extract_into(struct unpack *u, const char *temp, struct err *err)
{
    enum err_code code = file_remove_tree(temp, err);
    if (code != ERR_OK)
        return code;
    if (mkdir(temp, 0755) != 0 || chmod(temp, 0755) != 0 || chdir(temp) != 0)
        return err_sys(err, errno, "making a folder to unpack into");
    code = extract(u, err);
    if (fchdir(u->options->folder_fd) != 0)
        return err_sys(err, errno, "leaving the unpacked folder");
    return code;
}

static enum err_code publish(const struct unpack_options *options, const char *temp,
                             struct err *err)
{
    if (syncfs(options->folder_fd) != 0)
        return err_sys(err, errno, "syncing the unpacked files");
    enum err_code code = file_remove_tree(options->name, err);
    if (code != ERR_OK)
        return code;
    if (rename(temp, options->name) != 0 || fsync(options->folder_fd) != 0)
        return err_sys(err, errno, "putting the unpacked folder in its place");
    return ERR_OK;
}

/* In the folder. What fails leaves nothing behind. */
static enum err_code run_here(struct unpack *u, struct err *err)
{
    char temp[PARTIAL_NAME_MAX];
    partial_hidden_name(u->options->name, "unpack", temp);
    enum err_code code = extract_into(u, temp, err);
    if (code == ERR_OK)
        code = publish(u->options, temp, err);
    enum err_code removed = code == ERR_OK ? ERR_OK : file_remove_tree(temp, NULL);
    (void)removed; /* the first error is the one to tell; the next run tries again */
    return code;
}

enum err_code unpack_run(const struct unpack_options *options, uint64_t *ret_bytes, struct err *err)
{
    struct unpack *u DEFER(mem_free_ref) = mem_new(1, sizeof *u);
    u->options = options;
    int before = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (before < 0 && errno == EACCES) /* where the agent started is closed to its helper's user */
        before = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (before < 0 || fchdir(options->folder_fd) != 0) {
        int why = errno;
        if (before >= 0)
            (void)close(before);
        return err_sys(err, why, "going to the folder to unpack into");
    }
    enum err_code code = run_here(u, err);
    if (fchdir(before) != 0 && code == ERR_OK)
        code = err_sys(err, errno, "going back to the working folder");
    (void)close(before);
    if (code == ERR_OK)
        *ret_bytes = u->bytes;
    return code;
}
