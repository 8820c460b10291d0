/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/core/lease.h"

#include <assert.h>

#include "common/base/mem.h"

const char *lease_answer_name(enum lease_answer answer)
{
    static const char *const names[LEASE_ANSWERS] = {
        "granted",   "not_in_wave",
        "paused",    "held",
        "frozen",    "ended",
        "excluded",  "boxed",
        "done",      "stale",
        "cap_fleet", "cap_ramp",
        "cap_site",  "cap_site_percent",
        "cap_group", "window",
    };
    return (unsigned)answer < LEASE_ANSWERS ? names[answer] : "unknown";
}

uint32_t lease_site_cap(const struct policy *policy, uint32_t devices)
{
    const uint32_t percent = policy->admission.max_unavailable_per_site_percent;
    const uint32_t cap = (uint32_t)((uint64_t)percent * devices / 100);
    return cap == 0 && policy->admission.allow_one ? 1 : cap;
}

/* The first window that has not ended. */
static const struct lease_window *next_window(const struct lease_site *site, int64_t now_ms)
{
    size_t low = 0;
    size_t high = site->windows_len;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (site->windows[middle].to_ms <= now_ms)
            low = middle + 1;
        else
            high = middle;
    }
    return low < site->windows_len ? &site->windows[low] : NULL;
}

bool lease_window_open(const struct lease_site *site, int64_t now_ms, int64_t *ret_change_ms)
{
    *ret_change_ms = 0;
    if (!site->windowed)
        return true;
    const struct lease_window *window = next_window(site, now_ms);
    if (!window)
        return false;
    const bool open = window->from_ms <= now_ms;
    *ret_change_ms = open ? window->to_ms : window->from_ms;
    return open;
}

static bool window_admits(const struct lease_site *site, const struct policy *policy,
                          int64_t now_ms, int64_t *ret_retry_ms)
{
    int64_t change_ms;
    if (!lease_window_open(site, now_ms, &change_ms)) {
        *ret_retry_ms = change_ms;
        return false;
    }
    if (!site->windowed || policy->admission.window_end == POLICY_WINDOW_FINISH ||
        now_ms + policy->admission.lease_ms <= change_ms)
        return true;
    const struct lease_window *next = next_window(site, change_ms);
    *ret_retry_ms = next ? next->from_ms : 0;
    return false;
}

static bool at_cap(uint32_t cap, uint32_t in_flight)
{
    return cap > 0 && in_flight >= cap;
}

static bool at_ramp(const struct policy *policy, const struct lease_ask *ask, uint32_t in_flight)
{
    if (policy->admission.ramp_start == 0 || ask->rollback)
        return false;
    const uint64_t cap = (uint64_t)policy->admission.ramp_start +
                         (uint64_t)policy->admission.ramp_gain * ask->successes;
    return in_flight >= cap;
}

enum lease_answer lease_admit(const struct lease_book *book, const struct policy *policy,
                              const struct lease_ask *ask, int64_t *ret_retry_ms)
{
    const struct lease_site *site = &book->sites[ask->site];
    *ret_retry_ms = 0;
    if (at_cap(policy->admission.max_in_flight, book->in_flight))
        return LEASE_CAP_FLEET;
    if (at_ramp(policy, ask, book->in_flight))
        return LEASE_CAP_RAMP;
    if (at_cap(policy->admission.max_in_flight_per_site, site->in_flight))
        return LEASE_CAP_SITE;
    if (policy->admission.max_unavailable_per_site_percent < 100 &&
        site->in_flight >= lease_site_cap(policy, site->devices))
        return LEASE_CAP_SITE_PERCENT;
    if (at_cap(policy->admission.max_in_flight_per_group, book->group_in_flight[ask->group]))
        return LEASE_CAP_GROUP;
    if (!(ask->rollback && !policy->admission.rollback_in_windows) &&
        !window_admits(site, policy, ask->now_ms, ret_retry_ms))
        return LEASE_WINDOW;
    return LEASE_GRANTED;
}

void lease_take(struct lease_book *book, uint16_t site, uint16_t group)
{
    book->in_flight++;
    book->sites[site].in_flight++;
    book->group_in_flight[group]++;
    if (book->in_flight > book->in_flight_max)
        book->in_flight_max = book->in_flight;
}

void lease_return(struct lease_book *book, uint16_t site, uint16_t group)
{
    assert(book->in_flight > 0 && book->sites[site].in_flight > 0 &&
           book->group_in_flight[group] > 0);
    book->in_flight--;
    book->sites[site].in_flight--;
    book->group_in_flight[group]--;
}
