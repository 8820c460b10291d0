/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/link.h"

#include <inttypes.h>
#include <stdio.h>

#include "agent/core/retry.h"
#include "agent/link_outbox.h"
#include "common/base/mem.h"
#include "common/bus.h"
#include "common/clock.h"
#include "common/log.h"
#include "proto/codec.h"

enum {
    LINK_ARENA_MAX_BYTES = 256 << 10,
    GET_TIMEOUT_MS = 5000,
    LEASE_TIMEOUT_MS = 5000,
    RENEW_TIMEOUT_MS = 10000,
    ANEW_WAIT_MS = 30000, /* for a quiet moment to connect anew */
    ANEW_FLUSH_MS = 500,
    LEASE_ARENA_MAX_BYTES = 16 << 10,
    FOLLOWS_MAX = CONFIG_APPS_MAX + 1,
    SLACK_MS = 250,       /* due times are rounded up to it, */
    LONG_SLACK_MS = 1000, /* those of long intervals to this */
    LONG_INTERVAL_MS = 10000,
};

static const struct retry_policy get_retry = {.min_ms = 500, .base_ms = 1000, .max_ms = 60000};

/* The desired state of one app, or of the device. */
struct follow {
    struct link *link;
    size_t app; /* or LINK_DEVICE */
    bool asked; /* a direct get is out */
    uint32_t failures;
    int64_t due_ms; /* of the next direct get */
};

struct link {
    struct link_options options;
    struct bus *bus;
    bool connected, closing;
    int64_t anew_ms; /* connect anew at the latest then; 0: no need */
    unsigned asks;   /* for leave, unanswered */
    uint64_t instance;
    bool changed;
    int64_t health_sent_ms, health_due_ms, telemetry_due_ms;
    struct link_outbox outbox;
    struct link_root root;
    struct follow follows[FOLLOWS_MAX];
    size_t follows_len;
    struct loop_timer timer;
    char health_subject[BUS_SUBJECT_MAX + 1], telemetry_subject[BUS_SUBJECT_MAX + 1];
};

static int64_t now_ms(const struct link *link)
{
    return loop_now_ms(link->options.loop);
}

/* interval_ms from now, give or take spread percent, on the grid that lets timers coincide. */
static int64_t later(struct link *link, int64_t interval_ms, int spread_percent)
{
    int64_t spread_ms = interval_ms * spread_percent / 100;
    int64_t jitter_ms =
        (int64_t)rng_below(link->options.rng, (uint64_t)(2 * spread_ms + 1)) - spread_ms;
    int64_t slack_ms = interval_ms >= LONG_INTERVAL_MS ? LONG_SLACK_MS : SLACK_MS;
    return (now_ms(link) + interval_ms + jitter_ms + slack_ms - 1) / slack_ms * slack_ms;
}

/* ---- desired ---- */

static void on_desired(void *arg, const struct bus_message *message)
{
    struct follow *follow = arg;
    struct link_owner *owner = &follow->link->options.owner;
    owner->desired(owner->arg, follow->app, message->data);
}

static void on_got(void *arg, const struct bus_message *message, const struct err *err)
{
    struct follow *follow = arg;
    struct link *link = follow->link;
    follow->asked = false;
    if (link->closing)
        return;
    if (err->code != ERR_OK && err->code != ERR_NOT_FOUND) {
        follow->failures++;
        follow->due_ms =
            now_ms(link) + retry_delay_ms(&get_retry, follow->failures, link->options.rng);
        return;
    }
    follow->failures = 0;
    follow->due_ms = later(link, link->options.config->refresh_ms, 50);
    if (err->code == ERR_OK)
        on_desired(follow, message);
}

static void follow_subject(const struct follow *follow, const char *prefix,
                           char ret[BUS_SUBJECT_MAX + 1])
{
    const struct config *config = follow->link->options.config;
    bool device = follow->app == LINK_DEVICE;
    const struct config_app *app = device ? NULL : &config->apps[follow->app];
    (void)snprintf(ret, BUS_SUBJECT_MAX + 1, "%s.%s.%s.%s", prefix, device ? "device" : "channel",
                   device ? config->site : app->app, device ? config->device : app->channel);
}

static void get_desired(struct follow *follow)
{
    struct link *link = follow->link;
    char subject[BUS_SUBJECT_MAX + 1];
    struct err err;
    follow_subject(follow, "desired", subject);
    follow->asked = true;
    if (bus_get_last(link->bus, "DESIRED", subject, GET_TIMEOUT_MS, on_got, follow, &err) != ERR_OK)
        on_got(follow, NULL, &err);
}

/* ---- health and telemetry ---- */

static void publish(struct link *link, const char *subject, const struct codec_type *type,
                    const void *message, struct arena *arena)
{
    struct bytes data;
    struct err err;
    enum err_code code = codec_encode(type, message, arena, &data, &err);
    if (code == ERR_OK)
        code = bus_publish(link->bus, subject, data, NULL, NULL, &err);
    if (code != ERR_OK && code != ERR_NO_CONTACT) /* the next interval says it again */
        log_err(subject, &err);
}

static void fill_labels(const struct config *config, struct arena *arena, struct health *ret)
{
    struct health_label *labels = arena_alloc(arena, (config->labels_len + 1) * sizeof *labels);
    for (size_t i = 0; labels && i < config->labels_len; i++)
        labels[i] =
            (struct health_label){.key = config->labels[i].key, .value = config->labels[i].value};
    ret->hardware = config->hardware;
    ret->labels = labels;
    ret->labels_len = labels ? config->labels_len : 0;
}

static void send_health(struct link *link)
{
    const struct link_options *o = &link->options;
    struct arena arena;
    struct health health = {
        .epoch = agent_store_epoch(o->store),
        .event_seq = agent_store_event_seq(o->store),
        .event_first = link->outbox.acked + 1,
        .sent_ms = clock_unix_ms(),
        .interval_ms = (uint32_t)o->config->health_ms,
        .agent_version = CAPTAIN_VERSION,
        .instance = link->instance,
    };
    arena_init(&arena, LINK_ARENA_MAX_BYTES);
    fill_labels(o->config, &arena, &health);
    o->owner.health(o->owner.arg, &arena, &health);
    publish(link, link->health_subject, &codec_health, &health, &arena);
    arena_fini(&arena);
    link->changed = false;
    link->health_sent_ms = now_ms(link);
    link->health_due_ms = later(link, o->config->health_ms, 10);
}

static void send_telemetry(struct link *link)
{
    const struct link_options *o = &link->options;
    struct arena arena;
    struct telemetry telemetry = {.sent_ms = clock_unix_ms()};
    arena_init(&arena, LINK_ARENA_MAX_BYTES);
    o->owner.telemetry(o->owner.arg, &arena, &telemetry);
    publish(link, link->telemetry_subject, &codec_telemetry, &telemetry, &arena);
    arena_fini(&arena);
    link->telemetry_due_ms = later(link, o->config->telemetry_ms, 10);
}

/* ---- leases ---- */

struct ask {
    struct link *link;
    link_lease_fn fn;
    void *arg;
};

static void on_lease(void *arg, const struct bus_message *message, const struct err *err)
{
    struct ask *ask = arg;
    struct lease_reply answer;
    struct arena arena;
    struct err why;
    ask->link->asks--;
    arena_init(&arena, LEASE_ARENA_MAX_BYTES);
    bool good = err->code == ERR_OK &&
                codec_decode(&codec_lease_reply, message->data, &arena, &answer, &why) == ERR_OK;
    if (err->code == ERR_OK && !good)
        log_err("an answer about a lease", &why);
    ask->fn(ask->arg, good ? &answer : NULL);
    arena_fini(&arena);
    mem_free(ask);
}

static enum err_code encode_lease(const struct link *link, const struct lease_request *request,
                                  struct arena *arena, char subject[BUS_SUBJECT_MAX + 1],
                                  struct bytes *ret, struct err *err)
{
    const struct config *config = link->options.config;
    (void)snprintf(subject, BUS_SUBJECT_MAX + 1, "lease.%s.%s", config->site, config->device);
    return codec_encode(&codec_lease_request, request, arena, ret, err);
}

enum err_code link_ask(struct link *link, const struct lease_request *request, link_lease_fn fn,
                       void *arg, struct err *err)
{
    char subject[BUS_SUBJECT_MAX + 1];
    struct arena arena;
    struct bytes data;
    if (!link->connected || link->closing)
        return err_set(err, ERR_NO_CONTACT, "no connection to the bus");
    struct ask *ask = mem_new(1, sizeof *ask);
    *ask = (struct ask){link, fn, arg};
    arena_init(&arena, LEASE_ARENA_MAX_BYTES);
    enum err_code code = encode_lease(link, request, &arena, subject, &data, err);
    if (code == ERR_OK)
        code = bus_request(link->bus, subject, data, LEASE_TIMEOUT_MS, on_lease, ask, err);
    arena_fini(&arena);
    if (code != ERR_OK)
        mem_free(ask);
    else
        link->asks++;
    return code;
}

void link_give_back(struct link *link, const struct lease_request *request)
{
    char subject[BUS_SUBJECT_MAX + 1];
    struct arena arena;
    struct bytes data;
    struct err err;
    if (!link->connected || link->closing)
        return;
    arena_init(&arena, LEASE_ARENA_MAX_BYTES);
    enum err_code code = encode_lease(link, request, &arena, subject, &data, &err);
    if (code == ERR_OK)
        code = bus_publish(link->bus, subject, data, NULL, NULL, &err);
    if (code != ERR_OK && code != ERR_NO_CONTACT)
        log_err("giving a lease back", &err);
    arena_fini(&arena);
}

/* ---- the turn ---- */

static void connect_anew(struct link *link);

static int64_t health_due_ms(const struct link *link)
{
    int64_t soonest_ms = link->health_sent_ms + LINK_HEALTH_MIN_MS;
    return link->changed && soonest_ms < link->health_due_ms ? soonest_ms : link->health_due_ms;
}

/* Only wakes the loop: link_turn does the work. */
static void on_timer(void *arg)
{
    (void)arg;
}

static void arm(struct link *link)
{
    int64_t due_ms = health_due_ms(link);
    if (link->telemetry_due_ms < due_ms)
        due_ms = link->telemetry_due_ms;
    if (link_root_due_ms(&link->root) < due_ms)
        due_ms = link_root_due_ms(&link->root);
    if (link_outbox_due_ms(&link->outbox) < due_ms)
        due_ms = link_outbox_due_ms(&link->outbox);
    if (link->anew_ms > 0 && link->anew_ms < due_ms)
        due_ms = link->anew_ms;
    for (size_t i = 0; i < link->follows_len; i++) {
        if (!link->follows[i].asked && link->follows[i].due_ms < due_ms)
            due_ms = link->follows[i].due_ms;
    }
    if (link->timer.slot == 0 || link->timer.at_ms != due_ms)
        loop_timer_at(link->options.loop, &link->timer, due_ms, on_timer, link);
}

void link_turn(struct link *link)
{
    if (link->anew_ms > 0 && link->connected && !link->closing)
        connect_anew(link);
    if (!link->connected || link->closing)
        return;
    for (size_t i = 0; i < link->follows_len; i++) {
        struct follow *follow = &link->follows[i];
        if (!follow->asked && follow->due_ms <= now_ms(link))
            get_desired(follow);
    }
    link_root_turn(&link->root);
    link_outbox_send(&link->outbox, link->bus, now_ms(link));
    if (health_due_ms(link) <= now_ms(link))
        send_health(link);
    if (link->telemetry_due_ms <= now_ms(link))
        send_telemetry(link);
    arm(link);
}

void link_changed(struct link *link)
{
    link->changed = true;
}

/* ---- the root chain ---- */

/* What was refused under the old root may be good under the new one. */
static void on_new_root(void *arg)
{
    struct link *link = arg;
    for (size_t i = 0; i < link->follows_len; i++)
        link->follows[i].due_ms = now_ms(link);
}

/* ---- the bus ---- */

static void on_ack(void *arg, const struct bus_message *message)
{
    struct link *link = arg;
    struct arena arena;
    struct ack ack;
    struct err err;
    arena_init(&arena, LINK_ARENA_MAX_BYTES);
    if (codec_decode(&codec_ack, message->data, &arena, &ack, &err) == ERR_OK)
        link_outbox_acked(&link->outbox, &ack, now_ms(link));
    else
        log_err("an acknowledgement", &err);
    arena_fini(&arena);
}

static void set_connected(struct link *link, bool connected)
{
    struct link_owner *owner = &link->options.owner;
    link->connected = connected;
    if (!connected) {
        loop_timer_stop(&link->timer); /* nothing is due before the bus is back */
    } else {
        link_outbox_restart(&link->outbox);
        link_root_connected(&link->root);
        link->changed = true;
        link->health_due_ms = now_ms(link);
        for (size_t i = 0; i < link->follows_len; i++)
            link->follows[i].due_ms = now_ms(link);
    }
    owner->bus(owner->arg, connected);
}

static void on_bus(void *arg, enum bus_event event, const char *text, uint64_t count)
{
    struct link *link = arg;
    switch (event) {
    case BUS_CONNECTED:
        log_write(LOG_LEVEL_INFO, "connected to the bus");
        set_connected(link, true);
        break;
    case BUS_DISCONNECTED:
        log_write(LOG_LEVEL_WARNING, "no connection to the bus: %s", text);
        if (link->connected)
            set_connected(link, false);
        break;
    case BUS_AUTH_ERROR:
        log_write(LOG_LEVEL_ERROR, "the bus refuses: %s", text);
        if (!link->connected && link->options.owner.refused)
            link->options.owner.refused(link->options.owner.arg);
        break;
    case BUS_SLOW:
        log_write(LOG_LEVEL_WARNING, "%" PRIu64 " messages from the bus were dropped", count);
        break;
    case BUS_CONGESTED:
    case BUS_RELIEVED:
        break; /* an agent says too little for that to matter */
    }
}

static enum err_code subscribe(struct link *link, struct err *err)
{
    const struct config *config = link->options.config;
    char subject[BUS_SUBJECT_MAX + 1];
    (void)snprintf(subject, sizeof subject, "ack.%s.%s", config->site, config->device);
    enum err_code code = bus_subscribe(link->bus, subject, on_ack, link, err);
    if (code == ERR_OK)
        code = link_root_subscribe(&link->root, link->bus, err);
    link->follows_len = config->apps_len + 1;
    for (size_t i = 0; code == ERR_OK && i < link->follows_len; i++) {
        link->follows[i] =
            (struct follow){.link = link, .app = i < config->apps_len ? i : LINK_DEVICE};
        follow_subject(&link->follows[i], "dn", subject);
        code = bus_subscribe(link->bus, subject, on_desired, &link->follows[i], err);
    }
    return code;
}

/* The bus that was there before, if any, is still there afterwards, and is *ret_before. */
static enum err_code connect_bus(struct link *link, struct bus **ret_before, struct err *err)
{
    struct bus *before = link->bus;
    const struct config *config = link->options.config;
    char name[2 * TOKEN_MAX + 32], inbox[2 * TOKEN_MAX + 32];
    (void)snprintf(name, sizeof name, "captain-agent %s/%s", config->site, config->device);
    (void)snprintf(inbox, sizeof inbox, "_INBOX.%s.%s", config->site, config->device);
    struct bus_options options = {
        .url = config->nats_url,
        .name = name,
        .inbox_prefix = inbox,
        .creds_path = config->nats_creds,
        .tls_ca_path = config->nats_ca,
        .tls_cert_path = config->nats_cert,
        .tls_key_path = config->nats_key,
        .seed = rng_next(link->options.rng),
        .reconnect_first_ms = config->reconnect_first_ms,
        .reconnect_max_ms = config->reconnect_max_ms,
        .on_event = on_bus,
        .arg = link,
    };
    enum err_code code = bus_open(link->options.loop, &options, &link->bus, err);
    if (code || (code = subscribe(link, err)) || (code = bus_start(link->bus, err))) {
        if (link->bus != before)
            bus_close(link->bus, 0);
        link->bus = before;
        return code;
    }
    *ret_before = before;
    return ERR_OK;
}

static bool is_quiet(const struct link *link)
{
    bool asked = link->asks > 0;
    for (size_t i = 0; i < link->follows_len; i++)
        asked |= link->follows[i].asked;
    return !asked;
}

static void connect_anew(struct link *link)
{
    struct bus *before;
    struct err err;
    if (!is_quiet(link) && now_ms(link) < link->anew_ms)
        return;
    link->anew_ms = 0;
    if (connect_bus(link, &before, &err) != ERR_OK) {
        log_err("connecting with the new credential", &err); /* the old one serves to its end */
        return;
    }
    bus_close(before, ANEW_FLUSH_MS);
    set_connected(link, false);
}

enum err_code link_renew(struct link *link, struct bytes request, bus_reply_fn fn, void *arg,
                         struct err *err)
{
    char subject[BUS_SUBJECT_MAX + 1];
    const struct config *config = link->options.config;
    if (!link->connected || link->closing)
        return err_set(err, ERR_NO_CONTACT, "no connection to the bus");
    (void)snprintf(subject, sizeof subject, "renew.%s.%s", config->site, config->device);
    return bus_request(link->bus, subject, request, RENEW_TIMEOUT_MS, fn, arg, err);
}

void link_reconnect(struct link *link)
{
    link->anew_ms = link->connected ? now_ms(link) + ANEW_WAIT_MS : 0;
}

enum err_code link_open(const struct link_options *options, struct link **ret, struct err *err)
{
    const struct config *config = options->config;
    struct link *link = mem_new(1, sizeof *link);
    link->options = *options;
    link->health_sent_ms = -LINK_HEALTH_MIN_MS;
    link->telemetry_due_ms = later(link, config->telemetry_ms, 50) - config->telemetry_ms / 2;
    (void)snprintf(link->health_subject, sizeof link->health_subject, "health.%s.%s", config->site,
                   config->device);
    (void)snprintf(link->telemetry_subject, sizeof link->telemetry_subject, "telemetry.%s.%s",
                   config->site, config->device);
    struct link_root_options root = {options->loop, options->rng, config->refresh_ms,
                                     options->root, on_new_root,  link};
    link_root_init(&link->root, &root);
    struct link_outbox_options outbox = {.store = options->store,
                                         .rng = options->rng,
                                         .site = config->site,
                                         .device = config->device};
    clock_random(&link->instance, sizeof link->instance);
    struct bus *none;
    enum err_code code = link_outbox_init(&link->outbox, &outbox, err);
    if (code == ERR_OK)
        code = connect_bus(link, &none, err);
    if (code != ERR_OK) {
        link_close(link, 0);
        return code;
    }
    *ret = link;
    return ERR_OK;
}

void link_close(struct link *link, int64_t flush_ms)
{
    if (!link)
        return;
    link->closing = link->root.closing = true;
    loop_timer_stop(&link->timer);
    bus_close(link->bus, flush_ms);
    mem_free(link);
}
