/* SPDX-License-Identifier: Apache-2.0
 *
 * Decisions as operators make them: `channel set` back and forth between two releases, from CLIENTS
 * connections at once. load_decisions URL CHANNEL RELEASE_A RELEASE_B CLIENTS SECONDS [CREDS CA], as
 * operator "bench"; prints decisions acknowledged per second and the median latency in microseconds.
 */
#include <nats/nats.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "proto/codec.h"

enum { CLIENTS_MAX = 64, SAMPLES_MAX = 100000 };

struct client {
    char **argv;
    int number;
    int64_t end_ns;
    long done;
    long samples_len;
    int64_t *samples_ns;
};

static void must(int ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "load_decisions: %s failed\n", what);
    exit(1);
}

static void check_reply(natsMsg *msg, struct arena *arena)
{
    struct api_reply reply;
    struct err err;
    struct bytes data = bytes_of(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg));
    must(codec_decode(&codec_api_reply, data, arena, &reply, &err) == ERR_OK, "reply");
    if (reply.code != ERR_OK) {
        fprintf(stderr, "load_decisions: refused: %s\n", reply.error);
        exit(1);
    }
}

static void decide(struct client *client, natsConnection *nc, struct arena *arena, long i)
{
    struct channel_set_request request = {
        .channel = client->argv[2],
        .release = client->argv[3 + (i + client->number) % 2],
        .reason = "bench",
    };
    struct bytes body;
    struct err err;
    natsMsg *msg = NULL;
    must(codec_encode(&codec_channel_set_request, &request, arena, &body, &err) == ERR_OK,
         "encode");
    int64_t start = clock_mono_ns();
    must(natsConnection_Request(&msg, nc, "api.bench.channel.set", body.ptr, (int)body.len,
                                10000) == NATS_OK,
         "request");
    if (client->samples_len < SAMPLES_MAX)
        client->samples_ns[client->samples_len++] = clock_mono_ns() - start;
    check_reply(msg, arena);
    natsMsg_Destroy(msg);
}

static void *run(void *arg)
{
    struct client *client = arg;
    natsOptions *options = NULL;
    natsConnection *nc = NULL;
    must(natsOptions_Create(&options) == NATS_OK, "options");
    must(natsOptions_SetURL(options, client->argv[1]) == NATS_OK, "url");
    must(natsOptions_SetSendAsap(options, true) == NATS_OK, "asap");
    if (client->argv[7])
        must(natsOptions_SetUserCredentialsFromFiles(options, client->argv[7], NULL) == NATS_OK &&
                 natsOptions_SetSecure(options, true) == NATS_OK &&
                 natsOptions_LoadCATrustedCertificates(options, client->argv[8]) == NATS_OK &&
                 natsOptions_SetCustomInboxPrefix(options, "_INBOX.op.bench") == NATS_OK,
             "credentials");
    must(natsConnection_Connect(&nc, options) == NATS_OK, "connect");
    natsOptions_Destroy(options);
    struct arena arena;
    arena_init(&arena, 1 << 20);
    for (; clock_mono_ns() < client->end_ns; client->done++) {
        arena_reset(&arena);
        decide(client, nc, &arena, client->done);
    }
    arena_fini(&arena);
    natsConnection_Destroy(nc);
    return NULL;
}

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

int main(int argc, char **argv)
{
    must(argc == 7 || argc == 9,
         "usage: load_decisions URL CHANNEL RELEASE_A RELEASE_B CLIENTS SECONDS [CREDS CA];");
    long clients_len = strtol(argv[5], NULL, 10), seconds = strtol(argv[6], NULL, 10);
    must(clients_len >= 1 && clients_len <= CLIENTS_MAX, "CLIENTS from 1 to 64;");
    struct client clients[CLIENTS_MAX];
    pthread_t threads[CLIENTS_MAX];
    int64_t start = clock_mono_ns();
    for (int i = 0; i < clients_len; i++) {
        clients[i] =
            (struct client){.argv = argv, .number = i, .end_ns = start + seconds * 1000000000};
        clients[i].samples_ns = calloc(SAMPLES_MAX, sizeof(int64_t));
        must(clients[i].samples_ns && pthread_create(&threads[i], NULL, run, &clients[i]) == 0,
             "thread");
    }
    long done = 0;
    for (int i = 0; i < clients_len; i++) {
        (void)pthread_join(threads[i], NULL);
        done += clients[i].done;
    }
    struct client *first = &clients[0];
    qsort(first->samples_ns, (size_t)first->samples_len, sizeof(int64_t), compare);
    printf("%.0f %.0f\n", (double)done * 1e9 / (double)(clock_mono_ns() - start),
           (double)first->samples_ns[first->samples_len / 2] / 1e3);
    return 0;
}
