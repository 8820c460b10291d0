/* SPDX-License-Identifier: Apache-2.0
 *
 * DIR/captain.json, what `captain init` wrote for `captain serve --data DIR`:
 *   {"tenant": "acme", "nats": {"url": "tls://h:4222", "creds": "captain.creds", "ca": "nats/tls/ca.pem"},
 *    "listen": "0.0.0.0:8480", "store_url": "https://h:8480",
 *    "tls": {"cert": "nats/tls/server.pem", "key": "nats/tls/server.key"}, "master_key": "file:keys/master.key",
 *    "first_admin": {"name": "ada", "key": "U...", "expires_ms": 1800000000000}}
 * Relative paths are relative to DIR. An unknown key, a wrong type or a missing required key (all but
 * store_url and first_admin) is an error that names file and place. Flags of serve come before it.
 */
#pragma once

#include "common/base/arena.h"
#include "common/base/str.h"

enum { SETTINGS_MAX_BYTES = 64 << 10 };

struct settings {
    const char *tenant;
    const char *nats_url, *nats_creds, *nats_ca;
    const char *listen, *store_url; /* store_url NULL: from listen */
    const char *tls_cert, *tls_key;
    const char *master_key;             /* what vault_open takes */
    const char *admin_name, *admin_key; /* its public nkey; NULL: not said */
    int64_t admin_expires_ms;           /* of its credential, Unix; 0: never, or not said */
};

/* Paths are made to start with folder. Everything lives in the arena. ERR_NOT_FOUND: there is no
 * captain.json. */
MUST_USE enum err_code settings_load(const char *folder, struct arena *arena, struct settings *ret,
                                     struct err *err);
/* The same from a text; name stands for the file in errors. */
MUST_USE enum err_code settings_parse(const char *name, const char *folder, struct bytes text,
                                      struct arena *arena, struct settings *ret, struct err *err);
/* Writes folder/captain.json; paths as they are. */
MUST_USE enum err_code settings_save(const char *folder, const struct settings *settings,
                                     struct err *err);
