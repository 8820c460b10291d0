/* SPDX-License-Identifier: Apache-2.0
 *
 * One rollout in a test: inputs go in one by one, every one is stored, the invariants are held
 * after each, and what came out last stays to be looked at.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "captain/core/rollout.h"
#include "common/base/cohort.h"
#include "common/base/mem.h"
#include "common/base/rng.h"

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS (60 * MINUTE_MS)
#define WORLD_START_MS INT64_C(1800000000000)

enum { WORLD_MEMBERS_MAX = 256, WORLD_INPUTS_MAX = 20000 };

struct world {
    struct rollout *rollout;
    int64_t now_ms;
    struct policy policy;
    struct rollout_join members[WORLD_MEMBERS_MAX];
    uint32_t len;
    struct rollout_stratum strata[8];
    uint32_t strata_len;
    bool has_base, frozen;
    uint32_t attempt[WORLD_MEMBERS_MAX];
    uint32_t sequence[WORLD_MEMBERS_MAX];
    struct rollout_effects effects; /* of the last input, those of its ticks for more included */
    struct rollout_input *inputs;
    size_t inputs_len;
};

/* n devices at one site, online, and the default policy; change what is needed, then world_start. */
static inline void world_init(struct world *w, uint32_t n)
{
    memset(w, 0, sizeof *w);
    w->rollout = rollout_new();
    w->now_ms = WORLD_START_MS;
    w->has_base = true;
    w->len = n;
    w->strata_len = 1;
    w->inputs = mem_new(WORLD_INPUTS_MAX, sizeof *w->inputs);
    policy_default(&w->policy);
    w->policy.admission.max_unavailable_per_site_percent = 100;
    for (uint32_t i = 0; i < n; i++)
        w->members[i] = (struct rollout_join){.hash = rng_hash(1, &i, sizeof i),
                                              .pick = ROLLOUT_PICK_NONE,
                                              .eligible = true,
                                              .online = true};
}

static inline void world_fini(struct world *w)
{
    rollout_free(w->rollout);
    mem_free(w->inputs);
}

static inline void world_step(struct world *w, const struct rollout_input *input)
{
    char text[ROLLOUT_TEXT_MAX];
    struct rollout_input stored = *input;
    stored.now_ms = w->now_ms;
    do {
        assert_true(w->inputs_len < WORLD_INPUTS_MAX);
        w->inputs[w->inputs_len++] = stored;
        rollout_step(w->rollout, &stored, &w->effects);
        if (!rollout_check(w->rollout, text))
            fail_msg("after input %zu (kind %d): %s", w->inputs_len - 1, stored.kind, text);
        stored = (struct rollout_input){.kind = ROLLOUT_IN_TICK, .now_ms = w->now_ms};
    } while (w->effects.more);
}

static inline void world_do(struct world *w, enum rollout_input_kind kind, uint32_t member)
{
    world_step(w, &(struct rollout_input){.kind = kind, .member = member});
}

/* Waves: canaries (0: none), percent (0: none), all. */
static inline void world_waves(struct world *w, uint32_t canaries, uint32_t percent)
{
    uint32_t len = 0;
    const struct policy_wave all = w->policy.waves[w->policy.waves_len - 1];
    memset(w->policy.waves, 0, sizeof w->policy.waves);
    if (canaries > 0)
        w->policy.waves[len++] = (struct policy_wave){
            .kind = POLICY_WAVE_COUNT, .canary = true, .count = canaries, .soak_ms = -1};
    if (percent > 0)
        w->policy.waves[len++] =
            (struct policy_wave){.kind = POLICY_WAVE_PERCENT, .percent = percent, .soak_ms = -1};
    w->policy.waves[len++] = all;
    w->policy.waves_len = len;
}

static inline struct rollout_input world_start_input(const struct world *w)
{
    struct rollout_input input = {.kind = ROLLOUT_IN_START, .now_ms = WORLD_START_MS};
    input.u.start = (struct rollout_start){.policy = &w->policy,
                                           .has_base = w->has_base,
                                           .frozen = w->frozen,
                                           .members = w->members,
                                           .members_len = w->len,
                                           .strata = w->strata,
                                           .strata_len = w->strata_len,
                                           .seed = 7};
    return input;
}

static inline void world_start(struct world *w)
{
    const struct rollout_input input = world_start_input(w);
    world_step(w, &input);
}

static inline struct rollout_view world_view(const struct world *w)
{
    struct rollout_view view;
    rollout_view(w->rollout, &view);
    return view;
}

static inline struct rollout_device_view world_device(const struct world *w, uint32_t member)
{
    struct rollout_device_view view;
    rollout_device_view(w->rollout, member, &view);
    return view;
}

/* Lets time pass, ticking whenever the rollout asks for it. */
static inline void world_pass(struct world *w, int64_t ms)
{
    const int64_t end_ms = w->now_ms + ms;
    for (;;) {
        const int64_t deadline_ms = rollout_deadline_ms(w->rollout);
        if (deadline_ms == 0 || deadline_ms > end_ms)
            break;
        /* What is overdue waits for something else than time: look again a little later. */
        w->now_ms = deadline_ms > w->now_ms ? deadline_ms : w->now_ms + 1000;
        if (w->now_ms > end_ms)
            break;
        world_do(w, ROLLOUT_IN_TICK, ROLLOUT_NONE);
    }
    w->now_ms = end_ms;
    world_do(w, ROLLOUT_IN_TICK, ROLLOUT_NONE);
}

/* The first effect of this kind of the last input, or NULL. */
static inline const struct rollout_effect *world_effect(const struct world *w,
                                                        enum rollout_effect_kind kind)
{
    for (uint32_t i = 0; i < w->effects.len; i++)
        if (w->effects.at[i].kind == kind)
            return &w->effects.at[i];
    return NULL;
}

static inline enum lease_answer world_ask(struct world *w, uint32_t member, bool rollback)
{
    struct rollout_input input = {.kind = ROLLOUT_IN_ASK, .member = member};
    input.u.ask.attempt = w->attempt[member] + 1;
    input.u.ask.rollback = rollback;
    world_step(w, &input);
    const struct rollout_effect *answer = world_effect(w, ROLLOUT_LEASE);
    assert_non_null(answer);
    if (answer->u.lease.answer == LEASE_GRANTED)
        w->attempt[member]++;
    return answer->u.lease.answer;
}

static inline void world_report(struct world *w, uint32_t member, enum rollout_report what)
{
    struct rollout_input input = {.kind = ROLLOUT_IN_REPORT, .member = member};
    input.u.report.what = what;
    input.u.report.attempt = w->attempt[member];
    input.u.report.sequence = ++w->sequence[member];
    world_step(w, &input);
}

/* Asks, applies and ends as told. */
static inline void world_try(struct world *w, uint32_t member, enum rollout_report end)
{
    assert_int_equal(world_ask(w, member, false), LEASE_GRANTED);
    world_report(w, member, ROLLOUT_REPORT_APPLYING);
    world_report(w, member, end);
}

/* The k-th member that is offered in this wave and has not begun; ROLLOUT_NONE when there is none. */
static inline uint32_t world_offered(const struct world *w, uint32_t k)
{
    for (uint32_t i = 0; i < world_view(w).members; i++)
        if (world_device(w, i).device == ROLLOUT_OFFERED && !world_device(w, i).failed && k-- == 0)
            return i;
    return ROLLOUT_NONE;
}

/* Everyone offered ends so. */
static inline uint32_t world_try_all(struct world *w, enum rollout_report end)
{
    uint32_t done = 0;
    for (uint32_t i = world_offered(w, 0); i != ROLLOUT_NONE && w->inputs_len < WORLD_INPUTS_MAX;
         i = world_offered(w, 0), done++)
        world_try(w, i, end);
    return done;
}

static inline void world_expect(const struct world *w, enum rollout_state state)
{
    const struct rollout_view view = world_view(w);
    if (view.state != state)
        fail_msg("%s (%s %s: %s), expected %s", rollout_state_name(view.state),
                 gate_verdict_name(view.verdict.verdict), gate_name(view.verdict.gate),
                 gate_reason_name(view.verdict.reason), rollout_state_name(state));
}

static inline void world_expect_verdict(const struct world *w, enum gate_verdict verdict,
                                        enum gate_id gate, enum gate_reason reason)
{
    const struct gate_result is = world_view(w).verdict;
    if (is.verdict != verdict || is.gate != gate || is.reason != reason)
        fail_msg("%s %s %s, expected %s %s %s", gate_verdict_name(is.verdict), gate_name(is.gate),
                 gate_reason_name(is.reason), gate_verdict_name(verdict), gate_name(gate),
                 gate_reason_name(reason));
}

static inline void world_resume(struct world *w, enum gate_id gate, uint32_t wave)
{
    struct rollout_input input = {.kind = ROLLOUT_IN_RESUME};
    input.u.resume.gate = gate;
    input.u.resume.wave = wave;
    world_step(w, &input);
}

static inline void world_abort(struct world *w, bool keep)
{
    struct rollout_input input = {.kind = ROLLOUT_IN_ABORT};
    input.u.abort.keep = keep;
    world_step(w, &input);
}

static inline void world_freeze(struct world *w, bool on)
{
    struct rollout_input input = {.kind = ROLLOUT_IN_FREEZE};
    input.u.freeze.on = on;
    world_step(w, &input);
}

static inline void world_silent(struct world *w, uint32_t member)
{
    struct rollout_input input = {.kind = ROLLOUT_IN_SILENT, .member = member};
    input.u.silent.since_ms = w->now_ms;
    world_step(w, &input);
}

static inline void world_approve(struct world *w, uint64_t operator_id, uint32_t wave)
{
    struct rollout_input input = {.kind = ROLLOUT_IN_APPROVE};
    input.u.approve.operator_id = operator_id;
    input.u.approve.wave = wave;
    world_step(w, &input);
}

/* A captain that starts again: the stored inputs through a new rollout. Returned owned. */
static inline struct rollout *world_restarted(const struct world *w)
{
    struct rollout *again = rollout_new();
    struct rollout_effects ignored;
    for (size_t i = 0; i < w->inputs_len; i++)
        rollout_step(again, &w->inputs[i], &ignored);
    return again;
}

static inline void world_expect_restart_is_same(const struct world *w)
{
    struct rollout *again = world_restarted(w);
    assert_true(rollout_fingerprint(again) == rollout_fingerprint(w->rollout));
    rollout_free(again);
}
