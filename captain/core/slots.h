/* SPDX-License-Identifier: Apache-2.0
 *
 * A hash table of numbers: open addressing with linear probing over (hash, id) pairs of 8 bytes; at
 * most three quarters full, no tombstones. The things the ids stand for, and their comparison,
 * belong to the owner. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SLOTS_NONE UINT32_MAX

struct slot {
    uint32_t hash;
    uint32_t id; /* SLOTS_NONE: empty */
};
/* Zeroed is empty. */
struct slots {
    struct slot *at;
    uint32_t size; /* a power of two, or 0 */
    uint32_t used;
};

/* Whether the thing numbered id of owner is the one looked for. */
typedef bool (*slots_same_fn)(const void *owner, uint32_t id, const void *key);

void slots_fini(struct slots *slots);
/* The id, or SLOTS_NONE. */
uint32_t slots_find(const struct slots *slots, uint32_t hash, slots_same_fn same, const void *owner,
                    const void *key);
/* The id must not be in it, and is not SLOTS_NONE. */
void slots_add(struct slots *slots, uint32_t hash, uint32_t id);
/* The pair must be in it. */
void slots_remove(struct slots *slots, uint32_t hash, uint32_t id);
size_t slots_memory_bytes(const struct slots *slots);
