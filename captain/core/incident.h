/* SPDX-License-Identifier: Apache-2.0
 *
 * PURE: which incidents are worth an entry of the log, which never forgets and which a stranger must not
 * be able to fill: one a minute for each kind and subject, the pause doubling up to an hour while it
 * goes on; 30 of one kind and 60 in all an hour. The others are counted, and the next one noted of that
 * kind says how many. Time is a parameter (Unix ms).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
    INCIDENT_PAUSE_MS = 60 * 1000,
    INCIDENT_PAUSE_MAX_MS = 3600 * 1000,
    INCIDENT_HOUR_MAX = 60,
    INCIDENT_KIND_HOUR_MAX = 30,
    INCIDENT_KINDS_MAX = 8,      /* one beyond is treated as the last of them */
    INCIDENT_SUBJECTS_MAX = 256, /* remembered; the one noted longest ago makes room */
};

struct incident_kind {
    uint64_t hash; /* 0: free */
    uint64_t suppressed;
    uint32_t in_hour;
};
struct incident_subject {
    uint64_t hash; /* of kind and subject; 0: free */
    int64_t noted_ms;
    int64_t pause_ms;
};
/* Zeroed is ready. */
struct incident_limit {
    struct incident_kind kinds[INCIDENT_KINDS_MAX];
    struct incident_subject subjects[INCIDENT_SUBJECTS_MAX];
    int64_t hour_ms; /* when the hour at hand began */
    uint32_t in_hour;
};

/* Whether to note it; *ret_suppressed: how many of the kind were not since the last one. */
bool incident_may(struct incident_limit *limit, const char *kind, const char *subject,
                  int64_t now_ms, uint64_t *ret_suppressed);
/* One that could not be noted after all: it is counted for the next. */
void incident_missed(struct incident_limit *limit, const char *kind, uint64_t count);
