/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads the machine's numbers (/proc, statvfs, thermal zones) and an app's own numbers from a file.
 * Cheap: a handful of small reads, nothing kept open.
 */
#pragma once

#include "common/base/arena.h"
#include "agent/io/app_user.h"
#include "proto/messages.h"

enum { TELEMETRY_METRICS_MAX = 64, TELEMETRY_APP_MAX_BYTES = 64 << 10 };

struct telemetry_reader {
    uint64_t cpu_busy, cpu_total; /* of the last reading */
};

/* Fills the machine's part; what cannot be read stays 0. disk_path: any path on the file system. */
void telemetry_read(struct telemetry_reader *reader, const char *disk_path, int64_t now_ms,
                    struct telemetry *ret);

/* The app's file: a flat JSON object of numbers, at most 64 KiB and 64 of them. ERR_NOT_FOUND when
 * there is none, ERR_MALFORMED saying where. ret's array is in the arena. */
MUST_USE enum err_code telemetry_read_app(const char *path, const struct app_user *user,
                                          struct arena *arena, const struct metric **ret,
                                          size_t *ret_len, struct err *err);

/* The parsing alone; name stands for the path in errors. */
MUST_USE enum err_code telemetry_parse_app(const char *name, struct bytes text, struct arena *arena,
                                           const struct metric **ret, size_t *ret_len,
                                           struct err *err);
