/* SPDX-License-Identifier: Apache-2.0
 *
 * SQLite: open with the house's pragmas (WAL, synchronous=FULL, foreign keys, busy timeout), numbered
 * migrations, statements prepared once, one transaction per turn, verified backup. Only stores (files
 * under io/store, and the agent's store) call it. A failing statement poisons the open transaction: the
 * commit then fails with the first error, so that a turn is written whole or not at all.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/str.h"

struct db;
struct db_stmt; /* a prepared statement, owned by its db */

/* migrations[i] is the SQL that brings user_version i to i + 1; each in its own transaction. A file of
 * a newer version, of another application_id, or that fails quick_check is refused (ERR_MALFORMED) and
 * left as it is. */
struct db_schema {
    int32_t application_id;
    const char *const *migrations;
    int migrations_len;
};

MUST_USE enum err_code db_open(const char *path, const struct db_schema *schema, struct db **ret,
                               struct err *err);
/* Rolls an open transaction back. NULL is fine. */
void db_close(struct db *db);

/* Opens the turn's transaction unless it is open. */
MUST_USE enum err_code db_begin(struct db *db, struct err *err);
/* Commits if one is open (durable on return). On failure everything of the turn is rolled back and err
 * holds the first error of the transaction. */
MUST_USE enum err_code db_commit(struct db *db, struct err *err);
void db_rollback(struct db *db);
bool db_in_transaction(const struct db *db);

/* Prepares sql once (keyed by its address) and returns it reset, with values bound in order by types:
 * i int64_t, s const char* (may be NULL), b struct bytes, d double, n nothing (NULL). */
struct db_stmt *db_stmt(struct db *db, const char *sql, const char *types, ...);

/* Runs to the end, ignoring rows. Opens the transaction if none is open. */
MUST_USE enum err_code db_run(struct db *db, struct db_stmt *stmt, struct err *err);
/* True: a row is there to be read. False: no more (err->code ERR_OK) or an error (err->code set). A
 * statement that writes (INSERT ... RETURNING) opens the transaction. Rows that were not read to the end
 * hold their snapshot until the next db_stmt of the same sql. */
bool db_row(struct db *db, struct db_stmt *stmt, struct err *err);

/* Columns of the current row, from 0. Text and bytes are views until the next db_row or db_stmt on it. */
int64_t db_int(struct db_stmt *stmt, int column);
double db_double(struct db_stmt *stmt, int column);
const char *db_text(struct db_stmt *stmt, int column); /* "" for NULL */
struct bytes db_bytes(struct db_stmt *stmt, int column);
bool db_is_null(struct db_stmt *stmt, int column);

int64_t db_last_id(const struct db *db);
int64_t db_changes(const struct db *db);

/* A copy by SQLite's online backup into a temporary neighbour of path, checked by integrity_check, then
 * fsynced and renamed to path. ERR_CONFLICT inside a transaction. */
MUST_USE enum err_code db_backup(struct db *db, const char *path, struct err *err);
