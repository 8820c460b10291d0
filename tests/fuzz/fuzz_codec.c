/* SPDX-License-Identifier: Apache-2.0
 *
 * Arbitrary bytes as each message of the contract: the first byte picks the type. What decodes must
 * encode, and come back the same; its JSON must exist.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/codec_table.h"

enum { ARENA_MAX_BYTES = 16 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(enum err_code code, const struct err *err, const char *what)
{
    if (!code)
        return;
    (void)fprintf(stderr, "%s: %s\n", what, err->text);
    abort();
}

static struct bytes write_again(const struct codec_type *type, const void *message,
                                struct arena *arena)
{
    struct err err = {0};
    struct bytes out = {0};
    const char *json = NULL;
    must(codec_encode(type, message, arena, &out, &err), &err, "encode");
    must(codec_json(type, message, 0, arena, &json, &err), &err, "json");
    return out;
}

static void check(const struct codec_type *type, struct bytes in, struct arena *arena)
{
    struct err err = {0};
    void *message = arena_alloc(arena, type->size);
    enum err_code code = codec_decode(type, in, arena, message, &err);
    if (code) {
        if ((code != ERR_MALFORMED && code != ERR_SIZE) || err.code != code || !err.text[0])
            abort();
        return;
    }
    struct bytes first = write_again(type, message, arena);
    must(codec_decode(type, first, arena, message, &err), &err, "decode");
    if (!bytes_equal(first, write_again(type, message, arena)))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    struct arena arena;
    arena_init(&arena, ARENA_MAX_BYTES);
    check(codec_types[data[0] % codec_types_len], bytes_of(data + 1, size - 1), &arena);
    arena_fini(&arena);
    return 0;
}
