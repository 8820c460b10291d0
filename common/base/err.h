/* SPDX-License-Identifier: Apache-2.0
 *
 * An error is a code and a sentence. The struct belongs to the caller, needs no heap, is set once
 * where the failure happens, wrapped with context on the way up and logged once at the top.
 * Pure: no clock, no I/O.
 */
#pragma once

#include <stdarg.h>

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

enum { ERR_TEXT_MAX = 512, ERR_HINT_MAX = 256 };

/* Values 10 to 22 are what a device reports and what `captain-agent verify` exits with. They are
 * part of the protocol: never renumbered. */
enum err_code {
    ERR_OK = 0,
    ERR_FAILED = 1,     /* anything without a better code */
    ERR_USAGE = 2,      /* the caller's words are off; nothing was sent or changed */
    ERR_NOT_FOUND = 3,  /* no such object */
    ERR_DENIED = 4,     /* not authorised */
    ERR_CONFLICT = 5,   /* somebody was faster, a lock is held; the text names the holder */
    ERR_NO_CONTACT = 8, /* peer or bus out of reach; try again later */

    ERR_BAD_SIGNATURE = 10,
    ERR_THRESHOLD = 11, /* too few unique keys signed */
    ERR_EXPIRED = 12,
    ERR_ROLLBACK = 13, /* older than what was already seen, or below a floor */
    ERR_HASH = 14,
    ERR_SIZE = 15,
    ERR_WRONG_TARGET = 16,
    ERR_REVOKED = 17,
    ERR_MALFORMED =
        18, /* foreign bytes or a file that break a rule; the text says which and where */
    ERR_TOO_SLOW = 19,
    ERR_ROOT_CHAIN = 20,
    ERR_NO_SPACE = 21,
    ERR_UNHEALTHY = 22, /* rolled back */

    ERR_FULL = 30, /* a bounded queue or table is full; the text names the bound */
    ERR_IO = 31,   /* a system call failed; sys holds errno */
    ERR_TIMEOUT = 124,
    ERR_INTERRUPTED = 130, /* the user stopped it */
};

struct err {
    enum err_code code;
    int sys;                 /* errno, or 0 */
    char text[ERR_TEXT_MAX]; /* one sentence, lower case, no full stop */
    char hint[ERR_HINT_MAX]; /* what to do about it, or "" */
};

/* Each sets *err (which may be NULL: then only the code matters) and returns the code. */
enum err_code err_set(struct err *err, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* ERR_IO (ERR_NO_SPACE for ENOSPC and EDQUOT) with ": strerror" appended. */
enum err_code err_sys(struct err *err, int sys_errno, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Puts "context: " before the text; returns the unchanged code. */
enum err_code err_wrap(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Sets the hint; returns the unchanged code. */
enum err_code err_hint(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Stable lower-case name of a code ("bad_signature"); "unknown" for a number that is none. */
const char *err_name(enum err_code code);

#if defined(__clang_analyzer__) && !defined(ERR_HIDDEN)
/* The analyzer looks at one file at a time and cannot know that these never return ERR_OK. */
static inline enum err_code err_not_ok(enum err_code code)
{
    if (code == ERR_OK)
        __builtin_unreachable();
    return code;
}
#define err_set(...) err_not_ok(err_set(__VA_ARGS__))
#define err_sys(...) err_not_ok(err_sys(__VA_ARGS__))
#define err_wrap(...) err_not_ok(err_wrap(__VA_ARGS__))
#define err_hint(...) err_not_ok(err_hint(__VA_ARGS__))
#endif
