/* SPDX-License-Identifier: Apache-2.0
 *
 * Captain: the real rollout core in the shell's order of things. An input is stored, then given to
 * the core, then its effects are done one by one, each numbered on disk when it is done; captain
 * may die before the first and after each of them. A start replays the stored inputs, must find the
 * same state, and does what was not done yet.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "captain/core/rollout.h"
#include "tests/sim/bus.h"

struct world;
struct device;

enum { CAPTAIN_ROLLOUTS_MAX = 6, CAPTAIN_SALT_MAX = 16 };

/* The desired state of the channel, as published. Kept for good; devices may hear of it late. */
struct captain_document {
    uint32_t rollout; /* 0: no rollout, all want base */
    uint8_t target, base;
    bool lease;
    uint64_t cut;
    uint32_t selectors;
    const char **names; /* owned; of the devices' */
    uint32_t names_len;
};

/* What is stored of one rollout. */
struct captain_rollout {
    uint8_t target, base;
    char salt[CAPTAIN_SALT_MAX];
    struct rollout_input *inputs; /* owned, with what START and POLICY point to */
    uint32_t len, capacity;
    uint64_t done; /* effects that are decisions of the log */
};

struct captain {
    /* Disk */
    struct captain_rollout rollouts[CAPTAIN_ROLLOUTS_MAX + 1]; /* from 1 */
    uint32_t rollout;                                          /* the newest; 0: none */
    struct captain_document *documents;                        /* from 1 */
    uint32_t documents_len, documents_capacity;
    uint32_t *acked;  /* per device: its newest event that is stored, without a gap */
    uint32_t *after;  /* per device: bits of the events after that one which are stored */
    uint32_t *heard;  /* per device: the rollout whose target it said it runs */
    uint32_t devices; /* room in these */
    uint32_t members; /* of the newest rollout */
    uint8_t channel;  /* the last release that succeeded */
    bool frozen;

    /* Memory */
    bool up;
    struct rollout *core;
    struct rollout_effects effects;
    int64_t timer_ms;

    /* Surroundings */
    int64_t skew_ms;   /* its clock against the true one */
    uint32_t crash_in; /* dies at the n-th point from here; 0: no such plan */
    int64_t down_ms;   /* for how long then */
    uint32_t crashes, points;
    uint64_t fingerprint; /* when it died */
    bool crashed;
    uint64_t checks;
    uint32_t carried;          /* leases in flight when the newest rollout superseded */
    enum gate_verdict verdict; /* told last */
    bool failed;               /* a FAIL that nobody resumed */
};

void captain_init(struct captain *captain, uint8_t base);
void captain_fini(struct captain *captain);
int64_t captain_now_ms(const struct world *world);

/* An operator's start; supersedes what lives. policy is copied. */
void captain_begin(struct world *world, const struct policy *policy, uint8_t target);
/* Any other input; now_ms is set here. Lost when captain is down. */
void captain_input(struct world *world, struct rollout_input *input);
void captain_message(struct world *world, const struct bus_message *message);
void captain_timer(struct world *world);
void captain_crash(struct world *world, int64_t for_ms);
void captain_restart(struct world *world);
/* A device that comes late becomes a member of what lives. */
void captain_add(struct world *world, const struct device *device);
/* captain_ingest.c: room for so many devices. */
void captain_grow(struct captain *captain, uint32_t devices);
/* Replays what is stored; the caller frees it. */
struct rollout *captain_replay(const struct captain_rollout *stored);
/* The document as it stands, to one device. */
void captain_tell(struct world *world, uint32_t device);
const struct captain_document *captain_document(const struct world *world, uint32_t number);
