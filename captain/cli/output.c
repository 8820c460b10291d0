/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/output.h"

#include <inttypes.h>
#include <langinfo.h>
#include <libsmartcols.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/clock.h"

enum { PROGRESS_EVERY_MS = 200, LINE_MAX_BYTES = 8192, FIELD_WIDTH = 16 };

struct output {
    bool json;
    bool out_terminal, err_terminal;
    bool out_color, err_color;
    bool progress_shown;
    int64_t progress_at_ms;
    size_t drawn; /* rows on the screen that a redraw takes away */
};
/* One process has one stdout and one stderr. */
static struct output output;

static bool is_terminal(int fd)
{
    const char *term = getenv("TERM");
    return isatty(fd) && term != NULL && strcmp(term, "dumb") != 0;
}

static bool wants_color(const char *color, bool terminal)
{
    const char *no_color = getenv("NO_COLOR");
    if (color && str_equal(color, "always"))
        return true;
    if (color && str_equal(color, "never"))
        return false;
    return terminal && (no_color == NULL || no_color[0] == '\0');
}

enum err_code output_open(bool json, const char *color, struct err *err)
{
    if (color && !str_equal(color, "auto") && !str_equal(color, "always") &&
        !str_equal(color, "never")) {
        err_set(err, ERR_USAGE, "--color %s is none of auto, always, never", color);
        return err_hint(err, "--color auto");
    }
    (void)setlocale(LC_CTYPE, "");
    output = (struct output){
        .json = json, .out_terminal = is_terminal(1), .err_terminal = is_terminal(2)};
    output.out_color = wants_color(color, output.out_terminal);
    output.err_color = wants_color(color, output.err_terminal);
    return ERR_OK;
}

enum err_code output_flush(struct err *err)
{
    output_progress("%s", "");
    if (fflush(stdout) != 0 || ferror(stdout))
        return err_set(err, ERR_IO, "cannot write the result to stdout");
    return ERR_OK;
}

bool output_is_json(void)
{
    return output.json;
}

bool output_is_terminal(void)
{
    return output.out_terminal;
}

/* Control characters (C0 but for tab, DEL, and C1 in UTF-8) become '?'. */
static void clean(char *text, bool keep_breaks)
{
    for (unsigned char *p = (unsigned char *)text; *p; p++) {
        bool control = (*p < 0x20 && *p != '\t' && !(keep_breaks && *p == '\n')) || *p == 0x7f;
        if (control)
            *p = '?';
        else if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
            p[0] = p[1] = '?';
    }
}

static void write_clean(FILE *stream, const char *fmt, va_list args) PRINTF_LIKE(2, 0);
static void write_clean(FILE *stream, const char *fmt, va_list args)
{
    char line[LINE_MAX_BYTES];
    (void)vsnprintf(line, sizeof line, fmt, args);
    clean(line, true);
    (void)fputs(line, stream);
}

void output_line(const char *fmt, ...)
{
    va_list args;
    output.drawn = 0; /* what was drawn before stays, above this */
    va_start(args, fmt);
    write_clean(stdout, fmt, args);
    va_end(args);
    (void)fputc('\n', stdout);
}

void output_encoded(const char *text)
{
    (void)fputs(text, stdout);
    (void)fputc('\n', stdout);
}

void output_field(const char *name, const char *fmt, ...)
{
    char value[LINE_MAX_BYTES];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(value, sizeof value, fmt, args);
    va_end(args);
    if (value[0] == '\0')
        return;
    clean(value, false);
    (void)fprintf(stdout, "%s%s%*s%s\n", name, name[0] ? ":" : " ",
                  FIELD_WIDTH - 1 - (int)strlen(name), "", value);
}

enum err_code output_message(const struct codec_type *type, const void *message,
                             struct arena *arena, struct err *err)
{
    const char *text;
    if (codec_json(type, message, 2, arena, &text, err))
        return err_wrap(err, "the reply cannot be shown as JSON");
    output_encoded(text);
    return ERR_OK;
}

/* Both streams may be one file or one terminal: what was said before stands before. */
static void before_stderr(void)
{
    output_progress("%s", "");
    (void)fflush(stdout); /* a broken stdout is found by output_flush */
}

void output_note(const char *fmt, ...)
{
    if (output.json)
        return;
    before_stderr();
    output.drawn = 0;
    va_list args;
    va_start(args, fmt);
    write_clean(stderr, fmt, args);
    va_end(args);
    (void)fputc('\n', stderr);
}

void output_quote(const char *text, size_t len)
{
    before_stderr();
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        bool plain = c == '\n' || c == '\t' || (c >= 0x20 && c != 0x7f);
        (void)fputc(plain ? c : '?', stderr);
    }
    if (len && text[len - 1] != '\n')
        (void)fputc('\n', stderr);
}

void output_progress(const char *fmt, ...)
{
    char line[256];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (!output.err_terminal || output.json || (line[0] == '\0' && !output.progress_shown))
        return;
    int64_t now = clock_mono_ms();
    if (line[0] && output.progress_shown && now - output.progress_at_ms < PROGRESS_EVERY_MS)
        return;
    clean(line, false);
    (void)fprintf(stderr, "\r\033[K%s", line);
    (void)fflush(stderr);
    output.progress_shown = line[0] != '\0';
    output.progress_at_ms = now;
}

void output_error(const struct err *err)
{
    char text[ERR_TEXT_MAX];
    char hint[ERR_HINT_MAX];
    (void)snprintf(text, sizeof text, "%s", err->text[0] ? err->text : err_name(err->code));
    (void)snprintf(hint, sizeof hint, "%s", err->hint);
    clean(text, true);
    clean(hint, false);
    before_stderr();
    char *cause = strchr(text, '\n');
    if (cause)
        *cause++ = '\0';
    for (char *p = cause; p && (p = strchr(p, '\n')) != NULL;)
        *p = ' ';
    (void)fprintf(stderr, output.err_color ? "\033[1;31merror:\033[0m %s\n" : "error: %s\n", text);
    if (cause && cause[0])
        (void)fprintf(stderr, "  %s\n", cause);
    if (hint[0])
        (void)fprintf(stderr, "hint:  %s\n", hint);
}

enum output_tone output_state_tone(const char *state)
{
    static const struct {
        const char *state;
        enum output_tone tone;
    } tones[] = {
        {"healthy", OUTPUT_GOOD},  {"installing", OUTPUT_BUSY}, {"confirming", OUTPUT_BUSY},
        {"unhealthy", OUTPUT_BAD}, {"failed", OUTPUT_BAD},      {"offline", OUTPUT_BAD},
        {"none", OUTPUT_FAINT},
    };
    for (size_t i = 0; i < ARRAY_LEN(tones); i++)
        if (str_equal(tones[i].state, state))
            return tones[i].tone;
    return OUTPUT_PLAIN;
}

struct output_table {
    struct libscols_table *table;
    struct libscols_line *line;
    size_t columns;
};

/* libsmartcols fails for want of memory only. */
static void *need(void *p)
{
    if (p == NULL)
        abort();
    return p;
}

struct output_table *output_table_new(const char *const *headings)
{
    struct output_table *table = mem_new(1, sizeof *table);
    table->table = need(scols_new_table());
    (void)scols_table_enable_colors(table->table, output.out_color);
    (void)scols_table_enable_minout(table->table, 1); /* no blanks at the end of a line */
    if (!output.out_terminal) /* nothing is cut or wrapped on the way into a file or a pipe */
        (void)scols_table_set_termforce(table->table, SCOLS_TERMFORCE_NEVER);
    for (; headings[table->columns]; table->columns++) {
        const char *heading = headings[table->columns];
        bool right = heading[0] == '>';
        bool cut = heading[0] == '<' && output.out_terminal;
        int flags = (right ? SCOLS_FL_RIGHT : 0) | (cut ? SCOLS_FL_TRUNC : 0);
        need(scols_table_new_column(table->table, heading + strspn(heading, "<>"), 0, flags));
    }
    return table;
}

void output_table_row(struct output_table *table, const char *const *cells)
{
    table->line = need(scols_table_new_line(table->table, NULL));
    for (size_t i = 0; i < table->columns; i++)
        if (scols_line_set_data(table->line, i, output_text(cells[i])))
            abort();
}

void output_table_tone(struct output_table *table, size_t column, enum output_tone tone)
{
    static const char *const colors[] = {NULL, "green", "yellow", "red", "gray"};
    struct libscols_cell *cell = scols_line_get_cell(table->line, column);
    if (cell && colors[tone])
        (void)scols_cell_set_color(cell, colors[tone]);
}

void output_table_end(struct output_table *table)
{
    if (scols_print_table(table->table))
        (void)fputs("", stdout); /* a broken stdout is found by output_flush */
    scols_unref_table(table->table);
    mem_free(table);
}

const char *output_text(const char *text)
{
    return text ? text : "";
}

const char *output_number(struct arena *arena, uint64_t n)
{
    return output_text(arena_printf(arena, "%" PRIu64, n));
}

const char *output_count(struct arena *arena, uint64_t n, const char *word)
{
    return output_text(arena_printf(arena, "%" PRIu64 " %s%s", n, word, n == 1 ? "" : "s"));
}

const char *output_size(struct arena *arena, uint64_t size_bytes)
{
    char text[32];
    str_format_size(size_bytes, text);
    return output_text(arena_strdup(arena, text));
}

const char *output_age(struct arena *arena, int64_t unix_ms, int64_t now_ms)
{
    char text[32];
    if (unix_ms <= 0)
        return "never";
    int64_t age_ms = now_ms > unix_ms ? now_ms - unix_ms : 0;
    if (age_ms < 1000)
        return "now";
    str_format_duration(age_ms / 1000 * 1000, text);
    return output_text(arena_printf(arena, "%s ago", text));
}

const char *output_time(struct arena *arena, int64_t unix_ms)
{
    char text[32];
    if (unix_ms <= 0)
        return "";
    str_format_time(unix_ms, text);
    return output_text(arena_strdup(arena, text));
}

const char *output_second(struct arena *arena, int64_t unix_ms)
{
    const char *time = output_time(arena, unix_ms);
    return output_text(arena_printf(arena, "%.19s%s", time, time[0] ? "Z" : ""));
}

const char *output_short(struct arena *arena, const char *digest)
{
    return output_text(arena_printf(arena, "%.12s", output_text(digest)));
}

/* Rows. */

void output_rows(const struct output_row *rows, size_t len)
{
    static const char *const colors[] = {"", "\033[32m", "\033[33m", "\033[31m", "\033[90m"};
    for (size_t i = 0; i < len; i++) {
        char line[LINE_MAX_BYTES];
        (void)snprintf(line, sizeof line, "%s", rows[i].text);
        clean(line, false);
        const bool colored = output.out_color && rows[i].tone != OUTPUT_PLAIN;
        (void)fprintf(stdout, "%s%s%s\n", colored ? colors[rows[i].tone] : "", line,
                      colored ? "\033[0m" : "");
    }
    (void)fflush(stdout);
}

void output_redraw(const struct output_row *rows, size_t len)
{
    if (!output.out_terminal)
        return;
    if (output.drawn)
        (void)fprintf(stdout, "\033[%zuA\r\033[J", output.drawn);
    output_rows(rows, len);
    output.drawn = len;
}

void output_terminal_size(unsigned *ret_width, unsigned *ret_height, bool *ret_plain)
{
    struct winsize size = {0};
    const bool known = output.out_terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;
    *ret_width = known ? size.ws_col : 0;
    *ret_height = known ? size.ws_row : 0;
    *ret_plain = !str_equal(nl_langinfo(CODESET), "UTF-8");
}

enum err_code output_message_line(const struct codec_type *type, const void *message,
                                  struct arena *arena, struct err *err)
{
    const char *text;
    if (codec_json(type, message, 0, arena, &text, err))
        return err_wrap(err, "the reply cannot be shown as JSON");
    (void)fputs(text, stdout);
    (void)fputc('\n', stdout);
    (void)fflush(stdout);
    return ERR_OK;
}
