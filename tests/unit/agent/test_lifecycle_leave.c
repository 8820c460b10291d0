/* SPDX-License-Identifier: Apache-2.0
 *
 * Rules 10 to 12 of lifecycle.h as stories: leave to change, the dead-man timer, space.
 */
#include "tests/unit/agent/lifecycle_world.h"

static void test_lifecycle__rule_10_waits_for_a_lease(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    w.lease = true;
    want(&w, 2);
    run(&w, 1000);
    expect(&w, "serving -> fetching\n"
               "fetching -> asking, reports 2 fetched\n");
    assert_int_equal(w.running, 1); /* all the time */
    assert_in_range(w.asks, 10, 11);
    w.gives = true;
    run(&w, 3 * CONFIRM_MS);
    expect(&w, "asking -> stopping (rule 10)\n"
               "stopping -> switching (rule 2)\n"
               "switching -> starting\n"
               "starting -> confirming, reports 2 activated\n"
               "confirming -> serving (rule 6), reports 2 confirmed\n");
    assert_int_equal(w.returns, 0);
}

static void test_lifecycle__rule_10_a_lock_comes_before_the_lease(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    w.lease = w.gives = w.locked = true;
    want(&w, 2);
    run(&w, 1000);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_ASKING);
    assert_int_equal(w.asks, 0);
    w.locked = false;
    run(&w, 3 * CONFIRM_MS);
    assert_int_equal(w.running, 2);
    assert_int_equal(w.asks, 1);
}

static void test_lifecycle__rule_10_a_hook_that_says_not_now_gives_the_lease_back(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    w.lease = w.gives = true;
    w.hook = LIFECYCLE_HOOK_UNASKED;
    w.hook_says = LIFECYCLE_HOOK_NOT_NOW;
    want(&w, 2);
    run(&w, 1000);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_ASKING);
    assert_int_equal(w.running, 1);
    assert_int_equal(w.asks, 1);
    assert_int_equal(w.returns, 1);
    w.hook = LIFECYCLE_HOOK_UNASKED; /* its time has come */
    w.hook_says = LIFECYCLE_HOOK_PASSED;
    run(&w, 3 * CONFIRM_MS);
    assert_int_equal(w.running, 2);
    assert_int_equal(w.hooks, 2);
    assert_int_equal(w.asks, 2);
}

static void test_lifecycle__rule_10_a_lease_is_given_back_when_another_wish_comes(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    w.lease = w.gives = true;
    want(&w, 2);
    run_to(&w, LIFECYCLE_STOPPING);
    want(&w, 1);
    run(&w, 1000);
    assert_int_equal(w.returns, 1);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_SERVING);
    assert_int_equal(w.running, 1);
}

static void test_lifecycle__rule_10_a_refused_release_is_tried_again_by_a_lease(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    w.lease = w.gives = true;
    w.kinds[2].sick = true;
    want(&w, 2);
    run_to(&w, LIFECYCLE_CONFIRMING);
    w.gives = false;
    run(&w, 10 * (CONFIRM_MS + GRACE_MS));
    assert_int_equal(w.lifecycle.state, LIFECYCLE_REFUSED);
    assert_int_equal(w.running, 1);
    unsigned attempts = w.attempts;
    w.kinds[2].sick = false;
    run(&w, 10 * CONFIRM_MS);
    assert_int_equal(w.attempts, attempts); /* boxed */
    w.gives = true;
    run(&w, 10 * CONFIRM_MS);
    assert_int_equal(w.attempts, attempts + 1);
    assert_int_equal(w.running, 2);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_SERVING);
}

static void test_lifecycle__rule_11_tells_what_the_dead_man_timer_did(void **unused)
{
    (void)unused;
    static const enum lifecycle_state states[] = {LIFECYCLE_SWITCHING, LIFECYCLE_STARTING,
                                                  LIFECYCLE_CONFIRMING};
    for (size_t i = 0; i < 3; i++) {
        struct world w;
        world_init(&w);
        install(&w, 1);
        w.kinds[2].sick = true;
        want(&w, 2);
        run_to(&w, states[i]);
        fire_deadman(&w);
        crash(&w, false);
        w.transcript[0] = '\0';
        run(&w, 1000);
        const char *told = strstr(w.transcript, " -> retreating (rule 11)\n"
                                                "retreating -> restoring (rule 6)\n"
                                                "restoring -> refused (rule 6), reports 2 rolled "
                                                "back unhealthy\n");
        assert_non_null(told);
        assert_int_equal(w.running, 1);
    }
}

static void test_lifecycle__rule_12_no_space_is_not_tried_before_space_has_grown(void **unused)
{
    (void)unused;
    struct world w;
    world_init(&w);
    install(&w, 1);
    w.disk_full = true;
    want(&w, 2);
    run(&w, 20 * LIFECYCLE_SPACE_LOOK_MS);
    assert_int_equal(w.lifecycle.state, LIFECYCLE_WAITING);
    assert_int_equal(w.running, 1);
    assert_int_equal(w.lifecycle.failures, 1); /* the first try, and no other */
    w.disk_full = false;
    run(&w, LIFECYCLE_SPACE_LOOK_MS + 3 * CONFIRM_MS);
    assert_int_equal(w.running, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lifecycle__rule_10_waits_for_a_lease),
        cmocka_unit_test(test_lifecycle__rule_10_a_lock_comes_before_the_lease),
        cmocka_unit_test(test_lifecycle__rule_10_a_hook_that_says_not_now_gives_the_lease_back),
        cmocka_unit_test(test_lifecycle__rule_10_a_lease_is_given_back_when_another_wish_comes),
        cmocka_unit_test(test_lifecycle__rule_10_a_refused_release_is_tried_again_by_a_lease),
        cmocka_unit_test(test_lifecycle__rule_11_tells_what_the_dead_man_timer_did),
        cmocka_unit_test(test_lifecycle__rule_12_no_space_is_not_tried_before_space_has_grown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
