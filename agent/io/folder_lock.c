/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/io/folder_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "common/base/str.h"
#include "common/clock.h"
#include "common/file.h"

enum { PATH_BYTES = 1200, HOLDER_BYTES = 64, WAIT_MS = 5000, LOOK_MS = 20 };

static const char holder_form[] = "captain-agent, process ";

static void lock_path(const char *folder, char ret[PATH_BYTES])
{
    (void)snprintf(ret, PATH_BYTES, "%s/lock", folder);
}

/* 0: not known. */
static pid_t holder_of(const char *folder)
{
    char path[PATH_BYTES], text[HOLDER_BYTES];
    uint64_t pid = 0;
    lock_path(folder, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return 0;
    ssize_t got = read(fd, text, sizeof text - 1);
    (void)close(fd);
    text[got > 0 ? got : 0] = '\0';
    const size_t prefix = sizeof holder_form - 1;
    if (strncmp(text, holder_form, prefix) != 0 ||
        str_u64(text + prefix, INT32_MAX, &pid) != ERR_OK || pid <= 1)
        return 0;
    return (pid_t)pid;
}

/* Within wait_ms; a zombie has ended. */
static bool has_ended(pid_t pid, int wait_ms)
{
    int fd = pidfd_open(pid, 0);
    if (fd < 0)
        return errno == ESRCH;
    struct pollfd end = {.fd = fd, .events = POLLIN};
    bool ended = poll(&end, 1, wait_ms) > 0;
    (void)close(fd);
    return ended;
}

static bool is_dying(const char *folder)
{
    pid_t pid = holder_of(folder);
    return pid > 0 && has_ended(pid, 0);
}

static enum err_code try_lock(const char *folder, int *ret_fd, struct err *err)
{
    char path[PATH_BYTES], holder[HOLDER_BYTES];
    lock_path(folder, path);
    (void)snprintf(holder, sizeof holder, "%s%d", holder_form, (int)getpid());
    enum err_code code = file_make_dirs(folder, 0700, err);
    if (code == ERR_OK && (code = file_lock(path, holder, ret_fd, err)) != ERR_OK)
        return err_wrap(err, "folder %s", folder);
    return code;
}

enum err_code folder_lock_take(const char *folder, int *ret_fd, struct err *err)
{
    int64_t deadline_ms = clock_mono_ms() + WAIT_MS;
    enum err_code code = try_lock(folder, ret_fd, err);
    while (code == ERR_CONFLICT && is_dying(folder) && clock_mono_ms() < deadline_ms) {
        (void)poll(NULL, 0, LOOK_MS); /* flock has no deadline of its own */
        code = try_lock(folder, ret_fd, err);
    }
    return code;
}

enum err_code folder_lock_wrest(const char *folder, int *ret_fd, struct err *err)
{
    enum err_code code = try_lock(folder, ret_fd, err);
    if (code != ERR_CONFLICT)
        return code;
    pid_t pid = holder_of(folder);
    if (pid > 0 && kill(pid, SIGKILL) == 0)
        (void)has_ended(pid, WAIT_MS);
    return folder_lock_take(folder, ret_fd, err);
}
