/* SPDX-License-Identifier: Apache-2.0
 *
 * Named stories: a plan written by hand, on a calm bus, whose whole transcript is known
 * (stories/NAME.txt).
 */
#pragma once

#include <stddef.h>
#include <stdio.h>

#include "tests/sim/plan.h"
#include "tests/sim/shrink.h"

struct scenario {
    const char *name;
    const char *about;
    void (*make)(struct plan *plan);
    enum rollout_state end; /* of the newest rollout */
};

extern const struct scenario scenarios[];
extern const size_t scenarios_len;

/* Tells the story into the stream; false: a rule was broken, or it ended in another state. */
bool scenario_run(const struct scenario *scenario, FILE *story, struct shrink_result *ret);
