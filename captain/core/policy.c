/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/core/policy.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/str.h"

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS (60 * MINUTE_MS)
#define DURATION_MAX_MS (366 * 24 * HOUR_MS)

const char *policy_class_name(enum policy_class class)
{
    static const char *const names[] = {"failed", "rejected", "timed_out", "silent", "none"};
    return (unsigned)class < ARRAY_LEN(names) ? names[class] : "unknown";
}

static void add_wave(struct policy *policy, const char *name, enum policy_wave_kind kind,
                     uint32_t number)
{
    struct policy_wave *wave = &policy->waves[policy->waves_len++];
    (void)snprintf(wave->name, sizeof wave->name, "%s", name);
    wave->kind = kind;
    wave->soak_ms = -1;
    if (kind == POLICY_WAVE_COUNT)
        wave->count = number;
    if (kind == POLICY_WAVE_PERCENT)
        wave->percent = number;
    wave->canary = kind == POLICY_WAVE_COUNT;
}

static void default_gates(struct policy *policy)
{
    policy->coverage.quorum = 0.90;
    policy->coverage.deadline_ms = 24 * HOUR_MS;
    policy->failures.min_abs = 1;
    policy->failures.max_abs = 50;
    policy->failures.max_percent = 5;
    for (int c = 0; c < POLICY_CLASSES; c++)
        policy->failures.class_limit[c] = POLICY_NO_LIMIT;
    policy->rate.on = true;
    policy->rate.p0 = 0.02;
    policy->rate.alpha = 0.01;
    policy->compare.on = true;
    policy->compare.tolerance = 1.0;
    policy->compare.alpha = 0.01;
    policy->compare.min_control = 5;
    policy->soak_ms = 30 * MINUTE_MS;
    policy->progress_ms = 2 * HOUR_MS;
}

static void default_rest(struct policy *policy)
{
    policy->on_fail = POLICY_FAIL_ABORT;
    policy->eligible_age_ms = 5 * MINUTE_MS;
    policy->silent_ms = 10 * MINUTE_MS;
    policy->rollback_ms = 30 * MINUTE_MS;
    policy->admission.lease_ms = 30 * MINUTE_MS;
    policy->admission.max_unavailable_per_site_percent = 25;
    policy->admission.allow_one = true;
}

void policy_default(struct policy *ret)
{
    memset(ret, 0, sizeof *ret);
    (void)snprintf(ret->name, sizeof ret->name, "normal");
    default_gates(ret);
    default_rest(ret);
    add_wave(ret, "canary", POLICY_WAVE_COUNT, 1);
    add_wave(ret, "quarter", POLICY_WAVE_PERCENT, 25);
    add_wave(ret, "all", POLICY_WAVE_ALL, 0);
}

static void clear_waves(struct policy *policy)
{
    memset(policy->waves, 0, sizeof policy->waves);
    policy->waves_len = 0;
}

static void make_careful(struct policy *policy)
{
    clear_waves(policy);
    add_wave(policy, "canary", POLICY_WAVE_COUNT, 3);
    add_wave(policy, "tenth", POLICY_WAVE_PERCENT, 10);
    add_wave(policy, "half", POLICY_WAVE_PERCENT, 50);
    add_wave(policy, "all", POLICY_WAVE_ALL, 0);
    policy->soak_ms = 2 * HOUR_MS;
    policy->approvals = 1;
    policy->failures.max_percent = 2;
    policy->failures.max_abs = 10;
    policy->admission.max_unavailable_per_site_percent = 10;
    policy->admission.ramp_start = 5;
    policy->admission.ramp_gain = 1;
}

static void make_fast(struct policy *policy)
{
    clear_waves(policy);
    add_wave(policy, "canary", POLICY_WAVE_PERCENT, 10);
    policy->waves[0].canary = true;
    add_wave(policy, "all", POLICY_WAVE_ALL, 0);
    policy->soak_ms = 2 * MINUTE_MS;
    policy->coverage.deadline_ms = HOUR_MS;
    policy->progress_ms = HOUR_MS;
    policy->silent_ms = 3 * MINUTE_MS;
    policy->admission.lease_ms = 10 * MINUTE_MS;
    policy->admission.max_unavailable_per_site_percent = 50;
}

enum err_code policy_named(const char *name, struct policy *ret, struct err *err)
{
    struct policy policy;
    policy_default(&policy);
    if (str_equal(name, "careful"))
        make_careful(&policy);
    else if (str_equal(name, "fast"))
        make_fast(&policy);
    else if (!str_equal(name, "normal"))
        return err_set(err, ERR_NOT_FOUND,
                       "no policy \"%.64s\"; there are careful, normal and fast", name ? name : "");
    memset(policy.name, 0, sizeof policy.name);
    (void)snprintf(policy.name, sizeof policy.name, "%s", name);
    *ret = policy;
    return ERR_OK;
}

static enum err_code check_range(struct err *err, const char *what, double value, double min,
                                 double max)
{
    if (value >= min && value <= max) /* false for NaN */
        return ERR_OK;
    return err_set(err, ERR_MALFORMED, "%s is %g; it must be %g to %g", what, value, min, max);
}

static enum err_code check_duration(struct err *err, const char *what, int64_t ms, int64_t min)
{
    if (ms >= min && ms <= DURATION_MAX_MS)
        return ERR_OK;
    return err_set(err, ERR_MALFORMED, "%s is %lld ms; it must be %lld ms to 366 days", what,
                   (long long)ms, (long long)min);
}

static enum err_code check_wave(const struct policy *policy, uint32_t i, struct err *err)
{
    const struct policy_wave *wave = &policy->waves[i];
    const bool last = i + 1 == policy->waves_len;
    if (wave->kind > POLICY_WAVE_ALL)
        return err_set(err, ERR_MALFORMED, "waves[%u].kind is no kind of wave", i);
    if (last != (wave->kind == POLICY_WAVE_ALL))
        return err_set(err, ERR_MALFORMED,
                       last ? "the last wave must take all devices, or the rollout has no end"
                            : "waves[%u] takes all devices; only the last may",
                       i);
    if (wave->kind == POLICY_WAVE_PERCENT && (wave->percent < 1 || wave->percent > 100))
        return err_set(err, ERR_MALFORMED, "waves[%u].percent is %u; it must be 1 to 100", i,
                       wave->percent);
    if (wave->kind == POLICY_WAVE_COUNT && wave->count < 1)
        return err_set(err, ERR_MALFORMED, "waves[%u].count is 0; it must be at least 1", i);
    if (wave->kind == POLICY_WAVE_COUNT && wave->canary && wave->count > POLICY_NAMED_MAX)
        return err_set(err, ERR_MALFORMED, "waves[%u].count is %u; at most %d canaries", i,
                       wave->count, POLICY_NAMED_MAX);
    if (wave->soak_ms != -1 && check_duration(err, "a wave's soak", wave->soak_ms, 0) != ERR_OK)
        return ERR_MALFORMED;
    if (wave->approvals + policy->approvals > POLICY_APPROVALS_MAX)
        return err_set(err, ERR_MALFORMED, "waves[%u] asks for more than %d approvals", i,
                       POLICY_APPROVALS_MAX);
    return ERR_OK;
}

static enum err_code check_waves(const struct policy *policy, struct err *err)
{
    if (policy->waves_len < 1 || policy->waves_len > POLICY_WAVES_MAX)
        return err_set(err, ERR_MALFORMED, "there are %u waves; it must be 1 to %d",
                       policy->waves_len, POLICY_WAVES_MAX);
    if (policy->approvals > POLICY_APPROVALS_MAX)
        return err_set(err, ERR_MALFORMED, "approvals is %u; at most %d", policy->approvals,
                       POLICY_APPROVALS_MAX);
    for (uint32_t i = 0; i < policy->waves_len; i++)
        if (check_wave(policy, i, err) != ERR_OK)
            return ERR_MALFORMED;
    return ERR_OK;
}

static enum err_code check_gates(const struct policy *policy, struct err *err)
{
    if (check_range(err, "coverage.quorum", policy->coverage.quorum, 0.01, 1) != ERR_OK ||
        check_range(err, "failures.max_percent", policy->failures.max_percent, 0, 100) != ERR_OK)
        return ERR_MALFORMED;
    if (policy->rate.on &&
        (check_range(err, "rate.p0", policy->rate.p0, 1e-6, 0.5) != ERR_OK ||
         check_range(err, "rate.alpha", policy->rate.alpha, 1e-6, 0.5) != ERR_OK))
        return ERR_MALFORMED;
    if (policy->compare.on &&
        (check_range(err, "compare.tolerance", policy->compare.tolerance, 0.1, 100) != ERR_OK ||
         check_range(err, "compare.alpha", policy->compare.alpha, 1e-6, 0.5) != ERR_OK))
        return ERR_MALFORMED;
    return ERR_OK;
}

static enum err_code check_metrics(const struct policy *policy, struct err *err)
{
    if (policy->metrics_len > POLICY_METRICS_MAX)
        return err_set(err, ERR_MALFORMED, "there are %u metrics; at most %d", policy->metrics_len,
                       POLICY_METRICS_MAX);
    for (uint32_t i = 0; i < policy->metrics_len; i++) {
        const struct policy_metric *metric = &policy->metrics[i];
        if (isnan(metric->limit) || metric->op > POLICY_OP_AT_LEAST)
            return err_set(err, ERR_MALFORMED, "metrics[%u] has no condition", i);
        if (metric->count < 1)
            return err_set(err, ERR_MALFORMED,
                           "metrics[%u].count is 0; nothing passes without a measurement", i);
        if (check_duration(err, "a metric's max_age", metric->max_age_ms, 1) != ERR_OK ||
            check_duration(err, "a metric's deadline", metric->deadline_ms, 1) != ERR_OK)
            return ERR_MALFORMED;
    }
    return ERR_OK;
}

static enum err_code check_durations(const struct policy *policy, struct err *err)
{
    const struct {
        const char *what;
        int64_t ms, min;
    } durations[] = {
        {"eligible_age", policy->eligible_age_ms, 1000},
        {"coverage.deadline", policy->coverage.deadline_ms, 1000},
        {"soak", policy->soak_ms, 0},
        {"progress", policy->progress_ms, 1000},
        {"silent", policy->silent_ms, 1000},
        {"rollback", policy->rollback_ms, 1000},
        {"lease", policy->admission.lease_ms, 1000},
    };
    for (size_t i = 0; i < ARRAY_LEN(durations); i++)
        if (check_duration(err, durations[i].what, durations[i].ms, durations[i].min) != ERR_OK)
            return ERR_MALFORMED;
    return ERR_OK;
}

static enum err_code check_admission(const struct policy *policy, struct err *err)
{
    for (int c = 0; c < POLICY_CLASSES; c++)
        if (policy->retries[c] > POLICY_RETRIES_MAX)
            return err_set(err, ERR_MALFORMED, "retries.%s is %u; at most %d", policy_class_name(c),
                           policy->retries[c], POLICY_RETRIES_MAX);
    if (policy->floors_len > POLICY_FLOORS_MAX)
        return err_set(err, ERR_MALFORMED, "there are %u floors; at most %d", policy->floors_len,
                       POLICY_FLOORS_MAX);
    for (uint32_t i = 0; i < policy->floors_len; i++)
        if (!str_is_version(policy->floors[i].version) || !policy->floors[i].reason[0])
            return err_set(err, ERR_MALFORMED, "floors[%u] needs a version and a reason", i);
    return check_range(err, "max_unavailable_per_site_percent",
                       policy->admission.max_unavailable_per_site_percent, 0, 100);
}

enum err_code policy_check(const struct policy *policy, struct err *err)
{
    static enum err_code (*const checks[])(const struct policy *, struct err *) = {
        check_waves, check_gates, check_metrics, check_durations, check_admission,
    };
    for (size_t i = 0; i < ARRAY_LEN(checks); i++)
        if (checks[i](policy, err) != ERR_OK)
            return ERR_MALFORMED;
    return ERR_OK;
}

static bool is_picked(const struct policy_wave *wave)
{
    return wave->kind == POLICY_WAVE_SELECTOR || wave->kind == POLICY_WAVE_NAMED;
}

enum err_code policy_check_change(const struct policy *from, const struct policy *to, uint32_t wave,
                                  struct err *err)
{
    if (policy_check(to, err) != ERR_OK)
        return ERR_MALFORMED;
    for (uint32_t i = 0; i < POLICY_WAVES_MAX; i++) {
        const struct policy_wave *a = &from->waves[i];
        const struct policy_wave *b = &to->waves[i];
        const bool in_a = i < from->waves_len;
        const bool in_b = i < to->waves_len;
        const bool same = in_a == in_b && a->kind == b->kind && a->count == b->count &&
                          a->percent == b->percent && a->canary == b->canary &&
                          str_equal(a->selector, b->selector);
        if (i <= wave && !same)
            return err_set(err, ERR_CONFLICT, "wave %u has begun and cannot become another", i + 1);
        if (!same && ((in_a && is_picked(a)) || (in_b && is_picked(b))))
            return err_set(
                err, ERR_CONFLICT,
                "wave %u picks devices by name or selector, which is settled at the start", i + 1);
    }
    return ERR_OK;
}
