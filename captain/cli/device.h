/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of devices, which `captain dev` shows too.
 */
#pragma once

#include "captain/cli/client.h"

MUST_USE enum err_code device_list_ask(struct client *client, const struct device_query *query,
                                       struct arena *arena, struct device_list *ret,
                                       struct err *err);
void device_table(const struct device_list *list, struct arena *arena);
