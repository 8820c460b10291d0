/* SPDX-License-Identifier: Apache-2.0
 *
 * DSSE envelopes over protobuf with Ed25519 (libsodium). The signed bytes are
 *   PAE = "DSSEv1" SP LEN(type) SP type SP LEN(payload) SP payload      (lengths in decimal)
 * (https://github.com/secure-systems-lab/dsse). Only a verified payload is ever parsed. Unique keys are
 * counted, never signatures or key ids; a key id is a hint.
 */
#pragma once

#include "common/base/arena.h"
#include "common/base/str.h"

#define SIGN_TYPE_ROOT "application/vnd.captain.root.v1+protobuf"
#define SIGN_TYPE_RELEASE "application/vnd.captain.release.v1+protobuf"
#define SIGN_TYPE_DESIRED "application/vnd.captain.desired.v1+protobuf"
#define SIGN_TYPE_DEVICE "application/vnd.captain.device.v1+protobuf" /* role "desired" too */
#define SIGN_TYPE_ENROL "application/vnd.captain.enrol.v1+protobuf"   /* by token and device */

enum {
    SIGN_PUBLIC_BYTES = 32,
    SIGN_SEED_BYTES = 32,
    SIGN_SIGNATURE_BYTES = 64,
    SIGN_SIGNATURES_MAX = 16,
    SIGN_ROOT_MAX_BYTES = 64 << 10,
    SIGN_RELEASE_MAX_BYTES = 1 << 20,
    SIGN_DESIRED_MAX_BYTES = 64 << 10,
};

struct sign_key {
    uint8_t seed[SIGN_SEED_BYTES];
    uint8_t public_key[SIGN_PUBLIC_BYTES];
};

/* Who may sign: a set of unique keys and how many of them must. */
struct sign_role {
    const uint8_t (*keys)[SIGN_PUBLIC_BYTES];
    size_t keys_len;
    unsigned threshold; /* at least 1 */
};

/* A new random key. */
void sign_key_new(struct sign_key *ret);
/* From its 32-byte seed. */
void sign_key_from_seed(const uint8_t seed[static SIGN_SEED_BYTES], struct sign_key *ret);
/* File: the seed as 64 hexadecimal digits and a newline, mode 0600. A file that others may read is
 * refused (ERR_DENIED) with the chmod that mends it as the hint. */
MUST_USE enum err_code sign_key_save(const struct sign_key *key, const char *path, struct err *err);
MUST_USE enum err_code sign_key_load(const char *path, struct sign_key *ret, struct err *err);
/* Overwrites the seed. */
void sign_key_wipe(struct sign_key *key);

/* First 16 hexadecimal digits of the SHA-256 of the public key. */
void sign_key_id(const uint8_t public_key[static SIGN_PUBLIC_BYTES], char ret[static 17]);

/* False for the points of small order, those with a part of small order, and what is no point. */
bool sign_public_key_usable(const uint8_t public_key[static SIGN_PUBLIC_BYTES]);

/* Whether it is a valid signature of message by a usable key: 64 bytes, s below the group's order, R not
 * of small order. */
bool sign_verify(const uint8_t public_key[static SIGN_PUBLIC_BYTES], struct bytes message,
                 struct bytes signature);

/* The PAE of type and payload, in the arena; ERR_SIZE beyond its limit. */
MUST_USE enum err_code sign_pae(const char *type, struct bytes payload, struct arena *arena,
                                struct bytes *ret, struct err *err);

/* An envelope (bytes of the protobuf message Envelope) signed by each key, in the arena. */
MUST_USE enum err_code sign_seal(const char *type, struct bytes payload,
                                 const struct sign_key *keys, size_t keys_len, struct arena *arena,
                                 struct bytes *ret, struct err *err);

/* Checks size (max_bytes), form, type and that threshold unique keys of role signed; then returns a
 * view of the payload inside the arena. ERR_SIZE, ERR_MALFORMED, ERR_BAD_SIGNATURE (no valid one) or
 * ERR_THRESHOLD. */
MUST_USE enum err_code sign_open(const char *type, size_t max_bytes, struct bytes envelope,
                                 const struct sign_role *role, struct arena *arena,
                                 struct bytes *ret_payload, struct err *err);
