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

#define assert_ok(w, call)                                                                         \
    do {                                                                                           \
        if ((call) != ERR_OK)                                                                      \
            fail_msg("%s: %s", #call, (w)->err.text);                                              \
    } while (0)

/* This program again, as a captain: a fork alone would share the bus library's dead threads. */
static void captain_start(struct world *w)
{
    char *out = tempdir_path(w->dir, "captain.out");
    const char *const argv[] = {"/proc/self/exe", "serve", w->dir, nats_server_url(w->server),
                                NULL};
    w->captain = proc_start(&(struct proc_options){.argv = argv, .out_path = out});
    free(out);
}

static int captain_main(const char *folder, const char *url)
{
    const struct captain_options options = {.folder = folder, .nats_url = url, .flush_ms = 50};
    struct err err = {0};
    log_open("captain", LOG_LEVEL_INFO);
    const enum err_code code = captain_serve(&options, &err);
    if (code != ERR_OK)
        log_err("captain", &err);
    return (int)code;
}

static int captain_end(struct world *w, int sig)
{
    int status = 0;
    proc_signal(w->captain, sig);
    assert_true(proc_wait(w->captain, WAIT_MS, &status));
    proc_free(w->captain);
    return status;
}

static void on_event(void *arg, enum bus_event event, const char *text, uint64_t count)
{
    (void)arg, (void)event, (void)text, (void)count;
}

static void on_answer(void *arg, const struct bus_message *message, const struct err *err)
{
    struct world *w = arg;
    w->answered = true;
    w->unanswered = *err;
    if (message)
        w->answer =
            bytes_of(arena_dup(&w->arena, message->data.ptr, message->data.len), message->data.len);
}

static bool was_answered(void *arg)
{
    return ((struct world *)arg)->answered;
}

/* One request as operator alice; the code of the answer, whose sentences are in w->error and
 * w->hint. */
static enum err_code ask_raw(struct world *w, const char *verb, struct bytes data,
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

static enum err_code ask(struct world *w, const char *verb, const struct codec_type *in_type,
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

static struct status status_of(struct world *w)
{
    const struct status_query query = {{0}};
    struct status status;
    ask_ok(w, "status.get", &codec_status_query, &query, &codec_status, &status);
    return status;
}

/* Answers, and takes decisions: captain.started and root.created are in. */
static void wait_ready(struct world *w)
{
    const struct status_query query = {{0}};
    const int64_t until_ms = clock_mono_ms() + WAIT_MS;
    struct status status = {0};
    while (ask(w, "status.get", &codec_status_query, &query, &codec_status, &status) != ERR_OK ||
           status.log_seq < 2) {
        assert_true(clock_mono_ms() < until_ms);
        assert_false(proc_wait(w->captain, 0, NULL));
        turn_for(w->loop, 20);
    }
}

static int set_up(void **state)
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

static int tear_down(void **state)
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

static void upload(struct world *w)
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

static struct bytes sealed_release(struct world *w, const char *version, uint64_t sequence,
                                   const char *note, const struct sign_key *key)
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
                                    .provenance = note};
    struct bytes payload, envelope;
    assert_ok(w, codec_encode(&codec_release, &release, &w->arena, &payload, &w->err));
    assert_ok(w, sign_seal(SIGN_TYPE_RELEASE, payload, key, 1, &w->arena, &envelope, &w->err));
    return envelope;
}

static enum err_code create(struct world *w, struct bytes envelope, struct release_info *ret)
{
    const struct release_create request = {.envelope = envelope, .reason = "because"};
    return ask(w, "release.create", &codec_release_create, &request, &codec_release_info, ret);
}

static struct release_info create_ok(struct world *w, const char *version, uint64_t sequence)
{
    struct release_info info = {0};
    if (create(w, sealed_release(w, version, sequence, "", &w->release_key), &info) != ERR_OK)
        fail_msg("create %s: %s", version, w->error);
    return info;
}

static enum err_code set_channel(struct world *w, const char *channel, const char *release,
                                 struct channel_info *ret)
{
    const struct channel_set_request request = {
        .channel = channel, .release = release, .reason = "better"};
    return ask(w, "channel.set", &codec_channel_set_request, &request, &codec_channel_info, ret);
}

static void test_api__status_says_who_answers(void **state)
{
    struct world *w = *state;
    char pid[16];
    const struct status status = status_of(w);
    (void)snprintf(pid, sizeof pid, ":%d", (int)proc_pid(w->captain));
    assert_non_null(strstr(status.holder, pid));
    assert_string_equal(status.version, CAPTAIN_VERSION);
    assert_string_equal(status.tenant, "default");
    assert_true(strncmp(status.store_url, "http://127.0.0.1:", 17) == 0);
    assert_int_equal(status.devices, 0);
    assert_true(status.started_ms > 1700000000000);
}

static void test_api__artifacts_go_in_and_out(void **state)
{
    struct world *w = *state;
    struct artifact_get get = {
        .sha256 = bytes_of(w->sha256, DIGEST_BYTES), .offset = 300000, .length = 1000};
    struct artifact_piece piece;
    assert_int_equal(
        ask(w, "artifact.get", &codec_artifact_get, &get, &codec_artifact_piece, &piece),
        ERR_NOT_FOUND);
    upload(w);
    ask_ok(w, "artifact.get", &codec_artifact_get, &get, &codec_artifact_piece, &piece);
    assert_int_equal(piece.size_bytes, CONTENT_LEN);
    assert_int_equal(piece.data.len, 1000);
    assert_memory_equal(piece.data.ptr, w->content + 300000, 1000);
    /* Other bytes under a name: refused, and nothing stays. */
    w->sha256[0] ^= 1;
    const struct artifact_put wrong = {
        .sha256 = bytes_of(w->sha256, DIGEST_BYTES), .size_bytes = 5, .data = bytes_of("wrong", 5)};
    struct artifact_state at;
    assert_int_equal(
        ask(w, "artifact.put", &codec_artifact_put, &wrong, &codec_artifact_state, &at), ERR_HASH);
    get.sha256 = bytes_of(w->sha256, DIGEST_BYTES);
    assert_int_equal(
        ask(w, "artifact.get", &codec_artifact_get, &get, &codec_artifact_piece, &piece),
        ERR_NOT_FOUND);
}

static void test_api__release_is_created_once(void **state)
{
    struct world *w = *state;
    struct release_info info = {0};
    const struct release_next next = {.app = "hello"};
    struct release_sequence last;
    const struct bytes envelope = sealed_release(w, "1.0", 1, "", &w->release_key);
    assert_int_equal(create(w, envelope, &info), ERR_NOT_FOUND); /* nothing uploaded */
    assert_non_null(strstr(w->error, "is not in the store"));
    upload(w);
    assert_int_equal(create(w, envelope, &info), ERR_OK);
    assert_string_equal(info.app, "hello");
    assert_string_equal(info.version, "1.0");
    assert_string_equal(info.created_by, "operator:alice");
    assert_int_equal(info.size_bytes, CONTENT_LEN);
    const uint64_t decision = info.decision, log_seq = status_of(w).log_seq;
    assert_int_equal(decision, log_seq);

    assert_int_equal(create(w, envelope, &info), ERR_OK); /* the same again */
    assert_int_equal(info.decision, decision);
    assert_int_equal(create(w, sealed_release(w, "1.0", 2, "other", &w->release_key), &info),
                     ERR_CONFLICT);
    assert_non_null(strstr(w->error, "hello@1.0 exists with other content"));
    assert_true(w->hint[0] != '\0');
    assert_int_equal(create(w, sealed_release(w, "1.1", 1, "", &w->release_key), &info),
                     ERR_CONFLICT);
    assert_non_null(strstr(w->error, "sequence 1"));
    assert_int_equal(status_of(w).log_seq, log_seq); /* nothing of it was decided */
    ask_ok(w, "release.next", &codec_release_next, &next, &codec_release_sequence, &last);
    assert_int_equal(last.last_sequence, 1);
}

static void test_api__release_needs_the_fleets_signature(void **state)
{
    struct world *w = *state;
    struct release_info info = {0};
    struct sign_key stranger;
    sign_key_new(&stranger);
    upload(w);
    assert_int_equal(create(w, sealed_release(w, "1.0", 1, "", &stranger), &info),
                     ERR_BAD_SIGNATURE);
    assert_int_equal(create(w, bytes_of("junk", 4), &info), ERR_MALFORMED);
    const struct release_query all = {.app = ""};
    struct release_list list;
    ask_ok(w, "release.ls", &codec_release_query, &all, &codec_release_list, &list);
    assert_int_equal(list.releases_len, 0);
}

static void test_api__releases_are_told(void **state)
{
    struct world *w = *state;
    struct release_query query = {.app = "hello"};
    struct release_list list;
    struct release_info info;
    struct channel_info channel;
    struct envelope envelope;
    upload(w);
    (void)create_ok(w, "1.0", 1);
    (void)create_ok(w, "1.1", 2);
    assert_int_equal(set_channel(w, "hello/stable", "hello@1.0", &channel), ERR_OK);
    ask_ok(w, "release.ls", &codec_release_query, &query, &codec_release_list, &list);
    assert_int_equal(list.releases_len, 2);
    assert_string_equal(list.releases[0].version, "1.1"); /* newest first */
    assert_int_equal(list.releases[0].channels_len, 0);
    assert_int_equal(list.releases[1].channels_len, 1);
    assert_string_equal(list.releases[1].channels[0], "hello/stable");

    query.version = "1.0";
    ask_ok(w, "release.show", &codec_release_query, &query, &codec_release_info, &info);
    assert_int_equal(info.artifacts_len, 1);
    assert_string_equal(info.artifacts[0].kind, "tree");
    assert_string_equal(info.artifacts[0].target, "linux/any");
    assert_string_equal(info.services[0], "web: busybox httpd -f");
    assert_string_equal(info.checks[0], "home: http http://127.0.0.1:8080/");
    assert_string_equal(info.sources[0].repository, "https://example.org/hello");
    assert_int_equal(info.signers_len, 1);
    assert_int_equal(info.envelope.len, 0);
    ask_ok(w, "release.export", &codec_release_query, &query, &codec_release_info, &info);
    assert_ok(w, codec_decode(&codec_envelope, info.envelope, &w->arena, &envelope, &w->err));
    query.version = "9";
    assert_int_equal(
        ask(w, "release.show", &codec_release_query, &query, &codec_release_info, &info),
        ERR_NOT_FOUND);
    assert_string_equal(w->error, "release hello@9 is not known here\napp hello has: 1.1, 1.0");
    assert_string_equal(w->hint, "captain release ls hello");
}

static void on_desired(void *arg, const struct bus_message *message, const struct err *err)
{
    struct world *w = arg;
    struct envelope envelope;
    struct desired *desired = arena_alloc(&w->arena, sizeof *desired);
    w->answered = true;
    w->unanswered = *err;
    if (!message)
        return;
    const void *copy = arena_dup(&w->arena, message->data.ptr, message->data.len);
    assert_ok(w, codec_decode(&codec_envelope, bytes_of(copy, message->data.len), &w->arena,
                              &envelope, &w->err));
    assert_ok(w, codec_decode(&codec_desired, envelope.payload, &w->arena, desired, &w->err));
    w->answer = bytes_of(desired, sizeof *desired);
}

/* What devices are told, from the stream. */
static struct desired desired_now(struct world *w, const char *subject)
{
    w->answered = false;
    assert_ok(w, bus_get_last(w->bus, "DESIRED", subject, 2000, on_desired, w, &w->err));
    assert_true(wait_turning(w->loop, was_answered, w, WAIT_MS));
    if (w->unanswered.code != ERR_OK)
        fail_msg("%s: %s", subject, w->unanswered.text);
    return *(const struct desired *)w->answer.ptr;
}

static void test_api__channel_is_set(void **state)
{
    struct world *w = *state;
    struct channel_info channel;
    const struct channel_query query = {.channel = "hello/stable"};
    struct channel_history history;
    upload(w);
    (void)create_ok(w, "1.0", 1);
    (void)create_ok(w, "1.1", 2);
    assert_int_equal(set_channel(w, "hello/stable", "hello@1.0", &channel), ERR_OK);
    assert_string_equal(channel.channel, "hello/stable");
    assert_string_equal(channel.release, "hello@1.0");
    assert_string_equal(channel.previous, "");
    assert_string_equal(channel.set_by, "operator:alice");
    assert_string_equal(channel.reason, "better");
    assert_true(channel.generation > 0);
    assert_int_equal(set_channel(w, "hello/stable", "hello@1.1", &channel), ERR_OK);
    assert_string_equal(channel.previous, "hello@1.0");
    const uint64_t generation = channel.generation, log_seq = status_of(w).log_seq;
    assert_int_equal(set_channel(w, "hello/stable", "hello@1.1", &channel),
                     ERR_OK); /* so already */
    assert_int_equal(channel.generation, generation);
    assert_int_equal(status_of(w).log_seq, log_seq);

    ask_ok(w, "channel.history", &codec_channel_query, &query, &codec_channel_history, &history);
    assert_int_equal(history.changes_len, 2);
    assert_string_equal(history.changes[0].release, "hello@1.1");
    assert_string_equal(history.changes[0].previous, "hello@1.0");
    assert_string_equal(history.changes[1].release, "hello@1.0");
    assert_int_equal(history.changes[0].decision, log_seq);
    /* Published before it is answered, though the stream may take it a moment later. */
    const int64_t until_ms = clock_mono_ms() + WAIT_MS;
    while (desired_now(w, "desired.channel.hello.stable").generation != generation)
        assert_true(clock_mono_ms() < until_ms);
    assert_string_equal(desired_now(w, "desired.channel.hello.stable").release_version, "1.1");
}

static void test_api__channel_refuses_what_is_not_there(void **state)
{
    struct world *w = *state;
    struct channel_info channel;
    const struct channel_query query = {.channel = "hello/nowhere"};
    upload(w);
    (void)create_ok(w, "1.0", 1);
    assert_int_equal(set_channel(w, "hello/stable", "hello@2.0", &channel), ERR_NOT_FOUND);
    assert_string_equal(w->error, "release hello@2.0 is not known here\napp hello has: 1.0");
    assert_int_equal(set_channel(w, "web/stable", "web@1", &channel), ERR_NOT_FOUND);
    assert_string_equal(w->error, "release web@1 is not known here\napp web has none");
    assert_int_equal(set_channel(w, "web/stable", "hello@1.0", &channel), ERR_USAGE);
    assert_int_equal(set_channel(w, "hello", "hello@1.0", &channel), ERR_USAGE);
    assert_int_equal(set_channel(w, "hello/a.b", "hello@1.0", &channel), ERR_USAGE);
    assert_int_equal(set_channel(w, "hello/>", "hello@1.0", &channel), ERR_USAGE);
    assert_int_equal(set_channel(w, "hello/stable", "hello", &channel), ERR_USAGE);
    assert_true(w->hint[0] != '\0');
    assert_int_equal(
        ask(w, "channel.show", &codec_channel_query, &query, &codec_channel_info, &channel),
        ERR_NOT_FOUND);
    struct channel_list list;
    const struct channel_query all = {.channel = ""};
    ask_ok(w, "channel.ls", &codec_channel_query, &all, &codec_channel_list, &list);
    assert_int_equal(list.channels_len, 0);
}

/* Devices. */

static void device_says(struct world *w, const char *device, const char *version,
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

static void device_event(struct world *w, const char *device, uint64_t seq)
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

static void wait_counts(struct world *w, uint64_t health, uint64_t events)
{
    const int64_t until_ms = clock_mono_ms() + WAIT_MS;
    for (;;) {
        const struct status status = status_of(w);
        if (status.health_messages >= health && status.events_stored >= events)
            return;
        assert_true(clock_mono_ms() < until_ms);
    }
}

static struct device_list list_devices(struct world *w, const struct device_query *query)
{
    struct device_list list;
    ask_ok(w, "device.ls", &codec_device_query, query, &codec_device_list, &list);
    return list;
}

static void test_api__devices_are_listed(void **state)
{
    struct world *w = *state;
    device_says(w, "lab.a", "1.0", APP_STATE_HEALTHY);
    device_says(w, "lab.b", "1.0", APP_STATE_FAILED);
    device_says(w, "shop.a", "1.1", APP_STATE_HEALTHY);
    wait_counts(w, 3, 0);
    struct device_list list = list_devices(w, &(struct device_query){.limit = 0});
    assert_int_equal(list.devices_len, 3);
    assert_string_equal(list.devices[0].device, "lab/a");
    assert_true(list.devices[0].online);
    assert_string_equal(list.devices[0].agent_version, "0.1.0");
    assert_string_equal(list.devices[0].apps[0].state, "healthy");
    assert_string_equal(list.devices[0].apps[0].version, "1.0");
    assert_string_equal(list.next, "");
    list = list_devices(w, &(struct device_query){.site = "lab"});
    assert_int_equal(list.devices_len, 2);
    list = list_devices(w, &(struct device_query){.state = "failed", .app = "hello"});
    assert_int_equal(list.devices_len, 1);
    assert_string_equal(list.devices[0].device, "lab/b");
    assert_int_equal(list_devices(w, &(struct device_query){.app = "hell"}).devices_len, 0);
    /* Pages. */
    list = list_devices(w, &(struct device_query){.limit = 2});
    assert_int_equal(list.devices_len, 2);
    assert_string_equal(list.next, "lab/b");
    list = list_devices(w, &(struct device_query){.limit = 2, .after = "lab/b"});
    assert_int_equal(list.devices_len, 1);
    assert_string_equal(list.devices[0].device, "shop/a");
    assert_string_equal(list.next, "");
    const struct device_query bad[] = {{.state = "splendid"}, {.site = "a.b"}, {.app = "*"}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(
            ask(w, "device.ls", &codec_device_query, &bad[i], &codec_device_list, &list),
            ERR_USAGE);
}

static void test_api__one_device_is_shown(void **state)
{
    struct world *w = *state;
    struct device_info info;
    struct device_query query = {.device = "lab/a"};
    device_says(w, "lab.a", "1.0", APP_STATE_UNHEALTHY);
    device_says(w, "shop.a", "1.0", APP_STATE_HEALTHY);
    for (uint64_t seq = 1; seq <= 60; seq++)
        device_event(w, "lab.a", seq);
    wait_counts(w, 2, 60);
    ask_ok(w, "device.show", &codec_device_query, &query, &codec_device_info, &info);
    assert_string_equal(info.device, "lab/a");
    assert_int_equal(info.events_stored, 60);
    assert_int_equal(info.events_len, 50);
    assert_int_equal(info.events[0].seq, 60);
    assert_string_equal(info.events[0].kind, "rolled_back");
    assert_string_equal(info.events[0].code, "unhealthy");
    assert_string_equal(info.apps[0].state, "unhealthy");
    query.device = "a";
    assert_int_equal(ask(w, "device.show", &codec_device_query, &query, &codec_device_info, &info),
                     ERR_USAGE);
    assert_non_null(strstr(w->error, "lab/a, shop/a"));
    query.device = "nobody";
    assert_int_equal(ask(w, "device.show", &codec_device_query, &query, &codec_device_info, &info),
                     ERR_NOT_FOUND);
}

static void test_api__channel_counts_its_devices(void **state)
{
    struct world *w = *state;
    struct channel_info channel;
    upload(w);
    (void)create_ok(w, "1.0", 1);
    (void)create_ok(w, "1.1", 2);
    assert_int_equal(set_channel(w, "hello/stable", "hello@1.1", &channel), ERR_OK);
    device_says(w, "lab.a", "1.1", APP_STATE_HEALTHY);
    device_says(w, "lab.b", "1.1", APP_STATE_CONFIRMING);
    device_says(w, "lab.c", "1.1", APP_STATE_HEALTHY);
    device_says(w, "lab.d", "1.0", APP_STATE_HEALTHY);
    wait_counts(w, 4, 0);
    const struct status status = status_of(w);
    assert_int_equal(status.devices, 4);
    assert_int_equal(status.online, 4);
    assert_int_equal(status.channels_len, 1);
    assert_int_equal(status.channels[0].devices, 4);
    assert_int_equal(status.channels[0].on_release, 2);
    assert_int_equal(status.channels[0].versions_len, 2);
    assert_string_equal(status.channels[0].versions[0].name, "1.1");
    assert_int_equal(status.channels[0].versions[0].devices, 3);
    assert_int_equal(status.channels[0].states_len, 2);
    const struct release_query query = {.app = "hello", .version = "1.1"};
    struct release_info info;
    ask_ok(w, "release.show", &codec_release_query, &query, &codec_release_info, &info);
    assert_int_equal(info.devices, 3);
}

static const char *detail(const struct log_info *info, const char *name)
{
    for (size_t i = 0; i < info->details_len; i++) {
        if (str_equal(info->details[i].name, name))
            return info->details[i].value;
    }
    return "";
}

static void test_api__log_tells_decisions(void **state)
{
    struct world *w = *state;
    struct channel_info channel;
    struct log_query query = {.limit = 2};
    struct log_list list;
    struct log_info info;
    upload(w);
    const struct release_info release = create_ok(w, "1.0", 1);
    assert_int_equal(set_channel(w, "hello/stable", "hello@1.0", &channel), ERR_OK);
    ask_ok(w, "log.ls", &codec_log_query, &query, &codec_log_list, &list);
    assert_int_equal(list.entries_len, 2);
    assert_string_equal(list.entries[0].kind, "channel.set");
    assert_string_equal(list.entries[0].subject, "hello/stable");
    assert_string_equal(list.entries[0].actor, "operator:alice");
    assert_string_equal(list.entries[1].kind, "release.created");
    assert_string_equal(list.entries[0].previous, list.entries[1].hash);
    assert_int_equal(list.next_before, list.entries[1].seq);
    query.seq = list.entries[0].seq;
    ask_ok(w, "log.show", &codec_log_query, &query, &codec_log_info, &info);
    assert_string_equal(detail(&info, "release"), "hello@1.0");
    assert_string_equal(detail(&info, "digest"), release.digest);
    assert_string_equal(info.reason, "better");
    for (query.seq = 1; query.seq <= 3; query.seq++)
        ask_ok(w, "log.show", &codec_log_query, &query, &codec_log_info, &info);
    assert_string_equal(detail(&info, "version"), "1.0");
    query.seq = 1;
    ask_ok(w, "log.show", &codec_log_query, &query, &codec_log_info, &info);
    assert_string_equal(info.kind, "captain.started");
    assert_true(detail(&info, "holder")[0] != '\0');
    query = (struct log_query){.kind = "channel.set", .subject = "hello/stable"};
    ask_ok(w, "log.ls", &codec_log_query, &query, &codec_log_list, &list);
    assert_int_equal(list.entries_len, 1);
    assert_int_equal(list.next_before, 0);
    query.seq = 999;
    assert_int_equal(ask(w, "log.show", &codec_log_query, &query, &codec_log_info, &info),
                     ERR_NOT_FOUND);
}

static void test_api__bad_requests_are_answered(void **state)
{
    struct world *w = *state;
    static const uint8_t junk[] = {0xff, 0xff, 0xff, 0x07};
    const struct bytes garbage = bytes_of(junk, sizeof junk);
    struct status status;
    assert_int_equal(ask_raw(w, "channel.set", garbage, &codec_status, &status), ERR_MALFORMED);
    assert_true(w->error[0] != '\0');
    assert_int_equal(ask_raw(w, "device.ls", garbage, &codec_status, &status), ERR_MALFORMED);
    assert_int_equal(ask_raw(w, "device.dance", garbage, &codec_status, &status), ERR_USAGE);
    assert_non_null(strstr(w->error, "device.dance"));
    assert_ok(w, bus_publish(w->bus, "api.alice.channel.set", garbage, NULL, NULL, &w->err));
    assert_int_equal(status_of(w).log_seq, 2);
}

static void on_parallel(void *arg, const struct bus_message *message, const struct err *err)
{
    struct world *w = arg;
    struct api_reply reply = {.code = ERR_FAILED};
    w->parallel_done++;
    if (err->code != ERR_OK)
        return;
    const void *copy = arena_dup(&w->arena, message->data.ptr, message->data.len);
    assert_ok(w, codec_decode(&codec_api_reply, bytes_of(copy, message->data.len), &w->arena,
                              &reply, &w->err));
    w->parallel_ok += reply.code == 0;
}

static bool all_answered(void *arg)
{
    return ((struct world *)arg)->parallel_done == PARALLEL;
}

static void test_api__many_at_once_are_all_answered(void **state)
{
    struct world *w = *state;
    const char *const releases[] = {"hello@1.0", "hello@1.1"};
    upload(w);
    (void)create_ok(w, "1.0", 1);
    (void)create_ok(w, "1.1", 2);
    const uint64_t before = status_of(w).log_seq;
    for (int i = 0; i < PARALLEL; i++) {
        const struct channel_set_request request = {.channel = "hello/stable",
                                                    .release = releases[i % 2]};
        struct bytes data;
        assert_ok(w, codec_encode(&codec_channel_set_request, &request, &w->arena, &data, &w->err));
        assert_ok(
            w, bus_request(w->bus, "api.bob.channel.set", data, WAIT_MS, on_parallel, w, &w->err));
    }
    assert_true(wait_turning(w->loop, all_answered, w, WAIT_MS));
    assert_int_equal(w->parallel_ok, PARALLEL);
    assert_int_equal(status_of(w).log_seq, before + PARALLEL); /* each moved the channel */
}

static void test_api__what_was_answered_survives_sigkill(void **state)
{
    struct world *w = *state;
    struct channel_info channel;
    const struct channel_query query = {.channel = "hello/stable"};
    upload(w);
    (void)create_ok(w, "1.0", 1);
    device_says(w, "lab.a", "1.0", APP_STATE_HEALTHY);
    wait_counts(w, 1, 0);
    assert_int_equal(set_channel(w, "hello/stable", "hello@1.0", &channel), ERR_OK);
    (void)captain_end(w, SIGKILL);
    captain_start(w);
    wait_ready(w);
    ask_ok(w, "channel.show", &codec_channel_query, &query, &codec_channel_info, &channel);
    assert_string_equal(channel.release, "hello@1.0");
    assert_int_equal(channel.on_release, 1); /* counted from the last health stored */
    assert_int_equal(status_of(w).devices, 1);
    const struct artifact_get get = {.sha256 = bytes_of(w->sha256, DIGEST_BYTES), .length = 10};
    struct artifact_piece piece;
    ask_ok(w, "artifact.get", &codec_artifact_get, &get, &codec_artifact_piece, &piece);
    assert_int_equal(piece.size_bytes, CONTENT_LEN);
}

#define API_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    if (argc == 4 && str_equal(argv[1], "serve"))
        return captain_main(argv[2], argv[3]);
    const struct CMUnitTest tests[] = {
        API_TEST(test_api__status_says_who_answers),
        API_TEST(test_api__artifacts_go_in_and_out),
        API_TEST(test_api__release_is_created_once),
        API_TEST(test_api__release_needs_the_fleets_signature),
        API_TEST(test_api__releases_are_told),
        API_TEST(test_api__channel_is_set),
        API_TEST(test_api__channel_refuses_what_is_not_there),
        API_TEST(test_api__devices_are_listed),
        API_TEST(test_api__one_device_is_shown),
        API_TEST(test_api__channel_counts_its_devices),
        API_TEST(test_api__log_tells_decisions),
        API_TEST(test_api__bad_requests_are_answered),
        API_TEST(test_api__many_at_once_are_all_answered),
        API_TEST(test_api__what_was_answered_survives_sigkill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
