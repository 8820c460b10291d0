/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/renewal.h"

#include <string.h>

#include "agent/core/renew.h"
#include "agent/enrol_bus.h"
#include "agent/identity.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/log.h"

enum { RENEWAL_ARENA_MAX_BYTES = 256 << 10, IDLE_MS = 60000 /* longer waits need no bus */ };

struct renewal {
    struct renewal_options options;
    struct identity_keys keys;
    struct renew core;
    struct enrol_bus *bus; /* NULL: not wanted */
    bool bus_up, closing;
    uint8_t nonce[IDENTITY_NONCE_BYTES];
    struct loop_timer timer;
};

static int64_t now_ms(const struct renewal *r)
{
    return loop_now_ms(r->options.loop);
}

/* Never from a callback of a bus: that is where everything is done. */
static void on_timer(void *arg);

static void arm(struct renewal *r, int64_t at_ms)
{
    if (at_ms == INT64_MAX)
        loop_timer_stop(&r->timer);
    else
        loop_timer_at(r->options.loop, &r->timer, at_ms, on_timer, r);
}

/* Something happened: the timer looks at it, at once. */
static void wake(struct renewal *r)
{
    if (!r->closing)
        arm(r, now_ms(r));
}

/* ---- the answer ---- */

static void take_grant(struct renewal *r, const struct identity_reply *reply)
{
    const struct config *config = r->options.config;
    struct renew_credential credential = {reply->credential.issued_ms,
                                          reply->credential.expires_ms};
    struct err err;
    if (identity_keep(config->folder, &r->keys, reply, config->tenant, &err) != ERR_OK) {
        log_err("the new credential cannot be kept", &err);
        renew_unheard(&r->core, now_ms(r), r->options.rng);
        return;
    }
    log_write(LOG_LEVEL_INFO, "this device has a new credential");
    renew_granted(&r->core, &credential, now_ms(r), r->options.rng);
    r->options.owner.renewed(r->options.owner.arg);
}

static void take_refusal(struct renewal *r, const struct identity_reply *reply)
{
    bool for_good = reply->state == IDENTITY_REFUSED && reply->retry_ms == 0 &&
                    (reply->code == ERR_REVOKED || reply->code == ERR_DENIED);
    if (for_good)
        log_write(LOG_LEVEL_ERROR,
                  "captain gives this device no credential any more: %s; what runs keeps running, "
                  "nothing new is taken, and it is asked again in some hours",
                  reply->reason);
    else
        log_write(LOG_LEVEL_WARNING, "no new credential for now: %s", reply->reason);
    renew_denied(&r->core, reply->retry_ms, for_good, now_ms(r), r->options.rng);
}

static void on_reply(void *arg, const struct bus_message *message, const struct err *said)
{
    struct renewal *r = arg;
    struct identity_reply reply;
    struct arena arena;
    struct err err = *said;
    if (r->closing)
        return;
    arena_init(&arena, RENEWAL_ARENA_MAX_BYTES);
    if (err.code != ERR_OK ||
        identity_open_reply(&r->keys, r->nonce, message->data, &arena, &reply, &err) != ERR_OK) {
        log_err("no new credential", &err);
        renew_unheard(&r->core, now_ms(r), r->options.rng);
    } else if (reply.state == IDENTITY_GRANTED) {
        take_grant(r, &reply);
    } else {
        take_refusal(r, &reply);
    }
    arena_fini(&arena);
    wake(r);
}

/* ---- asking ---- */

static enum err_code send_request(struct renewal *r, enum renew_way way, struct bytes request,
                                  struct err *err)
{
    struct renewal_owner *owner = &r->options.owner;
    return way == RENEW_OWN ? owner->ask(owner->arg, request, on_reply, r, err)
                            : enrol_bus_ask(r->bus, request, on_reply, r, err);
}

static void ask(struct renewal *r, enum renew_way way)
{
    const struct config *config = r->options.config;
    struct identity_ask what = {
        .tenant = config->tenant,
        .site = config->site,
        .device = config->device,
        .hardware = config->hardware,
        .now_ms = clock_unix_ms(),
    };
    struct arena arena;
    struct bytes request;
    struct err err;
    clock_random(r->nonce, sizeof r->nonce);
    memcpy(what.nonce, r->nonce, sizeof what.nonce);
    arena_init(&arena, RENEWAL_ARENA_MAX_BYTES);
    enum err_code code = identity_request(&r->keys, &what, &arena, &request, &err);
    if (code == ERR_OK)
        code = send_request(r, way, request, &err);
    arena_fini(&arena);
    if (code == ERR_OK) {
        renew_sent(&r->core);
        return;
    }
    log_err("asking for a new credential", &err);
    renew_unheard(&r->core, now_ms(r), r->options.rng);
}

/* ---- the second bus ---- */

static void on_bus(void *arg, enum bus_event event, const char *text, uint64_t count)
{
    struct renewal *r = arg;
    (void)count;
    if (event == BUS_CONNECTED)
        r->bus_up = true;
    else if (event == BUS_DISCONNECTED)
        r->bus_up = false;
    else if (event == BUS_AUTH_ERROR)
        log_write(LOG_LEVEL_ERROR, "the bus refuses the enrolment credential: %s", text);
    wake(r);
}

static void close_bus(struct renewal *r)
{
    struct enrol_bus *bus = r->bus;
    r->bus = NULL;
    r->bus_up = false;
    enrol_bus_close(bus);
}

static void open_bus(struct renewal *r)
{
    struct err err;
    struct enrol_bus_options options = {.loop = r->options.loop,
                                        .config = r->options.config,
                                        .seed = rng_next(r->options.rng),
                                        .reconnect_max_ms = r->options.config->reconnect_max_ms,
                                        .on_event = on_bus,
                                        .arg = r};
    log_write(LOG_LEVEL_WARNING,
              "the bus takes this device's credential no longer: a new one is asked for");
    if (enrol_bus_open(&options, &r->bus, &err) == ERR_OK)
        return;
    r->bus = NULL;
    log_err("asking for a new credential", &err);
    renew_unheard(&r->core, now_ms(r), r->options.rng);
}

static void on_timer(void *arg)
{
    struct renewal *r = arg;
    bool idle = !r->core.out && r->core.again_ms - now_ms(r) > IDLE_MS;
    if (r->bus && (idle || !renew_wants_enrol(&r->core, now_ms(r))))
        close_bus(r);
    enum renew_way way = renew_way(&r->core, now_ms(r));
    if (way == RENEW_ENROL && !r->bus)
        open_bus(r);
    else if (way == RENEW_OWN || (way == RENEW_ENROL && r->bus_up))
        ask(r, way);
    /* While the second bus connects, its events wake us. */
    int64_t at_ms = renew_deadline_ms(&r->core);
    arm(r, at_ms <= now_ms(r) && r->bus && !r->bus_up ? INT64_MAX : at_ms);
}

/* ---- from outside ---- */

void renewal_bus(struct renewal *r, bool connected)
{
    if (!r || r->closing)
        return;
    renew_connected(&r->core, connected);
    wake(r);
}

void renewal_refused(struct renewal *r)
{
    if (!r || r->closing)
        return;
    renew_refused(&r->core);
    wake(r);
}

enum err_code renewal_open(const struct renewal_options *options, struct renewal **ret,
                           struct err *err)
{
    const char *folder = options->config->folder;
    struct identity_credential found;
    *ret = NULL;
    if (!options->config->renews)
        return ERR_OK;
    struct renewal *r = mem_new(1, sizeof *r);
    r->options = *options;
    enum err_code code = identity_files_keys(folder, &r->keys, err);
    if (code != ERR_OK) {
        renewal_close(r);
        return code;
    }
    struct err why;
    bool have = identity_credential(folder, &r->keys, &found, &why) == ERR_OK;
    if (!have)
        log_err("this device's credential is of no use", &why);
    struct renew_credential credential = {have ? found.issued_ms : 0, have ? found.expires_ms : 0};
    renew_begin(&r->core, have, &credential, clock_unix_ms(), now_ms(r), options->rng);
    wake(r);
    *ret = r;
    return ERR_OK;
}

void renewal_close(struct renewal *r)
{
    if (!r)
        return;
    r->closing = true;
    loop_timer_stop(&r->timer);
    close_bus(r);
    identity_keys_wipe(&r->keys);
    mem_free(r);
}
