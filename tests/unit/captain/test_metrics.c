/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/captain/metrics_world.h"

static void tell(struct bench *b, uint32_t member, double number)
{
    const struct metric metrics[] = {{.name = "errors", .value = number}};
    const struct app_metrics apps[] = {{.app = "other"},
                                       {.app = "hello", .metrics = metrics, .metrics_len = 1}};
    const struct telemetry telemetry = {
        .cpu_permille = isnan(number) ? 0 : (uint32_t)(number * 10), .apps = apps, .apps_len = 2};
    metrics_telemetry(b->metrics, b->devices[member], &telemetry);
}

/* Everyone tells, canaries one number and the others another. */
static void tell_all(struct bench *b)
{
    for (uint32_t i = 0; i < b->world.len; i++) {
        const bool canary = bench_is_canary(b, i);
        if (canary ? !b->canary_silent : !b->control_silent)
            tell(b, i, canary ? b->canary : b->control);
    }
}

struct expectation {
    struct bench *b;
    enum rollout_sample kind;
    double value;
};

static bool has_come(void *arg)
{
    const struct expectation *expectation = arg;
    tell_all(expectation->b);
    return bench_last_is(expectation->b, expectation->kind, expectation->value);
}

static void await_sample(struct bench *b, enum rollout_sample kind, double value)
{
    struct expectation expectation = {b, kind, value};
    b->len = b->told = 0;
    if (!wait_turning(b->loop, has_come, &expectation, WAIT_MS))
        fail_msg("%zu samples, the last of kind %d: %g, expected kind %d: %g", b->len,
                 b->len ? (int)b->samples[b->len - 1].kind : -1,
                 b->len ? b->samples[b->len - 1].value : NAN, (int)kind, value);
}

static void await_value(struct bench *b, double value)
{
    await_sample(b, ROLLOUT_SAMPLE_VALUE, value);
}

static bool never(void *arg)
{
    tell_all(arg);
    return false;
}

static void tell_for(struct bench *b, int64_t ms)
{
    assert_false(wait_turning(b->loop, never, b, ms));
}

static void test_metrics__nothing_is_measured_before_a_device_has_the_target(void **state)
{
    struct bench *b = bench_open(10, "telemetry mean cpu_percent");
    (void)state;
    world_waves(&b->world, 2, 0);
    bench_begin(b);
    b->control = 20;
    tell_for(b, NOTHING_MS);
    assert_int_equal(b->len, 0);
    b->canary = 40;
    (void)world_try_all(&b->world, ROLLOUT_REPORT_HEALTHY);
    await_value(b, 40);
    bench_close(b);
}

static void test_metrics__canaries_are_held_against_control(void **state)
{
    static const struct {
        const char *source;
        double value;
    } rows[] = {
        {"telemetry mean cpu_percent canary - control", 30},
        {"app max errors canary / control", 2.5},
        {"app count errors canary", 3},
        {"app count errors control", 17},
        {"app sum errors control", 340},
        {"telemetry p50 cpu_percent control", 20},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct bench *b = bench_open(20, rows[i].source);
        world_waves(&b->world, 3, 0);
        bench_begin(b);
        b->canary = 50;
        b->control = 20;
        (void)world_try_all(&b->world, ROLLOUT_REPORT_HEALTHY);
        await_value(b, rows[i].value);
        bench_close(b);
    }
}

static void test_metrics__what_was_told_before_the_target_ran_does_not_count(void **state)
{
    struct bench *b = bench_open(10, "app max errors canary / control");
    (void)state;
    world_waves(&b->world, 2, 0);
    bench_begin(b);
    b->control = 4;
    tell_for(b, 100);
    b->canary_silent = true;
    (void)world_try_all(&b->world, ROLLOUT_REPORT_HEALTHY);
    tell_for(b, NOTHING_MS);
    assert_int_equal(b->len, 0);
    b->canary_silent = false;
    b->canary = 12;
    await_value(b, 3);
    bench_close(b);
}

static void test_metrics__a_side_that_falls_silent_is_empty(void **state)
{
    struct bench *b = bench_open(10, "telemetry mean cpu_percent canary / control");
    (void)state;
    b->world.policy.metrics[0].max_age_ms = 300;
    world_waves(&b->world, 2, 0);
    bench_begin(b);
    b->canary = b->control = 10;
    (void)world_try_all(&b->world, ROLLOUT_REPORT_HEALTHY);
    await_value(b, 1);
    b->canary_silent = true;
    await_sample(b, ROLLOUT_SAMPLE_EMPTY, 0);
    b->canary_silent = false;
    await_value(b, 1);
    b->control_silent = true;
    await_sample(b, ROLLOUT_SAMPLE_EMPTY, 0);
    bench_close(b);
}

static void test_metrics__numbers_that_are_none_are_left_out(void **state)
{
    struct bench *b = bench_open(10, "app count errors");
    (void)state;
    world_waves(&b->world, 3, 0);
    bench_begin(b);
    b->canary = 1;
    (void)world_try_all(&b->world, ROLLOUT_REPORT_HEALTHY);
    await_value(b, 3);
    b->canary = NAN;
    await_sample(b, ROLLOUT_SAMPLE_EMPTY, 0);
    bench_close(b);
}

static bool counts_up(void *arg)
{
    struct bench *b = arg;
    b->canary = (double)loop_now_ms(b->loop) * 2;
    b->control = (double)loop_now_ms(b->loop);
    tell_all(b);
    return b->len > 0 && bench_last_is(b, ROLLOUT_SAMPLE_VALUE, 1000);
}

static void test_metrics__a_rate_is_an_increase_per_second(void **state)
{
    struct bench *b = bench_open(10, "app rate errors canary - control");
    (void)state;
    world_waves(&b->world, 2, 0);
    bench_begin(b);
    (void)world_try_all(&b->world, ROLLOUT_REPORT_HEALTHY);
    assert_true(wait_turning(b->loop, counts_up, b, WAIT_MS));
    bench_close(b);
}

/* To the last wave, in which nobody is left on the base. */
static void to_the_last_wave(struct bench *b)
{
    (void)world_try_all(&b->world, ROLLOUT_REPORT_HEALTHY);
    await_value(b, 2);
    bench_tell_core(b);
    world_pass(&b->world, MINUTE_MS);
    assert_int_equal(world_view(&b->world).wave, 1);
    (void)world_try_all(&b->world, ROLLOUT_REPORT_HEALTHY);
}

static void test_metrics__the_last_wave_does_with_what_control_measured_last(void **state)
{
    struct bench *b = bench_open(6, "app mean errors canary / control");
    (void)state;
    world_waves(&b->world, 2, 0);
    bench_begin(b);
    b->canary = 20;
    b->control = 10;
    to_the_last_wave(b);
    b->canary = 50;
    await_value(b, 5);
    bench_close(b);
}

static void test_metrics__without_control_is_empty_when_the_policy_wants_it(void **state)
{
    struct bench *b = bench_open(6, "app mean errors canary / control");
    (void)state;
    b->world.policy.compare.no_control = POLICY_NO_CONTROL_NEVER;
    world_waves(&b->world, 2, 0);
    bench_begin(b);
    b->canary = 20;
    b->control = 10;
    to_the_last_wave(b);
    await_sample(b, ROLLOUT_SAMPLE_EMPTY, 0);
    bench_close(b);
}

static void test_metrics__a_source_that_cannot_be_read_is_an_error(void **state)
{
    struct bench *b = bench_open(6, "telemetry median cpu_percent");
    (void)state;
    world_waves(&b->world, 2, 0);
    bench_begin(b);
    (void)world_try_all(&b->world, ROLLOUT_REPORT_HEALTHY);
    await_sample(b, ROLLOUT_SAMPLE_ERROR, 0);
    bench_tell_core(b);
    world_expect(&b->world, ROLLOUT_HELD);
    world_expect_verdict(&b->world, GATE_HOLD, GATE_METRIC, GATE_SOURCE_ERROR);
    b->len = 0;
    tell_for(b, NOTHING_MS); /* and it is not said again to one that holds */
    assert_int_equal(b->len, 0);
    world_resume(&b->world, GATE_METRIC, 0);
    await_sample(b, ROLLOUT_SAMPLE_ERROR, 0);
    bench_close(b);
}

static void test_metrics__a_canary_beyond_the_limit_fails_the_wave(void **state)
{
    struct bench *b = bench_open(6, "telemetry p95 cpu_percent canary / control");
    (void)state;
    b->world.policy.metrics[0].limit = 1.5;
    world_waves(&b->world, 2, 0);
    bench_begin(b);
    b->canary = 80;
    b->control = 20;
    (void)world_try_all(&b->world, ROLLOUT_REPORT_HEALTHY);
    await_value(b, 4);
    bench_tell_core(b);
    const struct gate_result verdict = world_view(&b->world).verdict;
    assert_int_equal(verdict.verdict, GATE_FAIL);
    assert_int_equal(verdict.gate, GATE_METRIC);
    assert_int_equal(verdict.reason, GATE_THRESHOLD);
    b->len = 0;
    tell_for(b, NOTHING_MS);
    assert_int_equal(b->len, 0); /* nobody judges it any more */
    bench_close(b);
}

static bool is_small(void *arg)
{
    const struct bench *b = arg;
    return metrics_memory_bytes(b->metrics) < 128 << 10;
}

static void test_metrics__memory_goes_with_the_rollout(void **state)
{
    struct bench *b = bench_open(6, "telemetry mean cpu_percent");
    (void)state;
    world_waves(&b->world, 2, 0);
    bench_begin(b);
    b->canary = 7;
    for (uint32_t i = 0; i < WORLD_MEMBERS_MAX; i++)
        b->devices[i] = 100000 + i;
    (void)world_try_all(&b->world, ROLLOUT_REPORT_HEALTHY);
    await_value(b, 7);
    const size_t used = metrics_memory_bytes(b->metrics);
    assert_true(used > 100000 * 32 && used < 100000 * 60);
    b->over = true;
    assert_true(wait_turning(b->loop, is_small, b, WAIT_MS));
    for (uint32_t i = 0; i < b->world.len; i++)
        tell(b, i, 1);
    assert_true(is_small(b));
    bench_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metrics__nothing_is_measured_before_a_device_has_the_target),
        cmocka_unit_test(test_metrics__canaries_are_held_against_control),
        cmocka_unit_test(test_metrics__what_was_told_before_the_target_ran_does_not_count),
        cmocka_unit_test(test_metrics__a_side_that_falls_silent_is_empty),
        cmocka_unit_test(test_metrics__numbers_that_are_none_are_left_out),
        cmocka_unit_test(test_metrics__a_rate_is_an_increase_per_second),
        cmocka_unit_test(test_metrics__the_last_wave_does_with_what_control_measured_last),
        cmocka_unit_test(test_metrics__without_control_is_empty_when_the_policy_wants_it),
        cmocka_unit_test(test_metrics__a_source_that_cannot_be_read_is_an_error),
        cmocka_unit_test(test_metrics__a_canary_beyond_the_limit_fails_the_wave),
        cmocka_unit_test(test_metrics__memory_goes_with_the_rollout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
