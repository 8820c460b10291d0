/* SPDX-License-Identifier: Apache-2.0
 *
 * Rollouts, their stored inputs, policies of channels, windows of sites, labels and pins of devices.
 */
#pragma once

#include "captain/io/store/store.h"
#include "proto/messages_rollout.h"

struct store_rollout {
    const char *id, *app, *channel;
    uint8_t digest[DIGEST_BYTES], base_digest[DIGEST_BYTES];
    bool has_base;
    const char *policy_name, *policy;
    uint64_t seed;
    const char *supersedes; /* "" or an id */
    const char *started_by, *reason;
    int64_t started_ms, ended_ms;
    const char *state;       /* the last rollout.moved */
    uint64_t decision;       /* of its start */
    uint64_t effects;        /* number of the newest effect in the log */
    uint64_t inputs;         /* stored */
    bool published, to_base; /* the last rollout.published */
    uint64_t published_decision;
    uint32_t wave;
    uint64_t cut;
    struct bytes cohort; /* encoded RolloutPublished */
};
MUST_USE enum err_code store_rollout_add(struct db *db, const struct store_rollout *rollout,
                                         struct err *err);
MUST_USE enum err_code store_rollout_published(struct db *db,
                                               const struct rollout_published *published,
                                               struct bytes encoded, uint64_t decision,
                                               struct err *err);
MUST_USE enum err_code store_rollout_effect(struct db *db, const char *id, uint64_t effect,
                                            struct err *err);
MUST_USE enum err_code store_rollout_moved(struct db *db, const struct rollout_moved *moved,
                                           int64_t now_ms, struct err *err);
/* It lives again (an abort after its success). */
MUST_USE enum err_code store_rollout_reopen(struct db *db, const char *id, struct err *err);
/* The one whose publication is the newest of the channel; ERR_NOT_FOUND. */
MUST_USE enum err_code store_rollout_steering(struct db *db, const char *app, const char *channel,
                                              struct arena *arena, struct store_rollout *ret,
                                              struct err *err);
/* ERR_NOT_FOUND. */
MUST_USE enum err_code store_rollout_get(struct db *db, const char *id, struct arena *arena,
                                         struct store_rollout *ret, struct err *err);
/* Newest first; channel "" or "app/channel"; live: only those without an end. */
MUST_USE enum err_code store_rollout_list(struct db *db, const char *channel, bool live,
                                          uint32_t limit, struct arena *arena,
                                          struct store_rollout **ret, size_t *ret_len,
                                          struct err *err);

/* number: the next one, from 0 (the START). */
MUST_USE enum err_code store_rollout_input_add(struct db *db, const char *id, uint64_t number,
                                               struct bytes input, struct err *err);
typedef bool (*store_rollout_input_fn)(void *arg, uint64_t number, struct bytes input);
MUST_USE enum err_code store_rollout_inputs(struct db *db, const char *id, uint64_t from,
                                            store_rollout_input_fn fn, void *arg, struct err *err);
/* ERR_NOT_FOUND. */
MUST_USE enum err_code store_rollout_input_get(struct db *db, const char *id, uint64_t number,
                                               struct arena *arena, struct bytes *ret,
                                               struct err *err);
MUST_USE enum err_code store_rollout_inputs_len(struct db *db, const char *id, uint64_t *ret,
                                                struct err *err);

MUST_USE enum err_code store_policy_set(struct db *db, const struct channel_policy *policy,
                                        const char *set_by, int64_t now_ms, uint64_t decision,
                                        struct err *err);
/* ERR_NOT_FOUND: the channel has none of its own. */
MUST_USE enum err_code store_policy_get(struct db *db, const char *app, const char *channel,
                                        struct arena *arena, struct policy_info *ret,
                                        struct err *err);
MUST_USE enum err_code store_policy_list(struct db *db, struct arena *arena,
                                         struct policy_info **ret, size_t *ret_len,
                                         struct err *err);

/* Labels and pins of one device, as device.set said last (encoded DeviceSet); empty: nothing was ever
 * said. */
MUST_USE enum err_code store_device_set_put(struct db *db, const char *device, struct bytes set,
                                            uint64_t decision, struct err *err);
MUST_USE enum err_code store_device_set_get(struct db *db, const char *device, struct arena *arena,
                                            struct bytes *ret, struct err *err);
/* The row of a device of which nothing was said yet; one that is there stays as it is. */
MUST_USE enum err_code store_device_set_ensure(struct db *db, const char *device, struct bytes set,
                                               struct err *err);
/* And the signed document that tells the device so; as channels have one. */
struct store_device_set {
    const char *device;
    struct bytes set;
    uint64_t decision;
    uint64_t generation; /* 0: never issued */
    int64_t issued_ms;
    struct bytes desired;
    bool unsent;
};
/* ERR_NOT_FOUND. */
MUST_USE enum err_code store_device_set_row(struct db *db, const char *device, struct arena *arena,
                                            struct store_device_set *ret, struct err *err);
/* By name. unsent: only those that the stream has not acknowledged, at most 512. */
MUST_USE enum err_code store_device_set_list(struct db *db, bool unsent, struct arena *arena,
                                             struct store_device_set **ret, size_t *ret_len,
                                             struct err *err);
MUST_USE enum err_code store_device_set_issued(struct db *db, const char *device,
                                               uint64_t generation, int64_t issued_ms,
                                               struct bytes desired, struct err *err);
MUST_USE enum err_code store_device_set_sent(struct db *db, const char *device, uint64_t generation,
                                             struct err *err);
/* At most 512 of those issued before. */
MUST_USE enum err_code store_device_set_stale(struct db *db, int64_t before_ms, struct arena *arena,
                                              struct store_device_set **ret, size_t *ret_len,
                                              struct err *err);
/* The stream may have lost them all. */
MUST_USE enum err_code store_device_set_unsent(struct db *db, struct err *err);

/* Empty windows take the site's away. */
MUST_USE enum err_code store_site_set(struct db *db, const struct site_windows *site,
                                      const char *set_by, int64_t now_ms, struct err *err);
/* Those with windows, by name. */
MUST_USE enum err_code store_site_list(struct db *db, struct arena *arena, struct site_info **ret,
                                       size_t *ret_len, struct err *err);
