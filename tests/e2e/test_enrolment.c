/* SPDX-License-Identifier: Apache-2.0
 *
 * Devices get into a fleet with TLS and roles, and out of it: captain init, nats-server, captain serve,
 * captain-agent, and what an operator types.
 */
#include "tests/e2e/secure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "common/base/mem.h"
#include "common/clock.h"
#include "tests/support/tempdir.h"

enum { CUT_MS = 5000 }; /* a device that is revoked has lost contact by then */

/* As device i, its state in a folder of its own name. Its exit code. */
static int enroll(struct secure *fleet, size_t i, const char *name,
                  const struct secure_token *token)
{
    return secure_enroll(fleet, secure_device(fleet, i, name, name), token);
}

static void start_agent(struct secure *fleet, size_t i)
{
    secure_start_agent(fleet, &fleet->devices[i]);
}

/* Tests. */

static void test_enrolment__a_token_lets_one_device_in(void **state)
{
    struct secure *fleet = *state;
    const struct secure_token token = TOKEN(fleet, "lyon", "--label", "rack=3");
    if (enroll(fleet, 0, "gate-1", &token) != 0)
        fail_msg("%s", secure_said(fleet));
    start_agent(fleet, 0);
    secure_wait_said(fleet, SECURE_DEVICES, "online");
    CAPTAIN_OK(fleet, "device", "show", "gate-1");
    assert_non_null(strstr(secure_said(fleet), "approved"));
    CAPTAIN_OK(fleet, "token", "ls");
    assert_non_null(strstr(secure_said(fleet), "1 of 1"));
    assert_non_null(strstr(secure_said(fleet), "rack=3"));
    /* The secret half was shown to its maker and is nowhere else. */
    const char *seed = strrchr(token.text, '-') + 1;
    static const char *const places[] = {"captain.log", "nats.log", "gate-1.log",
                                         "fleet/captain.db", "fleet/captain.db-wal"};
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        size_t len = 0;
        char *bytes = tempdir_read(secure_path(fleet, "%s", places[i]), &len);
        if (bytes)
            assert_null(memmem(bytes, len, seed, strlen(seed)));
        free(bytes);
    }
}

static void test_enrolment__tokens_that_are_no_good_are_refused_and_noted(void **state)
{
    struct secure *fleet = *state;
    const struct secure_token used = TOKEN(fleet, "lyon"), foreign = TOKEN(fleet, "nice"),
                              expired = TOKEN(fleet, "lyon", "--ttl", "1ms"),
                              revoked = TOKEN(fleet, "lyon");
    CAPTAIN_OK(fleet, "token", "revoke", revoked.id);
    assert_int_equal(enroll(fleet, 0, "gate-1", &used), 0);
    const struct {
        const struct secure_token *token;
        const char *why;
    } rows[] = {{&used, "used up"},
                {&foreign, "another site"},
                {&expired, "expired"},
                {&revoked, "revoked"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_not_equal(enroll(fleet, 1, "gate-2", rows[i].token), 0);
        if (!strstr(secure_said(fleet), rows[i].why))
            fail_msg("not \"%s\" but %s", rows[i].why, secure_said(fleet));
        secure_wait_said(fleet, SECURE_INCIDENTS, rows[i].token->id);
    }
    CAPTAIN_OK(fleet, "device", "identities");
    assert_null(strstr(secure_said(fleet), "gate-2"));
}

static void test_enrolment__an_operator_approves_and_rejects(void **state)
{
    struct secure *fleet = *state;
    const struct secure_token token = TOKEN(fleet, "lyon", "--uses", "2", "--approve");
    struct proc *good = secure_enroll_start(fleet, secure_device(fleet, 0, "gate-1", "gate-1"),
                                            &token, "enroll-1.log");
    secure_wait_said(fleet, SECURE_IDENTITIES, "pending");
    CAPTAIN_OK(fleet, "device", "approve", "gate-1");
    int status = -1;
    assert_true(proc_wait(good, SECURE_RUN_MS, &status));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    proc_free(good);

    struct proc *bad = secure_enroll_start(fleet, secure_device(fleet, 1, "gate-2", "gate-2"),
                                           &token, "enroll-2.log");
    secure_wait_said(fleet, SECURE_IDENTITIES, "pending");
    CAPTAIN_OK(fleet, "device", "reject", "gate-2", "--reason", "not ours");
    assert_true(proc_wait(bad, SECURE_RUN_MS, &status));
    assert_true(WIFEXITED(status));
    assert_int_not_equal(WEXITSTATUS(status), 0);
    proc_free(bad);
    assert_int_equal(CAPTAIN(fleet, "device", "retire", "gate-2", "--yes"), 5);
}

static void test_enrolment__a_revoked_device_is_cut_and_stays_out(void **state)
{
    struct secure *fleet = *state;
    const struct secure_token token = TOKEN(fleet, "lyon", "--uses", "3");
    assert_int_equal(enroll(fleet, 0, "gate-1", &token), 0);
    assert_int_equal(enroll(fleet, 1, "gate-2", &token), 0);
    start_agent(fleet, 0);
    start_agent(fleet, 1);
    secure_wait_log(fleet, "gate-1.log", "connected to the bus", 1);
    secure_wait_log(fleet, "gate-2.log", "connected to the bus", 1);
    secure_wait_said(fleet, SECURE_DEVICES, "gate-2 online");
    assert_int_equal(CAPTAIN(fleet, "device", "revoke", "gate-1"), 2); /* nobody to be asked */
    const int64_t before_ms = clock_mono_ms();
    CAPTAIN_OK(fleet, "device", "revoke", "gate-1", "--yes", "--reason", "stolen");
    secure_wait_log(fleet, "gate-1.log", SECURE_REFUSED, 1);
    const int64_t took_ms = clock_mono_ms() - before_ms;
    print_message("cut and refused %lld ms after the command\n", (long long)took_ms);
    assert_true(took_ms < CUT_MS);

    /* Neither server nor captain forgets it, and the other device comes back. */
    secure_end(&fleet->captain);
    secure_end(&fleet->nats);
    const size_t refused =
        secure_count(secure_content(fleet, secure_path(fleet, "gate-1.log")), SECURE_REFUSED);
    secure_start_nats(fleet);
    secure_wait_log(fleet, "gate-1.log", SECURE_REFUSED, refused + 2); /* before captain is there */
    secure_start_captain(fleet);
    secure_wait_captain(fleet);
    secure_wait_log(fleet, "gate-2.log", "connected to the bus", 2);
    secure_end(&fleet->devices[0].agent);
    start_agent(fleet, 0);
    secure_wait_log(fleet, "gate-1.log", SECURE_REFUSED, refused + 4);
    assert_int_equal(secure_count(secure_content(fleet, secure_path(fleet, "gate-1.log")),
                                  "connected to the bus"),
                     1);
    CAPTAIN_OK(fleet, "device", "ls");
    assert_non_null(strstr(secure_said(fleet), "gate-1 revoked"));
    CAPTAIN_OK(fleet, "why", "gate-1");
    assert_non_null(strstr(secure_said(fleet), "revoked"));

    /* A new device in its place has a new key. */
    secure_end(&fleet->devices[0].agent);
    assert_int_equal(rename(secure_path(fleet, "gate-1"), secure_path(fleet, "old")), 0);
    if (enroll(fleet, 0, "gate-1", &token) != 0)
        fail_msg("%s", secure_said(fleet));
    start_agent(fleet, 0);
    secure_wait_said(fleet, SECURE_DEVICES, "gate-1 online");
}

static void test_enrolment__a_retired_device_leaves_the_counts(void **state)
{
    struct secure *fleet = *state;
    const struct secure_token token = TOKEN(fleet, "lyon");
    assert_int_equal(enroll(fleet, 0, "gate-1", &token), 0);
    start_agent(fleet, 0);
    secure_wait_said(fleet, SECURE_DEVICES, "online");
    CAPTAIN_OK(fleet, "device", "retire", "gate-1", "--yes");
    secure_wait_log(fleet, "gate-1.log", SECURE_REFUSED, 1);
    CAPTAIN_OK(fleet, "device", "ls");
    assert_null(strstr(secure_said(fleet), "gate-1"));
    secure_end(&fleet->captain);
    secure_start_captain(fleet);
    secure_wait_captain(fleet);
    CAPTAIN_OK(fleet, "device", "ls");
    assert_null(strstr(secure_said(fleet), "gate-1"));
    CAPTAIN_OK(fleet, "device", "identities", "--state", "retired");
    assert_non_null(strstr(secure_said(fleet), "gate-1"));
}

static void test_enrolment__a_copied_device_is_noticed(void **state)
{
    struct secure *fleet = *state;
    const struct secure_token token = TOKEN(fleet, "lyon");
    const char *from = secure_path(fleet, "gate-1"), *to = secure_path(fleet, "copy");
    assert_int_equal(enroll(fleet, 0, "gate-1", &token), 0);
    const char *copy[] = {"cp", "-a", from, to, NULL};
    assert_int_equal(secure_run(fleet, copy, NULL), 0);
    (void)secure_device(fleet, 1, "gate-1", "copy");
    start_agent(fleet, 0);
    start_agent(fleet, 1);
    secure_wait_said(fleet, SECURE_INCIDENTS, "two agents speak as lyon/gate-1");
    CAPTAIN_OK(fleet, "device", "show", "gate-1");
    assert_non_null(strstr(secure_said(fleet), "clone: two agents"));
}

#define ENROLMENT_TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, secure_set_up_running, secure_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENROLMENT_TEST(test_enrolment__a_token_lets_one_device_in),
        ENROLMENT_TEST(test_enrolment__tokens_that_are_no_good_are_refused_and_noted),
        ENROLMENT_TEST(test_enrolment__an_operator_approves_and_rejects),
        ENROLMENT_TEST(test_enrolment__a_revoked_device_is_cut_and_stays_out),
        ENROLMENT_TEST(test_enrolment__a_retired_device_leaves_the_counts),
        ENROLMENT_TEST(test_enrolment__a_copied_device_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
