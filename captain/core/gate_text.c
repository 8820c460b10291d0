/* SPDX-License-Identifier: Apache-2.0
 *
 * What gates say to people.
 */
#include "captain/core/gate.h"

#include <stdio.h>

#include "captain/core/evalue.h"
#include "common/base/mem.h"
#include "common/base/str.h"

const char *gate_verdict_name(enum gate_verdict verdict)
{
    static const char *const names[] = {"pass", "wait", "hold", "fail"};
    return (unsigned)verdict < ARRAY_LEN(names) ? names[verdict] : "unknown";
}

static const char *const gate_names[GATE_IDS] = {
    "none",   "coverage", "failures", "rate",   "compare",  "soak",
    "metric", "approval", "progress", "freeze", "rollback",
};

const char *gate_name(enum gate_id gate)
{
    return (unsigned)gate < GATE_IDS ? gate_names[gate] : "unknown";
}

enum gate_id gate_by_name(const char *name)
{
    for (unsigned i = 1; i < GATE_IDS; i++)
        if (str_equal(name, gate_names[i]))
            return (enum gate_id)i;
    return 0;
}

const char *gate_reason_name(enum gate_reason reason)
{
    static const char *const names[GATE_REASONS] = {
        "ok",          "off",       "waiting_reports", "completing",   "no_data",    "missing",
        "no_eligible", "limit",     "class_limit",     "evidence",     "no_control", "dwelling",
        "measuring",   "threshold", "inconclusive",    "source_error", "stale",      "approvals",
        "no_progress", "frozen",    "rollback_failed",
    };
    return (unsigned)reason < GATE_REASONS ? names[reason] : "unknown";
}

static int print_coverage(const struct gate_result *result, char *ret, size_t size)
{
    const struct gate_evidence *e = &result->evidence;
    switch (result->reason) {
    case GATE_NO_ELIGIBLE:
        return snprintf(ret, size, "no device of this wave is eligible");
    case GATE_NO_DATA:
        return snprintf(ret, size, "none of %u devices has reported", e->n);
    case GATE_MISSING:
        return snprintf(ret, size, "%u of %u devices are missing, at most %.0f may be", e->missing,
                        e->n, e->threshold);
    case GATE_COMPLETING:
        return snprintf(ret, size, "waiting for the last %.0f devices", e->observed);
    case GATE_WAITING_REPORTS:
        return snprintf(ret, size, "%.0f of %u devices have reported, %.0f are needed", e->observed,
                        e->n, e->threshold);
    default:
        return snprintf(ret, size, "%u of %u devices are healthy, %u failed, %u missing",
                        e->healthy, e->n, e->failed, e->missing);
    }
}

static int print_failures(const struct gate_result *result, char *ret, size_t size)
{
    const struct gate_evidence *e = &result->evidence;
    if (result->reason == GATE_CLASS_LIMIT)
        return snprintf(ret, size, "%.0f devices ended %s, limit %.0f", e->observed,
                        policy_class_name(e->class), e->threshold);
    if (result->verdict == GATE_PASS && e->observed == 0 && e->healthy > 0)
        return snprintf(ret, size,
                        "0 of %u failed: with 95 %% confidence the rate is below %.0f %%",
                        e->healthy, 100 * evalue_zero_failures_bound(e->healthy));
    return snprintf(ret, size, "%.0f of %u failed, limit %.0f", e->observed, e->n, e->threshold);
}

static int print_compare(const struct gate_result *result, char *ret, size_t size)
{
    const struct gate_evidence *e = &result->evidence;
    if (result->reason == GATE_NO_CONTROL)
        return snprintf(ret, size, "%.0f control devices are left, %.0f are needed", e->observed,
                        e->threshold);
    return snprintf(ret, size,
                    "evidence that the canary is worse than control: E = %.4g of %.4g, p = %.2g",
                    e->observed, e->threshold, e->p);
}

static int print_soak(const struct gate_result *result, char *ret, size_t size)
{
    if (result->reason == GATE_NO_DATA)
        return snprintf(ret, size, "none of %u devices is healthy", result->evidence.n);
    return snprintf(ret, size, "%.0f of %.0f devices have been healthy for the whole soak",
                    result->evidence.observed, result->evidence.threshold);
}

static int print_metric(const struct policy *policy, const struct gate_result *result, char *ret,
                        size_t size)
{
    const struct gate_evidence *e = &result->evidence;
    const char *name = e->metric < policy->metrics_len ? policy->metrics[e->metric].name : "?";
    switch (result->reason) {
    case GATE_NO_DATA:
        return snprintf(ret, size, "metric %s has too few measurements", name);
    case GATE_INCONCLUSIVE:
        return snprintf(ret, size, "metric %s is inconclusive", name);
    case GATE_SOURCE_ERROR:
        return snprintf(ret, size, "the source of metric %s fails", name);
    case GATE_STALE:
        return snprintf(ret, size, "metric %s has no fresh measurement", name);
    case GATE_MEASURING:
        return snprintf(ret, size, "metric %s is being measured", name);
    default:
        return snprintf(ret, size, "metric %s is %g, limit %g", name, e->observed, e->threshold);
    }
}

static int print_progress(const struct gate_result *result, char *ret, size_t size)
{
    char since[32];
    str_format_duration((int64_t)result->evidence.observed, since);
    return snprintf(ret, size, "no device has changed for %s", since);
}

static int print_any(const struct policy *policy, const struct gate_result *result, char *ret,
                     size_t size)
{
    switch (result->gate) {
    case GATE_COVERAGE:
        return print_coverage(result, ret, size);
    case GATE_FAILURES:
        return print_failures(result, ret, size);
    case GATE_RATE:
        return snprintf(ret, size, "evidence that more than %g %% fail: E = %.4g of %.4g",
                        100 * policy->rate.p0, result->evidence.observed,
                        result->evidence.threshold);
    case GATE_COMPARE:
        return print_compare(result, ret, size);
    case GATE_SOAK:
        return print_soak(result, ret, size);
    case GATE_METRIC:
        return print_metric(policy, result, ret, size);
    case GATE_APPROVAL:
        return snprintf(ret, size, "%.0f of %.0f approvals", result->evidence.observed,
                        result->evidence.threshold);
    case GATE_PROGRESS:
        return print_progress(result, ret, size);
    case GATE_FREEZE:
        return snprintf(ret, size, "the fleet is frozen");
    case GATE_ROLLBACK:
        return snprintf(ret, size, "%.0f devices could not go back", result->evidence.observed);
    case GATE_IDS:
        break;
    }
    return snprintf(ret, size, "an operator decided");
}

void gate_sentence(const struct policy *policy, const struct gate_result *result,
                   char ret[static GATE_SENTENCE_MAX])
{
    if (result->reason == GATE_OFF)
        (void)snprintf(ret, GATE_SENTENCE_MAX, "not asked for");
    else if (result->gate != GATE_FREEZE || result->reason == GATE_FROZEN)
        (void)print_any(policy, result, ret, GATE_SENTENCE_MAX);
    else
        (void)snprintf(ret, GATE_SENTENCE_MAX, "the fleet is not frozen");
}
