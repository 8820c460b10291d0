/* SPDX-License-Identifier: Apache-2.0
 *
 * Leave to change: the update lock, captain's lease, the pre-stop hooks; and the numbers of the
 * attempts that leases are asked for.
 */
#include <stdio.h>
#include <string.h>

#include "agent/app_private.h"
#include "agent/io/update_lock.h"
#include "common/clock.h"
#include "common/log.h"

static const struct retry_policy leave_retry = {.min_ms = 500, .base_ms = 1000, .max_ms = 60000};

enum { DONE_LEASE_MS = 60000, PATH_BYTES = RELEASE_DIR_PATH_MAX + 32 };

static int64_t now_ms(const struct app *app)
{
    return loop_now_ms(app->options.loop);
}

static bool is_refused(const struct app *app)
{
    return app->row.lifecycle.state == LIFECYCLE_REFUSED;
}

/* ---- attempts ---- */

void app_number_attempt(struct app *app)
{
    bool same = app->wish_rollout[0] && str_equal(app->wish_rollout, app->row.rollout);
    app->row.attempt_number = !app->wish_rollout[0] ? 0 : same ? app->row.attempt_number + 1 : 1;
    (void)snprintf(app->row.rollout, sizeof app->row.rollout, "%s", app->wish_rollout);
    app->row.flaps = 0;
    app->row_dirty = true;
    clock_ulid(app->row.attempt);
}

static bool is_before_switch(enum lifecycle_state state)
{
    return state == LIFECYCLE_FETCHING || state == LIFECYCLE_WAITING || state == LIFECYCLE_ASKING ||
           state == LIFECYCLE_STOPPING || state == LIFECYCLE_SWITCHING;
}

/* A rollout that takes the place of another and wants the same release goes on with its attempt,
 * under numbers of its own. */
void app_follow_rollout(struct app *app)
{
    const struct lifecycle *l = &app->row.lifecycle;
    if (!is_before_switch(l->state) || !lifecycle_same(&l->target, &app->wish.release) ||
        str_equal(app->wish_rollout, app->row.rollout))
        return;
    app_return_lease(app);
    app_number_attempt(app);
}

/* ---- the lease ---- */

static struct asking_rule rule_of(const struct app *app)
{
    return (struct asking_rule){.without_captain = app->desired.without_captain && !is_refused(app),
                                .lease_wait_ms = app->desired.lease_wait_ms,
                                .patient = is_refused(app)};
}

static uint32_t wanted_number(const struct app *app)
{
    return app->row.attempt_number + (is_refused(app) ? 1 : 0);
}

bool app_needs_lease(const struct app *app)
{
    return app->wish_lease && (!app->wish_rollback || app->row.lifecycle.confirmed.set);
}

static void next_number(struct app *app)
{
    app->row.attempt_number++;
    app->row_dirty = true;
    asking_begin(&app->asking, wanted_number(app), now_ms(app));
    if (app->hook_state == LIFECYCLE_HOOK_PASSED)
        app->hook_state = LIFECYCLE_HOOK_UNASKED; /* that was for the moment that has passed */
}

static void look_for_lease(struct app *app, struct lifecycle_observed *seen)
{
    enum lifecycle_state state = app->row.lifecycle.state;
    seen->lease_again_ms = INT64_MAX;
    if (!app_needs_lease(app) || (state != LIFECYCLE_ASKING && !is_refused(app)))
        return;
    bool other = !str_equal(app->asking_rollout, app->wish_rollout);
    if (other || app->asking.number != wanted_number(app)) {
        (void)snprintf(app->asking_rollout, sizeof app->asking_rollout, "%s", app->wish_rollout);
        asking_begin(&app->asking, wanted_number(app), now_ms(app));
    } else if (asking_lapsed(&app->asking, now_ms(app))) {
        next_number(app);
    }
    struct asking_rule rule = rule_of(app);
    seen->lease_granted = asking_granted(&app->asking, &rule, now_ms(app));
    seen->lease_again_ms = asking_again_ms(&app->asking, &rule);
}

static struct lease_request request_of(const struct app *app)
{
    return (struct lease_request){
        .app = app->options.app->app,
        .channel = app->options.app->channel,
        .rollout = app->asking_rollout,
        .attempt_number = app->asking.number,
        .rollback = app->wish_rollback,
        .digest = bytes_of(app->wish.release.digest, DIGEST_BYTES),
    };
}

static void take_answer(struct app *app, const struct lease_reply *answer)
{
    struct asking_rule rule = rule_of(app);
    bool done = !answer->granted && str_equal(answer->answer, "done");
    struct asking_answer said = {
        .granted =
            answer->granted || (done && !is_refused(app)), /* captain counts it there already */
        .stale = !answer->granted && str_equal(answer->answer, "stale"),
        .lease_ms = answer->granted ? answer->lease_ms : DONE_LEASE_MS,
        .retry_ms = answer->retry_ms,
    };
    asking_answered(&app->asking, &said, &rule, now_ms(app), app->options.rng);
    (void)snprintf(app->lease_word, sizeof app->lease_word, "%s", answer->answer);
    if (said.stale) {
        struct asking asked = app->asking;
        next_number(app);
        asked.number = app->asking.number;
        app->asking = asked; /* not at once */
    }
}

static void on_answer(void *arg, const struct lease_reply *answer)
{
    struct app *app = arg;
    if (app->asking.state != ASKING_OUT ||
        (answer && (answer->attempt_number != app->asking.number ||
                    !str_equal(answer->rollout, app->asking_rollout))))
        return; /* of an ask that is over */
    if (answer) {
        take_answer(app, answer);
    } else {
        struct asking_rule rule = rule_of(app);
        asking_unheard(&app->asking, &rule, now_ms(app), app->options.rng);
        (void)snprintf(app->lease_word, sizeof app->lease_word, "captain does not answer");
    }
    app->news = true;
    app->options.on_change(app->options.arg);
}

void app_ask_lease(struct app *app)
{
    struct lease_request request = request_of(app);
    struct err err;
    asking_sent(&app->asking, now_ms(app));
    if (app->options.ask(app->options.arg, &request, on_answer, app, &err) != ERR_OK)
        on_answer(app, NULL);
}

void app_return_lease(struct app *app)
{
    if (app->asking.state != ASKING_GRANTED)
        return;
    app->returned_number = app->asking.number;
    (void)snprintf(app->returned_rollout, sizeof app->returned_rollout, "%s", app->asking_rollout);
    app->asking.state = ASKING_IDLE;
    app->asking.number = 0;
    if (app->row.lifecycle.state == LIFECYCLE_ASKING)
        next_number(app);
}

void app_give_back(struct app *app)
{
    if (app->returned_number == 0)
        return;
    struct lease_request request = {.app = app->options.app->app,
                                    .channel = app->options.app->channel,
                                    .rollout = app->returned_rollout,
                                    .attempt_number = app->returned_number,
                                    .returned = true};
    app->returned_number = 0;
    app->options.give_back(app->options.arg, &request);
}

/* ---- lock and hook ---- */

static void look_at_lock(struct app *app)
{
    char path[PATH_BYTES], state[RELEASE_DIR_PATH_MAX];
    if (app->locked && now_ms(app) < app->lock_again_ms)
        return;
    release_dir_state(&app->dir, state);
    (void)snprintf(path, sizeof path, "%s/update.lock", state);
    const char *lock = app->options.app->lock ? app->options.app->lock : path;
    bool before = app->locked;
    app->locked = update_lock_held(lock, lock != path || !app->settings.has_user, app->lock_holder);
    app->lock_failures = app->locked ? app->lock_failures + 1 : 0;
    app->lock_again_ms =
        now_ms(app) + retry_delay_ms(&leave_retry, app->lock_failures + 1, app->options.rng);
    if (app->locked != before)
        app->options.on_change(app->options.arg);
}

static void on_hook(void *arg, bool not_now, const char *service)
{
    struct app *app = arg;
    app->hook_state = not_now ? LIFECYCLE_HOOK_NOT_NOW : LIFECYCLE_HOOK_PASSED;
    app->hook_failures = not_now ? app->hook_failures + 1 : 0;
    app->hook_again_ms =
        now_ms(app) + retry_delay_ms(&leave_retry, app->hook_failures + 1, app->options.rng);
    (void)snprintf(app->hook_service, sizeof app->hook_service, "%s", service);
    app->news = true;
    app->options.on_change(app->options.arg);
}

struct app_hook *app_make_hook(struct app *app)
{
    return app_hook_new(app->options.loop, app->options.app->app, on_hook, app);
}

static void look_at_hook(struct app *app)
{
    bool any = app->link.set && app->current.planned && app_services_running(app->services) &&
               app_hook_any(&app->current.plan);
    if (!any)
        app->hook_state = LIFECYCLE_HOOK_NONE;
    else if (app->hook_state == LIFECYCLE_HOOK_NONE ||
             (app->hook_state == LIFECYCLE_HOOK_NOT_NOW && now_ms(app) >= app->hook_again_ms))
        app->hook_state = LIFECYCLE_HOOK_UNASKED;
}

void app_run_hook(struct app *app)
{
    app->hook_state = LIFECYCLE_HOOK_RUNNING;
    app_hook_start(app->hook, &app->current.plan);
}

/* ---- all of it ---- */

void app_look_for_leave(struct app *app, struct lifecycle_observed *seen)
{
    look_for_lease(app, seen);
    if (app->row.lifecycle.state != LIFECYCLE_ASKING) {
        app_hook_cancel(app->hook);
        app->hook_state = LIFECYCLE_HOOK_NONE;
        app->locked = false;
        return;
    }
    look_at_lock(app);
    look_at_hook(app);
    seen->locked = app->locked;
    seen->hook = app->hook_state;
    seen->ask_again_ms = app->locked ? app->lock_again_ms : app->hook_again_ms;
}

const char *app_waiting(const struct app *app, struct arena *arena)
{
    const char *text = "";
    switch (app->hold) {
    case LIFECYCLE_HOLD_LOCK:
        text = arena_printf(arena, "update lock held by %s", app->lock_holder);
        break;
    case LIFECYCLE_HOLD_LEASE:
        text = arena_printf(arena, "lease %s", app->lease_word[0] ? app->lease_word : "asked for");
        break;
    case LIFECYCLE_HOLD_HOOK:
        text = arena_printf(arena,
                            app->hook_state == LIFECYCLE_HOOK_NOT_NOW
                                ? "pre-stop hook of %s says not now"
                                : "pre-stop hook%s",
                            app->hook_state == LIFECYCLE_HOOK_NOT_NOW ? app->hook_service : "");
        break;
    case LIFECYCLE_HOLD_SPACE:
        text = "no space";
        break;
    case LIFECYCLE_HOLD_NONE:
        break;
    }
    return text ? text : "";
}
