/* SPDX-License-Identifier: Apache-2.0
 *
 * SECURITY.md, "Attacks that must bounce": credentials tried where they do not belong. Two devices
 * are enrolled, and the test speaks with their credentials itself; no agent runs. The server must
 * name each subject it refuses, and witnesses with captain's credentials, who hear everything, must
 * hear nothing of it.
 */
#include "tests/e2e/secure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "tests/support/wait.h"

#define MARK "said by an attacker"

enum { REFUSED_MS = 10000, NO_ANSWER_MS = 1000 };

/* ---- who hears ---- */

/* Of the accounts of FLEET and of the streams. */
struct witness {
    struct bus_probe probe;
    unsigned heard;                    /* messages that the attacker made */
    char subject[BUS_SUBJECT_MAX + 1]; /* of the last */
};

static struct witness witnesses[2];

static void on_heard(void *arg, const struct bus_message *message)
{
    struct witness *witness = arg;
    if (!memmem(message->data.ptr, message->data.len, MARK, sizeof MARK - 1))
        return;
    witness->heard++;
    (void)snprintf(witness->subject, sizeof witness->subject, "%s", message->subject);
}

static void open_witness(struct secure *secure, struct witness *witness, const char *creds)
{
    *witness = (struct witness){.heard = 0};
    secure_probe(secure, &witness->probe, secure_text(secure, "%s/%s", secure->folder, creds),
                 "_INBOX.witness");
    if (bus_subscribe(witness->probe.bus, ">", on_heard, witness, &witness->probe.err) != ERR_OK)
        fail_msg("%s", witness->probe.err.text);
    bus_probe_start(&witness->probe);
}

static int set_up(void **state)
{
    (void)secure_set_up_running(state);
    struct secure *secure = *state;
    const struct secure_token token = TOKEN(secure, "lyon", "--uses", "3");
    for (size_t i = 0; i < 3; i++) {
        const char *name = secure_text(secure, "gate-%zu", i + 1);
        if (secure_enroll(secure, secure_device(secure, i, name, name), &token) != 0)
            fail_msg("%s", secure_said(secure));
    }
    open_witness(secure, &witnesses[0], "captain.creds");
    open_witness(secure, &witnesses[1], "streams.creds");
    return 0;
}

static int tear_down(void **state)
{
    bus_probe_close(&witnesses[0].probe);
    bus_probe_close(&witnesses[1].probe);
    return secure_tear_down(state);
}

/* ---- who speaks ---- */

struct identity {
    const char *creds, *inbox;
    const char *own; /* a subject that it may publish to */
};

static void open_attacker(struct secure *secure, struct bus_probe *probe,
                          const struct identity *identity)
{
    secure_probe(secure, probe, identity->creds, identity->inbox);
}

static void say(struct bus_probe *probe, const char *subject, const char *reply)
{
    /* A get is a question; a stream answers only one that says nothing more. */
    const struct bytes data =
        reply && strstr(subject, ".GET.") ? bytes_of(NULL, 0) : bytes_of(MARK, sizeof MARK - 1);
    if (bus_publish(probe->bus, subject, data, NULL, reply, &probe->err) != ERR_OK)
        fail_msg("%s", probe->err.text);
}

struct complaint {
    const struct bus_probe *probe;
    const char *subject;
};

static bool is_refused(void *arg)
{
    const struct complaint *complaint = arg;
    return strstr(complaint->probe->text, "ermissions") &&
           strstr(complaint->probe->text, complaint->subject);
}

/* The server has said of this subject that it refuses it. */
static void assert_refused(struct bus_probe *probe, const char *subject)
{
    struct complaint complaint = {probe, subject};
    if (!wait_turning(probe->loop, is_refused, &complaint, REFUSED_MS))
        fail_msg("%s is not refused: %s", subject, probe->text);
}

struct sound {
    const struct witness *witness;
    const char *subject;
};

static bool is_heard(void *arg)
{
    const struct sound *sound = arg;
    return str_equal(sound->witness->subject, sound->subject);
}

/* Until the witness has heard that; all that was said to it before is in heard then. */
static void wait_heard(struct witness *witness, const char *subject)
{
    struct sound sound = {witness, subject};
    if (!wait_turning(witness->probe.loop, is_heard, &sound, REFUSED_MS))
        fail_msg("%s is not heard", subject);
}

/* How much it has heard so far. */
static unsigned heard_of(struct witness *witness)
{
    witness->subject[0] = '\0';
    say(&witness->probe, "_INBOX.witness.now", NULL);
    wait_heard(witness, "_INBOX.witness.now");
    return witness->heard;
}

/* What it may say comes behind what it may not: when the one is heard, the other would have been. */
static void assert_only_own_is_heard(struct bus_probe *probe, const struct identity *identity,
                                     const char *subject)
{
    struct witness *fleet = &witnesses[0], *streams = &witnesses[1];
    const unsigned before = heard_of(fleet), streams_before = heard_of(streams);
    say(probe, subject, NULL);
    assert_refused(probe, subject);
    say(probe, identity->own, NULL);
    wait_heard(fleet, identity->own);
    if (fleet->heard != before + 1 || heard_of(streams) != streams_before + 1)
        fail_msg("%s was heard", subject);
}

static void try_publish(struct secure *secure, const struct identity *identity,
                        const char *const *subjects, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        struct bus_probe probe;
        open_attacker(secure, &probe, identity);
        bus_probe_start(&probe);
        assert_only_own_is_heard(&probe, identity, subjects[i]);
        bus_probe_close(&probe);
    }
}

/* A subject, and one that it would hear if it were allowed. */
struct ear {
    const char *subject, *said;
};

static void try_listen(struct secure *secure, const struct identity *identity,
                       const char *own_subject, const struct ear *ears, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        struct bus_probe probe;
        open_attacker(secure, &probe, identity);
        bus_probe_subscribe(&probe, ears[i].subject);
        bus_probe_subscribe(&probe, own_subject);
        bus_probe_start(&probe);
        assert_refused(&probe, ears[i].subject);
        say(&witnesses[0].probe, ears[i].said, NULL);
        say(&witnesses[0].probe, own_subject, NULL);
        assert_true(bus_probe_wait(&probe, &probe.messages, 1, REFUSED_MS));
        if (probe.messages != 1 || !str_equal(probe.subject, own_subject))
            fail_msg("%s is heard: %s", ears[i].subject, probe.subject);
        bus_probe_close(&probe);
    }
}

static struct identity device(struct secure *secure, unsigned i)
{
    return (struct identity){
        .creds = secure_path(secure, "gate-%u/identity/device.creds", i),
        .inbox = secure_text(secure, "_INBOX.lyon.gate-%u", i),
        .own = secure_text(secure, "telemetry.lyon.gate-%u", i),
    };
}

/* ---- devices ---- */

static void test_attacks_bus__a_device_says_nothing_in_the_name_of_another(void **state)
{
    static const char *const subjects[] = {
        "health.lyon.gate-2",
        "telemetry.lyon.gate-2",
        "event.lyon.gate-2",
        "lease.lyon.gate-2",
        "renew.lyon.gate-2",
        "ack.lyon.gate-2",
        "health.nice.gate-1",
        "_INBOX.lyon.gate-2.1",
        "_INBOX.captain.1",
        "_INBOX.op.ada.1",
        "dn.device.lyon.gate-2",
        "dn.channel.hello.stable",
        "dn.root.2",
        "enroll",
    };
    const struct identity gate = device(*state, 1);
    try_publish(*state, &gate, subjects, ARRAY_LEN(subjects));
}

static void test_attacks_bus__a_device_neither_feeds_nor_asks_the_streams(void **state)
{
    static const char *const subjects[] = {
        "desired.device.lyon.gate-1",
        "desired.device.lyon.gate-2",
        "desired.channel.hello.stable",
        "desired.root.2",
        "log.decision",
        "captain.holder",
        "fleet.summary",
        "rollout.x",
        "api.ada.status.show",
        "api.gate-1.token.new",
        "$JS.API.INFO",
        "$JS.API.STREAM.CREATE.EVIL",
        "$JS.API.STREAM.UPDATE.DESIRED",
        "$JS.API.STREAM.DELETE.LOG",
        "$JS.API.STREAM.PURGE.DESIRED",
        "$JS.API.STREAM.MSG.GET.DESIRED",
        "$JS.API.STREAM.MSG.DELETE.LOG",
        "$JS.API.CONSUMER.CREATE.EVENTS",
        "$JS.API.CONSUMER.DURABLE.CREATE.DESIRED.evil",
        "$JS.API.DIRECT.GET.LOG",
        "$JS.API.DIRECT.GET.LOG.log.decision",
        "$JS.API.DIRECT.GET.DESIRED",
        "$JS.API.DIRECT.GET.DESIRED.desired.device.lyon.gate-2",
        "$SYS.REQ.CLAIMS.UPDATE",
        "$SYS.REQ.SERVER.PING",
    };
    const struct identity gate = device(*state, 1);
    try_publish(*state, &gate, subjects, ARRAY_LEN(subjects));
}

static void test_attacks_bus__a_device_hears_nothing_of_another(void **state)
{
    static const struct ear ears[] = {
        {">", "health.lyon.gate-2"},
        {"*.lyon.*", "health.lyon.gate-2"},
        {"health.lyon.gate-2", "health.lyon.gate-2"},
        {"telemetry.>", "telemetry.lyon.gate-2"},
        {"event.>", "event.lyon.gate-2"},
        {"event.lyon.gate-1",
         "event.lyon.gate-1"}, /* its own: would show where captain is answered */
        {"lease.lyon.gate-2", "lease.lyon.gate-2"},
        {"renew.lyon.gate-2", "renew.lyon.gate-2"},
        {"ack.lyon.gate-2", "ack.lyon.gate-2"},
        {"ack.>", "ack.lyon.gate-2"},
        {"_INBOX.>", "_INBOX.lyon.gate-2.1"},
        {"_INBOX.lyon.gate-2.>", "_INBOX.lyon.gate-2.1"},
        {"_INBOX.captain.>", "_INBOX.captain.1"},
        {"_INBOX.enroll.>", "_INBOX.enroll.1"},
        {"_INBOX.op.ada.>", "_INBOX.op.ada.1"},
        {"dn.device.lyon.gate-2", "dn.device.lyon.gate-2"},
        {"dn.device.>", "dn.device.lyon.gate-2"},
        {"dn.>", "dn.device.lyon.gate-2"},
        {"desired.>", "desired.device.lyon.gate-1"},
        {"log.decision", "log.decision"},
        {"api.>", "api.x.status.show"},
        {"enroll", "enroll"},
        {"fleet.summary", "fleet.summary"},
    };
    const struct identity gate = device(*state, 1);
    try_listen(*state, &gate, "dn.device.lyon.gate-1", ears, ARRAY_LEN(ears));
}

/* What it may ask is answered; the same of another is not, and says nothing. */
static void test_attacks_bus__a_device_gets_only_its_own_document(void **state)
{
    struct secure *secure = *state;
    struct bus_probe *streams = &witnesses[1].probe, probe;
    const struct bus_expect any = {0};
    const struct identity gate = device(secure, 1);
    assert_int_equal(bus_probe_store(streams, "desired.device.lyon.gate-1", "of 1", NULL, any),
                     ERR_OK);
    assert_int_equal(bus_probe_store(streams, "desired.device.lyon.gate-2", "of 2", NULL, any),
                     ERR_OK);
    open_attacker(secure, &probe, &gate);
    bus_probe_start(&probe);
    assert_int_equal(bus_probe_get_last(&probe, "DESIRED", "desired.device.lyon.gate-1"), ERR_OK);
    assert_string_equal(probe.answer, "of 1");
    probe.answer[0] = '\0';
    assert_int_not_equal(bus_probe_get_last(&probe, "DESIRED", "desired.device.lyon.gate-2"),
                         ERR_OK);
    assert_string_equal(probe.answer, "");
    assert_refused(&probe, "$JS.API.DIRECT.GET.DESIRED.desired.device.lyon.gate-2");
    bus_probe_close(&probe);
}

/* nats-server asks no leave for the subject that an answer goes to: whoever is answered makes the server, a
 * stream or captain speak where he likes. So nobody may mind what comes that way. */
static void test_attacks_bus__an_answer_is_no_message(void **state)
{
    static const char *const asked[] = {"lease.lyon.gate-1", "renew.lyon.gate-1",
                                        "event.lyon.gate-1",
                                        "$JS.API.DIRECT.GET.DESIRED.desired.device.lyon.gate-1",
                                        "$JS.API.DIRECT.GET.DESIRED.desired.channel.no.such"};
    static const char *const victims[] = {
        "desired.device.lyon.gate-3",   "log.decision",       "$JS.API.STREAM.DELETE.LOG",
        "$JS.API.STREAM.PURGE.DESIRED", "api.ada.freeze.set", "health.lyon.gate-3",
        "telemetry.lyon.gate-3",        "event.lyon.gate-3",  "lease.lyon.gate-3"};
    struct secure *secure = *state;
    struct bus_probe probe, streams;
    const struct identity gate = device(secure, 1);
    CAPTAIN_OK(secure, "freeze", "--reason", "nothing of it may thaw this");
    secure_probe(secure, &streams, secure_text(secure, "%s/streams.creds", secure->folder),
                 "_INBOX.witness");
    bus_probe_subscribe(&streams, "$JS.API.STREAM.DELETE.>");
    bus_probe_subscribe(&streams, "$JS.API.STREAM.PURGE.>");
    bus_probe_subscribe(&streams, "desired.>");
    bus_probe_start(&streams);
    open_attacker(secure, &probe, &gate);
    bus_probe_start(&probe);
    for (size_t i = 0; i < ARRAY_LEN(asked); i++)
        for (size_t k = 0; k < ARRAY_LEN(victims); k++)
            say(&probe, asked[i], victims[k]);
    /* Behind it, on the same connection, what a stream and captain answer. */
    (void)bus_probe_get_last(&probe, "DESIRED", "desired.channel.no.such");
    (void)bus_probe_request(&probe, "renew.lyon.gate-1", MARK, NO_ANSWER_MS);
    turn_for(streams.loop, 100);
    if (streams.messages != 0)
        fail_msg("the streams hear %s on %s", streams.data, streams.subject);
    CAPTAIN_OK(secure, "freeze", "show");
    assert_non_null(strstr(secure_said(secure), "nothing of it may thaw this"));
    CAPTAIN_OK(secure, "device", "ls");
    assert_null(strstr(secure_said(secure), "gate-3"));
    /* A captain in whose log somebody else has written ends. */
    CAPTAIN_OK(secure, "thaw", "--reason", "it was me");
    bus_probe_close(&streams);
    bus_probe_close(&probe);
}

/* ---- the credential that every device has before it is one ---- */

static void test_attacks_bus__the_enrolment_credential_opens_nothing_else(void **state)
{
    static const char *const subjects[] = {"health.lyon.gate-1",
                                           "event.lyon.gate-1",
                                           "renew.lyon.gate-1",
                                           "desired.device.lyon.gate-1",
                                           "api.ada.token.new",
                                           "_INBOX.lyon.gate-1.1",
                                           "$JS.API.DIRECT.GET.DESIRED.desired.root.2",
                                           "$JS.API.STREAM.DELETE.LOG"};
    static const struct ear ears[] = {{">", "health.lyon.gate-2"},
                                      {"enroll", "enroll"},
                                      {"dn.>", "dn.device.lyon.gate-2"},
                                      {"_INBOX.>", "_INBOX.lyon.gate-2.1"}};
    const struct identity enroll = {.creds = secure_path(*state, "gate-1/identity/enroll.creds"),
                                    .inbox = "_INBOX.enroll",
                                    .own = "enroll"};
    try_publish(*state, &enroll, subjects, ARRAY_LEN(subjects));
    try_listen(*state, &enroll, "_INBOX.enroll.own", ears, ARRAY_LEN(ears));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attacks_bus__a_device_says_nothing_in_the_name_of_another),
        cmocka_unit_test(test_attacks_bus__a_device_neither_feeds_nor_asks_the_streams),
        cmocka_unit_test(test_attacks_bus__a_device_hears_nothing_of_another),
        cmocka_unit_test(test_attacks_bus__a_device_gets_only_its_own_document),
        cmocka_unit_test(test_attacks_bus__an_answer_is_no_message),
        cmocka_unit_test(test_attacks_bus__the_enrolment_credential_opens_nothing_else),
    };
    return cmocka_run_group_tests_name("attacks_bus", tests, set_up, tear_down);
}
