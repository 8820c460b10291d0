/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/unit/proto/message_fill.h"

enum { ARENA_MAX_BYTES = 16 << 20 };

static void assert_json(const struct codec_type *type, const void *message, int indent,
                        const char *expected)
{
    struct arena arena;
    struct err err = {0};
    const char *json = NULL;
    arena_init(&arena, ARENA_MAX_BYTES);
    if (codec_json(type, message, indent, &arena, &json, &err))
        fail_msg("%s", err.text);
    assert_string_equal(json, expected);
    arena_fini(&arena);
}

static void test_json__leaves_defaults_out_but_keeps_lists_of_the_top(void **state)
{
    (void)state;
    struct channel_info info = {.channel = "hello/stable"};
    struct status status = {.holder = "h:1", .channels = &info, .channels_len = 1};
    assert_json(&codec_ack, &(struct ack){.epoch = NULL}, 0, "{}");
    assert_json(&codec_status_query, &(struct status_query){.head = {0}}, 2, "{}");
    assert_json(&codec_channel_list, &(struct channel_list){.channels = NULL}, 0,
                "{\"channels\":[]}");
    assert_json(&codec_status, &status, 0,
                "{\"holder\":\"h:1\",\"channels\":[{\"channel\":\"hello/stable\"}]}");
}

static void test_json__has_64_bit_integers_as_text_and_small_ones_as_numbers(void **state)
{
    (void)state;
    struct telemetry telemetry = {.sent_ms = INT64_MIN,
                                  .uptime_ms = UINT64_MAX,
                                  .cpu_permille = UINT32_MAX,
                                  .temperature_millicelsius = -12500,
                                  .has_temperature = true};
    assert_json(&codec_telemetry, &telemetry, 0,
                "{\"sentMs\":\"-9223372036854775808\",\"uptimeMs\":\"18446744073709551615\","
                "\"cpuPermille\":4294967295,\"temperatureMillicelsius\":-12500,"
                "\"hasTemperature\":true,\"apps\":[]}");
    struct cohort cohort = {.cut = UINT64_MAX};
    assert_json(&codec_cohort, &cohort, 0,
                "{\"cut\":\"18446744073709551615\",\"devices\":[],\"selectors\":[]}");
    struct metric metric = {.name = "load", .value = 0.1};
    assert_json(&codec_metric, &metric, 0, "{\"name\":\"load\",\"value\":0.10000000000000001}");
}

/* The vectors of RFC 4648, section 10. */
static void test_json__has_bytes_as_base64(void **state)
{
    (void)state;
    const char *vectors[][2] = {{"f", "Zg=="},           {"fo", "Zm8="},
                                {"foo", "Zm9v"},         {"foob", "Zm9vYg=="},
                                {"fooba", "Zm9vYmE="},   {"foobar", "Zm9vYmFy"},
                                {"\xfb\xff\xbf", "+/+/"}};
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        struct artifact_piece piece = {.data = bytes_of(vectors[i][0], strlen(vectors[i][0]))};
        char expected[64];
        (void)snprintf(expected, sizeof expected, "{\"data\":\"%s\"}", vectors[i][1]);
        assert_json(&codec_artifact_piece, &piece, 0, expected);
    }
}

static void test_json__names_enums_and_keys_as_proto3_does(void **state)
{
    (void)state;
    struct bytes keys[] = {bytes_of("ab", 2), bytes_of("", 0)};
    struct role role = {.name = "root", .threshold = 1, .keys = keys, .keys_len = 2};
    assert_json(&codec_role, &role, 0,
                "{\"name\":\"root\",\"threshold\":1,\"keys\":[\"YWI=\",\"\"]}");
    struct event event = {.kind = EVENT_KIND_ROLLED_BACK, .time_ms = 1};
    assert_json(&codec_event, &event, 0, "{\"timeMs\":\"1\",\"kind\":\"EVENT_KIND_ROLLED_BACK\"}");
    event.kind = (enum event_kind)500;
    assert_json(&codec_event, &event, 0, "{\"timeMs\":\"1\",\"kind\":500}");
}

static void test_json__escapes_text_and_keeps_utf8(void **state)
{
    (void)state;
    struct evidence evidence = {.name = "a\"b\\c", .value = "line\n\ttab \xe2\x82\xac"};
    assert_json(&codec_evidence, &evidence, 0,
                "{\"name\":\"a\\\"b\\\\c\",\"value\":\"line\\n\\ttab \xe2\x82\xac\"}");
}

static void test_json__indents(void **state)
{
    (void)state;
    const char *devices[] = {"s/a", NULL};
    struct cohort cohort = {.salt = "x", .devices = devices, .devices_len = 2};
    assert_json(&codec_cohort, &cohort, 2,
                "{\n  \"salt\": \"x\",\n  \"devices\": [\n    \"s/a\",\n    \"\"\n  ],\n  "
                "\"selectors\": []\n}");
}

static void test_json__refuses_text_that_is_not_utf8(void **state)
{
    (void)state;
    struct arena arena;
    struct err err = {0};
    const char *json = NULL;
    arena_init(&arena, ARENA_MAX_BYTES);
    const char *devices[] = {"ok", "\xff"};
    struct cohort cohort = {.devices = devices, .devices_len = 2};
    struct desired desired = {.cohort = &cohort};
    assert_int_equal(codec_json(&codec_desired, &desired, 0, &arena, &json, &err), ERR_MALFORMED);
    assert_string_equal(err.text, "desired: holds text that is not UTF-8");
    assert_null(json);
    arena_fini(&arena);
}

/* Every key of every type, in the order of the .proto. */
static void test_json__of_every_type_has_every_field_in_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < codec_types_len; i++) {
        const struct codec_type *type = codec_types[i];
        struct arena arena;
        struct err err = {0};
        const char *json = NULL;
        arena_init(&arena, ARENA_MAX_BYTES);
        struct fill fill = {.arena = &arena};
        void *message = fill_message(&fill, type);
        assert_int_equal(codec_json(type, message, 0, &arena, &json, &err), ERR_OK);
        json_t *object = json_loads(json, 0, NULL);
        assert_non_null(object);
        assert_int_equal(json_object_size(object), type->rows_len);
        const char *at = json;
        for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
            const char *key = json_object_iter_key(it);
            const char *quoted = arena_printf(&arena, "\"%s\":", key);
            assert_null(strchr(key, '_'));
            assert_non_null(at = strstr(at, quoted));
        }
        json_decref(object);
        arena_fini(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json__leaves_defaults_out_but_keeps_lists_of_the_top),
        cmocka_unit_test(test_json__has_64_bit_integers_as_text_and_small_ones_as_numbers),
        cmocka_unit_test(test_json__has_bytes_as_base64),
        cmocka_unit_test(test_json__names_enums_and_keys_as_proto3_does),
        cmocka_unit_test(test_json__escapes_text_and_keeps_utf8),
        cmocka_unit_test(test_json__indents),
        cmocka_unit_test(test_json__refuses_text_that_is_not_utf8),
        cmocka_unit_test(test_json__of_every_type_has_every_field_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
