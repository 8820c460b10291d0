/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/dev.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/hash.h"

enum { ASSET_BYTES = 1 << 20, COMMIT_BYTES = 20 };

static bool is_empty(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir)
        return errno == ENOENT;
    int entries = 0;
    while (readdir(dir) != NULL)
        entries++;
    (void)closedir(dir);
    return entries <= 2; /* "." and ".." */
}

enum err_code dev_make_folder(struct dev *dev, struct err *err)
{
    const char *given = dev->invocation->flags[FLAG_STATE_DIR];
    const char *base = getenv("TMPDIR");
    if (!given) {
        (void)snprintf(dev->dir, sizeof dev->dir, "%s/captain-dev-XXXXXX",
                       base && base[0] ? base : "/tmp");
        return mkdtemp(dev->dir) ? ERR_OK
                                 : err_sys(err, errno, "cannot make a folder %s", dev->dir);
    }
    if (!is_empty(given)) {
        err_set(err, ERR_USAGE, "--state-dir %s is no empty folder", given);
        return err_hint(err, "name one that does not exist yet; it is removed at the end");
    }
    if (file_make_dirs(given, 0700, err))
        return err->code;
    return realpath(given, dev->dir) ? ERR_OK : err_sys(err, errno, "cannot find %s", given);
}

static enum err_code write_json(const char *path, json_t *json, struct err *err)
{
    char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
    json_decref(json);
    if (!text)
        return err_set(err, ERR_FAILED, "cannot write %s: a path is not UTF-8", path);
    enum err_code code = file_replace(path, bytes_of(text, strlen(text)), 0600, err);
    free(text);
    return code;
}

static void add_plain(const struct dev *dev, const struct dev_agent *agent, json_t *json,
                      const char *root)
{
    const char *url = agent->net ? dev_net_url(agent->net) : dev->nats_url;
    (void)json_object_set_new(json, "nats", json_pack("{s:s}", "url", url));
    (void)json_object_set_new(json, "root", json_string(root));
}

/* Where the bus is, what to trust and who it is: all that comes with enrolment. */
static void add_secure(const struct dev *dev, const struct dev_agent *agent, json_t *json)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", dev->trust.secrets, agent->device);
    (void)json_object_set_new(json, "secrets", json_string(path));
    if (!agent->net)
        return;
    const char *address = strstr(dev_net_url(agent->net), "://");
    (void)snprintf(path, sizeof path, "tls%s", address);
    (void)json_object_set_new(json, "nats", json_pack("{s:s}", "url", path));
}

enum err_code dev_write_agent(struct dev *dev, struct dev_agent *agent, const char **ret_path,
                              struct err *err)
{
    const char *folder = arena_printf(dev->arena, "%s/agents/%s", dev->dir, agent->device);
    const char *path = arena_printf(dev->arena, "%s/agents/%s.json", dev->dir, agent->device);
    const char *root = arena_printf(dev->arena, "%s/captain/root.dsse", dev->dir);
    char port[8];
    if (!folder || !path || !root)
        return err_set(err, ERR_SIZE, "too many agents");
    if (file_make_dirs(folder, 0700, err))
        return err->code;
    (void)snprintf(port, sizeof port, "%u", (unsigned)agent->port);
    json_t *json = json_pack(
        "{s:s, s:s, s:s, s:{s:{s:s, s:{s:s, s:s, s:s}}}, s:{s:s}, s:{s:s, s:s, s:s, s:s, s:s}}",
        "device", agent->device, "site", agent->site, "folder", folder, "apps", "hello", "channel",
        "stable", "env", "PORT", port, "AGENT", path, "CUT", agent->cut, "fetch", "helper",
        dev->fetch_bin, "intervals", "health", "1s", "telemetry", "1s", "refresh", "10s",
        "reconnect_first", "1s", "reconnect_max", "1s");
    if (dev->secure)
        add_secure(dev, agent, json);
    else
        add_plain(dev, agent, json, root);
    *ret_path = path;
    return write_json(path, json, err);
}

void dev_content(const char *version, char ret[static 64])
{
    (void)snprintf(ret, 64, "hello from version %s", version);
}

static enum err_code write_mode(const char *folder, const char *name, struct bytes text,
                                mode_t mode, struct err *err)
{
    char path[PATH_MAX + 128];
    int len = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (len < 0 || (size_t)len >= sizeof path)
        return err_set(err, ERR_USAGE, "the path %.64s... is too long", folder);
    return file_replace(path, text, mode, err);
}

static enum err_code write_text(const char *folder, const char *name, struct bytes text,
                                struct err *err)
{
    return write_mode(folder, name, text, 0644, err);
}

/* Something to transfer that cannot be compressed, new in each version. */
static enum err_code write_asset(const char *www, struct err *err)
{
    char *asset DEFER(mem_free_ref) = mem_new(1, ASSET_BYTES);
    clock_random(asset, ASSET_BYTES);
    return write_text(www, "asset.bin", bytes_of(asset, ASSET_BYTES), err);
}

/* The health endpoint: 500 while the service is sick. The marker lies with the app's data. */
static const char health_cgi[] =
    "#!/bin/sh\n"
    "if [ -e \"$CAPTAIN_STATE/sick-$CAPTAIN_VERSION\" ]; then\n"
    "    printf 'Status: 500 Internal Server Error\\r\\n\\r\\nsick\\n'\n"
    "else\n"
    "    printf 'Content-Type: text/plain\\r\\n\\r\\nok\\n'\n"
    "fi\n";

/* What the app was given, as an app reads it; of the secret only a fingerprint. */
static const char settings_cgi[] =
    "#!/bin/sh\n"
    "[ ! -e \"$CAPTAIN_FLAGS_ENV\" ] || . \"$CAPTAIN_FLAGS_ENV\"\n"
    "key=$(busybox sha256sum <\"$CAPTAIN_SECRETS/api-key\" | busybox cut -c 1-16)\n"
    "printf 'Content-Type: text/plain\\r\\n\\r\\nwelcome=%s api-key=%s\\n' \"$FLAG_WELCOME\" "
    "\"$key\"\n";

/* What a scenario adds comes before the server takes the place of the shell. */
static const char serve_sh[] =
    "tell() { echo \"{\\\"memory_mib\\\": $1}\" >\"$CAPTAIN_STATE/metrics.tmp\" &&\n"
    "    mv \"$CAPTAIN_STATE/metrics.tmp\" \"$CAPTAIN_STATE/metrics.json\"; }\n"
    "tell 20\n"
    "rm -f \"$CAPTAIN_STATE/sick-$CAPTAIN_VERSION\" \"$CUT\"\n"
    "%s"
    "exec busybox httpd -f -p \"127.0.0.1:$PORT\" -h www\n";

static enum err_code write_www(const struct dev *dev, const char *www, const char *version,
                               struct err *err)
{
    char page[64 + 1], cgi[PATH_MAX + 80];
    dev_content(version, page);
    strncat(page, "\n", sizeof page - strlen(page) - 1);
    (void)snprintf(cgi, sizeof cgi, "%s/cgi-bin", www);
    if (file_make_dirs(cgi, 0755, err) ||
        write_text(www, "index.html", bytes_of(page, strlen(page)), err) ||
        write_mode(cgi, "health", bytes_of(health_cgi, strlen(health_cgi)), 0755, err) ||
        (dev->secure &&
         write_mode(cgi, "settings", bytes_of(settings_cgi, strlen(settings_cgi)), 0755, err)))
        return err->code;
    return write_asset(www, err);
}

static const char release_yaml[] =
    "app: hello\n"
    "version: \"%s\"\n"
    "sources:\n"
    "  - {repository: \"https://example.org/hello.git\", commit: %s}\n"
    "artifacts:\n"
    "  - {path: www, to: www}\n"
    "  - {path: serve.sh, to: serve.sh}\n"
    "services:\n"
    "  - name: web\n"
    "    command: [busybox, sh, serve.sh]\n"
    "    stop_timeout: 1s\n"
    "    restart_min: 200ms\n"
    "    restart_max: 1s\n"
    "checks:\n"
    "  - {name: alive, kind: process, service: web, interval: 250ms}\n"
    "  - {name: health, kind: http, url: \"http://127.0.0.1:${PORT}/cgi-bin/health\", expect_body: "
    "ok, "
    "interval: 300ms, timeout: 500ms}\n"
    "metrics_file: metrics.json\n"
    "confirm: 2s\n";

enum err_code dev_write_release(struct dev *dev, const char *version, const char *script,
                                const char **ret_yaml, struct err *err)
{
    char www[PATH_MAX + 64];
    char commit[2 * DIGEST_BYTES + 1];
    uint8_t digest[DIGEST_BYTES];
    const char *folder = arena_printf(dev->arena, "%s/hello-%s", dev->dir, version);
    const char *path = arena_printf(dev->arena, "%s/hello-%s/release.yaml", dev->dir, version);
    hash_bytes(bytes_of(version, strlen(version)),
               digest); /* there is no repository: any 40 digits do */
    str_hex(bytes_of(digest, COMMIT_BYTES), commit);
    const char *text = arena_printf(dev->arena, release_yaml, version, commit);
    const char *serve = arena_printf(dev->arena, serve_sh, script);
    if (!folder || !path || !text || !serve)
        return err_set(err, ERR_SIZE, "the folder's path is too long");
    (void)snprintf(www, sizeof www, "%s/www", folder);
    if (write_www(dev, www, version, err) ||
        write_text(folder, "serve.sh", bytes_of(serve, strlen(serve)), err) ||
        write_text(folder, "release.yaml", bytes_of(text, strlen(text)), err))
        return err->code;
    *ret_yaml = path;
    return ERR_OK;
}
