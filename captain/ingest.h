/* SPDX-License-Identifier: Apache-2.0
 *
 * What devices say: health and telemetry (core messages) and events (stream EVENTS, one ordered consumer
 * from the number stored). Feeds the fleet's model; writes changes in the turn's transaction and `last
 * seen` in batches every flush_ms; acknowledges events after their commit. A message that cannot be read
 * is counted, logged once per device and hour, and harms nothing.
 */
#pragma once

#include "captain/core/fleet.h"
#include "common/bus.h"
#include "common/db.h"
#include "proto/messages.h"

struct ingest;

struct ingest_counts {
    uint64_t health;
    uint64_t telemetry;
    uint64_t events; /* stored since start */
    uint64_t garbage;
};

/* Subscribes health.*.* and telemetry.*.* (so before bus_start) and loads the fleet from the tables. */
MUST_USE enum err_code ingest_open(struct loop *loop, struct bus *bus, struct db *db,
                                   struct fleet *fleet, int64_t flush_ms, struct ingest **ret,
                                   struct err *err);
/* EVENTS is over there, where devices have no way to ask for acknowledgements: it gives none, for the subject
 * that one goes to is the device's choice (account.h). Before it is connected. */
void ingest_streams(struct ingest *ingest, struct bus *streams);
/* Who wants to know what devices said. event: stored for the first time, in the transaction that stores it;
 * health, telemetry: each message that could be read; rolled_back: that transaction was thrown away, and its events come
 * again. Each may be NULL. */
struct ingest_hooks {
    void (*event)(void *arg, uint32_t device, const struct event *event);
    void (*health)(void *arg, uint32_t device, const struct health *health);
    void (*telemetry)(void *arg, uint32_t device, const struct telemetry *telemetry);
    void (*rolled_back)(void *arg);
    void *arg;
};
void ingest_watch(struct ingest *ingest, const struct ingest_hooks *hooks);

/* Writes what is pending (commits). NULL is fine. */
void ingest_close(struct ingest *ingest);
/* On ready: ensures the stream EVENTS and consumes it. While connected the stream is looked at every few
 * seconds: one that is missing is made again, one whose events do not come is consumed again. */
void ingest_connected(struct ingest *ingest);
/* Writes pending rows into the tables (and commits), so that a query reads what was received. */
MUST_USE enum err_code ingest_flush(struct ingest *ingest, struct err *err);
/* The same for what changed only, not the times that may wait: cheap. A failure has been logged and is tried
 * again. */
void ingest_settle(struct ingest *ingest);
void ingest_counts(const struct ingest *ingest, struct ingest_counts *ret);
/* The row id in the tables of a fleet device number; -1 while it has none (never after ingest_flush). */
int64_t ingest_device_id(const struct ingest *ingest, uint32_t device);
