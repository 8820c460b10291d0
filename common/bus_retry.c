/* SPDX-License-Identifier: Apache-2.0 */
#include "common/bus_retry.h"

#include <stdio.h>
#include <string.h>

enum { BASE_MS = 250, WORKED_MS = 5000, SAME_REASON_MS = 60000 };

void bus_retry_init(struct bus_retry *retry, uint64_t seed, int64_t first_ms, int64_t max_ms)
{
    *retry = (struct bus_retry){.first_ms = first_ms, .max_ms = max_ms};
    rng_seed(&retry->rng, seed);
}

int64_t bus_retry_delay_ms(struct bus_retry *retry, int64_t connected_for_ms)
{
    if (connected_for_ms >= WORKED_MS) {
        retry->attempt = 0;
        return (int64_t)rng_below(&retry->rng, (uint64_t)retry->first_ms);
    }
    int64_t cap_ms = BASE_MS;
    for (unsigned i = 0; i < retry->attempt && cap_ms < retry->max_ms; i++) {
        cap_ms *= 2;
    }
    retry->attempt++;
    cap_ms = cap_ms < retry->max_ms ? cap_ms : retry->max_ms;
    return (int64_t)rng_below(&retry->rng, (uint64_t)cap_ms + 1);
}

bool bus_retry_is_news(struct bus_retry *retry, const char *why, int64_t now_ms)
{
    if (strcmp(why, retry->told) == 0 && now_ms < retry->told_ms + SAME_REASON_MS) {
        return false;
    }
    retry->told_ms = now_ms;
    (void)snprintf(retry->told, sizeof retry->told, "%s", why);
    return true;
}

void bus_retry_forget(struct bus_retry *retry)
{
    retry->told[0] = '\0';
}
