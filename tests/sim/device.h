/* SPDX-License-Identifier: Apache-2.0
 *
 * One device: the real lifecycle, health and retry of captain-agent around a disk, services and a
 * network that are made up. What is on disk survives; everything under "memory" is lost with the
 * power. A power cut may fall before or after each commit and before each action (cut_in).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/core/asking.h"
#include "agent/core/health.h"
#include "agent/core/lifecycle.h"
#include "tests/sim/bus.h"

struct world;

enum { DEVICE_RELEASES = 6, DEVICE_OUTBOX_MAX = 16, DEVICE_NAME_MAX = 16 };

/* How a release behaves on this device. Zeroed: it runs well. */
enum device_nature {
    DEVICE_RUNS,
    DEVICE_NEVER_STARTS,
    DEVICE_HANGS,   /* takes the whole machine with it; rescued after hang_ms, if that is not 0 */
    DEVICE_CUTS,    /* cuts the machine's own network while it runs */
    DEVICE_REFUSES, /* not for this device: wrong target */
};
struct device_truth {
    enum device_nature nature;
    int32_t bad_from_ms; /* its health endpoint fails from then on, after the start ... */
    int32_t bad_for_ms;  /* ... for so long; 0: never, INT32_MAX: for good */
    int32_t period_ms;   /* ... and again every so often */
    uint32_t times;
    int32_t hang_ms;
};

struct device {
    uint32_t number;
    char name[DEVICE_NAME_MAX]; /* "site/device" */
    uint16_t site, group;
    uint8_t pick;
    bool exists, liar;
    struct device_truth truth[DEVICE_RELEASES];

    /* Disk */
    struct lifecycle life;
    uint8_t current;   /* release; 0: none */
    uint8_t staged;    /* bits of the releases that are whole */
    uint8_t wanted;    /* what the document wants of this device */
    uint32_t document; /* number of the one accepted; 0: none */
    uint32_t rollout;  /* of the attempt below */
    uint32_t attempt;
    uint32_t flaps;
    uint8_t said; /* the release that the fleet was told last it runs */
    uint32_t sequence;
    uint32_t outbox_len;
    struct bus_message outbox[DEVICE_OUTBOX_MAX];

    /* Memory */
    bool up, hung;
    bool services_running, services_started, services_failed;
    uint8_t running; /* which release the services are of */
    struct health_state health;
    int64_t started_ms, fail_ms;
    int64_t work_done_ms; /* of `work`; 0: none */
    enum lifecycle_action work;
    int64_t fetch_done_ms;
    enum lifecycle_fetch fetch;
    enum err_code fetch_error;
    int64_t retry_at_ms;
    struct asking asking;
    uint32_t asking_rollout;
    bool parked;  /* an ask now would be in vain: waits for news (world_stir) */
    bool returns; /* a lease to give back, said once and no more */
    uint32_t return_rollout, return_attempt;
    int64_t send_at_ms; /* the outbox again */
    int64_t lie_at_ms;
    uint32_t lies;
    int64_t wake_ms; /* the timer that is out; 0: none */

    /* Surroundings */
    bool cut_off;          /* by a partition */
    int64_t lost_since_ms; /* when contact was lost; -1: in contact */
    bool known_lost;       /* captain was told of the silence */
    int64_t no_space_until_ms;
    uint32_t cut_in; /* power goes at the n-th point from here; 0: no such plan */
};

/* A fresh machine that serves the release (0: nothing). */
void device_init(struct device *device, uint32_t number, uint8_t release);
bool device_is_reachable(const struct device *device);
/* Everything that is due now; sets the next timer. */
void device_turn(struct world *world, struct device *device);
void device_message(struct world *world, struct device *device, const struct bus_message *message);

void device_power_off(struct world *world, struct device *device, int64_t for_ms);
void device_boot(struct world *world, struct device *device);
void device_hang(struct world *world, struct device *device, int64_t for_ms);
void device_wake(struct world *world, struct device *device);
void device_crash_agent(struct world *world, struct device *device);
/* Contact may have been lost or found. */
void device_contact(struct world *world, struct device *device);

/* device_talk.c */
void device_accept(struct world *world, struct device *device, uint32_t document);
void device_event(struct world *world, struct device *device, enum bus_event what, uint8_t release,
                  bool switched);
/* The lease as the lifecycle sees it; DO_LEASE; what is not needed; an ask that nobody answers. */
void device_look_for_lease(struct world *world, struct device *device,
                           struct lifecycle_observed *seen);
void device_ask(struct world *world, struct device *device);
void device_return(struct device *device, int64_t now_ms);
void device_unheard(struct world *world, struct device *device);
bool device_needs_lease(const struct world *world, const struct device *device);
bool device_wants_back(const struct world *world, const struct device *device);
int64_t device_ask_ms(const struct device *device);
/* A rollout that takes the place of another and wants the same goes on with the attempt. */
void device_follow_rollout(struct world *world, struct device *device);
/* It runs what is wanted, and that was not said yet. */
void device_say_where(struct world *world, struct device *device);
void device_send(struct world *world, struct device *device);
void device_lie(struct world *world, struct device *device);
/* A new try at what is wanted: another number, within the rollout of the document. */
void device_new_attempt(struct world *world, struct device *device);
