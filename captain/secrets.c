/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/secrets.h"

#include <string.h>

#include "captain/io/store/secret.h"
#include "captain/secrets_private.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/clock.h"
#include "common/log.h"
#include "proto/codec.h"

enum {
    SLICE_MS = 5,        /* of looks between two other turns of the loop */
    SLICE_DEVICES = 256, /* and of rows in one transaction */
    GARBAGE_ARENA_BYTES = 1 << 20,
};
#define DAY_MS INT64_C(86400000)

static void on_work(void *arg);

static void work_soon(struct secrets *s)
{
    if (s->work.slot == 0)
        loop_timer_at(s->loop, &s->work, loop_now_ms(s->loop), on_work, s);
}

/* Which devices. */

static struct secrets_device *device_at(struct secrets *s, uint32_t device)
{
    if (device >= s->devices_cap) {
        const uint32_t cap = device + device / 2 + 64;
        s->devices = mem_grow(s->devices, s->devices_cap, cap, sizeof *s->devices);
        s->devices_cap = cap;
    }
    return &s->devices[device];
}

static void enqueue(struct secrets *s, uint32_t device)
{
    struct secrets_device *at = device_at(s, device);
    if (at->queued)
        return;
    at->queued = true;
    if (s->queue_len == s->queue_cap) {
        const uint32_t cap = s->queue_cap + s->queue_cap / 2 + 64;
        s->queue = mem_grow(s->queue, s->queue_cap, cap, sizeof *s->queue);
        s->queue_cap = cap;
    }
    s->queue[s->queue_len++] = device;
    work_soon(s);
}

static void look_at_all(struct secrets *s)
{
    s->pass_next = 0;
    s->pass_end = fleet_len(s->fleet);
    work_soon(s);
}

/* False: none is left. */
static bool next_device(struct secrets *s, uint32_t *ret)
{
    if (s->queue_len > 0) {
        *ret = s->queue[--s->queue_len];
        s->devices[*ret].queued = false;
        return true;
    }
    *ret = s->pass_next;
    return s->pass_next < s->pass_end && s->pass_next++ < UINT32_MAX;
}

bool secrets_settling(const struct secrets *s)
{
    return s->queue_len > 0 || s->pass_next < s->pass_end;
}

/* What is set now. */

enum err_code secrets_load(struct secrets *s, struct err *err)
{
    struct store_secret *list = NULL;
    size_t len = 0;
    arena_reset(&s->list_arena);
    s->list_len = 0;
    enum err_code code = store_secret_list(s->db, "", "", &s->list_arena, &list, &len, err);
    struct secret_rule *rules =
        code == ERR_OK ? arena_alloc(&s->list_arena, (len + 1) * sizeof *rules) : NULL;
    uint32_t *chosen =
        code == ERR_OK ? arena_alloc(&s->list_arena, (len + 1) * sizeof *chosen) : NULL;
    if (code != ERR_OK)
        return code;
    if (!rules || !chosen)
        return err_set(err, ERR_SIZE, "the names of all secrets take too much memory");
    for (size_t i = 0; i < len; i++)
        rules[i] = (struct secret_rule){list[i].app, list[i].name, list[i].scope};
    s->list = list;
    s->rules = rules;
    s->chosen = chosen;
    s->list_len = len;
    return store_secret_device_any(s->db, &s->any, err);
}

/* Looks, in slices. What fails in the tables poisons the turn's transaction, whose end tells it. */

static enum err_code slice(struct secrets *s, struct err *err)
{
    const int64_t until_ms = clock_mono_ms() + SLICE_MS;
    enum err_code code = ERR_OK;
    uint32_t device;
    for (int n = 0; code == ERR_OK && n < SLICE_DEVICES && clock_mono_ms() <= until_ms; n++) {
        if (!next_device(s, &device))
            break;
        code = secrets_look(s, device, device_at(s, device), err);
    }
    return code == ERR_OK ? db_commit(s->db, err) : code;
}

static void on_work(void *arg)
{
    struct secrets *s = arg;
    struct err err = {0};
    s->issued = false;
    if (slice(s, &err) != ERR_OK) {
        log_err("secrets of devices", &err);
        return; /* the next change, or the daily look, goes on */
    }
    if (s->issued)
        desired_devices_send(s->desired);
    if (secrets_settling(s))
        work_soon(s);
}

static void on_day(void *arg)
{
    struct secrets *s = arg;
    if (s->list_len > 0 || s->any)
        look_at_all(s);
    loop_timer_at(s->loop, &s->day, loop_now_ms(s->loop) + DAY_MS, on_day, s);
}

/* Files that no secret names any more. */

static bool is_named(void *arg, const uint8_t digest[DIGEST_BYTES])
{
    struct secrets *s = arg;
    struct err err = {0};
    bool named = true; /* when in doubt it stays */
    if (store_secret_named(s->db, digest, &named, &err) != ERR_OK)
        log_err("secret/", &err);
    return named;
}

static enum err_code remove_garbage(struct secrets *s, struct err *err)
{
    const uint8_t(*digests)[DIGEST_BYTES] = NULL;
    size_t len = 0;
    struct arena arena DEFER(arena_fini) = {0};
    arena_init(&arena, GARBAGE_ARENA_BYTES);
    enum err_code code = store_secret_garbage(s->db, &arena, &digests, &len, err);
    for (size_t i = 0; code == ERR_OK && i < len; i++) {
        if (!is_named(s, digests[i])) /* set again meanwhile? */
            code = vault_remove(s->folder, digests[i], err);
        if (code == ERR_OK)
            code = store_secret_garbage_gone(s->db, digests[i], err);
    }
    return code == ERR_OK ? db_commit(s->db, err) : code;
}

static void changed(struct secrets *s)
{
    struct err err = {0};
    if (secrets_load(s, &err) != ERR_OK || remove_garbage(s, &err) != ERR_OK)
        log_err("secrets after a decision", &err);
    look_at_all(s);
}

/* Events. */

/* One that has never spoken has no apps yet, nor one that was out: its first word comes here. */
static void identity_changed(struct secrets *s, const struct log_entry *entry)
{
    const uint32_t device = fleet_find(s->fleet, entry->subject);
    if (device == FLEET_NONE)
        return;
    device_at(s, device)->apps = 0;
    if (s->list_len > 0 || s->any)
        enqueue(s, device);
}

void secrets_committed(struct secrets *s, const struct log_entry *entry)
{
    static const char *const identity[] = {"device.enrolled", "device.approved", "device.rejected",
                                           "device.revoked", "device.retired"};
    if (str_equal(entry->kind, "secret.set") || str_equal(entry->kind, "secret.removed"))
        changed(s);
    for (size_t i = 0; i < ARRAY_LEN(identity); i++)
        if (str_equal(entry->kind, identity[i]))
            identity_changed(s, entry);
}

void secrets_connected(struct secrets *s)
{
    struct err err = {0};
    if (s->connected)
        return;
    s->connected = true;
    if (vault_sweep(s->folder, is_named, s, &err) != ERR_OK)
        log_err("files of secrets that nobody names", &err);
    err = (struct err){0};
    if (secrets_load(s, &err) != ERR_OK)
        log_err("secrets", &err);
    if (s->list_len > 0 && !s->vault)
        log_write(LOG_LEVEL_ERROR,
                  "%zu secrets are set, but there is no master key: no device gets a new one",
                  s->list_len);
    on_day(s);
}

static uint64_t hash_apps(const struct health *health)
{
    uint64_t hash = 1;
    for (size_t i = 0; i < health->apps_len; i++) {
        hash = rng_hash(hash, health->apps[i].app, strlen(health->apps[i].app));
        hash = rng_hash(hash, health->apps[i].channel, strlen(health->apps[i].channel));
    }
    return hash;
}

void secrets_health(struct secrets *s, uint32_t device, const struct health *health)
{
    struct secrets_device *at = device_at(s, device);
    const uint64_t apps = hash_apps(health);
    const bool confirms = at->waits > 0 && health->device_generation >= at->waits;
    at->heard = health->device_generation;
    if ((at->apps != apps && (s->list_len > 0 || s->any)) || confirms)
        enqueue(s, device);
    at->apps = apps;
}

/* Opening. */

/* With no secret left a new master key may take over. */
static enum err_code check_key(struct secrets *s, struct err *err)
{
    uint8_t now[DIGEST_BYTES], before[DIGEST_BYTES];
    struct err absent = {0};
    if (!s->vault)
        return ERR_OK;
    vault_check(s->vault, now);
    enum err_code code = store_vault_check_get(s->db, before, &absent);
    if (code != ERR_OK && code != ERR_NOT_FOUND)
        return err_set(err, code, "%s", absent.text);
    if (code == ERR_OK && memcmp(now, before, DIGEST_BYTES) == 0)
        return ERR_OK;
    if (code == ERR_OK && s->list_len > 0) {
        (void)err_set(err, ERR_DENIED,
                      "the master key is not the one that sealed this fleet's %zu secrets",
                      s->list_len);
        return err_hint(err, "bring back the old key; or start without master_key, captain secret "
                             "rm all of them, and set them anew");
    }
    code = store_vault_check_put(s->db, now, err);
    return code ? code : db_commit(s->db, err);
}

enum err_code secrets_open(const struct secrets_parts *parts, struct secrets **ret, struct err *err)
{
    struct secrets *s = mem_new(1, sizeof *s);
    *s = (struct secrets){.loop = parts->loop,
                          .db = parts->db,
                          .fleet = parts->fleet,
                          .desired = parts->devices,
                          .vault = parts->vault,
                          .folder = mem_strdup(parts->folder)};
    arena_init(&s->list_arena, SECRETS_LIST_ARENA_BYTES);
    arena_init(&s->look_arena, SECRETS_LOOK_ARENA_BYTES);
    enum err_code code = secrets_load(s, err);
    if (code == ERR_OK)
        code = check_key(s, err);
    if (code != ERR_OK) {
        secrets_close(s);
        return code;
    }
    *ret = s;
    return ERR_OK;
}

void secrets_close(struct secrets *s)
{
    if (!s)
        return;
    loop_timer_stop(&s->work);
    loop_timer_stop(&s->day);
    arena_fini(&s->list_arena);
    arena_fini(&s->look_arena);
    mem_free(s->devices);
    mem_free(s->queue);
    mem_free(s->folder);
    mem_free(s);
}
