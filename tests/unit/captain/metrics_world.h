/* SPDX-License-Identifier: Apache-2.0
 *
 * One rollout (of the core, driven by rollout_world.h) whose metrics are measured: what would go to
 * it is kept in a list, and told to the core when the test wants it.
 */
#pragma once

#include "captain/metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"
#include "tests/unit/captain/rollout_world.h"

enum { WAIT_MS = 20000, NOTHING_MS = 1500, EVERY_MS = 50, SAMPLES_MAX = 20000 };

struct sample {
    uint32_t metric;
    enum rollout_sample kind;
    double value;
    int64_t measured_ms;
};

struct bench {
    struct world world;
    struct loop *loop;
    struct metrics *metrics;
    char *dir;
    uint32_t devices[WORLD_MEMBERS_MAX];
    bool over;
    struct sample samples[SAMPLES_MAX];
    size_t len, told;
    /* What devices tell whenever the loop turns. */
    double canary, control;
    bool canary_silent, control_silent;
};

static inline bool bench_live(void *arg, uint32_t i, struct rollout_handle *ret)
{
    struct bench *b = arg;
    if (b->over || i > 0)
        return false;
    *ret = (struct rollout_handle){.id = "01HF7YAT00AAAAAAAAAAAAAAAA",
                                   .app = "hello",
                                   .channel = "stable",
                                   .core = b->world.rollout,
                                   .members = b->devices,
                                   .members_len = world_view(&b->world).members};
    return true;
}

static inline void bench_measured(void *arg, const char *id, uint32_t metric,
                                  enum rollout_sample kind, double value, int64_t measured_ms)
{
    struct bench *b = arg;
    assert_string_equal(id, "01HF7YAT00AAAAAAAAAAAAAAAA");
    assert_true(b->len < SAMPLES_MAX);
    b->samples[b->len++] = (struct sample){metric, kind, value, measured_ms};
}

/* n devices; one metric of this source. */
static inline struct bench *bench_open(uint32_t n, const char *source)
{
    struct bench *b = mem_new(1, sizeof *b);
    struct err err;
    world_init(&b->world, n);
    for (uint32_t i = 0; i < WORLD_MEMBERS_MAX; i++)
        b->devices[i] = 2 * i + 5; /* the fleet has others too */
    b->world.policy.soak_ms = 0;
    b->world.policy.rate.on = b->world.policy.compare.on = false;
    b->world.policy.metrics_len = 1;
    b->world.policy.metrics[0] = (struct policy_metric){.name = "it",
                                                        .op = POLICY_OP_BELOW,
                                                        .limit = 1e9,
                                                        .count = 1,
                                                        .max_age_ms = MINUTE_MS,
                                                        .deadline_ms = HOUR_MS,
                                                        .every_ms = EVERY_MS};
    (void)snprintf(b->world.policy.metrics[0].source, POLICY_TEXT_MAX, "%s", source);
    b->dir = tempdir_make();
    if (loop_open(&b->loop, &err) != ERR_OK)
        fail_msg("%s", err.text);
    return b;
}

static inline void bench_begin(struct bench *b)
{
    struct err err;
    const struct metrics_parts parts = {.loop = b->loop,
                                        .rollouts = {bench_live, bench_measured, b},
                                        .folder = b->dir,
                                        .fetch_helper = getenv("CAPTAIN_FETCH_BIN")};
    world_start(&b->world);
    if (metrics_open(&parts, &b->metrics, &err) != ERR_OK)
        fail_msg("%s", err.text);
}

static inline void bench_close(struct bench *b)
{
    metrics_close(b->metrics);
    loop_close(b->loop);
    tempdir_remove(b->dir);
    world_fini(&b->world);
    mem_free(b);
}

static inline bool bench_is_canary(const struct bench *b, uint32_t member)
{
    return world_device(&b->world, member).device == ROLLOUT_HEALTHY;
}

/* What is measured goes to the core, at its own time. */
static inline void bench_tell_core(struct bench *b)
{
    for (; b->told < b->len; b->told++) {
        struct rollout_input input = {.kind = ROLLOUT_IN_METRIC};
        input.u.metric.metric = b->samples[b->told].metric;
        input.u.metric.sample = b->samples[b->told].kind;
        input.u.metric.value = b->samples[b->told].value;
        input.u.metric.measured_ms = b->world.now_ms;
        world_step(&b->world, &input);
    }
}

/* The last sample is of this kind, and if it is a value, this one. */
static inline bool bench_last_is(const struct bench *b, enum rollout_sample kind, double value)
{
    if (b->len == 0 || b->samples[b->len - 1].kind != kind)
        return false;
    const double last = b->samples[b->len - 1].value;
    return kind != ROLLOUT_SAMPLE_VALUE || (isnan(value) && isnan(last)) ||
           fabs(last - value) <= 1e-9 * fabs(value);
}
