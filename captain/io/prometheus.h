/* SPDX-License-Identifier: Apache-2.0
 *
 * The HTTP API of Prometheus (/api/v1/query), as text: what is asked, and what an answer says.
 */
#pragma once

#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/str.h"

enum { PROMETHEUS_ANSWER_MAX_BYTES = 256 << 10, PROMETHEUS_LOOKBACK_MAX_MS = 5 * 60 * 1000 };

/* In the arena; NULL when it is full. url: of the server, with the path it may lie under. Samples
 * older than max_age_ms shall not count, but an answer bears the time of the question and not that of
 * the sample: so the server is asked to look back no further (lookback_delta). Servers that do not
 * know it, as 2.42, look back their own five minutes. */
const char *prometheus_url(const char *url, const char *query, int64_t max_age_ms,
                           struct arena *arena);

struct prometheus_answer {
    bool empty; /* no series: no value */
    double value;
    int64_t time_ms; /* Unix */
};
/* A scalar, or a vector of at most one series. ERR_MALFORMED: what is no such answer;
 * ERR_CONFLICT: more than one series; ERR_FAILED: the server says that the query failed, and why. */
MUST_USE enum err_code prometheus_read(struct bytes text, struct prometheus_answer *ret,
                                       struct err *err);
