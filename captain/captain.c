/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/captain.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "captain/api.h"
#include "captain/captain_bus.h"
#include "captain/captain_issue.h"
#include "captain/captain_trust.h"
#include "captain/io/store/store.h"
#include "captain/projection.h"
#include "captain/summary.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"
#include "common/no_dump.h"
#include "common/notify.h"
#include "proto/codec.h"

enum {
    ONLINE_MS = 90000,
    DEVICES_MAX = 1000000,
    FLUSH_MS = 1000,
};
#define DESIRED_VALID_MS (7 * INT64_C(86400000))
#define DESIRED_REISSUE_MS INT64_C(86400000)

/* What only this file needs beside the parts that everybody sees. */
struct serve {
    struct captain captain; /* first: the parts get a pointer to it */
    char folder[PATH_MAX];
    char lock_path[PATH_MAX + 16];
    struct err why;  /* it ends */
    bool root_asked; /* the decision root.created is on its way */
    struct loop_timer watchdog;
    int64_t watchdog_ms;
    int64_t fed_ms;
};

static void end_with(struct serve *serve, const struct err *err)
{
    if (serve->why.code == ERR_OK)
        serve->why = *err;
    serve->captain.exit_code = serve->why.code;
    loop_stop(serve->captain.loop);
}

/* Hooks of the log. */

static enum err_code on_apply(void *arg, const struct log_entry *entry, struct err *err)
{
    struct captain *captain = arg;
    enum err_code code = projection_apply(captain->db, captain->artifacts, entry, err);
    if (code == ERR_OK)
        code = roots_applied(captain->roots, entry, err);
    if (code == ERR_OK)
        code = captain_issue(captain, entry, err);
    return code;
}

static void on_committed(void *arg, const struct log_entry *entry)
{
    struct captain *captain = arg;
    if (strncmp(entry->kind, "device.", 7) == 0)
        desired_devices_send(captain->desired_devices);
    else
        desired_send(captain->desired);
    rollouts_committed(captain->rollouts, entry);
    secrets_committed(captain->secrets, entry);
    captain_trust_committed(captain, entry);
    roots_committed(captain->roots, entry);
    char seq[24];
    (void)snprintf(seq, sizeof seq, "%" PRIu64, entry->seq);
    struct log_field fields[] = {
        {"DECISION", seq}, {"ACTOR", entry->actor}, {"KIND", entry->kind}, {NULL, NULL}};
    log_with(LOG_LEVEL_INFO, fields, "decided: %s %s", entry->kind, entry->subject);
}

static void on_lost(void *arg, const struct err *err)
{
    end_with(arg, err);
}

/* The root is the first thing that a new fleet decides. */

static enum err_code prepare_root(void *arg, struct arena *arena, struct decision *ret,
                                  struct err *err)
{
    const struct captain *captain = arg;
    *ret = (struct decision){.actor = arena_printf(arena, "captain:%s", captain->holder),
                             .kind = "root.created",
                             .subject = captain->keys.root.tenant,
                             .body = captain->keys.root_envelope};
    return ret->actor ? ERR_OK : err_set(err, ERR_SIZE, "the holder's name is too long");
}

static void tell_ready(struct serve *serve)
{
    notify_status("leads the log, now at entry %" PRIu64 "; artifacts at %s",
                  decisions_last_seq(serve->captain.decisions), serve->captain.store_url);
    if (!serve->captain.ready)
        notify_ready();
    serve->captain.ready = true;
}

static void on_root_decided(void *arg, uint64_t seq, const struct err *err)
{
    (void)seq;
    if (err->code == ERR_OK)
        tell_ready(arg);
    else
        end_with(arg, err);
}

static void on_ready(void *arg)
{
    struct serve *serve = arg;
    struct captain *captain = &serve->captain;
    struct err err = {0};
    bool known = false;
    enum err_code code = roots_known(captain->roots, &known, &err);
    if (code == ERR_OK && !known && !serve->root_asked) {
        serve->root_asked = true;
        code = decisions_submit(captain->decisions, prepare_root, on_root_decided, serve, &err);
    }
    if (code != ERR_OK) {
        end_with(serve, &err);
        return;
    }
    captain_trust_ready(captain);
    desired_connected(captain->desired);
    desired_devices_connected(captain->desired_devices);
    roots_connected(captain->roots);
    rollouts_connected(captain->rollouts);
    secrets_connected(captain->secrets);
    ingest_connected(captain->ingest);
    if (known)
        tell_ready(serve);
}

/* Events of the loop. */

static void on_terminate(void *arg)
{
    struct serve *serve = arg;
    log_write(LOG_LEVEL_INFO, "asked to end");
    loop_stop(serve->captain.loop);
}

/* Only wakes the loop: what feeds the watchdog is the end of a turn. */
static void on_watchdog(void *arg)
{
    struct serve *serve = arg;
    loop_timer_at(serve->captain.loop, &serve->watchdog,
                  loop_now_ms(serve->captain.loop) + serve->watchdog_ms, on_watchdog, serve);
}

/* What is still open of the turn is committed; a disk that fails ends captain. */
static void on_turn_end(void *arg)
{
    struct serve *serve = arg;
    struct captain *captain = &serve->captain;
    struct err err = {0};
    if (db_commit(captain->db, &err) != ERR_OK) {
        (void)err_wrap(&err, "captain.db");
        end_with(serve, &err);
    }
    rollouts_turn_end(captain->rollouts);
    int64_t now_ms = loop_now_ms(captain->loop);
    if (serve->watchdog_ms > 0 && now_ms - serve->fed_ms >= serve->watchdog_ms / 2) {
        serve->fed_ms = now_ms;
        notify_watchdog();
    }
}

/* Opening, in the order of need. */

static enum err_code open_folder(struct serve *serve, struct err *err)
{
    struct captain *captain = &serve->captain;
    char host[HOST_NAME_MAX + 1] = "localhost";
    (void)gethostname(host, sizeof host - 1);
    (void)snprintf(captain->holder, sizeof captain->holder, "%s:%d", host, (int)getpid());
    enum err_code code = file_make_dirs(captain->options.folder, 0700, err);
    if (code != ERR_OK)
        return code;
    if (!realpath(captain->options.folder, serve->folder))
        return err_sys(err, errno, "finding folder %s", captain->options.folder);
    captain->options.folder = serve->folder;
    (void)snprintf(serve->lock_path, sizeof serve->lock_path, "%s/captain.lock", serve->folder);
    code = file_lock(serve->lock_path, captain->holder, &captain->lock_fd, err);
    if (code != ERR_CONFLICT)
        return code;
    (void)err_wrap(err, "folder %s belongs to another captain", serve->folder);
    return err_hint(err, "stop that one first, or give this one another folder");
}

static enum err_code open_state(struct serve *serve, struct err *err)
{
    struct captain *captain = &serve->captain;
    bool created = false;
    enum err_code code = store_open(serve->folder, &captain->db, err);
    if (code == ERR_OK)
        code = keys_open(serve->folder, captain->options.tenant, captain->started_ms,
                         &captain->keys, &created, err);
    if (code != ERR_OK)
        return code;
    if (created)
        log_write(LOG_LEVEL_INFO, "new keys and root of tenant %s in %s", captain->options.tenant,
                  serve->folder);
    if (captain->keys.root.expires_ms <= captain->started_ms)
        log_write(LOG_LEVEL_ERROR, "the root has expired: devices install nothing");
    return artifacts_open(serve->folder, &captain->artifacts, err);
}

/* What devices are told: the address listened on; where that is all addresses, this host's name. */
static enum err_code name_store(struct captain *captain, struct err *err)
{
    char host[HOST_NAME_MAX + 1] = "localhost";
    const char *given = captain->options.store_url;
    const char *listen = captain->options.listen;
    const char *colon = strrchr(listen, ':');
    size_t len = colon ? (size_t)(colon - listen) : strlen(listen);
    bool any = len == 0 || strncmp(listen, "0.0.0.0:", 8) == 0 || strncmp(listen, "[::]:", 5) == 0;
    (void)gethostname(host, sizeof host - 1);
    int made =
        given ? snprintf(captain->store_url, sizeof captain->store_url, "%s", given)
              : snprintf(captain->store_url, sizeof captain->store_url, "http%s://%.*s:%u",
                         captain->options.tls_cert ? "s" : "", any ? (int)strlen(host) : (int)len,
                         any ? host : listen, (unsigned)http_server_port(captain->http));
    if (made < 0 || (size_t)made >= sizeof captain->store_url)
        return err_set(err, ERR_SIZE, "the store's URL is longer than %zu bytes",
                       sizeof captain->store_url - 1);
    return ERR_OK;
}

static enum err_code open_http(struct captain *captain, struct err *err)
{
    const struct captain_options *options = &captain->options;
    const struct http_tls tls = {options->tls_cert, options->tls_key};
    return http_server_open(options->listen, options->folder, options->tls_cert ? &tls : NULL,
                            &captain->http, err);
}

static enum err_code open_log(struct serve *serve, struct err *err)
{
    struct captain *captain = &serve->captain;
    struct desired_options desired = {captain->options.tenant, captain->store_url, DESIRED_VALID_MS,
                                      DESIRED_REISSUE_MS};
    struct decisions_hooks hooks = {on_apply, on_committed, on_ready, on_lost, serve};
    enum err_code code = desired_open(captain->loop, captain->streams, captain->db, &captain->keys,
                                      &desired, &captain->desired, err);
    if (code == ERR_OK)
        code = desired_devices_open(captain->loop, captain->streams, captain->db, &captain->keys,
                                    &desired, &captain->desired_devices, err);
    const struct roots_parts roots = {captain->loop, captain->streams, captain->db, &captain->keys,
                                      serve->folder};
    if (code == ERR_OK)
        code = roots_open(&roots, &captain->roots, err);
    if (code == ERR_OK)
        code = decisions_open(captain->loop, captain->streams, captain->db, captain->holder,
                              serve->folder, &hooks, &captain->decisions, err);
    return code;
}

static void hear_event(void *arg, uint32_t device, const struct event *event)
{
    struct captain *captain = arg;
    rollouts_event(captain->rollouts, device, event);
}

static void hear_health(void *arg, uint32_t device, const struct health *health)
{
    struct captain *captain = arg;
    rollouts_health(captain->rollouts, device, health);
    secrets_health(captain->secrets, device, health);
    captain_trust_heard(captain, device, health);
}

static void hear_telemetry(void *arg, uint32_t device, const struct telemetry *telemetry)
{
    struct captain *captain = arg;
    metrics_telemetry(captain->metrics, device, telemetry);
}

static void hear_rolled_back(void *arg)
{
    struct captain *captain = arg;
    rollouts_rolled_back(captain->rollouts);
}

static bool live_rollout(void *arg, uint32_t i, struct rollout_handle *ret)
{
    return rollouts_live_at(arg, i, ret);
}

static void measured(void *arg, const char *id, uint32_t metric, enum rollout_sample sample,
                     double value, int64_t measured_ms)
{
    rollouts_metric(arg, id, metric, sample, value, measured_ms);
}

static enum err_code open_metrics(struct captain *captain, struct err *err)
{
    char folder[PATH_MAX + 16];
    (void)snprintf(folder, sizeof folder, "%s/metric", captain->options.folder);
    const struct metrics_parts parts = {.loop = captain->loop,
                                        .rollouts = {live_rollout, measured, captain->rollouts},
                                        .folder = folder,
                                        .fetch_helper = captain->options.fetch_helper};
    return metrics_open(&parts, &captain->metrics, err);
}

static enum err_code open_rollouts(struct captain *captain, struct err *err)
{
    const struct rollouts_parts parts = {captain->loop,
                                         captain->bus,
                                         captain->db,
                                         captain->fleet,
                                         captain->decisions,
                                         captain->holder,
                                         captain->account ? captain->incidents : NULL};
    enum err_code code = rollouts_open(&parts, &captain->rollouts, err);
    if (code == ERR_OK)
        code = open_metrics(captain, err);
    if (code != ERR_OK)
        return code;
    const struct ingest_hooks hooks = {.event = hear_event,
                                       .health = hear_health,
                                       .telemetry = hear_telemetry,
                                       .rolled_back = hear_rolled_back,
                                       .arg = captain};
    ingest_watch(captain->ingest, &hooks);
    return ERR_OK;
}

static enum err_code open_secrets(struct captain *captain, struct err *err)
{
    enum err_code code = ERR_OK;
    if (captain->options.master_key)
        code =
            vault_open(captain->options.master_key, captain->options.folder, &captain->vault, err);
    const struct secrets_parts parts = {captain->loop,  captain->db,
                                        captain->fleet, captain->desired_devices,
                                        captain->vault, captain->options.folder};
    return code ? code : secrets_open(&parts, &captain->secrets, err);
}

static enum err_code open_edges(struct serve *serve, struct err *err)
{
    struct captain *captain = &serve->captain;
    captain->fleet = fleet_new(captain->options.devices_max, captain->options.online_ms);
    enum err_code code = ingest_open(captain->loop, captain->bus, captain->db, captain->fleet,
                                     captain->options.flush_ms, &captain->ingest, err);
    if (code == ERR_OK && captain->streams != captain->bus)
        ingest_streams(captain->ingest, captain->streams);
    if (code == ERR_OK)
        code = open_secrets(captain, err);
    if (code == ERR_OK)
        code = captain_trust_open(captain, err);
    if (code == ERR_OK)
        code = open_rollouts(captain, err);
    if (code == ERR_OK)
        code = api_open(captain, &captain->api, err);
    if (code == ERR_OK)
        captain->summary = summary_new(captain);
    return code;
}

static enum err_code open_all(struct serve *serve, struct err *err)
{
    struct captain *captain = &serve->captain;
    enum err_code code = open_folder(serve, err);
    if (code == ERR_OK)
        code = open_state(serve, err);
    if (code == ERR_OK)
        code = open_http(captain, err);
    if (code == ERR_OK)
        code = name_store(captain, err);
    if (code == ERR_OK)
        code = loop_open(&captain->loop, err);
    if (code == ERR_OK)
        code = captain_bus_open(captain, err);
    if (code == ERR_OK)
        code = open_log(serve, err);
    if (code == ERR_OK)
        code = open_edges(serve, err);
    if (code != ERR_OK)
        return code;
    loop_on_terminate(captain->loop, on_terminate, serve);
    loop_on_turn_end(captain->loop, on_turn_end, serve);
    serve->watchdog_ms = notify_watchdog_interval_ms();
    if (serve->watchdog_ms > 0)
        on_watchdog(serve);
    return captain_bus_start(captain, err);
}

/* Decisions and events that wait are answered while there is a bus; the bus ends before what its
 * callbacks use. */
static void close_all(struct serve *serve)
{
    struct captain *captain = &serve->captain;
    struct err err = {0};
    loop_timer_stop(&serve->watchdog);
    decisions_close(captain->decisions);
    if (captain->ingest && ingest_flush(captain->ingest, &err) != ERR_OK)
        log_err("what devices reported last is not written; they send it again", &err);
    captain_bus_close(captain);
    summary_free(captain->summary);
    api_close(captain->api);
    captain_trust_close(captain);
    ingest_close(captain->ingest);
    metrics_close(captain->metrics);
    rollouts_close(captain->rollouts);
    secrets_close(captain->secrets);
    vault_close(captain->vault);
    desired_devices_close(captain->desired_devices);
    desired_close(captain->desired);
    roots_close(captain->roots);
    fleet_free(captain->fleet);
    loop_close(captain->loop);
    http_server_close(captain->http);
    artifacts_close(captain->artifacts);
    keys_close(&captain->keys);
    db_close(captain->db);
    if (captain->lock_fd >= 0)
        (void)close(captain->lock_fd);
}

static void fill_options(struct captain *captain, const struct captain_options *options)
{
    captain->options = *options;
    if (!captain->options.listen)
        captain->options.listen = "127.0.0.1:0";
    if (!captain->options.tenant)
        captain->options.tenant = "default";
    if (captain->options.online_ms == 0)
        captain->options.online_ms = ONLINE_MS;
    if (captain->options.devices_max == 0)
        captain->options.devices_max = DEVICES_MAX;
    if (captain->options.flush_ms == 0)
        captain->options.flush_ms = FLUSH_MS;
}

enum err_code captain_serve(const struct captain_options *options, struct err *err)
{
    no_dump();
    struct serve *serve = mem_new(1, sizeof *serve);
    serve->captain.lock_fd = -1;
    serve->captain.started_ms = clock_unix_ms();
    fill_options(&serve->captain, options);
    enum err_code code = open_all(serve, err);
    if (code == ERR_OK) {
        log_write(LOG_LEVEL_INFO, "captain %s, folder %s, artifacts at %s", CAPTAIN_VERSION,
                  serve->folder, serve->captain.store_url);
        loop_run(serve->captain.loop);
        notify_stopping();
        code = serve->why.code;
        if (code != ERR_OK && err)
            *err = serve->why;
    }
    close_all(serve);
    mem_free(serve);
    return code;
}
