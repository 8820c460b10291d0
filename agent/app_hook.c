/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/app_hook.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/io/spawn.h"
#include "common/base/mem.h"
#include "common/log.h"

enum { HOOK_TIMEOUT_MS = 10000 };

struct app_hook {
    struct loop *loop;
    const char *app;
    app_hook_done_fn done;
    void *arg;
    const struct app_plan *plan; /* NULL: at rest */
    size_t next;
    pid_t pid;
    struct loop_process *process;
    struct loop_timer timer;
};

static void run_next(void *arg);

struct app_hook *app_hook_new(struct loop *loop, const char *app, app_hook_done_fn done, void *arg)
{
    struct app_hook *hook = mem_new(1, sizeof *hook);
    *hook = (struct app_hook){.loop = loop, .app = app, .done = done, .arg = arg};
    return hook;
}

void app_hook_free(struct app_hook *hook)
{
    if (!hook)
        return;
    app_hook_cancel(hook);
    mem_free(hook);
}

bool app_hook_any(const struct app_plan *plan)
{
    for (size_t i = 0; i < plan->release->services_len; i++) {
        if (plan->services[i].pre_stop)
            return true;
    }
    return false;
}

void app_hook_cancel(struct app_hook *hook)
{
    loop_timer_stop(&hook->timer);
    if (hook->process)
        spawn_abandon(hook->loop, hook->process, hook->pid);
    hook->process = NULL;
    hook->plan = NULL;
}

bool app_hook_running(const struct app_hook *hook)
{
    return hook->plan != NULL;
}

static const struct app_plan_service *current(const struct app_hook *hook)
{
    return &hook->plan->services[hook->next];
}

static void finish(struct app_hook *hook, bool not_now)
{
    const char *service = not_now ? current(hook)->service->name : "";
    loop_timer_stop(&hook->timer);
    hook->plan = NULL;
    hook->done(hook->arg, not_now, service);
}

static void on_end(void *arg, int status)
{
    struct app_hook *hook = arg;
    hook->process = NULL;
    loop_timer_stop(&hook->timer);
    (void)kill(-hook->pid, SIGKILL); /* what it left behind */
    if (WIFEXITED(status) && WEXITSTATUS(status) == APP_HOOK_NOT_NOW) {
        finish(hook, true);
        return;
    }
    if (status != 0) {
        char how[32];
        str_format_exit(status, how);
        log_write(LOG_LEVEL_WARNING, "%s: the pre-stop hook of %s failed (%s)", hook->app,
                  current(hook)->service->name, how);
    }
    hook->next++;
    run_next(hook);
}

static void on_timeout(void *arg)
{
    struct app_hook *hook = arg;
    log_write(LOG_LEVEL_WARNING, "%s: the pre-stop hook of %s takes too long and is ended",
              hook->app, current(hook)->service->name);
    spawn_abandon(hook->loop, hook->process, hook->pid);
    hook->process = NULL;
    hook->next++;
    run_next(hook);
}

static enum err_code spawn(struct app_hook *hook, struct err *err)
{
    const struct app_plan_service *plan = current(hook);
    int out = -1;
    if (plan->spec.log_path &&
        child_open_log(plan->spec.log_path, plan->spec.user, &out, err) != ERR_OK)
        return err->code;
    struct spawn_spec spec = {.argv = plan->pre_stop,
                              .env = plan->spec.env,
                              .folder = plan->spec.folder,
                              .out_fd = out,
                              .err_fd = out,
                              .gate_fd = -1,
                              .user = plan->spec.user};
    enum err_code code = spawn_process(&spec, &hook->pid, err);
    if (out >= 0)
        (void)close(out);
    if (code == ERR_OK &&
        (code = loop_process_watch(hook->loop, hook->pid, on_end, hook, &hook->process, err)))
        spawn_abandon(hook->loop, NULL, hook->pid);
    return code;
}

static void run_next(void *arg)
{
    struct app_hook *hook = arg;
    struct err err;
    for (; hook->next < hook->plan->release->services_len; hook->next++) {
        const struct app_plan_service *plan = current(hook);
        uint32_t ms = plan->service->stop_timeout_ms;
        if (!plan->pre_stop)
            continue;
        if (spawn(hook, &err) == ERR_OK) {
            loop_timer_at(hook->loop, &hook->timer,
                          loop_now_ms(hook->loop) + (ms ? ms : HOOK_TIMEOUT_MS), on_timeout, hook);
            return;
        }
        log_err("a pre-stop hook cannot be run", &err);
    }
    finish(hook, false);
}

void app_hook_start(struct app_hook *hook, const struct app_plan *plan)
{
    app_hook_cancel(hook);
    hook->plan = plan;
    hook->next = 0;
    loop_timer_at(hook->loop, &hook->timer, 0, run_next,
                  hook); /* done must not run before we return */
}
