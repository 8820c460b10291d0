/* SPDX-License-Identifier: Apache-2.0 */
#include "common/bus_request.h"

#include <assert.h>
#include <jansson.h>

#include "common/base/mem.h"
#include "common/base/str.h"

enum {
    SLOTS_MIN = 16,
    ACK_MAX_BYTES = 8192, /* a foreign reply; real ones are below 200 bytes */
    ACK_WRONG_LAST_SEQUENCE = 10071,
    ACK_WRONG_LAST_SEQUENCE_CONSTANT = 10164,
};

struct request {
    struct bus_requests *requests;
    uint64_t number; /* slot + BUS_REQUESTS_MAX * generation */
    struct bus_waiter waiter;
    int64_t timeout_ms;
    struct loop_timer timer;
};

struct bus_requests {
    struct loop *loop;
    struct request **slots; /* NULL where free */
    uint32_t slots_len, used, hint;
    uint64_t generation;
};

struct bus_requests *bus_requests_new(struct loop *loop)
{
    struct bus_requests *requests = mem_new(1, sizeof *requests);
    requests->loop = loop;
    return requests;
}

void bus_requests_free(struct bus_requests *requests)
{
    if (requests == NULL) {
        return;
    }
    assert(requests->used == 0);
    mem_free(requests->slots);
    mem_free(requests);
}

void bus_waiter_fail(const struct bus_waiter *waiter, const struct err *err)
{
    if (waiter->reply != NULL) {
        waiter->reply(waiter->arg, NULL, err);
    } else {
        waiter->stored(waiter->arg, 0, false, err);
    }
}

static void on_timeout(void *arg)
{
    struct request *request = arg;
    struct bus_waiter waiter;
    struct err err = {0};
    (void)err_set(&err, ERR_TIMEOUT, "no reply within %lld ms", (long long)request->timeout_ms);
    if (bus_requests_take(request->requests, request->number, &waiter)) {
        bus_waiter_fail(&waiter, &err);
    }
}

/* A free slot; there is one. */
static uint32_t free_slot(struct bus_requests *requests)
{
    if (requests->used == requests->slots_len) {
        uint32_t len = requests->slots_len == 0 ? SLOTS_MIN : requests->slots_len * 2;
        requests->slots =
            mem_grow(requests->slots, requests->slots_len, len, sizeof *requests->slots);
        requests->hint = requests->slots_len;
        requests->slots_len = len;
    }
    while (requests->slots[requests->hint] != NULL) {
        requests->hint = (requests->hint + 1) % requests->slots_len;
    }
    return requests->hint;
}

uint64_t bus_requests_add(struct bus_requests *requests, const struct bus_waiter *waiter,
                          int64_t timeout_ms)
{
    if (requests->used == BUS_REQUESTS_MAX) {
        return 0;
    }
    struct request *request = mem_new(1, sizeof *request);
    uint32_t slot = free_slot(requests);
    requests->slots[slot] = request;
    requests->used++;
    request->requests = requests;
    request->number = ++requests->generation * BUS_REQUESTS_MAX + slot;
    request->waiter = *waiter;
    request->timeout_ms = timeout_ms;
    loop_timer_at(requests->loop, &request->timer, loop_now_ms(requests->loop) + timeout_ms,
                  on_timeout, request);
    return request->number;
}

bool bus_requests_take(struct bus_requests *requests, uint64_t number, struct bus_waiter *ret)
{
    uint64_t slot = number % BUS_REQUESTS_MAX;
    struct request *request = slot < requests->slots_len ? requests->slots[slot] : NULL;
    if (request == NULL || request->number != number) {
        return false;
    }
    loop_timer_stop(&request->timer);
    *ret = request->waiter;
    requests->slots[slot] = NULL;
    requests->hint = (uint32_t)slot;
    requests->used--;
    mem_free(request);
    return true;
}

void bus_requests_fail_all(struct bus_requests *requests, const struct err *err)
{
    uint64_t before = (requests->generation + 1) * BUS_REQUESTS_MAX;
    for (uint32_t i = 0; i < requests->slots_len; i++) {
        struct request *request = requests->slots[i];
        struct bus_waiter waiter;
        if (request != NULL && request->number < before &&
            bus_requests_take(requests, request->number, &waiter)) {
            bus_waiter_fail(&waiter, err);
        }
    }
}

static enum err_code parse_refusal(json_t *refusal, struct err *err)
{
    json_int_t code = json_integer_value(json_object_get(refusal, "code"));
    json_int_t err_code = json_integer_value(json_object_get(refusal, "err_code"));
    const char *text = json_string_value(json_object_get(refusal, "description"));
    enum err_code ret = ERR_FAILED;
    if (err_code == ACK_WRONG_LAST_SEQUENCE || err_code == ACK_WRONG_LAST_SEQUENCE_CONSTANT) {
        ret = ERR_CONFLICT;
    } else if (code == 503) {
        ret = ERR_NO_CONTACT;
    }
    return err_set(err, ret, "the stream refused it: %.200s (%lld)",
                   text != NULL ? text : "no reason", (long long)err_code);
}

static enum err_code parse_ack(json_t *root, uint64_t *ret_seq, bool *ret_duplicate,
                               struct err *err)
{
    json_t *refusal = json_object_get(root, "error");
    if (refusal != NULL) {
        return parse_refusal(refusal, err);
    }
    json_t *seq = json_object_get(root, "seq");
    if (!json_is_integer(seq) || json_integer_value(seq) <= 0) {
        return err_set(err, ERR_MALFORMED, "the stream's acknowledgement has no sequence");
    }
    *ret_seq = (uint64_t)json_integer_value(seq);
    *ret_duplicate = json_is_true(json_object_get(root, "duplicate"));
    return ERR_OK;
}

enum err_code bus_parse_ack(struct bytes json, uint64_t *ret_seq, bool *ret_duplicate,
                            struct err *err)
{
    json_t *root = NULL;
    if (json.len > 0 && json.len <= ACK_MAX_BYTES) {
        root = json_loadb((const char *)json.ptr, json.len, JSON_REJECT_DUPLICATES, NULL);
    }
    if (!json_is_object(root)) {
        json_decref(root);
        return err_set(err, ERR_MALFORMED, "the reply is no acknowledgement of a stream");
    }
    enum err_code code = parse_ack(root, ret_seq, ret_duplicate, err);
    json_decref(root);
    return code;
}

void bus_parse_version(struct bytes json, char ret[static VERSION_MAX + 1])
{
    json_t *root = NULL;
    if (json.len > 0 && json.len <= ACK_MAX_BYTES) {
        root = json_loadb((const char *)json.ptr, json.len, 0, NULL);
    }
    const char *version =
        json_string_value(json_object_get(json_object_get(root, "server"), "ver"));
    if (version == NULL || !str_is_version(version) ||
        str_copy(ret, VERSION_MAX + 1, version) != ERR_OK) {
        ret[0] = '\0';
    }
    json_decref(root);
}

enum err_code bus_parse_status(const char *status, const char *description, struct err *err)
{
    if (status == NULL) {
        return ERR_OK;
    }
    if (str_equal(status, "503")) {
        return err_set(err, ERR_NO_CONTACT, "nobody answers on this subject");
    }
    if (str_equal(status, "404")) {
        return err_set(err, ERR_NOT_FOUND, "the stream has no such message");
    }
    return err_set(err, ERR_FAILED, "the server answers %.20s %.200s", status,
                   description != NULL ? description : "");
}
