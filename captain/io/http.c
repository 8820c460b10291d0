/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/http.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <microhttpd.h>
#include <netdb.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "captain/io/http_range.h"
#include "common/base/arena.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/file.h"

enum {
    CONNECTIONS_MAX = 4096,
    CONNECTION_MEMORY_BYTES = 8 << 10,
    IDLE_TIMEOUT_S = 60,
    BACKLOG = 1024,
    HOST_MAX = 256,
    DIRS = 3,
    TLS_CERT_MAX_BYTES = 64 << 10,
    TLS_KEY_MAX_BYTES = 16 << 10,
};
/* GnuTLS's words: versions before 1.2 are out. */
#define TLS_PRIORITIES "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

struct http_server {
    struct MHD_Daemon *daemon;
    int dirs[DIRS];
    uint16_t port;
    struct arena arena;          /* holds cert */
    const char *cert;            /* PEM; NULL: no TLS */
    char key[TLS_KEY_MAX_BYTES]; /* PEM; wiped at the end */
};

/* What is served: files by their digest. */
static const char *const DIR_NAMES[DIRS] = {"artifact", "release", "trust"};

/* Answers. The handler runs on the server's own thread and reads nothing but those folders. */

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
    (void)MHD_add_response_header(response, name, value); /* no memory: the header is left out */
}

static enum MHD_Result send_response(struct MHD_Connection *connection, unsigned status,
                                     struct MHD_Response *response)
{
    const enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result send_text(struct MHD_Connection *connection, unsigned status,
                                 const char *text)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);
    if (!response)
        return MHD_NO;
    add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/plain; charset=utf-8");
    add_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        add_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    return send_response(connection, status, response);
}

/* Content is named by its digest, so it never changes and its name is its tag. */
static void add_file_headers(struct MHD_Response *response, const char *etag)
{
    add_header(response, MHD_HTTP_HEADER_ETAG, etag);
    add_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "public, max-age=31536000, immutable");
    add_header(response, MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes");
    add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/octet-stream");
    add_header(response, "X-Content-Type-Options", "nosniff");
}

static enum MHD_Result send_without_body(struct MHD_Connection *connection, unsigned status,
                                         const char *etag, const char *content_range)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    if (!response)
        return MHD_NO;
    add_file_headers(response, etag);
    if (content_range)
        add_header(response, MHD_HTTP_HEADER_CONTENT_RANGE, content_range);
    return send_response(connection, status, response);
}

/* Takes fd. */
static enum MHD_Result send_file_part(struct MHD_Connection *connection, int fd, const char *etag,
                                      const struct http_range *range, uint64_t size)
{
    char content_range[96];
    struct MHD_Response *response =
        MHD_create_response_from_fd_at_offset64(range->length, fd, range->offset);
    if (!response) {
        (void)close(fd);
        return MHD_NO;
    }
    add_file_headers(response, etag);
    if (range->kind != HTTP_RANGE_PART)
        return send_response(connection, MHD_HTTP_OK, response);
    (void)snprintf(content_range, sizeof content_range, "bytes %llu-%llu/%llu",
                   (unsigned long long)range->offset,
                   (unsigned long long)(range->offset + range->length - 1),
                   (unsigned long long)size);
    add_header(response, MHD_HTTP_HEADER_CONTENT_RANGE, content_range);
    return send_response(connection, MHD_HTTP_PARTIAL_CONTENT, response);
}

static const char *request_header(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

/* Takes fd. */
static enum MHD_Result send_file(struct MHD_Connection *connection, int fd, const char *hex,
                                 uint64_t size)
{
    char etag[DIGEST_HEX + 2], content_range[64];
    (void)snprintf(etag, sizeof etag, "\"%s\"", hex);
    if (http_etag_listed(request_header(connection, MHD_HTTP_HEADER_IF_NONE_MATCH), etag)) {
        (void)close(fd);
        return send_without_body(connection, MHD_HTTP_NOT_MODIFIED, etag, NULL);
    }
    const char *if_range = request_header(connection, MHD_HTTP_HEADER_IF_RANGE);
    const bool whole = if_range && strcmp(if_range, etag) != 0;
    struct http_range range;
    http_range_parse(whole ? NULL : request_header(connection, MHD_HTTP_HEADER_RANGE), size,
                     &range);
    if (range.kind != HTTP_RANGE_IMPOSSIBLE)
        return send_file_part(connection, fd, etag, &range, size);
    (void)close(fd);
    (void)snprintf(content_range, sizeof content_range, "bytes */%llu", (unsigned long long)size);
    return send_without_body(connection, MHD_HTTP_RANGE_NOT_SATISFIABLE, etag, content_range);
}

static bool is_digest(const char *name)
{
    return strlen(name) == DIGEST_HEX - 1 && strspn(name, "0123456789abcdef") == DIGEST_HEX - 1;
}

/* -1 when there is no such file. Nothing but a digest ever reaches the file system. */
static int open_named(int dir, const char *name, uint64_t *ret_size)
{
    struct stat st;
    if (!is_digest(name))
        return -1;
    const int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
        (void)close(fd);
        return -1;
    }
    if (fd >= 0)
        *ret_size = (uint64_t)st.st_size;
    return fd;
}

/* The folder that "/<folder>/<name>" asks for, and the name; -1: none of ours. */
static int find_dir(const struct http_server *server, const char *url, const char **ret_name)
{
    for (int i = 0; i < DIRS; i++) {
        size_t len = strlen(DIR_NAMES[i]);
        if (url[0] != '/' || strncmp(url + 1, DIR_NAMES[i], len) != 0 || url[1 + len] != '/')
            continue;
        *ret_name = url + 2 + len;
        return server->dirs[i];
    }
    return -1;
}

static enum MHD_Result answer(void *arg, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload_data,
                              size_t *upload_data_size, void **request_arg)
{
    const struct http_server *server = arg;
    const char *name = "";
    uint64_t size = 0;
    (void)version, (void)upload_data, (void)upload_data_size, (void)request_arg;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return send_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    if (strcmp(url, "/healthz") == 0)
        return send_text(connection, MHD_HTTP_OK, "ok\n");
    const int dir = find_dir(server, url, &name);
    const int fd = open_named(dir, name, &size);
    if (fd < 0)
        return send_text(connection, MHD_HTTP_NOT_FOUND, "not found\n");
    return send_file(connection, fd, name, size);
}

/* Listening. */

static MUST_USE enum err_code split_address(const char *address, char ret_host[static HOST_MAX],
                                            const char **ret_port, struct err *err)
{
    const char *colon = strrchr(address, ':');
    uint64_t port;
    size_t len = colon ? (size_t)(colon - address) : 0;
    const char *host = address;
    if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
    } else if (memchr(host, ':', len)) {
        len = 0;
    }
    if (len == 0 || len >= HOST_MAX || str_u64(colon + 1, 65535, &port) != ERR_OK) {
        (void)err_set(err, ERR_USAGE, "address '%s' is not of the form HOST:PORT", address);
        return err_hint(err, "for example 127.0.0.1:8080, [::1]:8080 or 0.0.0.0:8080");
    }
    memcpy(ret_host, host, len);
    ret_host[len] = '\0';
    *ret_port = colon + 1;
    return ERR_OK;
}

static MUST_USE enum err_code bind_failed(int sys, const char *host, const char *port,
                                          struct err *err)
{
    if (sys != EADDRINUSE)
        return err_sys(err, sys, "listen on %s port %s", host, port);
    (void)err_set(err, ERR_CONFLICT, "port %s of %s is taken by another program", port, host);
    return err_hint(err, "ss -ltnp 'sport = :%s' names it; or choose another port with --listen",
                    port);
}

static MUST_USE enum err_code listen_on(const char *address, int *ret_fd, uint16_t *ret_port,
                                        struct err *err)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                                   .ai_socktype = SOCK_STREAM};
    char host[HOST_MAX], bound_port[NI_MAXSERV];
    const char *port = "";
    struct addrinfo *info = NULL;
    struct sockaddr_storage bound;
    socklen_t bound_len = sizeof bound;
    const int one = 1;
    uint64_t number = 0;
    if (split_address(address, host, &port, err) != ERR_OK)
        return ERR_USAGE;
    const int failed = getaddrinfo(host, port, &hints, &info);
    if (failed)
        return err_set(err, ERR_USAGE, "address '%s': %s", address, gai_strerror(failed));
    const int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
                    bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0 &&
                    getsockname(fd, (struct sockaddr *)&bound, &bound_len) == 0;
    const int sys = errno;
    freeaddrinfo(info);
    if (!ok ||
        getnameinfo((struct sockaddr *)&bound, bound_len, NULL, 0, bound_port, sizeof bound_port,
                    NI_NUMERICSERV) != 0 ||
        str_u64(bound_port, 65535, &number) != ERR_OK) {
        if (fd >= 0)
            (void)close(fd);
        return bind_failed(ok ? EINVAL : sys, host, port, err);
    }
    *ret_port = (uint16_t)number;
    *ret_fd = fd;
    return ERR_OK;
}

static MUST_USE enum err_code open_dir(const char *folder, const char *name, int *ret,
                                       struct err *err)
{
    char path[PATH_MAX];
    const int len = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (len < 0 || (size_t)len >= sizeof path)
        return err_set(err, ERR_SIZE, "path of %s below %s is too long", name, folder);
    const enum err_code code = file_make_dirs(path, 0700, err);
    if (code != ERR_OK)
        return code;
    const int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(err, errno, "open %s", path);
    *ret = fd;
    return ERR_OK;
}

static MUST_USE enum err_code load_tls(struct http_server *server, const struct http_tls *tls,
                                       struct err *err)
{
    struct bytes cert;
    size_t key_len = 0;
    enum err_code code = file_read(tls->cert_path, TLS_CERT_MAX_BYTES, &server->arena, &cert, err);
    if (code == ERR_OK)
        code = file_read_secret(tls->key_path, server->key, sizeof server->key, &key_len, err);
    if (code == ERR_OK)
        server->cert = (const char *)cert.ptr; /* file_read ends it with a NUL */
    return code;
}

/* Takes listen_fd when it succeeds. Signals are for the loop thread: the server's inherits a full
 * mask. */
static MUST_USE enum err_code start_daemon(struct http_server *server, int listen_fd,
                                           struct err *err)
{
    sigset_t all, before;
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)server->cert},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, server->key},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)TLS_PRIORITIES},
        {MHD_OPTION_END, 0, NULL}};
    const unsigned flags = server->cert ? MHD_USE_TLS : 0;
    if (!server->cert)
        tls[0].option = MHD_OPTION_END;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    server->daemon =
        MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC | flags, 0, NULL, NULL, answer,
                         server, MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_CONNECTION_LIMIT,
                         (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                         (size_t)CONNECTION_MEMORY_BYTES, MHD_OPTION_CONNECTION_TIMEOUT,
                         (unsigned)IDLE_TIMEOUT_S, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (server->daemon)
        return ERR_OK;
    (void)err_set(err, ERR_FAILED, "the HTTP server of the artifact store does not start");
    return server->cert ? err_hint(err, "look whether the TLS certificate and its key are whole "
                                        "and belong together")
                        : ERR_FAILED;
}

enum err_code http_server_open(const char *address, const char *folder, const struct http_tls *tls,
                               struct http_server **ret, struct err *err)
{
    struct http_server *server = mem_new(1, sizeof *server);
    int listen_fd = -1;
    enum err_code code = ERR_OK;
    arena_init(&server->arena, 2 * TLS_CERT_MAX_BYTES);
    for (int i = 0; i < DIRS; i++)
        server->dirs[i] = -1;
    for (int i = 0; code == ERR_OK && i < DIRS; i++)
        code = open_dir(folder, DIR_NAMES[i], &server->dirs[i], err);
    if (code == ERR_OK && tls)
        code = load_tls(server, tls, err);
    if (code == ERR_OK)
        code = listen_on(address, &listen_fd, &server->port, err);
    if (code == ERR_OK)
        code = start_daemon(server, listen_fd, err);
    if (code == ERR_OK) {
        *ret = server;
        return ERR_OK;
    }
    if (listen_fd >= 0)
        (void)close(listen_fd);
    http_server_close(server);
    return code;
}

uint16_t http_server_port(const struct http_server *server)
{
    return server->port;
}

void http_server_close(struct http_server *server)
{
    if (!server)
        return;
    if (server->daemon)
        MHD_stop_daemon(server->daemon);
    for (int i = 0; i < DIRS; i++)
        if (server->dirs[i] >= 0)
            (void)close(server->dirs[i]);
    sodium_memzero(server->key, sizeof server->key);
    arena_fini(&server->arena);
    mem_free(server);
}
