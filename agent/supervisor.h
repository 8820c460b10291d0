/* SPDX-License-Identifier: Apache-2.0
 *
 * The small parent process: no threads, no bus, no database. It starts the agent, starts it again
 * when it ends, kills it when it has been silent for too long, and takes a device back whose
 * dead-man record is due: with the agent killed it kills the target's processes, turns `current`
 * back, marks the record, and starts the agent, which tells.
 *
 *   - The agent dies with its parent (PR_SET_PDEATHSIG); the services live on and are adopted.
 *   - SIGTERM and SIGINT are passed on, to an agent that can hear them: if there is none, one is
 * started to stop the services in order. The parent ends when the agent has ended.
 *   - An agent that ends with an error before it ever ran (a configuration that is off, a folder in
 * use) ends the parent with the same code, unless a dead-man record is armed.
 */
#pragma once

#include "agent/config.h"

/* What the agent has of its parent. */
struct supervisor_link {
    int lock_fd;     /* of the folder, held by both */
    int pipe_fd;     /* to the parent; -1: there is none */
    int64_t beat_ms; /* a byte at least this often */
};

enum supervisor_word {
    SUPERVISOR_ALIVE = 'H',
    SUPERVISOR_READY = 'R',   /* the loop runs */
    SUPERVISOR_DEADMAN = 'A', /* a dead-man record was written, changed or removed */
};

/* Forks. In the agent: returns true, *ret_link is set. In the parent: returns false when all is
 * over, *ret_exit is its exit code; or -1: err says why nothing could be started. */
bool supervisor_run(const struct config *config, struct supervisor_link *ret_link, int *ret_exit,
                    struct err *err);

/* What the transient timer of systemd runs: takes the app in dir back if its record is due, whatever
 * agent and parent do. */
MUST_USE enum err_code supervisor_deadman(const char *dir, struct err *err);
