/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/clock.h"
#include "tests/support/support.h"

struct proc {
    pid_t pid;
    int pidfd;
    bool ended;
    int status;
};

/* Everything the child needs, made before the fork: afterwards only async-signal-safe calls. */
struct launch {
    char **env;
    char file[4096];
    int out, err;
    pid_t parent;
};

static void find_program(const char *name, char *ret, size_t ret_size)
{
    const char *path = getenv("PATH");
    char *dirs = NULL;
    if (strchr(name, '/') != NULL) {
        (void)snprintf(ret, ret_size, "%s", name);
        return;
    }
    if (asprintf(&dirs, "%s:/usr/sbin:/sbin", path != NULL ? path : "/usr/bin:/bin") < 0) {
        support_die(errno, "no memory");
    }
    char *state = NULL;
    for (char *dir = strtok_r(dirs, ":", &state); dir != NULL; dir = strtok_r(NULL, ":", &state)) {
        (void)snprintf(ret, ret_size, "%s/%s", dir, name);
        if (access(ret, X_OK) == 0) {
            break;
        }
    }
    free(dirs);
}

static size_t strings_len(const char *const *strings)
{
    size_t len = 0;
    while (strings != NULL && strings[len] != NULL) {
        len++;
    }
    return len;
}

/* The added settings come first: getenv and the shells take the first of a name. */
static char **join_env(const char *const *added)
{
    size_t added_len = strings_len(added);
    size_t own_len = strings_len((const char *const *)environ);
    char **env = mem_new(added_len + own_len + 1, sizeof *env);
    size_t len = 0;
    for (size_t i = 0; i < added_len; i++) {
        env[len++] = (char *)added[i];
    }
    for (size_t i = 0; i < own_len; i++) {
        bool replaced = false;
        size_t name_len = strcspn(environ[i], "=") + 1;
        for (size_t j = 0; j < added_len && !replaced; j++) {
            replaced = strncmp(added[j], environ[i], name_len) == 0;
        }
        if (!replaced) {
            env[len++] = environ[i];
        }
    }
    return env;
}

static int open_output(const char *path)
{
    int fd =
        open(path != NULL ? path : "/dev/null", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) {
        support_die(errno, "cannot open %s", path);
    }
    return fd;
}

static void child(const struct launch *launch, const struct proc_options *options)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != launch->parent) {
        _exit(126); /* the test died before the line above */
    }
    (void)setpgid(0, 0);
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    int null = open(options->in_path != NULL ? options->in_path : "/dev/null", O_RDONLY);
    if (dup2(null, 0) < 0 || dup2(launch->out, 1) < 0 || dup2(launch->err, 2) < 0 ||
        (options->dir != NULL && chdir(options->dir) != 0)) {
        _exit(126);
    }
    (void)execve(launch->file, (char *const *)options->argv, launch->env);
    _exit(127);
}

struct proc *proc_start(const struct proc_options *options)
{
    struct launch launch = {.parent = getpid(), .env = join_env(options->env)};
    find_program(options->argv[0], launch.file, sizeof launch.file);
    launch.out = open_output(options->out_path);
    launch.err = options->err_path != NULL ? open_output(options->err_path) : launch.out;
    struct proc *proc = mem_new(1, sizeof *proc);
    proc->pid = fork();
    if (proc->pid == 0) {
        child(&launch, options);
    }
    if (proc->pid < 0 || (proc->pidfd = pidfd_open(proc->pid, 0)) < 0) {
        support_die(errno, "cannot start %s", options->argv[0]);
    }
    (void)setpgid(proc->pid, proc->pid); /* by both, so that it is done for whoever goes on first */
    (void)close(launch.out);
    if (launch.err != launch.out) {
        (void)close(launch.err);
    }
    mem_free(launch.env);
    return proc;
}

pid_t proc_pid(const struct proc *proc)
{
    return proc->pid;
}

void proc_signal(struct proc *proc, int sig)
{
    if (!proc->ended) {
        (void)kill(proc->pid, sig);
    }
}

bool proc_wait(struct proc *proc, int64_t ms, int *ret_status)
{
    int64_t deadline_ms = clock_mono_ms() + ms;
    while (!proc->ended) {
        int64_t left_ms = deadline_ms - clock_mono_ms();
        struct pollfd fd = {.fd = proc->pidfd, .events = POLLIN};
        int ready = poll(&fd, 1, left_ms > 0 ? (int)left_ms : 0);
        if (ready == 0) {
            return false;
        }
        if (ready > 0) {
            proc->ended = true;
            if (waitpid(proc->pid, &proc->status, 0) < 0) {
                proc->status = -1; /* somebody else reaped it, for example a loop that watched it */
            }
        }
    }
    if (ret_status != NULL) {
        *ret_status = proc->status;
    }
    return true;
}

void proc_free(struct proc *proc)
{
    if (proc == NULL) {
        return;
    }
    (void)kill(-proc->pid, SIGKILL);
    if (!proc_wait(proc, 10000, NULL)) {
        support_die(0, "process %d does not die", (int)proc->pid);
    }
    (void)close(proc->pidfd);
    mem_free(proc);
}

int proc_run(const struct proc_options *options, int64_t ms)
{
    int status;
    struct proc *proc = proc_start(options);
    if (!proc_wait(proc, ms, &status)) {
        support_die(0, "%s did not end within %d ms", options->argv[0], (int)ms);
    }
    proc_free(proc);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
