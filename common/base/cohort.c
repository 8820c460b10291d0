/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/cohort.h"

#include <string.h>

#include "common/base/rng.h"
#include "common/base/str.h"

uint64_t cohort_hash(const char *salt, const char *device)
{
    /* The salt's hash seeds the device's, so that no two pairs of texts run together. */
    return rng_hash(rng_hash(0, salt, strlen(salt)), device, strlen(device));
}

static bool is_site(const char *device, const char *value)
{
    const char *slash = strchr(device, '/');
    return slash && strlen(value) == (size_t)(slash - device) &&
           memcmp(device, value, strlen(value)) == 0;
}

static bool has_label(const struct cohort_label *want, const char *device,
                      const struct cohort_label *labels, size_t labels_len)
{
    for (size_t i = 0; i < labels_len; i++) {
        if (str_equal(labels[i].key, want->key))
            return str_equal(labels[i].value, want->value);
    }
    return str_equal(want->key, "site") && is_site(device, want->value);
}

bool cohort_selects(const struct cohort_selector *selector, const char *device,
                    const struct cohort_label *labels, size_t labels_len)
{
    for (size_t i = 0; i < selector->all_len; i++) {
        if (!has_label(&selector->all[i], device, labels, labels_len))
            return false;
    }
    return selector->all_len > 0;
}

bool cohort_contains_labelled(const struct cohort_rule *rule, const char *device,
                              const struct cohort_label *labels, size_t labels_len)
{
    if (rule->cut == COHORT_CUT_ALL)
        return true;
    for (size_t i = 0; i < rule->devices_len; i++)
        if (str_equal(rule->devices[i], device))
            return true;
    for (size_t i = 0; i < rule->selectors_len; i++)
        if (cohort_selects(&rule->selectors[i], device, labels, labels_len))
            return true;
    return rule->cut > 0 && cohort_hash(rule->salt ? rule->salt : "", device) < rule->cut;
}

bool cohort_contains(const struct cohort_rule *rule, const char *device)
{
    return cohort_contains_labelled(rule, device, NULL, 0);
}

static uint64_t cut_of(uint64_t part, uint64_t whole)
{
    if (part >= whole)
        return COHORT_CUT_ALL;
    /* 2^64 = whole * each + rest, so that nothing leaves 64 bits. */
    const uint64_t each = UINT64_MAX / whole;
    const uint64_t rest = UINT64_MAX % whole + 1;
    return part * each + part * rest / whole;
}

uint64_t cohort_cut_percent(unsigned percent)
{
    return cut_of(percent, 100);
}

uint64_t cohort_cut_permyriad(unsigned permyriad)
{
    return cut_of(permyriad, 10000);
}
