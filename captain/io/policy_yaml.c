/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/policy_yaml.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "captain/core/metric.h"
#include "captain/io/yaml_bind.h"
#include "common/base/mem.h"

enum { ARENA_MAX_BYTES = 4 << 20, NAMED_MAX = 64, SECTIONS = 6 };
#define DURATION_MAX_MS (INT64_C(366) * 24 * 3600 * 1000)

/* A wave as it is written: exactly one of the five says whom it takes. */
struct wave_file {
    struct yaml_place place;
    char name[POLICY_NAME_MAX];
    uint32_t count, percent;
    char select[POLICY_TEXT_MAX];
    const char *const *devices;
    size_t devices_len;
    bool all;
    int canary; /* a choice, so that "not said" can be told from false */
    int64_t soak_ms;
    uint32_t approvals;
};
struct metric_file {
    struct yaml_place place;
    struct policy_metric metric;
};
struct floor_file {
    struct yaml_place place;
    struct policy_floor floor;
};
struct file {
    struct yaml_place place, sections[SECTIONS];
    char extends[POLICY_NAME_MAX];
    struct policy policy;
    uint32_t max_missing; /* POLICY_NO_LIMIT: not said */
    struct wave_file *waves;
    size_t waves_len;
    struct metric_file *metrics;
    size_t metrics_len;
    struct floor_file *floors;
    size_t floors_len;
};

/* Texts end up in sentences, on terminals and in YAML again. */
static const char *must_plain(const char *text)
{
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            return "a text without control characters";
    return text[0] ? NULL : "a text that is not empty";
}

static const char *must_source(const char *text)
{
    struct metric_source source;
    if (metric_parse(text, &source, NULL) == ERR_OK)
        return must_plain(text);
    return "a telemetry, app or prometheus source as in captain-policy.yaml(5)";
}

static const char *must_name(const char *text)
{
    return str_is_token(text) && strlen(text) < POLICY_NAME_MAX
               ? NULL
               : "letters, digits, _ and -, at most 63";
}

static const char *must_version(const char *text)
{
    return str_is_version(text) && strlen(text) < POLICY_NAME_MAX ? NULL : "a version";
}

/* "k=v,k=v": devices that have all of these labels. */
static const char *must_selector(const char *text)
{
    for (const char *term = text; term; term = strchr(term, ',') ? strchr(term, ',') + 1 : NULL) {
        char key[POLICY_TEXT_MAX];
        (void)snprintf(key, sizeof key, "%.*s", (int)strcspn(term, ","), term);
        char *value = strchr(key, '=');
        if (value)
            *value++ = '\0';
        if (!value || !str_is_token(key) || !str_is_version(value))
            return "KEY=VALUE, several parted by commas";
    }
    return NULL;
}

static const char *must_device(const char *text)
{
    char site[TOKEN_MAX + 1], device[TOKEN_MAX + 1];
    const bool right = str_split_pair(text, '/', site, device, NULL) == ERR_OK &&
                       str_is_token(site) && str_is_token(device);
    return right ? NULL : "SITE/DEVICE";
}

static const struct yaml_choice on_fail_choices[] = {
    {"abort", POLICY_FAIL_ABORT}, {"hold", POLICY_FAIL_HOLD}, {NULL, 0}};
static const struct yaml_choice on_missing_choices[] = {
    {"hold", POLICY_ON_HOLD}, {"fail", POLICY_ON_FAIL}, {NULL, 0}};
static const struct yaml_choice no_control_choices[] = {{"last", POLICY_NO_CONTROL_LAST},
                                                        {"never", POLICY_NO_CONTROL_NEVER},
                                                        {"always", POLICY_NO_CONTROL_ALWAYS},
                                                        {NULL, 0}};
/* Names in front: they are what is written. */
static const struct yaml_choice op_choices[] = {
    {"below", POLICY_OP_BELOW},       {"at_most", POLICY_OP_AT_MOST}, {"above", POLICY_OP_ABOVE},
    {"at_least", POLICY_OP_AT_LEAST}, {"<", POLICY_OP_BELOW},         {"<=", POLICY_OP_AT_MOST},
    {">", POLICY_OP_ABOVE},           {">=", POLICY_OP_AT_LEAST},     {NULL, 0}};
static const struct yaml_choice windows_choices[] = {
    {"finish", POLICY_WINDOW_FINISH}, {"stop_offers", POLICY_WINDOW_STOP_OFFERS}, {NULL, 0}};
enum { CANARY_UNSAID, CANARY_YES, CANARY_NO };
static const struct yaml_choice canary_choices[] = {
    {"true", CANARY_YES}, {"false", CANARY_NO}, {NULL, 0}};

#define AT(type, member) .offset = offsetof(type, member)
#define LIST(type, member)                                                                         \
    .offset = offsetof(type, member), .len_offset = offsetof(type, member##_len)
#define CHARS(type, member) AT(type, member), .max = sizeof(((type *)0)->member) - 1
#define TIME(key, member)                                                                          \
    {                                                                                              \
        key, YAML_MS64, false, AT(S, member), .max = (uint64_t)DURATION_MAX_MS, .example = "30m"   \
    }
#define COUNT(key, member)                                                                         \
    {                                                                                              \
        key, YAML_NUMBER, false, AT(S, member), .max = UINT32_MAX - 1, .example = "1"              \
    }
#define REAL(key, member, example_)                                                                \
    {                                                                                              \
        key, YAML_REAL, false, AT(S, member), .example = example_                                  \
    }
#define BOOL(key, member)                                                                          \
    {                                                                                              \
        key, YAML_BOOL, false, AT(S, member), .example = "true"                                    \
    }
#define CHOICE(key, member, choices_, example_)                                                    \
    {                                                                                              \
        key, YAML_CHOICE, false, AT(S, member), .choices = choices_, .example = example_           \
    }
#define SECTION(key, map_)                                                                         \
    {                                                                                              \
        key, YAML_MAP, false, .map = &map_                                                         \
    }
/* What an item of a list is as long as its file does not say. */
static const struct wave_file wave_initial = {.soak_ms = -1};
static const struct metric_file metric_initial = {
    .metric = {.count = 1, .max_age_ms = 300000, .deadline_ms = 3600000, .every_ms = 30000}};

#define MAP(map_name, what_, place_, fields_, initial_)                                            \
    static const struct yaml_map map_name = {what_,   sizeof(S),          offsetof(S, place_),     \
                                             fields_, ARRAY_LEN(fields_), initial_}

#define S struct wave_file
static const struct yaml_field wave_fields[] = {
    {"name", YAML_CHARS, true, CHARS(S, name), .breach = must_name, .example = "canary"},
    {"count", YAML_NUMBER, false, AT(S, count), .min = 1, .max = UINT32_MAX - 1, .example = "5"},
    {"percent", YAML_NUMBER, false, AT(S, percent), .min = 1, .max = 100, .example = "25"},
    {"select", YAML_CHARS, false, CHARS(S, select), .breach = must_selector,
     .example = "site=berlin"},
    {"devices", YAML_TEXTS, false, LIST(S, devices), .max = NAMED_MAX, .breach = must_device,
     .example = "[berlin/door-1]"},
    BOOL("all", all),
    CHOICE("canary", canary, canary_choices, "true"),
    TIME("soak", soak_ms),
    {"approvals", YAML_NUMBER, false, AT(S, approvals), .max = POLICY_APPROVALS_MAX,
     .example = "1"},
};
MAP(wave_map, "a wave", place, wave_fields, &wave_initial);
#undef S

#define S struct metric_file
static const struct yaml_field metric_fields[] = {
    {"name", YAML_CHARS, true, CHARS(S, metric.name), .breach = must_name, .example = "errors"},
    {"source", YAML_CHARS, true, CHARS(S, metric.source), .breach = must_source,
     .example = "telemetry p95 cpu_percent"},
    {"op", YAML_CHOICE, true, AT(S, metric.op), .choices = op_choices, .example = "below"},
    {"limit", YAML_REAL, true, AT(S, metric.limit), .example = "0.5"},
    {"count", YAML_NUMBER, false, AT(S, metric.count), .min = 1, .max = 1000, .example = "3"},
    COUNT("failure_limit", metric.failure_limit),
    COUNT("inconclusive_limit", metric.inconclusive_limit),
    COUNT("error_limit", metric.error_limit),
    TIME("max_age", metric.max_age_ms),
    TIME("deadline", metric.deadline_ms),
    TIME("every", metric.every_ms),
};
MAP(metric_map, "a metric", place, metric_fields, &metric_initial);
#undef S

#define S struct floor_file
static const struct yaml_field floor_fields[] = {
    {"version", YAML_CHARS, true, CHARS(S, floor.version), .breach = must_version,
     .example = "1.4"},
    {"reason", YAML_CHARS, true, CHARS(S, floor.reason), .breach = must_plain,
     .example = "moves the database"},
};
MAP(floor_map, "a floor", place, floor_fields, NULL);
#undef S

/* The sections lie at offset 0: what is in them has its offset in the whole file. */
#define S struct file
static const struct yaml_field coverage_fields[] = {
    REAL("quorum", policy.coverage.quorum, "0.9"),
    COUNT("max_missing", max_missing),
    TIME("deadline", policy.coverage.deadline_ms),
    CHOICE("on_missing", policy.coverage.on_missing, on_missing_choices, "hold"),
};
MAP(coverage_map, "coverage", sections[0], coverage_fields, NULL);
static const struct yaml_field class_limit_fields[] = {
    COUNT("failed", policy.failures.class_limit[POLICY_FAILED]),
    COUNT("rejected", policy.failures.class_limit[POLICY_REJECTED]),
    COUNT("timed_out", policy.failures.class_limit[POLICY_TIMED_OUT]),
    COUNT("silent", policy.failures.class_limit[POLICY_SILENT]),
};
MAP(class_limit_map, "class_limit", sections[1], class_limit_fields, NULL);
static const struct yaml_field failures_fields[] = {
    COUNT("min_abs", policy.failures.min_abs),
    COUNT("max_abs", policy.failures.max_abs),
    COUNT("max_percent", policy.failures.max_percent),
    SECTION("class_limit", class_limit_map),
};
MAP(failures_map, "failures", sections[1], failures_fields, NULL);
static const struct yaml_field rate_fields[] = {
    BOOL("on", policy.rate.on),
    REAL("p0", policy.rate.p0, "0.02"),
    REAL("alpha", policy.rate.alpha, "0.01"),
};
MAP(rate_map, "rate", sections[2], rate_fields, NULL);
static const struct yaml_field compare_fields[] = {
    BOOL("on", policy.compare.on),
    REAL("tolerance", policy.compare.tolerance, "1.0"),
    REAL("alpha", policy.compare.alpha, "0.01"),
    COUNT("min_control", policy.compare.min_control),
    CHOICE("no_control", policy.compare.no_control, no_control_choices, "last"),
};
MAP(compare_map, "compare", sections[3], compare_fields, NULL);
static const struct yaml_field retries_fields[] = {
    COUNT("failed", policy.retries[POLICY_FAILED]),
    COUNT("rejected", policy.retries[POLICY_REJECTED]),
    COUNT("timed_out", policy.retries[POLICY_TIMED_OUT]),
    COUNT("silent", policy.retries[POLICY_SILENT]),
};
MAP(retries_map, "retries", sections[4], retries_fields, NULL);
static const struct yaml_field admission_fields[] = {
    TIME("lease", policy.admission.lease_ms),
    COUNT("max_in_flight", policy.admission.max_in_flight),
    COUNT("max_in_flight_per_site", policy.admission.max_in_flight_per_site),
    COUNT("max_in_flight_per_group", policy.admission.max_in_flight_per_group),
    COUNT("max_unavailable_per_site_percent", policy.admission.max_unavailable_per_site_percent),
    BOOL("allow_one", policy.admission.allow_one),
    COUNT("ramp_start", policy.admission.ramp_start),
    COUNT("ramp_gain", policy.admission.ramp_gain),
    CHOICE("window_end", policy.admission.window_end, windows_choices, "finish"),
    BOOL("rollback_in_windows", policy.admission.rollback_in_windows),
};
MAP(admission_map, "admission", sections[5], admission_fields, NULL);

static const struct yaml_field file_fields[] = {
    {"name", YAML_CHARS, false, CHARS(S, policy.name), .breach = must_name, .example = "nightly"},
    {"extends", YAML_CHARS, false, CHARS(S, extends), .breach = must_name, .example = "careful"},
    {"waves", YAML_MAPS, false, LIST(S, waves), .max = POLICY_WAVES_MAX, .map = &wave_map},
    CHOICE("on_fail", policy.on_fail, on_fail_choices, "abort"),
    TIME("eligible_age", policy.eligible_age_ms),
    SECTION("coverage", coverage_map),
    SECTION("failures", failures_map),
    SECTION("rate", rate_map),
    SECTION("compare", compare_map),
    TIME("soak", policy.soak_ms),
    TIME("progress", policy.progress_ms),
    {"approvals", YAML_NUMBER, false, AT(S, policy.approvals), .max = POLICY_APPROVALS_MAX,
     .example = "1"},
    {"metrics", YAML_MAPS, false, LIST(S, metrics), .max = POLICY_METRICS_MAX, .map = &metric_map},
    SECTION("retries", retries_map),
    TIME("silent", policy.silent_ms),
    TIME("rollback", policy.rollback_ms),
    SECTION("admission", admission_map),
    {"floors", YAML_MAPS, false, LIST(S, floors), .max = POLICY_FLOORS_MAX, .map = &floor_map},
};
MAP(file_map, "a policy", place, file_fields, NULL);
#undef S

/* From the file to the policy. */

static enum err_code take_whom(const char *name, const struct wave_file *from,
                               struct policy_wave *ret, struct err *err)
{
    const int said = (from->count > 0) + (from->percent > 0) + (from->select[0] != '\0') +
                     (from->devices_len > 0) + from->all;
    if (said != 1) {
        yaml_complain(err, name, from->place,
                      "wave %s needs %s of count, percent, select, devices, all", from->name,
                      said ? "only one" : "one");
        return err_hint(err, "count: 5");
    }
    ret->count = from->count;
    ret->percent = from->percent;
    ret->kind = from->count         ? POLICY_WAVE_COUNT
                : from->percent     ? POLICY_WAVE_PERCENT
                : from->select[0]   ? POLICY_WAVE_SELECTOR
                : from->devices_len ? POLICY_WAVE_NAMED
                                    : POLICY_WAVE_ALL;
    (void)snprintf(ret->selector, sizeof ret->selector, "%s", from->select);
    return ERR_OK;
}

static enum err_code take_devices(const char *name, const struct wave_file *from,
                                  struct policy_wave *ret, struct err *err)
{
    for (size_t i = 0; i < from->devices_len; i++) {
        const size_t used = strlen(ret->selector);
        const size_t room = sizeof ret->selector - used;
        const size_t need = strlen(from->devices[i]) + (i > 0);
        if (need >= room) {
            yaml_complain(err, name, from->place, "wave %s: the names of its devices are too long",
                          from->name);
            return err_hint(err, "label them and pick them by select: KEY=VALUE");
        }
        (void)snprintf(ret->selector + used, room, "%s%s", i ? "," : "", from->devices[i]);
    }
    return ERR_OK;
}

static enum err_code take_wave(const char *name, const struct wave_file *from,
                               struct policy_wave *ret, struct err *err)
{
    memcpy(ret->name, from->name, sizeof ret->name);
    ret->soak_ms = from->soak_ms;
    ret->approvals = from->approvals;
    if (take_whom(name, from, ret, err) || take_devices(name, from, ret, err))
        return err->code;
    const bool drawn = ret->kind == POLICY_WAVE_COUNT || ret->kind == POLICY_WAVE_PERCENT;
    if (from->canary == CANARY_YES && !drawn)
        return yaml_complain(err, name, from->place,
                             "wave %s: canaries are drawn for count and percent only", from->name);
    ret->canary = drawn && (from->canary == CANARY_YES ||
                            (from->canary == CANARY_UNSAID && ret->kind == POLICY_WAVE_COUNT));
    return ERR_OK;
}

static enum err_code take_waves(const char *name, const struct file *file, struct policy *ret,
                                struct err *err)
{
    if (!file->waves)
        return ERR_OK;
    memset(ret->waves, 0, sizeof ret->waves);
    ret->waves_len = (uint32_t)file->waves_len;
    for (size_t i = 0; i < file->waves_len; i++) {
        if (take_wave(name, &file->waves[i], &ret->waves[i], err))
            return err->code;
        for (size_t k = 0; k < i; k++)
            if (str_equal(ret->waves[k].name, ret->waves[i].name))
                return yaml_complain(err, name, file->waves[i].place, "there are two waves %s",
                                     ret->waves[i].name);
    }
    return ERR_OK;
}

static void take_lists(const struct file *file, struct policy *ret)
{
    if (file->metrics) {
        memset(ret->metrics, 0, sizeof ret->metrics);
        ret->metrics_len = (uint32_t)file->metrics_len;
        for (size_t i = 0; i < file->metrics_len; i++)
            memcpy(&ret->metrics[i], &file->metrics[i].metric, sizeof ret->metrics[i]);
    }
    if (file->floors) {
        memset(ret->floors, 0, sizeof ret->floors);
        ret->floors_len = (uint32_t)file->floors_len;
        for (size_t i = 0; i < file->floors_len; i++)
            memcpy(&ret->floors[i], &file->floors[i].floor, sizeof ret->floors[i]);
    }
}

/* "policies/nightly.yaml" is called nightly, unless it says otherwise. */
static void name_by_file(const char *name, char ret[static POLICY_NAME_MAX])
{
    const char *slash = strrchr(name, '/');
    const char *stem = slash ? slash + 1 : name;
    memset(ret, 0, POLICY_NAME_MAX);
    (void)snprintf(ret, POLICY_NAME_MAX, "%.*s", (int)strcspn(stem, "."), stem);
    if (must_name(ret))
        memcpy(ret, "custom", sizeof "custom");
}

/* A rule of policy_check begins with the field it is about ("waves[1].percent is 0; ..."), or it
 * speaks of a list ("the last wave must ..."). */
static enum err_code complain_of_rule(const char *name, struct bytes text, const struct err *rule,
                                      struct err *err)
{
    char path[96];
    const size_t len = strspn(rule->text, "abcdefghijklmnopqrstuvwxyz_0123456789.[]");
    (void)snprintf(path, sizeof path, "%.*s", (int)(len < sizeof path ? len : sizeof path - 1),
                   rule->text);
    const char *list = strstr(rule->text, "metric") ? "metrics" : "waves";
    const bool sentence =
        str_equal(path, "the") || str_equal(path, "there") || str_equal(path, "a");
    if (sentence)
        (void)snprintf(path, sizeof path, "%s", list);
    return yaml_complain(err, name, yaml_find(text, path), "%s", rule->text);
}

static enum err_code start_from(const char *name, struct bytes text, const char *extends,
                                struct policy *ret, struct err *err)
{
    if (policy_named(extends[0] ? extends : "normal", ret, err) == ERR_OK)
        return ERR_OK;
    yaml_complain(err, name, yaml_find(text, "extends"), "there is no policy %s to extend",
                  extends);
    return err_hint(err, "extends: careful, normal or fast");
}

static enum err_code parse(const char *name, struct bytes text, struct arena *arena,
                           struct policy *ret, struct err *err)
{
    struct file *first = arena_alloc(arena, sizeof *first);
    struct file *file = arena_alloc(arena, sizeof *file);
    if (!first || !file)
        return err_set(err, ERR_SIZE, "no room to read %s", name);
    /* Twice: what the keys are written over is only known when `extends` is. */
    if (yaml_bind(name, text, &file_map, arena, first, err) ||
        start_from(name, text, first->extends, &file->policy, err))
        return err->code;
    name_by_file(name, file->policy.name);
    file->max_missing = POLICY_NO_LIMIT;
    if (yaml_bind(name, text, &file_map, arena, file, err))
        return err->code;
    if (file->max_missing != POLICY_NO_LIMIT) {
        file->policy.coverage.max_missing_set = true;
        file->policy.coverage.max_missing = file->max_missing;
    }
    if (take_waves(name, file, &file->policy, err))
        return err->code;
    take_lists(file, &file->policy);
    memcpy(ret, &file->policy, sizeof *ret); /* padding too: it is digested */
    return ERR_OK;
}

/* Room for the file's nodes as texts, and for the two structs. */
enum err_code policy_yaml_parse(const char *name, struct bytes text, struct policy *ret,
                                struct err *err)
{
    struct policy policy;
    struct err rule = {0};
    if (text.len > POLICY_YAML_MAX_BYTES)
        return err_set(err, ERR_USAGE, "%s is larger than %d bytes", name, POLICY_YAML_MAX_BYTES);
    if (text.len == 0)
        return policy_named(name, ret, err);
    struct arena arena DEFER(arena_fini);
    arena_init(&arena, ARENA_MAX_BYTES);
    if (parse(name, text, &arena, &policy, err))
        return err->code;
    if (policy_check(&policy, &rule))
        return complain_of_rule(name, text, &rule, err);
    memcpy(ret, &policy, sizeof *ret);
    return ERR_OK;
}
