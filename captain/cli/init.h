/* SPDX-License-Identifier: Apache-2.0
 *
 * What `captain init` is asked for, and the folder that comes of it.
 */
#pragma once

#include "captain/cli/command.h"
#include "captain/io/ca.h"
#include "common/nkey.h"

enum { INIT_ROLE_KEYS_MAX = SIGN_SIGNATURES_MAX };

/* Public keys that are kept elsewhere; len 0: one is made here. */
struct init_role {
    uint8_t keys[INIT_ROLE_KEYS_MAX][SIGN_PUBLIC_BYTES];
    size_t len;
    unsigned threshold;
};

struct init_plan {
    struct arena *arena;
    const char *folder; /* absolute; does not exist, or is empty */
    const char *tenant, *operator_name, *context;
    const char *hosts[CA_HOSTS_MAX]; /* of the certificate */
    size_t hosts_len;
    const char *url, *listen, *store_url;
    uint16_t nats_port;
    struct init_role root, release;
    int64_t now_ms;
};

/* The first admin, once the folder is there. */
struct init_admin {
    struct sign_key key;
    const char *jwt; /* in the arena */
    int64_t expires_ms;
    const char *ca; /* PEM */
};

/* From flags and argument: checked, defaults filled in. */
MUST_USE enum err_code init_plan_read(const struct invocation *invocation, struct init_plan *ret,
                                      struct err *err);

/* The whole folder, by one rename: after a failure or a power cut there is none of that name. */
MUST_USE enum err_code init_folder_make(const struct init_plan *plan, struct init_admin *ret,
                                        struct err *err);

/* A new server certificate in the folder of a fleet, for the plan's hosts. */
MUST_USE enum err_code init_renew_certificate(const struct init_plan *plan, struct err *err);
