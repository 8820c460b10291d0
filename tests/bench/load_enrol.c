/* SPDX-License-Identifier: Apache-2.0
 *
 * Devices that get in, as `captain-agent enroll` does: new keys, a request signed by device and token, the
 * enrolment credential over TLS, and a grant that must open and be for this device.
 *   load_enrol ask FLEET TOKEN FINGERPRINT COUNT IN_FLIGHT NAME
 *   load_enrol connect ...         the same, each device with a connection of its own, as it is in life
 *   load_enrol mint FLEET SECONDS  the credentials alone: account_mint_device in a loop, one thread
 * FLEET is the folder of captain init. Prints how many per second, and the median in microseconds.
 */
#include <nats/nats.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/identity.h"
#include "captain/account.h"
#include "captain/api.h"
#include "common/bus_tls.h"
#include "common/clock.h"
#include "common/file.h"
#include "proto/codec.h"

enum {
    THREADS_MAX = 256,
    COUNT_MAX = 100000,
    ARENA_BYTES = 4 << 20,
    REPLY_MS = 30000,
    CONNECTS_MAX = 4
};

struct load {
    bool connects;
    const char *name;
    struct trust_bundle bundle;
    struct join_token token;
    char creds[512], ca[512], urls[512];
    long count;
    atomic_long next;
    int64_t *took_ns;
};

static void must(int ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "load_enrol: %s failed\n", what);
    exit(1);
}

static natsConnection *connect_to(const struct load *load)
{
    natsOptions *options = NULL;
    natsConnection *nc = NULL;
    bus_tls_trust_named_only(true); /* as common/bus */
    must(natsOptions_Create(&options) == NATS_OK, "options");
    must(natsOptions_SetURL(options, load->urls) == NATS_OK, "url");
    must(natsOptions_SetSecure(options, true) == NATS_OK &&
             natsOptions_LoadCATrustedCertificates(options, load->ca) == NATS_OK,
         "ca");
    must(natsOptions_SetUserCredentialsFromFiles(options, load->creds, NULL) == NATS_OK, "creds");
    must(natsOptions_SetCustomInboxPrefix(options, "_INBOX.enroll") == NATS_OK, "inbox");
    must(natsOptions_SetSendAsap(options, true) == NATS_OK, "asap");
    must(natsOptions_SetTimeout(options, REPLY_MS) == NATS_OK, "timeout");
    natsStatus s =
        NATS_TIMEOUT; /* one signature in 256 of the library is none: again, as the agent */
    for (int i = 0; i < CONNECTS_MAX && s != NATS_OK; i++)
        s = natsConnection_Connect(&nc, options);
    must(s == NATS_OK, natsStatus_GetText(s));
    natsOptions_Destroy(options);
    return nc;
}

static void make_keys(struct identity_keys *ret)
{
    sign_key_new(&ret->device);
    must(crypto_box_keypair(ret->seal_public, ret->seal_secret) == 0, "keys");
}

/* Until it is granted: captain may say "later" when too many wait. */
static void enrol(const struct load *load, natsConnection *nc, long number, struct arena *arena)
{
    struct identity_keys keys;
    struct identity_reply reply;
    struct bytes request;
    struct err err;
    char name[TOKEN_MAX + 1];
    (void)snprintf(name, sizeof name, "%s%ld", load->name, number);
    make_keys(&keys);
    do {
        struct identity_ask ask = {.tenant = load->bundle.tenant,
                                   .site = "bench",
                                   .device = name,
                                   .hardware = "",
                                   .token = &load->token,
                                   .now_ms = clock_unix_ms()};
        natsMsg *msg = NULL;
        arena_reset(arena);
        clock_random(ask.nonce, sizeof ask.nonce);
        must(identity_request(&keys, &ask, arena, &request, &err) == ERR_OK, err.text);
        must(natsConnection_Request(&msg, nc, "enroll", request.ptr, (int)request.len, REPLY_MS) ==
                 NATS_OK,
             "asking");
        struct bytes data = bytes_of(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg));
        must(identity_open_reply(&keys, ask.nonce, data, arena, &reply, &err) == ERR_OK, err.text);
        natsMsg_Destroy(msg);
        must(reply.state == IDENTITY_GRANTED || reply.retry_ms > 0, reply.reason);
        if (reply.state != IDENTITY_GRANTED)
            (void)nanosleep(&(struct timespec){.tv_nsec = 50 * 1000000}, NULL);
    } while (reply.state != IDENTITY_GRANTED);
}

static void *run(void *arg)
{
    struct load *load = arg;
    struct arena arena;
    natsConnection *nc = load->connects ? NULL : connect_to(load);
    arena_init(&arena, ARENA_BYTES);
    for (long i; (i = atomic_fetch_add(&load->next, 1)) < load->count;) {
        const int64_t start_ns = clock_mono_ns();
        if (load->connects)
            nc = connect_to(load);
        enrol(load, nc, i, &arena);
        if (load->connects)
            natsConnection_Destroy(nc);
        load->took_ns[i] = clock_mono_ns() - start_ns;
    }
    arena_fini(&arena);
    if (!load->connects)
        natsConnection_Destroy(nc);
    return NULL;
}

static int compare(const void *a, const void *b)
{
    const int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static void read_bundle(struct load *load, const char *fleet, const char *fingerprint,
                        struct arena *arena)
{
    char path[512];
    struct bytes bytes;
    struct err err;
    (void)snprintf(path, sizeof path, "%s/trust/%s", fleet, fingerprint);
    must(file_read(path, 1 << 20, arena, &bytes, &err) == ERR_OK, err.text);
    must(codec_decode(&codec_trust_bundle, bytes, arena, &load->bundle, &err) == ERR_OK, err.text);
    must(load->bundle.urls_len == 1, "one url");
    (void)snprintf(load->urls, sizeof load->urls, "%s", load->bundle.urls[0]);
    (void)snprintf(load->ca, sizeof load->ca, "%s/nats/tls/ca.pem", fleet);
    (void)snprintf(load->creds, sizeof load->creds, "%s/bench-enroll.creds", fleet);
    must(file_replace(load->creds,
                      bytes_of(load->bundle.enroll_creds, strlen(load->bundle.enroll_creds)), 0600,
                      &err) == ERR_OK,
         err.text);
}

static void measure_enrol(char **argv)
{
    static struct load load;
    pthread_t threads[THREADS_MAX];
    struct arena arena;
    struct err err;
    const long len = strtol(argv[6], NULL, 10);
    load.connects = strcmp(argv[1], "connect") == 0;
    load.count = strtol(argv[5], NULL, 10);
    load.name = argv[7];
    must(load.count > 0 && load.count <= COUNT_MAX && len > 0 && len <= THREADS_MAX, "numbers");
    arena_init(&arena, ARENA_BYTES);
    must(join_token_parse(argv[3], &load.token, &err) == ERR_OK, "token");
    read_bundle(&load, argv[2], argv[4], &arena);
    load.took_ns = calloc((size_t)load.count, sizeof *load.took_ns);
    const int64_t start_ns = clock_mono_ns();
    for (long i = 0; i < len; i++)
        must(load.took_ns && pthread_create(&threads[i], NULL, run, &load) == 0, "thread");
    for (long i = 0; i < len; i++)
        (void)pthread_join(threads[i], NULL);
    const double seconds = (double)(clock_mono_ns() - start_ns) / 1e9;
    qsort(load.took_ns, (size_t)load.count, sizeof *load.took_ns, compare);
    printf("%.0f %.0f\n", (double)load.count / seconds, (double)load.took_ns[load.count / 2] / 1e3);
}

static void measure_mint(char **argv)
{
    const struct account_options options = {.folder = argv[2], .subjects = api_role_subjects};
    struct account *account = NULL;
    struct arena arena;
    struct err err;
    long minted = 0;
    must(account_open(&options, &account, &err) == ERR_OK, "keys");
    arena_init(&arena, ARENA_BYTES);
    const int64_t start_ns = clock_mono_ns(),
                  end_ns = start_ns + strtol(argv[3], NULL, 10) * 1000000000;
    for (; clock_mono_ns() < end_ns; minted++) {
        struct sign_key key;
        const char *jwt = NULL;
        arena_reset(&arena);
        sign_key_new(&key);
        const struct account_device device = {.site = "bench",
                                              .device = "d1",
                                              .key = key.public_key,
                                              .issued_s = 1800000000,
                                              .expires_s = 1800600000};
        must(account_mint_device(account, &device, &arena, &jwt, &err) == ERR_OK, err.text);
    }
    const double seconds = (double)(clock_mono_ns() - start_ns) / 1e9;
    printf("%.0f %.0f\n", (double)minted / seconds, seconds * 1e6 / (double)minted);
}

int main(int argc, char **argv)
{
    must(argc >= 4 && sodium_init() >= 0, "usage: see the head of load_enrol.c;");
    if (strcmp(argv[1], "mint") == 0) {
        measure_mint(argv);
        return 0;
    }
    must(argc == 8, "usage: load_enrol ask|connect FLEET TOKEN FINGERPRINT COUNT IN_FLIGHT NAME;");
    measure_enrol(argv);
    return 0;
}
