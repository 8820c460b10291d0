/* SPDX-License-Identifier: Apache-2.0
 *
 * Metrics of a real prometheus, asked by the real captain-fetch.
 */
#include "tests/unit/captain/metrics_world.h"

#include "captain/io/fetch.h"
#include "tests/support/fault_http.h"
#include "tests/support/port.h"
#include "tests/support/prometheus.h"

enum { OLD_MS = 120000, TIMEOUT_MS = 300 };

/* What prometheus scrapes, and prometheus; shared by all tests. */
static struct {
    struct fault_http *target;
    struct prometheus *server;
} shared;

static int set_up_all(void **state)
{
    char text[512];
    (void)state;
    assert_non_null(getenv("CAPTAIN_FETCH_BIN"));
    const int len = snprintf(text, sizeof text,
                             "# TYPE hello_errors_total counter\n"
                             "hello_errors_total 5\n"
                             "hello_latency_seconds NaN\n"
                             "hello_zone{zone=\"a\"} 1\n"
                             "hello_zone{zone=\"b\"} 2\n"
                             "hello_old 7 %lld\n",
                             (long long)(clock_unix_ms() - OLD_MS));
    shared.target = fault_http_start(text, (size_t)len, "1");
    shared.server = prometheus_start(fault_http_port(shared.target));
    return 0;
}

static int tear_down_all(void **state)
{
    (void)state;
    prometheus_free(shared.server);
    fault_http_free(shared.target);
    return 0;
}

/* A canary is healthy, and this is asked. */
static struct bench *asking_at(const char *address, const char *query, int64_t max_age_ms)
{
    char source[POLICY_TEXT_MAX];
    (void)snprintf(source, sizeof source, "prometheus %s %s", address, query);
    struct bench *b = bench_open(4, source);
    b->world.policy.metrics[0].max_age_ms = max_age_ms;
    world_waves(&b->world, 1, 0);
    bench_begin(b);
    (void)world_try_all(&b->world, ROLLOUT_REPORT_HEALTHY);
    return b;
}

static struct bench *asking(const char *query)
{
    return asking_at(prometheus_address(shared.server), query, MINUTE_MS);
}

struct expectation {
    const struct bench *b;
    enum rollout_sample kind;
    double value;
};

static bool has_come(void *arg)
{
    const struct expectation *expectation = arg;
    return bench_last_is(expectation->b, expectation->kind, expectation->value);
}

static void await_sample(struct bench *b, enum rollout_sample kind, double value)
{
    struct expectation expectation = {b, kind, value};
    b->len = 0;
    if (!wait_turning(b->loop, has_come, &expectation, WAIT_MS))
        fail_msg("%zu samples, the last of kind %d: %g, expected kind %d: %g", b->len,
                 b->len ? (int)b->samples[b->len - 1].kind : -1,
                 b->len ? b->samples[b->len - 1].value : NAN, (int)kind, value);
}

static void expect_answer(const char *query, enum rollout_sample kind, double value)
{
    struct bench *b = asking(query);
    await_sample(b, kind, value);
    bench_close(b);
}

static void test_metrics_outside__a_series_or_a_scalar_is_a_value(void **state)
{
    (void)state;
    struct bench *b = asking("hello_errors_total");
    await_sample(b, ROLLOUT_SAMPLE_VALUE, 5);
    const int64_t age_ms = clock_unix_ms() - b->samples[b->len - 1].measured_ms;
    assert_true(age_ms > -1000 && age_ms < 10000);
    bench_close(b);
    expect_answer("2 + 3 * 2", ROLLOUT_SAMPLE_VALUE, 8);
    expect_answer("sum(hello_zone{zone=~\"a|b\"}) / 2", ROLLOUT_SAMPLE_VALUE, 1.5);
}

static void test_metrics_outside__nan_is_inconclusive(void **state)
{
    (void)state;
    struct bench *b = asking("hello_latency_seconds");
    await_sample(b, ROLLOUT_SAMPLE_VALUE, NAN);
    b->told = b->len - 1;
    bench_tell_core(b);
    world_expect(&b->world, ROLLOUT_HELD);
    world_expect_verdict(&b->world, GATE_HOLD, GATE_METRIC, GATE_INCONCLUSIVE);
    bench_close(b);
}

static void test_metrics_outside__no_series_is_empty(void **state)
{
    (void)state;
    expect_answer("hello_unheard_of", ROLLOUT_SAMPLE_EMPTY, 0);
}

static void test_metrics_outside__a_wrong_query_and_too_many_series_are_errors(void **state)
{
    (void)state;
    expect_answer("sum(", ROLLOUT_SAMPLE_ERROR, 0);
    expect_answer("hello_zone", ROLLOUT_SAMPLE_ERROR, 0);
    expect_answer("hello_zone[5m]", ROLLOUT_SAMPLE_ERROR, 0);
}

/* Debian's prometheus looks back five minutes whatever it is asked: the query says its own bound. */
static void test_metrics_outside__an_old_sample_is_kept_out_by_the_query(void **state)
{
    (void)state;
    expect_answer("hello_old", ROLLOUT_SAMPLE_VALUE, 7);
    expect_answer("hello_old and time() - timestamp(hello_old) < 600", ROLLOUT_SAMPLE_VALUE, 7);
    expect_answer("hello_old and time() - timestamp(hello_old) < 60", ROLLOUT_SAMPLE_EMPTY, 0);
}

static void test_metrics_outside__a_stale_answer_keeps_its_time(void **state)
{
    static const char stale[] = "{\"status\":\"success\",\"data\":{\"resultType\":\"scalar\","
                                "\"result\":[1700000000.5,\"0.1\"]}}";
    (void)state;
    struct fault_http *http = fault_http_start(stale, sizeof stale - 1, "1");
    char address[64];
    (void)snprintf(address, sizeof address, "http://127.0.0.1:%u", fault_http_port(http));
    struct bench *b = asking_at(address, "x", MINUTE_MS);
    await_sample(b, ROLLOUT_SAMPLE_VALUE, 0.1);
    assert_true(b->samples[0].measured_ms == INT64_C(1700000000500));
    bench_close(b);
    fault_http_free(http);
}

static void test_metrics_outside__a_server_that_is_down_is_an_error(void **state)
{
    char address[64];
    (void)state;
    struct prometheus *server = prometheus_start(fault_http_port(shared.target));
    (void)snprintf(address, sizeof address, "%s/", prometheus_address(server));
    struct bench *b = asking_at(address, "hello_errors_total", MINUTE_MS);
    await_sample(b, ROLLOUT_SAMPLE_VALUE, 5);
    prometheus_kill(server);
    await_sample(b, ROLLOUT_SAMPLE_ERROR, 0);
    b->told = b->len - 1;
    bench_tell_core(b);
    world_expect_verdict(&b->world, GATE_HOLD, GATE_METRIC, GATE_SOURCE_ERROR);
    bench_close(b);
    prometheus_free(server);
}

static void test_metrics_outside__a_page_that_is_no_answer_is_an_error(void **state)
{
    char address[64];
    (void)state;
    (void)snprintf(address, sizeof address, "http://127.0.0.1:%u", fault_http_port(shared.target));
    struct bench *b = asking_at(address, "x", MINUTE_MS);
    await_sample(b, ROLLOUT_SAMPLE_ERROR, 0);
    bench_close(b);
}

static void test_metrics_outside__an_answer_after_the_wave_is_dropped(void **state)
{
    (void)state;
    struct bench *b = asking("hello_errors_total");
    await_sample(b, ROLLOUT_SAMPLE_VALUE, 5);
    world_abort(&b->world, false);
    b->len = 0;
    turn_for(b->loop, NOTHING_MS);
    assert_int_equal(b->len, 0);
    bench_close(b);
}

static void test_metrics_outside__without_captain_fetch_it_is_an_error(void **state)
{
    char *helper = strdup(getenv("CAPTAIN_FETCH_BIN"));
    (void)state;
    (void)unsetenv("CAPTAIN_FETCH_BIN");
    expect_answer("1", ROLLOUT_SAMPLE_ERROR, 0);
    (void)setenv("CAPTAIN_FETCH_BIN", "/nonexistent/captain-fetch", 1);
    expect_answer("1", ROLLOUT_SAMPLE_ERROR, 0);
    (void)setenv("CAPTAIN_FETCH_BIN", helper, 1);
    free(helper);
}

struct ending {
    struct err err;
    bool over;
};

static void on_done(void *arg, const struct err *err)
{
    struct ending *ending = arg;
    ending->err = *err;
    ending->over = true;
}

static bool is_over(void *arg)
{
    const struct ending *ending = arg;
    return ending->over;
}

/* The bench gives loop and folder. */
static struct fetch *start_silent(struct bench *b, struct fault_http *http, struct ending *ending)
{
    struct fetch *fetch = NULL;
    struct err err;
    char *to = tempdir_path(b->dir, "file");
    const struct fetch_request request = {.helper = getenv("CAPTAIN_FETCH_BIN"),
                                          .url = fault_http_url(http),
                                          .to = to,
                                          .max_bytes = 100,
                                          .timeout_ms = TIMEOUT_MS};
    fault_http_plan(http, &(struct fault_http_plan){.silent = true});
    if (fetch_start(b->loop, &request, on_done, ending, &fetch, &err) != ERR_OK)
        fail_msg("%s", err.text);
    free(to);
    return fetch;
}

static void test_metrics_outside__a_server_that_says_nothing_is_given_up(void **state)
{
    struct ending ending = {0};
    (void)state;
    struct fault_http *http = fault_http_start("x", 1, "1");
    struct bench *b = bench_open(1, "");
    (void)start_silent(b, http, &ending);
    assert_true(wait_turning(b->loop, is_over, &ending, WAIT_MS));
    assert_int_equal(ending.err.code, ERR_TIMEOUT);
    bench_close(b);
    fault_http_free(http);
}

static void test_metrics_outside__a_question_taken_back_is_not_answered(void **state)
{
    struct ending ending = {0};
    (void)state;
    struct fault_http *http = fault_http_start("x", 1, "1");
    struct bench *b = bench_open(1, "");
    fetch_cancel(start_silent(b, http, &ending));
    turn_for(b->loop, 2 * TIMEOUT_MS);
    assert_false(ending.over);
    bench_close(b);
    fault_http_free(http);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metrics_outside__a_series_or_a_scalar_is_a_value),
        cmocka_unit_test(test_metrics_outside__nan_is_inconclusive),
        cmocka_unit_test(test_metrics_outside__no_series_is_empty),
        cmocka_unit_test(test_metrics_outside__a_wrong_query_and_too_many_series_are_errors),
        cmocka_unit_test(test_metrics_outside__an_old_sample_is_kept_out_by_the_query),
        cmocka_unit_test(test_metrics_outside__a_stale_answer_keeps_its_time),
        cmocka_unit_test(test_metrics_outside__a_server_that_is_down_is_an_error),
        cmocka_unit_test(test_metrics_outside__a_page_that_is_no_answer_is_an_error),
        cmocka_unit_test(test_metrics_outside__an_answer_after_the_wave_is_dropped),
        cmocka_unit_test(test_metrics_outside__without_captain_fetch_it_is_an_error),
        cmocka_unit_test(test_metrics_outside__a_server_that_says_nothing_is_given_up),
        cmocka_unit_test(test_metrics_outside__a_question_taken_back_is_not_answered),
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
