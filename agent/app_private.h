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
#include "agent/app_hook.h"
#include "agent/app_release.h"
#include "agent/app_services.h"
#include "agent/app_settings.h"
#include "agent/core/asking.h"
#include "agent/core/retry.h"
#include "agent/io/deadman_file.h"
#include "agent/io/update_lock.h"

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
    uint64_t rejected;        /* hash of the document rejected last, told once */
    const char *wish_rollout; /* of the wish, or ""; as long as the desired state */
    bool wish_lease, wish_rollback, pinned;

    struct lifecycle_release link; /* where `current` points */
    struct app_release current;    /* the release last loaded from there */
    bool plan_told;
    bool target_known, target_staged; /* the desired release, as look_for_target found it */
    bool target_damaged;
    uint32_t target_confirm_ms;
    struct err target_err;
    bool confirmed_whole;

    struct app_services *services;
    struct app_checks *checks;
    struct app_fetch *fetch;
    enum lifecycle_fetch fetch_state;
    struct err fetch_err; /* why the last fetch or switch failed */
    struct err switch_err;
    int64_t switch_again_ms, retry_at_ms;

    struct asking asking; /* the lease */
    char asking_rollout[TOKEN_MAX + 1], returned_rollout[TOKEN_MAX + 1];
    uint32_t returned_number; /* to be given back after the commit; 0: nothing */
    char lease_word[64];      /* captain's last */
    bool locked;
    char lock_holder[UPDATE_LOCK_HOLDER_MAX];
    uint32_t lock_failures, hook_failures;
    int64_t lock_again_ms, hook_again_ms;
    struct app_hook *hook;
    enum lifecycle_hook hook_state;
    char hook_service[TOKEN_MAX + 1];
    enum lifecycle_hold hold;

    struct app_settings settings;

    struct deadman deadman;
    bool deadman_set; /* the record is on disk */
    bool deadman_fired;

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

/* What a release's confirm_ms (0: the default) means, and the time beside it to become healthy. */
uint32_t app_confirm_ms(uint32_t confirm_ms);
uint32_t app_grace_ms(uint32_t confirm_ms);

/* app_leave.c */
void app_look_for_leave(struct app *app, struct lifecycle_observed *seen);
bool app_needs_lease(const struct app *app);
/* A new attempt begins: its id, and its number within the rollout that wants it. */
void app_number_attempt(struct app *app);
void app_follow_rollout(struct app *app);
void app_ask_lease(struct app *app);
/* What was granted is not used: noted now, said (app_give_back) after the commit. */
void app_return_lease(struct app *app);
void app_give_back(struct app *app);
struct app_hook *app_make_hook(struct app *app);
void app_run_hook(struct app *app);
/* "update lock held by process 12", or ""; in the arena. */
const char *app_waiting(const struct app *app, struct arena *arena);

/* app_deadman.c */
void app_open_deadman(struct app *app);
/* Before the switch; an error keeps it from being done. */
MUST_USE enum err_code app_arm_deadman(struct app *app, struct err *err);
/* After each commit. */
void app_keep_deadman(struct app *app);

/* app_settings.c */
/* Before the services: whom they run as, where flags and secrets are. */
MUST_USE enum err_code app_open_settings(struct app *app, struct err *err);
/* After the services. */
void app_start_settings(struct app *app);
/* The release is loaded: a change that an earlier agent did not get to tell is told. */
void app_recall_change(struct app *app);
void app_close_settings(struct app *app);
/* Brings flags and secrets where they belong; before anything is started. */
void app_give(struct app *app);
/* The services end, and those that come find what is there: nobody is to be told. */
void app_forget_change(struct app *app);
/* Why flags or secrets are not in place, or "". */
const char *app_settings_trouble(const struct app *app);

/* app_desired.c: decodes the document that the store remembers. */
void app_recall_desired(struct app *app);

/* app_report.c */
/* An event about a release (NULL or not set: none). */
void app_say(struct app *app, enum event_kind kind, const struct lifecycle_release *release,
             enum err_code code, const char *text);
/* The event of a move. */
void app_report(struct app *app, const struct lifecycle_effects *effects);
/* Fetching goes on trying by itself: nothing of this failure is the release's. */
bool app_is_patience(enum err_code code);
/* Remembers why the attempt is given up, before its services are stopped. */
void app_note_failure(struct app *app, const char *why);
/* Tells when the serving app became healthy or unhealthy. */
void app_watch_health(struct app *app);
