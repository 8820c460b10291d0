/* SPDX-License-Identifier: Apache-2.0
 *
 * Which devices a desired state names as its target: one function, the same for captain and agent.
 * A device belongs to a cohort when it is named, or when the 64-bit hash of (device, salt) lies
 * below the cut. The salt is the rollout's id, so each rollout draws a new order. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COHORT_CUT_ALL UINT64_MAX

struct cohort_rule {
    const char *salt;           /* borrowed */
    uint64_t cut;               /* 0: only the named; COHORT_CUT_ALL: everyone */
    const char *const *devices; /* borrowed; "site/device" */
    size_t devices_len;
};

/* Where the device stands in the order of this salt: uniform in 64 bits, the same everywhere. */
uint64_t cohort_hash(const char *salt, const char *device);

/* device is "site/device". */
bool cohort_contains(const struct cohort_rule *rule, const char *device);

/* The cut that takes percent (0 to 100) of all devices: floor(percent * 2^64 / 100). */
uint64_t cohort_cut_percent(unsigned percent);
