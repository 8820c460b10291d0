/* SPDX-License-Identifier: Apache-2.0
 *
 * Feature flags of channels, as flag.set and flag.unset left them.
 */
#pragma once

#include "captain/io/store/store.h"
#include "proto/messages_setting.h"

struct store_flag {
    const char *app, *channel, *name;
    const char *value, *otherwise;
    uint32_t permyriad; /* 10000: every device */
    const char *salt;
    int64_t set_ms;
    const char *set_by;
    uint64_t decision;
};

MUST_USE enum err_code store_flag_set(struct db *db, const struct flag_set *flag,
                                      const char *set_by, int64_t now_ms, uint64_t decision,
                                      struct err *err);
/* One that is not there is fine. */
MUST_USE enum err_code store_flag_unset(struct db *db, const struct flag_unset *flag,
                                        struct err *err);
/* By channel and name; app "": of all channels. */
MUST_USE enum err_code store_flag_list(struct db *db, const char *app, const char *channel,
                                       struct arena *arena, struct store_flag **ret,
                                       size_t *ret_len, struct err *err);
