/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/captain/rollouts_world.h"

#include <time.h>

enum { DEVICES = 20 };

static int set_up(void **state)
{
    *state = world_open(DEVICES);
    return 0;
}

static int tear_down(void **state)
{
    world_close(*state);
    return 0;
}

static bool first_is_busy(struct world *w)
{
    return w->busy > 0;
}

static bool all_are_idle(struct world *w)
{
    return w->busy == 0;
}

static void test_rollouts__a_good_release_goes_out_in_three_waves(void **state)
{
    struct world *w = *state;
    struct channel_info channel;
    const struct channel_query query = {.channel = "hello/stable"};
    start_rollout(w, "hello@1.1", POLICY);
    await_state(w, w->rollout, "succeeded");
    assert_int_equal(running(w, w->two), DEVICES);
    assert_true(w->busy_max > 1);
    const struct rollout_info info = info_of(w, w->rollout);
    assert_int_equal(info.on_target, DEVICES);
    assert_true(info.outcome_good);
    ask_ok(w, "channel.show", &codec_channel_query, &query, &codec_channel_info, &channel);
    assert_string_equal(channel.release, "hello@1.1");
    assert_int_equal(captain_end(w, SIGTERM), 0);
    assert_string_equal(story_of(w, w->rollout), "running wave1 wave2 wave3 succeeded ");
    assert_int_equal(check_history(w, w->rollout), ROLLOUT_SUCCEEDED);
}

static void test_rollouts__a_canary_that_fails_takes_the_fleet_back(void **state)
{
    struct world *w = *state;
    for (unsigned i = 0; i < w->sims_len; i++)
        w->sims[i].bad = true;
    start_rollout(w, "hello@1.1", POLICY);
    await_state(w, w->rollout, "aborted");
    assert_int_equal(running(w, w->one), DEVICES);
    assert_true(exposed(w) <= 2);
    assert_false(info_of(w, w->rollout).outcome_good);
    assert_int_equal(captain_end(w, SIGTERM), 0);
    assert_string_equal(story_of(w, w->rollout),
                        "running wave1 aborting base rolling_back aborted ");
    assert_int_equal(check_history(w, w->rollout), ROLLOUT_ABORTED);
}

static bool half_are_on_two(struct world *w)
{
    return running(w, w->two) >= DEVICES / 2;
}

static void
test_rollouts__an_abort_brings_back_who_has_the_target_and_may_be_said_twice(void **state)
{
    struct world *w = *state;
    start_rollout(w, "hello@1.1", POLICY);
    assert_true(turn_until(w, half_are_on_two, WAIT_MS));
    assert_int_equal(act(w, "abort", "", ""), ERR_OK);
    assert_int_equal(act(w, "abort", "", ""), ERR_OK);
    await_state(w, w->rollout, "aborted");
    assert_true(turn_until(w, all_are_idle, WAIT_MS));
    assert_int_equal(running(w, w->one), DEVICES);
    assert_int_equal(captain_end(w, SIGTERM), 0);
    assert_int_equal(check_history(w, w->rollout), ROLLOUT_ABORTED);
}

#define PROBABLY_HELD                                                                              \
    "name: held\n"                                                                                 \
    "on_fail: hold\n"                                                                              \
    "waves:\n"                                                                                     \
    "  - {name: canary, count: 4, canary: true}\n"                                                 \
    "  - {name: all, all: true}\n"                                                                 \
    "soak: 0s\n"                                                                                   \
    "failures: {min_abs: 1, max_abs: 1, max_percent: 1}\n"                                         \
    "rate: {on: false}\n"                                                                          \
    "compare: {on: false}\n"                                                                       \
    "admission: {lease: 20s, max_in_flight: 3, max_in_flight_per_site: 2,\n"                       \
    "  max_unavailable_per_site_percent: 100}\n"

static void test_rollouts__a_hold_is_resumed_by_exactly_its_gate(void **state)
{
    struct world *w = *state;
    for (unsigned i = 0; i < w->sims_len; i++)
        w->sims[i].bad = true;
    start_rollout(w, "hello@1.1", PROBABLY_HELD);
    await_state(w, w->rollout, "held");
    assert_int_not_equal(act(w, "resume", "soak", ""), ERR_OK);
    assert_int_not_equal(act(w, "resume", "", ""), ERR_OK);
    const struct rollout_info info = info_of(w, w->rollout);
    assert_string_equal(info.state, "held");
    assert_non_null(info.gate);
    assert_string_equal(info.gate->gate, "failures");
    assert_true(exposed(w) <= 4);
    for (unsigned i = 0; i < w->sims_len; i++)
        w->sims[i].bad = false;
    assert_int_equal(act(w, "resume", "failures", ""), ERR_OK);
    assert_string_not_equal(info_of(w, w->rollout).state, "held");
    assert_int_equal(captain_end(w, SIGTERM), 0);
    (void)check_history(w, w->rollout);
}

static void test_rollouts__an_excluded_device_stays_where_it_is(void **state)
{
    struct world *w = *state;
    struct sim *out = &w->sims[7];
    start_rollout(w, "hello@1.1", POLICY);
    if (act(w, "exclude", "", out->name) != ERR_OK)
        fail_msg("%s", w->error);
    await_state(w, w->rollout, "succeeded");
    const struct rollout_info info = info_of(w, w->rollout);
    assert_true(info.on_target >= DEVICES - 1);
    assert_int_equal(captain_end(w, SIGTERM), 0);
    (void)check_history(w, w->rollout);
}

static void test_rollouts__a_supersede_in_mid_canary_keeps_every_cap(void **state)
{
    struct world *w = *state;
    char first[ULID_TEXT];
    for (unsigned i = 0; i < w->sims_len; i++)
        w->sims[i].stuck = true;
    start_rollout(w, "hello@1.1", POLICY);
    (void)snprintf(first, sizeof first, "%s", w->rollout);
    assert_true(turn_until(w, first_is_busy, WAIT_MS));
    start_rollout(w, "hello@1.2", POLICY);
    for (unsigned i = 0; i < w->sims_len; i++)
        w->sims[i].stuck = false;
    await_state(w, first, "superseded");
    await_state(w, w->rollout, "succeeded");
    assert_int_equal(running(w, w->three), DEVICES);
    assert_int_equal(captain_end(w, SIGTERM), 0);
    assert_int_equal(check_history(w, first), ROLLOUT_SUPERSEDED);
    assert_int_equal(check_history(w, w->rollout), ROLLOUT_SUCCEEDED);
}

static void test_rollouts__one_that_comes_late_goes_through_the_same_gates(void **state)
{
    struct world *w = *state;
    start_rollout(w, "hello@1.1", POLICY);
    assert_true(turn_until(w, first_is_busy, WAIT_MS));
    add_sims(w, 3);
    await_state(w, w->rollout, "succeeded");
    assert_true(info_of(w, w->rollout).devices >= DEVICES);
    assert_int_equal(captain_end(w, SIGTERM), 0);
    assert_int_equal(check_history(w, w->rollout), ROLLOUT_SUCCEEDED);
}

/* Three days ahead, in the words of a window. */
static void set_windows(struct world *w, const char *site, bool closed)
{
    static const char *const days[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
    const time_t later = time(NULL) + 3 * 24 * 3600;
    struct tm tm;
    char text[64] = "";
    struct site_list list;
    assert_non_null(gmtime_r(&later, &tm));
    if (closed)
        (void)snprintf(text, sizeof text, "%s 01:00-02:00 UTC", days[tm.tm_wday]);
    const struct site_change change = {.site = site, .windows = text, .reason = "test"};
    ask_ok(w, "site.windows", &codec_site_change, &change, &codec_site_list, &list);
    assert_int_equal(list.sites_len, closed);
    if (closed)
        assert_true(list.sites[0].opens_ms > clock_unix_ms());
}

static unsigned switched_at(const struct world *w, unsigned site)
{
    unsigned count = 0;
    for (unsigned i = 0; i < w->sims_len; i++)
        count += w->sims[i].site == site && w->sims[i].switched > 0;
    return count;
}

static bool site_zero_has_changed(struct world *w)
{
    return switched_at(w, 0) > 0;
}

static void test_rollouts__a_site_outside_its_window_is_left_alone(void **state)
{
    struct world *w = *state;
    set_windows(w, "site1", true);
    start_rollout(w, "hello@1.1", POLICY);
    assert_true(turn_until(w, site_zero_has_changed, WAIT_MS));
    (void)turn_until(w, never, 800);
    assert_int_equal(switched_at(w, 1), 0);
    assert_int_equal(captain_end(w, SIGKILL), SIGKILL); /* and it is remembered */
    captain_start(w);
    wait_ready(w);
    (void)turn_until(w, never, 800);
    assert_int_equal(switched_at(w, 1), 0);
    set_windows(w, "site1", false);
    await_state(w, w->rollout, "succeeded");
    assert_int_equal(running(w, w->two), DEVICES);
    assert_int_equal(captain_end(w, SIGTERM), 0);
    assert_int_equal(check_history(w, w->rollout), ROLLOUT_SUCCEEDED);
}

static void freeze(struct world *w, bool on)
{
    const struct freeze_request request = {.on = on, .reason = "test"};
    struct freeze_info info;
    ask_ok(w, "freeze.set", &codec_freeze_request, &request, &codec_freeze_info, &info);
    assert_int_equal(info.on, on);
}

static void test_rollouts__nothing_changes_while_the_fleet_is_frozen(void **state)
{
    struct world *w = *state;
    freeze(w, true);
    start_rollout(w, "hello@1.1", POLICY);
    (void)turn_until(w, never, 1000);
    assert_int_equal(exposed(w), 0);
    freeze(w, false);
    await_state(w, w->rollout, "succeeded");
    assert_int_equal(running(w, w->two), DEVICES);
    assert_int_equal(captain_end(w, SIGTERM), 0);
    assert_int_equal(check_history(w, w->rollout), ROLLOUT_SUCCEEDED);
}

static bool one_was_told(struct world *w)
{
    for (unsigned i = 0; i < w->sims_len; i++)
        if (w->sims[i].busy)
            return true;
    return false;
}

static void test_rollouts__silence_after_the_offer_is_a_failure(void **state)
{
    struct world *w = *state;
    w->work_ms = 60000; /* until it goes silent nobody ends */
    start_rollout(w, "hello@1.1", POLICY "silent: 1s\n");
    assert_true(turn_until(w, one_was_told, WAIT_MS));
    for (unsigned i = 0; i < w->sims_len; i++) {
        if (!w->sims[i].busy)
            continue;
        w->sims[i].online = false; /* its lease counts on */
        break;
    }
    w->work_ms = WORK_MS;
    for (unsigned i = 0; i < w->sims_len; i++)
        w->sims[i].done_at_ms = 0;
    await_state(w, w->rollout, "succeeded");
    const struct rollout_info info = info_of(w, w->rollout);
    assert_int_equal(info.failed, 1);
    assert_int_equal(info.on_target, DEVICES - 1);
    assert_int_equal(captain_end(w, SIGTERM), 0);
    assert_int_equal(check_history(w, w->rollout), ROLLOUT_SUCCEEDED);
}

static void purge(struct world *w, const char *stream)
{
    char subject[64];
    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.DELETE.%s", stream);
    w->answered = false;
    assert_ok(w, bus_request(w->bus, subject, (struct bytes){0}, 5000, on_answer, w, &w->err));
    assert_true(turn_until(w, was_answered, WAIT_MS));
    assert_int_equal(w->unanswered.code, ERR_OK);
}

static void test_rollouts__streams_deleted_in_mid_wave_change_nothing(void **state)
{
    struct world *w = *state;
    start_rollout(w, "hello@1.1", POLICY);
    assert_true(turn_until(w, first_is_busy, WAIT_MS));
    purge(w, "DESIRED");
    purge(w, "EVENTS");
    /* Captain makes them again when the bus comes back. */
    nats_server_kill(w->server);
    nats_server_restart(w->server, NULL);
    await_state(w, w->rollout, "succeeded");
    assert_int_equal(running(w, w->two), DEVICES);
    assert_int_equal(captain_end(w, SIGTERM), 0);
    assert_int_equal(check_history(w, w->rollout), ROLLOUT_SUCCEEDED);
}

static bool is_over(struct world *w, const char *state)
{
    const struct rollout_query query = {.rollout = w->rollout};
    struct rollout_info info = {0};
    return ask(w, "rollout.show", &codec_rollout_query, &query, &codec_rollout_info, &info) ==
               ERR_OK &&
           str_equal(info.state, state) && info.ended_ms > 0;
}

/* Captain is killed again and again while the rollout goes on. */
static unsigned kill_until(struct world *w, const char *state, uint64_t seed)
{
    struct rng rng;
    unsigned kills = 0;
    const int64_t until_ms = clock_mono_ms() + 2 * WAIT_MS;
    rng_seed(&rng, seed);
    for (;;) {
        (void)turn_until(w, never, 20 + (int64_t)rng_below(&rng, 300));
        assert_true(clock_mono_ms() < until_ms);
        if (is_over(w, state))
            return kills;
        (void)captain_end(w, SIGKILL);
        captain_start(w);
        kills++;
        if (kills % 3 == 0)
            wait_ready(w);
    }
}

static uint64_t new_seed(void)
{
    uint64_t seed;
    const char *given = getenv("ROLLOUTS_SEED");
    clock_random(&seed, sizeof seed);
    if (given)
        seed = strtoull(given, NULL, 10);
    print_message("seed %" PRIu64 " (ROLLOUTS_SEED)\n", seed);
    return seed;
}

static void test_rollouts__captain_killed_at_random_ends_the_same(void **state)
{
    struct world *w = *state;
    w->work_ms = 150;
    start_rollout(w, "hello@1.1", POLICY);
    const unsigned kills = kill_until(w, "succeeded", new_seed());
    assert_true(kills > 0);
    print_message("%u kills\n", kills);
    assert_true(turn_until(w, all_are_idle, WAIT_MS));
    assert_int_equal(running(w, w->two), DEVICES);
    assert_int_equal(captain_end(w, SIGTERM), 0);
    assert_string_equal(story_of(w, w->rollout), "running wave1 wave2 wave3 succeeded ");
    assert_int_equal(check_history(w, w->rollout), ROLLOUT_SUCCEEDED);
}

static void test_rollouts__captain_killed_at_random_still_goes_back(void **state)
{
    struct world *w = *state;
    for (unsigned i = 0; i < w->sims_len; i++)
        w->sims[i].bad = true;
    w->work_ms = 500;
    start_rollout(w, "hello@1.1", POLICY);
    const unsigned kills = kill_until(w, "aborted", new_seed());
    assert_true(kills > 0);
    print_message("%u kills\n", kills);
    assert_int_equal(running(w, w->one), DEVICES);
    assert_true(exposed(w) <= 2);
    assert_int_equal(captain_end(w, SIGTERM), 0);
    assert_string_equal(story_of(w, w->rollout),
                        "running wave1 aborting base rolling_back aborted ");
    assert_int_equal(check_history(w, w->rollout), ROLLOUT_ABORTED);
}

#define ROLLOUTS_TEST(name)                                                                        \
    cmocka_unit_test_setup_teardown(test_rollouts__##name, set_up, tear_down)

int main(int argc, char **argv)
{
    if (argc == 4 && str_equal(argv[1], "serve"))
        return captain_main(argv[2], argv[3]);
    const struct CMUnitTest tests[] = {
        ROLLOUTS_TEST(a_good_release_goes_out_in_three_waves),
        ROLLOUTS_TEST(a_canary_that_fails_takes_the_fleet_back),
        ROLLOUTS_TEST(an_abort_brings_back_who_has_the_target_and_may_be_said_twice),
        ROLLOUTS_TEST(a_hold_is_resumed_by_exactly_its_gate),
        ROLLOUTS_TEST(an_excluded_device_stays_where_it_is),
        ROLLOUTS_TEST(a_supersede_in_mid_canary_keeps_every_cap),
        ROLLOUTS_TEST(one_that_comes_late_goes_through_the_same_gates),
        ROLLOUTS_TEST(a_site_outside_its_window_is_left_alone),
        ROLLOUTS_TEST(nothing_changes_while_the_fleet_is_frozen),
        ROLLOUTS_TEST(silence_after_the_offer_is_a_failure),
        ROLLOUTS_TEST(streams_deleted_in_mid_wave_change_nothing),
        ROLLOUTS_TEST(captain_killed_at_random_ends_the_same),
        ROLLOUTS_TEST(captain_killed_at_random_still_goes_back),
    };
    if (argc == 2)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
