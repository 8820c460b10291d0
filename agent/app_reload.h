/* SPDX-License-Identifier: Apache-2.0
 *
 * Tells the services of an app that its flags or secrets changed: by the signal or the hook that the
 * release names. Changes that come together are told once. A service that was started after the
 * change is not told, since it has read the new ones; a signal waits for its handler, since before
 * that it would end the service.
 */
#pragma once

#include "agent/app_services.h"

struct app_reload;

struct app_reload_options {
    struct loop *loop;
    const struct app_services *services;
    void (*on_failed)(void *arg, const char *text); /* one was not told, or its hook failed */
    void (*on_done)(void *arg);                     /* nobody is to be told any more */
    void *arg;
};

struct app_reload *app_reload_new(const struct app_reload_options *options);
/* Cancels. NULL is fine. */
void app_reload_free(struct app_reload *reload);

/* Something changed just now. The plan is borrowed until on_done or app_reload_cancel. */
void app_reload_due(struct app_reload *reload, const struct app_plan *plan);
/* The services are ended, or others take their place: on_done will not run. */
void app_reload_cancel(struct app_reload *reload);
