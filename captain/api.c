/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/api.h"

#include <stdio.h>
#include <string.h>

#include "captain/api_private.h"
#include "captain/inbox.h"
#include "common/base/mem.h"
#include "common/log.h"

struct api {
    struct captain *captain;
};

/* Shared by the nouns. */

enum err_code api_too_large(struct err *err)
{
    (void)err_set(err, ERR_SIZE, "the answer is larger than one message can be");
    return err_hint(err, "ask for less: a name, or a smaller --limit");
}

const char *api_hex(struct api_request *request, struct bytes digest)
{
    char *hex = arena_alloc(&request->arena, digest.len * 2 + 1);
    if (hex)
        str_hex(digest, hex);
    return hex;
}

const char *api_release_name(struct api_request *request, struct bytes digest)
{
    struct store_release release;
    struct err err = {0};
    if (digest.len != DIGEST_BYTES)
        return "";
    if (request->named && memcmp(request->named_digest, digest.ptr, DIGEST_BYTES) == 0)
        return request->named;
    memcpy(request->named_digest, digest.ptr, DIGEST_BYTES);
    arena_reset(&request->scratch);
    if (store_release_get(request->captain->db, request->named_digest, &request->scratch, &release,
                          &err) == ERR_OK)
        request->named = arena_printf(&request->arena, "%s@%s", release.app, release.version);
    else
        request->named = api_hex(request, bytes_of(digest.ptr, 6));
    return request->named;
}

const char *api_state_name(unsigned state)
{
    static const char *const names[FLEET_STATES] = {
        [APP_STATE_UNSPECIFIED] = "unspecified", [APP_STATE_NONE] = "none",
        [APP_STATE_INSTALLING] = "installing",   [APP_STATE_CONFIRMING] = "confirming",
        [APP_STATE_HEALTHY] = "healthy",         [APP_STATE_UNHEALTHY] = "unhealthy",
        [APP_STATE_FAILED] = "failed",
    };
    return state < FLEET_STATES ? names[state] : names[APP_STATE_UNSPECIFIED];
}

/* Answering. */

static void request_free(struct api_request *request)
{
    arena_fini(&request->arena);
    arena_fini(&request->scratch);
    mem_free(request);
}

static void send_reply(struct api_request *request, const struct api_reply *reply)
{
    struct bytes data;
    struct err err = {0};
    enum err_code code = codec_encode(&codec_api_reply, reply, &request->arena, &data, &err);
    if (code == ERR_OK)
        code = bus_publish(request->captain->bus, request->reply, data, NULL, NULL, &err);
    /* The operator sees a timeout and asks again; every verb may be repeated. */
    if (code != ERR_OK)
        log_err("an answer could not be sent", &err);
}

static void send_error(struct api_request *request, const struct err *err)
{
    /* Room for it, whatever has filled the arena. */
    arena_reset(&request->arena);
    send_reply(request, &(struct api_reply){
                            .code = (uint32_t)err->code, .error = err->text, .hint = err->hint});
}

static void send_answer(struct api_request *request)
{
    union api_out out;
    struct api_reply reply = {0};
    struct err err = {0};
    memset(&out, 0, sizeof out);
    enum err_code code = request->verb->answer(request, &out, &err);
    if (code == ERR_OK)
        code = codec_encode(request->verb->reply_type, &out, &request->arena, &reply.body, &err);
    if (code == ERR_OK)
        send_reply(request, &reply);
    else
        send_error(request, &err);
}

/* Decisions. */

static enum err_code prepare(void *arg, struct arena *arena, struct decision *ret, struct err *err)
{
    struct api_request *request = arg;
    const enum err_code code = request->verb->prepare(request, arena, ret, err);
    if (code == ERR_OK && request->settled)
        return err_set(err, ERR_CONFLICT, "it is so already");
    return code;
}

static void decided(void *arg, uint64_t seq, const struct err *err)
{
    struct api_request *request = arg;
    (void)seq; /* the answer is read from the tables, which name the decision */
    if (err->code == ERR_OK || request->settled)
        send_answer(request);
    else
        send_error(request, err);
    request_free(request);
}

/* Requests. */

/* "api.<operator>.<noun>.<verb>". */
static bool read_subject(const char *subject, struct api_request *request, struct err *err)
{
    char operator_name[TOKEN_MAX + 1], noun[TOKEN_MAX + 1], verb[TOKEN_MAX + 1];
    /* 64 is TOKEN_MAX; what is longer leaves a rest that is no dot. */
    if (sscanf(subject, "api.%64[^.].%64[^.].%64[^.]", operator_name, noun, verb) != 3 ||
        !str_is_token(operator_name)) {
        (void)err_set(err, ERR_USAGE, "the request's subject is not api.<operator>.<noun>.<verb>");
        return false;
    }
    (void)snprintf(request->actor, sizeof request->actor, "operator:%s", operator_name);
    request->verb = api_find_verb(noun, verb);
    if (request->verb)
        return true;
    (void)err_set(err, ERR_USAGE, "this captain knows no request %s.%s",
                  str_is_token(noun) ? noun : "?", str_is_token(verb) ? verb : "?");
    (void)err_hint(err, "it is captain %s; the asking program may be newer", CAPTAIN_VERSION);
    return false;
}

/* One that decides is kept beyond the message's life, so it gets its own copy. */
static MUST_USE enum err_code read_request(struct api_request *request, struct bytes data,
                                           struct err *err)
{
    if (request->verb->prepare) {
        const void *copy = arena_dup(&request->arena, data.ptr, data.len);
        if (!copy)
            return err_set(err, ERR_SIZE, "a request of %zu bytes is too large", data.len);
        data = bytes_of(copy, data.len);
    }
    const enum err_code code =
        codec_decode(request->verb->request_type, data, &request->arena, &request->in, err);
    return code == ERR_OK ? code : err_wrap(err, "%s.%s", request->verb->noun, request->verb->verb);
}

/* With roles an operator is answered in its own inbox only. */
static bool may_answer(const struct captain *captain, const struct bus_message *message)
{
    char owner[TOKEN_MAX + 4];
    const char *name = message->subject + strlen("api.");
    (void)snprintf(owner, sizeof owner, "op.%.*s", (int)strcspn(name, "."), name);
    return !captain->account || inbox_is_own(captain->incidents, message, owner);
}

static void on_request(void *arg, const struct bus_message *message)
{
    struct api *api = arg;
    struct err err = {0};
    if (!message->reply || strlen(message->reply) > BUS_SUBJECT_MAX ||
        !may_answer(api->captain, message))
        return; /* nobody waits for an answer */
    struct api_request *request = mem_new(1, sizeof *request);
    request->captain = api->captain;
    arena_init(&request->arena, API_ARENA_BYTES);
    arena_init(&request->scratch, API_SCRATCH_BYTES);
    (void)snprintf(request->reply, sizeof request->reply, "%s", message->reply);
    const bool known = read_subject(message->subject, request, &err);
    if (!api->captain->ready) {
        (void)err_set(&err, ERR_NO_CONTACT, "captain does not lead the log yet; try again");
        send_error(request, &err);
    } else if (!known || read_request(request, message->data, &err) != ERR_OK) {
        send_error(request, &err);
    } else if (!request->verb->prepare) {
        send_answer(request);
    } else {
        if (decisions_submit(api->captain->decisions, prepare, decided, request, &err) == ERR_OK)
            return; /* decided() has it now */
        send_error(request, &err);
    }
    request_free(request);
}

enum err_code api_open(struct captain *captain, struct api **ret, struct err *err)
{
    struct api *api = mem_new(1, sizeof *api);
    api->captain = captain;
    const enum err_code code = bus_subscribe(captain->bus, "api.*.*.*", on_request, api, err);
    if (code != ERR_OK) {
        api_close(api);
        return err_wrap(err, "requests of operators");
    }
    rollouts_on_change(captain->rollouts, api_rollout_changed, captain);
    *ret = api;
    return ERR_OK;
}

void api_close(struct api *api)
{
    mem_free(api);
}
