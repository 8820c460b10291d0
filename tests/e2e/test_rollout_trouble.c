/* SPDX-License-Identifier: Apache-2.0
 *
 * Rollouts of a real fleet in bad luck: captain killed in mid-wave, nats-server killed and its
 * streams deleted, half of the devices standing still. No verdict is lost, no cap is broken, and the
 * fleet ends on one release.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <time.h>

#include "tests/e2e/fleet.h"
#include "tests/support/bus_probe.h"

enum { AGENTS = 4, KILLS = 4 };

static void pause_ms(int64_t ms)
{
    struct timespec left = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

static bool is_over(struct world *world, const char *id)
{
    return fleet_is(&(struct fleet_hope){world, id, "succeeded", 0}) ||
           fleet_is(&(struct fleet_hope){world, id, "aborted", 0});
}

static void test_rollout_trouble__captain_is_killed_again_and_again(void **state)
{
    (void)state;
    struct world *world = fleet_new(AGENTS);
    char id[FLEET_ID];
    unsigned kills = 0;
    fleet_policy(world, "2s", "admission: {max_in_flight: 2}\n");
    fleet_start(world, "hello@1.1", id);
    for (; kills < KILLS && !is_over(world, id); kills++) {
        pause_ms(300 + 400 * (int64_t)kills); /* another moment each time; it waits for nothing */
        world_captain_kill(world);
        world_captain_start(world);
    }
    assert_true(kills >= 2);
    fleet_wait(world, id, "succeeded");
    world_wait_serving(world, "1.1", FLEET_MS);
    fleet_replay(world, id);
    assert_true(world_check_events(world) > 0);
    world_free(world);
}

/* A failure is a failure after a restart too: the verdict is not lost with the process. */
static void test_rollout_trouble__a_failed_canary_is_not_forgotten(void **state)
{
    (void)state;
    struct world *world = fleet_new(AGENTS);
    char id[FLEET_ID];
    fleet_start(world, "hello@1.2", id);
    fleet_wait_wave(world, id, 1);
    for (unsigned kills = 0; kills < KILLS && !is_over(world, id); kills++) {
        pause_ms(500);
        world_captain_kill(world);
        world_captain_start(world);
    }
    fleet_wait(world, id, "aborted");
    world_wait_serving(world, "1.0", FLEET_MS);
    assert_int_equal(fleet_ran(world, "1.2"), 1);
    fleet_replay(world, id);
    world_free(world);
}

static void delete_stream(struct world *world, const char *name)
{
    struct bus_probe probe = {0};
    struct bus_options options = bus_probe_options(nats_server_url(world->nats));
    char subject[128];
    bus_probe_open(&probe, &options);
    bus_probe_start(&probe);
    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.DELETE.%s", name);
    assert_int_equal(bus_probe_request(&probe, subject, "", 5000), ERR_OK);
    assert_non_null(strstr(probe.answer, "true"));
    bus_probe_close(&probe);
}

static void test_rollout_trouble__streams_are_deleted_and_the_server_is_killed(void **state)
{
    (void)state;
    struct world *world = fleet_new(AGENTS);
    char id[FLEET_ID];
    fleet_policy(world, "2s", "");
    fleet_start(world, "hello@1.1", id);
    fleet_wait_wave(world, id, 1);
    delete_stream(world, "DESIRED");
    delete_stream(world, "EVENTS");
    nats_server_kill(world->nats);
    nats_server_restart(world->nats, NULL);
    fleet_wait_wave(world, id, 2);
    delete_stream(world, "DESIRED");
    delete_stream(world, "EVENTS");
    fleet_wait(world, id, "succeeded");
    world_wait_serving(world, "1.1", FLEET_MS);
    world_wait_healthy(world, AGENTS, FLEET_MS);
    fleet_replay(world, id);
    assert_true(world_check_events(world) > 0);
    world_free(world);
}

static pid_t parent_of(const char *pid)
{
    char path[300], text[512];
    int parent = 0;
    (void)snprintf(path, sizeof path, "/proc/%s/stat", pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    size_t len = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[len] = '\0';
    const char *end = strrchr(text, ')');
    return end && sscanf(end, ") %*c %d", &parent) == 1 ? parent : 0;
}

/* The agent and the parent that watches over it. */
static void signal_agent(struct world *world, unsigned agent, int signum)
{
    const pid_t parent = proc_pid(world->agents[agent].proc);
    DIR *dir = opendir("/proc");
    assert_non_null(dir);
    if (signum == SIGSTOP)
        proc_signal(world->agents[agent].proc, signum);
    for (struct dirent *entry; (entry = readdir(dir));)
        if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9' &&
            parent_of(entry->d_name) == parent)
            (void)kill((pid_t)strtol(entry->d_name, NULL, 10), signum);
    (void)closedir(dir);
    if (signum != SIGSTOP)
        proc_signal(world->agents[agent].proc, signum);
}

/* Silence after an offer is a failure, or a release that bricks would hide itself. */
static void test_rollout_trouble__half_of_the_devices_stand_still(void **state)
{
    (void)state;
    struct world *world = fleet_new(AGENTS);
    char id[FLEET_ID];
    fleet_policy(world, "1s", "silent: 4s\n");
    signal_agent(world, 0, SIGSTOP);
    signal_agent(world, 1, SIGSTOP);
    fleet_start(world, "hello@1.1", id);
    if (!wait_until(fleet_is, &(struct fleet_hope){world, id, "rolling_back", 0}, FLEET_MS) &&
        !is_over(world, id))
        fleet_fail(world, id, "silence is no failure");
    signal_agent(world, 0, SIGCONT);
    signal_agent(world, 1, SIGCONT);
    fleet_wait(world, id, "aborted");
    world_wait_serving(world, "1.0", FLEET_MS);
    world_wait_healthy(world, AGENTS, FLEET_MS);
    fleet_replay(world, id);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rollout_trouble__captain_is_killed_again_and_again),
        cmocka_unit_test(test_rollout_trouble__a_failed_canary_is_not_forgotten),
        cmocka_unit_test(test_rollout_trouble__streams_are_deleted_and_the_server_is_killed),
        cmocka_unit_test(test_rollout_trouble__half_of_the_devices_stand_still),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
