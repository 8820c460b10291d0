/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "tests/sim/plan.h"

enum { CONTACT_MS = 30000, LOOKS_EACH = 64 };
#define WORLD_START_MS INT64_C(1000000000000)

static void add_device(struct world *world, uint8_t release)
{
    if (world->devices_len == world->devices_capacity) {
        const uint32_t capacity = world->devices_capacity + world->devices_capacity / 2 + 8;
        world->devices =
            mem_grow(world->devices, world->devices_capacity, capacity, sizeof *world->devices);
        world->devices_capacity = capacity;
    }
    const uint32_t number = world->devices_len++;
    struct device *d = &world->devices[number];
    device_init(d, number, release);
    d->site = (uint16_t)(number % world->rules.sites);
    d->group = (uint16_t)(number / world->rules.sites % WORLD_GROUPS);
    d->pick = ROLLOUT_PICK_NONE;
    (void)snprintf(d->name, sizeof d->name, "s%u/d%u", d->site + 1u, number + 1);
    captain_grow(&world->captain, world->devices_capacity);
}

void world_init(struct world *world, const struct world_rules *rules, uint64_t seed)
{
    memset(world, 0, sizeof *world);
    world->rules = *rules;
    world->bus = rules->bus;
    world->clock.now_ms = WORLD_START_MS;
    rng_seed(&world->rng, seed);
    captain_init(&world->captain, rules->base);
    /* Names are lent to documents: devices never move. Room for those that come late. */
    world->devices_capacity = rules->devices + WORLD_LATE_MAX;
    world->devices = mem_new(world->devices_capacity, sizeof *world->devices);
    for (uint32_t i = 0; i < rules->devices; i++)
        add_device(world, rules->base);
}

void world_fini(struct world *world)
{
    clock_fini(&world->clock);
    captain_fini(&world->captain);
    mem_free(world->devices);
}

struct device *world_join(struct world *world, uint8_t release)
{
    if (world->devices_len == world->devices_capacity || !world->captain.up)
        return NULL;
    add_device(world, release);
    struct device *d = &world->devices[world->devices_len - 1];
    world_say(world, "%s comes", d->name);
    captain_add(world, d);
    clock_put(&world->clock, world->clock.now_ms, CLOCK_CONTACT, d->number, NULL);
    return d;
}

void world_say(struct world *world, const char *fmt, ...)
{
    if (!world->story)
        return;
    const int64_t s = (world->clock.now_ms - WORLD_START_MS) / 1000;
    (void)fprintf(world->story, "%02lld:%02lld:%02lld ", (long long)(s / 3600),
                  (long long)(s / 60 % 60), (long long)(s % 60));
    va_list args;
    va_start(args, fmt);
    (void)vfprintf(world->story, fmt, args);
    va_end(args);
    (void)fputc('\n', world->story);
}

void world_break(struct world *world, const char *fmt, ...)
{
    if (world->failed)
        return;
    world->failed = true;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(world->why, sizeof world->why, fmt, args);
    va_end(args);
    world_say(world, "BROKEN: %s", world->why);
}

/* Who runs behind asks the bus for the newest document. */
static void sweep(struct world *world)
{
    bool behind = false;
    for (uint32_t i = 0; i < world->devices_len; i++) {
        const struct device *d = &world->devices[i];
        if (!device_is_reachable(d) || d->document == world->captain.documents_len)
            continue;
        behind = true;
        captain_tell(world, i);
    }
    if (behind)
        clock_put(&world->clock, world->clock.now_ms + CONTACT_MS, CLOCK_CONTACT, ROLLOUT_NONE,
                  NULL);
}

/* Captain notices silence late, and a device that is back says so until it was heard. */
static void contact(struct world *world, uint32_t device)
{
    if (device == ROLLOUT_NONE) {
        sweep(world);
        return;
    }
    struct device *d = &world->devices[device];
    const bool lost = d->lost_since_ms >= 0;
    const bool behind = !lost && d->document != world->captain.documents_len;
    if (behind)
        captain_tell(world, device);
    if (lost == d->known_lost && !behind)
        return;
    if (lost && world->captain.up && world->clock.now_ms >= d->lost_since_ms + WORLD_ONLINE_MS) {
        struct rollout_input input = {.kind = ROLLOUT_IN_SILENT, .member = device};
        input.u.silent.since_ms = d->lost_since_ms + world->captain.skew_ms;
        d->known_lost = true;
        captain_input(world, &input);
        return;
    }
    if (!lost && d->known_lost)
        bus_send(world, &(struct bus_message){.kind = BUS_HEALTH, .device = device});
    clock_put(&world->clock, world->clock.now_ms + CONTACT_MS, CLOCK_CONTACT, device, NULL);
}

static bool is_for_captain(const struct bus_message *message)
{
    return message->kind == BUS_ASK || message->kind == BUS_EVENT || message->kind == BUS_HEALTH;
}

static void arrive(struct world *world, const struct bus_message *message)
{
    if (is_for_captain(message))
        captain_message(world, message);
    else
        device_message(world, &world->devices[message->device], message);
}

static void handle(struct world *world, const struct clock_event *event)
{
    struct device *d = event->who < world->devices_len ? &world->devices[event->who] : NULL;
    switch (event->kind) {
    case CLOCK_MESSAGE:
        arrive(world, &event->message);
        return;
    case CLOCK_DEVICE:
        if (d->wake_ms == event->at_ms) {
            d->wake_ms = 0;
            device_turn(world, d);
        }
        return;
    case CLOCK_STIR:
        device_turn(world, d);
        return;
    case CLOCK_BOOT:
        device_boot(world, d);
        return;
    case CLOCK_WAKE:
        device_wake(world, d);
        return;
    case CLOCK_CONTACT:
        contact(world, event->who);
        return;
    case CLOCK_CAPTAIN:
        captain_timer(world);
        return;
    case CLOCK_RESTART:
        captain_restart(world);
        return;
    case CLOCK_FAULT:
        plan_fault(world, event->who);
        world_stir(world, world->devices_len);
        return;
    case CLOCK_KINDS:
        return;
    }
}

void world_stir(struct world *world, uint32_t most)
{
    /* In a large fleet only some are looked at; who is left out then is found when all is quiet. */
    const uint32_t looks =
        most < world->devices_len / LOOKS_EACH ? most * LOOKS_EACH : world->devices_len;
    for (uint32_t i = 0; i < looks && most > 0; i++) {
        struct device *d = &world->devices[world->stirred++ % world->devices_len];
        if (!d->parked || !device_is_reachable(d))
            continue;
        most--;
        d->parked = false;
        clock_put(&world->clock, world->clock.now_ms + 1000 + (int64_t)rng_below(&world->rng, 9000),
                  CLOCK_STIR, d->number, NULL);
    }
}

bool world_run(struct world *world, uint64_t steps_max)
{
    struct clock_event event;
    while (!world->failed && clock_next(&world->clock, &event)) {
        if (++world->steps > steps_max)
            return true;
        handle(world, &event);
        if (world->clock.len == 0)
            world_stir(world, rules_waiting(world));
    }
    if (!world->failed)
        rules_quiet(world);
    return !world->failed;
}
