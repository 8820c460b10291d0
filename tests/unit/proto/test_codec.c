/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/proto/message_fill.h"

enum { ARENA_MAX_BYTES = 64 << 20 };

static struct bytes encoded(const struct codec_type *type, const void *message, struct arena *arena)
{
    struct err err = {0};
    struct bytes out = {0};
    if (codec_encode(type, message, arena, &out, &err))
        fail_msg("%s", err.text);
    return out;
}

static void *decoded(const struct codec_type *type, struct bytes in, struct arena *arena)
{
    struct err err = {0};
    void *plain = arena_alloc(arena, type->size);
    assert_non_null(plain);
    if (codec_decode(type, in, arena, plain, &err))
        fail_msg("%s", err.text);
    return plain;
}

static void assert_same_bytes(struct bytes a, struct bytes b)
{
    assert_int_equal(a.len, b.len);
    if (a.len)
        assert_memory_equal(a.ptr, b.ptr, a.len);
}

/* Fills, encodes, decodes and encodes each type. */
static void test_codec__returns_every_field_of_every_type(void **state)
{
    (void)state;
    for (size_t i = 0; i < codec_types_len; i++) {
        const struct codec_type *type = codec_types[i];
        struct arena arena;
        arena_init(&arena, ARENA_MAX_BYTES);
        struct fill fill = {.arena = &arena};
        void *message = fill_message(&fill, type);
        struct bytes first = encoded(type, message, &arena);
        void *back = decoded(type, first, &arena);
        assert_same_bytes(first, encoded(type, back, &arena));
        struct err err = {0};
        const char *json_before = NULL;
        const char *json_after = NULL;
        assert_int_equal(codec_json(type, message, 2, &arena, &json_before, &err), ERR_OK);
        assert_int_equal(codec_json(type, back, 2, &arena, &json_after, &err), ERR_OK);
        assert_string_equal(json_before, json_after);
        arena_fini(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codec__returns_every_field_of_every_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
