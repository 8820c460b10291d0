/* SPDX-License-Identifier: Apache-2.0
 *
 * What account.c (keys, templates, claims) and account_push.c (their way to the server) share.
 */
#pragma once

#include <limits.h>

#include "captain/account.h"
#include "common/bus.h"

struct account {
    struct arena arena; /* the lists of permissions */
    struct sign_key operator_key, scopes[ACCOUNT_SCOPES];
    struct nkey_permissions permissions[ACCOUNT_SCOPES];
    uint8_t fleet[SIGN_PUBLIC_BYTES], system[SIGN_PUBLIC_BYTES], streams[SIGN_PUBLIC_BYTES];
    uint8_t captain_signer[SIGN_PUBLIC_BYTES]; /* of captain's own user: without a scope */
    char system_creds[PATH_MAX];
    struct account_revocation *revocations; /* ACCOUNT_REVOCATIONS_MAX, or NULL */
    size_t revocations_len;
    uint64_t version, pushed_version;
    account_taken_fn on_taken;
    void *arg;

    /* account_push.c's; loop NULL: nothing is pushed. */
    struct loop *loop;
    bool no_list; /* of revocations yet, and it is waited for */
    struct bus *bus;
    struct loop_timer timer;
    int64_t retry_ms;
    uint64_t asked_version; /* of the push that is under way; 0: none */
};

MUST_USE enum err_code account_push_open(struct account *account,
                                         const struct account_options *options, struct err *err);
void account_push_close(struct account *account);
/* Within this turn of the loop, once for all changes; when not connected, on the connect. */
void account_push_soon(struct account *account);
/* Leaves out of the list what voids nothing any more. */
void account_forget_old(struct account *account);
