/* SPDX-License-Identifier: Apache-2.0
 *
 * The bus between captain and devices: every message is late by chance, and may be lost, doubled or
 * overtaken. Nothing passes to or from a device that is cut off.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct world;

enum bus_kind {
    BUS_DESIRED, /* captain -> device: number says which; the device reads that document */
    BUS_ASK,     /* device -> captain: a lease, or its return */
    BUS_ANSWER,
    BUS_EVENT, /* device -> captain: durable, sent again until stored */
    BUS_ACK,   /* number: every event up to it is stored */
    BUS_HEALTH,
};

/* What a durable event says of the attempt. */
enum bus_event {
    BUS_ACTIVATED,
    BUS_CONFIRMED,
    BUS_UNHEALTHY,
    BUS_ROLLED_BACK,
    BUS_REFUSED,
};

struct bus_message {
    uint8_t kind; /* enum bus_kind */
    uint8_t what; /* enum bus_event */
    uint8_t release;
    bool rollback, returned; /* ASK */
    bool switched;           /* REFUSED: the release ran here */
    bool granted;            /* ANSWER */
    uint8_t answer;          /* enum lease_answer */
    uint32_t device;
    uint32_t rollout;
    uint32_t attempt;
    uint32_t number; /* of the document or event */
    uint32_t flaps;
    int64_t ms; /* ANSWER: how long the lease is, or when to ask again (0: when it likes) */
};

/* How bad it is; per thousand messages. */
struct bus_rules {
    uint32_t delay_min_ms, delay_max_ms;
    uint32_t drop, twice, slow; /* slow: late by up to slow_ms, so that others overtake it */
    uint32_t slow_ms;
};

void bus_send(struct world *world, const struct bus_message *message);
