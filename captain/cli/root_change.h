/* SPDX-License-Identifier: Apache-2.0
 *
 * The next root from the current one and what the flags of `captain root rotate` say, and the
 * differences of two roots for whoever is asked to sign.
 */
#pragma once

#include "captain/cli/root_file.h"

/* Version + 1, expiring --ttl (a year) from now; checked (root_document_check). Everything lives in
 * the invocation's arena. Asks captain only for --revoke APP@VERSION. ERR_USAGE for what cannot be. */
MUST_USE enum err_code root_change_apply(const struct invocation *invocation,
                                         const struct root *current, int64_t now_ms,
                                         struct root *ret, struct err *err);

/* One line for each difference. */
void root_change_print(const struct root *old, const struct root *next,
                       const struct keyring *keyring, struct arena *arena);
