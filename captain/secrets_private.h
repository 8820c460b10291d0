/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by secrets.c (when which device is looked at) and secrets_look.c (what a look does); no one
 * else's.
 */
#pragma once

#include "captain/core/secret_scope.h"
#include "captain/io/store/secret.h"
#include "captain/secrets.h"
#include "common/loop.h"

enum {
    SECRETS_LIST_ARENA_BYTES = 16 << 20,
    SECRETS_LOOK_ARENA_BYTES = 8 << 20,
    /* Of one document: beside them it has room for labels and pins. */
    SECRETS_DEVICE_MAX = 64,
    SECRETS_DEVICE_MAX_BYTES = 44 << 10,
};

/* By the fleet's number. */
struct secrets_device {
    uint64_t apps;  /* hash of apps and channels of the last health; 0: none since the start */
    uint64_t heard; /* device_generation of the last health */
    uint64_t waits; /* the oldest generation that is not confirmed; 0: none */
    bool queued;
};

struct secrets {
    struct loop *loop;
    struct db *db;
    struct fleet *fleet;
    struct desired_devices *desired;
    const struct vault *vault;
    char *folder;
    struct secrets_device *devices;
    uint32_t devices_cap;
    uint32_t *queue;
    uint32_t queue_len, queue_cap;
    uint32_t pass_next, pass_end; /* equal: no pass is under way */
    struct loop_timer work, day;
    bool connected;
    bool issued; /* by the slice at hand */
    /* What is set, by app and name. */
    struct arena list_arena;
    const struct store_secret *list;
    const struct secret_rule *rules;
    uint32_t *chosen; /* room for one choice */
    size_t list_len;
    bool any; /* a device has a row */
    struct arena look_arena;
};

MUST_USE enum err_code secrets_load(struct secrets *secrets, struct err *err);
/* secrets_look.c. In the open transaction. Only what the tables refuse is an error. */
MUST_USE enum err_code secrets_look(struct secrets *secrets, uint32_t device,
                                    struct secrets_device *at, struct err *err);
