/* SPDX-License-Identifier: Apache-2.0
 *
 * Secrets: names, scopes and versions (never a value), and what each device has of them: the box sealed
 * to its key, the document that brought it first, and whether the device has confirmed it.
 */
#pragma once

#include "captain/io/store/store.h"
#include "proto/messages_setting.h"

struct store_secret {
    const char *app, *name, *scope;
    uint8_t digest[DIGEST_BYTES]; /* names the file of the sealed value */
    uint64_t version;             /* rises with every value of this name, whatever its scope */
    int64_t set_ms;
    const char *set_by;
    uint64_t decision;
};

MUST_USE enum err_code store_secret_set(struct db *db, const struct secret_set *secret,
                                        const char *set_by, int64_t now_ms, uint64_t decision,
                                        struct err *err);
/* One that is not there is fine. Its file becomes garbage. */
MUST_USE enum err_code store_secret_remove(struct db *db, const struct secret_removed *secret,
                                           struct err *err);
/* By app, name, scope; app "" and name "": any. Those that were removed are not told. */
MUST_USE enum err_code store_secret_list(struct db *db, const char *app, const char *name,
                                         struct arena *arena, struct store_secret **ret,
                                         size_t *ret_len, struct err *err);
/* The newest version that this name ever had in any scope; 0: none. */
MUST_USE enum err_code store_secret_last_version(struct db *db, const char *app, const char *name,
                                                 uint64_t *ret, struct err *err);
/* Whether a secret that is set now names the file. */
MUST_USE enum err_code store_secret_named(struct db *db, const uint8_t digest[DIGEST_BYTES],
                                          bool *ret, struct err *err);

/* Files that decisions have left without a name: at most 512 digests, back to back in *ret. */
MUST_USE enum err_code store_secret_garbage(struct db *db, struct arena *arena,
                                            const uint8_t (**ret)[DIGEST_BYTES], size_t *ret_len,
                                            struct err *err);
MUST_USE enum err_code store_secret_garbage_gone(struct db *db, const uint8_t digest[DIGEST_BYTES],
                                                 struct err *err);

/* One secret on one device. */
struct store_secret_device {
    const char *app, *name, *scope;
    uint64_t version;      /* of sealed; 0: none yet */
    struct bytes seal_key; /* of the device, that sealed is for */
    struct bytes sealed;   /* empty: it cannot be sent (no key, no value, no room) */
    uint64_t generation;   /* of the document that brought it first; 0: none yet */
    bool confirmed;
};
/* By app and name. */
MUST_USE enum err_code store_secret_device_list(struct db *db, const char *device,
                                                struct arena *arena,
                                                struct store_secret_device **ret, size_t *ret_len,
                                                struct err *err);
MUST_USE enum err_code store_secret_device_put(struct db *db, const char *device,
                                               const struct store_secret_device *row,
                                               struct err *err);
MUST_USE enum err_code store_secret_device_drop(struct db *db, const char *device, const char *app,
                                                const char *name, struct err *err);
/* The document of this generation brings every box that none brought before. */
MUST_USE enum err_code store_secret_device_issued(struct db *db, const char *device,
                                                  uint64_t generation, struct err *err);
/* The device has everything that the document of this generation, or one before it, brought. */
MUST_USE enum err_code store_secret_device_confirm(struct db *db, const char *device,
                                                   uint64_t generation, struct err *err);

/* The oldest document that brought something the device has not confirmed; 0: none. */
MUST_USE enum err_code store_secret_device_waits(struct db *db, const char *device, uint64_t *ret,
                                                 struct err *err);

/* How far a secret is: the devices that should have it, and those that have confirmed this version. */
MUST_USE enum err_code store_secret_counts(struct db *db, const struct store_secret *secret,
                                           uint64_t *ret_devices, uint64_t *ret_confirmed,
                                           struct err *err);
/* Some of those that have not, by name. */
MUST_USE enum err_code store_secret_waiting(struct db *db, const struct store_secret *secret,
                                            uint32_t limit, struct arena *arena, const char ***ret,
                                            size_t *ret_len, struct err *err);
/* Whether any device has, or should have, any secret. */
MUST_USE enum err_code store_secret_device_any(struct db *db, bool *ret, struct err *err);

/* What the master key made of a constant when the first secret was sealed with it. ERR_NOT_FOUND. */
MUST_USE enum err_code store_vault_check_get(struct db *db, uint8_t ret[DIGEST_BYTES],
                                             struct err *err);
MUST_USE enum err_code store_vault_check_put(struct db *db, const uint8_t check[DIGEST_BYTES],
                                             struct err *err);
