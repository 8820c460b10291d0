/* SPDX-License-Identifier: Apache-2.0
 *
 * Arbitrary text as a user's JWT, as a public nkey and as a seed. What is taken must be written again
 * as it was: there is one text for each value. The corpus holds JWTs signed with RFC 8032's first key.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/nkey.h"

enum { ARENA_BYTES = 1 << 20 };

static const enum nkey_kind kinds[] = {NKEY_OPERATOR, NKEY_ACCOUNT, NKEY_USER};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_jwt(const char *text)
{
    struct arena arena;
    struct nkey_user user = {0};
    struct err err = {0};
    arena_init(&arena, ARENA_BYTES);
    enum err_code code = nkey_read_user(text, &arena, &user, &err);
    if (code && (user.name || err.code != code || !err.text[0]))
        abort();
    if (!code && (!user.name || user.issuer[0] != 'A' || user.subject[0] != 'U' ||
                  user.issued_s < 0 || user.expires_s < 0))
        abort();
    arena_fini(&arena);
}

static void check_keys(const char *text, enum nkey_kind kind)
{
    struct sign_key key;
    uint8_t public_key[SIGN_PUBLIC_BYTES];
    char again[NKEY_SEED_TEXT];
    if (!nkey_parse_public(kind, text, public_key, NULL)) {
        nkey_public_text(kind, public_key, again);
        if (strcmp(again, text) != 0)
            abort();
    }
    if (!nkey_parse_seed(kind, text, &key, NULL)) {
        nkey_seed_text(kind, key.seed, again);
        if (strcmp(again, text) != 0)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mem_new(size + 1, 1);
    if (size)
        memcpy(text, data, size);
    check_jwt(text);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        check_keys(text, kinds[i]);
    mem_free(text);
    return 0;
}
