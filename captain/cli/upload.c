/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/upload.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "captain/cli/output.h"
#include "common/base/mem.h"
#include "common/hash.h"

enum { ARENA_BYTES = 8 << 20 };

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

static void show(const char *verb, const char *label, uint64_t done, uint64_t all)
{
    char done_text[32];
    char all_text[32];
    str_format_size(done, done_text);
    str_format_size(all, all_text);
    output_progress("%s %s: %s of %s", verb, label, done_text, all_text);
}

static enum err_code put(struct client *client, const struct upload *upload, uint64_t offset,
                         struct bytes data, struct artifact_state *ret, struct err *err)
{
    struct arena arena DEFER(arena_fini);
    arena_init(&arena, ARENA_BYTES);
    struct artifact_put request = {
        .sha256 = upload->sha256, .size_bytes = upload->size_bytes, .offset = offset, .data = data};
    return client_call(client,
                       &(struct client_call){"artifact", "put", &codec_artifact_put, &request,
                                             &codec_artifact_state, ret},
                       &arena, err);
}

static enum err_code read_piece(int fd, const struct upload *upload, uint64_t offset, char *buffer,
                                size_t *ret, struct err *err)
{
    uint64_t left = upload->size_bytes - offset;
    size_t want = left < UPLOAD_PIECE_BYTES ? (size_t)left : UPLOAD_PIECE_BYTES;
    ssize_t got = pread(fd, buffer, want, (off_t)offset);
    if (got < 0)
        return err_sys(err, errno, "cannot read %s", upload->path);
    if ((size_t)got != want)
        return err_set(err, ERR_FAILED, "%s changed while it was sent", upload->path);
    *ret = want;
    return ERR_OK;
}

enum err_code upload_artifact(struct client *client, const struct upload *upload, struct err *err)
{
    int fd DEFER(close_fd) = open(upload->path, O_RDONLY | O_CLOEXEC);
    char *buffer DEFER(mem_free_ref) = mem_new(1, UPLOAD_PIECE_BYTES);
    if (fd < 0)
        return err_sys(err, errno, "cannot read %s", upload->path);
    struct artifact_state state;
    if (put(client, upload, 0, bytes_of(NULL, 0), &state, err))
        return err_wrap(err, "%s", upload->label);
    while (!state.complete) {
        uint64_t offset = state.next_offset;
        size_t len = 0;
        if (offset >= upload->size_bytes)
            return err_set(err, ERR_FAILED, "captain has all of %s and does not say so",
                           upload->label);
        if (read_piece(fd, upload, offset, buffer, &len, err) ||
            put(client, upload, offset, bytes_of(buffer, len), &state, err))
            return err_wrap(err, "%s", upload->label);
        if (!state.complete && state.next_offset <= offset)
            return err_set(err, ERR_FAILED, "captain takes no more of %s", upload->label);
        *upload->sent_bytes += len;
        show("sending", upload->label, offset + len, upload->size_bytes);
    }
    output_progress("%s", "");
    return ERR_OK;
}

static enum err_code get(struct client *client, struct bytes sha256, uint64_t offset,
                         struct arena *arena, struct artifact_piece *ret, struct err *err)
{
    struct artifact_get request = {
        .sha256 = sha256, .offset = offset, .length = UPLOAD_PIECE_BYTES};
    return client_call(client,
                       &(struct client_call){"artifact", "get", &codec_artifact_get, &request,
                                             &codec_artifact_piece, ret},
                       arena, err);
}

static enum err_code write_all(int fd, struct bytes data, const char *path, struct err *err)
{
    for (size_t done = 0; done < data.len;) {
        ssize_t n = write(fd, data.ptr + done, data.len - done);
        if (n < 0)
            return err_sys(err, errno, "cannot write %s", path);
        done += (size_t)n;
    }
    return ERR_OK;
}

static void hash_drop(struct hash **hash)
{
    hash_free(*hash);
}

static enum err_code receive(struct client *client, struct bytes sha256, int fd, const char *path,
                             struct err *err)
{
    struct hash *hash DEFER(hash_drop) = hash_new();
    uint64_t offset = 0;
    uint64_t size = 0;
    do {
        struct arena arena DEFER(arena_fini);
        arena_init(&arena, ARENA_BYTES);
        struct artifact_piece piece;
        if (get(client, sha256, offset, &arena, &piece, err) ||
            write_all(fd, piece.data, path, err))
            return err->code;
        size = piece.size_bytes;
        if (piece.data.len == 0 && offset < size)
            return err_set(err, ERR_SIZE, "captain's copy of %s ends early", path);
        hash_update(hash, piece.data.ptr, piece.data.len);
        offset += piece.data.len;
        show("receiving", path, offset, size);
    } while (offset < size);
    output_progress("%s", "");
    uint8_t digest[DIGEST_BYTES];
    hash_final(hash, digest);
    if (!bytes_equal(bytes_of(digest, sizeof digest), sha256))
        return err_set(err, ERR_HASH, "captain's copy of %s has another hash", path);
    return ERR_OK;
}

enum err_code download_artifact(struct client *client, struct bytes sha256, const char *path,
                                struct err *err)
{
    char part[PATH_MAX];
    if ((size_t)snprintf(part, sizeof part, "%s.part", path) >= sizeof part)
        return err_set(err, ERR_USAGE, "the path %.64s... is too long", path);
    int fd DEFER(close_fd) = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(err, errno, "cannot write %s", part);
    enum err_code code = receive(client, sha256, fd, path, err);
    if (code == ERR_OK && (fsync(fd) || rename(part, path)))
        code = err_sys(err, errno, "cannot write %s", path);
    if (code)
        (void)unlink(part);
    return code;
}
