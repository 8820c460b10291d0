/* SPDX-License-Identifier: Apache-2.0
 *
 * What the text of a metric's source (struct policy_metric) asks for, and the arithmetic of what
 * devices told. Pure: who is asked, and when, is the shell's (captain/metrics.h).
 *
 *   source      = fleet | outside
 *   fleet       = scope statistic name [ comparison ]
 *   scope       = "telemetry" | "app"    the machine's numbers, or those of the rollout's app
 *   statistic   = "p" number             percentile over devices, 0 < number <= 100: p50, p99.9
 *               | "mean" | "min" | "max" | "sum"   over devices
 *               | "rate"   mean over devices of a counter's increase per second
 *               | "count"  how many devices have told the number
 *   name        = for telemetry one of metric_field_name, for app what the app calls it
 *   comparison  = "canary"               devices that run the target; the default
 *               | "control"              devices on the base
 *               | "canary / control" | "canary - control"
 *   outside     = "prometheus" URL query      http or https; the query is the rest of the text
 *
 *   telemetry p95 memory_used_percent
 *   app rate errors canary / control
 *   prometheus http://127.0.0.1:9090 sum(rate(http_errors_total[5m]))
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "captain/core/policy.h"
#include "common/base/err.h"

enum metric_kind { METRIC_TELEMETRY, METRIC_APP, METRIC_PROMETHEUS };

enum metric_statistic {
    METRIC_PERCENTILE,
    METRIC_MEAN,
    METRIC_MIN,
    METRIC_MAX,
    METRIC_SUM,
    METRIC_RATE,
    METRIC_COUNT,
};

enum metric_side { METRIC_SIDE_CANARY, METRIC_SIDE_CONTROL, METRIC_SIDES };

enum metric_form { METRIC_OF_CANARY, METRIC_OF_CONTROL, METRIC_RATIO, METRIC_DIFFERENCE };

/* The numbers of a machine. Percent: 0 to 100. */
enum metric_field {
    METRIC_CPU_PERCENT,
    METRIC_MEMORY_USED_PERCENT,
    METRIC_MEMORY_USED_BYTES,
    METRIC_MEMORY_AVAILABLE_BYTES,
    METRIC_DISK_USED_PERCENT,
    METRIC_DISK_USED_BYTES,
    METRIC_DISK_FREE_BYTES,
    METRIC_TEMPERATURE_CELSIUS,
    METRIC_UPTIME_S,
    METRIC_FIELDS
};

struct metric_source {
    enum metric_kind kind;
    enum metric_statistic statistic;
    double percentile; /* of PERCENTILE, else 0 */
    enum metric_form form;
    enum metric_field field;     /* of TELEMETRY */
    char name[POLICY_TEXT_MAX];  /* of TELEMETRY and APP */
    char url[POLICY_TEXT_MAX];   /* of PROMETHEUS, without a slash at its end */
    char query[POLICY_TEXT_MAX]; /* of PROMETHEUS */
};

/* ERR_MALFORMED with a sentence that says what was expected instead. */
MUST_USE enum err_code metric_parse(const char *text, struct metric_source *ret, struct err *err);
const char *metric_field_name(enum metric_field field);

bool metric_uses(enum metric_form form, enum metric_side side);

/* Percentiles of numbers of any size in fixed memory: buckets whose bounds grow by 2 %, so that a
 * percentile is off by 1 % at most; for one number, the smallest and the largest it is exact. What
 * lies nearer to 0 than 1e-9, or further than 1e18, falls into the last bucket of its side. */
enum { METRIC_BUCKETS = 3200 };

struct metric_sketch {
    uint64_t len;
    double sum, min, max;
    uint32_t below[METRIC_BUCKETS]; /* negative numbers, by their distance from 0 */
    uint32_t zero;
    uint32_t above[METRIC_BUCKETS];
};
/* Empties it. */
void metric_sketch_reset(struct metric_sketch *sketch);
/* What is not finite is no measurement and is left out. */
void metric_sketch_add(struct metric_sketch *sketch, double value);
/* percentile by nearest rank. Of nothing NaN, whatever the statistic. */
double metric_sketch_value(const struct metric_sketch *sketch, enum metric_statistic statistic,
                           double percentile);

/* What a form makes of both sides; the side it does not use is not looked at. 0 / 0 is 1, since both
 * are alike. */
double metric_combine(enum metric_form form, double canary, double control);

/* A counter's increase per second; one that has become smaller began again at 0. NaN without time
 * between, or when a number is not finite. */
double metric_increase(double before, double now, double elapsed_s);
