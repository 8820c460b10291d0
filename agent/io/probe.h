/* SPDX-License-Identifier: Apache-2.0
 *
 * One probe of a check: HTTP GET (plain http, one request, status and at most 64 KiB of body looked
 * at), TCP connect, or a command's exit code. Names are resolved without blocking the loop. Ends
 * exactly once, at the timeout at the latest. Addresses and "localhost" are never looked up; other
 * names use libuv's thread pool. The process must ignore SIGPIPE.
 */
#pragma once

#include "agent/io/app_user.h"
#include "common/base/str.h"
#include "common/loop.h"

enum probe_kind { PROBE_HTTP, PROBE_TCP, PROBE_EXEC };

struct probe_spec {
    enum probe_kind kind;
    const char *url;             /* HTTP */
    uint32_t expect_status;      /* HTTP; 0: 200 */
    const char *expect_body;     /* HTTP; NULL or "": any */
    const char *address;         /* TCP: host:port */
    const char *const *argv;     /* EXEC */
    const char *const *env;      /* EXEC */
    const char *folder;          /* EXEC */
    const char *log_path;        /* EXEC: takes its output; NULL: /dev/null */
    const struct app_user *user; /* EXEC; NULL: ours */
    uint32_t timeout_ms;
};

struct probe;
/* text: why not ok ("http 500", "connection refused", "exit 3", "no answer in 2s"); "" when ok. */
typedef void (*probe_done_fn)(void *arg, bool ok, const char *text);

/* Copies what it keeps. done never runs before this returns; the probe is freed when done returns.
 * ERR_MALFORMED: url or address cannot be read. */
MUST_USE enum err_code probe_start(struct loop *loop, const struct probe_spec *spec,
                                   probe_done_fn done, void *arg, struct probe **ret,
                                   struct err *err);
/* done will not run. NULL is fine. */
void probe_cancel(struct probe *probe);
