/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/str.h"

enum { LINE_BYTES = 1024, VARIABLES_MAX = 16, VARIABLE_BYTES = 4096, LOW_SPEED_S = 10 };

struct fetch {
    struct loop *loop;
    fetch_done_fn done;
    void *arg;
    pid_t pid;
    struct loop_process *process;
    struct loop_reader *reader;
    struct loop_timer timer;
    int out_fd;
    char line[LINE_BYTES];
    size_t line_len;
    bool told; /* the last word came, result has it */
    bool late;
    struct err result;
};

/* Its words. */

static void take_error(struct fetch *fetch, const char *text)
{
    char number[8] = "";
    uint64_t code = 0;
    const size_t len = strcspn(text, " ");
    if (len < sizeof number)
        memcpy(number, text, len);
    if (str_u64(number, ERR_TIMEOUT, &code) != ERR_OK || code == ERR_OK)
        code = ERR_FAILED;
    (void)err_set(&fetch->result, (enum err_code)code, "%s",
                  text[len] ? text + len + 1 : "no reason given");
}

static void take_line(struct fetch *fetch)
{
    const bool error = strncmp(fetch->line, "error ", 6) == 0;
    if (fetch->told || (!error && strncmp(fetch->line, "done ", 5) != 0))
        return;
    fetch->told = true;
    if (error)
        take_error(fetch, fetch->line + 6);
}

/* Bounded per call, so that a helper gone mad does not hold the loop. */
static ssize_t read_some(struct fetch *fetch)
{
    char data[1024];
    const ssize_t got = read(fetch->out_fd, data, sizeof data);
    for (ssize_t i = 0; i < got; i++) {
        if (data[i] == '\n') {
            fetch->line[fetch->line_len] = '\0';
            take_line(fetch);
            fetch->line_len = 0;
        } else if (fetch->line_len + 1 < sizeof fetch->line) {
            fetch->line[fetch->line_len++] = data[i];
        }
    }
    return got;
}

static void on_output(void *arg, int fd)
{
    struct fetch *fetch = arg;
    (void)fd;
    const ssize_t got = read_some(fetch);
    if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)))
        return;
    loop_reader_close(fetch->reader);
    fetch->reader = NULL; /* the end of the process tells the rest */
}

/* The end. */

static void release(struct fetch *fetch)
{
    loop_timer_stop(&fetch->timer);
    loop_reader_close(fetch->reader);
    if (fetch->out_fd >= 0)
        (void)close(fetch->out_fd);
    mem_free(fetch);
}

static void on_end(void *arg, int status)
{
    struct fetch *fetch = arg;
    while (fetch->reader && !fetch->told && read_some(fetch) > 0) {
    }
    if (fetch->late)
        (void)err_set(&fetch->result, ERR_TIMEOUT, "no answer in time");
    else if (!fetch->told || (fetch->result.code == ERR_OK && status != 0)) {
        char how[32];
        str_format_exit(status, how);
        (void)err_set(&fetch->result, ERR_FAILED, "captain-fetch ended without a result (%s)", how);
    }
    fetch->done(fetch->arg, &fetch->result);
    release(fetch);
}

static void end_it(const struct fetch *fetch)
{
    if (kill(-fetch->pid, SIGKILL) != 0)
        (void)kill(fetch->pid, SIGKILL);
}

static void on_timeout(void *arg)
{
    struct fetch *fetch = arg;
    fetch->late = true;
    end_it(fetch);
}

static void on_reaped(void *arg, int status)
{
    (void)arg, (void)status;
}

void fetch_cancel(struct fetch *fetch)
{
    struct loop_process *reaper = NULL;
    if (!fetch)
        return;
    end_it(fetch);
    loop_process_unwatch(fetch->process);
    /* What cannot be watched stays a zombie until captain ends. */
    (void)!loop_process_watch(fetch->loop, fetch->pid, on_reaped, NULL, &reaper, NULL);
    release(fetch);
}

/* The start. */

/* No secret or setting of captain but what a transfer needs. */
struct variables {
    char text[VARIABLES_MAX][VARIABLE_BYTES];
    char *at[VARIABLES_MAX + 1];
};

static void fill_variables(struct variables *variables)
{
    static const char *const kept[] = {
        "PATH",         "http_proxy",   "https_proxy",  "HTTPS_PROXY",   "all_proxy",
        "ALL_PROXY",    "no_proxy",     "NO_PROXY",     "SSL_CERT_FILE", "SSL_CERT_DIR",
        "ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS"};
    size_t len = 0;
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        const char *value = getenv(kept[i]);
        char *text = variables->text[len];
        int made = value ? snprintf(text, VARIABLE_BYTES, "%s=%s", kept[i], value) : -1;
        if (made >= 0 && made < VARIABLE_BYTES)
            variables->at[len++] = text;
    }
    variables->at[len] = NULL;
}

/* Default signals, in a group of its own. */
static int spawn_with(const char *const *argv, const posix_spawn_file_actions_t *files,
                      pid_t *ret_pid)
{
    sigset_t none, all;
    posix_spawnattr_t attr;
    struct variables *variables DEFER(mem_free_ref) = mem_new(1, sizeof *variables);
    fill_variables(variables);
    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    int failed = posix_spawnattr_init(&attr);
    if (failed)
        return failed;
    (void)posix_spawnattr_setsigmask(&attr, &none);
    (void)posix_spawnattr_setsigdefault(&attr, &all);
    (void)posix_spawnattr_setpgroup(&attr, 0);
    failed = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                 POSIX_SPAWN_SETPGROUP);
    if (!failed)
        failed = posix_spawn(ret_pid, argv[0], files, &attr, (char *const *)(uintptr_t)argv,
                             variables->at);
    (void)posix_spawnattr_destroy(&attr);
    return failed;
}

/* Nothing to read, the pipe to write, our stderr; all else is closed on exec. */
static int spawn(const char *const *argv, int out_fd, pid_t *ret_pid)
{
    posix_spawn_file_actions_t files;
    int failed = posix_spawn_file_actions_init(&files);
    if (failed)
        return failed;
    failed = posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (!failed)
        failed = posix_spawn_file_actions_adddup2(&files, out_fd, STDOUT_FILENO);
    if (!failed)
        failed = spawn_with(argv, &files, ret_pid);
    (void)posix_spawn_file_actions_destroy(&files);
    return failed;
}

static int spawn_helper(const struct fetch_request *request, int out_fd, pid_t *ret_pid)
{
    char max_bytes[24], low_speed[24];
    (void)snprintf(max_bytes, sizeof max_bytes, "%" PRIu64, request->max_bytes);
    (void)snprintf(low_speed, sizeof low_speed, "1/%d", LOW_SPEED_S);
    const char *const argv[] = {request->helper, "--url",   request->url,  "--to",    request->to,
                                "--max-bytes",   max_bytes, "--low-speed", low_speed, NULL};
    return spawn(argv, out_fd, ret_pid);
}

static enum err_code start(struct fetch *fetch, const struct fetch_request *request,
                           struct err *err)
{
    int fds[2];
    struct loop_process *reaper = NULL;
    if (pipe2(fds, O_CLOEXEC) != 0)
        return err_sys(err, errno, "making a pipe");
    fetch->out_fd = fds[0];
    const int failed = spawn_helper(request, fds[1], &fetch->pid);
    (void)close(fds[1]);
    if (failed)
        return err_sys(err, failed, "starting %s", request->helper);
    enum err_code code =
        loop_reader_open(fetch->loop, fetch->out_fd, on_output, fetch, &fetch->reader, err);
    if (code == ERR_OK)
        code = loop_process_watch(fetch->loop, fetch->pid, on_end, fetch, &fetch->process, err);
    if (code != ERR_OK) {
        end_it(fetch);
        (void)!loop_process_watch(fetch->loop, fetch->pid, on_reaped, NULL, &reaper, NULL);
        return code;
    }
    loop_timer_at(fetch->loop, &fetch->timer, loop_now_ms(fetch->loop) + request->timeout_ms,
                  on_timeout, fetch);
    return ERR_OK;
}

enum err_code fetch_start(struct loop *loop, const struct fetch_request *request,
                          fetch_done_fn done, void *arg, struct fetch **ret, struct err *err)
{
    struct fetch *fetch = mem_new(1, sizeof *fetch);
    *fetch = (struct fetch){.loop = loop, .done = done, .arg = arg, .out_fd = -1};
    const enum err_code code = start(fetch, request, err);
    if (code != ERR_OK) {
        release(fetch);
        return code;
    }
    *ret = fetch;
    return ERR_OK;
}
