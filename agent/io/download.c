/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/io/download.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/io/spawn.h"
#include "agent/io/takeover.h"
#include "common/base/mem.h"
#include "common/file.h"
#include "common/hash.h"

enum {
    ARGUMENTS_MAX = 64,
    ARGUMENTS_BYTES_MAX = 64 << 10,
    LINE_BYTES = 1024,
    LOW_SPEED_BYTES = 1000,
    LOW_SPEED_S = 30,
    PATH_BYTES = 4096,
};

struct download {
    struct loop *loop;
    download_progress_fn progress;
    download_done_fn done;
    void *arg;
    pid_t pid;
    struct loop_process *process; /* NULL: it has ended */
    struct loop_reader *reader;
    int out_fd;
    char line[LINE_BYTES]; /* what came of the current line */
    size_t line_len;
    bool told; /* the last word (done or error) came, result has it */
    struct err result;
};

/* ---- the command line of the helper ---- */

struct command {
    struct arena arena;
    const char *argv[ARGUMENTS_MAX + 1];
    size_t len;
    bool full;
};

static void add(struct command *command, const char *name, const char *value)
{
    if (command->len + 2 > ARGUMENTS_MAX) {
        command->full = true;
        return;
    }
    command->argv[command->len++] = name;
    if (value != NULL)
        command->argv[command->len++] = value;
}

static void add_number(struct command *command, const char *name, uint64_t value)
{
    const char *text = arena_printf(&command->arena, "%" PRIu64, value);
    if (text == NULL)
        command->full = true;
    else
        add(command, name, text);
}

static void add_low_speed(struct command *command, const struct download_request *request)
{
    uint32_t bytes = request->low_speed_bytes != 0 ? request->low_speed_bytes : LOW_SPEED_BYTES;
    uint32_t seconds = request->low_speed_s != 0 ? request->low_speed_s : LOW_SPEED_S;
    const char *text = arena_printf(&command->arena, "%u/%u", bytes, seconds);
    add(command, "--low-speed", text);
}

static enum err_code finish_command(const struct command *command, struct err *err)
{
    return command->full
               ? err_set(err, ERR_FULL, "a transfer takes at most %d arguments", ARGUMENTS_MAX)
               : ERR_OK;
}

static enum err_code build_unpack(struct command *command, const struct download_unpack *request,
                                  struct err *err)
{
    add(command, request->helper, NULL);
    add(command, "--unpack-to", request->to);
    add_number(command, "--unpack-bytes-max", request->bytes_max);
    add_number(command, "--unpack-files-max", request->files_max);
    if (request->user != NULL)
        add(command, "--user", request->user);
    return finish_command(command, err);
}

static enum err_code build(struct command *command, const struct download_request *request,
                           struct err *err)
{
    char hex[DIGEST_HEX];
    add(command, request->helper, NULL);
    for (size_t i = 0; request->urls[i] != NULL; i++)
        add(command, "--url", request->urls[i]);
    add(command, "--to", request->to);
    add_number(command, "--max-bytes", request->max_bytes);
    add_number(command, "--size", request->size_bytes);
    if (request->sha256 != NULL) {
        str_hex(bytes_of(request->sha256, DIGEST_BYTES), hex);
        add(command, "--sha256", arena_strdup(&command->arena, hex));
    }
    add_low_speed(command, request);
    if (request->hash_later)
        add(command, "--hash-later", NULL);
    if (request->hash_is_proof)
        add(command, "--hash-is-proof", NULL);
    if (request->ca_path != NULL)
        add(command, "--ca", request->ca_path);
    if (request->user != NULL)
        add(command, "--user", request->user);
    return finish_command(command, err);
}

/* ---- the folders it may write ---- */

/* The helper's user could have put a link where a folder was, to be given what the link names: none
 * is followed. */
static enum err_code give_parent(const char *path, const struct passwd *user, struct err *err)
{
    char folder[PATH_BYTES];
    struct stat st;
    if (str_copy(folder, sizeof folder, path) != ERR_OK || strrchr(folder, '/') == NULL)
        return err_set(err, ERR_USAGE, "%s is no absolute path", path);
    *strrchr(folder, '/') = '\0';
    int fd = takeover_open_folder(folder);
    if (fd < 0)
        return err_sys(err, errno, "opening folder %s (links are not followed here)", folder);
    enum err_code code = ERR_OK;
    if (fstat(fd, &st) != 0 ||
        (st.st_uid != user->pw_uid && fchown(fd, user->pw_uid, user->pw_gid) != 0))
        code = err_sys(err, errno, "giving folder %s to user %s", folder, user->pw_name);
    (void)close(fd);
    return code;
}

static enum err_code give_folder(const char *to, const char *name, struct err *err)
{
    if (name == NULL || geteuid() != 0)
        return ERR_OK;
    const struct passwd *user = getpwnam(name);
    if (user == NULL || user->pw_uid == 0)
        return err_set(err, ERR_DENIED, "user %s for transfers does not exist, or is root", name);
    return give_parent(to, user, err);
}

/* ---- its words ---- */

static void take_error(struct download *download, const char *text)
{
    char number[8];
    uint64_t code = 0;
    size_t len = strcspn(text, " ");
    if (len < sizeof number) {
        memcpy(number, text, len);
        number[len] = '\0';
        if (str_u64(number, ERR_TIMEOUT, &code) != ERR_OK || code == ERR_OK)
            code = ERR_FAILED;
    }
    const char *sentence = text[len] == ' ' ? text + len + 1 : "no reason given";
    (void)err_set(&download->result, code == 0 ? ERR_FAILED : (enum err_code)code, "%s", sentence);
    download->told = true;
}

static void take_progress(const struct download *download, char *text)
{
    uint64_t done_bytes = 0;
    uint64_t total_bytes = 0;
    char *space = strchr(text, ' ');
    if (space == NULL || download->progress == NULL)
        return;
    *space = '\0';
    if (str_u64(text, UINT64_MAX, &done_bytes) == ERR_OK &&
        str_u64(space + 1, UINT64_MAX, &total_bytes) == ERR_OK)
        download->progress(download->arg, done_bytes, total_bytes);
}

static void take_line(struct download *download)
{
    char *line = download->line;
    if (download->told)
        return; /* nothing counts after the last word */
    if (strncmp(line, "progress ", 9) == 0) {
        take_progress(download, line + 9);
    } else if (strncmp(line, "error ", 6) == 0) {
        take_error(download, line + 6);
    } else if (strncmp(line, "done ", 5) == 0) {
        download->result = (struct err){.code = ERR_OK};
        download->told = true;
    }
}

static void take_bytes(struct download *download, const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (data[i] == '\n') {
            download->line[download->line_len] = '\0';
            take_line(download);
            download->line_len = 0;
        } else if (download->line_len + 1 < sizeof download->line) {
            download->line[download->line_len++] = data[i];
        }
    }
}

/* Reads what is there; bounded per call, so that a helper gone mad does not hold the loop. */
static ssize_t read_some(struct download *download)
{
    char data[4096];
    ssize_t got = read(download->out_fd, data, sizeof data);
    if (got > 0)
        take_bytes(download, data, (size_t)got);
    return got;
}

static void on_output(void *arg, int fd)
{
    struct download *download = arg;
    (void)fd;
    ssize_t got = read_some(download);
    bool over = got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
    if (over) { /* the end of the process tells the rest */
        loop_reader_close(download->reader);
        download->reader = NULL;
    }
}

static void close_output(struct download *download)
{
    loop_reader_close(download->reader);
    download->reader = NULL;
    if (download->out_fd >= 0)
        (void)close(download->out_fd);
    download->out_fd = -1;
}

static void no_result(struct err *ret, int status)
{
    char how[32];
    str_format_exit(status, how);
    (void)err_set(ret, ERR_FAILED, "captain-fetch ended without a result (%s)", how);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SPAWN_NO_PROGRAM)
        (void)err_hint(ret, "see fetch.helper in the configuration: can it be started");
}

static void on_end(void *arg, int status)
{
    struct download *download = arg;
    download->process = NULL;
    (void)kill(-download->pid, SIGKILL); /* what it left behind */
    while (download->reader != NULL && !download->told && read_some(download) > 0) {
    }
    close_output(download);
    bool well = status == 0;
    if (!download->told || (download->result.code == ERR_OK && !well))
        no_result(&download->result, status);
    download->done(download->arg, &download->result);
    mem_free(download);
}

/* ---- start and cancel ---- */

/* No secret or setting of the agent but what a transfer needs. */
static const char *const *helper_env(struct arena *arena)
{
    static const char *const kept[] = {
        "PATH",         "http_proxy",   "https_proxy",  "HTTPS_PROXY",   "all_proxy",
        "ALL_PROXY",    "no_proxy",     "NO_PROXY",     "SSL_CERT_FILE", "SSL_CERT_DIR",
        "ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS"};
    const char **env = arena_alloc(arena, sizeof(char *) * (ARRAY_LEN(kept) + 1));
    size_t len = 0;
    for (size_t i = 0; env != NULL && i < ARRAY_LEN(kept); i++) {
        const char *value = getenv(kept[i]);
        const char *entry = value != NULL ? arena_printf(arena, "%s=%s", kept[i], value) : NULL;
        if (entry != NULL)
            env[len++] = entry;
    }
    return env;
}

static enum err_code start_helper(struct download *download, struct command *command, int in_fd,
                                  struct err *err)
{
    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC) != 0)
        return err_sys(err, errno, "making a pipe");
    download->out_fd = pipe_fds[0];
    struct spawn_spec spec = {
        .argv = command->argv,
        .env = helper_env(&command->arena),
        .in_fd = in_fd,
        .out_fd = pipe_fds[1],
        .err_fd = STDERR_FILENO,
        .gate_fd = -1,
    };
    enum err_code code = spawn_process(&spec, &download->pid, err);
    (void)close(pipe_fds[1]);
    return code;
}

static enum err_code watch(struct download *download, struct err *err)
{
    enum err_code code = loop_reader_open(download->loop, download->out_fd, on_output, download,
                                          &download->reader, err);
    if (code == ERR_OK)
        code = loop_process_watch(download->loop, download->pid, on_end, download,
                                  &download->process, err);
    if (code != ERR_OK)
        spawn_abandon(download->loop, NULL, download->pid);
    return code;
}

static struct download *download_new(struct loop *loop, download_progress_fn progress,
                                     download_done_fn done, void *arg)
{
    struct download *download = mem_new(1, sizeof *download);
    *download = (struct download){
        .loop = loop, .progress = progress, .done = done, .arg = arg, .out_fd = -1};
    return download;
}

/* The command is complete. Frees the download when it cannot be started. */
static enum err_code start(struct download *download, struct command *command, int in_fd,
                           struct download **ret, struct err *err)
{
    enum err_code code = start_helper(download, command, in_fd, err);
    if (code == ERR_OK)
        code = watch(download, err);
    if (code == ERR_OK) {
        *ret = download;
        return ERR_OK;
    }
    close_output(download);
    mem_free(download);
    return code;
}

enum err_code download_start(struct loop *loop, const struct download_request *request,
                             download_progress_fn progress, download_done_fn done, void *arg,
                             struct download **ret, struct err *err)
{
    struct command *command DEFER(mem_free_ref) = mem_new(1, sizeof *command);
    arena_init(&command->arena, ARGUMENTS_BYTES_MAX);
    enum err_code code = build(command, request, err);
    if (code == ERR_OK)
        code = give_folder(request->to, request->user, err);
    if (code == ERR_OK)
        code = start(download_new(loop, progress, done, arg), command, -1, ret, err);
    arena_fini(&command->arena);
    return code;
}

enum err_code download_unpack_start(struct loop *loop, const struct download_unpack *request,
                                    download_done_fn done, void *arg, struct download **ret,
                                    struct err *err)
{
    struct command *command DEFER(mem_free_ref) = mem_new(1, sizeof *command);
    arena_init(&command->arena, ARGUMENTS_BYTES_MAX);
    enum err_code code = build_unpack(command, request, err);
    if (code == ERR_OK)
        code = give_folder(request->to, request->user, err);
    if (code == ERR_OK)
        code = start(download_new(loop, NULL, done, arg), command, request->archive_fd, ret, err);
    arena_fini(&command->arena);
    return code;
}

void download_cancel(struct download *download)
{
    if (download == NULL)
        return;
    spawn_abandon(download->loop, download->process, download->pid);
    close_output(download);
    mem_free(download);
}

/* ---- few bytes, known by their hash ---- */

struct proven {
    struct loop *loop;
    struct err result;
};

static void on_proven(void *arg, const struct err *err)
{
    struct proven *proven = arg;
    proven->result = *err;
    loop_stop(proven->loop);
}

static void on_terminate(void *arg)
{
    struct proven *proven = arg;
    (void)err_set(&proven->result, ERR_INTERRUPTED, "asked to end");
    loop_stop(proven->loop);
}

static enum err_code run_proven(struct proven *proven, const struct download_request *request,
                                struct err *err)
{
    struct download *download = NULL;
    enum err_code code =
        download_start(proven->loop, request, NULL, on_proven, proven, &download, err);
    if (code != ERR_OK)
        return code;
    loop_on_terminate(proven->loop, on_terminate, proven);
    loop_run(proven->loop);
    if (proven->result.code == ERR_INTERRUPTED)
        download_cancel(download);
    *err = proven->result;
    return proven->result.code;
}

static enum err_code fetch_proven(const struct download_proven *request, const char *to,
                                  struct err *err)
{
    const char *const urls[] = {request->url, NULL};
    struct download_request plain = {
        .helper = request->helper,
        .user = request->user,
        .urls = urls,
        .to = to,
        .max_bytes = DOWNLOAD_PROVEN_MAX_BYTES,
        .sha256 = request->sha256,
        .hash_is_proof = true,
    };
    struct proven proven = {.result = {.code = ERR_OK}};
    enum err_code code = loop_open(&proven.loop, err);
    if (code == ERR_OK)
        code = run_proven(&proven, &plain, err);
    loop_close(proven.loop);
    return code;
}

static enum err_code read_proven(const struct download_proven *request, const char *path,
                                 struct arena *arena, struct bytes *ret, struct err *err)
{
    struct bytes found;
    uint8_t digest[DIGEST_BYTES];
    enum err_code code = takeover_read(path, DOWNLOAD_PROVEN_MAX_BYTES, arena, &found, err);
    if (code != ERR_OK)
        return code;
    hash_bytes(found, digest);
    if (memcmp(digest, request->sha256, DIGEST_BYTES) != 0)
        return err_set(err, ERR_HASH, "what was fetched has not the sha256 that it must have");
    *ret = found;
    return ERR_OK;
}

enum err_code download_proven(const struct download_proven *request, struct arena *arena,
                              struct bytes *ret, struct err *err)
{
    char folder[PATH_BYTES];
    char to[PATH_BYTES + 8];
    int len = snprintf(folder, sizeof folder, "%s/fetch-XXXXXX", request->folder);
    if (len < 0 || (size_t)len >= sizeof folder)
        return err_set(err, ERR_SIZE, "%s is too long a path", request->folder);
    if (mkdtemp(folder) == NULL)
        return err_sys(err, errno, "making a folder in %s", request->folder);
    (void)snprintf(to, sizeof to, "%s/bundle", folder);
    enum err_code code = fetch_proven(request, to, err);
    if (code == ERR_OK)
        code = read_proven(request, to, arena, ret, err);
    enum err_code removed = file_remove_tree(folder, code == ERR_OK ? err : NULL);
    return code != ERR_OK ? code : removed;
}
