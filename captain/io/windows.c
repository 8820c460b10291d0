/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/windows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/str.h"

enum { DAYS = 7, MINUTES_MAX = 24 * 60, ZONE_MAX = 64 };
#define DAY_MS INT64_C(86400000)
#define ZONES "/usr/share/zoneinfo"

struct rule {
    unsigned days; /* bits 1 << tm_wday */
    int from_min, to_min;
    char zone[ZONE_MAX];
};

/* Reading. */

static enum err_code not_read(const char *word, const char *must, struct err *err)
{
    return err_set(err, ERR_MALFORMED, "maintenance window: \"%s\" is not %s", word, must);
}

/* The day that three letters name; -1: none. */
static int day_of(const char *word, size_t len)
{
    static const char *const names[DAYS] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
    for (int i = 0; i < DAYS && len == 3; i++)
        if (strncasecmp(word, names[i], 3) == 0)
            return i;
    return -1;
}

static bool read_range(const char *part, unsigned *days)
{
    const char *dash = strchr(part, '-');
    const int first = day_of(part, dash ? (size_t)(dash - part) : strlen(part));
    const int last = dash ? day_of(dash + 1, strlen(dash + 1)) : first;
    if (first < 0 || last < 0)
        return false;
    for (int day = first;; day = (day + 1) % DAYS) {
        *days |= 1u << day;
        if (day == last)
            return true;
    }
}

static bool read_days(char *word, unsigned *ret)
{
    char *next = word;
    *ret = 0;
    if (strcasecmp(word, "daily") == 0) {
        *ret = (1u << DAYS) - 1;
        return true;
    }
    while (next)
        if (!read_range(strsep(&next, ","), ret))
            return false;
    return true;
}

static bool read_minute(const char *text, size_t len, int *ret)
{
    uint64_t hour, minute;
    char part[3] = {0};
    if (len != 5 || text[2] != ':')
        return false;
    memcpy(part, text, 2);
    if (str_u64(part, 24, &hour) != ERR_OK)
        return false;
    memcpy(part, text + 3, 2);
    if (str_u64(part, 59, &minute) != ERR_OK)
        return false;
    *ret = (int)(hour * 60 + minute);
    return *ret <= MINUTES_MAX;
}

static bool read_times(const char *word, struct rule *ret)
{
    const char *dash = strchr(word, '-');
    return dash && read_minute(word, (size_t)(dash - word), &ret->from_min) &&
           read_minute(dash + 1, strlen(dash + 1), &ret->to_min) && ret->from_min < MINUTES_MAX;
}

static bool read_zone(const char *word, struct rule *ret)
{
    char path[sizeof ZONES + ZONE_MAX + 1];
    if (!str_is_inner_path(word) || str_copy(ret->zone, sizeof ret->zone, word) != ERR_OK)
        return false;
    (void)snprintf(path, sizeof path, ZONES "/%s", word);
    return str_equal(word, "UTC") || access(path, R_OK) == 0;
}

static enum err_code read_rule(char *text, struct rule *ret, struct err *err)
{
    static const char *const space = " \t";
    char *rest = NULL;
    char *days = strtok_r(text, space, &rest);
    char *times = strtok_r(NULL, space, &rest);
    char *zone = strtok_r(NULL, space, &rest);
    char *more = zone ? strtok_r(NULL, space, &rest) : NULL;
    char days_text[64];
    (void)snprintf(days_text, sizeof days_text, "%s", days ? days : "");
    if (!days || !read_days(days, &ret->days))
        return not_read(days_text, "days, as in mon-fri or sat,sun or daily", err);
    if (!times || !read_times(times, ret))
        return not_read(times ? times : "", "times, as in 01:00-05:00", err);
    if (more)
        return not_read(more, "expected after the time zone", err);
    if (!read_zone(zone ? zone : "UTC", ret))
        return not_read(zone, "a time zone of this system, as in Europe/Paris", err);
    return ERR_OK;
}

static enum err_code read_rules(const char *text, struct rule *rules, size_t *ret_len,
                                struct err *err)
{
    char copy[WINDOWS_TEXT_MAX + 1];
    char *next = copy;
    size_t len = 0;
    if (str_copy(copy, sizeof copy, text) != ERR_OK)
        return err_set(err, ERR_SIZE, "maintenance windows take more than %d bytes",
                       WINDOWS_TEXT_MAX);
    while (next) {
        if (len == WINDOWS_MAX)
            return err_set(err, ERR_MALFORMED, "more than %d maintenance windows", WINDOWS_MAX);
        enum err_code code = read_rule(strsep(&next, ";"), &rules[len++], err);
        if (code != ERR_OK)
            return code;
    }
    *ret_len = len;
    return ERR_OK;
}

enum err_code windows_check(const char *text, struct err *err)
{
    struct rule rules[WINDOWS_MAX];
    size_t len;
    return read_rules(text, rules, &len, err);
}

/* Times. */

struct list {
    struct lease_window *at;
    size_t len, max;
    int64_t from_ms, to_ms;
};

static char *enter_zone(const char *zone)
{
    const char *before = getenv("TZ");
    char *kept = mem_strdup(before);
    char value[ZONE_MAX + 2];
    (void)snprintf(value, sizeof value, ":%s", zone);
    (void)setenv("TZ", value, 1);
    tzset();
    return kept;
}

static void leave_zone(char *kept)
{
    if (kept)
        (void)setenv("TZ", kept, 1);
    else
        (void)unsetenv("TZ");
    mem_free(kept);
    tzset();
}

/* Local minutes of a day in Unix ms. */
static int64_t moment(const struct tm *day, int minutes)
{
    struct tm at = {.tm_year = day->tm_year,
                    .tm_mon = day->tm_mon,
                    .tm_mday = day->tm_mday,
                    .tm_hour = minutes / 60,
                    .tm_min = minutes % 60,
                    .tm_isdst = -1};
    return (int64_t)mktime(&at) * 1000;
}

static bool add_window(struct list *list, int64_t from_ms, int64_t to_ms)
{
    if (to_ms <= list->from_ms || from_ms >= list->to_ms || to_ms <= from_ms)
        return true;
    if (list->len == list->max)
        return false;
    list->at[list->len++] = (struct lease_window){from_ms, to_ms};
    return true;
}

static bool add_days(struct list *list, const struct rule *rule)
{
    /* A window that began two days before may reach into the time asked for. */
    const time_t first = (time_t)((list->from_ms - 2 * DAY_MS) / 1000);
    const int days = (int)((list->to_ms - list->from_ms) / DAY_MS) + 4;
    const int length = rule->to_min > rule->from_min ? 0 : MINUTES_MAX;
    struct tm base;
    bool fits = true;
    char *kept = enter_zone(rule->zone);
    const bool known = localtime_r(&first, &base) != NULL;
    /* Counted as days of the calendar, at noon: days of 23 or 25 hours are days too. */
    for (int i = 0; known && i < days && fits; i++) {
        struct tm noon = {.tm_year = base.tm_year,
                          .tm_mon = base.tm_mon,
                          .tm_mday = base.tm_mday + i,
                          .tm_hour = 12,
                          .tm_isdst = -1};
        (void)mktime(&noon);
        if (rule->days & 1u << noon.tm_wday)
            fits = add_window(list, moment(&noon, rule->from_min),
                              moment(&noon, rule->to_min + length));
    }
    leave_zone(kept);
    return fits;
}

static int compare(const void *a, const void *b)
{
    const struct lease_window *x = a, *y = b;
    return (x->from_ms > y->from_ms) - (x->from_ms < y->from_ms);
}

static void merge(struct list *list)
{
    size_t len = 0;
    if (list->len > 0)
        qsort(list->at, list->len, sizeof *list->at, compare);
    for (size_t i = 0; i < list->len; i++) {
        struct lease_window *last = len > 0 ? &list->at[len - 1] : NULL;
        if (!last || list->at[i].from_ms > last->to_ms)
            list->at[len++] = list->at[i];
        else if (list->at[i].to_ms > last->to_ms)
            last->to_ms = list->at[i].to_ms;
    }
    list->len = len;
}

enum err_code windows_between(const char *text, int64_t from_ms, int64_t to_ms,
                              struct lease_window *ret, size_t max, size_t *ret_len,
                              struct err *err)
{
    struct rule rules[WINDOWS_MAX];
    struct list list = {ret, 0, max, from_ms, to_ms};
    size_t len;
    enum err_code code = read_rules(text, rules, &len, err);
    if (code != ERR_OK)
        return code;
    for (size_t i = 0; i < len; i++)
        if (!add_days(&list, &rules[i]))
            return err_set(err, ERR_SIZE, "more than %zu maintenance windows", max);
    merge(&list);
    *ret_len = list.len;
    return ERR_OK;
}
