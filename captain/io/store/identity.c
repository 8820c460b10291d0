/* SPDX-License-Identifier: Apache-2.0
 *
 * Identities of devices, and the keys that were revoked.
 */
#include "captain/io/store/row.h"
#include "captain/io/store/sql/trust.sql.h"
#include "captain/io/store/trust.h"

static struct bytes key_of(const uint8_t *key)
{
    return bytes_of(key, SIGN_PUBLIC_BYTES);
}

enum err_code store_identity_enrol(struct db *db, const struct store_identity *identity,
                                   struct err *err)
{
    return db_run(db,
                  db_stmt(db, SQL_IDENTITY_ENROL, "sbbssisis", identity->device,
                          key_of(identity->device_key), key_of(identity->seal_key), identity->token,
                          identity->state, identity->enrolled_ms, identity->changed_by,
                          (int64_t)identity->decision, identity->hardware),
                  err);
}

enum err_code store_identity_state(struct db *db, const struct store_identity *identity,
                                   struct err *err)
{
    const enum err_code code =
        db_run(db,
               db_stmt(db, SQL_IDENTITY_STATE_SET, "sbsisi", identity->device,
                       key_of(identity->device_key), identity->state, identity->changed_ms,
                       identity->changed_by, (int64_t)identity->decision),
               err);
    if (code == ERR_OK && db_changes(db) == 0)
        return err_set(err, ERR_NOT_FOUND, "device %s is not enrolled with that key",
                       identity->device);
    return code;
}

enum err_code store_identity_credential(struct db *db, const char *device,
                                        const uint8_t key[static SIGN_PUBLIC_BYTES],
                                        int64_t expires_ms, struct err *err)
{
    return db_run(db, db_stmt(db, SQL_IDENTITY_CREDENTIAL, "sbi", device, key_of(key), expires_ms),
                  err);
}

static void read_identity(struct store_row *row, void *ret_item)
{
    struct store_identity *ret = ret_item;
    ret->device = store_row_text(row, 0);
    if (!store_row_digest(row, 1, ret->device_key) || !store_row_digest(row, 2, ret->seal_key))
        row->failed = true;
    ret->token = store_row_text(row, 3);
    ret->state = store_row_text(row, 4);
    ret->enrolled_ms = db_int(row->stmt, 5);
    ret->changed_ms = db_int(row->stmt, 6);
    ret->changed_by = store_row_text(row, 7);
    ret->decision = (uint64_t)db_int(row->stmt, 8);
    ret->hardware = store_row_text(row, 9);
    ret->expires_ms = db_int(row->stmt, 10);
}

static const struct store_row_kind identity_kind = {read_identity, sizeof(struct store_identity)};

static enum err_code get_one(struct db *db, struct store_row row, const char *what,
                             struct store_identity *ret, struct err *err)
{
    const enum err_code code = store_row_get(db, &row, &identity_kind, ret, err);
    if (code == ERR_NOT_FOUND)
        return err_set(err, code, "%s is not enrolled", what);
    return code;
}

enum err_code store_identity_get(struct db *db, const char *device, struct arena *arena,
                                 struct store_identity *ret, struct err *err)
{
    const struct store_row row = {.stmt = db_stmt(db, SQL_IDENTITY_GET, "s", device),
                                  .arena = arena};
    return get_one(db, row, device, ret, err);
}

enum err_code store_identity_by_key(struct db *db, const uint8_t key[static SIGN_PUBLIC_BYTES],
                                    struct arena *arena, struct store_identity *ret,
                                    struct err *err)
{
    const struct store_row row = {.stmt = db_stmt(db, SQL_IDENTITY_BY_KEY, "b", key_of(key)),
                                  .arena = arena};
    return get_one(db, row, "that key", ret, err);
}

enum err_code store_identity_list(struct db *db, const char *state, const char *after,
                                  uint32_t limit, struct arena *arena, struct store_identity **ret,
                                  size_t *ret_len, struct err *err)
{
    struct store_row row = {.stmt =
                                db_stmt(db, SQL_IDENTITY_LIST, "ssi", state, after, (int64_t)limit),
                            .arena = arena};
    return store_row_list(db, &row, &identity_kind, ret, ret_len, err);
}

enum err_code store_identity_named(struct db *db, const char *name, struct arena *arena,
                                   struct store_identity **ret, size_t *ret_len, struct err *err)
{
    struct store_row row = {.stmt = db_stmt(db, SQL_IDENTITY_NAMED, "s", name), .arena = arena};
    return store_row_list(db, &row, &identity_kind, ret, ret_len, err);
}

enum err_code store_identity_each(struct db *db, const char *state, store_identity_fn fn, void *arg,
                                  struct err *err)
{
    struct err failed = {0};
    struct db_stmt *stmt = db_stmt(db, SQL_IDENTITY_EACH, "s", state);
    while (db_row(db, stmt, &failed))
        fn(arg, db_text(stmt, 0));
    if (failed.code != ERR_OK && err)
        *err = failed;
    return failed.code;
}

/* Revoked keys. */

enum err_code store_revoked_key_put(struct db *db, const struct store_revoked_key *key,
                                    struct err *err)
{
    return db_run(db,
                  db_stmt(db, SQL_REVOKED_KEY_PUT, "bsiii", key_of(key->key), key->name, key->at_ms,
                          key->until_ms, (int64_t)key->for_good),
                  err);
}

enum err_code store_revoked_key_has(struct db *db, const uint8_t key[static SIGN_PUBLIC_BYTES],
                                    bool *ret, struct err *err)
{
    struct db_stmt *stmt = db_stmt(db, SQL_REVOKED_KEY_GET, "b", key_of(key));
    const enum err_code code = store_row_one(db, stmt, err);
    if (code != ERR_OK && code != ERR_NOT_FOUND)
        return code;
    *ret = code == ERR_OK;
    if (code == ERR_OK)
        store_row_end(db, stmt);
    return ERR_OK;
}

static void read_revoked(struct store_row *row, void *ret_item)
{
    struct store_revoked_key *ret = ret_item;
    if (!store_row_digest(row, 0, ret->key))
        row->failed = true;
    ret->name = store_row_text(row, 1);
    ret->at_ms = db_int(row->stmt, 2);
    ret->until_ms = db_int(row->stmt, 3);
    ret->for_good = db_int(row->stmt, 4) != 0;
}

static const struct store_row_kind revoked_kind = {read_revoked, sizeof(struct store_revoked_key)};

enum err_code store_revoked_key_list(struct db *db, int64_t now_ms, struct arena *arena,
                                     struct store_revoked_key **ret, size_t *ret_len,
                                     struct err *err)
{
    struct store_row row = {.stmt = db_stmt(db, SQL_REVOKED_KEY_LIST, "i", now_ms), .arena = arena};
    return store_row_list(db, &row, &revoked_kind, ret, ret_len, err);
}

enum err_code store_incidents_add(struct db *db, uint64_t count, struct err *err)
{
    return db_run(db, db_stmt(db, SQL_INCIDENTS_ADD, "i", (int64_t)count), err);
}
