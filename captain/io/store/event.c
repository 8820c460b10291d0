/* SPDX-License-Identifier: Apache-2.0
 *
 * The events of devices; their functions stand in device.h.
 */
#include "captain/io/store/device.h"
#include "captain/io/store/row.h"
#include "captain/io/store/sql/event.sql.h"

enum err_code store_event_last(struct db *db, int64_t device_id, const char *epoch, uint64_t *ret,
                               struct err *err)
{
    struct db_stmt *stmt = db_stmt(db, SQL_EVENT_LAST, "is", device_id, epoch);
    int64_t last = 0;
    const enum err_code code = store_row_number(db, stmt, 0, &last, err);
    if (code == ERR_OK)
        *ret = (uint64_t)last;
    return code;
}

static enum err_code add(struct db *db, int64_t device_id, const struct event *event,
                         struct bytes encoded, struct err *err)
{
    int64_t seq = (int64_t)event->seq;
    enum err_code code =
        db_run(db, db_stmt(db, SQL_EVENT_ADD, "isib", device_id, event->epoch, seq, encoded), err);
    if (code == ERR_OK)
        code = db_run(db, db_stmt(db, SQL_EVENT_COUNT_EPOCH, "isi", device_id, event->epoch, seq),
                      err);
    if (code == ERR_OK)
        code = db_run(db, db_stmt(db, SQL_EVENT_COUNT_DEVICE, "isi", device_id, event->epoch, seq),
                      err);
    if (code == ERR_OK)
        code = db_run(db, db_stmt(db, SQL_EVENT_COUNT_ALL, ""), err);
    return code;
}

enum err_code store_event_add(struct db *db, int64_t device_id, const struct event *event,
                              struct bytes encoded, enum store_event_result *ret,
                              uint64_t *ret_last, struct err *err)
{
    uint64_t last = 0;
    enum err_code code = store_event_last(db, device_id, event->epoch, &last, err);
    if (code != ERR_OK)
        return code;
    enum store_event_result result = STORE_EVENT_STORED;
    if (event->seq <= last)
        result = STORE_EVENT_DUPLICATE;
    else if (event->seq > last + 1)
        result = STORE_EVENT_GAP;
    else
        code = add(db, device_id, event, encoded, err);
    if (code != ERR_OK)
        return code;
    *ret = result;
    *ret_last = result == STORE_EVENT_STORED ? event->seq : last;
    return ERR_OK;
}

enum err_code store_event_skip(struct db *db, int64_t device_id, const char *epoch, uint64_t seq,
                               struct err *err)
{
    return db_run(db, db_stmt(db, SQL_EVENT_COUNT_EPOCH, "isi", device_id, epoch, (int64_t)seq),
                  err);
}

static void read_event(struct store_row *row, void *ret_item)
{
    *(struct bytes *)ret_item = store_row_bytes(row, 0);
}

static const struct store_row_kind event_kind = {read_event, sizeof(struct bytes)};

enum err_code store_event_list(struct db *db, int64_t device_id, uint32_t limit,
                               struct arena *arena, struct bytes **ret, size_t *ret_len,
                               struct err *err)
{
    struct store_row row = {.stmt = db_stmt(db, SQL_EVENT_LIST, "ii", device_id, (int64_t)limit),
                            .arena = arena};
    return store_row_list(db, &row, &event_kind, ret, ret_len, err);
}

enum err_code store_event_count(struct db *db, uint64_t *ret, struct err *err)
{
    int64_t count = 0;
    enum err_code code = store_setting_get_int(db, "events", 0, &count, err);
    if (code == ERR_OK)
        *ret = (uint64_t)count;
    return code;
}
