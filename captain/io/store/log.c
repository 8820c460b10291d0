/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/store/log.h"

#include <string.h>

#include "captain/io/store/row.h"
#include "captain/io/store/sql/log.sql.h"

enum err_code store_log_append(struct db *db, const struct log_entry *entry, struct bytes encoded,
                               const uint8_t hash[DIGEST_BYTES], struct err *err)
{
    return db_run(db,
                  db_stmt(db, SQL_LOG_APPEND, "ibssb", (int64_t)entry->seq,
                          bytes_of(hash, DIGEST_BYTES), entry->kind,
                          entry->subject ? entry->subject : "", encoded),
                  err);
}

enum err_code store_log_last(struct db *db, uint64_t *ret_seq, uint8_t ret_hash[DIGEST_BYTES],
                             struct err *err)
{
    struct store_row row = {.stmt = db_stmt(db, SQL_LOG_LAST, "")};
    enum err_code code = store_row_one(db, row.stmt, err);
    if (code != ERR_OK && code != ERR_NOT_FOUND)
        return code;
    *ret_seq = 0;
    memset(ret_hash, 0, DIGEST_BYTES);
    if (code == ERR_NOT_FOUND)
        return ERR_OK;
    *ret_seq = (uint64_t)db_int(row.stmt, 0);
    (void)store_row_digest(&row, 1, ret_hash);
    store_row_end(db, row.stmt);
    return ERR_OK;
}

static void read_row(struct store_row *row, void *ret_item)
{
    struct store_log_row *ret = ret_item;
    ret->seq = (uint64_t)db_int(row->stmt, 0);
    (void)store_row_digest(row, 1, ret->hash);
    ret->entry = store_row_bytes(row, 2);
}

static const struct store_row_kind log_kind = {read_row, sizeof(struct store_log_row)};

enum err_code store_log_get(struct db *db, uint64_t seq, struct arena *arena,
                            struct store_log_row *ret, struct err *err)
{
    struct store_row row = {.stmt = db_stmt(db, SQL_LOG_GET, "i", (int64_t)seq), .arena = arena};
    enum err_code code = store_row_get(db, &row, &log_kind, ret, err);
    if (code == ERR_NOT_FOUND)
        return err_set(err, code, "the log has no entry %llu", (unsigned long long)seq);
    return code;
}

static struct db_stmt *list_stmt(struct db *db, uint64_t before, const char *kind,
                                 const char *subject, uint32_t limit)
{
    int64_t below = before == 0 || before > INT64_MAX ? INT64_MAX : (int64_t)before;
    int64_t most = limit;
    if (*kind && *subject)
        return db_stmt(db, SQL_LOG_LIST_BOTH, "iiss", below, most, subject, kind);
    if (*kind)
        return db_stmt(db, SQL_LOG_LIST_KIND, "iis", below, most, kind);
    if (*subject)
        return db_stmt(db, SQL_LOG_LIST_SUBJECT, "iis", below, most, subject);
    return db_stmt(db, SQL_LOG_LIST, "ii", below, most);
}

enum err_code store_log_list(struct db *db, uint64_t before, const char *kind, const char *subject,
                             uint32_t limit, struct arena *arena, struct store_log_row **ret,
                             size_t *ret_len, struct err *err)
{
    struct store_row row = {.stmt = list_stmt(db, before, kind, subject, limit), .arena = arena};
    return store_row_list(db, &row, &log_kind, ret, ret_len, err);
}
