/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/e2e/house.h"

#include <stdarg.h>
#include <stddef.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/base/ulid.h"
#include "common/bus.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/hash.h"
#include "common/sign.h"
#include "proto/codec.h"
#include "tests/support/nats_server.h"
#include "tests/support/port.h"
#include "tests/support/proc.h"
#include "tests/support/root_doc.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

/* ---- documents ---- */

struct bytes house_seal(struct house *h, const char *type, const struct codec_type *codec,
                        const void *message, const struct sign_key *key, uint8_t *ret_digest)
{
    struct bytes payload, envelope;
    struct err err;
    if (codec_encode(codec, message, &h->arena, &payload, &err) != ERR_OK)
        fail_msg("%s", err.text);
    if (sign_seal(type, payload, key, 1, &h->arena, &envelope, &err) != ERR_OK)
        fail_msg("%s", err.text);
    if (ret_digest)
        hash_bytes(payload, ret_digest);
    return envelope;
}

static void write_root(struct house *h)
{
    const struct root_doc doc = {.tenant = "default",
                                 .version = 1,
                                 .expires_ms = clock_unix_ms() + 3600 * 1000,
                                 .root = &h->root_key,
                                 .release = &h->release_key,
                                 .desired = &h->desired_key};
    const struct bytes sealed = root_doc_seal(&doc, &h->root_key, 1, &h->arena);
    tempdir_write(house_path_in(h, "root.dsse"), sealed.ptr, sealed.len);
}

static void put_file(struct house *h, const char *kind, const uint8_t digest[DIGEST_BYTES],
                     struct bytes data)
{
    char hex[DIGEST_HEX];
    str_hex(bytes_of(digest, DIGEST_BYTES), hex);
    tempdir_write(house_path_in(h, "http/%s/%s", kind, hex), data.ptr, data.len);
}

static struct artifact pack(struct house *h, const struct recipe *recipe)
{
    static uint8_t digests[RELEASES_MAX][DIGEST_BYTES];
    static size_t used;
    uint8_t *digest = digests[used++ % RELEASES_MAX];
    struct bytes data = bytes_of(recipe->version, strlen(recipe->version));
    if (recipe->tree) {
        char *folder = house_path_in(h, "pack-%s", recipe->version),
             *tar = house_path_in(h, "pack-%s.tar", recipe->version);
        struct err err;
        assert_int_equal(file_make_dirs(folder, 0755, &err), ERR_OK);
        char *index = arena_printf(&h->arena, "%s/index.html", folder);
        tempdir_write(index, recipe->version, strlen(recipe->version));
        (void)chmod(index, 0644);
        const char *argv[] = {"tar", "-C", folder, "-cf", tar, "index.html", NULL};
        struct proc_options options = {.argv = argv};
        assert_int_equal(proc_run(&options, 10000), 0);
        size_t len;
        char *text = tempdir_read(tar, &len);
        data = bytes_of(arena_dup(&h->arena, text, len), len);
        free(text);
    }
    hash_bytes(data, digest);
    put_file(h, "artifact", digest, data);
    return (struct artifact){
        .path = recipe->tree ? "www" : "www/index.html",
        .kind = recipe->tree ? ARTIFACT_KIND_TREE : ARTIFACT_KIND_FILE,
        .os = recipe->os ? recipe->os : "linux",
        .size_bytes = data.len,
        .sha256 = bytes_of(digest, DIGEST_BYTES),
        .unpacked_bytes_max = recipe->tree ? 1 << 20 : 0,
        .unpacked_files_max = recipe->tree ? 100 : 0,
    };
}

/* sh -c TEXT; nothing for NULL. */
static const char *const *shell(struct house *h, const char *text, size_t *ret_len)
{
    const char **words = arena_alloc(&h->arena, 3 * sizeof *words);
    assert_non_null(words);
    words[0] = "sh";
    words[1] = "-c";
    words[2] = text;
    *ret_len = text ? 3 : 0;
    return words;
}

static struct service service_of(struct house *h, const struct recipe *recipe)
{
    static const char *const serve[] = {"busybox",           "httpd", "-f", "-p",
                                        "127.0.0.1:${PORT}", "-h",    "www"};
    struct service service = {.name = "web",
                              .command = serve,
                              .command_len = ARRAY_LEN(serve),
                              .stop_timeout_ms = 2000,
                              .restart_min_ms = 50,
                              .restart_max_ms = 200,
                              .reload_signal = recipe->reload_signal};
    service.pre_stop = shell(h, recipe->pre_stop, &service.pre_stop_len);
    service.reload = shell(h, recipe->reload, &service.reload_len);
    if (recipe->crashes)
        service.command = shell(h, "exit 7", &service.command_len);
    else if (recipe->command)
        service.command =
            shell(h,
                  arena_printf(&h->arena, "%s; exec busybox httpd -f -p 127.0.0.1:${PORT} -h www",
                               recipe->command),
                  &service.command_len);
    return service;
}

struct released house_release(struct house *h, const struct recipe *recipe)
{
    size_t also_len;
    const char *const *also = shell(h, recipe->also, &also_len);
    const struct artifact artifact = pack(h, recipe);
    const struct service service = service_of(h, recipe);
    const struct check checks[] = {
        {.name = "content",
         .kind = CHECK_KIND_HTTP,
         .url = "http://127.0.0.1:${PORT}/index.html",
         .expect_body = recipe->expect ? recipe->expect : recipe->version,
         .interval_ms = 300,
         .timeout_ms = 2000},
        {.name = "process", .kind = CHECK_KIND_PROCESS, .service = "web", .interval_ms = 300},
        {.name = "also",
         .kind = CHECK_KIND_EXEC,
         .command = also,
         .command_len = also_len,
         .interval_ms = 200,
         .unhealthy_threshold = 1},
    };
    const struct release document = {.app = "hello",
                                     .version = recipe->version,
                                     .sequence = ++h->sequence,
                                     .created_ms = clock_unix_ms(),
                                     .artifacts = &artifact,
                                     .artifacts_len = 1,
                                     .services = &service,
                                     .services_len = 1,
                                     .checks = checks,
                                     .checks_len = recipe->also ? 3 : 2,
                                     .data_version = 1,
                                     .confirm_ms = CONFIRM_MS};
    struct released ret;
    struct bytes sealed =
        house_seal(h, SIGN_TYPE_RELEASE, &codec_release, &document,
                   recipe->foreign_signature ? &h->foreign_key : &h->release_key, ret.digest);
    put_file(h, "release", ret.digest, sealed);
    (void)snprintf(ret.version, sizeof ret.version, "%s", recipe->version);
    return ret;
}

static void on_stored(void *arg, uint64_t seq, bool duplicate, const struct err *err)
{
    (void)seq;
    (void)duplicate;
    assert_int_equal(err->code, ERR_OK);
    *(bool *)arg = true;
}

static bool is_true(void *arg)
{
    return *(bool *)arg;
}

void house_publish_signed(struct house *h, const struct released *r, const struct sign_key *key,
                          uint64_t generation)
{
    const char *store = arena_printf(&h->arena, "http://127.0.0.1:%u", (unsigned)h->http_port);
    struct desired desired = h->more;
    desired.tenant = "default";
    desired.app = "hello";
    desired.channel = "stable";
    desired.generation = generation;
    desired.issued_ms = clock_unix_ms() + h->ahead_ms;
    desired.expires_ms = desired.issued_ms + 3600 * 1000;
    desired.release_digest = bytes_of(r->digest, DIGEST_BYTES);
    desired.release_sequence = h->sequence;
    desired.release_version = r->version;
    desired.stores = &store;
    desired.stores_len = 1;
    desired.decision = h->decision;
    struct bytes sealed = house_seal(h, SIGN_TYPE_DESIRED, &codec_desired, &desired, key, NULL);
    house_store(h, "desired.channel.hello.stable", sealed);
}

void house_store(struct house *h, const char *subject, struct bytes sealed)
{
    struct err err;
    struct bus_expect any = {0};
    bool done = false;
    assert_int_equal(bus_store(h->bus, subject, sealed, NULL, any, 5000, on_stored, &done, &err),
                     ERR_OK);
    assert_true(wait_turning(h->loop, is_true, &done, LONG_MS));
}

void house_want(struct house *h, const struct released *r)
{
    h->decision++;
    house_publish_signed(h, r, &h->desired_key, ++h->generation);
}

/* ---- captain's ears ---- */

static void ack(struct house *h)
{
    struct ack message = {.epoch = h->epoch, .seq = h->stored};
    struct arena arena;
    struct bytes data;
    struct err err;
    arena_init(&arena, 4096);
    assert_int_equal(codec_encode(&codec_ack, &message, &arena, &data, &err), ERR_OK);
    enum err_code code = bus_publish(h->bus, "ack.lyon.gw-1", data, NULL, NULL, &err);
    assert_true(code == ERR_OK || code == ERR_NO_CONTACT);
    arena_fini(&arena);
}

static void on_event(void *arg, const struct bus_message *message)
{
    struct house *h = arg;
    struct event event;
    struct err err;
    if (codec_decode(
            &codec_event,
            bytes_of(arena_dup(&h->arena, message->data.ptr, message->data.len), message->data.len),
            &h->arena, &event, &err) != ERR_OK)
        fail_msg("%s", err.text);
    if (h->deaf > 0) {
        h->deaf--;
        return;
    }
    if (!h->epoch[0])
        assert_int_equal(str_copy(h->epoch, sizeof h->epoch, event.epoch), ERR_OK);
    assert_string_equal(h->epoch, event.epoch);
    if (event.seq == h->stored + 1 && h->stored < EVENTS_MAX)
        h->events[h->stored++] = event;
    ack(h);
}

static void on_health(void *arg, const struct bus_message *message)
{
    struct house *h = arg;
    struct err err;
    arena_reset(&h->health_arena);
    struct bytes copy = bytes_of(arena_dup(&h->health_arena, message->data.ptr, message->data.len),
                                 message->data.len);
    if (codec_decode(&codec_health, copy, &h->health_arena, &h->health, &err) != ERR_OK)
        fail_msg("%s", err.text);
}

static const char *kept(struct house *h, const char *text)
{
    char *copy = arena_strdup(&h->arena, text);
    assert_non_null(copy);
    return copy;
}

static void note_ask(struct house *h, const struct lease_request *request)
{
    if (h->asks_len == ASKS_MAX)
        return;
    struct lease_request *ask = &h->asks[h->asks_len++];
    *ask = *request;
    ask->app = kept(h, request->app);
    ask->channel = kept(h, request->channel);
    ask->rollout = kept(h, request->rollout);
    ask->digest = bytes_of(arena_dup(&h->arena, request->digest.ptr, request->digest.len),
                           request->digest.len);
}

static void on_lease(void *arg, const struct bus_message *message)
{
    struct house *h = arg;
    struct lease_request request;
    struct arena arena;
    struct bytes data;
    struct err err;
    arena_init(&arena, 16 << 10);
    if (codec_decode(&codec_lease_request, message->data, &arena, &request, &err) != ERR_OK)
        fail_msg("%s", err.text);
    note_ask(h, &request);
    bool granted = h->lease == HOUSE_GRANTS;
    struct lease_reply reply = {.rollout = request.rollout,
                                .attempt_number = request.attempt_number,
                                .granted = granted,
                                .lease_ms = granted ? h->lease_ms : 0,
                                .retry_ms = granted ? 0 : h->retry_ms,
                                .answer = granted ? "granted" : h->denial};
    assert_int_equal(codec_encode(&codec_lease_reply, &reply, &arena, &data, &err), ERR_OK);
    if (message->reply && h->lease != HOUSE_SILENT)
        assert_int_equal(bus_publish(h->bus, message->reply, data, NULL, NULL, &err), ERR_OK);
    arena_fini(&arena);
}

static void on_telemetry(void *arg, const struct bus_message *message)
{
    struct house *h = arg;
    struct arena arena;
    struct telemetry telemetry;
    struct err err;
    arena_init(&arena, 64 << 10);
    if (codec_decode(&codec_telemetry, message->data, &arena, &telemetry, &err) != ERR_OK)
        fail_msg("%s", err.text);
    assert_true(telemetry.memory_total_bytes > 0);
    h->telemetry++;
    arena_fini(&arena);
}

static void on_stream(void *arg, const struct bus_stream_state *state, const struct err *err)
{
    struct house *h = arg;
    (void)state;
    assert_int_equal(err->code, ERR_OK);
    h->ready = ++h->streams == 2;
}

static void on_bus(void *arg, enum bus_event event, const char *text, uint64_t count)
{
    struct house *h = arg;
    struct err err;
    (void)text;
    (void)count;
    if (event != BUS_CONNECTED || h->ready)
        return;
    static const struct bus_stream desired = {.name = "DESIRED",
                                              .subject = "desired.>",
                                              .max_msgs_per_subject = 1,
                                              .allow_direct = true,
                                              .republish_source = "desired.>",
                                              .republish_dest = "dn.>"};
    static const struct bus_stream events = {
        .name = "EVENTS", .subject = "event.>", .duplicates_ms = 1000};
    assert_int_equal(bus_stream_ensure(h->bus, &desired, on_stream, h, &err), ERR_OK);
    assert_int_equal(bus_stream_ensure(h->bus, &events, on_stream, h, &err), ERR_OK);
}

/* ---- the house ---- */

static void start_bus(struct house *h)
{
    struct err err;
    struct bus_options options = {.url = nats_server_url(h->nats),
                                  .name = "captain of the test",
                                  .on_event = on_bus,
                                  .arg = h};
    assert_int_equal(loop_open(&h->loop, &err), ERR_OK);
    assert_int_equal(bus_open(h->loop, &options, &h->bus, &err), ERR_OK);
    assert_int_equal(bus_subscribe(h->bus, "event.lyon.gw-1", on_event, h, &err), ERR_OK);
    assert_int_equal(bus_subscribe(h->bus, "health.lyon.gw-1", on_health, h, &err), ERR_OK);
    assert_int_equal(bus_subscribe(h->bus, "lease.lyon.gw-1", on_lease, h, &err), ERR_OK);
    assert_int_equal(bus_subscribe(h->bus, "telemetry.lyon.gw-1", on_telemetry, h, &err), ERR_OK);
    assert_int_equal(bus_start(h->bus, &err), ERR_OK);
    assert_true(wait_turning(h->loop, is_true, &h->ready, LONG_MS));
}

void house_start_http(struct house *h)
{
    static const char *const folders[] = {"http/release", "http/artifact"};
    struct err err;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(file_make_dirs(house_path_in(h, "%s", folders[i]), 0755, &err), ERR_OK);
    const char *at = arena_printf(&h->arena, "127.0.0.1:%u", (unsigned)h->http_port);
    const char *argv[] = {"busybox", "httpd", "-f", "-p", at, "-h", house_path_in(h, "http"), NULL};
    struct proc_options options = {.argv = argv};
    h->http = proc_start(&options);
}

void house_write_config(struct house *h)
{
    const char *helper = getenv("CAPTAIN_FETCH_BIN");
    assert_non_null(helper);
    const char *text = arena_printf(
        &h->arena,
        "{\"device\": \"gw-1\", \"site\": \"lyon\", \"nats\": {\"url\": \"%s\"}, \"root\": \"%s\", "
        "\"folder\": \"%s\",\n"
        " \"apps\": {\"hello\": {\"channel\": \"stable\", \"env\": {\"PORT\": \"%u\"}%s}},\n"
        " \"fetch\": {\"helper\": \"%s\"},\n"
        " \"intervals\": {\"health\": \"1s\", \"telemetry\": \"1s\", \"refresh\": \"2s\"}%s}\n",
        nats_server_url(h->nats), house_path_in(h, "root.dsse"), house_path_in(h, "device"),
        (unsigned)h->service_port, h->app_extra ? h->app_extra : "", helper,
        h->extra ? h->extra : "");
    tempdir_write(house_path_in(h, "agent.json"), text, strlen(text));
}

void house_start_agent(struct house *h)
{
    const char *argv[] = {getenv("CAPTAIN_AGENT_BIN"), "--config", house_path_in(h, "agent.json"),
                          NULL};
    struct proc_options options = {
        .argv = argv, .env = h->agent_env, .out_path = house_path_in(h, "agent.log")};
    assert_non_null(argv[0]);
    h->agent = proc_start(&options);
}

/* Only the agent itself, as a crash would: its services are in sessions of their own. */
void house_kill_agent(struct house *h)
{
    proc_signal(h->agent, SIGKILL);
    assert_true(proc_wait(h->agent, LONG_MS, NULL));
    proc_free(h->agent);
    h->agent = NULL;
}

int house_setup(void **state)
{
    struct house *h = calloc(1, sizeof *h);
    assert_non_null(h);
    h->dir = tempdir_make();
    arena_init(&h->arena, ARENA_BYTES);
    arena_init(&h->health_arena, 1 << 20);
    h->nats = nats_server_start(NULL);
    h->http_port = port_free();
    h->service_port = port_free();
    sign_key_new(&h->root_key);
    sign_key_new(&h->release_key);
    sign_key_new(&h->desired_key);
    sign_key_new(&h->foreign_key);
    h->generation = 10;
    h->lease = HOUSE_GRANTS;
    h->lease_ms = 60000;
    h->denial = "cap_site";
    h->retry_ms = 100;
    write_root(h);
    house_start_http(h);
    start_bus(h);
    house_write_config(h);
    *state = h;
    return 0;
}

/* An agent that was asked to end takes its services with it. */
static bool ends_cleanly(struct house *h)
{
    int status = 0;
    if (!h->agent)
        return true;
    proc_signal(h->agent, SIGTERM);
    bool clean =
        proc_wait(h->agent, LONG_MS, &status) && status == 0 && port_connect(h->service_port) < 0;
    char *log = clean ? NULL : tempdir_read(house_path_in(h, "agent.log"), NULL);
    if (!clean)
        print_message("status %d, the agent's log:\n%s\n", status, log ? log : "");
    free(log);
    proc_free(h->agent);
    return clean;
}

int house_teardown(void **state)
{
    struct house *h = *state;
    bool clean = ends_cleanly(h);
    bus_close(h->bus, 100);
    loop_close(h->loop);
    proc_free(h->http);
    nats_server_free(h->nats);
    arena_fini(&h->health_arena);
    arena_fini(&h->arena);
    tempdir_remove(h->dir);
    free(h);
    return clean ? 0 : -1;
}
