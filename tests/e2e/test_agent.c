/* SPDX-License-Identifier: Apache-2.0
 *
 * The agent against a real bus, a real HTTP server and real services (house.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/clock.h"
#include "tests/e2e/house.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

static void test_agent__installs_and_upgrades(void **state)
{
    struct house *h = *state;
    (void)house_install(h, &(struct recipe){.version = "1.0"});
    static const enum event_kind first[] = {EVENT_KIND_AGENT_STARTED, EVENT_KIND_DESIRED_ACCEPTED,
                                            EVENT_KIND_FETCHED, EVENT_KIND_ACTIVATED,
                                            EVENT_KIND_CONFIRMED};
    house_expect_kinds(h, 0, first, 5);
    assert_string_equal(h->events[2].attempt, h->events[4].attempt);
    (void)house_install(h, &(struct recipe){.version = "1.1", .tree = true});
    house_expect_kinds(h, 5, first + 1, 4);
    assert_string_not_equal(h->events[6].attempt, h->events[2].attempt);
    assert_int_equal(house_status_of(h)->restarts, 0);
}

static bool has_telemetry(void *arg)
{
    struct house *h = arg;
    return h->telemetry >= 2;
}

static void test_agent__sends_telemetry(void **state)
{
    struct house *h = *state;
    house_start_agent(h);
    assert_true(wait_turning(h->loop, has_telemetry, h, LONG_MS));
    struct hope none = {.h = h, .state = APP_STATE_NONE, .version = ""};
    h->generation = 0;
    assert_true(wait_turning(h->loop, house_has_status, &none, LONG_MS));
}

static void test_agent__goes_back_when_the_new_release_is_unhealthy(void **state)
{
    struct house *h = *state;
    (void)house_install(h, &(struct recipe){.version = "1.0"});
    uint64_t from = h->stored;
    struct released bad =
        house_release(h, &(struct recipe){.version = "1.1", .expect = "what it does not say"});
    house_want(h, &bad);
    house_wait_event(h, EVENT_KIND_ROLLED_BACK, from);
    house_wait_status(h, APP_STATE_FAILED, "1.0");
    house_wait_page(h, "1.0");
    static const enum event_kind kinds[] = {EVENT_KIND_DESIRED_ACCEPTED, EVENT_KIND_FETCHED,
                                            EVENT_KIND_ACTIVATED, EVENT_KIND_ROLLED_BACK};
    house_expect_kinds(h, from, kinds, 4);
    assert_int_equal(h->events[h->stored - 1].code, ERR_UNHEALTHY);
    assert_string_equal(h->events[h->stored - 1].version, "1.1");
    assert_non_null(strstr(h->events[h->stored - 1].text, "check content"));
    /* The same decision, issued again: not tried again. */
    house_publish(h, &bad, &h->desired_key, ++h->generation);
    house_wait_status(h, APP_STATE_FAILED, "1.0");
    assert_int_equal(h->stored, from + 4);
    (void)house_install(h, &(struct recipe){.version = "1.2"});
}

static void test_agent__goes_back_at_once_when_a_service_gives_up(void **state)
{
    struct house *h = *state;
    (void)house_install(h, &(struct recipe){.version = "1.0"});
    struct released bad = house_release(h, &(struct recipe){.version = "1.1", .crashes = true});
    uint64_t from = h->stored;
    house_want(h, &bad);
    house_wait_event(h, EVENT_KIND_ROLLED_BACK, from);
    house_wait_page(h, "1.0");
    assert_non_null(strstr(h->events[h->stored - 1].text, "exit code 7"));
}

static void test_agent__refuses_a_release_that_is_signed_by_another_key(void **state)
{
    struct house *h = *state;
    (void)house_install(h, &(struct recipe){.version = "1.0"});
    uint64_t from = h->stored;
    struct released forged =
        house_release(h, &(struct recipe){.version = "6.6", .foreign_signature = true});
    house_want(h, &forged);
    house_wait_event(h, EVENT_KIND_FAILED, from);
    assert_int_equal(h->events[h->stored - 1].code, ERR_BAD_SIGNATURE);
    house_wait_status(h, APP_STATE_FAILED, "1.0");
    house_wait_page(h, "1.0");
}

static void test_agent__refuses_a_release_for_other_systems(void **state)
{
    struct house *h = *state;
    struct released foreign = house_release(h, &(struct recipe){.version = "1.0", .os = "plan9"});
    house_want(h, &foreign);
    house_start_agent(h);
    house_wait_event(h, EVENT_KIND_FAILED, 0);
    assert_int_equal(h->events[h->stored - 1].code, ERR_WRONG_TARGET);
    house_wait_status(h, APP_STATE_FAILED, "");
}

static void test_agent__rejects_a_desired_state_of_another_key(void **state)
{
    struct house *h = *state;
    struct released good = house_install(h, &(struct recipe){.version = "1.0"});
    uint64_t from = h->stored;
    house_publish(h, &good, &h->foreign_key, h->generation + 1);
    house_wait_event(h, EVENT_KIND_DESIRED_REJECTED, from);
    from = h->stored;
    house_publish(h, &good, &h->desired_key, h->generation - 1); /* a replay */
    house_wait_event(h, EVENT_KIND_DESIRED_REJECTED, from);
    assert_int_equal(h->events[h->stored - 1].code, ERR_ROLLBACK);
    house_wait_status(h, APP_STATE_HEALTHY, "1.0");
}

static void test_agent__waits_for_a_store_that_is_down(void **state)
{
    struct house *h = *state;
    struct released r = house_release(h, &(struct recipe){.version = "1.0"});
    proc_free(h->http);
    h->http = NULL;
    house_want(h, &r);
    house_start_agent(h);
    house_wait_event(h, EVENT_KIND_FAILED, 0);
    assert_int_equal(h->events[h->stored - 1].code, ERR_NO_CONTACT);
    house_start_http(h);
    house_wait_event(h, EVENT_KIND_CONFIRMED, 0);
    house_wait_page(h, "1.0");
}

static void test_agent__restarts_a_service_that_is_killed(void **state)
{
    struct house *h = *state;
    (void)house_install(h, &(struct recipe){.version = "1.0"});
    uint64_t from = h->stored;
    pid_t before = house_service_pid(h);
    assert_true(before > 0);
    assert_int_equal(kill(before, SIGKILL), 0);
    house_wait_event(h, EVENT_KIND_SERVICE_EXITED, from);
    house_wait_page(h, "1.0");
    assert_true(house_service_pid(h) > 0 && house_service_pid(h) != before);
    house_wait_status(h, APP_STATE_HEALTHY, "1.0");
}

static void test_agent__adopts_its_services_after_a_crash(void **state)
{
    struct house *h = *state;
    (void)house_install(h, &(struct recipe){.version = "1.0"});
    pid_t before = house_service_pid(h);
    house_kill_agent(h);
    assert_true(house_serves(h, "1.0")); /* it does not need the agent */
    uint64_t from = h->stored;
    house_start_agent(h);
    house_wait_event(h, EVENT_KIND_AGENT_STARTED, from);
    house_wait_status(h, APP_STATE_HEALTHY, "1.0");
    assert_int_equal(house_service_pid(h), before);
    (void)house_install(h, &(struct recipe){.version = "1.1"}); /* and stops it when it has to go */
    assert_true(house_service_pid(h) > 0 && house_service_pid(h) != before);
}

static void test_agent__sends_events_again_that_were_lost(void **state)
{
    struct house *h = *state;
    h->deaf = 3;
    (void)house_install(h, &(struct recipe){.version = "1.0"});
    static const enum event_kind kinds[] = {EVENT_KIND_AGENT_STARTED, EVENT_KIND_DESIRED_ACCEPTED,
                                            EVENT_KIND_FETCHED, EVENT_KIND_ACTIVATED,
                                            EVENT_KIND_CONFIRMED};
    house_expect_kinds(h, 0, kinds, 5);
}

static void test_agent__a_second_one_on_the_folder_is_refused(void **state)
{
    struct house *h = *state;
    house_start_agent(h);
    house_wait_event(h, EVENT_KIND_AGENT_STARTED, 0);
    char *log = house_path_in(h, "second.log");
    const char *argv[] = {getenv("CAPTAIN_AGENT_BIN"), "--config", house_path_in(h, "agent.json"),
                          NULL};
    struct proc_options options = {.argv = argv, .out_path = log};
    assert_int_equal(proc_run(&options, LONG_MS), ERR_CONFLICT);
    char *text = tempdir_read(log, NULL);
    char holder[64];
    (void)snprintf(holder, sizeof holder, "process %d", (int)proc_pid(h->agent));
    assert_non_null(strstr(text, holder));
    free(text);
}

static void test_agent__missing_configuration_is_an_error(void **state)
{
    struct house *h = *state;
    const char *argv[] = {getenv("CAPTAIN_AGENT_BIN"), "--config",
                          house_path_in(h, "not-there.json"), NULL};
    struct proc_options options = {.argv = argv};
    assert_int_equal(proc_run(&options, LONG_MS), 2);
    const char *none[] = {getenv("CAPTAIN_AGENT_BIN"), NULL};
    options.argv = none;
    assert_int_equal(proc_run(&options, LONG_MS), 2);
    const char *version[] = {getenv("CAPTAIN_AGENT_BIN"), "--version", NULL};
    options.argv = version;
    assert_int_equal(proc_run(&options, LONG_MS), 0);
}

/* The agent is killed at random moments through upgrades, good and bad; at the end it serves what
 * it should, and every event arrived once, in order. */
static void test_agent__converges_when_killed_at_random_moments(void **state)
{
    struct house *h = *state;
    const char *given = getenv("CAPTAIN_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)clock_unix_ms();
    print_message("seed %" PRIu64 " (CAPTAIN_SEED repeats it)\n", seed);
    struct rng rng;
    rng_seed(&rng, seed);
    char version[16];
    house_start_agent(h);
    for (unsigned i = 0; i < 12; i++) {
        (void)snprintf(version, sizeof version, "2.%u", i);
        struct recipe recipe = {
            .version = version, .tree = rng_below(&rng, 2), .crashes = rng_below(&rng, 4) == 0};
        struct released r = house_release(h, &recipe);
        house_want(h, &r);
        turn_for(h->loop, (int64_t)rng_below(&rng, 900));
        house_kill_agent(h);
        house_start_agent(h);
    }
    struct released last = house_release(h, &(struct recipe){.version = "3.0"});
    house_want(h, &last);
    house_wait_status(h, APP_STATE_HEALTHY, "3.0");
    house_wait_page(h, "3.0");
    assert_true(house_service_pid(h) > 0); /* one, not two */
    struct hope all = {
        .h = h, .kind = EVENT_KIND_CONFIRMED, .from = h->stored > 3 ? h->stored - 3 : 0};
    assert_true(wait_turning(h->loop, house_has_event, &all, LONG_MS));
    unsigned started = 0;
    for (uint64_t i = 0; i < h->stored; i++) {
        assert_int_equal(h->events[i].seq, i + 1);
        started += h->events[i].kind == EVENT_KIND_AGENT_STARTED;
    }
    assert_in_range(started, 1, 13);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_agent__##name, house_setup, house_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(installs_and_upgrades),
        TEST(sends_telemetry),
        TEST(goes_back_when_the_new_release_is_unhealthy),
        TEST(goes_back_at_once_when_a_service_gives_up),
        TEST(refuses_a_release_that_is_signed_by_another_key),
        TEST(refuses_a_release_for_other_systems),
        TEST(rejects_a_desired_state_of_another_key),
        TEST(waits_for_a_store_that_is_down),
        TEST(restarts_a_service_that_is_killed),
        TEST(adopts_its_services_after_a_crash),
        TEST(sends_events_again_that_were_lost),
        TEST(a_second_one_on_the_folder_is_refused),
        TEST(missing_configuration_is_an_error),
        TEST(converges_when_killed_at_random_moments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
