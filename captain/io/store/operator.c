/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators.
 */
#include "captain/io/store/row.h"
#include "captain/io/store/sql/trust.sql.h"
#include "captain/io/store/trust.h"

enum err_code store_operator_put(struct db *db, const struct store_operator *who, struct err *err)
{
    return db_run(db,
                  db_stmt(db, SQL_OPERATOR_PUT, "ssbisii", who->name, who->role,
                          bytes_of(who->public_key, SIGN_PUBLIC_BYTES), who->added_ms,
                          who->added_by, who->expires_ms, (int64_t)who->decision),
                  err);
}

enum err_code store_operator_remove(struct db *db, const char *name, int64_t now_ms,
                                    struct err *err)
{
    const enum err_code code =
        db_run(db, db_stmt(db, SQL_OPERATOR_REMOVE, "si", name, now_ms), err);
    if (code == ERR_OK && db_changes(db) == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no operator %s", name);
    return code;
}

static void read_operator(struct store_row *row, void *ret_item)
{
    struct store_operator *ret = ret_item;
    ret->name = store_row_text(row, 0);
    ret->role = store_row_text(row, 1);
    if (!store_row_digest(row, 2, ret->public_key))
        row->failed = true;
    ret->added_ms = db_int(row->stmt, 3);
    ret->added_by = store_row_text(row, 4);
    ret->expires_ms = db_int(row->stmt, 5);
    ret->decision = (uint64_t)db_int(row->stmt, 6);
    ret->removed_ms = db_int(row->stmt, 7);
}

static const struct store_row_kind operator_kind = {read_operator, sizeof(struct store_operator)};

enum err_code store_operator_get(struct db *db, const char *name, struct arena *arena,
                                 struct store_operator *ret, struct err *err)
{
    struct store_row row = {.stmt = db_stmt(db, SQL_OPERATOR_GET, "s", name), .arena = arena};
    const enum err_code code = store_row_get(db, &row, &operator_kind, ret, err);
    if (code == ERR_NOT_FOUND)
        return err_set(err, code, "there is no operator %s", name);
    return code;
}

enum err_code store_operator_list(struct db *db, struct arena *arena, struct store_operator **ret,
                                  size_t *ret_len, struct err *err)
{
    struct store_row row = {.stmt = db_stmt(db, SQL_OPERATOR_LIST, ""), .arena = arena};
    return store_row_list(db, &row, &operator_kind, ret, ret_len, err);
}
