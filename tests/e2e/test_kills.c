/* SPDX-License-Identifier: Apache-2.0
 *
 * A bad night: agents, captain and nats-server are killed by SIGKILL at random moments while the
 * channel moves; then everything runs again and the fleet must converge without help: the last
 * release everywhere, no event lost or counted twice, no device between releases. CAPTAIN_SEED
 * replays a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/rng.h"
#include "common/clock.h"
#include "tests/e2e/world.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

enum { AGENTS = 3, ROUNDS = 6 };

static struct rng rng;

static int seed(void **state)
{
    (void)state;
    const char *given = getenv("CAPTAIN_SEED");
    uint64_t value;
    clock_random(&value, sizeof value);
    value = given ? strtoull(given, NULL, 10) : value % 1000000;
    (void)fprintf(stderr, "CAPTAIN_SEED=%llu\n", (unsigned long long)value);
    rng_seed(&rng, value);
    return 0;
}

static void pause_ms(uint64_t ms)
{
    struct timespec left = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

/* Kills one of the three kinds at a random moment and starts it again a moment later. */
static void kill_something(struct world *world)
{
    pause_ms(rng_below(&rng, 700));
    switch (rng_below(&rng, 5)) {
    case 0:
        nats_server_kill(world->nats);
        pause_ms(rng_below(&rng, 300));
        nats_server_restart(world->nats, NULL);
        break;
    case 1:
        world_captain_kill(world);
        pause_ms(rng_below(&rng, 300));
        world_captain_start(world);
        break;
    default: {
        unsigned agent = (unsigned)rng_below(&rng, AGENTS);
        world_agent_kill(world, agent);
        pause_ms(rng_below(&rng, 300));
        world_agent_start(world, agent);
    }
    }
}

static bool set_done(void *arg)
{
    struct world *world = ((void **)arg)[0];
    const char *release = ((void **)arg)[1];
    return world_cli(world, (const char *[]){"channel", "set", "hello/stable", release, NULL}, NULL,
                     NULL) == 0;
}

/* As an operator does: again until it is acknowledged. */
static void set_until_done(struct world *world, const char *release)
{
    assert_true(wait_until(set_done, (void *[]){world, (void *)(uintptr_t)release}, 60000));
}

static void test_kills__the_fleet_converges_without_help(void **state)
{
    (void)state;
    struct world *world = world_new(AGENTS);
    world_agents_start(world);
    static const char *const versions[] = {"1.0", "1.1", "1.2"};
    for (size_t i = 0; i < 3; i++)
        world_release_with(world, versions[i], "/index.html", 3 << 20);
    char release[64];
    for (unsigned round = 0; round < ROUNDS; round++) {
        (void)snprintf(release, sizeof release, "hello@%s", versions[round % 3]);
        set_until_done(world, release);
        kill_something(world);
        kill_something(world);
    }
    set_until_done(world, "hello@1.1");
    world_wait_serving(world, "1.1", 90000);
    world_wait_healthy(world, AGENTS, 30000);
    world_check_disks(world);
    assert_true(world_check_events(world) > 0);
    world_free(world);
}

static void test_kills__a_killed_service_comes_back_and_an_agent_adopts_it(void **state)
{
    (void)state;
    struct world *world = world_new(1);
    world_agents_start(world);
    world_release(world, "1.0", "/index.html");
    world_channel_set(world, "hello@1.0");
    world_wait_serving(world, "1.0", 20000);
    world_wait_healthy(world, 1, 10000);
    world_agent_kill(world, 0);
    /* The app does not notice that its agent died. */
    assert_true(world_serves(world, 0, "1.0"));
    world_agent_start(world, 0);
    world_wait_healthy(world, 1, 20000);
    assert_true(world_serves(world, 0, "1.0"));
    assert_int_equal(world_events(world, 0, "service_exited"), 0);
    world_free(world);
}

static void test_kills__a_rebuilt_captain_has_the_whole_log(void **state)
{
    (void)state;
    struct world *world = world_new(1);
    world_agents_start(world);
    world_release(world, "1.0", "/index.html");
    world_channel_set(world, "hello@1.0");
    world_wait_serving(world, "1.0", 20000);
    world_captain_kill(world);
    static const char *const files[] = {"captain.db", "captain.db-wal", "captain.db-shm"};
    for (size_t i = 0; i < 3; i++) {
        char path[PATH_MAX];
        (void)snprintf(path, sizeof path, "%s/%s", world->captain_dir, files[i]);
        (void)remove(path);
    }
    world_captain_start(world);
    json_t *channel = world_json(world, (const char *[]){"channel", "show", "hello/stable", NULL});
    assert_string_equal(json_string_value(json_object_get(channel, "release")), "hello@1.0");
    json_decref(channel);
    world_wait_healthy(world, 1, 20000);
    world_release(world, "1.1", "/index.html");
    world_channel_set(world, "hello@1.1");
    world_wait_serving(world, "1.1", 20000);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kills__a_killed_service_comes_back_and_an_agent_adopts_it),
        cmocka_unit_test(test_kills__a_rebuilt_captain_has_the_whole_log),
        cmocka_unit_test(test_kills__the_fleet_converges_without_help),
    };
    return cmocka_run_group_tests(tests, seed, NULL);
}
