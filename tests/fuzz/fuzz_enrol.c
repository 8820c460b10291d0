/* SPDX-License-Identifier: Apache-2.0
 *
 * Arbitrary bytes as the request of a device that wants in: envelope, signatures, request, and what
 * captain makes of it. The corpus holds requests that are validly signed. What is given back must be
 * signed by the key it names, and nothing lets it in without a token.
 */
#include <stdlib.h>
#include <string.h>

#include "captain/core/admit.h"
#include "captain/enrol_request.h"

enum { ARENA_MAX_BYTES = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(const struct enrol_request *request)
{
    const struct admit_token token = {.site = "lyon", .uses = 1, .expires_ms = 1};
    for (unsigned bits = 0; bits < 16; bits++) {
        const struct admit_facts facts = {.site = request->site,
                                          .has_token = request->token[0] != '\0',
                                          .key_revoked = (bits & 1) != 0,
                                          .name_taken = (bits & 2) != 0,
                                          .key_owner = bits & 4 ? "lyon/other" : NULL,
                                          .token = bits & 8 ? &token : NULL};
        const struct admit_verdict verdict = admit(&facts, 0);
        if (verdict.what != ADMIT_REFUSED &&
            (!request->token[0] || !str_equal(request->site, "lyon") || bits != 8))
            abort();
        if (verdict.what == ADMIT_REFUSED && (verdict.code == ERR_OK || !verdict.reason[0]))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct enrol_request request = {.device_key = {0}};
    struct err err = {0};
    const struct bytes in = bytes_of(data, size);
    arena_init(&arena, ARENA_MAX_BYTES);
    const enum err_code code = enrol_request_read(in, &arena, &request, &err);
    if (code != ERR_OK && (request.device_key.ptr || err.code != code || !err.text[0]))
        abort();
    if (code == ERR_OK) {
        const struct enrol_grant grant = {.jwt = "a.b.c", .nonce = request.nonce};
        struct bytes sealed;
        if (size > ENROL_MAX_BYTES || request.device_key.len != SIGN_PUBLIC_BYTES ||
            !str_is_token(request.site) || !str_is_token(request.device) ||
            enrol_request_signed_by(in, request.device_key.ptr, &arena, &err) != ERR_OK)
            abort();
        judge(&request);
        if (enrol_request_seal(&request, &grant, &arena, &sealed, &err) != ERR_OK &&
            err.code != ERR_MALFORMED)
            abort();
    }
    arena_fini(&arena);
    return 0;
}
