/* SPDX-License-Identifier: Apache-2.0
 *
 * bus_stream_ensure, by requests to the server's stream API: create, and update when it exists with
 * another configuration.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/bus.h"

enum {
    API_WAIT_MS = 5000,
    API_REPLY_MAX_BYTES = 256 << 10,
    NAME_IN_USE = 10058,
    NS_PER_MS = 1000000,
};

struct ensure {
    struct bus *bus;
    bus_stream_fn fn;
    void *arg;
    char name[BUS_SUBJECT_MAX + 1];
    char *config; /* jansson's, free() */
    bool updating;
};

static void ensure_free(struct ensure *ensure)
{
    free(ensure->config);
    mem_free(ensure);
}

static void finish(struct ensure *ensure, const struct bus_stream_state *state,
                   const struct err *err)
{
    ensure->fn(ensure->arg, state, err);
    ensure_free(ensure);
}

static char *write_config(const struct bus_stream *stream)
{
    json_t *config = json_pack(
        "{s:s, s:[s], s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:b, s:b, s:b}",
        "name", stream->name, "subjects", stream->subject, "retention", "limits", "discard", "old",
        "storage", "file", "num_replicas", 1, "max_consumers", -1, "max_msgs", -1, "max_msg_size",
        -1, "max_msgs_per_subject",
        (json_int_t)(stream->max_msgs_per_subject > 0 ? stream->max_msgs_per_subject : -1),
        "max_bytes", (json_int_t)(stream->max_bytes > 0 ? stream->max_bytes : -1), "max_age",
        (json_int_t)(stream->max_age_ms * NS_PER_MS), "duplicate_window",
        (json_int_t)(stream->duplicates_ms * NS_PER_MS), "allow_direct", (int)stream->allow_direct,
        "deny_delete", (int)stream->deny_delete, "no_ack", (int)stream->no_ack);
    if (config != NULL && stream->republish_dest != NULL) {
        (void)json_object_set_new(config, "republish",
                                  json_pack("{s:s*, s:s}", "src", stream->republish_source, "dest",
                                            stream->republish_dest));
    }
    char *text = config != NULL ? json_dumps(config, JSON_COMPACT) : NULL;
    json_decref(config);
    return text;
}

static uint64_t state_number(json_t *state, const char *name)
{
    json_int_t number = json_integer_value(json_object_get(state, name));
    return number > 0 ? (uint64_t)number : 0;
}

/* *ret_exists: it was refused because there is one of this name. */
static enum err_code read_reply(json_t *root, const char *name, struct bus_stream_state *ret,
                                bool *ret_exists, struct err *err)
{
    json_t *refusal = json_object_get(root, "error");
    json_t *state = json_object_get(root, "state");
    if (refusal != NULL) {
        const char *text = json_string_value(json_object_get(refusal, "description"));
        json_int_t code = json_integer_value(json_object_get(refusal, "code"));
        json_int_t number = json_integer_value(json_object_get(refusal, "err_code"));
        *ret_exists = number == NAME_IN_USE;
        return err_set(err, code == 503 ? ERR_NO_CONTACT : ERR_FAILED,
                       "stream %.64s: %.200s (%lld)", name, text != NULL ? text : "refused",
                       (long long)number);
    }
    if (!json_is_object(state)) {
        return err_set(err, ERR_MALFORMED, "the server's reply tells no state of stream %.64s",
                       name);
    }
    ret->first_seq = state_number(state, "first_seq");
    ret->last_seq = state_number(state, "last_seq");
    ret->messages = state_number(state, "messages");
    return ERR_OK;
}

static void on_api_reply(void *arg, const struct bus_message *message, const struct err *err);

static enum err_code ask(struct ensure *ensure, struct err *err)
{
    char subject[BUS_SUBJECT_MAX + 1];
    int len = snprintf(subject, sizeof subject, "$JS.API.STREAM.%s.%s",
                       ensure->updating ? "UPDATE" : "CREATE", ensure->name);
    if (len < 0 || (size_t)len >= sizeof subject) {
        return err_set(err, ERR_USAGE, "the stream's name is too long");
    }
    return bus_request(ensure->bus, subject, bytes_of(ensure->config, strlen(ensure->config)),
                       API_WAIT_MS, on_api_reply, ensure, err);
}

static void on_api_reply(void *arg, const struct bus_message *message, const struct err *err)
{
    struct ensure *ensure = arg;
    if (message == NULL) {
        finish(ensure, NULL, err);
        return;
    }
    struct err mine = {0};
    struct bus_stream_state state = {0};
    bool exists = false;
    json_t *root = NULL;
    if (message->data.len > 0 && message->data.len <= API_REPLY_MAX_BYTES) {
        root = json_loadb((const char *)message->data.ptr, message->data.len, 0, NULL);
    }
    enum err_code code = read_reply(root, ensure->name, &state, &exists, &mine);
    json_decref(root);
    if (code != ERR_OK && exists && !ensure->updating) {
        ensure->updating = true;
        mine = (struct err){0};
        code = ask(ensure, &mine);
        if (code == ERR_OK) {
            return;
        }
    }
    finish(ensure, code == ERR_OK ? &state : NULL, &mine);
}

enum err_code bus_stream_ensure(struct bus *bus, const struct bus_stream *stream, bus_stream_fn fn,
                                void *arg, struct err *err)
{
    if (!str_is_token(stream->name)) {
        return err_set(err, ERR_USAGE, "a stream's name is one token");
    }
    struct ensure *ensure = mem_new(1, sizeof *ensure);
    ensure->bus = bus;
    ensure->fn = fn;
    ensure->arg = arg;
    ensure->config = write_config(stream);
    enum err_code code = str_copy(ensure->name, sizeof ensure->name, stream->name);
    if (code == ERR_OK && ensure->config == NULL) {
        code = err_set(err, ERR_USAGE, "the configuration of stream %s is not text", stream->name);
    }
    code = code == ERR_OK ? ask(ensure, err) : code;
    if (code != ERR_OK) {
        ensure_free(ensure);
    }
    return code;
}
