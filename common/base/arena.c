/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/arena.h"

#include <stdalign.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"

enum { BLOCK_MIN_BYTES = 4096 };

struct arena_block {
    struct arena_block *next;
    size_t size;
    size_t used;
    alignas(max_align_t) unsigned char data[];
};

void arena_init(struct arena *arena, size_t limit_bytes)
{
    *arena = (struct arena){.limit_bytes = limit_bytes};
}

void arena_fini(struct arena *arena)
{
    while (arena->head) {
        struct arena_block *next = arena->head->next;
        mem_free(arena->head);
        arena->head = next;
    }
    arena->used_bytes = 0;
}

void arena_reset(struct arena *arena)
{
    arena->used_bytes = 0;
    if (!arena->head)
        return;
    struct arena_block *keep = arena->head;
    arena->head = keep->next;
    arena_fini(arena);
    keep->next = NULL;
    keep->used = 0;
    arena->head = keep;
}

static struct arena_block *block_for(struct arena *arena, size_t size)
{
    if (arena->head && arena->head->size - arena->head->used >= size)
        return arena->head;
    size_t want = arena->head ? arena->head->size * 2 : BLOCK_MIN_BYTES;
    if (want < size)
        want = size;
    struct arena_block *block = mem_new(1, sizeof *block + want);
    block->size = want;
    block->next = arena->head;
    arena->head = block;
    return block;
}

void *arena_alloc(struct arena *arena, size_t size_bytes)
{
    const size_t align = alignof(max_align_t);
    if (size_bytes > arena->limit_bytes)
        return NULL;
    size_t size = (size_bytes + align - 1) / align * align;
    if (size < size_bytes || size > arena->limit_bytes - arena->used_bytes)
        return NULL;
    struct arena_block *block = block_for(arena, size);
    void *p = block->data + block->used;
    block->used += size;
    arena->used_bytes += size;
    return memset(p, 0, size);
}

void *arena_dup(struct arena *arena, const void *data, size_t size_bytes)
{
    void *p = arena_alloc(arena, size_bytes);
    if (p && size_bytes)
        memcpy(p, data, size_bytes);
    return p;
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return arena_dup(arena, text, strlen(text) + 1);
}

char *arena_printf(struct arena *arena, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *text = len < 0 ? NULL : arena_alloc(arena, (size_t)len + 1);
    if (!text)
        return NULL;
    va_start(args, fmt);
    (void)vsnprintf(text, (size_t)len + 1, fmt, args);
    va_end(args);
    return text;
}
