/* SPDX-License-Identifier: Apache-2.0
 *
 * The bus thread (from bus_thread down) makes the calls of the library that may block. The
 * library's own threads run the on_ functions, which do nothing but put what came into the inbox.
 */
#include "common/bus_link.h"

#include <assert.h>
#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/bus_request.h"
#include "common/bus_retry.h"
#include "common/bus_tls.h"
#include "common/clock.h"

enum {
    URLS_MAX = 16,
    ERROR_EVENT_MS = 10000, /* at least between two things the library complains of */
    JS_WAIT_MS = 5000,
    VERSION_WAIT_MS = 2000,
};

struct subscription {
    struct bus_link *link;
    const char *subject;
};

/* One run of an ordered consumer; a new one replaces it when the inbox could not hold what came. */
struct consumer_run {
    struct bus_link *link;
    struct consumer_run *next;
    uint32_t generation;
    bool broken; /* the delivery thread's own: nothing is taken any more */
    natsSubscription *sub;
};

struct bus_link {
    const struct bus_options *options;
    const char *replies;
    struct bus_inbox *inbox;
    struct bus_outbox *outbox;
    struct subscription subscriptions[BUS_SUBSCRIPTIONS_MAX];
    unsigned subscriptions_len;

    /* Shared by the threads. */
    atomic_ullong dropped;
    atomic_bool stopping;
    atomic_llong flush_until_ms;
    atomic_llong error_after_ms; /* when the library's complaints are told again */

    /* The bus thread's. */
    pthread_t thread;
    struct bus_retry retry;
    uint64_t session;
    int64_t connected_ms;
    char why[ERR_TEXT_MAX]; /* the session ended or did not come up */
    natsConnection *nc;
    jsCtx *js;
    natsSubscription *subs[BUS_SUBSCRIPTIONS_MAX + 1];
    unsigned subs_len;
    struct consumer_run *consumes;
};

/* ---- the library's threads ---- */

static size_t message_size(natsMsg *msg)
{
    return sizeof(void *) + (size_t)natsMsg_GetDataLength(msg);
}

static void put_message(struct bus_link *link, natsMsg *msg, enum bus_item_kind kind,
                        uint32_t index, size_t max)
{
    struct bus_item item = {msg, kind, index, message_size(msg)};
    if (!bus_inbox_put(link->inbox, item, max)) {
        natsMsg_Destroy(msg);
        atomic_fetch_add(&link->dropped, 1);
        bus_inbox_wake(link->inbox);
    }
}

static void on_message(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *arg)
{
    (void)nc;
    (void)sub;
    struct subscription *subscription = arg;
    struct bus_link *link = subscription->link;
    /* Somebody waits for the answer to a request: reports that fill the inbox leave it its place. */
    const size_t reserve = natsMsg_GetReply(msg) ? BUS_REQUESTS_MAX : 0;
    put_message(link, msg, BUS_ITEM_MESSAGE, (uint32_t)(subscription - link->subscriptions),
                BUS_INBOX_MAX + reserve);
}

static void on_reply(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *arg)
{
    (void)nc;
    (void)sub;
    put_message(arg, msg, BUS_ITEM_REPLY, 0, BUS_INBOX_MAX + BUS_REQUESTS_MAX);
}

static void on_consumed(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *arg)
{
    (void)nc;
    (void)sub;
    struct consumer_run *consume = arg;
    struct bus_item item = {msg, BUS_ITEM_CONSUMED, consume->generation, message_size(msg)};
    if (!consume->broken && bus_inbox_put(consume->link->inbox, item, BUS_INBOX_MAX))
        return;
    natsMsg_Destroy(msg);
    if (!consume->broken) {
        consume->broken = true;
        item = (struct bus_item){NULL, BUS_ITEM_BROKEN, consume->generation, 0};
        (void)bus_inbox_put(consume->link->inbox, item, SIZE_MAX);
    }
}

static void on_complete(void *arg)
{
    bus_outbox_release(((struct bus_link *)arg)->outbox);
}

static void on_closed(natsConnection *nc, void *arg)
{
    (void)nc;
    struct bus_link *link = arg;
    bus_outbox_release(link->outbox);
}

static void put_event(struct bus_link *link, enum bus_event event, const char *text)
{
    bus_inbox_put_event(link->inbox, &(struct bus_happening){.event = event}, text);
}

/* What the library tells beside the connection's end. */
static void on_error(natsConnection *nc, natsSubscription *sub, natsStatus status, void *arg)
{
    (void)sub;
    struct bus_link *link = arg;
    const char *text = NULL;
    int64_t now_ms = clock_mono_ms();
    bool slow = status == NATS_SLOW_CONSUMER;
    if ((!slow && status != NATS_NOT_PERMITTED) || now_ms < atomic_load(&link->error_after_ms)) {
        return;
    }
    atomic_store(&link->error_after_ms, now_ms + ERROR_EVENT_MS);
    (void)natsConnection_GetLastError(nc, &text);
    put_event(link, slow ? BUS_SLOW : BUS_AUTH_ERROR,
              text != NULL ? text : natsStatus_GetText(status));
}

/* ---- the bus thread: one connection ---- */

static void open_library(void)
{
    /* One delivery thread for all subscriptions: fewer threads, and an order between them. */
    (void)nats_Open(-1);
    (void)nats_SetMessageDeliveryPoolSize(1);
}

static natsStatus set_servers(natsOptions *opts, const char *urls)
{
    const char *list[URLS_MAX];
    int len = 0;
    char *state = NULL, *copy = mem_strdup(urls);
    for (char *url = strtok_r(copy, ", ", &state); url != NULL && len < URLS_MAX;
         url = strtok_r(NULL, ", ", &state)) {
        list[len++] = url;
    }
    natsStatus s = natsOptions_SetServers(opts, list, len);
    mem_free(copy);
    return s;
}

static natsStatus set_options(natsOptions *opts, struct bus_link *link)
{
    const struct bus_options *options = link->options;
    const char *ca = options->tls_ca_path, *cert = options->tls_cert_path,
               *creds = options->creds_path;
    bool secure = ca != NULL || strstr(options->url, "tls://") != NULL;
    bus_tls_trust_named_only(ca != NULL);
    natsStatus all[] = {
        natsOptions_SetSecure(opts, secure),
        ca != NULL ? natsOptions_LoadCATrustedCertificates(opts, ca) : NATS_OK,
        cert != NULL ? natsOptions_LoadCertificatesChain(opts, cert, options->tls_key_path)
                     : NATS_OK,
        creds != NULL ? natsOptions_SetUserCredentialsFromFiles(opts, creds, NULL) : NATS_OK,
        natsOptions_SetAllowReconnect(opts, false),
        natsOptions_SetTimeout(opts, options->write_deadline_ms),
        natsOptions_SetWriteDeadline(opts, options->write_deadline_ms),
        natsOptions_SetPingInterval(opts, options->ping_interval_ms),
        natsOptions_SetMaxPingsOut(opts, 2),
        natsOptions_SetSendAsap(opts, true),
        natsOptions_UseGlobalMessageDelivery(opts, true),
        natsOptions_SetClosedCB(opts, on_closed, link),
        natsOptions_SetErrorHandler(opts, on_error, link),
        natsOptions_SetName(opts, options->name),
        natsOptions_SetCustomInboxPrefix(opts, options->inbox_prefix),
    };
    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        if (all[i] != NATS_OK)
            return all[i];
    }
    return NATS_OK;
}

/* The credentials are read here, so each connect sees the newest. */
static natsStatus connect_once(struct bus_link *link)
{
    natsOptions *opts = NULL;
    natsStatus s = natsOptions_Create(&opts);
    s = s == NATS_OK ? set_servers(opts, link->options->url) : s;
    s = s == NATS_OK ? set_options(opts, link) : s;
    if (s == NATS_OK) {
        bus_outbox_hold(link->outbox); /* for on_closed, which comes once per connection made */
        s = natsConnection_Connect(&link->nc, opts);
        if (s != NATS_OK) {
            bus_outbox_release(link->outbox);
        }
    }
    natsOptions_Destroy(opts);
    return s;
}

/* Whether on_complete will come. When the connection has closed in between it will not; then no
 * message of this subscription comes either, since there is one delivery thread and it ends others
 * of the same connection after it. */
static void hold_subscription(struct bus_link *link, natsSubscription *sub)
{
    bus_outbox_hold(link->outbox);
    if (natsSubscription_SetOnCompleteCB(sub, on_complete, link) != NATS_OK) {
        bus_outbox_release(link->outbox);
    }
}

static natsStatus subscribe_one(struct bus_link *link, const char *subject, natsMsgHandler fn,
                                void *arg)
{
    natsSubscription **sub = &link->subs[link->subs_len];
    natsStatus s = natsConnection_Subscribe(sub, link->nc, subject, fn, arg);
    if (s == NATS_OK) {
        link->subs_len++;
        hold_subscription(link, *sub);
    }
    return s;
}

static natsStatus subscribe_all(struct bus_link *link)
{
    char subject[BUS_SUBJECT_ROOM];
    (void)snprintf(subject, sizeof subject, "%s.*", link->replies);
    natsStatus s = subscribe_one(link, subject, on_reply, link);
    for (unsigned i = 0; s == NATS_OK && i < link->subscriptions_len; i++) {
        struct subscription *subscription = &link->subscriptions[i];
        s = subscribe_one(link, subscription->subject, on_message, subscription);
    }
    /* The server's answer to a ping says that it has seen them all. */
    return s == NATS_OK ? natsConnection_FlushTimeout(link->nc, link->options->write_deadline_ms)
                        : s;
}

static void put_connected(struct bus_link *link)
{
    struct bus_happening connected = {.event = BUS_CONNECTED, .session = link->session};
    char url[ERR_TEXT_MAX] = "";
    natsMsg *reply = NULL;
    if (link->options->ask_version &&
        natsConnection_RequestString(&reply, link->nc, "$SYS.REQ.ACCOUNT.PING.STATZ", "",
                                     VERSION_WAIT_MS) == NATS_OK) {
        bus_parse_version(bytes_of(natsMsg_GetData(reply), (size_t)natsMsg_GetDataLength(reply)),
                          connected.version);
        natsMsg_Destroy(reply);
    }
    (void)natsConnection_GetConnectedUrl(link->nc, url, sizeof url);
    bus_inbox_put_event(link->inbox, &connected, url);
}

static natsStatus session_open(struct bus_link *link)
{
    jsOptions options;
    link->session++;
    natsStatus s = connect_once(link);
    s = s == NATS_OK ? subscribe_all(link) : s;
    s = s == NATS_OK ? jsOptions_Init(&options) : s;
    if (s == NATS_OK) {
        options.Wait = JS_WAIT_MS;
        s = natsConnection_JetStream(&link->js, link->nc, &options);
    }
    if (s == NATS_OK) {
        link->connected_ms = clock_mono_ms();
        put_connected(link);
    }
    return s;
}

/* The library may use what is ours until on_closed and every on_complete have come. */
static void session_close(struct bus_link *link)
{
    natsConnection_Close(link->nc); /* NULL is fine */
    bus_outbox_wait_released(link->outbox);
    for (unsigned i = 0; i < link->subs_len; i++) {
        int64_t dropped = 0;
        (void)natsSubscription_GetDropped(link->subs[i], &dropped);
        atomic_fetch_add(&link->dropped, (unsigned long long)dropped);
        natsSubscription_Destroy(link->subs[i]);
    }
    while (link->consumes != NULL) {
        struct consumer_run *consume = link->consumes;
        link->consumes = consume->next;
        natsSubscription_Destroy(consume->sub);
        mem_free(consume);
    }
    link->subs_len = 0;
    jsCtx_Destroy(link->js);
    link->js = NULL;
    natsConnection_Destroy(link->nc);
    link->nc = NULL;
}

/* ---- the bus thread: orders ---- */

static natsStatus set_headers(natsMsg *msg, const struct bus_order *order)
{
    natsStatus s =
        order->msg_id != NULL ? natsMsgHeader_Set(msg, "Nats-Msg-Id", order->msg_id) : NATS_OK;
    if (s == NATS_OK && order->expect.enabled) {
        /* nats-server 2.9.10 takes 0 for the whole stream as not set. */
        char seq[24];
        (void)snprintf(seq, sizeof seq, "%llu", (unsigned long long)order->expect.last_seq);
        s = natsMsgHeader_Set(msg,
                              order->expect.last_seq == 0 ? "Nats-Expected-Last-Subject-Sequence"
                                                          : "Nats-Expected-Last-Sequence",
                              seq);
    }
    return s;
}

static natsStatus send_message(struct bus_link *link, const struct bus_order *order)
{
    const char *data = (const char *)order->data.ptr;
    int len = (int)order->data.len;
    natsMsg *msg = NULL;
    if (order->msg_id == NULL && !order->expect.enabled) {
        return order->reply == NULL ? natsConnection_Publish(link->nc, order->subject, data, len)
                                    : natsConnection_PublishRequest(link->nc, order->subject,
                                                                    order->reply, data, len);
    }
    natsStatus s = natsMsg_Create(&msg, order->subject, order->reply, data, len);
    s = s == NATS_OK ? set_headers(msg, order) : s;
    s = s == NATS_OK ? natsConnection_PublishMsg(link->nc, msg) : s;
    natsMsg_Destroy(msg);
    return s;
}

static natsStatus publish(struct bus_link *link, const struct bus_order *order)
{
    natsStatus s = send_message(link, order);
    if (s != NATS_MAX_PAYLOAD && s != NATS_INVALID_SUBJECT && s != NATS_INVALID_ARG) {
        return s;
    }
    /* This message cannot be sent; the connection is well. */
    struct bus_outcome outcome = {.request = order->number};
    (void)err_set(&outcome.err, ERR_SIZE, "cannot publish to %s: %s", order->subject,
                  natsStatus_GetText(s));
    if (order->number != 0) {
        bus_inbox_put_outcome(link->inbox, &outcome);
    } else {
        put_event(link, BUS_AUTH_ERROR, outcome.err.text);
    }
    return NATS_OK;
}

static void set_why(struct bus_link *link, const char *what, natsStatus s, const char *text)
{
    const char *status = natsStatus_GetText(s), *more = text != NULL ? text : "";
    bool said = strstr(more, status) != NULL; /* the text says the same, and where */
    (void)snprintf(link->why, sizeof link->why, "%s: %s%s%.300s", what, said ? "" : status,
                   said || more[0] == '\0' ? "" : ": ", more);
}

static natsStatus consume(struct bus_link *link, const struct bus_order *order)
{
    if (link->consumes != NULL) {
        /* Never destroyed before the connection: 3.4.1 crashes when a message is just arriving. */
        (void)natsSubscription_Unsubscribe(link->consumes->sub);
    }
    jsSubOptions options;
    (void)jsSubOptions_Init(&options);
    options.Stream = order->subject;
    options.Ordered = true;
    options.Config.DeliverPolicy = js_DeliverByStartSequence;
    options.Config.OptStartSeq = order->expect.last_seq;
    struct consumer_run *run = mem_new(1, sizeof *run);
    run->link = link;
    run->generation = (uint32_t)order->number;
    natsStatus s = js_Subscribe(&run->sub, link->js, ">", on_consumed, run, NULL, &options, NULL);
    run->next = link->consumes;
    link->consumes = run;
    if (s == NATS_OK) {
        hold_subscription(link, run->sub);
    } else {
        set_why(link, order->subject, s, nats_GetLastError(NULL));
    }
    return s;
}

/* Carries out what is in the outbox for this session, drops what is for earlier ones. Anything
 * but NATS_OK ends the connection. */
static natsStatus carry_out_all(struct bus_link *link)
{
    natsStatus s = NATS_OK;
    while (s == NATS_OK && !(link->stopping && clock_mono_ms() >= link->flush_until_ms)) {
        struct bus_order *order = bus_outbox_take(link->outbox);
        if (order == NULL) {
            break;
        }
        if (link->nc != NULL && order->session == link->session) {
            s = order->kind == BUS_ORDER_CONSUME ? consume(link, order) : publish(link, order);
        }
        if (bus_outbox_done(link->outbox, order)) {
            bus_inbox_wake(link->inbox);
        }
    }
    return s;
}

/* ---- the bus thread: supervision ---- */

static void session_run(struct bus_link *link)
{
    natsStatus s = NATS_OK;
    link->why[0] = '\0';
    while (s == NATS_OK && !link->stopping && !natsConnection_IsClosed(link->nc)) {
        bus_outbox_wait(link->outbox, INT64_MAX);
        s = carry_out_all(link);
    }
    int64_t flush_ms = link->flush_until_ms - clock_mono_ms();
    if (s == NATS_OK && link->stopping) {
        s = carry_out_all(link);
        s = s == NATS_OK && flush_ms > 0 ? natsConnection_FlushTimeout(link->nc, flush_ms) : s;
    }
    const char *text = NULL;
    natsStatus last = natsConnection_GetLastError(link->nc, &text);
    if (link->why[0] == '\0') {
        set_why(link, "the connection ended", last != NATS_OK ? last : s, text);
    }
    if (last == NATS_CONNECTION_AUTH_FAILED) {
        put_event(link, BUS_AUTH_ERROR, link->why);
    }
}

/* An auth error is told each time, anything else once a minute unless it is news. */
static void tell_no_connect(struct bus_link *link, natsStatus s)
{
    set_why(link, "cannot connect", s, nats_GetLastError(NULL));
    if (s == NATS_CONNECTION_AUTH_FAILED) {
        put_event(link, BUS_AUTH_ERROR, link->why);
    } else if (bus_retry_is_news(&link->retry, link->why, clock_mono_ms())) {
        put_event(link, BUS_DISCONNECTED, link->why);
    }
}

static void wait_to_reconnect(struct bus_link *link, int64_t delay_ms)
{
    int64_t until_ms = clock_mono_ms() + delay_ms;
    while (!link->stopping && clock_mono_ms() < until_ms) {
        bus_outbox_wait(link->outbox, until_ms);
        (void)carry_out_all(link);
    }
}

static void *bus_thread(void *arg)
{
    struct bus_link *link = arg;
    while (!link->stopping) {
        int64_t connected_for_ms = 0;
        natsStatus s = session_open(link);
        if (s == NATS_OK) {
            session_run(link);
            connected_for_ms = clock_mono_ms() - link->connected_ms;
            session_close(link);
            bus_retry_forget(&link->retry);
            put_event(link, BUS_DISCONNECTED, link->why);
        } else {
            tell_no_connect(link, s);
            session_close(link);
        }
        wait_to_reconnect(link, bus_retry_delay_ms(&link->retry, connected_for_ms));
    }
    nats_ReleaseThreadMemory();
    return NULL;
}

/* ---- from the loop thread ---- */

struct bus_link *bus_link_new(const struct bus_options *options, const char *replies,
                              struct bus_inbox *inbox, struct bus_outbox *outbox)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, open_library);
    struct bus_link *link = mem_new(1, sizeof *link);
    link->options = options;
    link->replies = replies;
    link->inbox = inbox;
    link->outbox = outbox;
    bus_retry_init(&link->retry, options->seed, options->reconnect_first_ms,
                   options->reconnect_max_ms);
    return link;
}

void bus_link_subscribe(struct bus_link *link, const char *subject)
{
    assert(link->subscriptions_len < BUS_SUBSCRIPTIONS_MAX);
    link->subscriptions[link->subscriptions_len++] = (struct subscription){link, subject};
}

enum err_code bus_link_start(struct bus_link *link, struct err *err)
{
    int failed = pthread_create(&link->thread, NULL, bus_thread, link);
    return failed == 0 ? ERR_OK : err_sys(err, failed, "cannot start the bus's thread");
}

void bus_link_stop(struct bus_link *link, int64_t flush_ms)
{
    link->flush_until_ms = clock_mono_ms() + flush_ms;
    link->stopping = true;
    bus_outbox_kick(link->outbox);
    (void)pthread_join(link->thread, NULL);
}

void bus_link_free(struct bus_link *link)
{
    mem_free(link);
}

uint64_t bus_link_dropped(const struct bus_link *link)
{
    return link->dropped;
}

static const char *header(natsMsg *msg, const char *name)
{
    const char *value = NULL;
    return natsMsgHeader_Get(msg, name, &value) == NATS_OK ? value : NULL;
}

static uint64_t consumed_seq(natsMsg *msg)
{
    jsMsgMetaData *meta = NULL;
    uint64_t seq = 0;
    if (natsMsg_GetMetaData(&meta, msg) == NATS_OK) {
        seq = meta->Sequence.Stream;
        jsMsgMetaData_Destroy(meta);
    }
    return seq;
}

void bus_link_message(const struct bus_item *item, struct bus_message *ret)
{
    natsMsg *msg = item->object;
    ret->subject = natsMsg_GetSubject(msg);
    ret->reply = natsMsg_GetReply(msg);
    ret->data = bytes_of(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg));
    ret->stream_seq = 0;
    ret->echo = header(msg, "Nats-Stream") != NULL;
    if (item->kind == BUS_ITEM_CONSUMED) {
        ret->reply = NULL; /* it would acknowledge, which an ordered consumer does not */
        ret->stream_seq = consumed_seq(msg);
        return;
    }
    const char *seq = header(msg, "Nats-Sequence");
    if (seq != NULL && str_u64(seq, UINT64_MAX, &ret->stream_seq) != ERR_OK)
        ret->stream_seq = 0;
    const char *subject = item->kind == BUS_ITEM_REPLY ? header(msg, "Nats-Subject") : NULL;
    ret->subject = subject != NULL ? subject : ret->subject;
}

const char *bus_link_token(const struct bus_item *item)
{
    return strrchr(natsMsg_GetSubject(item->object), '.') + 1; /* we subscribe to "<replies>.*" */
}

enum err_code bus_link_status(const struct bus_item *item, struct err *err)
{
    return bus_parse_status(header(item->object, "Status"), header(item->object, "Description"),
                            err);
}

void bus_link_drop(const struct bus_item *item)
{
    if (item->kind == BUS_ITEM_OUTCOME || item->kind == BUS_ITEM_EVENT) {
        mem_free(item->object);
    } else {
        natsMsg_Destroy(item->object);
    }
}
