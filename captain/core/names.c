/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/core/names.h"

#include <assert.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/rng.h"

enum { CAP_MIN = 64 };

void names_init(struct names *names, uint32_t max)
{
    *names = (struct names){.max = max, .free = NAMES_NONE};
}

void names_fini(struct names *names)
{
    for (uint32_t i = 0; i < names->len; i++)
        mem_free(names->at[i].text);
    mem_free(names->at);
    slots_fini(&names->slots);
    *names = (struct names){.free = NAMES_NONE};
}

static uint32_t hash_of(const char *text)
{
    return (uint32_t)rng_hash(0, text, strlen(text));
}

static bool same(const void *owner, uint32_t id, const void *key)
{
    const struct names *names = owner;
    return strcmp(names->at[id].text, key) == 0;
}

uint32_t names_find(const struct names *names, const char *text)
{
    return slots_find(&names->slots, hash_of(text), same, names, text);
}

static uint32_t take_entry(struct names *names)
{
    const uint32_t id = names->free;
    if (id != NAMES_NONE) {
        names->free = names->at[id].next_free;
        return id;
    }
    if (names->len == names->max)
        return NAMES_NONE;
    if (names->len == names->cap) {
        const uint32_t cap = names->cap ? names->cap * 2 : CAP_MIN;
        names->at = mem_grow(names->at, names->cap, cap, sizeof *names->at);
        names->cap = cap;
    }
    return names->len++;
}

uint32_t names_hold(struct names *names, const char *text)
{
    uint32_t id = names_find(names, text);
    if (id == NAMES_NONE) {
        id = take_entry(names);
        if (id == NAMES_NONE)
            return id;
        names->at[id] = (struct name){.text = mem_strdup(text)};
        names->text_bytes += strlen(text) + 1;
        slots_add(&names->slots, hash_of(text), id);
    }
    names->at[id].holders++;
    return id;
}

void names_drop(struct names *names, uint32_t id)
{
    if (id == NAMES_NONE)
        return;
    struct name *name = &names->at[id];
    assert(name->holders > 0);
    if (--name->holders > 0)
        return;
    slots_remove(&names->slots, hash_of(name->text), id);
    names->text_bytes -= strlen(name->text) + 1;
    mem_free(name->text);
    *name = (struct name){.next_free = names->free};
    names->free = id;
}

const char *names_text(const struct names *names, uint32_t id)
{
    return names->at[id].text;
}

size_t names_memory_bytes(const struct names *names)
{
    return names->cap * sizeof *names->at + slots_memory_bytes(&names->slots) + names->text_bytes;
}
