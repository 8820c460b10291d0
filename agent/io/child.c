/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/io/child.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syslog.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "agent/io/spawn.h"
#include "common/base/mem.h"
#include "common/clock.h"

enum { STAT_BYTES = 1024, STATUS_BYTES = 4096, START_TICKS_FIELD = 22 };

struct child {
    struct loop *loop;
    struct child_identity identity;
    struct loop_process *process;
    struct loop_timer kill_timer;
    int gate_fd; /* its other end; -1: open, or adopted */
    bool stopping;
    child_ended_fn ended;
    void *arg;
};

/* ---- identity ---- */

/* Field 22; the name in field 2 may hold spaces and parentheses, so counting starts behind the last
 * one. */
static bool read_start_ticks(pid_t pid, uint64_t *ret)
{
    char path[64];
    char text[STAT_BYTES];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t len = read(fd, text, sizeof text - 1);
    (void)close(fd);
    if (len <= 0)
        return false;
    text[len] = '\0';
    char *at = strrchr(text, ')');
    for (int field = 2; at != NULL && field < START_TICKS_FIELD; field++)
        at = strchr(at + 1, ' ');
    if (at == NULL)
        return false;
    at[1 + strcspn(at + 1, " ")] = '\0';
    return str_u64(at + 1, UINT64_MAX, ret) == ERR_OK;
}

static bool is_same(const struct child_identity *identity)
{
    uint64_t ticks = 0;
    return read_start_ticks((pid_t)identity->pid, &ticks) && ticks == identity->start_ticks;
}

/* ---- start ---- */

static int open_journal(const char *name)
{
    int fd = getenv("JOURNAL_STREAM") != NULL ? sd_journal_stream_fd(name, LOG_INFO, 0) : -1;
    return fd >= 0 ? fd : open("/dev/null", O_WRONLY | O_CLOEXEC);
}

enum err_code child_open_log(const char *log_path, const struct app_user *user, int *ret_fd,
                             struct err *err)
{
    /* Not blocking: a pipe in the place of the file must not hold us. For files it means nothing. */
    int fd =
        open(log_path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    struct stat st;
    if (fd < 0)
        return err_sys(err, errno, "opening %s", log_path);
    bool known = fstat(fd, &st) == 0;
    bool ours = known && (st.st_uid == geteuid() || (user && st.st_uid == user->uid));
    enum err_code code = ERR_OK;
    if (!known || !S_ISREG(st.st_mode) || st.st_nlink != 1 || !ours)
        code = err_set(err, ERR_DENIED, "%s is no file of the app's", log_path);
    else if (user && st.st_uid != user->uid && fchown(fd, user->uid, user->gid) != 0)
        code = err_sys(err, errno, "giving %s away", log_path);
    if (code != ERR_OK)
        (void)close(fd);
    else
        *ret_fd = fd;
    return code;
}

static enum err_code open_output(const struct child_spec *spec, int *ret_fd, struct err *err)
{
    if (spec->log_path != NULL)
        return child_open_log(spec->log_path, spec->user, ret_fd, err);
    int fd = open_journal(spec->name);
    if (fd < 0)
        return err_sys(err, errno, "opening the log of %s", spec->name);
    *ret_fd = fd;
    return ERR_OK;
}

static void on_end(void *arg, int status)
{
    struct child *child = arg;
    child->process = NULL;
    /* Nothing of the service outlives its first process. */
    (void)kill((pid_t)-child->identity.pid, SIGKILL);
    child->ended(child->arg, status);
    child_forget(child);
}

static enum err_code spawn_gated(struct child *child, const struct child_spec *spec, int out_fd,
                                 pid_t *ret_pid, struct err *err)
{
    int gate[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, gate) != 0)
        return err_sys(err, errno, "making a gate");
    struct spawn_spec process = {
        .argv = spec->argv,
        .env = spec->env,
        .folder = spec->folder,
        .out_fd = out_fd,
        .err_fd = out_fd,
        .gate_fd = gate[0],
        .memory_max_bytes = spec->memory_max_bytes,
        .open_files_max = spec->open_files_max,
        .user = spec->user,
    };
    enum err_code code = spawn_process(&process, ret_pid, err);
    (void)close(gate[0]);
    if (code == ERR_OK)
        child->gate_fd = gate[1];
    else
        (void)close(gate[1]);
    return code;
}

static enum err_code identify_and_watch(struct child *child, pid_t pid, struct err *err)
{
    enum err_code code = ERR_OK;
    child->identity.pid = pid;
    clock_boot_id(child->identity.boot_id);
    if (!read_start_ticks(pid, &child->identity.start_ticks))
        code = err_set(err, ERR_FAILED, "process %d cannot be read in /proc", (int)pid);
    if (code == ERR_OK)
        code = loop_process_watch(child->loop, pid, on_end, child, &child->process, err);
    if (code != ERR_OK)
        spawn_abandon(child->loop, NULL, pid);
    return code;
}

enum err_code child_spawn(struct loop *loop, const struct child_spec *spec, child_ended_fn ended,
                          void *arg, struct child **ret, struct err *err)
{
    pid_t pid = -1;
    int out_fd = -1;
    enum err_code code = open_output(spec, &out_fd, err);
    if (code != ERR_OK)
        return code;
    struct child *child = mem_new(1, sizeof *child);
    *child = (struct child){.loop = loop, .gate_fd = -1, .ended = ended, .arg = arg};
    code = spawn_gated(child, spec, out_fd, &pid, err);
    (void)close(out_fd);
    if (code == ERR_OK)
        code = identify_and_watch(child, pid, err);
    if (code != ERR_OK) {
        child_forget(child);
        return code;
    }
    *ret = child;
    return ERR_OK;
}

void child_identity(const struct child *child, struct child_identity *ret)
{
    *ret = child->identity;
}

void child_release(struct child *child)
{
    if (child->gate_fd < 0)
        return;
    /* It can only fail when the process is gone, and then its end is told. */
    (void)send(child->gate_fd, "", 1, MSG_NOSIGNAL);
    (void)close(child->gate_fd);
    child->gate_fd = -1;
}

enum err_code child_adopt(struct loop *loop, const struct child_identity *identity,
                          child_ended_fn ended, void *arg, struct child **ret, struct err *err)
{
    char boot_id[37];
    clock_boot_id(boot_id);
    if (!str_equal(boot_id, identity->boot_id) || identity->pid <= 1 || identity->pid > INT32_MAX)
        return err_set(err, ERR_NOT_FOUND, "process %" PRId64 " is of an earlier boot",
                       identity->pid);
    struct child *child = mem_new(1, sizeof *child);
    *child = (struct child){
        .loop = loop, .identity = *identity, .gate_fd = -1, .ended = ended, .arg = arg};
    enum err_code code =
        loop_process_watch(loop, (pid_t)identity->pid, on_end, child, &child->process, err);
    /* Looked at after the watch holds the process: from here on the pid cannot become another's. */
    if (code == ERR_OK && !is_same(identity))
        code = err_set(err, ERR_NOT_FOUND, "process %" PRId64 " is another one now", identity->pid);
    if (code != ERR_OK) {
        child_forget(child);
        return code;
    }
    *ret = child;
    return ERR_OK;
}

/* ---- signals ---- */

/* SigBlk, SigIgn and SigCgt of /proc/<pid>/status, together. */
static bool read_signal_masks(pid_t pid, uint64_t *ret)
{
    static const char *const keys[] = {"\nSigBlk:\t", "\nSigIgn:\t", "\nSigCgt:\t"};
    char path[64];
    char text[STATUS_BYTES];
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t len = read(fd, text, sizeof text - 1);
    (void)close(fd);
    text[len > 0 ? len : 0] = '\0';
    *ret = 0;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const char *at = strstr(text, keys[i]);
        if (at == NULL)
            return false;
        *ret |= strtoull(at + strlen(keys[i]), NULL, 16);
    }
    return true;
}

enum child_told child_signal(const struct child *child, int sig)
{
    pid_t pid = (pid_t)child->identity.pid;
    uint64_t masks = 0;
    if (!is_same(&child->identity))
        return CHILD_GONE;
    if (child->gate_fd >= 0 || !read_signal_masks(pid, &masks) ||
        (masks & (UINT64_C(1) << (sig - 1))) == 0)
        return CHILD_NOT_READY;
    return kill(pid, sig) == 0 ? CHILD_TOLD : CHILD_GONE;
}

/* ---- stop ---- */

static void signal_group(const struct child *child, int sig)
{
    pid_t pid = (pid_t)child->identity.pid;
    if (!is_same(&child->identity))
        return; /* an adopted one that is gone; the watch will tell */
    if (kill(-pid, sig) != 0)
        (void)kill(pid, sig); /* it has not made its group yet */
}

static void on_kill_time(void *arg)
{
    struct child *child = arg;
    signal_group(child, SIGKILL);
}

void child_stop(struct child *child, int64_t timeout_ms)
{
    if (child->stopping)
        return;
    child->stopping = true;
    if (child->gate_fd >= 0) { /* still at the gate: it ends there */
        (void)close(child->gate_fd);
        child->gate_fd = -1;
    }
    signal_group(child, SIGTERM);
    signal_group(child, SIGCONT); /* a stopped process cannot end */
    loop_timer_at(child->loop, &child->kill_timer, loop_now_ms(child->loop) + timeout_ms,
                  on_kill_time, child);
}

void child_kill(const struct child_identity *identity)
{
    char boot_id[37];
    clock_boot_id(boot_id);
    if (!str_equal(boot_id, identity->boot_id) || identity->pid <= 1 || identity->pid > INT32_MAX ||
        !is_same(identity))
        return;
    if (kill((pid_t)-identity->pid, SIGKILL) != 0)
        (void)kill((pid_t)identity->pid, SIGKILL);
}

void child_forget(struct child *child)
{
    if (child == NULL)
        return;
    loop_timer_stop(&child->kill_timer);
    loop_process_unwatch(child->process);
    if (child->gate_fd >= 0)
        (void)close(child->gate_fd);
    mem_free(child);
}

/* ---- log ---- */

/* The file's writer appends at its end, wherever that is. What it writes between the read and the
 * cut is lost; the file stays bounded without its help. */
static void keep_tail(int fd, off_t size, size_t keep)
{
    char *tail DEFER(mem_free_ref) = mem_new(1, keep);
    ssize_t got = pread(fd, tail, keep, size - (off_t)keep);
    if (got <= 0)
        return;
    const char *line = memchr(tail, '\n', (size_t)got);
    const char *from = line != NULL ? line + 1 : tail;
    if (ftruncate(fd, 0) == 0)
        (void)!write(fd, from, (size_t)(tail + got - from));
}

void child_trim_log(const char *log_path, uint64_t max_bytes)
{
    struct stat st;
    int fd = open(log_path, O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1 &&
        (uint64_t)st.st_size > max_bytes)
        keep_tail(fd, st.st_size, (size_t)(max_bytes / 2));
    (void)close(fd);
}
