/* SPDX-License-Identifier: Apache-2.0
 *
 * The public functions of the bus and its callbacks: everything here runs on the loop thread. bus.c
 * is the half that talks to NATS.
 */
#include <assert.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/bus.h"
#include "common/bus_link.h"
#include "common/bus_queue.h"
#include "common/bus_request.h"
#include "common/clock.h"

enum {
    TAKE_PER_TURN = 4096, /* of the inbox; then others get their turn */
    SLOW_EVENT_MS = 1000, /* at least between two BUS_SLOW */
    MSG_ID_MAX = 255,
};

struct subscription {
    char subject[BUS_SUBJECT_MAX + 1];
    bus_message_fn fn;
    void *arg;
};

struct consumer {
    char stream[BUS_SUBJECT_MAX + 1];
    bus_message_fn fn; /* NULL: none */
    void *arg;
    uint64_t next_seq; /* the first that has not been handed on */
    uint32_t generation;
};

struct bus {
    struct loop *loop;
    struct bus_options options; /* the strings are ours */
    struct bus_inbox *inbox;
    struct bus_outbox *outbox;
    struct bus_link *link;
    struct bus_requests *requests;
    struct subscription subscriptions[BUS_SUBSCRIPTIONS_MAX];
    unsigned subscriptions_len;
    struct consumer consumer;
    char replies[BUS_SUBJECT_MAX + 1]; /* the subject of replies, before ".<number>" */

    bool started, connected;
    uint64_t session; /* number of the connection, while connected */
    char version[VERSION_MAX + 1];
    uint64_t crossings_told, dropped_told;
    int64_t slow_told_ms;
    struct loop_timer slow_timer;
};

/* ---- what comes in ---- */

static void tell(struct bus *bus, enum bus_event event, const char *text, uint64_t count)
{
    if (bus->options.on_event != NULL) {
        bus->options.on_event(bus->options.arg, event, text, count);
    }
}

static void tell_congestion(struct bus *bus)
{
    uint64_t crossings = bus_outbox_crossings(bus->outbox);
    while (bus->crossings_told < crossings) {
        bool congested = bus->crossings_told++ % 2 == 0;
        tell(bus, congested ? BUS_CONGESTED : BUS_RELIEVED, "", 0);
    }
}

static void tell_slow(void *arg)
{
    struct bus *bus = arg;
    uint64_t dropped = bus_link_dropped(bus->link);
    int64_t now_ms = loop_now_ms(bus->loop);
    if (dropped == bus->dropped_told) {
        return;
    }
    if (now_ms < bus->slow_told_ms + SLOW_EVENT_MS) {
        loop_timer_at(bus->loop, &bus->slow_timer, bus->slow_told_ms + SLOW_EVENT_MS, tell_slow,
                      bus);
        return;
    }
    uint64_t count = dropped - bus->dropped_told;
    bus->dropped_told = dropped;
    bus->slow_told_ms = now_ms;
    tell(bus, BUS_SLOW, "messages came faster than they were read", count);
}

static void take_message(struct bus *bus, const struct bus_item *item)
{
    struct bus_message message;
    const struct subscription *subscription = &bus->subscriptions[item->index];
    /* What a server tells somebody who asked, and wanted the answer to come here, is nobody's word. */
    if (bus_link_status(item, NULL) != ERR_OK)
        return;
    bus_link_message(item, &message);
    subscription->fn(subscription->arg, &message);
}

static void take_reply(struct bus *bus, const struct bus_item *item)
{
    struct bus_message message;
    struct bus_waiter waiter;
    struct err err = {0};
    uint64_t number, seq = 0;
    bool duplicate = false;
    if (str_u64(bus_link_token(item), UINT64_MAX, &number) != ERR_OK ||
        !bus_requests_take(bus->requests, number, &waiter)) {
        return; /* it came too late, or nobody asked */
    }
    bus_link_message(item, &message);
    enum err_code code = bus_link_status(item, &err);
    if (code == ERR_OK && waiter.stored != NULL) {
        code = bus_parse_ack(message.data, &seq, &duplicate, &err);
    }
    if (code != ERR_OK) {
        bus_waiter_fail(&waiter, &err);
    } else if (waiter.stored != NULL) {
        waiter.stored(waiter.arg, seq, duplicate, &err);
    } else {
        waiter.reply(waiter.arg, &message, &err);
    }
}

static void take_outcome(struct bus *bus, const struct bus_item *item)
{
    const struct bus_outcome *outcome = item->object;
    struct bus_waiter waiter;
    if (bus_requests_take(bus->requests, outcome->request, &waiter)) {
        bus_waiter_fail(&waiter, &outcome->err);
    }
}

static void disconnected(struct bus *bus, const char *why)
{
    struct err err = {0};
    bus->connected = false;
    bus->version[0] = '\0';
    bus->consumer.fn = NULL;
    (void)err_set(&err, ERR_NO_CONTACT, "the connection to the bus ended: %.300s", why);
    bus_requests_fail_all(bus->requests, &err);
}

static void take_event(struct bus *bus, const struct bus_item *item)
{
    const struct bus_happening *happening = item->object;
    if (happening->event == BUS_CONNECTED) {
        bus->connected = true;
        bus->session = happening->session;
        memcpy(bus->version, happening->version, sizeof bus->version);
    } else if (happening->event == BUS_DISCONNECTED) {
        disconnected(bus, happening->text);
    }
    tell(bus, happening->event, happening->text, 0);
}

static enum err_code order_consume(struct bus *bus, struct err *err);

static void take_consumed(struct bus *bus, const struct bus_item *item)
{
    struct consumer *consumer = &bus->consumer;
    struct bus_message message;
    if (consumer->fn == NULL || item->index != consumer->generation) {
        return;
    }
    bus_link_message(item, &message);
    if (message.stream_seq >= consumer->next_seq) {
        consumer->next_seq = message.stream_seq + 1;
        consumer->fn(consumer->arg, &message);
    }
}

/* Everything before the first message that was dropped has been handed on by now. */
static void take_broken(struct bus *bus, const struct bus_item *item)
{
    struct err err = {0};
    if (bus->consumer.fn != NULL && item->index == bus->consumer.generation &&
        order_consume(bus, &err) != ERR_OK) {
        /* The outbox is full: it comes up again, behind what has been put in meanwhile. */
        (void)bus_inbox_put(bus->inbox, *item, SIZE_MAX);
    }
}

static void take_item(struct bus *bus, const struct bus_item *item)
{
    static void (*const takers[])(struct bus *, const struct bus_item *) = {
        [BUS_ITEM_MESSAGE] = take_message,   [BUS_ITEM_REPLY] = take_reply,
        [BUS_ITEM_CONSUMED] = take_consumed, [BUS_ITEM_BROKEN] = take_broken,
        [BUS_ITEM_OUTCOME] = take_outcome,   [BUS_ITEM_EVENT] = take_event,
    };
    takers[item->kind](bus, item);
    bus_link_drop(item);
}

static void on_inbox(void *arg)
{
    struct bus *bus = arg;
    struct bus_item item;
    unsigned taken = 0;
    while (taken < TAKE_PER_TURN && bus_inbox_take(bus->inbox, &item)) {
        take_item(bus, &item);
        taken++;
    }
    bus_inbox_account(bus->inbox);
    if (taken == TAKE_PER_TURN) {
        bus_inbox_wake(bus->inbox);
    }
    tell_congestion(bus);
    tell_slow(bus);
}

/* ---- what goes out ---- */

/* Tokens between single dots, no spaces or control characters; wildcards only where allowed. */
static enum err_code check_subject(const char *subject, bool wildcards, struct err *err)
{
    size_t len = subject != NULL ? strlen(subject) : 0;
    if (len == 0 || len > BUS_SUBJECT_MAX) {
        return err_set(err, ERR_USAGE, "a subject has 1 to %d characters", BUS_SUBJECT_MAX);
    }
    for (size_t i = 0; i < len; i++) {
        bool bad = (unsigned char)subject[i] <= ' ' || subject[i] == 127 ||
                   (!wildcards && (subject[i] == '*' || subject[i] == '>')) ||
                   (subject[i] == '.' && (i == 0 || subject[i - 1] == '.' || i + 1 == len));
        if (bad) {
            return err_set(err, ERR_USAGE, "'%.100s' is not a subject", subject);
        }
    }
    return ERR_OK;
}

static enum err_code check_msg_id(const char *msg_id, struct err *err)
{
    size_t len = msg_id != NULL ? strlen(msg_id) : 0;
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)msg_id[i] < ' ' || len > MSG_ID_MAX) {
            return err_set(err, ERR_USAGE, "a message id has at most %d printable characters",
                           MSG_ID_MAX);
        }
    }
    return ERR_OK;
}

struct outgoing {
    const char *subject, *reply, *msg_id;
    struct bytes data;
    struct bus_expect expect;
    uint64_t request;
};

static enum err_code put_order(struct bus *bus, struct bus_order *order, struct err *err)
{
    order->session = bus->session;
    if (!bus_outbox_put(bus->outbox, order)) {
        mem_free(order);
        return err_set(err, ERR_FULL, "the bus's outbox is full (%d orders)", BUS_OUTBOX_MAX);
    }
    if (bus_outbox_crossings(bus->outbox) != bus->crossings_told) {
        bus_inbox_wake(bus->inbox); /* to tell of it outside of the caller's call */
    }
    return ERR_OK;
}

static enum err_code put_outgoing(struct bus *bus, const struct outgoing *out, struct err *err)
{
    size_t room = bus_order_room(out->subject) + bus_order_room(out->reply) +
                  bus_order_room(out->msg_id) + out->data.len;
    struct bus_order *order = bus_order_new(BUS_ORDER_PUBLISH, room);
    order->subject = bus_order_text(order, out->subject);
    order->reply = bus_order_text(order, out->reply);
    order->msg_id = bus_order_text(order, out->msg_id);
    order->data = bus_order_bytes(order, out->data);
    order->expect = out->expect;
    order->number = out->request;
    return put_order(bus, order, err);
}

static enum err_code check_outgoing(const struct bus *bus, const struct outgoing *out,
                                    struct err *err)
{
    enum err_code code = check_subject(out->subject, false, err);
    code = code == ERR_OK ? check_msg_id(out->msg_id, err) : code;
    if (code == ERR_OK && out->data.len > BUS_PAYLOAD_MAX) {
        code = err_set(err, ERR_SIZE, "a message of %zu bytes is over the bound of %d",
                       out->data.len, BUS_PAYLOAD_MAX);
    }
    if (code == ERR_OK && !bus->connected) {
        code = err_set(err, ERR_NO_CONTACT, "not connected to the bus");
    }
    return code;
}

enum err_code bus_publish(struct bus *bus, const char *subject, struct bytes data,
                          const char *msg_id, const char *reply, struct err *err)
{
    struct outgoing out = {.subject = subject, .reply = reply, .msg_id = msg_id, .data = data};
    enum err_code code = check_outgoing(bus, &out, err);
    if (code == ERR_OK && reply != NULL) {
        code = check_subject(reply, false, err);
    }
    return code == ERR_OK ? put_outgoing(bus, &out, err) : code;
}

/* out->subject has been checked, or is one of the server's around one that has been. */
static enum err_code ask(struct bus *bus, struct outgoing *out, int64_t timeout_ms,
                         const struct bus_waiter *waiter, struct err *err)
{
    char reply[BUS_SUBJECT_ROOM];
    struct bus_waiter unused;
    out->request = bus_requests_add(bus->requests, waiter, timeout_ms);
    if (out->request == 0) {
        return err_set(err, ERR_FULL, "%d requests wait for their reply", BUS_REQUESTS_MAX);
    }
    (void)snprintf(reply, sizeof reply, "%s.%llu", bus->replies, (unsigned long long)out->request);
    out->reply = reply;
    enum err_code code = put_outgoing(bus, out, err);
    out->reply = NULL;
    if (code != ERR_OK) {
        (void)bus_requests_take(bus->requests, out->request, &unused);
    }
    return code;
}

enum err_code bus_request(struct bus *bus, const char *subject, struct bytes data,
                          int64_t timeout_ms, bus_reply_fn fn, void *arg, struct err *err)
{
    struct outgoing out = {.subject = subject, .data = data};
    enum err_code code = check_outgoing(bus, &out, err);
    struct bus_waiter waiter = {.reply = fn, .arg = arg};
    return code == ERR_OK ? ask(bus, &out, timeout_ms, &waiter, err) : code;
}

enum err_code bus_store(struct bus *bus, const char *subject, struct bytes data, const char *msg_id,
                        struct bus_expect expect, int64_t timeout_ms, bus_stored_fn fn, void *arg,
                        struct err *err)
{
    struct outgoing out = {.subject = subject, .msg_id = msg_id, .data = data, .expect = expect};
    enum err_code code = check_outgoing(bus, &out, err);
    struct bus_waiter waiter = {.stored = fn, .arg = arg};
    return code == ERR_OK ? ask(bus, &out, timeout_ms, &waiter, err) : code;
}

/* A direct get; last is "" or "." and the subject. */
static enum err_code direct_get(struct bus *bus, const char *stream, const char *last,
                                struct bytes body, int64_t timeout_ms,
                                const struct bus_waiter *waiter, struct err *err)
{
    char subject[BUS_SUBJECT_ROOM];
    if (!str_is_token(stream)) {
        return err_set(err, ERR_USAGE, "a stream's name is one token");
    }
    (void)snprintf(subject, sizeof subject, "$JS.API.DIRECT.GET.%s%s", stream, last);
    struct outgoing out = {.subject = subject, .data = body};
    if (!bus->connected) {
        return err_set(err, ERR_NO_CONTACT, "not connected to the bus");
    }
    return ask(bus, &out, timeout_ms, waiter, err);
}

enum err_code bus_get_last(struct bus *bus, const char *stream, const char *subject,
                           int64_t timeout_ms, bus_reply_fn fn, void *arg, struct err *err)
{
    char last[BUS_SUBJECT_MAX + 2];
    struct bus_waiter waiter = {.reply = fn, .arg = arg};
    enum err_code code = check_subject(subject, false, err);
    if (code != ERR_OK) {
        return code;
    }
    (void)snprintf(last, sizeof last, ".%s", subject);
    return direct_get(bus, stream, last, bytes_of(NULL, 0), timeout_ms, &waiter, err);
}

enum err_code bus_get_at(struct bus *bus, const char *stream, uint64_t seq, int64_t timeout_ms,
                         bus_reply_fn fn, void *arg, struct err *err)
{
    char body[40];
    struct bus_waiter waiter = {.reply = fn, .arg = arg};
    int len = snprintf(body, sizeof body, "{\"seq\":%llu}", (unsigned long long)seq);
    return direct_get(bus, stream, "", bytes_of(body, (size_t)len), timeout_ms, &waiter, err);
}

static enum err_code order_consume(struct bus *bus, struct err *err)
{
    struct consumer *consumer = &bus->consumer;
    struct bus_order *order = bus_order_new(BUS_ORDER_CONSUME, bus_order_room(consumer->stream));
    order->subject = bus_order_text(order, consumer->stream);
    order->expect.last_seq = consumer->next_seq;
    order->number = consumer->generation + 1;
    enum err_code code = put_order(bus, order, err);
    consumer->generation += code == ERR_OK;
    return code;
}

enum err_code bus_consume(struct bus *bus, const char *stream, uint64_t start_seq,
                          bus_message_fn fn, void *arg, struct err *err)
{
    struct consumer *consumer = &bus->consumer;
    if (!str_is_token(stream) ||
        str_copy(consumer->stream, sizeof consumer->stream, stream) != ERR_OK) {
        return err_set(err, ERR_USAGE, "a stream's name is one token");
    }
    if (!bus->connected) {
        return err_set(err, ERR_NO_CONTACT, "not connected to the bus");
    }
    consumer->fn = fn;
    consumer->arg = arg;
    consumer->next_seq = start_seq > 0 ? start_seq : 1;
    enum err_code code = order_consume(bus, err);
    consumer->fn = code == ERR_OK ? fn : NULL;
    return code;
}

/* ---- open and close ---- */

/* A thread of the library frees a connection's TLS after it has told that it is closed; at the end
 * of a short program OpenSSL would tear itself down under it. It must be the first call, and the
 * end of the process gives everything back anyway. */
__attribute__((constructor)) static void keep_openssl(void)
{
    (void)OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
}

static void copy_options(struct bus *bus, const struct bus_options *from)
{
    struct bus_options *to = &bus->options;
    *to = *from;
    to->url = mem_strdup(from->url);
    to->name = mem_strdup(from->name);
    to->inbox_prefix = mem_strdup(from->inbox_prefix != NULL ? from->inbox_prefix : "_INBOX");
    to->creds_path = mem_strdup(from->creds_path);
    to->tls_ca_path = mem_strdup(from->tls_ca_path);
    to->tls_cert_path = mem_strdup(from->tls_cert_path);
    to->tls_key_path = mem_strdup(from->tls_key_path);
    to->reconnect_first_ms = from->reconnect_first_ms > 0 ? from->reconnect_first_ms : 250;
    to->reconnect_max_ms = from->reconnect_max_ms > 0 ? from->reconnect_max_ms : 300000;
    to->write_deadline_ms = from->write_deadline_ms > 0 ? from->write_deadline_ms : 5000;
    to->ping_interval_ms = from->ping_interval_ms > 0 ? from->ping_interval_ms : 30000;
}

static void free_bus(struct bus *bus)
{
    const char *strings[] = {bus->options.url,          bus->options.name,
                             bus->options.inbox_prefix, bus->options.creds_path,
                             bus->options.tls_ca_path,  bus->options.tls_cert_path,
                             bus->options.tls_key_path};
    for (unsigned i = 0; i < ARRAY_LEN(strings); i++) {
        mem_free((void *)strings[i]);
    }
    bus_inbox_close(bus->inbox);
    bus_requests_free(bus->requests);
    bus_link_free(bus->link);
    bus_outbox_free(bus->outbox);
    mem_free(bus);
}

enum err_code bus_open(struct loop *loop, const struct bus_options *options, struct bus **ret,
                       struct err *err)
{
    uint8_t random[12];
    char hex[2 * sizeof random + 1];
    if (options->url == NULL || options->url[0] == '\0') {
        return err_set(err, ERR_USAGE, "the bus needs a url");
    }
    if (options->inbox_prefix != NULL) {
        enum err_code code = check_subject(options->inbox_prefix, false, err);
        if (code != ERR_OK || strlen(options->inbox_prefix) > BUS_SUBJECT_MAX / 2) {
            return err_set(err, ERR_USAGE, "the inbox prefix is no subject, or too long");
        }
    }
    struct bus *bus = mem_new(1, sizeof *bus);
    enum err_code code = bus_inbox_open(loop, on_inbox, bus, &bus->inbox, err);
    if (code != ERR_OK) {
        mem_free(bus);
        return code;
    }
    bus->loop = loop;
    copy_options(bus, options);
    clock_random(random, sizeof random); /* others must not guess where replies go */
    str_hex(bytes_of(random, sizeof random), hex);
    (void)snprintf(bus->replies, sizeof bus->replies, "%s.%s", bus->options.inbox_prefix, hex);
    bus->outbox = bus_outbox_new();
    bus->requests = bus_requests_new(loop);
    bus->slow_told_ms = loop_now_ms(loop) - SLOW_EVENT_MS;
    bus->link = bus_link_new(&bus->options, bus->replies, bus->inbox, bus->outbox);
    *ret = bus;
    return ERR_OK;
}

enum err_code bus_subscribe(struct bus *bus, const char *subject, bus_message_fn fn, void *arg,
                            struct err *err)
{
    assert(!bus->started);
    enum err_code code = check_subject(subject, true, err);
    if (code != ERR_OK) {
        return code;
    }
    if (bus->subscriptions_len == BUS_SUBSCRIPTIONS_MAX) {
        return err_set(err, ERR_FULL, "the bus has %d subscriptions", BUS_SUBSCRIPTIONS_MAX);
    }
    struct subscription *subscription = &bus->subscriptions[bus->subscriptions_len++];
    (void)snprintf(subscription->subject, sizeof subscription->subject, "%s", subject);
    subscription->fn = fn;
    subscription->arg = arg;
    bus_link_subscribe(bus->link, subscription->subject);
    return ERR_OK;
}

enum err_code bus_start(struct bus *bus, struct err *err)
{
    enum err_code code = bus_link_start(bus->link, err);
    bus->started = code == ERR_OK;
    return code;
}

void bus_close(struct bus *bus, int64_t flush_ms)
{
    struct bus_item item;
    if (bus == NULL) {
        return;
    }
    if (bus->started) {
        bus_link_stop(bus->link, flush_ms);
    }
    while (bus_inbox_take(bus->inbox, &item)) {
        bus_link_drop(&item);
    }
    disconnected(bus, "closed by us");
    loop_timer_stop(&bus->slow_timer);
    free_bus(bus);
}

bool bus_connected(const struct bus *bus)
{
    return bus->connected;
}

const char *bus_server_version(const struct bus *bus)
{
    return bus->version;
}

uint64_t bus_dropped(const struct bus *bus)
{
    return bus_link_dropped(bus->link);
}
