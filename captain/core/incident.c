/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/core/incident.h"

#include <stddef.h>
#include <string.h>

#include "common/base/rng.h"

enum { HOUR_MS = 3600 * 1000 };

static struct incident_kind *kind_at(struct incident_limit *limit, const char *kind)
{
    const uint64_t hash = rng_hash(0, kind, strlen(kind)) | 1;
    struct incident_kind *at = limit->kinds;
    while (at < &limit->kinds[INCIDENT_KINDS_MAX - 1] && at->hash != 0 && at->hash != hash)
        at++;
    at->hash = hash;
    return at;
}

static struct incident_subject *subject_at(struct incident_limit *limit, const char *kind,
                                           const char *subject)
{
    const uint64_t seed = rng_hash(0, kind, strlen(kind) + 1);
    const uint64_t hash = rng_hash(seed, subject, strlen(subject)) | 1;
    struct incident_subject *oldest = limit->subjects;
    for (size_t i = 0; i < INCIDENT_SUBJECTS_MAX; i++) {
        struct incident_subject *at = &limit->subjects[i];
        if (at->hash == hash)
            return at;
        if (at->noted_ms < oldest->noted_ms)
            oldest = at;
    }
    *oldest = (struct incident_subject){.hash = hash};
    return oldest;
}

static void turn_hour(struct incident_limit *limit, int64_t now_ms)
{
    if (limit->hour_ms <= now_ms && now_ms - limit->hour_ms < HOUR_MS)
        return;
    limit->hour_ms = now_ms; /* the next hour, or the clock was set back */
    limit->in_hour = 0;
    for (size_t i = 0; i < INCIDENT_KINDS_MAX; i++)
        limit->kinds[i].in_hour = 0;
}

static bool has_paused(struct incident_subject *at, int64_t now_ms)
{
    const int64_t since_ms = now_ms - at->noted_ms;
    if (at->pause_ms == 0 || since_ms < 0 || since_ms >= 2 * at->pause_ms) {
        at->pause_ms = INCIDENT_PAUSE_MS;
        return true;
    }
    if (since_ms < at->pause_ms)
        return false;
    at->pause_ms *= 2;
    if (at->pause_ms > INCIDENT_PAUSE_MAX_MS)
        at->pause_ms = INCIDENT_PAUSE_MAX_MS;
    return true;
}

bool incident_may(struct incident_limit *limit, const char *kind, const char *subject,
                  int64_t now_ms, uint64_t *ret_suppressed)
{
    struct incident_kind *of_kind = kind_at(limit, kind);
    turn_hour(limit, now_ms);
    /* The bounds of the hour first: who has run into them must not push others out of the table. */
    struct incident_subject *of_subject =
        limit->in_hour < INCIDENT_HOUR_MAX && of_kind->in_hour < INCIDENT_KIND_HOUR_MAX
            ? subject_at(limit, kind, subject)
            : NULL;
    if (!of_subject || !has_paused(of_subject, now_ms)) {
        of_kind->suppressed++;
        return false;
    }
    of_subject->noted_ms = now_ms;
    limit->in_hour++;
    of_kind->in_hour++;
    *ret_suppressed = of_kind->suppressed;
    of_kind->suppressed = 0;
    return true;
}

void incident_missed(struct incident_limit *limit, const char *kind, uint64_t count)
{
    kind_at(limit, kind)->suppressed += count;
}
