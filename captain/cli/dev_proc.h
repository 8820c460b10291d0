/* SPDX-License-Identifier: Apache-2.0
 *
 * The processes of `captain dev`. None outlives it: each gets SIGTERM when this process dies, and
 * what they leave behind becomes our child (subreaper) and is swept at the end.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "common/loop.h"

struct dev_proc {
    char name[32];
    char log[PATH_MAX]; /* stdout and stderr are appended there */
    pid_t pid;          /* 0: not started */
    bool ended;
    int status; /* waitpid's */
    struct loop_process *watch;
};

/* Once: orphans of our children come to us. */
MUST_USE enum err_code dev_proc_adopt_orphans(struct err *err);

/* proc: name and log are filled by the caller. argv and env end with NULL; argv[0] is a path. proc
 * must stay where it is until it has ended. */
MUST_USE enum err_code dev_proc_start(struct loop *loop, const char *const *argv,
                                      const char *const *env, struct dev_proc *proc,
                                      struct err *err);
/* "exit 1", "signal 9"; ret takes 32 bytes. */
void dev_proc_how(const struct dev_proc *proc, char ret[static 32]);
/* TERM to each, then turns the loop until all have ended, KILL after timeout_ms. */
void dev_proc_stop(struct loop *loop, struct dev_proc *const *procs, size_t len,
                   int64_t timeout_ms);
/* Kills and reaps every descendant there still is. */
void dev_proc_sweep(void);

/* The program's path in the arena: beside this executable, in sibling (relative to its folder, may
 * be NULL), in PATH, /usr/sbin, /sbin, or in installed (may be NULL). NULL: nowhere. */
struct arena;
const char *dev_proc_find(const char *name, const char *sibling, const char *installed,
                          struct arena *arena);
