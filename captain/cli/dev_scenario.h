/* SPDX-License-Identifier: Apache-2.0
 *
 * The bad releases that `captain dev` can show, each with the end it must come to.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"

struct dev_scenario {
    const char *name;
    const char *what;   /* what is wrong with the release, for people */
    const char *script; /* lines of its serve.sh, before the server takes the place of the shell */
    const char *gates[4]; /* one of these must stop it; NULL ends */
    const char *metrics;  /* more of the policy; NULL: nothing */
    uint32_t canaries;
    bool cuts_network; /* devices talk to the bus through something that can be cut */
    bool serves;       /* it may be seen to serve before it is stopped */
};

/* NULL: the one that is shown when none is named. ERR_USAGE with the nearest name. */
MUST_USE enum err_code dev_scenario_find(const char *name, const struct dev_scenario **ret,
                                         struct err *err);
