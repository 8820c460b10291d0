/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/codec_table.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* A set of ASCII characters: bit c of word c / 64. */
struct ascii {
    uint64_t word[2];
};
#define BIT(c) (UINT64_C(1) << ((c) % 64))
#define DIGITS (UINT64_C(0x3ff) << '0')
#define UPPER (UINT64_C(0x3ffffff) << ('A' - 64))
#define LOWER (UINT64_C(0x3ffffff) << ('a' - 64))

static const struct ascii token_set = {{DIGITS | BIT('-'), UPPER | LOWER | BIT('_')}};
static const struct ascii version_set = {
    {DIGITS | BIT('-') | BIT('.') | BIT('+'), UPPER | LOWER | BIT('_') | BIT('~')}};
static const struct ascii hex_set = {{DIGITS, UINT64_C(0x3f) << ('a' - 64)}};
static const struct ascii ulid_set = {
    {DIGITS, UPPER & ~(BIT('I') | BIT('L') | BIT('O') | BIT('U'))}};
static const struct ascii graph_set = {{~UINT64_C(0) << '!', ~BIT(127)}};

static bool all_in(const struct ascii *set, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 128 || !(set->word[c / 64] & BIT(c)))
            return false;
    }
    return true;
}

/* Length of the UTF-8 sequence at p (RFC 3629: no overlong form, no surrogate, nothing above
 * U+10FFFF) that is not a control character; 0 if there is none. */
static size_t utf8_step(const unsigned char *p, size_t left)
{
    if (p[0] >= 0x20 && p[0] < 0x7f)
        return 1;
    size_t len = p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
    if (!len || len > left)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool bad = (p[0] == 0xc2 && p[1] < 0xa0)     /* C1 control characters */
               || (p[0] == 0xe0 && p[1] < 0xa0)  /* overlong */
               || (p[0] == 0xed && p[1] > 0x9f)  /* surrogates */
               || (p[0] == 0xf0 && p[1] < 0x90)  /* overlong */
               || (p[0] == 0xf4 && p[1] > 0x8f); /* above U+10FFFF */
    return bad ? 0 : len;
}

static bool is_utf8(const char *text, size_t len, bool breaks)
{
    const unsigned char *p = (const unsigned char *)text;
    for (size_t i = 0; i < len;) {
        size_t step = breaks && (p[i] == '\n' || p[i] == '\t') ? 1 : utf8_step(p + i, len - i);
        if (!step)
            return false;
        i += step;
    }
    return true;
}

static bool is_version(const char *text, size_t len)
{
    return all_in(&version_set, text, len) && !strchr("._+~-", text[0]);
}

/* len first: a NUL inside must not hide what comes after it. */
static bool is_path(const char *text, size_t len)
{
    return is_utf8(text, len, false) && (str_equal(text, ".") || str_is_inner_path(text));
}

/* What a text of this class must be; NULL if it is. len is over 0. */
static const char *class_breach(const struct codec_row *row, const char *text, size_t len)
{
    switch (row->class) {
    case CLASS_TEXT:
        return is_utf8(text, len, true) ? NULL : "UTF-8 without control characters";
    case CLASS_LINE:
        return is_utf8(text, len, false) ? NULL : "one line of UTF-8 without control characters";
    case CLASS_GRAPH:
        return all_in(&graph_set, text, len) ? NULL : "printable ASCII without blanks";
    case CLASS_TOKEN:
        return all_in(&token_set, text, len) ? NULL : "letters, digits, _ and -";
    case CLASS_VERSION:
        return is_version(text, len) ? NULL : "letters, digits and . _ + ~ -";
    case CLASS_PATH:
        return is_path(text, len) ? NULL : "a path that stays inside its folder";
    case CLASS_HEX:
        return len == row->max && all_in(&hex_set, text, len) ? NULL : "lower-case hexadecimal";
    case CLASS_COMMIT:
        return (len == 40 || len == 64) && all_in(&hex_set, text, len)
                   ? NULL
                   : "40 or 64 hexadecimal digits";
    case CLASS_ULID:
        return len == ULID_LEN && text[0] <= '7' && all_in(&ulid_set, text, len) ? NULL : "a ULID";
    }
    return "of a known class";
}

static size_t path_write(const struct codec_at *at, char *ret, size_t size)
{
    if (!at)
        return 0;
    size_t used = path_write(at->up, ret, size);
    if (!at->up)
        used += (size_t)snprintf(ret, size, "%s", at->type->name);
    if (at->row && used < size)
        used += (size_t)snprintf(ret + used, size - used, ".%s", at->row->name);
    if (at->row && at->index != CODEC_NO_INDEX && used < size)
        used += (size_t)snprintf(ret + used, size - used, "[%zu]", at->index);
    return used;
}

enum err_code codec_fail(const struct codec_at *at, struct err *err, enum err_code code,
                         const char *fmt, ...)
{
    if (!err)
        return code;
    char path[256];
    char text[ERR_TEXT_MAX - sizeof path];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    (void)path_write(at, path, sizeof path);
    return err_set(err, code, "%s: %s", path, text);
}

enum err_code codec_check_text(const struct codec_at *at, const char *text, size_t len,
                               struct err *err)
{
    const struct codec_row *row = at->row;
    if (!len)
        return row->required ? codec_fail(at, err, ERR_MALFORMED, "must not be empty") : ERR_OK;
    if (len > row->max)
        return codec_fail(at, err, ERR_SIZE, "%zu bytes, at most %" PRIu64, len, row->max);
    const char *breach = class_breach(row, text, len);
    return breach ? codec_fail(at, err, ERR_MALFORMED, "must be %s", breach) : ERR_OK;
}

enum err_code codec_check_bytes(const struct codec_at *at, size_t len, struct err *err)
{
    const struct codec_row *row = at->row;
    if (!len)
        return row->required ? codec_fail(at, err, ERR_MALFORMED, "must not be empty") : ERR_OK;
    if (len >= (uint64_t)row->min && len <= row->max)
        return ERR_OK;
    if ((uint64_t)row->min == row->max)
        return codec_fail(at, err, ERR_MALFORMED, "%zu bytes, must be %" PRIu64, len, row->max);
    return codec_fail(at, err, ERR_SIZE, "%zu bytes, at most %" PRIu64, len, row->max);
}

enum err_code codec_check_count(const struct codec_at *at, size_t count, struct err *err)
{
    const struct codec_row *row = at->row;
    if (count < row->count_min)
        return codec_fail(at, err, ERR_MALFORMED, "%zu of them, at least %u", count,
                          row->count_min);
    if (count > row->count_max)
        return codec_fail(at, err, ERR_SIZE, "%zu of them, at most %u", count, row->count_max);
    return ERR_OK;
}

static enum err_code check_signed(const struct codec_at *at, int64_t value, struct err *err)
{
    const struct codec_row *row = at->row;
    if (value >= row->min && (value < 0 || (uint64_t)value <= row->max))
        return ERR_OK;
    return codec_fail(at, err, ERR_MALFORMED, "%" PRId64 " is not from %" PRId64 " to %" PRIu64,
                      value, row->min, row->max);
}

static enum err_code check_unsigned(const struct codec_at *at, uint64_t value, struct err *err)
{
    const struct codec_row *row = at->row;
    if (value >= (uint64_t)row->min && value <= row->max)
        return ERR_OK;
    return codec_fail(at, err, ERR_MALFORMED, "%" PRIu64 " is not from %" PRId64 " to %" PRIu64,
                      value, row->min, row->max);
}

enum err_code codec_check_number(const struct codec_at *at, const void *member, struct err *err)
{
    switch (at->row->kind) {
    case CODEC_U32:
        return check_unsigned(at, *(const uint32_t *)member, err);
    case CODEC_U64:
        return check_unsigned(at, *(const uint64_t *)member, err);
    case CODEC_I32:
    case CODEC_ENUM:
        return check_signed(at, *(const int32_t *)member, err);
    case CODEC_I64:
        return check_signed(at, *(const int64_t *)member, err);
    case CODEC_DOUBLE:
        return isfinite(*(const double *)member)
                   ? ERR_OK
                   : codec_fail(at, err, ERR_MALFORMED, "must be a finite number");
    default:
        return ERR_OK;
    }
}
