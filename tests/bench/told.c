/* SPDX-License-Identifier: Apache-2.0
 *
 * told URL DEVICES BASE_DIGEST: how long after the last failing report of a canary the last of the
 * devices is told to stay at, or go back to, the base; each device has a connection of its own, with
 * the subscription that an agent has. Beside it, in the same rounds, a plain publish to as many
 * subscribers on the same connections.
 *
 * The fleet follows hello/stable, which stands at hello@1.0; hello@1.1 and the file policy.yaml are
 * there (tests/bench/run makes them). For each line on stdin a rollout was started whose canary is
 * the device bench/d0: it asks for its lease, says that it activated, and that it failed. Prints
 * "ready", then for each round microseconds until the last device:
 *   told N plain N
 */
#include <nats/nats.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/arena.h"
#include "common/base/str.h"
#include "common/clock.h"
#include "proto/codec.h"

enum { DEVICES_MAX = 2000, WAIT_MS = 20000, ARENA_BYTES = 1 << 20 };

static const char epoch[] = "01JD8Q0000000000000000000A";
static atomic_uint told, plain;
static atomic_llong told_ns, plain_ns; /* when the last one was */
static atomic_bool watching;
static struct desired seen; /* the newest wave; written before seen_generation rises */
static struct arena seen_arena;
static atomic_ulong seen_generation;
static uint8_t base[DIGEST_BYTES];
static uint64_t event_seq;

static void must(int ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "told: %s failed\n", what);
    exit(1);
}

/* Keeps the document of a wave, which names d0. */
static void read_wave(struct bytes data)
{
    struct arena arena;
    struct envelope envelope;
    struct desired desired;
    struct err err;
    arena_init(&arena, ARENA_BYTES);
    void *copy = arena_dup(&arena, data.ptr, data.len);
    must(copy && codec_decode(&codec_envelope, bytes_of(copy, data.len), &arena, &envelope, &err) ==
                     ERR_OK,
         "envelope");
    must(codec_decode(&codec_desired, envelope.payload, &arena, &desired, &err) == ERR_OK,
         "desired");
    if (!desired.cohort || desired.cohort->devices_len == 0) {
        arena_fini(&arena);
        return;
    }
    arena_fini(&seen_arena);
    seen_arena = arena;
    seen = desired;
    atomic_store(&seen_generation, desired.generation);
}

static void on_told(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *arg)
{
    (void)nc;
    (void)sub;
    if (atomic_load(&watching)) {
        atomic_store(&told_ns, clock_mono_ns());
        atomic_fetch_add(&told, 1);
    }
    if (arg) /* d0 reads what it is told; the others count */
        read_wave(bytes_of(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg)));
    natsMsg_Destroy(msg);
}

static void on_plain(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *arg)
{
    (void)nc;
    (void)sub;
    (void)arg;
    atomic_store(&plain_ns, clock_mono_ns());
    atomic_fetch_add(&plain, 1);
    natsMsg_Destroy(msg);
}

static natsConnection *connect_to(const char *url, bool first)
{
    natsOptions *options = NULL;
    natsConnection *nc = NULL;
    natsSubscription *sub = NULL;
    must(natsOptions_Create(&options) == NATS_OK, "options");
    must(natsOptions_SetURL(options, url) == NATS_OK, "url");
    must(natsOptions_UseGlobalMessageDelivery(options, true) == NATS_OK, "delivery");
    must(natsConnection_Connect(&nc, options) == NATS_OK, "connect");
    must(natsConnection_Subscribe(&sub, nc, "dn.channel.hello.stable", on_told,
                                  first ? &seen : NULL) == NATS_OK,
         "subscribe");
    must(natsConnection_Subscribe(&sub, nc, "plain", on_plain, NULL) == NATS_OK, "subscribe");
    must(natsConnection_Flush(nc) == NATS_OK, "flush");
    natsOptions_Destroy(options);
    return nc;
}

static void tell_health(natsConnection *const *devices, unsigned len)
{
    struct arena arena;
    struct bytes out;
    struct err err;
    struct app_status app = {.app = "hello",
                             .channel = "stable",
                             .state = APP_STATE_HEALTHY,
                             .digest = bytes_of(base, sizeof base),
                             .version = "1.0",
                             .reason = "",
                             .desired_digest = bytes_of(base, sizeof base),
                             .rollout = "",
                             .waiting = ""};
    struct health health = {.epoch = epoch,
                            .event_seq = event_seq,
                            .sent_ms = clock_unix_ms(),
                            .interval_ms = 30000,
                            .agent_version = "0.1.0",
                            .apps = &app,
                            .apps_len = 1};
    arena_init(&arena, ARENA_BYTES);
    for (unsigned i = 0; i < len; i++) {
        char subject[64];
        health.event_seq = i == 0 ? event_seq : 0;
        arena_reset(&arena);
        must(codec_encode(&codec_health, &health, &arena, &out, &err) == ERR_OK, "encode");
        (void)snprintf(subject, sizeof subject, "health.bench.d%u", i);
        must(natsConnection_Publish(devices[i], subject, out.ptr, (int)out.len) == NATS_OK,
             "health");
        must(natsConnection_Flush(devices[i]) == NATS_OK, "flush");
    }
    arena_fini(&arena);
}

static void report(natsConnection *nc, enum event_kind kind, uint32_t attempt)
{
    struct arena arena;
    struct bytes out;
    struct err err;
    struct event event = {.epoch = epoch,
                          .seq = ++event_seq,
                          .time_ms = clock_unix_ms(),
                          .kind = kind,
                          .app = "hello",
                          .channel = "stable",
                          .generation = seen.generation,
                          .digest = seen.release_digest,
                          .version = seen.release_version,
                          .attempt = "",
                          .text = "",
                          .rollout = seen.rollout,
                          .attempt_number = attempt};
    arena_init(&arena, ARENA_BYTES);
    must(codec_encode(&codec_event, &event, &arena, &out, &err) == ERR_OK, "encode");
    must(natsConnection_Publish(nc, "event.bench.d0", out.ptr, (int)out.len) == NATS_OK, "event");
    must(natsConnection_Flush(nc) == NATS_OK, "flush");
    arena_fini(&arena);
}

static bool ask(natsConnection *nc, uint32_t attempt)
{
    struct arena arena;
    struct bytes out;
    struct err err;
    struct lease_reply reply;
    natsMsg *msg = NULL;
    struct lease_request request = {.app = "hello",
                                    .channel = "stable",
                                    .rollout = seen.rollout,
                                    .attempt_number = attempt,
                                    .digest = seen.release_digest};
    arena_init(&arena, ARENA_BYTES);
    must(codec_encode(&codec_lease_request, &request, &arena, &out, &err) == ERR_OK, "encode");
    must(natsConnection_Request(&msg, nc, "lease.bench.d0", out.ptr, (int)out.len, WAIT_MS) ==
             NATS_OK,
         "lease");
    struct bytes data = bytes_of(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg));
    must(codec_decode(&codec_lease_reply, data, &arena, &reply, &err) == ERR_OK, "reply");
    const bool granted = reply.granted;
    if (!granted)
        fprintf(stderr, "told: lease: %s\n", reply.answer);
    natsMsg_Destroy(msg);
    arena_fini(&arena);
    return granted;
}

static void nap(void)
{
    const struct timespec ms = {.tv_nsec = 1000000};
    (void)nanosleep(&ms, NULL);
}

static void wait_for(atomic_uint *counter, unsigned value, const char *what)
{
    const int64_t end = clock_mono_ms() + WAIT_MS;
    while (atomic_load(counter) < value && clock_mono_ms() < end)
        nap();
    must(atomic_load(counter) >= value, what);
}

static void wait_generation(uint64_t beyond, const char *what)
{
    const int64_t end = clock_mono_ms() + WAIT_MS;
    while (atomic_load(&seen_generation) <= beyond && clock_mono_ms() < end)
        nap();
    must(atomic_load(&seen_generation) > beyond, what);
}

static int64_t round_plain(natsConnection *nc, unsigned len)
{
    char text[512] = {0}; /* about as large as the signed document */
    atomic_store(&plain, 0);
    const int64_t start = clock_mono_ns();
    must(natsConnection_Publish(nc, "plain", text, sizeof text) == NATS_OK, "publish");
    must(natsConnection_Flush(nc) == NATS_OK, "flush");
    wait_for(&plain, len, "a plain message to everyone");
    return (atomic_load(&plain_ns) - start) / 1000;
}

static void round_told(natsConnection *const *devices, unsigned len, uint64_t before)
{
    wait_generation(before, "the wave");
    must(ask(devices[0], 1), "a lease");
    report(devices[0], EVENT_KIND_ACTIVATED, 1);
    atomic_store(&told, 0);
    atomic_store(&watching, true);
    const int64_t start = clock_mono_ns();
    report(devices[0], EVENT_KIND_FAILED, 1);
    wait_for(&told, len, "the way back to everyone");
    atomic_store(&watching, false);
    const int64_t took = (atomic_load(&told_ns) - start) / 1000;
    report(devices[0], EVENT_KIND_ROLLED_BACK, 1);
    printf("told %lld plain %lld\n", (long long)took, (long long)round_plain(devices[0], len));
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    static natsConnection *devices[DEVICES_MAX];
    char line[128];
    must(argc == 4, "usage: told URL DEVICES BASE_DIGEST;");
    const unsigned len = (unsigned)strtoul(argv[2], NULL, 10);
    must(len > 0 && len <= DEVICES_MAX, "DEVICES");
    must(str_unhex(argv[3], base, sizeof base) == ERR_OK, "BASE_DIGEST");
    must(nats_Open(-1) == NATS_OK && nats_SetMessageDeliveryPoolSize(4) == NATS_OK, "open");
    for (unsigned i = 0; i < len; i++)
        devices[i] = connect_to(argv[1], i == 0);
    tell_health(devices, len);
    puts("ready");
    (void)fflush(stdout);
    uint64_t before = 0;
    while (fgets(line, sizeof line, stdin)) {
        round_told(devices, len, before);
        before = atomic_load(&seen_generation);
        tell_health(devices, 1);
    }
    return 0;
}
