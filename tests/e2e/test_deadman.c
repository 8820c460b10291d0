/* SPDX-License-Identifier: Apache-2.0
 *
 * The supervising parent and the dead-man record: agents that die, hang, or are killed by the
 * release they try. The test plays captain (house.h).
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/e2e/house.h"
#include "tests/support/port.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

struct seen {
    struct house *h;
    pid_t other; /* than this */
    const char *text;
};

static bool has_another_agent(void *arg)
{
    struct seen *seen = arg;
    pid_t pid = house_agent_pid(seen->h);
    return pid > 0 && pid != seen->other;
}

static pid_t wait_agent(struct house *h, pid_t other)
{
    struct seen seen = {.h = h, .other = other};
    assert_true(wait_turning(h->loop, has_another_agent, &seen, LONG_MS));
    return house_agent_pid(h);
}

static bool is_gone(void *arg)
{
    return kill(*(pid_t *)arg, 0) != 0;
}

static struct released go_bad(struct house *h, const char *command)
{
    struct released bad = house_release(
        h, &(struct recipe){.version = "1.1", .expect = command ? NULL : "no", .command = command});
    uint64_t from = h->stored;
    house_want(h, &bad);
    if (!command)
        house_wait_event(h, EVENT_KIND_ACTIVATED, from);
    return bad;
}

static void expect_taken_back(struct house *h, uint64_t from)
{
    house_wait_event(h, EVENT_KIND_ROLLED_BACK, from);
    house_wait_status(h, APP_STATE_FAILED, "1.0");
    house_wait_page(h, "1.0");
    const struct event *last = &h->events[h->stored - 1];
    for (uint64_t i = from; i < h->stored; i++) {
        if (h->events[i].kind == EVENT_KIND_ROLLED_BACK)
            last = &h->events[i];
    }
    assert_string_equal(last->version, "1.1");
    if (!strstr(last->text, "dead-man"))
        fail_msg("told: %s", last->text);
    assert_int_not_equal(access(house_path_in(h, "device/apps/hello/deadman"), F_OK), 0);
}

static void test_deadman__an_agent_that_is_killed_is_started_again(void **state)
{
    struct house *h = *state;
    (void)house_install(h, &(struct recipe){.version = "1.0"});
    pid_t service = house_service_pid(h), agent = house_agent_pid(h);
    uint64_t from = h->stored;
    assert_int_equal(kill(agent, SIGKILL), 0);
    (void)wait_agent(h, agent);
    house_wait_event(h, EVENT_KIND_AGENT_STARTED, from);
    house_wait_status(h, APP_STATE_HEALTHY, "1.0");
    assert_int_equal(house_service_pid(h), service);
}

static void test_deadman__an_agent_dies_with_its_parent(void **state)
{
    struct house *h = *state;
    (void)house_install(h, &(struct recipe){.version = "1.0"});
    pid_t agent = house_agent_pid(h);
    assert_true(agent > 0);
    assert_int_equal(kill(proc_pid(h->agent), SIGKILL), 0);
    assert_true(wait_turning(h->loop, is_gone, &agent, LONG_MS));
    assert_true(house_serves(h, "1.0"));
    uint64_t from = h->stored;
    house_kill_agent(h);
    house_start_agent(h);
    house_wait_event(h, EVENT_KIND_AGENT_STARTED, from);
    house_wait_status(h, APP_STATE_HEALTHY, "1.0");
}

static void test_deadman__an_agent_that_hangs_is_ended(void **state)
{
    struct house *h = *state;
    h->extra = ", \"supervisor\": {\"hang\": \"3s\", \"restart\": \"50ms\"}";
    house_write_config(h);
    (void)house_install(h, &(struct recipe){.version = "1.0"});
    pid_t service = house_service_pid(h), agent = house_agent_pid(h);
    uint64_t from = h->stored;
    assert_int_equal(kill(agent, SIGSTOP), 0);
    (void)wait_agent(h, agent);
    house_wait_event(h, EVENT_KIND_AGENT_STARTED, from);
    house_wait_status(h, APP_STATE_HEALTHY, "1.0");
    assert_int_equal(house_service_pid(h), service);
}

static void test_deadman__a_resting_agent_does_not_hang(void **state)
{
    struct house *h = *state;
    h->extra = ", \"supervisor\": {\"hang\": \"1s\"}";
    house_write_config(h);
    (void)house_install(h, &(struct recipe){.version = "1.0"});
    pid_t agent = house_agent_pid(h);
    turn_for(h->loop, 4000);
    assert_int_equal(house_agent_pid(h), agent);
}

/* It cannot do it itself: it is stopped until its parent ends it. */
static void test_deadman__takes_back_what_a_stuck_agent_left(void **state)
{
    struct house *h = *state;
    (void)house_install(h, &(struct recipe){.version = "1.0"});
    uint64_t from = h->stored;
    (void)go_bad(h, NULL);
    pid_t agent = house_agent_pid(h);
    assert_int_equal(kill(agent, SIGSTOP), 0);
    expect_taken_back(h, from);
    assert_true(wait_turning(h->loop, is_gone, &agent, LONG_MS));
    assert_true(house_service_pid(h) > 0); /* one, not two */
    (void)house_install(h, &(struct recipe){.version = "1.2"});
}

/* The release kills whatever agent it finds, again and again. */
static void test_deadman__takes_back_a_release_that_kills_its_agent(void **state)
{
    struct house *h = *state;
    h->extra = ", \"supervisor\": {\"restart\": \"50ms\"}";
    house_write_config(h);
    (void)house_install(h, &(struct recipe){.version = "1.0"});
    uint64_t from = h->stored;
    char command[256];
    (void)snprintf(command, sizeof command,
                   "(while :; do "
                   "for p in $(cat /proc/%d/task/%d/children); do kill -9 $p; done; "
                   "sleep 0.2; done) & true",
                   (int)proc_pid(h->agent), (int)proc_pid(h->agent));
    (void)go_bad(h, command);
    expect_taken_back(h, from);
}

static void test_deadman__a_first_release_is_stopped(void **state)
{
    struct house *h = *state;
    house_start_agent(h);
    house_wait_event(h, EVENT_KIND_AGENT_STARTED, 0);
    uint64_t from = h->stored;
    (void)go_bad(h, NULL);
    assert_int_equal(kill(house_agent_pid(h), SIGSTOP), 0);
    house_wait_event(h, EVENT_KIND_FAILED, from);
    house_wait_status(h, APP_STATE_FAILED, "");
    assert_true(port_connect(h->service_port) < 0);
}

static bool points_back(void *arg)
{
    struct seen *seen = arg;
    struct house *h = seen->h;
    const char *argv[] = {getenv("CAPTAIN_AGENT_BIN"), "--deadman",
                          house_path_in(h, "device/apps/hello"), NULL};
    struct proc_options options = {.argv = argv, .out_path = house_path_in(h, "deadman.log")};
    assert_int_equal(proc_run(&options, LONG_MS), 0);
    char *text = tempdir_read(house_path_in(h, "device/apps/hello/deadman"), NULL);
    bool fired = text && strstr(text, "state fired");
    free(text);
    return fired;
}

/* What systemd's timer runs: agent and parent are both stuck. */
static void test_deadman__a_timer_takes_back_what_both_left(void **state)
{
    struct house *h = *state;
    (void)house_install(h, &(struct recipe){.version = "1.0"});
    uint64_t from = h->stored;
    (void)go_bad(h, NULL);
    pid_t agent = house_agent_pid(h);
    assert_int_equal(kill(proc_pid(h->agent), SIGSTOP), 0);
    assert_int_equal(kill(agent, SIGSTOP), 0);
    struct seen seen = {.h = h};
    assert_true(wait_turning(h->loop, points_back, &seen, LONG_MS));
    assert_true(wait_turning(h->loop, is_gone, &agent, LONG_MS));
    house_kill_agent(h);
    house_start_agent(h);
    expect_taken_back(h, from);
}

static void test_deadman__ends_with_the_code_of_an_agent_that_cannot_start(void **state)
{
    struct house *h = *state;
    static const char junk[] = "no root document";
    tempdir_write(house_path_in(h, "root.dsse"), junk, sizeof junk - 1);
    const char *argv[] = {getenv("CAPTAIN_AGENT_BIN"), "--config", house_path_in(h, "agent.json"),
                          NULL};
    struct proc_options options = {.argv = argv, .out_path = house_path_in(h, "agent.log")};
    assert_in_range(proc_run(&options, LONG_MS), 10, 22);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(test_deadman__##name, house_setup, house_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_agent_that_is_killed_is_started_again),
        TEST(an_agent_dies_with_its_parent),
        TEST(an_agent_that_hangs_is_ended),
        TEST(a_resting_agent_does_not_hang),
        TEST(takes_back_what_a_stuck_agent_left),
        TEST(takes_back_a_release_that_kills_its_agent),
        TEST(a_first_release_is_stopped),
        TEST(a_timer_takes_back_what_both_left),
        TEST(ends_with_the_code_of_an_agent_that_cannot_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
