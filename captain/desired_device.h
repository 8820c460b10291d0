/* SPDX-License-Identifier: Apache-2.0
 *
 * Documents of single devices (labels, pins, secrets): signed, published into DESIRED on
 * desired.device.<site>.<device>, as those of channels are. They are few: at each connect all are sent again,
 * and a device ignores a generation that it has.
 */
#pragma once

#include "captain/desired.h"

struct desired_devices;

MUST_USE enum err_code desired_devices_open(struct loop *loop, struct bus *bus, struct db *db,
                                            const struct keys *keys,
                                            const struct desired_options *options,
                                            struct desired_devices **ret, struct err *err);
void desired_devices_close(struct desired_devices *devices);
/* Inside the open transaction, after device.set: writes the device's next signed document; nothing for
 * one that is enrolled and not approved (any more). */
MUST_USE enum err_code desired_devices_issue(struct desired_devices *devices, const char *device,
                                             struct err *err);
/* After the commit. */
void desired_devices_send(struct desired_devices *devices);
/* On ready. */
void desired_devices_connected(struct desired_devices *devices);
