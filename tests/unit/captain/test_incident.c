/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "captain/core/clone.h"
#include "captain/core/incident.h"
#include "common/base/mem.h"

#define MINUTE INT64_C(60000)
#define HOUR (60 * MINUTE)
#define START INT64_C(1800000000000)

static bool may(struct incident_limit *limit, const char *kind, const char *subject, int64_t at_ms,
                uint64_t expected)
{
    uint64_t suppressed = 0;
    const bool yes = incident_may(limit, kind, subject, START + at_ms, &suppressed);
    if (yes)
        assert_int_equal(suppressed, expected);
    return yes;
}

static void test_incident__notes_one_a_minute_and_counts_the_rest(void **state)
{
    (void)state;
    struct incident_limit limit = {0};
    assert_true(may(&limit, "token", "a", 0, 0));
    for (int i = 1; i < 60; i++)
        assert_false(may(&limit, "token", "a", i * 1000, 0));
    assert_true(may(&limit, "token", "a", MINUTE, 59));
    assert_true(may(&limit, "token", "b", MINUTE, 0));
    assert_true(may(&limit, "clone", "a", MINUTE, 0));
}

static void test_incident__pauses_longer_while_it_goes_on(void **state)
{
    (void)state;
    struct incident_limit limit = {0};
    unsigned noted = 0;
    int64_t last = -HOUR;
    for (int64_t at = 0; at < 6 * HOUR; at += 10000) {
        uint64_t suppressed = 0;
        if (!incident_may(&limit, "clone", "a", START + at, &suppressed))
            continue;
        noted++;
        last = at;
    }
    assert_in_range(noted, 10, 14);
    /* Quiet for a while: it is news again. */
    assert_false(may(&limit, "clone", "a", last + 30 * MINUTE, 0));
    uint64_t suppressed = 0;
    assert_true(incident_may(&limit, "clone", "a", START + last + 3 * HOUR, &suppressed));
    assert_true(may(&limit, "clone", "a", last + 3 * HOUR + MINUTE, 0));
}

static void test_incident__bounds_an_hour_whatever_a_stranger_names(void **state)
{
    (void)state;
    struct incident_limit limit = {0};
    unsigned tokens = 0, clones = 0, renewals = 0;
    char subject[32];
    for (int i = 0; i < 3000; i++) {
        uint64_t suppressed = 0;
        (void)snprintf(subject, sizeof subject, "s%d", i);
        tokens += incident_may(&limit, "token", subject, START + i, &suppressed);
    }
    assert_int_equal(tokens, INCIDENT_KIND_HOUR_MAX);
    for (int i = 0; i < 100; i++) {
        uint64_t suppressed = 0;
        (void)snprintf(subject, sizeof subject, "s%d", i);
        clones += incident_may(&limit, "clone", subject, START + 3000 + i, &suppressed);
        renewals += incident_may(&limit, "renewal", subject, START + 3000 + i, &suppressed);
    }
    assert_true(clones > 0 && renewals > 0);
    assert_int_equal(tokens + clones + renewals, INCIDENT_HOUR_MAX);
    assert_true(may(&limit, "token", "new", HOUR, 3000 - INCIDENT_KIND_HOUR_MAX));
}

static void test_incident__goes_on_when_the_clock_is_set_back(void **state)
{
    (void)state;
    struct incident_limit limit = {0};
    assert_true(may(&limit, "token", "a", 0, 0));
    assert_true(may(&limit, "token", "a", -10 * HOUR, 0));
    assert_false(may(&limit, "token", "a", -10 * HOUR + 1000, 0));
}

static void test_incident__says_later_what_could_not_be_noted(void **state)
{
    (void)state;
    struct incident_limit limit = {0};
    assert_true(may(&limit, "token", "a", 0, 0));
    incident_missed(&limit, "token", 1);
    assert_true(may(&limit, "token", "b", 1, 1));
}

static void test_incident__more_kinds_than_there_is_room_for(void **state)
{
    (void)state;
    struct incident_limit limit = {0};
    char kind[32];
    for (int i = 0; i < 2 * INCIDENT_KINDS_MAX; i++) {
        (void)snprintf(kind, sizeof kind, "kind%d", i);
        assert_true(may(&limit, kind, "a", i, 0));
    }
}

/* Clones: which messages, by instance, show one. */
static const struct clone_row {
    const char *name;
    const char *heard; /* instances in order, '0' says none */
    int shown;         /* how many of them show a clone */
} clones[] = {
    {"one agent", "aaaaaaaa", 0},
    {"restarts", "aabbccddee", 0},
    {"old agents that say no instance", "00a0000a", 0},
    {"a late message of the last one", "aabaabbb", 0},
    {"late messages in a row", "aabaaaaabb", 0},
    {"two at a time", "abababab", 1},
    {"two at a time, one often", "aaabaaaabaaaa", 1},
    {"for long", "abababababababab", 3},
    {"a restart between two late messages", "abacbcc", 0},
};

static void test_clone__is_shown_by_an_instance_that_comes_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(clones); i++) {
        struct clone_watch watch = {0};
        int shown = 0;
        for (const char *at = clones[i].heard; *at; at++)
            shown +=
                clone_heard(&watch, *at == '0' ? 0 : UINT64_C(0x9e3779b97f4a7c15) * (uint64_t)*at);
        if (shown != clones[i].shown)
            fail_msg("%s: %d, not %d", clones[i].name, shown, clones[i].shown);
    }
    assert_int_equal(sizeof(struct clone_watch), 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_incident__notes_one_a_minute_and_counts_the_rest),
        cmocka_unit_test(test_incident__pauses_longer_while_it_goes_on),
        cmocka_unit_test(test_incident__bounds_an_hour_whatever_a_stranger_names),
        cmocka_unit_test(test_incident__goes_on_when_the_clock_is_set_back),
        cmocka_unit_test(test_incident__says_later_what_could_not_be_noted),
        cmocka_unit_test(test_incident__more_kinds_than_there_is_room_for),
        cmocka_unit_test(test_clone__is_shown_by_an_instance_that_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
