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

bool cohort_contains(const struct cohort_rule *rule, const char *device)
{
    if (rule->cut == COHORT_CUT_ALL)
        return true;
    for (size_t i = 0; i < rule->devices_len; i++)
        if (str_equal(rule->devices[i], device))
            return true;
    return rule->cut > 0 && cohort_hash(rule->salt ? rule->salt : "", device) < rule->cut;
}

uint64_t cohort_cut_percent(unsigned percent)
{
    if (percent >= 100)
        return COHORT_CUT_ALL;
    /* 2^64 = 100 * whole + rest, so that nothing leaves 64 bits. */
    const uint64_t whole = UINT64_MAX / 100;
    const uint64_t rest = UINT64_MAX % 100 + 1;
    return percent * whole + percent * rest / 100;
}
