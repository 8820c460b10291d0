/* SPDX-License-Identifier: Apache-2.0
 *
 * A root document from a file, and what can be said about who may sign by it. Its own signatures are
 * checked (trust_root_anchor); that it is the fleet's is for the person who got the file.
 */
#pragma once

#include "captain/cli/keyring.h"
#include "common/trust.h"

struct root_file {
    const char *path;
    struct bytes envelope;
    struct root root;
};

/* Of --root, else of the context; NULL: neither names one. */
MUST_USE enum err_code root_file_path(const struct invocation *invocation, const char **ret,
                                      struct err *err);
/* ERR_USAGE when there is no such file; else what trust_root_anchor says of it. */
MUST_USE enum err_code root_file_read(const char *path, struct arena *arena, struct root_file *ret,
                                      struct err *err);
/* The two; ERR_USAGE when there is none. */
MUST_USE enum err_code root_file_load(const struct invocation *invocation, struct root_file *ret,
                                      struct err *err);

/* NULL: none of that name. */
const struct role *root_role(const struct root *root, const char *name);
bool role_has(const struct role *role, const uint8_t *public_key);

/* Which keys of a role signed an envelope of this type. */
struct role_signers {
    const uint8_t *keys[SIGN_SIGNATURES_MAX]; /* of the role, in its order */
    size_t len;
    unsigned threshold;
};
MUST_USE enum err_code role_signers_find(const struct role *role, const char *type,
                                         struct bytes envelope, struct role_signers *ret,
                                         struct err *err);
/* "0123456789abcdef ada", or the key id alone; in the arena. */
const char *role_key_text(const struct keyring *keyring, const uint8_t *public_key,
                          struct arena *arena);
