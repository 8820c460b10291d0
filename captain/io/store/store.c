/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/store/store.h"

#include <limits.h>
#include <stdio.h>

#include "captain/io/sql/001_first.sql.h"
#include "captain/io/sql/002_rollouts.sql.h"
#include "captain/io/sql/003_trust.sql.h"
#include "captain/io/sql/004_settings.sql.h"
#include "captain/io/sql/005_roots.sql.h"
#include "captain/io/store/row.h"
#include "captain/io/store/sql/setting.sql.h"
#include "common/base/mem.h"

enum { APPLICATION_ID = 0x43505401 }; /* "CPT", 1 */

enum err_code store_open(const char *folder, struct db **ret, struct err *err)
{
    static const char *const migrations[] = {SQL_001_FIRST, SQL_002_ROLLOUTS, SQL_003_TRUST,
                                             SQL_004_SETTINGS, SQL_005_ROOTS};
    static const struct db_schema schema = {APPLICATION_ID, migrations, ARRAY_LEN(migrations)};
    char path[PATH_MAX];
    int len = snprintf(path, sizeof path, "%s/captain.db", folder);
    if (len < 0 || (size_t)len >= sizeof path)
        return err_set(err, ERR_SIZE, "the path of folder %s is too long", folder);
    return db_open(path, &schema, ret, err);
}

enum err_code store_setting_get_int(struct db *db, const char *name, int64_t otherwise,
                                    int64_t *ret, struct err *err)
{
    struct db_stmt *stmt = db_stmt(db, SQL_SETTING_GET, "s", name);
    return store_row_number(db, stmt, otherwise, ret, err);
}

enum err_code store_setting_set_int(struct db *db, const char *name, int64_t value, struct err *err)
{
    return db_run(db, db_stmt(db, SQL_SETTING_SET, "si", name, value), err);
}
