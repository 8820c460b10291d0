/* SPDX-License-Identifier: Apache-2.0
 *
 * The bus with servers and networks that are not well, and with more work than it can take.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/clock.h"
#include "tests/support/bus_probe.h"
#include "tests/support/nats_server.h"
#include "tests/support/proxy.h"
#include "tests/support/wait.h"

static struct nats_server *server;
static struct proxy *proxy;
static struct bus_probe probe;

static const struct bus_stream log_stream = {
    .name = "LOG", .subject = "log.>", .allow_direct = true};
static const struct bus_expect anything = {.enabled = false};

static struct bytes text(const char *s)
{
    return bytes_of(s, strlen(s));
}

static int setup(void **state)
{
    (void)state;
    server = nats_server_start(NULL);
    proxy = proxy_start(nats_server_port(server));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    bus_probe_close(&probe);
    proxy_free(proxy);
    nats_server_free(server);
    return 0;
}

static void open_probe(const char *url)
{
    struct bus_options options = bus_probe_options(url);
    bus_probe_open(&probe, &options);
    bus_probe_subscribe(&probe, "in.>");
    assert_int_equal(bus_subscribe(probe.bus, "echo.*", bus_probe_echo, &probe, &probe.err),
                     ERR_OK);
}

static void start_probe(const char *url)
{
    open_probe(url);
    bus_probe_start(&probe);
}

/* A request that nobody answers and that has no time to time out. */
static void ask_silence(void)
{
    assert_int_equal(bus_request(probe.bus, "in.silent", text("?"), 600000, bus_probe_replied,
                                 &probe, &probe.err),
                     ERR_OK);
}

/* ---- killed and restarted ---- */

static void test_bus__outlives_a_killed_server(void **state)
{
    (void)state;
    start_probe(nats_server_url(server));
    ask_silence();
    assert_true(bus_probe_wait(&probe, &probe.messages, 1, 5000));
    nats_server_kill(server);
    assert_true(bus_probe_wait(&probe, &probe.disconnected, 1, 5000));
    assert_int_equal(probe.ended, 1);
    assert_int_equal(probe.code, ERR_NO_CONTACT);
    assert_false(bus_connected(probe.bus));
    assert_string_equal(bus_server_version(probe.bus), "");
    assert_int_equal(bus_publish(probe.bus, "in.a", text("x"), NULL, NULL, NULL), ERR_NO_CONTACT);
    assert_int_equal(bus_probe_request(&probe, "echo.1", "x", 1000), ERR_NO_CONTACT);

    nats_server_restart(server, NULL);
    assert_true(bus_probe_wait(&probe, &probe.connected, 2, 10000));
    assert_int_equal(bus_probe_request(&probe, "echo.1", "again", 5000), ERR_OK);
    assert_string_equal(probe.answer, "again");
    assert_int_equal(probe.ended, 2); /* the old one, and this one; none twice */
}

static void test_bus__consumes_on_where_it_was_after_a_restart(void **state)
{
    (void)state;
    start_probe(nats_server_url(server));
    assert_int_equal(bus_probe_ensure(&probe, &log_stream), ERR_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(bus_probe_store(&probe, "log.a", "x", NULL, anything), ERR_OK);
    }
    assert_int_equal(bus_consume(probe.bus, "LOG", 1, bus_probe_message, &probe, NULL), ERR_OK);
    assert_true(bus_probe_wait(&probe, &probe.messages, 3, 5000));
    nats_server_kill(server);
    nats_server_restart(server, NULL);
    assert_true(bus_probe_wait(&probe, &probe.connected, 2, 10000));

    assert_int_equal(bus_probe_store(&probe, "log.a", "y", NULL, anything), ERR_OK);
    assert_int_equal(bus_consume(probe.bus, "LOG", 4, bus_probe_message, &probe, NULL), ERR_OK);
    assert_true(bus_probe_wait(&probe, &probe.messages, 4, 5000));
    assert_int_equal(bus_probe_store(&probe, "log.a", "z", NULL, anything), ERR_OK);
    assert_true(bus_probe_wait(&probe, &probe.messages, 5, 5000));
    assert_memory_equal(probe.seqs, ((uint64_t[]){1, 2, 3, 4, 5}), 5 * sizeof(uint64_t));
}

static void test_bus__connects_when_the_server_comes_later(void **state)
{
    (void)state;
    nats_server_kill(server);
    open_probe(nats_server_url(server));
    assert_int_equal(bus_start(probe.bus, &probe.err), ERR_OK);
    assert_true(bus_probe_wait(&probe, &probe.disconnected, 1, 5000));
    assert_non_null(strstr(probe.text, "cannot connect"));
    turn_for(probe.loop, 500);
    assert_int_equal(probe.disconnected, 1); /* the same reason is not told again */
    nats_server_restart(server, NULL);
    assert_true(bus_probe_wait(&probe, &probe.connected, 1, 10000));
}

static void test_bus__takes_the_second_url_when_the_first_is_down(void **state)
{
    (void)state;
    char urls[256];
    struct nats_server *other = nats_server_start(NULL);
    (void)snprintf(urls, sizeof urls, "%s,%s", nats_server_url(other), nats_server_url(server));
    nats_server_kill(other);
    start_probe(urls);
    assert_int_equal(bus_probe_request(&probe, "echo.1", "x", 5000), ERR_OK);
    nats_server_free(other);
}

/* ---- frozen, slow, cut ---- */

static unsigned turns;

static void count_turn(void *arg)
{
    (void)arg;
    turns++;
}

/* Turns the loop until the bus has noticed; returns the longest time one turn took. */
static int64_t longest_turn_until_disconnected(int64_t ms)
{
    int64_t longest_ms = 0;
    int64_t end_ms = clock_mono_ms() + ms;
    while (probe.disconnected == 0 && clock_mono_ms() < end_ms) {
        int64_t start_ms = clock_mono_ms();
        /* More than any socket's buffer holds, so that the bus thread is stuck in a write. */
        static uint8_t data[60000];
        (void)!bus_publish(probe.bus, "out.x", bytes_of(data, sizeof data), NULL, NULL, NULL);
        loop_turn(probe.loop, 1);
        int64_t took_ms = clock_mono_ms() - start_ms;
        longest_ms = took_ms > longest_ms ? took_ms : longest_ms;
    }
    return longest_ms;
}

static void test_bus__notices_a_frozen_server_while_writing_and_never_blocks(void **state)
{
    (void)state;
    start_probe(nats_server_url(server));
    loop_on_turn_end(probe.loop, count_turn, NULL);
    ask_silence();
    assert_true(bus_probe_wait(&probe, &probe.messages, 1, 5000));
    turns = 0;
    nats_server_freeze(server);
    int64_t longest_ms = longest_turn_until_disconnected(6000);
    assert_int_equal(probe.disconnected, 1);
    assert_true(longest_ms < 300);
    assert_true(turns > 100);
    assert_int_equal(probe.ended, 1);
    assert_int_equal(probe.code, ERR_NO_CONTACT);
    nats_server_thaw(server);
    assert_true(bus_probe_wait(&probe, &probe.connected, 2, 10000));
    assert_int_equal(bus_probe_request(&probe, "echo.1", "x", 5000), ERR_OK);
}

static void test_bus__notices_a_silent_network_by_pings(void **state)
{
    (void)state;
    start_probe(proxy_url(proxy));
    proxy_hold(proxy, 1);
    assert_true(bus_probe_wait(&probe, &probe.disconnected, 1, 6000)); /* 3 pings of 500 ms */
    proxy_cut(proxy);
    proxy_hold(proxy, 0);
    assert_true(bus_probe_wait(&probe, &probe.connected, 2, 10000));
}

static void test_bus__closes_against_a_frozen_server_in_bounded_time(void **state)
{
    (void)state;
    start_probe(nats_server_url(server));
    nats_server_freeze(server);
    for (int i = 0; i < 100; i++) {
        static uint8_t data[100000];
        (void)!bus_publish(probe.bus, "out.x", bytes_of(data, sizeof data), NULL, NULL, NULL);
    }
    int64_t start_ms = clock_mono_ms();
    bus_close(probe.bus, 200);
    probe.bus = NULL;
    assert_true(clock_mono_ms() - start_ms < 3000);
}

static void test_bus__works_over_a_slow_network(void **state)
{
    (void)state;
    static char data[8000];
    memset(data, 'x', sizeof data - 1);
    start_probe(proxy_url(proxy));
    proxy_throttle(proxy, 50000);
    int64_t start_ms = clock_mono_ms();
    assert_int_equal(bus_probe_request(&probe, "echo.1", data, 10000), ERR_OK);
    assert_true(clock_mono_ms() - start_ms > 200); /* four times through the bottleneck */
    assert_int_equal(probe.disconnected, 0);
    proxy_throttle(proxy, 0);
    assert_int_equal(bus_probe_request(&probe, "echo.1", "fast", 1000), ERR_OK);
}

static void test_bus__connects_thirty_times_while_one_connect_in_ten_is_refused(void **state)
{
    (void)state;
    start_probe(proxy_url(proxy));
    proxy_refuse_every(proxy, 10);
    for (unsigned i = 2; i <= 31; i++) {
        proxy_cut(proxy);
        assert_true(bus_probe_wait(&probe, &probe.connected, i, 10000));
        assert_int_equal(bus_probe_request(&probe, "echo.1", "x", 5000), ERR_OK);
    }
    assert_in_range(proxy_refused(proxy), 3, 10);
}

static void test_bus__keeps_trying_a_server_that_closes_at_once(void **state)
{
    (void)state;
    proxy_close_at_once(proxy, 1);
    open_probe(proxy_url(proxy));
    assert_int_equal(bus_start(probe.bus, &probe.err), ERR_OK);
    for (int i = 0; i < 500 && proxy_refused(proxy) < 8; i++) {
        turn_for(probe.loop, 20);
    }
    assert_true(proxy_refused(proxy) >= 8);
    assert_int_equal(probe.connected, 0);
    proxy_close_at_once(proxy, 0);
    assert_true(bus_probe_wait(&probe, &probe.connected, 1, 10000));
}

/* ---- credentials ---- */

static void test_bus__tries_refused_credentials_again(void **state)
{
    (void)state;
    static const char strict[] = "authorization { user: a, password: right }";
    char url[128];
    (void)snprintf(url, sizeof url, "nats://a:right@127.0.0.1:%u", nats_server_port(server));
    nats_server_stop(server);
    nats_server_restart(server, "authorization { user: a, password: wrong }");
    open_probe(url);
    assert_int_equal(bus_start(probe.bus, &probe.err), ERR_OK);
    /* Twice the same auth error in a row ends libnats' own reconnecting for good. */
    assert_true(bus_probe_wait(&probe, &probe.auth_errors, 4, 10000));
    assert_int_equal(probe.connected, 0);
    nats_server_stop(server);
    nats_server_restart(server, strict);
    assert_true(bus_probe_wait(&probe, &probe.connected, 1, 10000));
    assert_int_equal(bus_probe_request(&probe, "echo.1", "x", 5000), ERR_OK);
}

static void test_bus__tells_a_refused_operation_and_stays(void **state)
{
    (void)state;
    nats_server_stop(server);
    nats_server_restart(server, "authorization { users: [ { user: a, password: b, permissions: {"
                                " publish: { deny: \"secret.>\" } } } ] }");
    char url[128];
    (void)snprintf(url, sizeof url, "nats://a:b@127.0.0.1:%u", nats_server_port(server));
    start_probe(url);
    assert_int_equal(bus_publish(probe.bus, "secret.a", text("x"), NULL, NULL, NULL), ERR_OK);
    assert_true(bus_probe_wait(&probe, &probe.auth_errors, 1, 5000));
    assert_non_null(strstr(probe.text, "secret.a"));
    assert_int_equal(probe.disconnected, 0);
    assert_int_equal(bus_probe_request(&probe, "echo.1", "x", 5000), ERR_OK);
}

/* ---- too much ---- */

static void test_bus__full_outbox_is_an_error_and_two_events(void **state)
{
    (void)state;
    struct bus_options options = bus_probe_options(nats_server_url(server));
    options.write_deadline_ms = 20000; /* so that the freeze is a stall, not an end */
    options.ping_interval_ms = 20000;
    bus_probe_open(&probe, &options);
    bus_probe_start(&probe);
    nats_server_freeze(server);
    static uint8_t data[500];
    enum err_code code = ERR_OK;
    unsigned sent = 0;
    /* The sockets' buffers take some of them before the bus thread stalls. */
    while (code == ERR_OK && sent < 50 * BUS_OUTBOX_MAX) {
        code = bus_publish(probe.bus, "out.x", bytes_of(data, sizeof data), NULL, NULL, &probe.err);
        sent++;
    }
    assert_int_equal(code, ERR_FULL);
    assert_true(sent > BUS_OUTBOX_MAX);
    assert_true(bus_probe_wait(&probe, &probe.congested, 1, 5000));
    assert_int_equal(probe.relieved, 0);
    nats_server_thaw(server);
    assert_true(bus_probe_wait(&probe, &probe.relieved, 1, 10000));
    assert_int_equal(bus_publish(probe.bus, "out.x", text("x"), NULL, NULL, NULL), ERR_OK);
    assert_int_equal(probe.congested, probe.relieved);
    assert_int_equal(probe.disconnected, 0);
}

static bool all_accounted(void *arg)
{
    const uint64_t *total = arg;
    return probe.messages + bus_dropped(probe.bus) == *total &&
           probe.slow_count == bus_dropped(probe.bus);
}

/* The loop does not turn while far more than the inbox holds is published by another bus. The last
 * one wants a reply, and finds a place. */
static void test_bus__full_inbox_drops_and_counts_exactly(void **state)
{
    (void)state;
    struct bus_probe sender;
    uint64_t total = BUS_INBOX_MAX + 20000;
    start_probe(nats_server_url(server));
    struct bus_options options = bus_probe_options(nats_server_url(server));
    options.write_deadline_ms = 5000;
    options.ping_interval_ms = 5000;
    bus_probe_open(&sender, &options);
    bus_probe_subscribe(&sender, "in.last");
    bus_probe_start(&sender);
    for (uint64_t i = 0; i < total;) {
        bool last = i + 1 == total;
        if (bus_publish(sender.bus, last ? "in.last" : "in.x", text("x"), NULL,
                        last ? "answers" : NULL, NULL) == ERR_OK) {
            i++;
        } else {
            loop_turn(sender.loop, 1);
        }
    }
    assert_true(bus_probe_wait(&sender, &sender.messages, 1, 20000));
    assert_true(wait_turning(probe.loop, all_accounted, &total, 20000));
    assert_true(probe.slow >= 1);
    assert_true(bus_dropped(probe.bus) > 0);
    assert_in_range(probe.messages, BUS_INBOX_MAX, total - 1);
    assert_string_equal(probe.subject, "in.last");
    bus_probe_close(&sender);
}

static uint64_t consumed_next;
static unsigned consumed_gaps;

static void on_consumed(void *arg, const struct bus_message *message)
{
    (void)arg;
    consumed_gaps += message->stream_seq != consumed_next;
    consumed_next = message->stream_seq + 1;
}

static bool consumed_all(void *arg)
{
    return consumed_next > *(const uint64_t *)arg;
}

static void count_stored(void *arg, uint64_t seq, bool duplicate, const struct err *err)
{
    (void)seq;
    (void)duplicate;
    assert_int_equal(err->code, ERR_OK);
    ++*(unsigned *)arg;
}

/* More than the inbox's bytes arrive while the loop stands still: the rest must be asked for again.
 */
static void test_bus__a_consumer_that_overflows_the_inbox_misses_nothing(void **state)
{
    (void)state;
    static uint8_t data[200 << 10];
    uint64_t total = BUS_INBOX_MAX_BYTES / sizeof data + 100;
    unsigned stored = 0;
    struct bus_options options = bus_probe_options(nats_server_url(server));
    options.write_deadline_ms = 5000;
    options.ping_interval_ms = 10000;
    bus_probe_open(&probe, &options);
    bus_probe_start(&probe);
    assert_int_equal(bus_probe_ensure(&probe, &log_stream), ERR_OK);
    for (uint64_t i = 0; i < total; i++) {
        assert_int_equal(bus_store(probe.bus, "log.a", bytes_of(data, sizeof data), NULL, anything,
                                   20000, count_stored, &stored, &probe.err),
                         ERR_OK);
        if (i % 32 == 31) {
            assert_true(bus_probe_wait(&probe, &stored, (unsigned)i, 20000));
        }
    }
    assert_true(bus_probe_wait(&probe, &stored, (unsigned)total, 20000));
    consumed_next = 1;
    consumed_gaps = 0;
    assert_int_equal(bus_consume(probe.bus, "LOG", 1, on_consumed, NULL, NULL), ERR_OK);
    /* The one place that stands still on purpose: the loop is what is being held up. */
    int64_t until_ms = clock_mono_ms() + 2000;
    while (clock_mono_ms() < until_ms) {
    }
    assert_true(wait_turning(probe.loop, consumed_all, &total, 30000));
    assert_int_equal(consumed_gaps, 0);
    assert_int_equal(probe.disconnected, 0);
}

static void test_bus__close_ends_outstanding_requests(void **state)
{
    (void)state;
    start_probe(nats_server_url(server));
    ask_silence();
    ask_silence();
    bus_close(probe.bus, 100);
    probe.bus = NULL;
    assert_int_equal(probe.ended, 2);
    assert_int_equal(probe.code, ERR_NO_CONTACT);
}

static void test_bus__close_sends_what_is_in_the_outbox(void **state)
{
    (void)state;
    struct bus_probe sender;
    start_probe(nats_server_url(server));
    struct bus_options options = bus_probe_options(nats_server_url(server));
    bus_probe_open(&sender, &options);
    bus_probe_start(&sender);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(bus_publish(sender.bus, "in.x", text("x"), NULL, NULL, NULL), ERR_OK);
    }
    bus_close(sender.bus, 5000);
    loop_close(sender.loop);
    assert_true(bus_probe_wait(&probe, &probe.messages, 1000, 5000));
}

static void test_bus__closes_before_it_ever_connected(void **state)
{
    (void)state;
    nats_server_kill(server);
    struct bus_options options = bus_probe_options(nats_server_url(server));
    options.reconnect_max_ms = 600000;
    bus_probe_open(&probe, &options);
    bus_close(probe.bus, 1000);
    assert_int_equal(bus_open(probe.loop, &options, &probe.bus, &probe.err), ERR_OK);
    assert_int_equal(bus_start(probe.bus, &probe.err), ERR_OK);
    int64_t start_ms = clock_mono_ms();
    bus_close(probe.bus, 10000);
    probe.bus = NULL;
    assert_true(clock_mono_ms() - start_ms < 3000);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_bus__outlives_a_killed_server),
        T(test_bus__consumes_on_where_it_was_after_a_restart),
        T(test_bus__connects_when_the_server_comes_later),
        T(test_bus__takes_the_second_url_when_the_first_is_down),
        T(test_bus__notices_a_frozen_server_while_writing_and_never_blocks),
        T(test_bus__notices_a_silent_network_by_pings),
        T(test_bus__closes_against_a_frozen_server_in_bounded_time),
        T(test_bus__works_over_a_slow_network),
        T(test_bus__connects_thirty_times_while_one_connect_in_ten_is_refused),
        T(test_bus__keeps_trying_a_server_that_closes_at_once),
        T(test_bus__tries_refused_credentials_again),
        T(test_bus__tells_a_refused_operation_and_stays),
        T(test_bus__full_outbox_is_an_error_and_two_events),
        T(test_bus__full_inbox_drops_and_counts_exactly),
        T(test_bus__a_consumer_that_overflows_the_inbox_misses_nothing),
        T(test_bus__close_ends_outstanding_requests),
        T(test_bus__close_sends_what_is_in_the_outbox),
        T(test_bus__closes_before_it_ever_connected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
