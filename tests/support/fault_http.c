/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fault_http.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/str.h"
#include "tests/support/port.h"
#include "tests/support/support.h"

enum {
    REQUEST_MAX = 8192,
    PIECE_BYTES = 64 << 10,
    HEAD_MAX = 1024,
    PATH_MAX_LEN = 96,
    PATHS_MAX = 256
};

struct fault_http {
    pthread_t thread;
    int listen_fd;
    int stop_fd; /* readable: end */
    uint16_t port;
    char url[64];
    pthread_mutex_t lock; /* the test changes the plan while the thread serves */
    struct fault_http_plan plan;
    char *body;
    size_t len;
    char etag[64];
    struct fault_http_counts counts;
    char paths[PATHS_MAX][PATH_MAX_LEN]; /* of the requests, cut */
};

/* One answer: what the plan and the file were when its request came. */
struct answer {
    struct fault_http *http;
    struct fault_http_plan plan;
    int fd;
    char request[REQUEST_MAX];
    char *body; /* copy */
    size_t len;
    char etag[64];
    size_t from; /* of the body */
    bool ranged;
};

/* True: the test wants the end. */
static bool stopped(const struct fault_http *http, int ms)
{
    struct pollfd fd = {.fd = http->stop_fd, .events = POLLIN};
    return poll(&fd, 1, ms) > 0;
}

static bool send_all(const struct answer *answer, const char *data, size_t len)
{
    while (len > 0) {
        struct pollfd fds[] = {{.fd = answer->fd, .events = POLLOUT},
                               {.fd = answer->http->stop_fd, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 || fds[1].revents != 0)
            return false;
        ssize_t put = send(answer->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (put < 0 && errno != EAGAIN)
            return false;
        if (put > 0) {
            data += put;
            len -= (size_t)put;
        }
    }
    return true;
}

static bool read_request(struct answer *answer)
{
    size_t len = 0;
    for (;;) {
        struct pollfd fds[] = {{.fd = answer->fd, .events = POLLIN},
                               {.fd = answer->http->stop_fd, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 || fds[1].revents != 0)
            return false;
        ssize_t got = recv(answer->fd, answer->request + len, sizeof answer->request - 1 - len, 0);
        if (got <= 0)
            return false;
        len += (size_t)got;
        answer->request[len] = '\0';
        if (strstr(answer->request, "\r\n\r\n") != NULL)
            return true;
    }
}

static bool header(const char *request, const char *name, char *ret, size_t size)
{
    const char *at = strcasestr(request, name);
    if (at == NULL)
        return false;
    at += strlen(name);
    size_t len = strcspn(at, "\r\n");
    if (len >= size)
        return false;
    memcpy(ret, at, len);
    ret[len] = '\0';
    return true;
}

static void read_range(struct answer *answer)
{
    char range[64];
    char condition[128];
    char quoted[80];
    uint64_t from = 0;
    if (!header(answer->request, "\r\nRange: bytes=", range, sizeof range) ||
        sscanf(range, "%" SCNu64 "-", &from) != 1)
        return;
    (void)pthread_mutex_lock(&answer->http->lock);
    answer->http->counts.ranges++;
    (void)pthread_mutex_unlock(&answer->http->lock);
    (void)snprintf(quoted, sizeof quoted, "\"%s\"", answer->etag);
    bool conditional = header(answer->request, "\r\nIf-Range: ", condition, sizeof condition);
    if (answer->plan.ignore_ranges || (conditional && !str_equal(condition, quoted)))
        return;
    answer->ranged = true;
    answer->from = from;
}

static void add_location(const struct answer *answer, char *head, size_t size)
{
    char path[256] = "";
    size_t len = strlen(head);
    if (answer->plan.loop && sscanf(answer->request, "GET %250s ", path) == 1)
        (void)snprintf(head + len, size - len, "Location: %sr\r\n", path);
    else if (answer->plan.location[0] != '\0')
        (void)snprintf(head + len, size - len, "Location: %s\r\n", answer->plan.location);
}

static void send_page(const struct answer *answer, int status)
{
    char head[HEAD_MAX];
    (void)snprintf(head, sizeof head,
                   "HTTP/1.1 %d Told\r\nConnection: close\r\nContent-Length: 5\r\n", status);
    add_location(answer, head, sizeof head);
    (void)(send_all(answer, head, strlen(head)) && send_all(answer, "\r\npage\n", 7));
}

static void make_head(const struct answer *answer, size_t from, char *head)
{
    uint64_t length =
        answer->plan.claim_length != 0 ? answer->plan.claim_length : answer->len - from;
    int len = snprintf(head, HEAD_MAX, "HTTP/1.1 %s\r\nConnection: close\r\n",
                       answer->ranged ? "206 Partial Content" : "200 OK");
    if (answer->ranged)
        len += snprintf(head + len, HEAD_MAX - (size_t)len, "Content-Range: bytes %zu-%zu/%zu\r\n",
                        from, answer->len - 1, answer->len);
    if (!answer->plan.no_etag)
        len += snprintf(head + len, HEAD_MAX - (size_t)len, "ETag: \"%s\"\r\n", answer->etag);
    if (!answer->plan.no_length && !answer->plan.endless)
        len +=
            snprintf(head + len, HEAD_MAX - (size_t)len, "Content-Length: %" PRIu64 "\r\n", length);
    (void)snprintf(head + len, HEAD_MAX - (size_t)len, "\r\n");
}

/* Unread data makes the close a reset. */
static void reset(const struct answer *answer)
{
    struct linger at_once = {.l_onoff = 1};
    (void)setsockopt(answer->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

static void count_bytes(const struct answer *answer, size_t len)
{
    (void)pthread_mutex_lock(&answer->http->lock);
    answer->http->counts.body_bytes += len;
    (void)pthread_mutex_unlock(&answer->http->lock);
}

static void send_body(const struct answer *answer, size_t from)
{
    size_t piece = answer->plan.bytes_per_s != 0 ? answer->plan.bytes_per_s / 10 + 1 : PIECE_BYTES;
    uint64_t sent = 0;
    while (answer->plan.endless || from < answer->len) {
        size_t at = answer->plan.endless ? from % answer->len : from;
        size_t len = answer->len - at < piece ? answer->len - at : piece;
        bool last = answer->plan.cut_after != 0 && sent + len >= answer->plan.cut_after;
        len = last ? (size_t)(answer->plan.cut_after - sent) : len;
        if (!send_all(answer, answer->body + at, len))
            return;
        count_bytes(answer, len);
        sent += len;
        from += len;
        if (last)
            return;
        if (answer->plan.bytes_per_s != 0 && stopped(answer->http, 100))
            return;
    }
}

static void send_file(struct answer *answer)
{
    char head[HEAD_MAX];
    read_range(answer);
    if (answer->ranged && answer->from >= answer->len) {
        send_page(answer, 416);
        return;
    }
    size_t from = answer->plan.wrong_range && answer->ranged ? answer->from / 2 : answer->from;
    make_head(answer, from, head);
    if (send_all(answer, head, strlen(head)))
        send_body(answer, from);
    if (answer->plan.cut_after != 0)
        (void)shutdown(answer->fd, SHUT_WR); /* what was sent arrives; the length says more */
}

static void take_plan(struct answer *answer)
{
    struct fault_http *http = answer->http;
    (void)pthread_mutex_lock(&http->lock);
    if (http->counts.requests < PATHS_MAX)
        (void)sscanf(answer->request, "GET %95s ", http->paths[http->counts.requests]);
    http->counts.requests++;
    answer->plan = http->plan;
    answer->body = mem_new(1, http->len + 1);
    memcpy(answer->body, http->body, http->len);
    answer->len = http->len;
    memcpy(answer->etag, http->etag, sizeof answer->etag);
    (void)pthread_mutex_unlock(&http->lock);
}

static void serve(struct fault_http *http, int fd)
{
    struct answer *answer = mem_new(1, sizeof *answer);
    answer->http = http;
    answer->fd = fd;
    if (read_request(answer)) {
        take_plan(answer);
        if (answer->plan.silent) {
            struct pollfd fds[] = {{.fd = fd, .events = POLLIN},
                                   {.fd = http->stop_fd, .events = POLLIN}};
            (void)poll(fds, 2, -1);
            reset(answer);
        } else if (answer->plan.status != 0) {
            send_page(answer, answer->plan.status);
        } else {
            send_file(answer);
        }
    }
    mem_free(answer->body);
    mem_free(answer);
}

static void *run(void *arg)
{
    struct fault_http *http = arg;
    for (;;) {
        struct pollfd fds[] = {{.fd = http->listen_fd, .events = POLLIN},
                               {.fd = http->stop_fd, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 || fds[1].revents != 0)
            return NULL;
        int fd = accept(http->listen_fd, NULL, NULL);
        if (fd < 0)
            continue;
        serve(http, fd);
        (void)close(fd);
    }
}

struct fault_http *fault_http_start(const void *body, size_t len, const char *etag)
{
    struct fault_http *http = mem_new(1, sizeof *http);
    http->listen_fd = port_listen(&http->port);
    http->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (http->stop_fd < 0)
        support_die(errno, "cannot make an eventfd");
    (void)snprintf(http->url, sizeof http->url, "http://127.0.0.1:%u/file", http->port);
    (void)pthread_mutex_init(&http->lock, NULL);
    fault_http_change(http, body, len, etag);
    if (pthread_create(&http->thread, NULL, run, http) != 0)
        support_die(errno, "cannot start a thread");
    return http;
}

void fault_http_free(struct fault_http *http)
{
    if (http == NULL)
        return;
    (void)!write(http->stop_fd, &(uint64_t){1}, sizeof(uint64_t));
    (void)pthread_join(http->thread, NULL);
    (void)close(http->listen_fd);
    (void)close(http->stop_fd);
    (void)pthread_mutex_destroy(&http->lock);
    mem_free(http->body);
    mem_free(http);
}

uint16_t fault_http_port(const struct fault_http *http)
{
    return http->port;
}

const char *fault_http_url(const struct fault_http *http)
{
    return http->url;
}

void fault_http_plan(struct fault_http *http, const struct fault_http_plan *plan)
{
    (void)pthread_mutex_lock(&http->lock);
    http->plan = *plan;
    (void)pthread_mutex_unlock(&http->lock);
}

void fault_http_change(struct fault_http *http, const void *body, size_t len, const char *etag)
{
    (void)pthread_mutex_lock(&http->lock);
    mem_free(http->body);
    http->body = mem_new(1, len + 1);
    memcpy(http->body, body, len);
    http->len = len;
    (void)snprintf(http->etag, sizeof http->etag, "%s", etag);
    (void)pthread_mutex_unlock(&http->lock);
}

void fault_http_counts(struct fault_http *http, struct fault_http_counts *ret)
{
    (void)pthread_mutex_lock(&http->lock);
    *ret = http->counts;
    (void)pthread_mutex_unlock(&http->lock);
}

unsigned fault_http_asked(struct fault_http *http, const char *prefix)
{
    unsigned asked = 0;
    (void)pthread_mutex_lock(&http->lock);
    if (http->counts.requests > PATHS_MAX)
        support_die(0, "more than %d requests", PATHS_MAX);
    for (unsigned i = 0; i < http->counts.requests; i++)
        asked += strncmp(http->paths[i], prefix, strlen(prefix)) == 0;
    (void)pthread_mutex_unlock(&http->lock);
    return asked;
}
