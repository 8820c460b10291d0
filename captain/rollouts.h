/* SPDX-License-Identifier: Apache-2.0
 *
 * Live rollouts at work: the shell around captain/core/rollout.h. Each input of a rollout (a device's
 * report, an ask for a lease, a tick, an operator's command) is stored in the turn's transaction under the
 * next number, then given to the core; what the core wants is done after the commit:
 *   - leases are answered at once (the input that made them is durable);
 *   - publishes, verdicts, moves, penalty boxes and quarantines are decisions: entries of the log, numbered
 *     within the rollout (effect 1, 2, 3 ...), so that after a crash exactly those that are not in the log yet
 *     are decided again. Projection of rollout.published changes what the channel's desired state says.
 * At start every live rollout is replayed from its stored inputs with effects ignored. Operators' commands come
 * the other way round: the decision is first, its projection stores the input.
 * A device that was put out is left out of every live rollout within about a second, by captain's own command.
 * A rollout whose inputs are lost (tables rebuilt from the log) is aborted, keeping devices where they are,
 * with that reason: nothing passes for lack of data.
 */
#pragma once

#include "captain/core/fleet.h"
#include "captain/core/history.h"
#include "captain/core/rollout.h"
#include "captain/decision.h"
#include "proto/messages_rollout.h"

enum { ROLLOUTS_LIVE_MAX = 256 };

struct rollouts;

struct rollouts_parts {
    struct loop *loop;
    struct bus *bus;
    struct db *db;
    struct fleet *fleet;
    struct decisions *decisions;
    const char *holder; /* "host:pid", the actor of what captain decides */
    /* With roles (else NULL): a lease is answered only to the device's own inbox. */
    struct incidents *incidents;
};

/* Subscribes lease.*.* (before bus_start); loads and replays what lives. */
MUST_USE enum err_code rollouts_open(const struct rollouts_parts *parts, struct rollouts **ret,
                                     struct err *err);
void rollouts_close(struct rollouts *rollouts);
/* On ready: decides again what is not in the log yet, starts what was started but has no first input. */
void rollouts_connected(struct rollouts *rollouts);
/* decisions_hooks.committed: a start, command, freeze, policy or label takes effect. */
void rollouts_committed(struct rollouts *rollouts, const struct log_entry *entry);

/* From ingest, before the turn's commit: a stored event; a health message that changed something; a device seen
 * again after silence or for the first time. device is the fleet's number. */
void rollouts_event(struct rollouts *rollouts, uint32_t device, const struct event *event);
void rollouts_health(struct rollouts *rollouts, uint32_t device, const struct health *health);
/* The open transaction was thrown away, and with it the inputs of this turn. */
void rollouts_rolled_back(struct rollouts *rollouts);
/* At the end of each turn: commits what is open, then does what the inputs of this turn asked for. */
void rollouts_turn_end(struct rollouts *rollouts);

/* One live or ended rollout for reading. Borrowed until the next turn. */
struct rollout_handle {
    const char *id, *app, *channel; /* "app", "channel" */
    const char *policy_name, *policy_text;
    const char *started_by, *reason;
    int64_t started_ms, ended_ms; /* 0: lives */
    uint8_t digest[DIGEST_BYTES], base_digest[DIGEST_BYTES];
    bool has_base;
    uint64_t decision;
    const struct rollout *core;
    const char *
        lost_state; /* its inputs are lost and core knows nothing: the last state by the log; else NULL */
    uint32_t members_len;
    const uint32_t *members; /* fleet's device number of each member */
};
/* Called after a turn in which a rollout changed, at most 4 times a second for each. */
typedef void (*rollouts_change_fn)(void *arg, const struct rollout_handle *handle);
void rollouts_on_change(struct rollouts *rollouts, rollouts_change_fn fn, void *arg);

/* id, a prefix of it that names one, or "app/channel" (its newest). An ended one is replayed from its stored
 * inputs (kept for a while). ERR_NOT_FOUND, ERR_CONFLICT (ambiguous) with a sentence. */
MUST_USE enum err_code rollouts_find(struct rollouts *rollouts, const char *text,
                                     struct rollout_handle *ret, struct err *err);
/* The live one of a channel; false: none. */
bool rollouts_live(struct rollouts *rollouts, const char *app, const char *channel,
                   struct rollout_handle *ret);
/* The member number of a device, or ROLLOUT_NONE. */
uint32_t rollouts_member(struct rollouts *rollouts, const struct rollout_handle *handle,
                         uint32_t device);
/* Replays the stored inputs of a rollout one by one, for gate replay. */
MUST_USE enum err_code rollouts_inputs(struct rollouts *rollouts, const char *id,
                                       history_next_fn *ret_next, void **ret_context,
                                       struct err *err);
/* Whether an input could not be read, which ended the replay too early. */
MUST_USE enum err_code rollouts_inputs_error(const void *context, struct err *err);
void rollouts_inputs_end(void *context);

/* What START would get now for this channel (members, strata), for start and plan. Arrays in the arena. */
MUST_USE enum err_code rollouts_members_now(struct rollouts *rollouts, const char *app,
                                            const char *channel, const char *rollout_id,
                                            const struct policy *policy, uint64_t seed,
                                            struct arena *arena, struct rollout_start *ret,
                                            const uint32_t **ret_devices, struct err *err);
/* The i-th live one that has begun, in order of their start; false: there are not so many. */
bool rollouts_live_at(struct rollouts *rollouts, uint32_t i, struct rollout_handle *ret);
/* A measurement of the policy's metric, by its number there; value counts for SAMPLE_VALUE only. Nothing
 * happens when the rollout does not live. */
void rollouts_metric(struct rollouts *rollouts, const char *id, uint32_t metric,
                     enum rollout_sample sample, double value, int64_t measured_ms);
/* Freeze, as it stands. */
bool rollouts_frozen(const struct rollouts *rollouts);
