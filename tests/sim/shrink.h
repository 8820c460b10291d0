/* SPDX-License-Identifier: Apache-2.0
 *
 * Running a plan, and making one that fails smaller: fewer devices, lines and steps, by halves, as
 * long as it fails.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "tests/sim/plan.h"

struct shrink_result {
    uint64_t steps;
    char why[WORLD_WHY_MAX];
};

/* True: every rule held. ret may be NULL. */
bool shrink_run(const struct plan *plan, uint64_t steps_max, FILE *story,
                struct shrink_result *ret);
/* Prints the seed, what broke, and the smallest plan that still breaks; with its story if wanted. */
void shrink_tell(const struct plan *plan, FILE *story);
