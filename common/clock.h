/* SPDX-License-Identifier: Apache-2.0
 *
 * The only readers of clocks and of the kernel's random source.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/ulid.h"

/* CLOCK_REALTIME in Unix milliseconds: for records, documents, people. */
int64_t clock_unix_ms(void);
/* CLOCK_BOOTTIME in milliseconds: for intervals and deadlines; never goes back, counts suspend. */
int64_t clock_mono_ms(void);
/* CLOCK_MONOTONIC in nanoseconds: for measuring. */
int64_t clock_mono_ns(void);
/* This boot's id: 36 characters of /proc/sys/kernel/random/boot_id and a NUL ("" when unreadable). */
void clock_boot_id(char ret[static 37]);
/* getrandom(2); never fails once the kernel is up. */
void clock_random(void *ret, size_t len);
/* A new ULID at the current time. */
void clock_ulid(char ret[static ULID_TEXT]);
