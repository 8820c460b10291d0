/* SPDX-License-Identifier: Apache-2.0
 *
 * Captain's tables. One file per store; each only reads and writes, no rules. All writes belong to the
 * turn's transaction (common/db.h); the caller commits. Text results are views in the arena given.
 */
#pragma once

#include "common/base/arena.h"
#include "common/db.h"

/* Opens DIR/captain.db with captain's migrations (io/sql/). */
MUST_USE enum err_code store_open(const char *folder, struct db **ret, struct err *err);

/* setting: a few named numbers and texts of captain itself. */
MUST_USE enum err_code store_setting_get_int(struct db *db, const char *name, int64_t otherwise,
                                             int64_t *ret, struct err *err);
MUST_USE enum err_code store_setting_set_int(struct db *db, const char *name, int64_t value,
                                             struct err *err);
