/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "captain/account_private.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/log.h"

enum {
    PUSH_ARENA_BYTES = 8 << 20,
    ANSWER_MS = 5000,
    RETRY_FIRST_MS = 1000,
    RETRY_MAX_MS = 60000,
    /* Also when nothing changed: it forgets what need not be revoked any more, and heals a resolver
     * that lost or was given something else. */
    REFRESH_MS = 3600000,
    RECONNECT_MAX_MS = 5000,
};

#define SYSTEM_INBOX "_INBOX.captain"

static const char *const system_publish[] = {NKEY_CLAIMS_UPDATE};
static const char *const system_subscribe[] = {SYSTEM_INBOX ".>"};
const struct nkey_permissions account_system_permissions = {
    .publish = system_publish,
    .publish_len = ARRAY_LEN(system_publish),
    .subscribe = system_subscribe,
    .subscribe_len = ARRAY_LEN(system_subscribe),
    .subs = 4,
    .payload = -1,
};

static void push(void *arg);

static void push_after(struct account *account, int64_t ms)
{
    loop_timer_at(account->loop, &account->timer, loop_now_ms(account->loop) + ms, push, account);
}

static void json_unref(json_t **json)
{
    json_decref(*json);
}

/* {"data":{"code":200,...},...}, or {"error":{"description":...}}. */
static enum err_code read_answer(struct bytes data, struct err *err)
{
    json_t *json DEFER(json_unref) = json_loadb((const char *)data.ptr, data.len, 0, NULL);
    const char *why =
        json_string_value(json_object_get(json_object_get(json, "error"), "description"));
    if (json_integer_value(json_object_get(json_object_get(json, "data"), "code")) == 200)
        return ERR_OK;
    return err_set(err, ERR_FAILED, "nats-server refuses them: %.200s",
                   why ? why : "without a word");
}

static void on_answer(void *arg, const struct bus_message *message, const struct err *err)
{
    struct account *account = arg;
    struct err why = *err;
    uint64_t version = account->asked_version;
    account->asked_version = 0;
    if (why.code == ERR_OK && read_answer(message->data, &why) == ERR_OK) {
        account->retry_ms = RETRY_FIRST_MS;
        account->pushed_version = version;
        log_write(LOG_LEVEL_DEBUG, "account: claims %" PRIu64 " are in force", version);
        push_after(account, version == account->version ? REFRESH_MS : 0);
        if (account->on_taken)
            account->on_taken(account->arg, version);
        return;
    }
    log_write(LOG_LEVEL_WARNING, "account: the claims are not in force yet: %s", why.text);
    push_after(account, account->retry_ms);
    account->retry_ms =
        account->retry_ms * 2 < RETRY_MAX_MS ? account->retry_ms * 2 : (int64_t)RETRY_MAX_MS;
}

static void push(void *arg)
{
    struct account *account = arg;
    struct arena arena DEFER(arena_fini);
    struct err err = {0};
    const char *jwt = NULL;
    arena_init(&arena, PUSH_ARENA_BYTES);
    if (account->no_list || account->asked_version || !bus_connected(account->bus))
        return; /* the list, its answer, or the connect, goes on */
    account_forget_old(account);
    enum err_code code = account_claims(account, clock_unix_ms() / 1000, &arena, &jwt, &err);
    if (code == ERR_OK)
        code = bus_request(account->bus, NKEY_CLAIMS_UPDATE, bytes_of(jwt, strlen(jwt)), ANSWER_MS,
                           on_answer, account, &err);
    if (code == ERR_OK) {
        account->asked_version = account->version;
        return;
    }
    log_write(LOG_LEVEL_ERROR, "account: the claims cannot be pushed: %s", err.text);
    push_after(account, RETRY_MAX_MS);
}

static void on_bus_event(void *arg, enum bus_event event, const char *text, uint64_t count)
{
    struct account *account = arg;
    (void)count;
    if (event == BUS_CONNECTED)
        push_after(account, 0);
    else if (event == BUS_DISCONNECTED || event == BUS_AUTH_ERROR)
        log_write(LOG_LEVEL_WARNING, "account: connection for claims: %s", text);
}

enum err_code account_push_open(struct account *account, const struct account_options *options,
                                struct err *err)
{
    struct bus_options bus = {.url = options->nats_url,
                              .name = "captain-claims",
                              .inbox_prefix = SYSTEM_INBOX,
                              .creds_path = account->system_creds,
                              .tls_ca_path = options->nats_ca,
                              .reconnect_max_ms = RECONNECT_MAX_MS,
                              .on_event = on_bus_event,
                              .arg = account};
    clock_random(&bus.seed, sizeof bus.seed);
    account->loop = options->loop;
    account->retry_ms = RETRY_FIRST_MS;
    enum err_code code = bus_open(options->loop, &bus, &account->bus, err);
    return code ? code : bus_start(account->bus, err);
}

void account_push_close(struct account *account)
{
    if (!account->loop)
        return;
    bus_close(account->bus, 0);
    loop_timer_stop(&account->timer);
}

void account_push_soon(struct account *account)
{
    if (account->loop && !account->asked_version && bus_connected(account->bus))
        push_after(account, 0);
}
