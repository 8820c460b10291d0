/* SPDX-License-Identifier: Apache-2.0
 *
 * What a device hears and says: desired states, leases, durable events.
 */
#include <string.h>

#include "common/base/cohort.h"
#include "tests/sim/world.h"

enum { ANSWER_WITHIN_MS = 5000, SEND_AGAIN_MS = 20000, DONE_LEASE_MS = 60000, LIES_MAX = 8 };

static const struct captain_document *document_of(const struct world *world, const struct device *d)
{
    return captain_document(world, d->document);
}

static uint8_t wanted_by(const struct world *world, const struct device *d,
                         const struct captain_document *document)
{
    if (document->rollout == 0)
        return document->base;
    const struct cohort_rule rule = {
        .salt = world->captain.rollouts[document->rollout].salt,
        .cut = document->cut,
        .devices = document->names,
        .devices_len = document->names_len,
    };
    if (cohort_contains(&rule, d->name) ||
        (d->pick < POLICY_WAVES_MAX && document->selectors & 1u << d->pick))
        return document->target;
    return document->base;
}

void device_new_attempt(struct world *world, struct device *d)
{
    const struct captain_document *document = document_of(world, d);
    const uint32_t rollout = document ? document->rollout : 0;
    d->attempt = rollout == 0 ? 0 : rollout == d->rollout ? d->attempt + 1 : 1;
    d->rollout = rollout;
    d->flaps = 0;
}

static bool is_before_switch(enum lifecycle_state state)
{
    return state == LIFECYCLE_FETCHING || state == LIFECYCLE_WAITING || state == LIFECYCLE_ASKING ||
           state == LIFECYCLE_STOPPING || state == LIFECYCLE_SWITCHING;
}

static bool is_wanted(const struct device *d, const struct lifecycle_release *release)
{
    return release->set && release->digest[0] == d->wanted;
}

void device_follow_rollout(struct world *world, struct device *d)
{
    const struct captain_document *document = document_of(world, d);
    if (!is_before_switch(d->life.state) || !is_wanted(d, &d->life.target) ||
        document->rollout == d->rollout)
        return;
    device_return(d, world->clock.now_ms);
    device_new_attempt(world, d);
}

void device_say_where(struct world *world, struct device *d)
{
    const struct captain_document *document = document_of(world, d);
    if (!document || d->life.state != LIFECYCLE_SERVING || !is_wanted(d, &d->life.confirmed) ||
        d->wanted != document->target || document->rollout == d->rollout)
        return;
    device_new_attempt(world, d);
    device_event(world, d, BUS_CONFIRMED, d->wanted, true);
}

void device_accept(struct world *world, struct device *d, uint32_t number)
{
    if (number <= d->document)
        return; /* overtaken, or told twice */
    d->document = number;
    d->wanted = wanted_by(world, d, captain_document(world, number));
    d->parked = false;
    if (d->liar) {
        d->lies = 0;
        d->lie_at_ms = world->clock.now_ms + 1000;
    } else {
        device_follow_rollout(world, d);
    }
}

/* Events */

void device_event(struct world *world, struct device *d, enum bus_event what, uint8_t release,
                  bool switched)
{
    struct bus_message event = {.kind = BUS_EVENT,
                                .what = (uint8_t)what,
                                .release = release,
                                .switched = switched,
                                .device = d->number,
                                .rollout = d->rollout,
                                .attempt = d->attempt,
                                .number = ++d->sequence,
                                .flaps = d->flaps};
    static const char *const words[] = {[BUS_ACTIVATED] = "activates",
                                        [BUS_CONFIRMED] = "confirms",
                                        [BUS_UNHEALTHY] = "is unhealthy on",
                                        [BUS_ROLLED_BACK] = "is back from",
                                        [BUS_REFUSED] = "refuses"};
    world_say(world, "%s %s r%u (attempt %u)", d->name, words[what], release, d->attempt);
    d->said =
        what == BUS_ROLLED_BACK || what == BUS_REFUSED ? d->life.confirmed.digest[0] : release;
    if (d->outbox_len == DEVICE_OUTBOX_MAX) {
        world_break(world, "the outbox of %s is full", d->name);
        return;
    }
    d->outbox[d->outbox_len++] = event;
    bus_send(world, &event);
    d->send_at_ms = world->clock.now_ms + SEND_AGAIN_MS;
}

void device_send(struct world *world, struct device *d)
{
    if (d->returns)
        bus_send(world, &(struct bus_message){.kind = BUS_ASK,
                                              .device = d->number,
                                              .rollout = d->return_rollout,
                                              .attempt = d->return_attempt,
                                              .returned = true});
    d->returns = false;
    if (d->outbox_len == 0 || world->clock.now_ms < d->send_at_ms)
        return;
    for (uint32_t i = 0; i < d->outbox_len; i++)
        bus_send(world, &d->outbox[i]);
    d->send_at_ms = world->clock.now_ms + SEND_AGAIN_MS;
}

static void drop_acked(struct device *d, uint32_t number)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < d->outbox_len; i++)
        if (d->outbox[i].number > number)
            d->outbox[kept++] = d->outbox[i];
    d->outbox_len = kept;
}

/* Leases, as the agent's shell does it (agent/app_leave.c) */

static bool is_refused(const struct device *d)
{
    return d->life.state == LIFECYCLE_REFUSED;
}

static uint32_t wanted_number(const struct device *d)
{
    return d->attempt + is_refused(d);
}

bool device_needs_lease(const struct world *world, const struct device *d)
{
    const struct captain_document *document = document_of(world, d);
    return document && document->lease && (d->wanted == document->target || d->life.confirmed.set);
}

bool device_wants_back(const struct world *world, const struct device *d)
{
    const struct captain_document *document = document_of(world, d);
    return document && d->wanted == document->base;
}

static struct asking_rule rule_of(const struct device *d)
{
    return (struct asking_rule){.patient = is_refused(d)};
}

static void next_number(struct device *d, int64_t now_ms)
{
    d->attempt++;
    asking_begin(&d->asking, wanted_number(d), now_ms);
}

void device_look_for_lease(struct world *world, struct device *d, struct lifecycle_observed *seen)
{
    const int64_t now_ms = world->clock.now_ms;
    const struct captain_document *document = document_of(world, d);
    seen->lease_again_ms = INT64_MAX;
    if (!device_needs_lease(world, d) || (d->life.state != LIFECYCLE_ASKING && !is_refused(d)))
        return;
    if (d->asking_rollout != document->rollout || d->asking.number != wanted_number(d)) {
        d->asking_rollout = document->rollout;
        asking_begin(&d->asking, wanted_number(d), now_ms);
    } else if (asking_lapsed(&d->asking, now_ms)) {
        next_number(d, now_ms);
    }
    const struct asking_rule rule = rule_of(d);
    seen->lease_granted = asking_granted(&d->asking, &rule, now_ms);
    seen->lease_again_ms = asking_again_ms(&d->asking, &rule);
}

/* An ask that is sure to be refused is left out until something has happened: a real device asks
 * for hours, and learns nothing. The first one is always sent. */
static bool is_vain(const struct world *world, const struct device *d)
{
    int64_t retry_ms;
    const struct captain *c = &world->captain;
    if (!device_is_reachable(d))
        return true;
    if (d->asking.failures == 0 || !c->up || !c->core || d->asking_rollout != c->rollout ||
        d->number >= c->members)
        return false;
    struct rollout_device_view view;
    rollout_device_view(c->core, d->number, &view);
    const enum lease_answer answer = rollout_would_answer(
        c->core, d->number, device_wants_back(world, d), captain_now_ms(world), &retry_ms);
    return answer != LEASE_GRANTED && answer != LEASE_DONE && retry_ms == 0 && !view.leased &&
           d->asking.number > view.attempt;
}

void device_ask(struct world *world, struct device *d)
{
    d->parked = is_vain(world, d);
    if (d->parked)
        return;
    asking_sent(&d->asking, world->clock.now_ms);
    bus_send(world, &(struct bus_message){.kind = BUS_ASK,
                                          .device = d->number,
                                          .rollout = d->asking_rollout,
                                          .attempt = d->asking.number,
                                          .release = d->wanted,
                                          .rollback = device_wants_back(world, d)});
}

/* When the ask, or the wait for its answer, is due. */
int64_t device_ask_ms(const struct device *d)
{
    if (d->asking.state == ASKING_OUT)
        return d->asking.sent_ms + ANSWER_WITHIN_MS;
    return 0;
}

void device_unheard(struct world *world, struct device *d)
{
    const struct asking_rule rule = rule_of(d);
    if (d->asking.state == ASKING_OUT &&
        world->clock.now_ms >= d->asking.sent_ms + ANSWER_WITHIN_MS)
        asking_unheard(&d->asking, &rule, world->clock.now_ms, &world->rng);
}

void device_return(struct device *d, int64_t now_ms)
{
    if (d->asking.state != ASKING_GRANTED)
        return;
    d->returns = true;
    d->return_rollout = d->asking_rollout;
    d->return_attempt = d->asking.number;
    d->asking.state = ASKING_IDLE;
    d->asking.number = 0;
    if (d->life.state == LIFECYCLE_ASKING)
        next_number(d, now_ms);
}

static void take_answer(struct world *world, struct device *d, const struct bus_message *answer)
{
    const int64_t now_ms = world->clock.now_ms;
    if (d->asking.state != ASKING_OUT || answer->rollout != d->asking_rollout ||
        answer->attempt != d->asking.number)
        return; /* of an ask that is over */
    const struct asking_rule rule = rule_of(d);
    const bool done = !answer->granted && answer->answer == LEASE_DONE;
    const struct asking_answer said = {.granted = answer->granted || (done && !is_refused(d)),
                                       .stale = !answer->granted && answer->answer == LEASE_STALE,
                                       .lease_ms =
                                           answer->granted ? (uint32_t)answer->ms : DONE_LEASE_MS,
                                       .retry_ms = answer->granted ? 0 : (uint32_t)answer->ms};
    asking_answered(&d->asking, &said, &rule, now_ms, &world->rng);
    if (said.stale) {
        struct asking asked = d->asking;
        next_number(d, now_ms);
        asked.number = d->asking.number;
        d->asking = asked; /* not at once */
    }
}

void device_message(struct world *world, struct device *d, const struct bus_message *message)
{
    if (!device_is_reachable(d))
        return;
    if (message->kind == BUS_DESIRED)
        device_accept(world, d, message->number);
    else if (message->kind == BUS_ANSWER)
        take_answer(world, d, message);
    else if (message->kind == BUS_ACK)
        drop_acked(d, message->number);
    device_turn(world, d);
}

/* A device that says things that are not so: it switches nothing, ever. */
void device_lie(struct world *world, struct device *d)
{
    const struct captain_document *document = document_of(world, d);
    if (d->lie_at_ms == 0 || world->clock.now_ms < d->lie_at_ms)
        return;
    d->lie_at_ms = 0;
    if (!document || document->rollout == 0 || ++d->lies > LIES_MAX || d->outbox_len > 4)
        return;
    d->lie_at_ms = world->clock.now_ms + 60000 + (int64_t)rng_below(&world->rng, 600000);
    d->rollout = document->rollout;
    d->attempt = 1 + (uint32_t)rng_below(&world->rng, 4);
    d->flaps = (uint32_t)rng_below(&world->rng, 3);
    if (rng_below(&world->rng, 3) == 0) {
        bus_send(world, &(struct bus_message){.kind = BUS_ASK,
                                              .device = d->number,
                                              .rollout = d->rollout,
                                              .attempt = d->attempt,
                                              .rollback = rng_below(&world->rng, 2) == 0,
                                              .returned = rng_below(&world->rng, 3) == 0});
        return;
    }
    device_event(world, d, (enum bus_event)rng_below(&world->rng, BUS_REFUSED + 1),
                 rng_below(&world->rng, 2) ? document->target : document->base,
                 rng_below(&world->rng, 2) == 0);
}
