/* SPDX-License-Identifier: Apache-2.0
 *
 * "Did you mean": start with what was written, offer every name there is, take the best. The names
 * are borrowed. Pure.
 */
#pragma once

struct suggestion {
    const char *text;
    const char *best;
    unsigned distance;
};
void suggest_start(struct suggestion *suggestion, const char *text);
void suggest_offer(struct suggestion *suggestion, const char *name);
/* NULL: no name is near enough to have been meant. */
const char *suggest_best(const struct suggestion *suggestion);
