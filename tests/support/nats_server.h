/* SPDX-License-Identifier: Apache-2.0
 *
 * A real nats-server with JetStream, a child of the test, on a free port of 127.0.0.1 and with its
 * store in a temporary folder. Every function dies with the server's log when the server does not
 * do as asked.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

struct nats_server;

/* extra: more lines of its configuration file (for example an authorization block), or NULL.
 * Returns when clients can connect. */
struct nats_server *nats_server_start(const char *extra);
/* Ends it however it is, removes its folder, frees. NULL is fine. */
void nats_server_free(struct nats_server *server);

/* "nats://127.0.0.1:PORT", borrowed. */
const char *nats_server_url(const struct nats_server *server);
uint16_t nats_server_port(const struct nats_server *server);
pid_t nats_server_pid(const struct nats_server *server);
/* Its folder: nats.conf, log, store/. Borrowed. */
const char *nats_server_dir(const struct nats_server *server);

/* SIGKILL; port and folder stay for nats_server_restart. */
void nats_server_kill(struct nats_server *server);
/* SIGTERM, waits for its orderly end; as above. */
void nats_server_stop(struct nats_server *server);
/* Starts it again on the same port and folder, after kill or stop; extra as in nats_server_start.
 */
void nats_server_restart(struct nats_server *server, const char *extra);
/* SIGSTOP and SIGCONT. */
void nats_server_freeze(struct nats_server *server);
void nats_server_thaw(struct nats_server *server);
