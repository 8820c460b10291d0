/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/app_services.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "agent/core/retry.h"
#include "common/base/mem.h"
#include "common/clock.h"

enum {
    STOP_TIMEOUT_MS = 10000,
    RESTART_MIN_MS = 1000,
    RESTART_MAX_MS = 60000,
    STEADY_MS = 10000, /* a service that ran this long did not end "in a row" */
    TROUBLE_MAX = 160,
};

struct slot {
    struct app_services *owner;
    char name[TOKEN_MAX + 1];
    const struct app_plan_service *plan; /* NULL: not of the present plan */
    struct child *child;                 /* NULL: no process */
    struct child_identity identity;
    bool gated;     /* the process waits for its row */
    bool row_dirty; /* the row is not what the slot is */
    bool stopping;  /* asked to end */
    bool given_up;
    bool tried;     /* started at least once by this plan */
    uint32_t exits; /* in a row */
    int64_t up_since_ms;
    struct loop_timer restart;
    char trouble[TROUBLE_MAX];
};

struct app_services {
    struct app_services_options options;
    struct slot slots[APP_SERVICES_MAX]; /* used ones have a name */
    bool patience;
    bool planned;
    int64_t planned_ms;
    uint32_t restarts;
};

static void spawn(struct slot *slot);

static int64_t now_ms(const struct app_services *s)
{
    return loop_now_ms(s->options.loop);
}

static struct slot *find(const struct app_services *s, const char *name)
{
    for (size_t i = 0; i < APP_SERVICES_MAX; i++) {
        if (str_equal(s->slots[i].name, name))
            return (struct slot *)&s->slots[i];
    }
    return NULL;
}

static struct slot *take(struct app_services *s, const char *name)
{
    struct slot *slot = find(s, name);
    if (slot || !(slot = find(s, "")))
        return slot;
    *slot = (struct slot){.owner = s};
    return str_copy(slot->name, sizeof slot->name, name) == ERR_OK ? slot : NULL;
}

/* A slot without process, plan and unwritten row is free for another name. */
static void free_if_idle(struct slot *slot)
{
    if (!slot->child && !slot->plan && !slot->row_dirty)
        slot->name[0] = '\0';
}

static void describe_end(int status, char *ret, size_t size)
{
    if (status < 0)
        (void)snprintf(ret, size, "ended");
    else if (WIFSIGNALED(status))
        (void)snprintf(ret, size, "killed by signal %d", WTERMSIG(status));
    else if (WEXITSTATUS(status) == 127)
        (void)snprintf(ret, size, "could not be executed");
    else
        (void)snprintf(ret, size, "ended with exit code %d", WEXITSTATUS(status));
}

static int64_t backoff_ms(struct slot *slot)
{
    const struct service *service = slot->plan->service;
    int64_t min_ms = service->restart_min_ms ? service->restart_min_ms : RESTART_MIN_MS;
    struct retry_policy policy = {
        .min_ms = min_ms,
        .base_ms = min_ms / 2 + 1,
        .max_ms = service->restart_max_ms ? service->restart_max_ms : RESTART_MAX_MS,
    };
    return retry_delay_ms(&policy, slot->exits, slot->owner->options.rng);
}

static void on_restart(void *arg)
{
    struct slot *slot = arg;
    if (slot->plan && !slot->child && !slot->given_up) {
        slot->owner->restarts++;
        spawn(slot);
    }
    slot->owner->options.on_news(slot->owner->options.arg);
}

/* Ended by itself while it should run. */
static void failed(struct slot *slot, const char *how)
{
    struct app_services *s = slot->owner;
    bool steady = now_ms(s) - slot->up_since_ms >= STEADY_MS;
    slot->exits = steady ? 1 : slot->exits + 1;
    slot->given_up = s->patience && slot->exits >= APP_SERVICES_PATIENCE;
    char text[TROUBLE_MAX], delay[32];
    if (slot->given_up) {
        (void)snprintf(text, sizeof text, "service %s %s, %u times in a row: given up", slot->name,
                       how, (unsigned)slot->exits);
    } else {
        int64_t wait_ms = backoff_ms(slot);
        str_format_duration(wait_ms, delay);
        (void)snprintf(text, sizeof text, "service %s %s, started again in %s", slot->name, how,
                       delay);
        loop_timer_at(s->options.loop, &slot->restart, now_ms(s) + wait_ms, on_restart, slot);
    }
    memcpy(slot->trouble, text, sizeof text);
    s->options.on_exit(s->options.arg, slot->name, text);
}

static void on_ended(void *arg, int status)
{
    struct slot *slot = arg;
    bool asked = slot->stopping;
    slot->child = NULL;
    slot->gated = slot->stopping = false;
    slot->row_dirty = true;
    if (slot->plan && asked) {
        spawn(slot); /* it had to go for the plan's own process of that name */
    } else if (slot->plan) {
        char how[64];
        describe_end(status, how, sizeof how);
        failed(slot, how);
    }
    slot->owner->options.on_news(slot->owner->options.arg);
}

static void spawn(struct slot *slot)
{
    struct app_services *s = slot->owner;
    struct err err;
    loop_timer_stop(&slot->restart);
    slot->tried = true;
    slot->up_since_ms = now_ms(s);
    if (child_spawn(s->options.loop, &slot->plan->spec, on_ended, slot, &slot->child, &err) !=
        ERR_OK) {
        slot->child = NULL;
        failed(slot, err.text);
        return;
    }
    child_identity(slot->child, &slot->identity);
    slot->gated = slot->row_dirty = true;
}

static enum err_code adopt(struct app_services *s, const char *name, bool *rebooted,
                           struct err *err)
{
    struct slot *slot = take(s, name);
    if (!slot)
        return err_set(err, ERR_FULL, "more than %d services", APP_SERVICES_MAX);
    enum err_code code =
        agent_store_get_process(s->options.store, s->options.app, name, &slot->identity, err);
    if (code)
        return code;
    char boot_id[37];
    clock_boot_id(boot_id);
    *rebooted |= !str_equal(boot_id, slot->identity.boot_id);
    code = child_adopt(s->options.loop, &slot->identity, on_ended, slot, &slot->child, err);
    if (code != ERR_OK) {
        slot->child = NULL;
        slot->row_dirty = true; /* gone: the row goes too */
    }
    slot->up_since_ms = now_ms(s);
    return code == ERR_NOT_FOUND ? ERR_OK : code;
}

enum err_code app_services_open(const struct app_services_options *options,
                                struct app_services **ret, bool *ret_rebooted, struct err *err)
{
    struct arena arena;
    arena_init(&arena, 64 << 10);
    const char **names;
    size_t len = 0;
    bool rebooted = false;
    struct app_services *s = mem_new(1, sizeof *s);
    s->options = *options;
    enum err_code code =
        agent_store_list_processes(options->store, options->app, &arena, &names, &len, err);
    for (size_t i = 0; code == ERR_OK && i < len; i++)
        code = adopt(s, names[i], &rebooted, err);
    arena_fini(&arena);
    if (code != ERR_OK) {
        app_services_close(s);
        return err_wrap(err, "services of %s", options->app);
    }
    *ret = s;
    *ret_rebooted = rebooted;
    return ERR_OK;
}

void app_services_close(struct app_services *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < APP_SERVICES_MAX; i++) {
        loop_timer_stop(&s->slots[i].restart);
        child_forget(s->slots[i].child);
    }
    mem_free(s);
}

static int64_t stop_timeout_ms(const struct slot *slot)
{
    uint32_t ms = slot->plan ? slot->plan->service->stop_timeout_ms : 0;
    return ms ? ms : STOP_TIMEOUT_MS;
}

static void stop(struct slot *slot)
{
    int64_t timeout_ms = stop_timeout_ms(slot);
    loop_timer_stop(&slot->restart);
    if (!slot->child || slot->stopping)
        return;
    slot->stopping = true;
    child_stop(slot->child, timeout_ms);
}

static void start_one(struct app_services *s, const struct app_plan_service *plan)
{
    struct slot *slot = take(s, plan->service->name);
    if (!slot) { /* the plan holds at most half of the slots, so the others are still ending */
        s->planned = false;
        return;
    }
    slot->plan = plan;
    slot->exits = 0;
    slot->given_up = false;
    slot->trouble[0] = '\0';
    if (!slot->child)
        spawn(slot);
    else
        slot->tried = !slot->stopping; /* adopted; or it is ending, and spawned again then */
}

void app_services_start(struct app_services *s, const struct app_plan *plan)
{
    if (!s->planned)
        s->planned_ms = now_ms(s);
    app_services_detach(s);
    s->planned = true;
    s->restarts = 0;
    for (size_t i = 0; i < plan->release->services_len; i++)
        start_one(s, &plan->services[i]);
    for (size_t i = 0; i < APP_SERVICES_MAX; i++) {
        if (s->slots[i].child && !s->slots[i].plan)
            stop(&s->slots[i]);
    }
}

void app_services_stop(struct app_services *s)
{
    for (size_t i = 0; i < APP_SERVICES_MAX; i++)
        stop(&s->slots[i]);
    app_services_detach(s);
}

void app_services_detach(struct app_services *s)
{
    s->planned = false;
    for (size_t i = 0; i < APP_SERVICES_MAX; i++) {
        struct slot *slot = &s->slots[i];
        loop_timer_stop(&slot->restart);
        slot->plan = NULL;
        slot->tried = slot->given_up = false;
        free_if_idle(slot);
    }
}

void app_services_set_patience(struct app_services *s, bool in_window)
{
    s->patience = in_window;
}

bool app_services_running(const struct app_services *s)
{
    for (size_t i = 0; i < APP_SERVICES_MAX; i++) {
        if (s->slots[i].child)
            return true;
    }
    return false;
}

bool app_services_started(const struct app_services *s)
{
    for (size_t i = 0; i < APP_SERVICES_MAX; i++) {
        if (s->slots[i].plan && !s->slots[i].tried)
            return false;
    }
    return s->planned;
}

bool app_services_failed(const struct app_services *s)
{
    for (size_t i = 0; i < APP_SERVICES_MAX; i++) {
        if (s->slots[i].given_up)
            return true;
    }
    return false;
}

static bool is_up(const struct slot *slot)
{
    return slot->child && !slot->gated && !slot->stopping;
}

bool app_services_is_up(const struct app_services *s, const char *service)
{
    const struct slot *slot = find(s, service);
    return slot && is_up(slot);
}

int64_t app_services_up_since_ms(const struct app_services *s)
{
    int64_t since_ms = s->planned_ms;
    for (size_t i = 0; i < APP_SERVICES_MAX; i++) {
        const struct slot *slot = &s->slots[i];
        if (slot->plan && !is_up(slot))
            return -1;
        if (slot->plan && slot->up_since_ms > since_ms)
            since_ms = slot->up_since_ms;
    }
    return s->planned ? since_ms : -1;
}

bool app_services_was_up(const struct app_services *s, const char *service, int64_t since_ms)
{
    const struct slot *slot = find(s, service);
    return slot && is_up(slot) && slot->up_since_ms <= since_ms;
}

enum child_told app_services_signal(const struct app_services *s, const char *service, int sig,
                                    int64_t since_ms)
{
    if (!app_services_was_up(s, service, since_ms))
        return CHILD_GONE;
    return child_signal(find(s, service)->child, sig);
}

uint32_t app_services_restarts(const struct app_services *s)
{
    return s->restarts;
}

const char *app_services_trouble(const struct app_services *s)
{
    for (size_t i = 0; i < APP_SERVICES_MAX; i++) {
        if (s->slots[i].plan && !is_up(&s->slots[i]))
            return s->slots[i].trouble;
    }
    return "";
}

size_t app_services_identities(const struct app_services *s, struct child_identity *ret, size_t max)
{
    size_t len = 0;
    for (size_t i = 0; i < APP_SERVICES_MAX && len < max; i++) {
        if (s->slots[i].child)
            ret[len++] = s->slots[i].identity;
    }
    return len;
}

enum err_code app_services_store(struct app_services *s, struct err *err)
{
    for (size_t i = 0; i < APP_SERVICES_MAX; i++) {
        const struct slot *slot = &s->slots[i];
        if (!slot->row_dirty)
            continue;
        enum err_code code =
            slot->child
                ? agent_store_put_process(s->options.store, s->options.app, slot->name,
                                          &slot->identity, err)
                : agent_store_drop_process(s->options.store, s->options.app, slot->name, err);
        if (code)
            return code;
    }
    return ERR_OK;
}

void app_services_release(struct app_services *s)
{
    for (size_t i = 0; i < APP_SERVICES_MAX; i++) {
        struct slot *slot = &s->slots[i];
        slot->row_dirty = false;
        if (slot->gated) {
            slot->gated = false;
            child_release(slot->child);
        }
        free_if_idle(slot);
    }
}

void app_services_trim_logs(const struct app_services *s)
{
    for (size_t i = 0; i < APP_SERVICES_MAX; i++) {
        const struct app_plan_service *plan = s->slots[i].plan;
        if (plan && plan->spec.log_path)
            child_trim_log(plan->spec.log_path, CHILD_LOG_MAX_BYTES);
    }
}
