/* SPDX-License-Identifier: Apache-2.0
 *
 * One run of captain dev, in a folder of its own.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "tests/support/proc.h"
#include "tests/support/tempdir.h"

enum { DEV_MS = 120000, END_MS = 20000 };

struct run {
    char *dir; /* $TMPDIR of the run: its folder is the only one there */
    char out[256], err[256];
    struct proc *proc;
};

static inline int set_up(void **state)
{
    struct run *run = mem_new(1, sizeof *run);
    run->dir = tempdir_make();
    (void)snprintf(run->out, sizeof run->out, "%s.out", run->dir);
    (void)snprintf(run->err, sizeof run->err, "%s.err", run->dir);
    *state = run;
    return 0;
}

static inline int tear_down(void **state)
{
    struct run *run = *state;
    proc_free(run->proc);
    (void)remove(run->out);
    (void)remove(run->err);
    tempdir_remove(run->dir);
    mem_free(run);
    return 0;
}

static inline void start(struct run *run, const char *const *args)
{
    const char *argv[16] = {getenv("CAPTAIN_BIN"), "dev"};
    char tmp[300];
    size_t len = 2;
    for (; *args && len < 15; args++)
        argv[len++] = *args;
    (void)snprintf(tmp, sizeof tmp, "TMPDIR=%s", run->dir);
    run->proc = proc_start(&(struct proc_options){.argv = argv,
                                                  .env = (const char *[]){tmp, NULL},
                                                  .out_path = run->out,
                                                  .err_path = run->err});
}

static inline int finish(struct run *run, int64_t ms)
{
    int status = -1;
    bool ended = proc_wait(run->proc, ms, &status);
    if (!ended || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        char *err = tempdir_read(run->err, NULL);
        print_message("status %d, stderr: %s\n", status, err);
        free(err);
    }
    assert_true(ended);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static inline bool says(struct run *run, const char *text)
{
    char *err = tempdir_read(run->err, NULL);
    bool found = err && strstr(err, text);
    free(err);
    return found;
}

static inline bool agents_report(void *arg)
{
    return says(arg, "agents report");
}
