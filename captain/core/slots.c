/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/core/slots.h"

#include <assert.h>
#include <string.h>

#include "common/base/mem.h"

enum { SIZE_MIN = 16 };

void slots_fini(struct slots *slots)
{
    mem_free(slots->at);
    *slots = (struct slots){0};
}

uint32_t slots_find(const struct slots *slots, uint32_t hash, slots_same_fn same, const void *owner,
                    const void *key)
{
    if (slots->used == 0)
        return SLOTS_NONE;
    const uint32_t mask = slots->size - 1;
    for (uint32_t i = hash & mask; slots->at[i].id != SLOTS_NONE; i = (i + 1) & mask) {
        if (slots->at[i].hash == hash && same(owner, slots->at[i].id, key))
            return slots->at[i].id;
    }
    return SLOTS_NONE;
}

static void place(struct slots *slots, struct slot slot)
{
    const uint32_t mask = slots->size - 1;
    uint32_t i = slot.hash & mask;
    while (slots->at[i].id != SLOTS_NONE)
        i = (i + 1) & mask;
    slots->at[i] = slot;
}

static void grow(struct slots *slots)
{
    const struct slots old = *slots;
    slots->size = old.size ? old.size * 2 : SIZE_MIN;
    slots->at = mem_new(slots->size, sizeof *slots->at);
    memset(slots->at, 0xff, slots->size * sizeof *slots->at);
    for (uint32_t i = 0; i < old.size; i++) {
        if (old.at[i].id != SLOTS_NONE)
            place(slots, old.at[i]);
    }
    mem_free(old.at);
}

void slots_add(struct slots *slots, uint32_t hash, uint32_t id)
{
    assert(id != SLOTS_NONE);
    if ((uint64_t)(slots->used + 1) * 4 > (uint64_t)slots->size * 3)
        grow(slots);
    place(slots, (struct slot){hash, id});
    slots->used++;
}

/* Backward shift (Knuth 6.4, algorithm R): what probed past the hole moves into it. */
void slots_remove(struct slots *slots, uint32_t hash, uint32_t id)
{
    const uint32_t mask = slots->size - 1;
    uint32_t hole = hash & mask;
    while (slots->at[hole].id != id) {
        assert(slots->at[hole].id != SLOTS_NONE);
        hole = (hole + 1) & mask;
    }
    for (uint32_t i = (hole + 1) & mask; slots->at[i].id != SLOTS_NONE; i = (i + 1) & mask) {
        const uint32_t home = slots->at[i].hash & mask;
        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        slots->at[hole] = slots->at[i];
        hole = i;
    }
    slots->at[hole].id = SLOTS_NONE;
    slots->used--;
}

size_t slots_memory_bytes(const struct slots *slots)
{
    return slots->size * sizeof *slots->at;
}
