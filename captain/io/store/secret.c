/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/store/secret.h"

#include <string.h>

#include "captain/io/store/row.h"
#include "captain/io/store/sql/secret.sql.h"

enum err_code store_secret_set(struct db *db, const struct secret_set *secret, const char *set_by,
                               int64_t now_ms, uint64_t decision, struct err *err)
{
    enum err_code code = db_run(
        db, db_stmt(db, SQL_SECRET_LEAVE, "sss", secret->app, secret->name, secret->scope), err);
    if (code == ERR_OK)
        code = db_run(db,
                      db_stmt(db, SQL_SECRET_SET, "sssbiisi", secret->app, secret->name,
                              secret->scope, secret->digest, (int64_t)secret->version, now_ms,
                              set_by, (int64_t)decision),
                      err);
    return code;
}

enum err_code store_secret_remove(struct db *db, const struct secret_removed *secret,
                                  struct err *err)
{
    enum err_code code = db_run(
        db, db_stmt(db, SQL_SECRET_LEAVE, "sss", secret->app, secret->name, secret->scope), err);
    if (code == ERR_OK)
        code = db_run(
            db, db_stmt(db, SQL_SECRET_REMOVE, "sss", secret->app, secret->name, secret->scope),
            err);
    return code;
}

static void read_secret(struct store_row *row, void *ret_item)
{
    struct store_secret *ret = ret_item;
    ret->app = store_row_text(row, 0);
    ret->name = store_row_text(row, 1);
    ret->scope = store_row_text(row, 2);
    (void)store_row_digest(row, 3, ret->digest);
    ret->version = (uint64_t)db_int(row->stmt, 4);
    ret->set_ms = db_int(row->stmt, 5);
    ret->set_by = store_row_text(row, 6);
    ret->decision = (uint64_t)db_int(row->stmt, 7);
}

static const struct store_row_kind secret_kind = {read_secret, sizeof(struct store_secret)};

enum err_code store_secret_list(struct db *db, const char *app, const char *name,
                                struct arena *arena, struct store_secret **ret, size_t *ret_len,
                                struct err *err)
{
    struct store_row row = {.stmt = db_stmt(db, SQL_SECRET_LIST, "ss", app, name), .arena = arena};
    return store_row_list(db, &row, &secret_kind, ret, ret_len, err);
}

/* A count; 0 when there is no row. */
static enum err_code read_number(struct db *db, struct db_stmt *stmt, uint64_t *ret,
                                 struct err *err)
{
    int64_t number = 0;
    const enum err_code code = store_row_number(db, stmt, 0, &number, err);
    if (code == ERR_OK)
        *ret = (uint64_t)number;
    return code;
}

enum err_code store_secret_last_version(struct db *db, const char *app, const char *name,
                                        uint64_t *ret, struct err *err)
{
    return read_number(db, db_stmt(db, SQL_SECRET_LAST_VERSION, "ss", app, name), ret, err);
}

enum err_code store_secret_named(struct db *db, const uint8_t digest[DIGEST_BYTES], bool *ret,
                                 struct err *err)
{
    uint64_t found = 0;
    enum err_code code = read_number(
        db, db_stmt(db, SQL_SECRET_NAMED, "b", bytes_of(digest, DIGEST_BYTES)), &found, err);
    *ret = found > 0;
    return code;
}

static void read_digest(struct store_row *row, void *ret_item)
{
    (void)store_row_digest(row, 0, ret_item);
}

static const struct store_row_kind digest_kind = {read_digest, DIGEST_BYTES};

enum err_code store_secret_garbage(struct db *db, struct arena *arena,
                                   const uint8_t (**ret)[DIGEST_BYTES], size_t *ret_len,
                                   struct err *err)
{
    struct store_row row = {.stmt = db_stmt(db, SQL_SECRET_GARBAGE, ""), .arena = arena};
    return store_row_list(db, &row, &digest_kind, ret, ret_len, err);
}

enum err_code store_secret_garbage_gone(struct db *db, const uint8_t digest[DIGEST_BYTES],
                                        struct err *err)
{
    return db_run(db, db_stmt(db, SQL_SECRET_GARBAGE_GONE, "b", bytes_of(digest, DIGEST_BYTES)),
                  err);
}

/* Devices. */

static void read_device(struct store_row *row, void *ret_item)
{
    struct store_secret_device *ret = ret_item;
    ret->app = store_row_text(row, 0);
    ret->name = store_row_text(row, 1);
    ret->scope = store_row_text(row, 2);
    ret->version = (uint64_t)db_int(row->stmt, 3);
    ret->seal_key = store_row_bytes(row, 4);
    ret->sealed = store_row_bytes(row, 5);
    ret->generation = (uint64_t)db_int(row->stmt, 6);
    ret->confirmed = db_int(row->stmt, 7) != 0;
}

static const struct store_row_kind device_kind = {read_device, sizeof(struct store_secret_device)};

enum err_code store_secret_device_list(struct db *db, const char *device, struct arena *arena,
                                       struct store_secret_device **ret, size_t *ret_len,
                                       struct err *err)
{
    struct store_row row = {.stmt = db_stmt(db, SQL_SECRET_DEVICE_LIST, "s", device),
                            .arena = arena};
    return store_row_list(db, &row, &device_kind, ret, ret_len, err);
}

enum err_code store_secret_device_put(struct db *db, const char *device,
                                      const struct store_secret_device *row, struct err *err)
{
    return db_run(db,
                  db_stmt(db, SQL_SECRET_DEVICE_PUT, "ssssibb", device, row->app, row->name,
                          row->scope, (int64_t)row->version, row->seal_key, row->sealed),
                  err);
}

enum err_code store_secret_device_drop(struct db *db, const char *device, const char *app,
                                       const char *name, struct err *err)
{
    return db_run(db, db_stmt(db, SQL_SECRET_DEVICE_DROP, "sss", device, app, name), err);
}

enum err_code store_secret_device_issued(struct db *db, const char *device, uint64_t generation,
                                         struct err *err)
{
    return db_run(db, db_stmt(db, SQL_SECRET_DEVICE_ISSUED, "si", device, (int64_t)generation),
                  err);
}

enum err_code store_secret_device_confirm(struct db *db, const char *device, uint64_t generation,
                                          struct err *err)
{
    return db_run(db, db_stmt(db, SQL_SECRET_DEVICE_CONFIRM, "si", device, (int64_t)generation),
                  err);
}

enum err_code store_secret_device_waits(struct db *db, const char *device, uint64_t *ret,
                                        struct err *err)
{
    return read_number(db, db_stmt(db, SQL_SECRET_DEVICE_WAITS, "s", device), ret, err);
}

enum err_code store_secret_counts(struct db *db, const struct store_secret *s,
                                  uint64_t *ret_devices, uint64_t *ret_confirmed, struct err *err)
{
    enum err_code code = read_number(
        db, db_stmt(db, SQL_SECRET_DEVICES, "sss", s->app, s->name, s->scope), ret_devices, err);
    if (code == ERR_OK)
        code = read_number(db,
                           db_stmt(db, SQL_SECRET_CONFIRMED, "sssi", s->app, s->name, s->scope,
                                   (int64_t)s->version),
                           ret_confirmed, err);
    return code;
}

static void read_waiting(struct store_row *row, void *ret_item)
{
    *(const char **)ret_item = store_row_text(row, 0);
}

static const struct store_row_kind waiting_kind = {read_waiting, sizeof(const char *)};

enum err_code store_secret_waiting(struct db *db, const struct store_secret *s, uint32_t limit,
                                   struct arena *arena, const char ***ret, size_t *ret_len,
                                   struct err *err)
{
    struct store_row row = {.stmt = db_stmt(db, SQL_SECRET_WAITING, "sssii", s->app, s->name,
                                            s->scope, (int64_t)s->version, (int64_t)limit),
                            .arena = arena};
    return store_row_list(db, &row, &waiting_kind, ret, ret_len, err);
}

enum err_code store_secret_device_any(struct db *db, bool *ret, struct err *err)
{
    uint64_t found = 0;
    enum err_code code = read_number(db, db_stmt(db, SQL_SECRET_DEVICE_ANY, ""), &found, err);
    *ret = found > 0;
    return code;
}

/* The master key. */

enum err_code store_vault_check_get(struct db *db, uint8_t ret[DIGEST_BYTES], struct err *err)
{
    struct store_row row = {.stmt = db_stmt(db, SQL_VAULT_CHECK_GET, "")};
    enum err_code code = store_row_one(db, row.stmt, err);
    if (code != ERR_OK)
        return code;
    (void)store_row_digest(&row, 0, ret);
    store_row_end(db, row.stmt);
    return ERR_OK;
}

enum err_code store_vault_check_put(struct db *db, const uint8_t check[DIGEST_BYTES],
                                    struct err *err)
{
    return db_run(db, db_stmt(db, SQL_VAULT_CHECK_PUT, "b", bytes_of(check, DIGEST_BYTES)), err);
}
