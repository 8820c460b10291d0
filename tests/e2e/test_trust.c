/* SPDX-License-Identifier: Apache-2.0
 *
 * Trust over time, with a real agent: clocks that are wrong (libfaketime), roots that rotate while it
 * looks and while it is away. The test plays captain and holds all keys (house.h).
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/clock.h"
#include "tests/e2e/house.h"
#include "tests/support/root_doc.h"
#include "tests/support/wait.h"

#define DAY_MS (24 * INT64_C(3600000))

/* ---- clocks ---- */

static const char *find_faketime(struct house *h)
{
    static const char *const places[] = {"/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu",
                                         "/usr/lib64", "/usr/lib"};
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        const char *path = arena_printf(&h->arena, "%s/faketime/libfaketimeMT.so.1", places[i]);
        if (access(path, R_OK) == 0)
            return path;
    }
    fail_msg("libfaketime is missing: apt-get install faketime");
    return NULL;
}

/* Only the agent and what it starts; its timers go on as ever. when: "+3650d", "@1970-01-02 00:00:00". */
static void fake_clock(struct house *h, const char *when)
{
    const char *asan = getenv("ASAN_OPTIONS");
    const char **env = arena_alloc(&h->arena, 6 * sizeof *env);
    env[0] = arena_printf(&h->arena, "LD_PRELOAD=%s:%s", getenv("CAPTAIN_TIMERFD_RAW"),
                          find_faketime(h));
    env[1] = arena_printf(&h->arena, "FAKETIME=%s", when);
    env[2] = "FAKETIME_DONT_FAKE_MONOTONIC=1";
    env[3] = "TZ=UTC";
    env[4] = arena_printf(&h->arena, "ASAN_OPTIONS=%s%sverify_asan_link_order=0", asan ? asan : "",
                          asan && asan[0] ? ":" : "");
    env[5] = NULL;
    h->agent_env = env;
}

static void restart_agent(struct house *h)
{
    house_kill_agent(h);
    house_start_agent(h);
}

struct says {
    struct house *h;
    uint64_t from;
    enum event_kind kind;
    const char *text;
};

static bool has_said(void *arg)
{
    struct says *says = arg;
    for (uint64_t i = says->from; i < says->h->stored; i++) {
        const struct event *event = &says->h->events[i];
        if (event->kind == says->kind && strstr(event->text, says->text))
            return true;
    }
    return false;
}

static void wait_said(struct house *h, uint64_t from, enum event_kind kind, const char *text)
{
    struct says says = {h, from, kind, text};
    if (!wait_turning(h->loop, has_said, &says, LONG_MS)) {
        house_dump(h);
        fail_msg("no event of kind %d says \"%s\"", (int)kind, text);
    }
}

static void expect_never(struct house *h, uint64_t from, enum event_kind kind)
{
    for (uint64_t i = from; i < h->stored; i++)
        if (h->events[i].kind == kind)
            fail_msg("event %" PRIu64 " is of kind %d", h->events[i].seq, (int)kind);
}

/* 1.0 runs and 1.1 is wanted, by an agent with that clock. It must say so, install nothing and go on;
 * then its clock is mended, and nobody has to do more. */
static void wrong_clock(struct house *h, const char *when, enum event_kind kind, const char *text)
{
    (void)house_install(h, &(struct recipe){.version = "1.0"});
    const pid_t service = house_service_pid(h);
    const uint64_t from = h->stored;
    struct released next = house_release(h, &(struct recipe){.version = "1.1"});
    fake_clock(h, when);
    restart_agent(h);
    house_want(h, &next);
    wait_said(h, from, kind, text);
    wait_said(h, from, EVENT_KIND_AGENT_STARTED, "");
    expect_never(h, from, EVENT_KIND_FETCHED);
    expect_never(h, from, EVENT_KIND_ACTIVATED);
    house_wait_page(h, "1.0");
    assert_int_equal(house_service_pid(h), service);
    assert_string_equal(house_status_of(h)->version, "1.0");
    h->agent_env = NULL;
    restart_agent(h);
    house_wait_status(h, APP_STATE_HEALTHY, "1.1");
    house_wait_page(h, "1.1");
}

static void test_trust__clock_at_1970_installs_nothing_and_says_why(void **state)
{
    wrong_clock(*state, "@1970-01-02 00:00:00", EVENT_KIND_FAILED, "clock unsure");
}

static void test_trust__clock_ten_years_ahead_installs_nothing_and_says_why(void **state)
{
    wrong_clock(*state, "+3650d", EVENT_KIND_DESIRED_REJECTED, "the root document expired at");
}

/* ---- roots ---- */

static struct bytes root_of(struct house *h, uint64_t version, int64_t expires_ms,
                            const struct sign_key *signers, size_t signers_len)
{
    const struct root_doc doc = {.tenant = "default",
                                 .version = version,
                                 .expires_ms = expires_ms,
                                 .root = &h->root_key,
                                 .release = &h->release_key,
                                 .desired = &h->desired_key};
    return root_doc_seal(&doc, signers, signers_len, &h->arena);
}

static void publish_root(struct house *h, uint64_t version, struct bytes envelope)
{
    house_store(h, arena_printf(&h->arena, "desired.root.%" PRIu64, version), envelope);
}

/* New keys for every role, signed by the old root key and the new one. */
static void rotate_all(struct house *h, uint64_t version, int64_t expires_ms)
{
    struct sign_key signers[2] = {h->root_key};
    sign_key_new(&h->root_key);
    sign_key_new(&h->release_key);
    sign_key_new(&h->desired_key);
    signers[1] = h->root_key;
    publish_root(h, version, root_of(h, version, expires_ms, signers, 2));
}

static void test_trust__two_months_offline_and_back_without_a_person(void **state)
{
    struct house *h = *state;
    const int64_t now_ms = clock_unix_ms();
    const struct sign_key old_desired = h->desired_key;
    (void)house_install(h, &(struct recipe){.version = "1.0"});
    const uint64_t from = h->stored;
    house_kill_agent(h); /* its services run on; root, desired state and keys run out meanwhile */
    rotate_all(h, 2, now_ms + 20 * DAY_MS);
    rotate_all(h, 3, now_ms + 40 * DAY_MS);
    rotate_all(h, 4, now_ms + 400 * DAY_MS);
    h->ahead_ms = 61 * DAY_MS;
    h->generation = 0; /* the new key counts from 1 */
    struct released next = house_release(h, &(struct recipe){.version = "1.1"});
    house_want(h, &next);
    fake_clock(h, "+61d");
    house_start_agent(h);
    house_wait_status(h, APP_STATE_HEALTHY, "1.1");
    house_wait_page(h, "1.1");
    expect_never(h, from, EVENT_KIND_ROLLED_BACK);
    const uint64_t back = h->stored;
    house_publish_signed(h, &next, &old_desired, 99);
    wait_said(h, back, EVENT_KIND_DESIRED_REJECTED, "none of the 1 signatures");
}

static void test_trust__what_runs_is_not_lost_when_its_keys_are_rotated_away(void **state)
{
    struct house *h = *state;
    (void)house_install(h, &(struct recipe){.version = "1.0"});
    const pid_t service = house_service_pid(h);
    rotate_all(h, 2, clock_unix_ms() + DAY_MS);
    restart_agent(h);
    h->generation = 0;
    struct released next = house_release(h, &(struct recipe){.version = "1.1"});
    house_wait_page(h, "1.0");
    assert_int_equal(house_service_pid(h), service);
    house_want(h, &next);
    house_wait_status(h, APP_STATE_HEALTHY, "1.1");
    const uint64_t from = h->stored;
    assert_int_equal(unlink(house_path_in(h, "root.dsse")), 0); /* only the way in */
    restart_agent(h);
    house_wait_event(h, EVENT_KIND_AGENT_STARTED, from);
    house_wait_page(h, "1.1");
}

static void test_trust__what_was_refused_is_taken_under_the_next_root(void **state)
{
    struct house *h = *state;
    const struct sign_key old_release = h->release_key;
    (void)house_install(h, &(struct recipe){.version = "1.0"});
    uint64_t from = h->stored;
    sign_key_new(&h->release_key);
    struct released next = house_release(h, &(struct recipe){.version = "1.1"});
    house_want(h, &next);
    house_wait_event(h, EVENT_KIND_FAILED, from);
    assert_int_equal(h->events[h->stored - 1].code, ERR_BAD_SIGNATURE);
    publish_root(h, 2, root_of(h, 2, clock_unix_ms() + DAY_MS, &h->root_key, 1));
    house_wait_status(h, APP_STATE_HEALTHY, "1.1");
    from = h->stored;
    h->release_key = old_release;
    struct released stolen = house_release(h, &(struct recipe){.version = "6.6"});
    house_want(h, &stolen);
    house_wait_event(h, EVENT_KIND_FAILED, from);
    house_wait_page(h, "1.1");
}

static void test_trust__a_forged_root_is_told_and_the_right_one_taken(void **state)
{
    struct house *h = *state;
    (void)house_install(h, &(struct recipe){.version = "1.0"});
    const uint64_t from = h->stored;
    publish_root(h, 2, root_of(h, 2, clock_unix_ms() + DAY_MS, &h->foreign_key, 1));
    wait_said(h, from, EVENT_KIND_DESIRED_REJECTED,
              "root document: for the keys of root version 1");
    struct sign_key root_key = h->root_key;
    struct bytes two = root_of(h, 2, clock_unix_ms() + DAY_MS, &root_key, 1);
    sign_key_new(&h->release_key);
    struct bytes three = root_of(h, 3, clock_unix_ms() + DAY_MS, &root_key, 1);
    publish_root(h, 3, three); /* first: the one before it is not there yet */
    publish_root(h, 2, two);
    struct released next = house_release(h, &(struct recipe){.version = "1.1"});
    house_want(h, &next);
    house_wait_status(h, APP_STATE_HEALTHY, "1.1");
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_trust__##name, house_setup, house_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(clock_at_1970_installs_nothing_and_says_why),
        TEST(clock_ten_years_ahead_installs_nothing_and_says_why),
        TEST(two_months_offline_and_back_without_a_person),
        TEST(what_runs_is_not_lost_when_its_keys_are_rotated_away),
        TEST(what_was_refused_is_taken_under_the_next_root),
        TEST(a_forged_root_is_told_and_the_right_one_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
