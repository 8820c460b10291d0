/* SPDX-License-Identifier: Apache-2.0
 *
 * A dashboard with a viewer's credential: the program that `captain operator add` prints runs as it is,
 * fleet.summary comes, and the credential can say nothing but its own questions.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/clock.h"
#include "proto/codec.h"
#include "tests/e2e/secure.h"
#include "tests/support/support.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

enum {
    SAID_MAX = 64,
    PAUSE_MS = 450 /* 500, and what clocks differ by */,
    SUMMARY_WAIT_MS = 15000,
    NOTHING_MS = 500
};

static const char *add_wall(struct secure *secure)
{
    const char *creds = secure_path(secure, "wall.creds");
    CAPTAIN_OK(secure, "operator", "add", "wall", "--role", "viewer", "--output", creds);
    return creds;
}

/* ---- nats.js ---- */

/* What the program and the commands stand in is stdout; notes for people go elsewhere. */
static const char *printed_for_wall(struct secure *secure)
{
    const char *out = secure_path(secure, "printed");
    const char *argv[] = {getenv("CAPTAIN_BIN"),
                          "operator",
                          "add",
                          "wall",
                          "--role",
                          "viewer",
                          "--output",
                          secure_path(secure, "wall.creds"),
                          NULL};
    const char *env[] = {secure->xdg, "USER=ada", NULL};
    const struct proc_options options = {
        .argv = argv, .env = env, .out_path = out, .err_path = secure_path(secure, "printed.err")};
    assert_int_equal(proc_run(&options, SECURE_RUN_MS), 0);
    return secure_content(secure, out);
}

/* The program as it was printed, beside the packages that the test's set-up installed. */
static void write_program(struct secure *secure, const char *printed)
{
    const char *packages = getenv("CAPTAIN_NATSJS");
    const char *program = strstr(printed, "// wall.mjs");
    if (!packages)
        support_die(0,
                    "CAPTAIN_NATSJS must name the folder that tests/support/natsjs/install filled");
    assert_non_null(program);
    tempdir_write(secure_path(secure, "wall.mjs"), program, strlen(program));
    assert_int_equal(symlink(secure_text(secure, "%s/node_modules", packages),
                             secure_path(secure, "node_modules")),
                     0);
}

static void test_viewer__the_example_of_nats_js_runs_as_printed(void **state)
{
    struct secure *secure = *state;
    write_program(secure, printed_for_wall(secure));
    secure_join(secure, 1);
    secure_release(secure, "1.0");
    CAPTAIN_OK(secure, "channel", "set", "hello/stable", "hello@1.0");
    const char *proto = secure_text(secure, "CAPTAIN_PROTO=%s/proto", getenv("CAPTAIN_SOURCE_DIR"));
    secure->env = (const char *const[]){proto, NULL};
    const char *argv[] = {"node", "wall.mjs", NULL};
    struct proc *node = secure_start(secure, "wall.log", argv);
    secure_wait_log(secure, "wall.log", "1 of 1 devices online", 2); /* answered, and of itself */
    secure_wait_log(secure, "wall.log", "health.lyon.gate-1 hello 1.0 APP_STATE_HEALTHY", 1);
    secure->env = NULL;
    proc_free(node);
}

/* ---- fleet.summary ---- */

struct said {
    struct arena arena;
    struct status last;
    int64_t at_ms[SAID_MAX]; /* captain's clock */
    size_t len;
};

static void hear(void *arg, const struct bus_message *message)
{
    struct said *said = arg;
    struct err err;
    arena_reset(&said->arena);
    if (codec_decode(&codec_status, message->data, &said->arena, &said->last, &err) != ERR_OK)
        fail_msg("fleet.summary: %s", err.text);
    if (said->len < SAID_MAX)
        said->at_ms[said->len++] = said->last.now_ms;
}

static bool is_frozen_known(void *arg)
{
    const struct said *said = arg;
    return said->len > 0 && said->last.log_seq >= 8;
}

static bool has_three(void *arg)
{
    return ((const struct said *)arg)->len >= 3;
}

static void test_viewer__hears_how_the_fleet_is(void **state)
{
    struct secure *secure = *state;
    struct said said = {.len = 0};
    struct bus_probe probe;
    const char *creds = add_wall(secure);
    arena_init(&said.arena, 16 << 20);
    secure_probe(secure, &probe, creds, "_INBOX.op.wall");
    assert_int_equal(bus_subscribe(probe.bus, "fleet.summary", hear, &said, &probe.err), ERR_OK);
    bus_probe_start(&probe);
    for (int i = 0; i < 4; i++) /* more than four decisions: 8 and above */
        CAPTAIN_OK(secure, i % 2 ? "thaw" : "freeze", "--reason", "test");
    assert_true(wait_turning(probe.loop, is_frozen_known, &said, SUMMARY_WAIT_MS));
    assert_string_equal(said.last.tenant, "acme");
    assert_true(llabs(said.last.now_ms - clock_unix_ms()) < SUMMARY_WAIT_MS);
    /* Without news too, and never more than two a second. */
    assert_true(wait_turning(probe.loop, has_three, &said, 3 * SUMMARY_WAIT_MS));
    for (size_t i = 1; i < said.len; i++)
        assert_true(said.at_ms[i] - said.at_ms[i - 1] >= PAUSE_MS);
    bus_probe_close(&probe);
    arena_fini(&said.arena);
}

/* ---- nothing else ---- */

/* What only others may say, or nobody. */
static const char *const foreign[] = {
    "health.lyon.gate-1",
    "telemetry.lyon.gate-1",
    "event.lyon.gate-1",
    "lease.lyon.gate-1",
    "renew.lyon.gate-1",
    "ack.lyon.gate-1",
    "enroll",
    "dn.channel.hello.stable",
    "desired.channel.hello.stable",
    "desired.device.lyon.gate-1",
    "desired.root.2",
    "log.decision",
    "fleet.summary",
    "rollout.01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "api.ada.status.show",
    "api.wall.freeze.set",
    "api.wall.channel.set",
    "api.wall.rollout.start",
    "api.wall.token.new",
    "api.wall.operator.add",
    "api.wall.doctor.show",
    "api.wall.secret.ls",
    "_INBOX.op.ada.x",
    "_INBOX.captain.x",
    "_INBOX.lyon.gate-1.x",
    "$JS.API.STREAM.DELETE.LOG",
    "$JS.API.DIRECT.GET.DESIRED.desired.root.1",
    "$SYS.REQ.ACCOUNT.PING.STATZ",
};

static void test_viewer__says_nothing_but_its_questions(void **state)
{
    struct secure *secure = *state;
    struct bus_probe all, wall;
    const char *creds = add_wall(secure);
    secure_probe(secure, &all, secure_text(secure, "%s/captain.creds", secure->folder),
                 "_INBOX.captain");
    bus_probe_subscribe(&all, "*.>");
    bus_probe_subscribe(&all, "enroll");
    secure_probe(secure, &wall, creds, "_INBOX.op.wall");
    bus_probe_start(&all);
    bus_probe_start(&wall);
    for (size_t i = 0; i < ARRAY_LEN(foreign); i++)
        assert_int_equal(
            bus_publish(wall.bus, foreign[i], bytes_of("planted", 7), NULL, NULL, &wall.err),
            ERR_OK);
    /* What it may say comes behind them, and is answered. */
    assert_int_equal(bus_probe_request(&wall, "api.wall.status.show", "", SECURE_WAIT_MS), ERR_OK);
    assert_true(bus_probe_wait(&wall, &wall.auth_errors, 1, SECURE_WAIT_MS));
    unsigned before = all.messages;
    assert_int_equal(
        bus_publish(wall.bus, "api.wall.status.show", bytes_of("last", 4), NULL, NULL, &wall.err),
        ERR_OK);
    while (strcmp(all.data, "last") != 0) {
        assert_true(bus_probe_wait(&all, &all.messages, before + 1, SECURE_WAIT_MS));
        if (strcmp(all.data, "planted") == 0)
            fail_msg("it said something on %s", all.subject);
        before = all.messages;
    }
    bus_probe_close(&wall);
    bus_probe_close(&all);
}

/* Everything it heard that was planted. */
struct ears {
    unsigned planted, end;
    char subject[BUS_SUBJECT_MAX + 1];
};

static void listen_in(void *arg, const struct bus_message *message)
{
    struct ears *ears = arg;
    if (bytes_equal(message->data, bytes_of("end", 3)))
        ears->end++;
    if (!bytes_equal(message->data, bytes_of("planted", 7)))
        return;
    ears->planted++;
    (void)snprintf(ears->subject, sizeof ears->subject, "%s", message->subject);
}

static void test_viewer__hears_nothing_but_health_and_summaries(void **state)
{
    struct secure *secure = *state;
    static const char *const closed[] = {
        "ack.lyon.gate-1",      "dn.channel.hello.stable", "dn.root.1",
        "_INBOX.lyon.gate-1.x", "_INBOX.op.ada.x",         "_INBOX.captain.x",
        "api.ada.log.ls",       "lease.lyon.gate-1",       "renew.lyon.gate-1"};
    static const char *const open[] = {"health.lyon.x", "telemetry.lyon.x", "fleet.summary",
                                       "rollout.x"};
    struct bus_probe captain, wall;
    struct ears ears = {0};
    const char *creds = add_wall(secure);
    secure_probe(secure, &wall, creds, "_INBOX.op.wall");
    assert_int_equal(bus_subscribe(wall.bus, ">", listen_in, &ears, &wall.err), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(closed); i++)
        assert_int_equal(bus_subscribe(wall.bus, closed[i], listen_in, &ears, &wall.err), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(open); i++)
        assert_int_equal(bus_subscribe(wall.bus, open[i], listen_in, &ears, &wall.err), ERR_OK);
    bus_probe_start(&wall);
    secure_probe(secure, &captain, secure_text(secure, "%s/captain.creds", secure->folder),
                 "_INBOX.captain");
    bus_probe_start(&captain);
    for (size_t i = 0; i < ARRAY_LEN(closed); i++)
        assert_int_equal(
            bus_publish(captain.bus, closed[i], bytes_of("planted", 7), NULL, NULL, &captain.err),
            ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(open); i++)
        assert_int_equal(
            bus_publish(captain.bus, open[i], bytes_of("end", 3), NULL, NULL, &captain.err),
            ERR_OK);
    const int64_t until_ms = clock_mono_ms() + SECURE_WAIT_MS;
    while (ears.end < ARRAY_LEN(open) && clock_mono_ms() < until_ms) {
        loop_turn(captain.loop, 10);
        loop_turn(wall.loop, 10);
    }
    assert_int_equal(ears.end, ARRAY_LEN(open));
    turn_for(wall.loop, NOTHING_MS);
    if (ears.planted > 0)
        fail_msg("it heard %s", ears.subject);
    bus_probe_close(&captain);
    bus_probe_close(&wall);
}

#define T(name) cmocka_unit_test_setup_teardown(name, secure_set_up_running, secure_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_viewer__the_example_of_nats_js_runs_as_printed),
        T(test_viewer__hears_how_the_fleet_is),
        T(test_viewer__says_nothing_but_its_questions),
        T(test_viewer__hears_nothing_but_health_and_summaries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
