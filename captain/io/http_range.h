/* SPDX-License-Identifier: Apache-2.0
 *
 * The conditional and range headers of RFC 9110 as far as an immutable store needs them: one range
 * of bytes, strong tags. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum http_range_kind {
    HTTP_RANGE_WHOLE, /* no header, or one that RFC 9110 14.2 lets a server ignore */
    HTTP_RANGE_PART,
    HTTP_RANGE_IMPOSSIBLE, /* 416 */
};
struct http_range {
    enum http_range_kind kind;
    uint64_t offset;
    uint64_t length;
};

/* header: the value of Range, or NULL. "bytes=a-b", "bytes=a-" and "bytes=-n" give a part; several
 * ranges, other units and what cannot be read give the whole. */
void http_range_parse(const char *header, uint64_t size, struct http_range *ret);

/* Whether the value of If-None-Match (or NULL) is "*" or lists etag (quoted); weak tags compare as
 * strong. */
bool http_etag_listed(const char *header, const char *etag);
