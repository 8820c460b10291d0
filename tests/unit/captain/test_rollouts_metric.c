/* SPDX-License-Identifier: Apache-2.0
 *
 * A whole captain judges a release by what its devices tell.
 */
#include "tests/unit/captain/rollouts_world.h"

enum { DEVICES = 12, TELEMETRY_MS = 50 };

#define METRIC_POLICY                                                                              \
    POLICY "metrics:\n"                                                                            \
           "  - name: memory\n"                                                                    \
           "    source: telemetry p95 memory_used_percent canary - control\n"                      \
           "    op: below\n"                                                                       \
           "    limit: 20\n"                                                                       \
           "    count: 2\n"                                                                        \
           "    max_age: 5s\n"                                                                     \
           "    every: 100ms\n"

/* Devices that tell what they use: 30 %, and on 1.1 as much as the test says. */
struct talk {
    struct world *w;
    struct loop_timer timer;
    uint64_t used_percent;
};

static void send_telemetry(const struct talk *talk, const struct sim *s)
{
    struct world *w = talk->w;
    struct bytes data;
    char subject[96];
    const bool target = memcmp(s->running, w->two, DIGEST_BYTES) == 0;
    const struct telemetry telemetry = {.sent_ms = clock_unix_ms(),
                                        .memory_total_bytes = 1000,
                                        .memory_available_bytes =
                                            1000 - 10 * (target ? talk->used_percent : 30)};
    sim_subject(s, "telemetry", subject);
    arena_reset(&w->passing);
    assert_ok(w, codec_encode(&codec_telemetry, &telemetry, &w->passing, &data, &w->err));
    struct err ignored; /* the next one says it too */
    (void)!bus_publish(w->bus, subject, data, NULL, NULL, &ignored);
}

static void on_talk(void *arg)
{
    struct talk *talk = arg;
    for (unsigned i = 0; i < talk->w->sims_len; i++)
        send_telemetry(talk, &talk->w->sims[i]);
    loop_timer_at(talk->w->loop, &talk->timer, loop_now_ms(talk->w->loop) + TELEMETRY_MS, on_talk,
                  talk);
}

static int set_up(void **state)
{
    struct talk *talk = mem_new(1, sizeof *talk);
    talk->w = world_open(DEVICES);
    talk->used_percent = 35;
    on_talk(talk);
    *state = talk;
    return 0;
}

static int tear_down(void **state)
{
    struct talk *talk = *state;
    loop_timer_stop(&talk->timer);
    world_close(talk->w);
    mem_free(talk);
    return 0;
}

static void test_rollouts_metric__a_release_that_uses_as_much_goes_out(void **state)
{
    struct world *w = ((struct talk *)*state)->w;
    start_rollout(w, "hello@1.1", METRIC_POLICY);
    await_state(w, w->rollout, "succeeded");
    assert_int_equal(running(w, w->two), DEVICES);
    assert_int_equal(captain_end(w, SIGTERM), 0);
    assert_string_equal(story_of(w, w->rollout), "running wave1 wave2 wave3 succeeded ");
    assert_int_equal(check_history(w, w->rollout), ROLLOUT_SUCCEEDED);
}

static void test_rollouts_metric__a_canary_that_grows_takes_the_fleet_back(void **state)
{
    struct talk *talk = *state;
    struct world *w = talk->w;
    talk->used_percent = 80;
    start_rollout(w, "hello@1.1", METRIC_POLICY);
    await_state(w, w->rollout, "aborted");
    const struct rollout_info info = info_of(w, w->rollout);
    assert_false(info.outcome_good);
    assert_int_equal(running(w, w->one), DEVICES);
    assert_true(exposed(w) <= 2);
    assert_int_equal(captain_end(w, SIGTERM), 0);
    assert_string_equal(story_of(w, w->rollout),
                        "running wave1 aborting base rolling_back aborted ");
    assert_int_equal(check_history(w, w->rollout), ROLLOUT_ABORTED);
}

static void test_rollouts_metric__a_captain_killed_again_and_again_measures_on(void **state)
{
    struct world *w = ((struct talk *)*state)->w;
    start_rollout(w, "hello@1.1", METRIC_POLICY);
    for (int i = 0; i < 3; i++) {
        (void)turn_until(w, never, 700);
        (void)captain_end(w, SIGKILL);
        captain_start(w);
        wait_ready(w);
    }
    await_state(w, w->rollout, "succeeded");
    assert_int_equal(running(w, w->two), DEVICES);
    assert_int_equal(captain_end(w, SIGTERM), 0);
    assert_int_equal(check_history(w, w->rollout), ROLLOUT_SUCCEEDED);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rollouts_metric__a_release_that_uses_as_much_goes_out,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_rollouts_metric__a_canary_that_grows_takes_the_fleet_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_rollouts_metric__a_captain_killed_again_and_again_measures_on, set_up, tear_down),
    };
    if (argc == 4 && str_equal(argv[1], "serve"))
        return captain_main(argv[2], argv[3]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
