/* SPDX-License-Identifier: Apache-2.0
 *
 * When the bus tries to connect again, and which failures are worth telling. Part of the bus; pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/rng.h"

struct bus_retry {
    struct rng rng;
    int64_t first_ms, max_ms;
    unsigned attempt; /* failed in a row */
    int64_t told_ms;
    char told[ERR_TEXT_MAX];
};

void bus_retry_init(struct bus_retry *retry, uint64_t seed, int64_t first_ms, int64_t max_ms);
/* How long to wait before the next attempt, with full jitter. connected_for_ms: how long the
 * session that ended had lasted; 0: none was made. One of at least 5 s has worked: the back-off
 * starts anew. */
int64_t bus_retry_delay_ms(struct bus_retry *retry, int64_t connected_for_ms);
/* Whether to tell this failure: it is another than the last one told, or that was a minute ago. */
bool bus_retry_is_news(struct bus_retry *retry, const char *why, int64_t now_ms);
/* The next failure is news whatever it is. */
void bus_retry_forget(struct bus_retry *retry);
