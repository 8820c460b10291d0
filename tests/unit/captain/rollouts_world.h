/* SPDX-License-Identifier: Apache-2.0
 *
 * Rollouts against a whole captain (a process of its own) on a real nats-server: devices are simulated here
 * and speak over the bus as agents do. They take what desired says, ask before they change, number their
 * events and send them until they are acknowledged. How many change at once is counted at every change.
 */
#include "captain/captain.h"

#include <inttypes.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "captain/io/store/log.h"
#include "captain/io/store/rollout.h"
#include "captain/io/store/store.h"
#include "captain/rollout_codec.h"
#include "common/base/cohort.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/clock.h"
#include "common/hash.h"
#include "common/log.h"
#include "proto/codec.h"
#include "tests/support/nats_server.h"
#include "tests/support/proc.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"
#include "tests/unit/captain/assert_ok.h"
#include "tests/unit/captain/captain_run.h"

enum {
    WAIT_MS = 30000,
    DEVICES_MAX = 64,
    EVENTS_MAX = 256, /* of one device */
    HEALTH_MS = 200,
    RESEND_MS = 300,
    ASK_AGAIN_MS = 40,
    WORK_MS = 20, /* from switch to confirmed */
    CAP = 3,
    CAP_SITE = 2,
    SITES = 2,
};

#define POLICY                                                                                     \
    "name: test\n"                                                                                 \
    "waves:\n"                                                                                     \
    "  - {name: canary, count: 2, canary: true}\n"                                                 \
    "  - {name: half, percent: 50}\n"                                                              \
    "  - {name: all, all: true}\n"                                                                 \
    "soak: 100ms\n"                                                                                \
    "rate: {on: false}\n"                                                                          \
    "compare: {on: false}\n"                                                                       \
    "admission: {lease: 20s, max_in_flight: 3, max_in_flight_per_site: 2,\n"                       \
    "  max_unavailable_per_site_percent: 100}\n"

struct world;

struct sim {
    struct world *w;
    char name[32]; /* "site/device" */
    unsigned site;
    bool online;
    bool bad;   /* the target is not healthy here */
    bool stuck; /* never says how its attempt ended */
    uint8_t running[DIGEST_BYTES], failed[DIGEST_BYTES];
    bool has_release, has_failed;
    /* Desired. */
    uint64_t generation;
    uint8_t wanted[DIGEST_BYTES];
    bool wants, lease, rollback;
    char rollout[ULID_TEXT], counted[ULID_TEXT];
    uint32_t attempt;
    /* The attempt. */
    bool asking, busy;
    uint8_t taking[DIGEST_BYTES];
    char taking_rollout[ULID_TEXT];
    int64_t ask_at_ms, done_at_ms, health_at_ms, resend_at_ms;
    /* Events, kept until acknowledged. */
    struct bytes events[EVENTS_MAX];
    uint64_t written, sent, acked;
    unsigned switched; /* attempts that took the target */
};

struct world {
    struct nats_server *server;
    char *dir;
    struct proc *captain;
    struct loop *loop;
    struct bus *bus;
    struct arena arena;
    struct arena passing; /* of the message at hand */
    struct arena reply;   /* of the last request */
    struct err err;
    struct sign_key release_key;
    uint8_t one[DIGEST_BYTES], two[DIGEST_BYTES], three[DIGEST_BYTES];
    struct sim sims[DEVICES_MAX];
    unsigned sims_len;
    int64_t work_ms;
    unsigned busy, busy_max, busy_site[SITES];
    struct device_desired device_desired; /* the last one heard */
    char device_subject[96];
    unsigned device_documents;
    char rollout[ULID_TEXT];
    bool answered;
    struct bytes answer;
    struct err unanswered;
    char error[ERR_TEXT_MAX];
};

/* Captain. */

static inline void captain_start(struct world *w)
{
    char *out = tempdir_path(w->dir, "captain.out");
    const char *const argv[] = {"/proc/self/exe", "serve", w->dir, nats_server_url(w->server),
                                NULL};
    w->captain = proc_start(&(struct proc_options){.argv = argv, .out_path = out});
    free(out);
}

static inline int captain_main(const char *folder, const char *url)
{
    const struct captain_options options = {.folder = folder, .nats_url = url, .flush_ms = 50};
    return captain_run(&options);
}

static inline int captain_end(struct world *w, int sig)
{
    int status = 0;
    proc_signal(w->captain, sig);
    assert_true(proc_wait(w->captain, WAIT_MS, &status));
    proc_free(w->captain);
    w->captain = NULL;
    return status;
}

static inline void show_output(struct world *w)
{
    char *path = tempdir_path(w->dir, "captain.out");
    char *text = tempdir_read(path, NULL);
    if (text)
        print_message("%s\n", text);
    free(text);
    free(path);
}

#include "tests/unit/captain/rollouts_sim.h"

/* The turn. */

static inline void step_all(struct world *w)
{
    static int64_t fetched_ms;
    const int64_t now_ms = clock_mono_ms();
    for (unsigned i = 0; i < w->sims_len; i++)
        sim_step(&w->sims[i], now_ms);
    if (now_ms - fetched_ms > 500) {
        fetched_ms = now_ms;
        if (bus_get_last(w->bus, "DESIRED", "desired.channel.hello.stable", 1000, on_last, w,
                         &w->err) != ERR_OK)
            return; /* asked again */
    }
}

struct turning {
    struct world *w;
    bool (*fn)(struct world *w);
};

static inline bool step_and_ask(void *arg)
{
    struct turning *turning = arg;
    step_all(turning->w);
    return turning->fn(turning->w);
}

static inline bool turn_until(struct world *w, bool (*fn)(struct world *w), int64_t ms)
{
    struct turning turning = {w, fn};
    return wait_turning(w->loop, step_and_ask, &turning, ms);
}

static inline bool never(struct world *w)
{
    (void)w;
    return false;
}

/* Operators. */

static inline void on_answer(void *arg, const struct bus_message *message, const struct err *err)
{
    struct world *w = arg;
    w->answered = true;
    w->unanswered = *err;
    if (message)
        w->answer =
            bytes_of(arena_dup(&w->reply, message->data.ptr, message->data.len), message->data.len);
}

static inline bool was_answered(struct world *w)
{
    return w->answered;
}

static inline enum err_code ask(struct world *w, const char *verb, const struct codec_type *in_type,
                                const void *in, const struct codec_type *out_type, void *out)
{
    char subject[128];
    struct api_reply reply;
    struct bytes data;
    (void)snprintf(subject, sizeof subject, "api.alice.%s", verb);
    arena_reset(&w->reply);
    assert_ok(w, codec_encode(in_type, in, &w->reply, &data, &w->err));
    w->answered = false;
    w->error[0] = '\0';
    if (bus_request(w->bus, subject, data, 5000, on_answer, w, &w->unanswered) != ERR_OK)
        return w->unanswered.code;
    assert_true(turn_until(w, was_answered, WAIT_MS));
    if (w->unanswered.code != ERR_OK)
        return w->unanswered.code;
    assert_ok(w, codec_decode(&codec_api_reply, w->answer, &w->reply, &reply, &w->err));
    (void)snprintf(w->error, sizeof w->error, "%s", reply.error);
    if (reply.code == 0)
        assert_ok(w, codec_decode(out_type, reply.body, &w->reply, out, &w->err));
    return (enum err_code)reply.code;
}

#define ask_ok(w, verb, in_type, in, out_type, out)                                                \
    do {                                                                                           \
        if (ask(w, verb, in_type, in, out_type, out) != ERR_OK) {                                  \
            show_output(w);                                                                        \
            fail_msg("%s: %s%s", verb, (w)->error, (w)->unanswered.text);                          \
        }                                                                                          \
    } while (0)

static inline void wait_ready(struct world *w)
{
    const struct status_query query = {{0}};
    const int64_t until_ms = clock_mono_ms() + WAIT_MS;
    struct status status = {0};
    while (ask(w, "status.show", &codec_status_query, &query, &codec_status, &status) != ERR_OK ||
           status.log_seq < 2) {
        assert_true(clock_mono_ms() < until_ms);
        (void)turn_until(w, never, 10);
    }
}

static inline void create_release(struct world *w, const char *version, uint64_t sequence,
                                  uint8_t ret_digest[DIGEST_BYTES])
{
    const struct release release = {
        .app = "hello", .version = version, .sequence = sequence, .created_ms = clock_unix_ms()};
    struct bytes payload;
    struct release_create create = {.reason = "test"};
    struct release_info info;
    assert_ok(w, codec_encode(&codec_release, &release, &w->arena, &payload, &w->err));
    hash_bytes(payload, ret_digest);
    assert_ok(w, sign_seal(SIGN_TYPE_RELEASE, payload, &w->release_key, 1, &w->arena,
                           &create.envelope, &w->err));
    ask_ok(w, "release.create", &codec_release_create, &create, &codec_release_info, &info);
}

static inline void set_channel(struct world *w, const char *release)
{
    const struct channel_set_request set = {
        .channel = "hello/stable", .release = release, .reason = "first"};
    struct channel_info info;
    ask_ok(w, "channel.set", &codec_channel_set_request, &set, &codec_channel_info, &info);
}

static inline void start_rollout(struct world *w, const char *release, const char *policy)
{
    const struct rollout_start_request start = {
        .channel = "hello/stable", .release = release, .policy = policy, .reason = "test"};
    struct rollout_info info;
    ask_ok(w, "rollout.start", &codec_rollout_start_request, &start, &codec_rollout_info, &info);
    (void)snprintf(w->rollout, sizeof w->rollout, "%s", info.id);
}

static inline enum err_code act(struct world *w, const char *verb, const char *gate,
                                const char *device)
{
    char text[64];
    const struct rollout_action action = {
        .rollout = w->rollout, .verb = verb, .gate = gate, .reason = "test", .device = device};
    struct rollout_info info;
    (void)snprintf(text, sizeof text, "rollout.%s", verb);
    return ask(w, text, &codec_rollout_action, &action, &codec_rollout_info, &info);
}

static inline struct rollout_info info_of(struct world *w, const char *id)
{
    const struct rollout_query query = {.rollout = id};
    struct rollout_info info = {0};
    const int64_t until_ms = clock_mono_ms() + WAIT_MS;
    while (ask(w, "rollout.show", &codec_rollout_query, &query, &codec_rollout_info, &info) !=
           ERR_OK) {
        if (clock_mono_ms() > until_ms) {
            show_output(w);
            fail_msg("rollout.show: %s%s", w->error, w->unanswered.text);
        }
        (void)turn_until(w, never, 20);
    }
    return info;
}

static inline void await_state(struct world *w, const char *id, const char *state)
{
    const int64_t until_ms = clock_mono_ms() + WAIT_MS;
    for (;;) {
        const struct rollout_info info = info_of(w, id);
        const bool terminal = str_equal(state, "succeeded") || str_equal(state, "aborted") ||
                              str_equal(state, "superseded");
        if (str_equal(info.state, state) && (!terminal || info.ended_ms > 0))
            return;
        if (clock_mono_ms() > until_ms) {
            show_output(w);
            fail_msg("rollout %s is %s (%s), not %s; wave %u, %u of %u on the target", id,
                     info.state, info.gate ? info.gate->sentence : "", state, info.wave,
                     info.on_target, info.devices);
        }
        (void)turn_until(w, never, 20);
    }
}

static inline unsigned running(const struct world *w, const uint8_t *digest)
{
    unsigned count = 0;
    for (unsigned i = 0; i < w->sims_len; i++)
        count += memcmp(w->sims[i].running, digest, DIGEST_BYTES) == 0;
    return count;
}

static inline unsigned exposed(const struct world *w)
{
    unsigned count = 0;
    for (unsigned i = 0; i < w->sims_len; i++)
        count += w->sims[i].switched > 0;
    return count;
}

/* The world. */

static inline void on_device(void *arg, const struct bus_message *message)
{
    struct world *w = arg;
    struct envelope outer;
    assert_ok(w, codec_decode(&codec_envelope,
                              bytes_of(arena_dup(&w->arena, message->data.ptr, message->data.len),
                                       message->data.len),
                              &w->arena, &outer, &w->err));
    assert_ok(w, codec_decode(&codec_device_desired, outer.payload, &w->arena, &w->device_desired,
                              &w->err));
    (void)snprintf(w->device_subject, sizeof w->device_subject, "%s", message->subject);
    w->device_documents++;
}

static inline void on_bus_event(void *arg, enum bus_event event, const char *text, uint64_t count)
{
    (void)arg, (void)event, (void)text, (void)count;
}

static inline void add_sims(struct world *w, unsigned len)
{
    for (unsigned i = 0; i < len; i++) {
        struct sim *s = &w->sims[w->sims_len];
        *s = (struct sim){.w = w, .site = w->sims_len % SITES, .online = true, .has_release = true};
        (void)snprintf(s->name, sizeof s->name, "site%u/d%02u", s->site, w->sims_len);
        memcpy(s->running, w->one, DIGEST_BYTES);
        w->sims_len++;
    }
}

static inline bool all_known(struct world *w)
{
    const struct device_query query = {.device = ""};
    struct device_list list = {0};
    if (ask(w, "device.ls", &codec_device_query, &query, &codec_device_list, &list) != ERR_OK)
        return false;
    return list.devices_len == w->sims_len;
}

static inline void await_known(struct world *w)
{
    const int64_t until_ms = clock_mono_ms() + WAIT_MS;
    while (!all_known(w)) {
        assert_true(clock_mono_ms() < until_ms);
        (void)turn_until(w, never, 20);
    }
}

/* channel: what hello/stable is set to first; NULL: it is not. */
static inline struct world *world_open_on(unsigned devices, const char *channel)
{
    struct world *w = mem_new(1, sizeof *w);
    char path[PATH_MAX];
    w->server = nats_server_start(NULL);
    w->dir = tempdir_make();
    arena_init(&w->arena, 256 << 20);
    arena_init(&w->passing, 4 << 20);
    arena_init(&w->reply, 64 << 20);
    w->work_ms = WORK_MS;
    captain_start(w);
    const struct bus_options options = {.url = nats_server_url(w->server),
                                        .name = "devices",
                                        .seed = 1,
                                        .reconnect_max_ms = 200,
                                        .on_event = on_bus_event,
                                        .arg = w};
    assert_ok(w, loop_open(&w->loop, &w->err));
    assert_ok(w, bus_open(w->loop, &options, &w->bus, &w->err));
    assert_ok(w, bus_subscribe(w->bus, "dn.channel.hello.stable", on_desired, w, &w->err));
    assert_ok(w, bus_subscribe(w->bus, "ack.*.*", on_ack, w, &w->err));
    assert_ok(w, bus_subscribe(w->bus, "dn.device.*.*", on_device, w, &w->err));
    assert_ok(w, bus_start(w->bus, &w->err));
    wait_ready(w);
    (void)snprintf(path, sizeof path, "%s/keys/release.key", w->dir);
    assert_ok(w, sign_key_load(path, &w->release_key, &w->err));
    create_release(w, "1.0", 1, w->one);
    create_release(w, "1.1", 2, w->two);
    create_release(w, "1.2", 3, w->three);
    add_sims(w, devices);
    for (unsigned i = 0; i < w->sims_len && !channel; i++)
        w->sims[i].has_release = false;
    if (channel)
        set_channel(w, channel);
    await_known(w);
    return w;
}

static inline struct world *world_open(unsigned devices)
{
    return world_open_on(devices, "hello@1.0");
}

static inline void world_close(struct world *w)
{
    if (w->captain)
        assert_int_equal(captain_end(w, SIGTERM), 0);
    bus_close(w->bus, 100);
    loop_close(w->loop);
    nats_server_free(w->server);
    tempdir_remove(w->dir);
    arena_fini(&w->arena);
    arena_fini(&w->passing);
    arena_fini(&w->reply);
    mem_free(w);
}

/* What captain leaves behind: to be looked at when it has ended. */

struct history_check {
    struct world *w;
    struct rollout *core;
    const char *id;
    struct arena arena;
};

static inline bool check_input(void *arg, uint64_t number, struct bytes encoded)
{
    struct history_check *check = arg;
    struct rollout_input input;
    struct rollout_names names;
    struct rollout_effects effects;
    struct rollout_view view;
    char text[ROLLOUT_TEXT_MAX];
    arena_reset(&check->arena);
    assert_ok(check->w,
              rollout_codec_unpack(encoded, &check->arena, &input, &names, &check->w->err));
    rollout_codec_hash(&input, &names, check->id);
    rollout_step(check->core, &input, &effects);
    if (!rollout_check(check->core, text))
        fail_msg("after input %" PRIu64 ": %s", number, text);
    rollout_view(check->core, &view);
    assert_true(view.in_flight <= CAP);
    return true;
}

/* Replays what is stored: every invariant at every step; how it ended. */
static inline enum rollout_state check_history(struct world *w, const char *id)
{
    struct history_check check = {.w = w, .core = rollout_new(), .id = id};
    struct rollout_view view;
    struct db *db = NULL;
    arena_init(&check.arena, 64 << 20);
    assert_ok(w, store_open(w->dir, &db, &w->err));
    assert_ok(w, store_rollout_inputs(db, id, 0, check_input, &check, &w->err));
    rollout_view(check.core, &view);
    db_close(db);
    arena_fini(&check.arena);
    rollout_free(check.core);
    return view.state;
}

/* Kinds and states of a rollout's decisions, in order: "published 0, moved running, ...". */
static inline const char *story_of(struct world *w, const char *id)
{
    struct db *db = NULL;
    struct store_log_row row;
    const char *story = "";
    assert_ok(w, store_open(w->dir, &db, &w->err));
    for (uint64_t seq = 1; store_log_get(db, seq, &w->arena, &row, &w->err) == ERR_OK; seq++) {
        struct log_entry entry;
        struct rollout_moved moved;
        struct rollout_published published;
        assert_ok(w, codec_decode(&codec_log_entry, row.entry, &w->arena, &entry, &w->err));
        if (!str_equal(entry.subject, id))
            continue;
        if (str_equal(entry.kind, "rollout.moved")) {
            assert_ok(w,
                      codec_decode(&codec_rollout_moved, entry.body, &w->arena, &moved, &w->err));
            story = arena_printf(&w->arena, "%s%s ", story, moved.to);
        } else if (str_equal(entry.kind, "rollout.published")) {
            assert_ok(w, codec_decode(&codec_rollout_published, entry.body, &w->arena, &published,
                                      &w->err));
            story = published.to_base
                        ? arena_printf(&w->arena, "%sbase ", story)
                        : arena_printf(&w->arena, "%swave%u ", story, published.wave + 1);
        }
    }
    db_close(db);
    return story;
}
