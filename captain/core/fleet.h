/* SPDX-License-Identifier: Apache-2.0
 *
 * Captain's model of the fleet: one compact row per device in memory, and counters that are kept, never
 * scanned. Pure: time is a parameter, no I/O. Rows are found by "site/device" in a hash table; names of
 * channels and releases are interned to 32-bit numbers.
 *
 * Costs: a report is O(apps of the device); a status is O(channels x releases in use); memory is at most
 * 200 bytes per device beyond its name.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/str.h"

enum {
    FLEET_APPS_MAX = 8, /* apps of one device */
    FLEET_STATES = 7,   /* values of enum app_state in proto/messages.h */
    FLEET_CHANNELS_MAX = 4096,
    FLEET_RELEASES_MAX = 65536,
    FLEET_SEEN_SLOTS = 64, /* of the wheel that counts who was seen when */
};
#define FLEET_NONE UINT32_MAX

/* What one device says of one app. Names are copied (interned) when new. */
struct fleet_app_report {
    const char *channel; /* "app/channel" */
    const char *release; /* "app@version" that runs, "" for none */
    unsigned state;      /* below FLEET_STATES */
    uint64_t generation; /* of the desired state it has accepted */
};

enum fleet_change {
    FLEET_SEEN,    /* nothing but the time */
    FLEET_CHANGED, /* a state, release, channel or generation is another */
    FLEET_NEW,     /* first report of this device since fleet_init */
    FLEET_REFUSED, /* a table is full, or the report breaks a bound: nothing was changed */
};

struct fleet;

/* devices_max bounds the table. online_ms: a device is online when seen within it. */
struct fleet *fleet_new(uint32_t devices_max, int64_t online_ms);
void fleet_free(struct fleet *fleet);

/* The device's number (0, 1, 2 ... in order of creation), or FLEET_NONE. */
uint32_t fleet_find(const struct fleet *fleet, const char *device);
/* Finds or creates; FLEET_NONE when the table is full. */
uint32_t fleet_add(struct fleet *fleet, const char *device);
const char *fleet_device_name(const struct fleet *fleet, uint32_t device);

/* now_ms: Unix. */
enum fleet_change fleet_report(struct fleet *fleet, uint32_t device, int64_t now_ms,
                               const struct fleet_app_report *apps, size_t apps_len);
/* A sign of life that says nothing else (event, telemetry, a restored row). */
void fleet_seen(struct fleet *fleet, uint32_t device, int64_t now_ms);
/* A message of it that could not be read. Returns how many there were with this one. */
uint64_t fleet_garbage(struct fleet *fleet, uint32_t device);

/* out: it is in no count any more, its apps are forgotten, and its reports are not taken (FLEET_REFUSED)
 * until it is let in again. */
void fleet_put_out(struct fleet *fleet, uint32_t device, bool out);
bool fleet_is_out(const struct fleet *fleet, uint32_t device);
/* Numbers given so far, of those that are out too. */
uint32_t fleet_len(const struct fleet *fleet);

/* One row, for reading. */
struct fleet_row {
    int64_t last_seen_ms; /* 0: never */
    uint64_t garbage;
    size_t apps_len;
    struct fleet_app_report apps[FLEET_APPS_MAX]; /* names are views */
};
void fleet_row(const struct fleet *fleet, uint32_t device, struct fleet_row *ret);

/* Totals. Moves the wheel to now_ms first: O(slots), no scan of devices. */
struct fleet_totals {
    uint64_t devices; /* without those that are out */
    uint64_t online;
    uint64_t garbage;
};
void fleet_totals(struct fleet *fleet, int64_t now_ms, struct fleet_totals *ret);
bool fleet_online(const struct fleet *fleet, uint32_t device, int64_t now_ms);

/* Counters of one channel: for each release that runs there, how many devices are in each state.
 * Returns how many rows there are; fills at most max. */
struct fleet_count {
    const char *release; /* "app@version"; "": none */
    uint64_t by_state[FLEET_STATES];
};
size_t fleet_channel_counts(const struct fleet *fleet, const char *channel, struct fleet_count *ret,
                            size_t max);
/* Devices that run the release, on any channel. */
uint64_t fleet_release_devices(const struct fleet *fleet, const char *release);

/* Bytes in use, for benches and /metrics. */
size_t fleet_memory_bytes(const struct fleet *fleet);
