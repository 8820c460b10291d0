/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/desired.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "captain/desired_private.h"
#include "captain/io/store/channel.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/log.h"
#include "proto/codec.h"

#define STREAM "DESIRED"

enum {
    CHANNELS_MAX = 4096,
    COMPARES_MAX = 64, /* last messages asked for at once */
    TIMEOUT_MS = 5000,
    RETRY_MS = 1000,
    CLEAR_MS = 500, /* marks are cleared together: a mark too many only costs a message */
    LOOK_MAX_MS = 3600000,
    ISSUE_ARENA_BYTES = 4 << 20,
    LIST_ARENA_BYTES = 320 << 20,
};

/* The newest generation of a channel that is on its way, or has arrived and still bears its mark.
 */
struct flight {
    char app[TOKEN_MAX + 1];
    char channel[TOKEN_MAX + 1];
    uint64_t generation;
    bool stored;
};

struct desired_publisher {
    struct loop *loop;
    struct bus *bus;
    struct db *db;
    struct desired_signer signer;
    int64_t reissue_ms;
    struct flight *flights;
    size_t flights_len;
    struct loop_timer clear, retry, look;
    bool ready;
    bool closed;
    uint64_t serial; /* of desired_connected; answers to an older one are stale */
    unsigned calls;
    /* desired_connected: the channels to compare */
    struct arena compare_arena;
    struct store_channel *compare;
    size_t compare_len, compare_next, compare_open;
};

/* One call of the bus. */
struct call {
    struct desired_publisher *publisher;
    uint64_t serial;
    char app[TOKEN_MAX + 1];
    char channel[TOKEN_MAX + 1];
    uint64_t generation;
};

static struct call *call_new(struct desired_publisher *p, const struct store_channel *channel)
{
    struct call *call = mem_new(1, sizeof *call);
    call->publisher = p;
    call->serial = p->serial;
    if (channel) {
        (void)snprintf(call->app, sizeof call->app, "%s", channel->app);
        (void)snprintf(call->channel, sizeof call->channel, "%s", channel->channel);
        call->generation = channel->generation;
    }
    p->calls++;
    return call;
}

static void free_all(struct desired_publisher *p)
{
    arena_fini(&p->compare_arena);
    mem_free(p->flights);
    mem_free(p);
}

/* Frees the call, and a closed publisher with its last one. False: the publisher is gone. */
static bool call_end(struct call *call)
{
    struct desired_publisher *p = call->publisher;
    bool closed = p->closed;
    mem_free(call);
    p->calls--;
    if (closed && p->calls == 0)
        free_all(p);
    return !closed;
}

static void subject_of(const char *app, const char *channel, char ret[static BUS_SUBJECT_MAX])
{
    (void)snprintf(ret, BUS_SUBJECT_MAX, "desired.channel.%s.%s", app, channel);
}

/* Issuing. */

enum err_code desired_issue(struct desired_publisher *publisher, const char *app,
                            const char *channel, uint64_t decision, struct err *err)
{
    struct arena arena;
    arena_init(&arena, ISSUE_ARENA_BYTES);
    enum err_code code = desired_document(&publisher->signer, app, channel, decision, &arena, err);
    arena_fini(&arena);
    return code == ERR_OK ? ERR_OK : err_wrap(err, "issuing channel %s/%s", app, channel);
}

/* Sending. */

static struct flight *find_flight(struct desired_publisher *p, const char *app, const char *channel)
{
    for (size_t i = 0; i < p->flights_len; i++)
        if (str_equal(p->flights[i].app, app) && str_equal(p->flights[i].channel, channel))
            return &p->flights[i];
    return NULL;
}

static struct flight *add_flight(struct desired_publisher *p, const char *app, const char *channel)
{
    p->flights = mem_grow(p->flights, p->flights_len, p->flights_len + 1, sizeof *p->flights);
    struct flight *flight = &p->flights[p->flights_len++];
    (void)snprintf(flight->app, sizeof flight->app, "%s", app);
    (void)snprintf(flight->channel, sizeof flight->channel, "%s", channel);
    return flight;
}

static void drop_flight(struct desired_publisher *p, struct flight *flight)
{
    *flight = p->flights[--p->flights_len];
}

static enum err_code clear_marks(struct desired_publisher *p, struct err *err)
{
    enum err_code code = ERR_OK;
    for (size_t i = 0; code == ERR_OK && i < p->flights_len; i++) {
        struct flight *flight = &p->flights[i];
        if (flight->stored)
            code = store_channel_sent(p->db, flight->app, flight->channel, flight->generation, err);
    }
    return code == ERR_OK ? db_commit(p->db, err) : code;
}

static void on_clear(void *arg)
{
    struct desired_publisher *p = arg;
    struct err err = {0};
    if (clear_marks(p, &err) != ERR_OK) {
        log_err("desired: clearing marks", &err);
        return; /* the next confirmation tries again, if captain lives on */
    }
    for (size_t i = p->flights_len; i-- > 0;)
        if (p->flights[i].stored)
            drop_flight(p, &p->flights[i]);
}

static void on_retry(void *arg)
{
    struct desired_publisher *p = arg;
    if (bus_connected(p->bus)) /* else it is called when the bus is back */
        desired_connected(p);
}

static void try_again(struct desired_publisher *p, const char *what, const struct err *err)
{
    log_err(what, err);
    loop_timer_at(p->loop, &p->retry, loop_now_ms(p->loop) + RETRY_MS, on_retry, p);
}

static void on_sent(void *arg, uint64_t seq, bool duplicate, const struct err *err)
{
    struct call *call = arg;
    struct desired_publisher *p = call->publisher;
    struct call copy = *call;
    (void)seq;
    (void)duplicate; /* the same document, stored before */
    if (!call_end(call))
        return;
    struct flight *flight = find_flight(p, copy.app, copy.channel);
    if (!flight || flight->generation != copy.generation)
        return; /* a newer one is on its way */
    if (err->code == ERR_OK) {
        flight->stored = true;
        if (p->clear.slot == 0)
            loop_timer_at(p->loop, &p->clear, loop_now_ms(p->loop) + CLEAR_MS, on_clear, p);
        return;
    }
    drop_flight(p, flight);
    try_again(p, "desired: the stream did not confirm", err);
}

static void send_one(struct desired_publisher *p, const struct store_channel *channel)
{
    struct err err = {0};
    char subject[BUS_SUBJECT_MAX];
    char id[CHANNEL_NAME_MAX + 24];
    struct flight *flight = find_flight(p, channel->app, channel->channel);
    if (flight && flight->generation == channel->generation)
        return;
    if (!flight)
        flight = add_flight(p, channel->app, channel->channel);
    flight->generation = channel->generation;
    flight->stored = false;
    subject_of(channel->app, channel->channel, subject);
    (void)snprintf(id, sizeof id, "%s/%s/%" PRIu64, channel->app, channel->channel,
                   channel->generation);
    struct call *call = call_new(p, channel);
    if (bus_store(p->bus, subject, channel->desired, id, (struct bus_expect){0}, TIMEOUT_MS,
                  on_sent, call, &err) == ERR_OK)
        return;
    (void)call_end(call);
    drop_flight(p, flight);
    try_again(p, "desired: sending", &err);
}

void desired_send(struct desired_publisher *p)
{
    struct err err = {0};
    struct arena arena;
    struct store_channel *unsent;
    size_t len;
    if (!p->ready)
        return; /* desired_connected sends what is marked */
    arena_init(&arena, LIST_ARENA_BYTES);
    if (store_channel_list_unsent(p->db, &arena, &unsent, &len, &err) == ERR_OK)
        for (size_t i = 0; i < len; i++)
            send_one(p, &unsent[i]);
    else
        try_again(p, "desired: reading what is to be sent", &err);
    arena_fini(&arena);
}

/* Issuing again. */

/* What the row's document says; false when there is none that can be read. */
static bool read_document(struct desired_publisher *p, struct bytes envelope, struct arena *arena,
                          struct desired *ret)
{
    struct bytes payload;
    struct sign_role role = {
        (const uint8_t(*)[SIGN_PUBLIC_BYTES])p->signer.keys->desired.public_key, 1, 1};
    return envelope.len > 0 &&
           sign_open(SIGN_TYPE_DESIRED, SIGN_DESIRED_MAX_BYTES, envelope, &role, arena, &payload,
                     NULL) == ERR_OK &&
           codec_decode(&codec_desired, payload, arena, ret, NULL) == ERR_OK;
}

/* A document that is old, that names another store than ours is now, or that our key did not sign.
 */
static bool is_stale(struct desired_publisher *p, const struct store_channel *channel,
                     int64_t now_ms)
{
    struct arena arena;
    struct desired document;
    if (channel->unsettled && channel->generation == 0)
        return false; /* no rollout of it has sent anything yet */
    if (channel->issued_ms + p->reissue_ms <= now_ms ||
        channel->issued_ms > now_ms + p->signer.valid_ms)
        return true;
    arena_init(&arena, ISSUE_ARENA_BYTES);
    bool fresh = read_document(p, channel->desired, &arena, &document) &&
                 document.stores_len == 1 && str_equal(document.stores[0], p->signer.store_url);
    arena_fini(&arena);
    return !fresh;
}

static enum err_code issue_stale(struct desired_publisher *p, struct arena *arena,
                                 int64_t *ret_next_ms, struct err *err)
{
    struct store_channel *channels;
    size_t len;
    int64_t now_ms = clock_unix_ms();
    *ret_next_ms = now_ms + LOOK_MAX_MS;
    enum err_code code = store_channel_list(p->db, arena, &channels, &len, err);
    for (size_t i = 0; code == ERR_OK && i < len; i++) {
        int64_t due_ms = channels[i].issued_ms + p->reissue_ms;
        if (is_stale(p, &channels[i], now_ms)) {
            code =
                desired_issue(p, channels[i].app, channels[i].channel, channels[i].decision, err);
            due_ms = now_ms + p->reissue_ms;
        }
        if (due_ms < *ret_next_ms)
            *ret_next_ms = due_ms;
    }
    return code == ERR_OK ? db_commit(p->db, err) : code;
}

static void on_look(void *arg);

static void look(struct desired_publisher *p)
{
    struct err err = {0};
    struct arena arena;
    int64_t next_ms = 0;
    arena_init(&arena, LIST_ARENA_BYTES);
    /* A failed transaction stays open, poisoned: others may have rows in it, so its end tells all.
     */
    if (issue_stale(p, &arena, &next_ms, &err) != ERR_OK)
        log_err("desired: issuing again", &err);
    arena_fini(&arena);
    int64_t wait_ms = next_ms - clock_unix_ms();
    if (wait_ms < RETRY_MS)
        wait_ms = RETRY_MS;
    loop_timer_at(p->loop, &p->look, loop_now_ms(p->loop) + wait_ms, on_look, p);
}

static void on_look(void *arg)
{
    look(arg);
    desired_send(arg);
}

/* Comparing with the stream. */

static void compare_more(struct desired_publisher *p);

/* The stream may hold a newer document of ours (tables rebuilt, clock set back): the next must be
 * above it, else devices refuse it. */
static enum err_code mark_again(struct desired_publisher *p, const char *app, const char *name,
                                struct bytes there, struct arena *arena, struct err *err)
{
    struct store_channel channel;
    struct desired document;
    enum err_code code = store_channel_get(p->db, app, name, arena, &channel, err);
    if (code != ERR_OK || bytes_equal(channel.desired, there))
        return code;
    if (channel.generation == 0)
        return ERR_OK; /* nothing has been issued yet */
    bool above = read_document(p, there, arena, &document) && str_equal(document.app, app) &&
                 str_equal(document.channel, name) && document.generation >= channel.generation;
    uint64_t generation = above ? document.generation : channel.generation;
    code =
        store_channel_issued(p->db, app, name, generation, channel.issued_ms, channel.desired, err);
    if (code == ERR_OK && above)
        code = desired_issue(p, app, name, channel.decision, err);
    struct flight *flight = find_flight(p, app, name);
    if (flight && flight->stored)
        drop_flight(p, flight); /* confirmed once, but no longer there */
    return code;
}

static void differs(struct desired_publisher *p, const struct call *call, struct bytes there)
{
    struct err err = {0};
    struct arena arena;
    arena_init(&arena, ISSUE_ARENA_BYTES);
    if (mark_again(p, call->app, call->channel, there, &arena, &err) != ERR_OK ||
        db_commit(p->db, &err) != ERR_OK)
        log_err("desired: comparing with the stream", &err);
    arena_fini(&arena);
}

static void on_last(void *arg, const struct bus_message *message, const struct err *err)
{
    struct call *call = arg;
    struct desired_publisher *p = call->publisher;
    struct call copy = *call;
    if (!call_end(call) || copy.serial != p->serial)
        return;
    p->compare_open--;
    if (err->code == ERR_OK)
        differs(p, &copy, message->data);
    else if (err->code == ERR_NOT_FOUND)
        differs(p, &copy, (struct bytes){0});
    else
        try_again(p, "desired: asking the stream", err);
    compare_more(p);
}

static enum err_code compare_one(struct desired_publisher *p, const struct store_channel *channel,
                                 struct err *err)
{
    char subject[BUS_SUBJECT_MAX];
    struct call *call = call_new(p, channel);
    subject_of(channel->app, channel->channel, subject);
    enum err_code code = bus_get_last(p->bus, STREAM, subject, TIMEOUT_MS, on_last, call, err);
    if (code != ERR_OK)
        (void)call_end(call);
    return code;
}

static void compare_more(struct desired_publisher *p)
{
    struct err err = {0};
    while (p->compare_next < p->compare_len && p->compare_open < COMPARES_MAX) {
        if (compare_one(p, &p->compare[p->compare_next++], &err) != ERR_OK) {
            try_again(p, "desired: asking the stream", &err);
            return;
        }
        p->compare_open++;
    }
    if (p->compare_open > 0)
        return;
    p->compare_len = 0;
    arena_fini(&p->compare_arena);
    p->ready = true;
    desired_send(p);
}

static void on_stream(void *arg, const struct bus_stream_state *state, const struct err *err)
{
    struct call *call = arg;
    struct desired_publisher *p = call->publisher;
    uint64_t serial = call->serial;
    struct err failed = *err;
    (void)state;
    if (!call_end(call) || serial != p->serial)
        return;
    if (failed.code == ERR_OK) {
        arena_fini(&p->compare_arena);
        arena_init(&p->compare_arena, LIST_ARENA_BYTES);
        failed.code =
            store_channel_list(p->db, &p->compare_arena, &p->compare, &p->compare_len, &failed);
    }
    if (failed.code == ERR_OK)
        compare_more(p);
    else
        try_again(p, "desired: making stream " STREAM, &failed);
}

void desired_connected(struct desired_publisher *p)
{
    struct err err = {0};
    struct bus_stream stream = {.name = STREAM,
                                .subject = "desired.>",
                                .max_msgs_per_subject = 1,
                                .allow_direct = true,
                                .republish_source = "desired.>",
                                .republish_dest = "dn.>"};
    p->serial++;
    p->ready = false;
    p->compare_len = p->compare_next = p->compare_open = 0;
    loop_timer_stop(&p->retry);
    look(p);
    struct call *call = call_new(p, NULL);
    if (bus_stream_ensure(p->bus, &stream, on_stream, call, &err) == ERR_OK)
        return;
    (void)call_end(call);
    try_again(p, "desired: making stream " STREAM, &err);
}

enum err_code desired_open(struct loop *loop, struct bus *bus, struct db *db,
                           const struct keys *keys, const struct desired_options *options,
                           struct desired_publisher **ret, struct err *err)
{
    struct desired_publisher *p = mem_new(1, sizeof *p);
    p->loop = loop;
    p->bus = bus;
    p->db = p->signer.db = db;
    p->signer.keys = keys;
    p->signer.valid_ms = options->valid_ms;
    p->reissue_ms = options->reissue_ms;
    if (str_copy(p->signer.tenant, sizeof p->signer.tenant, options->tenant) != ERR_OK ||
        str_copy(p->signer.store_url, sizeof p->signer.store_url, options->store_url) != ERR_OK) {
        free_all(p);
        return err_set(err, ERR_SIZE, "the name of the tenant or the store's URL is too long");
    }
    *ret = p;
    return ERR_OK;
}

void desired_close(struct desired_publisher *p)
{
    if (!p)
        return;
    loop_timer_stop(&p->clear);
    loop_timer_stop(&p->retry);
    loop_timer_stop(&p->look);
    p->closed = true;
    if (p->calls == 0)
        free_all(p);
}
