/* SPDX-License-Identifier: Apache-2.0
 *
 * Join tokens.
 */
#include "captain/io/store/row.h"
#include "captain/io/store/sql/trust.sql.h"
#include "captain/io/store/trust.h"

enum err_code store_token_add(struct db *db, const struct store_token *token, struct err *err)
{
    return db_run(db,
                  db_stmt(db, SQL_TOKEN_ADD, "sbsbiiiisi", token->id,
                          bytes_of(token->public_key, SIGN_PUBLIC_BYTES), token->site, token->body,
                          (int64_t)token->uses, (int64_t)token->approval, token->created_ms,
                          token->expires_ms, token->created_by, (int64_t)token->decision),
                  err);
}

static void read_token(struct store_row *row, void *ret_item)
{
    struct store_token *ret = ret_item;
    ret->id = store_row_text(row, 0);
    if (!store_row_digest(row, 1, ret->public_key))
        row->failed = true;
    ret->site = store_row_text(row, 2);
    ret->body = store_row_bytes(row, 3);
    ret->uses = (uint32_t)db_int(row->stmt, 4);
    ret->used = (uint32_t)db_int(row->stmt, 5);
    ret->approval = db_int(row->stmt, 6) != 0;
    ret->created_ms = db_int(row->stmt, 7);
    ret->expires_ms = db_int(row->stmt, 8);
    ret->revoked_ms = db_int(row->stmt, 9);
    ret->created_by = store_row_text(row, 10);
    ret->decision = (uint64_t)db_int(row->stmt, 11);
}

static const struct store_row_kind token_kind = {read_token, sizeof(struct store_token)};

enum err_code store_token_get(struct db *db, const char *id, struct arena *arena,
                              struct store_token *ret, struct err *err)
{
    struct store_row row = {.stmt = db_stmt(db, SQL_TOKEN_GET, "s", id), .arena = arena};
    const enum err_code code = store_row_get(db, &row, &token_kind, ret, err);
    if (code == ERR_NOT_FOUND)
        return err_set(err, code, "there is no join token %s", id);
    return code;
}

enum err_code store_token_list(struct db *db, const char *prefix, uint32_t limit,
                               struct arena *arena, struct store_token **ret, size_t *ret_len,
                               struct err *err)
{
    struct store_row row = {.stmt = db_stmt(db, SQL_TOKEN_LIST, "si", prefix, (int64_t)limit),
                            .arena = arena};
    return store_row_list(db, &row, &token_kind, ret, ret_len, err);
}

static enum err_code changed(const struct db *db, enum err_code code, const char *id,
                             struct err *err)
{
    if (code == ERR_OK && db_changes(db) == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no join token %s", id);
    return code;
}

enum err_code store_token_use(struct db *db, const char *id, struct err *err)
{
    return changed(db, db_run(db, db_stmt(db, SQL_TOKEN_USE, "s", id), err), id, err);
}

enum err_code store_token_revoke(struct db *db, const char *id, int64_t now_ms, struct err *err)
{
    return changed(db, db_run(db, db_stmt(db, SQL_TOKEN_REVOKE, "si", id, now_ms), err), id, err);
}
