/* SPDX-License-Identifier: Apache-2.0
 *
 * One app of this device: joins its lifecycle, services, checks and fetch. Per turn the agent calls
 * app_step, app_store, (commit), app_stored, app_act, again while app_act says so. Decides nothing
 * itself: what to do is core/lifecycle's word, whom a desired state means is common/base/cohort's.
 */
#pragma once

#include "agent/config.h"
#include "agent/device.h"
#include "agent/io/release_dir.h"
#include "agent/io/secret_folder.h"
#include "agent/trust.h"
#include "common/base/rng.h"
#include "common/loop.h"

struct app;

/* NULL: no answer came. */
typedef void (*app_lease_fn)(void *app, const struct lease_reply *answer);

struct app_options {
    struct loop *loop;
    struct agent_store *store;
    struct trust *trust;
    const struct device *device;
    struct secret_folder *secrets;
    const struct config *config; /* borrowed, as all here */
    const struct config_app *app;
    struct rng *rng;
    void (*on_change)(void *arg); /* what app_status says changed */
    /* Asks captain for leave; fn runs once, later, or not at all when it fails. */
    enum err_code (*ask)(void *arg, const struct lease_request *request, app_lease_fn fn, void *app,
                         struct err *err);
    void (*give_back)(void *arg, const struct lease_request *request);
    /* The dead-man record was written for window_ms, or (-1) changed, or (0) is gone. */
    void (*on_deadman)(void *arg, const char *app, const struct release_dir *dir,
                       int64_t window_ms);
    void *arg;
};

/* Reads what the store remembers, verifies the installed release again, adopts its processes. */
MUST_USE enum err_code app_open(const struct app_options *options, struct app **ret,
                                struct err *err);
/* Processes go on. NULL is fine. */
void app_close(struct app *app);

/* News: a desired state from the bus (checked here; borrowed), and the bus itself. */
void app_desired(struct app *app, struct bytes envelope);
/* What the device is told has changed: labels, pins. */
void app_device_changed(struct app *app);
/* A new root is in force: what it refused before anything ran may be tried again. */
void app_root_changed(struct app *app);
void app_bus(struct app *app, bool connected);

/* Steps the lifecycle while there is news. */
void app_step(struct app *app);
/* Writes what changed into the turn's transaction. */
MUST_USE enum err_code app_store(struct app *app, struct err *err);
/* The turn's transaction is durable. */
void app_stored(struct app *app);
/* Does what the lifecycle asked for; true: look again (app_step) within this turn. */
bool app_act(struct app *app);

/* For health and telemetry; strings live in the arena or as long as the app. ERR_NOT_FOUND: no
 * numbers. */
void app_status(const struct app *app, struct arena *arena, struct app_status *ret);
MUST_USE enum err_code app_metrics(const struct app *app, struct arena *arena,
                                   struct app_metrics *ret, struct err *err);
/* Of the device's document whose secrets for this app are in place; 0: none. */
uint64_t app_secrets_generation(const struct app *app);
/* Now and then: bounds the log files. */
void app_trim_logs(const struct app *app);

/* The agent ends: services are asked to stop, nothing is started any more. */
void app_shut_down(struct app *app);
bool app_is_down(const struct app *app);
