/* SPDX-License-Identifier: Apache-2.0
 *
 * Health messages as a fleet sends them, and the client that only receives them.
 *   load_health publish URL DEVICES SECONDS   rounds over all devices as fast as the server takes
 *                                             them; prints how many were sent, and milliseconds
 *   load_health receive URL                   a plain subscriber of health.*.*, whose inbox is
 *                                             bounded as captain's; on SIGTERM prints how many came
 *                                             and how many did not fit
 */
#include <nats/nats.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bus.h"
#include "common/clock.h"
#include "proto/codec.h"

static void must(int ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "load_health: %s failed\n", what);
    exit(1);
}

static natsConnection *connect_to(const char *url)
{
    natsOptions *options = NULL;
    natsConnection *nc = NULL;
    must(natsOptions_Create(&options) == NATS_OK, "options");
    must(natsOptions_SetURL(options, url) == NATS_OK, "url");
    must(natsConnection_Connect(&nc, options) == NATS_OK, "connect");
    natsOptions_Destroy(options);
    return nc;
}

/* One health message of a healthy device with one app, about 190 bytes. */
static struct bytes health_of(struct arena *arena, uint64_t round)
{
    static const uint8_t digest[DIGEST_BYTES] = {1, 2, 3};
    struct app_status app = {
        .app = "hello",
        .channel = "stable",
        .state = APP_STATE_HEALTHY,
        .digest = bytes_of(digest, sizeof digest),
        .version = "1.1",
        .generation = 1795280278000,
        .reason = "",
        .desired_digest = bytes_of(digest, sizeof digest),
    };
    struct health health = {
        .epoch = "01JD8Q0000000000000000000A",
        .event_seq = 0,
        .sent_ms = 1795280278000 + (int64_t)round,
        .interval_ms = 30000,
        .agent_version = "0.1.0",
        .apps = &app,
        .apps_len = 1,
    };
    struct bytes out;
    struct err err;
    must(codec_encode(&codec_health, &health, arena, &out, &err) == ERR_OK, "encode");
    return out;
}

static int publish(const char *url, long devices, long seconds)
{
    natsConnection *nc = connect_to(url);
    int64_t start = clock_mono_ns(), end = start + seconds * 1000000000;
    unsigned long sent = 0;
    struct arena arena;
    arena_init(&arena, 1 << 16);
    for (uint64_t round = 0; clock_mono_ns() < end; round++) {
        arena_reset(&arena);
        struct bytes body = health_of(&arena, round);
        for (long d = 0; d < devices && (d % 1000 || clock_mono_ns() < end); d++, sent++) {
            char subject[64];
            (void)snprintf(subject, sizeof subject, "health.bench.d%ld", d);
            must(natsConnection_Publish(nc, subject, body.ptr, (int)body.len) == NATS_OK,
                 "publish");
        }
    }
    must(natsConnection_FlushTimeout(nc, 30000) == NATS_OK, "flush");
    printf("%lu %.0f\n", sent, (double)(clock_mono_ns() - start) / 1e6);
    natsConnection_Destroy(nc);
    arena_fini(&arena);
    return 0;
}

static void on_message(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *arg)
{
    (void)nc;
    (void)sub;
    atomic_fetch_add_explicit((atomic_ulong *)arg, 1, memory_order_relaxed);
    natsMsg_Destroy(msg);
}

static int receive(const char *url)
{
    atomic_ulong count = 0;
    int64_t dropped = 0;
    int sig = 0;
    natsSubscription *sub = NULL;
    sigset_t term;
    (void)sigemptyset(&term);
    (void)sigaddset(&term, SIGTERM);
    must(pthread_sigmask(SIG_BLOCK, &term, NULL) == 0, "signals");
    natsConnection *nc = connect_to(url);
    must(natsConnection_Subscribe(&sub, nc, "health.*.*", on_message, &count) == NATS_OK,
         "subscribe");
    must(natsSubscription_SetPendingLimits(sub, BUS_INBOX_MAX, BUS_INBOX_MAX_BYTES) == NATS_OK,
         "limits");
    must(sigwait(&term, &sig) == 0, "wait");
    must(natsSubscription_GetDropped(sub, &dropped) == NATS_OK, "dropped");
    printf("%lu %lld\n", atomic_load(&count), (long long)dropped);
    natsSubscription_Destroy(sub);
    natsConnection_Destroy(nc);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "publish") == 0)
        return publish(argv[2], strtol(argv[3], NULL, 10), strtol(argv[4], NULL, 10));
    if (argc == 3 && strcmp(argv[1], "receive") == 0)
        return receive(argv[2]);
    fprintf(stderr, "usage: load_health publish URL DEVICES SECONDS | receive URL\n");
    return 2;
}
