/* SPDX-License-Identifier: Apache-2.0
 *
 * What must hold, whatever happens (GATES.md, invariants).
 */
#include <string.h>

#include "tests/sim/world.h"

enum { ALL_BELOW = 1000 }; /* larger fleets are recounted now and then */

static bool is_time_to_recount(struct world *world)
{
    const uint32_t every = world->devices_len < ALL_BELOW ? 1 : world->devices_len / 4;
    return world->captain.checks++ % every == 0;
}

void rules_step(struct world *world)
{
    char text[ROLLOUT_TEXT_MAX];
    if (is_time_to_recount(world) && !rollout_check(world->captain.core, text))
        world_break(world, "rollout_check: %s", text);
}

/* Caps, counted from the members and not from the book. */

struct flight {
    uint32_t fleet, site, group, of_site;
};

static struct flight count_flight(const struct world *world, uint32_t member)
{
    struct flight flight = {0};
    const struct device *of = &world->devices[member];
    for (uint32_t i = 0; i < world->captain.members; i++) {
        struct rollout_device_view view;
        const struct device *d = &world->devices[i];
        rollout_device_view(world->captain.core, i, &view);
        flight.of_site += d->site == of->site && !view.deleted;
        if (!view.leased)
            continue;
        flight.fleet++;
        flight.site += d->site == of->site;
        flight.group += d->group == of->group;
    }
    return flight;
}

static void check_cap(struct world *world, const char *what, uint32_t cap, uint32_t have)
{
    if (cap > 0 && have > cap)
        world_break(world, "%u in flight in the %s, at most %u allowed", have, what, cap);
}

void rules_granted(struct world *world, const struct rollout_effect *effect)
{
    const struct policy *policy = rollout_policy(world->captain.core);
    world_say(world, "captain grants %s a lease (attempt %u)", world->devices[effect->member].name,
              effect->u.lease.attempt);
    /* An answer told again is no new lease, and a cap may have become smaller since. */
    if (world->devices_len >= ALL_BELOW ||
        effect->u.lease.until_ms < captain_now_ms(world) + policy->admission.lease_ms)
        return;
    const struct flight flight = count_flight(world, effect->member);
    check_cap(world, "fleet", policy->admission.max_in_flight, flight.fleet);
    check_cap(world, "site", policy->admission.max_in_flight_per_site, flight.site);
    check_cap(world, "group", policy->admission.max_in_flight_per_group, flight.group);
    if (policy->admission.max_unavailable_per_site_percent < 100 &&
        flight.site > lease_site_cap(policy, flight.of_site))
        world_break(world, "%u of %u devices of a site in flight", flight.site, flight.of_site);
}

void rules_begun(struct world *world)
{
    world->captain.failed = false;
    world->captain.verdict = GATE_WAIT;
}

void rules_verdict(struct world *world, const struct gate_result *result)
{
    world->captain.verdict = result->verdict;
    if (result->verdict == GATE_FAIL)
        world->captain.failed = true;
}

/* A wave opens when the one before it has passed, and never after a FAIL that nobody resumed. */
void rules_published(struct world *world, const struct rollout_effect *effect)
{
    if (effect->kind != ROLLOUT_PUBLISH_COHORT)
        return;
    if (world->captain.failed)
        world_break(world, "wave %u opens after a FAIL", effect->u.cohort.wave + 1);
    struct rollout_view view;
    rollout_view(world->captain.core, &view);
    if (effect->u.cohort.wave > 0 && view.wave > effect->u.cohort.wave + 1)
        world_break(world, "waves were passed over");
}

static void check_success(struct world *world)
{
    for (uint32_t i = 0; i < world->captain.members; i++) {
        struct rollout_device_view view;
        rollout_device_view(world->captain.core, i, &view);
        if (view.wave == ROLLOUT_NONE || view.excluded || view.deleted || view.failed)
            continue;
        if (view.device != ROLLOUT_HEALTHY || world->captain.heard[i] != world->captain.rollout)
            world_break(world, "succeeded, but %s is %s", world->devices[i].name,
                        rollout_device_name(view.device));
    }
}

void rules_moved(struct world *world, const struct rollout_effect *effect)
{
    if (!rollout_may_move(effect->u.moved.from, effect->u.moved.to))
        world_break(world, "moved from %s to %s", rollout_state_name(effect->u.moved.from),
                    rollout_state_name(effect->u.moved.to));
    if (effect->u.moved.to == ROLLOUT_SUCCEEDED) {
        if (world->captain.failed || world->captain.verdict != GATE_PASS)
            world_break(world, "succeeded without a PASS");
        check_success(world);
    }
}

/* Quiet */

uint32_t rules_waiting(const struct world *world)
{
    const struct captain *c = &world->captain;
    uint32_t waiting = 0;
    for (uint32_t i = 0; c->core && i < c->members; i++) {
        int64_t retry_ms;
        const struct device *d = &world->devices[i];
        if (d->parked && device_is_reachable(d) &&
            rollout_would_answer(c->core, i, device_wants_back(world, d), captain_now_ms(world),
                                 &retry_ms) == LEASE_GRANTED)
            waiting++;
    }
    return waiting;
}

static bool has_reason(const struct rollout_device_view *view)
{
    return (view->device == ROLLOUT_QUARANTINED || view->boxed) && view->class != POLICY_CLASS_NONE;
}

/* Not over: whoever waits for a lease knows why it has none. */
static bool is_live(const struct world *world)
{
    struct rollout_view view;
    rollout_view(world->captain.core, &view);
    return view.state < ROLLOUT_SUCCEEDED;
}

/* What is wanted failed here, and captain hears that in its events and health. */
static bool says_why(const struct device *d)
{
    return d->life.state == LIFECYCLE_REFUSED && d->life.refused.set &&
           d->life.refused.digest[0] == d->wanted;
}

/* An honest device that is there runs the target or the base; else captain knows why it does not. */
static void check_place(struct world *world, const struct device *d)
{
    const struct captain *c = &world->captain;
    const struct captain_rollout *rollout = &c->rollouts[c->rollout];
    struct rollout_device_view view;
    rollout_device_view(c->core, d->number, &view);
    if (view.deleted || view.excluded || d->liar || !d->exists || has_reason(&view) || says_why(d))
        return;
    const bool rests = d->life.state == LIFECYCLE_SERVING || d->life.state == LIFECYCLE_EMPTY ||
                       d->life.state == LIFECYCLE_REFUSED || d->life.state == LIFECYCLE_ASKING;
    if (device_is_reachable(d) && rests &&
        (d->current == rollout->target || d->current == rollout->base || rollout->base == 0 ||
         world->kept || (d->life.state == LIFECYCLE_ASKING && is_live(world))))
        return;
    if (!device_is_reachable(d) && (view.silent || view.device == ROLLOUT_ON_BASE))
        return;
    world_break(world, "%s ends %s on r%u with r%u wanted, and captain has it as %s%s", d->name,
                lifecycle_state_name(d->life.state), d->current, d->wanted,
                rollout_device_name(view.device), d->up ? "" : ", without power");
}

/* After a rollback nobody whom captain believes back may run the target. */
static void check_back(struct world *world, const struct device *d)
{
    const struct captain *c = &world->captain;
    const struct captain_rollout *rollout = &c->rollouts[c->rollout];
    struct rollout_device_view view;
    rollout_device_view(c->core, d->number, &view);
    if (!device_is_reachable(d) || d->liar || view.deleted || has_reason(&view) || says_why(d) ||
        rollout->base == 0)
        return;
    if (d->current != rollout->base)
        world_break(world, "rolled back, and %s runs r%u", d->name, d->current);
}

/* What captain counts is what devices decide. */
static void check_wanted(struct world *world, const struct device *d)
{
    const struct captain *c = &world->captain;
    const struct captain_document *document = captain_document(world, c->documents_len);
    if (!document || d->document != c->documents_len || document->rollout != c->rollout)
        return;
    const bool forward = rollout_targets(c->core, d->number);
    if (d->wanted != (forward ? document->target : document->base))
        world_break(world, "%s wants r%u, captain counts otherwise", d->name, d->wanted);
}

static void check_replay(struct world *world)
{
    const struct captain *c = &world->captain;
    struct rollout *again = captain_replay(&c->rollouts[c->rollout]);
    if (rollout_fingerprint(again) != rollout_fingerprint(c->core))
        world_break(world, "a replay of all inputs ends in another state");
    rollout_free(again);
}

void rules_quiet(struct world *world)
{
    const struct captain *c = &world->captain;
    if (!c->up || !c->core)
        return;
    struct rollout_view view;
    rollout_view(c->core, &view);
    check_replay(world);
    for (uint32_t i = 0; i < c->members && !world->failed; i++) {
        check_place(world, &world->devices[i]);
        check_wanted(world, &world->devices[i]);
        if (view.state == ROLLOUT_ABORTED && !world->kept)
            check_back(world, &world->devices[i]);
    }
    if (view.in_flight > 0)
        world_break(world, "%u leases are out, and nothing will end them", view.in_flight);
    if (view.state == ROLLOUT_ABORTING || view.state == ROLLOUT_ROLLING_BACK)
        world_break(world, "it rests while %s", rollout_state_name(view.state));
}
