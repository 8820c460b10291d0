/* SPDX-License-Identifier: Apache-2.0
 *
 * The agent against a real bus, a real HTTP server and real services; this program plays captain:
 * it signs with its own keys, publishes desired states, listens to health, and stores events by
 * captain's rule (each number once, in order, acknowledged when there is no gap).
 */
#include <setjmp.h>
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
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

enum {
    ARENA_BYTES = 16 << 20,
    EVENTS_MAX = 4096,
    LONG_MS = 60000,
    CONFIRM_MS = 400,
    RELEASES_MAX = 64
};

struct released {
    uint8_t digest[DIGEST_BYTES];
    char version[32];
};

struct house {
    char *dir;
    struct arena arena;
    struct nats_server *nats;
    struct loop *loop;
    struct bus *bus;
    bool ready; /* streams are there */
    unsigned streams;
    struct proc *http, *agent;
    uint16_t http_port, service_port;
    struct sign_key root_key, release_key, desired_key, foreign_key;
    uint64_t generation, decision, sequence;
    /* what captain knows */
    char epoch[ULID_TEXT];
    uint64_t stored; /* events without a gap */
    uint64_t deaf;   /* so many more events are lost on the way */
    struct event events[EVENTS_MAX];
    struct health health;
    struct arena health_arena;
    unsigned telemetry;
};

/* ---- documents ---- */

static struct bytes key_bytes(const struct sign_key *key)
{
    return bytes_of(key->public_key, SIGN_PUBLIC_BYTES);
}

static struct bytes seal(struct house *h, const char *type, const struct codec_type *codec,
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

static char *path_in(struct house *h, const char *fmt, ...) PRINTF_LIKE(2, 3);
static char *path_in(struct house *h, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    char *path = arena_printf(&h->arena, "%s/%s", h->dir, text);
    assert_non_null(path);
    return path;
}

static void write_root(struct house *h)
{
    struct bytes root[] = {key_bytes(&h->root_key)}, release[] = {key_bytes(&h->release_key)},
                 desired[] = {key_bytes(&h->desired_key)};
    struct role roles[] = {
        {.name = "root", .threshold = 1, .keys = root, .keys_len = 1},
        {.name = "release", .threshold = 1, .keys = release, .keys_len = 1},
        {.name = "desired", .threshold = 1, .keys = desired, .keys_len = 1},
    };
    struct root document = {.tenant = "default",
                            .version = 1,
                            .expires_ms = clock_unix_ms() + 3600 * 1000,
                            .roles = roles,
                            .roles_len = 3};
    struct bytes sealed = seal(h, SIGN_TYPE_ROOT, &codec_root, &document, &h->root_key, NULL);
    tempdir_write(path_in(h, "root.dsse"), sealed.ptr, sealed.len);
}

static void put_file(struct house *h, const char *kind, const uint8_t digest[DIGEST_BYTES],
                     struct bytes data)
{
    char hex[DIGEST_HEX];
    str_hex(bytes_of(digest, DIGEST_BYTES), hex);
    tempdir_write(path_in(h, "http/%s/%s", kind, hex), data.ptr, data.len);
}

/* What the releases of these tests are like. */
struct recipe {
    const char *version;
    const char *expect; /* what the check wants to see; NULL: the version */
    const char *os;     /* of the artifact */
    bool crashes, tree, foreign_signature;
};

static struct artifact pack(struct house *h, const struct recipe *recipe)
{
    static uint8_t digests[RELEASES_MAX][DIGEST_BYTES];
    static size_t used;
    uint8_t *digest = digests[used++ % RELEASES_MAX];
    struct bytes data = bytes_of(recipe->version, strlen(recipe->version));
    if (recipe->tree) {
        char *folder = path_in(h, "pack-%s", recipe->version),
             *tar = path_in(h, "pack-%s.tar", recipe->version);
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

static struct released release(struct house *h, const struct recipe *recipe)
{
    static const char *const serve[] = {"busybox",           "httpd", "-f", "-p",
                                        "127.0.0.1:${PORT}", "-h",    "www"};
    static const char *const crash[] = {"sh", "-c", "exit 7"};
    struct artifact artifact = pack(h, recipe);
    struct service service = {.name = "web",
                              .command = recipe->crashes ? crash : serve,
                              .command_len = recipe->crashes ? 3 : ARRAY_LEN(serve),
                              .stop_timeout_ms = 2000,
                              .restart_min_ms = 50,
                              .restart_max_ms = 200};
    struct check checks[] = {
        {.name = "content",
         .kind = CHECK_KIND_HTTP,
         .url = "http://127.0.0.1:${PORT}/index.html",
         .expect_body = recipe->expect ? recipe->expect : recipe->version,
         .interval_ms = 300,
         .timeout_ms = 2000},
        {.name = "process", .kind = CHECK_KIND_PROCESS, .service = "web", .interval_ms = 300},
    };
    struct release document = {.app = "hello",
                               .version = recipe->version,
                               .sequence = ++h->sequence,
                               .created_ms = clock_unix_ms(),
                               .artifacts = &artifact,
                               .artifacts_len = 1,
                               .services = &service,
                               .services_len = 1,
                               .checks = checks,
                               .checks_len = 2,
                               .data_version = 1,
                               .confirm_ms = CONFIRM_MS};
    struct released ret;
    struct bytes sealed =
        seal(h, SIGN_TYPE_RELEASE, &codec_release, &document,
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

static void publish_signed(struct house *h, const struct released *r, const struct sign_key *key,
                           uint64_t generation)
{
    const char *store = arena_printf(&h->arena, "http://127.0.0.1:%u", (unsigned)h->http_port);
    struct desired desired = {.tenant = "default",
                              .app = "hello",
                              .channel = "stable",
                              .generation = generation,
                              .issued_ms = clock_unix_ms(),
                              .expires_ms = clock_unix_ms() + 3600 * 1000,
                              .release_digest = bytes_of(r->digest, DIGEST_BYTES),
                              .release_sequence = h->sequence,
                              .release_version = r->version,
                              .stores = &store,
                              .stores_len = 1,
                              .decision = h->decision};
    struct bytes sealed = seal(h, SIGN_TYPE_DESIRED, &codec_desired, &desired, key, NULL);
    struct err err;
    struct bus_expect any = {0};
    bool done = false;
    assert_int_equal(bus_store(h->bus, "desired.channel.hello.stable", sealed, NULL, any, 5000,
                               on_stored, &done, &err),
                     ERR_OK);
    assert_true(wait_turning(h->loop, is_true, &done, LONG_MS));
}

static void want(struct house *h, const struct released *r)
{
    h->decision++;
    publish_signed(h, r, &h->desired_key, ++h->generation);
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
    assert_int_equal(bus_subscribe(h->bus, "telemetry.lyon.gw-1", on_telemetry, h, &err), ERR_OK);
    assert_int_equal(bus_start(h->bus, &err), ERR_OK);
    assert_true(wait_turning(h->loop, is_true, &h->ready, LONG_MS));
}

static void start_http(struct house *h)
{
    static const char *const folders[] = {"http/release", "http/artifact"};
    struct err err;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(file_make_dirs(path_in(h, "%s", folders[i]), 0755, &err), ERR_OK);
    const char *at = arena_printf(&h->arena, "127.0.0.1:%u", (unsigned)h->http_port);
    const char *argv[] = {"busybox", "httpd", "-f", "-p", at, "-h", path_in(h, "http"), NULL};
    struct proc_options options = {.argv = argv};
    h->http = proc_start(&options);
}

static void write_config(struct house *h)
{
    const char *helper = getenv("CAPTAIN_FETCH_BIN");
    assert_non_null(helper);
    const char *text = arena_printf(
        &h->arena,
        "{\"device\": \"gw-1\", \"site\": \"lyon\", \"nats\": {\"url\": \"%s\"}, \"root\": \"%s\", "
        "\"folder\": \"%s\",\n"
        " \"apps\": {\"hello\": {\"channel\": \"stable\", \"env\": {\"PORT\": \"%u\"}}},\n"
        " \"fetch\": {\"helper\": \"%s\"},\n"
        " \"intervals\": {\"health\": \"1s\", \"telemetry\": \"1s\", \"refresh\": \"2s\"}}\n",
        nats_server_url(h->nats), path_in(h, "root.dsse"), path_in(h, "device"),
        (unsigned)h->service_port, helper);
    tempdir_write(path_in(h, "agent.json"), text, strlen(text));
}

static void start_agent(struct house *h)
{
    const char *argv[] = {getenv("CAPTAIN_AGENT_BIN"), "--config", path_in(h, "agent.json"), NULL};
    struct proc_options options = {.argv = argv, .out_path = path_in(h, "agent.log")};
    assert_non_null(argv[0]);
    h->agent = proc_start(&options);
}

/* Only the agent itself, as a crash would: its services are in sessions of their own. */
static void kill_agent(struct house *h)
{
    proc_signal(h->agent, SIGKILL);
    assert_true(proc_wait(h->agent, LONG_MS, NULL));
    proc_free(h->agent);
    h->agent = NULL;
}

static int setup(void **state)
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
    write_root(h);
    start_http(h);
    start_bus(h);
    write_config(h);
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
    char *log = clean ? NULL : tempdir_read(path_in(h, "agent.log"), NULL);
    if (!clean)
        print_message("status %d, the agent's log:\n%s\n", status, log ? log : "");
    free(log);
    proc_free(h->agent);
    return clean;
}

static int teardown(void **state)
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

/* ---- conditions ---- */

struct hope {
    struct house *h;
    enum app_state state;
    const char *version;
    enum event_kind kind;
    uint64_t from; /* events after it count */
};

static const struct app_status *status_of(const struct house *h)
{
    static const struct app_status none = {.version = "", .reason = ""};
    return h->health.apps_len > 0 ? &h->health.apps[0] : &none;
}

static bool has_status(void *arg)
{
    struct hope *hope = arg;
    const struct app_status *status = status_of(hope->h);
    return status->state == hope->state && str_equal(status->version, hope->version) &&
           status->generation == hope->h->generation;
}

static bool has_event(void *arg)
{
    struct hope *hope = arg;
    for (uint64_t i = hope->from; i < hope->h->stored; i++) {
        if (hope->h->events[i].kind == hope->kind)
            return true;
    }
    return false;
}

static void dump(struct house *h)
{
    for (uint64_t i = 0; i < h->stored; i++)
        print_message("event %" PRIu64 " kind %d %s code %u %s\n", h->events[i].seq,
                      (int)h->events[i].kind, h->events[i].version, h->events[i].code,
                      h->events[i].text);
    print_message("state %d version %s reason %s generation %" PRIu64 "\n",
                  (int)status_of(h)->state, status_of(h)->version, status_of(h)->reason,
                  status_of(h)->generation);
    char *log = tempdir_read(path_in(h, "agent.log"), NULL);
    print_message("%s\n", log ? log : "");
    free(log);
}

static void wait_status(struct house *h, enum app_state state, const char *version)
{
    struct hope hope = {.h = h, .state = state, .version = version};
    if (!wait_turning(h->loop, has_status, &hope, LONG_MS)) {
        dump(h);
        fail_msg("never in state %d with version \"%s\"", (int)state, version);
    }
}

static void wait_event(struct house *h, enum event_kind kind, uint64_t from)
{
    struct hope hope = {.h = h, .kind = kind, .from = from};
    if (!wait_turning(h->loop, has_event, &hope, LONG_MS)) {
        dump(h);
        fail_msg("no event of kind %d", (int)kind);
    }
}

static bool serves(struct house *h, const char *text)
{
    char page[512];
    int fd = port_connect(h->service_port);
    if (fd < 0)
        return false;
    static const char request[] = "GET /index.html HTTP/1.0\r\n\r\n";
    assert_int_equal(write(fd, request, sizeof request - 1), sizeof request - 1);
    size_t len = 0;
    ssize_t got;
    while ((got = read(fd, page + len, sizeof page - 1 - len)) > 0)
        len += (size_t)got;
    page[len] = '\0';
    (void)close(fd);
    const char *body = strstr(page, "\r\n\r\n");
    return body && str_equal(body + 4, text);
}

struct page {
    struct house *h;
    const char *text;
};

static bool serves_page(void *arg)
{
    struct page *page = arg;
    return serves(page->h, page->text);
}

static void wait_page(struct house *h, const char *text)
{
    struct page page = {h, text};
    assert_true(wait_turning(h->loop, serves_page, &page, LONG_MS));
}

static void expect_kinds(struct house *h, uint64_t from, const enum event_kind *kinds, size_t len)
{
    bool same = h->stored - from == len;
    for (size_t i = 0; i < len && same; i++)
        same = h->events[from + i].kind == kinds[i];
    if (!same) {
        dump(h);
        fail_msg("not the events expected");
    }
}

static struct released install(struct house *h, const struct recipe *recipe)
{
    struct released r = release(h, recipe);
    uint64_t from = h->stored;
    want(h, &r);
    if (!h->agent)
        start_agent(h);
    wait_event(h, EVENT_KIND_CONFIRMED, from);
    wait_status(h, APP_STATE_HEALTHY, recipe->version);
    wait_page(h, recipe->version);
    return r;
}

/* The process that listens, by its command line. */
static pid_t service_pid(struct house *h)
{
    char *out = path_in(h, "pgrep.txt"),
         *pattern = arena_printf(&h->arena, "httpd -f -p 127.0.0.1:%u", h->service_port);
    (void)unlink(out);
    const char *argv[] = {"pgrep", "-f", "--", pattern, NULL};
    struct proc_options options = {.argv = argv, .out_path = out};
    if (proc_run(&options, 10000) != 0)
        return -1;
    char *text = tempdir_read(out, NULL);
    char *end;
    long pid = strtol(text, &end, 10);
    bool one = end != text && str_equal(end, "\n");
    free(text);
    return one ? (pid_t)pid : -2; /* more than one */
}

/* ---- tests ---- */

static void test_agent__installs_and_upgrades(void **state)
{
    struct house *h = *state;
    (void)install(h, &(struct recipe){.version = "1.0"});
    static const enum event_kind first[] = {EVENT_KIND_AGENT_STARTED, EVENT_KIND_DESIRED_ACCEPTED,
                                            EVENT_KIND_FETCHED, EVENT_KIND_ACTIVATED,
                                            EVENT_KIND_CONFIRMED};
    expect_kinds(h, 0, first, 5);
    assert_string_equal(h->events[2].attempt, h->events[4].attempt);
    (void)install(h, &(struct recipe){.version = "1.1", .tree = true});
    expect_kinds(h, 5, first + 1, 4);
    assert_string_not_equal(h->events[6].attempt, h->events[2].attempt);
    assert_int_equal(status_of(h)->restarts, 0);
}

static bool has_telemetry(void *arg)
{
    struct house *h = arg;
    return h->telemetry >= 2;
}

static void test_agent__sends_telemetry(void **state)
{
    struct house *h = *state;
    start_agent(h);
    assert_true(wait_turning(h->loop, has_telemetry, h, LONG_MS));
    struct hope none = {.h = h, .state = APP_STATE_NONE, .version = ""};
    h->generation = 0;
    assert_true(wait_turning(h->loop, has_status, &none, LONG_MS));
}

static void test_agent__goes_back_when_the_new_release_is_unhealthy(void **state)
{
    struct house *h = *state;
    (void)install(h, &(struct recipe){.version = "1.0"});
    uint64_t from = h->stored;
    struct released bad =
        release(h, &(struct recipe){.version = "1.1", .expect = "what it does not say"});
    want(h, &bad);
    wait_event(h, EVENT_KIND_ROLLED_BACK, from);
    wait_status(h, APP_STATE_FAILED, "1.0");
    wait_page(h, "1.0");
    static const enum event_kind kinds[] = {EVENT_KIND_DESIRED_ACCEPTED, EVENT_KIND_FETCHED,
                                            EVENT_KIND_ACTIVATED, EVENT_KIND_ROLLED_BACK};
    expect_kinds(h, from, kinds, 4);
    assert_int_equal(h->events[h->stored - 1].code, ERR_UNHEALTHY);
    assert_string_equal(h->events[h->stored - 1].version, "1.1");
    assert_non_null(strstr(h->events[h->stored - 1].text, "check content"));
    /* The same decision, issued again: not tried again. */
    publish_signed(h, &bad, &h->desired_key, ++h->generation);
    wait_status(h, APP_STATE_FAILED, "1.0");
    assert_int_equal(h->stored, from + 4);
    (void)install(h, &(struct recipe){.version = "1.2"});
}

static void test_agent__goes_back_at_once_when_a_service_gives_up(void **state)
{
    struct house *h = *state;
    (void)install(h, &(struct recipe){.version = "1.0"});
    struct released bad = release(h, &(struct recipe){.version = "1.1", .crashes = true});
    uint64_t from = h->stored;
    want(h, &bad);
    wait_event(h, EVENT_KIND_ROLLED_BACK, from);
    wait_page(h, "1.0");
    assert_non_null(strstr(h->events[h->stored - 1].text, "exit code 7"));
}

static void test_agent__refuses_a_release_that_is_signed_by_another_key(void **state)
{
    struct house *h = *state;
    (void)install(h, &(struct recipe){.version = "1.0"});
    uint64_t from = h->stored;
    struct released forged =
        release(h, &(struct recipe){.version = "6.6", .foreign_signature = true});
    want(h, &forged);
    wait_event(h, EVENT_KIND_FAILED, from);
    assert_int_equal(h->events[h->stored - 1].code, ERR_BAD_SIGNATURE);
    wait_status(h, APP_STATE_FAILED, "1.0");
    wait_page(h, "1.0");
}

static void test_agent__refuses_a_release_for_other_systems(void **state)
{
    struct house *h = *state;
    struct released foreign = release(h, &(struct recipe){.version = "1.0", .os = "plan9"});
    want(h, &foreign);
    start_agent(h);
    wait_event(h, EVENT_KIND_FAILED, 0);
    assert_int_equal(h->events[h->stored - 1].code, ERR_WRONG_TARGET);
    wait_status(h, APP_STATE_FAILED, "");
}

static void test_agent__rejects_a_desired_state_of_another_key(void **state)
{
    struct house *h = *state;
    struct released good = install(h, &(struct recipe){.version = "1.0"});
    uint64_t from = h->stored;
    publish_signed(h, &good, &h->foreign_key, h->generation + 1);
    wait_event(h, EVENT_KIND_DESIRED_REJECTED, from);
    from = h->stored;
    publish_signed(h, &good, &h->desired_key, h->generation - 1); /* a replay */
    wait_event(h, EVENT_KIND_DESIRED_REJECTED, from);
    assert_int_equal(h->events[h->stored - 1].code, ERR_ROLLBACK);
    wait_status(h, APP_STATE_HEALTHY, "1.0");
}

static void test_agent__waits_for_a_store_that_is_down(void **state)
{
    struct house *h = *state;
    struct released r = release(h, &(struct recipe){.version = "1.0"});
    proc_free(h->http);
    h->http = NULL;
    want(h, &r);
    start_agent(h);
    wait_event(h, EVENT_KIND_FAILED, 0);
    assert_int_equal(h->events[h->stored - 1].code, ERR_NO_CONTACT);
    start_http(h);
    wait_event(h, EVENT_KIND_CONFIRMED, 0);
    wait_page(h, "1.0");
}

static void test_agent__restarts_a_service_that_is_killed(void **state)
{
    struct house *h = *state;
    (void)install(h, &(struct recipe){.version = "1.0"});
    uint64_t from = h->stored;
    pid_t before = service_pid(h);
    assert_true(before > 0);
    assert_int_equal(kill(before, SIGKILL), 0);
    wait_event(h, EVENT_KIND_SERVICE_EXITED, from);
    wait_page(h, "1.0");
    assert_true(service_pid(h) > 0 && service_pid(h) != before);
    wait_status(h, APP_STATE_HEALTHY, "1.0");
}

static void test_agent__adopts_its_services_after_a_crash(void **state)
{
    struct house *h = *state;
    (void)install(h, &(struct recipe){.version = "1.0"});
    pid_t before = service_pid(h);
    kill_agent(h);
    assert_true(serves(h, "1.0")); /* it does not need the agent */
    uint64_t from = h->stored;
    start_agent(h);
    wait_event(h, EVENT_KIND_AGENT_STARTED, from);
    wait_status(h, APP_STATE_HEALTHY, "1.0");
    assert_int_equal(service_pid(h), before);
    (void)install(h, &(struct recipe){.version = "1.1"}); /* and stops it when it has to go */
    assert_true(service_pid(h) > 0 && service_pid(h) != before);
}

static void test_agent__sends_events_again_that_were_lost(void **state)
{
    struct house *h = *state;
    h->deaf = 3;
    (void)install(h, &(struct recipe){.version = "1.0"});
    static const enum event_kind kinds[] = {EVENT_KIND_AGENT_STARTED, EVENT_KIND_DESIRED_ACCEPTED,
                                            EVENT_KIND_FETCHED, EVENT_KIND_ACTIVATED,
                                            EVENT_KIND_CONFIRMED};
    expect_kinds(h, 0, kinds, 5);
}

static void test_agent__a_second_one_on_the_folder_is_refused(void **state)
{
    struct house *h = *state;
    start_agent(h);
    wait_event(h, EVENT_KIND_AGENT_STARTED, 0);
    char *log = path_in(h, "second.log");
    const char *argv[] = {getenv("CAPTAIN_AGENT_BIN"), "--config", path_in(h, "agent.json"), NULL};
    struct proc_options options = {.argv = argv, .out_path = log};
    assert_int_equal(proc_run(&options, LONG_MS), ERR_CONFLICT);
    char *text = tempdir_read(log, NULL);
    char holder[64];
    (void)snprintf(holder, sizeof holder, "process %d", (int)proc_pid(h->agent));
    assert_non_null(strstr(text, holder));
    free(text);
}

static void test_agent__missing_configuration_is_an_error(void **state)
{
    struct house *h = *state;
    const char *argv[] = {getenv("CAPTAIN_AGENT_BIN"), "--config", path_in(h, "not-there.json"),
                          NULL};
    struct proc_options options = {.argv = argv};
    assert_int_equal(proc_run(&options, LONG_MS), 2);
    const char *none[] = {getenv("CAPTAIN_AGENT_BIN"), NULL};
    options.argv = none;
    assert_int_equal(proc_run(&options, LONG_MS), 2);
    const char *version[] = {getenv("CAPTAIN_AGENT_BIN"), "--version", NULL};
    options.argv = version;
    assert_int_equal(proc_run(&options, LONG_MS), 0);
}

/* The agent is killed at random moments through upgrades, good and bad; at the end it serves what
 * it should, and every event arrived once, in order. */
static void test_agent__converges_when_killed_at_random_moments(void **state)
{
    struct house *h = *state;
    const char *given = getenv("CAPTAIN_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)clock_unix_ms();
    print_message("seed %" PRIu64 " (CAPTAIN_SEED repeats it)\n", seed);
    struct rng rng;
    rng_seed(&rng, seed);
    char version[16];
    start_agent(h);
    for (unsigned i = 0; i < 12; i++) {
        (void)snprintf(version, sizeof version, "2.%u", i);
        struct recipe recipe = {
            .version = version, .tree = rng_below(&rng, 2), .crashes = rng_below(&rng, 4) == 0};
        struct released r = release(h, &recipe);
        want(h, &r);
        turn_for(h->loop, (int64_t)rng_below(&rng, 900));
        kill_agent(h);
        start_agent(h);
    }
    struct released last = release(h, &(struct recipe){.version = "3.0"});
    want(h, &last);
    wait_status(h, APP_STATE_HEALTHY, "3.0");
    wait_page(h, "3.0");
    assert_true(service_pid(h) > 0); /* one, not two */
    struct hope all = {
        .h = h, .kind = EVENT_KIND_CONFIRMED, .from = h->stored > 3 ? h->stored - 3 : 0};
    assert_true(wait_turning(h->loop, has_event, &all, LONG_MS));
    unsigned started = 0;
    for (uint64_t i = 0; i < h->stored; i++) {
        assert_int_equal(h->events[i].seq, i + 1);
        started += h->events[i].kind == EVENT_KIND_AGENT_STARTED;
    }
    assert_in_range(started, 1, 13);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_agent__##name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(installs_and_upgrades),
        TEST(sends_telemetry),
        TEST(goes_back_when_the_new_release_is_unhealthy),
        TEST(goes_back_at_once_when_a_service_gives_up),
        TEST(refuses_a_release_that_is_signed_by_another_key),
        TEST(refuses_a_release_for_other_systems),
        TEST(rejects_a_desired_state_of_another_key),
        TEST(waits_for_a_store_that_is_down),
        TEST(restarts_a_service_that_is_killed),
        TEST(adopts_its_services_after_a_crash),
        TEST(sends_events_again_that_were_lost),
        TEST(a_second_one_on_the_folder_is_refused),
        TEST(missing_configuration_is_an_error),
        TEST(converges_when_killed_at_random_moments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
