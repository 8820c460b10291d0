/* SPDX-License-Identifier: Apache-2.0
 *
 * A join token as text: "captain-<ULID>-<64 hexadecimal digits>", id and seed of an Ed25519 key. Captain
 * knows the id and the public key only; who has the text can sign for it. Pure.
 */
#pragma once

#include "common/base/ulid.h"
#include "common/sign.h"

enum { JOIN_TOKEN_TEXT = 8 + 26 + 1 + 2 * SIGN_SEED_BYTES + 1 }; /* with its NUL */

struct join_token {
    char id[ULID_TEXT];
    struct sign_key key;
};

void join_token_text(const struct join_token *token, char ret[static JOIN_TOKEN_TEXT]);
/* ERR_MALFORMED with a hint; the sentence never repeats the text. ret is untouched then. */
MUST_USE enum err_code join_token_parse(const char *text, struct join_token *ret, struct err *err);
/* Overwrites the seed. */
void join_token_wipe(struct join_token *token);
