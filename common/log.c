/* SPDX-License-Identifier: Apache-2.0 */
#include "common/log.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/clock.h"

/* A line goes out in one write of at most PIPE_BUF, so that threads and processes do not mix. */
enum { TEXT_MAX = 2048, LINE_BYTES_MAX = 4096 };

/* Set by log_open before there are other threads, only read after that. */
static struct {
    const char *program;
    enum log_level level;
    bool journal;
} log_state = {"captain", LOG_LEVEL_INFO, false};

static const struct {
    const char *name;
    enum log_level level;
} levels[] = {
    {"error", LOG_LEVEL_ERROR},
    {"warning", LOG_LEVEL_WARNING},
    {"info", LOG_LEVEL_INFO},
    {"debug", LOG_LEVEL_DEBUG},
};

struct line {
    char bytes[LINE_BYTES_MAX];
    size_t len;
};

/* systemd says which socket is the journal; our stderr may have been sent elsewhere since. */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat st;
    if (!stream || fstat(STDERR_FILENO, &st) != 0)
        return false;
    char ours[64];
    (void)snprintf(ours, sizeof ours, "%llu:%llu", (unsigned long long)st.st_dev,
                   (unsigned long long)st.st_ino);
    return str_equal(stream, ours);
}

void log_open(const char *program, enum log_level level)
{
    log_state.program = program;
    log_state.level = level;
    log_state.journal = stderr_is_journal();
}

enum err_code log_parse_level(const char *name, enum log_level *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(levels); i++)
        if (str_equal(levels[i].name, name)) {
            *ret = levels[i].level;
            return ERR_OK;
        }
    return ERR_USAGE;
}

static const char *level_name(enum log_level level)
{
    for (size_t i = 0; i < ARRAY_LEN(levels); i++)
        if (levels[i].level == level)
            return levels[i].name;
    return "info";
}

/* One byte is kept for the newline. */
static void put_char(struct line *line, char c)
{
    if (line->len + 1 < sizeof line->bytes)
        line->bytes[line->len++] = c;
}

static void put_text(struct line *line, const char *text)
{
    while (*text)
        put_char(line, *text++);
}

/* Foreign text must not start lines of its own or drive the terminal. */
static void put_safe(struct line *line, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        char escape[5];
        if (c >= 0x20 && c != 0x7f) {
            put_char(line, *text);
            continue;
        }
        (void)snprintf(escape, sizeof escape, "\\x%02x", c);
        put_text(line, escape);
    }
}

/* DEVICE_ID reads "device" in a line. */
static void put_field(struct line *line, const struct log_field *field)
{
    size_t len = strlen(field->key);
    if (len > 3 && strcmp(field->key + len - 3, "_ID") == 0)
        len -= 3;
    put_char(line, ' ');
    for (size_t i = 0; i < len; i++)
        put_char(line, (char)tolower((unsigned char)field->key[i]));
    put_char(line, '=');
    const char *value = field->value ? field->value : "";
    bool quote = !*value || strpbrk(value, " \"=");
    if (quote)
        put_char(line, '"');
    put_safe(line, value);
    if (quote)
        put_char(line, '"');
}

static void write_plain(enum log_level level, const struct log_field *fields, const char *text)
{
    struct line line = {.len = 0};
    char now[32];
    str_format_time(clock_unix_ms(), now);
    put_text(&line, now);
    put_char(&line, ' ');
    put_text(&line, level_name(level));
    put_char(&line, ' ');
    put_text(&line, log_state.program);
    put_text(&line, ": ");
    put_safe(&line, text);
    for (int i = 0; fields && i < LOG_FIELDS_MAX && fields[i].key; i++)
        put_field(&line, &fields[i]);
    line.bytes[line.len++] = '\n';
    /* There is nobody to tell that the log cannot be written. */
    ssize_t written = write(STDERR_FILENO, line.bytes, line.len);
    (void)written;
}

/* "KEY=value" behind what line holds already; what does not fit is cut. */
static struct iovec journal_field(struct line *line, const char *key, const char *value)
{
    char *start = line->bytes + line->len;
    put_text(line, key);
    put_char(line, '=');
    put_text(line, value ? value : "");
    return (struct iovec){start, (size_t)(line->bytes + line->len - start)};
}

static void write_journal(enum log_level level, const struct log_field *fields, const char *text)
{
    struct iovec parts[3 + LOG_FIELDS_MAX];
    int len = 0;
    struct line line = {.len = 0};
    char priority[8];
    (void)snprintf(priority, sizeof priority, "%d", (int)level);
    parts[len++] = journal_field(&line, "PRIORITY", priority);
    parts[len++] = journal_field(&line, "SYSLOG_IDENTIFIER", log_state.program);
    parts[len++] = journal_field(&line, "MESSAGE", text);
    for (int i = 0; fields && i < LOG_FIELDS_MAX && fields[i].key; i++)
        if (line.len + strlen(fields[i].key) + 2 < sizeof line.bytes)
            parts[len++] = journal_field(&line, fields[i].key, fields[i].value);
    if (sd_journal_sendv(parts, len) < 0)
        write_plain(level, fields, text);
}

static void write_line(enum log_level level, const struct log_field *fields, const char *fmt,
                       va_list args) PRINTF_LIKE(3, 0);

static void write_line(enum log_level level, const struct log_field *fields, const char *fmt,
                       va_list args)
{
    if (level > log_state.level)
        return;
    char text[TEXT_MAX];
    (void)vsnprintf(text, sizeof text, fmt, args);
    if (log_state.journal)
        write_journal(level, fields, text);
    else
        write_plain(level, fields, text);
}

void log_write(enum log_level level, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    write_line(level, NULL, fmt, args);
    va_end(args);
}

void log_with(enum log_level level, const struct log_field *fields, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    write_line(level, fields, fmt, args);
    va_end(args);
}

void log_err(const char *what, const struct err *err)
{
    log_write(LOG_LEVEL_ERROR, "%s: %s%s%s", what, err->text, err->hint[0] ? "; " : "", err->hint);
}
