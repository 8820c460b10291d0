/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/base32.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

void base32_encode(struct bytes in, char *ret)
{
    uint32_t bits = 0;
    unsigned have = 0;
    for (size_t i = 0; i < in.len; i++) {
        bits = (bits << 8 | in.ptr[i]) & 0xfff;
        for (have += 8; have >= 5; have -= 5)
            *ret++ = alphabet[bits >> (have - 5) & 31];
    }
    if (have > 0)
        *ret++ = alphabet[bits << (5 - have) & 31];
    *ret = '\0';
}

bool base32_decode(const char *text, uint8_t *ret, size_t ret_len)
{
    uint32_t bits = 0;
    unsigned have = 0;
    size_t digits = BASE32_DIGITS(ret_len);
    if (strnlen(text, digits + 1) != digits)
        return false;
    for (size_t i = 0; i < digits; i++) {
        const char *digit = strchr(alphabet, text[i]);
        if (!digit)
            return false;
        bits = (bits << 5 | (uint32_t)(digit - alphabet)) & 0xfff;
        have += 5;
        if (have >= 8) {
            have -= 8;
            *ret++ = (uint8_t)(bits >> have & 0xff);
        }
    }
    return (bits & ((1u << have) - 1)) == 0;
}
