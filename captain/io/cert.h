/* SPDX-License-Identifier: Apache-2.0
 *
 * What a certificate (X.509, PEM) says of its life; by OpenSSL.
 */
#pragma once

#include "common/base/arena.h"
#include "common/base/str.h"

enum { CERT_MAX_BYTES = 64 << 10 };

struct cert_dates {
    int64_t from_ms, until_ms; /* Unix */
};

/* Of the first certificate in the file. ERR_NOT_FOUND, ERR_MALFORMED. */
MUST_USE enum err_code cert_dates_read(const char *path, struct arena *arena,
                                       struct cert_dates *ret, struct err *err);
