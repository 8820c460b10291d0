/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/mem.h"

#include <stdlib.h>
#include <string.h>

void *mem_new(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size ? size : 1);
    if (!p)
        abort();
    return p;
}

void *mem_grow(void *old, size_t old_count, size_t count, size_t size)
{
    if (size && count > (size_t)-1 / 2 / size)
        abort();
    size_t bytes = count * size;
    char *p = realloc(old, bytes ? bytes : 1);
    if (!p)
        abort();
    if (count > old_count)
        memset(p + old_count * size, 0, (count - old_count) * size);
    return p;
}

char *mem_strdup(const char *text)
{
    if (!text)
        return NULL;
    size_t size = strlen(text) + 1;
    return memcpy(mem_new(1, size), text, size);
}

void mem_free(void *p)
{
    free(p);
}

void mem_free_ref(void *pp)
{
    free(*(void **)pp);
}
