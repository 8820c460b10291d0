/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/enroll.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/enrol_bus.h"
#include "agent/enroll_bundle.h"
#include "agent/identity.h"
#include "common/clock.h"

enum {
    CONTACT_MS = 60000,
    AGAIN_MS = 2000, /* after silence */
    PENDING_MS = 5000,
    PENDING_MIN_MS = 200,
    REFUSALS_MAX = 3, /* of the bus, in a row: the library makes one in 256 itself */
    STRANGE_MAX = 3,  /* answers that are none: the enrolment credential is everybody's */
    STRANGE_MS = 200,
    RECONNECT_MAX_MS = 5000,
    REPLY_ARENA_MAX_BYTES = 256 << 10,
};

struct enroll {
    const struct enroll_options *options;
    const struct config *config;
    struct identity_keys keys;
    struct join_token token;
    struct loop *loop;
    struct enrol_bus *bus;
    uint8_t nonce[IDENTITY_NONCE_BYTES];
    struct loop_timer again, end;
    int64_t until_ms;
    unsigned refusals, strange;
    bool out, over, told_pending;
    struct err trouble; /* why there was no answer so far */
    struct err *err;    /* the end */
    struct identity_credential credential;
};

/* ---- the token ---- */

static enum err_code read_stdin(char ret[JOIN_TOKEN_TEXT + 2], struct err *err)
{
    size_t len = 0;
    ssize_t got = 1;
    while (got > 0 && len < JOIN_TOKEN_TEXT + 1) {
        got = read(STDIN_FILENO, ret + len, JOIN_TOKEN_TEXT + 1 - len);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got > 0)
            len += (size_t)got;
    }
    if (got < 0)
        return err_sys(err, errno, "reading the token from standard input");
    ret[len] = '\0';
    ret[strcspn(ret, "\r\n")] = '\0';
    return ERR_OK;
}

static enum err_code read_token(const char *source, struct join_token *ret, struct err *err)
{
    static const char env[] = "env://";
    char text[JOIN_TOKEN_TEXT + 2];
    if (str_equal(source, "-")) {
        enum err_code code = read_stdin(text, err);
        code = code ? code : join_token_parse(text, ret, err);
        sodium_memzero(text, sizeof text);
        return code;
    }
    if (strncmp(source, env, sizeof env - 1) != 0)
        return join_token_parse(source, ret, err);
    const char *name = source + sizeof env - 1, *value = getenv(name);
    if (!value)
        return err_set(err, ERR_USAGE, "--token: the environment has no variable \"%.64s\"", name);
    enum err_code code = join_token_parse(value, ret, err);
    (void)unsetenv(name); /* not for the helper that is started next */
    return code;
}

/* ---- asking ---- */

static void finish(struct enroll *e)
{
    e->over = true;
    loop_stop(e->loop);
}

static void ask(struct enroll *e);

static void on_again(void *arg)
{
    ask(arg);
}

static void ask_later(struct enroll *e, int64_t delay_ms)
{
    loop_timer_at(e->loop, &e->again, loop_now_ms(e->loop) + delay_ms, on_again, e);
}

static void on_end(void *arg)
{
    struct enroll *e = arg;
    if (e->told_pending) {
        err_set(e->err, ERR_TIMEOUT, "%s/%s is not approved yet", e->config->site,
                e->config->device);
        (void)err_hint(e->err, "captain device approve %s/%s; then the same command again",
                       e->config->site, e->config->device);
    } else {
        *e->err = e->trouble;
    }
    finish(e);
}

static void set_end(struct enroll *e, int64_t at_ms)
{
    loop_timer_at(e->loop, &e->end, at_ms, on_end, e);
}

static void take_pending(struct enroll *e, uint32_t retry_ms)
{
    char line[256];
    int64_t delay_ms = retry_ms == 0 ? PENDING_MS : retry_ms;
    if (!e->told_pending) {
        (void)snprintf(line, sizeof line, "waiting for an operator: captain device approve %s/%s",
                       e->config->site, e->config->device);
        e->options->say(line);
    }
    e->told_pending = true;
    set_end(e, e->until_ms);
    ask_later(e, delay_ms < PENDING_MIN_MS ? PENDING_MIN_MS : delay_ms);
}

static void take_refusal(struct enroll *e, const struct identity_reply *reply)
{
    bool in_time = loop_now_ms(e->loop) + (int64_t)reply->retry_ms < e->until_ms;
    if (reply->retry_ms > 0 && in_time) {
        err_set(&e->trouble, reply->code, "captain refuses for now: %.300s", reply->reason);
        ask_later(e, reply->retry_ms);
        return;
    }
    err_set(e->err, reply->code, "captain refuses: %.400s", reply->reason);
    (void)err_hint(e->err,
                   "a token is for one site, a time and a number of devices: `captain "
                   "token new --site %.64s` makes another",
                   e->config->site);
    finish(e);
}

static void take_grant(struct enroll *e, const struct identity_reply *reply)
{
    e->credential = reply->credential;
    if (identity_keep(e->config->folder, &e->keys, reply, e->config->tenant, e->err) == ERR_OK)
        e->err->code = ERR_OK;
    finish(e);
}

static void silent(struct enroll *e, const struct err *err)
{
    err_set(&e->trouble, ERR_NO_CONTACT, "captain does not answer: %.300s", err->text);
    (void)err_hint(&e->trouble, "the bus is reached; is captain running?");
    ask_later(e, AGAIN_MS);
}

static void take_strange(struct enroll *e, const struct err *err)
{
    if (++e->strange < STRANGE_MAX) {
        ask_later(e, STRANGE_MS);
        return;
    }
    *e->err = *err;
    finish(e);
}

static void on_reply(void *arg, const struct bus_message *message, const struct err *err)
{
    struct enroll *e = arg;
    struct identity_reply reply;
    struct arena arena;
    struct err why;
    e->out = false;
    if (e->over)
        return;
    if (err->code != ERR_OK) {
        silent(e, err);
        return;
    }
    arena_init(&arena, REPLY_ARENA_MAX_BYTES);
    if (identity_open_reply(&e->keys, e->nonce, message->data, &arena, &reply, &why) != ERR_OK)
        take_strange(e, &why);
    else if (reply.state == IDENTITY_PENDING)
        take_pending(e, reply.retry_ms);
    else if (reply.state == IDENTITY_REFUSED)
        take_refusal(e, &reply);
    else
        take_grant(e, &reply);
    arena_fini(&arena);
}

/* A nonce of its own each time: an old grant is of no use to anybody. */
static void ask(struct enroll *e)
{
    struct arena arena;
    struct bytes request;
    struct err err;
    struct identity_ask what = {
        .tenant = e->config->tenant,
        .site = e->config->site,
        .device = e->config->device,
        .hardware = e->config->hardware,
        .token = &e->token,
        .now_ms = clock_unix_ms(),
    };
    if (e->out || e->over)
        return;
    clock_random(e->nonce, sizeof e->nonce);
    memcpy(what.nonce, e->nonce, sizeof what.nonce);
    arena_init(&arena, REPLY_ARENA_MAX_BYTES);
    enum err_code code = identity_request(&e->keys, &what, &arena, &request, &err);
    if (code == ERR_OK)
        code = enrol_bus_ask(e->bus, request, on_reply, e, &err);
    e->out = code == ERR_OK;
    arena_fini(&arena);
    if (code != ERR_OK && code != ERR_NO_CONTACT) { /* without contact: asked on BUS_CONNECTED */
        *e->err = err;
        finish(e);
    }
}

/* ---- the bus ---- */

static bool has(const char *text, const char *part)
{
    return strcasestr(text, part) != NULL;
}

/* What stands behind a connect that failed; true: trying again does not help. */
static bool explain(struct err *err, const struct config *config, const char *text)
{
    bool tls = has(text, "certificate") || has(text, "ssl") || has(text, "tls");
    err_set(err, ERR_NO_CONTACT, "the bus %.100s is not reached: %.300s", config->nats_url, text);
    if (has(text, "not yet valid"))
        (void)err_hint(err, "this device's clock is behind: set it, then the same command again");
    else if (has(text, "expired"))
        (void)err_hint(err, "the server's certificate has ended, or this device's clock is ahead");
    else if (tls)
        (void)err_hint(err,
                       "that server is not the one of the bundle: does --fingerprint belong to "
                       "this fleet?");
    else
        (void)err_hint(err, "is there a route from here, and does a firewall let it through?");
    return tls;
}

static void take_auth_error(struct enroll *e, const char *text)
{
    if (++e->refusals < REFUSALS_MAX)
        return;
    err_set(e->err, ERR_DENIED, "the bus refuses the enrolment credential: %.300s", text);
    (void)err_hint(e->err, "it came with the bundle: get a fresh --fingerprint from `captain token "
                           "new`");
    finish(e);
}

static void on_bus(void *arg, enum bus_event event, const char *text, uint64_t count)
{
    struct enroll *e = arg;
    (void)count;
    if (e->over)
        return;
    if (event == BUS_CONNECTED) {
        e->refusals = 0;
        ask(e);
    } else if (event == BUS_AUTH_ERROR) {
        take_auth_error(e, text);
    } else if (event == BUS_DISCONNECTED && explain(&e->trouble, e->config, text)) {
        *e->err = e->trouble;
        finish(e);
    }
}

static void on_terminate(void *arg)
{
    struct enroll *e = arg;
    err_set(e->err, ERR_INTERRUPTED, "stopped; the same command again goes on from here");
    finish(e);
}

static enum err_code converse(struct enroll *e, struct err *err)
{
    uint64_t seed;
    clock_random(&seed, sizeof seed);
    enum err_code code = loop_open(&e->loop, err);
    if (code != ERR_OK)
        return code;
    int64_t now_ms = loop_now_ms(e->loop), wait_ms = e->options->wait_ms;
    struct enrol_bus_options options = {.loop = e->loop,
                                        .config = e->config,
                                        .seed = seed,
                                        .reconnect_max_ms = RECONNECT_MAX_MS,
                                        .on_event = on_bus,
                                        .arg = e};
    e->err = err;
    e->until_ms = now_ms + wait_ms;
    err_set(&e->trouble, ERR_NO_CONTACT, "the bus %.200s does not answer", e->config->nats_url);
    (void)err_hint(&e->trouble, "is there a route from here, and does a firewall let it through?");
    set_end(e, now_ms + (wait_ms < CONTACT_MS ? wait_ms : CONTACT_MS));
    loop_on_terminate(e->loop, on_terminate, e);
    code = enrol_bus_open(&options, &e->bus, err);
    if (code == ERR_OK)
        loop_run(e->loop);
    e->over = true;
    loop_timer_stop(&e->again);
    loop_timer_stop(&e->end);
    enrol_bus_close(e->bus);
    loop_close(e->loop);
    return err->code;
}

/* ---- the whole ---- */

static void say_done(const struct enroll *e, const char *how)
{
    char line[512], when[32];
    str_format_time(e->credential.expires_ms, when);
    (void)snprintf(line, sizeof line, "%s/%s %s tenant %s%s%s", e->config->site, e->config->device,
                   how, e->config->tenant,
                   e->credential.expires_ms ? "; its credential renews itself before " : "",
                   e->credential.expires_ms ? when : "");
    e->options->say(line);
    (void)snprintf(line, sizeof line,
                   "next: systemctl enable --now captain-agent, or captain-agent --config %s",
                   e->options->config_path);
    e->options->say(line);
}

/* A credential that is good for now, and all that belongs to it. */
static bool is_enrolled(struct enroll *e)
{
    static const enum identity_file files[] = {IDENTITY_ENROLL_CREDS, IDENTITY_CA, IDENTITY_NATS,
                                               IDENTITY_ROOT};
    struct identity_credential *c = &e->credential;
    struct err err;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (!identity_files_has(e->config->folder, files[i]))
            return false;
    }
    return identity_credential(e->config->folder, &e->keys, c, &err) == ERR_OK &&
           (c->expires_ms == 0 || clock_unix_ms() < c->expires_ms);
}

static enum err_code check_name(const struct enroll *e, struct err *err)
{
    char name[2 * TOKEN_MAX + 2];
    (void)snprintf(name, sizeof name, "%s.%s", e->config->site, e->config->device);
    if (!strchr(e->credential.name, '.') || str_equal(e->credential.name, name))
        return ERR_OK;
    err_set(err, ERR_CONFLICT, "%s is enrolled as %s, the configuration says %s", e->config->folder,
            e->credential.name, name);
    return err_hint(err, "put the names back, or empty %.150s to enrol as another device",
                    e->config->folder);
}

static enum err_code go(struct enroll *e, struct config *config, struct arena *arena,
                        struct err *err)
{
    const struct enroll_options *o = e->options;
    enum err_code code;
    if (is_enrolled(e)) {
        if ((code = check_name(e, err)) ||
            (code = config_complete(o->config_path, config, arena, err)))
            return code;
        say_done(e, "is enrolled already in");
        return ERR_OK;
    }
    if ((code = read_token(o->token, &e->token, err)) == ERR_OK &&
        (code = enroll_bundle(o, config, arena, err)) == ERR_OK &&
        (code = config_complete(o->config_path, config, arena, err)) == ERR_OK)
        code = converse(e, err);
    join_token_wipe(&e->token);
    if (code == ERR_OK)
        say_done(e, "is enrolled in");
    return code;
}

enum err_code enroll_run(const struct enroll_options *options, struct config *config,
                         struct arena *arena, struct err *err)
{
    struct enroll e = {.options = options, .config = config};
    int lock_fd;
    enum err_code code = identity_files_make(config->folder, &lock_fd, &e.keys, err);
    if (code != ERR_OK)
        return code;
    code = go(&e, config, arena, err);
    identity_keys_wipe(&e.keys);
    (void)close(lock_fd);
    return code;
}
