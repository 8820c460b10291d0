/* SPDX-License-Identifier: Apache-2.0
 *
 * People with credentials: the first admin, whom `captain init` wrote into captain.json, comes into the
 * log; who is removed, or got a new credential, loses contact with the old one. Needs captain->account.
 */
#pragma once

#include "captain/captain.h"

/* captain leads the log. A fleet whose log names no operator yet gets its first admin. */
void operators_ready(struct captain *captain);
/* After a commit. */
void operators_committed(struct captain *captain, const struct log_entry *entry);
