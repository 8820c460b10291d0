/* SPDX-License-Identifier: Apache-2.0
 *
 * From a release's manifest and this device's settings to what is really started: argv,
 * environment, folders and probes, with ${NAME} replaced. Names come from the app's env in the
 * configuration and from the built-ins CAPTAIN_DEVICE, CAPTAIN_SITE, CAPTAIN_APP, CAPTAIN_VERSION,
 * CAPTAIN_STATE (the folder that survives upgrades), CAPTAIN_FLAGS, CAPTAIN_FLAGS_ENV and
 * CAPTAIN_SECRETS. Reads nothing but the presence of programs in the release's folder.
 */
#pragma once

#include "agent/config.h"
#include "agent/io/child.h"
#include "agent/io/probe.h"
#include "proto/messages.h"

struct app_plan_service {
    const struct service *service;
    struct child_spec spec;
    const char *const *pre_stop; /* argv of its hook, or NULL; env and folder are the service's */
    const char *const *reload;   /* likewise: after flags or secrets changed */
    int reload_signal;           /* 0: none */
};

struct app_plan_check {
    const struct check *check;
    struct probe_spec spec; /* unused for CHECK_KIND_PROCESS */
};

struct app_plan {
    const struct release *release;
    const struct app_plan_service *services; /* one for each of release->services */
    const struct app_plan_check *checks;     /* one for each of release->checks */
};

struct app_plan_input {
    const struct config *config;
    const struct config_app *app;
    const struct release *release;
    const char *root;  /* the release's folder */
    const char *state; /* the app's own folder */
    const char *logs;  /* folder of log files; NULL: the journal takes the output */
    const char *flags, *flags_env,
        *secrets;                /* paths, for CAPTAIN_FLAGS and its like; may be NULL */
    const struct app_user *user; /* NULL: the agent's own */
};

/* Borrows input's strings and release; everything new is in the arena. ERR_WRONG_TARGET names the
 * variable that this device does not set, or the service that a check names and the release does
 * not have. */
MUST_USE enum err_code app_plan_make(const struct app_plan_input *input, struct arena *arena,
                                     struct app_plan *ret, struct err *err);
