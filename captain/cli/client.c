/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/client.h"

#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/clock.h"

enum {
    TIMEOUT_MS = 5000,
    TIMEOUT_MAX_MS = 3600 * 1000,
    RECONNECT_MAX_MS = 500,
    SENSE_MS = 50,
    AUTH_ERRORS_MAX = 3, /* libnats 3.4.1 signs one challenge of 256 wrongly */
    LIMIT_BYTES = 8 << 20
};

struct client {
    struct loop *loop;
    struct bus *bus;
    struct context context;
    char url[256]; /* for people */
    int64_t timeout_ms;
    char why[256]; /* the last reason of no connection */
    unsigned auth_errors;
    char inbox[TOKEN_MAX + 16]; /* the one that the role of an operator may listen to */
    bool inbox_refused;         /* the credential is another's */
    bool interrupted;
    const char *subject; /* of the subscription, or NULL */
    bus_message_fn on_message;
    void *on_message_arg;
    /* the request under way */
    const char *asking;        /* its subject; NULL: none */
    struct exchange *exchange; /* NULL once the bus has ended it */
    bool done;
    struct arena *arena;
    struct bytes reply;
    struct err error;
};

static void on_event(void *arg, enum bus_event event, const char *text, uint64_t count)
{
    struct client *client = arg;
    (void)count;
    if (event == BUS_AUTH_ERROR)
        client->auth_errors++;
    if (event == BUS_AUTH_ERROR || event == BUS_DISCONNECTED)
        (void)snprintf(client->why, sizeof client->why, "%s", text ? text : "");
    if (event == BUS_AUTH_ERROR && text && client->inbox[0] && strstr(text, client->inbox))
        client->inbox_refused = true;
    /* The server names the subject that may not be published to: nobody else will answer. */
    if (event == BUS_AUTH_ERROR && client->asking && text && strstr(text, client->asking)) {
        client->done = true;
        err_set(&client->error, ERR_DENIED, "operator %s may not do that",
                client->context.operator_name);
        (void)err_hint(&client->error,
                       "captain operator ls tells roles; an admin gives another one");
    }
}

static enum err_code no_contact(const struct client *client, struct err *err)
{
    if (client->auth_errors > 0) {
        err_set(err, ERR_DENIED, "NATS at %s does not let us in\n%s", client->url, client->why);
        return err_hint(err, "--creds FILE, or captain context create NAME --creds FILE");
    }
    err_set(err, ERR_NO_CONTACT, "no contact with NATS at %s\n%s", client->url, client->why);
    return err_hint(err, "--nats URL, NATS_URL or captain context use NAME say where it is");
}

enum err_code client_timeout(const struct invocation *invocation, int64_t *ret_ms, struct err *err)
{
    const char *text = invocation->flags[FLAG_TIMEOUT];
    *ret_ms = TIMEOUT_MS;
    if (!text ||
        (str_duration_ms(text, ret_ms) == ERR_OK && *ret_ms > 0 && *ret_ms <= TIMEOUT_MAX_MS))
        return ERR_OK;
    err_set(err, ERR_USAGE, "--timeout %s is no time", text);
    return err_hint(err, "--timeout 10s; at most 1h");
}

void client_url_for_people(const char *url, char *ret, size_t ret_size)
{
    const char *host = strrchr(url, '@');
    const char *scheme = strstr(url, "://");
    size_t scheme_len = scheme ? (size_t)(scheme - url) + 3 : 0;
    if (host && host >= url + scheme_len)
        (void)snprintf(ret, ret_size, "%.*s%s", (int)scheme_len, url, host + 1);
    else
        (void)snprintf(ret, ret_size, "%s", url);
}

static enum err_code connect_bus(struct client *client, struct err *err)
{
    uint64_t seed;
    clock_random(&seed, sizeof seed);
    (void)snprintf(client->inbox, sizeof client->inbox, "_INBOX.op.%s",
                   client->context.operator_name);
    struct bus_options options = {
        .url = client->context.url,
        .name = "captain cli",
        .inbox_prefix = client->inbox,
        .creds_path = client->context.creds,
        .tls_ca_path = client->context.ca,
        .seed = seed,
        .reconnect_max_ms = RECONNECT_MAX_MS,
        .on_event = on_event,
        .arg = client,
    };
    if (bus_open(client->loop, &options, &client->bus, err))
        return err->code;
    if (client->subject && bus_subscribe(client->bus, client->subject, client->on_message,
                                         client->on_message_arg, err))
        return err->code;
    if (bus_start(client->bus, err))
        return err->code;
    int64_t deadline_ms = clock_mono_ms() + client->timeout_ms;
    while (!bus_connected(client->bus) && client->auth_errors < AUTH_ERRORS_MAX &&
           clock_mono_ms() < deadline_ms)
        loop_turn(client->loop, SENSE_MS);
    return bus_connected(client->bus) ? ERR_OK : no_contact(client, err);
}

enum err_code client_open(const struct invocation *invocation, struct client **ret, struct err *err)
{
    return client_open_on(invocation, NULL, NULL, NULL, ret, err);
}

enum err_code client_open_on(const struct invocation *invocation, const char *subject,
                             bus_message_fn fn, void *arg, struct client **ret, struct err *err)
{
    struct client *client DEFER(client_close_ref) = mem_new(1, sizeof *client);
    client->subject = subject;
    client->on_message = fn;
    client->on_message_arg = arg;
    if (context_resolve(invocation, &client->context, err) ||
        client_timeout(invocation, &client->timeout_ms, err) || loop_open(&client->loop, err))
        return err->code;
    client_url_for_people(client->context.url, client->url, sizeof client->url);
    if (connect_bus(client, err))
        return err->code;
    *ret = client;
    client = NULL;
    return ERR_OK;
}

void client_turn(struct client *client, int64_t wait_ms)
{
    loop_turn(client->loop, wait_ms);
}

static void on_terminate(void *arg)
{
    struct client *client = arg;
    client->interrupted = true;
}

void client_catch_interrupt(struct client *client)
{
    loop_on_terminate(client->loop, on_terminate, client);
}

bool client_interrupted(const struct client *client)
{
    return client->interrupted;
}

void client_close(struct client *client)
{
    if (!client)
        return;
    bus_close(client->bus, 0);
    loop_close(client->loop);
    mem_free(client);
}

void client_close_ref(struct client **client)
{
    client_close(*client);
}

const struct context *client_context(const struct client *client)
{
    return &client->context;
}

/* One that was refused is answered by the bus long after its client has gone on. */
struct exchange {
    struct client *client;
    bool abandoned;
};

static void on_reply(void *arg, const struct bus_message *message, const struct err *err)
{
    struct exchange *exchange = arg;
    struct client *client = exchange->client;
    const bool abandoned = exchange->abandoned;
    mem_free(exchange);
    if (abandoned)
        return;
    client->exchange = NULL;
    client->done = true;
    client->error = *err;
    if (err->code)
        return;
    void *copy = arena_dup(client->arena, message->data.ptr, message->data.len);
    if (!copy && message->data.len)
        err_set(&client->error, ERR_SIZE, "the answer is too large to keep");
    client->reply = bytes_of(copy, message->data.len);
}

static enum err_code no_answer(const struct client *client, struct err *err)
{
    *err = client->error;
    if (err->code == ERR_NO_CONTACT) {
        err_set(err, ERR_NO_CONTACT, "captain does not answer on %s\n%s", client->url,
                client->error.text);
        return err_hint(err, "is `captain serve` running, and on this server?");
    }
    if (err->code == ERR_TIMEOUT) {
        char text[32];
        str_format_duration(client->timeout_ms, text);
        err_set(err, ERR_TIMEOUT,
                "captain gave no answer within %s\nwhether it was done is not known", text);
        return err_hint(err, "look first (captain log ls), then --timeout 30s");
    }
    return err->code;
}

static enum err_code send_request(struct client *client, const char *subject, struct bytes request,
                                  struct err *err)
{
    struct exchange *exchange = mem_new(1, sizeof *exchange);
    exchange->client = client;
    client->done = false;
    client->error = (struct err){0};
    if (bus_request(client->bus, subject, request, client->timeout_ms, on_reply, exchange, err)) {
        mem_free(exchange);
        return err->code;
    }
    client->exchange = exchange;
    client->asking = subject;
    while (!client->done && !client->inbox_refused)
        loop_turn(client->loop, SENSE_MS);
    client->asking = NULL;
    if (client->exchange)
        exchange->abandoned = true;
    if (!client->done) {
        err_set(err, ERR_DENIED, "the credential is not the one of operator %s",
                client->context.operator_name);
        return err_hint(err, "--operator NAME says who asks, --creds FILE with whose credential");
    }
    return client->error.code ? no_answer(client, err) : ERR_OK;
}

static enum err_code captains_error(const struct api_reply *reply, struct err *err)
{
    err_set(err, (enum err_code)reply->code, "%s", reply->error);
    return reply->hint[0] ? err_hint(err, "%s", reply->hint) : err->code;
}

/* *ret_again: captain answered that it does not lead the log yet, so nothing was done. */
static enum err_code call_once(struct client *client, const struct client_call *call,
                               const char *subject, struct bytes request, struct arena *arena,
                               bool *ret_again, struct err *err)
{
    client->arena = arena;
    *ret_again = false;
    if (send_request(client, subject, request, err))
        return err->code;
    struct api_reply reply;
    if (codec_decode(&codec_api_reply, client->reply, arena, &reply, err))
        return err_wrap(err, "captain's answer cannot be read");
    *ret_again = reply.code == ERR_NO_CONTACT;
    if (reply.code)
        return captains_error(&reply, err);
    if (codec_decode(call->reply_type, reply.body, arena, call->reply, err))
        return err_wrap(err, "captain's answer cannot be read");
    return ERR_OK;
}

enum err_code client_call(struct client *client, const struct client_call *call,
                          struct arena *arena, struct err *err)
{
    char subject[BUS_SUBJECT_MAX + 1];
    (void)snprintf(subject, sizeof subject, "api.%s.%s.%s", client->context.operator_name,
                   call->noun, call->verb);
    struct arena scratch DEFER(arena_fini);
    arena_init(&scratch, LIMIT_BYTES);
    struct bytes request;
    if (codec_encode(call->request_type, call->request, &scratch, &request, err))
        return err->code = ERR_USAGE; /* it would have been refused; nothing was sent */
    int64_t deadline_ms = clock_mono_ms() + client->timeout_ms;
    enum err_code code;
    bool again;
    do {
        code = call_once(client, call, subject, request, arena, &again, err);
        if (again)
            loop_turn(client->loop, SENSE_MS);
    } while (again && clock_mono_ms() < deadline_ms);
    return code;
}
