/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/app_checks.h"

#include <stdio.h>

#include "common/base/mem.h"

enum {
    FIRST_PROBE_MS = 200,
    INTERVAL_MS = 10000,
    UNHEALTHY_THRESHOLD = 3,
    GRID_MS = 250, /* due times are rounded up to it, so that checks of several apps coincide */
    TROUBLE_MAX = 256,
};

struct running {
    struct app_checks *owner;
    struct probe *probe; /* NULL: none is out */
    char trouble[TROUBLE_MAX];
};

struct app_checks {
    struct app_checks_options options;
    const struct app_plan *plan; /* NULL: stopped */
    struct health_state health;
    struct running running[HEALTH_CHECKS_MAX];
    struct loop_timer timer;
};

static void run_due(void *arg);

struct app_checks *app_checks_new(const struct app_checks_options *options)
{
    struct app_checks *checks = mem_new(1, sizeof *checks);
    checks->options = *options;
    return checks;
}

void app_checks_free(struct app_checks *checks)
{
    if (!checks)
        return;
    app_checks_stop(checks);
    mem_free(checks);
}

static int64_t now_ms(const struct app_checks *checks)
{
    return loop_now_ms(checks->options.loop);
}

static void arm(struct app_checks *checks)
{
    int64_t due_ms = health_deadline_ms(&checks->health);
    if (due_ms == INT64_MAX)
        return;
    loop_timer_at(checks->options.loop, &checks->timer, due_ms, run_due, checks);
}

static void take_result(struct app_checks *checks, uint32_t check, bool ok, const char *text)
{
    struct running *running = &checks->running[check];
    running->trouble[0] = '\0';
    if (!ok)
        (void)snprintf(running->trouble, sizeof running->trouble, "check %s: %s",
                       checks->plan->checks[check].check->name, text);
    bool changed = health_result(&checks->health, check, ok, now_ms(checks));
    if (changed)
        checks->options.on_news(checks->options.arg);
}

static void on_probe(void *arg, bool ok, const char *text)
{
    struct running *running = arg;
    struct app_checks *checks = running->owner;
    running->probe = NULL;
    take_result(checks, (uint32_t)(running - checks->running), ok, text);
    arm(checks);
}

static void probe(struct app_checks *checks, uint32_t check)
{
    const struct app_plan_check *plan = &checks->plan->checks[check];
    struct running *running = &checks->running[check];
    if (plan->check->kind == CHECK_KIND_PROCESS) {
        bool up = app_services_is_up(checks->options.services, plan->check->service);
        take_result(checks, check, up, "the process does not run");
        return;
    }
    struct err err;
    if (probe_start(checks->options.loop, &plan->spec, on_probe, running, &running->probe, &err) !=
        ERR_OK) {
        running->probe = NULL;
        take_result(checks, check, false, err.text);
    }
}

static void run_due(void *arg)
{
    struct app_checks *checks = arg;
    int check;
    while ((check = health_next_due(&checks->health, now_ms(checks))) >= 0)
        probe(checks, (uint32_t)check);
    arm(checks);
}

static struct health_check_rule rule_of(const struct check *check)
{
    return (struct health_check_rule){
        .interval_ms = check->interval_ms ? check->interval_ms : INTERVAL_MS,
        .healthy_threshold = check->healthy_threshold ? check->healthy_threshold : 1,
        .unhealthy_threshold =
            check->unhealthy_threshold ? check->unhealthy_threshold : UNHEALTHY_THRESHOLD,
    };
}

void app_checks_start(struct app_checks *checks, const struct app_plan *plan)
{
    struct health_check_rule rules[HEALTH_CHECKS_MAX];
    app_checks_stop(checks);
    checks->plan = plan;
    uint32_t len = (uint32_t)plan->release->checks_len;
    for (uint32_t i = 0; i < len; i++) {
        rules[i] = rule_of(&plan->release->checks[i]);
        checks->running[i] = (struct running){.owner = checks};
    }
    int64_t first_ms = (now_ms(checks) + FIRST_PROBE_MS + GRID_MS - 1) / GRID_MS * GRID_MS;
    health_start(&checks->health, rules, len, len > 0 ? first_ms : now_ms(checks));
    arm(checks);
}

void app_checks_stop(struct app_checks *checks)
{
    loop_timer_stop(&checks->timer);
    for (uint32_t i = 0; checks->plan && i < checks->health.checks_len; i++) {
        probe_cancel(checks->running[i].probe);
        checks->running[i].probe = NULL;
    }
    checks->plan = NULL;
}

enum health_verdict app_checks_verdict(const struct app_checks *checks)
{
    return checks->plan ? checks->health.verdict : HEALTH_UNKNOWN;
}

int64_t app_checks_good_since_ms(const struct app_checks *checks)
{
    return checks->plan ? checks->health.good_since_ms : -1;
}

const char *app_checks_trouble(const struct app_checks *checks)
{
    for (uint32_t i = 0; checks->plan && i < checks->health.checks_len; i++) {
        if (checks->health.checks[i].verdict != HEALTH_GOOD && checks->running[i].trouble[0])
            return checks->running[i].trouble;
    }
    return "";
}
