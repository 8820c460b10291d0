/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/dev_net.h"

#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/str.h"

enum { LOOK_EVERY_MS = 50, BUFFER_BYTES = 16384, BACKLOG = 16, SIDES = 2 };

struct relay;

/* One direction: what is read here is written to the other side before more is read. */
struct side {
    uv_tcp_t tcp;
    uv_write_t write;
    struct relay *relay;
    unsigned number;
    char buffer[BUFFER_BYTES];
};

struct relay {
    struct dev_net *net;
    struct side sides[SIDES];
    uv_connect_t connect;
    unsigned open; /* handles that are not closed yet */
    struct relay *next;
};

struct dev_net {
    struct loop *loop;
    uv_tcp_t listener;
    struct sockaddr_in server;
    char url[64];
    char cut[PATH_MAX + 64];
    struct loop_timer look;
    struct relay *relays;
    bool is_cut, closing, closed;
};

static void free_if_done(struct dev_net *net)
{
    if (net->closed && !net->relays)
        mem_free(net);
}

static void on_closed(uv_handle_t *handle)
{
    struct side *side = handle->data;
    struct relay *relay = side->relay;
    struct dev_net *net = relay->net;
    if (--relay->open > 0)
        return;
    struct relay **place = &net->relays;
    while (*place != relay)
        place = &(*place)->next;
    *place = relay->next;
    mem_free(relay);
    free_if_done(net);
}

static void hang_up(struct relay *relay)
{
    for (unsigned i = 0; i < SIDES; i++)
        if (!uv_is_closing((uv_handle_t *)&relay->sides[i].tcp))
            uv_close((uv_handle_t *)&relay->sides[i].tcp, on_closed);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct side *side = handle->data;
    (void)suggested;
    *ret = uv_buf_init(side->buffer, BUFFER_BYTES);
}

static void on_written(uv_write_t *write, int status)
{
    struct side *from = write->data;
    if (status == UV_ECANCELED)
        return;
    if (status < 0 || uv_read_start((uv_stream_t *)&from->tcp, on_room, on_read))
        hang_up(from->relay);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct side *from = stream->data;
    struct side *to = &from->relay->sides[1 - from->number];
    (void)buf;
    if (n == 0)
        return;
    uv_buf_t data = uv_buf_init(from->buffer, n > 0 ? (unsigned)n : 0);
    if (n > 0)
        (void)uv_read_stop(stream); /* it never fails */
    if (n < 0 || uv_write(&from->write, (uv_stream_t *)&to->tcp, &data, 1, on_written))
        hang_up(from->relay);
}

static void on_connect(uv_connect_t *connect, int status)
{
    struct relay *relay = connect->data;
    if (status == UV_ECANCELED)
        return;
    if (status < 0 || uv_read_start((uv_stream_t *)&relay->sides[0].tcp, on_room, on_read) ||
        uv_read_start((uv_stream_t *)&relay->sides[1].tcp, on_room, on_read))
        hang_up(relay);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct dev_net *net = listener->data;
    if (status < 0)
        return;
    struct relay *relay = mem_new(1, sizeof *relay);
    relay->net = net;
    relay->connect.data = relay;
    for (unsigned i = 0; i < SIDES; i++) {
        struct side *side = &relay->sides[i];
        (void)uv_tcp_init(loop_uv(net->loop), &side->tcp); /* on Linux it only fills the struct */
        side->tcp.data = side->write.data = side;
        side->relay = relay;
        side->number = i;
    }
    relay->open = SIDES;
    relay->next = net->relays;
    net->relays = relay;
    if (uv_accept(listener, (uv_stream_t *)&relay->sides[0].tcp) || net->is_cut ||
        uv_tcp_connect(&relay->connect, &relay->sides[1].tcp, (const struct sockaddr *)&net->server,
                       on_connect))
        hang_up(relay);
}

static void look(void *arg)
{
    struct dev_net *net = arg;
    net->is_cut = access(net->cut, F_OK) == 0;
    for (struct relay *relay = net->relays; net->is_cut && relay; relay = relay->next)
        hang_up(relay);
    loop_timer_at(net->loop, &net->look, loop_now_ms(net->loop) + LOOK_EVERY_MS, look, net);
}

static enum err_code read_server(const char *server, struct sockaddr_in *ret, struct err *err)
{
    static const char local[] = "nats://127.0.0.1:";
    uint64_t port = 0;
    if (strncmp(server, local, sizeof local - 1) != 0 ||
        str_u64(server + sizeof local - 1, UINT16_MAX, &port) || port == 0) {
        err_set(err, ERR_USAGE, "the network to %s cannot be cut", server);
        return err_hint(err, "without --nats it can");
    }
    *ret = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    ret->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return ERR_OK;
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct dev_net *net = handle->data;
    net->closed = true;
    free_if_done(net);
}

void dev_net_close(struct dev_net *net)
{
    if (!net || net->closing)
        return;
    net->closing = true;
    loop_timer_stop(&net->look);
    for (struct relay *relay = net->relays; relay; relay = relay->next)
        hang_up(relay);
    uv_close((uv_handle_t *)&net->listener, on_listener_closed);
}

enum err_code dev_net_open(struct loop *loop, const char *server, const char *cut,
                           struct dev_net **ret, struct err *err)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct sockaddr_in to;
    int size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (read_server(server, &to, err))
        return err->code;
    struct dev_net *net = mem_new(1, sizeof *net);
    net->loop = loop;
    net->server = to;
    (void)snprintf(net->cut, sizeof net->cut, "%s", cut);
    (void)uv_tcp_init(loop_uv(loop), &net->listener);
    net->listener.data = net;
    int failed = uv_tcp_bind(&net->listener, (const struct sockaddr *)&address, 0);
    failed = failed ? failed : uv_listen((uv_stream_t *)&net->listener, BACKLOG, on_connection);
    failed =
        failed ? failed : uv_tcp_getsockname(&net->listener, (struct sockaddr *)&address, &size);
    if (failed) {
        dev_net_close(net);
        return err_set(err, ERR_IO, "cannot listen on 127.0.0.1: %s", uv_strerror(failed));
    }
    (void)snprintf(net->url, sizeof net->url, "nats://127.0.0.1:%u",
                   (unsigned)ntohs(address.sin_port));
    look(net);
    *ret = net;
    return ERR_OK;
}

const char *dev_net_url(const struct dev_net *net)
{
    return net->url;
}
