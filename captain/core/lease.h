/* SPDX-License-Identifier: Apache-2.0
 *
 * Who may change now: the book of leases. It holds counters and caps, and answers one ask; whose
 * lease it is, and when it ends, is the rollout's. A lease counts until it is returned or ends,
 * however silent its holder is and whatever became of the rollout that gave it. Pure.
 *
 * max_unavailable_per_site_percent is held against leases, not against devices that happen to be
 * down: what is down already must not keep its site from being mended.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "captain/core/policy.h"

/* A time in which a site may be changed: [from, to), Unix ms. */
struct lease_window {
    int64_t from_ms;
    int64_t to_ms;
};

struct lease_site {
    uint32_t devices; /* members that exist */
    uint32_t in_flight;
    bool windowed; /* has maintenance windows: closed outside them */
    /* Ascending, not overlapping; borrowed: must live until replaced. The shell computes them ahead
     * of time from the site's time zone, daylight saving included, and gives more before the last
     * one ends; after the last one the site is closed. */
    const struct lease_window *windows;
    size_t windows_len;
};

struct lease_book {
    uint32_t in_flight;
    uint32_t in_flight_max; /* the largest ever, for people */
    struct lease_site *sites;
    uint32_t sites_len;
    uint32_t *group_in_flight;
    uint32_t groups_len;
};

enum lease_answer {
    LEASE_GRANTED,
    LEASE_NOT_IN_WAVE,
    LEASE_PAUSED, /* by an operator */
    LEASE_HELD,   /* by a gate */
    LEASE_FROZEN,
    LEASE_ENDED, /* the rollout is over, or going the other way */
    LEASE_EXCLUDED,
    LEASE_BOXED, /* penalty box */
    LEASE_DONE,  /* this device has what it asks for */
    LEASE_STALE, /* of an older attempt, or one that is over */
    LEASE_CAP_FLEET,
    LEASE_CAP_RAMP,
    LEASE_CAP_SITE,
    LEASE_CAP_SITE_PERCENT,
    LEASE_CAP_GROUP,
    LEASE_WINDOW,
    LEASE_ANSWERS
};

struct lease_ask {
    uint16_t site, group;
    bool rollback;      /* caps hold, freeze does not; windows only if the policy says so */
    uint32_t successes; /* so far, for the ramp */
    int64_t now_ms;
};

/* LEASE_GRANTED or the first cap that refuses, in the order of the enum. *ret_retry_ms is when to
 * ask again (the window's opening), or 0 when a lease must come back first. Changes nothing. */
enum lease_answer lease_admit(const struct lease_book *book, const struct policy *policy,
                              const struct lease_ask *ask, int64_t *ret_retry_ms);

void lease_take(struct lease_book *book, uint16_t site, uint16_t group);
void lease_return(struct lease_book *book, uint16_t site, uint16_t group);

/* floor(percent * devices / 100), or 1 for 0 with allow_one. */
uint32_t lease_site_cap(const struct policy *policy, uint32_t devices);

/* Whether the site is open, and when that changes next (0: never). */
bool lease_window_open(const struct lease_site *site, int64_t now_ms, int64_t *ret_change_ms);

/* "cap_site" */
const char *lease_answer_name(enum lease_answer answer);
