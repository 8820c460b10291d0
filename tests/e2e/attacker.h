/* SPDX-License-Identifier: Apache-2.0
 *
 * Somebody who has captain's online key, captain's own credential on the bus and a store of his own, in
 * a secured fleet with one device that runs hello 1.0. What he has not: the two release keys, both of
 * which must sign. (The test has them, for releases that were once signed in earnest.)
 */
#pragma once

#include "common/hash.h"
#include "common/sign.h"
#include "proto/codec.h"
#include "tests/e2e/secure.h"
#include "tests/support/fault_http.h"

enum { ATTACKER_ADA, ATTACKER_BOB, ATTACKER_STRANGER, ATTACKER_KEYS };

struct attacker {
    struct secure *secure;
    struct bus_probe probe; /* with streams.creds */
    struct sign_key desired, keys[ATTACKER_KEYS];
    struct fault_http *store; /* serves the document at every path, and counts */
    struct bytes first;       /* the envelope that named 1.0 */
    struct desired now;       /* what captain wants */
    uint64_t generation;      /* highest of the channel so far */
    struct release release;   /* 1.0: what others are made like */
    uint64_t mark;            /* events of the device up to it are known */
    struct err err;
};

/* *state is a struct attacker. */
int attacker_set_up(void **state);
int attacker_tear_down(void **state);

struct attacker_release {
    struct bytes envelope;
    uint8_t digest[DIGEST_BYTES];
    const char *version;
    uint64_t sequence;
};
/* 1.0 under another name and number, signed by these keys; expires_ms 0: never. */
struct attacker_release attacker_release(struct attacker *a, const char *version, uint64_t sequence,
                                         int64_t expires_ms, const struct sign_key *keys,
                                         size_t keys_len);
/* hello@version as people make it: both keys, in captain's store. */
struct attacker_release attacker_release_in_earnest(struct attacker *a, const char *version,
                                                    const char *sequence);

/* What captain says to `release create` of these bytes, without the CLI between. */
enum err_code attacker_ask_captain(struct attacker *a, struct bytes envelope);

/* A desired state of hello/stable for a release in the attacker's store: the next generation, valid for an
 * hour. */
struct desired attacker_desired(struct attacker *a, const struct attacker_release *release);
struct bytes attacker_seal(struct attacker *a, const struct desired *desired,
                           const struct sign_key *key);
/* Into the stream, so to the device, with captain's credential. */
void attacker_publish(struct attacker *a, const char *subject, struct bytes envelope);

/* From here on: events and requests. */
void attacker_begin(struct attacker *a);
/* The device says why it refuses; it runs `version`, and nothing was asked for but at most the
 * document. */
void attacker_assert_bounces(struct attacker *a, enum err_code code, const char *version);
