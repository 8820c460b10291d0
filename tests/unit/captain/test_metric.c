/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/core/metric.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/clock.h"

static struct metric_source parsed(const char *text)
{
    struct metric_source source;
    struct err err;
    if (metric_parse(text, &source, &err) != ERR_OK)
        fail_msg("%s: %s", text, err.text);
    return source;
}

static void expect_wrong(const char *text, const char *part)
{
    struct metric_source source;
    struct err err = {0};
    memset(&source, 0x5a, sizeof source);
    const struct metric_source before = source;
    assert_int_equal(metric_parse(text, &source, &err), ERR_MALFORMED);
    if (!strstr(err.text, part))
        fail_msg("%s: %s, expected to say %s", text, err.text, part);
    assert_memory_equal(&source, &before, sizeof source);
}

static void test_metric__reads_every_form(void **state)
{
    static const struct {
        const char *text;
        enum metric_kind kind;
        enum metric_statistic statistic;
        double percentile;
        enum metric_form form;
        const char *name;
    } rows[] = {
        {"telemetry p95 memory_used_percent", METRIC_TELEMETRY, METRIC_PERCENTILE, 95,
         METRIC_OF_CANARY, "memory_used_percent"},
        {"telemetry mean cpu_percent canary", METRIC_TELEMETRY, METRIC_MEAN, 0, METRIC_OF_CANARY,
         "cpu_percent"},
        {"app p99.9 latency_ms control", METRIC_APP, METRIC_PERCENTILE, 99.9, METRIC_OF_CONTROL,
         "latency_ms"},
        {"app rate errors canary / control", METRIC_APP, METRIC_RATE, 0, METRIC_RATIO, "errors"},
        {"  app   rate  errors  canary   -  control ", METRIC_APP, METRIC_RATE, 0,
         METRIC_DIFFERENCE, "errors"},
        {"app p100 x", METRIC_APP, METRIC_PERCENTILE, 100, METRIC_OF_CANARY, "x"},
        {"app p0.001 x", METRIC_APP, METRIC_PERCENTILE, 0.001, METRIC_OF_CANARY, "x"},
        {"app min a.b/c", METRIC_APP, METRIC_MIN, 0, METRIC_OF_CANARY, "a.b/c"},
        {"app max x", METRIC_APP, METRIC_MAX, 0, METRIC_OF_CANARY, "x"},
        {"app sum x", METRIC_APP, METRIC_SUM, 0, METRIC_OF_CANARY, "x"},
        {"app count canary", METRIC_APP, METRIC_COUNT, 0, METRIC_OF_CANARY, "canary"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct metric_source source = parsed(rows[i].text);
        assert_int_equal(source.kind, rows[i].kind);
        assert_int_equal(source.statistic, rows[i].statistic);
        assert_true(fabs(source.percentile - rows[i].percentile) < 1e-12);
        assert_int_equal(source.form, rows[i].form);
        assert_string_equal(source.name, rows[i].name);
    }
}

static void test_metric__knows_every_number_of_a_machine(void **state)
{
    char text[128];
    (void)state;
    for (unsigned i = 0; i < METRIC_FIELDS; i++) {
        (void)snprintf(text, sizeof text, "telemetry mean %s",
                       metric_field_name((enum metric_field)i));
        assert_int_equal(parsed(text).field, i);
    }
}

static void test_metric__takes_the_rest_as_the_query(void **state)
{
    (void)state;
    struct metric_source source =
        parsed("prometheus http://127.0.0.1:9090/  sum(rate(x{a=\"b c\"}[5m])) / 2");
    assert_int_equal(source.kind, METRIC_PROMETHEUS);
    assert_string_equal(source.url, "http://127.0.0.1:9090");
    assert_string_equal(source.query, "sum(rate(x{a=\"b c\"}[5m])) / 2");
    source = parsed("prometheus https://p.example/metrics/ up");
    assert_string_equal(source.url, "https://p.example/metrics");
}

static void test_metric__says_what_is_wrong(void **state)
{
    char text[POLICY_TEXT_MAX + 1];
    static const struct {
        const char *text, *part;
    } rows[] = {
        {"", "begins with telemetry, app or prometheus, not \"\""},
        {"rate(x[5m])", "not \"rate(x[5m])\""},
        {"Telemetry p95 cpu_percent", "begins with"},
        {"telemetry", "nothing is no statistic"},
        {"telemetry p95", "without a name"},
        {"telemetry p95 memory_used_percnt", "the nearest is memory_used_percent"},
        {"telemetry median cpu_percent", "median is no statistic"},
        {"telemetry p cpu_percent", "p is no statistic"},
        {"telemetry p0 cpu_percent", "p0 is"},
        {"telemetry p101 cpu_percent", "p101 is"},
        {"telemetry p9x cpu_percent", "p9x is"},
        {"telemetry p9. cpu_percent", "p9. is"},
        {"telemetry p9.1234567 cpu_percent", "p9.1234567 is"},
        {"telemetry p0000095 cpu_percent", "p0000095 is"},
        {"telemetry p-5 cpu_percent", "p-5 is"},
        {"app rate", "name of the app's number is missing"},
        {"app rate errors canary /", "\"canary - control\""},
        {"app rate errors control / canary", "not \"control / canary\""},
        {"app rate errors canary/control", "not \"canary/control\""},
        {"app rate errors canary + control", "not \"canary + control\""},
        {"prometheus", "needs an address"},
        {"prometheus up", "not \"up\""},
        {"prometheus ftp://x up", "needs an address"},
        {"prometheus http:// up", "needs an address"},
        {"prometheus http:/// up", "needs an address"},
        {"prometheus http://x?y up", "needs an address"},
        {"prometheus http://x", "the query for http://x is missing"},
        {"prometheus http://x ", "is missing"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        expect_wrong(rows[i].text, rows[i].part);
    memset(text, 'a', POLICY_TEXT_MAX);
    text[POLICY_TEXT_MAX] = '\0';
    expect_wrong(text, "at most 255 bytes");
}

static double value_of(const double *values, size_t len, enum metric_statistic statistic,
                       double percentile)
{
    struct metric_sketch *sketch = mem_new(1, sizeof *sketch);
    metric_sketch_reset(sketch);
    for (size_t i = 0; i < len; i++)
        metric_sketch_add(sketch, values[i]);
    const double value = metric_sketch_value(sketch, statistic, percentile);
    mem_free(sketch);
    return value;
}

static void test_metric__computes_over_devices(void **state)
{
    static const double values[] = {4, -2, NAN, 0, 10, INFINITY, -INFINITY};
    (void)state;
    assert_true(value_of(values, 7, METRIC_MEAN, 0) == 3);
    assert_true(value_of(values, 7, METRIC_RATE, 0) == 3);
    assert_true(value_of(values, 7, METRIC_MIN, 0) == -2);
    assert_true(value_of(values, 7, METRIC_MAX, 0) == 10);
    assert_true(value_of(values, 7, METRIC_SUM, 0) == 12);
    assert_true(value_of(values, 7, METRIC_COUNT, 0) == 4);
    assert_true(value_of(values, 7, METRIC_PERCENTILE, 50) == 0);
}

static void test_metric__has_no_value_without_devices(void **state)
{
    static const double nothing[] = {NAN, INFINITY};
    (void)state;
    for (int i = METRIC_PERCENTILE; i <= METRIC_COUNT; i++) {
        assert_true(isnan(value_of(NULL, 0, (enum metric_statistic)i, 50)));
        assert_true(isnan(value_of(nothing, 2, (enum metric_statistic)i, 50)));
    }
}

static void test_metric__is_exact_for_one_number_and_for_the_ends(void **state)
{
    static const double lone[] = {123.456, -7.5, 1e-30, 1e30, 0};
    static const double many[] = {3.3, 1.1, 2.2, 5.5, 4.4};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lone); i++)
        assert_true(value_of(&lone[i], 1, METRIC_PERCENTILE, 95) == lone[i]);
    assert_true(value_of(many, 5, METRIC_PERCENTILE, 100) == 5.5);
    assert_true(value_of(many, 5, METRIC_PERCENTILE, 81) == 5.5);
    assert_true(value_of(many, 5, METRIC_PERCENTILE, 20) == 1.1);
    assert_true(fabs(value_of(many, 5, METRIC_PERCENTILE, 80) / 4.4 - 1) < 0.0101);
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void expect_near(double *values, size_t len, double percentile, uint64_t seed)
{
    const double got = value_of(values, len, METRIC_PERCENTILE, percentile);
    qsort(values, len, sizeof *values, by_size);
    size_t rank = (size_t)ceil(percentile * (double)len / 100 - 1e-9);
    rank = rank < 1 ? 1 : rank;
    const double want = values[rank - 1];
    if (fabs(got - want) > fabs(want) * 0.01 + 1e-9)
        fail_msg("p%g of %zu: %g, exactly %g (seed %llu)", percentile, len, got, want,
                 (unsigned long long)seed);
}

static void test_metric__percentiles_are_off_by_one_percent_at_most(void **state)
{
    static const double asked[] = {0.1, 1, 25, 50, 90, 95, 99, 99.9, 100};
    const uint64_t seed = (uint64_t)clock_unix_ms();
    double values[500];
    struct rng rng;
    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    rng_seed(&rng, seed);
    for (int round = 0; round < 300; round++) {
        const size_t len = 1 + rng_below(&rng, ARRAY_LEN(values));
        for (size_t i = 0; i < len; i++) {
            const double size = pow(10, (double)rng_below(&rng, 240) / 10 - 8);
            values[i] = rng_below(&rng, 3) == 0 ? -size : size;
        }
        expect_near(values, len, asked[rng_below(&rng, ARRAY_LEN(asked))], seed);
    }
}

static void test_metric__compares_canary_and_control(void **state)
{
    (void)state;
    assert_true(metric_combine(METRIC_OF_CANARY, 3, NAN) == 3);
    assert_true(metric_combine(METRIC_OF_CONTROL, NAN, 4) == 4);
    assert_true(metric_combine(METRIC_RATIO, 3, 4) == 0.75);
    assert_true(metric_combine(METRIC_DIFFERENCE, 3, 4) == -1);
    assert_true(metric_combine(METRIC_RATIO, 0, 0) == 1);
    assert_true(isinf(metric_combine(METRIC_RATIO, 1, 0)));
    assert_true(isnan(metric_combine(METRIC_RATIO, NAN, 0)));
    assert_true(isnan(metric_combine(METRIC_DIFFERENCE, 1, NAN)));
    assert_true(metric_uses(METRIC_OF_CANARY, METRIC_SIDE_CANARY));
    assert_false(metric_uses(METRIC_OF_CANARY, METRIC_SIDE_CONTROL));
    assert_false(metric_uses(METRIC_OF_CONTROL, METRIC_SIDE_CANARY));
    assert_true(metric_uses(METRIC_DIFFERENCE, METRIC_SIDE_CONTROL));
}

static void test_metric__a_counter_that_shrank_began_again(void **state)
{
    (void)state;
    assert_true(metric_increase(10, 30, 4) == 5);
    assert_true(metric_increase(30, 8, 4) == 2);
    assert_true(metric_increase(30, 30, 4) == 0);
    assert_true(isnan(metric_increase(1, 2, 0)));
    assert_true(isnan(metric_increase(1, 2, -1)));
    assert_true(isnan(metric_increase(NAN, 2, 1)));
    assert_true(isnan(metric_increase(1, INFINITY, 1)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metric__reads_every_form),
        cmocka_unit_test(test_metric__knows_every_number_of_a_machine),
        cmocka_unit_test(test_metric__takes_the_rest_as_the_query),
        cmocka_unit_test(test_metric__says_what_is_wrong),
        cmocka_unit_test(test_metric__computes_over_devices),
        cmocka_unit_test(test_metric__has_no_value_without_devices),
        cmocka_unit_test(test_metric__is_exact_for_one_number_and_for_the_ends),
        cmocka_unit_test(test_metric__percentiles_are_off_by_one_percent_at_most),
        cmocka_unit_test(test_metric__compares_canary_and_control),
        cmocka_unit_test(test_metric__a_counter_that_shrank_began_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
