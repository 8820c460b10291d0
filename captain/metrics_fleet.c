/* SPDX-License-Identifier: Apache-2.0
 *
 * What devices told, kept for as long as a metric asks for it, and what it makes over devices.
 */
#include <math.h>
#include <string.h>

#include "captain/metrics_private.h"
#include "common/base/mem.h"
#include "common/clock.h"

enum { POINTS_MIN = 64 };

/* Series. */

static bool is_of(const struct metrics_series *series, const struct metric_source *source,
                  const char *app)
{
    if (series->kind != source->kind)
        return false;
    if (source->kind == METRIC_TELEMETRY)
        return series->field == source->field;
    return str_equal(series->name, source->name) && str_equal(series->app, app);
}

struct metrics_series *metrics_want(struct metrics *metrics, const struct metric_source *source,
                                    const char *app)
{
    for (uint32_t i = 0; i < metrics->series_len; i++) {
        if (!is_of(metrics->series[i], source, app))
            continue;
        metrics->series[i]->wanted = true;
        return metrics->series[i];
    }
    if (metrics->series_len == METRICS_SERIES_MAX)
        return NULL;
    struct metrics_series *series = mem_new(1, sizeof *series);
    series->kind = source->kind;
    series->field = source->field;
    series->wanted = true;
    if (str_copy(series->app, sizeof series->app, app) != ERR_OK ||
        str_copy(series->name, sizeof series->name, source->name) != ERR_OK) {
        mem_free(series);
        return NULL;
    }
    metrics->series[metrics->series_len++] = series;
    return series;
}

static void free_series(struct metrics_series *series)
{
    mem_free(series->points);
    mem_free(series);
}

void metrics_drop_unwanted(struct metrics *metrics)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < metrics->series_len; i++) {
        struct metrics_series *series = metrics->series[i];
        if (!series->wanted) {
            free_series(series);
            continue;
        }
        series->wanted = false;
        metrics->series[kept++] = series;
    }
    metrics->series_len = kept;
}

void metrics_free_series(struct metrics *metrics)
{
    for (uint32_t i = 0; i < metrics->series_len; i++)
        free_series(metrics->series[i]);
    metrics->series_len = 0;
}

/* Telemetry. */

static double percent(uint64_t part, uint64_t whole)
{
    return whole > 0 ? 100.0 * (double)part / (double)whole : NAN;
}

static double bytes_or_nan(uint64_t bytes, uint64_t whole)
{
    return whole > 0 ? (double)bytes : NAN;
}

static uint64_t less(uint64_t whole, uint64_t part)
{
    return part < whole ? whole - part : 0;
}

/* What the device could not read is 0 of 0, and no number. */
static double field_of(const struct telemetry *t, enum metric_field field)
{
    switch (field) {
    case METRIC_CPU_PERCENT:
        return t->cpu_permille / 10.0;
    case METRIC_MEMORY_USED_PERCENT:
        return percent(less(t->memory_total_bytes, t->memory_available_bytes),
                       t->memory_total_bytes);
    case METRIC_MEMORY_USED_BYTES:
        return bytes_or_nan(less(t->memory_total_bytes, t->memory_available_bytes),
                            t->memory_total_bytes);
    case METRIC_MEMORY_AVAILABLE_BYTES:
        return bytes_or_nan(t->memory_available_bytes, t->memory_total_bytes);
    case METRIC_DISK_USED_PERCENT:
        return percent(less(t->disk_total_bytes, t->disk_free_bytes), t->disk_total_bytes);
    case METRIC_DISK_USED_BYTES:
        return bytes_or_nan(less(t->disk_total_bytes, t->disk_free_bytes), t->disk_total_bytes);
    case METRIC_DISK_FREE_BYTES:
        return bytes_or_nan(t->disk_free_bytes, t->disk_total_bytes);
    case METRIC_TEMPERATURE_CELSIUS:
        return t->has_temperature ? t->temperature_millicelsius / 1000.0 : NAN;
    case METRIC_UPTIME_S:
        return (double)t->uptime_ms / 1000;
    default:
        return NAN;
    }
}

static double number_of(const struct telemetry *telemetry, const struct metrics_series *series)
{
    if (series->kind == METRIC_TELEMETRY)
        return field_of(telemetry, series->field);
    for (size_t i = 0; i < telemetry->apps_len; i++) {
        const struct app_metrics *app = &telemetry->apps[i];
        if (!str_equal(app->app, series->app))
            continue;
        for (size_t k = 0; k < app->metrics_len; k++)
            if (str_equal(app->metrics[k].name, series->name))
                return app->metrics[k].value;
    }
    return NAN;
}

/* Grown by half: doubling would cost a large fleet as much again. */
static struct metrics_point *point_at(struct metrics_series *series, uint32_t device)
{
    if (device >= series->len) {
        uint32_t len = series->len + series->len / 2;
        if (len <= device)
            len = device + 1;
        if (len < POINTS_MIN)
            len = POINTS_MIN;
        series->points = mem_grow(series->points, series->len, len, sizeof *series->points);
        series->len = len;
    }
    return &series->points[device];
}

/* A device that tells everything but this number tells that it has none. */
void metrics_telemetry(struct metrics *metrics, uint32_t device, const struct telemetry *telemetry)
{
    const int64_t now_ms = loop_now_ms(metrics->loop);
    for (uint32_t i = 0; i < metrics->series_len; i++) {
        struct metrics_point *point = point_at(metrics->series[i], device);
        if (point->at_ms == now_ms)
            continue; /* so soon again: it has no rate */
        const double value = number_of(telemetry, metrics->series[i]);
        const double elapsed_s = (double)(now_ms - point->at_ms) / 1000;
        const double rate = point->at_ms ? metric_increase(point->value, value, elapsed_s) : NAN;
        *point = (struct metrics_point){value, rate, now_ms, point->at_ms};
    }
}

/* Members. */

static uint8_t side_of(const struct rollout_device_view *view)
{
    if (view->excluded || view->deleted)
        return METRIC_SIDES;
    if (view->device == ROLLOUT_HEALTHY || view->device == ROLLOUT_UNHEALTHY)
        return METRIC_SIDE_CANARY;
    return view->device == ROLLOUT_ON_BASE ? METRIC_SIDE_CONTROL : METRIC_SIDES;
}

void metrics_note_sides(struct metrics_watch *watch, const struct rollout_handle *handle)
{
    const int64_t now_ms = loop_now_ms(watch->metrics->loop);
    const uint32_t before = watch->members_len;
    struct rollout_device_view view;
    if (handle->members_len > before) {
        watch->members =
            mem_grow(watch->members, before, handle->members_len, sizeof *watch->members);
        watch->members_len = handle->members_len;
    }
    for (uint32_t i = 0; i < handle->members_len; i++) {
        struct metrics_member *member = &watch->members[i];
        rollout_device_view(handle->core, i, &view);
        const uint8_t side = side_of(&view);
        if (i < before && member->side == side)
            continue;
        /* Who stands on the base was there when the rollout began. */
        const bool always = i >= before && side == METRIC_SIDE_CONTROL;
        *member = (struct metrics_member){always ? watch->opened_ms : now_ms, side};
    }
}

/* Measuring. */

struct tally {
    uint32_t members[METRIC_SIDES];
    int64_t newest_ms[METRIC_SIDES]; /* 0: nobody told anything */
};

static void add_member(struct metrics_one *one, const struct metrics_member *member,
                       const struct metrics_point *point, int64_t oldest_ms, struct tally *tally)
{
    const bool rate = one->source.statistic == METRIC_RATE;
    const double value = rate ? point->rate : point->value;
    if (point->at_ms <= member->since_ms || point->at_ms < oldest_ms || !isfinite(value) ||
        (rate && point->before_ms <= member->since_ms))
        return;
    metric_sketch_add(&one->watch->metrics->sketches[member->side], value);
    if (point->at_ms > tally->newest_ms[member->side])
        tally->newest_ms[member->side] = point->at_ms;
}

static void add_members(struct metrics_one *one, const struct rollout_handle *handle,
                        int64_t oldest_ms, struct tally *tally)
{
    const struct metrics_series *series = one->series;
    for (uint32_t i = 0; i < handle->members_len; i++) {
        const struct metrics_member *member = &one->watch->members[i];
        if (member->side == METRIC_SIDES)
            continue;
        tally->members[member->side]++;
        if (handle->members[i] < series->len)
            add_member(one, member, &series->points[handle->members[i]], oldest_ms, tally);
    }
}

/* Whether what control measured last may stand for it. */
static bool keeps_control(const struct metrics_one *one, const struct policy *policy,
                          const struct tally *tally)
{
    const enum metric_form form = one->source.form;
    if (tally->members[METRIC_SIDE_CONTROL] > 0 || isnan(one->control) ||
        (form != METRIC_RATIO && form != METRIC_DIFFERENCE))
        return false;
    return policy->compare.no_control == POLICY_NO_CONTROL_ALWAYS ||
           (policy->compare.no_control == POLICY_NO_CONTROL_LAST &&
            policy->waves[one->wave].kind == POLICY_WAVE_ALL);
}

/* The value of a side that the form uses; false: nobody there told anything. *at_ms becomes the
 * time of its newest number, if that is older. */
static bool side_value(const struct metrics_one *one, const struct tally *tally,
                       enum metric_side side, double *ret, int64_t *at_ms)
{
    const struct metric_sketch *sketch = &one->watch->metrics->sketches[side];
    if (!metric_uses(one->source.form, side))
        return true;
    if (tally->newest_ms[side] == 0)
        return false;
    if (tally->newest_ms[side] < *at_ms)
        *at_ms = tally->newest_ms[side];
    *ret = metric_sketch_value(sketch, one->source.statistic, one->source.percentile);
    return true;
}

static void conclude(struct metrics_one *one, const struct rollout_handle *handle,
                     const struct tally *tally, int64_t now_ms)
{
    const enum metric_form form = one->source.form;
    const bool keep = keeps_control(one, rollout_policy(handle->core), tally);
    double canary = NAN;
    int64_t at_ms = now_ms;
    bool told = side_value(one, tally, METRIC_SIDE_CANARY, &canary, &at_ms);
    if (!keep)
        told &= side_value(one, tally, METRIC_SIDE_CONTROL, &one->control, &at_ms);
    const bool hopeless =
        !keep && tally->members[METRIC_SIDE_CONTROL] == 0 && metric_uses(form, METRIC_SIDE_CONTROL);
    const int64_t unix_ms = clock_unix_ms();
    if (told)
        metrics_give(one, handle, ROLLOUT_SAMPLE_VALUE, metric_combine(form, canary, one->control),
                     unix_ms - (now_ms - at_ms), NULL);
    else if (one->begun || hopeless)
        metrics_give(one, handle, ROLLOUT_SAMPLE_EMPTY, NAN, unix_ms, NULL);
}

void metrics_ask_fleet(struct metrics_one *one, const struct rollout_handle *handle)
{
    struct metrics *metrics = one->watch->metrics;
    const int64_t max_age_ms = rollout_policy(handle->core)->metrics[one->index].max_age_ms;
    const int64_t now_ms = loop_now_ms(metrics->loop);
    struct tally tally = {{0}, {0}};
    for (size_t i = 0; i < METRIC_SIDES; i++)
        metric_sketch_reset(&metrics->sketches[i]);
    add_members(one, handle, now_ms - max_age_ms, &tally);
    conclude(one, handle, &tally, now_ms);
}
