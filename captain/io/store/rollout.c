/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/store/rollout.h"

#include <string.h>

#include "captain/io/store/row.h"
#include "captain/io/store/sql/rollout.sql.h"

static enum err_code not_known(const char *id, struct err *err)
{
    return err_set(err, ERR_NOT_FOUND, "rollout %s is not known here", id);
}

enum err_code store_rollout_add(struct db *db, const struct store_rollout *rollout, struct err *err)
{
    struct bytes digest = bytes_of(rollout->digest, DIGEST_BYTES);
    struct bytes base = bytes_of(rollout->base_digest, DIGEST_BYTES);
    struct db_stmt *stmt;
    if (rollout->has_base)
        stmt = db_stmt(db, SQL_ROLLOUT_ADD, "sssbbssisssii", rollout->id, rollout->app,
                       rollout->channel, digest, base, rollout->policy_name, rollout->policy,
                       (int64_t)rollout->seed, rollout->supersedes, rollout->started_by,
                       rollout->reason, rollout->started_ms, (int64_t)rollout->decision);
    else
        stmt = db_stmt(db, SQL_ROLLOUT_ADD, "sssbnssisssii", rollout->id, rollout->app,
                       rollout->channel, digest, rollout->policy_name, rollout->policy,
                       (int64_t)rollout->seed, rollout->supersedes, rollout->started_by,
                       rollout->reason, rollout->started_ms, (int64_t)rollout->decision);
    return db_run(db, stmt, err);
}

/* An update that must find its row. */
static enum err_code update(struct db *db, struct db_stmt *stmt, const char *id, struct err *err)
{
    enum err_code code = db_run(db, stmt, err);
    return code == ERR_OK && db_changes(db) == 0 ? not_known(id, err) : code;
}

enum err_code store_rollout_published(struct db *db, const struct rollout_published *published,
                                      struct bytes encoded, uint64_t decision, struct err *err)
{
    return update(db,
                  db_stmt(db, SQL_ROLLOUT_PUBLISHED, "siiiiib", published->id,
                          (int64_t)published->effect, (int64_t)decision,
                          (int64_t)published->to_base, (int64_t)published->wave,
                          (int64_t)published->cut, encoded),
                  published->id, err);
}

enum err_code store_rollout_effect(struct db *db, const char *id, uint64_t effect, struct err *err)
{
    return update(db, db_stmt(db, SQL_ROLLOUT_EFFECT, "si", id, (int64_t)effect), id, err);
}

enum err_code store_rollout_moved(struct db *db, const struct rollout_moved *moved, int64_t now_ms,
                                  struct err *err)
{
    return update(db,
                  db_stmt(db, SQL_ROLLOUT_MOVED, "sisi", moved->id, (int64_t)moved->effect,
                          moved->to, moved->finished ? now_ms : 0),
                  moved->id, err);
}

enum err_code store_rollout_reopen(struct db *db, const char *id, struct err *err)
{
    return update(db, db_stmt(db, SQL_ROLLOUT_REOPEN, "s", id), id, err);
}

static void read_progress(struct store_row *row, struct store_rollout *ret)
{
    ret->started_ms = db_int(row->stmt, 11);
    ret->ended_ms = db_int(row->stmt, 12);
    ret->state = store_row_text(row, 13);
    ret->decision = (uint64_t)db_int(row->stmt, 14);
    ret->effects = (uint64_t)db_int(row->stmt, 15);
    ret->published_decision = (uint64_t)db_int(row->stmt, 16);
    ret->published = ret->published_decision > 0;
    ret->to_base = db_int(row->stmt, 17) != 0;
    ret->wave = (uint32_t)db_int(row->stmt, 18);
    ret->cut = (uint64_t)db_int(row->stmt, 19);
    ret->cohort = store_row_bytes(row, 20);
    ret->inputs = (uint64_t)db_int(row->stmt, 21);
}

static void read_row(struct store_row *row, void *ret_item)
{
    struct store_rollout *ret = ret_item;
    ret->id = store_row_text(row, 0);
    ret->app = store_row_text(row, 1);
    ret->channel = store_row_text(row, 2);
    (void)store_row_digest(row, 3, ret->digest);
    ret->has_base = store_row_digest(row, 4, ret->base_digest);
    ret->policy_name = store_row_text(row, 5);
    ret->policy = store_row_text(row, 6);
    ret->seed = (uint64_t)db_int(row->stmt, 7);
    ret->supersedes = store_row_text(row, 8);
    ret->started_by = store_row_text(row, 9);
    ret->reason = store_row_text(row, 10);
    read_progress(row, ret);
}

static const struct store_row_kind rollout_kind = {read_row, sizeof(struct store_rollout)};

/* ERR_NOT_FOUND without a sentence. */
static enum err_code get_one(struct db *db, struct db_stmt *stmt, struct arena *arena,
                             struct store_rollout *ret, struct err *err)
{
    struct store_row row = {.stmt = stmt, .arena = arena};
    return store_row_get(db, &row, &rollout_kind, ret, err);
}

enum err_code store_rollout_get(struct db *db, const char *id, struct arena *arena,
                                struct store_rollout *ret, struct err *err)
{
    enum err_code code = get_one(db, db_stmt(db, SQL_ROLLOUT_GET, "s", id), arena, ret, err);
    return code == ERR_NOT_FOUND ? not_known(id, err) : code;
}

enum err_code store_rollout_steering(struct db *db, const char *app, const char *channel,
                                     struct arena *arena, struct store_rollout *ret,
                                     struct err *err)
{
    enum err_code code =
        get_one(db, db_stmt(db, SQL_ROLLOUT_STEERING, "ss", app, channel), arena, ret, err);
    if (code == ERR_NOT_FOUND)
        return err_set(err, code, "no rollout of %s/%s was ever published", app, channel);
    return code;
}

static enum err_code list_stmt(struct db *db, const char *channel, bool live, uint32_t limit,
                               struct db_stmt **ret, struct err *err)
{
    char app[TOKEN_MAX + 1], name[TOKEN_MAX + 1];
    const int64_t rows = limit > 0 ? (int64_t)limit : -1; /* -1: no limit */
    if (!channel[0]) {
        *ret = db_stmt(db, live ? SQL_ROLLOUT_LIST_LIVE : SQL_ROLLOUT_LIST, "i", rows);
        return ERR_OK;
    }
    enum err_code code = str_split_pair(channel, '/', app, name, err);
    if (code == ERR_OK)
        *ret = db_stmt(db, live ? SQL_ROLLOUT_LIST_CHANNEL_LIVE : SQL_ROLLOUT_LIST_CHANNEL, "ssi",
                       app, name, rows);
    return code;
}

enum err_code store_rollout_list(struct db *db, const char *channel, bool live, uint32_t limit,
                                 struct arena *arena, struct store_rollout **ret, size_t *ret_len,
                                 struct err *err)
{
    struct store_row row = {.arena = arena};
    enum err_code code = list_stmt(db, channel, live, limit, &row.stmt, err);
    if (code != ERR_OK)
        return code;
    return store_row_list(db, &row, &rollout_kind, ret, ret_len, err);
}

/* Inputs. */

enum err_code store_rollout_input_add(struct db *db, const char *id, uint64_t number,
                                      struct bytes input, struct err *err)
{
    return db_run(db, db_stmt(db, SQL_ROLLOUT_INPUT_ADD, "sib", id, (int64_t)number, input), err);
}

enum err_code store_rollout_inputs(struct db *db, const char *id, uint64_t from,
                                   store_rollout_input_fn fn, void *arg, struct err *err)
{
    struct db_stmt *stmt = db_stmt(db, SQL_ROLLOUT_INPUTS, "si", id, (int64_t)from);
    bool go_on = true;
    /* Read to the end even when fn has enough: a half-read statement would keep its snapshot. */
    while (db_row(db, stmt, err))
        go_on = go_on && fn(arg, (uint64_t)db_int(stmt, 0), db_bytes(stmt, 1));
    return err->code;
}

static void read_input(struct store_row *row, void *ret_item)
{
    *(struct bytes *)ret_item = store_row_bytes(row, 0);
}

static const struct store_row_kind input_kind = {read_input, sizeof(struct bytes)};

enum err_code store_rollout_input_get(struct db *db, const char *id, uint64_t number,
                                      struct arena *arena, struct bytes *ret, struct err *err)
{
    struct store_row row = {.stmt = db_stmt(db, SQL_ROLLOUT_INPUT_GET, "si", id, (int64_t)number),
                            .arena = arena};
    const enum err_code code = store_row_get(db, &row, &input_kind, ret, err);
    if (code == ERR_NOT_FOUND)
        return err_set(err, code, "rollout %s has no input %llu", id, (unsigned long long)number);
    return code;
}

enum err_code store_rollout_inputs_len(struct db *db, const char *id, uint64_t *ret,
                                       struct err *err)
{
    struct db_stmt *stmt = db_stmt(db, SQL_ROLLOUT_INPUTS_LEN, "s", id);
    enum err_code code = store_row_one(db, stmt, err);
    if (code != ERR_OK)
        return code;
    *ret = (uint64_t)db_int(stmt, 0);
    store_row_end(db, stmt);
    return ERR_OK;
}
