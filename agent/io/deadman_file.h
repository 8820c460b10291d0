/* SPDX-License-Identifier: Apache-2.0
 *
 * The dead-man record of one app, APPDIR/deadman: a small text file, replaced by rename and fsync,
 * that a process without SQLite can read; and taking the device back by it.
 */
#pragma once

#include "agent/core/deadman.h"
#include "common/base/err.h"

/* dir: the app's folder. ERR_NOT_FOUND: none is armed. */
MUST_USE enum err_code deadman_file_read(const char *dir, struct deadman *ret, struct err *err);
/* Durable on return. */
MUST_USE enum err_code deadman_file_write(const char *dir, const struct deadman *deadman,
                                          struct err *err);
/* A missing one is fine. */
MUST_USE enum err_code deadman_file_remove(const char *dir, struct err *err);

/* With the agent gone: kills the target's processes, points `current` back (or removes it), and
 * marks the record as fired. A link that is not at the target is left alone. */
MUST_USE enum err_code deadman_file_fire(const char *dir, struct deadman *deadman, struct err *err);
void deadman_clock_read(struct deadman_clock *ret, char boot_id[static 37]);
