/* SPDX-License-Identifier: Apache-2.0
 *
 * Real processes for tests. Each dies with the test (PR_SET_PDEATHSIG, SIGKILL), is in a process
 * group of its own, and writes its output to files.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct proc_options {
    const char *const
        *argv; /* NULL-terminated; argv[0] is looked up in PATH, /usr/sbin and /sbin too */
    const char *const *env; /* NULL-terminated "KEY=value", added to this process's; NULL: none */
    const char *dir;        /* to start in; NULL: this one */
    const char *in_path;    /* stdin; NULL: /dev/null */
    const char *out_path;   /* stdout is appended there; NULL: /dev/null */
    const char *err_path;   /* stderr; NULL: with stdout */
};

struct proc;

/* Dies when the fork fails; a program that cannot be executed exits with 127. */
struct proc *proc_start(const struct proc_options *options);
pid_t proc_pid(const struct proc *proc);
/* To it alone, as `kill -sig pid`. */
void proc_signal(struct proc *proc, int sig);
/* True with waitpid's status when it has ended within ms (then every further call is true too).
 * ret_status may be NULL. */
bool proc_wait(struct proc *proc, int64_t ms, int *ret_status);
/* Kills its whole group with SIGKILL, reaps it, frees. NULL is fine. */
void proc_free(struct proc *proc);

/* Runs to its end within ms and returns the exit status, 128 + signal when it was killed; dies on
 * the deadline. */
int proc_run(const struct proc_options *options, int64_t ms);
