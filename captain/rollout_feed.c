/* SPDX-License-Identifier: Apache-2.0
 *
 * What devices say, and their silence, as inputs of rollouts.
 */
#include <stdio.h>
#include <string.h>

#include "captain/io/store/rollout.h"
#include "captain/rollouts_private.h"
#include "common/base/cohort.h"
#include "common/clock.h"

/* Events. */

static bool is_target(const struct rollouts_live *live, struct bytes digest)
{
    return bytes_equal(digest, bytes_of(live->row.digest, DIGEST_BYTES));
}

static bool is_base(const struct rollouts_live *live, struct bytes digest)
{
    return live->row.has_base && bytes_equal(digest, bytes_of(live->row.base_digest, DIGEST_BYTES));
}

/* An attempt that ended before its release was switched to was refused; after that it failed. */
static enum rollout_report failure_of(const struct rollouts_live *live, uint32_t member,
                                      const struct event *event)
{
    return live->members[member].activated == event->attempt_number ? ROLLOUT_REPORT_FAILED
                                                                    : ROLLOUT_REPORT_REJECTED;
}

/* False: it says nothing of the rollout. */
static bool report_of(const struct rollouts_live *live, uint32_t member, const struct event *event,
                      enum rollout_report *ret)
{
    const bool target = is_target(live, event->digest);
    switch (event->kind) {
    case EVENT_KIND_ACTIVATED:
        *ret = ROLLOUT_REPORT_APPLYING;
        return target;
    case EVENT_KIND_CONFIRMED:
        *ret = target ? ROLLOUT_REPORT_HEALTHY : ROLLOUT_REPORT_ROLLED_BACK;
        return target || is_base(live, event->digest);
    case EVENT_KIND_HEALTHY:
        *ret = ROLLOUT_REPORT_HEALTHY;
        return target;
    case EVENT_KIND_UNHEALTHY:
        *ret = ROLLOUT_REPORT_UNHEALTHY;
        return target;
    case EVENT_KIND_ROLLED_BACK:
        /* The attempt failed, and the device runs again what it ran before: the base, unless it was
         * the base that failed. */
        *ret = is_base(live, event->digest) ? ROLLOUT_REPORT_ROLLBACK_FAILED
                                            : ROLLOUT_REPORT_ROLLED_BACK;
        return true;
    case EVENT_KIND_FAILED:
        *ret = target ? failure_of(live, member, event) : ROLLOUT_REPORT_ROLLBACK_FAILED;
        return target || is_base(live, event->digest);
    default:
        return false;
    }
}

/* The end of an attempt under the rollout before gives back the lease that was carried over. */
static void take_foreign(struct rollouts_live *live, uint32_t member, const struct event *event)
{
    struct rollout_device_view view;
    struct rollout_input input = {.kind = ROLLOUT_IN_RETURN, .member = member};
    const bool ends = event->kind == EVENT_KIND_CONFIRMED ||
                      event->kind == EVENT_KIND_ROLLED_BACK || event->kind == EVENT_KIND_FAILED;
    if (!ends || member >= live->members_stepped)
        return;
    rollout_device_view(live->core, member, &view);
    if (view.leased && view.attempt == 0)
        rollouts_push(live, &input, NULL, NULL);
}

void rollouts_event(struct rollouts *r, uint32_t device, const struct event *event)
{
    struct rollout_input input = {.kind = ROLLOUT_IN_REPORT};
    struct rollouts_live *live = rollouts_of_channel(r, event->app, event->channel);
    if (!r->ready || !live || !event->rollout[0])
        return;
    input.member = rollouts_member_of(live, device);
    if (input.member == ROLLOUT_NONE)
        return;
    if (!str_equal(event->rollout, live->row.id)) {
        take_foreign(live, input.member, event);
        return;
    }
    if (event->attempt_number == 0 || !report_of(live, input.member, event, &input.u.report.what))
        return;
    input.u.report.attempt = event->attempt_number;
    input.u.report.flaps = event->flaps;
    input.u.report.sequence = ++live->reports; /* they are stored in order, each once */
    if (input.u.report.what == ROLLOUT_REPORT_APPLYING)
        live->members[input.member].activated = (uint16_t)event->attempt_number;
    rollouts_push(live, &input, NULL, NULL);
}

/* Health. */

static uint32_t find_name(const char *const *names, uint32_t len, const char *name)
{
    for (uint32_t i = 0; i < len; i++)
        if (str_equal(names[i], name))
            return i;
    return ROLLOUT_NONE;
}

uint16_t rollouts_stratum_of(const struct rollouts_live *live, const char *device,
                             const char *hardware)
{
    char site[TOKEN_MAX + 1];
    (void)snprintf(site, sizeof site, "%.*s", (int)strcspn(device, "/"), device);
    const uint32_t site_id = find_name(live->names.sites, live->names.sites_len, site);
    const uint32_t group_id = find_name(live->names.groups, live->names.groups_len, hardware);
    uint32_t best = live->strata_len - 1; /* the one of nobody's site */
    for (uint32_t i = 0; i < live->strata_len; i++) {
        if (live->strata[i].site != site_id)
            continue;
        best = i;
        if (live->strata[i].group == group_id)
            break;
    }
    return (uint16_t)best;
}

static void join(struct rollouts_live *live, uint32_t device, const struct health *health)
{
    const char *name = fleet_device_name(live->rollouts->parts.fleet, device);
    struct rollout_input input = {.kind = ROLLOUT_IN_JOIN};
    const struct rollout_names names = {.devices = &name, .devices_len = 1};
    input.u.join =
        (struct rollout_join){.hash = cohort_hash(live->row.id, name),
                              .stratum = rollouts_stratum_of(live, name, health->hardware),
                              .pick = ROLLOUT_PICK_NONE,
                              .eligible = true,
                              .online = true};
    rollouts_push(live, &input, &names, NULL);
}

/* It may not have heard of its pin yet. */
static bool is_pinned(struct rollouts *r, uint32_t device, const struct app_status *app)
{
    struct store_device_set row;
    struct err err = {0};
    const char *name = fleet_device_name(r->parts.fleet, device);
    if (app->pinned)
        return true;
    return store_device_set_row(r->parts.db, name, &r->turn_arena, &row, &err) == ERR_OK &&
           rollouts_pins(row.set, app->app, &r->turn_arena);
}

static bool is_bad(const struct app_status *app)
{
    return app->state == APP_STATE_UNHEALTHY || app->state == APP_STATE_FAILED;
}

static void take_status(struct rollouts_live *live, uint32_t device, const struct health *health,
                        const struct app_status *app)
{
    struct rollout_device_view view;
    const uint32_t member = rollouts_member_of(live, device);
    if (member == ROLLOUT_NONE) {
        if (live->members_len < ROLLOUT_MEMBERS_MAX && !is_pinned(live->rollouts, device, app))
            join(live, device, health);
        return;
    }
    if (member >= live->members_stepped)
        return; /* it joins in this very turn */
    rollout_device_view(live->core, member, &view);
    struct rollout_input input = {.kind = ROLLOUT_IN_SEEN, .member = member};
    if (view.silent || !view.eligible)
        rollouts_push(live, &input, NULL, NULL);
    if (app->pinned && !view.excluded && !view.leased &&
        (view.device == ROLLOUT_ON_BASE || view.device == ROLLOUT_OFFERED)) {
        input.kind = ROLLOUT_IN_EXCLUDE; /* who pinned it has taken it out */
        rollouts_push(live, &input, NULL, NULL);
        return;
    }
    if (view.device != ROLLOUT_ON_BASE || !is_bad(app) || is_target(live, app->digest) ||
        live->members[member].control_failed)
        return;
    input.kind = ROLLOUT_IN_CONTROL_FAILED;
    rollouts_push(live, &input, NULL, NULL);
}

void rollouts_health(struct rollouts *r, uint32_t device, const struct health *health)
{
    for (size_t i = 0; r->ready && r->lives_len > 0 && i < health->apps_len; i++) {
        const struct app_status *app = &health->apps[i];
        struct rollouts_live *live = rollouts_of_channel(r, app->app, app->channel);
        if (live && live->begun)
            take_status(live, device, health, app);
    }
}

/* Silence. */

static int64_t offline_ms(const struct rollouts_live *live)
{
    const int64_t silent_ms = rollout_policy(live->core)->silent_ms;
    return silent_ms > 0 && silent_ms < ROLLOUTS_OFFLINE_MS ? silent_ms : ROLLOUTS_OFFLINE_MS;
}

static void sweep_member(struct rollouts_live *live, uint32_t member, int64_t now_ms)
{
    const struct rollouts *r = live->rollouts;
    struct rollout_device_view view;
    struct fleet_row row = {0};
    if (live->devices[member] != FLEET_NONE)
        fleet_row(r->parts.fleet, live->devices[member], &row);
    rollout_device_view(live->core, member, &view);
    /* What captain could not hear while it was away is nobody's silence. */
    const int64_t since_ms = row.last_seen_ms > r->contact_ms ? row.last_seen_ms : r->contact_ms;
    const bool silent = now_ms - since_ms >= offline_ms(live);
    struct rollout_input input = {.kind = ROLLOUT_IN_SILENT, .member = member};
    if (silent && !view.silent) {
        input.u.silent.since_ms = since_ms;
        rollouts_push(live, &input, NULL, NULL);
    } else if (view.silent && row.last_seen_ms >= r->contact_ms && !silent) {
        input.kind = ROLLOUT_IN_SEEN;
        rollouts_push(live, &input, NULL, NULL);
    }
}

static void on_sweep(void *arg)
{
    struct rollouts *r = arg;
    const int64_t now_ms = clock_unix_ms();
    if (!bus_connected(r->parts.bus))
        r->contact_ms = now_ms;
    else
        rollouts_leave_out(r);
    for (uint32_t i = 0; i < r->lives_len && bus_connected(r->parts.bus); i++) {
        struct rollouts_live *live = r->lives[i];
        for (uint32_t m = 0; rollouts_is_live(live) && m < live->members_stepped; m++)
            sweep_member(live, m, now_ms);
    }
    rollouts_tell_windows(r, false);
    rollouts_sweep_arm(r);
}

void rollouts_sweep_arm(struct rollouts *r)
{
    loop_timer_at(r->parts.loop, &r->sweep, loop_now_ms(r->parts.loop) + ROLLOUTS_SWEEP_MS,
                  on_sweep, r);
}
