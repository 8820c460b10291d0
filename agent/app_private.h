/* SPDX-License-Identifier: Apache-2.0
 *
 * What app.c (the lifecycle at work), app_desired.c (what is wanted) and app_report.c (what is
 * told) share. For nobody else.
 */
#pragma once

#include "agent/app.h"
#include "agent/app_checks.h"
#include "agent/app_events.h"
#include "agent/app_fetch.h"
#include "agent/app_release.h"
#include "agent/app_services.h"
#include "agent/core/retry.h"

enum app_health_told { APP_HEALTH_UNTOLD, APP_HEALTH_GOOD_TOLD, APP_HEALTH_BAD_TOLD };

struct app {
    struct app_options options;
    struct release_dir dir;
    char logs[RELEASE_DIR_PATH_MAX];
    struct app_release_input load;

    struct agent_app_row row; /* desired is on the heap */
    bool row_dirty;

    struct arena desired_arena;
    struct desired desired; /* decoded; zeroed: none is valid now */
    struct lifecycle_desired wish;
    uint64_t rejected; /* hash of the document rejected last, told once */

    struct lifecycle_release link; /* where `current` points */
    struct app_release current;    /* the release last loaded from there */
    bool plan_told;
    bool target_known, target_staged; /* the desired release, as look_for_target found it */
    bool target_damaged;
    struct err target_err;
    bool confirmed_whole;

    struct app_services *services;
    struct app_checks *checks;
    struct app_fetch *fetch;
    enum lifecycle_fetch fetch_state;
    struct err fetch_err; /* why the last fetch or switch failed */
    struct err switch_err;
    int64_t switch_again_ms, retry_at_ms;
    char failure[ERR_TEXT_MAX]; /* why the last attempt was given up */

    bool bus_connected;
    int64_t bus_reached_ms;

    bool news, shut_down, prune;
    enum lifecycle_action todo;
    struct lifecycle_release todo_release;
    struct loop_timer deadline;

    struct app_events events;
    enum app_health_told health_told;
};

/* app_look.c */
struct lifecycle_observed app_look(struct app *app);
/* Reads the link and, when it moved, the release behind it. One whose document is not what was
 * signed counts as not there. */
void app_load_current(struct app *app);
bool app_is_whole(const struct app *app, const struct lifecycle_release *release);

/* app_desired.c: decodes the document that the store remembers. */
void app_recall_desired(struct app *app);

/* app_report.c */
/* An event about a release (NULL or not set: none). */
void app_say(struct app *app, enum event_kind kind, const struct lifecycle_release *release,
             enum err_code code, const char *text);
/* The event of a move. */
void app_report(struct app *app, const struct lifecycle_effects *effects);
/* Remembers why the attempt is given up, before its services are stopped. */
void app_note_failure(struct app *app, const char *why);
/* Tells when the serving app became healthy or unhealthy. */
void app_watch_health(struct app *app);
