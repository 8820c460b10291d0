/* SPDX-License-Identifier: Apache-2.0
 *
 * A join token from nothing, for `captain token new` and `captain dev --secure`.
 */
#pragma once

#include "captain/cli/client.h"
#include "common/join_token.h"

struct token_made {
    struct token_info info;     /* in the arena */
    char text[JOIN_TOKEN_TEXT]; /* the secret half: sodium_memzero when it has been given away */
};

/* Makes the key pair, tells captain its public half and what else request says. */
MUST_USE enum err_code token_make(struct client *client, const struct token_new *request,
                                  struct arena *arena, struct token_made *ret, struct err *err);
