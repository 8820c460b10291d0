/* SPDX-License-Identifier: Apache-2.0
 *
 * Base32 (RFC 4648) without padding. Pure.
 */
#pragma once

#include <stdbool.h>

#include "common/base/str.h"

/* Characters for len bytes, without a NUL. */
#define BASE32_DIGITS(len) (((len)*8 + 4) / 5)

/* ret takes BASE32_DIGITS(in.len) + 1 bytes. */
void base32_encode(struct bytes in, char *ret);

/* Exactly ret_len bytes from exactly BASE32_DIGITS(ret_len) characters of A-Z and 2-7, and no bits set
 * behind them: each value has one text. ret holds rubbish when it is false. */
bool base32_decode(const char *text, uint8_t *ret, size_t ret_len);
