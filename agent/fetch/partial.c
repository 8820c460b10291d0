/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/fetch/partial.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/rng.h"

enum { CHUNK_BYTES = 64 << 10, TAG_MAX_BYTES = PARTIAL_URL_MAX + PARTIAL_VALIDATOR_MAX + 2 };

void partial_hidden_name(const char *name, const char *suffix, char ret[static PARTIAL_NAME_MAX])
{
    (void)snprintf(ret, PARTIAL_NAME_MAX, ".captain-%016" PRIx64 ".%s",
                   rng_hash(0, name, strlen(name)), suffix);
}

/* Whole write or errno. */
static int write_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t put = write(fd, data, len);
        if (put < 0 && errno != EINTR)
            return errno;
        if (put > 0) {
            data += put;
            len -= (size_t)put;
        }
    }
    return 0;
}

/* A file size limit of this process stands for the bound it was set from. */
static enum err_code write_failed(int why, struct err *err)
{
    if (why == EFBIG)
        return err_set(err, ERR_SIZE, "the file would grow beyond its limit");
    return err_sys(err, why, "writing the file");
}

/* "url\nvalidator\n"; anything else counts as unknown. */
static void read_tag(struct partial *partial)
{
    char text[TAG_MAX_BYTES + 1];
    int fd = openat(partial->folder_fd, partial->tag_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t len = read(fd, text, TAG_MAX_BYTES);
    (void)close(fd);
    if (len <= 0 || text[len - 1] != '\n')
        return;
    text[len - 1] = '\0';
    char *validator = strchr(text, '\n');
    if (validator == NULL || strchr(validator + 1, '\n') != NULL)
        return;
    *validator++ = '\0';
    if (str_copy(partial->url, sizeof partial->url, text) != ERR_OK ||
        str_copy(partial->validator, sizeof partial->validator, validator) != ERR_OK)
        partial->url[0] = partial->validator[0] = '\0';
}

static enum err_code hash_again(struct partial *partial, struct err *err)
{
    uint8_t *chunk DEFER(mem_free_ref) = mem_new(1, CHUNK_BYTES);
    for (;;) {
        ssize_t got = read(partial->fd, chunk, CHUNK_BYTES);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_sys(err, errno, "reading what was fetched before");
        if (got == 0)
            return ERR_OK;
        hash_update(partial->hash, chunk, (size_t)got);
    }
}

static enum err_code take_over(struct partial *partial, const struct partial_options *options,
                               struct err *err)
{
    struct stat st;
    if (flock(partial->fd, LOCK_EX | LOCK_NB) != 0)
        return err_set(err, ERR_CONFLICT, "another transfer is writing %s", partial->name);
    if (fstat(partial->fd, &st) != 0)
        return err_sys(err, errno, "looking at the file");
    if (!S_ISREG(st.st_mode) || !options->resume || (uint64_t)st.st_size > options->max_bytes)
        return partial_restart(partial, err);
    read_tag(partial);
    partial->size_bytes = partial->flushed_bytes = (uint64_t)st.st_size;
    if (partial->hashes)
        return hash_again(partial, err);
    return lseek(partial->fd, 0, SEEK_END) == st.st_size
               ? ERR_OK
               : err_sys(err, errno, "going to the end of what was fetched before");
}

enum err_code partial_open(struct partial *partial, const struct partial_options *options,
                           struct err *err)
{
    *partial = (struct partial){.folder_fd = options->folder_fd,
                                .name = options->name,
                                .hashes = options->hashes,
                                .fd = -1};
    partial_hidden_name(partial->name, "part", partial->part_name);
    partial_hidden_name(partial->name, "tag", partial->tag_name);
    partial->fd = openat(partial->folder_fd, partial->part_name,
                         O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (partial->fd < 0)
        return err_sys(err, errno, "making a file beside %s", partial->name);
    partial->hash = hash_new();
    enum err_code code = take_over(partial, options, err);
    if (code != ERR_OK)
        partial_close(partial);
    return code;
}

enum err_code partial_restart(struct partial *partial, struct err *err)
{
    if (unlinkat(partial->folder_fd, partial->tag_name, 0) != 0 && errno != ENOENT)
        return err_sys(err, errno, "removing the side file");
    if (ftruncate(partial->fd, 0) != 0 || lseek(partial->fd, 0, SEEK_SET) != 0)
        return err_sys(err, errno, "starting the file again");
    hash_free(partial->hash);
    partial->hash = hash_new();
    partial->size_bytes = partial->flushed_bytes = 0;
    partial->url[0] = partial->validator[0] = '\0';
    return ERR_OK;
}

enum err_code partial_set_origin(struct partial *partial, const char *url, const char *validator,
                                 struct err *err)
{
    char text[TAG_MAX_BYTES + 1];
    if (str_copy(partial->url, sizeof partial->url, url) != ERR_OK ||
        str_copy(partial->validator, sizeof partial->validator, validator) != ERR_OK) {
        partial->url[0] = partial->validator[0] = '\0';
        return ERR_OK; /* then it is resumed without a condition, and the hash decides */
    }
    int len = snprintf(text, sizeof text, "%s\n%s\n", url, validator);
    int fd = openat(partial->folder_fd, partial->tag_name,
                    O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(err, errno, "making the side file");
    int why = write_all(fd, (const uint8_t *)text, (size_t)len);
    (void)close(fd);
    return why == 0 ? ERR_OK : write_failed(why, err);
}

enum err_code partial_append(struct partial *partial, const void *data, size_t len, struct err *err)
{
    int why = write_all(partial->fd, data, len);
    if (why != 0) {
        /* What was written of this piece is cut off, so that size, hash and file agree. */
        off_t size = (off_t)partial->size_bytes;
        if (ftruncate(partial->fd, size) != 0 || lseek(partial->fd, size, SEEK_SET) != size)
            partial_remove(partial);
        return write_failed(why, err);
    }
    if (partial->hashes)
        hash_update(partial->hash, data, len);
    partial->size_bytes += len;
    uint64_t waiting = partial->size_bytes - partial->flushed_bytes;
    if (waiting >= PARTIAL_FLUSH_BYTES) {
        /* Only a hint: what it cannot do, the agent's fsync does. */
        (void)sync_file_range(partial->fd, (off_t)partial->flushed_bytes, (off_t)waiting,
                              SYNC_FILE_RANGE_WRITE);
        partial->flushed_bytes = partial->size_bytes;
    }
    return ERR_OK;
}

enum err_code partial_check(struct partial *partial, const uint8_t *sha256, struct err *err)
{
    uint8_t digest[DIGEST_BYTES];
    hash_final(partial->hash, digest);
    if (sha256 == NULL || !partial->hashes || memcmp(digest, sha256, DIGEST_BYTES) == 0)
        return ERR_OK;
    char got[DIGEST_HEX];
    char want[DIGEST_HEX];
    str_hex(bytes_of(digest, DIGEST_BYTES), got);
    str_hex(bytes_of(sha256, DIGEST_BYTES), want);
    enum err_code code = partial_restart(partial, err);
    if (code != ERR_OK)
        return code;
    return err_set(err, ERR_HASH, "sha256 is %.16s..., must be %.16s...", got, want);
}

enum err_code partial_finish(struct partial *partial, struct err *err)
{
    if (renameat(partial->folder_fd, partial->part_name, partial->folder_fd, partial->name) != 0)
        return err_sys(err, errno, "finishing %s", partial->name);
    if (unlinkat(partial->folder_fd, partial->tag_name, 0) != 0 && errno != ENOENT)
        return err_sys(err, errno, "removing the side file");
    return ERR_OK;
}

void partial_remove(struct partial *partial)
{
    (void)unlinkat(partial->folder_fd, partial->tag_name, 0);
    (void)unlinkat(partial->folder_fd, partial->part_name, 0);
}

void partial_close(struct partial *partial)
{
    if (partial->fd >= 0)
        (void)close(partial->fd);
    partial->fd = -1;
    hash_free(partial->hash);
    partial->hash = NULL;
}
