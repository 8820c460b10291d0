/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/ulid.h"
#include "tests/unit/proto/codec_fixture.h"

static void assert_refuses(const struct codec_type *type, struct bytes in, enum err_code code,
                           const char *text)
{
    struct arena arena DEFER(arena_fini);
    arena_init(&arena, ARENA_MAX_BYTES);
    struct err err = {0};
    void *plain = arena_alloc(&arena, type->size);
    assert_int_equal(codec_decode(type, in, &arena, plain, &err), code);
    assert_int_equal(err.code, code);
    assert_string_equal(err.text, text);
}

static void assert_will_not_write(const struct codec_type *type, const void *message,
                                  enum err_code code, const char *text)
{
    struct arena arena DEFER(arena_fini);
    arena_init(&arena, ARENA_MAX_BYTES);
    struct err err = {0};
    struct bytes out = {0};
    assert_int_equal(codec_encode(type, message, &arena, &out, &err), code);
    assert_string_equal(err.text, text);
    assert_null(out.ptr);
}

/* Makes the field break its row's limit in the plain struct, and appends the same to the wire,
 * where the last value counts. False when the row has no limit that its C type could pass. */
static bool break_upper_limit(struct fixture *fixture, const struct codec_row *row, unsigned id,
                              char *plain, struct wire *wire)
{
    void *member = plain + row->offset;
    size_t over = (size_t)row->max + 1;
    char *data;
    switch (row->kind) {
    case CODEC_TEXT:
    case CODEC_BYTES:
        if (over > 8192)
            return false;
        data = memset(fill_alloc(&fixture->fill, over + 1), 'a', over);
        wire_data(wire, id, data, over);
        if (row->kind == CODEC_TEXT)
            *(const char **)member = data;
        else
            *(struct bytes *)member = bytes_of(data, over);
        return true;
    case CODEC_U32:
        wire_number(wire, id, *(uint32_t *)member = (uint32_t)over);
        return row->max < UINT32_MAX;
    case CODEC_U64:
        if (row->max == UINT64_MAX)
            return false;
        wire_number(wire, id, *(uint64_t *)member = row->max + 1);
        return true;
    case CODEC_ENUM:
    case CODEC_I64:
        wire_number(wire, id, (uint64_t)-1);
        if (row->kind == CODEC_ENUM)
            *(int32_t *)member = -1;
        else
            *(int64_t *)member = -1;
        return true;
    default:
        return false;
    }
}

static void check_row_limit(struct fixture *fixture, const struct codec_type *type, size_t i)
{
    const struct codec_row *row = &type->rows[i];
    char *message = fresh(fixture, type);
    struct bytes good = encoded(type, message, &fixture->arena);
    static struct wire wire;
    assert_true(good.len + 8192 < sizeof wire.data);
    memcpy(wire.data, good.ptr, wire.len = good.len);
    if (!break_upper_limit(fixture, row, type->descriptor->fields[i].id, message, &wire))
        return;
    struct err wrote = {0};
    struct err read = {0};
    struct bytes out;
    void *back = fill_alloc(&fixture->fill, type->size);
    const char *path = arena_printf(&fixture->arena, "%s.%s: ", type->name, row->name);
    assert_int_not_equal(codec_encode(type, message, &fixture->arena, &out, &wrote), ERR_OK);
    assert_memory_equal(wrote.text, path, strlen(path));
    assert_int_not_equal(codec_decode(type, wire_bytes(&wire), &fixture->arena, back, &read), 0);
    if (wire.len <= type->bytes_max)
        assert_string_equal(wrote.text, read.text);
    else
        assert_int_equal(read.code, ERR_SIZE);
}

static void test_limit__of_every_row_holds_in_both_directions(void **state)
{
    for (size_t i = 0; i < codec_types_len; i++)
        for (size_t row = 0; row < codec_types[i]->rows_len; row++)
            check_row_limit(*state, codec_types[i], row);
}

static void test_limit__of_every_list_holds_in_both_directions(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < codec_types_len; i++) {
        const struct codec_type *type = codec_types[i];
        for (size_t r = 0; r < type->rows_len; r++) {
            const struct codec_row *row = &type->rows[r];
            if (row->kind < CODEC_TEXTS)
                continue;
            char *message = fresh(fixture, type);
            fill_list(&fixture->fill, row, row->count_max + 1, message);
            char text[ERR_TEXT_MAX];
            (void)snprintf(text, sizeof text, "%s.%s: %u of them, at most %u", type->name,
                           row->name, row->count_max + 1, row->count_max);
            assert_will_not_write(type, message, ERR_SIZE, text);
            static struct wire wire;
            wire.len = 0;
            for (unsigned n = 0; n <= row->count_max; n++)
                wire_data(&wire, type->descriptor->fields[r].id, "", 0);
            void *back = fill_alloc(&fixture->fill, type->size);
            assert_true(codec_decode(type, wire_bytes(&wire), &fixture->arena, back, NULL) != 0);
        }
    }
}

static void test_limit__names_the_place(void **state)
{
    struct fixture *fixture = *state;
    struct release *release = fresh(fixture, &codec_release);
    struct artifact *artifacts = fill_alloc(&fixture->fill, 3 * sizeof *artifacts);
    for (int i = 0; i < 3; i++)
        artifacts[i] = release->artifacts[0];
    release->artifacts = artifacts;
    release->artifacts_len = 3;
    artifacts[2].sha256.len = 31;
    assert_will_not_write(&codec_release, release, ERR_MALFORMED,
                          "release.artifacts[2].sha256: 31 bytes, must be 32");
    artifacts[2].sha256.len = 0;
    assert_will_not_write(&codec_release, release, ERR_MALFORMED,
                          "release.artifacts[2].sha256: must not be empty");
    artifacts[2] = artifacts[0];
    artifacts[1].kind = ARTIFACT_KIND_UNSPECIFIED;
    assert_will_not_write(&codec_release, release, ERR_MALFORMED,
                          "release.artifacts[1].kind: 0 is not from 1 to 2147483647");
    const char *urls[] = {"http://a/", "http://b c/"};
    artifacts[1] = artifacts[0];
    artifacts[0].urls = urls;
    artifacts[0].urls_len = 2;
    assert_will_not_write(&codec_release, release, ERR_MALFORMED,
                          "release.artifacts[0].urls[1]: must be printable ASCII without blanks");
}

static void test_limit__names_the_place_when_reading(void **state)
{
    (void)state;
    static struct wire app;
    static struct wire wire;
    app.len = wire.len = 0;
    wire_text(&wire, 1, "01JD7Z8XK2QWERTYVABCDE0001");
    wire_text(&app, 1, "hello");
    wire_data(&wire, 6, app.data, app.len);
    wire_data(&app, 4, "short", 5);
    wire_data(&wire, 6, app.data, app.len);
    assert_refuses(&codec_health, wire_bytes(&wire), ERR_MALFORMED,
                   "health.apps[1].digest: 5 bytes, must be 32");
    wire.len = 0;
    assert_refuses(&codec_health, wire_bytes(&wire), ERR_MALFORMED,
                   "health.epoch: must not be empty");
    for (int i = 0; i < 9; i++)
        wire_data(&wire, 6, app.data, app.len);
    wire_text(&wire, 1, "01JD7Z8XK2QWERTYVABCDE0001");
    assert_refuses(&codec_health, wire_bytes(&wire), ERR_SIZE, "health.apps: 9 of them, at most 8");
    assert_refuses(&codec_root, bytes_of("\x0a\x01t\x10\x01", 5), ERR_MALFORMED,
                   "root.roles: 0 of them, at least 1");
}

static void test_limit__of_the_whole_message(void **state)
{
    struct fixture *fixture = *state;
    static uint8_t zeros[(1 << 20) + 1];
    struct {
        const struct codec_type *type;
        size_t bytes;
    } const sizes[] = {
        {&codec_root, 64 << 10},       {&codec_release, 512 << 10},
        {&codec_desired, 64 << 10},    {&codec_envelope, (512 << 10) + 4096},
        {&codec_health, 8 << 10},      {&codec_telemetry, 8 << 10},
        {&codec_event, 4 << 10},       {&codec_ack, 128},
        {&codec_log_entry, 640 << 10}, {&codec_api_reply, 1 << 20},
    };
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct err err = {0};
        void *ret = fresh(fixture, sizes[i].type);
        assert_int_equal(codec_max_bytes(sizes[i].type), sizes[i].bytes);
        struct bytes in = bytes_of(zeros, sizes[i].bytes + 1);
        assert_int_equal(codec_decode(sizes[i].type, in, &fixture->arena, ret, &err), ERR_SIZE);
    }
    char *reason = memset(fill_alloc(&fixture->fill, 4097), 'r', 4096);
    struct channel_change changes[1000];
    for (size_t i = 0; i < ARRAY_LEN(changes); i++)
        changes[i] = (struct channel_change){.reason = reason};
    struct channel_history history = {
        .channel = "a/b", .changes = changes, .changes_len = ARRAY_LEN(changes)};
    assert_will_not_write(&codec_channel_history, &history, ERR_SIZE,
                          "channel_history: 4102005 bytes, at most 1044480");
}

/* text goes into the field id of the type, which must refuse it with this sentence, or accept it
 * when that is NULL. */
static void check_text(const struct codec_type *type, unsigned id, const char *text, size_t len,
                       const char *sentence)
{
    static struct wire wire;
    struct fixture fixture = {.arena = {.limit_bytes = ARENA_MAX_BYTES}};
    fixture.fill.arena = &fixture.arena;
    struct bytes good = encoded(type, fill_message(&fixture.fill, type), &fixture.arena);
    memcpy(wire.data, good.ptr, wire.len = good.len);
    wire_data(&wire, id, text, len);
    struct err err = {0};
    void *back = fill_alloc(&fixture.fill, type->size);
    enum err_code code = codec_decode(type, wire_bytes(&wire), &fixture.arena, back, &err);
    arena_fini(&fixture.arena);
    assert_int_equal(code, sentence ? ERR_MALFORMED : ERR_OK);
    if (sentence)
        assert_string_equal(err.text, sentence);
}

#define CHECK_TEXT(type, id, text, sentence) check_text(type, id, text, sizeof(text) - 1, sentence)

static void test_text__is_utf8_without_control_characters(void **state)
{
    (void)state;
    static const char refusal[] = "event.text: must be UTF-8 without control characters";
    CHECK_TEXT(&codec_event, 12, "gr\xc3\xbc\xc3\x9f\x65 \xe2\x82\xac \xf0\x9f\x9a\x80\n\tend",
               NULL);
    CHECK_TEXT(&codec_event, 12, "\xee\x80\x80 \xed\x9f\xbf \xf4\x8f\xbf\xbf \xc2\xa0", NULL);
    CHECK_TEXT(&codec_event, 12, "a\0b", refusal);
    CHECK_TEXT(&codec_event, 12, "bell \a", refusal);
    CHECK_TEXT(&codec_event, 12, "return \r\n", refusal);
    CHECK_TEXT(&codec_event, 12, "delete \x7f", refusal);
    CHECK_TEXT(&codec_event, 12, "c1 \xc2\x9b", refusal);
    CHECK_TEXT(&codec_event, 12, "latin1 \xfc", refusal);
    CHECK_TEXT(&codec_event, 12, "lonely \x80", refusal);
    CHECK_TEXT(&codec_event, 12, "overlong \xc0\xaf", refusal);
    CHECK_TEXT(&codec_event, 12, "overlong \xe0\x80\xaf", refusal);
    CHECK_TEXT(&codec_event, 12, "overlong \xf0\x80\x80\xaf", refusal);
    CHECK_TEXT(&codec_event, 12, "surrogate \xed\xa0\x80", refusal);
    CHECK_TEXT(&codec_event, 12, "beyond \xf4\x90\x80\x80", refusal);
    CHECK_TEXT(&codec_event, 12, "cut \xe2\x82", refusal);
    CHECK_TEXT(&codec_log_entry, 6, "two\nlines",
               "log_entry.subject: must be one line of UTF-8 without control characters");
}

static void test_text__of_each_class_is_held_to_it(void **state)
{
    (void)state;
    static const char token[] = "ack.epoch: must be a ULID";
    CHECK_TEXT(&codec_ack, 1, "01jd7z8xk2qwertyvabcde0001", token);
    CHECK_TEXT(&codec_ack, 1, "01JD7Z8XK2QWERTYUABCDE0001", token);
    CHECK_TEXT(&codec_ack, 1, "81JD7Z8XK2QWERTYVABCDE0001", token);
    CHECK_TEXT(&codec_ack, 1, "01JD7Z8XK2QWERTYVABCDE000", token);
    CHECK_TEXT(&codec_event, 5, "a.b", "event.app: must be letters, digits, _ and -");
    CHECK_TEXT(&codec_event, 5, "a\0b", "event.app: must be letters, digits, _ and -");
    CHECK_TEXT(&codec_event, 9, "-1", "event.version: must be letters, digits and . _ + ~ -");
    CHECK_TEXT(&codec_event, 9, "1.0~rc1+git", NULL);
    CHECK_TEXT(&codec_artifact, 1, ".", NULL);
    CHECK_TEXT(&codec_artifact, 1, "bin/tool", NULL);
    CHECK_TEXT(&codec_artifact, 1, "../x",
               "artifact.path: must be a path that stays inside its folder");
    CHECK_TEXT(&codec_artifact, 1, ".\0/../x",
               "artifact.path: must be a path that stays inside its folder");
    CHECK_TEXT(&codec_artifact, 1, "/etc",
               "artifact.path: must be a path that stays inside its folder");
    CHECK_TEXT(&codec_source, 2, "0123456789abcdef0123456789abcdef01234567", NULL);
    CHECK_TEXT(&codec_source, 2, "0123456789abcdef0123456789abcdef012345678",
               "source.commit: must be 40 or 64 hexadecimal digits");
    CHECK_TEXT(&codec_signature, 2, "0123456789ABCDEF",
               "signature.keyid: must be lower-case hexadecimal");
    CHECK_TEXT(&codec_signature, 2, "01234567", "signature.keyid: must be lower-case hexadecimal");
}

/* base has the same rules for who has no codec at hand. */
static void test_text__classes_agree_with_base(void **state)
{
    (void)state;
    struct codec_row row = {.name = "x", .max = TOKEN_MAX, .required = true};
    struct codec_at at = {.type = &codec_ack, .row = &row, .index = CODEC_NO_INDEX};
    char text[] = "01JD7Z8XK2QWERTYVABCDE0001";
    for (int first = 0; first < 2; first++)
        for (int c = 1; c < 256; c++) {
            char old = text[first];
            text[first] = (char)c;
            size_t len = strlen(text);
            row.class = CLASS_TOKEN;
            assert_true(str_is_token(text) == !codec_check_text(&at, text, len, NULL));
            row.class = CLASS_VERSION;
            assert_true(str_is_version(text) == !codec_check_text(&at, text, len, NULL));
            row.class = CLASS_ULID;
            assert_true(ulid_valid(text) == !codec_check_text(&at, text, len, NULL));
            text[first] = old;
        }
}

static void test_number__must_be_finite(void **state)
{
    (void)state;
    const double values[] = {1.0 / 0.0, -1.0 / 0.0, 0.0 / 0.0};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        struct metric metric = {.name = "load", .value = values[i]};
        assert_will_not_write(&codec_metric, &metric, ERR_MALFORMED,
                              "metric.value: must be a finite number");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limit__of_every_row_holds_in_both_directions),
        cmocka_unit_test(test_limit__of_every_list_holds_in_both_directions),
        cmocka_unit_test(test_limit__names_the_place),
        cmocka_unit_test(test_limit__names_the_place_when_reading),
        cmocka_unit_test(test_limit__of_the_whole_message),
        cmocka_unit_test(test_text__is_utf8_without_control_characters),
        cmocka_unit_test(test_text__of_each_class_is_held_to_it),
        cmocka_unit_test(test_text__classes_agree_with_base),
        cmocka_unit_test(test_number__must_be_finite),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
