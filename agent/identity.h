/* SPDX-License-Identifier: Apache-2.0
 *
 * What a device says to be admitted, and what it takes for an answer. No clock, file or bus: those
 * are of whoever asks (enroll.c, renewal.c).
 *
 * The request is signed by the device's own key and, to enrol, by the join token's. The answer is
 * believed only when its grant opens with the X25519 key of the request, carries the request's
 * nonce, and holds a credential of this device's own key.
 */
#pragma once

#include "agent/io/identity_files.h"
#include "common/join_token.h"
#include "common/nkey.h"

enum { IDENTITY_NONCE_BYTES = 16 };

struct identity_ask {
    const char *tenant, *site, *device, *hardware;
    const struct join_token *token; /* NULL: renewal */
    uint8_t nonce[IDENTITY_NONCE_BYTES];
    int64_t now_ms;
};

/* The envelope, in the arena. */
MUST_USE enum err_code identity_request(const struct identity_keys *keys,
                                        const struct identity_ask *ask, struct arena *arena,
                                        struct bytes *ret, struct err *err);

enum identity_state { IDENTITY_REFUSED = 1, IDENTITY_PENDING = 2, IDENTITY_GRANTED = 3 };

struct identity_credential {
    char name[2 * TOKEN_MAX + 2];  /* "site.device" */
    int64_t issued_ms, expires_ms; /* by its own words; expires 0: never */
};

struct identity_reply {
    enum identity_state state;
    uint32_t retry_ms;  /* pending, or refused for now; 0: captain names no time */
    enum err_code code; /* of a refusal: ERR_DENIED, ERR_REVOKED, ... */
    const char *reason;
    const char *jwt; /* granted */
    struct identity_credential credential;
    const char *const *urls; /* NATS servers; may be none */
    size_t urls_len;
};

/* Everything in the arena. ERR_MALFORMED, ERR_SIZE; ERR_WRONG_TARGET: sealed to another key, for
 * another request, or a credential of another key. */
MUST_USE enum err_code identity_open_reply(const struct identity_keys *keys,
                                           const uint8_t nonce[static IDENTITY_NONCE_BYTES],
                                           struct bytes in, struct arena *arena,
                                           struct identity_reply *ret, struct err *err);

/* The one on disk. ERR_NOT_FOUND; ERR_WRONG_TARGET when it is not of these keys. */
MUST_USE enum err_code identity_credential(const char *folder, const struct identity_keys *keys,
                                           struct identity_credential *ret, struct err *err);
/* Replaces it, and the servers' addresses when there are some. */
MUST_USE enum err_code identity_keep(const char *folder, const struct identity_keys *keys,
                                     const struct identity_reply *reply, const char *tenant,
                                     struct err *err);
