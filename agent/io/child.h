/* SPDX-License-Identifier: Apache-2.0
 *
 * A service's process: own session and process group, environment, limits, output to the journal or
 * to a size-bound file that the process writes itself (it outlives the agent). A started process
 * waits at a gate until its identity is safely stored (child_release); if the agent dies before
 * that, it ends unstarted. So after a crash of the agent every process that runs is one that the
 * store names, and can be adopted.
 */
#pragma once

#include <sys/types.h>

#include "agent/io/app_user.h"
#include "common/base/str.h"
#include "common/loop.h"

enum { CHILD_LOG_MAX_BYTES = 1 << 20 };

/* Names a process for ever: a pid may be reused, the pair within one boot may not. */
struct child_identity {
    int64_t pid;
    uint64_t start_ticks; /* field 22 of /proc/<pid>/stat */
    char boot_id[37];
};

struct child_spec {
    const char *name; /* "hello/web", for the journal */
    const char *const
        *argv; /* ended by NULL; argv[0] absolute, relative to folder, or found in PATH */
    const char *const *env;      /* whole environment "K=V", ended by NULL */
    const char *folder;          /* working folder */
    const char *log_path;        /* file; NULL: the journal (or /dev/null where there is none) */
    uint64_t memory_max_bytes;   /* 0: none */
    uint32_t open_files_max;     /* 0: inherited */
    const struct app_user *user; /* NULL: ours; borrowed */
};

struct child;
/* status: waitpid's for our own child, -1 for an adopted one. The child is freed when it returns.
 */
typedef void (*child_ended_fn)(void *arg, int status);

/* Forks; the process waits at the gate. An argv[0] that cannot be executed is reported as its end,
 * status 127 << 8. */
MUST_USE enum err_code child_spawn(struct loop *loop, const struct child_spec *spec,
                                   child_ended_fn ended, void *arg, struct child **ret,
                                   struct err *err);
void child_identity(const struct child *child, struct child_identity *ret);
/* Opens the gate. */
void child_release(struct child *child);
/* Watches a process that an earlier agent started; ERR_NOT_FOUND when it is gone (or is another).
 */
MUST_USE enum err_code child_adopt(struct loop *loop, const struct child_identity *identity,
                                   child_ended_fn ended, void *arg, struct child **ret,
                                   struct err *err);
/* Where a program's output goes: a plain file with one name, made if need be, of the user (NULL:
 * ours). The folder may be the user's, who puts there what he likes. */
MUST_USE enum err_code child_open_log(const char *log_path, const struct app_user *user,
                                      int *ret_fd, struct err *err);

/* A signal to the process itself, once it has a handler for it, blocks or ignores it: before that it
 * would be ended by it. */
enum child_told { CHILD_TOLD, CHILD_NOT_READY, CHILD_GONE };
enum child_told child_signal(const struct child *child, int sig);

/* TERM to its group now, KILL after timeout_ms; ended runs when it is gone. Idempotent. */
void child_stop(struct child *child, int64_t timeout_ms);
/* KILL to the whole group of a process that nobody here watches, if it is still that process. */
void child_kill(const struct child_identity *identity);
/* Stops watching, the process goes on. NULL is fine. */
void child_forget(struct child *child);
/* Cuts the file to its newest half when it is above max_bytes; call now and then. */
void child_trim_log(const char *log_path, uint64_t max_bytes);
