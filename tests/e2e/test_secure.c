/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole path once, in a fleet with TLS and roles: from `captain init` to an app that has its release,
 * flags and secrets, and a device that is put out. And what each role may not.
 */
#include "tests/e2e/secure.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/clock.h"
#include "common/hash.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

enum { CUT_MS = 5000, DENIED = 4 };

/* The line of state/sums for one secret of this value. */
static const char *sum_of(struct secure *secure, const char *value)
{
    uint8_t digest[DIGEST_BYTES];
    char hex[DIGEST_HEX];
    hash_bytes(bytes_of(value, strlen(value)), digest);
    str_hex(bytes_of(digest, sizeof digest), hex);
    return secure_text(secure, "%s", hex);
}

static const char *value_file(struct secure *secure, const char *value)
{
    const char *path = secure_path(secure, "value");
    tempdir_write(path, value, strlen(value));
    return path;
}

static void assert_confirmed(struct secure *secure, const char *version)
{
    CAPTAIN_OK(secure, "secret", "ls", "--json", "hello");
    assert_non_null(
        strstr(secure_said(secure), secure_text(secure, "\"version\": \"%s\"", version)));
    CAPTAIN_OK(secure, "secret", "ls", "hello");
    assert_non_null(strstr(secure_said(secure), "1 of 1"));
    assert_null(strstr(secure_said(secure), "so far"));
}

static void channel_reaches_the_device(struct secure *secure)
{
    secure_release(secure, "1.0");
    CAPTAIN_OK(secure, "channel", "set", "hello/stable", "hello@1.0");
    secure_wait_serving(secure, &secure->devices[0], "1.0");
    secure_wait_said(secure, SECURE_DEVICES, "healthy");
    assert_null(strstr(secure_content(secure, secure_path(secure, "gate-1.log")), "http://127"));
}

static void flag_reaches_the_app(struct secure *secure)
{
    CAPTAIN_OK(secure, "flag", "set", "hello/stable", "new-ui", "true");
    secure_wait_file(secure, secure_app_path(secure, &secure->devices[0], "state/flags"),
                     "\"new-ui\": true");
}

static void secret_reaches_the_app(struct secure *secure)
{
    const char *sums = secure_app_path(secure, &secure->devices[0], "state/sums");
    CAPTAIN_OK(secure, "secret", "set", "hello/token", "--wait", "--from",
               value_file(secure, "first"));
    secure_wait_file(secure, sums, sum_of(secure, "first"));
    assert_confirmed(secure, "1");
    CAPTAIN_OK(secure, "secret", "rotate", "hello/token", "--wait", "--from",
               value_file(secure, "second"));
    secure_wait_file(secure, sums, sum_of(secure, "second"));
    assert_confirmed(secure, "2");
}

static bool is_cut(void *arg)
{
    return ((const struct bus_probe *)arg)->disconnected > 0;
}

/* Seen by a second connection with the device's credential, idle since before. */
static void revoke_cuts(struct secure *secure)
{
    struct bus_probe probe;
    secure_probe(secure, &probe, secure_path(secure, "gate-1/identity/device.creds"),
                 "_INBOX.lyon.gate-1");
    bus_probe_start(&probe);
    const int64_t asked_ms = clock_mono_ms();
    CAPTAIN_OK(secure, "device", "revoke", "gate-1", "--yes", "--reason", "stolen");
    const int64_t answered_ms = clock_mono_ms();
    assert_true(wait_turning(probe.loop, is_cut, &probe, CUT_MS));
    const int64_t cut_ms = clock_mono_ms();
    secure_wait_log(secure, "gate-1.log", SECURE_REFUSED, 1);
    print_message("revoke answered after %lld ms, cut at most %lld ms later, refused again %lld ms "
                  "after that\n",
                  (long long)(answered_ms - asked_ms), (long long)(cut_ms - answered_ms),
                  (long long)(clock_mono_ms() - cut_ms));
    assert_true(clock_mono_ms() - answered_ms < CUT_MS);
    bus_probe_close(&probe);
}

/* Refused once more each by a server and a captain that started anew. */
static void stays_out(struct secure *secure)
{
    const char *log = secure_path(secure, "gate-1.log");
    secure_end(&secure->captain);
    secure_end(&secure->nats);
    size_t refused = secure_count(secure_content(secure, log), SECURE_REFUSED);
    secure_start_nats(secure);
    secure_wait_log(secure, "gate-1.log", SECURE_REFUSED, refused + 2);
    secure_start_captain(secure);
    secure_wait_captain(secure);
    refused = secure_count(secure_content(secure, log), SECURE_REFUSED);
    secure_wait_log(secure, "gate-1.log", SECURE_REFUSED, refused + 2);
    assert_int_equal(secure_count(secure_content(secure, log), "connected to the bus"), 1);
    CAPTAIN_OK(secure, "device", "ls");
    assert_non_null(strstr(secure_said(secure), "gate-1 revoked"));
}

static void test_secure__the_whole_path(void **state)
{
    struct secure *secure = *state;
    secure_join(secure, 1);
    channel_reaches_the_device(secure);
    flag_reaches_the_app(secure);
    secret_reaches_the_app(secure);
    revoke_cuts(secure);
    stays_out(secure);
    secure_wait_serving(secure, &secure->devices[0], "1.0"); /* what runs keeps running */
}

/* ---- roles ---- */

static void add_operator(struct secure *secure, const char *name, const char *role)
{
    const char *creds = secure_path(secure, "%s.creds", name);
    CAPTAIN_OK(secure, "operator", "add", name, "--role", role, "--output", creds);
    CAPTAIN_OK(secure, "context", "create", name, "--operator", name, "--url", secure->url,
               "--creds", creds, "--ca", secure_path(secure, "%s.ca.pem", name));
}

static void assert_denied(struct secure *secure, int code)
{
    if (code != DENIED)
        fail_msg("ends with %d: %s", code, secure_said(secure));
}

static void test_secure__each_role_may_what_it_may_and_no_more(void **state)
{
    struct secure *secure = *state;
    add_operator(secure, "vera", "viewer");
    add_operator(secure, "otto", "operator");
    CAPTAIN_OK(secure, "status", "--context", "vera");
    CAPTAIN_OK(secure, "device", "ls", "--context", "vera");
    const int64_t before_ms = clock_mono_ms();
    assert_denied(secure, CAPTAIN(secure, "freeze", "--reason", "test", "--context", "vera"));
    assert_true(clock_mono_ms() - before_ms < 5000); /* told, not waited for */
    assert_denied(secure, CAPTAIN(secure, "secret", "ls", "--context", "vera"));
    CAPTAIN_OK(secure, "freeze", "--context", "otto", "--reason", "test");
    CAPTAIN_OK(secure, "thaw", "--reason", "test", "--context", "otto");
    assert_denied(secure, CAPTAIN(secure, "token", "new", "--site", "lyon", "--context", "otto"));
    assert_denied(secure, CAPTAIN(secure, "flag", "set", "hello/stable", "new-ui", "true",
                                  "--context", "otto"));
    CAPTAIN_OK(secure, "token", "ls");
    assert_null(strstr(secure_said(secure), "otto"));

    /* In the name of another: the subject, not the word in the request, is who asks. */
    assert_denied(secure, CAPTAIN(secure, "token", "new", "--site", "lyon", "--context", "otto",
                                  "--operator", "ada"));
    CAPTAIN_OK(secure, "operator", "rm", "vera", "--yes");
    assert_denied(secure, CAPTAIN(secure, "status", "--context", "vera"));
}

static void test_secure__nobody_without_a_credential_gets_in(void **state)
{
    struct secure *secure = *state;
    const char *ca = secure_text(secure, "%s/nats/tls/ca.pem", secure->folder);
    CAPTAIN_OK(secure, "context", "create", "nobody", "--url", secure->url, "--ca", ca);
    assert_denied(secure, CAPTAIN(secure, "status", "--context", "nobody"));
}

int main(void)
{
#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(test_secure__##name, secure_set_up_running, secure_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_whole_path),
        TEST(each_role_may_what_it_may_and_no_more),
        TEST(nobody_without_a_credential_gets_in),
    };
    return cmocka_run_group_tests_name("secure", tests, NULL, NULL);
}
