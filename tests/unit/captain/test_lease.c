/* SPDX-License-Identifier: Apache-2.0
 *
 * Caps and windows, one ask at a time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "captain/core/lease.h"
#include "common/base/mem.h"

struct desk {
    struct policy policy;
    struct lease_site sites[2];
    uint32_t groups[2];
    struct lease_book book;
    struct lease_ask ask;
    int64_t retry_ms;
};

static void set_up(struct desk *desk)
{
    memset(desk, 0, sizeof *desk);
    policy_default(&desk->policy);
    desk->policy.admission.max_unavailable_per_site_percent = 100;
    desk->sites[0].devices = desk->sites[1].devices = 100;
    desk->book.sites = desk->sites;
    desk->book.sites_len = 2;
    desk->book.group_in_flight = desk->groups;
    desk->book.groups_len = 2;
    desk->ask.now_ms = 1000;
}

static enum lease_answer ask(struct desk *desk)
{
    return lease_admit(&desk->book, &desk->policy, &desk->ask, &desk->retry_ms);
}

/* Takes leases until one is refused. */
static uint32_t fill(struct desk *desk, enum lease_answer *ret_refusal)
{
    uint32_t granted = 0;
    while ((*ret_refusal = ask(desk)) == LEASE_GRANTED && granted < 1000) {
        lease_take(&desk->book, desk->ask.site, desk->ask.group);
        granted++;
    }
    return granted;
}

static void test_lease__a_quarter_of_eight_is_two(void **state)
{
    (void)state;
    struct desk desk;
    enum lease_answer refusal;
    set_up(&desk);
    desk.policy.admission.max_unavailable_per_site_percent = 25;
    desk.sites[0].devices = 8;
    assert_int_equal(fill(&desk, &refusal), 2);
    assert_int_equal(refusal, LEASE_CAP_SITE_PERCENT);
    lease_return(&desk.book, 0, 0);
    assert_int_equal(fill(&desk, &refusal), 1);
}

static void test_lease__a_quarter_of_three_is_none_or_one_if_allowed(void **state)
{
    (void)state;
    struct desk desk;
    enum lease_answer refusal;
    set_up(&desk);
    desk.policy.admission.max_unavailable_per_site_percent = 25;
    desk.policy.admission.allow_one = false;
    desk.sites[0].devices = 3;
    assert_int_equal(fill(&desk, &refusal), 0);
    desk.policy.admission.allow_one = true;
    assert_int_equal(fill(&desk, &refusal), 1);
    assert_int_equal(refusal, LEASE_CAP_SITE_PERCENT);
}

static void test_lease__caps_of_fleet_site_and_group(void **state)
{
    (void)state;
    struct desk desk;
    enum lease_answer refusal;
    set_up(&desk);
    desk.policy.admission.max_in_flight = 10;
    desk.policy.admission.max_in_flight_per_site = 4;
    assert_int_equal(fill(&desk, &refusal), 4);
    assert_int_equal(refusal, LEASE_CAP_SITE);
    desk.policy.admission.max_in_flight_per_group = 6;
    desk.ask.site = 1;
    assert_int_equal(fill(&desk, &refusal), 2);
    assert_int_equal(refusal, LEASE_CAP_GROUP);
    desk.ask.group = 1;
    desk.policy.admission.max_in_flight_per_site = 0;
    assert_int_equal(fill(&desk, &refusal), 4);
    assert_int_equal(refusal, LEASE_CAP_FLEET);
    assert_int_equal(desk.book.in_flight_max, 10);
}

static void test_lease__the_ramp_grows_with_successes(void **state)
{
    (void)state;
    struct desk desk;
    enum lease_answer refusal;
    set_up(&desk);
    desk.policy.admission.ramp_start = 2;
    desk.policy.admission.ramp_gain = 2;
    assert_int_equal(fill(&desk, &refusal), 2);
    assert_int_equal(refusal, LEASE_CAP_RAMP);
    desk.ask.successes = 3;
    assert_int_equal(fill(&desk, &refusal), 6);
    desk.ask.rollback = true; /* going back does not wait for successes */
    assert_int_equal(ask(&desk), LEASE_GRANTED);
}

static const struct lease_window windows[] = {{5000, 9000}, {20000, 30000}};

static void test_lease__windows_open_and_close(void **state)
{
    (void)state;
    struct desk desk;
    set_up(&desk);
    desk.sites[0].windowed = true;
    desk.sites[0].windows = windows;
    desk.sites[0].windows_len = ARRAY_LEN(windows);
    const struct {
        int64_t now_ms;
        enum lease_answer answer;
        int64_t retry_ms;
    } table[] = {
        {4999, LEASE_WINDOW, 5000},  {5000, LEASE_GRANTED, 0},  {8999, LEASE_GRANTED, 0},
        {9000, LEASE_WINDOW, 20000}, {29999, LEASE_GRANTED, 0}, {30000, LEASE_WINDOW, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        desk.ask.now_ms = table[i].now_ms;
        assert_int_equal(ask(&desk), table[i].answer);
        assert_int_equal(desk.retry_ms, table[i].retry_ms);
    }
    desk.ask.site = 1; /* has no windows */
    assert_int_equal(ask(&desk), LEASE_GRANTED);
}

static void test_lease__stop_offers_ends_before_the_window(void **state)
{
    (void)state;
    struct desk desk;
    set_up(&desk);
    desk.sites[0].windowed = true;
    desk.sites[0].windows = windows;
    desk.sites[0].windows_len = ARRAY_LEN(windows);
    desk.policy.admission.window_end = POLICY_WINDOW_STOP_OFFERS;
    desk.policy.admission.lease_ms = 3000;
    desk.ask.now_ms = 6000;
    assert_int_equal(ask(&desk), LEASE_GRANTED);
    desk.ask.now_ms = 6001;
    assert_int_equal(ask(&desk), LEASE_WINDOW);
    assert_int_equal(desk.retry_ms, 20000);
}

static void test_lease__a_rollback_waits_for_caps_but_not_for_windows(void **state)
{
    (void)state;
    struct desk desk;
    set_up(&desk);
    desk.sites[0].windowed = true;
    desk.ask.rollback = true;
    desk.policy.admission.max_in_flight = 1;
    assert_int_equal(ask(&desk), LEASE_GRANTED);
    lease_take(&desk.book, 0, 0);
    assert_int_equal(ask(&desk), LEASE_CAP_FLEET);
    lease_return(&desk.book, 0, 0);
    desk.policy.admission.rollback_in_windows = true;
    assert_int_equal(ask(&desk), LEASE_WINDOW);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lease__a_quarter_of_eight_is_two),
        cmocka_unit_test(test_lease__a_quarter_of_three_is_none_or_one_if_allowed),
        cmocka_unit_test(test_lease__caps_of_fleet_site_and_group),
        cmocka_unit_test(test_lease__the_ramp_grows_with_successes),
        cmocka_unit_test(test_lease__windows_open_and_close),
        cmocka_unit_test(test_lease__stop_offers_ends_before_the_window),
        cmocka_unit_test(test_lease__a_rollback_waits_for_caps_but_not_for_windows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
