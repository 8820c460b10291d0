/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/fetch/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPEN_FILES_MAX = 64 };

static bool set_limit(int which, uint64_t value)
{
    struct rlimit limit;
    if (getrlimit((__rlimit_resource_t)which, &limit) != 0)
        return false;
    if (limit.rlim_max == RLIM_INFINITY || limit.rlim_max > value)
        limit.rlim_max = value;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit((__rlimit_resource_t)which, &limit) == 0;
}

static bool open_standard(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    return fd > STDERR_FILENO && close(fd) == 0;
}

enum err_code sandbox_prepare(uint64_t file_bytes_max, struct err *err)
{
    if (close_range(STDERR_FILENO + 1, ~0U, 0) != 0 || !open_standard())
        return err_sys(err, errno, "closing foreign descriptors");
    /* No process of the same user looks into our memory or takes our descriptors. */
    if (prctl(PR_SET_DUMPABLE, 0) != 0)
        return err_sys(err, errno, "closing this process to others");
    (void)umask(022);
    /* Growing past the limit must be an error of write, not a signal. */
    (void)signal(SIGXFSZ, SIG_IGN);
    if (!set_limit(RLIMIT_FSIZE, file_bytes_max) || !set_limit(RLIMIT_CORE, 0) ||
        !set_limit(RLIMIT_NOFILE, OPEN_FILES_MAX))
        return err_sys(err, errno, "setting limits");
    return ERR_OK;
}

#if defined(__SANITIZE_ADDRESS__)
#define HAS_LEAK_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_LEAK_SANITIZER 1
#endif
#endif
#ifdef HAS_LEAK_SANITIZER
/* It looks for leaks by tracing us from a process of its own, which is what nobody may do. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return 1;
}
#endif

static enum err_code become(const char *name, struct err *err)
{
    errno = 0;
    struct passwd *user = getpwnam(name);
    if (user == NULL)
        return err_set(err, ERR_DENIED,
                       "there is no user %s, and the transfer does not run as root", name);
    if (user->pw_uid == 0 || user->pw_gid == 0)
        return err_set(err, ERR_DENIED, "user %s is root, and the transfer does not run as root",
                       name);
    if (setgroups(0, NULL) != 0 || setresgid(user->pw_gid, user->pw_gid, user->pw_gid) != 0 ||
        setresuid(user->pw_uid, user->pw_uid, user->pw_uid) != 0)
        return err_set(err, ERR_DENIED,
                       "cannot become user %s, and the transfer does not run as root", name);
    if (setuid(0) == 0 || geteuid() == 0)
        return err_set(err, ERR_DENIED, "the privileges of root could not be given away");
    return ERR_OK;
}

enum err_code sandbox_enter(const char *user, struct err *err)
{
    pid_t parent = getppid();
    if (geteuid() == 0 && user != NULL) {
        enum err_code code = become(user, err);
        if (code != ERR_OK)
            return code;
    }
    /* After the change of user, which clears the first, and may set the second anew. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || prctl(PR_SET_DUMPABLE, 0) != 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return err_sys(err, errno, "giving privileges away");
    if (getppid() != parent)
        return err_set(err, ERR_FAILED, "the agent is gone");
    return ERR_OK;
}

void sandbox_no_processes(void)
{
    (void)set_limit(RLIMIT_NPROC, 0); /* one more fence where it holds; nothing depends on it */
}
