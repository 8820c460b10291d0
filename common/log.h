/* SPDX-License-Identifier: Apache-2.0
 *
 * The log of a process for people: to the journal with fields when stderr is the journal (systemd sets
 * JOURNAL_STREAM), else plain lines "2026-11-21T19:42:45.123Z info agent: text device=d1 release=1.1".
 * Never carries a secret. Not the decision log (captain/decision.h). Leaves are silent: only shells and
 * main programs log. Callable from any thread.
 */
#pragma once

#include "common/base/err.h"

enum log_level {
    LOG_LEVEL_ERROR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_INFO = 6,
    LOG_LEVEL_DEBUG = 7
};

/* One journal field; the key is upper case with underscores (DEVICE_ID, APP, RELEASE, ROLLOUT_ID). */
struct log_field {
    const char *key;
    const char *value;
};

enum { LOG_FIELDS_MAX = 8 };

/* program is borrowed for the life of the process; lines above level are dropped. */
void log_open(const char *program, enum log_level level);

/* "error", "warning", "info", "debug"; ERR_USAGE otherwise. */
MUST_USE enum err_code log_parse_level(const char *name, enum log_level *ret);

void log_write(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* fields ends with a {NULL, NULL}; at most LOG_FIELDS_MAX. */
void log_with(enum log_level level, const struct log_field *fields, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* Writes an error at the top: text and hint. */
void log_err(const char *what, const struct err *err);
