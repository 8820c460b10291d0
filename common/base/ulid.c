/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/ulid.h"

#include <stddef.h>
#include <string.h>

enum { TIME_CHARS = 10, TEXT_CHARS = ULID_TEXT - 1, CHAR_BITS = 5 };

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void ulid_format(int64_t unix_ms, const uint8_t random[static ULID_RANDOM_BYTES],
                 char ret[static ULID_TEXT])
{
    uint64_t time = (uint64_t)unix_ms & ((UINT64_C(1) << 48) - 1);
    for (int i = TIME_CHARS - 1; i >= 0; i--) {
        ret[i] = alphabet[time & 31];
        time >>= CHAR_BITS;
    }
    unsigned pending = 0;
    unsigned bits = 0;
    int at = TIME_CHARS;
    for (int i = 0; i < ULID_RANDOM_BYTES; i++) {
        pending = pending << 8 | random[i];
        bits += 8;
        while (bits >= CHAR_BITS) {
            bits -= CHAR_BITS;
            ret[at++] = alphabet[pending >> bits & 31];
        }
        pending &= (1u << bits) - 1;
    }
    ret[at] = '\0';
}

bool ulid_valid(const char *text)
{
    if (!text || strlen(text) != TEXT_CHARS || text[0] > '7')
        return false;
    return strspn(text, alphabet) == TEXT_CHARS;
}

int64_t ulid_unix_ms(const char *text)
{
    uint64_t time = 0;
    for (int i = 0; i < TIME_CHARS; i++) {
        const char *digit = strchr(alphabet, text[i]);
        time = time << CHAR_BITS | (uint64_t)(digit ? digit - alphabet : 0);
    }
    return (int64_t)time;
}
