/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "captain/cli/output.h"
#include "common/base/mem.h"
#include "common/file.h"
#include "common/hash.h"

enum { COPY_BYTES = 256 << 10 };

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

const char *bundle_artifact_path(const char *folder, const struct artifact *artifact,
                                 struct arena *arena)
{
    char hex[DIGEST_HEX];
    str_hex(artifact->sha256, hex);
    return arena_printf(arena, "%s/artifacts/%s", folder, hex);
}

enum err_code bundle_check_file(const char *path, const struct artifact *artifact, struct err *err)
{
    uint8_t digest[DIGEST_BYTES];
    uint64_t size;
    int fd DEFER(close_fd) = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? err_set(err, ERR_NOT_FOUND, "%s is missing", path)
                               : err_sys(err, errno, "cannot read %s", path);
    if (hash_file(fd, digest, &size, err))
        return err->code;
    if (size != artifact->size_bytes)
        return err_set(err, ERR_SIZE, "%s is damaged: it has %llu bytes and must have %llu", path,
                       (unsigned long long)size, (unsigned long long)artifact->size_bytes);
    if (!bytes_equal(bytes_of(digest, sizeof digest), artifact->sha256))
        return err_set(err, ERR_HASH, "%s is damaged: its content has another hash than its name",
                       path);
    return ERR_OK;
}

static enum err_code write_piece(int fd, const uint8_t *data, size_t len, const char *path,
                                 struct err *err)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno != EINTR)
            return err_sys(err, errno, "writing %s", path);
        data += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return ERR_OK;
}

static enum err_code copy_file(const char *from, const char *to, struct err *err)
{
    uint8_t *buffer DEFER(mem_free_ref) = mem_new(1, COPY_BYTES);
    int in DEFER(close_fd) = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0)
        return err_sys(err, errno, "cannot read %s", from);
    int out DEFER(close_fd) = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (out < 0)
        return err_sys(err, errno, "cannot write %s", to);
    for (;;) {
        ssize_t n = read(in, buffer, COPY_BYTES);
        if (n < 0 && errno != EINTR)
            return err_sys(err, errno, "cannot read %s", from);
        if (n == 0)
            break;
        if (n > 0 && write_piece(out, buffer, (size_t)n, to, err))
            return err->code;
    }
    return fsync(out) ? err_sys(err, errno, "writing %s", to) : ERR_OK;
}

/* The check is of what was written, so a file that changed since it was hashed is found here. */
static enum err_code write_artifact(const char *folder, const struct release_files *files, size_t i,
                                    struct arena *arena, struct err *err)
{
    const struct release_file *file = &files->files[i];
    const char *path = bundle_artifact_path(folder, &files->artifacts[i], arena);
    if (!path)
        return err_set(err, ERR_SIZE, "the release is too large to write");
    output_progress("writing %s", file->label);
    if (copy_file(file->path, path, err))
        return err->code;
    return bundle_check_file(path, &files->artifacts[i], err);
}

enum err_code bundle_write(const char *folder, const struct release_files *files,
                           struct bytes envelope, struct arena *arena, struct err *err)
{
    const char *artifacts = output_text(arena_printf(arena, "%s/artifacts", folder));
    const char *document = output_text(arena_printf(arena, "%s/release.dsse", folder));
    if (access(document, F_OK) == 0) {
        err_set(err, ERR_CONFLICT, "%s holds a release already; it may be signed", folder);
        return err_hint(err, "--output with another folder");
    }
    if (file_make_dirs(artifacts, 0755, err))
        return err->code;
    for (size_t i = 0; i < files->len; i++)
        if (files->files[i].path && write_artifact(folder, files, i, arena, err))
            return err->code;
    output_progress("%s", "");
    return file_replace(document, envelope, 0644, err);
}
