/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/e2e/world.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/clock.h"
#include "proto/codec.h"
#include "tests/support/http_page.h"
#include "tests/support/port.h"
#include "tests/support/support.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

enum { ARGS_MAX = 24, CLI_MS = 30000 };

static const char *tool(const char *env)
{
    const char *path = getenv(env);
    if (!path)
        support_die(0, "%s is not set: run this test by ctest", env);
    return path;
}

static void put(char *ret, size_t size, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void put(char *ret, size_t size, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(ret, size, fmt, args);
    va_end(args);
    if (len < 0 || (size_t)len >= size)
        support_die(0, "text too long: %s", fmt);
}

static void write_text(const char *path, const char *text)
{
    tempdir_write(path, text, strlen(text));
}

int world_cli(struct world *world, const char *const *args, char **ret_out, char **ret_err)
{
    const char *argv[ARGS_MAX] = {tool("CAPTAIN_BIN"), "--nats", nats_server_url(world->nats)};
    size_t len = 3;
    for (; *args && len < ARGS_MAX - 1; args++)
        argv[len++] = *args;
    static unsigned calls;
    char out[PATH_MAX], err[PATH_MAX], config[PATH_MAX];
    put(out, sizeof out, "%s/cli.%u.out", world->dir, ++calls);
    put(err, sizeof err, "%s/cli.%u.err", world->dir, calls);
    put(config, sizeof config, "XDG_CONFIG_HOME=%s/config", world->dir);
    int code = proc_run(&(struct proc_options){.argv = argv,
                                               .env = (const char *[]){config, "USER=tester", NULL},
                                               .out_path = out,
                                               .err_path = err},
                        CLI_MS);
    if (ret_out)
        *ret_out = tempdir_read(out, NULL);
    if (ret_err)
        *ret_err = tempdir_read(err, NULL);
    (void)unlink(out);
    (void)unlink(err);
    return code;
}

json_t *world_json(struct world *world, const char *const *args)
{
    const char *with[ARGS_MAX] = {"--json"};
    for (size_t i = 0; args[i] && i < ARGS_MAX - 2; i++)
        with[i + 1] = args[i];
    char *out DEFER(mem_free_ref) = NULL, *err DEFER(mem_free_ref) = NULL;
    int code = world_cli(world, with, &out, &err);
    json_error_t where;
    json_t *json = code == 0 && out ? json_loads(out, 0, &where) : NULL;
    if (!json)
        support_die(0, "captain --json %s %s: exit %d, stdout %s, stderr %s", args[0],
                    args[1] ? args[1] : "", code, out ? out : "", err ? err : "");
    return json;
}

static bool captain_answers(void *arg)
{
    return world_cli(arg, (const char *[]){"--timeout", "1s", "status", NULL}, NULL, NULL) == 0;
}

void world_captain_start(struct world *world)
{
    char log[PATH_MAX];
    put(log, sizeof log, "%s/captain.log", world->dir);
    const char *argv[ARGS_MAX] = {tool("CAPTAIN_BIN"),          "serve",  "--nats",
                                  nats_server_url(world->nats), "--data", world->captain_dir};
    for (size_t i = 0; i < ARRAY_LEN(world->captain_options) && world->captain_options[i][0]; i++)
        argv[6 + i] = world->captain_options[i];
    world->captain = proc_start(&(struct proc_options){.argv = argv, .out_path = log});
    if (!wait_until(captain_answers, world, 30000))
        support_die(0, "captain does not answer; its log: %s", tempdir_read(log, NULL));
}

void world_captain_kill(struct world *world)
{
    proc_free(world->captain);
    world->captain = NULL;
}

static void agent_make(struct world *world, unsigned i)
{
    struct world_agent *agent = &world->agents[i];
    put(agent->name, sizeof agent->name, "d%u", i);
    put(agent->dir, sizeof agent->dir, "%s/%s", world->dir, agent->name);
    agent->port = port_free();
    if (mkdir(agent->dir, 0700) != 0)
        support_die(errno, "mkdir %s", agent->dir);
}

static void agent_configure(const struct world *world, const struct world_agent *agent)
{
    char path[PATH_MAX], text[4096];
    put(path, sizeof path, "%s/agent.json", agent->dir);
    put(text, sizeof text,
        "{\"device\": \"%s\", \"site\": \"lab\", \"root\": \"%s/root.dsse\", \"folder\": "
        "\"%s/data\",\n"
        " \"nats\": {\"url\": \"%s\"},\n"
        " \"apps\": {\"hello\": {\"channel\": \"stable\", \"env\": {\"PORT\": \"%u\"}}},\n"
        " \"fetch\": {\"helper\": \"%s\"},\n"
        " \"intervals\": {\"health\": \"1s\", \"telemetry\": \"1s\", \"refresh\": \"2s\","
        " \"reconnect_first\": \"500ms\", \"reconnect_max\": \"2s\"}%s}\n",
        agent->name, world->captain_dir, agent->dir, nats_server_url(world->nats), agent->port,
        tool("CAPTAIN_FETCH_BIN"), agent->extra);
    write_text(path, text);
}

void world_agent_start(struct world *world, unsigned i)
{
    struct world_agent *agent = &world->agents[i];
    agent_configure(world, agent);
    char config[PATH_MAX], log[PATH_MAX];
    put(config, sizeof config, "%s/agent.json", agent->dir);
    put(log, sizeof log, "%s/log", agent->dir);
    const char *argv[] = {tool("CAPTAIN_AGENT_BIN"), "--config", config, NULL};
    agent->proc = proc_start(&(struct proc_options){.argv = argv, .out_path = log});
}

void world_agents_start(struct world *world)
{
    for (unsigned i = 0; i < world->agents_len; i++)
        world_agent_start(world, i);
}

/* The agent alone: its services are sessions of their own and live on. */
void world_agent_kill(struct world *world, unsigned i)
{
    proc_signal(world->agents[i].proc, SIGKILL);
    (void)proc_wait(world->agents[i].proc, 5000, NULL);
    proc_free(world->agents[i].proc);
    world->agents[i].proc = NULL;
}

struct world *world_new(unsigned agents)
{
    struct world *world = mem_new(1, sizeof *world);
    world->dir = tempdir_make();
    world->nats = nats_server_start(NULL);
    put(world->captain_dir, sizeof world->captain_dir, "%s/captain", world->dir);
    world->agents_len = agents;
    for (unsigned i = 0; i < agents; i++)
        agent_make(world, i);
    world_captain_start(world);
    return world;
}

void world_free(struct world *world)
{
    if (!world)
        return;
    /* SIGTERM first: an orderly agent ends its services. */
    for (unsigned i = 0; i < world->agents_len; i++) {
        if (world->agents[i].proc)
            proc_signal(world->agents[i].proc, SIGTERM);
    }
    for (unsigned i = 0; i < world->agents_len; i++) {
        if (world->agents[i].proc && !proc_wait(world->agents[i].proc, 15000, NULL))
            support_die(0, "agent %u does not end on SIGTERM", i);
        proc_free(world->agents[i].proc);
    }
    proc_free(world->captain);
    nats_server_free(world->nats);
    tempdir_remove(world->dir);
    mem_free(world);
}

static void write_random(const char *path, uint64_t bytes)
{
    FILE *file = fopen(path, "we");
    if (!file)
        support_die(errno, "%s", path);
    static char block[1 << 16];
    for (uint64_t done = 0; done < bytes; done += sizeof block) {
        clock_random(block, sizeof block);
        size_t want = bytes - done < sizeof block ? (size_t)(bytes - done) : sizeof block;
        if (fwrite(block, 1, want, file) != want)
            support_die(errno, "%s", path);
    }
    if (fclose(file) != 0)
        support_die(errno, "%s", path);
}

void world_release_with(struct world *world, const char *version, const char *health,
                        uint64_t payload_bytes)
{
    char dir[PATH_MAX], path[PATH_MAX + 64], text[4096], key[PATH_MAX];
    put(dir, sizeof dir, "%s/hello-%s", world->dir, version);
    put(path, sizeof path, "%s/www", dir);
    if ((mkdir(dir, 0700) != 0 || mkdir(path, 0700) != 0) && errno != EEXIST)
        support_die(errno, "mkdir %s", path);
    put(path, sizeof path, "%s/www/index.html", dir);
    put(text, sizeof text, "hello %s\n", version);
    write_text(path, text);
    put(path, sizeof path, "%s/payload.bin", dir);
    if (payload_bytes)
        write_random(path, payload_bytes);
    put(path, sizeof path, "%s/release.yaml", dir);
    put(text, sizeof text,
        "app: hello\n"
        "version: \"%s\"\n"
        "sources:\n"
        "  - {repository: \"https://example.org/hello.git\", commit: \"%040d\"}\n"
        "artifacts:\n"
        "  - {path: www, to: www}\n%s"
        "services:\n"
        "  - {name: web, command: [busybox, httpd, -f, -p, \"127.0.0.1:${PORT}\", -h, www], "
        "restart_min: 100ms,"
        " restart_max: 1s, stop_timeout: 2s}\n"
        "checks:\n"
        "  - {name: process, kind: process, service: web, interval: 200ms}\n"
        "  - {name: http, kind: http, url: \"http://127.0.0.1:${PORT}%s\", interval: 200ms, "
        "timeout: 1s}\n"
        "confirm: 1s\n",
        version, 7, payload_bytes ? "  - {path: payload.bin, to: payload.bin}\n" : "", health);
    write_text(path, text);
    put(key, sizeof key, "%s/keys/release.key", world->captain_dir);
    char *err DEFER(mem_free_ref) = NULL;
    if (world_cli(world, (const char *[]){"release", "create", "-f", path, "--key", key, NULL},
                  NULL, &err) != 0)
        support_die(0, "release create %s: %s", version, err);
}

void world_release(struct world *world, const char *version, const char *health)
{
    world_release_with(world, version, health, 0);
}

void world_channel_set(struct world *world, const char *release)
{
    char *err DEFER(mem_free_ref) = NULL;
    if (world_cli(world, (const char *[]){"channel", "set", "hello/stable", release, NULL}, NULL,
                  &err) != 0)
        support_die(0, "channel set %s: %s", release, err);
}

bool world_serves(const struct world *world, unsigned agent, const char *version)
{
    char want[128];
    put(want, sizeof want, "hello %s\n", version);
    return http_page_is(world->agents[agent].port, want);
}

struct serving {
    const struct world *world;
    const char *version;
};

static bool all_serve(void *arg)
{
    const struct serving *serving = arg;
    for (unsigned i = 0; i < serving->world->agents_len; i++) {
        if (!world_serves(serving->world, i, serving->version))
            return false;
    }
    return true;
}

void world_wait_serving(struct world *world, const char *version, int64_t ms)
{
    if (wait_until(all_serve, &(struct serving){world, version}, ms))
        return;
    char *out = NULL;
    (void)world_cli(world, (const char *[]){"device", "ls", NULL}, &out, NULL);
    for (unsigned i = 0; i < world->agents_len; i++) {
        char log[PATH_MAX];
        put(log, sizeof log, "%s/log", world->agents[i].dir);
        if (!world_serves(world, i, version))
            (void)fprintf(stderr, "--- log of %s\n%s\n", world->agents[i].name,
                          tempdir_read(log, NULL));
    }
    support_die(0, "not every agent serves %s within %lld ms:\n%s", version, (long long)ms,
                out ? out : "");
}

struct healthy {
    struct world *world;
    unsigned devices;
};

static bool enough_healthy(void *arg)
{
    struct healthy *healthy = arg;
    json_t *json =
        world_json(healthy->world, (const char *[]){"channel", "show", "hello/stable", NULL});
    const char *count = json_string_value(json_object_get(json, "onRelease"));
    bool enough = count && strtoul(count, NULL, 10) == healthy->devices;
    json_decref(json);
    return enough;
}

void world_wait_healthy(struct world *world, unsigned devices, int64_t ms)
{
    if (!wait_until(enough_healthy, &(struct healthy){world, devices}, ms))
        support_die(0, "captain does not count %u healthy devices within %lld ms", devices,
                    (long long)ms);
}

static int count_event(void *arg, int columns, char **values, char **names)
{
    (void)columns;
    (void)names;
    *(unsigned *)arg = (unsigned)strtoul(values[0], NULL, 10);
    return 0;
}

static unsigned query(struct world *world, const char *sql)
{
    char path[PATH_MAX];
    put(path, sizeof path, "%s/captain.db", world->captain_dir);
    sqlite3 *db = NULL;
    unsigned result = 0;
    char *text = NULL;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ||
        sqlite3_busy_timeout(db, 5000) != SQLITE_OK ||
        sqlite3_exec(db, sql, count_event, &result, &text) != SQLITE_OK)
        support_die(0, "%s: %s", sql, text ? text : "cannot open");
    (void)sqlite3_close(db);
    return result;
}

unsigned world_check_events(struct world *world)
{
    unsigned broken =
        query(world, "SELECT count(*) FROM (SELECT device_id, epoch, count(*) n, max(seq) last, "
                     "min(seq) first FROM event GROUP BY device_id, epoch "
                     "HAVING n != last OR first != 1)");
    if (broken)
        support_die(0, "%u devices have gaps or doubles in their stored events", broken);
    return query(world, "SELECT count(*) FROM event");
}

unsigned world_events(struct world *world, unsigned agent, const char *kind)
{
    char device[64];
    put(device, sizeof device, "lab/%s", world->agents[agent].name);
    json_t *json = world_json(world, (const char *[]){"device", "show", device, NULL});
    unsigned count = 0;
    size_t i;
    json_t *event;
    json_array_foreach(json_object_get(json, "events"), i, event)
    {
        const char *name = json_string_value(json_object_get(event, "kind"));
        count += name && strcmp(name, kind) == 0;
    }
    json_decref(json);
    return count;
}

static void check_release(const char *releases, const char *name)
{
    char path[PATH_MAX];
    put(path, sizeof path, "%s/%s/release.dsse", releases, name);
    if (strlen(name) != DIGEST_HEX - 1 || access(path, R_OK) != 0)
        support_die(errno, "%s is no whole release", path);
    put(path, sizeof path, "%s/%s/root/www/index.html", releases, name);
    if (access(path, R_OK) != 0)
        support_die(errno, "%s is missing", path);
}

void world_check_disks(struct world *world)
{
    for (unsigned i = 0; i < world->agents_len; i++) {
        char releases[PATH_MAX], current[PATH_MAX];
        put(releases, sizeof releases, "%s/data/apps/hello/releases", world->agents[i].dir);
        put(current, sizeof current, "%s/data/apps/hello/current/release.dsse",
            world->agents[i].dir);
        if (access(current, R_OK) != 0)
            support_die(errno, "%s", current);
        DIR *dir = opendir(releases);
        if (!dir)
            support_die(errno, "%s", releases);
        for (struct dirent *entry; (entry = readdir(dir));) {
            if (entry->d_name[0] != '.')
                check_release(releases, entry->d_name);
        }
        (void)closedir(dir);
    }
}
