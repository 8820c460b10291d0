/* SPDX-License-Identifier: Apache-2.0
 *
 * Policies of channels, and what is said of single devices.
 */
#include "captain/io/store/rollout.h"
#include "captain/io/store/row.h"
#include "captain/io/store/sql/policy.sql.h"

enum err_code store_policy_set(struct db *db, const struct channel_policy *policy,
                               const char *set_by, int64_t now_ms, uint64_t decision,
                               struct err *err)
{
    return db_run(db,
                  db_stmt(db, SQL_POLICY_SET, "ssssisi", policy->app, policy->channel, policy->name,
                          policy->policy, now_ms, set_by, (int64_t)decision),
                  err);
}

static void read_policy(struct store_row *row, void *ret_item)
{
    struct policy_info *ret = ret_item;
    ret->channel = store_row_text(row, 0);
    ret->name = store_row_text(row, 1);
    ret->policy = store_row_text(row, 2);
    ret->since_ms = db_int(row->stmt, 3);
    ret->set_by = store_row_text(row, 4);
    ret->decision = (uint64_t)db_int(row->stmt, 5);
}

static const struct store_row_kind policy_kind = {read_policy, sizeof(struct policy_info)};

enum err_code store_policy_get(struct db *db, const char *app, const char *channel,
                               struct arena *arena, struct policy_info *ret, struct err *err)
{
    struct store_row row = {.stmt = db_stmt(db, SQL_POLICY_GET, "ss", app, channel),
                            .arena = arena};
    enum err_code code = store_row_get(db, &row, &policy_kind, ret, err);
    if (code == ERR_NOT_FOUND)
        return err_set(err, code, "channel %s/%s has no policy of its own", app, channel);
    return code;
}

enum err_code store_policy_list(struct db *db, struct arena *arena, struct policy_info **ret,
                                size_t *ret_len, struct err *err)
{
    struct store_row row = {.stmt = db_stmt(db, SQL_POLICY_LIST, ""), .arena = arena};
    return store_row_list(db, &row, &policy_kind, ret, ret_len, err);
}

/* Devices. */

enum err_code store_device_set_put(struct db *db, const char *device, struct bytes set,
                                   uint64_t decision, struct err *err)
{
    return db_run(db, db_stmt(db, SQL_DEVICE_SET_PUT, "sbi", device, set, (int64_t)decision), err);
}

enum err_code store_device_set_ensure(struct db *db, const char *device, struct bytes set,
                                      struct err *err)
{
    return db_run(db, db_stmt(db, SQL_DEVICE_SET_ENSURE, "sb", device, set), err);
}

static void read_set(struct store_row *row, void *ret_item)
{
    struct store_device_set *ret = ret_item;
    ret->device = store_row_text(row, 0);
    ret->set = store_row_bytes(row, 1);
    ret->decision = (uint64_t)db_int(row->stmt, 2);
    ret->generation = (uint64_t)db_int(row->stmt, 3);
    ret->issued_ms = db_int(row->stmt, 4);
    ret->desired = store_row_bytes(row, 5);
    ret->unsent = db_int(row->stmt, 6) != 0;
}

static const struct store_row_kind set_kind = {read_set, sizeof(struct store_device_set)};

enum err_code store_device_set_row(struct db *db, const char *device, struct arena *arena,
                                   struct store_device_set *ret, struct err *err)
{
    struct store_row row = {.stmt = db_stmt(db, SQL_DEVICE_SET_GET, "s", device), .arena = arena};
    enum err_code code = store_row_get(db, &row, &set_kind, ret, err);
    if (code == ERR_NOT_FOUND)
        return err_set(err, code, "nothing is set for device %s", device);
    return code;
}

enum err_code store_device_set_get(struct db *db, const char *device, struct arena *arena,
                                   struct bytes *ret, struct err *err)
{
    struct store_device_set row;
    struct err why = {0};
    enum err_code code = store_device_set_row(db, device, arena, &row, &why);
    if (code != ERR_OK && code != ERR_NOT_FOUND) {
        if (err)
            *err = why;
        return code;
    }
    *ret = code == ERR_OK ? row.set : (struct bytes){0};
    return ERR_OK;
}

enum err_code store_device_set_list(struct db *db, bool unsent, struct arena *arena,
                                    struct store_device_set **ret, size_t *ret_len, struct err *err)
{
    const char *sql = unsent ? SQL_DEVICE_SET_LIST_UNSENT : SQL_DEVICE_SET_LIST;
    struct store_row row = {.stmt = db_stmt(db, sql, ""), .arena = arena};
    return store_row_list(db, &row, &set_kind, ret, ret_len, err);
}

enum err_code store_device_set_stale(struct db *db, int64_t before_ms, struct arena *arena,
                                     struct store_device_set **ret, size_t *ret_len,
                                     struct err *err)
{
    struct store_row row = {.stmt = db_stmt(db, SQL_DEVICE_SET_LIST_STALE, "i", before_ms),
                            .arena = arena};
    return store_row_list(db, &row, &set_kind, ret, ret_len, err);
}

enum err_code store_device_set_unsent(struct db *db, struct err *err)
{
    return db_run(db, db_stmt(db, SQL_DEVICE_SET_UNSENT, ""), err);
}

enum err_code store_device_set_issued(struct db *db, const char *device, uint64_t generation,
                                      int64_t issued_ms, struct bytes desired, struct err *err)
{
    enum err_code code = db_run(
        db,
        db_stmt(db, SQL_DEVICE_SET_ISSUED, "siib", device, (int64_t)generation, issued_ms, desired),
        err);
    if (code == ERR_OK && db_changes(db) == 0)
        return err_set(err, ERR_NOT_FOUND, "nothing is set for device %s", device);
    return code;
}

enum err_code store_device_set_sent(struct db *db, const char *device, uint64_t generation,
                                    struct err *err)
{
    return db_run(db, db_stmt(db, SQL_DEVICE_SET_SENT, "si", device, (int64_t)generation), err);
}
