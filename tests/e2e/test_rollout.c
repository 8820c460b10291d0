/* SPDX-License-Identifier: Apache-2.0
 *
 * Rollouts of a real fleet, as an operator sees them: in waves to the end, back when the canary
 * fails, superseded, aborted, frozen, around a pin.
 */
#include "tests/e2e/fleet.h"

enum { AGENTS = 3 };

/* Off a terminal: a line for each transition, in order. */
static void assert_story(const char *text, const char *const *words)
{
    const char *at = text;
    for (; *words; words++) {
        const char *found = strstr(at, *words);
        if (!found)
            fail_msg("\"%s\" is not told, or not in its place:\n%s", *words, text);
        at = found + strlen(*words);
    }
}

static void test_rollout__goes_out_in_waves_to_every_device(void **state)
{
    (void)state;
    struct world *world = fleet_new(AGENTS);
    char id[FLEET_ID];
    char *out = NULL, *err = NULL;
    fleet_start(world, "hello@1.1", id);
    assert_int_equal(world_cli(world,
                               (const char *[]){"rollout", "watch", id, "--timeout", "60s", NULL},
                               &out, &err),
                     0);
    assert_story(out, (const char *[]){"hello@1.0 -> hello@1.1", "wave canary (1 of 2): 1 device",
                                       "gate coverage waits", "wave canary done",
                                       "wave all (2 of 2): 2 devices",
                                       "succeeded: every device runs hello@1.1", NULL});
    world_wait_serving(world, "1.1", FLEET_MS);
    world_wait_healthy(world, AGENTS, FLEET_MS);
    assert_int_equal(fleet_ran(world, "1.1"), AGENTS);
    fleet_replay(world, id);
    assert_int_equal(world_cli(world, (const char *[]){"rollout", "wait", id, NULL}, NULL, NULL),
                     0);
    world_check_disks(world);
    free(out);
    free(err);
    world_free(world);
}

static bool says_failed(struct world *world, const char *id)
{
    bool found = false;
    size_t i;
    json_t *entry;
    json_t *log = world_json(
        world, (const char *[]){"log", "ls", "--kind", "rollout.verdict", "--limit", "50", NULL});
    json_array_foreach(json_object_get(log, "entries"), i, entry)
    {
        char *text = json_dumps(entry, 0);
        found |= strstr(text, id) != NULL;
        free(text);
    }
    json_decref(log);
    return found;
}

static void test_rollout__goes_back_by_itself_when_the_canary_fails(void **state)
{
    (void)state;
    struct world *world = fleet_new(AGENTS);
    char id[FLEET_ID];
    char *out = NULL, *err = NULL;
    fleet_start(world, "hello@1.2", id);
    assert_int_equal(world_cli(world,
                               (const char *[]){"rollout", "watch", id, "--timeout", "60s", NULL},
                               &out, &err),
                     6);
    assert_story(out, (const char *[]){"wave canary (1 of 2): 1 device", "gate failures has failed",
                                       "aborted: aborted by gate failures", NULL});
    assert_non_null(strstr(err, "ended without success"));
    world_wait_serving(world, "1.0", FLEET_MS);
    world_wait_healthy(world, AGENTS, FLEET_MS);
    assert_int_equal(fleet_ran(world, "1.2"), 1);
    assert_int_equal(fleet_number(world, id, "exposed"), 1);
    assert_true(says_failed(world, id));
    fleet_replay(world, id);
    assert_int_equal(world_cli(world, (const char *[]){"rollout", "wait", id, NULL}, NULL, NULL),
                     6);
    free(out);
    free(err);
    world_free(world);
}

/* A device that would not be held back by the canary's failure is: nothing is left to explain, but
 * while the canary soaks `why` says which gate the others wait for. */
static void test_rollout__why_says_what_a_device_waits_for(void **state)
{
    (void)state;
    struct world *world = fleet_new(AGENTS);
    char id[FLEET_ID];
    fleet_policy(world, "60s", "");
    fleet_start(world, "hello@1.1", id);
    fleet_wait_wave(world, id, 1);
    unsigned waiting = 0;
    for (unsigned i = 0; i < AGENTS; i++) {
        char device[64];
        char *out = NULL;
        (void)snprintf(device, sizeof device, "lab/d%u", i);
        assert_int_equal(world_cli(world, (const char *[]){"why", device, NULL}, &out, NULL), 0);
        waiting += strstr(out, id) != NULL || strstr(out, "wave") != NULL;
        free(out);
    }
    assert_true(waiting >= AGENTS - 1);
    assert_int_equal(fleet_cli(world, (const char *[]){"rollout", "promote", id, "--reason",
                                                       "looks good", NULL}),
                     0);
    fleet_wait_wave(world, id, 2);
    assert_int_equal(fleet_cli(world, (const char *[]){"rollout", "abort", id, NULL}), 0);
    fleet_wait(world, id, "aborted");
    world_wait_serving(world, "1.0", FLEET_MS);
    world_free(world);
}

static void test_rollout__another_one_supersedes_it_in_mid_canary(void **state)
{
    (void)state;
    struct world *world = fleet_new(AGENTS);
    char first[FLEET_ID], second[FLEET_ID];
    fleet_policy(world, "60s", "");
    fleet_start(world, "hello@1.2", first);
    fleet_wait_wave(world, first, 1);
    fleet_policy(world, "1s", "");
    fleet_start(world, "hello@1.1", second);
    fleet_wait(world, first, "superseded");
    fleet_wait(world, second, "succeeded");
    world_wait_serving(world, "1.1", FLEET_MS);
    assert_true(fleet_ran(world, "1.2") <= 1);
    fleet_replay(world, second);
    assert_int_equal(world_cli(world, (const char *[]){"rollout", "wait", first, NULL}, NULL, NULL),
                     6);
    world_free(world);
}

static void test_rollout__an_abort_may_be_said_twice(void **state)
{
    (void)state;
    struct world *world = fleet_new(AGENTS);
    char id[FLEET_ID];
    fleet_policy(world, "60s", "");
    fleet_start(world, "hello@1.1", id);
    fleet_wait_wave(world, id, 1);
    assert_int_equal(fleet_cli(world, (const char *[]){"rollout", "abort", id, NULL}), 0);
    assert_int_equal(fleet_cli(world, (const char *[]){"rollout", "abort", id, NULL}), 0);
    fleet_wait(world, id, "aborted");
    assert_int_equal(fleet_cli(world, (const char *[]){"rollout", "abort", id, NULL}), 0);
    world_wait_serving(world, "1.0", FLEET_MS);
    world_wait_healthy(world, AGENTS, FLEET_MS);
    fleet_replay(world, id);
    world_free(world);
}

static void test_rollout__a_freeze_holds_it_and_a_thaw_lets_it_go(void **state)
{
    (void)state;
    struct world *world = fleet_new(AGENTS);
    char id[FLEET_ID];
    assert_int_equal(fleet_cli(world, (const char *[]){"freeze", "--reason", "holidays", NULL}), 0);
    fleet_start(world, "hello@1.1", id);
    fleet_wait(world, id, "pending");
    assert_int_equal(fleet_number(world, id, "exposed"), 0);
    assert_int_equal(fleet_cli(world, (const char *[]){"thaw", "--reason", "back", NULL}), 0);
    fleet_wait(world, id, "succeeded");
    world_wait_serving(world, "1.1", FLEET_MS);
    world_free(world);
}

struct page {
    struct world *world;
    unsigned agent;
    const char *version;
};

static bool serves(void *arg)
{
    const struct page *page = arg;
    return world_serves(page->world, page->agent, page->version);
}

static void test_rollout__a_pinned_device_stays_until_it_is_unpinned(void **state)
{
    (void)state;
    struct world *world = fleet_new(AGENTS);
    char id[FLEET_ID];
    assert_int_equal(fleet_cli(world, (const char *[]){"device", "pin", "lab/d0", "hello@1.0",
                                                       "--reason", "a test bench", NULL}),
                     0);
    fleet_start(world, "hello@1.1", id);
    fleet_wait(world, id, "succeeded");
    assert_true(wait_until(serves, &(struct page){world, 1, "1.1"}, FLEET_MS));
    assert_true(wait_until(serves, &(struct page){world, 2, "1.1"}, FLEET_MS));
    assert_true(world_serves(world, 0, "1.0"));
    assert_int_equal(fleet_ran(world, "1.1"), 2);
    assert_int_equal(fleet_cli(world, (const char *[]){"device", "unpin", "lab/d0", "hello", NULL}),
                     0);
    assert_true(wait_until(serves, &(struct page){world, 0, "1.1"}, FLEET_MS));
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rollout__goes_out_in_waves_to_every_device),
        cmocka_unit_test(test_rollout__goes_back_by_itself_when_the_canary_fails),
        cmocka_unit_test(test_rollout__why_says_what_a_device_waits_for),
        cmocka_unit_test(test_rollout__another_one_supersedes_it_in_mid_canary),
        cmocka_unit_test(test_rollout__an_abort_may_be_said_twice),
        cmocka_unit_test(test_rollout__a_freeze_holds_it_and_a_thaw_lets_it_go),
        cmocka_unit_test(test_rollout__a_pinned_device_stays_until_it_is_unpinned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
