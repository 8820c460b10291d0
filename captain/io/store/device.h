/* SPDX-License-Identifier: Apache-2.0
 *
 * Devices: the name and number of each, when it was seen (narrow, integer-keyed, written in batches),
 * its last health and telemetry as bytes (written on change), and its events.
 */
#pragma once

#include "captain/io/store/store.h"
#include "proto/messages.h"

/* id: the device's row, stable for ever. */
MUST_USE enum err_code store_device_add(struct db *db, const char *device, int64_t now_ms,
                                        int64_t *ret_id, struct err *err);
MUST_USE enum err_code store_device_seen(struct db *db, int64_t id, int64_t last_seen_ms,
                                         struct err *err);
MUST_USE enum err_code store_device_health(struct db *db, int64_t id, struct bytes health,
                                           struct err *err);
MUST_USE enum err_code store_device_telemetry(struct db *db, int64_t id, int64_t received_ms,
                                              struct bytes telemetry, struct err *err);
MUST_USE enum err_code store_device_garbage(struct db *db, int64_t id, uint64_t count,
                                            struct err *err);

struct store_device {
    int64_t id;
    const char *device;
    int64_t first_seen_ms;
    int64_t last_seen_ms;
    uint64_t garbage;
    struct bytes health;    /* empty: none */
    struct bytes telemetry; /* empty: none */
    int64_t telemetry_ms;
    const char *epoch;  /* of its newest events; "" */
    uint64_t event_seq; /* newest stored of that epoch */
    uint64_t events;    /* stored in all */
};
/* ERR_NOT_FOUND. */
MUST_USE enum err_code store_device_get(struct db *db, int64_t id, struct arena *arena,
                                        struct store_device *ret, struct err *err);
/* Every device in order of id, for the start; fn false ends it. */
typedef bool (*store_device_fn)(void *arg, const struct store_device *device);
MUST_USE enum err_code store_device_each(struct db *db, store_device_fn fn, void *arg,
                                         struct err *err);

/* Stores an event of the epoch when its number is the next one; *ret_last is the newest stored number of that
 * epoch afterwards. A number at or below it is a duplicate, one above it a gap: both store nothing. */
enum store_event_result { STORE_EVENT_STORED, STORE_EVENT_DUPLICATE, STORE_EVENT_GAP };
MUST_USE enum err_code store_event_add(struct db *db, int64_t device_id, const struct event *event,
                                       struct bytes encoded, enum store_event_result *ret,
                                       uint64_t *ret_last, struct err *err);
/* Takes the epoch's events up to seq, which nobody has any more, as settled: the next is seq + 1. */
MUST_USE enum err_code store_event_skip(struct db *db, int64_t device_id, const char *epoch,
                                        uint64_t seq, struct err *err);
/* 0 when the epoch is not known. */
MUST_USE enum err_code store_event_last(struct db *db, int64_t device_id, const char *epoch,
                                        uint64_t *ret, struct err *err);
/* Newest first; encoded Events. */
MUST_USE enum err_code store_event_list(struct db *db, int64_t device_id, uint32_t limit,
                                        struct arena *arena, struct bytes **ret, size_t *ret_len,
                                        struct err *err);
/* All stored events (a counter kept by the same transaction). */
MUST_USE enum err_code store_event_count(struct db *db, uint64_t *ret, struct err *err);
