/* SPDX-License-Identifier: Apache-2.0
 *
 * Enrolment with a real log, real tables and a real nats-server without roles; what mints and revokes is
 * played, everything else is captain's own. Devices are beside it on the same loop.
 */
#pragma once

#include "captain/enrol.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "captain/io/store/log.h"
#include "captain/io/store/rollout.h"
#include "captain/io/store/trust.h"
#include "captain/projection.h"
#include "common/base/mem.h"
#include "common/base/ulid.h"
#include "common/clock.h"
#include "proto/codec.h"
#include "tests/support/nats_server.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"
#include "tests/unit/captain/assert_ok.h"

enum { WAIT_MS = 20000, NOTHING_MS = 300, REVOKED_MAX = 16, TENANT_DEVICES = 1000 };

struct world {
    struct nats_server *server;
    char *dir;
    struct loop *loop;
    struct arena arena;
    struct err err;
    struct db *db;
    struct fleet *fleet;
    struct bus *bus;
    struct decisions *decisions;
    struct incidents *incidents;
    struct enrol *enrol;
    bool ready;
    struct bus *enroll; /* with the public credential's inbox */
    struct bus *own;    /* of lyon/gate-1 */
    unsigned minted;
    bool held; /* captain does not say that it is ready */
    struct account_revocation revoked[REVOKED_MAX];
    size_t revoked_len;
    /* Answers. */
    unsigned answers, granted, later;
    struct bytes answer;
    struct err unanswered;
};

struct device {
    const char *site, *name;
    struct sign_key key;
    uint8_t seal_public[crypto_box_PUBLICKEYBYTES], seal_secret[crypto_box_SECRETKEYBYTES];
    uint8_t nonce[16];
};
struct ticket {
    char id[ULID_TEXT];
    struct sign_key key;
};

/* Captain. */

static inline enum err_code play_mint(void *arg, const struct account_device *device,
                                      struct arena *arena, const char **ret, struct err *err)
{
    struct world *w = arg;
    (void)err;
    w->minted++;
    assert_int_equal(device->expires_s - device->issued_s, ACCOUNT_DEVICE_TTL_S);
    *ret = arena_printf(arena, "jwt.of.%s.%s", device->site, device->device);
    return ERR_OK;
}

static inline enum err_code play_revoke(void *arg, const struct account_revocation *revocation,
                                        struct err *err)
{
    struct world *w = arg;
    (void)err;
    assert_true(w->revoked_len < REVOKED_MAX);
    w->revoked[w->revoked_len++] = *revocation;
    return ERR_OK;
}

static inline enum err_code play_set(void *arg, const struct account_revocation *list, size_t len,
                                     struct err *err)
{
    struct world *w = arg;
    w->revoked_len = 0;
    for (size_t i = 0; i < len; i++)
        if (play_revoke(w, &list[i], err) != ERR_OK)
            return err->code;
    return ERR_OK;
}

static inline enum err_code on_apply(void *arg, const struct log_entry *entry, struct err *err)
{
    struct world *w = arg;
    return projection_apply(w->db, NULL, entry, err);
}

static inline void on_committed(void *arg, const struct log_entry *entry)
{
    enrol_committed(((struct world *)arg)->enrol, entry);
}

static inline void on_ready(void *arg)
{
    struct world *w = arg;
    if (!w->held)
        assert_ok(w, enrol_ready(w->enrol, &w->err));
    w->ready = true;
}

static inline void on_lost(void *arg, const struct err *err)
{
    (void)arg;
    fail_msg("the log is lost: %s", err->text);
}

static inline void on_captain_event(void *arg, enum bus_event event, const char *text,
                                    uint64_t count)
{
    struct world *w = arg;
    (void)text, (void)count;
    if (event == BUS_CONNECTED)
        decisions_connected(w->decisions);
    else if (event == BUS_DISCONNECTED)
        decisions_disconnected(w->decisions);
}

static inline void on_event(void *arg, enum bus_event event, const char *text, uint64_t count)
{
    (void)arg, (void)event, (void)text, (void)count;
}

static inline void on_turn_end(void *arg)
{
    struct world *w = arg;
    assert_ok(w, db_commit(w->db, &w->err));
}

static inline bool is_ready(void *arg)
{
    struct world *w = arg;
    return w->ready && bus_connected(w->enroll) && bus_connected(w->own);
}

static inline void captain_open(struct world *w)
{
    static const char *const urls[] = {"tls://here:4222"};
    const struct bus_options options = {.url = nats_server_url(w->server),
                                        .name = "captain",
                                        .seed = 1,
                                        .reconnect_max_ms = 200,
                                        .on_event = on_captain_event,
                                        .arg = w};
    const struct decisions_hooks hooks = {on_apply, on_committed, on_ready, on_lost, w};
    w->ready = false;
    assert_ok(w, store_open(w->dir, &w->db, &w->err));
    assert_ok(w, bus_open(w->loop, &options, &w->bus, &w->err));
    assert_ok(w, decisions_open(w->loop, w->bus, w->db, "test:1", w->dir, &hooks, &w->decisions,
                                &w->err));
    w->incidents = incidents_new(w->decisions, "test:1");
    const struct enrol_parts parts = {.bus = w->bus,
                                      .db = w->db,
                                      .fleet = w->fleet,
                                      .decisions = w->decisions,
                                      .incidents = w->incidents,
                                      .tenant = "acme",
                                      .holder = "test:1",
                                      .urls = urls,
                                      .urls_len = 1,
                                      .mint = play_mint,
                                      .revoke = play_revoke,
                                      .set_revocations = play_set,
                                      .arg = w};
    assert_ok(w, enrol_open(&parts, &w->enrol, &w->err));
    assert_ok(w, bus_start(w->bus, &w->err));
}

static inline void captain_close(struct world *w)
{
    decisions_close(w->decisions);
    bus_close(w->bus, 100);
    enrol_close(w->enrol);
    incidents_free(w->incidents);
    assert_ok(w, db_commit(w->db, &w->err));
    db_close(w->db);
}

static inline struct bus *device_bus(struct world *w, const char *prefix)
{
    struct bus *bus = NULL;
    const struct bus_options options = {.url = nats_server_url(w->server),
                                        .name = "device",
                                        .inbox_prefix = prefix,
                                        .seed = 2,
                                        .reconnect_max_ms = 200,
                                        .on_event = on_event,
                                        .arg = w};
    assert_ok(w, bus_open(w->loop, &options, &bus, &w->err));
    assert_ok(w, bus_start(bus, &w->err));
    return bus;
}

static inline int set_up(void **state)
{
    struct world *w = mem_new(1, sizeof *w);
    assert_true(sodium_init() >= 0);
    arena_init(&w->arena, 256 << 20);
    w->server = nats_server_start(NULL);
    w->dir = tempdir_make();
    w->fleet = fleet_new(TENANT_DEVICES, 90000);
    assert_ok(w, loop_open(&w->loop, &w->err));
    loop_on_turn_end(w->loop, on_turn_end, w);
    captain_open(w);
    w->enroll = device_bus(w, "_INBOX.enroll");
    w->own = device_bus(w, "_INBOX.lyon.gate-1");
    assert_true(wait_turning(w->loop, is_ready, w, WAIT_MS));
    *state = w;
    return 0;
}

static inline int tear_down(void **state)
{
    struct world *w = *state;
    captain_close(w);
    bus_close(w->enroll, 100);
    bus_close(w->own, 100);
    loop_close(w->loop);
    fleet_free(w->fleet);
    nats_server_free(w->server);
    tempdir_remove(w->dir);
    arena_fini(&w->arena);
    mem_free(w);
    return 0;
}

/* Decisions of operators. */

struct order {
    struct decision decision;
    bool done;
    struct err err;
};

static inline enum err_code order_prepare(void *arg, struct arena *arena, struct decision *ret,
                                          struct err *err)
{
    (void)arena, (void)err;
    *ret = ((struct order *)arg)->decision;
    return ERR_OK;
}

static inline void order_done(void *arg, uint64_t seq, const struct err *err)
{
    struct order *order = arg;
    (void)seq;
    order->done = true;
    order->err = *err;
}

static inline bool is_done(void *arg)
{
    return ((struct order *)arg)->done;
}

static inline void decide(struct world *w, const char *kind, const char *subject,
                          const struct codec_type *type, const void *message)
{
    struct order order = {
        .decision = {.actor = "operator:ada", .kind = kind, .subject = subject, .reason = ""}};
    assert_ok(w, codec_encode(type, message, &w->arena, &order.decision.body, &w->err));
    assert_ok(w, decisions_submit(w->decisions, order_prepare, order_done, &order, &w->err));
    assert_true(wait_turning(w->loop, is_done, &order, WAIT_MS));
    if (order.err.code != ERR_OK)
        fail_msg("%s: %s", kind, order.err.text);
}

static inline struct ticket ticket_like(struct world *w, struct token_created created)
{
    struct ticket ticket;
    uint8_t random[ULID_RANDOM_BYTES];
    clock_random(random, sizeof random);
    ulid_format(clock_unix_ms(), random, ticket.id);
    sign_key_new(&ticket.key);
    created.id = ticket.id;
    created.public_key = bytes_of(ticket.key.public_key, SIGN_PUBLIC_BYTES);
    created.site = created.site ? created.site : "lyon";
    created.uses = created.uses ? created.uses : 1;
    created.expires_ms = created.expires_ms ? created.expires_ms : clock_unix_ms() + 3600000;
    decide(w, "token.created", ticket.id, &codec_token_created, &created);
    return ticket;
}

static inline struct ticket ticket_new(struct world *w)
{
    return ticket_like(w, (struct token_created){.uses = 1});
}

static inline void verdict(struct world *w, const char *kind, const struct device *device)
{
    const char *name = arena_printf(&w->arena, "%s/%s", device->site, device->name);
    const struct device_verdict said = {
        .device = name, .device_key = bytes_of(device->key.public_key, SIGN_PUBLIC_BYTES)};
    decide(w, kind, name, &codec_device_verdict, &said);
}

/* Devices. */

static inline struct device device_new(const char *site, const char *name)
{
    struct device device = {.site = site, .name = name};
    sign_key_new(&device.key);
    (void)crypto_box_keypair(device.seal_public, device.seal_secret);
    randombytes_buf(device.nonce, sizeof device.nonce);
    return device;
}

/* ticket NULL: a renewal. signers: of the envelope. */
static inline struct bytes request_by(struct world *w, const struct device *device,
                                      const char *token, const struct sign_key *signers,
                                      size_t signers_len)
{
    struct bytes payload, envelope;
    const struct enrol_request request = {
        .tenant = "acme",
        .site = device->site,
        .device = device->name,
        .token = token,
        .device_key = bytes_of(device->key.public_key, SIGN_PUBLIC_BYTES),
        .seal_key = bytes_of(device->seal_public, sizeof device->seal_public),
        .nonce = bytes_of(device->nonce, sizeof device->nonce),
        .hardware = "pi4",
        .agent_version = "0.1.0"};
    assert_ok(w, codec_encode(&codec_enrol_request, &request, &w->arena, &payload, &w->err));
    assert_ok(w, sign_seal(SIGN_TYPE_ENROL, payload, signers, signers_len, &w->arena, &envelope,
                           &w->err));
    return envelope;
}

static inline struct bytes request_of(struct world *w, const struct device *device,
                                      const struct ticket *ticket)
{
    const struct sign_key signers[] = {device->key, ticket ? ticket->key : device->key};
    return request_by(w, device, ticket ? ticket->id : "", signers, ticket ? 2 : 1);
}

static inline void on_answer(void *arg, const struct bus_message *message, const struct err *err)
{
    struct world *w = arg;
    struct enrol_reply reply;
    w->answers++;
    w->unanswered = *err;
    if (!message)
        return;
    w->answer =
        bytes_of(arena_dup(&w->arena, message->data.ptr, message->data.len), message->data.len);
    assert_ok(w, codec_decode(&codec_enrol_reply, w->answer, &w->arena, &reply, &w->err));
    w->granted += reply.state == 3;
    w->later += reply.state == 1 && reply.code == ERR_FULL && reply.retry_ms > 0;
}

struct expected_answers {
    const struct world *w;
    unsigned len;
};

static inline bool has_answers(void *arg)
{
    const struct expected_answers *expected = arg;
    return expected->w->answers >= expected->len;
}

static inline void wait_answers(struct world *w, unsigned len)
{
    struct expected_answers expected = {w, len};
    if (!wait_turning(w->loop, has_answers, &expected, WAIT_MS))
        fail_msg("%u answers, not %u", w->answers, len);
}

static inline struct enrol_reply send_on(struct world *w, struct bus *bus, const char *subject,
                                         struct bytes envelope)
{
    struct enrol_reply reply = {0};
    w->answers = 0;
    assert_ok(w, bus_request(bus, subject, envelope, 5000, on_answer, w, &w->err));
    wait_answers(w, 1);
    if (w->unanswered.code != ERR_OK)
        fail_msg("%s: %s", subject, w->unanswered.text);
    assert_ok(w, codec_decode(&codec_enrol_reply, w->answer, &w->arena, &reply, &w->err));
    return reply;
}

static inline struct enrol_reply ask(struct world *w, const struct device *device,
                                     const struct ticket *ticket)
{
    const struct enrol_reply reply = send_on(w, w->enroll, "enroll", request_of(w, device, ticket));
    /* Whatever it says, it says it to this request. */
    assert_true(bytes_equal(reply.nonce, bytes_of(device->nonce, sizeof device->nonce)));
    return reply;
}

static inline void assert_refused(const struct enrol_reply *reply, enum err_code code)
{
    if (reply->state != 1 || (enum err_code)reply->code != code)
        fail_msg("state %u, %s: %s", reply->state, err_name((enum err_code)reply->code),
                 reply->reason);
    assert_true(reply->reason[0]);
    assert_int_equal(reply->sealed.len, 0);
}

/* What is in it opens with the device's key and no other, and answers its question. */
static inline void assert_granted(struct world *w, const struct device *device,
                                  const struct enrol_reply *reply)
{
    struct enrol_grant grant;
    if (reply->state != 3)
        fail_msg("state %u: %s", reply->state, reply->reason);
    const size_t len = reply->sealed.len - crypto_box_SEALBYTES;
    uint8_t *plain = arena_alloc(&w->arena, len);
    assert_int_equal(crypto_box_seal_open(plain, reply->sealed.ptr, reply->sealed.len,
                                          device->seal_public, device->seal_secret),
                     0);
    assert_ok(w,
              codec_decode(&codec_enrol_grant, bytes_of(plain, len), &w->arena, &grant, &w->err));
    assert_string_equal(grant.jwt,
                        arena_printf(&w->arena, "jwt.of.%s.%s", device->site, device->name));
    assert_memory_equal(grant.nonce.ptr, device->nonce, sizeof device->nonce);
    assert_int_equal(grant.urls_len, 1);
    assert_in_range(grant.expires_ms / 1000, clock_unix_ms() / 1000 + ACCOUNT_DEVICE_TTL_S - 60,
                    clock_unix_ms() / 1000 + ACCOUNT_DEVICE_TTL_S + 60);
}

/* Entries of a kind in the log. */
static inline size_t entries(struct world *w, const char *kind, const char *subject)
{
    struct store_log_row *rows;
    size_t len = 0;
    assert_ok(w, store_log_list(w->db, 0, kind, subject, 1000, &w->arena, &rows, &len, &w->err));
    return len;
}

struct expected_entries {
    struct world *w;
    const char *kind;
    size_t len;
};

static inline bool has_entries(void *arg)
{
    const struct expected_entries *expected = arg;
    return entries(expected->w, expected->kind, "") == expected->len;
}

/* Incidents are decided after the answer. */
static inline void wait_incidents(struct world *w, size_t len)
{
    struct expected_entries expected = {w, "incident.noted", len};
    if (!wait_turning(w->loop, has_entries, &expected, WAIT_MS))
        fail_msg("%zu incidents, not %zu", entries(w, "incident.noted", ""), len);
}

static inline const char *state_of(struct world *w, const char *device)
{
    struct store_identity row;
    struct err absent = {0};
    const enum err_code code = store_identity_get(w->db, device, &w->arena, &row, &absent);
    return code == ERR_OK ? row.state : "none";
}
