/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/agent.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/app.h"
#include "agent/app_events.h"
#include "agent/device.h"
#include "agent/io/deadman_timer.h"
#include "agent/io/folder_lock.h"
#include "agent/io/telemetry.h"
#include "agent/link.h"
#include "agent/renewal.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"
#include "common/notify.h"

enum {
    AGENT_PATH_MAX = 1200,
    ROUNDS_MAX = 16,        /* of looking and acting in one turn; the rest waits for the next */
    COMMIT_RETRY_MS = 5000, /* a disk that takes nothing is asked this often */
    FLUSH_MS = 1000,
};

struct agent {
    const struct config *config;
    const struct supervisor_link *parent; /* NULL: none */
    struct loop *loop;
    int lock_fd;
    struct agent_store *store;
    struct trust *trust;
    struct rng rng;
    struct device *device;
    struct secret_folder *secrets;
    struct app *apps[CONFIG_APPS_MAX];
    struct link *link;
    struct renewal *renewal; /* NULL: none */
    struct app_events events;
    uint64_t root_rejected; /* hash of the root rejected last, told once */
    struct telemetry_reader telemetry;
    struct loop_timer watchdog, again, beat;
    int64_t beat_ms;                        /* the last */
    uint64_t metrics_told[CONFIG_APPS_MAX]; /* hash of the last complaint about an app's numbers */
    bool ending;
};

/* ---- the turn ---- */

static enum err_code store_all(struct agent *agent, struct err *err)
{
    enum err_code code = app_events_store(&agent->events, agent->store, err);
    if (code == ERR_OK)
        code = device_store(agent->device, err);
    for (size_t i = 0; code == ERR_OK && i < agent->config->apps_len; i++)
        code = app_store(agent->apps[i], err);
    struct err commit_err;
    enum err_code committed =
        agent_store_commit(agent->store, &commit_err); /* also ends one that is poisoned */
    if (code == ERR_OK && committed != ERR_OK) {
        *err = commit_err;
        code = committed;
    }
    if (code != ERR_OK)
        return code;
    app_events_clear(&agent->events);
    device_stored(agent->device);
    for (size_t i = 0; i < agent->config->apps_len; i++)
        app_stored(agent->apps[i]);
    return ERR_OK;
}

static void on_again(void *arg)
{
    (void)arg; /* the end of this turn tries again */
}

/* The document about this device is in force when each app has its secrets by it. */
static void note_in_force(struct agent *agent)
{
    uint64_t generation = device_document(agent->device)->generation;
    for (size_t i = 0; i < agent->config->apps_len; i++) {
        if (app_secrets_generation(agent->apps[i]) != generation)
            return;
    }
    if (device_put_in_force(agent->device, generation))
        link_changed(agent->link);
}

/* Steps, one transaction, then deeds; true: there is more to do at once. */
static bool round_of_turn(struct agent *agent)
{
    struct err err;
    bool more = false;
    for (size_t i = 0; i < agent->config->apps_len; i++)
        app_step(agent->apps[i]);
    if (store_all(agent, &err) != ERR_OK) {
        if (agent->again.slot == 0) {
            log_err("nothing can be stored, so nothing is done", &err);
            loop_timer_at(agent->loop, &agent->again, loop_now_ms(agent->loop) + COMMIT_RETRY_MS,
                          on_again, agent);
        }
        return false;
    }
    link_turn(agent->link);
    for (size_t i = 0; i < agent->config->apps_len; i++)
        more |= app_act(agent->apps[i]);
    note_in_force(agent);
    return more;
}

static bool all_down(const struct agent *agent)
{
    for (size_t i = 0; i < agent->config->apps_len; i++) {
        if (!app_is_down(agent->apps[i]))
            return false;
    }
    return true;
}

/* A pipe that is full holds enough to be heard. */
static void tell_parent(const struct agent *agent, enum supervisor_word word)
{
    char byte = (char)word;
    if (agent->parent)
        (void)!write(agent->parent->pipe_fd, &byte, 1);
}

static void on_beat(void *arg)
{
    struct agent *agent = arg;
    loop_timer_at(agent->loop, &agent->beat, loop_now_ms(agent->loop) + agent->parent->beat_ms,
                  on_beat, agent); /* the end of this turn says it */
}

static void beat(struct agent *agent)
{
    int64_t now_ms = loop_now_ms(agent->loop);
    if (!agent->parent || now_ms - agent->beat_ms < agent->parent->beat_ms / 2)
        return;
    agent->beat_ms = now_ms;
    tell_parent(agent, SUPERVISOR_ALIVE);
}

static void on_turn_end(void *arg)
{
    struct agent *agent = arg;
    unsigned rounds = 0;
    while (round_of_turn(agent)) {
        if (++rounds == ROUNDS_MAX) {
            loop_timer_at(agent->loop, &agent->again, loop_now_ms(agent->loop), on_again, agent);
            break;
        }
    }
    if (agent->ending && all_down(agent))
        loop_stop(agent->loop);
    beat(agent);
    notify_watchdog();
}

static void on_watchdog(void *arg)
{
    struct agent *agent = arg;
    loop_timer_at(agent->loop, &agent->watchdog,
                  loop_now_ms(agent->loop) + notify_watchdog_interval_ms(), on_watchdog, agent);
}

/* ---- what the link asks and brings ---- */

static void on_device(struct agent *agent, struct bytes envelope)
{
    struct err err;
    bool changed = device_desired(agent->device, envelope, &err);
    if (err.code != ERR_OK) {
        struct event event = {
            .kind = EVENT_KIND_DESIRED_REJECTED, .code = (uint32_t)err.code, .text = err.text};
        log_err("what is said of this device is rejected", &err);
        app_events_add(&agent->events, &event);
    }
    for (size_t i = 0; changed && i < agent->config->apps_len; i++)
        app_device_changed(agent->apps[i]);
}

static void on_desired(void *arg, size_t app, struct bytes envelope)
{
    struct agent *agent = arg;
    if (!agent->ending && app == LINK_DEVICE)
        on_device(agent, envelope);
    else if (!agent->ending)
        app_desired(agent->apps[app], envelope);
}

static void reject_root(struct agent *agent, struct bytes envelope, struct err *err)
{
    struct event event = {.kind = EVENT_KIND_DESIRED_REJECTED, .code = (uint32_t)err->code};
    uint64_t hash = rng_hash((uint64_t)err->code, envelope.ptr, envelope.len);
    if (hash == agent->root_rejected)
        return; /* it comes again with every refresh */
    agent->root_rejected = hash;
    (void)err_wrap(err, "root document");
    event.text = err->text;
    log_err("a new root is rejected", err);
    app_events_add(&agent->events, &event);
}

static bool on_root(void *arg, struct bytes envelope)
{
    struct agent *agent = arg;
    struct err err;
    if (agent->ending)
        return false;
    if (trust_take_root(agent->trust, envelope, &err) != ERR_OK) {
        reject_root(agent, envelope, &err);
        return false;
    }
    log_write(LOG_LEVEL_INFO, "root version %" PRIu64 " is in force",
              trust_root_version(agent->trust));
    for (size_t i = 0; i < agent->config->apps_len; i++)
        app_root_changed(agent->apps[i]);
    return true;
}

static uint64_t root_version(void *arg)
{
    const struct agent *agent = arg;
    return trust_root_version(agent->trust);
}

static void on_bus(void *arg, bool connected)
{
    struct agent *agent = arg;
    renewal_bus(agent->renewal, connected);
    for (size_t i = 0; i < agent->config->apps_len; i++)
        app_bus(agent->apps[i], connected);
}

static void on_refused(void *arg)
{
    renewal_refused(((struct agent *)arg)->renewal);
}

static enum err_code on_renew(void *arg, struct bytes request, bus_reply_fn fn, void *fn_arg,
                              struct err *err)
{
    return link_renew(((struct agent *)arg)->link, request, fn, fn_arg, err);
}

static void on_renewed(void *arg)
{
    link_reconnect(((struct agent *)arg)->link);
}

static void fill_health(void *arg, struct arena *arena, struct health *ret)
{
    struct agent *agent = arg;
    size_t len = agent->config->apps_len;
    struct app_status *apps = arena_alloc(arena, len * sizeof *apps);
    for (size_t i = 0; apps && i < len; i++)
        app_status(agent->apps[i], arena, &apps[i]);
    ret->apps = apps;
    ret->apps_len = apps ? len : 0;
    ret->device_generation = device_generation_in_force(agent->device);
}

/* A file that stays as it is is complained of once. */
static void tell_metrics(struct agent *agent, size_t app, enum err_code code, const struct err *err)
{
    bool bad = code != ERR_OK && code != ERR_NOT_FOUND;
    uint64_t hash = bad ? rng_hash(1, err->text, strlen(err->text)) : 0;
    if (bad && hash != agent->metrics_told[app])
        log_err(agent->config->apps[app].app, err);
    agent->metrics_told[app] = hash;
}

static void fill_telemetry(void *arg, struct arena *arena, struct telemetry *ret)
{
    struct agent *agent = arg;
    telemetry_read(&agent->telemetry, agent->config->folder, clock_unix_ms(), ret);
    struct app_metrics *apps = arena_alloc(arena, agent->config->apps_len * sizeof *apps);
    struct err err;
    size_t len = 0;
    for (size_t i = 0; apps && i < agent->config->apps_len; i++) {
        enum err_code code = app_metrics(agent->apps[i], arena, &apps[len], &err);
        len += code == ERR_OK;
        tell_metrics(agent, i, code, &err);
        app_trim_logs(agent->apps[i]);
    }
    ret->apps = apps;
    ret->apps_len = len;
}

static void on_change(void *arg)
{
    struct agent *agent = arg;
    if (agent->link)
        link_changed(agent->link);
}

static enum err_code on_ask(void *arg, const struct lease_request *request, app_lease_fn fn,
                            void *app, struct err *err)
{
    struct agent *agent = arg;
    return link_ask(agent->link, request, fn, app, err);
}

static void on_give_back(void *arg, const struct lease_request *request)
{
    struct agent *agent = arg;
    link_give_back(agent->link, request);
}

static void on_deadman(void *arg, const char *app, const struct release_dir *dir, int64_t window_ms)
{
    struct agent *agent = arg;
    tell_parent(agent, SUPERVISOR_DEADMAN);
    if (window_ms > 0)
        deadman_timer_arm(agent->loop, app, dir->path, window_ms);
    else if (window_ms == 0)
        deadman_timer_disarm(agent->loop, app);
}

/* ---- from start to end ---- */

static void on_terminate(void *arg)
{
    struct agent *agent = arg;
    if (agent->ending)
        return;
    agent->ending = true;
    log_write(LOG_LEVEL_INFO, "asked to end: stopping the services");
    notify_stopping();
    for (size_t i = 0; i < agent->config->apps_len; i++)
        app_shut_down(agent->apps[i]);
}

static enum err_code take_folder(struct agent *agent, struct err *err)
{
    if (!agent->parent)
        return folder_lock_take(agent->config->folder, &agent->lock_fd, err);
    agent->lock_fd = agent->parent->lock_fd;
    return ERR_OK;
}

static enum err_code open_store(struct agent *agent, struct err *err)
{
    char path[AGENT_PATH_MAX], kept[AGENT_PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/agent.db", agent->config->folder);
    (void)snprintf(kept, sizeof kept, "%s/root.dsse", agent->config->folder);
    enum err_code code = agent_store_open(path, &agent->store, err);
    if (code != ERR_OK)
        return code;
    struct trust_options options = {.anchor = agent->config->root,
                                    .kept = kept,
                                    .tenant = agent->config->tenant,
                                    .hardware = agent->config->hardware,
                                    .store = agent->store};
    return trust_open(&options, &agent->trust, err);
}

static enum err_code open_apps(struct agent *agent, struct err *err)
{
    for (size_t i = 0; i < agent->config->apps_len; i++) {
        struct app_options options = {
            .loop = agent->loop,
            .store = agent->store,
            .trust = agent->trust,
            .device = agent->device,
            .secrets = agent->secrets,
            .config = agent->config,
            .app = &agent->config->apps[i],
            .rng = &agent->rng,
            .on_change = on_change,
            .ask = on_ask,
            .give_back = on_give_back,
            .on_deadman = on_deadman,
            .arg = agent,
        };
        enum err_code code = app_open(&options, &agent->apps[i], err);
        if (code)
            return code;
    }
    return ERR_OK;
}

/* Secrets of apps that are no longer configured go. What is in the way of that is told when an app
 * is to get some. */
static void open_secrets(struct agent *agent)
{
    char base[SECRET_FOLDER_PATH_MAX];
    const char *names[CONFIG_APPS_MAX];
    struct err err;
    for (size_t i = 0; i < agent->config->apps_len; i++)
        names[i] = agent->config->apps[i].app;
    agent->secrets = secret_folder_new(secret_folder_base(agent->config->secrets, base));
    if (secret_folder_keep_only(agent->secrets, names, agent->config->apps_len, &err) != ERR_OK)
        log_err("old secrets are not removed", &err);
}

static enum err_code open_link(struct agent *agent, struct err *err)
{
    struct link_options options = {
        .root = {on_root, root_version, agent},
        .loop = agent->loop,
        .store = agent->store,
        .config = agent->config,
        .rng = &agent->rng,
        .owner = {.desired = on_desired,
                  .bus = on_bus,
                  .refused = on_refused,
                  .health = fill_health,
                  .telemetry = fill_telemetry,
                  .arg = agent},
    };
    struct renewal_options renewal = {
        .loop = agent->loop,
        .config = agent->config,
        .rng = &agent->rng,
        .owner = {on_renew, on_renewed, agent},
    };
    enum err_code code = renewal_open(&renewal, &agent->renewal, err);
    return code ? code : link_open(&options, &agent->link, err);
}

static void say_started(struct agent *agent)
{
    struct event event = {.kind = EVENT_KIND_AGENT_STARTED,
                          .text = "captain-agent " CAPTAIN_VERSION};
    app_events_add(&agent->events, &event);
}

static enum err_code open_all(struct agent *agent, struct err *err)
{
    uint64_t seed;
    enum err_code code;
    clock_random(&seed, sizeof seed);
    rng_seed(&agent->rng, seed);
    if ((code = take_folder(agent, err)) || (code = loop_open(&agent->loop, err)) ||
        (code = open_store(agent, err)) ||
        (code = device_open(agent->config, agent->store, agent->trust, &agent->device, err)))
        return code;
    open_secrets(agent);
    if ((code = open_apps(agent, err)))
        return code;
    say_started(agent);
    return open_link(agent, err);
}

static void close_all(struct agent *agent)
{
    link_close(agent->link, FLUSH_MS);
    agent->link = NULL;
    renewal_close(agent->renewal);
    for (size_t i = 0; i < CONFIG_APPS_MAX; i++)
        app_close(agent->apps[i]);
    app_events_clear(&agent->events);
    secret_folder_free(agent->secrets);
    device_close(agent->device);
    trust_close(agent->trust);
    agent_store_close(agent->store);
    loop_close(agent->loop);
    if (agent->lock_fd >= 0)
        (void)close(agent->lock_fd);
}

enum err_code agent_run(const struct config *config, const struct supervisor_link *parent,
                        struct err *err)
{
    struct agent agent = {.config = config, .parent = parent, .lock_fd = -1, .beat_ms = INT32_MIN};
    enum err_code code = open_all(&agent, err);
    if (code == ERR_OK) {
        log_write(LOG_LEVEL_INFO, "captain-agent %s runs as %s/%s", CAPTAIN_VERSION, config->site,
                  config->device);
        loop_on_terminate(agent.loop, on_terminate, &agent);
        loop_on_turn_end(agent.loop, on_turn_end, &agent);
        loop_timer_at(agent.loop, &agent.again, 0, on_again,
                      &agent); /* the first turn, without any news */
        if (notify_watchdog_interval_ms() > 0)
            on_watchdog(&agent);
        if (parent)
            on_beat(&agent);
        tell_parent(&agent, SUPERVISOR_READY);
        notify_ready();
        loop_run(agent.loop);
    }
    close_all(&agent);
    return code;
}
