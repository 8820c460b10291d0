/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/store/device.h"

#include "captain/io/store/row.h"
#include "captain/io/store/sql/device.sql.h"

static enum err_code find(struct db *db, const char *device, int64_t *ret_id, struct err *err)
{
    struct db_stmt *stmt = db_stmt(db, SQL_DEVICE_FIND, "s", device);
    enum err_code code = store_row_one(db, stmt, err);
    if (code != ERR_OK)
        return code;
    *ret_id = db_int(stmt, 0);
    store_row_end(db, stmt);
    return ERR_OK;
}

enum err_code store_device_add(struct db *db, const char *device, int64_t now_ms, int64_t *ret_id,
                               struct err *err)
{
    enum err_code code = find(db, device, ret_id, err);
    if (code != ERR_NOT_FOUND)
        return code;
    code = db_run(db, db_stmt(db, SQL_DEVICE_ADD, "si", device, now_ms), err);
    if (code == ERR_OK)
        *ret_id = db_last_id(db);
    return code;
}

enum err_code store_device_seen(struct db *db, int64_t id, int64_t last_seen_ms, struct err *err)
{
    return db_run(db, db_stmt(db, SQL_DEVICE_SEEN, "ii", id, last_seen_ms), err);
}

enum err_code store_device_health(struct db *db, int64_t id, struct bytes health, struct err *err)
{
    return db_run(db, db_stmt(db, SQL_DEVICE_HEALTH, "ib", id, health), err);
}

enum err_code store_device_telemetry(struct db *db, int64_t id, int64_t received_ms,
                                     struct bytes telemetry, struct err *err)
{
    return db_run(db, db_stmt(db, SQL_DEVICE_TELEMETRY, "iib", id, received_ms, telemetry), err);
}

enum err_code store_device_garbage(struct db *db, int64_t id, uint64_t count, struct err *err)
{
    return db_run(db, db_stmt(db, SQL_DEVICE_GARBAGE, "ii", id, (int64_t)count), err);
}

/* Bytes and texts are views of the statement. */
static void view_row(struct db_stmt *stmt, struct store_device *ret)
{
    ret->id = db_int(stmt, 0);
    ret->device = db_text(stmt, 1);
    ret->first_seen_ms = db_int(stmt, 2);
    ret->last_seen_ms = db_int(stmt, 3);
    ret->garbage = (uint64_t)db_int(stmt, 4);
    ret->health = db_bytes(stmt, 5);
    ret->telemetry = db_bytes(stmt, 6);
    ret->telemetry_ms = db_int(stmt, 7);
    ret->epoch = db_text(stmt, 8);
    ret->event_seq = (uint64_t)db_int(stmt, 9);
    ret->events = (uint64_t)db_int(stmt, 10);
}

static void read_row(struct store_row *row, void *ret_item)
{
    struct store_device *ret = ret_item;
    view_row(row->stmt, ret);
    ret->device = store_row_text(row, 1);
    ret->health = store_row_bytes(row, 5);
    ret->telemetry = store_row_bytes(row, 6);
    ret->epoch = store_row_text(row, 8);
}

static const struct store_row_kind device_kind = {read_row, sizeof(struct store_device)};

enum err_code store_device_get(struct db *db, int64_t id, struct arena *arena,
                               struct store_device *ret, struct err *err)
{
    struct store_row row = {.stmt = db_stmt(db, SQL_DEVICE_GET, "i", id), .arena = arena};
    enum err_code code = store_row_get(db, &row, &device_kind, ret, err);
    if (code == ERR_NOT_FOUND)
        return err_set(err, code, "no device has row %lld", (long long)id);
    return code;
}

enum err_code store_device_each(struct db *db, store_device_fn fn, void *arg, struct err *err)
{
    struct db_stmt *stmt = db_stmt(db, SQL_DEVICE_EACH, "");
    struct store_device device;
    bool go_on = true;
    /* Read to the end even when fn has enough: a half-read statement would keep its snapshot. */
    while (db_row(db, stmt, err)) {
        view_row(stmt, &device);
        go_on = go_on && fn(arg, &device);
    }
    return err->code;
}
