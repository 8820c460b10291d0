/* SPDX-License-Identifier: Apache-2.0
 *
 * Brings one release onto the disk: its document, then, only when that is accepted and fits this
 * device, each artifact of this device, one transfer at a time; then it is made whole by
 * release_dir_commit. What is there already is not fetched again.
 */
#pragma once

#include "agent/config.h"
#include "agent/io/release_dir.h"
#include "agent/trust.h"
#include "common/loop.h"

struct app_fetch;

struct app_fetch_options {
    struct loop *loop;
    struct trust *trust;
    const struct config *config; /* borrowed, as all here */
    const struct config_app *app;
    const struct release_dir *dir;
};

struct app_fetch_order {
    uint8_t digest[DIGEST_BYTES];
    const char *const *stores; /* base URLs; copied */
    size_t stores_len;
    int64_t expires_ms; /* of the desired state that asks for it; 0: never */
};

/* Runs once, never before app_fetch_start returns. */
typedef void (*app_fetch_done_fn)(void *arg, const struct err *err);

struct app_fetch *app_fetch_new(const struct app_fetch_options *options);
/* Cancels. NULL is fine. */
void app_fetch_free(struct app_fetch *fetch);

/* Replaces a fetch that runs. */
void app_fetch_start(struct app_fetch *fetch, const struct app_fetch_order *order,
                     app_fetch_done_fn done, void *arg);
/* done will not run; partial files stay. */
void app_fetch_cancel(struct app_fetch *fetch);
bool app_fetch_running(const struct app_fetch *fetch);
/* How far the running fetch is, in percent of its bytes. */
unsigned app_fetch_percent(const struct app_fetch *fetch);
