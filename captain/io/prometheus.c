/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/prometheus.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The question. */

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("-._~", c));
}

static char *escape(const char *text, struct arena *arena)
{
    static const char digits[] = "0123456789ABCDEF";
    char *escaped = arena_alloc(arena, strlen(text) * 3 + 1);
    if (!escaped)
        return NULL;
    char *to = escaped;
    for (const char *from = text; *from; from++) {
        const unsigned char c = (unsigned char)*from;
        if (is_plain(*from)) {
            *to++ = *from;
            continue;
        }
        *to++ = '%';
        *to++ = digits[c >> 4];
        *to++ = digits[c & 15];
    }
    *to = '\0';
    return escaped;
}

const char *prometheus_url(const char *url, const char *query, int64_t max_age_ms,
                           struct arena *arena)
{
    const char *escaped = escape(query, arena);
    if (!escaped)
        return NULL;
    if (max_age_ms <= 0 || max_age_ms >= PROMETHEUS_LOOKBACK_MAX_MS)
        return arena_printf(arena, "%s/api/v1/query?query=%s", url, escaped);
    return arena_printf(arena, "%s/api/v1/query?query=%s&lookback_delta=%" PRId64 ".%03d", url,
                        escaped, max_age_ms / 1000, (int)(max_age_ms % 1000));
}

/* The answer. */

/* [ time, "value" ] */
static enum err_code read_sample(const json_t *sample, struct prometheus_answer *ret,
                                 struct err *err)
{
    const json_t *time = json_array_get(sample, 0);
    const char *text = json_string_value(json_array_get(sample, 1));
    const double time_s = json_number_value(time);
    char *end = NULL;
    if (!json_is_number(time) || !text || !text[0] || fabs(time_s) > 1e12)
        return err_set(err, ERR_MALFORMED, "the answer has no sample of a time and a value");
    const double value = strtod(text, &end);
    if (*end)
        return err_set(err, ERR_MALFORMED, "the value \"%.40s\" is no number", text);
    *ret = (struct prometheus_answer){.value = value, .time_ms = (int64_t)(time_s * 1000)};
    return ERR_OK;
}

static enum err_code read_vector(const json_t *result, struct prometheus_answer *ret,
                                 struct err *err)
{
    const size_t len = json_array_size(result);
    if (!json_is_array(result))
        return err_set(err, ERR_MALFORMED, "the answer has no result");
    if (len > 1)
        return err_set(err, ERR_CONFLICT, "the query gives %zu series, and must give one", len);
    if (len == 1)
        return read_sample(json_object_get(json_array_get(result, 0), "value"), ret, err);
    *ret = (struct prometheus_answer){.empty = true};
    return ERR_OK;
}

static enum err_code read_answer(const json_t *answer, struct prometheus_answer *ret,
                                 struct err *err)
{
    const char *status = json_string_value(json_object_get(answer, "status"));
    const char *why = json_string_value(json_object_get(answer, "error"));
    const json_t *data = json_object_get(answer, "data");
    const char *type = json_string_value(json_object_get(data, "resultType"));
    const json_t *result = json_object_get(data, "result");
    if (status && str_equal(status, "error"))
        return err_set(err, ERR_FAILED, "%.300s", why ? why : "the query failed");
    if (!status || !str_equal(status, "success") || !type)
        return err_set(err, ERR_MALFORMED, "this is no answer of Prometheus");
    if (str_equal(type, "vector"))
        return read_vector(result, ret, err);
    if (str_equal(type, "scalar"))
        return read_sample(result, ret, err);
    return err_set(err, ERR_MALFORMED, "the query gives a %.40s, and must give one number", type);
}

enum err_code prometheus_read(struct bytes text, struct prometheus_answer *ret, struct err *err)
{
    json_error_t why;
    json_t *answer = json_loadb((const char *)text.ptr, text.len, JSON_REJECT_DUPLICATES, &why);
    if (!answer)
        return err_set(err, ERR_MALFORMED, "the answer is no JSON: %s", why.text);
    const enum err_code code = read_answer(answer, ret, err);
    json_decref(answer);
    return code;
}
