/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/prometheus.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"

#define OK "{\"status\":\"success\",\"data\":"

static struct prometheus_answer read_good(const char *text)
{
    struct prometheus_answer answer;
    struct err err;
    if (prometheus_read(bytes_of(text, strlen(text)), &answer, &err) != ERR_OK)
        fail_msg("%s: %s", text, err.text);
    return answer;
}

static void test_prometheus__reads_a_scalar_and_a_vector_of_one(void **state)
{
    (void)state;
    struct prometheus_answer answer =
        read_good(OK "{\"resultType\":\"scalar\",\"result\":[1800000000.25,\"2.5\"]}}");
    assert_false(answer.empty);
    assert_true(answer.value == 2.5);
    assert_true(answer.time_ms == INT64_C(1800000000250));
    answer = read_good(OK "{\"resultType\":\"vector\",\"result\":[{\"metric\":{\"a\":\"b\"},"
                          "\"value\":[1800000000,\"-1e-3\"]}]},\"warnings\":[\"w\"]}");
    assert_true(answer.value == -1e-3);
    assert_true(answer.time_ms == INT64_C(1800000000000));
}

static void test_prometheus__reads_what_is_no_number(void **state)
{
    (void)state;
    assert_true(isnan(read_good(OK "{\"resultType\":\"scalar\",\"result\":[1,\"NaN\"]}}").value));
    assert_true(read_good(OK "{\"resultType\":\"scalar\",\"result\":[1,\"+Inf\"]}}").value > 1e308);
    assert_true(read_good(OK "{\"resultType\":\"scalar\",\"result\":[1,\"-Inf\"]}}").value <
                -1e308);
}

static void test_prometheus__no_series_is_empty(void **state)
{
    (void)state;
    assert_true(read_good(OK "{\"resultType\":\"vector\",\"result\":[]}}").empty);
}

static void test_prometheus__refuses_all_else(void **state)
{
    static const struct {
        const char *text;
        enum err_code code;
        const char *part;
    } rows[] = {
        {"", ERR_MALFORMED, "no JSON"},
        {"<html>", ERR_MALFORMED, "no JSON"},
        {"[]", ERR_MALFORMED, "no answer of Prometheus"},
        {"{}", ERR_MALFORMED, "no answer of Prometheus"},
        {"{\"status\":\"error\",\"errorType\":\"timeout\",\"error\":\"query timed out\"}",
         ERR_FAILED, "query timed out"},
        {"{\"status\":\"error\"}", ERR_FAILED, "the query failed"},
        {"{\"status\":\"success\"}", ERR_MALFORMED, "no answer of Prometheus"},
        {OK "{\"resultType\":\"vector\"}}", ERR_MALFORMED, "no result"},
        {OK "{\"resultType\":\"vector\",\"result\":{}}}", ERR_MALFORMED, "no result"},
        {OK "{\"resultType\":\"vector\",\"result\":[{},{}]}}", ERR_CONFLICT, "gives 2 series"},
        {OK "{\"resultType\":\"vector\",\"result\":[{}]}}", ERR_MALFORMED, "no sample"},
        {OK "{\"resultType\":\"scalar\",\"result\":[\"1\",\"2\"]}}", ERR_MALFORMED, "no sample"},
        {OK "{\"resultType\":\"scalar\",\"result\":[1,2]}}", ERR_MALFORMED, "no sample"},
        {OK "{\"resultType\":\"scalar\",\"result\":[1,\"\"]}}", ERR_MALFORMED, "no sample"},
        {OK "{\"resultType\":\"scalar\",\"result\":[1e300,\"1\"]}}", ERR_MALFORMED, "no sample"},
        {OK "{\"resultType\":\"scalar\",\"result\":[1,\"2x\"]}}", ERR_MALFORMED, "\"2x\""},
        {OK "{\"resultType\":\"matrix\",\"result\":[]}}", ERR_MALFORMED, "gives a matrix"},
        {OK "{\"resultType\":\"string\",\"result\":[1,\"a\"]}}", ERR_MALFORMED, "gives a string"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct prometheus_answer answer;
        struct err err = {0};
        const struct bytes text = bytes_of(rows[i].text, strlen(rows[i].text));
        if (prometheus_read(text, &answer, &err) != rows[i].code || !strstr(err.text, rows[i].part))
            fail_msg("%s: %s (%d)", rows[i].text, err.text, (int)err.code);
    }
}

static void test_prometheus__asks_in_one_url(void **state)
{
    struct arena arena DEFER(arena_fini) = {0};
    (void)state;
    arena_init(&arena, 4096);
    assert_string_equal(prometheus_url("http://h:9090", "a{b=\"c d\"}/2+\xc3\xa9", 0, &arena),
                        "http://h:9090/api/v1/query?query=a%7Bb%3D%22c%20d%22%7D%2F2%2B%C3%A9");
    assert_string_equal(prometheus_url("http://h/p", "up", 1500, &arena),
                        "http://h/p/api/v1/query?query=up&lookback_delta=1.500");
    assert_string_equal(prometheus_url("http://h/p", "up", 60 * 60 * 1000, &arena),
                        "http://h/p/api/v1/query?query=up");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prometheus__reads_a_scalar_and_a_vector_of_one),
        cmocka_unit_test(test_prometheus__reads_what_is_no_number),
        cmocka_unit_test(test_prometheus__no_series_is_empty),
        cmocka_unit_test(test_prometheus__refuses_all_else),
        cmocka_unit_test(test_prometheus__asks_in_one_url),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
