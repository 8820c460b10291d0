/* SPDX-License-Identifier: Apache-2.0
 *
 * The bus with a server that is well. test_bus_trouble.c has the others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/bus_request.h"
#include "tests/support/bus_probe.h"
#include "tests/support/nats_server.h"
#include "tests/support/wait.h"

static struct nats_server *server;
static struct bus_probe probe;

static const struct bus_stream log_stream = {
    .name = "LOG", .subject = "log.>", .allow_direct = true, .deny_delete = true};
static const struct bus_expect anything = {.enabled = false};

static struct bytes text(const char *s)
{
    return bytes_of(s, strlen(s));
}

static int setup(void **state)
{
    (void)state;
    server = nats_server_start(NULL);
    struct bus_options options = bus_probe_options(nats_server_url(server));
    options.ask_version = true;
    bus_probe_open(&probe, &options);
    bus_probe_subscribe(&probe, "in.>");
    assert_int_equal(bus_subscribe(probe.bus, "echo.*", bus_probe_echo, &probe, &probe.err),
                     ERR_OK);
    bus_probe_start(&probe);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    bus_probe_close(&probe);
    nats_server_free(server);
    return 0;
}

static void test_bus__delivers_what_is_published(void **state)
{
    (void)state;
    assert_true(bus_connected(probe.bus));
    assert_int_equal(bus_publish(probe.bus, "in.a.b", text("hello"), NULL, "answer.here", NULL),
                     ERR_OK);
    assert_true(bus_probe_wait(&probe, &probe.messages, 1, 5000));
    assert_string_equal(probe.subject, "in.a.b");
    assert_string_equal(probe.data, "hello");
    assert_string_equal(probe.reply, "answer.here");
    assert_int_equal(probe.stream_seq, 0);
    assert_int_equal(bus_publish(probe.bus, "in.c", text(""), NULL, NULL, NULL), ERR_OK);
    assert_true(bus_probe_wait(&probe, &probe.messages, 2, 5000));
    assert_string_equal(probe.data, "");
    assert_string_equal(probe.reply, "");
}

static void test_bus__knows_the_servers_version_when_asked_to(void **state)
{
    (void)state;
    assert_int_equal(strncmp(bus_server_version(probe.bus), "2.", 2), 0);
    assert_non_null(strchr(bus_server_version(probe.bus) + 2, '.'));
}

static void test_bus__request_gets_its_reply(void **state)
{
    (void)state;
    assert_int_equal(bus_probe_request(&probe, "echo.1", "ping", 5000), ERR_OK);
    assert_string_equal(probe.answer, "ping");
}

static unsigned matched;

static void on_numbered(void *arg, const struct bus_message *message, const struct err *err)
{
    assert_int_equal(err->code, ERR_OK);
    uint32_t number;
    assert_int_equal(message->data.len, sizeof number);
    memcpy(&number, message->data.ptr, sizeof number);
    assert_ptr_equal((char *)&matched + number, arg);
    matched++;
}

static void test_bus__a_thousand_requests_in_flight_each_get_their_own_reply(void **state)
{
    (void)state;
    matched = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(bus_request(probe.bus, "echo.n", bytes_of(&i, sizeof i), 20000,
                                     on_numbered, (char *)&matched + i, &probe.err),
                         ERR_OK);
    }
    assert_int_equal(matched, 0);
    assert_true(bus_probe_wait(&probe, &matched, 1000, 20000));
}

static void test_bus__request_without_responders_ends_at_once(void **state)
{
    (void)state;
    assert_int_equal(bus_probe_request(&probe, "nobody.here", "?", 60000), ERR_NO_CONTACT);
}

static void test_bus__request_times_out_once(void **state)
{
    (void)state;
    int64_t start_ms = loop_now_ms(probe.loop);
    assert_int_equal(bus_probe_request(&probe, "in.silent", "?", 100), ERR_TIMEOUT);
    int64_t took_ms = loop_now_ms(probe.loop) - start_ms;
    assert_in_range(took_ms, 99, 2000);
    /* A late reply finds nobody. */
    assert_int_equal(bus_publish(probe.bus, probe.reply, text("late"), NULL, NULL, NULL), ERR_OK);
    assert_int_equal(bus_probe_request(&probe, "echo.1", "after", 5000), ERR_OK);
    assert_int_equal(probe.ended, 2);
}

static void test_bus__requests_over_the_bound_are_refused(void **state)
{
    (void)state;
    for (unsigned i = 0; i < BUS_REQUESTS_MAX; i++) {
        assert_int_equal(
            bus_request(probe.bus, "in.x", text(""), 60000, bus_probe_replied, &probe, &probe.err),
            ERR_OK);
    }
    assert_int_equal(
        bus_request(probe.bus, "in.x", text(""), 60000, bus_probe_replied, &probe, &probe.err),
        ERR_FULL);
    bus_close(probe.bus, 0);
    probe.bus = NULL;
    assert_int_equal(probe.ended, BUS_REQUESTS_MAX);
    assert_int_equal(probe.code, ERR_NO_CONTACT);
}

static void test_bus__refuses_bad_subjects_and_sizes(void **state)
{
    (void)state;
    static const char *const bad[] = {"",    ".", "a..b", "a.", ".a", "a b", "a\r\nPUB x 0",
                                      "a.*", ">"};
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(bus_publish(probe.bus, bad[i], text("x"), NULL, NULL, NULL), ERR_USAGE);
    }
    assert_int_equal(bus_publish(probe.bus, "in.a", text("x"), "id\r\nEvil: 1", NULL, NULL),
                     ERR_USAGE);
    assert_int_equal(bus_publish(probe.bus, "in.a", text("x"), NULL, "*", NULL), ERR_USAGE);
    static uint8_t big[BUS_PAYLOAD_MAX + 1];
    assert_int_equal(bus_publish(probe.bus, "in.a", bytes_of(big, sizeof big), NULL, NULL, NULL),
                     ERR_SIZE);
    assert_int_equal(
        bus_publish(probe.bus, "in.a", bytes_of(big, sizeof big - 1), NULL, NULL, NULL), ERR_OK);
    assert_true(bus_probe_wait(&probe, &probe.messages, 1, 5000));
    assert_int_equal(bus_probe_request(&probe, "echo.1", "still well", 5000), ERR_OK);
    assert_int_equal(probe.disconnected, 0);
}

/* ---- streams ---- */

static void test_bus__makes_a_stream_twice_and_changes_it(void **state)
{
    (void)state;
    struct bus_stream stream = log_stream;
    assert_int_equal(bus_probe_ensure(&probe, &stream), ERR_OK);
    assert_int_equal(bus_probe_store(&probe, "log.a", "1", NULL, anything), ERR_OK);
    assert_int_equal(bus_probe_store(&probe, "log.a", "2", NULL, anything), ERR_OK);
    assert_int_equal(bus_probe_ensure(&probe, &stream), ERR_OK);
    assert_int_equal(probe.state.messages, 2);
    assert_int_equal(probe.state.first_seq, 1);
    assert_int_equal(probe.state.last_seq, 2);

    stream.subject = "journal.>";
    assert_int_equal(bus_probe_ensure(&probe, &stream), ERR_OK);
    assert_int_equal(probe.state.last_seq, 2);
    assert_int_equal(bus_probe_store(&probe, "journal.a", "3", NULL, anything), ERR_OK);
    assert_int_equal(probe.answer_seq, 3);
    assert_int_equal(bus_probe_store(&probe, "log.a", "x", NULL, anything), ERR_NO_CONTACT);
}

static void test_bus__says_why_a_stream_cannot_be_made(void **state)
{
    (void)state;
    struct bus_stream other = log_stream;
    other.name = "OTHER";
    assert_int_equal(bus_probe_ensure(&probe, &log_stream), ERR_OK);
    assert_int_equal(bus_probe_ensure(&probe, &other), ERR_FAILED);
    assert_non_null(strstr(probe.err.text, "overlap"));
    other.name = "not a token";
    assert_int_equal(bus_probe_ensure(&probe, &other), ERR_USAGE);
}

static void test_bus__stores_once_per_message_id(void **state)
{
    (void)state;
    assert_int_equal(bus_probe_ensure(&probe, &log_stream), ERR_OK);
    assert_int_equal(bus_probe_store(&probe, "log.a", "1", "id-1", anything), ERR_OK);
    assert_int_equal(probe.answer_seq, 1);
    assert_false(probe.duplicate);
    assert_int_equal(bus_probe_store(&probe, "log.a", "2", "id-2", anything), ERR_OK);
    assert_int_equal(bus_probe_store(&probe, "log.a", "1", "id-1", anything), ERR_OK);
    assert_int_equal(probe.answer_seq, 1);
    assert_true(probe.duplicate);
}

static void test_bus__expected_sequence_fences(void **state)
{
    (void)state;
    struct bus_expect expect = {.enabled = true, .last_seq = 0};
    assert_int_equal(bus_probe_ensure(&probe, &log_stream), ERR_OK);
    assert_int_equal(bus_probe_store(&probe, "log.a", "1", NULL, expect), ERR_OK);
    assert_int_equal(bus_probe_store(&probe, "log.a", "x", NULL, expect), ERR_CONFLICT);
    expect.last_seq = 1;
    assert_int_equal(bus_probe_store(&probe, "log.a", "2", NULL, expect), ERR_OK);
    assert_int_equal(probe.answer_seq, 2);
    assert_int_equal(bus_probe_store(&probe, "log.a", "x", NULL, expect), ERR_CONFLICT);
    expect.last_seq = 7;
    assert_int_equal(bus_probe_store(&probe, "log.a", "x", NULL, expect), ERR_CONFLICT);
    assert_int_equal(bus_probe_get_last(&probe, "LOG", "log.a"), ERR_OK);
    assert_string_equal(probe.answer, "2");
}

static void test_bus__stores_nowhere_without_a_stream(void **state)
{
    (void)state;
    assert_int_equal(bus_probe_store(&probe, "log.a", "1", NULL, anything), ERR_NO_CONTACT);
    enum err_code code =
        bus_get_last(probe.bus, "LOG", "log.a", 300, bus_probe_replied, &probe, &probe.err);
    assert_int_equal(bus_probe_end(&probe, code), ERR_TIMEOUT);
    /* Somebody answers, but not as a stream does. */
    assert_int_equal(bus_probe_store(&probe, "echo.1", "{}", NULL, anything), ERR_MALFORMED);
}

static void test_bus__gets_the_last_message_and_any_message(void **state)
{
    (void)state;
    assert_int_equal(bus_probe_ensure(&probe, &log_stream), ERR_OK);
    assert_int_equal(bus_probe_store(&probe, "log.a", "first", NULL, anything), ERR_OK);
    assert_int_equal(bus_probe_store(&probe, "log.b", "second", NULL, anything), ERR_OK);
    assert_int_equal(bus_probe_store(&probe, "log.a", "third", NULL, anything), ERR_OK);

    assert_int_equal(bus_probe_get_last(&probe, "LOG", "log.a"), ERR_OK);
    assert_string_equal(probe.answer, "third");
    assert_string_equal(probe.answer_subject, "log.a");
    assert_int_equal(probe.answer_seq, 3);
    assert_int_equal(bus_probe_get_last(&probe, "LOG", "log.none"), ERR_NOT_FOUND);

    enum err_code code =
        bus_get_at(probe.bus, "LOG", 2, 5000, bus_probe_replied, &probe, &probe.err);
    assert_int_equal(bus_probe_end(&probe, code), ERR_OK);
    assert_string_equal(probe.answer, "second");
    assert_string_equal(probe.answer_subject, "log.b");
    assert_int_equal(probe.answer_seq, 2);
    code = bus_get_at(probe.bus, "LOG", 99, 5000, bus_probe_replied, &probe, &probe.err);
    assert_int_equal(bus_probe_end(&probe, code), ERR_NOT_FOUND);
}

static void test_bus__republished_messages_carry_their_sequence(void **state)
{
    (void)state;
    struct bus_stream stream = {.name = "DESIRED",
                                .subject = "desired.>",
                                .max_msgs_per_subject = 1,
                                .allow_direct = true,
                                .republish_source = "desired.>",
                                .republish_dest = "in.dn.>"};
    assert_int_equal(bus_probe_ensure(&probe, &stream), ERR_OK);
    assert_int_equal(bus_probe_store(&probe, "desired.a", "1", NULL, anything), ERR_OK);
    assert_int_equal(bus_probe_store(&probe, "desired.a", "2", NULL, anything), ERR_OK);
    assert_true(bus_probe_wait(&probe, &probe.messages, 2, 5000));
    assert_string_equal(probe.subject, "in.dn.a");
    assert_string_equal(probe.data, "2");
    assert_int_equal(probe.stream_seq, 2);
    assert_string_equal(probe.reply, "");
}

static void test_bus__consumes_from_a_sequence_and_then_what_comes(void **state)
{
    (void)state;
    assert_int_equal(bus_probe_ensure(&probe, &log_stream), ERR_OK);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(bus_probe_store(&probe, "log.a", "x", NULL, anything), ERR_OK);
    }
    assert_int_equal(bus_consume(probe.bus, "LOG", 3, bus_probe_message, &probe, NULL), ERR_OK);
    assert_true(bus_probe_wait(&probe, &probe.messages, 3, 5000));
    assert_int_equal(bus_probe_store(&probe, "log.b", "live", NULL, anything), ERR_OK);
    assert_true(bus_probe_wait(&probe, &probe.messages, 4, 5000));
    assert_memory_equal(probe.seqs, ((uint64_t[]){3, 4, 5, 6}), 4 * sizeof(uint64_t));
    assert_string_equal(probe.data, "live");
    assert_string_equal(probe.reply, "");

    /* A second one replaces the first: nothing comes twice. */
    assert_int_equal(bus_consume(probe.bus, "LOG", 7, bus_probe_message, &probe, NULL), ERR_OK);
    assert_int_equal(bus_probe_store(&probe, "log.b", "again", NULL, anything), ERR_OK);
    assert_true(bus_probe_wait(&probe, &probe.messages, 5, 5000));
    turn_for(probe.loop, 50);
    assert_int_equal(probe.messages, 5);
    assert_int_equal(probe.stream_seq, 7);
}

static void test_bus__says_when_it_cannot_consume(void **state)
{
    (void)state;
    assert_int_equal(bus_consume(probe.bus, "NONE", 1, bus_probe_message, &probe, NULL), ERR_OK);
    assert_true(bus_probe_wait(&probe, &probe.disconnected, 1, 5000));
    assert_non_null(strstr(probe.text, "NONE"));
    assert_true(bus_probe_wait(&probe, &probe.connected, 2, 5000));
}

/* ---- replies of strangers ---- */

static void test_bus__reads_no_acknowledgement_from_garbage(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "{",
                                      "[]",
                                      "7",
                                      "{}",
                                      "{\"seq\":0}",
                                      "{\"seq\":-1}",
                                      "{\"seq\":\"1\"}",
                                      "{\"seq\":1,\"seq\":2}"};
    uint64_t seq = 0;
    bool duplicate;
    struct err err;
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(bus_parse_ack(text(bad[i]), &seq, &duplicate, &err), ERR_MALFORMED);
    }
    static char deep[9000];
    memset(deep, '[', sizeof deep);
    assert_int_equal(bus_parse_ack(bytes_of(deep, sizeof deep), &seq, &duplicate, &err),
                     ERR_MALFORMED);
    assert_int_equal(bus_parse_ack(bytes_of(deep, 8000), &seq, &duplicate, &err), ERR_MALFORMED);
    assert_int_equal(bus_parse_ack(text("{\"error\":{}}"), &seq, &duplicate, &err), ERR_FAILED);
    assert_int_equal(
        bus_parse_ack(text("{\"error\":{\"err_code\":10071}}"), &seq, &duplicate, &err),
        ERR_CONFLICT);
    assert_int_equal(bus_parse_ack(text("{\"error\":{\"code\":503}}"), &seq, &duplicate, &err),
                     ERR_NO_CONTACT);
    assert_int_equal(seq, 0);
    assert_int_equal(bus_parse_ack(text("{\"stream\":\"S\",\"seq\":7}"), &seq, &duplicate, &err),
                     ERR_OK);
    assert_int_equal(seq, 7);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_bus__delivers_what_is_published),
        T(test_bus__knows_the_servers_version_when_asked_to),
        T(test_bus__request_gets_its_reply),
        T(test_bus__a_thousand_requests_in_flight_each_get_their_own_reply),
        T(test_bus__request_without_responders_ends_at_once),
        T(test_bus__request_times_out_once),
        T(test_bus__requests_over_the_bound_are_refused),
        T(test_bus__refuses_bad_subjects_and_sizes),
        T(test_bus__makes_a_stream_twice_and_changes_it),
        T(test_bus__says_why_a_stream_cannot_be_made),
        T(test_bus__stores_once_per_message_id),
        T(test_bus__expected_sequence_fences),
        T(test_bus__stores_nowhere_without_a_stream),
        T(test_bus__gets_the_last_message_and_any_message),
        T(test_bus__republished_messages_carry_their_sequence),
        T(test_bus__consumes_from_a_sequence_and_then_what_comes),
        T(test_bus__says_when_it_cannot_consume),
        cmocka_unit_test(test_bus__reads_no_acknowledgement_from_garbage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
