/* SPDX-License-Identifier: Apache-2.0
 *
 * libnats 3.4 asks OpenSSL for the system's authorities whatever file it is given, and has no option
 * against it: each of more than a hundred companies could then vouch for a fleet's server, and to read
 * them costs each connect some 50 ms of CPU and the connection 800 kB. This program's own function of
 * that name comes before OpenSSL's and does nothing where only the named ones count. That it is the one
 * that is called is shown by test_bus_tls.
 */
#include "common/bus_tls.h"

#include <dlfcn.h>
#include <string.h>

struct ssl_ctx_st;
int SSL_CTX_set_default_verify_paths(struct ssl_ctx_st *ctx);

static _Thread_local bool named_only;

void bus_tls_trust_named_only(bool only)
{
    named_only = only;
}

int SSL_CTX_set_default_verify_paths(struct ssl_ctx_st *ctx)
{
    int (*original)(struct ssl_ctx_st *) = NULL;
    void *found = named_only ? NULL : dlsym(RTLD_NEXT, "SSL_CTX_set_default_verify_paths");
    memcpy(&original, &found, sizeof original);
    return named_only ? 1 : original != NULL && original(ctx);
}
