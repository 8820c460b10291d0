/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/dev.h"

#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "captain/cli/output.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/file.h"

enum {
    START_MS = 15000,
    COMMAND_MS = 30000,
    STOP_MS = 8000,
    TURN_MS = 20,
    STATUS_BYTES = 4 << 20,
    FIRST_DECISIONS = 2
};

extern char **environ;

static enum err_code missing(struct err *err, const char *name, const char *hint)
{
    err_set(err, ERR_FAILED, "there is no %s", name);
    return err_hint(err, "%s", hint);
}

enum err_code dev_find_programs(struct dev *dev, struct err *err)
{
    struct arena *arena = dev->arena;
    dev->nats_server = dev->nats_url ? "" : dev_proc_find("nats-server", NULL, NULL, arena);
    dev->busybox = dev_proc_find("busybox", NULL, NULL, arena);
    dev->agent_bin = dev_proc_find("captain-agent", "../agent/captain-agent", NULL, arena);
    dev->fetch_bin =
        dev_proc_find("captain-fetch", "../agent/captain-fetch", CAPTAIN_LIBEXEC, arena);
    if (!dev->nats_server)
        return missing(err, "nats-server on this machine",
                       "apt install nats-server, or --nats URL");
    if (!dev->busybox)
        return missing(err, "busybox on this machine", "apt install busybox");
    if (!dev->agent_bin)
        return missing(err, "captain-agent beside captain or in PATH",
                       "build it: ninja captain-agent");
    if (!dev->fetch_bin)
        return missing(err, "captain-fetch beside captain or in PATH",
                       "build it: ninja captain-fetch");
    return ERR_OK;
}

/* What would make a child talk to somebody else. */
static bool is_foreign(const char *variable)
{
    static const char *const names[] = {"NATS_URL=",       "NOTIFY_SOCKET=",   "WATCHDOG_USEC=",
                                        "JOURNAL_STREAM=", "CAPTAIN_CONTEXT=", "XDG_CONFIG_HOME="};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strncmp(variable, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

static void fill_env(struct dev *dev)
{
    size_t len = 0;
    for (char **variable = environ; *variable && len < DEV_ENV_MAX - 2; variable++)
        if (!is_foreign(*variable))
            dev->env[len++] = *variable;
    dev->env[len++] = arena_printf(dev->arena, "XDG_CONFIG_HOME=%s/config", dev->dir);
    dev->env[len] = NULL;
}

enum err_code dev_start(struct dev *dev, struct dev_proc *proc, const char *name,
                        const char *const *argv, const char *const *env, struct err *err)
{
    (void)snprintf(proc->name, sizeof proc->name, "%s", name);
    int len = snprintf(proc->log, sizeof proc->log, "%s/%s.log", dev->dir, name);
    if (len < 0 || (size_t)len >= sizeof proc->log)
        return err_set(err, ERR_USAGE, "the path %.64s... is too long", dev->dir);
    if (!dev->env[0])
        fill_env(dev);
    return dev_proc_start(dev->loop, argv, env ? env : dev->env, proc, err);
}

/* A process that ended although it is still needed; NULL: none. */
static struct dev_proc *dead(struct dev *dev)
{
    if (dev->nats.pid && dev->nats.ended)
        return &dev->nats;
    if (dev->captain.pid && dev->captain.ended)
        return &dev->captain;
    for (uint32_t i = 0; i < dev->agents_len; i++)
        if (dev->agents[i].proc.pid && dev->agents[i].proc.ended)
            return &dev->agents[i].proc;
    return NULL;
}

enum err_code dev_wait(struct dev *dev, dev_done_fn done, int64_t timeout_ms, struct err *err)
{
    int64_t deadline_ms = clock_mono_ms() + timeout_ms;
    while (!done(dev)) {
        struct dev_proc *proc = dead(dev);
        if (dev->interrupted)
            return err_set(err, ERR_INTERRUPTED, "interrupted while %s", dev->step);
        if (proc) {
            char how[32];
            dev_proc_how(proc, how);
            dev->failed = proc;
            return err_set(err, ERR_FAILED, "%s ended (%s) while %s", proc->name, how, dev->step);
        }
        if (clock_mono_ms() >= deadline_ms) {
            char text[32];
            str_format_duration(timeout_ms, text);
            return err_set(err, ERR_FAILED, "%s took longer than %s", dev->step, text);
        }
        loop_turn(dev->loop, TURN_MS);
    }
    return ERR_OK;
}

/* nats-server writes the port it took into DIR/nats-server_PID.ports; with --secure it is known. */
static bool nats_listens(struct dev *dev)
{
    char path[PATH_MAX + 64];
    json_error_t why;
    (void)snprintf(path, sizeof path, "%s/nats-server_%d.ports", dev->dir, (int)dev->nats.pid);
    json_t *json = json_load_file(path, 0, &why);
    const char *url = json_string_value(json_array_get(json_object_get(json, "nats"), 0));
    if (url)
        dev->nats_url = dev->secure ? dev->trust.url : arena_strdup(dev->arena, url);
    json_decref(json);
    return dev->nats_url != NULL;
}

enum err_code dev_start_nats(struct dev *dev, struct err *err)
{
    char store[PATH_MAX + 16], conf[PATH_MAX + 32];
    dev->step = "starting nats-server";
    if (dev->nats_url) { /* one that runs elsewhere must be there now */
        dev->step = "connecting to NATS";
        return client_open(dev->invocation, &dev->client, err);
    }
    (void)snprintf(store, sizeof store, "%s/nats", dev->dir);
    (void)snprintf(conf, sizeof conf, "%s/captain/nats/server.conf", dev->dir);
    const char *argv[] = {
        dev->nats_server,   "-a",     "127.0.0.1", "-p", "-1", "-js", "-sd", store,
        "--ports_file_dir", dev->dir, NULL};
    const char *secure[] = {dev->nats_server,   "-c",     conf, "-a", "127.0.0.1",
                            "--ports_file_dir", dev->dir, NULL};
    dev->failed = &dev->nats;
    if (dev_start(dev, &dev->nats, "nats-server", dev->secure ? secure : argv, NULL, err) ||
        dev_wait(dev, nats_listens, START_MS, err))
        return err->code;
    dev->failed = NULL;
    return ERR_OK;
}

/* One short try; captain may not be there yet, or not lead the log yet: it leads when its first two
 * decisions (that it started, and the fleet's root) stand there. */
static bool captain_answers(struct dev *dev)
{
    static const struct status_query query;
    struct arena arena DEFER(arena_fini);
    struct status status;
    struct err err = {0};
    arena_init(&arena, STATUS_BYTES);
    if (!dev->client && client_open(dev->invocation, &dev->client, &err))
        return false;
    const struct client_call call = {"status", "show",        &codec_status_query,
                                     &query,   &codec_status, &status};
    if (client_call(dev->client, &call, &arena, &err))
        return false;
    (void)snprintf(dev->nats_version, sizeof dev->nats_version, "%s", status.server_version);
    return status.log_seq >= FIRST_DECISIONS;
}

enum err_code dev_start_captain(struct dev *dev, struct err *err)
{
    char data[PATH_MAX + 16];
    (void)snprintf(data, sizeof data, "%s/captain", dev->dir);
    const char *argv[] = {"/proc/self/exe", "serve",    "--data",      data, "--nats",
                          dev->nats_url,    "--listen", "127.0.0.1:0", NULL};
    const char *secure[] = {"/proc/self/exe", "serve", "--data", data, NULL};
    dev->step = "starting captain";
    dev->failed = &dev->captain;
    dev->invocation->flags[FLAG_NATS] = dev->nats_url;
    if (dev_start(dev, &dev->captain, "captain", dev->secure ? secure : argv, NULL, err) ||
        dev_wait(dev, captain_answers, START_MS, err))
        return err->code;
    dev->failed = NULL;
    return ERR_OK;
}

/* Free ports of the loopback: all are held at once, so that no two are the same. */
enum err_code dev_free_ports(uint16_t *ret, size_t len, struct err *err)
{
    int fds[DEV_AGENTS_MAX];
    size_t held = 0;
    enum err_code code = ERR_OK;
    for (; held < len && held < DEV_AGENTS_MAX && code == ERR_OK; held++) {
        struct sockaddr_in address = {.sin_family = AF_INET};
        socklen_t size = sizeof address;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fds[held] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fds[held] < 0 || bind(fds[held], (struct sockaddr *)&address, sizeof address) ||
            getsockname(fds[held], (struct sockaddr *)&address, &size))
            code = err_sys(err, errno, "no free port on 127.0.0.1");
        ret[held] = ntohs(address.sin_port);
    }
    for (size_t i = 0; i < held; i++)
        if (fds[i] >= 0)
            (void)close(fds[i]);
    return code;
}

static enum err_code prepare_agent(struct dev *dev, uint32_t i, struct err *err)
{
    struct dev_agent *agent = &dev->agents[i];
    agent->dev = dev;
    agent->site = i % 2 == 0 ? "north" : "south";
    agent->served_ms = -1;
    (void)snprintf(agent->cut, sizeof agent->cut, "%s/agents/d%u.cut", dev->dir, i + 1);
    const char *server = dev->secure
                             ? arena_printf(dev->arena, "nats://127.0.0.1:%u", dev->trust.nats_port)
                             : dev->nats_url;
    if (dev->scenario->cuts_network &&
        dev_net_open(dev->loop, output_text(server), agent->cut, &agent->net, err))
        return err->code;
    (void)snprintf(agent->device, sizeof agent->device, "d%u", i + 1);
    return dev_write_agent(dev, agent, &agent->config, err);
}

static enum err_code start_agent(struct dev *dev, struct dev_agent *agent, struct err *err)
{
    char name[sizeof agent->proc.name];
    (void)snprintf(name, sizeof name, "agent-%.20s", agent->device);
    const char *argv[] = {dev->agent_bin, "--config", agent->config, NULL};
    return dev_start(dev, &agent->proc, name, argv, NULL, err);
}

enum err_code dev_start_agents(struct dev *dev, struct err *err)
{
    uint16_t ports[DEV_AGENTS_MAX] = {0};
    dev->step = "starting the agents";
    if (dev_free_ports(ports, dev->agents_len, err))
        return err->code;
    for (uint32_t i = 0; i < dev->agents_len; i++) {
        dev->agents[i].port = ports[i];
        if (prepare_agent(dev, i, err))
            return err->code;
    }
    if (dev->secure && dev_fleet_enrol(dev, err))
        return err->code;
    for (uint32_t i = 0; i < dev->agents_len; i++)
        if (start_agent(dev, &dev->agents[i], err))
            return err->code;
    return dev_wait_online(dev, err);
}

static bool command_ended(struct dev *dev)
{
    return dev->command.ended;
}

enum err_code dev_run(struct dev *dev, const char *const *args, struct err *err)
{
    const char *argv[24] = {"/proc/self/exe"};
    const char *const *words = args;
    size_t len = 1;
    if (!dev->secure) { /* there a context says it */
        argv[len++] = "--nats";
        argv[len++] = dev->nats_url;
    }
    for (; *args && len < ARRAY_LEN(argv) - 1; args++)
        argv[len++] = *args;
    if (dev_start(dev, &dev->command, "command", argv, NULL, err))
        return err->code;
    dev->failed = &dev->command;
    if (dev_wait(dev, command_ended, COMMAND_MS, err))
        return err->code;
    if (dev->command.status == 0) {
        dev->failed = NULL;
        return ERR_OK;
    }
    char how[32];
    dev_proc_how(&dev->command, how);
    return err_set(err, ERR_FAILED, "captain %s %s failed (%s) while %s", words[0],
                   words[1] ? words[1] : "", how, dev->step);
}

static void stop_agents(struct dev *dev)
{
    struct dev_proc *procs[2 * DEV_AGENTS_MAX];
    size_t len = 0;
    for (uint32_t i = 0; dev->agents && i < dev->agents_len; i++) {
        procs[len++] = &dev->agents[i].proc;
        procs[len++] = &dev->agents[i].enrol;
    }
    dev_proc_stop(dev->loop, procs, len, STOP_MS);
}

void dev_end(struct dev *dev)
{
    if (dev->loop) {
        loop_timer_stop(&dev->tick);
        client_close(dev->client);
        dev_proc_stop(dev->loop, (struct dev_proc *[]){&dev->command}, 1, STOP_MS);
        stop_agents(dev);
        for (uint32_t i = 0; i < dev->agents_len; i++)
            dev_net_close(dev->agents ? dev->agents[i].net : NULL);
        dev_proc_stop(dev->loop, (struct dev_proc *[]){&dev->captain}, 1, STOP_MS);
        dev_proc_stop(dev->loop, (struct dev_proc *[]){&dev->nats}, 1, STOP_MS);
        dev_proc_sweep();
        loop_close(dev->loop);
    }
    struct err err = {0};
    dev_fleet_end(dev);
    if (dev->dir[0] && dev->keep)
        output_note("kept: %s", dev->dir);
    else if (dev->dir[0] && file_remove_tree(dev->dir, &err))
        output_note("could not remove %s: %s", dev->dir, err.text);
    dev_rollout_fini(dev);
    mem_free(dev->agents);
}
