/* SPDX-License-Identifier: Apache-2.0
 *
 * An arena: many small things with one lifetime. Decoded messages live in one. Bounded: an arena
 * has a limit, and a message that would need more is refused, never served in part.
 */
#pragma once

#include <stddef.h>

#include "common/base/err.h"

struct arena_block;

struct arena {
    struct arena_block *head;
    size_t used_bytes; /* handed out since the last reset */
    size_t limit_bytes;
};

/* Allocates nothing until first use. */
void arena_init(struct arena *arena, size_t limit_bytes);

/* Gives everything back; the arena may be used again. Accepts a zeroed arena. */
void arena_fini(struct arena *arena);

/* Forgets everything but keeps the first block for reuse. */
void arena_reset(struct arena *arena);

/* Zeroed, aligned for any type; NULL when the limit would be passed. */
void *arena_alloc(struct arena *arena, size_t size_bytes);

/* Copies; NULL when the limit would be passed. */
char *arena_strdup(struct arena *arena, const char *text);
void *arena_dup(struct arena *arena, const void *data, size_t size_bytes);
char *arena_printf(struct arena *arena, const char *fmt, ...) PRINTF_LIKE(2, 3);
