/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/store/channel.h"

#include "captain/io/store/row.h"
#include "captain/io/store/sql/channel.sql.h"

static enum err_code not_known(const char *app, const char *channel, struct err *err)
{
    return err_set(err, ERR_NOT_FOUND, "channel %s/%s is not known here", app, channel);
}

enum err_code store_channel_set(struct db *db, const struct store_channel *channel, struct err *err)
{
    struct bytes digest = bytes_of(channel->digest, DIGEST_BYTES);
    struct bytes base = bytes_of(channel->base_digest, DIGEST_BYTES);
    int64_t decision = (int64_t)channel->decision;
    int64_t unsettled = channel->unsettled;
    const char *reason = channel->reason ? channel->reason : "";
    struct db_stmt *stmt;
    if (channel->has_base)
        stmt = db_stmt(db, SQL_CHANNEL_SET, "ssbbissii", channel->app, channel->channel, digest,
                       base, channel->since_ms, channel->set_by, reason, decision, unsettled);
    else
        stmt = db_stmt(db, SQL_CHANNEL_SET, "ssbnissii", channel->app, channel->channel, digest,
                       channel->since_ms, channel->set_by, reason, decision, unsettled);
    return db_run(db, stmt, err);
}

enum err_code store_channel_issued(struct db *db, const char *app, const char *channel,
                                   uint64_t generation, int64_t issued_ms, struct bytes desired,
                                   struct err *err)
{
    enum err_code code = db_run(db,
                                db_stmt(db, SQL_CHANNEL_ISSUED, "ssiib", app, channel,
                                        (int64_t)generation, issued_ms, desired),
                                err);
    if (code == ERR_OK && db_changes(db) == 0)
        return not_known(app, channel, err);
    return code;
}

enum err_code store_channel_sent(struct db *db, const char *app, const char *channel,
                                 uint64_t generation, struct err *err)
{
    return db_run(db, db_stmt(db, SQL_CHANNEL_SENT, "ssi", app, channel, (int64_t)generation), err);
}

static void read_row(struct store_row *row, void *ret_item)
{
    struct store_channel *ret = ret_item;
    ret->app = store_row_text(row, 0);
    ret->channel = store_row_text(row, 1);
    (void)store_row_digest(row, 2, ret->digest);
    ret->has_base = store_row_digest(row, 3, ret->base_digest);
    ret->since_ms = db_int(row->stmt, 4);
    ret->set_by = store_row_text(row, 5);
    ret->reason = store_row_text(row, 6);
    ret->decision = (uint64_t)db_int(row->stmt, 7);
    ret->generation = (uint64_t)db_int(row->stmt, 8);
    ret->issued_ms = db_int(row->stmt, 9);
    ret->desired = store_row_bytes(row, 10);
    ret->unsent = db_int(row->stmt, 11) != 0;
    ret->unsettled = db_int(row->stmt, 12) != 0;
}

static const struct store_row_kind channel_kind = {read_row, sizeof(struct store_channel)};

enum err_code store_channel_get(struct db *db, const char *app, const char *channel,
                                struct arena *arena, struct store_channel *ret, struct err *err)
{
    struct store_row row = {.stmt = db_stmt(db, SQL_CHANNEL_GET, "ss", app, channel),
                            .arena = arena};
    enum err_code code = store_row_get(db, &row, &channel_kind, ret, err);
    if (code == ERR_NOT_FOUND)
        return not_known(app, channel, err);
    return code;
}

enum err_code store_channel_list(struct db *db, struct arena *arena, struct store_channel **ret,
                                 size_t *ret_len, struct err *err)
{
    struct store_row row = {.stmt = db_stmt(db, SQL_CHANNEL_LIST, ""), .arena = arena};
    return store_row_list(db, &row, &channel_kind, ret, ret_len, err);
}

enum err_code store_channel_list_unsent(struct db *db, struct arena *arena,
                                        struct store_channel **ret, size_t *ret_len,
                                        struct err *err)
{
    struct store_row row = {.stmt = db_stmt(db, SQL_CHANNEL_LIST_UNSENT, ""), .arena = arena};
    return store_row_list(db, &row, &channel_kind, ret, ret_len, err);
}
