/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/proto/codec_fixture.h"

static void test_table__agrees_with_every_descriptor(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(codec_types_len, 149);
    for (size_t i = 0; i < codec_types_len; i++)
        if (codec_agrees(codec_types[i], &err))
            fail_msg("%s", err.text);
}

static void test_table__that_drifted_is_refused(void **state)
{
    (void)state;
    struct codec_row rows[2];
    atomic_bool agreed = false;
    struct codec_type type = codec_ack;
    struct err err = {0};
    struct arena arena = {.limit_bytes = 4096};
    struct ack ack = {.epoch = "01JD7Z8XK2QWERTYVABCDE0001"};
    struct bytes out;
    memcpy(rows, codec_ack.rows, sizeof rows);
    rows[1].name = "sequence";
    type.rows = rows;
    type.agreed = &agreed;
    assert_int_equal(codec_encode(&type, &ack, &arena, &out, &err), ERR_FAILED);
    assert_string_equal(err.text, "ack: row 1 (sequence) is not the .proto's field seq");
    rows[1] = codec_ack.rows[1];
    rows[1].kind = CODEC_I64;
    assert_int_equal(codec_decode(&type, bytes_of("", 0), &arena, &ack, &err), ERR_FAILED);
    type.rows_len = 1;
    assert_int_equal(codec_agrees(&type, &err), ERR_FAILED);
    assert_string_equal(err.text, "ack: the table has 1 rows, the .proto 2 fields");
}

static void test_codec__returns_every_field_of_every_type(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < codec_types_len; i++) {
        const struct codec_type *type = codec_types[i];
        void *message = fresh(fixture, type);
        struct bytes first = encoded(type, message, &fixture->arena);
        void *back = decoded(type, first, &fixture->arena);
        assert_same_bytes(first, encoded(type, back, &fixture->arena));
        struct err err = {0};
        const char *before = NULL;
        const char *after = NULL;
        assert_int_equal(codec_json(type, message, 2, &fixture->arena, &before, &err), ERR_OK);
        assert_int_equal(codec_json(type, back, 2, &fixture->arena, &after, &err), ERR_OK);
        assert_string_equal(before, after);
    }
}

static void test_codec__returns_a_health_message_field_by_field(void **state)
{
    struct fixture *fixture = *state;
    uint8_t digest[DIGEST_BYTES] = {1, 2, 3};
    struct app_status apps[] = {
        {.app = "hello", .state = APP_STATE_HEALTHY, .digest = bytes_of(digest, sizeof digest)},
        {.app = "other", .channel = "beta", .reason = "no \xe2\x82\xac left", .restarts = 3},
    };
    struct health health = {.epoch = "01JD7Z8XK2QWERTYVABCDE0001",
                            .event_seq = 7,
                            .sent_ms = INT64_MAX,
                            .apps = apps,
                            .apps_len = 2};
    const struct health *back =
        decoded(&codec_health, encoded(&codec_health, &health, &fixture->arena), &fixture->arena);
    assert_string_equal(back->epoch, health.epoch);
    assert_int_equal(back->event_seq, 7);
    assert_true(back->sent_ms == INT64_MAX);
    assert_int_equal(back->interval_ms, 0);
    assert_string_equal(back->agent_version, "");
    assert_int_equal(back->apps_len, 2);
    assert_string_equal(back->apps[0].app, "hello");
    assert_int_equal(back->apps[0].state, APP_STATE_HEALTHY);
    assert_same_bytes(back->apps[0].digest, apps[0].digest);
    assert_int_equal(back->apps[0].desired_digest.len, 0);
    assert_string_equal(back->apps[1].channel, "beta");
    assert_string_equal(back->apps[1].reason, "no \xe2\x82\xac left");
    assert_int_equal(back->apps[1].restarts, 3);
}

static void test_codec__tells_an_absent_message_from_an_empty_one(void **state)
{
    struct fixture *fixture = *state;
    struct desired *desired = fresh(fixture, &codec_desired);
    struct cohort nobody = {.salt = NULL};
    desired->cohort = &nobody;
    struct bytes bytes = encoded(&codec_desired, desired, &fixture->arena);
    const struct desired *back = decoded(&codec_desired, bytes, &fixture->arena);
    assert_non_null(back->cohort);
    assert_string_equal(back->cohort->salt, "");
    desired->cohort = NULL;
    bytes = encoded(&codec_desired, desired, &fixture->arena);
    back = decoded(&codec_desired, bytes, &fixture->arena);
    assert_null(back->cohort);
}

/* Each level of a message of a newer program has a field that this one does not know. */
static void test_unknown__fields_survive_on_every_level(void **state)
{
    struct fixture *fixture = *state;
    static struct wire app;
    static struct wire wire;
    app.len = wire.len = 0;
    wire_text(&app, 1, "hello");
    wire_text(&app, 1000, "of the app");
    wire_number(&app, 1001, 5);
    wire_text(&wire, 1, "01JD7Z8XK2QWERTYVABCDE0001");
    wire_data(&wire, 6, app.data, app.len);
    wire_number(&wire, 77, UINT64_MAX);
    wire_text(&wire, 78, "");
    wire_text(&wire, 99999, "of the message");
    struct health *health = decoded(&codec_health, wire_bytes(&wire), &fixture->arena);
    assert_int_equal(health->head.unknown_len, 3);
    assert_int_equal(health->apps[0].head.unknown_len, 2);
    assert_same_bytes(wire_bytes(&wire), encoded(&codec_health, health, &fixture->arena));
    health->event_seq = 1; /* what is known may change */
    struct bytes changed = encoded(&codec_health, health, &fixture->arena);
    const struct health *again = decoded(&codec_health, changed, &fixture->arena);
    assert_int_equal(again->head.unknown_len, 3);
    assert_int_equal(changed.len, wire.len + 2);
}

/* protobuf-c reads number 0 when it is written in two bytes, and would write what nobody can read.
 */
static void test_unknown__field_number_zero_is_refused(void **state)
{
    (void)state;
    struct arena arena DEFER(arena_fini);
    arena_init(&arena, ARENA_MAX_BYTES);
    struct status_query query;
    struct err err = {0};
    struct bytes in = bytes_of("\x80\0\0", 3);
    assert_int_equal(codec_decode(&codec_status_query, in, &arena, &query, &err), ERR_MALFORMED);
    assert_string_equal(err.text, "status_query: has a field with number 0");
}

static void test_unknown__enum_values_are_kept(void **state)
{
    struct fixture *fixture = *state;
    static struct wire wire;
    wire.len = 0;
    wire_text(&wire, 1, "hello");
    wire_number(&wire, 3, 77);
    struct app_status *app = decoded(&codec_app_status, wire_bytes(&wire), &fixture->arena);
    assert_int_equal(app->state, 77);
    assert_same_bytes(wire_bytes(&wire), encoded(&codec_app_status, app, &fixture->arena));
    const char *json = NULL;
    assert_int_equal(codec_json(&codec_app_status, app, 0, &fixture->arena, &json, NULL), ERR_OK);
    assert_string_equal(json, "{\"app\":\"hello\",\"state\":77}");
}

/* Decodes in[0..len) from a heap block of exactly that size, so that a byte read beyond is seen. A
 * failure leaves ret as it was. */
static enum err_code decode_exact(const struct codec_type *type, const uint8_t *in, size_t len,
                                  struct arena *arena)
{
    uint8_t *copy = mem_new(len ? len : 1, 1);
    unsigned char ret[512];
    unsigned char before[512];
    struct err err = {0};
    assert_true(type->size <= sizeof ret);
    memcpy(copy, in, len);
    memset(ret, 0xa5, sizeof ret);
    memset(before, 0xa5, sizeof before);
    arena_reset(arena);
    enum err_code code = codec_decode(type, bytes_of(copy, len), arena, ret, &err);
    if (code)
        assert_memory_equal(ret, before, sizeof ret);
    assert_true(!code || (err.code == code && err.text[0]));
    mem_free(copy);
    return code;
}

static void test_damage__cut_at_every_length(void **state)
{
    struct fixture *fixture = *state;
    struct arena arena DEFER(arena_fini);
    arena_init(&arena, ARENA_MAX_BYTES);
    for (size_t i = 0; i < codec_types_len; i++) {
        const struct codec_type *type = codec_types[i];
        struct bytes all = encoded(type, fresh(fixture, type), &fixture->arena);
        for (size_t len = 0; len < all.len; len++) {
            enum err_code code = decode_exact(type, all.ptr, len, &arena);
            assert_true(code == ERR_OK || code == ERR_MALFORMED);
        }
        assert_int_equal(decode_exact(type, all.ptr, all.len, &arena), ERR_OK);
    }
}

static void test_damage__any_byte_changed(void **state)
{
    struct fixture *fixture = *state;
    struct arena arena DEFER(arena_fini);
    arena_init(&arena, ARENA_MAX_BYTES);
    unsigned seed = 20251121;
    print_message("seed %u\n", seed);
    srand(seed);
    for (size_t i = 0; i < codec_types_len; i++) {
        const struct codec_type *type = codec_types[i];
        struct bytes all = encoded(type, fresh(fixture, type), &fixture->arena);
        uint8_t *copy = arena_dup(&fixture->arena, all.ptr, all.len);
        for (int n = 0; all.len && n < 300; n++) {
            size_t at = (size_t)rand() % all.len;
            copy[at] = (uint8_t)rand();
            enum err_code code = decode_exact(type, copy, all.len, &arena);
            assert_true(code == ERR_OK || code == ERR_MALFORMED || code == ERR_SIZE);
            copy[at] = all.ptr[at];
        }
    }
}

static void test_arena__limit_ends_decoding_and_encoding(void **state)
{
    struct fixture *fixture = *state;
    struct release *release = fresh(fixture, &codec_release);
    struct bytes good = encoded(&codec_release, release, &fixture->arena);
    int refused[3] = {0};
    enum err_code code[3] = {ERR_SIZE, ERR_SIZE, ERR_SIZE};
    for (size_t limit = 0; code[0] || code[1] || code[2]; limit += 64) {
        struct arena arena DEFER(arena_fini);
        arena_init(&arena, limit);
        struct release back;
        struct bytes out;
        const char *json;
        assert_true(limit < 1 << 20);
        code[0] = codec_decode(&codec_release, good, &arena, &back, NULL);
        arena_reset(&arena);
        code[1] = codec_encode(&codec_release, release, &arena, &out, NULL);
        arena_reset(&arena);
        code[2] = codec_json(&codec_release, release, 2, &arena, &json, NULL);
        for (int i = 0; i < 3; i++) {
            assert_true(code[i] == ERR_OK || code[i] == ERR_SIZE);
            refused[i] += code[i] == ERR_SIZE;
        }
    }
    for (int i = 0; i < 3; i++)
        assert_true(refused[i] > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table__agrees_with_every_descriptor),
        cmocka_unit_test(test_table__that_drifted_is_refused),
        cmocka_unit_test(test_codec__returns_every_field_of_every_type),
        cmocka_unit_test(test_codec__returns_a_health_message_field_by_field),
        cmocka_unit_test(test_codec__tells_an_absent_message_from_an_empty_one),
        cmocka_unit_test(test_unknown__fields_survive_on_every_level),
        cmocka_unit_test(test_unknown__field_number_zero_is_refused),
        cmocka_unit_test(test_unknown__enum_values_are_kept),
        cmocka_unit_test(test_damage__cut_at_every_length),
        cmocka_unit_test(test_damage__any_byte_changed),
        cmocka_unit_test(test_arena__limit_ends_decoding_and_encoding),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
