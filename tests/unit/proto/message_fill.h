/* SPDX-License-Identifier: Apache-2.0
 *
 * Makes a message of any type with every field set, from its table: the same bytes on every run. A
 * header because each test of this folder is one file. Ends the program when the arena is too
 * small.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/codec_table.h"

struct fill {
    struct arena *arena;
    unsigned count; /* of values made: each differs from the one before */
};

/* A plain struct of type in the arena, lists of two (or the least the table wants). */
static inline void *fill_message(struct fill *fill, const struct codec_type *type);

static inline void *fill_alloc(struct fill *fill, size_t size)
{
    void *p = arena_alloc(fill->arena, size);
    if (!p)
        abort();
    return p;
}

static inline char *fill_digits(struct fill *fill, size_t len)
{
    char *text = fill_alloc(fill, len + 1);
    for (size_t i = 0; i < len; i++)
        text[i] = "0123456789abcdef"[(i + fill->count) % 16];
    return text;
}

static inline const char *fill_text(struct fill *fill, const struct codec_row *row)
{
    unsigned n = ++fill->count;
    const char *text = NULL;
    switch (row->class) {
    case CLASS_TEXT:
        text = arena_printf(fill->arena, "text %u\n\t\"gr\xc3\xbc\xc3\x9f\x65\" \xe2\x82\xac", n);
        break;
    case CLASS_LINE:
        text = arena_printf(fill->arena, "line %u \xf0\x9f\x9a\x80", n);
        break;
    case CLASS_GRAPH:
        text = arena_printf(fill->arena, "http://h/%u?a=b", n);
        break;
    case CLASS_TOKEN:
        text = arena_printf(fill->arena, "Token-%u_x", n);
        break;
    case CLASS_VERSION:
        text = arena_printf(fill->arena, "1.%u-rc.1+a~b", n);
        break;
    case CLASS_PATH:
        text = arena_printf(fill->arena, "folder/file %u", n);
        break;
    case CLASS_HEX:
        text = fill_digits(fill, (size_t)row->max);
        break;
    case CLASS_COMMIT:
        text = fill_digits(fill, n % 2 ? 40 : 64);
        break;
    case CLASS_ULID:
        text = arena_printf(fill->arena, "01JD7Z8XK2QWERTYVABCDE%04u", n % 10000);
        break;
    }
    if (!text)
        abort();
    return text;
}

static inline struct bytes fill_bytes(struct fill *fill, const struct codec_row *row)
{
    size_t len = (size_t)row->min == row->max ? (size_t)row->max : (size_t)row->min + 40;
    uint8_t *data = fill_alloc(fill, len);
    fill->count++;
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(i * 7 + fill->count);
    return bytes_of(data, len);
}

static inline void fill_number(struct fill *fill, const struct codec_row *row, void *member)
{
    uint64_t span = row->max - (uint64_t)(row->min > 0 ? row->min : 0);
    uint64_t value = (uint64_t)(row->min > 0 ? row->min : 0) + 1 + fill->count++ % 4;
    if (span > UINT32_MAX)
        value += (UINT64_C(1) << 40) + fill->count * 1000;
    if (row->kind == CODEC_U32 && value > row->max)
        value = row->max;
    switch (row->kind) {
    case CODEC_BOOL:
        *(bool *)member = true;
        break;
    case CODEC_DOUBLE:
        *(double *)member = (double)fill->count + 0.1;
        break;
    case CODEC_U64:
    case CODEC_I64:
        *(uint64_t *)member = value;
        break;
    case CODEC_I32:
        *(int32_t *)member = -(int32_t)value;
        break;
    default:
        *(uint32_t *)member = (uint32_t)value;
        break;
    }
}

static inline void fill_list(struct fill *fill, const struct codec_row *row, size_t len,
                             char *plain)
{
    *(size_t *)(void *)(plain + row->offset_len) = len;
    void *member = plain + row->offset;
    if (row->kind == CODEC_TEXTS) {
        const char **texts = fill_alloc(fill, len * sizeof *texts);
        for (size_t i = 0; i < len; i++)
            texts[i] = fill_text(fill, row);
        *(const char *const **)member = texts;
    } else if (row->kind == CODEC_BYTES_LIST) {
        struct bytes *list = fill_alloc(fill, len * sizeof *list);
        for (size_t i = 0; i < len; i++)
            list[i] = fill_bytes(fill, row);
        *(const struct bytes **)member = list;
    } else {
        char *list = fill_alloc(fill, len * row->sub->size);
        for (size_t i = 0; i < len; i++)
            memcpy(list + i * row->sub->size, fill_message(fill, row->sub), row->sub->size);
        *(const void **)member = list;
    }
}

static inline void *fill_message(struct fill *fill, const struct codec_type *type)
{
    char *plain = fill_alloc(fill, type->size);
    for (size_t i = 0; i < type->rows_len; i++) {
        const struct codec_row *row = &type->rows[i];
        void *member = plain + row->offset;
        switch (row->kind) {
        case CODEC_TEXT:
            *(const char **)member = fill_text(fill, row);
            break;
        case CODEC_BYTES:
            *(struct bytes *)member = fill_bytes(fill, row);
            break;
        case CODEC_SUB:
            *(const void **)member = fill_message(fill, row->sub);
            break;
        case CODEC_TEXTS:
        case CODEC_BYTES_LIST:
        case CODEC_SUBS:
            fill_list(fill, row, row->count_min > 2 ? row->count_min : 2, plain);
            break;
        default:
            fill_number(fill, row, member);
            break;
        }
    }
    return plain;
}
