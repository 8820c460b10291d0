/* SPDX-License-Identifier: Apache-2.0
 *
 * What the core of a rollout decides becomes entries of the log, in order, one at a time. Each is numbered
 * within its rollout, so that after a crash exactly those that the log does not have are decided again.
 */
#include <stdio.h>
#include <string.h>

#include "captain/rollouts_private.h"
#include "common/base/mem.h"
#include "common/hash.h"
#include "common/log.h"
#include "proto/codec.h"

enum {
    ORDER_ARENA_BYTES = 4 << 20,
    EVIDENCE_MAX = 8,
    RETRY_MIN_MS = 100,
    RETRY_MAX_MS = 10000,
};

/* What it rests on, in the words of the log. */

struct grounds {
    struct arena *arena;
    struct evidence *at;
    size_t len;
};

static void add_ground(struct grounds *g, const char *name, const char *value)
{
    if (g->at && value && g->len < EVIDENCE_MAX)
        g->at[g->len++] = (struct evidence){.name = name, .value = value};
}

static void add_gate(struct grounds *g, const struct policy *policy,
                     const struct gate_result *result)
{
    char sentence[GATE_SENTENCE_MAX];
    const struct gate_evidence *seen = &result->evidence;
    if (!result->gate)
        return;
    gate_sentence(policy, result, sentence);
    add_ground(g, "gate", gate_name(result->gate));
    add_ground(g, "verdict", gate_verdict_name(result->verdict));
    add_ground(g, "reason", gate_reason_name(result->reason));
    add_ground(g, "sentence", arena_strdup(g->arena, sentence));
    add_ground(g, "counts",
               arena_printf(g->arena, "n %u, healthy %u, failed %u, missing %u", seen->n,
                            seen->healthy, seen->failed, seen->missing));
    add_ground(g, "observed",
               arena_printf(g->arena, "%.6g of %.6g", seen->observed, seen->threshold));
}

static struct grounds grounds_of(const struct rollouts_live *live, struct arena *arena)
{
    struct grounds g = {.arena = arena,
                        .at = arena_alloc(arena, EVIDENCE_MAX * sizeof(struct evidence))};
    add_ground(&g, "rollout", live->row.id);
    add_ground(&g, "input", arena_printf(arena, "%llu", (unsigned long long)live->stepped - 1));
    return g;
}

/* Bodies. */

static const char *sentence_of(struct rollouts_live *live, const struct gate_result *result,
                               const char *otherwise, struct arena *arena)
{
    char sentence[GATE_SENTENCE_MAX];
    if (!result->gate)
        return otherwise;
    gate_sentence(rollout_policy(live->core), result, sentence);
    return arena_strdup(arena, sentence);
}

static const char *hex_of(const void *data, size_t len, struct arena *arena)
{
    uint8_t digest[DIGEST_BYTES];
    char hex[DIGEST_HEX];
    hash_bytes(bytes_of(data, len), digest);
    str_hex(bytes_of(digest, sizeof digest), hex);
    return arena_strdup(arena, hex);
}

static bool list_named(struct rollouts_live *live, uint32_t len, struct arena *arena,
                       struct rollout_published *ret)
{
    const char **devices = arena_alloc(arena, (len + 1) * sizeof *devices);
    for (uint32_t i = 0; devices && i < len; i++) {
        const uint32_t member = rollout_named(live->core, i);
        const char *name = fleet_device_name(live->rollouts->parts.fleet, live->devices[member]);
        devices[ret->devices_len++] = arena_strdup(arena, name);
    }
    ret->devices = devices;
    return devices != NULL;
}

static bool list_selectors(struct rollouts_live *live, uint32_t bits, struct arena *arena,
                           struct rollout_published *ret)
{
    const struct policy *policy = rollout_policy(live->core);
    const char **selectors = arena_alloc(arena, POLICY_WAVES_MAX * sizeof *selectors);
    for (uint32_t i = 0; selectors && i < policy->waves_len; i++)
        if (bits & 1u << i)
            selectors[ret->selectors_len++] = arena_strdup(arena, policy->waves[i].selector);
    ret->selectors = selectors;
    return selectors != NULL;
}

static enum err_code body_of_publish(struct rollouts_live *live,
                                     const struct rollout_effect *effect, struct arena *arena,
                                     struct decision *ret, struct err *err)
{
    struct rollout_view view;
    rollout_view(live->core, &view);
    struct rollout_published body = {.id = live->row.id,
                                     .effect = live->effects,
                                     .input = live->stepped - 1,
                                     .to_base = effect->kind == ROLLOUT_PUBLISH_BASE};
    bool whole = true;
    if (!body.to_base) {
        body.wave = effect->u.cohort.wave;
        body.cut = effect->u.cohort.cut;
        body.cause = arena_printf(arena, "wave %u", body.wave + 1);
        whole = list_named(live, effect->u.cohort.named_len, arena, &body) &&
                list_selectors(live, effect->u.cohort.selectors, arena, &body);
    } else {
        body.wave = view.wave == ROLLOUT_NONE ? 0 : view.wave;
        body.cause = sentence_of(live, &view.verdict, "an operator", arena);
    }
    ret->kind = "rollout.published";
    return whole ? codec_encode(&codec_rollout_published, &body, arena, &ret->body, err)
                 : err_set(err, ERR_SIZE, "the cohort takes too much memory");
}

static enum err_code body_of_verdict(struct rollouts_live *live,
                                     const struct rollout_effect *effect, struct arena *arena,
                                     struct decision *ret, struct err *err)
{
    const struct gate_result *result = &effect->u.verdict.result;
    const struct policy *policy = rollout_policy(live->core);
    struct gate_snapshot snapshot;
    struct rollout_verdict body = {.id = live->row.id,
                                   .effect = live->effects,
                                   .input = live->stepped - 1,
                                   .wave = effect->u.verdict.wave,
                                   .gate = gate_name(result->gate),
                                   .verdict = gate_verdict_name(result->verdict),
                                   .reason = gate_reason_name(result->reason),
                                   .sentence = sentence_of(live, result, "", arena),
                                   .n = result->evidence.n,
                                   .healthy = result->evidence.healthy,
                                   .failed = result->evidence.failed,
                                   .missing = result->evidence.missing,
                                   .observed = result->evidence.observed,
                                   .threshold = result->evidence.threshold,
                                   .p = result->evidence.p,
                                   .until_ms = result->until_ms,
                                   .policy_digest = hex_of(policy, sizeof *policy, arena)};
    /* Taken after the step: of a verdict that moved the rollout on, it is of what it led to. */
    if (rollout_snapshot(live->core, 0, &snapshot))
        body.snapshot_digest = hex_of(&snapshot, sizeof snapshot, arena);
    ret->kind = "rollout.verdict";
    return codec_encode(&codec_rollout_verdict, &body, arena, &ret->body, err);
}

static enum err_code body_of_moved(struct rollouts_live *live, const struct rollout_effect *effect,
                                   struct arena *arena, struct decision *ret, struct err *err)
{
    const enum rollout_state to = effect->u.moved.to;
    struct rollout_moved body = {.id = live->row.id,
                                 .effect = live->effects,
                                 .input = live->stepped - 1,
                                 .from = rollout_state_name(effect->u.moved.from),
                                 .to = rollout_state_name(to),
                                 .cause = sentence_of(live, &effect->u.moved.cause, "", arena),
                                 .finished = to == ROLLOUT_SUCCEEDED || to == ROLLOUT_ABORTED ||
                                             to == ROLLOUT_SUPERSEDED};
    ret->kind = "rollout.moved";
    return codec_encode(&codec_rollout_moved, &body, arena, &ret->body, err);
}

static enum err_code body_of_device(struct rollouts_live *live, const struct rollout_effect *effect,
                                    struct arena *arena, struct decision *ret, struct err *err)
{
    const char *what = effect->kind == ROLLOUT_BOXED     ? "boxed"
                       : effect->kind == ROLLOUT_UNBOXED ? "unboxed"
                                                         : "quarantined";
    struct rollout_device_moved body = {
        .id = live->row.id,
        .effect = live->effects,
        .input = live->stepped - 1,
        .device = fleet_device_name(live->rollouts->parts.fleet, live->devices[effect->member]),
        .what = what,
        .class = effect->kind == ROLLOUT_UNBOXED ? "" : policy_class_name(effect->u.class)};
    ret->kind = "rollout.device";
    return codec_encode(&codec_rollout_device_moved, &body, arena, &ret->body, err);
}

static enum err_code fill_decision(struct rollouts_live *live, const struct rollout_effect *effect,
                                   struct arena *arena, struct decision *ret, struct err *err)
{
    struct rollout_view view;
    struct grounds grounds = grounds_of(live, arena);
    enum err_code code;
    rollout_view(live->core, &view);
    switch (effect->kind) {
    case ROLLOUT_PUBLISH_COHORT:
    case ROLLOUT_PUBLISH_BASE:
        add_gate(&grounds, rollout_policy(live->core), &view.verdict);
        code = body_of_publish(live, effect, arena, ret, err);
        break;
    case ROLLOUT_VERDICT:
        add_gate(&grounds, rollout_policy(live->core), &effect->u.verdict.result);
        code = body_of_verdict(live, effect, arena, ret, err);
        break;
    case ROLLOUT_MOVED:
        add_gate(&grounds, rollout_policy(live->core), &effect->u.moved.cause);
        code = body_of_moved(live, effect, arena, ret, err);
        break;
    default:
        code = body_of_device(live, effect, arena, ret, err);
    }
    ret->evidence = grounds.at;
    ret->evidence_len = grounds.len;
    return code;
}

/* The queue. */

static struct rollouts_order *new_order(struct rollouts_live *live)
{
    struct rollouts_order *order = mem_new(1, sizeof *order);
    arena_init(&order->arena, ORDER_ARENA_BYTES);
    (void)snprintf(order->id, sizeof order->id, "%s", live->row.id);
    order->effect = live->effects;
    order->decision.actor = arena_printf(&order->arena, "captain:%s", live->rollouts->parts.holder);
    order->decision.subject = arena_strdup(&order->arena, live->row.id);
    return order;
}

static void free_order(struct rollouts_order *order)
{
    arena_fini(&order->arena);
    mem_free(order);
}

static void append_order(struct rollouts *r, struct rollouts_order *order)
{
    *r->orders_end = order;
    r->orders_end = &order->next;
}

static void remove_first(struct rollouts *r)
{
    struct rollouts_order *first = r->orders;
    r->orders = first->next;
    if (!r->orders)
        r->orders_end = &r->orders;
    free_order(first);
}

void rollouts_drop_orders(struct rollouts *r)
{
    while (r->orders)
        remove_first(r);
}

void rollouts_effect(struct rollouts_live *live, const struct rollout_effect *effect)
{
    struct err err = {0};
    if (++live->effects <= live->logged)
        return;
    struct rollouts_order *order = new_order(live);
    if (fill_decision(live, effect, &order->arena, &order->decision, &err) == ERR_OK) {
        append_order(live->rollouts, order);
        return;
    }
    log_err("what a rollout decided does not fit an entry of the log", &err);
    free_order(order);
}

void rollouts_give_up(struct rollouts_live *live)
{
    struct err err = {0};
    live->lost = true;
    live->effects = live->row.effects + 1;
    struct rollouts_order *order = new_order(live);
    struct rollout_moved body = {.id = live->row.id,
                                 .effect = live->effects,
                                 .from = live->row.state,
                                 .to = rollout_state_name(ROLLOUT_ABORTED),
                                 .cause = "the history of the rollout is lost; every device stays "
                                          "where it is",
                                 .finished = true};
    order->decision.kind = "rollout.moved";
    if (codec_encode(&codec_rollout_moved, &body, &order->arena, &order->decision.body, &err) ==
        ERR_OK) {
        append_order(live->rollouts, order);
        return;
    }
    log_err("the end of a rollout", &err);
    free_order(order);
}

/* Submitting. */

static enum err_code prepare_order(void *arg, struct arena *arena, struct decision *ret,
                                   struct err *err)
{
    struct rollouts *r = arg;
    struct store_rollout row;
    enum err_code code = store_rollout_get(r->parts.db, r->orders->id, arena, &row, err);
    if (code != ERR_OK)
        return code;
    r->orders->known = row.effects >= r->orders->effect;
    if (r->orders->known)
        return err_set(err, ERR_CONFLICT, "it is decided already");
    *ret = r->orders->decision;
    return ERR_OK;
}

static void on_retry(void *arg)
{
    rollouts_submit(arg);
}

static void try_again(struct rollouts *r, const struct err *err)
{
    const unsigned shift = r->failures < 7 ? r->failures : 7;
    int64_t wait_ms = (int64_t)RETRY_MIN_MS << shift;
    if (wait_ms > RETRY_MAX_MS)
        wait_ms = RETRY_MAX_MS;
    r->failures++;
    if (err->code != ERR_NO_CONTACT)
        log_err("what a rollout decided is not in the log yet", err);
    loop_timer_at(r->parts.loop, &r->retry, loop_now_ms(r->parts.loop) + wait_ms, on_retry, r);
}

static void note_logged(struct rollouts *r)
{
    struct rollouts_live *live = rollouts_by_id(r, r->orders->id);
    if (live && live->logged < r->orders->effect)
        live->logged = r->orders->effect;
}

static void on_decided(void *arg, uint64_t seq, const struct err *err)
{
    struct rollouts *r = arg;
    (void)seq;
    r->submitted = false;
    if (!r->orders)
        return;
    if (err->code != ERR_OK && !r->orders->known) {
        try_again(r, err);
        return;
    }
    r->failures = 0;
    note_logged(r);
    remove_first(r);
    rollouts_submit(r);
}

void rollouts_submit(struct rollouts *r)
{
    struct err err = {0};
    if (!r->orders || r->submitted || !r->ready)
        return;
    loop_timer_stop(&r->retry);
    r->submitted = true;
    if (decisions_submit(r->parts.decisions, prepare_order, on_decided, r, &err) == ERR_OK)
        return;
    r->submitted = false;
    try_again(r, &err);
}
