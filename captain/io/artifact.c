/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/artifact.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/hash.h"

enum { PART_NAME_LEN = DIGEST_HEX - 1 + 5, RELEASE_DOCUMENT_MAX = 1 << 20 };
/* An upload nobody went on with for so long makes room for another. */
#define ABANDONED_MS (60 * 60 * 1000)

struct upload {
    bool used;
    char hex[DIGEST_HEX];
    int fd;            /* -1: not opened since the start */
    uint64_t have;     /* bytes in the file */
    struct hash *hash; /* over its first `hashed` bytes; NULL: none */
    uint64_t hashed;
    int64_t touched_ms;
};

struct artifacts {
    char *folder;
    struct upload uploads[ARTIFACT_UPLOADS_MAX];
};

static MUST_USE enum err_code path_of(const struct artifacts *artifacts, const char *kind,
                                      const char *hex, const char *suffix,
                                      char ret[static PATH_MAX], struct err *err)
{
    const int len = snprintf(ret, PATH_MAX, "%s/%s/%s%s", artifacts->folder, kind, hex, suffix);
    if (len < 0 || len >= PATH_MAX)
        return err_set(err, ERR_SIZE, "path of %s below %s is too long", hex, artifacts->folder);
    return ERR_OK;
}

static void upload_close(struct upload *upload)
{
    if (upload->fd >= 0)
        (void)close(upload->fd);
    hash_free(upload->hash);
    *upload = (struct upload){.fd = -1};
}

/* Best effort: a part that stays is overwritten or fails its hash later. */
static void upload_discard(struct artifacts *artifacts, struct upload *upload)
{
    char path[PATH_MAX];
    if (path_of(artifacts, "upload", upload->hex, ".part", path, NULL) == ERR_OK)
        (void)unlink(path);
    upload_close(upload);
}

static bool is_part_name(const char *name)
{
    return strlen(name) == PART_NAME_LEN && strspn(name, "0123456789abcdef") == DIGEST_HEX - 1 &&
           strcmp(name + DIGEST_HEX - 1, ".part") == 0;
}

/* Takes up the parts an earlier process left, as many as the table holds; the rest are removed. */
static MUST_USE enum err_code adopt_parts(struct artifacts *artifacts, const char *dir_path,
                                          struct err *err)
{
    DIR *dir = opendir(dir_path);
    if (!dir)
        return err_sys(err, errno, "open %s", dir_path);
    size_t len = 0;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        struct stat st;
        if (entry->d_name[0] == '.' ||
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (!is_part_name(entry->d_name) || !S_ISREG(st.st_mode) || len == ARTIFACT_UPLOADS_MAX) {
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
            continue;
        }
        struct upload *upload = &artifacts->uploads[len++];
        upload->used = true;
        upload->have = (uint64_t)st.st_size;
        upload->touched_ms = (int64_t)st.st_mtim.tv_sec * 1000;
        memcpy(upload->hex, entry->d_name, DIGEST_HEX - 1);
    }
    (void)closedir(dir);
    return ERR_OK;
}

enum err_code artifacts_open(const char *folder, struct artifacts **ret, struct err *err)
{
    static const char *const kinds[] = {"artifact", "release", "upload"};
    struct artifacts *artifacts = mem_new(1, sizeof *artifacts);
    char path[PATH_MAX];
    artifacts->folder = mem_strdup(folder);
    for (size_t i = 0; i < ARTIFACT_UPLOADS_MAX; i++)
        artifacts->uploads[i].fd = -1;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (path_of(artifacts, kinds[i], "", "", path, err) != ERR_OK ||
            file_make_dirs(path, 0700, err) != ERR_OK)
            goto fail;
    }
    if (adopt_parts(artifacts, path, err) != ERR_OK)
        goto fail;
    *ret = artifacts;
    return ERR_OK;
fail:
    artifacts_close(artifacts);
    return err_wrap(err, "artifact store");
}

void artifacts_close(struct artifacts *artifacts)
{
    if (!artifacts)
        return;
    for (size_t i = 0; i < ARTIFACT_UPLOADS_MAX; i++)
        upload_close(&artifacts->uploads[i]);
    mem_free(artifacts->folder);
    mem_free(artifacts);
}

static void hex_of(const uint8_t digest[DIGEST_BYTES], char ret[static DIGEST_HEX])
{
    str_hex(bytes_of(digest, DIGEST_BYTES), ret);
}

/* False when there is none. */
static bool stored_size(const struct artifacts *artifacts, const char *hex, uint64_t *ret)
{
    char path[PATH_MAX];
    struct stat st;
    if (path_of(artifacts, "artifact", hex, "", path, NULL) != ERR_OK || stat(path, &st) < 0 ||
        !S_ISREG(st.st_mode))
        return false;
    *ret = (uint64_t)st.st_size;
    return true;
}

bool artifacts_has(struct artifacts *artifacts, const uint8_t sha256[DIGEST_BYTES],
                   uint64_t size_bytes)
{
    char hex[DIGEST_HEX];
    uint64_t size;
    hex_of(sha256, hex);
    return stored_size(artifacts, hex, &size) && size == size_bytes;
}

static struct upload *upload_find(struct artifacts *artifacts, const char *hex)
{
    for (size_t i = 0; i < ARTIFACT_UPLOADS_MAX; i++) {
        struct upload *upload = &artifacts->uploads[i];
        if (upload->used && strcmp(upload->hex, hex) == 0)
            return upload;
    }
    return NULL;
}

/* A free place, if need be that of the upload left alone for longest. */
static struct upload *upload_place(struct artifacts *artifacts, int64_t now_ms)
{
    struct upload *oldest = &artifacts->uploads[0];
    for (size_t i = 0; i < ARTIFACT_UPLOADS_MAX; i++) {
        struct upload *upload = &artifacts->uploads[i];
        if (!upload->used)
            return upload;
        if (upload->touched_ms < oldest->touched_ms)
            oldest = upload;
    }
    if (now_ms - oldest->touched_ms < ABANDONED_MS)
        return NULL;
    upload_discard(artifacts, oldest);
    return oldest;
}

static MUST_USE enum err_code upload_open(struct artifacts *artifacts, const char *hex,
                                          struct upload **ret, struct err *err)
{
    const int64_t now_ms = clock_unix_ms();
    struct upload *upload = upload_find(artifacts, hex);
    char path[PATH_MAX];
    if (!upload)
        upload = upload_place(artifacts, now_ms);
    if (!upload)
        return err_set(err, ERR_FULL, "%d uploads are under way, no more are taken",
                       ARTIFACT_UPLOADS_MAX);
    if (upload->fd < 0) {
        const enum err_code code = path_of(artifacts, "upload", hex, ".part", path, err);
        if (code != ERR_OK)
            return code;
        const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        struct stat st;
        if (fd < 0 || fstat(fd, &st) < 0) {
            const int sys = errno;
            if (fd >= 0)
                (void)close(fd);
            return err_sys(err, sys, "open %s", path);
        }
        *upload = (struct upload){
            .used = true, .fd = fd, .have = (uint64_t)st.st_size, .hash = hash_new()};
        memcpy(upload->hex, hex, DIGEST_HEX);
    }
    upload->touched_ms = now_ms;
    *ret = upload;
    return ERR_OK;
}

static MUST_USE enum err_code write_all(int fd, struct bytes data, uint64_t offset, struct err *err)
{
    for (size_t done = 0; done < data.len;) {
        const ssize_t n = pwrite(fd, data.ptr + done, data.len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(err, errno, "write %zu bytes of an upload", data.len);
        done += (size_t)n;
    }
    return ERR_OK;
}

static MUST_USE enum err_code upload_write(struct upload *upload, uint64_t offset,
                                           struct bytes data, struct err *err)
{
    if (data.len == 0)
        return ERR_OK;
    const enum err_code code = write_all(upload->fd, data, offset, err);
    if (code != ERR_OK)
        return code;
    if (upload->hash && upload->hashed == offset) {
        hash_update(upload->hash, data.ptr, data.len);
        upload->hashed += data.len;
    } else if (offset < upload->hashed) {
        /* Bytes already counted were written again: count anew at the end. */
        hash_free(upload->hash);
        upload->hash = NULL;
        upload->hashed = 0;
    }
    if (offset + data.len > upload->have)
        upload->have = offset + data.len;
    /* Early write-back keeps the fsync at the end short; it is only a hint. */
    (void)sync_file_range(upload->fd, (off_t)offset, (off_t)data.len, SYNC_FILE_RANGE_WRITE);
    return ERR_OK;
}

static MUST_USE enum err_code upload_digest(struct upload *upload, uint8_t ret[static DIGEST_BYTES],
                                            struct err *err)
{
    uint64_t size;
    if (!upload->hash || upload->hashed != upload->have)
        return hash_file(upload->fd, ret, &size, err);
    hash_final(upload->hash, ret);
    upload->hashed = 0;
    return ERR_OK;
}

/* All bytes are there: check, make durable, make visible. */
static MUST_USE enum err_code upload_finish(struct artifacts *artifacts, struct upload *upload,
                                            struct err *err)
{
    uint8_t digest[DIGEST_BYTES];
    char hex[DIGEST_HEX], from[PATH_MAX], to[PATH_MAX], dir[PATH_MAX];
    enum err_code code = upload_digest(upload, digest, err);
    if (code != ERR_OK)
        return code;
    hex_of(digest, hex);
    if (strcmp(hex, upload->hex) != 0) {
        code = err_set(err, ERR_HASH, "the upload's sha256 is %s, not %s as announced", hex,
                       upload->hex);
        upload_discard(artifacts, upload);
        return code;
    }
    if ((code = path_of(artifacts, "upload", hex, ".part", from, err)) != ERR_OK ||
        (code = path_of(artifacts, "artifact", hex, "", to, err)) != ERR_OK ||
        (code = path_of(artifacts, "artifact", "", "", dir, err)) != ERR_OK)
        return code;
    if (fsync(upload->fd) < 0)
        return err_sys(err, errno, "fsync %s", from);
    if (rename(from, to) < 0)
        return err_sys(err, errno, "rename %s to %s", from, to);
    upload_close(upload);
    return file_sync_dir(dir, err);
}

static MUST_USE enum err_code refuse_size(struct artifacts *artifacts, struct upload *upload,
                                          uint64_t have, uint64_t size_bytes, struct err *err)
{
    const enum err_code code =
        err_set(err, ERR_SIZE, "artifact %s: %llu bytes, not %llu as announced", upload->hex,
                (unsigned long long)have, (unsigned long long)size_bytes);
    upload_discard(artifacts, upload);
    return code;
}

/* What is stored already answers an upload of it. */
static MUST_USE enum err_code answer_stored(const char *hex, uint64_t stored, uint64_t size_bytes,
                                            uint64_t *ret_next, bool *ret_complete, struct err *err)
{
    if (stored != size_bytes)
        return err_set(err, ERR_SIZE, "artifact %s is stored with %llu bytes, not %llu", hex,
                       (unsigned long long)stored, (unsigned long long)size_bytes);
    *ret_next = size_bytes;
    *ret_complete = true;
    return ERR_OK;
}

enum err_code artifacts_put(struct artifacts *artifacts, const uint8_t sha256[DIGEST_BYTES],
                            uint64_t size_bytes, uint64_t offset, struct bytes data,
                            uint64_t *ret_next, bool *ret_complete, struct err *err)
{
    char hex[DIGEST_HEX];
    uint64_t stored;
    struct upload *upload;
    hex_of(sha256, hex);
    if (stored_size(artifacts, hex, &stored))
        return answer_stored(hex, stored, size_bytes, ret_next, ret_complete, err);
    if (size_bytes > ARTIFACT_MAX_BYTES || data.len > ARTIFACT_PIECE_MAX)
        return err_set(
            err, ERR_SIZE, "artifact %s of %llu bytes in a piece of %zu: more than %llu, or %d",
            hex, (unsigned long long)size_bytes, data.len, ARTIFACT_MAX_BYTES, ARTIFACT_PIECE_MAX);
    enum err_code code = upload_open(artifacts, hex, &upload, err);
    if (code != ERR_OK)
        return code;
    if (upload->have > size_bytes)
        return refuse_size(artifacts, upload, upload->have, size_bytes, err);
    if (offset > upload->have)
        return err_set(err, ERR_CONFLICT,
                       "artifact %s: only %llu bytes are here, cannot go on at %llu", hex,
                       (unsigned long long)upload->have, (unsigned long long)offset);
    if (data.len > size_bytes - offset)
        return refuse_size(artifacts, upload, offset + data.len, size_bytes, err);
    code = upload_write(upload, offset, data, err);
    const uint64_t have = upload->have;
    if (code == ERR_OK && have == size_bytes)
        code = upload_finish(artifacts, upload, err);
    if (code != ERR_OK)
        return code;
    *ret_next = have;
    *ret_complete = have == size_bytes;
    return ERR_OK;
}

static MUST_USE enum err_code read_piece(int fd, const char *path, uint64_t offset, uint32_t length,
                                         struct arena *arena, struct bytes *ret, struct err *err)
{
    uint8_t *data = arena_alloc(arena, length ? length : 1);
    size_t done = 0;
    if (!data)
        return err_set(err, ERR_SIZE, "a piece of %u bytes does not fit the reply", length);
    while (done < length) {
        const ssize_t n = pread(fd, data + done, length - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(err, errno, "read %s", path);
        if (n == 0)
            break;
        done += (size_t)n;
    }
    *ret = bytes_of(data, done);
    return ERR_OK;
}

enum err_code artifacts_get(struct artifacts *artifacts, const uint8_t sha256[DIGEST_BYTES],
                            uint64_t offset, uint32_t length, struct arena *arena,
                            struct bytes *ret, uint64_t *ret_size, struct err *err)
{
    char hex[DIGEST_HEX], path[PATH_MAX];
    struct stat st;
    hex_of(sha256, hex);
    if (length > ARTIFACT_PIECE_MAX || offset > ARTIFACT_MAX_BYTES)
        return err_set(err, ERR_SIZE, "a piece of %u bytes from %llu: at most %d bytes at a time",
                       length, (unsigned long long)offset, ARTIFACT_PIECE_MAX);
    enum err_code code = path_of(artifacts, "artifact", hex, "", path, err);
    if (code != ERR_OK)
        return code;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT)
        return err_set(err, ERR_NOT_FOUND, "artifact %s is not stored here", hex);
    if (fd < 0)
        return err_sys(err, errno, "open %s", path);
    if (fstat(fd, &st) < 0) {
        code = err_sys(err, errno, "stat %s", path);
    } else {
        code = read_piece(fd, path, offset, length, arena, ret, err);
        if (code == ERR_OK)
            *ret_size = (uint64_t)st.st_size;
    }
    (void)close(fd);
    return code;
}

enum err_code artifacts_put_release(struct artifacts *artifacts, const uint8_t digest[DIGEST_BYTES],
                                    struct bytes envelope, struct err *err)
{
    char hex[DIGEST_HEX], path[PATH_MAX];
    struct arena arena DEFER(arena_fini) = {0};
    struct bytes there;
    arena_init(&arena, RELEASE_DOCUMENT_MAX + 4096);
    hex_of(digest, hex);
    const enum err_code code = path_of(artifacts, "release", hex, "", path, err);
    if (code != ERR_OK)
        return code;
    if (file_read(path, RELEASE_DOCUMENT_MAX, &arena, &there, NULL) == ERR_OK &&
        bytes_equal(there, envelope))
        return ERR_OK;
    return file_replace(path, envelope, 0600, err);
}
