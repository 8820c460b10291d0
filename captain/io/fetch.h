/* SPDX-License-Identifier: Apache-2.0
 *
 * One small file from a URL, by one captain-fetch process: captain itself speaks no HTTP as a
 * client. The helper's words are those of agent/io/download.h; of them only the last one counts.
 */
#pragma once

#include "common/loop.h"

struct fetch;

struct fetch_request {
    const char *helper; /* path of captain-fetch */
    const char *url;
    const char *to; /* file; it appears by a rename, and replaces what was there */
    uint64_t max_bytes;
    int64_t timeout_ms; /* from start to end: ERR_TIMEOUT */
};

/* Runs once, on the loop thread; the fetch is freed when it returns. */
typedef void (*fetch_done_fn)(void *arg, const struct err *err);

/* The request is used during the call only. */
MUST_USE enum err_code fetch_start(struct loop *loop, const struct fetch_request *request,
                                   fetch_done_fn done, void *arg, struct fetch **ret,
                                   struct err *err);
/* Kills the helper; done will not run. NULL is fine. */
void fetch_cancel(struct fetch *fetch);
