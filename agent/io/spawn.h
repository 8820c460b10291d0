/* SPDX-License-Identifier: Apache-2.0
 *
 * Starting a program: what services, helpers and probes have in common. The new process leads its
 * own session and process group, has no descriptor but its three, no ignored or blocked signal,
 * umask 022, and the core limit that the agent was started with.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/io/app_user.h"
#include "common/base/err.h"
#include "common/loop.h"

enum { SPAWN_NO_PROGRAM = 127 }; /* exit status when argv[0] cannot be executed */

struct spawn_spec {
    const char *const
        *argv; /* argv[0] with a '/': as it is, from folder; else found in PATH of env */
    const char *const *env; /* the whole environment; NULL: ours */
    const char *folder;     /* NULL: ours */
    int in_fd;              /* borrowed; 0 or below: /dev/null */
    int out_fd, err_fd;     /* borrowed; below 0: /dev/null */
    int gate_fd; /* below 0: none; else it reads one byte first, and ends at end of file */
    uint64_t memory_max_bytes;   /* of data and private mappings; 0: none */
    uint32_t open_files_max;     /* 0: inherited */
    const struct app_user *user; /* whom it becomes; NULL: it stays ours */
};

MUST_USE enum err_code spawn_process(const struct spawn_spec *spec, pid_t *ret_pid,
                                     struct err *err);

/* Kills the process group of a child of ours that is watched by process (or by nobody: NULL), and
 * leaves it to the loop to reap it; the watch's own function will not run. */
void spawn_abandon(struct loop *loop, struct loop_process *process, pid_t pid);
