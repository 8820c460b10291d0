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

static void read_row(struct store_row *row, void *ret_item)
{
    struct site_info *ret = ret_item;
    ret->site = store_row_text(row, 0);
    ret->windows = store_row_text(row, 1);
    ret->since_ms = db_int(row->stmt, 2);
    ret->set_by = store_row_text(row, 3);
}

static const struct store_row_kind site_kind = {read_row, sizeof(struct site_info)};

enum err_code store_site_list(struct db *db, struct arena *arena, struct site_info **ret,
                              size_t *ret_len, struct err *err)
{
    struct store_row row = {.stmt = db_stmt(db, SQL_SITE_LIST, ""), .arena = arena};
    return store_row_list(db, &row, &site_kind, ret, ret_len, err);
}
