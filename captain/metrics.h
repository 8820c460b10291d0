/* SPDX-License-Identifier: Apache-2.0
 *
 * Measures what the metrics of live rollouts ask for (their sources: captain/core/metric.h), and
 * hands each measurement to its rollout. Decides nothing: limits and counts are gate `metric`'s.
 *
 * When: every every_ms of a metric, from the first device of the wave that is healthy on the target
 * (what was measured before says nothing of the release) until the wave ends. While a gate holds
 * the rollout, only values are handed on: errors and gaps could not change anything.
 *
 * Fleet (telemetry, app): of each device the newest telemetry, as captain received it. Canary is who
 * is on the target now, control who was not offered it. A device counts with what it told since it
 * came to its side, and within max_age; a measurement is as old as the newest number in it, or the
 * older side's. As long as a side has told nothing yet in this wave there is no measurement, which
 * the metric's deadline bounds; from the first one on, a side without numbers is an empty one.
 * Where the policy's compare.no_control lets the compare gate do without control devices, a metric
 * that compares does with what control measured last.
 *
 * Prometheus: by captain-fetch, 10 s at most, into a file in `folder`. No series is empty; a server
 * that does not answer, refuses the query, or gives more than one series is an error.
 *
 * Memory: METRICS_SERIES_MAX series of 32 bytes for each device, only while a live rollout asks for
 * them; 16 bytes for each member. A message costs O(series); members are looked at when a metric is
 * due.
 */
#pragma once

#include "captain/core/rollout.h"
#include "captain/rollouts.h"
#include "common/loop.h"
#include "proto/messages.h"

enum { METRICS_SERIES_MAX = 64, METRICS_FETCH_MS = 10000 };

struct metrics;

/* The rollouts, as this module needs them: as rollouts_live_at and rollouts_metric. */
struct metrics_rollouts {
    bool (*live_at)(void *arg, uint32_t i, struct rollout_handle *ret);
    void (*measured)(void *arg, const char *id, uint32_t metric, enum rollout_sample sample,
                     double value, int64_t measured_ms);
    void *arg;
};

struct metrics_parts {
    struct loop *loop;
    struct metrics_rollouts rollouts;
    const char *folder;       /* made when it is not there; copied */
    const char *fetch_helper; /* path of captain-fetch; NULL: every query is an error; copied */
};

MUST_USE enum err_code metrics_open(const struct metrics_parts *parts, struct metrics **ret,
                                    struct err *err);
/* NULL is fine. */
void metrics_close(struct metrics *metrics);

/* device is the fleet's number. */
void metrics_telemetry(struct metrics *metrics, uint32_t device, const struct telemetry *telemetry);

/* Bytes in use for devices and members, for benches and /metrics. */
size_t metrics_memory_bytes(const struct metrics *metrics);
