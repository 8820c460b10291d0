/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "captain/io/policy_yaml.h"
#include "common/base/mem.h"

struct writer {
    char text[POLICY_YAML_MAX_BYTES];
    size_t len;
    bool full;
};

static void say(struct writer *writer, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void say(struct writer *writer, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const size_t room = sizeof writer->text - writer->len;
    const int len = vsnprintf(writer->text + writer->len, room, fmt, args);
    va_end(args);
    if (len < 0 || (size_t)len >= room)
        writer->full = true;
    else
        writer->len += (size_t)len;
}

/* Double quotes take every text that the reader takes. */
static void say_text(struct writer *writer, const char *key, const char *text)
{
    say(writer, "%s: \"", key);
    for (const char *p = text; *p; p++)
        say(writer, *p == '"' || *p == '\\' ? "\\%c" : "%c", *p);
    say(writer, "\"");
}

static void say_time(struct writer *writer, const char *key, int64_t ms)
{
    static const struct {
        int64_t ms;
        const char *unit;
    } units[] = {{INT64_C(86400000), "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
    size_t i = 0;
    while (i + 1 < ARRAY_LEN(units) && (ms == 0 || ms % units[i].ms != 0))
        i++;
    say(writer, "%s: %" PRId64 "%s", key, ms / units[i].ms, units[i].unit);
}

/* The shortest text that reads back to the same number. */
static void say_real(struct writer *writer, const char *key, double value)
{
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    say(writer, "%s: %s", key, text);
}

static const char *truth(bool value)
{
    return value ? "true" : "false";
}

static void say_devices(struct writer *writer, const char *names)
{
    say(writer, "devices: [");
    while (*names) {
        const size_t len = strcspn(names, ",");
        say(writer, "\"%.*s\"", (int)len, names);
        names += len;
        if (*names == ',') {
            say(writer, ", ");
            names++;
        }
    }
    say(writer, "]");
}

static void say_wave(struct writer *writer, const struct policy_wave *wave)
{
    say(writer, "  - {");
    say_text(writer, "name", wave->name);
    say(writer, ", ");
    switch (wave->kind) {
    case POLICY_WAVE_COUNT:
        say(writer, "count: %" PRIu32 ", canary: %s", wave->count, truth(wave->canary));
        break;
    case POLICY_WAVE_PERCENT:
        say(writer, "percent: %" PRIu32 ", canary: %s", wave->percent, truth(wave->canary));
        break;
    case POLICY_WAVE_SELECTOR:
        say_text(writer, "select", wave->selector);
        break;
    case POLICY_WAVE_NAMED:
        say_devices(writer, wave->selector);
        break;
    case POLICY_WAVE_ALL:
        say(writer, "all: true");
        break;
    }
    if (wave->soak_ms >= 0) {
        say(writer, ", ");
        say_time(writer, "soak", wave->soak_ms);
    }
    if (wave->approvals)
        say(writer, ", approvals: %" PRIu32, wave->approvals);
    say(writer, "}\n");
}

static void say_coverage(struct writer *writer, const struct policy *policy)
{
    say(writer, "coverage:\n");
    say_real(writer, "  quorum", policy->coverage.quorum);
    say(writer, "\n");
    if (policy->coverage.max_missing_set)
        say(writer, "  max_missing: %" PRIu32 "\n", policy->coverage.max_missing);
    say_time(writer, "  deadline", policy->coverage.deadline_ms);
    say(writer, "\n  on_missing: %s\n",
        policy->coverage.on_missing == POLICY_ON_FAIL ? "fail" : "hold");
}

static void say_failures(struct writer *writer, const struct policy *policy)
{
    const char *before = "  class_limit: {";
    say(writer,
        "failures:\n  min_abs: %" PRIu32 "\n  max_abs: %" PRIu32 "\n  max_percent: %" PRIu32 "\n",
        policy->failures.min_abs, policy->failures.max_abs, policy->failures.max_percent);
    for (unsigned c = 0; c < POLICY_CLASSES; c++) {
        if (policy->failures.class_limit[c] == POLICY_NO_LIMIT)
            continue;
        say(writer, "%s%s: %" PRIu32, before, policy_class_name((enum policy_class)c),
            policy->failures.class_limit[c]);
        before = ", ";
    }
    if (before[0] == ',')
        say(writer, "}\n");
}

static void say_evidence(struct writer *writer, const struct policy *policy)
{
    static const char *const no_control[] = {"last", "never", "always"};
    say(writer, "rate:\n  on: %s\n", truth(policy->rate.on));
    say_real(writer, "  p0", policy->rate.p0);
    say_real(writer, "\n  alpha", policy->rate.alpha);
    say(writer, "\ncompare:\n  on: %s\n", truth(policy->compare.on));
    say_real(writer, "  tolerance", policy->compare.tolerance);
    say_real(writer, "\n  alpha", policy->compare.alpha);
    say(writer, "\n  min_control: %" PRIu32 "\n  no_control: %s\n", policy->compare.min_control,
        no_control[policy->compare.no_control]);
}

static void say_metric(struct writer *writer, const struct policy_metric *metric)
{
    static const char *const ops[] = {"below", "at_most", "above", "at_least"};
    say_text(writer, "  - name", metric->name);
    say_text(writer, "\n    source", metric->source);
    say(writer, "\n    op: %s\n", ops[metric->op]);
    say_real(writer, "    limit", metric->limit);
    say(writer,
        "\n    count: %" PRIu32 "\n    failure_limit: %" PRIu32 "\n    inconclusive_limit: %" PRIu32
        "\n    error_limit: %" PRIu32 "\n",
        metric->count, metric->failure_limit, metric->inconclusive_limit, metric->error_limit);
    say_time(writer, "    max_age", metric->max_age_ms);
    say_time(writer, "\n    deadline", metric->deadline_ms);
    say_time(writer, "\n    every", metric->every_ms);
    say(writer, "\n");
}

static void say_admission(struct writer *writer, const struct policy *policy)
{
    say_time(writer, "admission:\n  lease", policy->admission.lease_ms);
    say(writer,
        "\n  max_in_flight: %" PRIu32 "\n  max_in_flight_per_site: %" PRIu32
        "\n  max_in_flight_per_group: %" PRIu32 "\n",
        policy->admission.max_in_flight, policy->admission.max_in_flight_per_site,
        policy->admission.max_in_flight_per_group);
    say(writer, "  max_unavailable_per_site_percent: %" PRIu32 "\n  allow_one: %s\n",
        policy->admission.max_unavailable_per_site_percent, truth(policy->admission.allow_one));
    say(writer, "  ramp_start: %" PRIu32 "\n  ramp_gain: %" PRIu32 "\n",
        policy->admission.ramp_start, policy->admission.ramp_gain);
    say(writer, "  window_end: %s\n  rollback_in_windows: %s\n",
        policy->admission.window_end == POLICY_WINDOW_STOP_OFFERS ? "stop_offers" : "finish",
        truth(policy->admission.rollback_in_windows));
}

static void say_lists(struct writer *writer, const struct policy *policy)
{
    if (policy->metrics_len)
        say(writer, "metrics:\n");
    for (uint32_t i = 0; i < policy->metrics_len; i++)
        say_metric(writer, &policy->metrics[i]);
    if (policy->floors_len)
        say(writer, "floors:\n");
    for (uint32_t i = 0; i < policy->floors_len; i++) {
        say_text(writer, "  - {version", policy->floors[i].version);
        say_text(writer, ", reason", policy->floors[i].reason);
        say(writer, "}\n");
    }
}

static void say_policy(struct writer *writer, const struct policy *policy)
{
    say_text(writer, "name", policy->name);
    say(writer, "\nwaves:\n");
    for (uint32_t i = 0; i < policy->waves_len; i++)
        say_wave(writer, &policy->waves[i]);
    say(writer, "on_fail: %s\n", policy->on_fail == POLICY_FAIL_HOLD ? "hold" : "abort");
    say_time(writer, "eligible_age", policy->eligible_age_ms);
    say(writer, "\n");
    say_coverage(writer, policy);
    say_failures(writer, policy);
    say_evidence(writer, policy);
    say_time(writer, "soak", policy->soak_ms);
    say_time(writer, "\nprogress", policy->progress_ms);
    say(writer, "\napprovals: %" PRIu32 "\nretries: {", policy->approvals);
    for (unsigned c = 0; c < POLICY_CLASSES; c++)
        say(writer, "%s%s: %" PRIu32, c ? ", " : "", policy_class_name((enum policy_class)c),
            policy->retries[c]);
    say_time(writer, "}\nsilent", policy->silent_ms);
    say_time(writer, "\nrollback", policy->rollback_ms);
    say(writer, "\n");
    say_admission(writer, policy);
    say_lists(writer, policy);
}

enum err_code policy_yaml_write(const struct policy *policy, struct arena *arena, const char **ret,
                                struct err *err)
{
    if (policy_check(policy, err))
        return err->code;
    struct writer *writer DEFER(mem_free_ref) = mem_new(1, sizeof *writer);
    say_policy(writer, policy);
    const char *text = writer->full ? NULL : arena_strdup(arena, writer->text);
    if (!text)
        return err_set(err, ERR_SIZE, "the policy is too large to be written");
    *ret = text;
    return ERR_OK;
}
