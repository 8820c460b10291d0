/* SPDX-License-Identifier: Apache-2.0
 *
 * Serves the artifact store over HTTP (libmicrohttpd, its own thread, which touches nothing but files):
 * GET and HEAD of /artifact/<sha256>, /release/<digest> and /trust/<sha256>, with Range, ETag (the digest),
 * If-None-Match, If-Range, immutable caching and, without TLS, sendfile; /healthz. Everything else is 404 or
 * 405.
 */
#pragma once

#include <stdint.h>

#include "common/base/err.h"

struct http_server;

/* Files (PEM) for https; the key must be ours alone. They are read once. */
struct http_tls {
    const char *cert_path, *key_path;
};

/* tls NULL: plain HTTP. address: "127.0.0.1:8080", "[::1]:0", "0.0.0.0:8080"; port 0 takes a free one. A taken port is
 * ERR_CONFLICT naming address and port. */
MUST_USE enum err_code http_server_open(const char *address, const char *folder,
                                        const struct http_tls *tls, struct http_server **ret,
                                        struct err *err);
uint16_t http_server_port(const struct http_server *server);
void http_server_close(struct http_server *server);
