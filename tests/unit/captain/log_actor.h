/* SPDX-License-Identifier: Apache-2.0
 *
 * For the tests of the decision log: captains reduced to a log (own folder, tables, bus; several on
 * one loop), whose decisions set a named number, and a look at the stream beside them.
 */
#pragma once

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "captain/decision.h"
#include "captain/io/store/log.h"
#include "common/base/mem.h"
#include "common/hash.h"
#include "proto/codec.h"
#include "tests/support/nats_server.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

enum { WAIT_MS = 20000 };

struct actor {
    struct loop *loop;
    const char *dir;
    char holder[64];
    struct db *db;
    struct bus *bus;
    struct decisions *decisions;
    unsigned ready, committed, taken;
    struct err lost;
    struct err err;
};

/* One decision: the setting `name` becomes the entry's number. */
struct order {
    char name[32];
    bool refuse;
    bool done;
    unsigned calls;
    uint64_t seq;
    struct err err;
};

static inline enum err_code actor_apply(void *arg, const struct log_entry *entry, struct err *err)
{
    struct actor *a = arg;
    if (!str_equal(entry->kind, "test.note"))
        return ERR_OK;
    a->taken++;
    if (str_equal(entry->subject, "poison"))
        return err_set(err, ERR_FAILED, "the tables refuse it");
    int64_t count = 0;
    enum err_code code = store_setting_get_int(a->db, "notes", 0, &count, err);
    if (code == ERR_OK)
        code = store_setting_set_int(a->db, "notes", count + 1, err);
    if (code == ERR_OK)
        code = store_setting_set_int(a->db, entry->subject, (int64_t)entry->seq, err);
    return code;
}

static inline void actor_committed(void *arg, const struct log_entry *entry)
{
    struct actor *a = arg;
    (void)entry;
    a->committed++;
}

static inline void actor_ready(void *arg)
{
    struct actor *a = arg;
    a->ready++;
}

static inline void actor_lost(void *arg, const struct err *err)
{
    struct actor *a = arg;
    assert_int_equal(a->lost.code, ERR_OK); /* told once */
    a->lost = *err;
}

static inline void actor_event(void *arg, enum bus_event event, const char *text, uint64_t count)
{
    struct actor *a = arg;
    (void)text;
    (void)count;
    if (event == BUS_CONNECTED)
        decisions_connected(a->decisions);
    else if (event == BUS_DISCONNECTED)
        decisions_disconnected(a->decisions);
}

static inline void actor_open(struct actor *a, struct loop *loop, const char *url, const char *dir,
                              const char *holder)
{
    struct bus_options options = {.url = url,
                                  .name = holder,
                                  .seed = 1,
                                  .reconnect_max_ms = 300,
                                  .on_event = actor_event,
                                  .arg = a};
    struct decisions_hooks hooks = {actor_apply, actor_committed, actor_ready, actor_lost, a};
    *a = (struct actor){.loop = loop, .dir = dir};
    (void)snprintf(a->holder, sizeof a->holder, "%s", holder);
    if (store_open(dir, &a->db, &a->err) != ERR_OK ||
        bus_open(loop, &options, &a->bus, &a->err) != ERR_OK ||
        decisions_open(loop, a->bus, a->db, holder, dir, &hooks, &a->decisions, &a->err) !=
            ERR_OK ||
        bus_start(a->bus, &a->err) != ERR_OK)
        fail_msg("%s", a->err.text);
}

static inline void actor_close(struct actor *a)
{
    decisions_close(a->decisions);
    bus_close(a->bus, 1000);
    db_close(a->db);
    *a = (struct actor){0};
}

static inline bool actor_is_ready(void *arg)
{
    struct actor *a = arg;
    return a->ready > 0 || a->lost.code != ERR_OK;
}

static inline bool actor_is_lost(void *arg)
{
    return ((struct actor *)arg)->lost.code != ERR_OK;
}

static inline void actor_lead(struct actor *a, struct loop *loop, const char *url, const char *dir,
                              const char *holder)
{
    actor_open(a, loop, url, dir, holder);
    assert_true(wait_turning(loop, actor_is_ready, a, WAIT_MS));
    if (a->lost.code != ERR_OK)
        fail_msg("lost: %s", a->lost.text);
}

static inline enum err_code order_prepare(void *arg, struct arena *arena, struct decision *ret,
                                          struct err *err)
{
    struct order *order = arg;
    (void)arena;
    if (order->refuse)
        return err_set(err, ERR_USAGE, "no such thing");
    *ret = (struct decision){.actor = "operator:test", .kind = "test.note", .subject = order->name};
    return ERR_OK;
}

static inline void order_done(void *arg, uint64_t seq, const struct err *err)
{
    struct order *order = arg;
    order->done = true;
    order->calls++;
    order->seq = seq;
    order->err = *err;
}

static inline bool order_is_done(void *arg)
{
    return ((struct order *)arg)->done;
}

static inline void order_submit(struct actor *a, struct order *order, const char *name)
{
    *order = (struct order){.refuse = order->refuse};
    (void)snprintf(order->name, sizeof order->name, "%s", name);
    if (decisions_submit(a->decisions, order_prepare, order_done, order, &a->err) != ERR_OK)
        fail_msg("%s", a->err.text);
    assert_false(order->done);
}

static inline enum err_code actor_decide(struct actor *a, const char *name, uint64_t *ret_seq)
{
    struct order order = {0};
    order_submit(a, &order, name);
    assert_true(wait_turning(a->loop, order_is_done, &order, WAIT_MS));
    assert_int_equal(order.calls, 1);
    if (ret_seq)
        *ret_seq = order.seq;
    a->err = order.err;
    return order.err.code;
}

/* A look at the stream, by any connected bus. */
struct look {
    bool done;
    struct err err;
    uint8_t data[4096];
    size_t len;
};

static inline void look_reply(void *arg, const struct bus_message *message, const struct err *err)
{
    struct look *look = arg;
    look->done = true;
    look->err = *err;
    if (!message)
        return;
    look->len = message->data.len < sizeof look->data ? message->data.len : sizeof look->data;
    memcpy(look->data, message->data.ptr, look->len);
}

static inline bool look_is_done(void *arg)
{
    return ((struct look *)arg)->done;
}

static inline void look_at(struct actor *a, uint64_t seq, struct look *ret)
{
    *ret = (struct look){0};
    if (bus_get_at(a->bus, "LOG", seq, WAIT_MS, look_reply, ret, &a->err) != ERR_OK)
        fail_msg("%s", a->err.text);
    assert_true(wait_turning(a->loop, look_is_done, ret, WAIT_MS));
}

/* A request of JetStream's own interface, for what captain never does. */
static inline void actor_admin(struct actor *a, const char *subject)
{
    struct look look = {0};
    if (bus_request(a->bus, subject, (struct bytes){0}, WAIT_MS, look_reply, &look, &a->err) !=
        ERR_OK)
        fail_msg("%s", a->err.text);
    assert_true(wait_turning(a->loop, look_is_done, &look, WAIT_MS));
    assert_int_equal(look.err.code, ERR_OK);
    look.data[look.len < sizeof look.data ? look.len : sizeof look.data - 1] = '\0';
    assert_non_null(strstr((const char *)look.data, "\"success\":true"));
}

/* Both copies hold the same bytes at 1..last, chained, and the stream ends there. */
static inline void assert_copies_agree(struct actor *a, uint64_t first, uint64_t last)
{
    struct arena arena;
    uint8_t previous[DIGEST_BYTES] = {0};
    struct look look;
    uint64_t seq = 0;
    uint8_t hash[DIGEST_BYTES];
    arena_init(&arena, 64 << 20);
    assert_int_equal(store_log_last(a->db, &seq, hash, &a->err), ERR_OK);
    assert_int_equal(seq, last);
    for (seq = 1; seq <= last; seq++) {
        struct store_log_row row;
        struct log_entry entry;
        assert_int_equal(store_log_get(a->db, seq, &arena, &row, &a->err), ERR_OK);
        assert_int_equal(codec_decode(&codec_log_entry, row.entry, &arena, &entry, &a->err),
                         ERR_OK);
        assert_int_equal(entry.seq, seq);
        assert_memory_equal(entry.previous.ptr, previous, DIGEST_BYTES);
        hash_bytes(row.entry, previous);
        assert_memory_equal(row.hash, previous, DIGEST_BYTES);
        if (seq < first)
            continue;
        look_at(a, seq, &look);
        assert_int_equal(look.err.code, ERR_OK);
        assert_true(bytes_equal(bytes_of(look.data, look.len), row.entry));
        arena_reset(&arena);
    }
    look_at(a, last + 1, &look);
    assert_int_equal(look.err.code, ERR_NOT_FOUND);
    arena_fini(&arena);
}

static inline int64_t setting_of(struct actor *a, const char *name)
{
    int64_t value = -1;
    assert_int_equal(store_setting_get_int(a->db, name, 0, &value, &a->err), ERR_OK);
    return value;
}
