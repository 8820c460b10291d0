/* SPDX-License-Identifier: Apache-2.0
 *
 * The processes of one app: started by a plan, restarted with backoff, stopped, adopted after a
 * crash of the agent. Writes the store's process rows only in app_services_store; a process begins
 * to run only in app_services_release, after its row is durable.
 */
#pragma once

#include "agent/app_plan.h"
#include "agent/io/agent_store.h"
#include "common/base/rng.h"

enum {
    APP_SERVICES_MAX = 32,
    APP_SERVICES_PATIENCE = 3 /* ends in a row inside the confirm window */
};

struct app_services;

struct app_services_options {
    struct loop *loop;
    struct agent_store *store;
    const char *app;                                                   /* borrowed */
    struct rng *rng;                                                   /* of the backoff */
    void (*on_news)(void *arg);                                        /* look again */
    void (*on_exit)(void *arg, const char *service, const char *text); /* one ended by itself */
    void *arg;
};

/* Adopts what still runs. *ret_rebooted: a row is of another boot, so the machine went down
 * meanwhile. */
MUST_USE enum err_code app_services_open(const struct app_services_options *options,
                                         struct app_services **ret, bool *ret_rebooted,
                                         struct err *err);
/* Leaves the processes running. NULL is fine. */
void app_services_close(struct app_services *services);

/* Starts what the plan names and does not run yet, stops what runs and is not in it. The plan is
 * borrowed until app_services_stop or app_services_detach. */
void app_services_start(struct app_services *services, const struct app_plan *plan);
/* Asks all to end. */
void app_services_stop(struct app_services *services);
/* Forgets the plan: nothing is started again; what runs goes on. */
void app_services_detach(struct app_services *services);
/* In the confirm window a service that ends APP_SERVICES_PATIENCE times in a row is given up. */
void app_services_set_patience(struct app_services *services, bool in_window);

bool app_services_running(const struct app_services *services); /* any process lives */
bool app_services_started(
    const struct app_services *services); /* each of the plan has been started */
bool app_services_failed(const struct app_services *services); /* one is given up */
bool app_services_is_up(const struct app_services *services, const char *service);
/* Since when all of the plan run; -1: they do not. */
int64_t app_services_up_since_ms(const struct app_services *services);
/* A signal to the service's process if it was up at since_ms and still is. CHILD_GONE: it is not, or
 * began later. */
enum child_told app_services_signal(const struct app_services *services, const char *service,
                                    int sig, int64_t since_ms);
/* Whether the process that is up now was up at since_ms. */
bool app_services_was_up(const struct app_services *services, const char *service,
                         int64_t since_ms);
/* Restarts since the plan was started. */
uint32_t app_services_restarts(const struct app_services *services);
/* Why one is down now, or "". */
const char *app_services_trouble(const struct app_services *services);

/* Who runs, at most max; returns how many. */
size_t app_services_identities(const struct app_services *services, struct child_identity *ret,
                               size_t max);

/* Writes changed process rows into the turn's transaction. Rows count as written only after
 * app_services_release; until then they are written again. */
MUST_USE enum err_code app_services_store(struct app_services *services, struct err *err);
/* The rows are durable: lets new processes run. */
void app_services_release(struct app_services *services);
/* Keeps log files within their bound. */
void app_services_trim_logs(const struct app_services *services);
