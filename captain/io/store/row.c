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

enum err_code store_row_too_large(struct err *err)
{
    return err_set(err, ERR_SIZE, "the answer is larger than its limit; ask for less");
}

static bool rows_grow(struct store_rows *rows)
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

void *store_rows_add(struct store_rows *rows)
{
    if (rows->len == rows->room && !rows_grow(rows))
        return NULL;
    return (char *)rows->items + rows->len++ * rows->item_bytes;
}
