/* SPDX-License-Identifier: Apache-2.0
 *
 * Prometheus: asked by captain-fetch, one question at a time for each metric.
 */
#include <math.h>
#include <unistd.h>

#include "captain/io/prometheus.h"
#include "captain/metrics_private.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/file.h"

enum { URL_ARENA_BYTES = 16 << 10, ANSWER_ARENA_BYTES = PROMETHEUS_ANSWER_MAX_BYTES + 4096 };

static const char *path_of(const struct metrics_one *one, struct arena *arena)
{
    return arena_printf(arena, "%s/%u-%u.json", one->watch->metrics->folder, one->watch->number,
                        one->index);
}

static void give_error(struct metrics_one *one, const struct rollout_handle *handle,
                       const struct err *err)
{
    metrics_give(one, handle, ROLLOUT_SAMPLE_ERROR, NAN, clock_unix_ms(), err);
}

/* Reads the answer and removes its file. */
static enum err_code read_answer(const struct metrics_one *one, struct prometheus_answer *ret,
                                 struct err *err)
{
    struct bytes text;
    struct arena arena DEFER(arena_fini) = {0};
    arena_init(&arena, ANSWER_ARENA_BYTES);
    const char *path = path_of(one, &arena);
    enum err_code code = file_read(path, PROMETHEUS_ANSWER_MAX_BYTES, &arena, &text, err);
    if (code == ERR_OK && prometheus_read(text, ret, err) != ERR_OK)
        code = err_wrap(err, "%s", one->source.url);
    (void)unlink(path);
    return code;
}

static void on_answer(void *arg, const struct err *err)
{
    struct metrics_one *one = arg;
    struct prometheus_answer answer = {0};
    struct rollout_handle handle;
    struct err failed = *err;
    one->fetch = NULL;
    enum err_code code = err->code;
    if (code == ERR_OK)
        code = read_answer(one, &answer, &failed);
    if (!metrics_rollout(one, &handle))
        return; /* the wave ended meanwhile */
    if (code != ERR_OK)
        give_error(one, &handle, &failed);
    else if (answer.empty)
        metrics_give(one, &handle, ROLLOUT_SAMPLE_EMPTY, NAN, clock_unix_ms(), NULL);
    else
        metrics_give(one, &handle, ROLLOUT_SAMPLE_VALUE, answer.value, answer.time_ms, NULL);
}

static enum err_code start(struct metrics_one *one, int64_t max_age_ms, struct err *err)
{
    const struct metrics *metrics = one->watch->metrics;
    struct arena arena DEFER(arena_fini) = {0};
    arena_init(&arena, URL_ARENA_BYTES);
    if (!metrics->fetch_helper)
        return err_set(err, ERR_NOT_FOUND, "captain-fetch is not installed");
    const struct fetch_request request = {
        .helper = metrics->fetch_helper,
        .url = prometheus_url(one->source.url, one->source.query, max_age_ms, &arena),
        .to = path_of(one, &arena),
        .max_bytes = PROMETHEUS_ANSWER_MAX_BYTES,
        .timeout_ms = METRICS_FETCH_MS,
    };
    if (!request.url || !request.to)
        return err_set(err, ERR_SIZE, "the query is too long");
    return fetch_start(metrics->loop, &request, on_answer, one, &one->fetch, err);
}

void metrics_ask_outside(struct metrics_one *one, const struct rollout_handle *handle)
{
    struct err err = {0};
    if (one->fetch)
        return; /* the one before is still on its way, and ends by itself */
    if (start(one, rollout_policy(handle->core)->metrics[one->index].max_age_ms, &err) != ERR_OK)
        give_error(one, handle, &err);
}
