/* SPDX-License-Identifier: Apache-2.0
 *
 * What this device accepts. The rules are common/trust.h's; here are the root in force, the trusted
 * counters, and the order: counters are raised, durably, before anything acts on a document.
 *   root                  newest root version
 *   desired_epoch         root version at which role desired last changed. It is part of the names below,
 *                         so counters only rise and yet begin anew for new keys
 *   desired/APP/CHANNEL, device, signed_ms      of the epoch ("e5/device")
 *   floor/APP             lowest sequence
 * The newest root is kept in a file, replaced after the counter was raised and before it is used. A
 * device that lost it (or its power in between) knows by the counter that it is behind: it takes no
 * other document before the chain has brought it back.
 */
#pragma once

#include "agent/io/agent_store.h"
#include "common/trust.h"

struct trust;

struct trust_options {
    const char *anchor; /* path of the first root; NULL or missing: there must be a kept one */
    const char *kept;   /* path of the newest root; of the two the newer counts */
    const char *tenant;
    const char *hardware; /* NULL: any */
    struct agent_store *store;
};

/* ERR_WRONG_TARGET for another tenant's root, else trust_root_anchor's errors. An expired root opens
 * (what runs keeps running); nothing new is taken by it. */
MUST_USE enum err_code trust_open(const struct trust_options *options, struct trust **ret,
                                  struct err *err);
/* NULL is fine. */
void trust_close(struct trust *trust);

/* Version of the root in force. */
uint64_t trust_root_version(const struct trust *trust);
/* This device, for trust_artifact_fits. */
const struct trust_target *trust_self(const struct trust *trust);

/* The next root of the chain: checked (trust_root_next), counted, kept, in force. On failure nothing has
 * changed but counters. */
MUST_USE enum err_code trust_take_root(struct trust *trust, struct bytes envelope, struct err *err);

/* As trust_check_desired. last is the envelope accepted last, or empty. ret lives in the arena. */
MUST_USE enum err_code trust_desired(struct trust *trust, struct bytes envelope, const char *app,
                                     const char *channel, struct bytes last,
                                     uint64_t last_generation, int64_t now_ms, struct arena *arena,
                                     struct desired *ret, struct err *err);

/* As trust_check_device, for what this device ("site/device") alone is told. */
MUST_USE enum err_code trust_device(struct trust *trust, struct bytes envelope, const char *device,
                                    struct bytes last, uint64_t last_generation, int64_t now_ms,
                                    struct arena *arena, struct device_desired *ret,
                                    struct err *err);

/* As trust_check_release, for installing it here. */
MUST_USE enum err_code trust_release(struct trust *trust, struct bytes envelope,
                                     const uint8_t digest[DIGEST_BYTES], const char *app,
                                     int64_t now_ms, struct arena *arena, struct release *ret,
                                     struct err *err);
