/* SPDX-License-Identifier: Apache-2.0
 *
 * What captain sees of its own state that somebody should mend before it hurts: keys, credentials and
 * certificates near their end, the server's known holes, file modes, disk, incidents, clocks.
 */
#pragma once

#include "captain/captain.h"
#include "captain/findings.h"

/* A check that cannot be made is a finding too. */
void doctor_examine(struct captain *captain, struct findings *findings);
