/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/core/asking.h"

static const struct asking_rule plain = {0};
static const struct asking_rule alone = {.without_captain = true, .lease_wait_ms = 60000};

static struct rng rng;
static struct asking asking;

static int setup(void **state)
{
    (void)state;
    rng_seed(&rng, 7);
    asking = (struct asking){.silent_ms = -1};
    asking_begin(&asking, 1, 1000);
    return 0;
}

static void answer(bool granted, uint32_t lease_ms, uint32_t retry_ms, int64_t now_ms)
{
    struct asking_answer said = {.granted = granted, .lease_ms = lease_ms, .retry_ms = retry_ms};
    asking_answered(&asking, &said, &plain, now_ms, &rng);
}

static void test_asking__asks_at_once_and_one_at_a_time(void **unused)
{
    (void)unused;
    assert_true(asking_again_ms(&asking, &plain) <= 1000);
    assert_false(asking_granted(&asking, &plain, 1000));
    asking_sent(&asking, 1000);
    assert_true(asking_again_ms(&asking, &plain) == INT64_MAX);
}

static void test_asking__a_lease_ends_counted_from_the_ask(void **unused)
{
    (void)unused;
    asking_sent(&asking, 1000);
    answer(true, 500, 0, 1400);
    assert_true(asking_granted(&asking, &plain, 1499));
    assert_false(asking_lapsed(&asking, 1499));
    assert_false(asking_granted(&asking, &plain, 1500));
    assert_true(asking_lapsed(&asking, 1500));
}

static void test_asking__captains_time_is_kept_give_or_take(void **unused)
{
    (void)unused;
    int64_t earliest_ms = INT64_MAX, latest_ms = 0;
    for (int i = 0; i < 1000; i++) {
        asking_sent(&asking, 1000);
        answer(false, 0, 10000, 2000);
        int64_t at_ms = asking_again_ms(&asking, &plain);
        assert_in_range(at_ms, 12000, 14000);
        earliest_ms = at_ms < earliest_ms ? at_ms : earliest_ms;
        latest_ms = at_ms > latest_ms ? at_ms : latest_ms;
    }
    assert_true(latest_ms - earliest_ms > 1500); /* a fleet does not come back at once */
}

static void test_asking__without_a_time_it_backs_off(void **unused)
{
    (void)unused;
    int64_t now_ms = 1000, longest_ms = 0;
    for (int i = 0; i < 200; i++) {
        asking_sent(&asking, now_ms);
        answer(false, 0, 0, now_ms);
        int64_t wait_ms = asking_again_ms(&asking, &plain) - now_ms;
        assert_in_range(wait_ms, 500, 30000);
        longest_ms = wait_ms > longest_ms ? wait_ms : longest_ms;
        now_ms += wait_ms;
    }
    assert_true(longest_ms > 20000);
}

static void test_asking__silence_means_wait(void **unused)
{
    (void)unused;
    int64_t now_ms = 1000;
    for (int i = 0; i < 100; i++) {
        asking_sent(&asking, now_ms);
        asking_unheard(&asking, &plain, now_ms + 5000, &rng);
        now_ms = asking_again_ms(&asking, &plain);
        assert_false(asking_granted(&asking, &plain, now_ms));
    }
}

static void test_asking__silence_for_long_enough_is_leave_where_the_channel_says_so(void **unused)
{
    (void)unused;
    assert_false(asking_granted(&asking, &alone, 100000)); /* it has not even asked */
    asking_sent(&asking, 1000);
    asking_unheard(&asking, &alone, 6000, &rng);
    assert_false(asking_granted(&asking, &alone, 60999));
    assert_true(asking_again_ms(&asking, &alone) <= 61000);
    assert_true(asking_granted(&asking, &alone, 61000));
    /* A word of captain's, whatever it is, ends the silence. */
    asking_sent(&asking, 50000);
    answer(false, 0, 1000, 50100);
    assert_false(asking_granted(&asking, &alone, 200000));
    asking_sent(&asking, 60000);
    asking_unheard(&asking, &alone, 65000, &rng);
    assert_false(asking_granted(&asking, &alone, 119999)); /* counted from the ask that was lost */
    assert_true(asking_granted(&asking, &alone, 120000));
}

static void test_asking__another_attempt_remembers_the_silence_and_nothing_else(void **unused)
{
    (void)unused;
    asking_sent(&asking, 1000);
    asking_unheard(&asking, &alone, 6000, &rng);
    asking_begin(&asking, 2, 30000);
    assert_int_equal(asking.number, 2);
    assert_true(asking_again_ms(&asking, &alone) <= 30000);
    asking_sent(&asking, 30000);
    asking_unheard(&asking, &alone, 35000, &rng);
    assert_true(asking_granted(&asking, &alone, 61000));
}

#define TEST(name) cmocka_unit_test_setup(test_asking__##name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(asks_at_once_and_one_at_a_time),
        TEST(a_lease_ends_counted_from_the_ask),
        TEST(captains_time_is_kept_give_or_take),
        TEST(without_a_time_it_backs_off),
        TEST(silence_means_wait),
        TEST(silence_for_long_enough_is_leave_where_the_channel_says_so),
        TEST(another_attempt_remembers_the_silence_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
