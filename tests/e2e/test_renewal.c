/* SPDX-License-Identifier: Apache-2.0
 *
 * An agent keeps its credential fresh, comes back when it has run out, and runs on when captain
 * gives it none any more.
 */
#include "tests/e2e/admission.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/nkey.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

static void enroll(struct admission *a)
{
    if (admission_end(a, admission_enroll(a, a->token_text, "30s")) != 0)
        fail_msg("%s", admission_said(a));
}

static struct proc *start_agent(struct admission *a)
{
    const char *args[] = {"--config", admission_path(a, "agent.json"), NULL};
    return admission_start(a, args, NULL);
}

static void stop_agent(struct admission *a, struct proc *agent)
{
    proc_signal(agent, SIGTERM);
    assert_int_equal(admission_end(a, agent), 0);
}

static int64_t expires_s(struct admission *a)
{
    struct nkey_user user;
    struct sign_key key;
    const char *jwt = NULL;
    assert_int_equal(nkey_read_creds(admission_path(a, "device/identity/device.creds"), &a->arena,
                                     &jwt, &key, &a->err),
                     ERR_OK);
    assert_int_equal(nkey_read_user(jwt, &a->arena, &user, &a->err), ERR_OK);
    return user.expires_s;
}

static bool has_expired(void *arg)
{
    return clock_unix_ms() / 1000 > *(int64_t *)arg;
}

static bool is_said(void *arg)
{
    void **pair = arg;
    return strstr(admission_said(pair[0]), pair[1]) != NULL;
}

static void wait_said(struct admission *a, const char *text)
{
    void *pair[] = {a, (void *)text};
    if (!wait_turning(a->captain.loop, is_said, pair, ADMISSION_WAIT_MS))
        fail_msg("not said: %s\nbut:\n%s", text, admission_said(a));
}

static void test_renewal__comes_before_the_end_and_the_server_never_has_to_refuse(void **state)
{
    struct admission *a = *state;
    a->life_s = 8;
    enroll(a);
    int64_t first_s = expires_s(a);
    struct proc *agent = start_agent(a);
    admission_wait(a, &a->health, 1);
    uint64_t instance = a->instance;
    admission_wait(a, &a->renewals, 2);
    assert_true(expires_s(a) > first_s);
    assert_true(wait_turning(a->captain.loop, has_expired, &first_s, ADMISSION_WAIT_MS));
    admission_wait(a, &a->health, a->health + 2); /* beyond the end of the first */
    assert_int_not_equal(instance, 0);
    assert_true(a->instance == instance); /* connecting anew is no new start */
    assert_int_equal(a->proven, a->enrols + a->renewals);
    assert_int_equal(a->with_token, 1);
    assert_null(strstr(admission_said(a), "the bus refuses"));
    stop_agent(a, agent);

    agent = start_agent(a);
    admission_wait(a, &a->health, a->health + 1);
    assert_true(a->instance != instance);
    stop_agent(a, agent);
}

/* What stands for two months offline is a credential of two seconds. */
static void test_renewal__brings_back_a_device_whose_credential_has_run_out(void **state)
{
    struct admission *a = *state;
    a->life_s = 2;
    enroll(a);
    int64_t end_s = expires_s(a);
    assert_true(wait_turning(a->captain.loop, has_expired, &end_s, ADMISSION_WAIT_MS));
    a->life_s = 600;
    struct proc *agent = start_agent(a);
    admission_wait(a, &a->health, 2);
    assert_int_equal(a->renewals, 0);
    assert_int_equal(a->enrols, 2); /* the second without a token */
    assert_int_equal(a->with_token, 1);
    assert_int_equal(a->proven, 2);
    stop_agent(a, agent);
}

static void test_renewal__needs_no_credential_on_disk_but_the_keys(void **state)
{
    struct admission *a = *state;
    enroll(a);
    assert_int_equal(unlink(admission_path(a, "device/identity/device.creds")), 0);
    struct proc *agent = start_agent(a);
    admission_wait(a, &a->health, 1);
    assert_int_equal(a->enrols, 2);
    stop_agent(a, agent);
}

static void test_renewal__of_a_revoked_device_is_refused_loudly_and_the_agent_runs_on(void **state)
{
    struct admission *a = *state;
    a->life_s = 2;
    enroll(a);
    int64_t end_s = expires_s(a);
    assert_true(wait_turning(a->captain.loop, has_expired, &end_s, ADMISSION_WAIT_MS));
    a->answer = ADMISSION_REFUSES;
    a->code = ERR_REVOKED;
    a->reason = "lyon/gw-1 is revoked";
    struct proc *agent = start_agent(a);
    wait_said(a, "captain gives this device no credential any more: lyon/gw-1 is revoked");
    unsigned asked = a->enrols;
    turn_for(a->captain.loop, 3000);
    assert_int_equal(a->enrols, asked); /* asked again in hours */
    assert_int_equal(a->health, 0);
    assert_false(proc_wait(agent, 0, NULL));
    stop_agent(a, agent);
}

/* Whoever has the enrolment credential, which is everybody's, can have captain answer into the inbox of a
 * device that asks with it, but not to what the device asked. */
static void test_renewal__is_not_stopped_by_a_refusal_of_what_another_asked(void **state)
{
    struct admission *a = *state;
    a->life_s = 2;
    enroll(a);
    int64_t end_s = expires_s(a);
    assert_true(wait_turning(a->captain.loop, has_expired, &end_s, ADMISSION_WAIT_MS));
    a->answer = ADMISSION_WRONG_NONCE;
    a->code = ERR_REVOKED;
    a->reason = "it is revoked";
    a->life_s = 3600;
    struct proc *agent = start_agent(a);
    wait_said(a, "captain's answer answers another request");
    a->answer = ADMISSION_GRANTS;
    admission_wait(a, &a->health, 1);
    stop_agent(a, agent);
}

static void test_renewal__with_an_answer_that_lies_changes_nothing(void **state)
{
    struct admission *a = *state;
    a->life_s = 5;
    enroll(a);
    a->answer = ADMISSION_WRONG_KEY;
    char *before = tempdir_read(admission_path(a, "device/identity/device.creds"), NULL);
    struct proc *agent = start_agent(a);
    admission_wait(a, &a->renewals, 1);
    wait_said(a, "the credential is of another key");
    char *after = tempdir_read(admission_path(a, "device/identity/device.creds"), NULL);
    assert_string_equal(before, after);
    free(before);
    free(after);
    stop_agent(a, agent);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, admission_setup, admission_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_renewal__comes_before_the_end_and_the_server_never_has_to_refuse),
        TEST(test_renewal__brings_back_a_device_whose_credential_has_run_out),
        TEST(test_renewal__needs_no_credential_on_disk_but_the_keys),
        TEST(test_renewal__is_not_stopped_by_a_refusal_of_what_another_asked),
        TEST(test_renewal__of_a_revoked_device_is_refused_loudly_and_the_agent_runs_on),
        TEST(test_renewal__with_an_answer_that_lies_changes_nothing),
    };
    return cmocka_run_group_tests_name("renewal", tests, NULL, NULL);
}
