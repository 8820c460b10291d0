/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/http_range.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

/* Digits at *text up to a value that fits; moves *text behind them. False: no digit, or too large.
 */
static bool take_number(const char **text, uint64_t *ret)
{
    uint64_t value = 0;
    const char *p = *text;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (value > (UINT64_MAX - 9) / 10)
            return false;
        value = value * 10 + (uint64_t)(*p - '0');
    }
    if (p == *text)
        return false;
    *text = p;
    *ret = value;
    return true;
}

static void set_part(struct http_range *ret, uint64_t first, uint64_t last, uint64_t size)
{
    if (first >= size) {
        ret->kind = HTTP_RANGE_IMPOSSIBLE;
        return;
    }
    if (last >= size)
        last = size - 1;
    *ret = (struct http_range){HTTP_RANGE_PART, first, last - first + 1};
}

void http_range_parse(const char *header, uint64_t size, struct http_range *ret)
{
    static const char unit[] = "bytes=";
    uint64_t first, last = UINT64_MAX;
    *ret = (struct http_range){HTTP_RANGE_WHOLE, 0, size};
    if (!header || strncasecmp(header, unit, sizeof unit - 1) != 0)
        return;
    const char *p = header + sizeof unit - 1;
    p += strspn(p, " \t");
    const bool suffix = *p == '-';
    if (suffix) {
        p++;
        if (!take_number(&p, &last))
            return;
        first = last == 0 ? size : last < size ? size - last : 0;
        last = UINT64_MAX;
    } else {
        if (!take_number(&p, &first) || *p++ != '-')
            return;
        if (*p >= '0' && *p <= '9' && (!take_number(&p, &last) || last < first))
            return;
    }
    if (p[strspn(p, " \t")] == '\0')
        set_part(ret, first, last, size);
}

bool http_etag_listed(const char *header, const char *etag)
{
    const size_t etag_len = strlen(etag);
    for (const char *p = header; p && *p;) {
        p += strspn(p, " \t,");
        const size_t len = strcspn(p, ",");
        size_t end = len;
        while (end > 0 && (p[end - 1] == ' ' || p[end - 1] == '\t'))
            end--;
        const size_t weak = strncmp(p, "W/", 2) == 0 ? 2 : 0;
        if ((end == 1 && *p == '*') ||
            (end == etag_len + weak && strncmp(p + weak, etag, etag_len) == 0))
            return true;
        p += len;
    }
    return false;
}
