/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/root_doc.h"

#include "common/trust.h"
#include "proto/codec.h"
#include "tests/support/support.h"

struct bytes root_doc_seal(const struct root_doc *doc, const struct sign_key *signers,
                           size_t signers_len, struct arena *arena)
{
    const struct sign_key *keys[] = {doc->root, doc->release, doc->desired};
    static const char *const names[] = {TRUST_ROLE_ROOT, TRUST_ROLE_RELEASE, TRUST_ROLE_DESIRED};
    struct bytes publics[3], payload, envelope = {0};
    struct role roles[3];
    struct err err;
    for (size_t i = 0; i < 3; i++) {
        publics[i] = bytes_of(keys[i]->public_key, SIGN_PUBLIC_BYTES);
        roles[i] =
            (struct role){.name = names[i], .threshold = 1, .keys = &publics[i], .keys_len = 1};
    }
    const struct root root = {.tenant = doc->tenant,
                              .version = doc->version,
                              .expires_ms = doc->expires_ms,
                              .roles = roles,
                              .roles_len = 3};
    if (codec_encode(&codec_root, &root, arena, &payload, &err) != ERR_OK ||
        sign_seal(SIGN_TYPE_ROOT, payload, signers, signers_len, arena, &envelope, &err) != ERR_OK)
        support_die(0, "a root document: %s", err.text);
    return envelope;
}
