/* SPDX-License-Identifier: Apache-2.0
 *
 * What people read of a rollout, line by line.
 */
#include "captain/cli/rollout_view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"

#define BEGAN_MS INT64_C(1700000000000)
#define NOW_MS (BEGAN_MS + 125000)

static const struct rollout_device_info berlin_failing[] = {
    {.device = "berlin/door-1",
     .state = "failed",
     .class = "timed_out",
     .text = "web-answers: status 500",
     .boxed = true},
    {.device = "berlin/door-2", .state = "unhealthy", .class = "", .text = ""},
};
static const struct rollout_site_info sites[] = {
    {.site = "berlin",
     .devices = 4,
     .healthy = 1,
     .applying = 1,
     .failed = 2,
     .failing = berlin_failing,
     .failing_len = 2},
    {.site = "paris", .devices = 3, .healthy = 2, .applying = 1},
    {.site = "rome", .devices = 2, .healthy = 2},
};
static const struct rollout_gate_info soak = {.gate = "soak",
                                              .verdict = "wait",
                                              .reason = "dwelling",
                                              .sentence = "5 of 9 devices have been healthy for "
                                                          "the whole soak",
                                              .until_ms = NOW_MS + 90000};
static const struct rollout_gate_info gates[] = {
    {.gate = "coverage",
     .verdict = "pass",
     .reason = "ok",
     .sentence = "5 of 9 devices are healthy, 1 failed, 0 missing"},
    {.gate = "soak", .verdict = "wait", .reason = "dwelling", .sentence = "(told above)"},
    {.gate = "freeze", .verdict = "pass", .reason = "ok", .sentence = "the fleet is not frozen"},
};
static const struct rollout_wave_info waves[] = {
    {.name = "canary", .state = "done", .devices = 3, .healthy = 3},
    {.name = "quarter",
     .state = "open",
     .devices = 9,
     .healthy = 5,
     .failed = 1,
     .started_ms = BEGAN_MS + 60000,
     .gates = gates,
     .gates_len = 3,
     .sites = sites,
     .sites_len = 3},
    {.name = "all", .state = "next", .devices = 28},
};
static const struct rollout_info running = {.id = "01JD00000000000000000000AA",
                                            .channel = "hello/stable",
                                            .release = "hello@1.2",
                                            .base_release = "hello@1.1",
                                            .state = "running",
                                            .policy_name = "careful",
                                            .started_ms = BEGAN_MS,
                                            .started_by = "operator:alice",
                                            .reason = "faster doors",
                                            .wave = 2,
                                            .waves = waves,
                                            .waves_len = 3,
                                            .gate = &soak,
                                            .devices = 40,
                                            .on_target = 8,
                                            .in_flight = 2,
                                            .failed = 1,
                                            .exposed = 11,
                                            .next = "then all, 28 more devices"};

static const char *tree(const struct rollout_info *info, unsigned width, unsigned height,
                        bool plain)
{
    static char text[16384];
    const struct rollout_view_size size = {width, height, plain};
    struct arena arena;
    size_t len = 0, used = 0;
    arena_init(&arena, 1 << 20);
    const struct output_row *rows = rollout_view_tree(info, NOW_MS, &size, &arena, &len);
    assert_non_null(rows);
    text[0] = '\0';
    for (size_t i = 0; i < len; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s\n", rows[i].text);
    arena_fini(&arena);
    return text;
}

static const char *changes(const struct rollout_info *before, const struct rollout_info *info)
{
    static char text[4096];
    struct arena arena;
    size_t len = 0, used = 0;
    arena_init(&arena, 1 << 20);
    const struct output_row *rows = rollout_view_changes(before, info, NOW_MS, &arena, &len);
    assert_non_null(rows);
    text[0] = '\0';
    for (size_t i = 0; i < len; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s\n", rows[i].text);
    arena_fini(&arena);
    return text;
}

static void test_rollout_view__tells_why_it_waits(void **state)
{
    (void)state;
    assert_string_equal(
        tree(&running, 0, 0, true),
        "hello/stable  hello@1.1 -> hello@1.2  running  (01JD00000000000000000000AA)\n"
        "policy careful, begun 2m5s ago by operator:alice: faster doors\n"
        "40 devices: 8 on it, 2 changing, 1 failed\n"
        "|- + canary: 3 of 3 healthy, 0 failed; 0 failures of 3 bound the rate below 63.2 % "
        "(95 %)\n"
        "|- > quarter: 5 of 9 healthy, 1 failed, for 1m5s\n"
        "|  gate soak waits: 5 of 9 devices have been healthy for the whole soak; 1m30s left; "
        "then all, 28 more devices\n"
        "|  gate coverage passes: 5 of 9 devices are healthy, 1 failed, 0 missing\n"
        "|  |- berlin: 1 of 4 healthy, 1 changing, 2 failing\n"
        "|  |  |- berlin/door-1  failed (timed_out), in the penalty box: web-answers: status 500\n"
        "|  |  `- berlin/door-2  unhealthy\n"
        "|  `- 2 sites without a failure: 4 of 5 healthy, 1 changing\n"
        "`- . all: 28 more devices\n");
}

static void test_rollout_view__fits_the_height_and_counts_what_it_cut(void **state)
{
    (void)state;
    const char *text = tree(&running, 0, 10, true);
    assert_string_equal(
        text, "hello/stable  hello@1.1 -> hello@1.2  running  (01JD00000000000000000000AA)\n"
              "policy careful, begun 2m5s ago by operator:alice: faster doors\n"
              "40 devices: 8 on it, 2 changing, 1 failed\n"
              "|- + canary: 3 of 3 healthy, 0 failed; 0 failures of 3 bound the rate below 63.2 % "
              "(95 %)\n"
              "|- > quarter: 5 of 9 healthy, 1 failed, for 1m5s\n"
              "|  gate soak waits: 5 of 9 devices have been healthy for the whole soak; 1m30s "
              "left; then all, 28 more devices\n"
              "|  gate coverage passes: 5 of 9 devices are healthy, 1 failed, 0 missing\n"
              "   ... 3 more lines\n"
              "|  `- 2 sites without a failure: 4 of 5 healthy, 1 changing\n"
              "`- . all: 28 more devices\n");
    for (unsigned height = 1; height < 20; height++) {
        unsigned lines = 0;
        for (const char *p = tree(&running, 0, height, true); *p; p++)
            lines += *p == '\n';
        assert_true(lines <= height);
        assert_true(lines == height || lines == 12);
    }
}

static void test_rollout_view__fits_the_width_in_columns_not_in_bytes(void **state)
{
    (void)state;
    for (unsigned width = 4; width < 120; width++) {
        for (int plain = 0; plain < 2; plain++) {
            unsigned columns = 0;
            for (const char *p = tree(&running, width, 0, plain); *p; p++) {
                if (*p == '\n')
                    columns = 0;
                else if (((unsigned char)*p & 0xc0) != 0x80)
                    columns++;
                assert_true(columns <= width);
            }
        }
    }
    assert_non_null(strstr(tree(&running, 20, 0, true), "\n40 devices: 8 on it~\n"));
    assert_non_null(strstr(tree(&running, 10, 0, false), "\n├─ ✔ cana…\n"));
}

static void test_rollout_view__says_how_it_ended(void **state)
{
    (void)state;
    static const struct rollout_gate_info failures = {.gate = "failures",
                                                      .verdict = "fail",
                                                      .reason = "limit",
                                                      .sentence = "2 of 3 failed, limit 1"};
    static const struct rollout_wave_info ended[] = {
        {.name = "canary", .state = "failed", .devices = 3, .healthy = 1, .failed = 2},
        {.name = "all", .state = "next"},
    };
    struct rollout_info info = running;
    info.state = "aborted";
    info.wave = 1;
    info.waves = ended;
    info.waves_len = 2;
    info.gate = &failures;
    info.exposed = 3;
    info.next = "";
    assert_true(rollout_view_over(&info));
    assert_non_null(strstr(tree(&info, 0, 0, true),
                           "|- x canary: 1 of 3 healthy, 2 failed\n"
                           "`- . all\n"
                           "aborted by gate failures: 2 of 3 failed, limit 1; 3 of 40 devices had "
                           "hello@1.2\n"));
    info.state = "succeeded";
    info.outcome_good = true;
    assert_non_null(strstr(tree(&info, 0, 0, true), "\nevery device runs hello@1.2\n"));
    info.state = "held";
    info.outcome_good = false;
    assert_false(rollout_view_over(&info));
}

static void test_rollout_view__before_the_first_wave_the_gate_speaks_too(void **state)
{
    (void)state;
    struct rollout_info info = running;
    info.state = "pending";
    info.wave = 0;
    info.waves = NULL;
    info.waves_len = 0;
    info.gate = NULL;
    info.base_release = "";
    info.next = "then canary, 1 more device";
    assert_non_null(strstr(tree(&info, 0, 0, true), "hello/stable  nothing -> hello@1.2  pending"));
    assert_non_null(strstr(tree(&info, 0, 0, true), "\nthen canary, 1 more device\n"));
}

static void test_rollout_view__a_line_for_each_transition(void **state)
{
    (void)state;
#define TIME "2023-11-14T22:15:25.000Z "
    assert_string_equal(
        changes(NULL, &running), TIME
        "rollout 01JD00000000000000000000AA of hello/stable: hello@1.1 -> hello@1.2\n" TIME
        "wave canary done; 0 failures of 3 bound the rate below 63.2 % (95 %)\n" TIME
        "wave quarter (2 of 3): 9 devices\n" TIME
        "device berlin/door-1 failed: web-answers: status 500\n" TIME
        "device berlin/door-2 unhealthy\n" TIME
        "gate soak waits: 5 of 9 devices have been healthy for the whole soak\n" TIME "running\n");
    assert_string_equal(changes(&running, &running), "");

    struct rollout_info next = running;
    struct rollout_gate_info more = soak;
    more.sentence = "6 of 9 devices have been healthy for the whole soak";
    next.gate = &more;
    next.on_target = 9;
    assert_string_equal(changes(&running, &next), ""); /* numbers alone are no transition */

    struct rollout_gate_info held = {
        .gate = "coverage", .verdict = "hold", .reason = "missing", .sentence = "2 are missing"};
    next.gate = &held;
    next.state = "held";
    assert_string_equal(changes(&running, &next),
                        TIME "gate coverage holds: 2 are missing\n" TIME "held\n");
    next.state = "succeeded";
    next.outcome_good = true;
    next.gate = &soak;
    assert_string_equal(changes(&running, &next), TIME "succeeded: every device runs hello@1.2\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rollout_view__tells_why_it_waits),
        cmocka_unit_test(test_rollout_view__fits_the_height_and_counts_what_it_cut),
        cmocka_unit_test(test_rollout_view__fits_the_width_in_columns_not_in_bytes),
        cmocka_unit_test(test_rollout_view__says_how_it_ended),
        cmocka_unit_test(test_rollout_view__before_the_first_wave_the_gate_speaks_too),
        cmocka_unit_test(test_rollout_view__a_line_for_each_transition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
