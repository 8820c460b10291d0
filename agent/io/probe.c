/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/io/probe.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/io/child.h"
#include "agent/io/spawn.h"
#include "common/base/mem.h"

enum {
    HOST_MAX = 256,
    PORT_MAX = 6,
    PATH_BYTES_MAX = 1024,
    REQUEST_MAX = 1600,
    ANSWER_MAX_BYTES = 64 << 10,
    ADDRESSES_MAX = 4, /* of one name, tried in order */
    TEXT_MAX = 160,
    HTTP_PORT = 80,
};

struct place {
    char host[HOST_MAX]; /* without brackets */
    char port[PORT_MAX];
    char path[PATH_BYTES_MAX]; /* HTTP */
};

struct probe {
    struct loop *loop;
    enum probe_kind kind;
    uint32_t timeout_ms;
    uint32_t expect_status;
    char *expect_body; /* NULL: any */
    struct place place;
    probe_done_fn done;
    void *arg;
    struct loop_timer timer;
    bool over;     /* done ran or never will; waits for libuv to let go */
    unsigned held; /* by libuv: the socket, the lookup */

    struct sockaddr_storage addresses[ADDRESSES_MAX];
    unsigned addresses_len, address_at;
    uv_getaddrinfo_t lookup;
    bool looking;
    uv_tcp_t tcp;
    bool tcp_open;
    uv_connect_t connect;
    uv_write_t write;
    char request[REQUEST_MAX];
    char *answer; /* grows up to ANSWER_MAX_BYTES and a NUL */
    size_t answer_len, answer_cap;

    pid_t pid;
    struct loop_process *process;
};

/* ---- the end ---- */

static void let_go(struct probe *probe)
{
    if (!probe->over || probe->held > 0)
        return;
    mem_free(probe->expect_body);
    mem_free(probe->answer);
    mem_free(probe);
}

static void on_tcp_closed(uv_handle_t *handle)
{
    struct probe *probe = handle->data;
    probe->held--;
    let_go(probe);
}

static void close_tcp(struct probe *probe)
{
    if (probe->tcp_open)
        uv_close((uv_handle_t *)&probe->tcp, on_tcp_closed);
    probe->tcp_open = false;
}

static void retire(struct probe *probe)
{
    probe->over = true;
    loop_timer_stop(&probe->timer);
    close_tcp(probe);
    if (probe->looking)
        (void)uv_cancel((uv_req_t *)&probe->lookup); /* its callback runs in either case */
    if (probe->process != NULL)
        spawn_abandon(probe->loop, probe->process, probe->pid);
    probe->process = NULL;
    let_go(probe);
}

static void finish(struct probe *probe, bool ok, const char *text)
{
    if (probe->over)
        return;
    probe->held++; /* done may take its time with text */
    probe_done_fn done = probe->done;
    void *arg = probe->arg;
    retire(probe);
    done(arg, ok, text);
    probe->held--;
    let_go(probe);
}

void probe_cancel(struct probe *probe)
{
    if (probe != NULL && !probe->over)
        retire(probe);
}

static void finish_uv(struct probe *probe, const char *what, int failed)
{
    char text[TEXT_MAX];
    if (failed == UV_ECONNREFUSED)
        (void)snprintf(text, sizeof text, "connection refused");
    else
        (void)snprintf(text, sizeof text, "%s: %s", what, uv_strerror(failed));
    finish(probe, false, text);
}

static void on_timeout(void *arg)
{
    struct probe *probe = arg;
    char text[TEXT_MAX];
    char duration[32];
    str_format_duration(probe->timeout_ms, duration);
    (void)snprintf(text, sizeof text, "no answer in %s", duration);
    finish(probe, false, text);
}

/* ---- HTTP ---- */

/* "HTTP/1.1 200 ..." */
static bool read_status(const struct probe *probe, uint32_t *ret)
{
    const char *text = probe->answer;
    if (text == NULL || strncmp(text, "HTTP/1.", 7) != 0 || strlen(text) < 12 || text[8] != ' ')
        return false;
    char digits[4] = {text[9], text[10], text[11], '\0'};
    uint64_t value = 0;
    if (str_u64(digits, 999, &value) != ERR_OK || value < 100)
        return false;
    *ret = (uint32_t)value;
    return true;
}

static void finish_http(struct probe *probe)
{
    char text[TEXT_MAX];
    uint32_t status = 0;
    if (!read_status(probe, &status)) {
        finish(probe, false, "no http answer");
        return;
    }
    if (status != probe->expect_status) {
        (void)snprintf(text, sizeof text, "http %u", status);
        finish(probe, false, text);
        return;
    }
    const char *body = strstr(probe->answer, "\r\n\r\n");
    bool found = probe->expect_body == NULL ||
                 (body != NULL && strstr(body + 4, probe->expect_body) != NULL);
    finish(probe, found, found ? "" : "the body is not as expected");
}

/* Decided before the end of the body when nothing of it matters. */
static bool knows_enough(const struct probe *probe)
{
    if (probe->answer_len >= ANSWER_MAX_BYTES)
        return true;
    if (probe->answer == NULL)
        return false;
    const char *body = strstr(probe->answer, "\r\n\r\n");
    if (body == NULL)
        return false;
    uint32_t status = 0;
    bool wrong = !read_status(probe, &status) || status != probe->expect_status;
    return wrong || probe->expect_body == NULL || strstr(body + 4, probe->expect_body) != NULL;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct probe *probe = handle->data;
    (void)suggested;
    size_t free_bytes = probe->answer_cap - probe->answer_len;
    if (free_bytes <= 1 && probe->answer_cap <= ANSWER_MAX_BYTES) {
        size_t cap = probe->answer_cap == 0 ? 2048 : probe->answer_cap * 2;
        cap = cap > ANSWER_MAX_BYTES ? ANSWER_MAX_BYTES + 1 : cap;
        probe->answer = mem_grow(probe->answer, probe->answer_cap, cap, 1);
        probe->answer_cap = cap;
        free_bytes = cap - probe->answer_len;
    }
    *buf = uv_buf_init(probe->answer + probe->answer_len, (unsigned)(free_bytes - 1));
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf)
{
    struct probe *probe = stream->data;
    (void)buf;
    if (probe->over || got == 0)
        return;
    if (got < 0 && got != UV_EOF && probe->answer_len == 0) {
        finish_uv(probe, "reading", (int)got);
        return;
    }
    if (got > 0) {
        probe->answer_len += (size_t)got;
        probe->answer[probe->answer_len] = '\0';
        if (!knows_enough(probe))
            return;
    }
    finish_http(probe);
}

static void on_written(uv_write_t *req, int failed)
{
    struct probe *probe = req->data;
    /* A server may answer and close without reading everything: then the answer counts. */
    if (failed != 0 && failed != UV_ECANCELED && failed != UV_EPIPE && failed != UV_ECONNRESET)
        finish_uv(probe, "writing", failed);
}

static void send_request(struct probe *probe)
{
    uv_buf_t buf = uv_buf_init(probe->request, (unsigned)strlen(probe->request));
    probe->write.data = probe;
    int failed = uv_write(&probe->write, (uv_stream_t *)&probe->tcp, &buf, 1, on_written);
    if (failed == 0)
        failed = uv_read_start((uv_stream_t *)&probe->tcp, on_alloc, on_read);
    if (failed != 0)
        finish_uv(probe, "sending", failed);
}

/* ---- connecting ---- */

static void connect_next(struct probe *probe);

static void on_tcp_closed_for_next(uv_handle_t *handle)
{
    struct probe *probe = handle->data;
    probe->held--;
    if (probe->over)
        let_go(probe);
    else
        connect_next(probe);
}

static void on_connected(uv_connect_t *req, int failed)
{
    struct probe *probe = req->data;
    if (probe->over)
        return;
    if (failed != 0 && probe->address_at < probe->addresses_len) {
        uv_close((uv_handle_t *)&probe->tcp, on_tcp_closed_for_next);
        probe->tcp_open = false;
        return;
    }
    if (failed != 0)
        finish_uv(probe, "connecting", failed);
    else if (probe->kind == PROBE_TCP)
        finish(probe, true, "");
    else
        send_request(probe);
}

static void connect_next(struct probe *probe)
{
    const struct sockaddr *to = (struct sockaddr *)&probe->addresses[probe->address_at++];
    int failed = uv_tcp_init(loop_uv(probe->loop), &probe->tcp);
    if (failed == 0) {
        probe->tcp.data = probe;
        probe->connect.data = probe;
        probe->tcp_open = true;
        probe->held++;
        failed = uv_tcp_connect(&probe->connect, &probe->tcp, to, on_connected);
    }
    if (failed != 0)
        finish_uv(probe, "connecting", failed);
}

static void add_address(struct probe *probe, const void *address, size_t len)
{
    if (probe->addresses_len < ADDRESSES_MAX && len <= sizeof probe->addresses[0])
        memcpy(&probe->addresses[probe->addresses_len++], address, len);
}

static void on_found(uv_getaddrinfo_t *req, int failed, struct addrinfo *list)
{
    struct probe *probe = req->data;
    probe->looking = false;
    probe->held--;
    for (struct addrinfo *one = list; one != NULL && failed == 0; one = one->ai_next)
        add_address(probe, one->ai_addr, one->ai_addrlen);
    uv_freeaddrinfo(list);
    if (probe->over)
        let_go(probe);
    else if (failed != 0 || probe->addresses_len == 0)
        finish_uv(probe, "looking up the name", failed != 0 ? failed : UV_EAI_NONAME);
    else
        connect_next(probe);
}

static void look_up(struct probe *probe)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    probe->lookup.data = probe;
    int failed = uv_getaddrinfo(loop_uv(probe->loop), &probe->lookup, on_found, probe->place.host,
                                probe->place.port, &hints);
    if (failed != 0) {
        finish_uv(probe, "looking up the name", failed);
        return;
    }
    probe->looking = true;
    probe->held++;
}

/* Addresses that need no lookup: libuv's lookup would start its thread pool. */
static void add_known(struct probe *probe)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    uint64_t port = 0;
    bool local = str_equal(probe->place.host, "localhost");
    if (str_u64(probe->place.port, UINT16_MAX, &port) != ERR_OK)
        return;
    if (uv_ip4_addr(local ? "127.0.0.1" : probe->place.host, (int)port, &v4) == 0)
        add_address(probe, &v4, sizeof v4);
    if (uv_ip6_addr(local ? "::1" : probe->place.host, (int)port, &v6) == 0)
        add_address(probe, &v6, sizeof v6);
}

static void begin_network(void *arg)
{
    struct probe *probe = arg;
    loop_timer_stop(&probe->timer);
    loop_timer_at(probe->loop, &probe->timer, loop_now_ms(probe->loop) + probe->timeout_ms,
                  on_timeout, probe);
    add_known(probe);
    if (probe->addresses_len > 0)
        connect_next(probe);
    else
        look_up(probe);
}

/* ---- addresses ---- */

/* "host:port", "[v6]:port"; without a port the default one (0: it must be there). */
static bool read_place(const char *text, size_t len, unsigned default_port, struct place *place)
{
    bool bracket = len > 0 && text[0] == '[';
    const char *close = bracket ? memchr(text, ']', len) : memchr(text, ':', len);
    size_t host_len = close == NULL ? len : (size_t)(close - text);
    const char *rest = text + host_len + (bracket ? 1 : 0);
    if ((bracket && close == NULL) || host_len - bracket == 0 || host_len - bracket >= HOST_MAX)
        return false;
    memcpy(place->host, text + bracket, host_len - bracket);
    place->host[host_len - bracket] = '\0';
    uint64_t port = default_port;
    size_t rest_len = len - (size_t)(rest - text);
    if (rest_len > 0) {
        char digits[PORT_MAX];
        if (rest[0] != ':' || rest_len - 1 >= sizeof digits)
            return false;
        memcpy(digits, rest + 1, rest_len - 1);
        digits[rest_len - 1] = '\0';
        if (str_u64(digits, UINT16_MAX, &port) != ERR_OK)
            return false;
    }
    (void)snprintf(place->port, sizeof place->port, "%u", (unsigned)(uint16_t)port);
    return port != 0;
}

static bool is_printable(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text <= 0x20 || *text >= 0x7f)
            return false;
    }
    return true;
}

static bool read_url(const char *url, struct place *place)
{
    static const char scheme[] = "http://";
    if (strncmp(url, scheme, sizeof scheme - 1) != 0 || !is_printable(url))
        return false;
    const char *host = url + sizeof scheme - 1;
    size_t len = strcspn(host, "/?#");
    const char *path = host + len;
    size_t path_len = strcspn(path, "#");
    if (memchr(host, '@', len) != NULL)
        return false;
    int put = snprintf(place->path, sizeof place->path, "%s%.*s", path[0] == '/' ? "" : "/",
                       (int)path_len, path);
    return put > 0 && (size_t)put < sizeof place->path && read_place(host, len, HTTP_PORT, place);
}

static enum err_code read_target(struct probe *probe, const struct probe_spec *spec,
                                 struct err *err)
{
    bool http = spec->kind == PROBE_HTTP;
    const char *text = http ? spec->url : spec->address;
    text = text != NULL ? text : "";
    bool good = http ? read_url(text, &probe->place)
                     : is_printable(text) && read_place(text, strlen(text), 0, &probe->place);
    if (!good)
        return err_set(err, ERR_MALFORMED, "\"%s\" is no %s", text,
                       http ? "address of the form http://host:port/path" : "host:port");
    bool v6 = strchr(probe->place.host, ':') != NULL;
    (void)snprintf(
        probe->request, sizeof probe->request,
        "GET %s HTTP/1.1\r\nHost: %s%s%s:%s\r\nUser-Agent: captain-agent/" CAPTAIN_VERSION
        "\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        probe->place.path, v6 ? "[" : "", probe->place.host, v6 ? "]" : "", probe->place.port);
    return ERR_OK;
}

/* ---- EXEC ---- */

static void on_exit_status(void *arg, int status)
{
    struct probe *probe = arg;
    char how[32], text[TEXT_MAX];
    probe->process = NULL;
    (void)kill(-probe->pid, SIGKILL); /* what it left behind */
    str_format_exit(status, how);
    const bool missing = WIFEXITED(status) && WEXITSTATUS(status) == SPAWN_NO_PROGRAM;
    (void)snprintf(text, sizeof text, "%s%s", how, missing ? ": the command cannot be run" : "");
    bool ok = status == 0;
    finish(probe, ok, ok ? "" : text);
}

static enum err_code start_command(struct probe *probe, const struct probe_spec *spec,
                                   struct err *err)
{
    if (spec->argv == NULL || spec->argv[0] == NULL)
        return err_set(err, ERR_MALFORMED, "the check has no command");
    int out = -1;
    if (spec->log_path && child_open_log(spec->log_path, spec->user, &out, err) != ERR_OK)
        return err->code;
    struct spawn_spec command = {
        .argv = spec->argv,
        .env = spec->env,
        .folder = spec->folder,
        .out_fd = out,
        .err_fd = out,
        .gate_fd = -1,
        .user = spec->user,
    };
    enum err_code code = spawn_process(&command, &probe->pid, err);
    if (out >= 0)
        (void)close(out);
    if (code == ERR_OK) {
        code = loop_process_watch(probe->loop, probe->pid, on_exit_status, probe, &probe->process,
                                  err);
        if (code != ERR_OK)
            spawn_abandon(probe->loop, NULL, probe->pid);
    }
    if (code == ERR_OK)
        loop_timer_at(probe->loop, &probe->timer, loop_now_ms(probe->loop) + probe->timeout_ms,
                      on_timeout, probe);
    return code;
}

/* ---- start ---- */

enum err_code probe_start(struct loop *loop, const struct probe_spec *spec, probe_done_fn done,
                          void *arg, struct probe **ret, struct err *err)
{
    struct probe *probe = mem_new(1, sizeof *probe);
    *probe = (struct probe){
        .loop = loop,
        .kind = spec->kind,
        .timeout_ms = spec->timeout_ms,
        .expect_status = spec->expect_status != 0 ? spec->expect_status : 200,
        .done = done,
        .arg = arg,
    };
    bool any_body = spec->expect_body == NULL || spec->expect_body[0] == '\0';
    probe->expect_body = any_body ? NULL : mem_strdup(spec->expect_body);
    enum err_code code =
        spec->kind == PROBE_EXEC ? start_command(probe, spec, err) : read_target(probe, spec, err);
    if (code != ERR_OK) {
        retire(probe);
        return code;
    }
    /* In the next turn: done must not run before we return. */
    if (spec->kind != PROBE_EXEC)
        loop_timer_at(loop, &probe->timer, loop_now_ms(loop), begin_network, probe);
    *ret = probe;
    return ERR_OK;
}
