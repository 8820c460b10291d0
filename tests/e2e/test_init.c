/* SPDX-License-Identifier: Apache-2.0
 *
 * `captain init`, nats-server with the file it wrote, `captain serve` and the first admin: TLS and roles
 * everywhere, by the real programs.
 */
#include "tests/e2e/secure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/sign.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

static void make(struct secure *fleet)
{
    if (secure_init(fleet, (const char *const[]){NULL}) != 0)
        fail_msg("captain init: %s", secure_said(fleet));
}

static void start_both(struct secure *fleet)
{
    secure_start_nats(fleet);
    secure_start_captain(fleet);
}

static void end_both(struct secure *fleet)
{
    secure_end(&fleet->captain);
    secure_end(&fleet->nats);
}

static void wait_status(struct secure *fleet)
{
    secure_wait_captain(fleet);
    assert_non_null(strstr(secure_said(fleet), "tenant acme"));
}

static bool is_settled(void *arg)
{
    const struct bus_probe *probe = arg;
    return probe->connected > 0 || probe->disconnected > 0 || probe->auth_errors > 0;
}

/* One that connects without credentials; with tls it trusts the fleet's CA. */
static bool is_refused(struct secure *fleet, bool tls)
{
    struct bus_probe probe;
    const char *plain = arena_printf(&fleet->arena, "nats://localhost:%u", fleet->nats_port);
    struct bus_options options = bus_probe_options(tls ? fleet->url : plain);
    options.write_deadline_ms = 5000;
    if (tls)
        options.tls_ca_path = arena_printf(&fleet->arena, "%s/nats/tls/ca.pem", fleet->folder);
    bus_probe_open(&probe, &options);
    assert_int_equal(bus_start(probe.bus, &probe.err), ERR_OK);
    assert_true(wait_turning(probe.loop, is_settled, &probe, SECURE_WAIT_MS));
    bool refused = probe.connected == 0 && (!tls || strstr(probe.text, "uthorization"));
    if (!refused)
        print_message("connected %u, told \"%s\"\n", probe.connected, probe.text);
    bus_probe_close(&probe);
    return refused;
}

static void test_init__makes_a_fleet_that_runs_with_tls_and_roles(void **state)
{
    struct secure *fleet = *state;
    make(fleet);
    start_both(fleet);
    wait_status(fleet);
    assert_true(is_refused(fleet, true));
    assert_true(is_refused(fleet, false));

    end_both(fleet);
    start_both(fleet);
    wait_status(fleet);
    assert_true(is_refused(fleet, true));
    assert_int_equal(CAPTAIN(fleet, "freeze", "--reason", "test"), 0);
}

/* Captain answers only where the asker may listen itself: not on a subject that feeds a stream. */
static void test_init__an_answer_goes_only_to_the_askers_inbox(void **state)
{
    struct secure *fleet = *state;
    struct bus_probe captains, admin;
    make(fleet);
    start_both(fleet);
    wait_status(fleet);
    struct bus_options options = bus_probe_options(fleet->url);
    options.write_deadline_ms = 5000;
    options.tls_ca_path = arena_printf(&fleet->arena, "%s/nats/tls/ca.pem", fleet->folder);
    options.creds_path = arena_printf(&fleet->arena, "%s/captain.creds", fleet->folder);
    bus_probe_open(&captains, &options);
    bus_probe_subscribe(&captains, "event.>");
    bus_probe_start(&captains);
    options.creds_path = arena_printf(&fleet->arena, "%s/config/captain/acme.creds", fleet->dir);
    options.inbox_prefix = "_INBOX.op.ada";
    bus_probe_open(&admin, &options);
    bus_probe_start(&admin);
    assert_int_equal(bus_publish(admin.bus, "api.ada.status.show", bytes_of("", 0), NULL,
                                 "event.lyon.gw-17", &admin.err),
                     ERR_OK);
    /* One that is answered comes back behind it. */
    assert_int_equal(bus_probe_request(&admin, "api.ada.status.show", "", SECURE_WAIT_MS), ERR_OK);
    turn_for(captains.loop, 100);
    assert_int_equal(captains.messages, 0);
    bus_probe_close(&admin);
    bus_probe_close(&captains);
    assert_int_equal(CAPTAIN(fleet, "log", "ls", "--kind", "incident.noted"), 0);
    assert_non_null(strstr(secure_said(fleet), "incident.noted"));
}

/* The reply of captain's HTTP server to a request over TLS, with the fleet's CA and no other trusted. */
static const char *https_get(struct secure *fleet, const char *path, const char *name)
{
    const char *request = arena_printf(&fleet->arena, "GET %s HTTP/1.0\r\n\r\n", path);
    const char *in = arena_printf(&fleet->arena, "%s/request", fleet->dir);
    const char *ca = arena_printf(&fleet->arena, "%s/nats/tls/ca.pem", fleet->folder);
    const char *connect = arena_printf(&fleet->arena, "127.0.0.1:%u", fleet->store_port);
    const char *argv[] = {"openssl",
                          "s_client",
                          "-quiet",
                          "-verify_quiet",
                          "-verify_return_error",
                          "-CAfile",
                          ca,
                          "-verify_hostname",
                          name,
                          "-connect",
                          connect,
                          NULL};
    tempdir_write(in, request, strlen(request));
    (void)unlink(fleet->out);
    (void)proc_run(&(struct proc_options){.argv = argv, .in_path = in, .out_path = fleet->out},
                   SECURE_RUN_MS);
    return secure_said(fleet);
}

static void test_init__artifacts_and_trust_are_served_over_tls(void **state)
{
    struct secure *fleet = *state;
    static const char name[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    make(fleet);
    start_both(fleet);
    wait_status(fleet);
    tempdir_write(arena_printf(&fleet->arena, "%s/trust/%s", fleet->folder, name), "a bundle", 8);
    const char *path = arena_printf(&fleet->arena, "/trust/%s", name);
    assert_non_null(strstr(https_get(fleet, path, "localhost"), "a bundle"));
    assert_null(strstr(https_get(fleet, path, "elsewhere.example"), "a bundle"));
    assert_non_null(strstr(https_get(fleet, "/trust/../captain.json", "localhost"), "404"));
    assert_non_null(strstr(https_get(fleet, "/keys/root.key", "localhost"), "404"));
}

static void test_init__a_folder_that_is_not_empty_is_refused(void **state)
{
    struct secure *fleet = *state;
    struct stat st;
    make(fleet);
    const char *keys = arena_printf(&fleet->arena, "%s/keys/root.key", fleet->folder);
    char *before = tempdir_read(keys, NULL);
    assert_int_equal(CAPTAIN(fleet, "init", fleet->folder, "--context", "other"), 5);
    assert_non_null(strstr(secure_said(fleet), "not an empty folder"));
    char *after = tempdir_read(keys, NULL);
    assert_string_equal(before, after);
    free(before);
    free(after);

    /* Nor is the context of another fleet lost. */
    const char *second = arena_printf(&fleet->arena, "%s/second", fleet->dir);
    assert_int_equal(CAPTAIN(fleet, "init", second, "--tenant", "acme"), 5);
    assert_non_null(strstr(secure_said(fleet), "context acme"));
    assert_int_equal(stat(second, &st), -1);
    /* An empty folder is as good as none. */
    assert_int_equal(mkdir(second, 0755), 0);
    assert_int_equal(CAPTAIN(fleet, "init", second, "--host", "localhost"), 0);
    assert_int_equal(stat(second, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(CAPTAIN(fleet, "context", "show", "second"), 0);
}

static bool has(struct secure *fleet, const char *name)
{
    struct stat st;
    return stat(arena_printf(&fleet->arena, "%s/%s", fleet->folder, name), &st) == 0;
}

/* Keys of offline roles are not made, and captain does not start before they have signed. */
static void test_init__offline_keys_sign_later(void **state)
{
    struct secure *fleet = *state;
    const char *listen = arena_printf(&fleet->arena, "127.0.0.1:%u", fleet->store_port);
    const char *bad = "release=00000000000000000000000000000000000000000000000000000000000000ff";
    assert_int_equal(CAPTAIN(fleet, "init", fleet->folder, "--add", bad), 2);
    assert_false(has(fleet, ""));

    const char *key = arena_printf(&fleet->arena, "%s/ada.key", fleet->dir);
    struct sign_key ada;
    struct err err;
    char hex[2 * SIGN_PUBLIC_BYTES + 1];
    sign_key_new(&ada);
    assert_int_equal(sign_key_save(&ada, key, &err), ERR_OK);
    str_hex(bytes_of(ada.public_key, SIGN_PUBLIC_BYTES), hex);
    const char *add = arena_printf(&fleet->arena, "root=%s,release=%s", hex, hex);
    assert_int_equal(CAPTAIN(fleet, "init", fleet->folder, "--tenant", "acme", "--host",
                             "localhost", "--add", add, "--threshold", "root=2"),
                     2);
    assert_int_equal(CAPTAIN(fleet, "init", fleet->folder, "--tenant", "acme", "--host",
                             "localhost", "--url", fleet->url, "--listen", listen, "--add", add),
                     0);
    assert_non_null(strstr(secure_said(fleet), "captain root sign"));
    assert_false(has(fleet, "keys/root.key"));
    assert_false(has(fleet, "keys/release.key"));
    assert_true(has(fleet, "keys/desired.key"));
    assert_int_not_equal(CAPTAIN(fleet, "serve", "--data", fleet->folder), 0);

    const char *root = arena_printf(&fleet->arena, "%s/keys/root.dsse", fleet->folder);
    if (CAPTAIN(fleet, "root", "sign", root, "--key", key) != 0)
        fail_msg("captain root sign: %s", secure_said(fleet));
    start_both(fleet);
    wait_status(fleet);
    assert_true(has(fleet, "root.dsse"));
}

static void test_init__the_certificate_can_be_renewed(void **state)
{
    struct secure *fleet = *state;
    make(fleet);
    const char *path = arena_printf(&fleet->arena, "%s/nats/tls/server.pem", fleet->folder);
    const char *verify[] = {"openssl",         "x509", "-noout", "-checkhost",
                            "captain.example", "-in",  path,     NULL};
    const struct proc_options options = {.argv = verify, .out_path = fleet->out};
    char *before = tempdir_read(path, NULL);
    assert_int_equal(CAPTAIN(fleet, "init", fleet->folder, "--yes"), 2);
    assert_int_equal(CAPTAIN(fleet, "init", fleet->folder, "--yes", "--host", "captain.example"),
                     0);
    char *after = tempdir_read(path, NULL);
    assert_string_not_equal(before, after);
    (void)unlink(fleet->out);
    assert_int_equal(proc_run(&options, SECURE_RUN_MS), 0);
    assert_non_null(strstr(secure_said(fleet), "does match"));
    free(before);
    free(after);
    start_both(fleet);
    wait_status(fleet);

    const char *ca_key = arena_printf(&fleet->arena, "%s/keys/ca.key", fleet->folder);
    assert_int_equal(unlink(ca_key), 0);
    assert_int_equal(CAPTAIN(fleet, "init", fleet->folder, "--yes", "--host", "captain.example"),
                     3);
    assert_non_null(strstr(secure_said(fleet), "ca.key"));
}

static bool is_private(struct secure *fleet, const char *name)
{
    struct stat st;
    assert_int_equal(stat(arena_printf(&fleet->arena, "%s/%s", fleet->folder, name), &st), 0);
    return (st.st_mode & 0077) == 0;
}

static void test_init__what_is_secret_is_private(void **state)
{
    struct secure *fleet = *state;
    static const char *const names[] = {"",
                                        "captain.json",
                                        "captain.creds",
                                        "system.creds",
                                        "streams.creds",
                                        "keys",
                                        "keys/root.key",
                                        "keys/release.key",
                                        "keys/desired.key",
                                        "keys/ca.key",
                                        "keys/master.key",
                                        "keys/operator-signing.nk",
                                        "keys/operator.nk",
                                        "keys/fleet.nk",
                                        "keys/streams.nk",
                                        "keys/scope-admin.nk",
                                        "nats",
                                        "nats/tls/server.key",
                                        "../config/captain/acme.creds",
                                        "../config/captain/contexts.json"};
    make(fleet);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (!is_private(fleet, names[i]))
            fail_msg("%s can be read by others", names[i]);
    /* What it says to the person holds no secret either. */
    assert_null(strstr(secure_said(fleet), "SU"));
    assert_null(strstr(secure_said(fleet), "eyJ"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, secure_set_up, secure_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_init__makes_a_fleet_that_runs_with_tls_and_roles),
        T(test_init__an_answer_goes_only_to_the_askers_inbox),
        T(test_init__artifacts_and_trust_are_served_over_tls),
        T(test_init__a_folder_that_is_not_empty_is_refused),
        T(test_init__offline_keys_sign_later),
        T(test_init__the_certificate_can_be_renewed),
        T(test_init__what_is_secret_is_private),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
