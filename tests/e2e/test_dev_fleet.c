/* SPDX-License-Identifier: Apache-2.0
 *
 * captain dev with releases that the device has confirmed: the gates see what comes after.
 */
#include <jansson.h>
#include <string.h>

#include "tests/e2e/dev_run.h"

/* It proves by itself that the end is the scenario's and that nobody but the canary had the release. */
static void show(struct run *run, const char *scenario, const char *gate)
{
    json_error_t why;
    start(run,
          (const char *[]){"--check", "--json", "--agents", "2", "--scenario", scenario, NULL});
    assert_int_equal(finish(run, DEV_MS), 0);
    char *out = tempdir_read(run->out, NULL);
    json_t *json = json_loads(out, 0, &why);
    json_t *bad = json_object_get(json, "bad");
    assert_string_equal(json_string_value(json_object_get(bad, "scenario")), scenario);
    assert_string_equal(json_string_value(json_object_get(bad, "state")), "aborted");
    if (gate)
        assert_string_equal(json_string_value(json_object_get(bad, "gate")), gate);
    assert_int_equal(json_integer_value(json_object_get(bad, "exposed")), 1);
    json_decref(json);
    free(out);
}

static void test_dev_fleet__a_release_that_is_unhealthy_later(void **state)
{
    show(*state, "unhealthy", NULL);
}

static void test_dev_fleet__a_release_that_crashes_later(void **state)
{
    show(*state, "crashes", NULL);
}

static void test_dev_fleet__a_release_that_hangs_later(void **state)
{
    show(*state, "hangs", NULL);
}

static void test_dev_fleet__a_release_that_grows(void **state)
{
    show(*state, "grows", "metric");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_dev_fleet__a_release_that_is_unhealthy_later, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_dev_fleet__a_release_that_crashes_later, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_dev_fleet__a_release_that_hangs_later, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_dev_fleet__a_release_that_grows, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
