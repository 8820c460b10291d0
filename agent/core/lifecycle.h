/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of one app on a device: install, upgrade, restart, reboot, going back are one loop that
 * looks at what exists. lifecycle_step is a function of (what the machine remembers, what is
 * desired, what is observed, now); it moves the state machine by one row of the table at most and
 * says the one action that the shell should have in progress, and when to be asked again at the
 * latest. Pure: no clock, no I/O.
 *
 * The machine's memory is small, plain data: the shell keeps it in SQLite before it acts, so that
 * after a crash at any instruction the same loop goes on from what is found on disk.
 *
 * Rules, in rank order (each move carries the number and the reason):
 *   1. Nothing desired: what runs keeps running; nothing installed: empty.
 *   2. What `current` points to and is confirmed is never taken away before its successor is staged
 * whole; while nothing better is at hand it is kept running.
 *   3. A release that failed here (attempt ended unhealthy) is not tried again for the same
 * decision.
 *   4. Downgrade: a release whose data version is below the state's is refused.
 *   5. Fetch failures are retried with backoff for as long as the release stays desired, except
 * those that no retry can mend (bad signature, wrong target, revoked, malformed, downgrade): these
 * refuse.
 *   6. After the switch: confirmed when healthy without a break for confirm_ms and the bus was
 * reached in that time; else, at the deadline (start + confirm_ms + grace), or when a service ends
 * up failing all its restarts, or when the machine itself went down LIFECYCLE_REBOOTS_MAX times in
 * the window, the device goes back to the previous confirmed release.
 *   7. A first release has nothing to go back to: it is stopped and refused, and tried again only
 * when the desired state changes.
 *   8. A new desired state that arrives in the middle of an attempt is taken at the next safe
 * point: before the switch at once, after it when confirmed or gone back.
 *   9. What the disk has lost is not there: a confirmed release that is no longer whole is fetched
 * again.
 *   10. Before anything is stopped the device asks, in this order: the app's update lock, captain's
 * lease, the pre-stop hooks of what runs. While any of them says no, what runs goes on running; a
 * lease that cannot be used now is given back. A release refused here is tried again under the same
 * decision only when captain gives a lease for it.
 *   11. The dead-man timer went off: somebody else stopped the target and turned the link back; the
 * attempt has failed.
 *   12. No space is not tried again before space has grown.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/str.h"

enum {
    LIFECYCLE_REBOOTS_MAX = 3,
    LIFECYCLE_SPACE_GROWN_BYTES = 1 << 20, /* that much more must be free: files come and go */
    LIFECYCLE_SPACE_LOOK_MS = 30000,
};

enum lifecycle_state {
    LIFECYCLE_EMPTY,      /* nothing installed, nothing desired */
    LIFECYCLE_FETCHING,   /* transfer, verification and staging are in progress */
    LIFECYCLE_WAITING,    /* a fetch (or the switch) failed; the next try is at a deadline */
    LIFECYCLE_STOPPING,   /* the services of the old release are asked to end */
    LIFECYCLE_SWITCHING,  /* `current` is renamed to the target */
    LIFECYCLE_STARTING,   /* services of the target are started */
    LIFECYCLE_CONFIRMING, /* they run; the confirm window is open */
    LIFECYCLE_SERVING,    /* the confirmed release runs */
    LIFECYCLE_RETREATING, /* the failed target's services are asked to end */
    LIFECYCLE_RESTORING,  /* `current` is renamed back to the previous release, which is started */
    LIFECYCLE_REFUSED,    /* the desired release is not taken; the previous one, if any, serves */
    LIFECYCLE_ASKING,     /* staged; the device waits for leave to change */
    LIFECYCLE_STATES
};

/* A release as the loop sees it. */
struct lifecycle_release {
    bool set;
    uint8_t digest[DIGEST_BYTES];
};

/* What the shell keeps (SQLite) between steps and across crashes. Zeroed: a device that knows
 * nothing. */
struct lifecycle {
    enum lifecycle_state state;
    struct lifecycle_release target;    /* being installed, or serving */
    struct lifecycle_release confirmed; /* the last one that was confirmed: where to go back to */
    struct lifecycle_release previous;  /* confirmed before it; kept on disk for a fast way back */
    struct lifecycle_release refused;   /* not to be tried for refused_decision */
    uint64_t decision;                  /* that target comes from */
    uint64_t refused_decision;
    uint32_t data_version;      /* of the app's state on this device */
    uint32_t failures;          /* in a row: tries to fetch, or reboots inside the window */
    int64_t since_ms;           /* of this state; the clock of `now_ms` */
    enum err_code refused_code; /* why it was refused */
    enum err_code reason_code;  /* why WAITING */
    uint64_t space_bytes;       /* free space that the next try needs; 0: not known */
};

/* What the channel wants from this device (the cohort is decided already). */
struct lifecycle_desired {
    struct lifecycle_release release; /* not set: nothing is desired */
    uint64_t decision;     /* which decision wants it: the same again (a re-issue) is no new wish */
    uint32_t data_version; /* known once staged, else 0 */
    bool lease;            /* captain's leave is needed before anything is stopped */
};

enum lifecycle_fetch {
    LIFECYCLE_FETCH_IDLE,
    LIFECYCLE_FETCH_RUNNING,
    LIFECYCLE_FETCH_FAILED, /* fetch_error says why; told until a step moved, then IDLE again */
};

enum lifecycle_hook {
    LIFECYCLE_HOOK_NONE, /* what runs has none */
    LIFECYCLE_HOOK_UNASKED,
    LIFECYCLE_HOOK_RUNNING,
    LIFECYCLE_HOOK_PASSED,
    LIFECYCLE_HOOK_NOT_NOW, /* until ask_again_ms, then UNASKED */
};

/* What is there, looked at now. */
struct lifecycle_observed {
    struct lifecycle_release current; /* where the link points */
    uint32_t current_data_version;    /* of the release it points to, as the two below */
    uint32_t confirm_ms;
    uint32_t grace_ms;          /* added to confirm_ms for the deadline: time to become healthy */
    bool target_staged;         /* the desired release is whole on disk, verified */
    bool confirmed_whole;       /* the confirmed release is (only looked at when there is one) */
    enum lifecycle_fetch fetch; /* of the desired release */
    enum err_code fetch_error;
    enum err_code
        switch_error;         /* the last DO_SWITCH failed; told until a step moved, else ERR_OK */
    bool services_running;    /* any process of the app lives */
    bool services_started;    /* all services of `current` have been started */
    bool services_failed;     /* one has ended again and again and is given up */
    int64_t healthy_since_ms; /* all checks pass since; -1: they do not */
    int64_t bus_reached_ms;   /* last time the bus was connected (now, while it is); -1: never */
    int64_t retry_at_ms;      /* from core/retry, after a failed fetch */
    bool locked;              /* the app's update lock is held */
    enum lifecycle_hook hook;
    int64_t ask_again_ms;   /* when locked or hook are looked at again */
    bool lease_granted;     /* and not ended */
    int64_t lease_again_ms; /* when captain may be asked (again); INT64_MAX: an ask is out */
    bool deadman_fired;     /* for the target */
    uint64_t free_bytes;    /* of the disk */
};

enum lifecycle_action {
    LIFECYCLE_DO_NOTHING,
    LIFECYCLE_DO_FETCH,  /* start (or go on with) the transfer of `release` */
    LIFECYCLE_DO_STOP,   /* ask all services to end; TERM, later KILL */
    LIFECYCLE_DO_SWITCH, /* point `current` at `release`; not set: remove the link */
    LIFECYCLE_DO_START,  /* start the services of `current` */
    LIFECYCLE_DO_LEASE,  /* ask captain for leave to activate the desired release */
    LIFECYCLE_DO_HOOK,   /* run the pre-stop hooks of `current` */
    LIFECYCLE_DO_PRUNE,  /* remove releases other than target, confirmed and previous. The only
                          * action that  comes with a move: do it once, after persisting */
};

/* Something happened that the fleet should hear of; the shell turns it into a durable event. */
enum lifecycle_report {
    LIFECYCLE_REPORT_NONE,
    LIFECYCLE_REPORT_FETCHED,
    LIFECYCLE_REPORT_FETCH_FAILED, /* first failure, and each change of its code */
    LIFECYCLE_REPORT_ACTIVATED,
    LIFECYCLE_REPORT_CONFIRMED,
    LIFECYCLE_REPORT_ROLLED_BACK, /* serves the previous release again */
    LIFECYCLE_REPORT_REFUSED,
};

/* Whose word ASKING (or WAITING) waits for. */
enum lifecycle_hold {
    LIFECYCLE_HOLD_NONE,
    LIFECYCLE_HOLD_LOCK,
    LIFECYCLE_HOLD_LEASE,
    LIFECYCLE_HOLD_HOOK,
    LIFECYCLE_HOLD_SPACE,
};

struct lifecycle_effects {
    enum lifecycle_action action;
    struct lifecycle_release release; /* of DO_FETCH, DO_SWITCH */
    enum lifecycle_report report;
    enum err_code report_code;
    struct lifecycle_release report_release;
    bool moved;        /* state changed: persist before acting, then step again */
    bool new_attempt;  /* a try at a new target begins: the shell draws an attempt id */
    bool return_lease; /* what captain granted, if it did, is not used: give it back */
    enum lifecycle_hold hold;
    enum lifecycle_state from; /* when moved */
    unsigned rule;       /* the number of the rule that moved it; 0: the plain order of things */
    const char *why;     /* static sentence of the reason, or "" */
    int64_t deadline_ms; /* step again by then; INT64_MAX: only on news */
};

/* One step. Call again while ret->moved, after persisting. */
void lifecycle_step(struct lifecycle *state, const struct lifecycle_desired *desired,
                    const struct lifecycle_observed *observed, int64_t now_ms,
                    struct lifecycle_effects *ret);

/* After a start of the agent, before the first step: the clock began anew, so since_ms and the
 * window restart at now_ms. What was refused before anything ran (a signature, a target) may be
 * tried again, since trust anchor and configuration may have changed. rebooted: the machine went
 * down, not only the agent. */
void lifecycle_restarted(struct lifecycle *state, bool rebooted, int64_t now_ms);

/* A new trust anchor: likewise for what was refused before anything ran. */
void lifecycle_trust_changed(struct lifecycle *state);

const char *lifecycle_state_name(enum lifecycle_state state);
/* The table: true when `to` may follow `from`. */
bool lifecycle_may_move(enum lifecycle_state from, enum lifecycle_state to);
/* Both not set, or both set to the same digest. */
bool lifecycle_same(const struct lifecycle_release *a, const struct lifecycle_release *b);
