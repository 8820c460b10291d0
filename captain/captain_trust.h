/* SPDX-License-Identifier: Apache-2.0
 *
 * The part of captain's shell that joins identities to the rest. With FOLDER/captain.json (`captain
 * init`) devices and people have credentials, and captain->account and captain->enrol are there; without
 * it both are NULL. Incidents are noted in either case.
 */
#pragma once

#include "captain/captain.h"

/* Whether there is a FOLDER/captain.json. */
MUST_USE enum err_code captain_trust_has_roles(const struct captain *captain, bool *ret,
                                               struct err *err);
/* After ingest_open, before bus_start. */
MUST_USE enum err_code captain_trust_open(struct captain *captain, struct err *err);
/* After decisions_close and bus_close, before loop_close. */
void captain_trust_close(struct captain *captain);
/* captain leads the log. */
void captain_trust_ready(struct captain *captain);
/* After a commit. */
void captain_trust_committed(struct captain *captain, const struct log_entry *entry);
/* A health message was read. */
void captain_trust_heard(struct captain *captain, uint32_t device, const struct health *health);

/* ERR_USAGE with a hint when there are no roles. */
MUST_USE enum err_code captain_trust_demand(const struct captain *captain, struct err *err);
