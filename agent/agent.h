/* SPDX-License-Identifier: Apache-2.0
 *
 * The shell of captain-agent: joins bus, store, downloads and processes to the lifecycle of each
 * app. Holds no rule: what to do next is decided in core/. Per turn: news in -> steps -> one
 * transaction -> publish -> start downloads, processes, timers.
 */
#pragma once

#include "agent/config.h"

/* Runs until SIGINT or SIGTERM, then stops the services and returns. A folder that another agent
 * uses is ERR_CONFLICT naming it. */
MUST_USE enum err_code agent_run(const struct config *config, struct err *err);
