/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "captain/io/store/log.h"
#include "common/base/mem.h"
#include "tests/support/tempdir.h"

struct world {
    char *dir;
    struct db *db;
    struct arena arena;
    struct err err;
};

static int set_up(void **state)
{
    struct world *w = mem_new(1, sizeof *w);
    w->dir = tempdir_make();
    arena_init(&w->arena, 16 << 20);
    assert_int_equal(store_open(w->dir, &w->db, &w->err), ERR_OK);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    db_close(w->db);
    arena_fini(&w->arena);
    tempdir_remove(w->dir);
    mem_free(w);
    return 0;
}

static enum err_code append(struct world *w, uint64_t seq, const char *kind, const char *subject)
{
    char text[64];
    uint8_t hash[DIGEST_BYTES] = {(uint8_t)seq, 7};
    struct log_entry entry = {.seq = seq, .kind = kind, .subject = subject};
    int len = snprintf(text, sizeof text, "entry %u", (unsigned)seq);
    return store_log_append(w->db, &entry, bytes_of(text, (size_t)len), hash, &w->err);
}

static void fill(struct world *w)
{
    assert_int_equal(append(w, 1, "captain.started", "h:1"), ERR_OK);
    assert_int_equal(append(w, 2, "channel.set", "hello/stable"), ERR_OK);
    assert_int_equal(append(w, 3, "channel.set", "hello/beta"), ERR_OK);
    assert_int_equal(append(w, 4, "captain.started", "h:2"), ERR_OK);
    assert_int_equal(append(w, 5, "channel.set", "hello/stable"), ERR_OK);
    assert_int_equal(db_commit(w->db, &w->err), ERR_OK);
}

static void test_store_log__an_empty_log_ends_at_zero(void **state)
{
    struct world *w = *state;
    uint64_t seq = 9;
    uint8_t hash[DIGEST_BYTES] = {1};
    uint8_t zero[DIGEST_BYTES] = {0};
    assert_int_equal(store_log_last(w->db, &seq, hash, &w->err), ERR_OK);
    assert_int_equal(seq, 0);
    assert_memory_equal(hash, zero, DIGEST_BYTES);
}

static void test_store_log__keeps_entries_over_a_restart(void **state)
{
    struct world *w = *state;
    struct store_log_row row;
    uint64_t seq = 0;
    uint8_t hash[DIGEST_BYTES];
    fill(w);
    db_close(w->db);
    w->db = NULL;
    assert_int_equal(store_open(w->dir, &w->db, &w->err), ERR_OK);
    assert_int_equal(store_log_last(w->db, &seq, hash, &w->err), ERR_OK);
    assert_int_equal(seq, 5);
    assert_int_equal(hash[0], 5);
    assert_int_equal(store_log_get(w->db, 3, &w->arena, &row, &w->err), ERR_OK);
    assert_int_equal(row.seq, 3);
    assert_int_equal(row.entry.len, 7);
    assert_memory_equal(row.entry.ptr, "entry 3", 7);
    assert_int_equal(store_log_get(w->db, 6, &w->arena, &row, &w->err), ERR_NOT_FOUND);
    assert_string_equal(w->err.text, "the log has no entry 6");
}

static void test_store_log__refuses_gaps_and_repetitions(void **state)
{
    struct world *w = *state;
    fill(w);
    assert_int_equal(append(w, 7, "channel.set", "x"), ERR_FAILED);
    assert_non_null(strstr(w->err.text, "the log grows by one entry at a time"));
    db_rollback(w->db);
    assert_int_equal(append(w, 5, "channel.set", "x"), ERR_FAILED);
    db_rollback(w->db);
    assert_int_equal(append(w, 6, "channel.set", "x"), ERR_OK);
    assert_int_equal(db_commit(w->db, &w->err), ERR_OK);
}

static void test_store_log__refuses_edits_and_cuts(void **state)
{
    static const char edit[] = "UPDATE log SET kind = 'x' WHERE seq = 2";
    static const char cut[] = "DELETE FROM log WHERE seq = 5";
    struct world *w = *state;
    fill(w);
    assert_int_equal(db_run(w->db, db_stmt(w->db, edit, ""), &w->err), ERR_FAILED);
    assert_non_null(strstr(w->err.text, "append-only"));
    db_rollback(w->db);
    assert_int_equal(db_run(w->db, db_stmt(w->db, cut, ""), &w->err), ERR_FAILED);
    assert_non_null(strstr(w->err.text, "append-only"));
    db_rollback(w->db);
}

static void expect_list(struct world *w, uint64_t before, const char *kind, const char *subject,
                        uint32_t limit, const char *want)
{
    struct store_log_row *rows = NULL;
    size_t len = 0;
    char got[64] = "";
    assert_int_equal(
        store_log_list(w->db, before, kind, subject, limit, &w->arena, &rows, &len, &w->err),
        ERR_OK);
    for (size_t i = 0; i < len; i++)
        (void)snprintf(got + strlen(got), sizeof got - strlen(got), "%u ", (unsigned)rows[i].seq);
    assert_string_equal(got, want);
}

static void test_store_log__lists_newest_first_with_filters_and_cursor(void **state)
{
    struct world *w = *state;
    fill(w);
    expect_list(w, 0, "", "", 50, "5 4 3 2 1 ");
    expect_list(w, 0, "", "", 2, "5 4 ");
    expect_list(w, 4, "", "", 2, "3 2 ");
    expect_list(w, 0, "channel.set", "", 50, "5 3 2 ");
    expect_list(w, 5, "channel.set", "", 50, "3 2 ");
    expect_list(w, 0, "", "hello/stable", 50, "5 2 ");
    expect_list(w, 0, "captain.started", "h:2", 50, "4 ");
    expect_list(w, 0, "captain.started", "hello/stable", 50, "");
    expect_list(w, 1, "", "", 50, "");
}

static void test_store_log__an_answer_beyond_the_arena_is_refused_whole(void **state)
{
    struct world *w = *state;
    struct store_log_row *rows = NULL;
    size_t len = 0;
    struct arena small;
    fill(w);
    arena_init(&small, 64);
    assert_int_equal(store_log_list(w->db, 0, "", "", 50, &small, &rows, &len, &w->err), ERR_SIZE);
    assert_null(rows);
    arena_fini(&small);
}

static void test_store_setting__keeps_numbers(void **state)
{
    struct world *w = *state;
    int64_t value = 0;
    assert_int_equal(store_setting_get_int(w->db, "x", 42, &value, &w->err), ERR_OK);
    assert_int_equal(value, 42);
    assert_int_equal(store_setting_set_int(w->db, "x", -3, &w->err), ERR_OK);
    assert_int_equal(store_setting_set_int(w->db, "x", INT64_MAX, &w->err), ERR_OK);
    assert_int_equal(db_commit(w->db, &w->err), ERR_OK);
    assert_int_equal(store_setting_get_int(w->db, "x", 42, &value, &w->err), ERR_OK);
    assert_true(value == INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_store_log__an_empty_log_ends_at_zero, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_store_log__keeps_entries_over_a_restart, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_store_log__refuses_gaps_and_repetitions, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_store_log__refuses_edits_and_cuts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_store_log__lists_newest_first_with_filters_and_cursor,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_store_log__an_answer_beyond_the_arena_is_refused_whole,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_store_setting__keeps_numbers, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
