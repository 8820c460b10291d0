/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/metrics.h"

#include <math.h>
#include <string.h>

#include "captain/metrics_private.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"

enum { LOOK_MS = 1000, LOOK_MIN_MS = 20 };

/* Measurements. */

void metrics_give(struct metrics_one *one, const struct rollout_handle *handle,
                  enum rollout_sample sample, double value, int64_t measured_ms,
                  const struct err *err)
{
    const struct metrics_rollouts *rollouts = &one->watch->metrics->rollouts;
    struct rollout_view view;
    const bool failed = sample == ROLLOUT_SAMPLE_ERROR;
    if (failed && !one->failing)
        log_write(LOG_LEVEL_WARNING, "rollout %s, metric %s: %s", handle->id,
                  rollout_policy(handle->core)->metrics[one->index].name, err->text);
    one->failing = failed;
    rollout_view(handle->core, &view);
    if (view.state == ROLLOUT_HELD && sample != ROLLOUT_SAMPLE_VALUE)
        return;
    if (sample == ROLLOUT_SAMPLE_VALUE)
        one->begun = true;
    rollouts->measured(rollouts->arg, handle->id, one->index, sample, value, measured_ms);
}

/* Whether gates judge it, and there is something to measure. */
static bool is_open(const struct rollout_view *view)
{
    const bool judged = view->state == ROLLOUT_RUNNING || view->state == ROLLOUT_PAUSED ||
                        view->state == ROLLOUT_HELD;
    return judged && view->wave != ROLLOUT_NONE && view->healthy > 0;
}

bool metrics_rollout(const struct metrics_one *one, struct rollout_handle *ret)
{
    const struct metrics_rollouts *rollouts = &one->watch->metrics->rollouts;
    struct rollout_view view;
    uint32_t i = 0;
    while (rollouts->live_at(rollouts->arg, i, ret) && !str_equal(ret->id, one->watch->id))
        i++;
    if (!rollouts->live_at(rollouts->arg, i, ret))
        return false;
    const struct policy *policy = rollout_policy(ret->core);
    rollout_view(ret->core, &view);
    return is_open(&view) && view.wave == one->wave && one->index < policy->metrics_len &&
           str_equal(policy->metrics[one->index].source, one->text);
}

/* Which there are. */

static void forget(struct metrics_one *one)
{
    fetch_cancel(one->fetch);
    one->fetch = NULL;
    one->text[0] = '\0';
}

static void free_watch(struct metrics_watch *watch)
{
    for (size_t i = 0; i < POLICY_METRICS_MAX; i++)
        forget(&watch->ones[i]);
    mem_free(watch->members);
    mem_free(watch);
}

static struct metrics_watch *watch_of(struct metrics *metrics, const char *id)
{
    struct metrics_watch *watch = metrics->watches;
    while (watch && !str_equal(watch->id, id))
        watch = watch->next;
    if (watch)
        return watch;
    watch = mem_new(1, sizeof *watch);
    watch->metrics = metrics;
    watch->number = metrics->numbers++;
    watch->opened_ms = loop_now_ms(metrics->loop);
    if (str_copy(watch->id, sizeof watch->id, id) != ERR_OK) {
        mem_free(watch);
        return NULL; /* no rollout has such an id */
    }
    watch->next = metrics->watches;
    metrics->watches = watch;
    return watch;
}

static void drop_unseen(struct metrics *metrics)
{
    struct metrics_watch **at = &metrics->watches;
    while (*at) {
        struct metrics_watch *watch = *at;
        const bool seen = watch->seen;
        watch->seen = false;
        if (seen) {
            at = &watch->next;
            continue;
        }
        *at = watch->next;
        free_watch(watch);
    }
}

/* Another source than before begins anew. */
static void take_source(struct metrics_watch *watch, uint32_t index,
                        const struct policy_metric *metric, const struct rollout_handle *handle)
{
    struct metrics_one *one = &watch->ones[index];
    if (!str_equal(one->text, metric->source)) {
        forget(one);
        *one = (struct metrics_one){
            .watch = watch, .index = index, .wave = ROLLOUT_NONE, .control = NAN};
        memcpy(one->text, metric->source, sizeof one->text);
        (void)!metric_parse(metric->source, &one->source, &one->unreadable);
    }
    one->series = NULL;
    if (one->unreadable.code == ERR_OK && one->source.kind != METRIC_PROMETHEUS)
        one->series = metrics_want(watch->metrics, &one->source, handle->app);
}

static void enter_wave(struct metrics_one *one, uint32_t wave, int64_t now_ms)
{
    if (one->wave == wave)
        return;
    fetch_cancel(one->fetch);
    one->fetch = NULL;
    one->wave = wave;
    one->begun = false;
    one->due_ms = now_ms;
}

static void ask(struct metrics_one *one, const struct rollout_handle *handle)
{
    struct err full;
    if (one->unreadable.code != ERR_OK) {
        metrics_give(one, handle, ROLLOUT_SAMPLE_ERROR, NAN, clock_unix_ms(), &one->unreadable);
    } else if (one->source.kind == METRIC_PROMETHEUS) {
        metrics_ask_outside(one, handle);
    } else if (one->series) {
        metrics_ask_fleet(one, handle);
    } else {
        (void)err_set(&full, ERR_FULL, "live rollouts ask for more than %d numbers",
                      METRICS_SERIES_MAX);
        metrics_give(one, handle, ROLLOUT_SAMPLE_ERROR, NAN, clock_unix_ms(), &full);
    }
}

/* Asks for what is due; *next_ms becomes the time of the next one, if that is sooner. */
static void ask_due(struct metrics_watch *watch, const struct rollout_handle *handle,
                    int64_t *next_ms)
{
    const struct policy *policy = rollout_policy(handle->core);
    const int64_t now_ms = loop_now_ms(watch->metrics->loop);
    struct rollout_view view;
    bool noted = false;
    rollout_view(handle->core, &view);
    if (!is_open(&view))
        return;
    for (uint32_t i = 0; i < policy->metrics_len; i++) {
        struct metrics_one *one = &watch->ones[i];
        enter_wave(one, view.wave, now_ms);
        if (one->due_ms <= now_ms) {
            if (one->series && !noted)
                metrics_note_sides(watch, handle);
            noted |= one->series != NULL;
            one->due_ms = now_ms + policy->metrics[i].every_ms;
            ask(one, handle);
        }
        if (one->due_ms < *next_ms)
            *next_ms = one->due_ms;
    }
}

static void look_at(struct metrics *metrics, const struct rollout_handle *handle, int64_t *next_ms)
{
    const struct policy *policy = rollout_policy(handle->core);
    if (policy->metrics_len == 0)
        return;
    struct metrics_watch *watch = watch_of(metrics, handle->id);
    if (!watch)
        return;
    watch->seen = true;
    for (uint32_t i = 0; i < policy->metrics_len; i++)
        take_source(watch, i, &policy->metrics[i], handle);
    for (uint32_t i = policy->metrics_len; i < POLICY_METRICS_MAX; i++)
        forget(&watch->ones[i]);
    ask_due(watch, handle, next_ms);
}

static void on_look(void *arg)
{
    struct metrics *metrics = arg;
    const int64_t now_ms = loop_now_ms(metrics->loop);
    int64_t next_ms = now_ms + LOOK_MS;
    struct rollout_handle handle;
    for (uint32_t i = 0; metrics->rollouts.live_at(metrics->rollouts.arg, i, &handle); i++)
        look_at(metrics, &handle, &next_ms);
    drop_unseen(metrics);
    metrics_drop_unwanted(metrics);
    if (next_ms < now_ms + LOOK_MIN_MS)
        next_ms = now_ms + LOOK_MIN_MS;
    loop_timer_at(metrics->loop, &metrics->timer, next_ms, on_look, metrics);
}

/* Opening and closing. */

enum err_code metrics_open(const struct metrics_parts *parts, struct metrics **ret, struct err *err)
{
    const enum err_code code = file_make_dirs(parts->folder, 0700, err);
    if (code != ERR_OK)
        return code;
    struct metrics *metrics = mem_new(1, sizeof *metrics);
    metrics->loop = parts->loop;
    metrics->rollouts = parts->rollouts;
    metrics->folder = mem_strdup(parts->folder);
    metrics->fetch_helper = mem_strdup(parts->fetch_helper);
    loop_timer_at(metrics->loop, &metrics->timer, loop_now_ms(metrics->loop), on_look, metrics);
    *ret = metrics;
    return ERR_OK;
}

void metrics_close(struct metrics *metrics)
{
    if (!metrics)
        return;
    loop_timer_stop(&metrics->timer);
    for (struct metrics_watch *watch = metrics->watches; watch; watch = watch->next)
        watch->seen = false;
    drop_unseen(metrics);
    metrics_free_series(metrics);
    mem_free(metrics->folder);
    mem_free(metrics->fetch_helper);
    mem_free(metrics);
}

size_t metrics_memory_bytes(const struct metrics *metrics)
{
    size_t bytes = sizeof *metrics;
    for (uint32_t i = 0; i < metrics->series_len; i++)
        bytes += sizeof *metrics->series[i] +
                 metrics->series[i]->len * sizeof *metrics->series[i]->points;
    for (const struct metrics_watch *watch = metrics->watches; watch; watch = watch->next)
        bytes += sizeof *watch + watch->members_len * sizeof *watch->members;
    return bytes;
}
