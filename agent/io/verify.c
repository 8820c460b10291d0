/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/io/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/io/takeover.h"
#include "common/base/mem.h"
#include "common/hash.h"

enum {
    CHUNK_BYTES = 256 << 10,
    SYNC_BYTES = 8 << 20,         /* written out at a time: how long a cancel may wait */
    THREAD_STACK_BYTES = 1 << 20, /* sanitizers need most of it */
};

struct verify {
    struct loop *loop;
    verify_done_fn done;
    void *arg;
    char *path, *copy_path;
    uint64_t size_bytes;
    uint8_t sha256[DIGEST_BYTES];
    mode_t mode;
    int fd;      /* of the file that was taken over */
    int copy_fd; /* below 0: no copy is needed */
    int end_fd;  /* the thread says here that it has ended */
    struct loop_reader *reader;
    bool started;
    pthread_t thread;
    atomic_bool cancelled;
    /* The thread's until it has ended. Nothing is allocated there, so that it leaves no heap of its
     * own behind. */
    struct hash *hash;
    uint8_t *chunk;
    uint64_t seen_bytes;
    int failed; /* errno */
    const char *doing;
};

/* ---- in the thread ---- */

static bool give_up(struct verify *v, const char *doing)
{
    v->failed = errno;
    v->doing = doing;
    return false;
}

static bool write_copy(struct verify *v, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t put = write(v->copy_fd, v->chunk + done, len - done);
        if (put < 0 && errno != EINTR)
            return give_up(v, "copying what was fetched");
        done += put > 0 ? (size_t)put : 0;
    }
    return true;
}

/* One byte more than the right size is enough to know that it is wrong. */
static bool hash_all(struct verify *v)
{
    while (!atomic_load(&v->cancelled) && v->seen_bytes <= v->size_bytes) {
        ssize_t got = pread(v->fd, v->chunk, CHUNK_BYTES, (off_t)v->seen_bytes);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return give_up(v, "reading what was fetched");
        if (got == 0)
            return true;
        hash_update(v->hash, v->chunk, (size_t)got);
        if (v->copy_fd >= 0 && !write_copy(v, (size_t)got))
            return false;
        v->seen_bytes += (uint64_t)got;
    }
    return true;
}

static void sync_all(struct verify *v)
{
    int fd = v->copy_fd >= 0 ? v->copy_fd : v->fd;
    const unsigned all =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    for (uint64_t at = 0; at < v->seen_bytes && !atomic_load(&v->cancelled); at += SYNC_BYTES)
        (void)sync_file_range(fd, (off_t)at, SYNC_BYTES, all); /* fsync tells what went wrong */
    if (!atomic_load(&v->cancelled) && fsync(fd) != 0)
        (void)give_up(v, "writing what was fetched to the disk");
}

static void *run(void *arg)
{
    struct verify *v = arg;
    static const uint64_t one = 1;
    /* The disk works while we hash. */
    (void)sync_file_range(v->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    if (hash_all(v))
        sync_all(v);
    (void)!write(v->end_fd, &one, sizeof one);
    return NULL;
}

/* ---- in the loop ---- */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static void verify_free(struct verify *v)
{
    if (v->started)
        (void)pthread_join(v->thread, NULL);
    loop_reader_close(v->reader);
    close_fd(&v->end_fd);
    close_fd(&v->fd);
    close_fd(&v->copy_fd);
    hash_free(v->hash);
    mem_free(v->chunk);
    mem_free(v->path);
    mem_free(v->copy_path);
    mem_free(v);
}

static enum err_code check(struct verify *v, struct err *err)
{
    uint8_t digest[DIGEST_BYTES];
    if (v->failed != 0)
        return err_sys(err, v->failed, "%s", v->doing);
    if (v->seen_bytes != v->size_bytes)
        return err_set(err, ERR_SIZE,
                       "what was fetched has not the %" PRIu64 " bytes that it must have",
                       v->size_bytes);
    hash_final(v->hash, digest);
    if (memcmp(digest, v->sha256, DIGEST_BYTES) == 0)
        return ERR_OK;
    return err_set(err, ERR_HASH, "what was fetched has not the sha256 that it must have");
}

/* The copy is handed on by a descriptor that cannot write either. */
static enum err_code hand_on(struct verify *v, int *ret_fd, struct err *err)
{
    if (v->copy_fd >= 0) {
        close_fd(&v->fd);
        v->fd = open(v->copy_path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (v->fd < 0)
            return err_sys(err, errno, "opening %s", v->copy_path);
    }
    if (fchmod(v->fd, v->mode) != 0)
        return err_sys(err, errno, "setting the mode of %s", v->path);
    *ret_fd = v->fd;
    v->fd = -1;
    return ERR_OK;
}

static void on_end(void *arg, int end_fd)
{
    struct verify *v = arg;
    struct err err = {.code = ERR_OK};
    int fd = -1;
    (void)end_fd;
    (void)pthread_join(v->thread, NULL);
    v->started = false;
    if (check(v, &err) == ERR_OK)
        (void)hand_on(v, &fd, &err);
    v->done(v->arg, fd, &err);
    verify_free(v);
}

/* No signal is handled there. */
static enum err_code start_thread(struct verify *v, struct err *err)
{
    pthread_attr_t attr;
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&v->thread, &attr, run, v);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attr);
    v->started = failed == 0;
    return failed == 0 ? ERR_OK : err_sys(err, failed, "starting a thread to hash");
}

static enum err_code open_copy(struct verify *v, struct err *err)
{
    if (unlink(v->copy_path) != 0 && errno != ENOENT)
        return err_sys(err, errno, "removing %s", v->copy_path);
    v->copy_fd = open(v->copy_path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return v->copy_fd < 0 ? err_sys(err, errno, "making %s", v->copy_path) : ERR_OK;
}

static enum err_code start(struct verify *v, struct err *err)
{
    bool held = false;
    enum err_code code = takeover_file(v->path, &v->fd, &held, err);
    if (code == ERR_OK && held)
        code = open_copy(v, err);
    if (code != ERR_OK)
        return code;
    v->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (v->end_fd < 0)
        return err_sys(err, errno, "making an event descriptor");
    code = loop_reader_open(v->loop, v->end_fd, on_end, v, &v->reader, err);
    return code == ERR_OK ? start_thread(v, err) : code;
}

enum err_code verify_start(struct loop *loop, const struct verify_request *request,
                           verify_done_fn done, void *arg, struct verify **ret, struct err *err)
{
    struct verify *v = mem_new(1, sizeof *v);
    *v = (struct verify){
        .loop = loop,
        .done = done,
        .arg = arg,
        .path = mem_strdup(request->path),
        .copy_path = mem_strdup(request->copy_path),
        .size_bytes = request->size_bytes,
        .mode = request->mode,
        .fd = -1,
        .copy_fd = -1,
        .end_fd = -1,
        .hash = hash_new(),
        .chunk = mem_new(1, CHUNK_BYTES),
    };
    memcpy(v->sha256, request->sha256, DIGEST_BYTES);
    enum err_code code = start(v, err);
    if (code != ERR_OK) {
        verify_free(v);
        return code;
    }
    *ret = v;
    return ERR_OK;
}

void verify_cancel(struct verify *verify)
{
    if (verify == NULL)
        return;
    atomic_store(&verify->cancelled, true);
    verify_free(verify);
}
