/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/app_reload.h"

#include <stdio.h>

#include "common/base/mem.h"
#include "common/clock.h"

enum {
    TOGETHER_MS = 200, /* changes within it are one */
    AGAIN_MS = 200,
    HANDLER_WAIT_MS = 10000,
    HOOK_TIMEOUT_MS = 10000,
    TEXT_MAX = 256,
};

struct told {
    struct app_reload *owner;
    bool signal_due, hook_due;
    struct probe *hook; /* NULL: none runs */
};

struct app_reload {
    struct app_reload_options options;
    const struct app_plan *plan; /* NULL: at rest */
    struct told told[APP_SERVICES_MAX];
    size_t len;
    int64_t changed_ms;
    struct loop_timer timer;
};

static void tell_all(void *arg);

struct app_reload *app_reload_new(const struct app_reload_options *options)
{
    struct app_reload *r = mem_new(1, sizeof *r);
    r->options = *options;
    return r;
}

void app_reload_free(struct app_reload *r)
{
    if (!r)
        return;
    app_reload_cancel(r);
    mem_free(r);
}

void app_reload_cancel(struct app_reload *r)
{
    loop_timer_stop(&r->timer);
    for (size_t i = 0; i < r->len; i++)
        probe_cancel(r->told[i].hook);
    r->plan = NULL;
    r->len = 0;
}

static int64_t now_ms(const struct app_reload *r)
{
    return loop_now_ms(r->options.loop);
}

static const struct app_plan_service *plan_of(const struct told *told)
{
    return &told->owner->plan->services[told - told->owner->told];
}

static void fail(const struct told *told, const char *how)
{
    char text[TEXT_MAX];
    (void)snprintf(text, sizeof text, "service %s is not told of changed flags or secrets: %.160s",
                   plan_of(told)->service->name, how);
    told->owner->options.on_failed(told->owner->options.arg, text);
}

static void finish_if_done(struct app_reload *r)
{
    for (size_t i = 0; i < r->len; i++) {
        if (r->told[i].signal_due || r->told[i].hook_due || r->told[i].hook)
            return;
    }
    app_reload_cancel(r);
    r->options.on_done(r->options.arg);
}

static void on_hook(void *arg, bool ok, const char *text)
{
    struct told *told = arg;
    struct app_reload *r = told->owner;
    told->hook = NULL;
    if (!ok)
        fail(told, text);
    if (told->hook_due && r->timer.slot == 0) /* it changed again meanwhile */
        loop_timer_at(r->options.loop, &r->timer, now_ms(r), tell_all, r);
    finish_if_done(r);
}

static void run_hook(struct told *told)
{
    struct app_reload *r = told->owner;
    const struct app_plan_service *plan = plan_of(told);
    uint32_t ms = plan->service->stop_timeout_ms;
    struct probe_spec spec = {.kind = PROBE_EXEC,
                              .argv = plan->reload,
                              .env = plan->spec.env,
                              .folder = plan->spec.folder,
                              .log_path = plan->spec.log_path,
                              .user = plan->spec.user,
                              .timeout_ms = ms ? ms : HOOK_TIMEOUT_MS};
    struct err err;
    if (told->hook)
        return; /* once more when it has ended */
    told->hook_due = false;
    if (!app_services_was_up(r->options.services, plan->service->name, r->changed_ms))
        return;
    if (probe_start(r->options.loop, &spec, on_hook, told, &told->hook, &err) != ERR_OK) {
        told->hook = NULL;
        fail(told, err.text);
    }
}

static void send_signal(struct told *told)
{
    struct app_reload *r = told->owner;
    const struct app_plan_service *plan = plan_of(told);
    enum child_told said = app_services_signal(r->options.services, plan->service->name,
                                               plan->reload_signal, r->changed_ms);
    bool late = now_ms(r) - r->changed_ms >= HANDLER_WAIT_MS;
    told->signal_due = said == CHILD_NOT_READY && !late;
    if (said == CHILD_NOT_READY && late) {
        char how[64];
        (void)snprintf(how, sizeof how, "it has no handler for %s", plan->service->reload_signal);
        fail(told, how);
    }
}

static void tell_all(void *arg)
{
    struct app_reload *r = arg;
    bool again = false;
    for (size_t i = 0; i < r->len; i++) {
        if (r->told[i].signal_due)
            send_signal(&r->told[i]);
        if (r->told[i].hook_due)
            run_hook(&r->told[i]);
        again |= r->told[i].signal_due;
    }
    if (again)
        loop_timer_at(r->options.loop, &r->timer, now_ms(r) + AGAIN_MS, tell_all, r);
    finish_if_done(r);
}

void app_reload_due(struct app_reload *r, const struct app_plan *plan)
{
    if (r->plan != plan)
        app_reload_cancel(r);
    r->plan = plan;
    r->len = plan->release->services_len;
    r->changed_ms = now_ms(r);
    for (size_t i = 0; i < r->len; i++) {
        struct told *told = &r->told[i];
        *told = (struct told){.owner = r,
                              .signal_due = plan->services[i].reload_signal != 0,
                              .hook_due = plan->services[i].reload != NULL,
                              .hook = told->hook};
    }
    if (r->timer.slot == 0)
        loop_timer_at(r->options.loop, &r->timer, now_ms(r) + TOGETHER_MS, tell_all, r);
}
