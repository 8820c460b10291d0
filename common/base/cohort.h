/* SPDX-License-Identifier: Apache-2.0
 *
 * Which devices a desired state names as its target: one function, the same for captain and agent.
 * A device belongs to a cohort when it is named, when a selector fits its labels, or when the 64-bit
 * hash of (device, salt) lies below the cut. The salt is the rollout's id, so each rollout draws a
 * new order. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COHORT_CUT_ALL UINT64_MAX

struct cohort_label {
    const char *key, *value; /* borrowed */
};

/* Selects the devices that have every one of these labels; one without any selects nobody. */
struct cohort_selector {
    const struct cohort_label *all; /* borrowed */
    size_t all_len;
};

struct cohort_rule {
    const char *salt;           /* borrowed */
    uint64_t cut;               /* 0: only the named; COHORT_CUT_ALL: everyone */
    const char *const *devices; /* borrowed; "site/device" */
    size_t devices_len;
    const struct cohort_selector *selectors; /* borrowed; a device that any of them selects is in */
    size_t selectors_len;
};

/* Where the device stands in the order of this salt: uniform in 64 bits, the same everywhere. */
uint64_t cohort_hash(const char *salt, const char *device);

/* device is "site/device". Of a key that stands in labels twice the first counts, so what captain
 * says of a device comes before what the device says of itself. The key "site" is the device's site
 * when no label says otherwise. */
bool cohort_selects(const struct cohort_selector *selector, const char *device,
                    const struct cohort_label *labels, size_t labels_len);
bool cohort_contains_labelled(const struct cohort_rule *rule, const char *device,
                              const struct cohort_label *labels, size_t labels_len);
/* A device of which no label is known. */
bool cohort_contains(const struct cohort_rule *rule, const char *device);

/* The cut that takes percent (0 to 100) of all devices: floor(percent * 2^64 / 100). */
uint64_t cohort_cut_percent(unsigned percent);
/* The same for hundredths of a percent (0 to 10000). */
uint64_t cohort_cut_permyriad(unsigned permyriad);
