/* SPDX-License-Identifier: Apache-2.0
 *
 * One look at one device: what it should have against what its document carries.
 */
#include <string.h>

#include "captain/io/store/rollout.h"
#include "captain/io/store/trust.h"
#include "captain/secrets_private.h"
#include "common/clock.h"
#include "common/log.h"
#include "proto/codec.h"

struct look {
    struct secrets *secrets;
    const char *device;
    struct bytes key; /* X25519; empty: it has not enrolled */
    size_t chosen_len;
    struct store_secret_device *rows;
    size_t rows_len;
    size_t sent, sent_bytes; /* what the document will carry */
    bool touched;            /* a row was written */
    bool changed;            /* the document must be issued again */
};

/* Who it is. One that was put out gets nothing more, and what it has is taken back. */
static enum err_code read_identity(struct look *look, bool *ret_out, struct err *err)
{
    struct store_identity *identity = arena_alloc(&look->secrets->look_arena, sizeof *identity);
    struct err absent = {0};
    if (!identity)
        return err_set(err, ERR_SIZE, "the identity of a device takes too much memory");
    const enum err_code code = store_identity_get(look->secrets->db, look->device,
                                                  &look->secrets->look_arena, identity, &absent);
    if (code != ERR_OK && code != ERR_NOT_FOUND)
        return err_set(err, code, "%s", absent.text);
    *ret_out = code == ERR_OK && !str_equal(identity->state, "approved") &&
               !str_equal(identity->state, "pending");
    if (code == ERR_OK && str_equal(identity->state, "approved"))
        look->key = bytes_of(identity->seal_key, SIGN_PUBLIC_BYTES);
    return ERR_OK;
}

static void choose(struct look *look, uint32_t device)
{
    struct secrets *s = look->secrets;
    struct fleet_row row;
    struct secret_app apps[FLEET_APPS_MAX];
    char names[FLEET_APPS_MAX][2][TOKEN_MAX + 1];
    size_t len = 0;
    fleet_row(s->fleet, device, &row);
    for (size_t i = 0; i < row.apps_len; i++) {
        if (str_split_pair(row.apps[i].channel, '/', names[len][0], names[len][1], NULL) != ERR_OK)
            continue;
        apps[len] = (struct secret_app){names[len][0], names[len][1]};
        len++;
    }
    look->chosen_len = secret_choose(s->rules, s->list_len, look->device, apps, len, s->chosen);
}

/* Writing rows. */

static bool has_room(struct look *look, size_t sealed_bytes)
{
    /* app, name, version and the fields' heads beside the box */
    const size_t bytes = sealed_bytes + TOKEN_MAX + 128 + 32;
    if (sealed_bytes == 0)
        return true;
    if (look->sent == SECRETS_DEVICE_MAX || look->sent_bytes + bytes > SECRETS_DEVICE_MAX_BYTES) {
        log_write(LOG_LEVEL_ERROR,
                  "device %s does not get all its secrets: one document carries at most %d of them "
                  "and %d bytes",
                  look->device, SECRETS_DEVICE_MAX, SECRETS_DEVICE_MAX_BYTES);
        return false;
    }
    look->sent++;
    look->sent_bytes += bytes;
    return true;
}

static bool is_same(const struct store_secret_device *row, const struct store_secret *secret)
{
    return row->version == secret->version && str_equal(row->scope, secret->scope);
}

/* An empty box: it cannot be made now. */
static struct bytes seal(struct look *look, const struct store_secret *secret)
{
    struct secrets *s = look->secrets;
    struct bytes sealed = {0};
    struct err err = {0};
    if (!s->vault || look->key.len != VAULT_KEY_BYTES)
        return sealed;
    if (vault_reseal(s->vault, secret->digest, look->key.ptr, &s->look_arena, &sealed, &err) ==
        ERR_OK)
        return sealed;
    (void)err_wrap(&err, "secret %s/%s, for device %s", secret->app, secret->name, look->device);
    log_err("not delivered", &err);
    return (struct bytes){0};
}

/* row: what it has of that name, or NULL. The same box goes on for as long as it is good, and an older
 * value for as long as the new one cannot be sealed. */
static enum err_code put(struct look *look, const struct store_secret_device *row,
                         const struct store_secret *secret, struct err *err)
{
    const bool good = row && row->sealed.len > 0 && bytes_equal(row->seal_key, look->key);
    struct bytes box = {0};
    if (!good || !is_same(row, secret))
        box = seal(look, secret);
    const bool kept = good && box.len == 0;
    if (!has_room(look, kept ? row->sealed.len : box.len))
        box = (struct bytes){0};
    else if (kept)
        return ERR_OK;
    if (box.len == 0 && row && row->version == 0 && str_equal(row->scope, secret->scope))
        return ERR_OK; /* it still waits */
    look->touched = true;
    look->changed = look->changed || box.len > 0 || (row && row->sealed.len > 0);
    const struct store_secret_device fresh = {.app = secret->app,
                                              .name = secret->name,
                                              .scope = secret->scope,
                                              .version = box.len ? secret->version : 0,
                                              .seal_key = look->key,
                                              .sealed = box};
    return store_secret_device_put(look->secrets->db, look->device, &fresh, err);
}

static enum err_code drop(struct look *look, const struct store_secret_device *row, struct err *err)
{
    look->touched = true;
    look->changed = look->changed || row->sealed.len > 0;
    return store_secret_device_drop(look->secrets->db, look->device, row->app, row->name, err);
}

static int compare(const struct store_secret_device *row, const struct store_secret *secret)
{
    const int by_app = strcmp(row->app, secret->app);
    return by_app ? by_app : strcmp(row->name, secret->name);
}

/* Rows and choice side by side; both are in the order of app and name. */
static enum err_code merge(struct look *look, struct err *err)
{
    struct secrets *s = look->secrets;
    enum err_code code = ERR_OK;
    size_t r = 0, c = 0;
    while (code == ERR_OK && (r < look->rows_len || c < look->chosen_len)) {
        const struct store_secret_device *row = r < look->rows_len ? &look->rows[r] : NULL;
        const struct store_secret *secret = c < look->chosen_len ? &s->list[s->chosen[c]] : NULL;
        const int order = !row ? 1 : !secret ? -1 : compare(row, secret);
        if (order < 0)
            code = drop(look, row, err);
        else
            code = put(look, order == 0 ? row : NULL, secret, err);
        r += order <= 0;
        c += order >= 0;
    }
    return code;
}

/* After it. */

static enum err_code issue(struct look *look, struct err *err)
{
    struct secrets *s = look->secrets;
    const struct device_set nothing_said = {.device = look->device};
    struct bytes body;
    enum err_code code = codec_encode(&codec_device_set, &nothing_said, &s->look_arena, &body, err);
    if (code == ERR_OK)
        code = store_device_set_ensure(s->db, look->device, body, err);
    if (code == ERR_OK)
        code = desired_devices_issue(s->desired, look->device, err);
    if (code == ERR_SIZE) { /* with all its labels and pins */
        log_err("secrets of a device", err);
        *err = (struct err){0};
        return ERR_OK;
    }
    s->issued = s->issued || code == ERR_OK;
    return code;
}

static enum err_code confirm(struct look *look, struct secrets_device *at, struct err *err)
{
    struct db *db = look->secrets->db;
    enum err_code code = store_secret_device_waits(db, look->device, &at->waits, err);
    if (code != ERR_OK || at->waits == 0 || at->heard < at->waits)
        return code;
    code = store_secret_device_confirm(db, look->device, at->heard, err);
    return code ? code : store_secret_device_waits(db, look->device, &at->waits, err);
}

enum err_code secrets_look(struct secrets *s, uint32_t device, struct secrets_device *at,
                           struct err *err)
{
    struct look look = {.secrets = s, .device = fleet_device_name(s->fleet, device)};
    bool out = false;
    arena_reset(&s->look_arena);
    enum err_code code = read_identity(&look, &out, err);
    if (code == ERR_OK && !out)
        choose(&look, device);
    if (code == ERR_OK)
        code = store_secret_device_list(s->db, look.device, &s->look_arena, &look.rows,
                                        &look.rows_len, err);
    if (code == ERR_OK)
        code = merge(&look, err);
    s->any = s->any || look.touched;
    if (code == ERR_OK && look.changed)
        code = issue(&look, err);
    if (code == ERR_OK && (look.rows_len > 0 || look.touched))
        code = confirm(&look, at, err);
    return code;
}
