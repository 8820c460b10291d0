/* SPDX-License-Identifier: Apache-2.0
 *
 * Whom captain answers when it runs with roles: only where the asker itself may listen. Else a device
 * could make captain publish, with captain's rights, on a subject that feeds a stream.
 */
#pragma once

#include <stdbool.h>

#include "captain/incidents.h"
#include "common/bus.h"

/* The reply subject begins with "_INBOX.<owner>."; if not, that is noted as an incident. No reply wanted
 * is fine. owner: "<site>.<device>" or "op.<operator>". */
bool inbox_is_own(struct incidents *incidents, const struct bus_message *message,
                  const char *owner);
