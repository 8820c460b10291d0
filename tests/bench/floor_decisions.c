/* SPDX-License-Identifier: Apache-2.0
 *
 * The limits of a decision: raw SQLite commits with synchronous=FULL; raw synchronous JetStream
 * publishes into a file stream; and both in the callback of a request, which is then answered: the
 * barest captain there could be. floor_decisions URL DBFILE N; prints the three rates per second.
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

struct table {
    sqlite3 *db;
    sqlite3_stmt *insert;
};

static void table_open(struct table *table, const char *path)
{
    must(sqlite3_open(path, &table->db) == SQLITE_OK, "open");
    must(sqlite3_exec(table->db,
                      "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                      "CREATE TABLE IF NOT EXISTS entry(seq INTEGER PRIMARY KEY, body BLOB);",
                      NULL, NULL, NULL) == SQLITE_OK,
         "schema");
    must(sqlite3_prepare_v2(table->db, "INSERT INTO entry(body) VALUES(?)", -1, &table->insert,
                            NULL) == SQLITE_OK,
         "prepare");
}

static void table_commit(struct table *table, const char *body)
{
    must(sqlite3_bind_blob(table->insert, 1, body, BODY_BYTES, SQLITE_STATIC) == SQLITE_OK, "bind");
    must(sqlite3_step(table->insert) == SQLITE_DONE, "insert");
    (void)sqlite3_reset(table->insert);
}

static void table_close(struct table *table)
{
    (void)sqlite3_finalize(table->insert);
    (void)sqlite3_close(table->db);
}

struct bus {
    natsConnection *nc;
    jsCtx *js;
};

static void bus_open(struct bus *bus, const char *url)
{
    natsOptions *options = NULL;
    must(natsOptions_Create(&options) == NATS_OK, "options");
    must(natsOptions_SetURL(options, url) == NATS_OK, "url");
    must(natsOptions_SetSendAsap(options, true) == NATS_OK, "asap");
    must(natsConnection_Connect(&bus->nc, options) == NATS_OK, "connect");
    must(natsConnection_JetStream(&bus->js, bus->nc, NULL) == NATS_OK, "jetstream");
    natsOptions_Destroy(options);
}

static void bus_publish(struct bus *bus, const char *body)
{
    must(js_Publish(NULL, bus->js, "bench.raw", body, BODY_BYTES, NULL, NULL) == NATS_OK,
         "publish");
}

static void bus_close(struct bus *bus)
{
    jsCtx_Destroy(bus->js);
    natsConnection_Destroy(bus->nc);
}

struct decider {
    struct table table;
    struct bus bus;
};

static void on_request(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *arg)
{
    struct decider *decider = arg;
    (void)sub;
    bus_publish(&decider->bus, natsMsg_GetData(msg));
    table_commit(&decider->table, natsMsg_GetData(msg));
    must(natsConnection_PublishString(nc, natsMsg_GetReply(msg), "ok") == NATS_OK, "reply");
    natsMsg_Destroy(msg);
}

static double commits(struct table *table, long n, const char *body)
{
    int64_t start = clock_mono_ns();
    for (long i = 0; i < n; i++)
        table_commit(table, body);
    return per_second(n, start);
}

static double publishes(struct bus *bus, long n, const char *body)
{
    int64_t start = clock_mono_ns();
    for (long i = 0; i < n; i++)
        bus_publish(bus, body);
    return per_second(n, start);
}

static double decisions(struct decider *decider, const char *url, long n, const char *body)
{
    struct bus client;
    natsSubscription *sub = NULL;
    natsMsg *reply = NULL;
    bus_open(&client, url);
    must(natsConnection_Subscribe(&sub, decider->bus.nc, "bench.decide", on_request, decider) ==
             NATS_OK,
         "subscribe");
    must(natsConnection_Flush(decider->bus.nc) == NATS_OK, "flush");
    int64_t start = clock_mono_ns();
    for (long i = 0; i < n; i++) {
        must(natsConnection_Request(&reply, client.nc, "bench.decide", body, BODY_BYTES, 10000) ==
                 NATS_OK,
             "request");
        natsMsg_Destroy(reply);
    }
    double rate = per_second(n, start);
    natsSubscription_Destroy(sub);
    bus_close(&client);
    return rate;
}

static void make_stream(struct bus *bus)
{
    jsStreamConfig config;
    const char *subjects[] = {"bench.raw"};
    (void)jsStreamConfig_Init(&config);
    config.Name = "BENCH_RAW";
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    must(js_AddStream(NULL, bus->js, &config, NULL, NULL) == NATS_OK, "stream");
}

int main(int argc, char **argv)
{
    must(argc == 4, "usage: floor_decisions URL DBFILE N;");
    char body[BODY_BYTES];
    memset(body, 'x', sizeof body);
    long n = strtol(argv[3], NULL, 10);
    struct decider decider;
    table_open(&decider.table, argv[2]);
    bus_open(&decider.bus, argv[1]);
    make_stream(&decider.bus);
    double commit_rate = commits(&decider.table, n, body);
    double publish_rate = publishes(&decider.bus, n, body);
    printf("%.0f %.0f %.0f\n", commit_rate, publish_rate,
           decisions(&decider, argv[1], n / 2, body));
    (void)js_DeleteStream(decider.bus.js, "BENCH_RAW", NULL, NULL);
    bus_close(&decider.bus);
    table_close(&decider.table);
    return 0;
}
