/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by the files of live rollouts: rollouts.c (which there are), rollout_turn.c (inputs stored and
 * stepped), rollout_feed.c (what devices say becomes inputs), rollout_lease.c, rollout_start.c,
 * rollout_leave.c (who was put out takes no part) and rollout_effects.c (what the core wants becomes
 * decisions); no one else's.
 *
 * An input goes into the turn's open transaction and into `pending`. After the commit, the pending ones are
 * stepped in the same order. When the transaction is thrown away they are forgotten, and the core has never
 * seen them: what is in the core is in the tables, always.
 */
#pragma once

#include "captain/io/store/rollout.h"
#include "captain/rollout_codec.h"
#include "captain/rollouts.h"
#include "common/base/ulid.h"
#include "common/bus.h"
#include "common/db.h"
#include "common/loop.h"

enum {
    ROLLOUTS_SITES_MAX = 65535,
    ROLLOUTS_ENDED_MAX = 8,           /* kept for reading after their end */
    ROLLOUTS_INPUT_ARENA = 512 << 20, /* one stored input, decoded: a start may be large */
    ROLLOUTS_ROUNDS_MAX = 64,         /* of one turn: inputs that follow from effects */
    ROLLOUTS_CHANGE_MS = 250,
    ROLLOUTS_SWEEP_MS = 1000,
    ROLLOUTS_OFFLINE_MS = 90000, /* or the policy's silent_ms, if that is shorter */
};

/* Beside the core's member; what a replay finds in the stored inputs. */
struct rollouts_member {
    uint16_t activated; /* the newest attempt that was heard to switch */
    bool control_failed;
};

struct rollouts_live {
    struct rollouts *rollouts;
    struct arena arena;       /* of row and names */
    struct store_rollout row; /* texts in arena; state, effects and ended_ms as last known */
    struct rollout *core;
    bool begun;       /* its start is stored */
    bool lost;        /* its inputs are: only its end is still decided */
    bool over;        /* the core said so; the decision may still be on its way */
    uint64_t stored;  /* inputs in the tables, pending ones included */
    uint64_t stepped; /* of them, those that the core has taken */
    uint64_t effects; /* that are decisions, numbered from 1 */
    uint64_t logged;  /* of them, those that the log has */
    uint32_t reports; /* sequence of the last report */
    uint32_t members_len, members_cap;
    uint32_t members_stepped;
    struct rollouts_member *members;
    uint32_t *devices;   /* the fleet's number of each member */
    uint32_t *member_of; /* by the fleet's number: the member's, plus 1; 0: none */
    uint32_t member_of_len;
    struct rollout_names names; /* sites and groups, in arena */
    struct rollout_stratum *strata;
    uint32_t strata_len;
    struct lease_window **windows; /* of each site, owned */
    int64_t windows_until_ms;      /* told so far ahead; 0: not yet */
    struct loop_timer tick, tell;
    int64_t told_ms; /* loop's clock */
    bool changed;
    bool more; /* the core has work left for a tick of the same time */
};

struct rollouts_pending {
    struct rollouts_live *live;
    struct rollout_input input; /* what it points to is in turn_arena */
    const char *reply;          /* of an ask; NULL: nobody waits */
};

/* A decision on its way into the log. */
struct rollouts_order {
    struct rollouts_order *next;
    char id[ULID_TEXT];
    uint64_t effect;
    struct arena arena;
    struct decision decision; /* in arena */
    bool known;               /* the log has it already */
};

struct rollouts {
    struct rollouts_parts parts;
    bool ready;         /* the tables hold the whole log */
    int64_t contact_ms; /* Unix: since when the bus is there */
    struct rollouts_live *lives[ROLLOUTS_LIVE_MAX + ROLLOUTS_ENDED_MAX];
    uint32_t lives_len; /* in order of their start */
    struct rollouts_pending *pending;
    uint32_t pending_len, pending_cap;
    struct arena turn_arena;
    struct rollouts_order *orders, **orders_end;
    bool submitted; /* the first order is with the log */
    unsigned failures;
    unsigned leaving; /* decisions to leave a device out that are on their way */
    struct loop_timer sweep, retry;
    rollouts_change_fn on_change;
    void *on_change_arg;
};

/* rollouts.c */
bool rollouts_is_live(const struct rollouts_live *live);
struct rollouts_live *rollouts_by_id(struct rollouts *r, const char *id);
/* The newest one of the channel that is not over. */
struct rollouts_live *rollouts_of_channel(struct rollouts *r, const char *app, const char *channel);
uint32_t rollouts_member_of(const struct rollouts_live *live, uint32_t device);
/* Notes a member; its number is the next one. */
void rollouts_add_member(struct rollouts_live *live, uint32_t device);
void rollouts_handle_of(const struct rollouts_live *live, struct rollout_handle *ret);

/* rollout_turn.c */

/* Stores the input in the open transaction and has it stepped after the commit. names as in
 * rollout_codec_pack; reply (of an ask) is copied. input->now_ms is set when it is 0. A failure poisons
 * the transaction and is logged. */
void rollouts_push(struct rollouts_live *live, const struct rollout_input *input,
                   const struct rollout_names *names, const char *reply);
/* Gives the core what was pushed; the transaction has been committed. */
void rollouts_step(struct rollouts *r);
/* Gives the core what is in the tables beyond what it has taken: all of it at the start, later what
 * decisions brought. Nothing of it may be pending. */
MUST_USE enum err_code rollouts_replay(struct rollouts_live *live, struct err *err);
/* Arms the tick of a rollout by its deadline. */
void rollouts_arm(struct rollouts_live *live);

/* rollout_effects.c: numbers what is a decision and puts it into the queue unless the log has it. */
void rollouts_effect(struct rollouts_live *live, const struct rollout_effect *effect);
/* Its history is lost: ends where it stands. */
void rollouts_give_up(struct rollouts_live *live);
/* Submits the first order unless one is on its way. */
void rollouts_submit(struct rollouts *r);
void rollouts_drop_orders(struct rollouts *r);

/* rollout_start.c */
void rollouts_begin(struct rollouts_live *live);

/* rollout_feed.c */
void rollouts_sweep_arm(struct rollouts *r);
/* The stratum a device belongs to that joins now. */
uint16_t rollouts_stratum_of(const struct rollouts_live *live, const char *device,
                             const char *hardware);

/* rollout_leave.c: of devices that were put out. */
void rollouts_leave_out(struct rollouts *r);

/* rollout_start.c: whether a stored device_set pins the app. Decodes into the arena. */
bool rollouts_pins(struct bytes text, const char *app, struct arena *arena);

/* rollout_windows.c: tells the core the maintenance windows of the sites, when they are new or those told
 * come to their end. all: of every rollout, again. */
void rollouts_tell_windows(struct rollouts *r, bool all);
/* Of one that begins: inputs after its start. */
void rollouts_begin_windows(struct rollouts_live *live);

/* rollout_lease.c */
void rollouts_on_lease(void *arg, const struct bus_message *message);
void rollouts_answer(struct rollouts *r, const char *reply, const struct lease_reply *answer);
