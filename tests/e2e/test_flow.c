/* SPDX-License-Identifier: Apache-2.0
 *
 * The slice through everything, as an operator walks it: releases, channel, devices, log, status,
 * export.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bus.h"
#include "tests/e2e/world.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

enum { AGENTS = 3 };

static struct world *world;

static int setup(void **state)
{
    (void)state;
    world = world_new(AGENTS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_free(world);
    return 0;
}

static const char *text(json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : "";
}

static void expect_refused(const char *const *args, int code, const char *words)
{
    char *err = NULL;
    int got = world_cli(world, args, NULL, &err);
    if (got != code || !strstr(err, words))
        fail_msg("%s %s: exit %d, not %d with \"%s\": %s", args[0], args[1], got, code, words, err);
    free(err);
}

static void test_flow__a_fleet_is_installed_and_upgraded(void **state)
{
    (void)state;
    world_agents_start(world);
    world_release(world, "1.0", "/index.html");
    world_channel_set(world, "hello@1.0");
    world_wait_serving(world, "1.0", 20000);
    world_wait_healthy(world, AGENTS, 10000);
    world_release(world, "1.1", "/index.html");
    world_channel_set(world, "hello@1.1");
    world_wait_serving(world, "1.1", 20000);
    world_wait_healthy(world, AGENTS, 10000);
    world_check_disks(world);
    assert_int_equal(world_events(world, 0, "confirmed"), 2);
}

static void test_flow__history_says_who_moved_the_channel(void **state)
{
    (void)state;
    json_t *history =
        world_json(world, (const char *[]){"channel", "history", "hello/stable", NULL});
    json_t *changes = json_object_get(history, "changes");
    assert_int_equal(json_array_size(changes), 2);
    json_t *newest = json_array_get(changes, 0);
    assert_string_equal(text(newest, "release"), "hello@1.1");
    assert_string_equal(text(newest, "previous"), "hello@1.0");
    assert_string_equal(text(newest, "actor"), "operator:tester");
    json_decref(history);
}

static void test_flow__every_decision_is_in_the_chain(void **state)
{
    (void)state;
    json_t *log = world_json(world, (const char *[]){"log", "ls", NULL});
    json_t *entries = json_object_get(log, "entries");
    /* captain.started, root.created, two releases, two moves of the channel */
    assert_int_equal(json_array_size(entries), 6);
    for (size_t i = 0; i + 1 < json_array_size(entries); i++)
        assert_string_equal(text(json_array_get(entries, i), "previous"),
                            text(json_array_get(entries, i + 1), "hash"));
    json_decref(log);
}

static void test_flow__a_release_is_traced_to_commit_and_devices(void **state)
{
    (void)state;
    json_t *release = world_json(world, (const char *[]){"release", "show", "hello@1.1", NULL});
    assert_string_equal(text(release, "devices"), "3");
    assert_string_equal(text(json_array_get(json_object_get(release, "sources"), 0), "commit"),
                        "0000000000000000000000000000000000000007");
    assert_string_equal(json_string_value(json_array_get(json_object_get(release, "channels"), 0)),
                        "hello/stable");
    json_decref(release);
}

static void test_flow__status_counts_without_scanning(void **state)
{
    (void)state;
    json_t *status = world_json(world, (const char *[]){"status", NULL});
    assert_string_equal(text(status, "devices"), "3");
    assert_string_equal(text(status, "online"), "3");
    json_decref(status);
}

static bool all_rolled_back(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < AGENTS; i++) {
        if (world_events(world, i, "rolled_back") != 1)
            return false;
    }
    return true;
}

static void test_flow__an_unhealthy_release_goes_back_by_itself(void **state)
{
    (void)state;
    world_release(world, "1.2", "/missing.html");
    world_channel_set(world, "hello@1.2");
    assert_true(wait_until(all_rolled_back, NULL, 60000));
    world_wait_serving(world, "1.1", 10000);
    world_check_disks(world);
    world_channel_set(world, "hello@1.1");
    world_wait_healthy(world, AGENTS, 20000);
}

static void test_flow__wrong_words_are_refused_with_a_hint(void **state)
{
    (void)state;
    expect_refused((const char *[]){"channel", "set", "hello/stable", "hello@9.9", NULL}, 3, "1.1");
    expect_refused((const char *[]){"channel", "set", "hello/stable", "other@1.0", NULL}, 2,
                   "no release of app hello");
    expect_refused((const char *[]){"chanel", "ls", NULL}, 2, "channel");
    expect_refused((const char *[]){"release", "show", "hello@9.9", NULL}, 3, "hello@9.9");
    expect_refused((const char *[]){"device", "show", "lab/nobody", NULL}, 3, "nobody");
}

static void test_flow__a_version_is_never_replaced(void **state)
{
    (void)state;
    char yaml[PATH_MAX], page[PATH_MAX], key[PATH_MAX];
    (void)snprintf(yaml, sizeof yaml, "%s/hello-1.1/release.yaml", world->dir);
    (void)snprintf(page, sizeof page, "%s/hello-1.1/www/index.html", world->dir);
    (void)snprintf(key, sizeof key, "%s/keys/release.key", world->captain_dir);
    tempdir_write(page, "other\n", 6);
    expect_refused((const char *[]){"release", "create", "-f", yaml, "--key", key, NULL}, 5,
                   "hello@1.1");
    for (unsigned i = 0; i < AGENTS; i++)
        assert_true(world_serves(world, i, "1.1"));
}

static void test_flow__an_export_is_taken_in_by_another_captain(void **state)
{
    (void)state;
    char bundle[PATH_MAX];
    (void)snprintf(bundle, sizeof bundle, "%s/bundle", world->dir);
    const char *export[] = {"release", "export", "hello@1.1", "--output", bundle, NULL};
    assert_int_equal(world_cli(world, export, NULL, NULL), 0);
    /* The same captain takes it as what it has already. */
    const char *import[] = {"release", "create", "--bundle", bundle, NULL};
    assert_int_equal(world_cli(world, import, NULL, NULL), 0);
}

static void test_flow__a_second_captain_is_refused_with_the_holder_named(void **state)
{
    (void)state;
    char other[PATH_MAX], holder[64];
    (void)snprintf(other, sizeof other, "%s/other", world->dir);
    (void)snprintf(holder, sizeof holder, ":%d", (int)proc_pid(world->captain));
    expect_refused((const char *[]){"serve", "--data", world->captain_dir, NULL}, 5, holder);
    expect_refused((const char *[]){"serve", "--data", other, NULL}, 5, holder);
}

static bool connected(void *arg)
{
    return bus_connected(arg);
}

static void publish_garbage(unsigned count)
{
    struct loop *loop = NULL;
    struct bus *bus = NULL;
    struct err err;
    struct bus_options options = {.url = nats_server_url(world->nats), .name = "garbage"};
    assert_int_equal(loop_open(&loop, &err), ERR_OK);
    assert_int_equal(bus_open(loop, &options, &bus, &err), ERR_OK);
    assert_int_equal(bus_start(bus, &err), ERR_OK);
    assert_true(wait_turning(loop, connected, bus, 10000));
    for (unsigned i = 0; i < count; i++) {
        const uint8_t junk[] = {0xff, 0x01, (uint8_t)i, 0xff, 0xff};
        assert_int_equal(
            bus_publish(bus, "health.lab.d0", bytes_of(junk, sizeof junk), NULL, NULL, &err),
            ERR_OK);
    }
    bus_close(bus, 5000);
    loop_close(loop);
}

static bool garbage_counted(void *arg)
{
    json_t *device = world_json(world, (const char *[]){"device", "show", "lab/d0", NULL});
    bool counted = strcmp(text(device, "garbage"), arg) == 0;
    json_decref(device);
    return counted;
}

static void test_flow__garbage_of_a_device_is_counted_and_harms_nothing(void **state)
{
    (void)state;
    publish_garbage(20);
    assert_true(wait_until(garbage_counted, (void *)(uintptr_t) "20", 10000));
    world_wait_healthy(world, AGENTS, 10000);
}

static void test_flow__no_event_is_lost_or_doubled(void **state)
{
    (void)state;
    assert_true(world_check_events(world) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flow__a_fleet_is_installed_and_upgraded),
        cmocka_unit_test(test_flow__history_says_who_moved_the_channel),
        cmocka_unit_test(test_flow__every_decision_is_in_the_chain),
        cmocka_unit_test(test_flow__a_release_is_traced_to_commit_and_devices),
        cmocka_unit_test(test_flow__status_counts_without_scanning),
        cmocka_unit_test(test_flow__an_unhealthy_release_goes_back_by_itself),
        cmocka_unit_test(test_flow__wrong_words_are_refused_with_a_hint),
        cmocka_unit_test(test_flow__a_version_is_never_replaced),
        cmocka_unit_test(test_flow__an_export_is_taken_in_by_another_captain),
        cmocka_unit_test(test_flow__a_second_captain_is_refused_with_the_holder_named),
        cmocka_unit_test(test_flow__garbage_of_a_device_is_counted_and_harms_nothing),
        cmocka_unit_test(test_flow__no_event_is_lost_or_doubled),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
