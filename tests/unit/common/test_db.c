/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "common/base/mem.h"
#include "common/db.h"
#include "tests/support/tempdir.h"

enum { APPLICATION = 0x43415054 };

static const char *const migrations[] = {
    ("CREATE TABLE thing (id INTEGER PRIMARY KEY, name TEXT UNIQUE, data BLOB, size REAL) STRICT;"
     "CREATE TABLE part (thing INTEGER NOT NULL REFERENCES thing (id)) STRICT;"),
    "ALTER TABLE thing ADD COLUMN note TEXT",
    "INSERT INTO thing (name) VALUES ('from migration 3')",
};
static const struct db_schema schema = {APPLICATION, migrations, 2};
static const char put[] = "INSERT INTO thing (name, data, size, note) VALUES (?, ?, ?, ?)";
static const char put_name[] = "INSERT INTO thing (name) VALUES (?)";
static const char count_all[] = "SELECT count(*) FROM thing";

struct fixture {
    char *dir;
    char *path;
    struct db *db;
    struct err err;
};

static int set_up(void **state)
{
    struct fixture *f = mem_new(1, sizeof *f);
    f->dir = tempdir_make();
    f->path = tempdir_path(f->dir, "test.db");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    db_close(f->db);
    tempdir_remove(f->dir);
    free(f->path);
    mem_free(f);
    return 0;
}

static void open_db(struct fixture *f)
{
    if (db_open(f->path, &schema, &f->db, &f->err) != ERR_OK)
        fail_msg("%s", f->err.text);
}

static void close_db(struct fixture *f)
{
    db_close(f->db);
    f->db = NULL;
}

static void add(struct fixture *f, const char *name)
{
    assert_int_equal(db_run(f->db, db_stmt(f->db, put_name, "s", name), &f->err), ERR_OK);
}

static int64_t ask(struct db *db, const char *sql)
{
    struct err err;
    struct db_stmt *stmt = db_stmt(db, sql, "");
    assert_true(db_row(db, stmt, &err));
    int64_t answer = db_int(stmt, 0);
    assert_false(db_row(db, stmt, &err));
    assert_int_equal(err.code, ERR_OK);
    return answer;
}

/* Runs sql on the file without the house's code. */
static void with_sqlite(const char *path, const char *sql)
{
    sqlite3 *raw = NULL;
    assert_int_equal(sqlite3_open(path, &raw), SQLITE_OK);
    assert_int_equal(sqlite3_exec(raw, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(raw), SQLITE_OK);
}

/* Opening fails with these words and leaves every byte as it was. */
static void assert_refused(struct fixture *f, const char *says)
{
    size_t before_len = 0;
    size_t after_len = 0;
    char *before = tempdir_read(f->path, &before_len);
    struct db *db = NULL;
    assert_int_equal(db_open(f->path, &schema, &db, &f->err), ERR_MALFORMED);
    assert_null(db);
    if (!strstr(f->err.text, says))
        fail_msg("\"%s\" does not say \"%s\"", f->err.text, says);
    assert_non_null(strstr(f->err.text, f->path));
    char *after = tempdir_read(f->path, &after_len);
    assert_int_equal(after_len, before_len);
    assert_memory_equal(after, before, before_len);
    free(before);
    free(after);
}

static void test_db__a_new_file_gets_every_migration_and_the_pragmas(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    open_db(f);
    assert_int_equal(ask(f->db, "PRAGMA user_version"), 2);
    assert_int_equal(ask(f->db, "PRAGMA application_id"), APPLICATION);
    assert_int_equal(ask(f->db, "PRAGMA synchronous"), 2);
    assert_int_equal(ask(f->db, "PRAGMA foreign_keys"), 1);
    assert_int_equal(ask(f->db, "SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
    assert_int_equal(ask(f->db, "SELECT count(*) FROM pragma_table_info('thing')"), 5);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_db__an_older_file_is_brought_up_once(void **state)
{
    struct fixture *f = *state;
    const struct db_schema later = {APPLICATION, migrations, 3};
    open_db(f);
    add(f, "old");
    assert_int_equal(db_commit(f->db, &f->err), ERR_OK);
    close_db(f);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(db_open(f->path, &later, &f->db, &f->err), ERR_OK);
        assert_int_equal(ask(f->db, "PRAGMA user_version"), 3);
        assert_int_equal(ask(f->db, count_all), 2);
        close_db(f);
    }
}

static void test_db__a_failing_migration_leaves_the_version_before_it(void **state)
{
    struct fixture *f = *state;
    const char *const broken[] = {migrations[0], migrations[1],
                                  "INSERT INTO thing (name) VALUES ('x'); CREATE NONSENSE"};
    const struct db_schema later = {APPLICATION, broken, 3};
    open_db(f);
    close_db(f);
    assert_int_not_equal(db_open(f->path, &later, &f->db, &f->err), ERR_OK);
    assert_non_null(strstr(f->err.text, "migration 3"));
    assert_non_null(strstr(f->err.text, "NONSENSE"));
    open_db(f);
    assert_int_equal(ask(f->db, "PRAGMA user_version"), 2);
    assert_int_equal(ask(f->db, count_all), 0);
}

static void test_db__a_newer_file_is_refused_and_unchanged(void **state)
{
    struct fixture *f = *state;
    open_db(f);
    close_db(f);
    with_sqlite(f->path, "PRAGMA user_version = 3");
    assert_refused(f, "version 3, this program knows up to 2");
    assert_non_null(strstr(f->err.hint, "newer program"));
}

static void test_db__a_newer_file_with_a_full_wal_is_unchanged(void **state)
{
    struct fixture *f = *state;
    open_db(f);
    close_db(f);
    /* A process that died leaves its last commits in the write-ahead log. */
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        sqlite3 *raw = NULL;
        (void)sqlite3_open(f->path, &raw);
        (void)sqlite3_exec(raw, "PRAGMA user_version = 9", NULL, NULL, NULL);
        (void)kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_refused(f, "version 9");
}

static void test_db__another_programs_file_is_refused(void **state)
{
    struct fixture *f = *state;
    with_sqlite(f->path, "PRAGMA application_id = 77; CREATE TABLE t (x)");
    assert_refused(f, "belongs to another program (application id 77");
}

static void test_db__a_file_with_tables_but_no_owner_is_refused(void **state)
{
    struct fixture *f = *state;
    with_sqlite(f->path, "CREATE TABLE t (x)");
    assert_refused(f, "belongs to another program");
}

static void test_db__what_is_no_database_is_refused(void **state)
{
    struct fixture *f = *state;
    char text[4096];
    memset(text, 'x', sizeof text);
    tempdir_write(f->path, text, sizeof text);
    assert_refused(f, "not a database");
}

static void test_db__a_damaged_file_is_refused(void **state)
{
    struct fixture *f = *state;
    open_db(f);
    for (int i = 0; i < 2000; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "a name long enough to fill pages %d", i);
        add(f, name);
    }
    assert_int_equal(db_commit(f->db, &f->err), ERR_OK);
    close_db(f);
    size_t len = 0;
    char *data = tempdir_read(f->path, &len);
    assert_true(len > 20 * 4096);
    memset(data + 10 * 4096, 0xff, 4096);
    tempdir_write(f->path, data, len);
    free(data);
    assert_refused(f, "");
}

static void test_db__a_folder_that_is_missing_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct db *db = NULL;
    assert_int_equal(db_open("/nonexistent/x.db", &schema, &db, &f->err), ERR_IO);
    assert_null(db);
    db_close(NULL);
}

static void test_db__values_come_back_as_they_went_in(void **state)
{
    struct fixture *f = *state;
    const uint8_t data[] = {0, 1, 0xff, 0};
    open_db(f);
    assert_int_equal(db_run(f->db,
                            db_stmt(f->db, put, "sbds", "n\xc3\xa4me", bytes_of(data, 4), 1.5,
                                    (const char *)NULL),
                            &f->err),
                     ERR_OK);
    assert_int_equal(db_last_id(f->db), 1);
    assert_int_equal(db_changes(f->db), 1);
    assert_int_equal(
        db_run(f->db, db_stmt(f->db, put, "sbns", "empty", bytes_of(NULL, 0), ""), &f->err),
        ERR_OK);
    struct db_stmt *rows =
        db_stmt(f->db, "SELECT name, data, size, note, id + ? FROM thing ORDER BY id", "i",
                INT64_C(1) << 40);
    assert_true(db_row(f->db, rows, &f->err));
    assert_string_equal(db_text(rows, 0), "n\xc3\xa4me");
    assert_true(bytes_equal(db_bytes(rows, 1), bytes_of(data, 4)));
    assert_true(db_double(rows, 2) == 1.5);
    assert_true(db_is_null(rows, 3));
    assert_string_equal(db_text(rows, 3), "");
    assert_int_equal(db_int(rows, 4), (INT64_C(1) << 40) + 1);
    assert_true(db_row(f->db, rows, &f->err));
    assert_false(db_is_null(rows, 1));
    assert_int_equal(db_bytes(rows, 1).len, 0);
    assert_true(db_is_null(rows, 2));
    assert_false(db_is_null(rows, 3));
    assert_false(db_row(f->db, rows, &f->err));
    assert_int_equal(f->err.code, ERR_OK);
}

static void test_db__a_turn_is_one_transaction(void **state)
{
    struct fixture *f = *state;
    open_db(f);
    assert_int_equal(db_commit(f->db, &f->err), ERR_OK);
    assert_false(db_in_transaction(f->db));
    add(f, "a");
    assert_true(db_in_transaction(f->db));
    add(f, "b");
    assert_int_equal(db_begin(f->db, &f->err), ERR_OK);
    assert_int_equal(ask(f->db, count_all), 2);
    db_rollback(f->db);
    assert_int_equal(ask(f->db, count_all), 0);
    assert_false(db_in_transaction(f->db));
    add(f, "c");
    assert_int_equal(db_commit(f->db, &f->err), ERR_OK);
    add(f, "d");
    close_db(f);
    open_db(f);
    assert_int_equal(ask(f->db, count_all), 1);
}

static void test_db__a_row_that_writes_opens_the_transaction(void **state)
{
    struct fixture *f = *state;
    static const char returning[] = "INSERT INTO thing (name) VALUES (?) RETURNING id";
    open_db(f);
    struct db_stmt *stmt = db_stmt(f->db, returning, "s", "a");
    assert_true(db_row(f->db, stmt, &f->err));
    assert_int_equal(db_int(stmt, 0), 1);
    assert_false(db_row(f->db, stmt, &f->err));
    assert_true(db_in_transaction(f->db));
    db_rollback(f->db);
    assert_int_equal(ask(f->db, count_all), 0);
}

static void test_db__a_failing_statement_poisons_the_transaction(void **state)
{
    struct fixture *f = *state;
    struct err first;
    open_db(f);
    add(f, "same");
    assert_int_not_equal(db_run(f->db, db_stmt(f->db, put_name, "s", "same"), &first), ERR_OK);
    assert_non_null(strstr(first.text, "UNIQUE"));
    /* Whoever did not look goes on and gets nowhere. */
    assert_int_not_equal(db_run(f->db, db_stmt(f->db, put_name, "s", "other"), &f->err), ERR_OK);
    assert_false(db_row(f->db, db_stmt(f->db, count_all, ""), &f->err));
    assert_string_equal(f->err.text, first.text);
    assert_int_equal(db_begin(f->db, &f->err), first.code);
    assert_int_equal(db_commit(f->db, &f->err), first.code);
    assert_string_equal(f->err.text, first.text);
    assert_false(db_in_transaction(f->db));
    assert_int_equal(ask(f->db, count_all), 0);
    add(f, "same");
    assert_int_equal(db_commit(f->db, &f->err), ERR_OK);
    assert_int_equal(ask(f->db, count_all), 1);
}

static void test_db__a_row_that_fails_poisons_too(void **state)
{
    struct fixture *f = *state;
    open_db(f);
    add(f, "a");
    assert_false(
        db_row(f->db, db_stmt(f->db, "SELECT abs(-9223372036854775807 - 1)", ""), &f->err));
    assert_int_not_equal(f->err.code, ERR_OK);
    assert_int_not_equal(db_commit(f->db, &f->err), ERR_OK);
    assert_int_equal(ask(f->db, count_all), 0);
}

static void test_db__foreign_keys_hold(void **state)
{
    struct fixture *f = *state;
    open_db(f);
    assert_int_not_equal(
        db_run(f->db, db_stmt(f->db, "INSERT INTO part VALUES (?)", "i", INT64_C(5)), &f->err),
        ERR_OK);
    assert_non_null(strstr(f->err.text, "FOREIGN KEY"));
}

static void test_db__bad_statements_fail_when_run(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *sql, *types;
    } bad[] = {
        {"SELECT nonsense", ""},
        {"", ""},
        {"SELECT 1; SELECT 2", ""},
        {"SELECT ?", ""},
        {"SELECT 1 -- ends here", "n"},
        {"SELECT ?, ?", "nnn"},
        {"SELECT ?", "x"},
    };
    open_db(f);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        f->err = (struct err){0};
        assert_int_not_equal(db_run(f->db, db_stmt(f->db, bad[i].sql, bad[i].types), &f->err),
                             ERR_OK);
        assert_int_not_equal(f->err.code, ERR_OK);
        assert_int_not_equal(db_commit(f->db, &f->err), ERR_OK);
        assert_false(db_row(f->db, db_stmt(f->db, bad[i].sql, bad[i].types), &f->err));
        assert_int_not_equal(f->err.code, ERR_OK);
    }
    assert_int_equal(ask(f->db, "SELECT 7; -- a comment may follow"), 7);
}

static void test_db__a_statement_is_prepared_once(void **state)
{
    struct fixture *f = *state;
    open_db(f);
    struct db_stmt *stmt = db_stmt(f->db, put_name, "s", "a");
    assert_ptr_equal(db_stmt(f->db, put_name, "s", "b"), stmt);
    assert_int_equal(db_run(f->db, stmt, &f->err), ERR_OK);
    assert_int_equal(ask(f->db, "SELECT count(*) FROM thing WHERE name = 'b'"), 1);
}

static void test_db__another_writer_is_waited_for_and_then_named_a_conflict(void **state)
{
    struct fixture *f = *state;
    sqlite3 *other = NULL;
    open_db(f);
    assert_int_equal(sqlite3_open(f->path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(db_run(f->db, db_stmt(f->db, put_name, "s", "a"), &f->err), ERR_CONFLICT);
    assert_false(db_in_transaction(f->db));
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
    add(f, "a");
    assert_int_equal(db_commit(f->db, &f->err), ERR_OK);
}

static void test_db__a_backup_is_whole_checked_and_alone(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    char *copy = tempdir_path(f->dir, "copy.db");
    open_db(f);
    add(f, "a");
    assert_int_equal(db_backup(f->db, copy, &f->err), ERR_CONFLICT);
    assert_int_equal(db_commit(f->db, &f->err), ERR_OK);
    tempdir_write(copy, "an older backup", 15);
    char *left = tempdir_path(f->dir, "copy.db.tmp");
    tempdir_write(left, "left by a power cut", 19);
    assert_int_equal(db_backup(f->db, copy, &f->err), ERR_OK);
    assert_int_equal(stat(copy, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_not_equal(access(left, F_OK), 0);
    add(f, "after the backup");
    assert_int_equal(db_commit(f->db, &f->err), ERR_OK);
    struct db *db = NULL;
    assert_int_equal(db_open(copy, &schema, &db, &f->err), ERR_OK);
    assert_int_equal(ask(db, count_all), 1);
    db_close(db);
    free(left);
    free(copy);
}

static void test_db__a_backup_that_fails_leaves_the_old_one(void **state)
{
    struct fixture *f = *state;
    char *copy = tempdir_path(f->dir, "copy.db");
    char *left = tempdir_path(f->dir, "copy.db.tmp");
    open_db(f);
    for (int i = 0; i < 2000; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "a name long enough to fill pages %d", i);
        add(f, name);
    }
    assert_int_equal(db_commit(f->db, &f->err), ERR_OK);
    assert_int_equal(db_backup(f->db, copy, &f->err), ERR_OK);
    close_db(f);
    open_db(f);
    /* The page rots behind the open database's back, which has it no longer in memory. */
    assert_int_equal(db_run(f->db, db_stmt(f->db, "PRAGMA shrink_memory", ""), &f->err), ERR_OK);
    assert_int_equal(db_commit(f->db, &f->err), ERR_OK);
    size_t len = 0;
    char *data = tempdir_read(f->path, &len);
    memset(data + 10 * 4096, 0xff, 4096);
    FILE *file = fopen(f->path, "r+e");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    free(data);
    assert_int_equal(db_backup(f->db, copy, &f->err), ERR_MALFORMED);
    assert_non_null(strstr(f->err.text, "backup to"));
    assert_int_not_equal(access(left, F_OK), 0);
    struct db *db = NULL;
    assert_int_equal(db_open(copy, &schema, &db, &f->err), ERR_OK);
    assert_int_equal(ask(db, count_all), 2000);
    db_close(db);
    free(left);
    free(copy);
}

#define WITH_FILE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FILE(test_db__a_new_file_gets_every_migration_and_the_pragmas),
        WITH_FILE(test_db__an_older_file_is_brought_up_once),
        WITH_FILE(test_db__a_failing_migration_leaves_the_version_before_it),
        WITH_FILE(test_db__a_newer_file_is_refused_and_unchanged),
        WITH_FILE(test_db__a_newer_file_with_a_full_wal_is_unchanged),
        WITH_FILE(test_db__another_programs_file_is_refused),
        WITH_FILE(test_db__a_file_with_tables_but_no_owner_is_refused),
        WITH_FILE(test_db__what_is_no_database_is_refused),
        WITH_FILE(test_db__a_damaged_file_is_refused),
        WITH_FILE(test_db__a_folder_that_is_missing_is_an_error),
        WITH_FILE(test_db__values_come_back_as_they_went_in),
        WITH_FILE(test_db__a_turn_is_one_transaction),
        WITH_FILE(test_db__a_row_that_writes_opens_the_transaction),
        WITH_FILE(test_db__a_failing_statement_poisons_the_transaction),
        WITH_FILE(test_db__a_row_that_fails_poisons_too),
        WITH_FILE(test_db__foreign_keys_hold),
        WITH_FILE(test_db__bad_statements_fail_when_run),
        WITH_FILE(test_db__a_statement_is_prepared_once),
        WITH_FILE(test_db__another_writer_is_waited_for_and_then_named_a_conflict),
        WITH_FILE(test_db__a_backup_is_whole_checked_and_alone),
        WITH_FILE(test_db__a_backup_that_fails_leaves_the_old_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
