/* SPDX-License-Identifier: Apache-2.0
 *
 * Networks and disks that fail: the artifact server cut in the middle of a file, the disk full
 * while fetching, a bus that freezes. The fleet converges without help.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "tests/e2e/world.h"
#include "tests/support/port.h"
#include "tests/support/proxy.h"
#include "tests/support/support.h"
#include "tests/support/wait.h"

enum { PAYLOAD = 8 << 20 };

/* Starts captain again with its artifact store behind a proxy. */
static struct proxy *store_behind_proxy(struct world *world)
{
    uint16_t port = port_free();
    struct proxy *proxy = proxy_start(port);
    world_captain_kill(world);
    (void)snprintf(world->captain_options[0], sizeof world->captain_options[0], "--listen");
    (void)snprintf(world->captain_options[1], sizeof world->captain_options[1], "127.0.0.1:%u",
                   port);
    (void)snprintf(world->captain_options[2], sizeof world->captain_options[2], "--store-url");
    (void)snprintf(world->captain_options[3], sizeof world->captain_options[3],
                   "http://127.0.0.1:%u", proxy_port(proxy));
    world_captain_start(world);
    return proxy;
}

static void test_bad_luck__a_store_cut_at_half_is_resumed(void **state)
{
    (void)state;
    struct world *world = world_new(1);
    struct proxy *proxy = store_behind_proxy(world);
    proxy_cut_after(proxy, PAYLOAD / 2 + 1000);
    world_agents_start(world);
    world_release_with(world, "1.0", "/index.html", PAYLOAD);
    world_channel_set(world, "hello@1.0");
    /* Every connection dies after half of the file: only resuming gets to its end. */
    world_wait_serving(world, "1.0", 60000);
    world_wait_healthy(world, 1, 10000);
    assert_true(proxy_accepted(proxy) >= 3);
    world_check_disks(world);
    world_free(world);
    proxy_free(proxy);
}

static bool wants_space(void *arg)
{
    json_t *device = world_json(arg, (const char *[]){"device", "show", "lab/d0", NULL});
    bool found = false;
    size_t i;
    json_t *event;
    json_array_foreach(json_object_get(device, "events"), i, event)
    {
        const char *code = json_string_value(json_object_get(event, "code"));
        found = found || (code && strcmp(code, "no_space") == 0);
    }
    json_decref(device);
    return found;
}

static void mount_small(const char *path, const char *options)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        support_die(errno, "mkdir %s", path);
    if (mount("tmpfs", path, "tmpfs", 0, options) != 0)
        support_die(errno, "mount %s", path);
}

static void test_bad_luck__a_full_disk_keeps_the_old_release_until_there_is_space(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip(); /* mounting a small disk needs root */
    struct world *world = world_new(1);
    char disk[PATH_MAX];
    (void)snprintf(disk, sizeof disk, "%s/data", world->agents[0].dir);
    mount_small(disk, "size=6m");
    world_agents_start(world);
    world_release(world, "1.0", "/index.html");
    world_channel_set(world, "hello@1.0");
    world_wait_serving(world, "1.0", 20000);
    world_release_with(world, "1.1", "/index.html", PAYLOAD);
    world_channel_set(world, "hello@1.1");
    assert_true(wait_until(wants_space, world, 30000));
    assert_true(world_serves(world, 0, "1.0"));
    world_check_disks(world);
    if (mount("tmpfs", disk, "tmpfs", MS_REMOUNT, "size=64m") != 0)
        support_die(errno, "remount");
    world_wait_serving(world, "1.1", 60000);
    world_wait_healthy(world, 1, 10000);
    world_check_disks(world);
    proc_signal(world->agents[0].proc, 15);
    assert_true(proc_wait(world->agents[0].proc, 15000, NULL));
    if (umount2(disk, MNT_DETACH) != 0)
        support_die(errno, "umount");
    world_free(world);
}

static void test_bad_luck__a_frozen_bus_stops_nothing_that_runs(void **state)
{
    (void)state;
    struct world *world = world_new(2);
    world_agents_start(world);
    world_release(world, "1.0", "/index.html");
    world_release(world, "1.1", "/index.html");
    world_channel_set(world, "hello@1.0");
    world_wait_serving(world, "1.0", 20000);
    nats_server_freeze(world->nats);
    for (unsigned i = 0; i < 2; i++)
        assert_true(world_serves(world, i, "1.0"));
    nats_server_thaw(world->nats);
    world_channel_set(world, "hello@1.1");
    world_wait_serving(world, "1.1", 60000);
    world_wait_healthy(world, 2, 20000);
    (void)world_check_events(world);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_luck__a_store_cut_at_half_is_resumed),
        cmocka_unit_test(test_bad_luck__a_full_disk_keeps_the_old_release_until_there_is_space),
        cmocka_unit_test(test_bad_luck__a_frozen_bus_stops_nothing_that_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
