/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/io/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/no_dump.h"

enum { FIRST_FREE_FD = 3, FIRST_LIFTED_FD = 10 };

/* Everything below runs in the new process, between fork and exec of a program with threads: system
 * calls only. */

static void reset_signals(void)
{
    struct sigaction plain = {.sa_handler = SIG_DFL};
    sigset_t none;
    for (int sig = 1; sig < NSIG; sig++)
        (void)sigaction(sig, &plain,
                        NULL); /* fails for KILL, STOP and libc's own: nothing to reset */
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* A copy above the standard descriptors, so that the order of the moves below does not matter. */
static int lift(int fd)
{
    return fd >= 0 ? fcntl(fd, F_DUPFD, FIRST_LIFTED_FD) : open("/dev/null", O_RDWR);
}

static bool set_descriptors(const struct spawn_spec *spec)
{
    int gate = spec->gate_fd >= 0 ? lift(spec->gate_fd) : -1;
    int in = lift(spec->in_fd > 0 ? spec->in_fd : -1);
    int out = lift(spec->out_fd);
    int err = lift(spec->err_fd);
    if (in < 0 || out < 0 || err < 0 || dup2(in, STDIN_FILENO) < 0 ||
        dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0)
        return false;
    if (gate < 0)
        return spec->gate_fd < 0 && close_range(FIRST_FREE_FD, ~0U, 0) == 0;
    return dup2(gate, FIRST_FREE_FD) == FIRST_FREE_FD &&
           fcntl(FIRST_FREE_FD, F_SETFD, FD_CLOEXEC) == 0 &&
           close_range(FIRST_FREE_FD + 1, ~0U, 0) == 0;
}

static bool set_limit(__rlimit_resource_t which, uint64_t value)
{
    struct rlimit limit = {.rlim_cur = value, .rlim_max = value};
    return value == 0 || setrlimit(which, &limit) == 0;
}

/* Groups first: who is no longer root cannot change them. */
static bool become(const struct app_user *user)
{
    return !user || geteuid() != 0 ||
           (setgroups((size_t)user->groups_len, user->groups) == 0 &&
            setresgid(user->gid, user->gid, user->gid) == 0 &&
            setresuid(user->uid, user->uid, user->uid) == 0);
}

static bool pass_gate(void)
{
    char byte;
    ssize_t got;
    do {
        got = read(FIRST_FREE_FD, &byte, 1);
    } while (got < 0 && errno == EINTR);
    return got == 1;
}

static void run(const struct spawn_spec *spec)
{
    (void)setsid();
    reset_signals();
    (void)umask(022);
    if (!set_descriptors(spec))
        return;
    if (spec->gate_fd >= 0 && !pass_gate())
        return;
    no_dump_undo();
    if (!set_limit(RLIMIT_DATA, spec->memory_max_bytes) ||
        !set_limit(RLIMIT_NOFILE, spec->open_files_max) || !become(spec->user))
        return;
    if (spec->folder != NULL && chdir(spec->folder) != 0)
        return;
    if (spec->env != NULL)
        environ = (char **)spec->env;
    (void)execvp(spec->argv[0], (char *const *)spec->argv);
    const char *why = strerrordesc_np(errno);
    (void)!write(STDERR_FILENO, spec->argv[0], strlen(spec->argv[0]));
    (void)!write(STDERR_FILENO, ": ", 2);
    (void)!write(STDERR_FILENO, why, strlen(why));
    (void)!write(STDERR_FILENO, "\n", 1);
}

enum err_code spawn_process(const struct spawn_spec *spec, pid_t *ret_pid, struct err *err)
{
    /* Blocked across the fork: a handler of ours must not run in the child. */
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0) {
        run(spec);
        _exit(SPAWN_NO_PROGRAM);
    }
    int why = errno;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid < 0)
        return err_sys(err, why, "cannot start %s", spec->argv[0]);
    *ret_pid = pid;
    return ERR_OK;
}

static void on_reaped(void *arg, int status)
{
    (void)arg;
    (void)status;
}

void spawn_abandon(struct loop *loop, struct loop_process *process, pid_t pid)
{
    struct loop_process *reaper = NULL;
    /* The group first; a child that has not yet called setsid is still in ours. */
    if (kill(-pid, SIGKILL) != 0)
        (void)kill(pid, SIGKILL);
    loop_process_unwatch(process);
    if (loop_process_watch(loop, pid, on_reaped, NULL, &reaper, NULL) != ERR_OK)
        return; /* it is gone already, or stays a zombie until we end: nothing that can be mended
                   here */
}
