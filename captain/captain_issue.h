/* SPDX-License-Identifier: Apache-2.0
 *
 * Which decisions change what devices are told: the documents that an entry of the log makes new.
 */
#pragma once

#include "captain/captain.h"

/* Inside the open transaction, after the entry's projection. */
MUST_USE enum err_code captain_issue(struct captain *captain, const struct log_entry *entry,
                                     struct err *err);
