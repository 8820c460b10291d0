/* SPDX-License-Identifier: Apache-2.0
 *
 * Processes that write a database and are killed, for real, at any moment.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/clock.h"
#include "common/db.h"
#include "tests/support/tempdir.h"

static const char *const migrations[] = {"CREATE TABLE thing (name TEXT UNIQUE) STRICT"};
static const struct db_schema schema = {7, migrations, 1};
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

/* Commits turn after turn of two rows each, telling the number of each committed turn; from the
 * turn stop_at on it stands still in the middle of an open transaction. */
static void write_turns(const char *path, int tell, int32_t from, int32_t stop_at)
{
    struct db *db = NULL;
    struct err err;
    if (db_open(path, &schema, &db, &err) != ERR_OK)
        _exit(1);
    for (int32_t turn = from;; turn++) {
        char name[2][32];
        for (int i = 0; i < 2; i++)
            (void)snprintf(name[i], sizeof name[i], "%d/%d", (int)turn, i);
        if (db_run(db, db_stmt(db, put_name, "s", name[0]), &err) != ERR_OK)
            _exit(1);
        if (turn == stop_at) {
            turn = -1;
            if (write(tell, &turn, sizeof turn) == sizeof turn)
                (void)pause();
            _exit(1);
        }
        if (db_run(db, db_stmt(db, put_name, "s", name[1]), &err) != ERR_OK ||
            db_commit(db, &err) != ERR_OK || write(tell, &turn, sizeof turn) != sizeof turn)
            _exit(1);
    }
}

struct writer {
    pid_t pid;
    int hear;
};

static struct writer start_writer(const struct fixture *f, int32_t from, int32_t stop_at)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        write_turns(f->path, ends[1], from, stop_at);
    (void)close(ends[1]);
    return (struct writer){pid, ends[0]};
}

/* Kills it and returns the last turn it told of, or last. */
static int32_t kill_writer(struct writer writer, int32_t last)
{
    int status = 0;
    int32_t turn = 0;
    assert_int_equal(kill(writer.pid, SIGKILL), 0);
    assert_int_equal(waitpid(writer.pid, &status, 0), writer.pid);
    assert_true(WIFSIGNALED(status));
    while (read(writer.hear, &turn, sizeof turn) == sizeof turn)
        last = turn;
    (void)close(writer.hear);
    return last;
}

static void test_db__killed_in_the_middle_of_a_transaction_it_loses_only_that(void **state)
{
    struct fixture *f = *state;
    open_db(f);
    close_db(f);
    struct writer writer = start_writer(f, 1, 4);
    int32_t turn = 0;
    do
        assert_int_equal(read(writer.hear, &turn, sizeof turn), sizeof turn);
    while (turn != -1);
    (void)kill_writer(writer, 0);
    open_db(f);
    assert_int_equal(ask(f->db, count_all), 6);
    assert_int_equal(ask(f->db, "SELECT count(*) FROM thing WHERE name LIKE '4/%'"), 0);
}

static void test_db__killed_anywhere_nothing_committed_is_lost(void **state)
{
    struct fixture *f = *state;
    const uint64_t seed = (uint64_t)clock_unix_ms();
    struct rng rng;
    int32_t turn = 0;
    print_message("seed %llu\n", (unsigned long long)seed);
    rng_seed(&rng, seed);
    open_db(f);
    close_db(f);
    for (int round = 0; round < 15; round++) {
        struct writer writer = start_writer(f, turn + 1, -1);
        uint64_t wait = 1 + rng_below(&rng, 20);
        for (uint64_t i = 0; i < wait; i++)
            assert_int_equal(read(writer.hear, &turn, sizeof turn), sizeof turn);
        for (uint64_t spins = rng_below(&rng, 20000); spins; spins--)
            (void)clock_mono_ns();
        turn = kill_writer(writer, turn);
        open_db(f);
        /* The one after it may have been committed without being told of. */
        int64_t turns = ask(f->db, count_all) / 2;
        assert_in_range(turns, turn, turn + 1);
        assert_int_equal(ask(f->db, "SELECT count(*) FROM (SELECT 1 FROM thing GROUP BY "
                                    "substr(name, 1, instr(name, '/')) HAVING count(*) <> 2)"),
                         0);
        turn = (int32_t)turns;
        close_db(f);
    }
}

#define WITH_FILE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FILE(test_db__killed_in_the_middle_of_a_transaction_it_loses_only_that),
        WITH_FILE(test_db__killed_anywhere_nothing_committed_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
