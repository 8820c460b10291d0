/* SPDX-License-Identifier: Apache-2.0
 *
 * A root document with one key for each role.
 */
#pragma once

#include "common/base/arena.h"
#include "common/sign.h"

struct root_doc {
    const char *tenant;
    uint64_t version;
    int64_t expires_ms;
    const struct sign_key *root, *release, *desired;
};

/* Signed by these keys; in the arena. */
struct bytes root_doc_seal(const struct root_doc *doc, const struct sign_key *signers,
                           size_t signers_len, struct arena *arena);
