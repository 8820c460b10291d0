/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators' requests against a whole captain: a process of its own, with a real nats-server.
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

#include "common/base/mem.h"
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

enum { WAIT_MS = 20000, CONTENT_LEN = 700000, PARALLEL = 100 };
static const char epoch[] = "01HF7YAT00AAAAAAAAAAAAAAAA";

struct world {
    struct nats_server *server;
    char *dir;
    struct proc *captain;
    struct loop *loop;
    struct bus *bus;
    struct arena arena;
    struct err err;
    struct sign_key release_key;
    uint8_t content[CONTENT_LEN];
    uint8_t sha256[DIGEST_BYTES];
    /* The request under way. */
    bool answered;
    struct bytes answer;
    struct err unanswered;
    char error[ERR_TEXT_MAX], hint[ERR_HINT_MAX];
    unsigned parallel_done, parallel_ok;
};

/* This program again, as a captain: a fork alone would share the bus library's dead threads. */
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
    return status;
}

static inline void on_event(void *arg, enum bus_event event, const char *text, uint64_t count)
{
    (void)arg, (void)event, (void)text, (void)count;
}

static inline void on_answer(void *arg, const struct bus_message *message, const struct err *err)
{
    struct world *w = arg;
    w->answered = true;
    w->unanswered = *err;
    if (message)
        w->answer =
            bytes_of(arena_dup(&w->arena, message->data.ptr, message->data.len), message->data.len);
}

static inline bool was_answered(void *arg)
{
    return ((struct world *)arg)->answered;
}

/* One request as operator alice; the code of the answer, whose sentences are in w->error and
 * w->hint. */
static inline enum err_code ask_raw(struct world *w, const char *verb, struct bytes data,
                                    const struct codec_type *out_type, void *out)
{
    char subject[128];
    struct api_reply reply;
    (void)snprintf(subject, sizeof subject, "api.alice.%s", verb);
    w->answered = false;
    w->error[0] = w->hint[0] = '\0';
    if (bus_request(w->bus, subject, data, 5000, on_answer, w, &w->unanswered) != ERR_OK)
        return w->unanswered.code;
    assert_true(wait_turning(w->loop, was_answered, w, WAIT_MS));
    if (w->unanswered.code != ERR_OK)
        return w->unanswered.code;
    assert_ok(w, codec_decode(&codec_api_reply, w->answer, &w->arena, &reply, &w->err));
    (void)snprintf(w->error, sizeof w->error, "%s", reply.error);
    (void)snprintf(w->hint, sizeof w->hint, "%s", reply.hint);
    if (reply.code == 0)
        assert_ok(w, codec_decode(out_type, reply.body, &w->arena, out, &w->err));
    return (enum err_code)reply.code;
}

static inline enum err_code ask(struct world *w, const char *verb, const struct codec_type *in_type,
                                const void *in, const struct codec_type *out_type, void *out)
{
    struct bytes data;
    assert_ok(w, codec_encode(in_type, in, &w->arena, &data, &w->err));
    return ask_raw(w, verb, data, out_type, out);
}

#define ask_ok(w, verb, in_type, in, out_type, out)                                                \
    do {                                                                                           \
        if (ask(w, verb, in_type, in, out_type, out) != ERR_OK)                                    \
            fail_msg("%s: %s%s", verb, (w)->error, (w)->unanswered.text);                          \
    } while (0)

static inline struct status status_of(struct world *w)
{
    const struct status_query query = {{0}};
    struct status status;
    ask_ok(w, "status.show", &codec_status_query, &query, &codec_status, &status);
    return status;
}

/* Answers, and takes decisions: captain.started and root.created are in. */
static inline void wait_ready(struct world *w)
{
    const struct status_query query = {{0}};
    const int64_t until_ms = clock_mono_ms() + WAIT_MS;
    struct status status = {0};
    while (ask(w, "status.show", &codec_status_query, &query, &codec_status, &status) != ERR_OK ||
           status.log_seq < 2) {
        assert_true(clock_mono_ms() < until_ms);
        assert_false(proc_wait(w->captain, 0, NULL));
        turn_for(w->loop, 20);
    }
}

static inline int set_up(void **state)
{
    struct world *w = mem_new(1, sizeof *w);
    char path[PATH_MAX];
    w->server = nats_server_start(NULL);
    w->dir = tempdir_make();
    arena_init(&w->arena, 256 << 20);
    captain_start(w);
    const struct bus_options options = {.url = nats_server_url(w->server),
                                        .name = "operator",
                                        .seed = 1,
                                        .on_event = on_event,
                                        .arg = w};
    assert_ok(w, loop_open(&w->loop, &w->err));
    assert_ok(w, bus_open(w->loop, &options, &w->bus, &w->err));
    assert_ok(w, bus_start(w->bus, &w->err));
    wait_ready(w);
    (void)snprintf(path, sizeof path, "%s/keys/release.key", w->dir);
    assert_ok(w, sign_key_load(path, &w->release_key, &w->err));
    for (size_t i = 0; i < CONTENT_LEN; i++)
        w->content[i] = (uint8_t)(i * 31 >> 3);
    hash_bytes(bytes_of(w->content, CONTENT_LEN), w->sha256);
    *state = w;
    return 0;
}

static inline int tear_down(void **state)
{
    struct world *w = *state;
    const int status = captain_end(w, SIGTERM);
    bus_close(w->bus, 100);
    loop_close(w->loop);
    nats_server_free(w->server);
    tempdir_remove(w->dir);
    arena_fini(&w->arena);
    mem_free(w);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    return 0;
}

/* What an operator does. */

static inline void upload(struct world *w)
{
    struct artifact_state at = {0};
    while (!at.complete) {
        const uint64_t left = CONTENT_LEN - at.next_offset;
        const struct artifact_put put = {
            .sha256 = bytes_of(w->sha256, DIGEST_BYTES),
            .size_bytes = CONTENT_LEN,
            .offset = at.next_offset,
            .data = bytes_of(w->content + at.next_offset, left < 100000 ? left : 100000)};
        ask_ok(w, "artifact.put", &codec_artifact_put, &put, &codec_artifact_state, &at);
    }
}

static inline struct bytes sealed_until(struct world *w, const char *version, uint64_t sequence,
                                        const char *note, int64_t expires_ms,
                                        const struct sign_key *key)
{
    const char *const command[] = {"busybox", "httpd", "-f"};
    const struct artifact artifact = {.path = ".",
                                      .kind = ARTIFACT_KIND_TREE,
                                      .os = "linux",
                                      .size_bytes = CONTENT_LEN,
                                      .sha256 = bytes_of(w->sha256, DIGEST_BYTES)};
    const struct service service = {.name = "web", .command = command, .command_len = 3};
    const struct check check = {
        .name = "home", .kind = CHECK_KIND_HTTP, .url = "http://127.0.0.1:8080/"};
    const struct source source = {.repository = "https://example.org/hello",
                                  .commit = "0123456789abcdef0123456789abcdef01234567"};
    const struct release release = {.app = "hello",
                                    .version = version,
                                    .sequence = sequence,
                                    .created_ms = 1700000000000,
                                    .sources = &source,
                                    .sources_len = 1,
                                    .artifacts = &artifact,
                                    .artifacts_len = 1,
                                    .services = &service,
                                    .services_len = 1,
                                    .checks = &check,
                                    .checks_len = 1,
                                    .provenance = note,
                                    .expires_ms = expires_ms};
    struct bytes payload, envelope;
    assert_ok(w, codec_encode(&codec_release, &release, &w->arena, &payload, &w->err));
    assert_ok(w, sign_seal(SIGN_TYPE_RELEASE, payload, key, 1, &w->arena, &envelope, &w->err));
    return envelope;
}

static inline struct bytes sealed_release(struct world *w, const char *version, uint64_t sequence,
                                          const char *note, const struct sign_key *key)
{
    return sealed_until(w, version, sequence, note, 0, key);
}

static inline enum err_code create(struct world *w, struct bytes envelope, struct release_info *ret)
{
    const struct release_create request = {.envelope = envelope, .reason = "because"};
    return ask(w, "release.create", &codec_release_create, &request, &codec_release_info, ret);
}

static inline struct release_info create_ok(struct world *w, const char *version, uint64_t sequence)
{
    struct release_info info = {0};
    if (create(w, sealed_release(w, version, sequence, "", &w->release_key), &info) != ERR_OK)
        fail_msg("create %s: %s", version, w->error);
    return info;
}

static inline enum err_code set_channel(struct world *w, const char *channel, const char *release,
                                        struct channel_info *ret)
{
    const struct channel_set_request request = {
        .channel = channel, .release = release, .reason = "better"};
    return ask(w, "channel.set", &codec_channel_set_request, &request, &codec_channel_info, ret);
}

static inline void device_says(struct world *w, const char *device, const char *version,
                               enum app_state app_state)
{
    char subject[64];
    struct bytes data;
    const struct app_status app = {.app = "hello",
                                   .channel = "stable",
                                   .state = app_state,
                                   .version = version,
                                   .generation = 1};
    const struct health health = {
        .epoch = epoch, .sent_ms = 1, .agent_version = "0.1.0", .apps = &app, .apps_len = 1};
    (void)snprintf(subject, sizeof subject, "health.%s", device);
    assert_ok(w, codec_encode(&codec_health, &health, &w->arena, &data, &w->err));
    assert_ok(w, bus_publish(w->bus, subject, data, NULL, NULL, &w->err));
}

static inline void device_event(struct world *w, const char *device, uint64_t seq)
{
    char subject[64];
    struct bytes data;
    const struct event event = {.epoch = epoch,
                                .seq = seq,
                                .time_ms = 1700000000000,
                                .kind = EVENT_KIND_ROLLED_BACK,
                                .app = "hello",
                                .version = "1.0",
                                .code = ERR_UNHEALTHY,
                                .text = "check home failed"};
    (void)snprintf(subject, sizeof subject, "event.%s", device);
    assert_ok(w, codec_encode(&codec_event, &event, &w->arena, &data, &w->err));
    assert_ok(w, bus_publish(w->bus, subject, data, NULL, NULL, &w->err));
}

static inline void wait_counts(struct world *w, uint64_t health, uint64_t events)
{
    const int64_t until_ms = clock_mono_ms() + WAIT_MS;
    for (;;) {
        const struct status status = status_of(w);
        if (status.health_messages >= health && status.events_stored >= events)
            return;
        assert_true(clock_mono_ms() < until_ms);
    }
}
