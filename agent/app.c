/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/app.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/app_checks.h"
#include "agent/app_private.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"

enum {
    DESIRED_ARENA_MAX_BYTES = 512 << 10,
    STEPS_MAX = 64, /* in one turn: more would be a machine that does not rest */
    SWITCH_RETRY_MS = 5000,
};

static const struct retry_policy fetch_retry = {
    .min_ms = 500, .base_ms = 1000, .max_ms = 10 * 60 * 1000};

static int64_t now_ms(const struct app *app)
{
    return loop_now_ms(app->options.loop);
}

static void look_again(void *arg)
{
    struct app *app = arg;
    app->news = true;
}

static void on_service_exit(void *arg, const char *service, const char *text)
{
    struct app *app = arg;
    (void)service;
    app_say(app, EVENT_KIND_SERVICE_EXITED, &app->link, ERR_FAILED, text);
}

/* ---- steps ---- */

static bool in_window(enum lifecycle_state state)
{
    return state == LIFECYCLE_STARTING || state == LIFECYCLE_CONFIRMING;
}

static void log_move(const struct app *app, const struct lifecycle_effects *effects)
{
    char hex[DIGEST_HEX] = "";
    const struct lifecycle_release *target = &app->row.lifecycle.target;
    if (target->set)
        str_hex(bytes_of(target->digest, DIGEST_BYTES), hex);
    const struct log_field fields[] = {{"APP", app->options.app->app},
                                       {"RELEASE", hex},
                                       {"ATTEMPT", app->row.attempt},
                                       {NULL, NULL}};
    log_with(LOG_LEVEL_INFO, fields, "%s: %s -> %s: %s", app->options.app->app,
             lifecycle_state_name(effects->from), lifecycle_state_name(app->row.lifecycle.state),
             effects->why);
}

/* What fails before the switch is no fault of what comes; the way back has its own past. */
static void note_baseline(struct app *app)
{
    enum lifecycle_state state = app->row.lifecycle.state;
    if (state == LIFECYCLE_STOPPING)
        app_checks_failing(app->checks, app->row.excused, sizeof app->row.excused);
    else if (state == LIFECYCLE_RESTORING)
        app->row.excused[0] = '\0';
}

/* A failure that was told as the end of the attempt makes the next try another one. */
static bool is_told_as_final(enum err_code code)
{
    return code != ERR_OK && !app_is_patience(code);
}

static void number_attempts(struct app *app, const struct lifecycle_effects *effects)
{
    enum lifecycle_state state = app->row.lifecycle.state;
    bool again = effects->from == LIFECYCLE_WAITING && state == LIFECYCLE_FETCHING;
    if (effects->return_lease)
        app_return_lease(app);
    if (effects->new_attempt)
        app_number_attempt(app);
    else if (again && app->row.rollout[0] && is_told_as_final(app->row.lifecycle.reason_code))
        app->row.attempt_number++;
    if (state == LIFECYCLE_STARTING)
        app->asking = (struct asking){.silent_ms = -1}; /* used */
}

static void take_move(struct app *app, const struct lifecycle_effects *effects)
{
    enum lifecycle_state state = app->row.lifecycle.state;
    app->row_dirty = true;
    number_attempts(app, effects);
    note_baseline(app);
    if (state == LIFECYCLE_RETREATING)
        app_note_failure(app, effects->why);
    if (effects->report != LIFECYCLE_REPORT_NONE)
        app_report(app, effects);
    if (state == LIFECYCLE_WAITING)
        app->retry_at_ms = now_ms(app) + retry_delay_ms(&fetch_retry, app->row.lifecycle.failures,
                                                        app->options.rng);
    if (app->fetch_state == LIFECYCLE_FETCH_FAILED || effects->new_attempt ||
        state != LIFECYCLE_FETCHING) {
        app_fetch_cancel(app->fetch);
        app->fetch_state = LIFECYCLE_FETCH_IDLE;
    }
    app->switch_err.code = ERR_OK;
    app->prune |= effects->action == LIFECYCLE_DO_PRUNE;
    app->confirmed_whole = true; /* it was looked at, or has just been confirmed */
    app_services_set_patience(app->services, in_window(state));
    log_move(app, effects);
    app->options.on_change(app->options.arg);
}

static void arm(struct app *app, int64_t at_ms)
{
    if (at_ms == INT64_MAX)
        loop_timer_stop(&app->deadline);
    else
        loop_timer_at(app->options.loop, &app->deadline, at_ms, look_again, app);
}

void app_step(struct app *app)
{
    if (!app->news || app->shut_down)
        return;
    app->news = false;
    struct lifecycle_effects effects;
    unsigned steps = 0;
    do {
        struct lifecycle_observed seen = app_look(app);
        app->wish.lease = app_needs_lease(app);
        lifecycle_step(&app->row.lifecycle, &app->wish, &seen, now_ms(app), &effects);
        if (effects.moved)
            take_move(app, &effects);
    } while (effects.moved && ++steps < STEPS_MAX);
    if (!effects.moved && effects.return_lease)
        app_return_lease(app);
    if (app->hold != effects.hold)
        app->options.on_change(app->options.arg);
    app->hold = effects.hold;
    app->todo = effects.moved ? LIFECYCLE_DO_NOTHING : effects.action;
    app->todo_release = effects.release;
    arm(app, effects.moved ? now_ms(app) : effects.deadline_ms);
    app_watch_health(app);
}

/* ---- deeds ---- */

static void on_fetched(void *arg, const struct err *err)
{
    struct app *app = arg;
    app->fetch_err = *err;
    app->fetch_state = err->code ? LIFECYCLE_FETCH_FAILED : LIFECYCLE_FETCH_IDLE;
    app->target_known = false;
    app->news = true;
    if (err->code)
        log_err(app->options.app->app, err);
}

static void prune(struct app *app, const uint8_t *damaged)
{
    const struct lifecycle *l = &app->row.lifecycle;
    const struct lifecycle_release *const kept[] = {&l->target, &l->confirmed, &l->previous,
                                                    &app->link};
    uint8_t keep[ARRAY_LEN(kept)][DIGEST_BYTES];
    size_t len = 0;
    struct err err;
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        if (kept[i]->set && !(damaged && memcmp(kept[i]->digest, damaged, DIGEST_BYTES) == 0))
            memcpy(keep[len++], kept[i]->digest, DIGEST_BYTES);
    }
    if (release_dir_prune(&app->dir, (const uint8_t(*)[DIGEST_BYTES])keep, len, &err) != ERR_OK)
        log_err("removing old releases", &err);
}

static void start_fetch(struct app *app)
{
    const uint8_t *digest = app->todo_release.digest;
    const struct device_desired *told = device_document(app->options.device);
    bool own = app->pinned && told->stores_len > 0;
    struct app_fetch_order order = {.stores = own ? told->stores : app->desired.stores,
                                    .stores_len = own ? told->stores_len : app->desired.stores_len,
                                    .expires_ms =
                                        app->pinned ? told->expires_ms : app->desired.expires_ms};
    if (app->fetch_state == LIFECYCLE_FETCH_RUNNING)
        return;
    if (app->target_damaged)
        prune(app, digest); /* it is in the way of a good one */
    if (app->target_err.code != ERR_OK && !app->target_damaged) {
        on_fetched(app, &app->target_err); /* it is there, and must not be installed (any more) */
        return;
    }
    memcpy(order.digest, digest, DIGEST_BYTES);
    app->fetch_state = LIFECYCLE_FETCH_RUNNING;
    app_fetch_start(app->fetch, &order, on_fetched, app);
}

static void switch_current(struct app *app)
{
    if (app->switch_err.code != ERR_OK && now_ms(app) < app->switch_again_ms) {
        arm(app, app->switch_again_ms);
        return;
    }
    const struct lifecycle_release *to = &app->todo_release;
    enum err_code code = app_arm_deadman(app, &app->switch_err);
    if (code == ERR_OK)
        code = to->set ? release_dir_switch(&app->dir, to->digest, &app->switch_err)
                       : release_dir_clear(&app->dir, &app->switch_err);
    if (code != ERR_OK) {
        log_err(app->options.app->app, &app->switch_err);
        app->fetch_err = app->switch_err;
        app->switch_again_ms = now_ms(app) + SWITCH_RETRY_MS;
    } else {
        app->switch_err.code = ERR_OK;
    }
    app_load_current(app);
    app->news = true;
}

static void start_services(struct app *app)
{
    if (!app->current.planned) {
        if (!app->plan_told)
            log_err(app->options.app->app, &app->current.plan_err);
        app->plan_told = true;
        return;
    }
    app_services_start(app->services, &app->current.plan);
    app_checks_start(app->checks, &app->current.plan, app->row.excused);
    app->news = true;
}

bool app_act(struct app *app)
{
    if (app->shut_down)
        return false;
    if (app->prune)
        prune(app, NULL);
    app->prune = false;
    app_give_back(app);
    app_give(app);
    enum lifecycle_action todo = app->todo;
    app->todo = LIFECYCLE_DO_NOTHING;
    switch (todo) {
    case LIFECYCLE_DO_FETCH:
        start_fetch(app);
        break;
    case LIFECYCLE_DO_STOP:
        app_forget_change(app);
        app_checks_stop(app->checks);
        app_services_stop(app->services);
        break;
    case LIFECYCLE_DO_SWITCH:
        switch_current(app);
        break;
    case LIFECYCLE_DO_START:
        start_services(app);
        break;
    case LIFECYCLE_DO_LEASE:
        app_ask_lease(app);
        break;
    case LIFECYCLE_DO_HOOK:
        app_run_hook(app);
        break;
    case LIFECYCLE_DO_NOTHING:
    case LIFECYCLE_DO_PRUNE:
        break;
    }
    return app->news;
}

/* ---- the store ---- */

enum err_code app_store(struct app *app, struct err *err)
{
    enum err_code code = app_services_store(app->services, err);
    if (code == ERR_OK && app->row_dirty)
        code = agent_store_put_app(app->options.store, app->options.app->app, &app->row, err);
    return code ? code : app_events_store(&app->events, app->options.store, err);
}

void app_stored(struct app *app)
{
    app->row_dirty = false;
    app_events_clear(&app->events);
    app_keep_deadman(app);
    app_services_release(app->services);
}

/* ---- from start to end ---- */

static enum err_code read_row(struct app *app, struct err *err)
{
    struct arena arena;
    arena_init(&arena, DESIRED_ARENA_MAX_BYTES);
    enum err_code code =
        agent_store_get_app(app->options.store, app->options.app->app, &arena, &app->row, err);
    if (code == ERR_OK && app->row.desired.len > 0) {
        uint8_t *copy = mem_new(1, app->row.desired.len);
        memcpy(copy, app->row.desired.ptr, app->row.desired.len);
        app->row.desired.ptr = copy;
    }
    arena_fini(&arena);
    return code == ERR_NOT_FOUND ? ERR_OK : code;
}

/* Without the journal each service has a log file of bounded size. */
static enum err_code find_logs(struct app *app, struct err *err)
{
    if (getenv("JOURNAL_STREAM"))
        return ERR_OK;
    int len = snprintf(app->logs, sizeof app->logs, "%s/log", app->dir.path);
    if (len >= (int)sizeof app->logs)
        return err_set(err, ERR_SIZE, "%s: the path is too long", app->dir.path);
    app->load.logs = app->logs;
    return file_make_dirs(app->logs, 0700, err);
}

static enum err_code open_folder(struct app *app, struct err *err)
{
    char path[RELEASE_DIR_PATH_MAX];
    const struct app_options *o = &app->options;
    int len = snprintf(path, sizeof path, "%s/apps/%s", o->config->folder, o->app->app);
    if (len >= (int)sizeof path)
        return err_set(err, ERR_SIZE, "%s: the path is too long", o->config->folder);
    enum err_code code = release_dir_open(&app->dir, path, err);
    return code ? code : find_logs(app, err);
}

static void make_parts(struct app *app)
{
    const struct app_options *o = &app->options;
    struct app_checks_options checks = {
        .loop = o->loop, .services = app->services, .on_news = look_again, .arg = app};
    struct app_fetch_options fetch = {
        .loop = o->loop, .trust = o->trust, .config = o->config, .app = o->app, .dir = &app->dir};
    app->checks = app_checks_new(&checks);
    app->fetch = app_fetch_new(&fetch);
    app->hook = app_make_hook(app);
}

static enum err_code open_parts(struct app *app, struct err *err)
{
    const struct app_options *o = &app->options;
    struct app_services_options services = {.loop = o->loop,
                                            .store = o->store,
                                            .app = o->app->app,
                                            .rng = o->rng,
                                            .on_news = look_again,
                                            .on_exit = on_service_exit,
                                            .arg = app};
    bool rebooted = false;
    app->load = (struct app_release_input){
        .trust = o->trust, .config = o->config, .app = o->app, .dir = &app->dir};
    enum err_code code = open_folder(app, err);
    if (code || (code = app_open_settings(app, err)) || (code = read_row(app, err)) ||
        (code = app_services_open(&services, &app->services, &rebooted, err)))
        return code;
    make_parts(app);
    app_start_settings(app);
    app_open_deadman(app);
    lifecycle_restarted(&app->row.lifecycle, rebooted, now_ms(app));
    app->row_dirty = true;
    return ERR_OK;
}

enum err_code app_open(const struct app_options *options, struct app **ret, struct err *err)
{
    struct app *app = mem_new(1, sizeof *app);
    app->options = *options;
    app->bus_reached_ms = -1;
    app->asking.silent_ms = -1;
    app->wish_rollout = "";
    app->news = true;
    arena_init(&app->desired_arena, DESIRED_ARENA_MAX_BYTES);
    enum err_code code = open_parts(app, err);
    if (code != ERR_OK) {
        app_close(app);
        return err_wrap(err, "app %s", options->app->app);
    }
    app_load_current(app);
    app_recall_change(app);
    app->confirmed_whole = app_is_whole(app, &app->row.lifecycle.confirmed);
    app_services_set_patience(app->services, in_window(app->row.lifecycle.state));
    app_recall_desired(app);
    *ret = app;
    return ERR_OK;
}

void app_close(struct app *app)
{
    if (!app)
        return;
    loop_timer_stop(&app->deadline);
    app_fetch_free(app->fetch);
    app_hook_free(app->hook);
    app_checks_free(app->checks);
    app_close_settings(app);
    app_services_close(app->services);
    app_release_clear(&app->current);
    app_events_clear(&app->events);
    arena_fini(&app->desired_arena);
    mem_free((void *)(uintptr_t)app->row.desired.ptr);
    mem_free(app);
}

void app_bus(struct app *app, bool connected)
{
    app->bus_connected = connected;
    app->bus_reached_ms = now_ms(app);
    app->news = true;
}

void app_shut_down(struct app *app)
{
    app->shut_down = true;
    loop_timer_stop(&app->deadline);
    app_fetch_cancel(app->fetch);
    app_hook_cancel(app->hook);
    app_forget_change(app);
    app_checks_stop(app->checks);
    app_services_stop(app->services);
}

bool app_is_down(const struct app *app)
{
    return !app_services_running(app->services);
}

void app_trim_logs(const struct app *app)
{
    app_services_trim_logs(app->services);
}
