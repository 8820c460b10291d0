/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/io/telemetry.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "proto/codec.h"
#include "tests/support/tempdir.h"

struct world {
    char *dir;
    char *path;
    struct arena arena;
    const struct metric *metrics;
    size_t len;
    struct err err;
};

static int set_up(void **state)
{
    struct world *w = mem_new(1, sizeof *w);
    w->dir = tempdir_make();
    w->path = tempdir_path(w->dir, "numbers.json");
    arena_init(&w->arena, 256 << 10);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    arena_fini(&w->arena);
    tempdir_remove(w->dir);
    free(w->path);
    mem_free(w);
    return 0;
}

static enum err_code read_text(struct world *w, const char *text)
{
    tempdir_write(w->path, text, strlen(text));
    return telemetry_read_app(w->path, NULL, &w->arena, &w->metrics, &w->len, &w->err);
}

static void test_telemetry__reads_the_machine(void **state)
{
    struct world *w = *state;
    struct telemetry_reader reader = {0};
    struct telemetry first;
    struct telemetry second;
    struct bytes encoded;
    telemetry_read(&reader, w->dir, 1234, &first);
    assert_int_equal(first.sent_ms, 1234);
    assert_int_equal(first.cpu_permille, 0); /* needs two readings */
    assert_in_range(first.memory_available_bytes, 1 << 20, first.memory_total_bytes);
    assert_in_range(first.disk_free_bytes, 0, first.disk_total_bytes);
    assert_true(first.disk_total_bytes > 0);
    assert_true(first.uptime_ms > 0);
    /* Busy until the kernel has counted some of it. */
    int64_t end_ms = clock_mono_ms() + 5000;
    volatile unsigned work = 0;
    do {
        for (int64_t spin_ms = clock_mono_ms() + 50; clock_mono_ms() < spin_ms;)
            work++;
        telemetry_read(&reader, w->dir, 1235, &second);
    } while (second.cpu_permille == 0 && clock_mono_ms() < end_ms);
    assert_in_range(second.cpu_permille, 1, 1000);
    assert_int_equal(codec_encode(&codec_telemetry, &second, &w->arena, &encoded, &w->err), ERR_OK);
}

static void test_telemetry__leaves_zero_what_cannot_be_read(void **state)
{
    (void)state;
    struct telemetry_reader reader = {0};
    struct telemetry got;
    telemetry_read(&reader, "/nonexistent", 1, &got);
    assert_int_equal(got.disk_total_bytes, 0);
}

static void test_telemetry__reads_an_apps_numbers(void **state)
{
    struct world *w = *state;
    assert_int_equal(read_text(w, "{\"requests\": 12, \"load.p99\": -0.5, \"big\": 1e300}"),
                     ERR_OK);
    assert_int_equal(w->len, 3);
    assert_string_equal(w->metrics[0].name, "requests");
    assert_true(w->metrics[0].value == 12);
    assert_string_equal(w->metrics[1].name, "load.p99");
    assert_true(w->metrics[1].value == -0.5);
    assert_int_equal(read_text(w, "{}"), ERR_OK);
    assert_int_equal(w->len, 0);
}

static void test_telemetry__says_when_there_is_no_file(void **state)
{
    struct world *w = *state;
    assert_int_equal(telemetry_read_app(w->path, NULL, &w->arena, &w->metrics, &w->len, &w->err),
                     ERR_NOT_FOUND);
}

static void test_telemetry__refuses_what_breaks_a_rule(void **state)
{
    struct world *w = *state;
    static const char *const bad[] = {"",
                                      "{",
                                      "[]",
                                      "1",
                                      "{\"a\": \"1\"}",
                                      "{\"a\": null}",
                                      "{\"a\": {\"b\": 1}}",
                                      "{\"a\": 1, \"a\": 2}",
                                      "{\"\": 1}",
                                      "{\"a b\": 1}",
                                      "{\"a\\n\": 1}",
                                      "{\"a\": 1e999}",
                                      "{\"a\": NaN}",
                                      "{\"a\": 1} trailing",
                                      "{\"h\xc3\xa9\": 1}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(read_text(w, bad[i]), ERR_MALFORMED);
        assert_non_null(strstr(w->err.text, "numbers.json"));
    }
}

static void test_telemetry__says_where_it_is_malformed(void **state)
{
    struct world *w = *state;
    assert_int_equal(read_text(w, "{\n  \"a\": x\n}"), ERR_MALFORMED);
    assert_non_null(strstr(w->err.text, "numbers.json:2:"));
}

static void test_telemetry__bounds_names_count_and_size(void **state)
{
    struct world *w = *state;
    char *text = mem_new(1, 100 << 10);
    char name[80];
    for (int count = TELEMETRY_METRICS_MAX; count <= TELEMETRY_METRICS_MAX + 1; count++) {
        int len = snprintf(text, 2, "{");
        for (int i = 0; i < count; i++)
            len += snprintf(text + len, sizeof name, "%s\"n%d\": %d", i > 0 ? "," : "", i, i);
        (void)snprintf(text + len, 2, "}");
        assert_int_equal(read_text(w, text),
                         count <= TELEMETRY_METRICS_MAX ? ERR_OK : ERR_MALFORMED);
    }
    memset(name, 'n', 65);
    name[65] = '\0';
    (void)snprintf(text, 200, "{\"%s\": 1}", name);
    assert_int_equal(read_text(w, text), ERR_MALFORMED);
    (void)snprintf(text, 200, "{\"%s\": 1}", name + 1);
    assert_int_equal(read_text(w, text), ERR_OK);
    memset(text, ' ', 70 << 10);
    (void)snprintf(text + (70 << 10), 3, "{}");
    assert_int_equal(read_text(w, text), ERR_MALFORMED);
    mem_free(text);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_telemetry__reads_the_machine),
        T(test_telemetry__leaves_zero_what_cannot_be_read),
        T(test_telemetry__reads_an_apps_numbers),
        T(test_telemetry__says_when_there_is_no_file),
        T(test_telemetry__refuses_what_breaks_a_rule),
        T(test_telemetry__says_where_it_is_malformed),
        T(test_telemetry__bounds_names_count_and_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
