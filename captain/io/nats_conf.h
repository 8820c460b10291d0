/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration file of a fleet's nats-server.
 */
#pragma once

#include "common/base/arena.h"
#include "common/base/str.h"

struct nats_conf {
    const char *tenant; /* names the server */
    uint16_t port;
    const char *folder; /* absolute: jwt/, jetstream/ and tls/ are in it */
    const char *operator_jwt;
    const char *system, *system_jwt; /* accounts: public key and claims */
    const char *streams, *streams_jwt;
    const char *fleet, *fleet_jwt;
};

/* In the arena. ERR_MALFORMED: the folder has a quote, a backslash or a control character in its name,
 * which the file could not say. */
MUST_USE enum err_code nats_conf_text(const struct nats_conf *conf, struct arena *arena,
                                      const char **ret, struct err *err);
