/* SPDX-License-Identifier: Apache-2.0
 *
 * The dead-man record of one app: written before the switch, told who runs, taken away when the
 * attempt has ended and that is durable.
 */
#include <string.h>

#include "agent/app_private.h"
#include "common/clock.h"
#include "common/log.h"

static bool is_in_window(enum lifecycle_state state)
{
    return state == LIFECYCLE_SWITCHING || state == LIFECYCLE_STARTING ||
           state == LIFECYCLE_CONFIRMING || state == LIFECYCLE_RETREATING ||
           state == LIFECYCLE_RESTORING;
}

enum err_code app_arm_deadman(struct app *app, struct err *err)
{
    const struct lifecycle *l = &app->row.lifecycle;
    struct deadman deadman = {.has_previous = l->confirmed.set};
    struct deadman_clock now;
    char boot_id[37];
    if (l->state != LIFECYCLE_SWITCHING || app->deadman_set)
        return ERR_OK;
    memcpy(deadman.target, l->target.digest, DIGEST_BYTES);
    if (l->confirmed.set)
        memcpy(deadman.previous, l->confirmed.digest, DIGEST_BYTES);
    deadman_clock_read(&now, boot_id);
    uint32_t confirm_ms = app_confirm_ms(app->target_confirm_ms);
    deadman_arm(&deadman, deadman_window_ms(confirm_ms, app_grace_ms(confirm_ms)), &now);
    enum err_code code = deadman_file_write(app->dir.path, &deadman, err);
    if (code != ERR_OK)
        return code;
    app->deadman = deadman;
    app->deadman_set = true;
    app->options.on_deadman(app->options.arg, app->options.app->app, &app->dir, deadman.window_ms);
    return ERR_OK;
}

static void disarm(struct app *app)
{
    struct err err;
    if (deadman_file_remove(app->dir.path, &err) != ERR_OK) {
        log_err("the dead-man record stays", &err); /* tried again with the next turn */
        return;
    }
    app->deadman_set = app->deadman_fired = false;
    app->options.on_deadman(app->options.arg, app->options.app->app, &app->dir, 0);
}

/* A process that is not in the record is not stopped by it, so it is written before one may run. */
static void list_processes(struct app *app)
{
    struct child_identity who[DEADMAN_PROCESSES_MAX];
    struct deadman next = app->deadman;
    struct err err;
    bool target = app->link.set && memcmp(app->link.digest, next.target, DIGEST_BYTES) == 0;
    size_t len = target ? app_services_identities(app->services, who, DEADMAN_PROCESSES_MAX) : 0;
    next.processes_len = 0;
    memset(next.processes, 0, sizeof next.processes);
    for (size_t i = 0; i < len; i++) {
        if (str_equal(who[i].boot_id, next.boot_id))
            next.processes[next.processes_len++] =
                (struct deadman_process){who[i].pid, who[i].start_ticks};
    }
    if (next.processes_len == app->deadman.processes_len &&
        memcmp(next.processes, app->deadman.processes, sizeof next.processes) == 0)
        return;
    app->deadman = next;
    if (deadman_file_write(app->dir.path, &next, &err) != ERR_OK)
        log_err("the dead-man record does not name every process", &err);
    else
        app->options.on_deadman(app->options.arg, app->options.app->app, &app->dir, -1);
}

void app_keep_deadman(struct app *app)
{
    if (!app->deadman_set)
        return;
    if (!is_in_window(app->row.lifecycle.state))
        disarm(app);
    else if (!app->deadman_fired)
        list_processes(app);
}

/* One that cannot be read is of no use to anybody. */
void app_open_deadman(struct app *app)
{
    struct err err;
    enum err_code code = deadman_file_read(app->dir.path, &app->deadman, &err);
    if (code == ERR_NOT_FOUND)
        return;
    app->deadman_set = true;
    if (code != ERR_OK) {
        log_err(app->options.app->app, &err);
        disarm(app);
        return;
    }
    const struct lifecycle_release *target = &app->row.lifecycle.target;
    app->deadman_fired = app->deadman.state == DEADMAN_FIRED && target->set &&
                         memcmp(app->deadman.target, target->digest, DIGEST_BYTES) == 0;
}
