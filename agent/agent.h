/* SPDX-License-Identifier: Apache-2.0
 *
 * The shell of captain-agent: joins bus, store, downloads and processes to the lifecycle of each
 * app. Holds no rule: what to do next is decided in core/. Per turn: news in -> steps -> one
 * transaction -> publish -> start downloads, processes, timers.
 */
#pragma once

#include "agent/config.h"
#include "agent/supervisor.h"

/* Runs until SIGINT or SIGTERM, then stops the services and returns. parent is NULL where nobody
 * supervises it: then it takes the folder itself, and one that another agent uses is ERR_CONFLICT
 * naming it. */
MUST_USE enum err_code agent_run(const struct config *config, const struct supervisor_link *parent,
                                 struct err *err);
