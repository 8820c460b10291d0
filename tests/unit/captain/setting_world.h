/* SPDX-License-Identifier: Apache-2.0
 *
 * Flags and secrets against a whole captain: api_world.h, with a master key in the environment, and the
 * captain's own tables open beside it.
 */
#pragma once

#include "tests/unit/captain/api_world.h"

#include <sodium.h>

#include "captain/io/store/channel.h"
#include "captain/io/store/rollout.h"
#include "captain/io/store/store.h"
#include "captain/io/store/trust.h"

#define MASTER_A "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define MASTER_B "ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static inline int setting_main(const char *folder, const char *url)
{
    const struct captain_options options = {
        .folder = folder,
        .nats_url = url,
        .flush_ms = 50,
        .master_key = getenv("SETTING_MASTER") ? "env:SETTING_MASTER" : NULL};
    return captain_run(&options);
}

static inline int set_up_keyless(void **state)
{
    assert_int_equal(unsetenv("SETTING_MASTER"), 0);
    return set_up(state);
}

static inline int set_up_vault(void **state)
{
    assert_int_equal(setenv("SETTING_MASTER", MASTER_A, 1), 0);
    return set_up(state);
}

/* A device with the keys that enrolment would have given it. */
struct device_keys {
    uint8_t public_key[32], secret_key[32];
};

static inline struct db *open_tables(struct world *w)
{
    struct db *db = NULL;
    assert_ok(w, store_open(w->dir, &db, &w->err));
    return db;
}

static inline void enrol(struct world *w, const char *device, const char *state,
                         struct device_keys *keys)
{
    struct db *db = open_tables(w);
    struct store_identity identity = {
        .device = device, .token = "t", .state = "pending", .changed_by = "test", .hardware = ""};
    crypto_box_keypair(keys->public_key, keys->secret_key);
    randombytes_buf(identity.device_key, sizeof identity.device_key);
    memcpy(identity.seal_key, keys->public_key, sizeof identity.seal_key);
    assert_ok(w, store_identity_enrol(db, &identity, &w->err));
    identity.state = state;
    assert_ok(w, store_identity_state(db, &identity, &w->err));
    assert_ok(w, db_commit(db, &w->err));
    db_close(db);
}

/* The document of a device; false while it has none. */
static inline bool document(struct world *w, const char *device, struct device_desired *ret)
{
    struct store_device_set row;
    struct sign_key key;
    struct bytes payload;
    char path[PATH_MAX];
    struct db *db = open_tables(w);
    const enum err_code code = store_device_set_row(db, device, &w->arena, &row, &w->err);
    db_close(db);
    if (code != ERR_OK || row.desired.len == 0 || row.unsent)
        return false;
    (void)snprintf(path, sizeof path, "%s/keys/desired.key", w->dir);
    assert_ok(w, sign_key_load(path, &key, &w->err));
    const struct sign_role role = {(const uint8_t(*)[SIGN_PUBLIC_BYTES])key.public_key, 1, 1};
    assert_ok(w, sign_open(SIGN_TYPE_DEVICE, SIGN_DESIRED_MAX_BYTES, row.desired, &role, &w->arena,
                           &payload, &w->err));
    assert_ok(w, codec_decode(&codec_device_desired, payload, &w->arena, ret, &w->err));
    return true;
}

/* Until the device's document is another than the one of generation `after`. */
static inline struct device_desired wait_document(struct world *w, const char *device,
                                                  uint64_t after)
{
    const int64_t until_ms = clock_mono_ms() + WAIT_MS;
    struct device_desired desired = {.generation = 0};
    while (!document(w, device, &desired) || desired.generation <= after) {
        assert_true(clock_mono_ms() < until_ms);
        turn_for(w->loop, 10);
    }
    return desired;
}

static inline void assert_secret(const struct sealed_secret *secret, const struct device_keys *keys,
                                 const char *name, const char *value)
{
    uint8_t opened[4096];
    assert_string_equal(secret->app, "hello");
    assert_string_equal(secret->name, name);
    assert_int_equal(secret->sealed.len, strlen(value) + crypto_box_SEALBYTES);
    assert_int_equal(crypto_box_seal_open(opened, secret->sealed.ptr, secret->sealed.len,
                                          keys->public_key, keys->secret_key),
                     0);
    assert_memory_equal(opened, value, strlen(value));
}

/* What the CLI does. */
static inline enum err_code set_secret(struct world *w, const char *name, const char *scope,
                                       const char *value, bool rotate, struct secret_info *ret)
{
    const struct status_query query = {{0}};
    struct vault_key key;
    const enum err_code code =
        ask(w, "secret.key", &codec_status_query, &query, &codec_vault_key, &key);
    if (code != ERR_OK)
        return code;
    uint8_t *box = arena_alloc(&w->arena, strlen(value) + crypto_box_SEALBYTES);
    assert_int_equal(
        crypto_box_seal(box, (const uint8_t *)value, strlen(value), key.public_key.ptr), 0);
    const struct secret_put put = {.app = "hello",
                                   .name = name,
                                   .scope = scope,
                                   .sealed = bytes_of(box, strlen(value) + crypto_box_SEALBYTES),
                                   .rotate = rotate,
                                   .reason = "why not"};
    return ask(w, "secret.set", &codec_secret_put, &put, &codec_secret_info, ret);
}

static inline struct secret_info set_ok(struct world *w, const char *name, const char *scope,
                                        const char *value)
{
    struct secret_info info = {.version = 0};
    if (set_secret(w, name, scope, value, false, &info) != ERR_OK)
        fail_msg("setting %s: %s", name, w->error);
    return info;
}

static inline enum err_code remove_secret(struct world *w, const char *name, const char *scope,
                                          struct secret_list *ret)
{
    const struct secret_query query = {.app = "hello", .name = name, .scope = scope};
    return ask(w, "secret.rm", &codec_secret_query, &query, &codec_secret_list, ret);
}

static inline struct secret_list list_secrets(struct world *w)
{
    const struct secret_query query = {.app = ""};
    struct secret_list list = {.secrets_len = 0};
    ask_ok(w, "secret.ls", &codec_secret_query, &query, &codec_secret_list, &list);
    return list;
}

/* Until captain has looked at all devices, and so many of so many have confirmed secret i. */
static inline void wait_confirmed(struct world *w, size_t i, uint64_t confirmed, uint64_t devices)
{
    const int64_t until_ms = clock_mono_ms() + WAIT_MS;
    for (;;) {
        const struct secret_list list = list_secrets(w);
        assert_true(i < list.secrets_len);
        const struct secret_info *info = &list.secrets[i];
        if (!info->settling && info->confirmed == confirmed && info->devices == devices)
            return;
        if (clock_mono_ms() >= until_ms)
            fail_msg("%d of %d confirmed", (int)info->confirmed, (int)info->devices);
        turn_for(w->loop, 10);
    }
}

/* A health message of a device whose document of this generation is in force. */
static inline void device_has(struct world *w, const char *device, const char *channel,
                              uint64_t generation)
{
    char subject[64];
    struct bytes data;
    const struct app_status app = {.app = "hello", .channel = channel, .state = APP_STATE_HEALTHY};
    const struct health health = {.epoch = epoch,
                                  .sent_ms = 1,
                                  .agent_version = "0.1.0",
                                  .device_generation = generation,
                                  .apps = &app,
                                  .apps_len = 1};
    (void)snprintf(subject, sizeof subject, "health.%s", device);
    assert_ok(w, codec_encode(&codec_health, &health, &w->arena, &data, &w->err));
    assert_ok(w, bus_publish(w->bus, subject, data, NULL, NULL, &w->err));
}
