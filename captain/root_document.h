/* SPDX-License-Identifier: Apache-2.0
 *
 * Root documents as captain's people make them: put together, checked as a device would check their
 * form, and sealed. Pure but for libsodium; who signed enough is common/trust's to say.
 */
#pragma once

#include "common/sign.h"
#include "proto/messages.h"

#define ROOT_DOCUMENT_VALID_MS (365 * INT64_C(86400000)) /* unless said otherwise */

/* The public keys of one role, and how many of them must sign. */
struct root_document_role {
    const char *name; /* TRUST_ROLE_* */
    const uint8_t (*keys)[SIGN_PUBLIC_BYTES];
    size_t keys_len;
    unsigned threshold;
};

/* A first root, version 1, without floors and revoked digests. ret borrows name, tenant and keys; the
 * rest lives in the arena. */
MUST_USE enum err_code root_document_first(const char *tenant,
                                           const struct root_document_role *roles, size_t roles_len,
                                           int64_t expires_ms, struct arena *arena,
                                           struct root *ret, struct err *err);

/* The form (trust_root_form), as ERR_USAGE: what was asked for cannot be. err is not NULL. */
MUST_USE enum err_code root_document_check(const struct root *root, struct err *err);

/* Checked, encoded, signed by each key (none is fine: others sign later); the envelope is in the
 * arena. */
MUST_USE enum err_code root_document_seal(const struct root *root, const struct sign_key *keys,
                                          size_t keys_len, struct arena *arena, struct bytes *ret,
                                          struct err *err);
