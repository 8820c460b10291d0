/* SPDX-License-Identifier: Apache-2.0
 *
 * The fleet at a glance for dashboards, on fleet.summary: the message Status, as status.show answers it.
 * Said when something changed, at most twice a second, and at least every ten seconds.
 */
#pragma once

#include "captain/captain.h"

#define SUMMARY_SUBJECT "fleet.summary"
enum { SUMMARY_PAUSE_MS = 500, SUMMARY_SILENCE_MS = 10000 };

struct summary;

/* Works while captain leads the log. captain is borrowed. */
struct summary *summary_new(struct captain *captain);
/* NULL is fine. */
void summary_free(struct summary *summary);
