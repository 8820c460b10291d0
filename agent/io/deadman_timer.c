/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/io/deadman_timer.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "agent/io/spawn.h"

enum { MARGIN_MS = 30000, UNIT_BYTES = 128 };

static void on_ended(void *arg, int status)
{
    (void)arg;
    (void)status; /* best effort: the parent does it where systemd does not */
}

static void run(struct loop *loop, const char *const *argv)
{
    struct loop_process *process;
    pid_t pid;
    struct spawn_spec spec = {.argv = argv, .out_fd = -1, .err_fd = -1, .gate_fd = -1};
    if (spawn_process(&spec, &pid, NULL) == ERR_OK &&
        loop_process_watch(loop, pid, on_ended, NULL, &process, NULL) != ERR_OK)
        spawn_abandon(loop, NULL, pid);
}

void deadman_timer_arm(struct loop *loop, const char *app, const char *dir, int64_t after_ms)
{
    char unit[UNIT_BYTES], after[UNIT_BYTES], self[PATH_MAX];
    if (sd_booted() <= 0)
        return;
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    if (len <= 0)
        return;
    self[len] = '\0';
    (void)snprintf(unit, sizeof unit, "--unit=captain-deadman-%s", app);
    (void)snprintf(after, sizeof after, "--on-active=%" PRId64 "ms", after_ms + MARGIN_MS);
    const char *argv[] = {"systemd-run", "--quiet", "--collect", unit, after,
                          "--",          self,      "--deadman", dir,  NULL};
    run(loop, argv);
}

void deadman_timer_disarm(struct loop *loop, const char *app)
{
    char unit[UNIT_BYTES];
    if (sd_booted() <= 0)
        return;
    (void)snprintf(unit, sizeof unit, "captain-deadman-%s.timer", app);
    const char *argv[] = {"systemctl", "--quiet", "stop", unit, NULL};
    run(loop, argv);
}
