/* SPDX-License-Identifier: Apache-2.0
 *
 * Text and bytes: views, checked copies, numbers, names. No function truncates silently. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

/* A view of bytes that somebody else owns. */
struct bytes {
    const uint8_t *ptr;
    size_t len;
};

static inline struct bytes bytes_of(const void *ptr, size_t len)
{
    return (struct bytes){ptr, len};
}

bool bytes_equal(struct bytes a, struct bytes b);

enum {
    DIGEST_BYTES = 32,      /* SHA-256 */
    DIGEST_HEX = 65,        /* 64 digits and the NUL */
    TOKEN_MAX = 64,         /* a subject token: device, site, app, channel, operator */
    VERSION_MAX = 64,       /* a release version */
    CHANNEL_NAME_MAX = 130, /* "app/channel" with NUL */
    RELEASE_NAME_MAX = 130, /* "app@version" with NUL */
};

/* A text that equals. NULL equals only NULL. */
bool str_equal(const char *a, const char *b);

/* One NATS subject token: 1 to 64 of [A-Za-z0-9_-]. */
bool str_is_token(const char *text);

/* A release version: 1 to 64 of [A-Za-z0-9._+~-], starting with a letter or digit. */
bool str_is_version(const char *text);

/* A path that stays inside: relative, no empty, "." or ".." part, no control characters, at most
 * 1024 bytes. */
bool str_is_inner_path(const char *text);
/* A symbolic link's target that stays inside: the link lies depth folders below the top, every folder
 * on the way to it is a real one. It may go up only at its beginning: a ".." behind a name could climb
 * out of what a link points to. */
bool str_is_inner_link(unsigned depth, const char *target);

/* Copies with its NUL; ERR_SIZE when it does not fit (ret is untouched). */
MUST_USE enum err_code str_copy(char *ret, size_t ret_size, const char *text);

/* "app/channel" or "app@version" (sep '/' or '@') into two buffers of at least TOKEN_MAX + 1;
 * ERR_MALFORMED with a sentence when it is not of that form. */
MUST_USE enum err_code str_split_pair(const char *text, char sep, char *ret_left, char *ret_right,
                                      struct err *err);

/* Lower-case hexadecimal. ret_hex takes 2 * len + 1 bytes. */
void str_hex(struct bytes in, char *ret_hex);
/* Exactly ret_len bytes from 2 * ret_len digits, either case. */
MUST_USE enum err_code str_unhex(const char *hex, uint8_t *ret, size_t ret_len);

/* The whole text is a decimal number without sign, at most max. */
MUST_USE enum err_code str_u64(const char *text, uint64_t max, uint64_t *ret);

/* "250ms", "30s", "5m", "1h30m", "7d", units falling; a bare number is refused. ERR_MALFORMED otherwise. */
MUST_USE enum err_code str_duration_ms(const char *text, int64_t *ret_ms);
/* "4096", "64K", "10M", "2G", "1T" (1024). ERR_MALFORMED otherwise. */
MUST_USE enum err_code str_size_bytes(const char *text, uint64_t *ret_bytes);

/* For people: "1m30s", "250ms" (the two largest units, cut off below); "1.5 MiB". ret takes at least
 * 32 bytes. */
void str_format_duration(int64_t ms, char ret[static 32]);
void str_format_size(uint64_t size_bytes, char ret[static 32]);
/* How a process ended, by waitpid's status: "exit code 3", "killed by signal 9". */
void str_format_exit(int wait_status, char ret[static 32]);
/* RFC 3339 in UTC, with milliseconds: "2026-11-21T19:42:45.123Z". ret takes at least 32 bytes. */
void str_format_time(int64_t unix_ms, char ret[static 32]);

/* Levenshtein distance, for "did you mean"; texts over 63 bytes count as far (64). */
unsigned str_distance(const char *a, const char *b);
