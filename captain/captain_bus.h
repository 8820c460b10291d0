/* SPDX-License-Identifier: Apache-2.0
 *
 * Captain's connections to nats-server. Without roles there is one. With roles (FOLDER/captain.json) devices
 * and people are in account FLEET, and the streams in one that nobody else gets into, so there are two
 * (account.h says why); captain counts as connected while both are.
 */
#pragma once

#include "captain/captain.h"

/* After loop_open. */
MUST_USE enum err_code captain_bus_open(struct captain *captain, struct err *err);
/* After all have subscribed. */
MUST_USE enum err_code captain_bus_start(struct captain *captain, struct err *err);
/* Sends what waits, for a while. Fine when nothing was opened. */
void captain_bus_close(struct captain *captain);
