/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/io/update_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/base/str.h"

/* Another's lock, of either kind; ours is not kept. */
static bool is_locked(int fd)
{
    struct flock other = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_GETLK, &other) == 0 && other.l_type != F_UNLCK)
        return true;
    if (flock(fd, LOCK_SH | LOCK_NB) != 0)
        return errno == EWOULDBLOCK;
    (void)flock(fd, LOCK_UN);
    return false;
}

/* The first line, without what is not printable. */
static void read_line(int fd, char ret[static UPDATE_LOCK_HOLDER_MAX])
{
    ssize_t got = pread(fd, ret, UPDATE_LOCK_HOLDER_MAX - 1, 0);
    size_t len = got > 0 ? (size_t)got : 0;
    ret[len] = '\0';
    ret[strcspn(ret, "\r\n")] = '\0';
    for (char *p = ret; *p; p++)
        *p = (char)(*p >= ' ' && *p <= '~' ? *p : '?');
}

static bool is_dead_process(const char *text)
{
    uint64_t pid;
    return str_u64(text, INT32_MAX, &pid) == ERR_OK && pid > 0 && kill((pid_t)pid, 0) != 0 &&
           errno == ESRCH;
}

bool update_lock_held(const char *path, bool follow, char ret_holder[static UPDATE_LOCK_HOLDER_MAX])
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW));
    if (fd < 0) {
        int why = errno;
        (void)snprintf(ret_holder, UPDATE_LOCK_HOLDER_MAX, "an unknown holder: %s",
                       strerrordesc_np(why));
        return why != ENOENT && why != ENOTDIR;
    }
    char line[UPDATE_LOCK_HOLDER_MAX];
    read_line(fd, line);
    bool locked = is_locked(fd);
    (void)close(fd);
    if (!locked && (!line[0] || is_dead_process(line)))
        return false;
    uint64_t pid;
    bool number = str_u64(line, INT32_MAX, &pid) == ERR_OK;
    (void)snprintf(ret_holder, UPDATE_LOCK_HOLDER_MAX, "%s%.*s", number ? "process " : "",
                   UPDATE_LOCK_HOLDER_MAX - 10, line[0] ? line : "a process of the app");
    return true;
}
