/* SPDX-License-Identifier: Apache-2.0
 *
 * People come into a fleet with TLS and roles, get another credential, and go out for good.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/clock.h"
#include "tests/e2e/secure.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

enum { CUT_MS = 5000, DENIED = 4, CONFLICT = 5 };

/* Its credentials are in NAME.creds of the secure's dir. */
static const char *add(struct secure *secure, const char *name, const char *role)
{
    const char *creds = secure_path(secure, "%s.creds", name);
    CAPTAIN_OK(secure, "operator", "add", name, "--role", role, "--output", creds);
    return creds;
}

#define AS(secure, name, ...)                                                                      \
    CAPTAIN(secure, "--operator", name, "--creds", secure_path(secure, "%s.creds", name),          \
            __VA_ARGS__)

static size_t decisions(struct secure *secure, const char *kind)
{
    CAPTAIN_OK(secure, "log", "ls", "--kind", kind);
    return secure_count(secure_said(secure), kind);
}

static void test_operator__the_first_admin_stands_in_the_log_once(void **state)
{
    struct secure *secure = *state;
    CAPTAIN_OK(secure, "operator", "ls");
    assert_non_null(strstr(secure_said(secure), "ada      admin valid"));
    assert_non_null(strstr(secure_said(secure), "captain init"));
    secure_end(&secure->captain);
    secure_start_captain(secure);
    secure_wait_captain(secure);
    assert_int_equal(decisions(secure, "operator.added"), 1);
}

static void test_operator__files_are_private_and_never_replaced(void **state)
{
    struct secure *secure = *state;
    struct stat st;
    const char *creds = add(secure, "bob", "operator");
    assert_non_null(strstr(secure_said(secure), "captain context create bob --url tls://"));
    assert_null(strstr(secure_said(secure), "// bob.mjs"));
    assert_int_equal(stat(creds, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    const char *before = secure_content(secure, creds);
    assert_int_equal(
        CAPTAIN(secure, "operator", "add", "eve", "--role", "viewer", "--output", creds), CONFLICT);
    assert_string_equal(secure_content(secure, creds), before);
    /* Nobody came in, and nothing is left behind of one that was refused. */
    const char *other = secure_path(secure, "other.creds");
    assert_int_equal(
        CAPTAIN(secure, "operator", "add", "bob", "--role", "admin", "--output", other), CONFLICT);
    assert_int_not_equal(stat(other, &st), 0);
    assert_int_not_equal(stat(secure_path(secure, "other.ca.pem"), &st), 0);
    assert_int_equal(CAPTAIN(secure, "operator", "add", "eve", "--role", "king", "--output", other),
                     2);
    assert_int_equal(CAPTAIN(secure, "operator", "add", "eve", "--role", "viewer", "--ttl", "400d",
                             "--output", other),
                     2);
    assert_int_equal(decisions(secure, "operator.added"), 2);
    assert_int_equal(AS(secure, "bob", "status"), 0);
}

static void test_operator__a_role_may_what_it_may(void **state)
{
    struct secure *secure = *state;
    static const struct {
        const char *role;
        int freezes, deletes_flags, makes_tokens, adds;
    } rows[] = {{"viewer", DENIED, DENIED, DENIED, DENIED},
                {"operator", 0, DENIED, DENIED, DENIED},
                {"release-manager", 0, 3, DENIED, DENIED},
                {"admin", 0, 3, 0, 0}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *name = secure_text(secure, "p%zu", i);
        (void)add(secure, name, rows[i].role);
        assert_int_equal(AS(secure, name, "status"), 0);
        assert_int_equal(AS(secure, name, "freeze", "--reason", "x"), rows[i].freezes);
        if (rows[i].freezes == DENIED && !strstr(secure_said(secure), "may not"))
            fail_msg("%s", secure_said(secure));
        assert_int_equal(AS(secure, name, "flag", "unset", "hello/stable", "x"),
                         rows[i].deletes_flags);
        assert_int_equal(AS(secure, name, "token", "new", "--site", "x"), rows[i].makes_tokens);
        assert_int_equal(AS(secure, name, "operator", "add", secure_text(secure, "by-%s", name),
                            "--role", "viewer", "--output", secure_path(secure, "by-%s", name)),
                         rows[i].adds);
        /* Nor in another's name. */
        assert_int_equal(CAPTAIN(secure, "--operator", "ada", "--creds",
                                 secure_path(secure, "%s.creds", name), "status", "--timeout",
                                 "2s"),
                         DENIED);
    }
}

struct cut {
    struct bus_probe *probe;
    unsigned disconnected;
};

static bool is_out(void *arg)
{
    const struct cut *cut = arg;
    return cut->probe->disconnected > cut->disconnected && cut->probe->auth_errors > 0;
}

static void expect_cut(struct bus_probe *probe, int64_t asked_ms)
{
    struct cut cut = {.probe = probe};
    if (!wait_turning(probe->loop, is_out, &cut, CUT_MS))
        fail_msg("still there after %d ms: %s", CUT_MS, probe->text);
    print_message("cut and refused %lld ms after it was asked for\n",
                  (long long)(clock_mono_ms() - asked_ms));
    assert_true(clock_mono_ms() - asked_ms < CUT_MS);
    assert_non_null(strstr(probe->text, "uth"));
}

static void test_operator__who_is_removed_is_cut_and_stays_out(void **state)
{
    struct secure *secure = *state;
    struct bus_probe probe;
    const char *creds = add(secure, "bob", "admin");
    (void)add(secure, "eve", "operator");
    secure_probe(secure, &probe, creds, "_INBOX.op.bob");
    bus_probe_start(&probe);
    const int64_t asked_ms = clock_mono_ms();
    CAPTAIN_OK(secure, "operator", "rm", "bob", "--yes", "--reason", "left");
    expect_cut(&probe, asked_ms);
    bus_probe_close(&probe);
    assert_int_equal(AS(secure, "eve", "status"), 0);
    for (int i = 0; i < 2; i++) { /* a server that begins anew, then a captain */
        assert_int_equal(AS(secure, "bob", "status"), DENIED);
        secure_end(i ? &secure->captain : &secure->nats);
        if (i)
            secure_start_captain(secure);
        else
            secure_start_nats(secure);
        secure_wait_captain(secure);
    }
    assert_int_equal(AS(secure, "bob", "status"), DENIED);
    CAPTAIN_OK(secure, "operator", "ls");
    assert_non_null(strstr(secure_said(secure), "bob      admin    removed"));
    /* Removed again is as it is; a new one of that name comes in, and the old key stays out. */
    CAPTAIN_OK(secure, "operator", "rm", "bob", "--yes");
    assert_int_equal(decisions(secure, "operator.removed"), 1);
    CAPTAIN_OK(secure, "operator", "add", "bob", "--role", "viewer", "--output",
               secure_path(secure, "bob2.creds"));
    assert_int_equal(CAPTAIN(secure, "--operator", "bob", "--creds",
                             secure_path(secure, "bob2.creds"), "status"),
                     0);
    assert_int_equal(AS(secure, "bob", "status"), DENIED);
}

static void test_operator__a_new_credential_voids_the_one_before(void **state)
{
    struct secure *secure = *state;
    struct bus_probe probe;
    const char *creds = add(secure, "bob", "viewer"), *next = secure_path(secure, "next.creds");
    secure_probe(secure, &probe, creds, "_INBOX.op.bob");
    bus_probe_start(&probe);
    const int64_t asked_ms = clock_mono_ms();
    CAPTAIN_OK(secure, "operator", "add", "bob", "--role", "operator", "--yes", "--output", next);
    expect_cut(&probe, asked_ms);
    bus_probe_close(&probe);
    assert_int_equal(
        CAPTAIN(secure, "--operator", "bob", "--creds", next, "freeze", "--reason", "x"), 0);
    secure_end(&secure->captain);
    secure_start_captain(secure);
    secure_wait_captain(secure);
    assert_int_equal(AS(secure, "bob", "status"), DENIED);
    CAPTAIN_OK(secure, "--operator", "bob", "--creds", next, "status");
}

static void test_operator__the_last_admin_stays(void **state)
{
    struct secure *secure = *state;
    assert_int_equal(CAPTAIN(secure, "operator", "rm", "ada", "--yes"), CONFLICT);
    assert_non_null(strstr(secure_said(secure), "last admin"));
    assert_int_equal(CAPTAIN(secure, "operator", "add", "ada", "--role", "viewer", "--yes",
                             "--output", secure_path(secure, "ada.creds")),
                     CONFLICT);
    assert_int_equal(CAPTAIN(secure, "operator", "rm", "nobody", "--yes"), 3);
    (void)add(secure, "bob", "admin");
    CAPTAIN_OK(secure, "operator", "rm", "ada", "--yes");
    assert_int_equal(CAPTAIN(secure, "status"), DENIED);
    assert_int_equal(AS(secure, "bob", "operator", "rm", "bob", "--yes"), CONFLICT);
}

#define T(name) cmocka_unit_test_setup_teardown(name, secure_set_up_running, secure_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_operator__the_first_admin_stands_in_the_log_once),
        T(test_operator__files_are_private_and_never_replaced),
        T(test_operator__a_role_may_what_it_may),
        T(test_operator__who_is_removed_is_cut_and_stays_out),
        T(test_operator__a_new_credential_voids_the_one_before),
        T(test_operator__the_last_admin_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
