/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/core/flags.h"

#include <string.h>

#include "common/base/cohort.h"

enum { DIGITS_MAX = 15, EXPONENT_DIGITS_MAX = 2, ESCAPED_MAX = 6, PER_FLAG_BYTES = 64 };

const char *flags_value(const struct flag *flag, const char *device)
{
    struct cohort_rule rule = {.salt = flag->salt, .cut = flag->cut};
    return cohort_contains(&rule, device) ? flag->value : flag->otherwise;
}

static size_t digits(const char *text)
{
    return strspn(text, "0123456789");
}

/* -?(0|[1-9][0-9]*)(.[0-9]+)?([eE][+-]?[0-9]+)? (RFC 8259), with a bound on the digits. */
static bool is_number(const char *text)
{
    text += *text == '-';
    size_t whole = digits(text);
    if (whole == 0 || (whole > 1 && text[0] == '0'))
        return false;
    text += whole;
    if (*text == '.') {
        size_t fraction = digits(++text);
        if (fraction == 0)
            return false;
        whole += fraction;
        text += fraction;
    }
    if (*text == 'e' || *text == 'E') {
        text++;
        text += *text == '+' || *text == '-';
        size_t exponent = digits(text);
        if (exponent == 0 || exponent > EXPONENT_DIGITS_MAX)
            return false;
        text += exponent;
    }
    return *text == '\0' && whole <= DIGITS_MAX;
}

bool flags_is_literal(const char *value)
{
    return str_equal(value, "true") || str_equal(value, "false") || is_number(value);
}

/* ---- the texts ---- */

/* Flags of this device, sorted by name, each name once. */
struct chosen {
    const char *name, *value;
};

static size_t choose(const struct flag *flags, size_t len, const char *device,
                     struct chosen ret[static FLAGS_MAX])
{
    size_t used = 0;
    for (size_t i = 0; i < len; i++) {
        size_t at = 0;
        while (at < used && strcmp(ret[at].name, flags[i].name) < 0)
            at++;
        if (at < used && str_equal(ret[at].name, flags[i].name))
            continue;
        memmove(&ret[at + 1], &ret[at], (used - at) * sizeof *ret);
        ret[at] = (struct chosen){flags[i].name, flags_value(&flags[i], device)};
        used++;
    }
    return used;
}

static char *put(char *to, const char *text)
{
    size_t len = strlen(text);
    memcpy(to, text, len);
    return to + len;
}

static char *put_json_string(char *to, const char *text)
{
    static const char hex[] = "0123456789abcdef";
    *to++ = '"';
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20) {
            to = put(to, "\\u00");
            *to++ = hex[c >> 4];
            *to++ = hex[c & 15];
            continue;
        }
        if (c == '"' || c == '\\')
            *to++ = '\\';
        *to++ = *text;
    }
    *to++ = '"';
    return to;
}

static char *put_json(char *to, const struct chosen *flags, size_t len)
{
    to = put(to, "{");
    for (size_t i = 0; i < len; i++) {
        to = put(to, i ? ",\n " : "\n ");
        to = put_json_string(to, flags[i].name);
        to = put(to, ": ");
        to = flags_is_literal(flags[i].value) ? put(to, flags[i].value)
                                              : put_json_string(to, flags[i].value);
    }
    return put(to, len ? "\n}\n" : "}\n");
}

static char env_char(char c)
{
    if (c >= 'a' && c <= 'z')
        return (char)(c - 'a' + 'A');
    return (char)(c == '-' ? '_' : c);
}

static bool same_env_name(const char *a, const char *b)
{
    while (*a && env_char(*a) == env_char(*b)) {
        a++;
        b++;
    }
    return *a == '\0' && *b == '\0';
}

static bool env_name_is_taken(const struct chosen *flags, size_t at)
{
    for (size_t i = 0; i < at; i++) {
        if (same_env_name(flags[i].name, flags[at].name))
            return true;
    }
    return false;
}

static char *put_env(char *to, const struct chosen *flags, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (env_name_is_taken(flags, i))
            continue;
        to = put(to, "FLAG_");
        for (const char *p = flags[i].name; *p; p++)
            *to++ = env_char(*p);
        to = put(to, "=\"");
        for (const char *p = flags[i].value; *p; p++) {
            if (strchr("\"\\$`", *p))
                *to++ = '\\';
            *to++ = *p;
        }
        to = put(to, "\"\n");
    }
    return to;
}

enum err_code flags_write(const struct flag *flags, size_t len, const char *device,
                          struct arena *arena, struct bytes *ret_json, struct bytes *ret_env,
                          struct err *err)
{
    struct chosen chosen[FLAGS_MAX + 1];
    if (len > FLAGS_MAX)
        return err_set(err, ERR_SIZE, "%zu flags, at most %d", len, FLAGS_MAX);
    size_t used = choose(flags, len, device, chosen);
    size_t most = PER_FLAG_BYTES;
    for (size_t i = 0; i < used; i++)
        most += ESCAPED_MAX * (strlen(chosen[i].name) + strlen(chosen[i].value)) + PER_FLAG_BYTES;
    char *json = arena_alloc(arena, most);
    char *env = arena_alloc(arena, most);
    if (!json || !env)
        return err_set(err, ERR_SIZE, "the flags are too large");
    *ret_json = bytes_of(json, (size_t)(put_json(json, chosen, used) - json));
    *ret_env = bytes_of(env, (size_t)(put_env(env, chosen, used) - env));
    return ERR_OK;
}
