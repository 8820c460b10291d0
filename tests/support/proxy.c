/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/clock.h"
#include "tests/support/port.h"
#include "tests/support/support.h"

enum { LINKS_MAX = 256, BUFFER_BYTES = 65536, THROTTLE_TICK_MS = 10, BACK = 1 };

/* One direction of a connection: read from one end, not yet written to the other. */
struct flow {
    size_t len, sent;
    uint64_t total;
    uint64_t limit;     /* bytes it may still read before it is cut */
    uint64_t allowance; /* bytes it may still read before the next refill, when throttled */
    bool ended;         /* the reading end has closed */
    uint8_t buffer[BUFFER_BYTES];
};

struct link {
    int fds[2];           /* client, server */
    struct flow flows[2]; /* [0] reads from the client, [BACK] reads from the server */
};

struct proxy {
    int listener, command;
    uint16_t port;
    char url[64];
    pthread_t thread;
    struct link *links[LINKS_MAX];
    unsigned links_len;
    int64_t refilled_ms;

    atomic_uint server_port, refuse_every, accepted, refused;
    atomic_bool close_at_once, hold, cut, stop;
    atomic_ullong throttle, cut_after;
};

static void reset(int fd)
{
    struct linger now = {.l_onoff = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    (void)close(fd);
}

static void link_drop(struct proxy *proxy, unsigned i, bool orderly)
{
    struct link *link = proxy->links[i];
    for (int side = 0; side < 2; side++) {
        if (orderly) {
            (void)close(link->fds[side]);
        } else {
            reset(link->fds[side]);
        }
    }
    mem_free(link);
    proxy->links[i] = proxy->links[--proxy->links_len];
}

static void link_open(struct proxy *proxy, int client)
{
    int server = port_connect((uint16_t)proxy->server_port);
    if (server < 0 || proxy->links_len == LINKS_MAX) {
        reset(client);
        if (server >= 0) {
            (void)close(server);
        }
        return;
    }
    (void)fcntl(server, F_SETFL, O_NONBLOCK);
    struct link *link = mem_new(1, sizeof *link);
    link->fds[0] = client;
    link->fds[1] = server;
    link->flows[0].limit = UINT64_MAX;
    link->flows[BACK].limit = UINT64_MAX;
    proxy->links[proxy->links_len++] = link;
}

static void accept_all(struct proxy *proxy)
{
    for (;;) {
        int client = accept4(proxy->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client < 0) {
            return;
        }
        unsigned number = ++proxy->accepted;
        unsigned every = proxy->refuse_every;
        if (every != 0 && number % every == 0) {
            proxy->refused++;
            reset(client);
        } else if (proxy->close_at_once) {
            proxy->refused++;
            (void)close(client);
        } else {
            link_open(proxy, client);
        }
    }
}

static size_t flow_room(const struct proxy *proxy, const struct flow *flow)
{
    size_t room = flow->len == 0 && !flow->ended ? sizeof flow->buffer : 0;
    room = flow->limit < room ? flow->limit : room;
    return proxy->throttle != 0 && flow->allowance < room ? flow->allowance : room;
}

/* False when the connection is to be dropped. */
static bool flow_move(struct proxy *proxy, struct flow *flow, int from, int to)
{
    size_t room = flow_room(proxy, flow);
    if (room > 0) {
        ssize_t got = read(from, flow->buffer, room);
        if (got < 0 && errno != EAGAIN) {
            return false;
        }
        flow->ended = got == 0;
        if (got > 0) {
            flow->len = (size_t)got;
            flow->sent = 0;
            flow->allowance -= proxy->throttle != 0 ? (uint64_t)got : 0;
        }
    }
    if (flow->len > flow->sent) {
        ssize_t put = send(to, flow->buffer + flow->sent, flow->len - flow->sent, MSG_NOSIGNAL);
        if (put < 0 && errno != EAGAIN) {
            return false;
        }
        flow->sent += put > 0 ? (size_t)put : 0;
        flow->total += put > 0 ? (uint64_t)put : 0;
        flow->len = flow->sent == flow->len ? 0 : flow->len;
    }
    if (flow->ended && flow->len == 0) {
        (void)shutdown(to, SHUT_WR);
    }
    return true;
}

static void links_move(struct proxy *proxy)
{
    for (unsigned i = proxy->links_len; i-- > 0;) {
        struct link *link = proxy->links[i];
        struct flow *back = &link->flows[BACK];
        uint64_t cut_after = proxy->cut_after;
        cut_after = cut_after == 0 ? UINT64_MAX : cut_after;
        back->limit = back->total < cut_after ? cut_after - back->total : 0;
        bool alive = flow_move(proxy, &link->flows[0], link->fds[0], link->fds[1]) &&
                     flow_move(proxy, back, link->fds[1], link->fds[0]);
        bool done = link->flows[0].ended && back->ended && link->flows[0].len + back->len == 0;
        if (!alive || done || back->total >= cut_after) {
            link_drop(proxy, i, alive && done);
        }
    }
}

static void refill(struct proxy *proxy)
{
    int64_t now_ms = clock_mono_ms();
    if (now_ms - proxy->refilled_ms < THROTTLE_TICK_MS) {
        return;
    }
    uint64_t per_tick = proxy->throttle * THROTTLE_TICK_MS / 1000;
    for (unsigned i = 0; i < proxy->links_len; i++) {
        proxy->links[i]->flows[0].allowance = per_tick > 0 ? per_tick : 1;
        proxy->links[i]->flows[BACK].allowance = per_tick > 0 ? per_tick : 1;
    }
    proxy->refilled_ms = now_ms;
}

static short wanted(const struct proxy *proxy, const struct link *link, int side)
{
    const struct flow *in = &link->flows[side];
    const struct flow *out = &link->flows[1 - side];
    return (short)((flow_room(proxy, in) > 0 ? POLLIN : 0) | (out->len > out->sent ? POLLOUT : 0));
}

static void wait_for_work(struct proxy *proxy)
{
    struct pollfd fds[2 + 2 * LINKS_MAX];
    nfds_t len = 2;
    fds[0] = (struct pollfd){.fd = proxy->command, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = proxy->listener, .events = POLLIN};
    for (unsigned i = 0; i < proxy->links_len && !proxy->hold; i++) {
        for (int side = 0; side < 2; side++) {
            short events = wanted(proxy, proxy->links[i], side);
            if (events != 0) {
                fds[len++] = (struct pollfd){.fd = proxy->links[i]->fds[side], .events = events};
            }
        }
    }
    (void)poll(fds, len, proxy->throttle != 0 && proxy->links_len > 0 ? THROTTLE_TICK_MS : -1);
    uint64_t told;
    (void)!read(proxy->command, &told, sizeof told);
}

static void *run(void *arg)
{
    struct proxy *proxy = arg;
    while (!proxy->stop) {
        wait_for_work(proxy);
        accept_all(proxy);
        refill(proxy);
        if (!proxy->hold) {
            links_move(proxy);
        }
        if (atomic_exchange(&proxy->cut, false) || proxy->stop) {
            while (proxy->links_len > 0) {
                link_drop(proxy, 0, false);
            }
        }
    }
    return NULL;
}

static void tell(struct proxy *proxy)
{
    uint64_t one = 1;
    (void)!write(proxy->command, &one, sizeof one);
}

struct proxy *proxy_start(uint16_t server_port)
{
    struct proxy *proxy = mem_new(1, sizeof *proxy);
    proxy->server_port = server_port;
    proxy->listener = port_listen(&proxy->port);
    proxy->command = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    (void)snprintf(proxy->url, sizeof proxy->url, "nats://127.0.0.1:%u", proxy->port);
    if (proxy->command < 0 || pthread_create(&proxy->thread, NULL, run, proxy) != 0) {
        support_die(errno, "cannot start a proxy");
    }
    return proxy;
}

void proxy_free(struct proxy *proxy)
{
    if (proxy == NULL) {
        return;
    }
    proxy->stop = true;
    tell(proxy);
    (void)pthread_join(proxy->thread, NULL);
    (void)close(proxy->listener);
    (void)close(proxy->command);
    mem_free(proxy);
}

uint16_t proxy_port(const struct proxy *proxy)
{
    return proxy->port;
}

const char *proxy_url(const struct proxy *proxy)
{
    return proxy->url;
}

void proxy_set_server(struct proxy *proxy, uint16_t server_port)
{
    proxy->server_port = server_port;
}

void proxy_refuse_every(struct proxy *proxy, unsigned n)
{
    proxy->refuse_every = n;
}

void proxy_close_at_once(struct proxy *proxy, int on)
{
    proxy->close_at_once = on != 0;
}

void proxy_throttle(struct proxy *proxy, uint64_t bytes_per_s)
{
    proxy->throttle = bytes_per_s;
    tell(proxy);
}

void proxy_hold(struct proxy *proxy, int on)
{
    proxy->hold = on != 0;
    tell(proxy);
}

void proxy_cut_after(struct proxy *proxy, uint64_t bytes)
{
    proxy->cut_after = bytes;
    tell(proxy);
}

void proxy_cut(struct proxy *proxy)
{
    proxy->cut = true;
    tell(proxy);
}

unsigned proxy_accepted(const struct proxy *proxy)
{
    return proxy->accepted;
}

unsigned proxy_refused(const struct proxy *proxy)
{
    return proxy->refused;
}
