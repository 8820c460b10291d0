/* SPDX-License-Identifier: Apache-2.0
 *
 * Who was let in and who was put out: join tokens, identities of devices, revoked keys, operators. Only
 * reads and writes; core/admit.h has the rules. Times are Unix milliseconds.
 */
#pragma once

#include "captain/io/store/store.h"
#include "common/sign.h"
#include "proto/messages_enrol.h"

struct store_token {
    const char *id;
    uint8_t public_key[SIGN_PUBLIC_BYTES];
    const char *site;
    struct bytes body; /* TokenCreated */
    uint32_t uses, used;
    bool approval;
    int64_t created_ms, expires_ms;
    int64_t revoked_ms; /* 0: not revoked */
    const char *created_by;
    uint64_t decision;
};
/* used and revoked_ms of token are not looked at. */
MUST_USE enum err_code store_token_add(struct db *db, const struct store_token *token,
                                       struct err *err);
/* ERR_NOT_FOUND. */
MUST_USE enum err_code store_token_get(struct db *db, const char *id, struct arena *arena,
                                       struct store_token *ret, struct err *err);
/* Those whose id begins with prefix, newest first. */
MUST_USE enum err_code store_token_list(struct db *db, const char *prefix, uint32_t limit,
                                        struct arena *arena, struct store_token **ret,
                                        size_t *ret_len, struct err *err);
/* One more device has used it. ERR_NOT_FOUND, as of the next. */
MUST_USE enum err_code store_token_use(struct db *db, const char *id, struct err *err);
MUST_USE enum err_code store_token_revoke(struct db *db, const char *id, int64_t now_ms,
                                          struct err *err);

struct store_identity {
    const char *device; /* "site/device" */
    uint8_t device_key[SIGN_PUBLIC_BYTES];
    uint8_t seal_key[SIGN_PUBLIC_BYTES];
    const char *token;
    const char *state; /* "pending", "approved", "rejected", "revoked", "retired" */
    int64_t enrolled_ms, changed_ms;
    const char *changed_by;
    uint64_t decision;
    const char *hardware;
    int64_t expires_ms; /* of the newest credential; 0: none, or not known */
};
/* A new one, or in place of the one that had this name. changed_ms and expires_ms are not looked at. */
MUST_USE enum err_code store_identity_enrol(struct db *db, const struct store_identity *identity,
                                            struct err *err);
/* Sets state, changed_ms, changed_by and decision of the identity with that device and key;
 * ERR_NOT_FOUND when the device has another key or there is none. */
MUST_USE enum err_code store_identity_state(struct db *db, const struct store_identity *identity,
                                            struct err *err);
MUST_USE enum err_code store_identity_credential(struct db *db, const char *device,
                                                 const uint8_t key[static SIGN_PUBLIC_BYTES],
                                                 int64_t expires_ms, struct err *err);
/* ERR_NOT_FOUND. */
MUST_USE enum err_code store_identity_get(struct db *db, const char *device, struct arena *arena,
                                          struct store_identity *ret, struct err *err);
MUST_USE enum err_code store_identity_by_key(struct db *db,
                                             const uint8_t key[static SIGN_PUBLIC_BYTES],
                                             struct arena *arena, struct store_identity *ret,
                                             struct err *err);
/* By name, behind `after`; state "": any. */
MUST_USE enum err_code store_identity_list(struct db *db, const char *state, const char *after,
                                           uint32_t limit, struct arena *arena,
                                           struct store_identity **ret, size_t *ret_len,
                                           struct err *err);
/* Those of that device name on any site, at most two. */
MUST_USE enum err_code store_identity_named(struct db *db, const char *name, struct arena *arena,
                                            struct store_identity **ret, size_t *ret_len,
                                            struct err *err);
/* Names of all in that state, for the start. */
typedef void (*store_identity_fn)(void *arg, const char *device);
MUST_USE enum err_code store_identity_each(struct db *db, const char *state, store_identity_fn fn,
                                           void *arg, struct err *err);

struct store_revoked_key {
    uint8_t key[SIGN_PUBLIC_BYTES];
    const char *name;
    int64_t at_ms, until_ms; /* INT64_MAX: for ever */
    bool for_good;           /* never let in again */
};
/* Of one that is there already the later times count, and for_good stays. */
MUST_USE enum err_code store_revoked_key_put(struct db *db, const struct store_revoked_key *key,
                                             struct err *err);
/* Whether it is revoked for good. */
MUST_USE enum err_code store_revoked_key_has(struct db *db,
                                             const uint8_t key[static SIGN_PUBLIC_BYTES], bool *ret,
                                             struct err *err);
/* Those with until_ms above now_ms, oldest first. */
MUST_USE enum err_code store_revoked_key_list(struct db *db, int64_t now_ms, struct arena *arena,
                                              struct store_revoked_key **ret, size_t *ret_len,
                                              struct err *err);

struct store_operator {
    const char *name, *role;
    uint8_t public_key[SIGN_PUBLIC_BYTES];
    int64_t added_ms;
    const char *added_by;
    int64_t expires_ms; /* 0: never */
    uint64_t decision;
    int64_t removed_ms; /* 0: not removed */
};
/* A new one, or in place of the one of that name. */
MUST_USE enum err_code store_operator_put(struct db *db, const struct store_operator *who,
                                          struct err *err);
/* ERR_NOT_FOUND, as of the next. */
MUST_USE enum err_code store_operator_remove(struct db *db, const char *name, int64_t now_ms,
                                             struct err *err);
MUST_USE enum err_code store_operator_get(struct db *db, const char *name, struct arena *arena,
                                          struct store_operator *ret, struct err *err);
MUST_USE enum err_code store_operator_list(struct db *db, struct arena *arena,
                                           struct store_operator **ret, size_t *ret_len,
                                           struct err *err);

/* Counts incidents (setting "incidents"). */
MUST_USE enum err_code store_incidents_add(struct db *db, uint64_t count, struct err *err);
