/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/core/retry.h"
#include "agent/io/deadman_file.h"
#include "agent/io/folder_lock.h"
#include "common/clock.h"
#include "common/log.h"

enum {
    PATH_BYTES = 1200,
    BEATS_PER_HANG = 4,
    STEADY_MS = 30000, /* an agent that ran this long did not end "in a row" */
    STALL_MS = 1000,
    FIRE_AGAIN_MS = 60000, /* after a disk that could not be written */
    RESTART_MAX_MS = 60000,
};

struct supervisor {
    const struct config *config;
    int lock_fd, signal_fd, pipe_fd;
    sigset_t before;
    pid_t agent; /* 0: none */
    bool ending, ready, ever_ready;
    bool told;          /* the agent was asked to end */
    unsigned farewells; /* agents started only to end in order, since services may run */
    int status;         /* of the last one */
    uint32_t failures;
    int64_t started_ms, beat_ms, start_ms; /* CLOCK_MONOTONIC: a machine asleep is not a hang */
    int64_t fire_ms;                       /* not before; CLOCK_BOOTTIME */
    struct deadman records[CONFIG_APPS_MAX];
    bool armed[CONFIG_APPS_MAX];
    struct rng rng;
};

static int64_t steady_ms(void)
{
    return clock_mono_ns() / 1000000;
}

/* ---- dead-man records ---- */

static void app_dir(const struct supervisor *s, size_t app, char ret[PATH_BYTES])
{
    (void)snprintf(ret, PATH_BYTES, "%s/apps/%s", s->config->folder, s->config->apps[app].app);
}

static void read_records(struct supervisor *s)
{
    char dir[PATH_BYTES];
    struct err err;
    for (size_t i = 0; i < s->config->apps_len; i++) {
        app_dir(s, i, dir);
        enum err_code code = deadman_file_read(dir, &s->records[i], &err);
        s->armed[i] = code == ERR_OK && s->records[i].state == DEADMAN_ARMED;
        if (code != ERR_OK && code != ERR_NOT_FOUND)
            log_err(s->config->apps[i].app, &err);
    }
}

/* After a reboot the window begins anew, which must be known after the next one too. */
static void resume_records(struct supervisor *s)
{
    char dir[PATH_BYTES], boot_id[37];
    struct deadman_clock now;
    struct err err;
    deadman_clock_read(&now, boot_id);
    read_records(s);
    for (size_t i = 0; i < s->config->apps_len; i++) {
        app_dir(s, i, dir);
        if (s->armed[i] && deadman_resumed(&s->records[i], &now) &&
            deadman_file_write(dir, &s->records[i], &err) != ERR_OK)
            log_err(s->config->apps[i].app, &err);
    }
}

static bool any_armed(const struct supervisor *s)
{
    for (size_t i = 0; i < s->config->apps_len; i++) {
        if (s->armed[i])
            return true;
    }
    return false;
}

static bool any_due(const struct supervisor *s)
{
    char boot_id[37];
    struct deadman_clock now;
    deadman_clock_read(&now, boot_id);
    for (size_t i = 0; now.mono_ms >= s->fire_ms && i < s->config->apps_len; i++) {
        if (s->armed[i] && deadman_due(&s->records[i], &now))
            return true;
    }
    return false;
}

static void reap(struct supervisor *s, int flags)
{
    int status;
    pid_t pid;
    /* As process 1 of a container it is the parent of every orphan. */
    while ((pid = waitpid(flags ? -1 : s->agent, &status, flags)) > 0) {
        if (pid != s->agent)
            continue;
        s->agent = 0;
        s->status = status;
        if (!flags)
            return;
    }
}

static void kill_agent(struct supervisor *s)
{
    if (s->agent == 0)
        return;
    (void)kill(s->agent, SIGKILL);
    reap(s, 0);
}

static void fire(struct supervisor *s)
{
    char dir[PATH_BYTES], boot_id[37];
    struct deadman_clock now;
    struct err err;
    kill_agent(s);
    read_records(s); /* its last word counts */
    deadman_clock_read(&now, boot_id);
    for (size_t i = 0; i < s->config->apps_len; i++) {
        if (!s->armed[i] || !deadman_due(&s->records[i], &now))
            continue;
        app_dir(s, i, dir);
        log_write(LOG_LEVEL_ERROR, "%s: not confirmed in time: it is taken back",
                  s->config->apps[i].app);
        if (deadman_file_fire(dir, &s->records[i], &err) == ERR_OK) {
            s->armed[i] = false;
        } else {
            log_err(s->config->apps[i].app, &err);
            s->fire_ms = now.mono_ms + FIRE_AGAIN_MS;
        }
    }
    s->start_ms = 0; /* at once: it has something to tell */
}

/* ---- the agent ---- */

static void become_agent(struct supervisor *s, int pipe_fd, pid_t parent,
                         struct supervisor_link *ret)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(EXIT_FAILURE);
    (void)sigprocmask(SIG_SETMASK, &s->before, NULL);
    (void)close(s->signal_fd);
    (void)unsetenv("WATCHDOG_PID"); /* it is the agent that feeds it */
    *ret = (struct supervisor_link){
        .lock_fd = s->lock_fd, .pipe_fd = pipe_fd, .beat_ms = s->config->hang_ms / BEATS_PER_HANG};
}

/* True in the agent. */
static bool start_agent(struct supervisor *s, struct supervisor_link *ret)
{
    int ends[2];
    pid_t self = getpid();
    s->started_ms = s->beat_ms = steady_ms();
    s->start_ms = s->started_ms + s->config->restart_ms;
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        log_write(LOG_LEVEL_ERROR, "a pipe to the agent: %s", strerrordesc_np(errno));
        return false;
    }
    if (s->pipe_fd >= 0)
        (void)close(s->pipe_fd);
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(ends[0]);
        become_agent(s, ends[1], self, ret);
        return true;
    }
    (void)close(ends[1]);
    s->pipe_fd = ends[0];
    s->ready = s->told = false;
    s->farewells += s->ending;
    s->agent = pid > 0 ? pid : 0;
    if (pid < 0)
        log_write(LOG_LEVEL_ERROR, "starting the agent: %s", strerrordesc_np(errno));
    return false;
}

/* Before its loop runs it would end without stopping its services. */
static void ask_to_end(struct supervisor *s)
{
    if (!s->ending || !s->ready || s->told || s->agent == 0)
        return;
    s->told = true;
    (void)kill(s->agent, SIGTERM);
}

static void hear(struct supervisor *s)
{
    char words[256];
    ssize_t got;
    bool records = false;
    while ((got = read(s->pipe_fd, words, sizeof words)) > 0) {
        s->beat_ms = steady_ms();
        records |= memchr(words, SUPERVISOR_DEADMAN, (size_t)got) != NULL;
        s->ready |= memchr(words, SUPERVISOR_READY, (size_t)got) != NULL;
    }
    s->ever_ready |= s->ready;
    if (records)
        read_records(s);
    if (got == 0) { /* it has ended, or is about to: SIGCHLD tells */
        (void)close(s->pipe_fd);
        s->pipe_fd = -1;
    }
}

/* True: nothing is started any more. */
static bool is_over(struct supervisor *s)
{
    bool exited = WIFEXITED(s->status);
    bool hopeless = exited && !s->ever_ready && !any_armed(s);
    bool ended = s->ending && (s->told || s->farewells > 0);
    return ended || (exited && WEXITSTATUS(s->status) == 0) || hopeless;
}

static void plan_restart(struct supervisor *s)
{
    const struct retry_policy policy = {
        .min_ms = s->config->restart_ms,
        .base_ms = s->config->restart_ms,
        .max_ms = s->config->restart_ms > RESTART_MAX_MS ? s->config->restart_ms : RESTART_MAX_MS};
    int64_t now_ms = steady_ms();
    s->failures = now_ms - s->started_ms >= STEADY_MS ? 0 : s->failures + 1;
    s->start_ms = now_ms + retry_delay_ms(&policy, s->failures, &s->rng);
    log_write(LOG_LEVEL_ERROR, "the agent %s %d; it is started again",
              WIFSIGNALED(s->status) ? "was ended by signal" : "ended with code",
              WIFSIGNALED(s->status) ? WTERMSIG(s->status) : WEXITSTATUS(s->status));
}

/* ---- the loop ---- */

static void take_signals(struct supervisor *s)
{
    struct signalfd_siginfo info;
    while (read(s->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo != SIGTERM && info.ssi_signo != SIGINT)
            continue;
        s->ending = true;
    }
    ask_to_end(s);
}

static void sooner(int64_t *wait_ms, int64_t at_ms, int64_t now_ms)
{
    int64_t ms = at_ms > now_ms ? at_ms - now_ms : 0;
    if (ms < *wait_ms)
        *wait_ms = ms;
}

static int wait_ms(const struct supervisor *s)
{
    int64_t ms = INT32_MAX, now_ms = steady_ms(), boot_ms = clock_mono_ms();
    if (s->agent == 0)
        sooner(&ms, s->start_ms, now_ms);
    else
        sooner(&ms, s->beat_ms + s->config->hang_ms, now_ms);
    for (size_t i = 0; !s->ending && i < s->config->apps_len; i++) {
        int64_t due_ms = s->records[i].deadline_ms;
        if (s->armed[i])
            sooner(&ms, due_ms > s->fire_ms ? due_ms : s->fire_ms, boot_ms);
    }
    return (int)ms;
}

static void wait_for_news(struct supervisor *s)
{
    struct pollfd fds[2] = {{.fd = s->signal_fd, .events = POLLIN},
                            {.fd = s->pipe_fd, .events = POLLIN}};
    int64_t from_ms = steady_ms();
    int asked_ms = wait_ms(s);
    (void)poll(fds, 2, asked_ms);
    if (steady_ms() - from_ms - asked_ms > STALL_MS) /* we were stopped, and the agent with us */
        s->beat_ms = steady_ms();
    if (s->pipe_fd >= 0)
        hear(s);
    take_signals(s);
    bool had = s->agent > 0;
    reap(s, WNOHANG);
    if (had && s->agent == 0 && !is_over(s))
        plan_restart(s);
    if (s->ending)
        s->start_ms = 0;
}

static void kill_if_hung(struct supervisor *s)
{
    if (s->agent == 0 || steady_ms() - s->beat_ms < s->config->hang_ms)
        return;
    log_write(LOG_LEVEL_ERROR, "the agent hangs and is ended");
    kill_agent(s);
    plan_restart(s);
}

/* True in the agent; false when all is over. */
static bool supervise(struct supervisor *s, struct supervisor_link *ret)
{
    resume_records(s);
    for (;;) {
        if (!s->ending && any_due(s))
            fire(s);
        if (s->agent == 0 && steady_ms() >= s->start_ms && start_agent(s, ret))
            return true;
        wait_for_news(s);
        if (s->agent == 0 && s->started_ms > 0 && is_over(s))
            return false;
        kill_if_hung(s);
    }
}

static enum err_code open_signals(struct supervisor *s, struct err *err)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &set, &s->before) != 0 ||
        (s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
        return err_sys(err, errno, "signals");
    return ERR_OK;
}

bool supervisor_run(const struct config *config, struct supervisor_link *ret_link, int *ret_exit,
                    struct err *err)
{
    struct supervisor s = {.config = config, .signal_fd = -1, .pipe_fd = -1, .lock_fd = -1};
    uint64_t seed;
    clock_random(&seed, sizeof seed);
    rng_seed(&s.rng, seed);
    *ret_exit = -1;
    if (folder_lock_take(config->folder, &s.lock_fd, err) != ERR_OK ||
        open_signals(&s, err) != ERR_OK)
        return false;
    if (supervise(&s, ret_link))
        return true;
    *ret_exit = WIFEXITED(s.status) ? WEXITSTATUS(s.status) : EXIT_FAILURE;
    return false;
}

/* ---- systemd's timer ---- */

enum err_code supervisor_deadman(const char *dir, struct err *err)
{
    char folder[PATH_BYTES], boot_id[37];
    struct deadman_clock now;
    struct deadman record;
    int lock_fd;
    enum err_code code = deadman_file_read(dir, &record, err);
    deadman_clock_read(&now, boot_id);
    if (code == ERR_NOT_FOUND || (code == ERR_OK && !deadman_due(&record, &now)))
        return ERR_OK;
    if (code != ERR_OK)
        return code;
    int len = snprintf(folder, sizeof folder, "%s/../..", dir);
    if (len >= (int)sizeof folder)
        return err_set(err, ERR_SIZE, "%s: the path is too long", dir);
    if ((code = folder_lock_wrest(folder, &lock_fd, err)))
        return code;
    code = deadman_file_read(dir, &record, err); /* the agent's last word counts */
    if (code == ERR_OK && deadman_due(&record, &now))
        code = deadman_file_fire(dir, &record, err);
    (void)close(lock_fd);
    return code == ERR_NOT_FOUND ? ERR_OK : code;
}
