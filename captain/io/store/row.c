/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/store/row.h"

#include <string.h>

enum err_code store_row_one(struct db *db, struct db_stmt *stmt, struct err *err)
{
    if (db_row(db, stmt, err))
        return ERR_OK;
    return err->code == ERR_OK ? ERR_NOT_FOUND : err->code;
}

void store_row_end(struct db *db, struct db_stmt *stmt)
{
    struct err err;
    while (db_row(db, stmt, &err))
        continue;
}

const char *store_row_text(struct store_row *row, int column)
{
    const char *text = arena_strdup(row->arena, db_text(row->stmt, column));
    if (!text)
        row->failed = true;
    return text;
}

struct bytes store_row_bytes(struct store_row *row, int column)
{
    struct bytes view = db_bytes(row->stmt, column);
    if (view.len == 0)
        return (struct bytes){0};
    const void *copy = arena_dup(row->arena, view.ptr, view.len);
    if (!copy)
        row->failed = true;
    return bytes_of(copy, copy ? view.len : 0);
}

bool store_row_digest(struct store_row *row, int column, uint8_t ret[static DIGEST_BYTES])
{
    struct bytes view = db_bytes(row->stmt, column);
    memset(ret, 0, DIGEST_BYTES);
    if (view.len != DIGEST_BYTES)
        return false;
    memcpy(ret, view.ptr, DIGEST_BYTES);
    return true;
}

/* Items that grow while their rows are read. */
struct rows {
    struct arena *arena;
    size_t item_bytes;
    size_t len, room;
    char *items;
};

static bool rows_grow(struct rows *rows)
{
    size_t room = rows->room > 0 ? rows->room * 2 : 16;
    char *items = arena_alloc(rows->arena, room * rows->item_bytes);
    if (!items)
        return false;
    if (rows->len > 0)
        memcpy(items, rows->items, rows->len * rows->item_bytes);
    rows->items = items;
    rows->room = room;
    return true;
}

/* A zeroed item at the end; NULL when the arena's limit is reached. */
static void *rows_add(struct rows *rows)
{
    if (rows->len == rows->room && !rows_grow(rows))
        return NULL;
    return rows->items + rows->len++ * rows->item_bytes;
}

static enum err_code too_large(struct err *err)
{
    return err_set(err, ERR_SIZE, "the answer is larger than its limit; ask for less");
}

enum err_code store_row_get(struct db *db, struct store_row *row, const struct store_row_kind *kind,
                            void *ret, struct err *err)
{
    const enum err_code code = store_row_one(db, row->stmt, err);
    if (code != ERR_OK)
        return code;
    void *item = arena_alloc(row->arena, kind->item_bytes);
    if (item)
        kind->read(row, item);
    store_row_end(db, row->stmt);
    if (!item || row->failed)
        return too_large(err);
    memcpy(ret, item, kind->item_bytes);
    return ERR_OK;
}

enum err_code store_row_list(struct db *db, struct store_row *row,
                             const struct store_row_kind *kind, void *ret, size_t *ret_len,
                             struct err *err)
{
    struct rows rows = {.arena = row->arena, .item_bytes = kind->item_bytes};
    /* Read to the end even when the arena is full: a half-read statement would keep its snapshot. */
    while (db_row(db, row->stmt, err)) {
        void *item = row->failed ? NULL : rows_add(&rows);
        if (item)
            kind->read(row, item);
        row->failed = row->failed || !item;
    }
    if (err->code != ERR_OK)
        return err->code;
    if (row->failed)
        return too_large(err);
    memcpy(ret, &rows.items, sizeof rows.items);
    *ret_len = rows.len;
    return ERR_OK;
}

enum err_code store_row_number(struct db *db, struct db_stmt *stmt, int64_t otherwise, int64_t *ret,
                               struct err *err)
{
    const enum err_code code = store_row_one(db, stmt, err);
    if (code != ERR_OK && code != ERR_NOT_FOUND)
        return code;
    *ret = code == ERR_OK ? db_int(stmt, 0) : otherwise;
    if (code == ERR_OK)
        store_row_end(db, stmt);
    return ERR_OK;
}
