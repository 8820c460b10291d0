/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/store/flag.h"

#include "captain/io/store/row.h"
#include "captain/io/store/sql/flag.sql.h"

enum err_code store_flag_set(struct db *db, const struct flag_set *flag, const char *set_by,
                             int64_t now_ms, uint64_t decision, struct err *err)
{
    return db_run(db,
                  db_stmt(db, SQL_FLAG_SET, "sssssisisi", flag->app, flag->channel, flag->name,
                          flag->value, flag->otherwise, (int64_t)flag->permyriad, flag->salt,
                          now_ms, set_by, (int64_t)decision),
                  err);
}

enum err_code store_flag_unset(struct db *db, const struct flag_unset *flag, struct err *err)
{
    return db_run(db, db_stmt(db, SQL_FLAG_UNSET, "sss", flag->app, flag->channel, flag->name),
                  err);
}

static void read_row(struct store_row *row, void *ret_item)
{
    struct store_flag *ret = ret_item;
    *ret = (struct store_flag){
        .app = store_row_text(row, 0),
        .channel = store_row_text(row, 1),
        .name = store_row_text(row, 2),
        .value = store_row_text(row, 3),
        .otherwise = store_row_text(row, 4),
        .permyriad = (uint32_t)db_int(row->stmt, 5),
        .salt = store_row_text(row, 6),
        .set_ms = db_int(row->stmt, 7),
        .set_by = store_row_text(row, 8),
        .decision = (uint64_t)db_int(row->stmt, 9),
    };
}

static const struct store_row_kind flag_kind = {read_row, sizeof(struct store_flag)};

enum err_code store_flag_list(struct db *db, const char *app, const char *channel,
                              struct arena *arena, struct store_flag **ret, size_t *ret_len,
                              struct err *err)
{
    struct db_stmt *stmt = app[0] ? db_stmt(db, SQL_FLAG_LIST_CHANNEL, "ss", app, channel)
                                  : db_stmt(db, SQL_FLAG_LIST, "");
    struct store_row row = {.stmt = stmt, .arena = arena};
    return store_row_list(db, &row, &flag_kind, ret, ret_len, err);
}
