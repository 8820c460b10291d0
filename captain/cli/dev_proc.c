/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/dev_proc.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/clock.h"

enum { EXEC_FAILED = 127, TURN_MS = 20 };

enum err_code dev_proc_adopt_orphans(struct err *err)
{
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
        return err_sys(err, errno, "cannot adopt the orphans of our processes");
    return ERR_OK;
}

/* In the child, between fork and exec: only what is safe there. */
static void become(const char *const *argv, const char *const *env, int log_fd, pid_t parent)
{
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)setpgid(0, 0); /* Ctrl-C is for us alone: we end them in order */
    int null_fd = open("/dev/null", O_RDONLY);
    bool ready = prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) == 0 && getppid() == parent &&
                 null_fd >= 0 && dup2(null_fd, 0) == 0 && dup2(log_fd, 1) == 1 &&
                 dup2(log_fd, 2) == 2;
    if (ready)
        (void)execve(argv[0], (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)env);
    _exit(EXEC_FAILED);
}

static void on_end(void *arg, int status)
{
    struct dev_proc *proc = arg;
    proc->watch = NULL;
    proc->ended = true;
    proc->status = status;
}

enum err_code dev_proc_start(struct loop *loop, const char *const *argv, const char *const *env,
                             struct dev_proc *proc, struct err *err)
{
    int log_fd = open(proc->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0)
        return err_sys(err, errno, "cannot write %s", proc->log);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        become(argv, env, log_fd, parent);
    int why = errno;
    (void)close(log_fd);
    if (pid < 0)
        return err_sys(err, why, "cannot start %s", proc->name);
    proc->pid = pid;
    proc->ended = false;
    if (loop_process_watch(loop, pid, on_end, proc, &proc->watch, err) == ERR_OK)
        return ERR_OK;
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &proc->status, 0);
    proc->ended = true;
    return err->code;
}

void dev_proc_how(const struct dev_proc *proc, char ret[static 32])
{
    if (WIFEXITED(proc->status))
        (void)snprintf(ret, 32, "exit %d", WEXITSTATUS(proc->status));
    else
        (void)snprintf(ret, 32, "signal %d", WTERMSIG(proc->status));
}

static bool all_ended(struct dev_proc *const *procs, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (procs[i]->pid && !procs[i]->ended)
            return false;
    return true;
}

static void signal_all(struct dev_proc *const *procs, size_t len, int sig)
{
    for (size_t i = 0; i < len; i++)
        if (procs[i]->pid && !procs[i]->ended)
            (void)kill(procs[i]->pid, sig);
}

void dev_proc_stop(struct loop *loop, struct dev_proc *const *procs, size_t len, int64_t timeout_ms)
{
    int64_t deadline_ms = clock_mono_ms() + timeout_ms;
    signal_all(procs, len, SIGTERM);
    while (!all_ended(procs, len) && clock_mono_ms() < deadline_ms)
        loop_turn(loop, TURN_MS);
    signal_all(procs, len, SIGKILL);
    while (!all_ended(procs, len))
        loop_turn(loop, TURN_MS);
}

/* The parent in /proc/PID/stat: the second field behind the last ')'. */
static pid_t parent_of(const char *pid)
{
    char path[64];
    char text[512];
    int parent = 0;
    (void)snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    size_t len = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[len] = '\0';
    const char *behind = strrchr(text, ')');
    if (!behind || strlen(behind) < 5)
        return 0;
    parent = (int)strtol(behind + 4, NULL, 10);
    return parent;
}

/* Kills our children; true when there was one. */
static bool kill_children(void)
{
    bool any = false;
    DIR *dir = opendir("/proc");
    if (!dir)
        return false;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (!isdigit((unsigned char)entry->d_name[0]) || parent_of(entry->d_name) != getpid())
            continue;
        (void)kill((pid_t)strtol(entry->d_name, NULL, 10), SIGKILL);
        any = true;
    }
    (void)closedir(dir);
    return any;
}

void dev_proc_sweep(void)
{
    /* Each round kills one generation; the next one becomes ours when its parent is reaped. */
    while (kill_children()) {
        if (waitpid(-1, NULL, 0) < 0 && errno == ECHILD)
            return;
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
    }
}

static const char *executable(struct arena *arena, const char *folder, size_t len, const char *name)
{
    const char *path = arena_printf(arena, "%.*s/%s", (int)len, folder, name);
    return path && access(path, X_OK) == 0 ? path : NULL;
}

const char *dev_proc_find(const char *name, const char *sibling, const char *installed,
                          struct arena *arena)
{
    char self[PATH_MAX];
    const char *found = NULL;
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    self[len > 0 ? len : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash) {
        size_t folder = (size_t)(slash - self);
        found = executable(arena, self, folder, name);
        if (!found && sibling)
            found = executable(arena, self, folder, sibling);
    }
    const char *path = getenv("PATH");
    for (const char *at = path ? path : ""; !found && *at; at += strspn(at, ":")) {
        size_t part = strcspn(at, ":");
        found = executable(arena, at, part, name);
        at += part;
    }
    const char *const folders[] = {"/usr/local/sbin", "/usr/sbin", "/sbin", installed};
    for (size_t i = 0; !found && i < ARRAY_LEN(folders) && folders[i]; i++)
        found = executable(arena, folders[i], strlen(folders[i]), name);
    return found;
}
