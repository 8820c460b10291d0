/* SPDX-License-Identifier: Apache-2.0
 *
 * The feature flags of a channel as its document carries them. Bounded so that a rollout's cohort has
 * room beside them.
 */
#pragma once

#include "captain/io/store/flag.h"

enum { DESIRED_FLAGS_MAX = 64, DESIRED_FLAGS_MAX_BYTES = 24 << 10 };

/* Of one channel, by name. */
MUST_USE enum err_code desired_flags_read(struct db *db, const char *app, const char *channel,
                                          struct arena *arena, const struct feature_flag **ret,
                                          size_t *ret_len, struct err *err);
/* ERR_SIZE when the channel's document (of envelope_bytes now, flags and all; 0: none yet) could not
 * take this flag in, or more than DESIRED_FLAGS_MAX_BYTES; ERR_FULL beyond DESIRED_FLAGS_MAX. */
MUST_USE enum err_code desired_flags_check(struct db *db, const struct flag_set *flag,
                                           size_t envelope_bytes, struct arena *arena,
                                           struct err *err);
