/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside captain/io/store only: reading rows into an arena.
 */
#pragma once

#include "captain/io/store/store.h"

/* A statement and where its rows are copied to; the first column that does not fit the arena sets
 * failed, and a reader sets it for a row that cannot be right. */
struct store_row {
    struct db_stmt *stmt;
    struct arena *arena;
    bool failed;
};
const char *store_row_text(struct store_row *row, int column);
struct bytes store_row_bytes(struct store_row *row, int column);
/* False when the column is no digest (then ret is zero). */
bool store_row_digest(struct store_row *row, int column, uint8_t ret[static DIGEST_BYTES]);

/* How the current row becomes an item: read fills ret_item, which is zeroed and item_bytes long. */
struct store_row_kind {
    void (*read)(struct store_row *row, void *ret_item);
    size_t item_bytes;
};
/* The statement's only row as an item in ret: ERR_NOT_FOUND (err untouched but for its code) when there
 * is none, ERR_SIZE when it does not fit the arena. err is not NULL, here and below. */
MUST_USE enum err_code store_row_get(struct db *db, struct store_row *row,
                                     const struct store_row_kind *kind, void *ret, struct err *err);
/* All rows in an array of the arena; ret is the address of a pointer to such items (NULL when there are
 * none). ERR_SIZE when they do not fit. */
MUST_USE enum err_code store_row_list(struct db *db, struct store_row *row,
                                      const struct store_row_kind *kind, void *ret, size_t *ret_len,
                                      struct err *err);

/* For rows of which nothing is copied: the statement's only row, ERR_NOT_FOUND as above. Call
 * store_row_end when its columns have been read. */
MUST_USE enum err_code store_row_one(struct db *db, struct db_stmt *stmt, struct err *err);
/* Steps past the row, so that the statement holds no read transaction open. */
void store_row_end(struct db *db, struct db_stmt *stmt);
/* The first column of the statement's only row; otherwise when there is none. */
MUST_USE enum err_code store_row_number(struct db *db, struct db_stmt *stmt, int64_t otherwise,
                                        int64_t *ret, struct err *err);
