/* SPDX-License-Identifier: Apache-2.0
 *
 * The device's side of a rollout: leases, the update lock, pre-stop hooks, the baseline, pins and
 * labels. The test plays captain (house.h).
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/clock.h"
#include "tests/e2e/house.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

#define ROLLOUT "01J0000000000000000000000A"
#define OTHER_ROLLOUT "01J0000000000000000000000B"

/* The next desired state is of a rollout with leases, from base. */
static void roll_from(struct house *h, const struct released *base, const char *id)
{
    h->more = (struct desired){.base_digest = bytes_of(base->digest, DIGEST_BYTES),
                               .base_version = base->version,
                               .rollout = id,
                               .lease = true};
}

static void put_state(struct house *h, const char *name, const char *text)
{
    tempdir_write(house_path_in(h, "device/apps/hello/state/%s", name), text, strlen(text));
}

static const struct event *find_event(const struct house *h, enum event_kind kind, uint64_t from)
{
    for (uint64_t i = from; i < h->stored; i++) {
        if (h->events[i].kind == kind)
            return &h->events[i];
    }
    return NULL;
}

static void expect_attempt(const struct event *event, const char *rollout, uint32_t number)
{
    assert_non_null(event);
    assert_string_equal(event->rollout, rollout);
    assert_int_equal(event->attempt_number, number);
}

static void test_agent_rollout__asks_once_and_tells_its_attempt(void **state)
{
    struct house *h = *state;
    struct released base = house_install(h, &(struct recipe){.version = "1.0"});
    uint64_t from = h->stored;
    roll_from(h, &base, ROLLOUT);
    struct released next = house_install(h, &(struct recipe){.version = "1.1"});
    assert_int_equal(h->asks_len, 1);
    assert_string_equal(h->asks[0].rollout, ROLLOUT);
    assert_int_equal(h->asks[0].attempt_number, 1);
    assert_false(h->asks[0].rollback);
    assert_memory_equal(h->asks[0].digest.ptr, next.digest, DIGEST_BYTES);
    expect_attempt(find_event(h, EVENT_KIND_ACTIVATED, from), ROLLOUT, 1);
    expect_attempt(find_event(h, EVENT_KIND_CONFIRMED, from), ROLLOUT, 1);
    assert_string_equal(house_status_of(h)->rollout, ROLLOUT);
    /* And back, by the rule that nobody is the target's. */
    from = h->stored;
    static const struct cohort nobody = {.salt = ROLLOUT};
    h->more.cohort = &nobody;
    house_want(h, &next);
    house_wait_event(h, EVENT_KIND_CONFIRMED, from);
    house_wait_page(h, "1.0");
    assert_int_equal(h->asks_len, 2);
    assert_true(h->asks[1].rollback);
    assert_int_equal(h->asks[1].attempt_number, 2);
    expect_attempt(find_event(h, EVENT_KIND_CONFIRMED, from), ROLLOUT, 2);
}

static void test_agent_rollout__waits_while_denied(void **state)
{
    struct house *h = *state;
    struct released base = house_install(h, &(struct recipe){.version = "1.0"});
    roll_from(h, &base, ROLLOUT);
    h->lease = HOUSE_DENIES;
    struct released next = house_release(h, &(struct recipe){.version = "1.1"});
    uint64_t from = h->stored;
    house_want(h, &next);
    house_wait_asks(h, 3);
    house_wait_waiting(h, "lease cap_site");
    assert_true(house_serves(h, "1.0"));
    assert_non_null(find_event(h, EVENT_KIND_FETCHED, from)); /* it did not wait with that */
    assert_null(find_event(h, EVENT_KIND_ACTIVATED, from));
    assert_int_equal(h->asks[2].attempt_number, 1); /* nothing was granted yet */
    h->lease = HOUSE_GRANTS;
    house_wait_event(h, EVENT_KIND_CONFIRMED, from);
    house_wait_page(h, "1.1");
}

static void test_agent_rollout__waits_for_a_captain_that_is_silent(void **state)
{
    struct house *h = *state;
    struct released base = house_install(h, &(struct recipe){.version = "1.0"});
    roll_from(h, &base, ROLLOUT);
    h->lease = HOUSE_SILENT;
    struct released next = house_release(h, &(struct recipe){.version = "1.1"});
    uint64_t from = h->stored;
    house_want(h, &next);
    house_wait_waiting(h, "captain does not answer");
    house_wait_asks(h, 2);
    assert_true(house_serves(h, "1.0"));
    /* The channel allows it now: the silence has been long enough already. */
    h->more.without_captain = true;
    h->more.lease_wait_ms = 1000;
    house_want(h, &next);
    house_wait_event(h, EVENT_KIND_CONFIRMED, from);
    house_wait_page(h, "1.1");
}

static void test_agent_rollout__a_lease_that_has_ended_is_asked_for_again(void **state)
{
    struct house *h = *state;
    struct released base = house_install(h, &(struct recipe){.version = "1.0"});
    roll_from(h, &base, ROLLOUT);
    h->lease_ms = 0; /* over before it is heard */
    struct released next = house_release(h, &(struct recipe){.version = "1.1"});
    uint64_t from = h->stored;
    house_want(h, &next);
    house_wait_asks(h, 3);
    assert_true(house_serves(h, "1.0"));
    assert_int_equal(h->asks[0].attempt_number, 1);
    assert_int_equal(h->asks[1].attempt_number, 2); /* an attempt has one lease */
    h->lease_ms = 60000;
    house_wait_event(h, EVENT_KIND_CONFIRMED, from);
    const struct event *confirmed = find_event(h, EVENT_KIND_CONFIRMED, from);
    expect_attempt(confirmed, ROLLOUT, h->asks[h->asks_len - 1].attempt_number);
}

static void test_agent_rollout__climbs_over_numbers_that_captain_knows(void **state)
{
    struct house *h = *state;
    struct released base = house_install(h, &(struct recipe){.version = "1.0"});
    roll_from(h, &base, ROLLOUT);
    h->lease = HOUSE_DENIES;
    h->denial = "stale";
    struct released next = house_release(h, &(struct recipe){.version = "1.1"});
    uint64_t from = h->stored;
    house_want(h, &next);
    house_wait_asks(h, 3);
    assert_int_equal(h->asks[2].attempt_number, 3);
    h->lease = HOUSE_GRANTS;
    house_wait_event(h, EVENT_KIND_CONFIRMED, from);
}

static void test_agent_rollout__what_failed_is_tried_again_by_a_lease(void **state)
{
    struct house *h = *state;
    struct released base = house_install(h, &(struct recipe){.version = "1.0"});
    put_state(h, "bad", "1");
    roll_from(h, &base, ROLLOUT);
    struct released next =
        house_release(h, &(struct recipe){.version = "1.1",
                                          .command = "test ! -e \"$CAPTAIN_STATE/bad\" || exit 9"});
    uint64_t from = h->stored;
    house_want(h, &next);
    house_wait_event(h, EVENT_KIND_ACTIVATED, from);
    h->lease = HOUSE_DENIES;
    h->denial = "boxed";
    house_wait_event(h, EVENT_KIND_ROLLED_BACK, from);
    expect_attempt(find_event(h, EVENT_KIND_ROLLED_BACK, from), ROLLOUT, 1);
    house_wait_status(h, APP_STATE_FAILED, "1.0");
    house_wait_waiting(h, "lease boxed");
    /* The next wave is no reason to try again; captain's word is. */
    from = h->stored;
    house_want(h, &next);
    house_wait_asks(h, h->asks_len + 1);
    assert_null(find_event(h, EVENT_KIND_ACTIVATED, from));
    assert_int_equal(unlink(house_path_in(h, "device/apps/hello/state/bad")), 0);
    h->lease = HOUSE_GRANTS;
    house_wait_event(h, EVENT_KIND_CONFIRMED, from);
    expect_attempt(find_event(h, EVENT_KIND_CONFIRMED, from), ROLLOUT, 2);
    house_wait_page(h, "1.1");
}

static void test_agent_rollout__a_rollout_to_what_runs_already_is_told(void **state)
{
    struct house *h = *state;
    struct released base = house_install(h, &(struct recipe){.version = "1.0"});
    roll_from(h, &base, ROLLOUT);
    struct released next = house_install(h, &(struct recipe){.version = "1.1"});
    uint64_t from = h->stored;
    roll_from(h, &base, OTHER_ROLLOUT);
    house_want(h, &next);
    house_wait_event(h, EVENT_KIND_CONFIRMED, from);
    expect_attempt(find_event(h, EVENT_KIND_CONFIRMED, from), OTHER_ROLLOUT, 1);
    assert_int_equal(h->asks_len, 1);
}

static void test_agent_rollout__the_update_lock_is_honoured_and_its_holder_named(void **state)
{
    struct house *h = *state;
    struct released base = house_install(h, &(struct recipe){.version = "1.0"});
    put_state(h, "update.lock", "milling part 7\n");
    roll_from(h, &base, ROLLOUT);
    struct released next = house_release(h, &(struct recipe){.version = "1.1"});
    uint64_t from = h->stored;
    house_want(h, &next);
    house_wait_waiting(h, "update lock held by milling part 7");
    assert_int_equal(h->asks_len, 0); /* a lease would be held in vain */
    assert_true(house_serves(h, "1.0"));
    /* An empty file counts while somebody has it locked. */
    int fd = open(house_path_in(h, "device/apps/hello/state/update.lock"), O_RDWR | O_TRUNC);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    house_wait_waiting(h, "update lock held by a process of the app");
    (void)close(fd);
    house_wait_event(h, EVENT_KIND_CONFIRMED, from);
    house_wait_page(h, "1.1");
}

static void test_agent_rollout__a_hook_says_not_now(void **state)
{
    struct house *h = *state;
    static const char hook[] = "test ! -e \"$CAPTAIN_STATE/busy\" || exit 75";
    struct released base = house_install(h, &(struct recipe){.version = "1.0", .pre_stop = hook});
    put_state(h, "busy", "1");
    roll_from(h, &base, ROLLOUT);
    struct released next = house_release(h, &(struct recipe){.version = "1.1"});
    uint64_t from = h->stored;
    house_want(h, &next);
    house_wait_waiting(h, "pre-stop hook of web says not now");
    house_wait_asks(h, 2);
    assert_false(h->asks[0].returned);
    assert_true(h->asks[1].returned); /* not kept while the app is busy */
    assert_int_equal(h->asks[1].attempt_number, h->asks[0].attempt_number);
    assert_true(house_serves(h, "1.0"));
    assert_int_equal(unlink(house_path_in(h, "device/apps/hello/state/busy")), 0);
    house_wait_event(h, EVENT_KIND_CONFIRMED, from);
    house_wait_page(h, "1.1");
    assert_true(find_event(h, EVENT_KIND_CONFIRMED, from)->attempt_number > 1);
}

static void test_agent_rollout__what_failed_before_does_not_count(void **state)
{
    struct house *h = *state;
    static const char also[] = "test ! -e \"$CAPTAIN_STATE/broken\"";
    (void)house_install(h, &(struct recipe){.version = "1.0", .also = also});
    put_state(h, "broken", "1");
    house_wait_status(h, APP_STATE_UNHEALTHY, "1.0");
    uint64_t from = h->stored;
    struct released next = house_release(h, &(struct recipe){.version = "1.1", .also = also});
    house_want(h, &next);
    house_wait_event(h, EVENT_KIND_CONFIRMED, from);
    house_wait_status(h, APP_STATE_HEALTHY, "1.1");
    assert_non_null(strstr(house_status_of(h)->reason, "as before the update: check also"));
    /* Once it has passed it counts again. */
    from = h->stored;
    assert_int_equal(unlink(house_path_in(h, "device/apps/hello/state/broken")), 0);
    turn_for(h->loop, 1500);
    put_state(h, "broken", "1");
    house_wait_event(h, EVENT_KIND_UNHEALTHY, from);
    house_wait_status(h, APP_STATE_UNHEALTHY, "1.1");
    /* And what works now must work then. */
    struct released worse =
        house_release(h, &(struct recipe){.version = "1.2", .expect = "no", .also = also});
    house_want(h, &worse);
    house_wait_event(h, EVENT_KIND_ROLLED_BACK, from);
}

static void say_of_device(struct house *h, const struct released *pin, const char *tier)
{
    struct pin pins[] = {{.app = "hello"}};
    struct label labels[] = {{.key = "tier", .value = tier}};
    struct device_desired said = {.tenant = "default",
                                  .device = "lyon/gw-1",
                                  .generation = ++h->generation,
                                  .issued_ms = clock_unix_ms(),
                                  .expires_ms = clock_unix_ms() + 3600 * 1000,
                                  .labels = labels,
                                  .labels_len = 1,
                                  .pins = pins,
                                  .pins_len = pin ? 1 : 0,
                                  .decision = ++h->decision};
    if (pin) {
        pins[0].digest = bytes_of(pin->digest, DIGEST_BYTES);
        pins[0].version = pin->version;
    }
    house_store(
        h, "desired.device.lyon.gw-1",
        house_seal(h, SIGN_TYPE_DEVICE, &codec_device_desired, &said, &h->desired_key, NULL));
}

static bool is_pinned(void *arg)
{
    return house_status_of(arg)->pinned;
}

static void test_agent_rollout__a_pin_holds_an_app_whatever_its_channel_wants(void **state)
{
    struct house *h = *state;
    struct released one = house_install(h, &(struct recipe){.version = "1.0"});
    say_of_device(h, &one, "gold");
    assert_true(wait_turning(h->loop, is_pinned, h, LONG_MS));
    uint64_t from = h->stored;
    struct released next = house_release(h, &(struct recipe){.version = "1.1"});
    house_want(h, &next);
    house_wait_status(h, APP_STATE_HEALTHY, "1.0");
    assert_null(find_event(h, EVENT_KIND_FETCHED, from));
    /* It is remembered. */
    house_kill_agent(h);
    house_start_agent(h);
    house_wait_event(h, EVENT_KIND_AGENT_STARTED, from);
    turn_for(h->loop, 1000);
    assert_null(find_event(h, EVENT_KIND_FETCHED, from));
    say_of_device(h, NULL, "gold");
    house_wait_event(h, EVENT_KIND_CONFIRMED, from);
    house_wait_page(h, "1.1");
    /* Somebody else's word about this device is none. */
    from = h->stored;
    struct device_desired forged = {.tenant = "default",
                                    .device = "lyon/gw-1",
                                    .generation = h->generation + 1,
                                    .expires_ms = clock_unix_ms() + 3600 * 1000};
    house_store(
        h, "desired.device.lyon.gw-1",
        house_seal(h, SIGN_TYPE_DEVICE, &codec_device_desired, &forged, &h->foreign_key, NULL));
    house_wait_event(h, EVENT_KIND_DESIRED_REJECTED, from);
}

static void test_agent_rollout__labels_decide_who_is_in(void **state)
{
    struct house *h = *state;
    h->extra = ", \"labels\": {\"tier\": \"lead\", \"line\": \"3\"}";
    house_write_config(h);
    struct released base = house_install(h, &(struct recipe){.version = "1.0"});
    static const struct label gold[] = {{.key = "tier", .value = "gold"},
                                        {.key = "line", .value = "3"},
                                        {.key = "site", .value = "lyon"}};
    static const struct selector selector = {.all = gold, .all_len = 3};
    static const struct cohort cohort = {
        .salt = ROLLOUT, .selectors = &selector, .selectors_len = 1};
    roll_from(h, &base, ROLLOUT);
    h->more.cohort = &cohort;
    uint64_t from = h->stored;
    struct released next = house_release(h, &(struct recipe){.version = "1.1"});
    house_want(h, &next);
    house_wait_status(h, APP_STATE_HEALTHY, "1.0"); /* of the new generation */
    assert_null(find_event(h, EVENT_KIND_FETCHED, from));
    assert_int_equal(h->health.labels_len, 2);
    say_of_device(h, NULL, "gold"); /* comes before what the device says of itself */
    house_wait_event(h, EVENT_KIND_CONFIRMED, from);
    house_wait_page(h, "1.1");
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(test_agent_rollout__##name, house_setup, house_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(asks_once_and_tells_its_attempt),
        TEST(waits_while_denied),
        TEST(waits_for_a_captain_that_is_silent),
        TEST(a_lease_that_has_ended_is_asked_for_again),
        TEST(climbs_over_numbers_that_captain_knows),
        TEST(what_failed_is_tried_again_by_a_lease),
        TEST(a_rollout_to_what_runs_already_is_told),
        TEST(the_update_lock_is_honoured_and_its_holder_named),
        TEST(a_hook_says_not_now),
        TEST(what_failed_before_does_not_count),
        TEST(a_pin_holds_an_app_whatever_its_channel_wants),
        TEST(labels_decide_who_is_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
