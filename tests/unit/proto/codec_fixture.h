/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of the codec share: an arena with a message in it, encoding and decoding that must
 * succeed, and a writer of wire format by hand. Include after cmocka.h.
 */
#pragma once

#include "common/base/mem.h"
#include "tests/unit/proto/message_fill.h"

enum { ARENA_MAX_BYTES = 64 << 20 };

struct fixture {
    struct arena arena;
    struct fill fill;
};

static inline int setup(void **state)
{
    struct fixture *fixture = mem_new(1, sizeof *fixture);
    arena_init(&fixture->arena, ARENA_MAX_BYTES);
    fixture->fill.arena = &fixture->arena;
    *state = fixture;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *fixture = *state;
    arena_fini(&fixture->arena);
    mem_free(fixture);
    return 0;
}

/* A new message with every field set, in an empty arena. */
static inline void *fresh(struct fixture *fixture, const struct codec_type *type)
{
    arena_reset(&fixture->arena);
    return fill_message(&fixture->fill, type);
}

static inline struct bytes encoded(const struct codec_type *type, const void *message,
                                   struct arena *arena)
{
    struct err err = {0};
    struct bytes out = {0};
    if (codec_encode(type, message, arena, &out, &err))
        fail_msg("%s", err.text);
    return out;
}

static inline void *decoded(const struct codec_type *type, struct bytes in, struct arena *arena)
{
    struct err err = {0};
    void *plain = arena_alloc(arena, type->size);
    assert_non_null(plain);
    if (codec_decode(type, in, arena, plain, &err))
        fail_msg("%s", err.text);
    return plain;
}

static inline void assert_same_bytes(struct bytes a, struct bytes b)
{
    assert_int_equal(a.len, b.len);
    if (a.len)
        assert_memory_equal(a.ptr, b.ptr, a.len);
}

/* The wire format by hand, for what codec_encode refuses to write. */
struct wire {
    uint8_t data[1 << 16];
    size_t len;
};

static inline void wire_varint(struct wire *wire, uint64_t value)
{
    for (; value > 127; value >>= 7)
        wire->data[wire->len++] = (uint8_t)(value | 128);
    wire->data[wire->len++] = (uint8_t)value;
}

static inline void wire_number(struct wire *wire, unsigned id, uint64_t value)
{
    wire_varint(wire, (uint64_t)id << 3);
    wire_varint(wire, value);
}

static inline void wire_data(struct wire *wire, unsigned id, const void *data, size_t len)
{
    wire_varint(wire, (uint64_t)id << 3 | 2);
    wire_varint(wire, len);
    assert_true(len <= sizeof wire->data - wire->len);
    if (len)
        memcpy(wire->data + wire->len, data, len);
    wire->len += len;
}

static inline void wire_text(struct wire *wire, unsigned id, const char *text)
{
    wire_data(wire, id, text, strlen(text));
}

static inline struct bytes wire_bytes(const struct wire *wire)
{
    return bytes_of(wire->data, wire->len);
}
