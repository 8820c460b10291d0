/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/operators.h"

#include <string.h>

#include "captain/io/settings.h"
#include "captain/io/store/trust.h"
#include "common/base/mem.h"
#include "common/log.h"
#include "common/nkey.h"
#include "proto/codec.h"

enum { ARENA_BYTES = 4 << 20 };

/* The first admin. */

static enum err_code any_known(struct db *db, struct arena *arena, bool *ret, struct err *err)
{
    struct store_operator *rows = NULL;
    size_t len = 0;
    const enum err_code code = store_operator_list(db, arena, &rows, &len, err);
    *ret = len > 0;
    return code;
}

static enum err_code write_first(const struct settings *settings, struct arena *arena,
                                 struct decision *ret, struct err *err)
{
    uint8_t key[SIGN_PUBLIC_BYTES] = {0};
    const struct operator_added added = {.name = settings->admin_name,
                                         .role = role_names[ROLE_ADMIN],
                                         .public_key = bytes_of(key, sizeof key),
                                         .expires_ms = settings->admin_expires_ms};
    const enum err_code code = nkey_parse_public(NKEY_USER, settings->admin_key, key, err);
    if (code != ERR_OK)
        return err_wrap(err, "captain.json: first_admin.key");
    *ret = (struct decision){.actor = "captain init",
                             .kind = "operator.added",
                             .subject = settings->admin_name,
                             .reason = ""};
    return codec_encode(&codec_operator_added, &added, arena, &ret->body, err);
}

static enum err_code prepare_first(void *arg, struct arena *arena, struct decision *ret,
                                   struct err *err)
{
    const struct captain *captain = arg;
    struct settings settings;
    bool known = false;
    enum err_code code = any_known(captain->db, arena, &known, err);
    if (code == ERR_OK && known)
        return err_set(err, ERR_CONFLICT, "there are operators already");
    if (code == ERR_OK)
        code = settings_load(captain->options.folder, arena, &settings, err);
    if (code == ERR_OK && !settings.admin_name)
        return err_set(err, ERR_CONFLICT, "captain.json names no first admin");
    return code ? code : write_first(&settings, arena, ret, err);
}

static void first_decided(void *arg, uint64_t seq, const struct err *err)
{
    (void)arg, (void)seq;
    if (err->code != ERR_OK && err->code != ERR_CONFLICT)
        log_err("the first admin is not in the log yet", err);
}

void operators_ready(struct captain *captain)
{
    struct arena arena DEFER(arena_fini) = {0};
    struct err err = {0};
    bool known = false;
    if (!captain->account)
        return;
    arena_init(&arena, ARENA_BYTES);
    enum err_code code = any_known(captain->db, &arena, &known, &err);
    if (code == ERR_OK && !known)
        code = decisions_submit(captain->decisions, prepare_first, first_decided, captain, &err);
    if (code != ERR_OK)
        log_err("the first admin is not in the log yet", &err);
}

/* Who is put out. */

static enum err_code make_void(struct captain *captain, struct bytes key, int64_t at_ms,
                               int64_t expires_ms, struct err *err)
{
    struct account_revocation revocation = {.at_s = at_ms / 1000,
                                            .until_s = expires_ms ? (expires_ms + 999) / 1000 : 0};
    if (key.len != SIGN_PUBLIC_BYTES)
        return ERR_OK; /* nobody had that name before */
    memcpy(revocation.key, key.ptr, SIGN_PUBLIC_BYTES);
    return account_revoke(captain->account, &revocation, err);
}

static enum err_code take_added(struct captain *captain, const struct log_entry *entry,
                                struct arena *arena, struct err *err)
{
    struct operator_added added;
    const enum err_code code = codec_decode(&codec_operator_added, entry->body, arena, &added, err);
    return code ? code
                : make_void(captain, added.replaces_key, entry->time_ms, added.replaces_expires_ms,
                            err);
}

static enum err_code take_removed(struct captain *captain, const struct log_entry *entry,
                                  struct arena *arena, struct err *err)
{
    struct operator_removed removed;
    struct store_operator row;
    enum err_code code = codec_decode(&codec_operator_removed, entry->body, arena, &removed, err);
    if (code == ERR_OK)
        code = store_operator_get(captain->db, removed.name, arena, &row, err);
    return code ? code
                : make_void(captain, removed.public_key, entry->time_ms, row.expires_ms, err);
}

void operators_committed(struct captain *captain, const struct log_entry *entry)
{
    struct arena arena DEFER(arena_fini) = {0};
    struct err err = {0};
    enum err_code code = ERR_OK;
    if (!captain->account || strncmp(entry->kind, "operator.", 9) != 0)
        return;
    arena_init(&arena, ARENA_BYTES);
    if (str_equal(entry->kind, "operator.added"))
        code = take_added(captain, entry, &arena, &err);
    else if (str_equal(entry->kind, "operator.removed"))
        code = take_removed(captain, entry, &arena, &err);
    if (code != ERR_OK)
        log_err("a credential that was taken away is not void yet", &err);
}
