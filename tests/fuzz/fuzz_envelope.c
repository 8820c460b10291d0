/* SPDX-License-Identifier: Apache-2.0
 *
 * Arbitrary bytes as a signed document, under each of the three types. The key of the role is RFC
 * 8032's first test key, so that the corpus can hold envelopes with valid signatures. A payload
 * that is given back must be no larger than allowed and must be read as a message without harm.
 */
#include <stdlib.h>
#include <string.h>

#include "common/sign.h"
#include "proto/codec.h"

enum { ARENA_MAX_BYTES = 16 << 20 };

static const uint8_t seed[SIGN_SEED_BYTES] = {
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
    0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60};

static const struct document {
    const char *type;
    size_t bytes_max;
    const struct codec_type *codec;
} documents[] = {
    {SIGN_TYPE_ROOT, SIGN_ROOT_MAX_BYTES, &codec_root},
    {SIGN_TYPE_RELEASE, SIGN_RELEASE_MAX_BYTES, &codec_release},
    {SIGN_TYPE_DESIRED, SIGN_DESIRED_MAX_BYTES, &codec_desired},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct document *document, struct bytes in, const struct sign_role *role,
                  struct arena *arena)
{
    struct err err = {0};
    struct bytes payload = {0};
    enum err_code code =
        sign_open(document->type, document->bytes_max, in, role, arena, &payload, &err);
    if (code) {
        if (payload.ptr || err.code != code || !err.text[0])
            abort();
        return;
    }
    if (payload.len > document->bytes_max)
        abort();
    void *message = arena_alloc(arena, 4096);
    code = codec_decode(document->codec, payload, arena, message, &err);
    if (code && code != ERR_MALFORMED && code != ERR_SIZE)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sign_key key;
    sign_key_from_seed(seed, &key);
    const struct sign_role role = {.keys = (const uint8_t(*)[SIGN_PUBLIC_BYTES]) & key.public_key,
                                   .keys_len = 1,
                                   .threshold = 1};
    struct arena arena;
    arena_init(&arena, ARENA_MAX_BYTES);
    for (size_t i = 0; i < sizeof documents / sizeof documents[0]; i++) {
        check(&documents[i], bytes_of(data, size), &role, &arena);
        arena_reset(&arena);
    }
    arena_fini(&arena);
    return 0;
}
