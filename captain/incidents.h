/* SPDX-License-Identifier: Apache-2.0
 *
 * What should not have happened and was refused: the decision incident.noted, as often as
 * core/incident.h allows, and a line in the journal with each. Watches for clones (core/clone.h): 12
 * bytes for each device that says its instance, beside its row in the fleet (one cache line).
 */
#pragma once

#include "captain/decision.h"

enum { INCIDENTS_WAITING_MAX = 64 };

struct incidents;

/* decisions and holder are borrowed. */
struct incidents *incidents_new(struct decisions *decisions, const char *holder);
/* After decisions_close. NULL is fine. */
void incidents_free(struct incidents *incidents);

/* kind: "token", "clone", "renewal", "reply"; subject: the device or token. */
void incidents_note(struct incidents *incidents, const char *kind, const char *subject,
                    const char *fmt, ...) PRINTF_LIKE(4, 5);
/* A health message; device is the fleet's number, name its name. */
void incidents_heard(struct incidents *incidents, uint32_t device, const char *name,
                     uint64_t instance);
