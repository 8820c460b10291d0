/* SPDX-License-Identifier: Apache-2.0
 *
 * One rollout: the staged move of a channel from base to target, as a function of its inputs. Every
 * input carries its time; the same inputs give the same state and the same effects, so the stored
 * inputs are the history: a restart replays them with effects ignored, gate replay replays them
 * through another policy (history.h). Pure: no clock, no I/O; memory is allocated by the START and
 * JOIN inputs only.
 *
 * Members are numbers 0 .. len-1 in the order of START and JOIN; names, sites' names and hashes are
 * the shell's. One input costs O(1) amortized; only the start of a wave (and the end of a rollback
 * that stands still) looks at every member.
 *
 * Who counts as what, for one member:
 *   failed   its failure was final (retries of that class used up): counted once, for good, until
 * an operator retries it; it is then in the penalty box healthy  confirmed healthy on the target by
 * its last word, and not failed missing  in the wave's N and neither Success of the rollout: every
 * eligible member is healthy; failed ones are in the penalty box, excluded or deleted ones are not
 * eligible. Until then the last wave waits (GATE_COMPLETING), and the progress gate holds it when
 * nothing changes any more.
 *
 * Choices where the rules leave one open:
 *   - rate counts a device offered and not failed as a success, so that failures that arrive
 *     before the successes cannot raise a false alarm; at the end of a wave both are the same.
 *   - leases are given while HELD by a HOLD (as WAIT: the current wave goes on), not after a FAIL.
 *   - failures of earlier waves' and late devices count in the wave that is open (never in its N).
 *   - a device that has dwelt its soak is no more at risk in compare, nor watched for silence; what
 *     it reports later still counts as a failure of the open wave.
 *   - an excluded device leaves N (a person decided so); a deleted one stays in it, as missing.
 *   - asking for the next attempt ends the one before; if that had no outcome, it failed.
 *   - a wave that earlier ones have filled already adds nobody and is judged on the N before it.
 *   - every input of a device is a sign of life; SEEN is for when it says nothing else.
 *   - maintenance windows do not bind a rollback, unless the policy says so.
 *   - a rollback that stands still for rollback_ms quarantines whom it still waits for.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "captain/core/evalue.h"
#include "captain/core/gate.h"
#include "captain/core/lease.h"
#include "captain/core/policy.h"

enum {
    ROLLOUT_MEMBERS_MAX = 4 * 1024 * 1024,
    ROLLOUT_STRATA_MAX = 65535,
    ROLLOUT_ATTEMPT_MAX = 65535,
    ROLLOUT_EFFECTS_MAX = 32,
    ROLLOUT_TEXT_MAX = 256,
    ROLLOUT_PICK_NONE = 255,
};
#define ROLLOUT_NONE UINT32_MAX

enum rollout_state {
    ROLLOUT_PENDING, /* started, nothing sent */
    ROLLOUT_RUNNING,
    ROLLOUT_PAUSED, /* by an operator: no new leases, no next wave; FAIL still fails */
    ROLLOUT_HELD,   /* by a gate (rollout_view.held_gate); GATE_ROLLBACK: rollback_failed */
    ROLLOUT_SUCCEEDED,
    ROLLOUT_ABORTING,     /* base is published; attempts in flight end or their leases do */
    ROLLOUT_ROLLING_BACK, /* waits for those that have, or may have, the target */
    ROLLOUT_ABORTED,
    ROLLOUT_SUPERSEDED,
    ROLLOUT_STATES
};

enum rollout_device {
    ROLLOUT_ON_BASE, /* not offered: control */
    ROLLOUT_OFFERED,
    ROLLOUT_APPLYING,  /* has a lease, or said that it began */
    ROLLOUT_HEALTHY,   /* confirmed on the target */
    ROLLOUT_UNHEALTHY, /* was healthy, is not now (a flap) */
    ROLLOUT_FAILED, /* last attempt failed, timed out or fell silent; where it stands is not known
                     */
    ROLLOUT_RETURNING,   /* has a lease to go back */
    ROLLOUT_BACK,        /* said that it is on the base again, or that it never left */
    ROLLOUT_QUARANTINED, /* could not go back */
    ROLLOUT_DEVICES
};

/* One member, as it joins. */
struct rollout_join {
    uint64_t hash;          /* cohort_hash(rollout id, "site/device") */
    uint16_t stratum;       /* index into rollout_start.strata */
    uint8_t pick;           /* first selector or named wave that names it, or ROLLOUT_PICK_NONE */
    bool eligible;          /* seen within eligible_age */
    bool online;            /* in contact now */
    int64_t lease_until_ms; /* held under the superseded rollout: counts on; 0: none */
};

struct rollout_stratum {
    uint16_t site, group; /* group: hardware, or what else the fleet is cut by */
};

/* All borrowed during the step, and copied; lease windows come by ROLLOUT_IN_WINDOWS. */
struct rollout_start {
    const struct policy *policy;
    bool has_base;
    bool frozen; /* the fleet is, at the start: PENDING until it thaws */
    const struct rollout_join *members;
    uint32_t members_len;
    const struct rollout_stratum *strata;
    uint32_t strata_len; /* later joiners must be in one of them */
    uint64_t seed;       /* draws the canaries */
};

enum rollout_input_kind {
    ROLLOUT_IN_START, /* the first input, once */
    ROLLOUT_IN_TICK,
    ROLLOUT_IN_ASK,            /* a device asks for a lease */
    ROLLOUT_IN_RETURN,         /* gives it back unused, or at the end of a superseded attempt */
    ROLLOUT_IN_REPORT,         /* of an attempt */
    ROLLOUT_IN_CONTROL_FAILED, /* a device not offered is unhealthy on the base */
    ROLLOUT_IN_SILENT,         /* the shell lost contact; since_ms is when it was seen last */
    ROLLOUT_IN_SEEN,           /* contact again */
    ROLLOUT_IN_JOIN,           /* becomes member number len; goes through the same gates */
    ROLLOUT_IN_DELETE,         /* the device is no more; its wave's N stays */
    ROLLOUT_IN_PAUSE,
    ROLLOUT_IN_RESUME,  /* from PAUSED: gate 0; from HELD: exactly the gate and wave */
    ROLLOUT_IN_PROMOTE, /* waives what waits or holds in this wave; never a FAIL, never the last
                           wave */
    ROLLOUT_IN_ABORT,
    ROLLOUT_IN_RETRY, /* a member out of penalty box or quarantine, on purpose */
    ROLLOUT_IN_EXCLUDE,
    ROLLOUT_IN_APPROVE,
    ROLLOUT_IN_SUPERSEDE, /* to_base: the fast way back, as ABORT */
    ROLLOUT_IN_FREEZE,
    ROLLOUT_IN_METRIC,
    ROLLOUT_IN_POLICY,  /* at the next wave; voids approvals at once */
    ROLLOUT_IN_WINDOWS, /* of one site; replaces */
    ROLLOUT_INPUTS
};

enum rollout_report {
    ROLLOUT_REPORT_APPLYING,
    ROLLOUT_REPORT_HEALTHY, /* confirmed on the target */
    ROLLOUT_REPORT_UNHEALTHY,
    ROLLOUT_REPORT_FAILED,      /* the attempt; the device is going back by itself */
    ROLLOUT_REPORT_REJECTED,    /* refused; nothing was switched */
    ROLLOUT_REPORT_ROLLED_BACK, /* runs the base */
    ROLLOUT_REPORT_ROLLBACK_FAILED,
    ROLLOUT_REPORTS
};

enum rollout_sample { ROLLOUT_SAMPLE_VALUE, ROLLOUT_SAMPLE_EMPTY, ROLLOUT_SAMPLE_ERROR };

struct rollout_input {
    enum rollout_input_kind kind;
    int64_t now_ms;  /* Unix; a time before the last input's counts as the last input's */
    uint32_t member; /* ASK to EXCLUDE about one device */
    union {
        struct rollout_start start;
        /* attempt: counts up per device within the rollout, from 1; going back is an attempt too.
         */
        struct {
            uint32_t attempt;
            bool rollback;
        } ask;
        struct {
            uint32_t attempt; /* 0: of the superseded rollout */
        } lease_return;
        /* sequence: of the device's events, rising; older ones are counted and ignored. flaps: how
         * often it became unhealthy in this attempt, so that a flap lost on the way still counts.
         */
        struct {
            enum rollout_report what;
            uint32_t attempt;
            uint32_t sequence;
            uint32_t flaps;
        } report;
        struct {
            int64_t since_ms;
        } silent;
        struct rollout_join join;
        struct {
            enum gate_id gate;
            uint32_t wave;
        } resume; /* the reason in words is the shell's to demand and store */
        struct {
            bool keep; /* leave devices where they are */
        } abort;
        struct {
            uint64_t operator_id; /* of the role the policy asks for; the shell checks */
            uint32_t wave;
        } approve;
        struct {
            bool to_base;
        } supersede;
        struct {
            bool on;
        } freeze;
        struct {
            uint32_t metric;
            enum rollout_sample sample;
            double value;        /* NaN is inconclusive */
            int64_t measured_ms; /* older than max_age: stale, inconclusive */
        } metric;
        const struct policy *policy;
        struct {
            uint16_t site;
            const struct lease_window *windows; /* borrowed until replaced */
            size_t len;
            bool windowed;
        } windows;
    } u;
};

enum rollout_effect_kind {
    ROLLOUT_PUBLISH_COHORT, /* target for the cohort, base for the others */
    ROLLOUT_PUBLISH_BASE,   /* base for everyone; without a base: nobody new takes the target */
    ROLLOUT_LEASE,          /* the answer to an ask */
    ROLLOUT_MOVED,
    ROLLOUT_VERDICT, /* changed */
    ROLLOUT_BOXED,   /* member is in the penalty box */
    ROLLOUT_UNBOXED,
    ROLLOUT_IS_QUARANTINED, /* member could not go back */
    ROLLOUT_REFUSED,        /* the input changed nothing; text says why */
    ROLLOUT_FINISHED, /* SUCCEEDED: the shell publishes the target without a rollout, so that who comes
                       * from now on takes it without asking here */
};

struct rollout_effect {
    enum rollout_effect_kind kind;
    uint32_t member;
    union {
        struct {
            uint32_t wave;
            uint64_t cut;
            uint32_t named_len; /* rollout_named */
            uint32_t selectors; /* bits 1 << wave of selector waves that are open */
        } cohort;
        struct {
            enum lease_answer answer;
            uint32_t attempt;
            int64_t until_ms; /* granted */
            int64_t retry_ms; /* denied: ask again then; 0: when something changed */
        } lease;
        struct {
            enum rollout_state from, to;
            struct gate_result cause; /* gate 0: an operator's input */
        } moved;
        struct {
            uint32_t wave;
            struct gate_result result; /* gate_sentence says it in words */
        } verdict;
        enum policy_class class; /* of BOXED, QUARANTINED */
        struct {
            enum err_code code; /* CONFLICT, NOT_FOUND, USAGE, FULL */
            char text[ROLLOUT_TEXT_MAX];
        } refused;
        enum rollout_state finished;
    } u;
};

struct rollout_effects {
    struct rollout_effect at[ROLLOUT_EFFECTS_MAX];
    uint32_t len;
    bool more; /* work was left for lack of room: step again with a TICK of the same time */
};

/* Owned by the caller; before START it is an empty PENDING. */
struct rollout *rollout_new(void);
void rollout_free(struct rollout *rollout);

/* One input. *ret is overwritten. */
void rollout_step(struct rollout *rollout, const struct rollout_input *input,
                  struct rollout_effects *ret);

/* When to step with a TICK at the latest; Unix ms, 0: only when something happens. */
int64_t rollout_deadline_ms(const struct rollout *rollout);

struct rollout_view {
    enum rollout_state state;
    enum gate_id held_gate; /* of HELD (and of PAUSED over HELD); else 0 */
    uint32_t wave;          /* ROLLOUT_NONE: none is open yet */
    int64_t wave_from_ms;
    struct gate_result verdict; /* the last one */
    uint32_t members, eligible_now;
    uint32_t n, healthy, failed; /* of the wave */
    uint32_t outstanding;        /* offered or joined, and not yet healthy, failed or out */
    uint32_t to_go_back;         /* have, or may have, the target */
    uint32_t in_flight, in_flight_forward;
    uint32_t by_device[ROLLOUT_DEVICES];
    uint32_t boxed, quarantined;
    uint32_t exposed; /* members that ever had a lease for the target */
    uint32_t failures[POLICY_CLASSES];
    uint64_t ignored; /* duplicates, old attempts, reports of no attempt */
    uint64_t cut;
    uint32_t named_len;
    uint64_t inputs;
};
void rollout_view(const struct rollout *rollout, struct rollout_view *ret);

struct rollout_device_view {
    enum rollout_device device;
    uint32_t wave; /* ROLLOUT_NONE: none yet */
    bool in_n, eligible, silent, boxed, failed, excluded, deleted;
    enum policy_class class; /* of its last failure */
    uint32_t attempt;
    bool leased;
    int64_t lease_until_ms; /* for carrying over into the rollout that supersedes */
    uint16_t stratum;
};
void rollout_device_view(const struct rollout *rollout, uint32_t member,
                         struct rollout_device_view *ret);

/* The i-th device named in the cohort; i < named_len. */
uint32_t rollout_named(const struct rollout *rollout, uint32_t i);
/* Whether desired, as published last, gives the member the target. */
bool rollout_targets(const struct rollout *rollout, uint32_t member);
/* The policy in force (of this wave). */
const struct policy *rollout_policy(const struct rollout *rollout);
/* What the gates would see; every byte set. False while no wave is open. */
bool rollout_snapshot(const struct rollout *rollout, int64_t now_ms, struct gate_snapshot *ret);

/* What an ask of this member would be answered now; nothing changes. For `captain why`. */
enum lease_answer rollout_would_lease(const struct rollout *rollout, uint32_t member,
                                      int64_t now_ms, int64_t *ret_retry_ms);

/* The invariants of the rules: recounts every counter and list from the members, holds the caps'
 * bookkeeping, states and verdict against each other. False: the text says which was broken. O(n);
 * for tests and the simulator. */
bool rollout_check(const struct rollout *rollout, char ret_text[static ROLLOUT_TEXT_MAX]);

/* A hash of the whole state; equal for equal states (restart, reordering). */
uint64_t rollout_fingerprint(const struct rollout *rollout);
/* Bytes in use, for benches and /metrics. */
size_t rollout_memory_bytes(const struct rollout *rollout);

const char *rollout_state_name(enum rollout_state state);
const char *rollout_device_name(enum rollout_device device);
/* Whether the table of moves has it. */
bool rollout_may_move(enum rollout_state from, enum rollout_state to);
