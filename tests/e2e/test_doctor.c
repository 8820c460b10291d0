/* SPDX-License-Identifier: Apache-2.0
 *
 * captain doctor in a fleet with TLS and roles: each fault that is planted is found, with its mend and its
 * exit code. And captain answers a device only in the device's own inbox.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/clock.h"
#include "proto/codec.h"
#include "tests/e2e/secure.h"
#include "tests/support/nats_server.h"
#include "tests/support/wait.h"

enum { DENIED = 4, NO_CONTACT = 8 };

static void expect_line(struct secure *secure, const char *level, const char *what)
{
    const char *said = secure_said(secure), *at = strstr(said, what);
    if (!at)
        fail_msg("not said: %s\nbut: %s", what, said);
    while (at > said && at[-1] != '\n')
        at--;
    if (strncmp(at, level, strlen(level)) != 0)
        fail_msg("not %s: %s", level, at);
}

static void test_doctor__a_new_fleet_has_no_error(void **state)
{
    struct secure *secure = *state;
    CAPTAIN_OK(secure, "doctor");
    assert_null(strstr(secure_said(secure), "error"));
    expect_line(secure, "warning", "role root: one key of 1 is enough");
    expect_line(secure, "warning", "captain does not need root.key");
    expect_line(secure, "warning", "there is one admin");
    expect_line(secure, "ok", "this clock and captain's agree");
    expect_line(secure, "ok", "nats-server has all permissions and revocations");
    expect_line(secure, "ok", "the servers' certificate ends in 364d");
    expect_line(secure, "ok", "captain's alone");
    expect_line(secure, "ok", "no incidents within a day");
    /* Worst first. */
    assert_true(strstr(secure_said(secure), "warning ") < strstr(secure_said(secure), "ok "));
}

static void test_doctor__open_files_are_errors(void **state)
{
    struct secure *secure = *state;
    const char *key = secure_text(secure, "%s/keys/desired.key", secure->folder);
    const char *creds = secure_path(secure, "config/captain/acme.creds");
    assert_int_equal(chmod(key, 0640), 0);
    assert_int_equal(CAPTAIN(secure, "doctor"), 1);
    expect_line(secure, "error", "desired.key is open to others (mode 0640)");
    expect_line(secure, " ", secure_text(secure, "chmod 600 %s", key));
    assert_non_null(strstr(secure_said(secure), "error: 1 error to mend"));
    json_t *json = NULL;
    assert_int_equal(CAPTAIN(secure, "doctor", "--json", "--color", "never"), 1);
    json = json_loads(secure_said(secure), JSON_DISABLE_EOF_CHECK, NULL);
    const json_t *worst = json_array_get(json_object_get(json, "findings"), 0);
    if (!worst)
        fail_msg("%s", secure_said(secure));
    assert_string_equal(json_string_value(json_object_get(worst, "level")), "error");
    json_decref(json);
    assert_int_equal(chmod(key, 0600), 0);
    CAPTAIN_OK(secure, "doctor");
    assert_int_equal(chmod(creds, 0644), 0);
    assert_int_not_equal(CAPTAIN(secure, "doctor"), 0);
    expect_line(secure, "error", "your credential");
}

static void test_doctor__what_ends_soon_is_said(void **state)
{
    struct secure *secure = *state;
    const char *creds = secure_path(secure, "bob.creds");
    CAPTAIN_OK(secure, "operator", "add", "bob", "--role", "operator", "--ttl", "3d", "--output",
               creds);
    CAPTAIN_OK(secure, "doctor");
    expect_line(secure, "warning", "the credential of bob (operator) ends in 2d23h");
    expect_line(secure, " ", "captain operator add bob --role operator --yes");
    CAPTAIN_OK(secure, "--operator", "bob", "--creds", creds, "doctor");
    expect_line(secure, "warning", "your credential ends in 2d23h");
}

static void test_doctor__without_captain_it_says_what_is_seen_from_here(void **state)
{
    struct secure *secure = *state;
    const char *creds = secure_path(secure, "wall.creds");
    CAPTAIN_OK(secure, "operator", "add", "wall", "--role", "viewer", "--output", creds);
    assert_int_equal(CAPTAIN(secure, "--operator", "wall", "--creds", creds, "doctor"), DENIED);
    expect_line(secure, "ok", "your credential ends in");
    secure_end(&secure->captain);
    assert_int_equal(CAPTAIN(secure, "doctor"), NO_CONTACT);
    expect_line(secure, "ok", "your credential ends in");
    expect_line(secure, "ok", "the root of your context ends in");
    assert_null(strstr(secure_said(secure), "this clock"));
    secure_end(&secure->nats);
    assert_int_equal(CAPTAIN(secure, "doctor", "--timeout", "1s"), NO_CONTACT);
    expect_line(secure, "ok", "the certificate authority of your context ends in");
}

/* ---- clocks ---- */

/* Answers as captain, with a clock that is off. */
struct clock_of {
    struct bus_probe probe;
    struct arena arena;
    int64_t off_ms;
};

static void answer_doctor(void *arg, const struct bus_message *message)
{
    struct clock_of *other = arg;
    const struct doctor_finding well = {.level = "ok", .what = "captain is well"};
    const struct doctor doctor = {
        .now_ms = clock_unix_ms() + other->off_ms, .findings = &well, .findings_len = 1};
    struct api_reply reply = {0};
    struct bytes data;
    struct err err;
    arena_reset(&other->arena);
    assert_int_equal(codec_encode(&codec_doctor, &doctor, &other->arena, &reply.body, &err),
                     ERR_OK);
    assert_int_equal(codec_encode(&codec_api_reply, &reply, &other->arena, &data, &err), ERR_OK);
    assert_int_equal(bus_publish(other->probe.bus, message->reply, data, NULL, NULL, &err), ERR_OK);
}

static bool has_ended(void *arg)
{
    return proc_wait(arg, 0, NULL);
}

static void test_doctor__a_clock_that_is_off_is_said(void **state)
{
    struct secure *secure = *state;
    static const struct {
        int64_t off_ms;
        int exit_code;
        const char *level, *what;
    } rows[] = {{4000, 0, "ok", "this clock and captain's agree"},
                {20000, 0, "warning", "behind captain's"},
                {-20000, 0, "warning", "ahead of captain's"},
                {11 * 60000, 1, "error", "this clock is 1"},
                {-3650 * INT64_C(86400000), 1, "error", "ahead of captain's"}};
    struct nats_server *server = nats_server_start(NULL);
    struct clock_of other = {.off_ms = 0};
    const struct bus_options options = bus_probe_options(nats_server_url(server));
    arena_init(&other.arena, 1 << 20);
    bus_probe_open(&other.probe, &options);
    assert_int_equal(bus_subscribe(other.probe.bus, "api.*.doctor.show", answer_doctor, &other,
                                   &other.probe.err),
                     ERR_OK);
    bus_probe_start(&other.probe);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *argv[] = {getenv("CAPTAIN_BIN"), "--nats", nats_server_url(server), "doctor",
                              NULL};
        int status = -1;
        other.off_ms = rows[i].off_ms;
        (void)unlink(secure->out);
        struct proc *proc = secure_start(secure, "out", argv);
        assert_true(wait_turning(other.probe.loop, has_ended, proc, SECURE_RUN_MS));
        assert_true(proc_wait(proc, 0, &status));
        proc_free(proc);
        assert_int_equal(WEXITSTATUS(status), rows[i].exit_code);
        expect_line(secure, rows[i].level, rows[i].what);
        expect_line(secure, "ok", "captain is well");
    }
    bus_probe_close(&other.probe);
    nats_server_free(server);
    arena_fini(&other.arena);
}

/* ---- replies ---- */

static const char LEASE[] = "lease.lyon.gate-1";

/* One that captain answers: the rollout is none of its own. Its bytes hold no NUL. */
static const char *ask_for_lease(struct secure *secure)
{
    const struct lease_request request = {.app = "hello",
                                          .channel = "stable",
                                          .rollout = "01ARZ3NDEKTSV4RRFFQ69G5FAV",
                                          .attempt_number = 1};
    struct bytes data;
    struct err err;
    assert_int_equal(codec_encode(&codec_lease_request, &request, &secure->arena, &data, &err),
                     ERR_OK);
    return secure_text(secure, "%.*s", (int)data.len, (const char *)data.ptr);
}

/* Captain's own rights reach where a device's do not: what would feed a stream. */
static void test_reply__a_lease_goes_to_the_devices_own_inbox_only(void **state)
{
    struct secure *secure = *state;
    static const char *const foreign[] = {"desired.device.lyon.gate-2", "event.lyon.gate-2",
                                          "_INBOX.lyon.gate-2.x", "_INBOX.lyon.gate-10.x",
                                          "api.gate.status.show"};
    struct bus_probe all, device;
    const char *ask = ask_for_lease(secure);
    secure_join(secure, 1);
    secure_probe(secure, &all, secure_text(secure, "%s/captain.creds", secure->folder),
                 "_INBOX.captain");
    for (size_t i = 0; i < ARRAY_LEN(foreign); i++)
        bus_probe_subscribe(&all, foreign[i]);
    bus_probe_start(&all);
    secure_probe(secure, &device, secure_path(secure, "gate-1/identity/device.creds"),
                 "_INBOX.lyon.gate-1");
    bus_probe_start(&device);
    for (size_t i = 0; i < ARRAY_LEN(foreign); i++)
        assert_int_equal(bus_publish(device.bus, LEASE, bytes_of(ask, strlen(ask)), NULL,
                                     foreign[i], &device.err),
                         ERR_OK);
    /* One that may be answered is, and comes behind them. */
    assert_int_equal(bus_probe_request(&device, LEASE, ask, SECURE_WAIT_MS), ERR_OK);
    turn_for(all.loop, 200);
    if (all.messages > 0)
        fail_msg("captain published on %s", all.subject);
    bus_probe_close(&device);
    bus_probe_close(&all);
    secure_wait_said(secure, SECURE_INCIDENTS, LEASE);
    CAPTAIN_OK(secure, "doctor");
    expect_line(secure, "warning", "incidents within a day");
}

#define T(name) cmocka_unit_test_setup_teardown(name, secure_set_up_running, secure_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_doctor__a_new_fleet_has_no_error),
        T(test_doctor__open_files_are_errors),
        T(test_doctor__what_ends_soon_is_said),
        T(test_doctor__without_captain_it_says_what_is_seen_from_here),
        cmocka_unit_test_setup_teardown(test_doctor__a_clock_that_is_off_is_said, secure_set_up,
                                        secure_tear_down),
        T(test_reply__a_lease_goes_to_the_devices_own_inbox_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
