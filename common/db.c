/* SPDX-License-Identifier: Apache-2.0 */
#include "common/db.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/file.h"

enum {
    BUSY_TIMEOUT_MS = 5000,
    STMTS_MAX = 512, /* distinct statements of one database */
    STMT_SLOTS = 2 * STMTS_MAX,
};

struct db_stmt {
    struct db *db;
    const char *sql; /* its address is the key */
    sqlite3_stmt *raw;
    struct err err; /* of preparing or binding: given out when it is run */
};

struct db {
    sqlite3 *raw;
    bool open;        /* a transaction */
    struct err first; /* the first error of the open transaction */
    int stmts_len;
    struct db_stmt *stmts[STMT_SLOTS]; /* by address, open addressing */
};

static enum err_code code_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_CONFLICT;
    case SQLITE_FULL:
        return ERR_NO_SPACE;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_MALFORMED;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
        return ERR_IO;
    default:
        return ERR_FAILED;
    }
}

static enum err_code fail(sqlite3 *raw, struct err *err, const char *what)
{
    enum err_code code = code_of(sqlite3_extended_errcode(raw));
    (void)err_set(err, code, "%.160s: %s", what, sqlite3_errmsg(raw));
    if (err && code == ERR_IO)
        err->sys = sqlite3_system_errno(raw);
    return code;
}

static enum err_code run_text(sqlite3 *raw, const char *sql, struct err *err, const char *what)
{
    if (sqlite3_exec(raw, sql, NULL, NULL, NULL) == SQLITE_OK)
        return ERR_OK;
    return fail(raw, err, what);
}

/* The first column of the first row. */
static enum err_code ask_int(sqlite3 *raw, const char *sql, int64_t *ret, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(raw, sql, -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        *ret = sqlite3_column_int64(stmt, 0);
    enum err_code code = rc == SQLITE_ROW ? ERR_OK : fail(raw, err, sql);
    (void)sqlite3_finalize(stmt);
    return code;
}

/* quick_check or integrity_check: one row "ok", or the damage. */
static enum err_code check_pages(sqlite3 *raw, const char *pragma, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(raw, pragma, -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    enum err_code code = ERR_OK;
    if (rc != SQLITE_ROW)
        code = fail(raw, err, pragma);
    else if (!str_equal((const char *)sqlite3_column_text(stmt, 0), "ok"))
        code = err_set(err, ERR_MALFORMED, "the database is damaged: %s",
                       (const char *)sqlite3_column_text(stmt, 0));
    (void)sqlite3_finalize(stmt);
    return code;
}

/* Only reads, so that a refused file stays as it is. */
static enum err_code check_ours(sqlite3 *raw, const struct db_schema *schema, int64_t *ret_version,
                                struct err *err)
{
    int64_t application = 0;
    int64_t objects = 0;
    enum err_code code = ask_int(raw, "PRAGMA application_id", &application, err);
    if (code == ERR_OK)
        code = ask_int(raw, "PRAGMA user_version", ret_version, err);
    if (code == ERR_OK)
        code = ask_int(raw, "SELECT count(*) FROM sqlite_schema", &objects, err);
    if (code != ERR_OK)
        return code;
    bool fresh = application == 0 && *ret_version == 0 && objects == 0;
    if (!fresh && application != schema->application_id)
        return err_set(err, ERR_MALFORMED,
                       "the database belongs to another program (application id %lld, not %lld)",
                       (long long)application, (long long)schema->application_id);
    if (*ret_version > schema->migrations_len || *ret_version < 0) {
        (void)err_set(err, ERR_MALFORMED,
                      "the database has version %lld, this program knows up to %d",
                      (long long)*ret_version, schema->migrations_len);
        return err ? err_hint(err, "start the newer program, or restore an older backup")
                   : ERR_MALFORMED;
    }
    return check_pages(raw, "PRAGMA quick_check(1)", err);
}

static enum err_code set_pragmas(sqlite3 *raw, struct err *err)
{
    static const char sql[] = "PRAGMA journal_mode = WAL;"
                              "PRAGMA synchronous = FULL;"
                              "PRAGMA foreign_keys = ON;"
                              "PRAGMA trusted_schema = OFF;"
                              "PRAGMA journal_size_limit = 16777216;";
    enum err_code code = run_text(raw, sql, err, "setting up the database");
    if (code == ERR_OK)
        (void)sqlite3_db_config(raw, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    return code;
}

static enum err_code migrate_one(sqlite3 *raw, const struct db_schema *schema, int from,
                                 struct err *err)
{
    char what[64];
    char stamp[128];
    (void)snprintf(what, sizeof what, "migration %d", from + 1);
    (void)snprintf(stamp, sizeof stamp, "PRAGMA application_id = %d; PRAGMA user_version = %d",
                   schema->application_id, from + 1);
    enum err_code code = run_text(raw, "BEGIN IMMEDIATE", err, what);
    if (code != ERR_OK)
        return code;
    code = run_text(raw, schema->migrations[from], err, what);
    if (code == ERR_OK)
        code = run_text(raw, stamp, err, what);
    if (code == ERR_OK)
        code = run_text(raw, "COMMIT", err, what);
    if (code != ERR_OK)
        (void)run_text(raw, "ROLLBACK", NULL, what);
    return code;
}

static enum err_code prepare_file(sqlite3 *raw, const struct db_schema *schema, struct err *err)
{
    int64_t version = 0;
    enum err_code code = check_ours(raw, schema, &version, err);
    if (code == ERR_OK)
        code = set_pragmas(raw, err);
    for (int i = (int)version; code == ERR_OK && i < schema->migrations_len; i++)
        code = migrate_one(raw, schema, i, err);
    return code;
}

/* SQLite would make it readable for all. */
static enum err_code make_file(const char *path, int flags, struct err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | flags, 0600);
    if (fd < 0)
        return err_sys(err, errno, "opening %s", path);
    (void)close(fd);
    return ERR_OK;
}

static enum err_code open_raw(const char *path, sqlite3 **ret, struct err *err)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    if (sqlite3_open_v2(path, ret, flags, NULL) != SQLITE_OK) {
        enum err_code code = fail(*ret, err, "opening the database");
        (void)sqlite3_close_v2(*ret);
        *ret = NULL;
        return code;
    }
    (void)sqlite3_busy_timeout(*ret, BUSY_TIMEOUT_MS);
    return ERR_OK;
}

enum err_code db_open(const char *path, const struct db_schema *schema, struct db **ret,
                      struct err *err)
{
    sqlite3 *raw = NULL;
    enum err_code code = make_file(path, 0, err);
    if (code == ERR_OK)
        code = open_raw(path, &raw, err);
    if (code == ERR_OK) {
        (void)sqlite3_db_config(raw, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        code = prepare_file(raw, schema, err);
    }
    if (code != ERR_OK) {
        (void)sqlite3_close_v2(raw);
        if (err)
            (void)err_wrap(err, "%s", path);
        return code;
    }
    struct db *db = mem_new(1, sizeof *db);
    db->raw = raw;
    *ret = db;
    return ERR_OK;
}

void db_close(struct db *db)
{
    if (!db)
        return;
    db_rollback(db);
    for (int i = 0; i < STMT_SLOTS; i++) {
        if (!db->stmts[i])
            continue;
        (void)sqlite3_finalize(db->stmts[i]->raw);
        mem_free(db->stmts[i]);
    }
    (void)sqlite3_close_v2(db->raw);
    mem_free(db);
}

/* Hands the transaction's first error out again. */
static enum err_code first_error(const struct db *db, struct err *err)
{
    if (db->first.code != ERR_OK && err)
        *err = db->first;
    return db->first.code;
}

/* Remembers the first error of an open transaction and gives found to the caller. */
static enum err_code poison(struct db *db, const struct err *found, struct err *err)
{
    if (db->open && db->first.code == ERR_OK)
        db->first = *found;
    if (err)
        *err = *found;
    return found->code;
}

enum err_code db_begin(struct db *db, struct err *err)
{
    if (db->open)
        return first_error(db, err);
    enum err_code code = run_text(db->raw, "BEGIN IMMEDIATE", err, "opening a transaction");
    if (code == ERR_OK) {
        db->open = true;
        db->first = (struct err){0};
    }
    return code;
}

enum err_code db_commit(struct db *db, struct err *err)
{
    if (!db->open)
        return ERR_OK;
    enum err_code code = first_error(db, err);
    if (code == ERR_OK)
        code = run_text(db->raw, "COMMIT", err, "committing");
    if (code != ERR_OK)
        db_rollback(db);
    db->open = false;
    return code;
}

void db_rollback(struct db *db)
{
    if (!db->open)
        return;
    /* Some errors have made SQLite roll back already. */
    if (!sqlite3_get_autocommit(db->raw))
        (void)run_text(db->raw, "ROLLBACK", NULL, "rolling back");
    db->open = false;
    db->first = (struct err){0};
}

bool db_in_transaction(const struct db *db)
{
    return db->open;
}

static size_t slot_of(const char *sql)
{
    return (size_t)(((uintptr_t)sql * UINT64_C(0x9e3779b97f4a7c15)) >> 32) % STMT_SLOTS;
}

/* Exactly one statement: what stands behind it would be ignored without a word. */
static void prepare(struct db_stmt *stmt)
{
    const char *tail = NULL;
    sqlite3 *raw = stmt->db->raw;
    sqlite3_stmt *second = NULL;
    if (sqlite3_prepare_v3(raw, stmt->sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt->raw, &tail) !=
        SQLITE_OK) {
        (void)fail(raw, &stmt->err, stmt->sql);
        return;
    }
    bool more = sqlite3_prepare_v2(raw, tail, -1, &second, NULL) != SQLITE_OK || second;
    (void)sqlite3_finalize(second);
    if (!stmt->raw || more) {
        (void)err_set(&stmt->err, ERR_FAILED, "not exactly one statement: %.160s", stmt->sql);
        (void)sqlite3_finalize(stmt->raw);
        stmt->raw = NULL;
    }
}

static struct db_stmt *find_stmt(struct db *db, const char *sql)
{
    size_t slot = slot_of(sql);
    while (db->stmts[slot] && db->stmts[slot]->sql != sql)
        slot = (slot + 1) % STMT_SLOTS;
    if (!db->stmts[slot]) {
        struct db_stmt *stmt = mem_new(1, sizeof *stmt);
        stmt->db = db;
        stmt->sql = sql;
        db->stmts[slot] = stmt;
        /* One slot stays empty for ever, else a search would not end. */
        if (++db->stmts_len > STMTS_MAX)
            abort();
    }
    return db->stmts[slot];
}

static int bind_bytes(sqlite3_stmt *raw, int index, struct bytes value)
{
    /* Without a pointer SQLite would bind NULL. */
    return sqlite3_bind_blob64(raw, index, value.ptr ? (const void *)value.ptr : "", value.len,
                               SQLITE_TRANSIENT);
}

static void bind(struct db_stmt *stmt, const char *types, va_list args)
{
    int rc = SQLITE_OK;
    int index = 0;
    for (const char *type = types; *type && rc == SQLITE_OK; type++) {
        index++;
        if (*type == 'i')
            rc = sqlite3_bind_int64(stmt->raw, index, va_arg(args, int64_t));
        else if (*type == 's')
            rc = sqlite3_bind_text(stmt->raw, index, va_arg(args, const char *), -1,
                                   SQLITE_TRANSIENT);
        else if (*type == 'b')
            rc = bind_bytes(stmt->raw, index, va_arg(args, struct bytes));
        else if (*type == 'd')
            rc = sqlite3_bind_double(stmt->raw, index, va_arg(args, double));
        else if (*type != 'n')
            rc = SQLITE_MISUSE;
    }
    if (rc != SQLITE_OK || index != sqlite3_bind_parameter_count(stmt->raw))
        (void)err_set(&stmt->err, ERR_FAILED, "value %d of \"%s\" cannot be bound: %.160s", index,
                      types, stmt->sql);
}

struct db_stmt *db_stmt(struct db *db, const char *sql, const char *types, ...)
{
    struct db_stmt *stmt = find_stmt(db, sql);
    stmt->err = (struct err){0};
    if (!stmt->raw)
        prepare(stmt);
    if (!stmt->raw)
        return stmt;
    (void)sqlite3_reset(stmt->raw);
    (void)sqlite3_clear_bindings(stmt->raw);
    va_list args;
    va_start(args, types);
    bind(stmt, types, args);
    va_end(args);
    return stmt;
}

/* What stands against running it now: a poisoned transaction, its own preparation. */
static enum err_code may_run(struct db *db, struct db_stmt *stmt, struct err *err)
{
    if (db->open && db->first.code != ERR_OK)
        return first_error(db, err);
    if (stmt->err.code != ERR_OK)
        return poison(db, &stmt->err, err);
    return ERR_OK;
}

static enum err_code step_failed(struct db *db, struct db_stmt *stmt, struct err *err)
{
    struct err found = {0};
    (void)fail(db->raw, &found, stmt->sql);
    (void)sqlite3_reset(stmt->raw);
    return poison(db, &found, err);
}

enum err_code db_run(struct db *db, struct db_stmt *stmt, struct err *err)
{
    enum err_code code = db_begin(db, err);
    if (code == ERR_OK)
        code = may_run(db, stmt, err);
    if (code != ERR_OK)
        return code;
    int rc = sqlite3_step(stmt->raw);
    while (rc == SQLITE_ROW)
        rc = sqlite3_step(stmt->raw);
    if (rc != SQLITE_DONE)
        return step_failed(db, stmt, err);
    (void)sqlite3_reset(stmt->raw);
    return ERR_OK;
}

bool db_row(struct db *db, struct db_stmt *stmt, struct err *err)
{
    err->code = ERR_OK;
    /* INSERT ... RETURNING writes too. */
    if (stmt->raw && !sqlite3_stmt_readonly(stmt->raw) && db_begin(db, err) != ERR_OK)
        return false;
    if (may_run(db, stmt, err) != ERR_OK)
        return false;
    int rc = sqlite3_step(stmt->raw);
    if (rc == SQLITE_ROW)
        return true;
    if (rc == SQLITE_DONE)
        (void)sqlite3_reset(stmt->raw);
    else
        (void)step_failed(db, stmt, err);
    return false;
}

int64_t db_int(struct db_stmt *stmt, int column)
{
    return sqlite3_column_int64(stmt->raw, column);
}

double db_double(struct db_stmt *stmt, int column)
{
    return sqlite3_column_double(stmt->raw, column);
}

const char *db_text(struct db_stmt *stmt, int column)
{
    const char *text = (const char *)sqlite3_column_text(stmt->raw, column);
    return text ? text : "";
}

struct bytes db_bytes(struct db_stmt *stmt, int column)
{
    const void *data = sqlite3_column_blob(stmt->raw, column);
    return bytes_of(data, (size_t)sqlite3_column_bytes(stmt->raw, column));
}

bool db_is_null(struct db_stmt *stmt, int column)
{
    return sqlite3_column_type(stmt->raw, column) == SQLITE_NULL;
}

int64_t db_last_id(const struct db *db)
{
    return sqlite3_last_insert_rowid(db->raw);
}

int64_t db_changes(const struct db *db)
{
    return sqlite3_changes64(db->raw);
}

static enum err_code copy_pages(struct db *db, sqlite3 *target, struct err *err)
{
    sqlite3_backup *backup = sqlite3_backup_init(target, "main", db->raw, "main");
    if (!backup)
        return fail(target, err, "starting the backup");
    int rc = sqlite3_backup_step(backup, -1);
    int finish = sqlite3_backup_finish(backup);
    if (rc == SQLITE_DONE && finish == SQLITE_OK)
        return ERR_OK;
    return fail(target, err, "copying the database");
}

/* A copy in one file, whole and checked. */
static enum err_code write_copy(struct db *db, const char *path, struct err *err)
{
    sqlite3 *target = NULL;
    enum err_code code = make_file(path, O_EXCL | O_NOFOLLOW, err);
    if (code == ERR_OK)
        code = open_raw(path, &target, err);
    if (code == ERR_OK)
        code = copy_pages(db, target, err);
    if (code == ERR_OK)
        code = run_text(target, "PRAGMA journal_mode = DELETE", err, "closing the backup");
    if (code == ERR_OK)
        code = check_pages(target, "PRAGMA integrity_check(1)", err);
    (void)sqlite3_close_v2(target);
    return code;
}

static enum err_code sync_file(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int failed = fd < 0 ? -1 : fsync(fd);
    int why = errno;
    if (fd >= 0)
        (void)close(fd);
    return failed ? err_sys(err, why, "syncing %s", path) : ERR_OK;
}

static enum err_code put_in_place(const char *from, const char *path, struct err *err)
{
    char folder[PATH_MAX];
    if (str_copy(folder, sizeof folder, path) != ERR_OK)
        return err_set(err, ERR_SIZE, "the path is longer than %d bytes", PATH_MAX);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    if (rename(from, path) != 0)
        return err_sys(err, errno, "renaming %s", from);
    return file_sync_dir(slash ? folder : ".", err);
}

enum err_code db_backup(struct db *db, const char *path, struct err *err)
{
    char neighbour[PATH_MAX];
    if (db->open)
        return err_set(err, ERR_CONFLICT, "a backup in the middle of a transaction");
    int len = snprintf(neighbour, sizeof neighbour, "%s.tmp", path);
    if (len < 0 || (size_t)len >= sizeof neighbour)
        return err_set(err, ERR_SIZE, "the path is longer than %d bytes", PATH_MAX);
    (void)unlink(neighbour); /* of a backup that a power cut ended */
    enum err_code code = write_copy(db, neighbour, err);
    if (code == ERR_OK)
        code = sync_file(neighbour, err);
    if (code == ERR_OK)
        code = put_in_place(neighbour, path, err);
    if (code != ERR_OK)
        (void)unlink(neighbour);
    if (code != ERR_OK && err)
        (void)err_wrap(err, "backup to %s", path);
    return code;
}
