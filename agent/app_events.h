/* SPDX-License-Identifier: Apache-2.0
 *
 * Events on their way into the store: said during a turn, written with its transaction, kept until
 * that is durable. A disk that takes nothing for long is what the bound is for.
 */
#pragma once

#include "agent/io/agent_store.h"

enum { APP_EVENTS_MAX = 32 };

struct app_events {
    struct event *list[APP_EVENTS_MAX]; /* owned */
    size_t len;
    unsigned dropped;
};

/* Copies; the time is now. epoch, seq and time are the store's business. */
void app_events_add(struct app_events *events, const struct event *event);
/* Writes all into the turn's transaction; what the store can never take is logged and counts as
 * written. */
MUST_USE enum err_code app_events_store(struct app_events *events, struct agent_store *store,
                                        struct err *err);
/* They are durable (or nobody wants them any more). */
void app_events_clear(struct app_events *events);
