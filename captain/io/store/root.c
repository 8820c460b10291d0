/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/store/root.h"

#include "captain/io/store/row.h"
#include "captain/io/store/sql/root.sql.h"

enum err_code store_root_add(struct db *db, const struct store_root *root, struct err *err)
{
    return db_run(db,
                  db_stmt(db, SQL_ROOT_ADD, "ibiissi", (int64_t)root->version, root->envelope,
                          root->expires_ms, root->at_ms, root->by, root->reason,
                          (int64_t)root->decision),
                  err);
}

static void read_root(struct store_row *row, void *ret_item)
{
    struct store_root *ret = ret_item;
    ret->version = (uint64_t)db_int(row->stmt, 0);
    ret->envelope = store_row_bytes(row, 1);
    ret->expires_ms = db_int(row->stmt, 2);
    ret->at_ms = db_int(row->stmt, 3);
    ret->by = store_row_text(row, 4);
    ret->reason = store_row_text(row, 5);
    ret->decision = (uint64_t)db_int(row->stmt, 6);
}

static const struct store_row_kind root_kind = {read_root, sizeof(struct store_root)};

enum err_code store_root_get(struct db *db, uint64_t version, struct arena *arena,
                             struct store_root *ret, struct err *err)
{
    struct store_row row = {.arena = arena};
    row.stmt = version > 0 ? db_stmt(db, SQL_ROOT_GET, "i", (int64_t)version)
                           : db_stmt(db, SQL_ROOT_NEWEST, "");
    const enum err_code code = store_row_get(db, &row, &root_kind, ret, err);
    if (code == ERR_NOT_FOUND)
        return err_set(err, code, "there is no root version %llu", (unsigned long long)version);
    return code;
}

enum err_code store_root_list(struct db *db, struct arena *arena, struct store_root **ret,
                              size_t *ret_len, struct err *err)
{
    struct store_row row = {.stmt = db_stmt(db, SQL_ROOT_LIST, "i", (int64_t)STORE_ROOTS_MAX),
                            .arena = arena};
    return store_row_list(db, &row, &root_kind, ret, ret_len, err);
}
