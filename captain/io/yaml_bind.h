/* SPDX-License-Identifier: Apache-2.0
 *
 * A YAML file (parsed by libyaml) into structs, by a table of its keys. Every complaint names file,
 * line and column and, for a key that is unknown, the nearest one that is not: "release.yaml:12:5:
 * ...". All complaints are ERR_USAGE: whoever wrote the file mends it, and nothing was sent.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/str.h"

/* Where a value stands, counted from 1. */
struct yaml_place {
    unsigned line, column;
};

enum yaml_type {
    YAML_TEXT,   /* const char * */
    YAML_NUMBER, /* uint32_t, from min to max */
    YAML_BOOL,   /* bool */
    YAML_MS,     /* uint32_t, from "10s" */
    YAML_MS64,   /* int64_t, from "180d" */
    YAML_SIZE,   /* uint64_t, from "64M" */
    YAML_CHOICE, /* an enum, by choices */
    YAML_REAL,   /* double */
    YAML_CHARS,  /* char[max + 1] in place, zeroed behind the text */
    YAML_MAP,    /* map, in place: its offsets begin at this field's */
    YAML_TEXTS,  /* const char *const *, and its length: a list of texts */
    YAML_PAIRS,  /* const struct yaml_pair *, and its length: a map of texts */
    YAML_MAPS,   /* an array of map->size, and its length: a list of maps */
};

struct yaml_pair {
    const char *name, *value;
};
struct yaml_choice {
    const char *name;
    int value;
};
struct yaml_map;

struct yaml_field {
    const char *key;
    enum yaml_type type;
    bool required;
    size_t offset;     /* of the value */
    size_t len_offset; /* of the length (size_t), for lists */
    /* TEXTS: where a single word (const char *, checked by breach) goes that stands in the place of
     * the list; 0: there must be a list */
    size_t word_offset;
    uint64_t min, max; /* of numbers and times; max also of the lengths of texts and lists */
    /* For texts and words: what the text must be, NULL when it is. May be NULL. */
    const char *(*breach)(const char *text);
    const char *example;               /* a right value, for the hint */
    const struct yaml_choice *choices; /* ended by {NULL, 0} */
    const struct yaml_map *map;
};
struct yaml_map {
    const char *what; /* "a check" */
    size_t size;
    size_t place_offset; /* of a struct yaml_place in it */
    const struct yaml_field *fields;
    size_t fields_len;
    const void *initial; /* what an item of a list begins as; NULL: zeroes */
};

/* name stands for the file in complaints. ret is map->size bytes, zeroed by the caller; everything
 * it points to lives in the arena. */
MUST_USE enum err_code yaml_bind(const char *name, struct bytes text, const struct yaml_map *map,
                                 struct arena *arena, void *ret, struct err *err);

/* "name:line:column: ..." */
enum err_code yaml_complain(struct err *err, const char *name, struct yaml_place place,
                            const char *fmt, ...) PRINTF_LIKE(4, 5);

/* Where the value of a key stands, by its path ("waves[1].percent"): as far as the path goes, a last
 * name alone anywhere in the document; {1, 1} when nothing of it is there, or text is no YAML. */
struct yaml_place yaml_find(struct bytes text, const char *path);
