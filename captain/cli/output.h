/* SPDX-License-Identifier: Apache-2.0
 *
 * All that the commands write: data to stdout, everything else to stderr. Tables by libsmartcols,
 * JSON by the codec from the typed message (never from a table). Colours, and lines that are drawn
 * again, are judged per stream: terminal, TERM, NO_COLOR, --color. Control characters in foreign
 * text never reach a terminal.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "proto/codec.h"

/* Once, before anything else; color: "auto", "always", "never" or NULL. */
MUST_USE enum err_code output_open(bool json, const char *color, struct err *err);
/* What was written is written; ERR_IO when stdout broke (disk full, closed pipe). */
MUST_USE enum err_code output_flush(struct err *err);

bool output_is_json(void);
bool output_is_terminal(void);

/* Data, a line. */
void output_line(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* The same for a text of any length, which comes from an encoder and needs no cleaning. */
void output_encoded(const char *text);
/* "name:   value", for showing one object; nothing when the value is "". An empty name goes on with
 * the field before. */
void output_field(const char *name, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The message as JSON and a newline. */
MUST_USE enum err_code output_message(const struct codec_type *type, const void *message,
                                      struct arena *arena, struct err *err);

/* For people, to stderr: a line; nothing with --json. */
void output_note(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Foreign lines (the end of a log), each as it is but for control characters, to stderr. */
void output_quote(const char *text, size_t len);
/* A line that replaces itself, on a terminal only, at most 5 times a second; "" removes it. */
void output_progress(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* error:, cause, hint: at most three lines. */
void output_error(const struct err *err);

enum output_tone { OUTPUT_PLAIN, OUTPUT_GOOD, OUTPUT_BUSY, OUTPUT_BAD, OUTPUT_FAINT };

/* The tone of a state's name ("healthy", "failed", "installing"). */
enum output_tone output_state_tone(const char *state);

/* A line of its own tone. */
struct output_row {
    const char *text;
    enum output_tone tone;
};
/* To stdout, below each other. */
void output_rows(const struct output_row *rows, size_t len);
/* In place of those that the last call drew; on a terminal only. */
void output_redraw(const struct output_row *rows, size_t len);
/* Of stdout: 0 when it is no terminal. *ret_plain: it knows no UTF-8. */
void output_terminal_size(unsigned *ret_width, unsigned *ret_height, bool *ret_plain);
/* The message as JSON in one line: for streams of them. */
MUST_USE enum err_code output_message_line(const struct codec_type *type, const void *message,
                                           struct arena *arena, struct err *err);

enum { OUTPUT_COLUMNS_MAX = 12 };
struct output_table;
/* Headings end with NULL; one that begins with '>' is aligned to the right, one with '<' is cut where
 * a terminal is too narrow (and nowhere else). */
struct output_table *output_table_new(const char *const *headings);
/* Cells in order, as text; copied. */
void output_table_row(struct output_table *table, const char *const *cells);
/* The tone of a cell of the last row. */
void output_table_tone(struct output_table *table, size_t column, enum output_tone tone);
/* Prints to stdout and frees. */
void output_table_end(struct output_table *table);

/* Text for cells, in the arena. */
const char *output_number(struct arena *arena, uint64_t n);
const char *output_size(struct arena *arena, uint64_t size_bytes);
/* "3m ago"; "never" for 0. */
const char *output_age(struct arena *arena, int64_t unix_ms, int64_t now_ms);
/* RFC 3339, with milliseconds or, in tables, without; "" for 0. */
const char *output_time(struct arena *arena, int64_t unix_ms);
const char *output_second(struct arena *arena, int64_t unix_ms);
const char *output_short(struct arena *arena, const char *digest);
/* "1 device", "2 devices"; of a word that takes an s. */
const char *output_count(struct arena *arena, uint64_t n, const char *word);
/* "" when NULL: the arena's limit does not make a command fail over a table. */
const char *output_text(const char *text);
