// SPDX-License-Identifier: Apache-2.0
#include "common/join_token.h"

#include <sodium.h>
#include <string.h>

static const char PREFIX[] = "captain-";
enum { ID_AT = sizeof PREFIX - 1, DASH_AT = ID_AT + ULID_TEXT - 1, SEED_AT = DASH_AT + 1 };

void join_token_text(const struct join_token *token, char ret[static JOIN_TOKEN_TEXT])
{
    memcpy(ret, PREFIX, ID_AT);
    memcpy(ret + ID_AT, token->id, ULID_TEXT - 1);
    ret[DASH_AT] = '-';
    str_hex(bytes_of(token->key.seed, SIGN_SEED_BYTES), ret + SEED_AT);
}

static enum err_code refuse(struct err *err, const char *what)
{
    (void)err_set(err, ERR_MALFORMED, "this is no join token: %s", what);
    return err_hint(err, "copy all of it: captain-, 26 characters, a dash, 64 digits");
}

enum err_code join_token_parse(const char *text, struct join_token *ret, struct err *err)
{
    struct join_token token;
    uint8_t seed[SIGN_SEED_BYTES];
    if (strnlen(text, JOIN_TOKEN_TEXT) != JOIN_TOKEN_TEXT - 1)
        return refuse(err, "it is too short or too long");
    if (memcmp(text, PREFIX, ID_AT) != 0 || text[DASH_AT] != '-')
        return refuse(err, "its form is another");
    memcpy(token.id, text + ID_AT, ULID_TEXT - 1);
    token.id[ULID_TEXT - 1] = '\0';
    if (!ulid_valid(token.id))
        return refuse(err, "its id is none");
    if (str_unhex(text + SEED_AT, seed, sizeof seed) != ERR_OK) {
        sodium_memzero(seed, sizeof seed);
        return refuse(err, "a digit is none");
    }
    sign_key_from_seed(seed, &token.key);
    sodium_memzero(seed, sizeof seed);
    *ret = token;
    join_token_wipe(&token);
    return ERR_OK;
}

void join_token_wipe(struct join_token *token)
{
    sign_key_wipe(&token->key);
}
