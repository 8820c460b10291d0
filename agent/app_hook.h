/* SPDX-License-Identifier: Apache-2.0
 *
 * The pre-stop hooks of what runs, one after the other: exit code 75 of any means "not now". Any
 * other end lets the update go on, since a hook that is broken must not keep a device from being
 * mended; it is said in the log.
 */
#pragma once

#include "agent/app_plan.h"
#include "common/loop.h"

enum { APP_HOOK_NOT_NOW = 75 };

struct app_hook;
/* Runs once, later; service names who said it. */
typedef void (*app_hook_done_fn)(void *arg, bool not_now, const char *service);

struct app_hook *app_hook_new(struct loop *loop, const char *app, app_hook_done_fn done, void *arg);
/* Cancels. NULL is fine. */
void app_hook_free(struct app_hook *hook);

bool app_hook_any(const struct app_plan *plan);
/* The plan is borrowed until done or app_hook_cancel. */
void app_hook_start(struct app_hook *hook, const struct app_plan *plan);
/* Kills the one that runs; done will not run. */
void app_hook_cancel(struct app_hook *hook);
bool app_hook_running(const struct app_hook *hook);
