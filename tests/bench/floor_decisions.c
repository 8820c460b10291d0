/* SPDX-License-Identifier: Apache-2.0
 *
 * The two limits of a decision: raw SQLite commits with synchronous=FULL, and raw synchronous
 * JetStream publishes into a file stream. floor_decisions URL DBFILE N; prints commits/s and
 * publishes/s.
 */
#include <nats/nats.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

enum { BODY_BYTES = 300 };

static void must(int ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "floor_decisions: %s failed\n", what);
    exit(1);
}

static double per_second(long n, int64_t start_ns)
{
    return (double)n * 1e9 / (double)(clock_mono_ns() - start_ns);
}

static double commits(const char *path, long n, const char *body)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    must(sqlite3_open(path, &db) == SQLITE_OK, "open");
    must(sqlite3_exec(db,
                      "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                      "CREATE TABLE IF NOT EXISTS entry(seq INTEGER PRIMARY KEY, body BLOB);",
                      NULL, NULL, NULL) == SQLITE_OK,
         "schema");
    must(sqlite3_prepare_v2(db, "INSERT INTO entry(body) VALUES(?)", -1, &stmt, NULL) == SQLITE_OK,
         "prepare");
    int64_t start = clock_mono_ns();
    for (long i = 0; i < n; i++) {
        must(sqlite3_bind_blob(stmt, 1, body, BODY_BYTES, SQLITE_STATIC) == SQLITE_OK, "bind");
        must(sqlite3_step(stmt) == SQLITE_DONE, "insert");
        (void)sqlite3_reset(stmt);
    }
    double rate = per_second(n, start);
    (void)sqlite3_finalize(stmt);
    (void)sqlite3_close(db);
    return rate;
}

static double publishes(const char *url, long n, const char *body)
{
    natsOptions *options = NULL;
    natsConnection *nc = NULL;
    jsCtx *js = NULL;
    must(natsOptions_Create(&options) == NATS_OK, "options");
    must(natsOptions_SetURL(options, url) == NATS_OK, "url");
    must(natsOptions_SetSendAsap(options, true) == NATS_OK, "asap");
    must(natsConnection_Connect(&nc, options) == NATS_OK, "connect");
    must(natsConnection_JetStream(&js, nc, NULL) == NATS_OK, "jetstream");
    jsStreamConfig config;
    (void)jsStreamConfig_Init(&config);
    const char *subjects[] = {"bench.raw"};
    config.Name = "BENCH_RAW";
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    must(js_AddStream(NULL, js, &config, NULL, NULL) == NATS_OK, "stream");
    int64_t start = clock_mono_ns();
    for (long i = 0; i < n; i++)
        must(js_Publish(NULL, js, "bench.raw", body, BODY_BYTES, NULL, NULL) == NATS_OK, "publish");
    double rate = per_second(n, start);
    (void)js_DeleteStream(js, "BENCH_RAW", NULL, NULL);
    jsCtx_Destroy(js);
    natsConnection_Destroy(nc);
    natsOptions_Destroy(options);
    return rate;
}

int main(int argc, char **argv)
{
    must(argc == 4, "usage: floor_decisions URL DBFILE N;");
    char body[BODY_BYTES];
    memset(body, 'x', sizeof body);
    long n = strtol(argv[3], NULL, 10);
    printf("%.0f %.0f\n", commits(argv[2], n, body), publishes(argv[1], n, body));
    return 0;
}
