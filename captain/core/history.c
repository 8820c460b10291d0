/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/core/history.h"

#include <string.h>

#include "captain/core/rollout_private.h"

/* One rollout that is replayed, and what it has said so far. */
struct told {
    struct rollout *rollout;
    struct history_stop *stop;
};

static void note_stop(struct told *told, const struct gate_result *result, uint64_t input,
                      const struct rollout *recorded)
{
    struct history_stop *stop = told->stop;
    if (result->verdict >= GATE_HOLD && !stop->stopped) {
        stop->stopped = true;
        stop->stop_input = input;
        stop->stop_ms = recorded->now_ms;
        stop->stop_exposed = recorded->sums.exposed;
        stop->stop = *result;
    }
    if (result->verdict == GATE_FAIL && !stop->failed) {
        stop->failed = true;
        stop->fail_input = input;
        stop->fail_ms = recorded->now_ms;
        stop->fail_exposed = recorded->sums.exposed;
        stop->fail = *result;
    }
}

struct replay {
    struct told recorded, other; /* other.rollout NULL: none */
    history_verdict_fn verdict;
    void *context; /* verdict's */
    struct history_diff *diff;
    uint64_t input;
};

/* Takes in the verdicts among the effects; those of the policy in question are handed on. */
static void hear(struct replay *replay, struct told *told, const struct rollout_effects *effects,
                 bool hand_on)
{
    for (uint32_t k = 0; k < effects->len; k++) {
        if (effects->at[k].kind != ROLLOUT_VERDICT)
            continue;
        const struct gate_result *result = &effects->at[k].u.verdict.result;
        note_stop(told, result, replay->input, replay->recorded.rollout);
        if (hand_on && replay->verdict)
            replay->verdict(replay->context, replay->input, replay->recorded.rollout->now_ms,
                            effects->at[k].u.verdict.wave, result);
    }
}

/* Brings the other rollout to where the recorded one stands. */
static void follow(struct rollout *other, const struct rollout *leader)
{
    if (leader->wave != ROLLOUT_WAVE_NONE) {
        const uint32_t from = other->wave == ROLLOUT_WAVE_NONE ? 0 : other->wave + 1;
        for (uint32_t wave = from; wave <= leader->wave; wave++)
            rollout_follow_wave(other, wave);
    }
    other->state = leader->state;
    other->held_gate = leader->held_gate;
    other->held_verdict = leader->held_verdict;
}

static void step_other(struct replay *replay, const struct rollout_input *input,
                       const struct policy *policy)
{
    struct rollout *other = replay->other.rollout;
    const struct rollout *leader = replay->recorded.rollout;
    struct rollout_effects effects;
    struct rollout_input own = *input;
    if (input->kind == ROLLOUT_IN_START)
        own.u.start.policy = policy;
    if (input->kind == ROLLOUT_IN_POLICY)
        own.kind = ROLLOUT_IN_TICK; /* the policy in question is the one to be judged by */
    bool again = true;
    while (again) {
        rollout_step(other, &own, &effects);
        hear(replay, &replay->other, &effects, true);
        again = effects.more;
        own.kind = ROLLOUT_IN_TICK;
    }
    const uint32_t wave = other->wave;
    follow(other, leader);
    if (other->wave == wave)
        return;
    rollout_step(other, &own, &effects); /* the new wave's first verdict */
    hear(replay, &replay->other, &effects, true);
}

static void compare_verdicts(struct replay *replay)
{
    struct history_diff *diff = replay->diff;
    const struct gate_result *a = &replay->recorded.rollout->verdict;
    const struct gate_result *b = &replay->other.rollout->verdict;
    const bool gated = rollout_is_gated(replay->recorded.rollout);
    if (diff->differs || !gated ||
        (a->verdict == b->verdict && a->gate == b->gate && a->reason == b->reason))
        return;
    diff->differs = true;
    diff->differs_input = replay->input;
    diff->differs_ms = replay->recorded.rollout->now_ms;
    diff->differs_recorded = *a;
    diff->differs_other = *b;
}

static void replay_one(struct replay *replay, const struct rollout_input *input,
                       const struct policy *other)
{
    struct rollout_effects effects;
    rollout_step(replay->recorded.rollout, input, &effects);
    hear(replay, &replay->recorded, &effects, !other);
    if (!other)
        return;
    step_other(replay, input, other);
    compare_verdicts(replay);
}

struct peek {
    history_next_fn next;
    void *context;
    struct rollout_input first;
    bool first_given;
};

static bool peek_next(struct peek *peek, struct rollout_input *ret)
{
    if (peek->first_given)
        return peek->next(peek->context, ret);
    peek->first_given = true;
    *ret = peek->first;
    return true;
}

static enum err_code replay_all(struct replay *replay, struct peek *peek, uint64_t until,
                                const struct policy *other, struct err *err)
{
    struct rollout_input input;
    memset(&input, 0, sizeof input);
    for (replay->input = 0; replay->input <= until && peek_next(peek, &input); replay->input++) {
        if (replay->input == 0 && input.kind != ROLLOUT_IN_START)
            return err_set(err, ERR_MALFORMED, "the stored history does not begin with a start");
        replay_one(replay, &input, other);
        if (replay->input == UINT64_MAX)
            break;
    }
    return ERR_OK;
}

/* The other policy's gates over the waves that were recorded. */
static void adopt_waves(struct policy *policy, const struct policy *recorded)
{
    struct policy_wave own[POLICY_WAVES_MAX];
    const uint32_t own_len = policy->waves_len;
    memcpy(own, policy->waves, sizeof own);
    memcpy(policy->waves, recorded->waves, sizeof policy->waves);
    policy->waves_len = recorded->waves_len;
    for (uint32_t w = 0; w < recorded->waves_len; w++) {
        const uint32_t like = w < own_len ? w : own_len - 1;
        policy->waves[w].soak_ms = own[like].soak_ms;
        policy->waves[w].approvals = own[like].approvals;
    }
}

static void finish(struct replay *replay)
{
    struct history_diff *diff = replay->diff;
    diff->inputs = replay->input;
    diff->fingerprint = rollout_fingerprint(replay->recorded.rollout);
    if (diff->recorded.failed && diff->other.failed)
        diff->devices_later =
            (int64_t)diff->other.fail_exposed - (int64_t)diff->recorded.fail_exposed;
    rollout_free(replay->recorded.rollout);
    rollout_free(replay->other.rollout);
}

enum err_code history_replay(history_next_fn next, void *context, uint64_t until,
                             const struct policy *other, history_verdict_fn verdict,
                             struct history_diff *ret, struct err *err)
{
    struct peek peek = {.next = next, .context = context};
    if (!next(context, &peek.first) || peek.first.kind != ROLLOUT_IN_START)
        return err_set(err, ERR_MALFORMED, "the stored history does not begin with a start");
    struct policy policy;
    if (other) {
        if (policy_check(other, err) != ERR_OK)
            return ERR_MALFORMED;
        policy = *other;
        adopt_waves(&policy, peek.first.u.start.policy);
    }
    struct history_diff diff;
    memset(&diff, 0, sizeof diff);
    struct replay replay = {.verdict = verdict, .context = context, .diff = &diff};
    replay.recorded = (struct told){rollout_new(), &diff.recorded};
    if (other) {
        replay.other = (struct told){rollout_new(), &diff.other};
        replay.other.rollout->leader = replay.recorded.rollout;
    }
    const enum err_code code = replay_all(&replay, &peek, until, other ? &policy : NULL, err);
    finish(&replay);
    if (code == ERR_OK)
        *ret = diff;
    return code;
}
