/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/bus_probe.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/support.h"
#include "tests/support/wait.h"

enum { CONNECT_MS = 20000, END_MS = 10000 };

static void keep(char *to, size_t size, const void *from, size_t len)
{
    (void)snprintf(to, size, "%.*s", (int)len, len > 0 ? (const char *)from : "");
}

static void on_event(void *arg, enum bus_event event, const char *text, uint64_t count)
{
    struct bus_probe *probe = arg;
    unsigned *counters[] = {
        [BUS_CONNECTED] = &probe->connected, [BUS_DISCONNECTED] = &probe->disconnected,
        [BUS_CONGESTED] = &probe->congested, [BUS_RELIEVED] = &probe->relieved,
        [BUS_SLOW] = &probe->slow,           [BUS_AUTH_ERROR] = &probe->auth_errors,
    };
    ++*counters[event];
    if (event == BUS_SLOW) {
        probe->slow_count += count;
    } else if (event == BUS_DISCONNECTED || event == BUS_AUTH_ERROR) {
        keep(probe->text, sizeof probe->text, text, strlen(text));
    }
}

struct bus_options bus_probe_options(const char *url)
{
    return (struct bus_options){.url = url,
                                .name = "probe",
                                .seed = 1,
                                .reconnect_first_ms = 50,
                                .reconnect_max_ms = 100,
                                .write_deadline_ms = 500,
                                .ping_interval_ms = 500};
}

void bus_probe_open(struct bus_probe *probe, const struct bus_options *options)
{
    struct bus_options mine = *options;
    memset(probe, 0, sizeof *probe);
    mine.on_event = on_event;
    mine.arg = probe;
    if (loop_open(&probe->loop, &probe->err) != ERR_OK ||
        bus_open(probe->loop, &mine, &probe->bus, &probe->err) != ERR_OK) {
        support_die(0, "cannot open a bus: %s", probe->err.text);
    }
}

void bus_probe_subscribe(struct bus_probe *probe, const char *subject)
{
    if (bus_subscribe(probe->bus, subject, bus_probe_message, probe, &probe->err) != ERR_OK) {
        support_die(0, "cannot subscribe: %s", probe->err.text);
    }
}

void bus_probe_start(struct bus_probe *probe)
{
    if (bus_start(probe->bus, &probe->err) != ERR_OK) {
        support_die(0, "cannot start a bus: %s", probe->err.text);
    }
    if (!bus_probe_wait(probe, &probe->connected, 1, CONNECT_MS)) {
        support_die(0, "the bus does not connect: %s", probe->text);
    }
}

void bus_probe_close(struct bus_probe *probe)
{
    bus_close(probe->bus, 100);
    loop_close(probe->loop);
}

struct waited {
    const unsigned *counter;
    unsigned value;
};

static bool reached(void *arg)
{
    const struct waited *waited = arg;
    return *waited->counter >= waited->value;
}

bool bus_probe_wait(struct bus_probe *probe, const unsigned *counter, unsigned value, int64_t ms)
{
    return wait_turning(probe->loop, reached, &(struct waited){counter, value}, ms);
}

void bus_probe_message(void *arg, const struct bus_message *message)
{
    struct bus_probe *probe = arg;
    if (probe->messages < BUS_PROBE_SEQS_MAX) {
        probe->seqs[probe->messages] = message->stream_seq;
    }
    probe->messages++;
    probe->stream_seq = message->stream_seq;
    const char *reply = message->reply != NULL ? message->reply : "";
    keep(probe->subject, sizeof probe->subject, message->subject, strlen(message->subject));
    keep(probe->reply, sizeof probe->reply, reply, strlen(reply));
    keep(probe->data, sizeof probe->data, message->data.ptr, message->data.len);
}

void bus_probe_echo(void *arg, const struct bus_message *message)
{
    struct bus_probe *probe = arg;
    bus_probe_message(probe, message);
    if (message->reply != NULL &&
        bus_publish(probe->bus, message->reply, message->data, NULL, NULL, &probe->err) != ERR_OK) {
        support_die(0, "cannot answer: %s", probe->err.text);
    }
}

void bus_probe_replied(void *arg, const struct bus_message *message, const struct err *err)
{
    struct bus_probe *probe = arg;
    probe->ended++;
    probe->code = err->code;
    probe->err = *err;
    if (message != NULL) {
        probe->answer_seq = message->stream_seq;
        keep(probe->answer, sizeof probe->answer, message->data.ptr, message->data.len);
        keep(probe->answer_subject, sizeof probe->answer_subject, message->subject,
             strlen(message->subject));
    }
}

void bus_probe_stored(void *arg, uint64_t seq, bool duplicate, const struct err *err)
{
    struct bus_probe *probe = arg;
    bus_probe_replied(arg, NULL, err);
    probe->answer_seq = seq;
    probe->duplicate = duplicate;
}

void bus_probe_ensured(void *arg, const struct bus_stream_state *state, const struct err *err)
{
    struct bus_probe *probe = arg;
    bus_probe_replied(arg, NULL, err);
    probe->state = state != NULL ? *state : (struct bus_stream_state){0};
}

enum err_code bus_probe_end(struct bus_probe *probe, enum err_code code)
{
    if (code != ERR_OK) {
        return code;
    }
    if (!bus_probe_wait(probe, &probe->ended, probe->ended + 1, END_MS)) {
        support_die(0, "a request on the bus does not end");
    }
    return probe->code;
}

enum err_code bus_probe_request(struct bus_probe *probe, const char *subject, const char *text,
                                int64_t timeout_ms)
{
    return bus_probe_end(probe, bus_request(probe->bus, subject, bytes_of(text, strlen(text)),
                                            timeout_ms, bus_probe_replied, probe, &probe->err));
}

enum err_code bus_probe_store(struct bus_probe *probe, const char *subject, const char *text,
                              const char *msg_id, struct bus_expect expect)
{
    return bus_probe_end(probe, bus_store(probe->bus, subject, bytes_of(text, strlen(text)), msg_id,
                                          expect, 5000, bus_probe_stored, probe, &probe->err));
}

enum err_code bus_probe_get_last(struct bus_probe *probe, const char *stream, const char *subject)
{
    return bus_probe_end(probe, bus_get_last(probe->bus, stream, subject, 5000, bus_probe_replied,
                                             probe, &probe->err));
}

enum err_code bus_probe_ensure(struct bus_probe *probe, const struct bus_stream *stream)
{
    return bus_probe_end(
        probe, bus_stream_ensure(probe->bus, stream, bus_probe_ensured, probe, &probe->err));
}
