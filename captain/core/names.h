/* SPDX-License-Identifier: Apache-2.0
 *
 * Interned names: each text that somebody holds has one small number. A number is given back when
 * its last holder drops it, so that names no device uses any more take no room in a bounded table.
 * Pure.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "captain/core/slots.h"

#define NAMES_NONE UINT32_MAX

struct name {
    char *text; /* NULL: free */
    uint32_t holders;
    uint32_t next_free;
};
struct names {
    struct slots slots;
    struct name *at;
    uint32_t len; /* entries ever used */
    uint32_t cap;
    uint32_t max;
    uint32_t free; /* list of free entries */
    size_t text_bytes;
};

/* At most max names at a time. */
void names_init(struct names *names, uint32_t max);
void names_fini(struct names *names);
/* NAMES_NONE when nobody holds it. */
uint32_t names_find(const struct names *names, const char *text);
/* One holder more; the text is copied when it is new. NAMES_NONE when the table is full. */
uint32_t names_hold(struct names *names, const char *text);
/* One holder less. NAMES_NONE is fine. */
void names_drop(struct names *names, uint32_t id);
/* A view, for as long as it is held. */
const char *names_text(const struct names *names, uint32_t id);
size_t names_memory_bytes(const struct names *names);
