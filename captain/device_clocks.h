/* SPDX-License-Identifier: Apache-2.0
 *
 * How many devices have a wrong clock: what their last health said, against captain's own. One byte a
 * device.
 */
#pragma once

#include <stdint.h>

/* Off by more than this; health is on its way for less. */
enum { DEVICE_CLOCKS_OFF_MS = 60 * 1000 };

struct device_clocks;

struct device_clocks *device_clocks_new(void);
/* NULL is fine. */
void device_clocks_free(struct device_clocks *clocks);
/* device is the fleet's number; sent_ms 0 says nothing. */
void device_clocks_heard(struct device_clocks *clocks, uint32_t device, int64_t sent_ms,
                         int64_t now_ms);
/* Those that are off; *ret_behind: of them, whose clock is behind. */
uint32_t device_clocks_off(const struct device_clocks *clocks, uint32_t *ret_behind);
