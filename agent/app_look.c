/* SPDX-License-Identifier: Apache-2.0
 *
 * What is there: the disk, the processes and the bus as core/lifecycle sees them.
 */
#include <string.h>
#include <sys/statvfs.h>

#include "agent/app_private.h"
#include "common/clock.h"
#include "common/log.h"

enum {
    GRACE_MIN_MS = 5000,
    GRACE_MAX_MS = 5 * 60 * 1000,
    CONFIRM_MS = 30000,
};

static bool digest_is(const struct lifecycle_release *release, const uint8_t digest[DIGEST_BYTES])
{
    return release->set && memcmp(release->digest, digest, DIGEST_BYTES) == 0;
}

/* For the app's own user. */
static void open_release(struct app *app, const uint8_t digest[DIGEST_BYTES])
{
    char root[RELEASE_DIR_PATH_MAX];
    struct err err;
    release_dir_root(&app->dir, digest, root);
    char *slash = strrchr(root, '/');
    if (slash)
        *slash = '\0';
    if (app_user_open_release(root, &err) != ERR_OK)
        log_err(app->options.app->app, &err);
}

/* Reads the link and, when it moved, the release behind it. One whose document is not what was
 * signed counts as not there. */
void app_load_current(struct app *app)
{
    struct lifecycle_release current = {0};
    struct err err;
    if (release_dir_current(&app->dir, &current.set, current.digest, &err) != ERR_OK)
        log_err(app->options.app->app, &err);
    if (current.set && !(app->current.set && digest_is(&current, app->current.digest))) {
        app_reload_cancel(app->settings.reload); /* it borrows the plan */
        app_services_detach(app->services);
        app_checks_stop(app->checks);
        if (app_release_load(&app->current, &app->load, current.digest, &err) != ERR_OK) {
            log_err("the installed release cannot be verified", &err);
            current = (struct lifecycle_release){0};
        } else if (app->settings.has_user) {
            open_release(app, current.digest);
        }
        app->plan_told = false;
    }
    app->link = current;
}

bool app_is_whole(const struct app *app, const struct lifecycle_release *release)
{
    struct err err;
    if (!release->set || !release_dir_has(&app->dir, release->digest))
        return false;
    if (app->current.set && digest_is(release, app->current.digest))
        return true;
    return app_release_verify(&app->load, release->digest, &err) == ERR_OK;
}

/* The bytes are not those that were installed. */
static bool is_damage(enum err_code code)
{
    return code == ERR_NOT_FOUND || code == ERR_HASH || code == ERR_SIZE || code == ERR_MALFORMED ||
           code == ERR_IO;
}

/* Looks at the disk for the desired release; remembers the answer until something may have changed
 * it. */
static bool look_for_target(struct app *app)
{
    const struct lifecycle_release *release = &app->wish.release;
    if (app->target_known)
        return app->target_staged;
    app->target_known = true;
    app->target_staged = app->target_damaged = false;
    app->target_err.code = ERR_OK;
    if (release->set && release_dir_has(&app->dir, release->digest)) {
        enum err_code code =
            app_release_check(&app->load, release->digest, clock_unix_ms(), &app->wish.data_version,
                              &app->target_confirm_ms, &app->target_err);
        app->target_staged = code == ERR_OK;
        app->target_damaged = is_damage(code);
    }
    return app->target_staged;
}

uint32_t app_confirm_ms(uint32_t confirm_ms)
{
    return confirm_ms ? confirm_ms : CONFIRM_MS;
}

uint32_t app_grace_ms(uint32_t confirm_ms)
{
    uint64_t ms = 2 * (uint64_t)confirm_ms;
    return ms < GRACE_MIN_MS ? GRACE_MIN_MS : ms > GRACE_MAX_MS ? GRACE_MAX_MS : (uint32_t)ms;
}

static int64_t healthy_since_ms(const struct app *app)
{
    int64_t good_ms = app_checks_good_since_ms(app->checks);
    int64_t up_ms = app_services_up_since_ms(app->services);
    if (good_ms < 0 || up_ms < 0)
        return -1;
    return good_ms > up_ms ? good_ms : up_ms;
}

/* Only looked at when it matters. */
static uint64_t free_bytes(const struct app *app)
{
    struct statvfs fs;
    bool matters = app->row.lifecycle.space_bytes > 0 || app->fetch_err.code == ERR_NO_SPACE ||
                   app->switch_err.code == ERR_NO_SPACE;
    if (!matters || statvfs(app->dir.path, &fs) != 0)
        return 0;
    return (uint64_t)fs.f_bavail * fs.f_frsize;
}

struct lifecycle_observed app_look(struct app *app)
{
    const struct release *release = &app->current.release;
    uint32_t confirm_ms = app_confirm_ms(app->link.set ? release->confirm_ms : 0);
    if (app->bus_connected)
        app->bus_reached_ms = loop_now_ms(app->options.loop);
    struct lifecycle_observed seen = {
        .current = app->link,
        .current_data_version = app->link.set ? release->data_version : 0,
        .confirm_ms = confirm_ms,
        .grace_ms = app_grace_ms(confirm_ms),
        .target_staged = look_for_target(app),
        .confirmed_whole = app->confirmed_whole,
        .fetch = app->fetch_state,
        .fetch_error = app->fetch_err.code,
        .switch_error = app->switch_err.code,
        .services_running = app_services_running(app->services),
        .services_started = app->link.set && app_services_started(app->services),
        .services_failed = app_services_failed(app->services),
        .healthy_since_ms = healthy_since_ms(app),
        .bus_reached_ms = app->bus_reached_ms,
        .retry_at_ms = app->retry_at_ms,
        .deadman_fired = app->deadman_fired,
        .free_bytes = free_bytes(app),
    };
    app_look_for_leave(app, &seen);
    return seen;
}
