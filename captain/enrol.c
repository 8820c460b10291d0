/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/enrol.h"

#include <stdio.h>
#include <string.h>

#include "captain/core/admit.h"
#include "captain/enrol_request.h"
#include "captain/io/store/trust.h"
#include "captain/projection.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/log.h"
#include "proto/codec.h"

enum {
    ARENA_BYTES = 256 << 10,
    LIST_ARENA_BYTES = 16 << 20,
    NAME_BYTES = 2 * TOKEN_MAX + 2,
    PREFIX_BYTES = NAME_BYTES + 16,
    RETRY_MS = 5000, /* and up to as much again, so that many do not come back at once */
    ACTOR_BYTES = 300,
};

struct enrol {
    struct enrol_parts parts;
    char actor[ACTOR_BYTES];
    unsigned waiting; /* for their decisions */
    bool ready;
};

/* A request, from its message to its answer. */
struct asking {
    struct enrol *enrol;
    struct bytes envelope; /* in the arena when it outlives the message */
    struct enrol_request request;
    char device[NAME_BYTES]; /* "site/device" */
    char reply[BUS_SUBJECT_MAX + 1];
    struct arena arena;
};

enum { REPLY_REFUSED = 1, REPLY_PENDING, REPLY_GRANTED };

/* Answering. */

/* With the nonce: whoever can only have an answer sent to somebody else's inbox cannot speak for us. */
static void answer_with(struct asking *asking, const struct enrol_reply *reply)
{
    struct enrol_reply whole = *reply;
    struct bytes data;
    struct err err = {0};
    whole.nonce = asking->request.nonce;
    enum err_code code = codec_encode(&codec_enrol_reply, &whole, &asking->arena, &data, &err);
    if (code == ERR_OK)
        code = bus_publish(asking->enrol->parts.bus, asking->reply, data, NULL, NULL, &err);
    if (code != ERR_OK)
        log_err("an answer to a device could not be sent; it asks again", &err);
}

static uint32_t retry_ms(void)
{
    uint16_t random;
    clock_random(&random, sizeof random);
    return RETRY_MS + random % RETRY_MS;
}

static void send_refusal(struct asking *asking, enum err_code code, const char *reason)
{
    answer_with(asking, &(struct enrol_reply){
                            .state = REPLY_REFUSED, .code = (uint32_t)code, .reason = reason});
}

/* Not its fault. */
static void send_later(struct asking *asking, const char *reason)
{
    answer_with(asking, &(struct enrol_reply){.state = REPLY_REFUSED,
                                              .code = ERR_FULL,
                                              .reason = reason,
                                              .retry_ms = retry_ms()});
}

static enum err_code grant(struct asking *asking, struct bytes *ret, struct err *err)
{
    const struct enrol_parts *parts = &asking->enrol->parts;
    const struct enrol_request *request = &asking->request;
    const int64_t now_s = clock_unix_ms() / 1000;
    const struct account_device device = {.site = request->site,
                                          .device = request->device,
                                          .key = request->device_key.ptr,
                                          .issued_s = now_s,
                                          .expires_s = now_s + ACCOUNT_DEVICE_TTL_S};
    struct enrol_grant granted = {.expires_ms = device.expires_s * 1000,
                                  .nonce = request->nonce,
                                  .urls = parts->urls,
                                  .urls_len = parts->urls_len};
    enum err_code code = parts->mint(parts->arg, &device, &asking->arena, &granted.jwt, err);
    if (code == ERR_OK)
        code = enrol_request_seal(request, &granted, &asking->arena, ret, err);
    if (code == ERR_OK)
        code = store_identity_credential(parts->db, asking->device, request->device_key.ptr,
                                         granted.expires_ms, err);
    return code;
}

static void send_grant(struct asking *asking)
{
    struct enrol_reply reply = {.state = REPLY_GRANTED, .reason = ""};
    struct err err = {0};
    const enum err_code code = grant(asking, &reply.sealed, &err);
    if (code == ERR_OK) {
        answer_with(asking, &reply);
        return;
    }
    (void)err_wrap(&err, "a credential for %s", asking->device);
    log_err("a device gets none", &err);
    if (code == ERR_MALFORMED)
        send_refusal(asking, code, err.text);
    else
        send_later(asking, "captain cannot make a credential at the moment");
}

/* Deciding. */

static bool seen(enum err_code code, struct err *err)
{
    if (code == ERR_NOT_FOUND)
        *err = (struct err){0};
    return code == ERR_OK;
}

static enum err_code look_up_token(struct asking *asking, struct admit_token *token,
                                   struct store_token *ret_row, struct admit_facts *facts,
                                   struct err *err)
{
    const char *id = asking->request.token;
    facts->has_token = id[0] != '\0';
    if (facts->has_token &&
        seen(store_token_get(asking->enrol->parts.db, id, &asking->arena, ret_row, err), err)) {
        *token = (struct admit_token){.site = ret_row->site,
                                      .uses = ret_row->uses,
                                      .used = ret_row->used,
                                      .expires_ms = ret_row->expires_ms,
                                      .revoked = ret_row->revoked_ms != 0,
                                      .approval = ret_row->approval};
        facts->token = token;
    }
    return err->code;
}

static enum err_code look_up_device(struct asking *asking, struct admit_facts *facts,
                                    struct err *err)
{
    struct db *db = asking->enrol->parts.db;
    const struct enrol_request *request = &asking->request;
    struct store_identity row;
    enum admit_state state = ADMIT_REVOKED;
    if (seen(store_identity_get(db, asking->device, &asking->arena, &row, err), err)) {
        const bool same = memcmp(row.device_key, request->device_key.ptr, SIGN_PUBLIC_BYTES) == 0;
        (void)admit_state_parse(row.state, &state); /* the table knows no others */
        facts->known = same;
        facts->state = facts->holder = state;
        facts->name_taken = !same;
        facts->seal_differs = memcmp(row.seal_key, request->seal_key.ptr, SIGN_PUBLIC_BYTES) != 0;
    }
    if (err->code == ERR_OK && !facts->known &&
        seen(store_identity_by_key(db, request->device_key.ptr, &asking->arena, &row, err), err))
        facts->key_owner = row.device;
    if (err->code != ERR_OK)
        return err->code;
    return store_revoked_key_has(db, request->device_key.ptr, &facts->key_revoked, err);
}

static enum err_code judge(struct asking *asking, struct store_token *ret_token,
                           struct admit_verdict *ret, struct err *err)
{
    struct admit_facts facts = {.site = asking->request.site};
    struct admit_token token;
    enum err_code code = look_up_token(asking, &token, ret_token, &facts, err);
    if (code == ERR_OK)
        code = look_up_device(asking, &facts, err);
    if (code == ERR_OK)
        *ret = admit(&facts, clock_unix_ms());
    return code;
}

static void refuse(struct asking *asking, const struct admit_verdict *verdict)
{
    struct incidents *incidents = asking->enrol->parts.incidents;
    if (str_equal(verdict->incident, "token"))
        incidents_note(incidents, "token", asking->request.token, "%s: %s", asking->device,
                       verdict->reason);
    else if (verdict->incident)
        incidents_note(incidents, verdict->incident, asking->device, "%s", verdict->reason);
    send_refusal(asking, verdict->code, verdict->reason);
}

/* By the tables as they are now; what still needs a decision has not got one. */
static void answer(struct asking *asking, const struct admit_verdict *verdict)
{
    if (verdict->what == ADMIT_REFUSED)
        refuse(asking, verdict);
    else if (verdict->enrol)
        send_later(asking, "captain cannot decide at the moment");
    else if (verdict->what == ADMIT_GRANTED)
        send_grant(asking);
    else
        answer_with(asking,
                    &(struct enrol_reply){.state = REPLY_PENDING,
                                          .reason = "an operator has to approve this device",
                                          .retry_ms = retry_ms()});
}

static void fail(struct asking *asking, const struct err *err)
{
    log_err("what a device asks cannot be looked up", err);
    send_later(asking, "captain cannot look it up at the moment");
}

static void judge_and_answer(struct asking *asking)
{
    struct store_token token;
    struct admit_verdict verdict;
    struct err err = {0};
    if (judge(asking, &token, &verdict, &err) == ERR_OK)
        answer(asking, &verdict);
    else
        fail(asking, &err);
}

/* In the log's turn: of two that come with the last use of a token, the second finds it used. */
static enum err_code prepare(void *arg, struct arena *arena, struct decision *ret, struct err *err)
{
    struct asking *asking = arg;
    const struct enrol_request *request = &asking->request;
    struct store_token token;
    struct token_created created;
    struct admit_verdict verdict;
    enum err_code code = judge(asking, &token, &verdict, err);
    if (code == ERR_OK && !verdict.enrol)
        return err_set(err, ERR_CONFLICT, "nothing is left to decide");
    if (code == ERR_OK)
        code = codec_decode(&codec_token_created, token.body, &asking->arena, &created, err);
    if (code != ERR_OK)
        return code;
    const struct device_enrolled enrolled = {.device = asking->device,
                                             .device_key = request->device_key,
                                             .seal_key = request->seal_key,
                                             .token = request->token,
                                             .pending = verdict.what == ADMIT_WAITS,
                                             .labels = created.labels,
                                             .labels_len = created.labels_len,
                                             .hardware = request->hardware};
    *ret = (struct decision){.actor = asking->enrol->actor,
                             .kind = "device.enrolled",
                             .subject = asking->device,
                             .reason = verdict.renamed ? "in place of one that was put out" : ""};
    return codec_encode(&codec_device_enrolled, &enrolled, arena, &ret->body, err);
}

static void asking_free(struct asking *asking)
{
    arena_fini(&asking->arena);
    mem_free(asking);
}

static void decided(void *arg, uint64_t seq, const struct err *err)
{
    struct asking *asking = arg;
    (void)seq;
    asking->enrol->waiting--;
    if (err->code != ERR_OK && err->code != ERR_CONFLICT)
        log_err("a device could not be enrolled", err);
    judge_and_answer(asking);
    asking_free(asking);
}

/* False: it has been answered. */
static bool submit(struct asking *asking)
{
    struct enrol *enrol = asking->enrol;
    struct err err = {0};
    if (enrol->waiting >= ENROL_WAITING_MAX) {
        send_later(asking, "many devices want in at the moment");
        return false;
    }
    if (decisions_submit(enrol->parts.decisions, prepare, decided, asking, &err) != ERR_OK) {
        send_later(asking, "captain does not lead the log at the moment");
        return false;
    }
    enrol->waiting++;
    return true;
}

/* Messages. */

static bool begins_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Answers go nowhere but to who asks: else captain could be made to say something for others. */
static bool take_reply(struct asking *asking, const struct bus_message *message, const char *prefix)
{
    if (!message->reply || strlen(message->reply) > BUS_SUBJECT_MAX)
        return false;
    if (!begins_with(message->reply, prefix)) {
        incidents_note(asking->enrol->parts.incidents, "reply", message->subject,
                       "an answer was wanted outside of %s", prefix);
        return false;
    }
    (void)snprintf(asking->reply, sizeof asking->reply, "%s", message->reply);
    return true;
}

/* Of a request that names a token the holder of that must have signed. */
static enum err_code check_token(struct asking *asking, struct err *err)
{
    struct store_token token;
    const struct enrol_request *request = &asking->request;
    if (!request->token[0] ||
        !seen(store_token_get(asking->enrol->parts.db, request->token, &asking->arena, &token, err),
              err))
        return err->code; /* admit refuses an unknown one */
    if (enrol_request_signed_by(asking->envelope, token.public_key, &asking->arena, err) == ERR_OK)
        return ERR_OK;
    incidents_note(asking->enrol->parts.incidents, "token", request->token,
                   "%s asks with this token and cannot prove that it has it", asking->device);
    return err->code;
}

static enum err_code read_request(struct asking *asking, const struct bus_message *message,
                                  struct err *err)
{
    const void *copy = message->data.len <= ENROL_MAX_BYTES
                           ? arena_dup(&asking->arena, message->data.ptr, message->data.len)
                           : NULL;
    if (!copy)
        return err_set(err, ERR_SIZE, "a request has at most %d bytes", ENROL_MAX_BYTES);
    asking->envelope = bytes_of(copy, message->data.len);
    enum err_code code =
        enrol_request_read(asking->envelope, &asking->arena, &asking->request, err);
    if (code == ERR_OK && !str_equal(asking->request.tenant, asking->enrol->parts.tenant))
        return err_set(err, ERR_WRONG_TARGET, "this captain is of another tenant");
    if (code == ERR_OK)
        (void)snprintf(asking->device, sizeof asking->device, "%s/%s", asking->request.site,
                       asking->request.device);
    return code;
}

/* renew.<site>.<device>: the server lets only that device publish there. */
static bool is_own(const struct asking *asking, const char *subject)
{
    char own[NAME_BYTES + 8];
    (void)snprintf(own, sizeof own, "renew.%s.%s", asking->request.site, asking->request.device);
    return str_equal(subject, "enroll") || str_equal(subject, own);
}

/* True: it waits for its decision. */
static bool take(struct asking *asking, const struct bus_message *message)
{
    struct store_token token;
    struct admit_verdict verdict;
    struct err err = {0};
    enum err_code code = read_request(asking, message, &err);
    if (code == ERR_OK && !asking->enrol->ready) {
        send_later(asking, "captain does not lead the log yet");
        return false;
    }
    if (code == ERR_OK && !is_own(asking, message->subject)) {
        incidents_note(asking->enrol->parts.incidents, "renewal", message->subject,
                       "a renewal for %s", asking->device);
        code = err_set(&err, ERR_WRONG_TARGET, "the request is of another device");
    }
    if (code == ERR_OK)
        code = check_token(asking, &err);
    if (code != ERR_OK) {
        send_refusal(asking, code, err.text);
        return false;
    }
    if (judge(asking, &token, &verdict, &err) != ERR_OK) {
        fail(asking, &err);
        return false;
    }
    if (verdict.enrol)
        return submit(asking);
    answer(asking, &verdict);
    return false;
}

static void on_message(struct enrol *enrol, const struct bus_message *message, const char *prefix)
{
    struct asking *asking = mem_new(1, sizeof *asking);
    asking->enrol = enrol;
    arena_init(&asking->arena, ARENA_BYTES);
    if (!take_reply(asking, message, prefix) || !take(asking, message))
        asking_free(asking);
}

static void on_enroll(void *arg, const struct bus_message *message)
{
    on_message(arg, message, "_INBOX.enroll.");
}

static void on_renew(void *arg, const struct bus_message *message)
{
    char prefix[PREFIX_BYTES];
    const char *name = message->subject + strlen("renew.");
    if (strlen(name) >= NAME_BYTES)
        return; /* no device has such a name */
    (void)snprintf(prefix, sizeof prefix, "_INBOX.%s.", name);
    on_message(arg, message, prefix);
}

/* Putting out. */

/* Rounded away from forgetting too early; 0: never. */
static int64_t until_s(int64_t until_ms)
{
    return until_ms == INT64_MAX ? 0 : until_ms / 1000 + 1;
}

/* for_good: also voids what was issued later, while the verdict was on its way into the log, or by a clock
 * that was ahead. A device that may come back with the same key gets newer ones. */
static struct account_revocation revocation_of(const uint8_t *key, int64_t at_ms, int64_t until_ms,
                                               bool for_good)
{
    struct account_revocation ret = {.at_s = at_ms / 1000, .until_s = until_s(until_ms)};
    if (for_good && ret.until_s != 0)
        ret.at_s = ret.until_s;
    memcpy(ret.key, key, SIGN_PUBLIC_BYTES);
    return ret;
}

static enum err_code hand_over(struct enrol *enrol, struct err *err)
{
    const struct enrol_parts *parts = &enrol->parts;
    struct store_revoked_key *rows;
    size_t len = 0;
    struct arena arena DEFER(arena_fini);
    arena_init(&arena, LIST_ARENA_BYTES);
    const enum err_code code =
        store_revoked_key_list(parts->db, clock_unix_ms(), &arena, &rows, &len, err);
    if (code != ERR_OK)
        return code;
    struct account_revocation *list = arena_alloc(&arena, (len + 1) * sizeof *list);
    if (!list)
        return err_set(err, ERR_FULL, "%zu revoked keys are too many", len);
    for (size_t i = 0; i < len; i++)
        list[i] = revocation_of(rows[i].key, rows[i].at_ms, rows[i].until_ms, rows[i].for_good);
    if (parts->set_revocations(parts->arg, list, len, err) == ERR_FULL) {
        log_err("some credentials that were taken away are valid until they run out", err);
        *err = (struct err){0};
    }
    return err->code;
}

static void retire(void *arg, const char *device)
{
    struct enrol *enrol = arg;
    const uint32_t number = fleet_find(enrol->parts.fleet, device);
    if (number != FLEET_NONE)
        fleet_put_out(enrol->parts.fleet, number, true);
}

static void readmit(struct enrol *enrol, const char *device)
{
    const uint32_t number = fleet_find(enrol->parts.fleet, device);
    if (number != FLEET_NONE)
        fleet_put_out(enrol->parts.fleet, number, false);
}

/* What the entry's projection wrote. */
static void put_out(struct enrol *enrol, const struct log_entry *entry)
{
    const struct enrol_parts *parts = &enrol->parts;
    struct arena arena DEFER(arena_fini) = {0};
    struct device_verdict verdict;
    struct err err = {0};
    arena_init(&arena, ARENA_BYTES);
    enum err_code code = codec_decode(&codec_device_verdict, entry->body, &arena, &verdict, &err);
    if (code == ERR_OK) {
        const struct account_revocation revocation = revocation_of(
            verdict.device_key.ptr, entry->time_ms, entry->time_ms + PROJECTION_REVOKED_FOR_MS,
            str_equal(entry->kind, "device.revoked"));
        code = parts->revoke(parts->arg, &revocation, &err);
    }
    if (code != ERR_OK)
        log_err("a device that was put out keeps its credential until that expires", &err);
    if (str_equal(entry->kind, "device.retired"))
        retire(enrol, entry->subject);
}

void enrol_committed(struct enrol *enrol, const struct log_entry *entry)
{
    if (str_equal(entry->kind, "device.revoked") || str_equal(entry->kind, "device.retired"))
        put_out(enrol, entry);
    else if (str_equal(entry->kind, "device.enrolled"))
        readmit(enrol, entry->subject);
}

/* Open and close. */

enum err_code enrol_open(const struct enrol_parts *parts, struct enrol **ret, struct err *err)
{
    struct enrol *enrol = mem_new(1, sizeof *enrol);
    enrol->parts = *parts;
    (void)snprintf(enrol->actor, sizeof enrol->actor, "captain:%s", parts->holder);
    enum err_code code = bus_subscribe(parts->bus, "enroll", on_enroll, enrol, err);
    if (code == ERR_OK)
        code = bus_subscribe(parts->bus, "renew.*.*", on_renew, enrol, err);
    if (code != ERR_OK) {
        enrol_close(enrol);
        return err_wrap(err, "devices that want in");
    }
    *ret = enrol;
    return ERR_OK;
}

enum err_code enrol_ready(struct enrol *enrol, struct err *err)
{
    enum err_code code = hand_over(enrol, err);
    if (code == ERR_OK)
        code = store_identity_each(enrol->parts.db, admit_state_names[ADMIT_RETIRED], retire, enrol,
                                   err);
    enrol->ready = code == ERR_OK;
    return code ? err_wrap(err, "who was put out") : ERR_OK;
}

void enrol_close(struct enrol *enrol)
{
    mem_free(enrol);
}
