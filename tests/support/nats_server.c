/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/nats_server.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "tests/support/port.h"
#include "tests/support/proc.h"
#include "tests/support/support.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

enum { START_MS = 20000, STOP_MS = 20000, START_ATTEMPTS = 10 };

struct nats_server {
    char *dir;
    uint16_t port;
    char url[64];
    struct proc *proc; /* NULL: not running */
};

static void die(const struct nats_server *server, const char *what)
{
    char *path = tempdir_path(server->dir, "log");
    char *log = tempdir_read(path, NULL);
    support_die(0, "nats-server on port %u %s:\n%s", server->port, what, log != NULL ? log : "");
}

static void write_config(const struct nats_server *server, const char *extra)
{
    char *text = NULL;
    int len = asprintf(&text,
                       "listen: 127.0.0.1:%u\n"
                       "server_name: test\n"
                       "jetstream { store_dir: \"%s/store\", max_mem: 64M, max_file: 4G }\n%s\n",
                       server->port, server->dir, extra != NULL ? extra : "");
    if (len < 0) {
        support_die(0, "no memory");
    }
    char *path = tempdir_path(server->dir, "nats.conf");
    tempdir_write(path, text, (size_t)len);
    free(path);
    free(text);
}

/* Up, or dead: both end the waiting. */
static bool is_settled(void *arg)
{
    struct nats_server *server = arg;
    if (proc_wait(server->proc, 0, NULL)) {
        return true;
    }
    int fd = port_connect(server->port);
    if (fd < 0) {
        return false;
    }
    char info[5] = "";
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    bool up = poll(&readable, 1, 1000) == 1 && recv(fd, info, 4, MSG_WAITALL) == 4 &&
              strcmp(info, "INFO") == 0;
    (void)close(fd);
    return up;
}

/* False when it ended at once: its port may have been taken. */
static bool launch(struct nats_server *server, const char *extra)
{
    write_config(server, extra);
    (void)snprintf(server->url, sizeof server->url, "nats://127.0.0.1:%u", server->port);
    char *config = tempdir_path(server->dir, "nats.conf");
    char *log = tempdir_path(server->dir, "log");
    const char *argv[] = {"nats-server", "-c", config, NULL};
    server->proc = proc_start(&(struct proc_options){.argv = argv, .out_path = log});
    bool settled = wait_until(is_settled, server, START_MS);
    free(config);
    free(log);
    if (!settled) {
        die(server, "did not start");
    }
    if (!proc_wait(server->proc, 0, NULL)) {
        return true;
    }
    proc_free(server->proc);
    server->proc = NULL;
    return false;
}

struct nats_server *nats_server_start(const char *extra)
{
    struct nats_server *server = mem_new(1, sizeof *server);
    server->dir = tempdir_make();
    for (int i = 0; i < START_ATTEMPTS; i++) {
        server->port = port_free();
        if (launch(server, extra)) {
            return server;
        }
    }
    die(server, "ends at once");
    return NULL;
}

static bool relaunched(void *arg)
{
    struct nats_server *server = ((void **)arg)[0];
    return launch(server, ((void **)arg)[1]);
}

void nats_server_restart(struct nats_server *server, const char *extra)
{
    /* Another process may hold the port for a moment (an outgoing connection of the same number).
     */
    void *args[] = {server, (void *)extra};
    if (server->proc != NULL || !wait_until(relaunched, args, START_MS)) {
        die(server, "cannot be restarted");
    }
}

static void end(struct nats_server *server, int sig)
{
    proc_signal(server->proc, sig);
    proc_signal(server->proc, SIGCONT);
    if (!proc_wait(server->proc, STOP_MS, NULL)) {
        die(server, "does not end");
    }
    proc_free(server->proc);
    server->proc = NULL;
}

void nats_server_kill(struct nats_server *server)
{
    end(server, SIGKILL);
}

void nats_server_stop(struct nats_server *server)
{
    end(server, SIGTERM);
}

void nats_server_free(struct nats_server *server)
{
    if (server == NULL) {
        return;
    }
    proc_free(server->proc);
    tempdir_remove(server->dir);
    mem_free(server);
}

void nats_server_freeze(struct nats_server *server)
{
    proc_signal(server->proc, SIGSTOP);
}

void nats_server_thaw(struct nats_server *server)
{
    proc_signal(server->proc, SIGCONT);
}

const char *nats_server_url(const struct nats_server *server)
{
    return server->url;
}

uint16_t nats_server_port(const struct nats_server *server)
{
    return server->port;
}

pid_t nats_server_pid(const struct nats_server *server)
{
    return proc_pid(server->proc);
}

const char *nats_server_dir(const struct nats_server *server)
{
    return server->dir;
}
