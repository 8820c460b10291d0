/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/captain.h"

#include <stdio.h>
#include <string.h>

#include "common/base/cohort.h"
#include "common/base/mem.h"
#include "tests/sim/world.h"

enum { SWEEP_MS = 600000 };

void captain_init(struct captain *captain, uint8_t base)
{
    *captain = (struct captain){.up = true, .channel = base};
}

static void free_stored(struct captain_rollout *stored)
{
    for (uint32_t i = 0; i < stored->len; i++) {
        struct rollout_input *input = &stored->inputs[i];
        if (input->kind == ROLLOUT_IN_START) {
            mem_free((void *)(uintptr_t)input->u.start.policy);
            mem_free((void *)(uintptr_t)input->u.start.members);
            mem_free((void *)(uintptr_t)input->u.start.strata);
        } else if (input->kind == ROLLOUT_IN_POLICY) {
            mem_free((void *)(uintptr_t)input->u.policy);
        }
    }
    mem_free(stored->inputs);
}

void captain_fini(struct captain *captain)
{
    for (uint32_t i = 1; i <= captain->rollout; i++)
        free_stored(&captain->rollouts[i]);
    for (uint32_t i = 1; i <= captain->documents_len; i++)
        mem_free(captain->documents[i].names);
    mem_free(captain->documents);
    mem_free(captain->acked);
    mem_free(captain->after);
    mem_free(captain->heard);
    rollout_free(captain->core);
}

int64_t captain_now_ms(const struct world *world)
{
    return world->clock.now_ms + world->captain.skew_ms;
}

const struct captain_document *captain_document(const struct world *world, uint32_t number)
{
    return number > 0 && number <= world->captain.documents_len ? &world->captain.documents[number]
                                                                : NULL;
}

/* Life and death */

void captain_crash(struct world *world, int64_t for_ms)
{
    struct captain *c = &world->captain;
    if (!c->up)
        return;
    world_say(world, "captain dies");
    c->up = false;
    c->crash_in = 0;
    c->crashes++;
    c->crashed = c->core != NULL;
    if (c->core)
        c->fingerprint = rollout_fingerprint(c->core);
    rollout_free(c->core);
    c->core = NULL;
    c->timer_ms = 0;
    clock_put(&world->clock, world->clock.now_ms + for_ms, CLOCK_RESTART, 0, NULL);
}

/* True when captain dies at this point. */
static bool is_crash(struct world *world)
{
    struct captain *c = &world->captain;
    c->points++;
    if (c->crash_in == 0 || --c->crash_in > 0)
        return false;
    captain_crash(world, c->down_ms);
    return true;
}

struct rollout *captain_replay(const struct captain_rollout *stored)
{
    static struct rollout_effects ignored; /* large, and nobody's */
    struct rollout *core = rollout_new();
    for (uint32_t i = 0; i < stored->len; i++)
        rollout_step(core, &stored->inputs[i], &ignored);
    return core;
}

/* Documents */

void captain_tell(struct world *world, uint32_t device)
{
    if (world->captain.documents_len == 0)
        return;
    bus_send(world, &(struct bus_message){.kind = BUS_DESIRED,
                                          .device = device,
                                          .number = world->captain.documents_len});
}

static struct captain_document *add_document(struct captain *c)
{
    if (c->documents_len + 2 > c->documents_capacity) {
        const uint32_t capacity = c->documents_capacity ? c->documents_capacity * 2 : 16;
        c->documents =
            mem_grow(c->documents, c->documents_capacity, capacity, sizeof *c->documents);
        c->documents_capacity = capacity;
    }
    return &c->documents[++c->documents_len];
}

/* One publish; who does not hear it asks on a slow timer (CLOCK_CONTACT for everyone). */
static void send_document(struct world *world)
{
    for (uint32_t i = 0; i < world->devices_len; i++)
        captain_tell(world, i);
    clock_put(&world->clock, world->clock.now_ms + SWEEP_MS, CLOCK_CONTACT, ROLLOUT_NONE, NULL);
}

static void publish(struct world *world, const struct rollout_effect *effect)
{
    struct captain *c = &world->captain;
    const struct captain_rollout *stored = &c->rollouts[c->rollout];
    struct captain_document *document = add_document(c);
    *document = (struct captain_document){
        .rollout = c->rollout, .target = stored->target, .base = stored->base, .lease = true};
    if (effect->kind == ROLLOUT_PUBLISH_COHORT) {
        document->cut = effect->u.cohort.cut;
        document->selectors = effect->u.cohort.selectors;
        document->names_len = effect->u.cohort.named_len;
        document->names = mem_new(document->names_len + 1u, sizeof *document->names);
        for (uint32_t i = 0; i < document->names_len; i++)
            document->names[i] = world->devices[rollout_named(c->core, i)].name;
    }
    send_document(world);
}

/* Effects */

static void answer(struct world *world, const struct rollout_effect *effect)
{
    const struct captain *c = &world->captain;
    const int64_t now_ms = captain_now_ms(world);
    const bool granted = effect->u.lease.answer == LEASE_GRANTED;
    const int64_t at_ms = granted ? effect->u.lease.until_ms : effect->u.lease.retry_ms;
    if (granted)
        rules_granted(world, effect);
    else
        world_say(world, "captain refuses %s a lease: %s", world->devices[effect->member].name,
                  lease_answer_name(effect->u.lease.answer));
    bus_send(world, &(struct bus_message){.kind = BUS_ANSWER,
                                          .device = effect->member,
                                          .rollout = c->rollout,
                                          .attempt = effect->u.lease.attempt,
                                          .granted = granted,
                                          .answer = (uint8_t)effect->u.lease.answer,
                                          .ms = at_ms > now_ms ? at_ms - now_ms : granted});
}

static void say_published(struct world *world, const struct rollout_effect *effect)
{
    const struct captain *c = &world->captain;
    if (!world->story)
        return;
    struct rollout_view view;
    rollout_view(c->core, &view);
    if (effect->kind == ROLLOUT_PUBLISH_BASE)
        world_say(world, "captain publishes r%u for everyone", c->rollouts[c->rollout].base);
    else
        world_say(world, "captain publishes r%u for wave %u (%s) of %u",
                  c->rollouts[c->rollout].target, effect->u.cohort.wave + 1,
                  rollout_policy(c->core)->waves[effect->u.cohort.wave].name, view.n);
}

static void say_moved(struct world *world, const struct rollout_effect *effect)
{
    char sentence[GATE_SENTENCE_MAX] = "";
    if (!world->story)
        return;
    if (effect->u.moved.cause.gate)
        gate_sentence(rollout_policy(world->captain.core), &effect->u.moved.cause, sentence);
    world_say(world, "rollout %u is %s%s%s", world->captain.rollout,
              rollout_state_name(effect->u.moved.to), sentence[0] ? ": " : "", sentence);
}

static void say_verdict(struct world *world, const struct rollout_effect *effect)
{
    char sentence[GATE_SENTENCE_MAX];
    if (!world->story)
        return;
    gate_sentence(rollout_policy(world->captain.core), &effect->u.verdict.result, sentence);
    world_say(world, "wave %u: %s by %s: %s", effect->u.verdict.wave + 1,
              gate_verdict_name(effect->u.verdict.result.verdict),
              gate_name(effect->u.verdict.result.gate), sentence);
}

static void say_device(struct world *world, const struct rollout_effect *effect)
{
    static const char *const what[] = {[ROLLOUT_BOXED] = "goes into the penalty box",
                                       [ROLLOUT_UNBOXED] = "leaves the penalty box",
                                       [ROLLOUT_IS_QUARANTINED] = "is quarantined"};
    world_say(world, "%s %s (%s)", world->devices[effect->member].name, what[effect->kind],
              policy_class_name(effect->u.class));
}

/* The channel settles: plainly its release, for everyone, without leases (captain/desired.c). */
static void settle(struct world *world, uint8_t release)
{
    world->captain.channel = release;
    *add_document(&world->captain) = (struct captain_document){.base = release};
    send_document(world);
}

static void finish(struct world *world, enum rollout_state state)
{
    const struct captain_rollout *stored = &world->captain.rollouts[world->captain.rollout];
    if (state == ROLLOUT_SUCCEEDED)
        settle(world, stored->target);
    else if (state == ROLLOUT_ABORTED && !world->kept && stored->base != 0)
        settle(world, stored->base);
}

static void perform(struct world *world, const struct rollout_effect *effect)
{
    switch (effect->kind) {
    case ROLLOUT_PUBLISH_COHORT:
    case ROLLOUT_PUBLISH_BASE:
        say_published(world, effect);
        rules_published(world, effect);
        publish(world, effect);
        return;
    case ROLLOUT_LEASE:
        answer(world, effect);
        return;
    case ROLLOUT_MOVED:
        say_moved(world, effect);
        world_stir(world, world->devices_len);
        rules_moved(world, effect);
        return;
    case ROLLOUT_VERDICT:
        say_verdict(world, effect);
        rules_verdict(world, &effect->u.verdict.result);
        return;
    case ROLLOUT_UNBOXED:
        say_device(world, effect);
        world_stir(world, world->devices_len);
        return;
    case ROLLOUT_BOXED:
    case ROLLOUT_IS_QUARANTINED:
        say_device(world, effect);
        return;
    case ROLLOUT_REFUSED:
        world_say(world, "captain refuses: %s", effect->u.refused.text);
        return;
    case ROLLOUT_FINISHED:
        finish(world, effect->u.finished);
        return;
    }
}

static bool is_decision(const struct rollout_effect *effect)
{
    return effect->kind != ROLLOUT_LEASE && effect->kind != ROLLOUT_REFUSED;
}

/* Does what is not done yet; false: captain died on the way. `numbered` decisions came before. */
static bool do_effects(struct world *world, uint64_t numbered, bool again)
{
    struct captain *c = &world->captain;
    struct captain_rollout *stored = &c->rollouts[c->rollout];
    const struct rollout_effects *effects = &c->effects;
    for (uint32_t i = 0; i < effects->len; i++) {
        const struct rollout_effect *effect = &effects->at[i];
        const bool decision = is_decision(effect);
        numbered += decision;
        if (decision ? numbered <= stored->done : again)
            continue;
        perform(world, effect);
        if (decision)
            stored->done = numbered;
        if (is_crash(world))
            return false;
    }
    return true;
}

static void store(struct captain_rollout *stored, const struct rollout_input *input)
{
    if (stored->len == stored->capacity) {
        const uint32_t capacity = stored->capacity ? stored->capacity * 2 : 128;
        stored->inputs =
            mem_grow(stored->inputs, stored->capacity, capacity, sizeof *stored->inputs);
        stored->capacity = capacity;
    }
    stored->inputs[stored->len++] = *input;
}

static void set_timer(struct world *world)
{
    struct captain *c = &world->captain;
    const int64_t deadline_ms = rollout_deadline_ms(c->core);
    if (deadline_ms == 0)
        return;
    int64_t at_ms = deadline_ms - c->skew_ms;
    if (at_ms <= world->clock.now_ms)
        at_ms = world->clock.now_ms + 1;
    if (c->timer_ms > world->clock.now_ms && c->timer_ms <= at_ms)
        return;
    c->timer_ms = at_ms;
    clock_put(&world->clock, at_ms, CLOCK_CAPTAIN, 0, NULL);
}

static uint32_t in_flight(const struct rollout *core)
{
    struct rollout_view view = {0};
    if (core)
        rollout_view(core, &view);
    return view.in_flight;
}

static bool step_stored(struct world *world, const struct rollout_input *input)
{
    struct captain *c = &world->captain;
    struct captain_rollout *stored = &c->rollouts[c->rollout];
    store(stored, input);
    rollout_step(c->core, input, &c->effects);
    if (is_crash(world))
        return false;
    return do_effects(world, stored->done, false);
}

void captain_input(struct world *world, struct rollout_input *input)
{
    struct captain *c = &world->captain;
    if (!c->up || !c->core)
        return;
    const uint32_t before = in_flight(c->core);
    input->now_ms = captain_now_ms(world);
    bool alive = step_stored(world, input);
    while (alive && c->effects.more)
        alive = step_stored(
            world, &(struct rollout_input){.kind = ROLLOUT_IN_TICK, .now_ms = input->now_ms});
    if (!alive)
        return;
    rules_step(world);
    set_timer(world);
    const uint32_t after = in_flight(c->core);
    if (after < before)
        world_stir(world, 4 * (before - after));
}

void captain_timer(struct world *world)
{
    struct captain *c = &world->captain;
    if (!c->up || !c->core || c->timer_ms > world->clock.now_ms)
        return;
    c->timer_ms = 0;
    const int64_t deadline_ms = rollout_deadline_ms(c->core);
    if (deadline_ms > 0 && deadline_ms <= captain_now_ms(world))
        captain_input(world, &(struct rollout_input){.kind = ROLLOUT_IN_TICK});
    else
        set_timer(world);
}

/* Replays, and finds where it was: the effects of the last input may be half done. */
static bool replay_live(struct world *world)
{
    struct captain *c = &world->captain;
    const struct captain_rollout *stored = &c->rollouts[c->rollout];
    uint64_t numbered = 0;
    uint64_t before = 0;
    c->core = rollout_new();
    for (uint32_t i = 0; i < stored->len; i++) {
        if (before < numbered && numbered > stored->done)
            world_break(world, "an effect was left undone by input %u", i - 1);
        before = numbered;
        rollout_step(c->core, &stored->inputs[i], &c->effects);
        for (uint32_t k = 0; k < c->effects.len; k++)
            numbered += is_decision(&c->effects.at[k]);
    }
    if (numbered < stored->done)
        world_break(world, "%llu effects were done, the replay knows %llu",
                    (unsigned long long)stored->done, (unsigned long long)numbered);
    return do_effects(world, before, true);
}

void captain_restart(struct world *world)
{
    struct captain *c = &world->captain;
    if (c->up)
        return;
    c->up = true;
    world_say(world, "captain starts again");
    if (c->rollout == 0)
        return;
    if (!replay_live(world))
        return;
    if (c->crashed && rollout_fingerprint(c->core) != c->fingerprint)
        world_break(world, "the state after the restart is another");
    captain_input(world, &(struct rollout_input){.kind = ROLLOUT_IN_TICK});
}

/* The start of a rollout */

static struct rollout_join join_of(const struct world *world, const struct device *d,
                                   const char *salt, const struct rollout *superseded)
{
    struct rollout_join join = {.hash = cohort_hash(salt, d->name),
                                .stratum = (uint16_t)(d->site * WORLD_GROUPS + d->group),
                                .pick = d->pick,
                                .online = d->exists && !d->known_lost,
                                .eligible = d->exists && !d->known_lost};
    struct rollout_device_view view;
    (void)world;
    if (!superseded || d->number >= world->captain.members)
        return join;
    rollout_device_view(superseded, d->number, &view);
    join.lease_until_ms = view.leased ? view.lease_until_ms : 0;
    return join;
}

static struct rollout_input make_start(const struct world *world, const struct policy *policy,
                                       const char *salt, const struct rollout *superseded)
{
    struct rollout_stratum *strata = mem_new((size_t)WORLD_SITES * WORLD_GROUPS, sizeof *strata);
    for (uint16_t s = 0; s < WORLD_SITES * WORLD_GROUPS; s++)
        strata[s] = (struct rollout_stratum){s / WORLD_GROUPS, s % WORLD_GROUPS};
    struct rollout_join *members = mem_new(world->devices_len + 1u, sizeof *members);
    for (uint32_t i = 0; i < world->devices_len; i++)
        members[i] = join_of(world, &world->devices[i], salt, superseded);
    struct policy *copy = mem_new(1, sizeof *copy);
    memcpy(copy, policy, sizeof *copy);
    return (struct rollout_input){.kind = ROLLOUT_IN_START,
                                  .u.start = {.policy = copy,
                                              .has_base = world->captain.channel != 0,
                                              .members = members,
                                              .members_len = world->devices_len,
                                              .strata = strata,
                                              .strata_len = WORLD_SITES * WORLD_GROUPS,
                                              .seed = world->captain.rollout * 77u}};
}

static void say_begin(struct world *world, uint8_t target)
{
    const struct captain *c = &world->captain;
    world_say(world, "operator starts rollout %u: r%u over r%u%s", c->rollout, target, c->channel,
              c->rollout > 1 ? ", which supersedes the one before" : "");
}

void captain_begin(struct world *world, const struct policy *policy, uint8_t target)
{
    struct captain *c = &world->captain;
    if (!c->up || c->rollout == CAPTAIN_ROLLOUTS_MAX || target == c->channel)
        return;
    const uint32_t crash_in = c->crash_in;
    struct rollout *old = c->core;
    world->kept = false;
    c->crash_in = 0; /* the end of one and the start of the next are one transaction */
    if (old)
        captain_input(world, &(struct rollout_input){.kind = ROLLOUT_IN_SUPERSEDE});
    struct captain_rollout *stored = &c->rollouts[++c->rollout];
    *stored = (struct captain_rollout){.target = target, .base = c->channel};
    (void)snprintf(stored->salt, sizeof stored->salt, "rollout-%u", c->rollout);
    say_begin(world, target);
    c->carried = in_flight(old);
    struct rollout_input start = make_start(world, policy, stored->salt, old);
    rollout_free(old);
    c->core = rollout_new();
    c->members = world->devices_len;
    c->crash_in = crash_in;
    rules_begun(world);
    captain_input(world, &start);
    if (c->frozen)
        captain_input(world,
                      &(struct rollout_input){.kind = ROLLOUT_IN_FREEZE, .u.freeze.on = true});
}

void captain_add(struct world *world, const struct device *d)
{
    struct captain *c = &world->captain;
    if (!c->core)
        return;
    struct rollout_input input = {.kind = ROLLOUT_IN_JOIN};
    input.u.join = join_of(world, d, c->rollouts[c->rollout].salt, NULL);
    c->members++;
    captain_input(world, &input);
}
