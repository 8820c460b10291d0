/* SPDX-License-Identifier: Apache-2.0
 *
 * What one app tells the fleet: events, status, its own numbers.
 */
#include <stdio.h>
#include <string.h>

#include "agent/app_private.h"
#include "agent/io/telemetry.h"

static struct bytes digest_of(const struct lifecycle_release *release)
{
    return bytes_of(release->digest, release->set ? DIGEST_BYTES : 0);
}

/* For people; "" when nobody said it. */
static const char *version_of(const struct app *app, const struct lifecycle_release *release)
{
    struct bytes digest = digest_of(release);
    if (!release->set)
        return "";
    if (app->current.set && bytes_equal(digest, bytes_of(app->current.digest, DIGEST_BYTES)))
        return app->current.release.version;
    const struct pin *pin = device_pin(app->options.device, app->options.app->app);
    if (pin && bytes_equal(digest, pin->digest))
        return pin->version;
    if (bytes_equal(digest, app->desired.release_digest))
        return app->desired.release_version;
    if (bytes_equal(digest, app->desired.base_digest))
        return app->desired.base_version;
    return "";
}

bool app_is_patience(enum err_code code)
{
    return code == ERR_NO_CONTACT || code == ERR_TIMEOUT || code == ERR_TOO_SLOW ||
           code == ERR_EXPIRED || code == ERR_INTERRUPTED;
}

void app_say(struct app *app, enum event_kind kind, const struct lifecycle_release *release,
             enum err_code code, const char *text)
{
    static const struct lifecycle_release none = {0};
    release = release ? release : &none;
    /* What happens to the release that serves meanwhile is not of the attempt under way. */
    bool health = kind == EVENT_KIND_HEALTHY || kind == EVENT_KIND_UNHEALTHY;
    bool other = health && app->row.lifecycle.state != LIFECYCLE_SERVING;
    bool patience = kind == EVENT_KIND_FAILED && app_is_patience(code);
    struct event event = {
        .kind = kind,
        .app = app->options.app->app,
        .channel = app->options.app->channel,
        .generation = app->row.generation,
        .digest = digest_of(release),
        .version = version_of(app, release),
        .attempt = app->row.attempt,
        .code = (uint32_t)code,
        .text = text,
        .rollout = other ? "" : app->row.rollout,
        .attempt_number = other || patience ? 0 : app->row.attempt_number,
        .flaps = app->row.flaps,
    };
    app_events_add(&app->events, &event);
}

void app_report(struct app *app, const struct lifecycle_effects *effects)
{
    static const enum event_kind kinds[] = {
        [LIFECYCLE_REPORT_FETCHED] = EVENT_KIND_FETCHED,
        [LIFECYCLE_REPORT_FETCH_FAILED] = EVENT_KIND_FAILED,
        [LIFECYCLE_REPORT_ACTIVATED] = EVENT_KIND_ACTIVATED,
        [LIFECYCLE_REPORT_CONFIRMED] = EVENT_KIND_CONFIRMED,
        [LIFECYCLE_REPORT_ROLLED_BACK] = EVENT_KIND_ROLLED_BACK,
        [LIFECYCLE_REPORT_REFUSED] = EVENT_KIND_FAILED,
    };
    const char *text = effects->why;
    if (effects->report_code == ERR_UNHEALTHY)
        text = app->row.failure;
    else if (effects->report_code != ERR_OK && app->fetch_err.code == effects->report_code)
        text = app->fetch_err.text;
    if (effects->report == LIFECYCLE_REPORT_REFUSED && effects->report_code != ERR_UNHEALTHY)
        (void)snprintf(app->row.failure, sizeof app->row.failure, "%s", text);
    if (effects->report == LIFECYCLE_REPORT_CONFIRMED)
        app->health_told = APP_HEALTH_GOOD_TOLD;
    app_say(app, kinds[effects->report], &effects->report_release, effects->report_code, text);
}

/* What is wrong now, or "". */
static const char *trouble(const struct app *app)
{
    const char *text = app_services_trouble(app->services);
    return text[0] ? text : app_checks_trouble(app->checks);
}

void app_note_failure(struct app *app, const char *why)
{
    const char *text = trouble(app);
    (void)snprintf(app->row.failure, sizeof app->row.failure, "%s%s%s", why, text[0] ? ": " : "",
                   text);
}

/* Serving, and yet not as it should: a check fails, a service is down, or it cannot be started at
 * all. */
static bool is_unhealthy(const struct app *app)
{
    bool started = app_services_started(app->services);
    return (app->link.set && !app->current.planned) ||
           app_checks_verdict(app->checks) == HEALTH_BAD ||
           (started && app_services_up_since_ms(app->services) < 0 && trouble(app)[0]);
}

/* Checks that have passed by now count from here on. */
static void keep_baseline(struct app *app)
{
    char excused[AGENT_EXCUSED_MAX];
    if (!app->row.excused[0] || app_checks_verdict(app->checks) == HEALTH_UNKNOWN)
        return;
    app_checks_excused(app->checks, excused, sizeof excused);
    app->row_dirty |= !str_equal(excused, app->row.excused);
    (void)snprintf(app->row.excused, sizeof app->row.excused, "%s", excused);
}

/* A rollout whose target is what this device runs already: it is told as one attempt, confirmed. */
static void tell_already_there(struct app *app)
{
    const struct lifecycle *l = &app->row.lifecycle;
    if (!app->wish_rollout[0] || app->wish_rollback || !l->confirmed.set ||
        str_equal(app->wish_rollout, app->row.rollout) ||
        !lifecycle_same(&app->wish.release, &l->confirmed))
        return;
    app_number_attempt(app);
    app_say(app, EVENT_KIND_CONFIRMED, &l->confirmed, ERR_OK, "this release ran already");
}

void app_watch_health(struct app *app)
{
    enum lifecycle_state state = app->row.lifecycle.state;
    if (state != LIFECYCLE_SERVING && state != LIFECYCLE_ASKING)
        return;
    keep_baseline(app);
    bool bad = is_unhealthy(app);
    bool good = !bad && app_checks_verdict(app->checks) == HEALTH_GOOD &&
                app_services_up_since_ms(app->services) >= 0;
    if (good && state == LIFECYCLE_SERVING)
        tell_already_there(app);
    enum app_health_told now = bad    ? APP_HEALTH_BAD_TOLD
                               : good ? APP_HEALTH_GOOD_TOLD
                                      : app->health_told;
    if (now == app->health_told)
        return;
    bool told_before = app->health_told != APP_HEALTH_UNTOLD;
    app->health_told = now;
    if (bad && state == LIFECYCLE_SERVING)
        app->row.flaps++;
    app->row_dirty |= bad;
    if (bad)
        app_say(app, EVENT_KIND_UNHEALTHY, &app->row.lifecycle.confirmed, ERR_UNHEALTHY,
                trouble(app));
    else if (told_before)
        app_say(app, EVENT_KIND_HEALTHY, &app->row.lifecycle.confirmed, ERR_OK, "");
    app->options.on_change(app->options.arg);
}

static enum app_state state_of(const struct app *app)
{
    switch (app->row.lifecycle.state) {
    case LIFECYCLE_EMPTY:
        return APP_STATE_NONE;
    case LIFECYCLE_CONFIRMING:
        return APP_STATE_CONFIRMING;
    case LIFECYCLE_SERVING:
        return is_unhealthy(app) ? APP_STATE_UNHEALTHY : APP_STATE_HEALTHY;
    case LIFECYCLE_RETREATING:
    case LIFECYCLE_RESTORING:
    case LIFECYCLE_REFUSED:
        return APP_STATE_FAILED;
    default:
        return APP_STATE_INSTALLING;
    }
}

/* Healthy by the baseline, and yet not all is well. */
static const char *excused_trouble(const struct app *app, struct arena *arena)
{
    const char *text = app->row.excused[0] ? app_checks_trouble(app->checks) : "";
    return text[0] ? arena_printf(arena, "as before the update: %s", text) : "";
}

/* Healthy, and yet something is to be said. */
static const char *remark(const struct app *app, struct arena *arena)
{
    const char *text = app_settings_trouble(app);
    return text[0] ? text : excused_trouble(app, arena);
}

static const char *reason_of(const struct app *app, struct arena *arena)
{
    const char *text = "";
    switch (app->row.lifecycle.state) {
    case LIFECYCLE_FETCHING:
        text = arena_printf(arena, "fetching, %u %%", app_fetch_percent(app->fetch));
        break;
    case LIFECYCLE_WAITING:
        text =
            app->fetch_err.text[0] ? app->fetch_err.text : err_name(app->row.lifecycle.reason_code);
        break;
    case LIFECYCLE_RETREATING:
    case LIFECYCLE_RESTORING:
    case LIFECYCLE_REFUSED:
        text = app->row.failure[0] ? app->row.failure : err_name(app->row.lifecycle.refused_code);
        break;
    case LIFECYCLE_SERVING:
        text = !is_unhealthy(app) ? remark(app, arena)
               : trouble(app)[0]  ? trouble(app)
                                  : app->current.plan_err.text;
        break;
    default:
        text = trouble(app);
        break;
    }
    char *clean = arena_strdup(arena, text ? text : "");
    for (char *p = clean; p && *p; p++)
        *p = (char)(*p >= ' ' && *p <= '~' ? *p : '?');
    return clean ? clean : "";
}

void app_status(const struct app *app, struct arena *arena, struct app_status *ret)
{
    static const struct lifecycle_release none = {0};
    bool runs = app->link.set &&
                (app_services_running(app->services) || app_services_started(app->services));
    const struct lifecycle_release *running = runs ? &app->link : &none;
    *ret = (struct app_status){
        .app = app->options.app->app,
        .channel = app->options.app->channel,
        .state = state_of(app),
        .digest = digest_of(running),
        .version = version_of(app, running),
        .generation = app->row.generation,
        .reason = reason_of(app, arena),
        .restarts = app_services_restarts(app->services),
        .desired_digest = digest_of(&app->wish.release),
        .rollout = app->row.rollout,
        .attempt_number = app->row.attempt_number,
        .waiting = app_waiting(app, arena),
        .pinned = app->pinned,
    };
}

enum err_code app_metrics(const struct app *app, struct arena *arena, struct app_metrics *ret,
                          struct err *err)
{
    const char *file = app->current.release.metrics_file;
    if (!app->link.set || !file || !file[0])
        return err_set(err, ERR_NOT_FOUND, "the release names no file of numbers");
    char state[RELEASE_DIR_PATH_MAX];
    release_dir_state(&app->dir, state);
    const char *path = arena_printf(arena, "%s/%s", state, file);
    if (!path)
        return err_set(err, ERR_SIZE, "the path of the numbers is too long");
    *ret = (struct app_metrics){.app = app->options.app->app};
    return telemetry_read_app(path, app->load.user, arena, &ret->metrics, &ret->metrics_len, err);
}
