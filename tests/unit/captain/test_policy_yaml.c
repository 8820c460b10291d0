/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/policy_yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"

static enum err_code parse(const char *text, struct policy *ret, struct err *err)
{
    return policy_yaml_parse("p.yaml", bytes_of(text, strlen(text)), ret, err);
}

static void expect_wrong(const char *text, const char *error, const char *hint)
{
    struct policy policy;
    struct err err = {0};
    assert_int_equal(parse(text, &policy, &err), ERR_USAGE);
    assert_string_equal(err.text, error);
    if (hint)
        assert_string_equal(err.hint, hint);
}

static void expect_same_again(const struct policy *policy)
{
    struct arena arena;
    struct policy again;
    const char *text = NULL;
    struct err err = {0};
    arena_init(&arena, 1 << 20);
    memset(&again, 0x5a, sizeof again);
    assert_int_equal(policy_yaml_write(policy, &arena, &text, &err), ERR_OK);
    if (policy_yaml_parse("other.yaml", bytes_of(text, strlen(text)), &again, &err))
        fail_msg("%s\n%s", err.text, text);
    assert_memory_equal(&again, policy, sizeof again);
    arena_fini(&arena);
}

static void test_policy_yaml__the_named_ones_need_no_file(void **state)
{
    (void)state;
    static const char *const names[] = {"careful", "normal", "fast"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct policy policy, named;
        struct err err = {0};
        assert_int_equal(policy_yaml_parse(names[i], bytes_of("", 0), &policy, &err), ERR_OK);
        assert_int_equal(policy_named(names[i], &named, &err), ERR_OK);
        assert_memory_equal(&policy, &named, sizeof policy);
        expect_same_again(&policy);
    }
}

static void test_policy_yaml__an_empty_file_is_no_policy(void **state)
{
    (void)state;
    struct policy policy;
    struct err err = {0};
    assert_int_equal(policy_yaml_parse("nightly", bytes_of("", 0), &policy, &err), ERR_NOT_FOUND);
    expect_wrong("# nothing\n", "p.yaml:1:1: the file is empty", NULL);
}

static const char whole[] = "name: nightly\n"
                            "extends: careful\n"
                            "on_fail: hold\n"
                            "eligible_age: 10m\n"
                            "waves:\n"
                            "  - {name: lab, devices: [berlin/a, berlin/b]}\n"
                            "  - {name: first, count: 3, soak: 0s, approvals: 2}\n"
                            "  - {name: beta, select: \"ring=beta,site=berlin\"}\n"
                            "  - {name: tenth, percent: 10, canary: true, soak: 90m}\n"
                            "  - {name: all, all: true}\n"
                            "coverage: {quorum: 0.95, max_missing: 0, deadline: 2d, "
                            "on_missing: fail}\n"
                            "failures:\n"
                            "  min_abs: 2\n"
                            "  max_abs: 9\n"
                            "  max_percent: 3\n"
                            "  class_limit: {rejected: 0, silent: 4}\n"
                            "rate: {on: true, p0: 0.001, alpha: 0.05}\n"
                            "compare: {on: false, tolerance: 1.5, alpha: 0.02, min_control: 7, "
                            "no_control: never}\n"
                            "soak: 250ms\n"
                            "progress: 90m\n"
                            "approvals: 0\n"
                            "metrics:\n"
                            "  - {name: errors, source: 'prometheus http://p:9090 "
                            "rate(\"x\\y\"[5m])', op: <=, limit: "
                            "-0.25, count: 3, every: 15s}\n"
                            "retries: {failed: 1, rejected: 2, timed_out: 3, silent: 4}\n"
                            "silent: 5m\n"
                            "rollback: 20m\n"
                            "admission:\n"
                            "  lease: 12m\n"
                            "  max_in_flight: 40\n"
                            "  max_in_flight_per_site: 5\n"
                            "  max_in_flight_per_group: 6\n"
                            "  max_unavailable_per_site_percent: 33\n"
                            "  allow_one: false\n"
                            "  ramp_start: 2\n"
                            "  ramp_gain: 3\n"
                            "  window_end: stop_offers\n"
                            "  rollback_in_windows: true\n"
                            "floors:\n"
                            "  - {version: 1.4, reason: moves the database}\n";

static void check_waves(const struct policy *policy)
{
    assert_int_equal(policy->waves_len, 5);
    assert_int_equal(policy->waves[0].kind, POLICY_WAVE_NAMED);
    assert_string_equal(policy->waves[0].selector, "berlin/a,berlin/b");
    assert_int_equal(policy->waves[1].kind, POLICY_WAVE_COUNT);
    assert_int_equal(policy->waves[1].count, 3);
    assert_true(policy->waves[1].canary);
    assert_int_equal(policy->waves[1].soak_ms, 0);
    assert_int_equal(policy->waves[1].approvals, 2);
    assert_int_equal(policy->waves[2].kind, POLICY_WAVE_SELECTOR);
    assert_string_equal(policy->waves[2].selector, "ring=beta,site=berlin");
    assert_int_equal(policy->waves[2].soak_ms, -1);
    assert_int_equal(policy->waves[3].percent, 10);
    assert_true(policy->waves[3].canary);
    assert_int_equal(policy->waves[3].soak_ms, 5400000);
    assert_int_equal(policy->waves[4].kind, POLICY_WAVE_ALL);
}

static void check_gates(const struct policy *policy)
{
    assert_true(policy->coverage.quorum == 0.95);
    assert_true(policy->coverage.max_missing_set);
    assert_int_equal(policy->coverage.max_missing, 0);
    assert_int_equal(policy->coverage.deadline_ms, 172800000);
    assert_int_equal(policy->coverage.on_missing, POLICY_ON_FAIL);
    assert_int_equal(policy->failures.min_abs, 2);
    assert_int_equal(policy->failures.max_abs, 9);
    assert_int_equal(policy->failures.max_percent, 3);
    assert_int_equal(policy->failures.class_limit[POLICY_REJECTED], 0);
    assert_int_equal(policy->failures.class_limit[POLICY_SILENT], 4);
    assert_int_equal(policy->failures.class_limit[POLICY_FAILED], POLICY_NO_LIMIT);
    assert_true(policy->rate.on && policy->rate.p0 == 0.001 && policy->rate.alpha == 0.05);
    assert_false(policy->compare.on);
    assert_true(policy->compare.tolerance == 1.5 && policy->compare.alpha == 0.02);
    assert_int_equal(policy->compare.min_control, 7);
    assert_int_equal(policy->compare.no_control, POLICY_NO_CONTROL_NEVER);
}

static void check_rest(const struct policy *policy)
{
    assert_int_equal(policy->metrics_len, 1);
    assert_string_equal(policy->metrics[0].source, "prometheus http://p:9090 rate(\"x\\y\"[5m])");
    assert_int_equal(policy->metrics[0].op, POLICY_OP_AT_MOST);
    assert_true(policy->metrics[0].limit == -0.25);
    assert_int_equal(policy->metrics[0].count, 3);
    assert_int_equal(policy->metrics[0].every_ms, 15000);
    assert_true(policy->metrics[0].deadline_ms > 0 && policy->metrics[0].max_age_ms > 0);
    for (uint32_t c = 0; c < POLICY_CLASSES; c++)
        assert_int_equal(policy->retries[c], c + 1);
    assert_int_equal(policy->silent_ms, 300000);
    assert_int_equal(policy->rollback_ms, 1200000);
    assert_int_equal(policy->admission.lease_ms, 720000);
    assert_int_equal(policy->admission.max_in_flight, 40);
    assert_int_equal(policy->admission.max_in_flight_per_site, 5);
    assert_int_equal(policy->admission.max_in_flight_per_group, 6);
    assert_int_equal(policy->admission.max_unavailable_per_site_percent, 33);
    assert_false(policy->admission.allow_one);
    assert_int_equal(policy->admission.ramp_start, 2);
    assert_int_equal(policy->admission.ramp_gain, 3);
    assert_int_equal(policy->admission.window_end, POLICY_WINDOW_STOP_OFFERS);
    assert_true(policy->admission.rollback_in_windows);
    assert_int_equal(policy->floors_len, 1);
    assert_string_equal(policy->floors[0].reason, "moves the database");
}

static void test_policy_yaml__every_key_reaches_the_policy_and_comes_back(void **state)
{
    (void)state;
    struct policy policy;
    struct err err = {0};
    if (parse(whole, &policy, &err))
        fail_msg("%s", err.text);
    assert_string_equal(policy.name, "nightly");
    assert_int_equal(policy.on_fail, POLICY_FAIL_HOLD);
    assert_int_equal(policy.eligible_age_ms, 600000);
    assert_int_equal(policy.soak_ms, 250);
    assert_int_equal(policy.progress_ms, 5400000);
    assert_int_equal(policy.approvals, 0);
    check_waves(&policy);
    check_gates(&policy);
    check_rest(&policy);
    expect_same_again(&policy);
}

static void test_policy_yaml__what_is_not_said_is_what_it_extends(void **state)
{
    (void)state;
    struct policy policy, named;
    struct err err = {0};
    assert_int_equal(parse("extends: fast\nsoak: 1m\n", &policy, &err), ERR_OK);
    assert_int_equal(policy_named("fast", &named, &err), ERR_OK);
    assert_string_equal(policy.name, "p");
    memcpy(policy.name, named.name, sizeof policy.name);
    assert_int_equal(policy.soak_ms, 60000);
    policy.soak_ms = named.soak_ms;
    assert_memory_equal(&policy, &named, sizeof policy);
}

static void test_policy_yaml__same_text_same_bytes(void **state)
{
    (void)state;
    struct policy a, b;
    struct err err = {0};
    memset(&a, 0xa5, sizeof a);
    memset(&b, 0x5a, sizeof b);
    assert_int_equal(parse(whole, &a, &err), ERR_OK);
    assert_int_equal(parse(whole, &b, &err), ERR_OK);
    assert_memory_equal(&a, &b, sizeof a);
}

static void test_policy_yaml__complaints_name_line_and_column(void **state)
{
    (void)state;
    expect_wrong("sok: 1m\n", "p.yaml:1:1: a policy has no key \"sok\"", "did you mean soak?");
    expect_wrong("soak: 30\n",
                 "p.yaml:1:7: soak: \"30\" is wrong, it must be a time with its unit (ms, s, m, h, "
                 "d), at most 366d",
                 "soak: 30m");
    expect_wrong("coverage:\n  qorum: 1\n", "p.yaml:2:3: coverage has no key \"qorum\"",
                 "did you mean quorum?");
    expect_wrong("coverage: 0.9\n", "p.yaml:1:11: coverage must be a map of keys and is a text",
                 NULL);
    expect_wrong("rate: {p0: nan}\n", "p.yaml:1:12: p0: \"nan\" is wrong, it must be a number",
                 "p0: 0.02");
    expect_wrong("waves:\n  - name: a\n    percent: 101\n",
                 "p.yaml:3:14: percent: \"101\" is wrong, it must be a whole number from 1 to 100",
                 NULL);
    expect_wrong("extends: carefull\n", "p.yaml:1:10: there is no policy carefull to extend",
                 "extends: careful, normal or fast");
    expect_wrong("on_fail: rollback\n",
                 "p.yaml:1:10: on_fail: there is no \"rollback\", but: abort, hold", NULL);
    expect_wrong("soak: [\n",
                 "p.yaml:2:1: did not find expected node content while parsing a flow "
                 "node",
                 NULL);
}

static void test_policy_yaml__a_wave_says_once_whom_it_takes(void **state)
{
    (void)state;
    expect_wrong("waves:\n  - {name: a}\n",
                 "p.yaml:2:5: wave a needs one of count, percent, select, devices, all", NULL);
    expect_wrong("waves:\n  - {name: a, count: 1, percent: 2}\n",
                 "p.yaml:2:5: wave a needs only one of count, percent, select, devices, all", NULL);
    expect_wrong("waves:\n  - {name: a, all: true, canary: true}\n",
                 "p.yaml:2:5: wave a: canaries are drawn for count and percent only", NULL);
    expect_wrong("waves:\n  - {name: a, count: 1}\n  - {name: a, all: true}\n",
                 "p.yaml:3:5: there are two waves a", NULL);
    expect_wrong(
        "waves:\n  - {name: a, select: berlin}\n",
        "p.yaml:2:23: select: \"berlin\" is wrong, it must be KEY=VALUE, several parted by "
        "commas",
        "select: site=berlin");
}

static void test_policy_yaml__rules_of_the_core_name_their_line_too(void **state)
{
    (void)state;
    expect_wrong("soak: 1m\nrate:\n  on: true\n  p0: 0.9\n",
                 "p.yaml:4:7: rate.p0 is 0.9; it must be 1e-06 to 0.5", NULL);
    expect_wrong("soak: 1m\nwaves:\n  - {name: b, count: 2}\n",
                 "p.yaml:3:3: the last wave must take all devices, or the rollout has no end",
                 NULL);
    expect_wrong("metrics:\n  - {name: a, source: app max b, op: <, limit: 1, max_age: 0s}\n",
                 "p.yaml:2:3: a metric's max_age is 0 ms; it must be 1 ms to 366 days", NULL);
    expect_wrong("waves:\n  - {name: a, all: true}\n  - {name: b, all: true}\n",
                 "p.yaml:2:5: waves[0] takes all devices; only the last may", NULL);
    expect_wrong("admission:\n  max_unavailable_per_site_percent: 101\n",
                 "p.yaml:2:37: max_unavailable_per_site_percent is 101; it must be 0 to 100", NULL);
    expect_wrong("retries: {failed: 8}\n", "p.yaml:1:19: retries.failed is 8; at most 7", NULL);
}

static void test_policy_yaml__names_of_devices_must_fit(void **state)
{
    (void)state;
    char text[4096] = "waves:\n  - {name: a, devices: [";
    for (int i = 0; i < 20; i++)
        (void)snprintf(text + strlen(text), sizeof text - strlen(text),
                       "%ssome-long-site/some-long-device-%d", i ? ", " : "", i);
    (void)snprintf(text + strlen(text), sizeof text - strlen(text),
                   "]}\n  - {name: b, all: true}\n");
    expect_wrong(text, "p.yaml:2:5: wave a: the names of its devices are too long",
                 "label them and pick them by select: KEY=VALUE");
}

static void test_policy_yaml__too_large_a_file_is_refused(void **state)
{
    (void)state;
    struct policy policy;
    struct err err = {0};
    char *text = mem_new(1, POLICY_YAML_MAX_BYTES + 1);
    memset(text, ' ', POLICY_YAML_MAX_BYTES + 1);
    assert_int_equal(
        policy_yaml_parse("p.yaml", bytes_of(text, POLICY_YAML_MAX_BYTES + 1), &policy, &err),
        ERR_USAGE);
    mem_free(text);
}

static void test_policy_yaml__what_is_refused_leaves_the_result_alone(void **state)
{
    (void)state;
    struct policy policy, before;
    struct err err = {0};
    policy_default(&policy);
    memcpy(&before, &policy, sizeof before);
    assert_int_equal(parse("soak: 1m\nrate: {p0: 0.9}\n", &policy, &err), ERR_USAGE);
    assert_memory_equal(&policy, &before, sizeof before);
    policy.waves_len = 0;
    const char *text = NULL;
    struct arena arena;
    arena_init(&arena, 1 << 20);
    assert_int_equal(policy_yaml_write(&policy, &arena, &text, &err), ERR_MALFORMED);
    assert_null(text);
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policy_yaml__the_named_ones_need_no_file),
        cmocka_unit_test(test_policy_yaml__an_empty_file_is_no_policy),
        cmocka_unit_test(test_policy_yaml__every_key_reaches_the_policy_and_comes_back),
        cmocka_unit_test(test_policy_yaml__what_is_not_said_is_what_it_extends),
        cmocka_unit_test(test_policy_yaml__same_text_same_bytes),
        cmocka_unit_test(test_policy_yaml__complaints_name_line_and_column),
        cmocka_unit_test(test_policy_yaml__a_wave_says_once_whom_it_takes),
        cmocka_unit_test(test_policy_yaml__rules_of_the_core_name_their_line_too),
        cmocka_unit_test(test_policy_yaml__names_of_devices_must_fit),
        cmocka_unit_test(test_policy_yaml__too_large_a_file_is_refused),
        cmocka_unit_test(test_policy_yaml__what_is_refused_leaves_the_result_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
