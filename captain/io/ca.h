/* SPDX-License-Identifier: Apache-2.0
 *
 * The fleet's own certificate authority (X.509, ECDSA P-256, by OpenSSL): one root certificate for
 * ten years, server certificates for one. PEM texts. Devices and operators trust this root and no
 * other.
 */
#pragma once

#include "common/base/arena.h"
#include "common/base/str.h"

enum { CA_HOSTS_MAX = 32, CA_PEM_MAX_BYTES = 64 << 10, CA_DAYS = 3650, CA_SERVER_DAYS = 365 };

/* Live in the arena; whoever made them wipes the key. */
struct ca_pair {
    char *cert, *key;
};

/* A name or an address that a certificate may be for; ERR_USAGE. */
MUST_USE enum err_code ca_check_host(const char *host, struct err *err);

/* A new root, named after the tenant. Valid from an hour before now_s, for clocks that are behind. */
MUST_USE enum err_code ca_create(const char *tenant, int64_t now_s, struct arena *arena,
                                 struct ca_pair *ret, struct err *err);
/* A certificate for a server with these names and addresses (1 to CA_HOSTS_MAX). ERR_MALFORMED when
 * ca's texts are no certificate and its key. */
MUST_USE enum err_code ca_issue(const struct ca_pair *ca, const char *const *hosts,
                                size_t hosts_len, int64_t now_s, struct arena *arena,
                                struct ca_pair *ret, struct err *err);
