/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside captain/io/store only: reading rows into an arena.
 */
#pragma once

#include "captain/io/store/store.h"

/* The statement's only row: ERR_NOT_FOUND (err untouched but for its code) when there is none. Call
 * store_row_end when its columns have been read. err is not NULL. */
MUST_USE enum err_code store_row_one(struct db *db, struct db_stmt *stmt, struct err *err);
/* Steps past the row, so that the statement holds no read transaction open. */
void store_row_end(struct db *db, struct db_stmt *stmt);

/* Copies columns; the first one that does not fit the arena sets failed. */
struct store_row {
    struct db_stmt *stmt;
    struct arena *arena;
    bool failed;
};
const char *store_row_text(struct store_row *row, int column);
struct bytes store_row_bytes(struct store_row *row, int column);
/* False when the column is no digest (then ret is zero). */
bool store_row_digest(struct store_row *row, int column, uint8_t ret[static DIGEST_BYTES]);

/* ERR_SIZE with a sentence. */
enum err_code store_row_too_large(struct err *err);

/* Rows of an arena that grow while they are read. */
struct store_rows {
    struct arena *arena;
    size_t item_bytes;
    size_t len, room;
    void *items;
};
/* A zeroed item at the end; NULL when the arena's limit is reached. */
void *store_rows_add(struct store_rows *rows);
