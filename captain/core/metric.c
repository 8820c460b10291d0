/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/core/metric.h"

#include <math.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/str.h"

enum { WORD_MAX = POLICY_TEXT_MAX, FRACTION_DIGITS_MAX = 6 };
static const double smallest = 1e-9;
static const double growth = 1.02;

static const char *const field_names[METRIC_FIELDS] = {
    [METRIC_CPU_PERCENT] = "cpu_percent",
    [METRIC_MEMORY_USED_PERCENT] = "memory_used_percent",
    [METRIC_MEMORY_USED_BYTES] = "memory_used_bytes",
    [METRIC_MEMORY_AVAILABLE_BYTES] = "memory_available_bytes",
    [METRIC_DISK_USED_PERCENT] = "disk_used_percent",
    [METRIC_DISK_USED_BYTES] = "disk_used_bytes",
    [METRIC_DISK_FREE_BYTES] = "disk_free_bytes",
    [METRIC_TEMPERATURE_CELSIUS] = "temperature_celsius",
    [METRIC_UPTIME_S] = "uptime_s",
};

static const struct {
    const char *name;
    enum metric_statistic statistic;
} statistics[] = {
    {"mean", METRIC_MEAN}, {"min", METRIC_MIN},   {"max", METRIC_MAX},
    {"sum", METRIC_SUM},   {"rate", METRIC_RATE}, {"count", METRIC_COUNT},
};

static const struct {
    const char *text;
    enum metric_form form;
} forms[] = {
    {"", METRIC_OF_CANARY},
    {"canary", METRIC_OF_CANARY},
    {"control", METRIC_OF_CONTROL},
    {"canary / control", METRIC_RATIO},
    {"canary - control", METRIC_DIFFERENCE},
};

/* Reading. */

/* The next word of *text, which moves behind it; "" at the end. */
static void next_word(const char **text, char ret[static WORD_MAX])
{
    const char *from = *text + strspn(*text, " ");
    const size_t len = strcspn(from, " ");
    const size_t kept = len < WORD_MAX ? len : WORD_MAX - 1;
    memcpy(ret, from, kept);
    ret[kept] = '\0';
    *text = from + len + strspn(from + len, " ");
}

static double read_digits(const char **text)
{
    double value = 0;
    for (; **text >= '0' && **text <= '9'; (*text)++)
        value = value * 10 + (**text - '0');
    return value;
}

/* "95" or "99.9", above 0 and at most 100. */
static bool read_percentile(const char *text, double *ret)
{
    const char *at = text;
    double value = read_digits(&at);
    if (at == text || at - text > 3)
        return false;
    if (*at == '.') {
        const char *fraction = ++at;
        const double digits = read_digits(&at);
        const int len = (int)(at - fraction);
        if (len == 0 || len > FRACTION_DIGITS_MAX)
            return false;
        value += digits / pow(10, len);
    }
    *ret = value;
    return *at == '\0' && value > 0 && value <= 100;
}

static bool read_statistic(const char *word, struct metric_source *ret)
{
    if (word[0] == 'p') {
        ret->statistic = METRIC_PERCENTILE;
        return read_percentile(word + 1, &ret->percentile);
    }
    for (size_t i = 0; i < ARRAY_LEN(statistics); i++) {
        if (!str_equal(word, statistics[i].name))
            continue;
        ret->statistic = statistics[i].statistic;
        return true;
    }
    return false;
}

static bool read_field(const char *word, enum metric_field *ret)
{
    for (unsigned i = 0; i < METRIC_FIELDS; i++) {
        if (!str_equal(word, field_names[i]))
            continue;
        *ret = (enum metric_field)i;
        return true;
    }
    return false;
}

static enum err_code unknown_field(const char *word, struct err *err)
{
    unsigned nearest = 0;
    for (unsigned i = 1; i < METRIC_FIELDS; i++)
        if (str_distance(word, field_names[i]) < str_distance(word, field_names[nearest]))
            nearest = i;
    return err_set(err, ERR_MALFORMED, "telemetry has no %s; the nearest is %s",
                   word[0] ? word : "number without a name", field_names[nearest]);
}

/* The words that are left, with one blank between. */
static bool read_form(const char *text, enum metric_form *ret)
{
    char form[WORD_MAX] = "";
    size_t len = 0;
    char word[WORD_MAX];
    for (next_word(&text, word); word[0]; next_word(&text, word)) {
        const size_t word_len = strlen(word);
        if (len + 1 + word_len >= sizeof form)
            return false;
        if (len > 0)
            form[len++] = ' ';
        memcpy(form + len, word, word_len + 1);
        len += word_len;
    }
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        if (!str_equal(form, forms[i].text))
            continue;
        *ret = forms[i].form;
        return true;
    }
    return false;
}

static enum err_code parse_fleet(const char *text, struct metric_source *ret, struct err *err)
{
    char word[WORD_MAX];
    next_word(&text, word);
    if (!read_statistic(word, ret))
        return err_set(err, ERR_MALFORMED,
                       "%s is no statistic; known are p95 and the like, mean, min, max, sum, rate "
                       "and count",
                       word[0] ? word : "nothing");
    next_word(&text, ret->name);
    if (ret->kind == METRIC_TELEMETRY && !read_field(ret->name, &ret->field))
        return unknown_field(ret->name, err);
    if (!ret->name[0])
        return err_set(err, ERR_MALFORMED, "the name of the app's number is missing");
    if (!read_form(text, &ret->form))
        return err_set(err, ERR_MALFORMED,
                       "after the name comes nothing, or canary, control, \"canary / control\" or "
                       "\"canary - control\", not \"%s\"",
                       text);
    return ERR_OK;
}

static enum err_code parse_prometheus(const char *text, struct metric_source *ret, struct err *err)
{
    next_word(&text, ret->url);
    const bool secure = strncmp(ret->url, "https://", 8) == 0;
    const char *host = ret->url + (secure ? 8 : 7);
    if ((!secure && strncmp(ret->url, "http://", 7) != 0) || strchr("/?#", *host) ||
        strpbrk(host, "?#"))
        return err_set(err, ERR_MALFORMED,
                       "prometheus needs an address as http://127.0.0.1:9090, not \"%s\"",
                       ret->url);
    for (size_t len = strlen(ret->url); ret->url[len - 1] == '/'; len--)
        ret->url[len - 1] = '\0';
    if (str_copy(ret->query, sizeof ret->query, text) != ERR_OK || !ret->query[0])
        return err_set(err, ERR_MALFORMED, "the query for %s is missing", ret->url);
    return ERR_OK;
}

enum err_code metric_parse(const char *text, struct metric_source *ret, struct err *err)
{
    char word[WORD_MAX];
    struct metric_source source;
    memset(&source, 0, sizeof source);
    if (strlen(text) >= POLICY_TEXT_MAX)
        return err_set(err, ERR_MALFORMED, "a source has at most %d bytes", POLICY_TEXT_MAX - 1);
    next_word(&text, word);
    enum err_code code = ERR_OK;
    if (str_equal(word, "prometheus")) {
        source.kind = METRIC_PROMETHEUS;
        code = parse_prometheus(text, &source, err);
    } else if (str_equal(word, "telemetry") || str_equal(word, "app")) {
        source.kind = word[0] == 'a' ? METRIC_APP : METRIC_TELEMETRY;
        code = parse_fleet(text, &source, err);
    } else {
        code = err_set(err, ERR_MALFORMED,
                       "a source begins with telemetry, app or prometheus, not \"%s\"", word);
    }
    if (code == ERR_OK)
        *ret = source;
    return code;
}

const char *metric_field_name(enum metric_field field)
{
    return (unsigned)field < METRIC_FIELDS ? field_names[field] : "unknown";
}

bool metric_uses(enum metric_form form, enum metric_side side)
{
    if (side == METRIC_SIDE_CANARY)
        return form != METRIC_OF_CONTROL;
    return form != METRIC_OF_CANARY;
}

/* Numbers of many devices. */

void metric_sketch_reset(struct metric_sketch *sketch)
{
    memset(sketch, 0, sizeof *sketch);
}

/* The bucket of a distance from 0. */
static unsigned bucket_of(double distance)
{
    const double at = floor(log(distance / smallest) / log(growth));
    if (at < 0)
        return 0;
    return at < METRIC_BUCKETS ? (unsigned)at : METRIC_BUCKETS - 1;
}

/* The number that is off by the same factor from both ends of a bucket. */
static double middle_of(unsigned bucket)
{
    return smallest * pow(growth, bucket + 0.5);
}

void metric_sketch_add(struct metric_sketch *sketch, double value)
{
    if (!isfinite(value))
        return;
    if (sketch->len == 0 || value < sketch->min)
        sketch->min = value;
    if (sketch->len == 0 || value > sketch->max)
        sketch->max = value;
    sketch->len++;
    sketch->sum += value;
    if (value > 0)
        sketch->above[bucket_of(value)]++;
    else if (value < 0)
        sketch->below[bucket_of(-value)]++;
    else
        sketch->zero++;
}

/* The rank-th smallest, 1 <= rank <= len, as its bucket has it. */
static double ranked(const struct metric_sketch *sketch, uint64_t rank)
{
    uint64_t seen = 0;
    for (unsigned i = METRIC_BUCKETS; i-- > 0;) {
        seen += sketch->below[i];
        if (seen >= rank)
            return -middle_of(i);
    }
    seen += sketch->zero;
    if (seen >= rank)
        return 0;
    for (unsigned i = 0; i < METRIC_BUCKETS; i++) {
        seen += sketch->above[i];
        if (seen >= rank)
            return middle_of(i);
    }
    return sketch->max;
}

static double percentile_of(const struct metric_sketch *sketch, double percentile)
{
    const double exact = percentile / 100 * (double)sketch->len;
    /* 0.95 * 20 is a little more than 19 in doubles, and means 19. */
    uint64_t rank = (uint64_t)ceil(exact - 1e-9 * exact);
    if (rank < 1)
        rank = 1;
    if (rank == 1)
        return sketch->min;
    if (rank >= sketch->len)
        return sketch->max;
    return fmin(fmax(ranked(sketch, rank), sketch->min), sketch->max);
}

double metric_sketch_value(const struct metric_sketch *sketch, enum metric_statistic statistic,
                           double percentile)
{
    if (sketch->len == 0)
        return NAN;
    switch (statistic) {
    case METRIC_COUNT:
        return (double)sketch->len;
    case METRIC_SUM:
        return sketch->sum;
    case METRIC_PERCENTILE:
        return percentile_of(sketch, percentile);
    case METRIC_MIN:
        return sketch->min;
    case METRIC_MAX:
        return sketch->max;
    default:
        return sketch->sum / (double)sketch->len;
    }
}

double metric_combine(enum metric_form form, double canary, double control)
{
    switch (form) {
    case METRIC_OF_CONTROL:
        return control;
    case METRIC_RATIO:
        return canary == 0 && control == 0 ? 1 : canary / control;
    case METRIC_DIFFERENCE:
        return canary - control;
    default:
        return canary;
    }
}

double metric_increase(double before, double now, double elapsed_s)
{
    if (!isfinite(before) || !isfinite(now) || !(elapsed_s > 0))
        return NAN;
    return (now < before ? now : now - before) / elapsed_s;
}
