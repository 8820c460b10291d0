/* SPDX-License-Identifier: Apache-2.0
 *
 * Maintenance windows of sites.
 */
#include "captain/io/store/rollout.h"
#include "captain/io/store/row.h"
#include "captain/io/store/sql/policy.sql.h"

enum err_code store_site_set(struct db *db, const struct site_windows *site, const char *set_by,
                             int64_t now_ms, struct err *err)
{
    if (!site->windows[0])
        return db_run(db, db_stmt(db, SQL_SITE_CLEAR, "s", site->site), err);
    return db_run(db, db_stmt(db, SQL_SITE_SET, "ssis", site->site, site->windows, now_ms, set_by),
                  err);
}

enum err_code store_site_list(struct db *db, struct arena *arena, struct site_info **ret,
                              size_t *ret_len, struct err *err)
{
    struct store_row row = {.stmt = db_stmt(db, SQL_SITE_LIST, ""), .arena = arena};
    struct store_rows rows = {.arena = arena, .item_bytes = sizeof(struct site_info)};
    while (db_row(db, row.stmt, err)) {
        struct site_info *item = row.failed ? NULL : store_rows_add(&rows);
        if (item) {
            item->site = store_row_text(&row, 0);
            item->windows = store_row_text(&row, 1);
            item->since_ms = db_int(row.stmt, 2);
            item->set_by = store_row_text(&row, 3);
        }
        row.failed = row.failed || !item;
    }
    if (err->code != ERR_OK)
        return err->code;
    if (row.failed)
        return store_row_too_large(err);
    *ret = rows.items;
    *ret_len = rows.len;
    return ERR_OK;
}
