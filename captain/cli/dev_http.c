/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/dev_http.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"

enum { REQUEST_MAX = 256 };

struct get {
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    struct loop_timer timer;
    dev_http_fn fn;
    void *arg;
    char request[REQUEST_MAX];
    char answer[DEV_HTTP_MAX_BYTES + 1];
    size_t len;
};

static void on_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

/* "HTTP/1.0 200 OK" -> 200; 0 when it is none or not whole. */
static int status_of(struct get *get, struct bytes *ret_body)
{
    get->answer[get->len] = '\0';
    const char *head_end = strstr(get->answer, "\r\n\r\n");
    uint64_t status;
    char digits[4] = "";
    if (!head_end || strncmp(get->answer, "HTTP/1.", 7) != 0 || get->len < 12)
        return 0;
    memcpy(digits, get->answer + 9, 3);
    if (str_u64(digits, 599, &status))
        return 0;
    const char *body = head_end + 4;
    *ret_body = bytes_of(body, get->len - (size_t)(body - get->answer));
    return (int)status;
}

static void finish(struct get *get, bool whole)
{
    if (uv_is_closing((uv_handle_t *)&get->tcp))
        return;
    struct bytes body = {0};
    loop_timer_stop(&get->timer);
    int status = whole ? status_of(get, &body) : 0;
    get->fn(get->arg, status, body);
    uv_close((uv_handle_t *)&get->tcp, on_closed);
}

static void on_timeout(void *arg)
{
    finish(arg, false);
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct get *get = handle->data;
    (void)suggested;
    *ret = uv_buf_init(get->answer + get->len, (unsigned)(DEV_HTTP_MAX_BYTES - get->len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct get *get = stream->data;
    (void)buf;
    if (n < 0) {
        finish(get, n == UV_EOF);
        return;
    }
    get->len += (size_t)n;
    if (get->len == DEV_HTTP_MAX_BYTES)
        finish(get, false);
}

static void on_written(uv_write_t *write, int status)
{
    if (status < 0 && status != UV_ECANCELED)
        finish(write->data, false);
}

static void on_connect(uv_connect_t *connect, int status)
{
    struct get *get = connect->data;
    if (status == UV_ECANCELED)
        return;
    uv_buf_t buf = uv_buf_init(get->request, (unsigned)strlen(get->request));
    if (status < 0 || uv_write(&get->write, (uv_stream_t *)&get->tcp, &buf, 1, on_written) ||
        uv_read_start((uv_stream_t *)&get->tcp, on_room, on_read))
        finish(get, false);
}

static void on_refused(void *arg)
{
    finish(arg, false);
}

void dev_http_get(struct loop *loop, uint16_t port, const char *path, dev_http_fn fn, void *arg)
{
    struct get *get = mem_new(1, sizeof *get);
    get->fn = fn;
    get->arg = arg;
    get->tcp.data = get->connect.data = get->write.data = get;
    (void)snprintf(get->request, sizeof get->request,
                   "GET %s HTTP/1.0\r\nHost: 127.0.0.1:%u\r\nConnection: close\r\n\r\n", path,
                   (unsigned)port);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (void)uv_tcp_init(loop_uv(loop), &get->tcp); /* on Linux it only fills the struct */
    bool started = uv_tcp_connect(&get->connect, &get->tcp, (const struct sockaddr *)&address,
                                  on_connect) == 0;
    loop_timer_at(loop, &get->timer, started ? loop_now_ms(loop) + DEV_HTTP_TIMEOUT_MS : 0,
                  started ? on_timeout : on_refused, get);
}
