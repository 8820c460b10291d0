/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by metrics.c (which metrics there are, and when they are due), metrics_fleet.c (what
 * devices told) and metrics_outside.c (Prometheus); no one else's.
 */
#pragma once

#include "captain/core/metric.h"
#include "captain/io/fetch.h"
#include "captain/metrics.h"
#include "common/base/str.h"
#include "common/base/ulid.h"

/* What one device told of one number. Times are of the loop's clock; 0: never. */
struct metrics_point {
    double value;
    double rate; /* increase per second from the telemetry before; NaN: not known */
    int64_t at_ms, before_ms;
};

struct metrics_series {
    enum metric_kind kind;
    enum metric_field field; /* of telemetry */
    char app[TOKEN_MAX + 1]; /* of an app, and the name of its number */
    char name[POLICY_TEXT_MAX];
    struct metrics_point *points; /* by the fleet's number */
    uint32_t len;
    bool wanted;
};

struct metrics_member {
    int64_t since_ms; /* on its side */
    uint8_t side;     /* enum metric_side, or METRIC_SIDES: neither */
};

struct metrics_watch;

/* One metric of one rollout. */
struct metrics_one {
    struct metrics_watch *watch;
    uint32_t index;             /* in the policy */
    char text[POLICY_TEXT_MAX]; /* the source below; "": none yet */
    struct metric_source source;
    struct err unreadable;         /* the source cannot be read */
    struct metrics_series *series; /* NULL: of Prometheus, or the table was full */
    uint32_t wave;
    bool begun;          /* measured in this wave */
    double control;      /* what it measured last; NaN: never */
    int64_t due_ms;      /* loop's clock */
    struct fetch *fetch; /* on its way */
    bool failing;        /* said in the log */
};

struct metrics_watch {
    struct metrics *metrics;
    struct metrics_watch *next;
    char id[ULID_TEXT];
    uint32_t number;   /* of its files */
    int64_t opened_ms; /* loop's clock */
    bool seen;
    struct metrics_member *members;
    uint32_t members_len;
    struct metrics_one ones[POLICY_METRICS_MAX];
};

struct metrics {
    struct loop *loop;
    struct metrics_rollouts rollouts;
    char *folder, *fetch_helper;
    struct loop_timer timer;
    struct metrics_watch *watches;
    uint32_t numbers; /* watches so far */
    struct metrics_series *series[METRICS_SERIES_MAX];
    uint32_t series_len;
    struct metric_sketch sketches[METRIC_SIDES];
};

/* metrics.c */

/* Hands it on unless the rollout would not want it. err: of an ERROR, logged once in a row. */
void metrics_give(struct metrics_one *one, const struct rollout_handle *handle,
                  enum rollout_sample sample, double value, int64_t measured_ms,
                  const struct err *err);
/* The rollout of one, if it still lives, in the wave and with the source that one is about. */
bool metrics_rollout(const struct metrics_one *one, struct rollout_handle *ret);

/* metrics_fleet.c */
/* Finds or makes it, and marks it wanted; NULL: the table is full. */
struct metrics_series *metrics_want(struct metrics *metrics, const struct metric_source *source,
                                    const char *app);
/* Frees those that are not wanted, and asks anew who wants them. */
void metrics_drop_unwanted(struct metrics *metrics);
void metrics_free_series(struct metrics *metrics);
/* Who is on which side now. */
void metrics_note_sides(struct metrics_watch *watch, const struct rollout_handle *handle);
void metrics_ask_fleet(struct metrics_one *one, const struct rollout_handle *handle);

/* metrics_outside.c */
void metrics_ask_outside(struct metrics_one *one, const struct rollout_handle *handle);
