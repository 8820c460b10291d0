/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of struct rollout, for the files rollout*.c alone.
 *
 * A member costs 40 bytes, its hash, stratum and place in a list of indexes 14 more. Times of members
 * are tenths of a second since the start, rounded up (never early), which lasts 13 years.
 */
#pragma once

#include "captain/core/rollout.h"

enum {
    ROLLOUT_TICK_MS = 100,
    ROLLOUT_WAVE_NONE = 255,
    ROLLOUT_TRIES_STRANDED = 1 << 15,
    /* Room that one input and the moves after it may need; expiries leave it free. */
    ROLLOUT_EFFECTS_ROOM = 10,
};
#define ROLLOUT_UNLINKED (UINT32_MAX - 1)

enum rollout_flag {
    ROLLOUT_F_ELIGIBLE = 1 << 0, /* was seen within eligible_age, or since */
    ROLLOUT_F_LOST = 1 << 1,     /* no contact since lost_ds */
    ROLLOUT_F_LEASED = 1 << 2,   /* attempt 0: a lease of the superseded rollout */
    ROLLOUT_F_BACKWARD = 1 << 3, /* the lease is for going back */
    ROLLOUT_F_NAMED = 1 << 4,
    ROLLOUT_F_IN_N = 1 << 5,    /* of the open wave's N */
    ROLLOUT_F_AT_RISK = 1 << 6, /* its first failure would count in compare */
    ROLLOUT_F_RISKED = 1 << 7,  /* has been at risk; never comes back into it */
    ROLLOUT_F_FAILED = 1 << 8,  /* for good */
    ROLLOUT_F_BOXED = 1 << 9,
    ROLLOUT_F_EXCLUDED = 1 << 10,
    ROLLOUT_F_DELETED = 1 << 11,
    ROLLOUT_F_DWELLING = 1 << 12, /* in the list of those whose soak runs */
    ROLLOUT_F_DWELT = 1 << 13,
    ROLLOUT_F_FLAPPED = 1 << 14, /* once within its soak */
    ROLLOUT_F_NTH = 1 << 15,     /* dwelling, and not after the quorum-th */
};
#define ROLLOUT_F_OUT (ROLLOUT_F_EXCLUDED | ROLLOUT_F_DELETED)

struct rollout_member {
    uint32_t phase_ds;               /* leased: its end; dwelling: since */
    uint32_t lost_ds;                /* where the clock of silence starts */
    uint32_t phase_prev, phase_next; /* in leases or dwelling */
    uint32_t lost_prev, lost_next;   /* in lost, or ROLLOUT_UNLINKED */
    uint32_t sequence;               /* of the last event taken; 0: none */
    uint16_t attempt;
    uint16_t flags;
    uint16_t tries; /* 3 bits a class; above them the class of the last failure */
    uint8_t device; /* enum rollout_device */
    uint8_t wave;
    uint8_t pick;
    uint8_t flaps; /* of this attempt */
};

struct rollout_list {
    uint32_t head, tail, len;
};

/* Sums over members; rollout_account is their only writer, rollout_check counts them again. */
struct rollout_sums {
    uint32_t by_device[ROLLOUT_DEVICES];
    uint32_t n, healthy, failed, dwelt; /* of the open wave */
    uint32_t assigned;                  /* to any wave, and neither excluded nor deleted */
    uint32_t outstanding, to_go_back;
    uint32_t eligible, boxed, exposed, leased, leased_forward;
    uint32_t control; /* at risk */
    uint32_t lost;    /* watched for silence */
};

struct rollout {
    enum rollout_state state;
    bool started, has_base, frozen, keep;
    struct policy policy, policy_next;
    bool has_policy_next;
    int64_t origin_ms, now_ms;
    uint64_t seed, inputs, ignored;

    uint32_t len, capacity;
    struct rollout_member *members;
    uint64_t *hash;
    uint16_t *stratum;
    uint32_t *order; /* scratch of a wave's start */
    struct rollout_stratum *strata;
    uint32_t strata_len;
    uint32_t *quota;                      /* scratch, per stratum */
    uint32_t *canary_risk, *control_risk; /* per stratum */
    struct lease_book book;
    uint32_t named[POLICY_NAMED_MAX];
    uint32_t named_len;

    struct rollout_sums sums;
    struct rollout_list leases, dwelling, lost;
    uint32_t nth, nth_rank; /* the quorum-th of dwelling, and its place from 1 */

    uint32_t wave; /* ROLLOUT_WAVE_NONE: none */
    uint32_t selectors;
    uint64_t cut;
    int64_t wave_from_ms, soak_ms;
    int64_t coverage_from_ms;
    uint32_t missing_acked, waived;
    bool no_control_acked;
    uint32_t failed_new, class_new[POLICY_CLASSES], failures[POLICY_CLASSES];
    uint32_t rate_new, rate_all; /* failed for good while assigned: since acknowledged, ever */
    struct evalue_compare compare;
    struct gate_metric_state metrics[POLICY_METRICS_MAX];
    uint64_t approved[POLICY_APPROVALS_MAX];
    uint32_t approved_len;
    uint32_t successes;
    int64_t progress_from_ms; /* also of a rollback: the last change */
    bool progress_stopped;
    bool windows_open;          /* of any site */
    int64_t windows_change_ms;  /* 0: never */
    uint32_t rollback_scan;     /* who stands still is looked up from here; ROLLOUT_NONE: not yet */
    struct gate_result verdict; /* the last one */
    enum gate_id held_gate;
    enum gate_verdict held_verdict;
    int64_t until_ms; /* when gates may change by time alone */

    const struct rollout *leader; /* replay: follows its waves, leases and state; moves nothing */
    struct rollout_effects *effects; /* of the running step */
};

/* rollout.c */
void rollout_emit(struct rollout *r, const struct rollout_effect *effect);
void rollout_refuse(struct rollout *r, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);
void rollout_move(struct rollout *r, enum rollout_state to, const struct gate_result *cause);
void rollout_abort(struct rollout *r, bool keep, const struct gate_result *cause);
bool rollout_is_forward(const struct rollout *r);  /* PENDING to SUCCEEDED */
bool rollout_is_backward(const struct rollout *r); /* devices are wanted on the base */
bool rollout_is_gated(const struct rollout *r); /* a wave is open and gates are held against it */

/* rollout_member.c: a member is changed between take and put, so that sums stay true. */
uint32_t rollout_ds(const struct rollout *r, int64_t ms);
int64_t rollout_ds_ms(const struct rollout *r, uint32_t ds);
void rollout_account(struct rollout *r, struct rollout_sums *sums, uint32_t *canary_risk,
                     uint32_t *control_risk, uint32_t i, int sign);
struct rollout_member *rollout_take(struct rollout *r, uint32_t i);
void rollout_put(struct rollout *r, uint32_t i);
void rollout_set_device(struct rollout *r, uint32_t i, enum rollout_device device);
void rollout_set_flags(struct rollout *r, uint32_t i, unsigned set, unsigned clear);
void rollout_lease(struct rollout *r, uint32_t i, int64_t until_ms, bool backward);
void rollout_unlease(struct rollout *r, uint32_t i);
void rollout_dwell(struct rollout *r, uint32_t i);
void rollout_undwell(struct rollout *r, uint32_t i);
/* Puts a lost member under watch (clock from lost_ds), or takes any out of it, as its flags say. */
void rollout_watch(struct rollout *r, uint32_t i);
void rollout_unwatch(struct rollout *r, uint32_t i);
void rollout_sync_nth(struct rollout *r);
bool rollout_is_assigned(const struct rollout_member *m);
/* Not offered yet, and it would not go to the base from where a superseded rollout had left it. */
bool rollout_is_stranded(const struct rollout_member *m);

/* rollout_report.c */
void rollout_ask(struct rollout *r, const struct rollout_input *input);
void rollout_return(struct rollout *r, const struct rollout_input *input);
void rollout_report(struct rollout *r, const struct rollout_input *input);
void rollout_fail_member(struct rollout *r, uint32_t i, enum policy_class class);
void rollout_fail_control(struct rollout *r, uint32_t i);
void rollout_quarantine(struct rollout *r, uint32_t i, enum policy_class class);
/* What time alone does: leases end, soaks are dwelt, silence becomes failure. */
void rollout_expire(struct rollout *r);

/* rollout_wave.c */
void rollout_begin(struct rollout *r, const struct rollout_input *input);
void rollout_open_wave(struct rollout *r, uint32_t wave);
void rollout_follow_wave(struct rollout *r, uint32_t wave);
void rollout_seen(struct rollout *r, uint32_t i);
void rollout_silent(struct rollout *r, uint32_t i, int64_t since_ms);
void rollout_join(struct rollout *r, const struct rollout_join *join);
void rollout_take_out(struct rollout *r, uint32_t i, enum rollout_flag flag);
bool rollout_covers(const struct rollout *r, uint32_t i);
void rollout_restart_gates(struct rollout *r);

/* rollout_operator.c: PAUSE to WINDOWS. */
void rollout_operator(struct rollout *r, const struct rollout_input *input);
void rollout_update_windows(struct rollout *r);
