/* SPDX-License-Identifier: Apache-2.0
 *
 * The checks of one app at work: probes when core/health says they are due, and what they found.
 */
#pragma once

#include "agent/app_plan.h"
#include "agent/app_services.h"
#include "agent/core/health.h"

struct app_checks;

struct app_checks_options {
    struct loop *loop;
    const struct app_services *services; /* borrowed: for checks of kind PROCESS */
    void (*on_news)(void *arg);          /* the verdict, or when it is good since, changed */
    void *arg;
};

struct app_checks *app_checks_new(const struct app_checks_options *options);
/* NULL is fine. */
void app_checks_free(struct app_checks *checks);

/* Begins anew with the plan's checks; the plan is borrowed until app_checks_stop. excused names
 * checks, "a,b": see core/health. */
void app_checks_start(struct app_checks *checks, const struct app_plan *plan, const char *excused);
void app_checks_stop(struct app_checks *checks);

/* UNKNOWN and -1 when stopped. */
enum health_verdict app_checks_verdict(const struct app_checks *checks);
int64_t app_checks_good_since_ms(const struct app_checks *checks);
/* Names, "a,b", in ret of size bytes: the checks that fail now; those that are excused still. */
void app_checks_failing(const struct app_checks *checks, char *ret, size_t size);
void app_checks_excused(const struct app_checks *checks, char *ret, size_t size);
/* "check web: http 500": the failing check's last words, or "". An excused one's when no other
 * fails. */
const char *app_checks_trouble(const struct app_checks *checks);
