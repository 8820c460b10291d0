/* SPDX-License-Identifier: Apache-2.0
 *
 * ULID: 48 bits of Unix milliseconds and 80 random bits, 26 characters of Crockford base 32, which
 * sort by time (https://github.com/ulid/spec). Pure: time and randomness are parameters.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { ULID_TEXT = 27, ULID_RANDOM_BYTES = 10 };

/* Writes 26 characters and a NUL. unix_ms below 2^48. */
void ulid_format(int64_t unix_ms, const uint8_t random[static ULID_RANDOM_BYTES],
                 char ret[static ULID_TEXT]);

/* Canonical form only: 26 upper-case characters, the first at most '7'. */
bool ulid_valid(const char *text);

/* The time in it; text must be valid. */
int64_t ulid_unix_ms(const char *text);
