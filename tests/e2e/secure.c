/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/e2e/secure.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/file.h"
#include "tests/support/http_page.h"
#include "tests/support/port.h"
#include "tests/support/support.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

enum { ARENA_BYTES = 256 << 20, ARGS_MAX = 32, TEXT_MAX = 4096 };

const char *const SECURE_DEVICES[] = {"device", "ls", NULL};
const char *const SECURE_IDENTITIES[] = {"device", "identities", NULL};
const char *const SECURE_INCIDENTS[] = {"log", "ls", "--kind", "incident.noted", NULL};
const char SECURE_REFUSED[] = "the bus refuses";

/* ---- words ---- */

static const char *format(struct secure *secure, const char *prefix, const char *fmt, va_list args)
    PRINTF_LIKE(3, 0);
static const char *format(struct secure *secure, const char *prefix, const char *fmt, va_list args)
{
    char line[TEXT_MAX];
    int len = vsnprintf(line, sizeof line, fmt, args);
    if (len < 0 || (size_t)len >= sizeof line)
        support_die(0, "text too long: %s", fmt);
    const char *kept = arena_printf(&secure->arena, "%s%s", prefix, line);
    assert_non_null(kept);
    return kept;
}

const char *secure_text(struct secure *secure, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const char *text = format(secure, "", fmt, args);
    va_end(args);
    return text;
}

const char *secure_path(struct secure *secure, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const char *text = format(secure, secure_text(secure, "%s/", secure->dir), fmt, args);
    va_end(args);
    return text;
}

const char *secure_content(struct secure *secure, const char *path)
{
    char *read = tempdir_read(path, NULL);
    const char *kept = arena_strdup(&secure->arena, read ? read : "");
    free(read);
    assert_non_null(kept);
    return kept;
}

const char *secure_said(struct secure *secure)
{
    return secure_content(secure, secure->out);
}

/* ---- programs ---- */

int secure_run(struct secure *secure, const char *const *argv, const char *in_path)
{
    const char *env[] = {secure->xdg, "USER=ada", NULL};
    (void)unlink(secure->out);
    return proc_run(
        &(struct proc_options){
            .argv = argv, .env = env, .in_path = in_path, .out_path = secure->out},
        SECURE_RUN_MS);
}

int secure_captain(struct secure *secure, const char *const *words)
{
    const char *argv[ARGS_MAX] = {getenv("CAPTAIN_BIN")};
    for (size_t i = 0; words[i]; i++) {
        assert_true(i + 2 < ARGS_MAX);
        argv[i + 1] = words[i];
    }
    return secure_run(secure, argv, NULL);
}

json_t *secure_json(struct secure *secure, const char *const *words)
{
    if (secure_captain(secure, words) != 0)
        fail_msg("%s", secure_said(secure));
    json_t *json = json_loads(secure_said(secure), 0, NULL);
    if (!json)
        fail_msg("not JSON: %s", secure_said(secure));
    return json;
}

struct proc *secure_start(struct secure *secure, const char *log, const char *const *argv)
{
    const char *env[ARGS_MAX] = {secure->xdg};
    for (size_t i = 0; secure->env && secure->env[i]; i++) {
        assert_true(i + 2 < ARGS_MAX);
        env[i + 1] = secure->env[i];
    }
    return proc_start(&(struct proc_options){
        .argv = argv, .env = env, .dir = secure->dir, .out_path = secure_path(secure, "%s", log)});
}

void secure_end(struct proc **proc)
{
    proc_signal(*proc, SIGTERM);
    assert_true(proc_wait(*proc, SECURE_RUN_MS, NULL));
    proc_free(*proc);
    *proc = NULL;
}

/* ---- the fleet ---- */

int secure_set_up(void **state)
{
    struct secure *secure = mem_new(1, sizeof *secure);
    arena_init(&secure->arena, ARENA_BYTES);
    secure->dir = tempdir_make();
    secure->folder = secure_path(secure, "fleet");
    secure->out = secure_path(secure, "out");
    secure->xdg = secure_text(secure, "XDG_CONFIG_HOME=%s/config", secure->dir);
    secure->memory = secure_text(secure, "/dev/shm/%s", strrchr(secure->dir, '/') + 1);
    if (mkdir(secure->memory, 0700) != 0)
        support_die(0, "cannot make %s", secure->memory);
    secure->nats_port = port_free();
    secure->store_port = port_free();
    secure->url = secure_text(secure, "tls://localhost:%u", secure->nats_port);
    *state = secure;
    return 0;
}

int secure_set_up_running(void **state)
{
    (void)secure_set_up(state);
    if (secure_init(*state, (const char *const[]){NULL}) != 0)
        fail_msg("%s", secure_said(*state));
    secure_start_nats(*state);
    secure_start_captain(*state);
    secure_wait_captain(*state);
    return 0;
}

int secure_tear_down(void **state)
{
    struct secure *secure = *state;
    struct err err;
    /* SIGTERM first: an orderly agent ends its services, which are sessions of their own. */
    for (size_t i = 0; i < SECURE_DEVICES_MAX; i++)
        if (secure->devices[i].agent)
            proc_signal(secure->devices[i].agent, SIGTERM);
    for (size_t i = 0; i < SECURE_DEVICES_MAX; i++) {
        if (secure->devices[i].agent)
            (void)proc_wait(secure->devices[i].agent, SECURE_RUN_MS, NULL);
        proc_free(secure->devices[i].agent);
    }
    proc_free(secure->captain);
    proc_free(secure->nats);
    tempdir_remove(secure->dir);
    enum err_code code = file_remove_tree(secure->memory, &err);
    arena_fini(&secure->arena);
    mem_free(secure);
    return code == ERR_OK ? 0 : -1;
}

int secure_init(struct secure *secure, const char *const *more)
{
    const char *words[ARGS_MAX] = {
        "init",     secure->folder,
        "--tenant", "acme",
        "--host",   "localhost",
        "--url",    secure->url,
        "--listen", secure_text(secure, "127.0.0.1:%u", secure->store_port)};
    size_t len = 10;
    for (size_t i = 0; more[i]; i++) {
        assert_true(len + 1 < ARGS_MAX);
        words[len++] = more[i];
    }
    return secure_captain(secure, words);
}

void secure_start_nats(struct secure *secure)
{
    const char *argv[] = {"nats-server", "-c",
                          secure_text(secure, "%s/nats/server.conf", secure->folder), NULL};
    secure->nats = secure_start(secure, "nats.log", argv);
}

void secure_start_captain(struct secure *secure)
{
    const char *argv[] = {getenv("CAPTAIN_BIN"), "serve", "--data", secure->folder, NULL};
    secure->captain = secure_start(secure, "captain.log", argv);
}

static bool answers(void *arg)
{
    return CAPTAIN(arg, "status", "--timeout", "1s") == 0;
}

void secure_wait_captain(struct secure *secure)
{
    if (!wait_until(answers, secure, SECURE_WAIT_MS))
        fail_msg("%s\n%s", secure_said(secure),
                 secure_content(secure, secure_path(secure, "captain.log")));
}

/* ---- devices ---- */

static const char *member(struct secure *secure, const json_t *json, const char *name)
{
    const char *value = json_string_value(json_object_get(json, name));
    assert_non_null(value);
    return secure_text(secure, "%s", value);
}

struct secure_token secure_token_new(struct secure *secure, const char *const *more)
{
    const char *words[ARGS_MAX] = {"token", "new", "--json", "--site"};
    for (size_t i = 0; more[i]; i++)
        words[i + 4] = more[i];
    json_t *json = secure_json(secure, words);
    const struct secure_token token = {.id = member(secure, json, "id"),
                                       .text = member(secure, json, "token"),
                                       .fingerprint = member(secure, json, "fingerprint"),
                                       .url = member(secure, json, "url")};
    json_decref(json);
    return token;
}

struct secure_device *secure_device(struct secure *secure, size_t i, const char *name,
                                    const char *place)
{
    struct secure_device *device = &secure->devices[i];
    *device = (struct secure_device){.name = name, .place = place, .port = port_free()};
    device->secrets = secure_text(secure, "%s/%s", secure->memory, place);
    const char *config = secure_text(
        secure,
        "{\"device\": \"%s\", \"site\": \"lyon\", \"tenant\": \"acme\", "
        "\"folder\": \"%s/%s\", \"secrets\": \"%s\", "
        "\"apps\": {\"hello\": {\"channel\": \"stable\", \"env\": {\"PORT\": \"%u\"}}}, "
        "\"intervals\": {\"health\": \"500ms\", \"refresh\": \"2s\", "
        "\"reconnect_first\": \"500ms\", \"reconnect_max\": \"1s\"}, "
        "\"fetch\": {\"helper\": \"%s\"}}",
        name, secure->dir, place, device->secrets, device->port, getenv("CAPTAIN_FETCH_BIN"));
    tempdir_write(secure_path(secure, "%s.json", place), config, strlen(config));
    return device;
}

struct proc *secure_enroll_start(struct secure *secure, const struct secure_device *device,
                                 const struct secure_token *token, const char *log)
{
    const char *argv[] = {getenv("CAPTAIN_AGENT_BIN"),
                          "enroll",
                          "--config",
                          secure_path(secure, "%s.json", device->place),
                          "--url",
                          token->url,
                          "--token",
                          token->text,
                          "--fingerprint",
                          token->fingerprint,
                          NULL};
    return secure_start(secure, log, argv);
}

int secure_enroll(struct secure *secure, const struct secure_device *device,
                  const struct secure_token *token)
{
    int status = 0;
    (void)unlink(secure->out);
    struct proc *proc = secure_enroll_start(secure, device, token, "out");
    assert_true(proc_wait(proc, SECURE_RUN_MS, &status));
    proc_free(proc);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

void secure_start_agent(struct secure *secure, struct secure_device *device)
{
    const char *argv[] = {getenv("CAPTAIN_AGENT_BIN"), "--config",
                          secure_path(secure, "%s.json", device->place), NULL};
    device->agent = secure_start(secure, secure_text(secure, "%s.log", device->place), argv);
}

void secure_join(struct secure *secure, size_t devices)
{
    const struct secure_token token =
        TOKEN(secure, "lyon", "--uses", secure_text(secure, "%zu", devices));
    for (size_t i = 0; i < devices; i++) {
        const char *name = secure_text(secure, "gate-%zu", i + 1);
        struct secure_device *device = secure_device(secure, i, name, name);
        if (secure_enroll(secure, device, &token) != 0)
            fail_msg("%s", secure_said(secure));
        secure_start_agent(secure, device);
    }
    for (size_t i = 0; i < devices; i++)
        secure_wait_said(secure, SECURE_DEVICES,
                         secure_text(secure, "%s online", secure->devices[i].name));
}

/* ---- waiting ---- */

size_t secure_count(const char *haystack, const char *needle)
{
    size_t found = 0;
    for (const char *at = strstr(haystack, needle); at; at = strstr(at + 1, needle))
        found++;
    return found;
}

struct hope {
    struct secure *secure;
    const char *const *words; /* of captain; NULL: a file */
    const char *path, *wanted;
    size_t times;
};

/* Many looks at one file: no arena for them. */
static bool comes_true(void *arg)
{
    const struct hope *hope = arg;
    if (hope->words && secure_captain(hope->secure, hope->words) != 0)
        return false;
    char *text = tempdir_read(hope->path, NULL);
    bool there = text && secure_count(text, hope->wanted) >= hope->times;
    free(text);
    return there;
}

static void wait_for(const struct hope *hope)
{
    if (!wait_until(comes_true, (void *)(uintptr_t)hope, SECURE_WAIT_MS))
        fail_msg("%s: not %zu times: %s\nbut:\n%s", hope->path, hope->times, hope->wanted,
                 secure_content(hope->secure, hope->path));
}

void secure_wait_said(struct secure *secure, const char *const *words, const char *wanted)
{
    wait_for(&(struct hope){secure, words, secure->out, wanted, 1});
}

void secure_wait_log(struct secure *secure, const char *log, const char *wanted, size_t times)
{
    wait_for(&(struct hope){secure, NULL, secure_path(secure, "%s", log), wanted, times});
}

void secure_wait_file(struct secure *secure, const char *path, const char *text)
{
    wait_for(&(struct hope){secure, NULL, path, text, 1});
}

struct page {
    uint16_t port;
    const char *body;
};

static bool is_served(void *arg)
{
    const struct page *page = arg;
    return http_page_is(page->port, page->body);
}

void secure_wait_serving(struct secure *secure, const struct secure_device *device,
                         const char *version)
{
    struct page page = {device->port, secure_text(secure, "hello %s\n", version)};
    if (!wait_until(is_served, &page, SECURE_WAIT_MS))
        fail_msg("%s does not serve %s:\n%s", device->name, version,
                 secure_content(secure, secure_path(secure, "%s.log", device->place)));
}

/* ---- releases ---- */

/* What the app shows of its surroundings: flags as they are, of secrets a hash of all. */
#define SHOW                                                                                       \
    "cat $CAPTAIN_FLAGS > $CAPTAIN_STATE/flags; "                                                  \
    "cat $CAPTAIN_SECRETS/* | sha256sum > $CAPTAIN_STATE/sums"

const char *secure_package(struct secure *secure, const char *version)
{
    static const char yaml[] =
        "app: hello\nversion: \"%s\"\n"
        "sources: [{repository: \"https://example.org/hello.git\", commit: \"%040d\"}]\n"
        "artifacts: [{path: www, to: www}]\n"
        "services:\n"
        "  - {name: web, restart_min: 100ms, restart_max: 1s, stop_timeout: 5s,\n"
        "     command: [sh, -c, \"" SHOW "; exec busybox httpd -f -p 127.0.0.1:$PORT -h www\"],\n"
        "     reload: [sh, -c, \"" SHOW "\"]}\n"
        "checks:\n"
        "  - {name: http, kind: http, url: \"http://127.0.0.1:${PORT}/index.html\",\n"
        "     interval: 200ms, timeout: 2s}\n"
        "confirm: 1s\n";
    const char *folder = secure_path(secure, "hello-%s", version);
    const char *www = secure_text(secure, "%s/www", folder);
    assert_int_equal(mkdir(folder, 0755), 0);
    assert_int_equal(mkdir(www, 0755), 0);
    const char *page = secure_text(secure, "hello %s\n", version);
    tempdir_write(secure_text(secure, "%s/index.html", www), page, strlen(page));
    const char *path = secure_text(secure, "%s/release.yaml", folder);
    const char *text = secure_text(secure, yaml, version, 7);
    tempdir_write(path, text, strlen(text));
    return path;
}

void secure_release(struct secure *secure, const char *version)
{
    CAPTAIN_OK(secure, "release", "create", "-f", secure_package(secure, version), "--key",
               secure_text(secure, "%s/keys/release.key", secure->folder));
}

const char *secure_app_path(struct secure *secure, const struct secure_device *device,
                            const char *name)
{
    return secure_path(secure, "%s/apps/hello/%s", device->place, name);
}

/* ---- on the bus ---- */

void secure_probe(struct secure *secure, struct bus_probe *probe, const char *creds,
                  const char *inbox)
{
    struct bus_options options = bus_probe_options(secure->url);
    options.write_deadline_ms = 5000;
    options.tls_ca_path = secure_text(secure, "%s/nats/tls/ca.pem", secure->folder);
    options.creds_path = creds;
    options.inbox_prefix = inbox;
    bus_probe_open(probe, &options);
}
