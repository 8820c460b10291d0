/* SPDX-License-Identifier: Apache-2.0
 *
 * The machine: its power, its services and the loop around lifecycle_step.
 */
#include "tests/sim/device.h"

#include <stdio.h>
#include <string.h>

#include "agent/core/retry.h"
#include "tests/sim/world.h"

enum { TURN_STEPS_MAX = 64 };

static struct lifecycle_release release_of(uint8_t number)
{
    struct lifecycle_release release = {.set = number != 0};
    release.digest[0] = number;
    return release;
}

static uint8_t number_of(const struct lifecycle_release *release)
{
    return release->set ? release->digest[0] : 0;
}

static bool has_staged(const struct device *d, uint8_t release)
{
    return release != 0 && d->staged & 1u << release;
}

void device_init(struct device *d, uint32_t number, uint8_t release)
{
    memset(d, 0, sizeof *d);
    d->number = number;
    d->exists = true;
    d->up = true;
    d->lost_since_ms = -1;
    d->wanted = release;
    d->current = release;
    d->said = release;
    if (release == 0)
        return;
    d->staged = (uint8_t)(1u << release);
    d->life.state = LIFECYCLE_SERVING;
    d->life.target = d->life.confirmed = release_of(release);
    d->life.data_version = 1;
    d->services_running = d->services_started = true;
    d->running = release;
    health_start(&d->health, NULL, 0, 0);
}

bool device_is_reachable(const struct device *d)
{
    if (!d->exists || !d->up || d->hung || d->cut_off)
        return false;
    return !(d->services_running && d->truth[d->running].nature == DEVICE_CUTS);
}

void device_contact(struct world *world, struct device *d)
{
    const bool reachable = device_is_reachable(d);
    if (!reachable && d->lost_since_ms < 0) {
        d->lost_since_ms = world->clock.now_ms;
        clock_put(&world->clock, world->clock.now_ms + WORLD_ONLINE_MS, CLOCK_CONTACT, d->number,
                  NULL);
    } else if (reachable && d->lost_since_ms >= 0) {
        d->lost_since_ms = -1;
        clock_put(&world->clock, world->clock.now_ms + 1000, CLOCK_CONTACT, d->number, NULL);
        captain_tell(world, d->number); /* by direct get, on every connect */
        d->send_at_ms = world->clock.now_ms;
        d->parked = false;
        device_turn(world, d);
    }
}

/* Power */

static void forget(struct device *d)
{
    d->services_running = d->services_started = d->services_failed = false;
    d->running = 0;
    d->fail_ms = d->work_done_ms = d->fetch_done_ms = d->retry_at_ms = 0;
    d->work = LIFECYCLE_DO_NOTHING;
    d->fetch = LIFECYCLE_FETCH_IDLE;
    d->asking = (struct asking){.silent_ms = -1};
    d->asking_rollout = 0;
    d->parked = d->returns = false;
}

void device_power_off(struct world *world, struct device *d, int64_t for_ms)
{
    if (!d->up)
        return;
    world_say(world, "%s loses power", d->name);
    d->up = d->hung = false;
    d->cut_in = 0;
    forget(d);
    device_contact(world, d);
    if (for_ms > 0)
        clock_put(&world->clock, world->clock.now_ms + for_ms, CLOCK_BOOT, d->number, NULL);
}

void device_boot(struct world *world, struct device *d)
{
    if (d->up || !d->exists)
        return;
    d->up = true;
    lifecycle_restarted(&d->life, true, world->clock.now_ms);
    world_say(world, "%s boots: %s", d->name, lifecycle_state_name(d->life.state));
    device_contact(world, d);
    device_turn(world, d);
}

void device_hang(struct world *world, struct device *d, int64_t for_ms)
{
    if (!d->up || d->hung)
        return;
    world_say(world, "%s hangs", d->name);
    d->hung = true;
    device_contact(world, d);
    if (for_ms > 0)
        clock_put(&world->clock, world->clock.now_ms + for_ms, CLOCK_WAKE, d->number, NULL);
}

/* The watchdog turns a machine that hangs off and on. */
void device_wake(struct world *world, struct device *d)
{
    if (!d->hung)
        return;
    device_power_off(world, d, 0);
    device_boot(world, d);
}

void device_crash_agent(struct world *world, struct device *d)
{
    if (!d->up || d->hung)
        return;
    world_say(world, "the agent of %s dies and is started again", d->name);
    forget(d);
    lifecycle_restarted(&d->life, false, world->clock.now_ms);
    device_contact(world, d);
    device_turn(world, d);
}

/* True when the power goes at this point. */
static bool is_cut(struct world *world, struct device *d)
{
    if (d->cut_in == 0 || --d->cut_in > 0)
        return false;
    device_power_off(world, d, 30000);
    return true;
}

/* Services */

static bool is_well(const struct device *d, int64_t now_ms)
{
    const struct device_truth *truth = &d->truth[d->running];
    const int64_t after_ms = now_ms - d->started_ms;
    for (uint32_t k = 0; k < truth->times && truth->bad_for_ms > 0; k++) {
        const int64_t from_ms = truth->bad_from_ms + (int64_t)k * truth->period_ms;
        if (after_ms < from_ms)
            return true;
        if (truth->bad_for_ms == INT32_MAX || after_ms < from_ms + truth->bad_for_ms)
            return false;
    }
    return true;
}

/* When is_well changes next; INT64_MAX: never. */
static int64_t change_ms(const struct device *d, int64_t now_ms)
{
    const struct device_truth *truth = &d->truth[d->running];
    for (uint32_t k = 0; k < truth->times && truth->bad_for_ms > 0; k++) {
        const int64_t from_ms = d->started_ms + truth->bad_from_ms + (int64_t)k * truth->period_ms;
        if (now_ms < from_ms)
            return from_ms;
        if (truth->bad_for_ms != INT32_MAX && now_ms < from_ms + truth->bad_for_ms)
            return from_ms + truth->bad_for_ms;
        if (truth->bad_for_ms == INT32_MAX)
            return INT64_MAX;
    }
    return INT64_MAX;
}

static void start_services(struct world *world, struct device *d)
{
    const struct health_check_rule rule = {
        .interval_ms = 10000, .healthy_threshold = 1, .unhealthy_threshold = 3};
    const struct device_truth *truth = &d->truth[d->current];
    d->running = d->current;
    d->services_running = d->services_started = true;
    d->services_failed = false;
    d->started_ms = world->clock.now_ms;
    d->fail_ms = truth->nature == DEVICE_NEVER_STARTS ? d->started_ms + 15000 : 0;
    health_start(&d->health, &rule, 1, d->started_ms + 1000);
    if (truth->nature == DEVICE_HANGS)
        device_hang(world, d, truth->hang_ms);
    device_contact(world, d);
}

static void stop_services(struct world *world, struct device *d)
{
    d->services_running = d->services_started = d->services_failed = false;
    d->running = 0;
    d->fail_ms = 0;
    device_contact(world, d);
}

/* A change of health of what serves: a flap, or its end. */
static void tell_health(struct world *world, struct device *d)
{
    if (d->life.state != LIFECYCLE_SERVING || d->rollout == 0 || d->attempt == 0)
        return;
    if (d->health.verdict == HEALTH_BAD) {
        d->flaps++;
        device_event(world, d, BUS_UNHEALTHY, d->current, true);
    } else if (d->health.verdict == HEALTH_GOOD && d->flaps > 0) {
        device_event(world, d, BUS_CONFIRMED, d->current, true);
    }
}

static void probe(struct world *world, struct device *d)
{
    const int64_t now_ms = world->clock.now_ms;
    int check;
    while (d->services_running && (check = health_next_due(&d->health, now_ms)) >= 0) {
        const bool ok = is_well(d, now_ms) && d->truth[d->running].nature != DEVICE_NEVER_STARTS;
        if (health_result(&d->health, (uint32_t)check, ok, now_ms))
            tell_health(world, d);
    }
    if (d->fail_ms > 0 && now_ms >= d->fail_ms)
        d->services_failed = true;
}

/* When a probe can tell anything new. */
static int64_t probe_ms(const struct device *d, int64_t now_ms)
{
    if (!d->services_running || d->health.checks_len == 0)
        return INT64_MAX;
    const int64_t due_ms = health_deadline_ms(&d->health);
    const enum health_verdict truth = is_well(d, now_ms) ? HEALTH_GOOD : HEALTH_BAD;
    const bool window =
        d->life.state == LIFECYCLE_STARTING || d->life.state == LIFECYCLE_CONFIRMING;
    if (window || d->health.verdict != truth)
        return due_ms;
    const int64_t next_ms = change_ms(d, now_ms);
    return next_ms > due_ms ? next_ms : due_ms;
}

/* The loop around lifecycle_step */

static struct lifecycle_observed look(struct world *world, struct device *d)
{
    struct lifecycle_observed seen = {
        .current = release_of(d->current),
        .current_data_version = 1,
        .confirm_ms = world->rules.confirm_ms,
        .grace_ms = world->rules.grace_ms,
        .target_staged = has_staged(d, d->wanted),
        .confirmed_whole = has_staged(d, number_of(&d->life.confirmed)),
        .fetch = d->fetch,
        .fetch_error = d->fetch_error,
        .services_running = d->services_running,
        .services_started = d->services_started && d->running == d->current,
        .services_failed = d->services_failed,
        .healthy_since_ms = d->services_started ? d->health.good_since_ms : -1,
        .bus_reached_ms = device_is_reachable(d) ? world->clock.now_ms : d->lost_since_ms,
        .retry_at_ms = d->retry_at_ms,
        .free_bytes = world->clock.now_ms < d->no_space_until_ms ? 0 : UINT64_C(1) << 30};
    device_look_for_lease(world, d, &seen);
    return seen;
}

static int64_t takes_ms(struct world *world, uint32_t ms)
{
    return world->clock.now_ms + ms + (int64_t)rng_below(&world->rng, ms + 1);
}

static void begin_work(struct world *world, struct device *d, enum lifecycle_action action)
{
    if (d->work == action)
        return;
    d->work = action;
    d->work_done_ms =
        takes_ms(world, action == LIFECYCLE_DO_STOP ? world->rules.stop_ms : world->rules.start_ms);
}

static void begin_fetch(struct world *world, struct device *d, uint8_t release)
{
    if (d->fetch != LIFECYCLE_FETCH_IDLE || has_staged(d, release))
        return;
    d->fetch = LIFECYCLE_FETCH_RUNNING;
    d->fetch_done_ms = takes_ms(world, world->rules.fetch_ms);
}

/* True when it was done at once, so that there is more to see. */
static bool act(struct world *world, struct device *d, const struct lifecycle_effects *effects)
{
    switch (effects->action) {
    case LIFECYCLE_DO_FETCH:
        begin_fetch(world, d, number_of(&effects->release));
        return false;
    case LIFECYCLE_DO_STOP:
    case LIFECYCLE_DO_START:
        begin_work(world, d, effects->action);
        return false;
    case LIFECYCLE_DO_SWITCH:
        d->current = number_of(&effects->release);
        return true;
    case LIFECYCLE_DO_LEASE:
        device_ask(world, d);
        return false;
    case LIFECYCLE_DO_HOOK:
    case LIFECYCLE_DO_PRUNE:
    case LIFECYCLE_DO_NOTHING:
        return false;
    }
    return false;
}

static void prune(struct device *d)
{
    const unsigned keep = 1u << number_of(&d->life.target) | 1u << number_of(&d->life.confirmed) |
                          1u << number_of(&d->life.previous);
    d->staged &= (uint8_t)keep;
}

static void report(struct world *world, struct device *d, const struct lifecycle_effects *effects)
{
    const uint8_t release = number_of(&effects->report_release);
    switch (effects->report) {
    case LIFECYCLE_REPORT_ACTIVATED:
        device_event(world, d, BUS_ACTIVATED, release, true);
        return;
    case LIFECYCLE_REPORT_CONFIRMED:
        device_event(world, d, BUS_CONFIRMED, release, true);
        return;
    case LIFECYCLE_REPORT_ROLLED_BACK:
        device_event(world, d, BUS_ROLLED_BACK, release, true);
        return;
    case LIFECYCLE_REPORT_FETCH_FAILED:
        if (effects->report_code == ERR_NO_SPACE)
            device_event(world, d, BUS_REFUSED, release, false);
        return;
    case LIFECYCLE_REPORT_REFUSED:
        device_event(world, d, BUS_REFUSED, release, effects->report_code == ERR_UNHEALTHY);
        return;
    default:
        return;
    }
}

/* One transaction: the machine's memory, the attempt and the event together. */
static void commit(struct world *world, struct device *d, const struct lifecycle_effects *effects)
{
    if (effects->return_lease)
        device_return(d, world->clock.now_ms);
    if (effects->new_attempt)
        device_new_attempt(world, d);
    else if (effects->from == LIFECYCLE_WAITING && d->life.state == LIFECYCLE_FETCHING &&
             d->life.reason_code == ERR_NO_SPACE)
        d->attempt++; /* that failure was told as the end of the attempt */
    if (d->life.state == LIFECYCLE_STARTING)
        d->asking = (struct asking){.silent_ms = -1}; /* used */
    if (d->life.state == LIFECYCLE_WAITING) {
        const struct retry_policy policy = {1000, 2000, 600000};
        d->retry_at_ms =
            world->clock.now_ms + retry_delay_ms(&policy, d->life.failures, &world->rng);
    }
    report(world, d, effects);
    if (effects->action == LIFECYCLE_DO_PRUNE)
        prune(d);
    if (d->fetch == LIFECYCLE_FETCH_FAILED)
        d->fetch = LIFECYCLE_FETCH_IDLE;
    d->work = LIFECYCLE_DO_NOTHING;
    d->work_done_ms = 0;
    if (effects->rule == 6 && d->life.state == LIFECYCLE_RETREATING)
        world_say(world, "%s goes back from r%u: %s", d->name, d->current, effects->why);
}

/* False: the power went. */
static bool step_all(struct world *world, struct device *d, int64_t *ret_deadline_ms)
{
    for (int steps = 0; steps < TURN_STEPS_MAX; steps++) {
        const struct lifecycle_desired desired = {.release = release_of(d->wanted),
                                                  .decision = d->document,
                                                  .data_version = 1,
                                                  .lease = device_needs_lease(world, d)};
        const struct lifecycle_observed seen = look(world, d);
        const struct lifecycle before = d->life;
        struct lifecycle_effects effects;
        lifecycle_step(&d->life, &desired, &seen, world->clock.now_ms, &effects);
        *ret_deadline_ms = effects.deadline_ms;
        if (effects.moved || effects.action != LIFECYCLE_DO_NOTHING) {
            if (is_cut(world, d)) {
                d->life = before; /* not committed, not done */
                return false;
            }
        }
        if (effects.moved) {
            commit(world, d, &effects);
            if (is_cut(world, d))
                return false;
        } else if (!act(world, d, &effects)) {
            return true;
        }
    }
    world_break(world, "%s does not come to rest: %s", d->name,
                lifecycle_state_name(d->life.state));
    return false;
}

static void finish_fetch(struct world *world, struct device *d)
{
    d->fetch_done_ms = 0;
    d->fetch = LIFECYCLE_FETCH_FAILED;
    if (!device_is_reachable(d))
        d->fetch_error = ERR_NO_CONTACT;
    else if (world->clock.now_ms < d->no_space_until_ms)
        d->fetch_error = ERR_NO_SPACE;
    else if (d->truth[d->wanted].nature == DEVICE_REFUSES)
        d->fetch_error = ERR_WRONG_TARGET;
    else
        d->fetch = LIFECYCLE_FETCH_IDLE;
    if (d->fetch == LIFECYCLE_FETCH_IDLE)
        d->staged |= (uint8_t)(1u << number_of(&d->life.target));
    else
        world_say(world, "%s cannot fetch r%u: %s", d->name, d->wanted, err_name(d->fetch_error));
}

static void finish_work(struct world *world, struct device *d)
{
    const int64_t now_ms = world->clock.now_ms;
    if (d->fetch_done_ms > 0 && now_ms >= d->fetch_done_ms)
        finish_fetch(world, d);
    if (d->work_done_ms == 0 || now_ms < d->work_done_ms)
        return;
    const enum lifecycle_action work = d->work;
    d->work = LIFECYCLE_DO_NOTHING;
    d->work_done_ms = 0;
    if (work == LIFECYCLE_DO_STOP)
        stop_services(world, d);
    else
        start_services(world, d);
}

static void earlier(int64_t *at_ms, int64_t candidate_ms)
{
    if (candidate_ms > 0 && candidate_ms < *at_ms)
        *at_ms = candidate_ms;
}

static void set_timer(struct world *world, struct device *d, int64_t at_ms)
{
    earlier(&at_ms, d->work_done_ms);
    earlier(&at_ms, d->fetch_done_ms);
    earlier(&at_ms, probe_ms(d, world->clock.now_ms));
    if (d->fail_ms > world->clock.now_ms)
        earlier(&at_ms, d->fail_ms);
    earlier(&at_ms, d->outbox_len > 0 && device_is_reachable(d) ? d->send_at_ms : 0);
    earlier(&at_ms, device_ask_ms(d));
    earlier(&at_ms, d->lie_at_ms);
    /* One that is cut off tries in vain until it has contact again (device_contact). */
    const bool vain = d->life.state == LIFECYCLE_WAITING && d->work_done_ms == 0;
    if (at_ms == INT64_MAX || (vain && !device_is_reachable(d)))
        return;
    if (at_ms <= world->clock.now_ms)
        at_ms = world->clock.now_ms + 1;
    if (d->wake_ms > 0 && d->wake_ms <= at_ms && d->wake_ms > world->clock.now_ms)
        return;
    d->wake_ms = at_ms;
    clock_put(&world->clock, at_ms, CLOCK_DEVICE, d->number, NULL);
}

void device_turn(struct world *world, struct device *d)
{
    int64_t deadline_ms = INT64_MAX;
    if (!d->up || d->hung || !d->exists)
        return;
    if (d->liar) {
        device_lie(world, d);
    } else {
        finish_work(world, d);
        if (d->hung)
            return;
        probe(world, d);
        device_unheard(world, d);
        if (!step_all(world, d, &deadline_ms))
            return;
        device_say_where(world, d);
    }
    device_send(world, d);
    set_timer(world, d, deadline_ms);
}
