/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/store/release.h"

#include "captain/io/store/row.h"
#include "captain/io/store/sql/release.sql.h"

enum err_code store_release_add(struct db *db, const struct store_release *release, struct err *err)
{
    return db_run(db,
                  db_stmt(db, SQL_RELEASE_ADD, "bssiisiib", bytes_of(release->digest, DIGEST_BYTES),
                          release->app, release->version, (int64_t)release->sequence,
                          release->created_ms, release->created_by, (int64_t)release->decision,
                          (int64_t)release->size_bytes, release->envelope),
                  err);
}

static void read_row(struct store_row *row, void *ret_item)
{
    struct store_release *ret = ret_item;
    (void)store_row_digest(row, 0, ret->digest);
    ret->app = store_row_text(row, 1);
    ret->version = store_row_text(row, 2);
    ret->sequence = (uint64_t)db_int(row->stmt, 3);
    ret->created_ms = db_int(row->stmt, 4);
    ret->created_by = store_row_text(row, 5);
    ret->decision = (uint64_t)db_int(row->stmt, 6);
    ret->size_bytes = (uint64_t)db_int(row->stmt, 7);
    ret->envelope = store_row_bytes(row, 8);
}

static const struct store_row_kind release_kind = {read_row, sizeof(struct store_release)};

enum err_code store_release_find(struct db *db, const char *app, const char *version,
                                 struct arena *arena, struct store_release *ret, struct err *err)
{
    struct store_row row = {.stmt = db_stmt(db, SQL_RELEASE_FIND, "ss", app, version),
                            .arena = arena};
    enum err_code code = store_row_get(db, &row, &release_kind, ret, err);
    if (code == ERR_NOT_FOUND)
        return err_set(err, code, "release %s@%s is not known here", app, version);
    return code;
}

enum err_code store_release_get(struct db *db, const uint8_t digest[DIGEST_BYTES],
                                struct arena *arena, struct store_release *ret, struct err *err)
{
    struct store_row row = {
        .stmt = db_stmt(db, SQL_RELEASE_GET, "b", bytes_of(digest, DIGEST_BYTES)), .arena = arena};
    enum err_code code = store_row_get(db, &row, &release_kind, ret, err);
    if (code != ERR_NOT_FOUND)
        return code;
    char hex[DIGEST_HEX];
    str_hex(bytes_of(digest, DIGEST_BYTES), hex);
    return err_set(err, code, "no release with digest %s is known here", hex);
}

enum err_code store_release_list(struct db *db, const char *app, struct arena *arena,
                                 struct store_release **ret, size_t *ret_len, struct err *err)
{
    struct store_row row = {.arena = arena};
    row.stmt =
        *app ? db_stmt(db, SQL_RELEASE_LIST_APP, "s", app) : db_stmt(db, SQL_RELEASE_LIST, "");
    return store_row_list(db, &row, &release_kind, ret, ret_len, err);
}

enum err_code store_release_last_sequence(struct db *db, const char *app, uint64_t *ret,
                                          struct err *err)
{
    struct db_stmt *stmt = db_stmt(db, SQL_RELEASE_LAST_SEQUENCE, "s", app);
    int64_t last = 0;
    const enum err_code code = store_row_number(db, stmt, 0, &last, err);
    if (code == ERR_OK)
        *ret = (uint64_t)last;
    return code;
}
