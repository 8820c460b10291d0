/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of channels, which `captain status` shows too.
 */
#pragma once

#include "captain/cli/client.h"

void channel_table(const struct channel_info *channels, size_t len, struct arena *arena);
