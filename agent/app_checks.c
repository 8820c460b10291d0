/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/app_checks.h"

#include <stdio.h>
#include <string.h>

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
        (void)snprintf(running->trouble, sizeof running->trouble, "check %s: %.180s",
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

/* Whether name is one of "a,b". */
static bool is_named(const char *names, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = names; *at; at += strcspn(at, ",") + (at[strcspn(at, ",")] == ',')) {
        if (strcspn(at, ",") == len && memcmp(at, name, len) == 0)
            return true;
    }
    return false;
}

static struct health_check_rule rule_of(const struct check *check, const char *excused)
{
    return (struct health_check_rule){
        .interval_ms = check->interval_ms ? check->interval_ms : INTERVAL_MS,
        .healthy_threshold = check->healthy_threshold ? check->healthy_threshold : 1,
        .unhealthy_threshold =
            check->unhealthy_threshold ? check->unhealthy_threshold : UNHEALTHY_THRESHOLD,
        .excused = is_named(excused, check->name),
    };
}

void app_checks_start(struct app_checks *checks, const struct app_plan *plan, const char *excused)
{
    struct health_check_rule rules[HEALTH_CHECKS_MAX];
    app_checks_stop(checks);
    checks->plan = plan;
    uint32_t len = (uint32_t)plan->release->checks_len;
    for (uint32_t i = 0; i < len; i++) {
        rules[i] = rule_of(&plan->release->checks[i], excused);
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

static void list(const struct app_checks *checks, bool excused, char *ret, size_t size)
{
    size_t len = 0;
    ret[0] = '\0';
    for (uint32_t i = 0; checks->plan && i < checks->health.checks_len; i++) {
        const struct health_check *check = &checks->health.checks[i];
        const char *name = checks->plan->checks[i].check->name;
        bool fits = len + strlen(name) + 2 <= size;
        if (fits && (excused ? check->rule.excused : check->verdict == HEALTH_BAD))
            len += (size_t)snprintf(ret + len, size - len, "%s%s", len ? "," : "", name);
    }
}

void app_checks_failing(const struct app_checks *checks, char *ret, size_t size)
{
    list(checks, false, ret, size);
}

void app_checks_excused(const struct app_checks *checks, char *ret, size_t size)
{
    list(checks, true, ret, size);
}

const char *app_checks_trouble(const struct app_checks *checks)
{
    const char *excused = "";
    for (uint32_t i = 0; checks->plan && i < checks->health.checks_len; i++) {
        const struct health_check *check = &checks->health.checks[i];
        if (check->verdict == HEALTH_GOOD || !checks->running[i].trouble[0])
            continue;
        if (!check->rule.excused)
            return checks->running[i].trouble;
        excused = checks->running[i].trouble;
    }
    return excused;
}
