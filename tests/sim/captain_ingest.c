/* SPDX-License-Identifier: Apache-2.0
 *
 * What comes from devices, turned into inputs.
 */
#include "common/base/mem.h"
#include "tests/sim/world.h"

enum { FINGERPRINTS_BELOW = 1000 };

void captain_grow(struct captain *c, uint32_t devices)
{
    if (devices <= c->devices)
        return;
    c->acked = mem_grow(c->acked, c->devices, devices, sizeof *c->acked);
    c->after = mem_grow(c->after, c->devices, devices, sizeof *c->after);
    c->heard = mem_grow(c->heard, c->devices, devices, sizeof *c->heard);
    c->devices = devices;
}

/* True when the event is stored already. */
static bool note_stored(struct captain *c, uint32_t device, uint32_t number)
{
    const uint32_t acked = c->acked[device];
    if (number <= acked || number > acked + 32)
        return number <= acked;
    const uint32_t bit = 1u << (number - acked - 1);
    const bool known = c->after[device] & bit;
    c->after[device] |= bit;
    while (c->after[device] & 1u) {
        c->after[device] >>= 1;
        c->acked[device]++;
    }
    return known;
}

/* What an event says in the words of the core; ROLLOUT_REPORTS: nothing. */
static enum rollout_report report_of(const struct captain_rollout *rollout,
                                     const struct bus_message *event)
{
    const bool base = event->release == rollout->base;
    if (!base && event->release != rollout->target)
        return ROLLOUT_REPORTS;
    switch ((enum bus_event)event->what) {
    case BUS_ACTIVATED:
        return base ? ROLLOUT_REPORTS : ROLLOUT_REPORT_APPLYING;
    case BUS_CONFIRMED:
        return base ? ROLLOUT_REPORT_ROLLED_BACK : ROLLOUT_REPORT_HEALTHY;
    case BUS_UNHEALTHY:
        return base ? ROLLOUT_REPORTS : ROLLOUT_REPORT_UNHEALTHY;
    case BUS_ROLLED_BACK:
        return base ? ROLLOUT_REPORT_ROLLBACK_FAILED : ROLLOUT_REPORT_ROLLED_BACK;
    case BUS_REFUSED:
        if (base)
            return ROLLOUT_REPORT_ROLLBACK_FAILED;
        return event->switched ? ROLLOUT_REPORT_FAILED : ROLLOUT_REPORT_REJECTED;
    }
    return ROLLOUT_REPORTS;
}

static void seen(struct world *world, uint32_t device)
{
    struct device *d = &world->devices[device];
    if (d->known_lost) {
        d->known_lost = false;
        captain_input(world, &(struct rollout_input){.kind = ROLLOUT_IN_SEEN, .member = device});
    }
}

/* An attempt of a rollout that is superseded has ended: so has its lease. */
static void take_old(struct world *world, const struct bus_message *event)
{
    if (event->what == BUS_ACTIVATED || event->what == BUS_UNHEALTHY || !world->captain.core)
        return;
    struct rollout_device_view view;
    rollout_device_view(world->captain.core, event->device, &view);
    if (!view.leased || view.attempt != 0)
        return;
    struct rollout_input input = {.kind = ROLLOUT_IN_RETURN, .member = event->device};
    captain_input(world, &input);
}

static void give(struct world *world, const struct bus_message *event, enum rollout_report what,
                 uint32_t sequence)
{
    struct rollout_input input = {.kind = ROLLOUT_IN_REPORT, .member = event->device};
    input.u.report.what = what;
    input.u.report.attempt = event->attempt;
    input.u.report.sequence = sequence;
    input.u.report.flaps = event->flaps;
    captain_input(world, &input);
}

static void take_report(struct world *world, const struct bus_message *event,
                        enum rollout_report what)
{
    if (what == ROLLOUT_REPORT_HEALTHY)
        world->captain.heard[event->device] = event->rollout;
    give(world, event, what, event->number);
}

/* What was said before, or of an older attempt, changes nothing: held here. */
static void take_known(struct world *world, const struct bus_message *event,
                       enum rollout_report what)
{
    struct captain *c = &world->captain;
    captain_input(world, &(struct rollout_input){.kind = ROLLOUT_IN_TICK});
    if (!c->up)
        return;
    const bool looks = world->devices_len < FINGERPRINTS_BELOW; /* each looks at every member */
    const uint64_t before = looks ? rollout_fingerprint(c->core) : 0;
    give(world, event, what, event->number);
    if (looks && c->up && rollout_fingerprint(c->core) != before)
        world_break(world, "event %u of %s, told again, changes something", event->number,
                    world->devices[event->device].name);
}

/* Stored and given in one transaction; acknowledged after it, so that what a crash has swallowed is
 * sent again. */
static void take_event(struct world *world, const struct bus_message *event)
{
    struct captain *c = &world->captain;
    seen(world, event->device);
    if (!c->up)
        return;
    const bool known = note_stored(c, event->device, event->number);
    const enum rollout_report what = c->core && event->rollout == c->rollout
                                         ? report_of(&c->rollouts[c->rollout], event)
                                         : ROLLOUT_REPORTS;
    if (!c->core || event->rollout != c->rollout)
        take_old(world, event);
    else if (what != ROLLOUT_REPORTS && known)
        take_known(world, event, what);
    else if (what != ROLLOUT_REPORTS)
        take_report(world, event, what);
    if (c->up)
        bus_send(world, &(struct bus_message){.kind = BUS_ACK,
                                              .device = event->device,
                                              .number = c->acked[event->device]});
}

static void take_return(struct world *world, const struct bus_message *ask)
{
    struct captain *c = &world->captain;
    struct rollout_input input = {.kind = ROLLOUT_IN_RETURN, .member = ask->device};
    input.u.lease_return.attempt = ask->rollout == c->rollout ? ask->attempt : 0;
    captain_input(world, &input);
}

static void take_ask(struct world *world, const struct bus_message *ask)
{
    struct captain *c = &world->captain;
    seen(world, ask->device);
    if (!c->up)
        return;
    if (ask->returned) {
        take_return(world, ask);
        return;
    }
    if (ask->rollout != c->rollout) { /* of a rollout that is over: the device will hear of it */
        bus_send(world, &(struct bus_message){.kind = BUS_ANSWER,
                                              .device = ask->device,
                                              .rollout = ask->rollout,
                                              .attempt = ask->attempt,
                                              .answer = LEASE_ENDED});
        return;
    }
    struct rollout_input input = {.kind = ROLLOUT_IN_ASK, .member = ask->device};
    input.u.ask.attempt = ask->attempt;
    input.u.ask.rollback = ask->rollback;
    captain_input(world, &input);
}

void captain_message(struct world *world, const struct bus_message *message)
{
    struct captain *c = &world->captain;
    if (!c->up || message->device >= c->devices)
        return;
    if (message->kind == BUS_EVENT)
        take_event(world, message);
    else if (message->kind == BUS_ASK && c->core)
        take_ask(world, message);
    else if (message->kind == BUS_HEALTH)
        seen(world, message->device);
}
