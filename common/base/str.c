/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/str.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "common/base/mem.h"

enum { INNER_PATH_MAX = 1024, DISTANCE_FAR = 64 };

static const char digits[] = "0123456789";
static const char token_marks[] = "_-";
static const char version_marks[] = "._+~-";

bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool str_equal(const char *a, const char *b)
{
    if (!a || !b)
        return a == b;
    return strcmp(a, b) == 0;
}

/* 1 to max letters, digits and marks. Asked for each message of a fleet: strspn of the whole set would
 * build a table each time. */
static bool made_of(const char *text, const char *marks, size_t max)
{
    size_t len = 0;
    for (; text && text[len] && len <= max; len++) {
        const char c = text[len];
        const char letter = (char)(c | 0x20);
        if (!(letter >= 'a' && letter <= 'z') && !(c >= '0' && c <= '9') && !strchr(marks, c))
            return false;
    }
    return len >= 1 && len <= max;
}

bool str_is_token(const char *text)
{
    return made_of(text, token_marks, TOKEN_MAX);
}

bool str_is_version(const char *text)
{
    return made_of(text, version_marks, VERSION_MAX) && !strchr("._+~-", text[0]);
}

static bool is_inner_part(const char *part, size_t len)
{
    if (len == 0 || (len == 1 && part[0] == '.') || (len == 2 && part[0] == '.' && part[1] == '.'))
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)part[i] < 0x20 || part[i] == 0x7f)
            return false;
    return true;
}

bool str_is_inner_path(const char *text)
{
    if (!text || strnlen(text, INNER_PATH_MAX + 1) > INNER_PATH_MAX)
        return false;
    for (;;) {
        size_t len = strcspn(text, "/");
        if (!is_inner_part(text, len))
            return false;
        if (!text[len])
            return true;
        text += len + 1;
    }
}

bool str_is_inner_link(unsigned depth, const char *target)
{
    unsigned up = 0;
    if (target[0] == '/' || target[0] == '\0')
        return false;
    for (; strncmp(target, "../", 3) == 0; target += 3)
        up++;
    if (str_equal(target, "..")) {
        up++;
        target += 2;
    }
    while (strncmp(target, "./", 2) == 0)
        target += 2;
    bool plain = target[0] == '\0' || str_equal(target, ".") || str_is_inner_path(target);
    return plain && up <= depth;
}

enum err_code str_copy(char *ret, size_t ret_size, const char *text)
{
    size_t size = strlen(text) + 1;
    if (size > ret_size)
        return ERR_SIZE;
    memcpy(ret, text, size);
    return ERR_OK;
}

enum err_code str_split_pair(const char *text, char sep, char *ret_left, char *ret_right,
                             struct err *err)
{
    const char *right_name = sep == '@' ? "version" : "channel";
    const char *at = text ? strchr(text, sep) : NULL;
    if (!at)
        return err_set(err, ERR_MALFORMED, "\"%.140s\" must be app%c%s", text ? text : "", sep,
                       right_name);
    size_t left_len = (size_t)(at - text);
    char left[TOKEN_MAX + 1] = "";
    if (left_len < sizeof left)
        memcpy(left, text, left_len);
    if (!str_is_token(left))
        return err_set(err, ERR_MALFORMED,
                       "\"%.140s\": the app must be 1 to 64 of letters, digits, _ and -", text);
    bool right_fits = sep == '@' ? str_is_version(at + 1) : str_is_token(at + 1);
    if (!right_fits)
        return err_set(err, ERR_MALFORMED,
                       "\"%.140s\": the %s must be 1 to 64 of letters, digits, _ and -%s", text,
                       right_name, sep == '@' ? " (and . + ~, but not first)" : "");
    memcpy(ret_left, left, left_len + 1);
    memcpy(ret_right, at + 1, strlen(at + 1) + 1);
    return ERR_OK;
}

void str_hex(struct bytes in, char *ret_hex)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < in.len; i++) {
        ret_hex[2 * i] = hex[in.ptr[i] >> 4];
        ret_hex[2 * i + 1] = hex[in.ptr[i] & 15];
    }
    ret_hex[2 * in.len] = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

enum err_code str_unhex(const char *hex, uint8_t *ret, size_t ret_len)
{
    if (!hex || strnlen(hex, 2 * ret_len + 1) != 2 * ret_len)
        return ERR_MALFORMED;
    for (size_t i = 0; i < 2 * ret_len; i++)
        if (hex_digit(hex[i]) < 0)
            return ERR_MALFORMED;
    for (size_t i = 0; i < ret_len; i++)
        ret[i] = (uint8_t)(hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]));
    return ERR_OK;
}

/* Reads the digits at *text, moves behind them; false without digits or beyond max. */
static bool read_number(const char **text, uint64_t max, uint64_t *ret)
{
    uint64_t value = 0;
    size_t len = strspn(*text, digits);
    for (size_t i = 0; i < len; i++) {
        uint64_t digit = (uint64_t)((*text)[i] - '0');
        if (digit > max || value > (max - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *text += len;
    *ret = value;
    return len > 0;
}

enum err_code str_u64(const char *text, uint64_t max, uint64_t *ret)
{
    uint64_t value = 0;
    if (!text || !read_number(&text, max, &value) || *text)
        return ERR_MALFORMED;
    *ret = value;
    return ERR_OK;
}

struct unit {
    const char *name;
    int64_t ms;
};

static const struct unit duration_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};

/* The unit whose name is all of the letters at text, at or after the one at from; else the end. */
static size_t find_unit(const char *text, size_t len, size_t from)
{
    size_t i = from;
    while (i < ARRAY_LEN(duration_units) && (strlen(duration_units[i].name) != len ||
                                             memcmp(duration_units[i].name, text, len) != 0))
        i++;
    return i;
}

enum err_code str_duration_ms(const char *text, int64_t *ret_ms)
{
    int64_t total = 0;
    size_t from = 0;
    if (!text || !*text)
        return ERR_MALFORMED;
    while (*text) {
        uint64_t value = 0;
        if (!read_number(&text, INT64_MAX, &value))
            return ERR_MALFORMED;
        size_t len = strcspn(text, digits);
        size_t unit = find_unit(text, len, from);
        if (unit == ARRAY_LEN(duration_units))
            return ERR_MALFORMED;
        int64_t ms = duration_units[unit].ms;
        if ((int64_t)value > (INT64_MAX - total) / ms)
            return ERR_MALFORMED;
        total += (int64_t)value * ms;
        text += len;
        from = unit + 1;
    }
    *ret_ms = total;
    return ERR_OK;
}

enum err_code str_size_bytes(const char *text, uint64_t *ret_bytes)
{
    static const char suffixes[] = "KMGT";
    uint64_t value = 0;
    if (!text || !read_number(&text, UINT64_MAX, &value))
        return ERR_MALFORMED;
    unsigned shift = 0;
    if (*text) {
        const char *suffix = strchr(suffixes, *text);
        if (!suffix || text[1])
            return ERR_MALFORMED;
        shift = 10 * (unsigned)(suffix - suffixes + 1);
    }
    if (value > UINT64_MAX >> shift)
        return ERR_MALFORMED;
    *ret_bytes = value << shift;
    return ERR_OK;
}

void str_format_exit(int wait_status, char ret[static 32])
{
    if (WIFSIGNALED(wait_status))
        (void)snprintf(ret, 32, "killed by signal %d", WTERMSIG(wait_status));
    else
        (void)snprintf(ret, 32, "exit code %d", WEXITSTATUS(wait_status));
}

void str_format_duration(int64_t ms, char ret[static 32])
{
    const char *sign = ms < 0 ? "-" : "";
    uint64_t left = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;
    size_t i = 0;
    while (i + 1 < ARRAY_LEN(duration_units) && left < (uint64_t)duration_units[i].ms)
        i++;
    uint64_t unit_ms = (uint64_t)duration_units[i].ms;
    uint64_t big = left / unit_ms;
    uint64_t small =
        i + 1 < ARRAY_LEN(duration_units) ? left % unit_ms / (uint64_t)duration_units[i + 1].ms : 0;
    char text[64] = "";
    if (small)
        (void)snprintf(text, sizeof text, "%s%llu%s%llu%s", sign, (unsigned long long)big,
                       duration_units[i].name, (unsigned long long)small,
                       duration_units[i + 1].name);
    else
        (void)snprintf(text, sizeof text, "%s%llu%s", sign, (unsigned long long)big,
                       duration_units[i].name);
    memcpy(ret, text, 32); /* at most 19 digits and a unit, or the days and hours of INT64_MIN */
}

void str_format_size(uint64_t size_bytes, char ret[static 32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    unsigned unit = 0;
    while (unit + 1 < ARRAY_LEN(units) && size_bytes >> (10 * unit) >= 1024)
        unit++;
    if (unit == 0) {
        (void)snprintf(ret, 32, "%llu B", (unsigned long long)size_bytes);
        return;
    }
    uint64_t whole = size_bytes >> (10 * unit);
    uint64_t tenths = (size_bytes >> (10 * (unit - 1)) & 1023) * 10 / 1024;
    (void)snprintf(ret, 32, "%llu.%llu %s", (unsigned long long)whole, (unsigned long long)tenths,
                   units[unit]);
}

struct date {
    int64_t year;
    int month, day;
};

/* Days since 1970-01-01 in the proleptic Gregorian calendar; years start in March so that the leap
 * day is the last (https://howardhinnant.github.io/date_algorithms.html, civil_from_days). */
static struct date date_of_days(int64_t days)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t march_month = (5 * day_of_year + 2) / 153;
    int month = (int)(march_month < 10 ? march_month + 3 : march_month - 9);
    int day = (int)(day_of_year - (153 * march_month + 2) / 5 + 1);
    return (struct date){year_of_era + era * 400 + (month <= 2), month, day};
}

void str_format_time(int64_t unix_ms, char ret[static 32])
{
    const int64_t day_ms = 86400000;
    int64_t days = unix_ms / day_ms - (unix_ms % day_ms < 0);
    int ms = (int)((unix_ms % day_ms + day_ms) % day_ms);
    struct date date = date_of_days(days);
    char text[64] = "";
    (void)snprintf(text, sizeof text, "%04lld-%02d-%02dT%02d:%02d:%02d.%03dZ", (long long)date.year,
                   date.month, date.day, ms / 3600000, ms / 60000 % 60, ms / 1000 % 60, ms % 1000);
    memcpy(ret, text, 32); /* the longest, of INT64_MAX, takes 31 */
}

static unsigned least(unsigned a, unsigned b, unsigned c)
{
    unsigned ab = a < b ? a : b;
    return ab < c ? ab : c;
}

unsigned str_distance(const char *a, const char *b)
{
    size_t a_len = strnlen(a, DISTANCE_FAR);
    size_t b_len = strnlen(b, DISTANCE_FAR);
    if (a_len == DISTANCE_FAR || b_len == DISTANCE_FAR)
        return DISTANCE_FAR;
    unsigned row[DISTANCE_FAR];
    for (unsigned j = 0; j <= b_len; j++)
        row[j] = j;
    for (unsigned i = 1; i <= a_len; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            unsigned above = row[j];
            row[j] = least(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[b_len];
}
