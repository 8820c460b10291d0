/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of an app, told as stories: each test asserts the whole conversation. One test or more for each rule of
 * lifecycle.h, named by its number.
 */
#include "tests/unit/agent/lifecycle_world.h"

static void test_lifecycle__stays_empty_when_nothing_is_desired(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    run(&w, 100000);
    expect(&w, "");
    assert_int_equal(w.lifecycle.state, LIFECYCLE_EMPTY);
}

static void test_lifecycle__installs(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    want(&w, 1);
    run(&w, 10 * CONFIRM_MS);
    expect(&w, "empty -> fetching\n"
               "fetching -> asking, reports 1 fetched\n"
               "asking -> stopping (rule 10)\n"
               "stopping -> switching (rule 2)\n"
               "switching -> starting\n"
               "starting -> confirming, reports 1 activated\n"
               "confirming -> serving (rule 6), reports 1 confirmed\n");
    assert_int_equal(w.running, 1);
    assert_int_equal(w.attempts, 1);
}

static void test_lifecycle__upgrades_and_keeps_the_one_before(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    install(&w, 2);
    install(&w, 3);
    assert_int_equal(w.current, 3);
    assert_true(w.on_disk[2]);
    assert_false(w.on_disk[1]);
}

static void test_lifecycle__rule_1_keeps_running_when_nothing_is_desired(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    want(&w, 0);
    run(&w, 100000);
    expect(&w, "");
    assert_int_equal(w.running, 1);
}

static void test_lifecycle__rule_1_leaves_an_attempt_when_nothing_is_desired(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    w.network_down = true;
    want(&w, 1);
    run(&w, 50);
    want(&w, 0);
    run(&w, 1000);
    expect(&w, "empty -> fetching\n"
               "fetching -> waiting (rule 5), reports 1 fetch failed no_contact\n"
               "waiting -> empty (rule 1)\n");
}

static void test_lifecycle__rule_2_serves_the_old_one_while_fetching_after_a_reboot(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    w.network_down = true;
    want(&w, 2);
    run(&w, 500);
    crash(&w, true);
    assert_int_equal(w.running, 0);
    run(&w, 500);
    assert_int_equal(w.running, 1);
    assert_int_equal(w.current, 1);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_WAITING);
}

static void
test_lifecycle__rule_3_does_not_try_a_failed_release_again_for_the_same_decision(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    w.kinds[2].sick = true;
    want(&w, 2);
    run(&w, 100000);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_REFUSED);
    w.transcript[0] = '\0';
    crash(&w, true); /* nor after a reboot */
    run(&w, 100000);
    expect(&w, "");
    assert_int_equal(w.running, 1);
    assert_int_equal(w.attempts, 2);
}

static void test_lifecycle__rule_3_tries_again_when_it_is_decided_again(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    w.kinds[2].sick = true;
    want(&w, 2);
    run(&w, 100000);
    w.kinds[2].sick = false;
    w.transcript[0] = '\0';
    want(&w, 2);
    run(&w, 100000);
    assert_int_equal(w.running, 2);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_SERVING);
}

static void test_lifecycle__rule_4_refuses_a_downgrade(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    w.kinds[1].data_version = 2;
    install(&w, 1);
    want(&w, 2);
    run(&w, 100000);
    expect(&w, "serving -> fetching\n"
               "fetching -> refused (rule 4), reports 2 refused rollback\n");
    assert_int_equal(w.running, 1);
    assert_int_equal(w.current, 1);
}

static void test_lifecycle__rule_5_retries_a_fetch_until_it_works(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    w.network_down = true;
    want(&w, 1);
    run(&w, 250);
    w.network_down = false;
    run(&w, 10 * CONFIRM_MS);
    expect(&w, "empty -> fetching\n"
               "fetching -> waiting (rule 5), reports 1 fetch failed no_contact\n"
               "waiting -> fetching (rule 5)\n"
               "fetching -> waiting (rule 5)\n"
               "waiting -> fetching (rule 5)\n"
               "fetching -> waiting (rule 5)\n"
               "waiting -> fetching (rule 5)\n"
               "fetching -> asking, reports 1 fetched\n"
               "asking -> stopping (rule 10)\n"
               "stopping -> switching (rule 2)\n"
               "switching -> starting\n"
               "starting -> confirming, reports 1 activated\n"
               "confirming -> serving (rule 6), reports 1 confirmed\n");
    assert_int_equal(w.attempts, 1);
}

static void test_lifecycle__rule_5_refuses_what_no_retry_can_mend(void **unused)
{
    (void)unused;
    static const enum err_code final[] = {ERR_BAD_SIGNATURE, ERR_THRESHOLD, ERR_ROLLBACK,
                                          ERR_WRONG_TARGET,  ERR_REVOKED,   ERR_MALFORMED,
                                          ERR_ROOT_CHAIN};
    for (size_t i = 0; i < sizeof final / sizeof *final; i++) {
        struct world w;
        world_init(&w);
        install(&w, 1);
        w.kinds[2].fetch_error = final[i];
        want(&w, 2);
        run(&w, 100000);
        assert_int_equal(w.lifecycle.state, LIFECYCLE_REFUSED);
        assert_int_equal(w.lifecycle.refused_code, final[i]);
        assert_int_equal(w.running, 1);
    }
}

static void test_lifecycle__rule_5_a_new_start_tries_again_what_was_refused_unseen(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    w.kinds[1].fetch_error = ERR_BAD_SIGNATURE;
    want(&w, 1);
    run(&w, 100000);
    w.kinds[1].fetch_error = ERR_OK; /* the operator mended the trust anchor */
    crash(&w, false);
    run(&w, 10 * CONFIRM_MS);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_SERVING);
    assert_int_equal(w.running, 1);
}

static void test_lifecycle__rule_5_serves_the_old_one_when_the_switch_fails(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    w.disk_full = true;
    want(&w, 2);
    run(&w, 50);
    expect(&w, "serving -> fetching\n"
               "fetching -> asking, reports 2 fetched\n"
               "asking -> stopping (rule 10)\n"
               "stopping -> switching (rule 2)\n"
               "switching -> waiting (rule 5), reports 2 fetch failed no_space\n");
    assert_int_equal(w.running, 1);
    w.disk_full = false;
    run(&w, 10 * CONFIRM_MS);
    assert_int_equal(w.running, 2);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_SERVING);
}

static void test_lifecycle__rule_6_goes_back_when_unhealthy(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    w.kinds[2].sick = true;
    want(&w, 2);
    int64_t before_ms = w.now_ms;
    run(&w, CONFIRM_MS + GRACE_MS);
    expect(&w, "serving -> fetching\n"
               "fetching -> asking, reports 2 fetched\n"
               "asking -> stopping (rule 10)\n"
               "stopping -> switching (rule 2)\n"
               "switching -> starting\n"
               "starting -> confirming, reports 2 activated\n"
               "confirming -> retreating (rule 6)\n"
               "retreating -> restoring (rule 6)\n"
               "restoring -> refused (rule 6), reports 2 rolled back unhealthy\n");
    assert_int_equal(w.now_ms, before_ms + CONFIRM_MS + GRACE_MS);
    assert_int_equal(w.running, 1);
    assert_int_equal(w.current, 1);
}

static void test_lifecycle__rule_6_goes_back_when_a_service_gives_up(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    w.kinds[2].crashing = true;
    want(&w, 2);
    run(&w, 0); /* at once, without waiting for the deadline */
    assert_int_equal(w.lifecycle.state, LIFECYCLE_REFUSED);
    assert_int_equal(w.running, 1);
}

static void test_lifecycle__rule_6_goes_back_when_the_bus_is_lost(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    want(&w, 2);
    run(&w, CONFIRM_MS / 2);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_CONFIRMING);
    w.bus = false;
    w.bus_ms = -1; /* never since the switch */
    run(&w, CONFIRM_MS + GRACE_MS);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_REFUSED);
    assert_int_equal(w.running, 1);
}

static void test_lifecycle__rule_6_health_must_last_without_a_break(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    want(&w, 1);
    run(&w, CONFIRM_MS / 2);
    w.healthy_since_ms = -1;
    run(&w, 100);
    w.healthy_since_ms = w.now_ms;
    run(&w, CONFIRM_MS - 1);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_CONFIRMING);
    run(&w, 1);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_SERVING);
}

static void test_lifecycle__rule_6_goes_back_when_the_machine_dies_of_it(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    want(&w, 2);
    for (int i = 0; i < LIFECYCLE_REBOOTS_MAX; i++) {
        run(&w, CONFIRM_MS / 2);
        assert_int_equal(w.lifecycle.state, LIFECYCLE_CONFIRMING);
        crash(&w, true);
        w.stored = w.lifecycle; /* the shell keeps what a restart changed */
    }
    run(&w, 10 * CONFIRM_MS);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_REFUSED);
    assert_int_equal(w.running, 1);
}

static void test_lifecycle__rule_6_a_killed_agent_does_not_count_as_a_dead_machine(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    want(&w, 2);
    for (int i = 0; i < 3 * LIFECYCLE_REBOOTS_MAX; i++) {
        run(&w, CONFIRM_MS / 2);
        assert_int_equal(w.lifecycle.state, LIFECYCLE_CONFIRMING);
        crash(&w, false);
        w.stored = w.lifecycle;
    }
    run(&w, 10 * CONFIRM_MS);
    assert_int_equal(w.running, 2);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_SERVING);
}

static void test_lifecycle__rule_7_stops_a_first_release_that_fails(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    w.kinds[1].sick = true;
    want(&w, 1);
    run(&w, 100000);
    expect(&w, "empty -> fetching\n"
               "fetching -> asking, reports 1 fetched\n"
               "asking -> stopping (rule 10)\n"
               "stopping -> switching (rule 2)\n"
               "switching -> starting\n"
               "starting -> confirming, reports 1 activated\n"
               "confirming -> retreating (rule 6)\n"
               "retreating -> restoring (rule 6)\n"
               "restoring -> refused (rule 7), reports 1 refused unhealthy\n");
    assert_int_equal(w.running, 0);
    assert_int_equal(w.current, 0);
    install(&w, 2);
}

static void test_lifecycle__rule_8_before_the_switch_at_once(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    w.network_down = true;
    want(&w, 2);
    run(&w, 50);
    w.network_down = false;
    want(&w, 3);
    run(&w, 10 * CONFIRM_MS);
    expect(&w, "serving -> fetching\n"
               "fetching -> waiting (rule 5), reports 2 fetch failed no_contact\n"
               "waiting -> fetching (rule 8)\n"
               "fetching -> asking, reports 3 fetched\n"
               "asking -> stopping (rule 10)\n"
               "stopping -> switching (rule 2)\n"
               "switching -> starting\n"
               "starting -> confirming, reports 3 activated\n"
               "confirming -> serving (rule 6), reports 3 confirmed\n");
    assert_int_equal(w.attempts, 3);
}

static void test_lifecycle__rule_8_back_to_what_runs_before_the_switch(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    want(&w, 2);
    run_to(&w, LIFECYCLE_SWITCHING);
    want(&w, 1);
    w.transcript[0] = '\0';
    run(&w, 10 * CONFIRM_MS);
    expect(&w, "switching -> serving (rule 8)\n");
    assert_int_equal(w.running, 1);
}

static void test_lifecycle__rule_8_after_the_switch_when_it_has_ended(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    want(&w, 2);
    run(&w, CONFIRM_MS / 2);
    w.transcript[0] = '\0';
    want(&w, 3);
    run(&w, CONFIRM_MS / 4);
    expect(&w, "");
    run(&w, 10 * CONFIRM_MS);
    assert_int_equal(w.running, 3);
    assert_int_equal(id_of(&w.lifecycle.previous), 2);
}

static void test_lifecycle__rule_9_fetches_again_what_the_disk_lost(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    crash(&w, true);
    w.on_disk[1] = false;
    w.current = 0; /* a link to nothing is no link */
    run(&w, 10 * CONFIRM_MS);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_SERVING);
    assert_int_equal(w.running, 1);
    assert_int_equal(w.current, 1);
}

static void test_lifecycle__rule_9_fetches_again_a_staged_release_that_is_lost(void **unused)
{
    (void)unused;
    static const enum lifecycle_state states[] = {LIFECYCLE_STOPPING, LIFECYCLE_SWITCHING};
    for (size_t i = 0; i < 2; i++) {
        struct world w;
        world_init(&w);
        install(&w, 1);
        want(&w, 2);
        run_to(&w, states[i]);
        w.on_disk[2] = false;
        w.transcript[0] = '\0';
        run(&w, 10 * CONFIRM_MS);
        assert_non_null(strstr(w.transcript, i == 0 ? "stopping -> fetching (rule 9)"
                                                    : "switching -> fetching (rule 9)"));
        assert_int_equal(w.running, 2);
        assert_int_equal(w.lifecycle.state, LIFECYCLE_SERVING);
    }
}

static void test_lifecycle__rule_2_stops_what_still_runs_before_it_switches(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    want(&w, 2);
    run_to(&w, LIFECYCLE_SWITCHING);
    w.running = 1;
    int64_t deadline_ms;
    assert_true(turn(&w, &deadline_ms));
    assert_int_equal(w.running, 0);
    assert_int_equal(w.current, 1); /* not switched under its feet */
    run(&w, 10 * CONFIRM_MS);
    assert_int_equal(w.running, 2);
}

static void test_lifecycle__repairs_the_link(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    w.current = 0;
    run(&w, 10);
    expect(&w, "");
    assert_int_equal(w.current, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lifecycle__stays_empty_when_nothing_is_desired),
        cmocka_unit_test(test_lifecycle__installs),
        cmocka_unit_test(test_lifecycle__upgrades_and_keeps_the_one_before),
        cmocka_unit_test(test_lifecycle__rule_1_keeps_running_when_nothing_is_desired),
        cmocka_unit_test(test_lifecycle__rule_1_leaves_an_attempt_when_nothing_is_desired),
        cmocka_unit_test(test_lifecycle__rule_2_serves_the_old_one_while_fetching_after_a_reboot),
        cmocka_unit_test(
            test_lifecycle__rule_3_does_not_try_a_failed_release_again_for_the_same_decision),
        cmocka_unit_test(test_lifecycle__rule_3_tries_again_when_it_is_decided_again),
        cmocka_unit_test(test_lifecycle__rule_4_refuses_a_downgrade),
        cmocka_unit_test(test_lifecycle__rule_5_retries_a_fetch_until_it_works),
        cmocka_unit_test(test_lifecycle__rule_5_refuses_what_no_retry_can_mend),
        cmocka_unit_test(test_lifecycle__rule_5_a_new_start_tries_again_what_was_refused_unseen),
        cmocka_unit_test(test_lifecycle__rule_5_serves_the_old_one_when_the_switch_fails),
        cmocka_unit_test(test_lifecycle__rule_6_goes_back_when_unhealthy),
        cmocka_unit_test(test_lifecycle__rule_6_goes_back_when_a_service_gives_up),
        cmocka_unit_test(test_lifecycle__rule_6_goes_back_when_the_bus_is_lost),
        cmocka_unit_test(test_lifecycle__rule_6_health_must_last_without_a_break),
        cmocka_unit_test(test_lifecycle__rule_6_goes_back_when_the_machine_dies_of_it),
        cmocka_unit_test(test_lifecycle__rule_6_a_killed_agent_does_not_count_as_a_dead_machine),
        cmocka_unit_test(test_lifecycle__rule_7_stops_a_first_release_that_fails),
        cmocka_unit_test(test_lifecycle__rule_8_before_the_switch_at_once),
        cmocka_unit_test(test_lifecycle__rule_8_back_to_what_runs_before_the_switch),
        cmocka_unit_test(test_lifecycle__rule_8_after_the_switch_when_it_has_ended),
        cmocka_unit_test(test_lifecycle__rule_9_fetches_again_what_the_disk_lost),
        cmocka_unit_test(test_lifecycle__rule_9_fetches_again_a_staged_release_that_is_lost),
        cmocka_unit_test(test_lifecycle__rule_2_stops_what_still_runs_before_it_switches),
        cmocka_unit_test(test_lifecycle__repairs_the_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
