/* SPDX-License-Identifier: Apache-2.0
 *
 * The floor of an agent at rest: libnats connected with one subscription, an open SQLite file in
 * WAL mode that was written once, libcurl initialised; then nothing. floor_client URL DBFILE [CA]
 */
#include <curl/curl.h>
#include <nats/nats.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void must(int ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "floor_client: %s failed\n", what);
    exit(1);
}

static void on_message(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *arg)
{
    (void)nc;
    (void)sub;
    (void)arg;
    natsMsg_Destroy(msg);
}

int main(int argc, char **argv)
{
    must(argc >= 3, "usage: floor_client URL DBFILE [CA];");
    natsOptions *options = NULL;
    natsConnection *nc = NULL;
    natsSubscription *sub = NULL;
    must(natsOptions_Create(&options) == NATS_OK, "options");
    must(natsOptions_SetURL(options, argv[1]) == NATS_OK, "url");
    must(natsOptions_SetPingInterval(options, 30000) == NATS_OK, "ping interval");
    if (argc > 3) {
        must(natsOptions_SetSecure(options, true) == NATS_OK, "tls");
        must(natsOptions_LoadCATrustedCertificates(options, argv[3]) == NATS_OK, "ca");
    }
    must(natsConnection_Connect(&nc, options) == NATS_OK, "connect");
    must(natsConnection_Subscribe(&sub, nc, "dn.channel.hello.stable", on_message, NULL) == NATS_OK,
         "subscribe");
    sqlite3 *db = NULL;
    must(sqlite3_open(argv[2], &db) == SQLITE_OK, "sqlite open");
    must(sqlite3_exec(
             db,
             "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE IF NOT EXISTS t(k);"
             "INSERT INTO t VALUES(1);",
             NULL, NULL, NULL) == SQLITE_OK,
         "sqlite write");
    must(curl_global_init(CURL_GLOBAL_DEFAULT) == 0, "curl init");
    CURL *curl = curl_easy_init();
    must(curl != NULL, "curl handle");
    puts("ready");
    (void)fflush(stdout);
    for (;;)
        (void)pause();
}
