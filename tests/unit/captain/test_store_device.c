/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "captain/io/store/device.h"
#include "common/base/mem.h"
#include "tests/support/tempdir.h"

static const char epoch_1[] = "01HZZZZZZZZZZZZZZZZZZZZZZ1";
static const char epoch_2[] = "01HZZZZZZZZZZZZZZZZZZZZZZ2";

struct world {
    char *dir;
    struct db *db;
    struct arena arena;
    struct err err;
    int64_t d1, d2;
};

static int set_up(void **state)
{
    struct world *w = mem_new(1, sizeof *w);
    w->dir = tempdir_make();
    arena_init(&w->arena, 16 << 20);
    assert_int_equal(store_open(w->dir, &w->db, &w->err), ERR_OK);
    assert_int_equal(store_device_add(w->db, "site/d1", 1000, &w->d1, &w->err), ERR_OK);
    assert_int_equal(store_device_add(w->db, "site/d2", 2000, &w->d2, &w->err), ERR_OK);
    assert_int_equal(db_commit(w->db, &w->err), ERR_OK);
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

static void test_store_device__has_the_same_row_for_ever(void **state)
{
    struct world *w = *state;
    int64_t again = 0;
    assert_int_not_equal(w->d1, w->d2);
    assert_int_equal(store_device_add(w->db, "site/d1", 9999, &again, &w->err), ERR_OK);
    assert_int_equal(again, w->d1);
    struct store_device device;
    assert_int_equal(store_device_get(w->db, w->d1, &w->arena, &device, &w->err), ERR_OK);
    assert_string_equal(device.device, "site/d1");
    assert_int_equal(device.first_seen_ms, 1000);
    assert_int_equal(device.last_seen_ms, 0);
    assert_int_equal(device.health.len, 0);
    assert_string_equal(device.epoch, "");
    assert_int_equal(store_device_get(w->db, 77, &w->arena, &device, &w->err), ERR_NOT_FOUND);
}

static void test_store_device__keeps_the_latest_of_everything(void **state)
{
    struct world *w = *state;
    struct store_device device;
    for (int round = 1; round <= 2; round++) {
        assert_int_equal(store_device_seen(w->db, w->d1, 5000 * round, &w->err), ERR_OK);
        assert_int_equal(
            store_device_health(w->db, w->d1, bytes_of("health2", 5 + (size_t)round), &w->err),
            ERR_OK);
        assert_int_equal(
            store_device_telemetry(w->db, w->d1, 6000 * round, bytes_of("tele", 4), &w->err),
            ERR_OK);
        assert_int_equal(store_device_garbage(w->db, w->d1, (uint64_t)round, &w->err), ERR_OK);
    }
    assert_int_equal(db_commit(w->db, &w->err), ERR_OK);
    assert_int_equal(store_device_get(w->db, w->d1, &w->arena, &device, &w->err), ERR_OK);
    assert_int_equal(device.last_seen_ms, 10000);
    assert_int_equal(device.garbage, 2);
    assert_int_equal(device.health.len, 7);
    assert_memory_equal(device.health.ptr, "health2", 7);
    assert_int_equal(device.telemetry_ms, 12000);
    assert_int_equal(device.telemetry.len, 4);
}

static void add(struct world *w, int64_t id, const char *epoch, uint64_t seq,
                enum store_event_result want, uint64_t want_last)
{
    char text[64];
    struct event event = {.epoch = epoch, .seq = seq};
    enum store_event_result result = STORE_EVENT_GAP;
    uint64_t last = 999;
    int len = snprintf(text, sizeof text, "%.2s/%u", epoch + 24, (unsigned)seq);
    assert_int_equal(
        store_event_add(w->db, id, &event, bytes_of(text, (size_t)len), &result, &last, &w->err),
        ERR_OK);
    assert_int_equal(result, want);
    assert_int_equal(last, want_last);
}

static void test_store_event__counts_each_number_once(void **state)
{
    struct world *w = *state;
    uint64_t count = 0;
    uint64_t last = 0;
    add(w, w->d1, epoch_1, 2, STORE_EVENT_GAP, 0);
    add(w, w->d1, epoch_1, 1, STORE_EVENT_STORED, 1);
    add(w, w->d1, epoch_1, 1, STORE_EVENT_DUPLICATE, 1);
    add(w, w->d1, epoch_1, 3, STORE_EVENT_GAP, 1);
    add(w, w->d1, epoch_1, 2, STORE_EVENT_STORED, 2);
    add(w, w->d2, epoch_1, 1, STORE_EVENT_STORED, 1);
    add(w, w->d1, epoch_2, 1, STORE_EVENT_STORED, 1);
    assert_int_equal(db_commit(w->db, &w->err), ERR_OK);
    assert_int_equal(store_event_count(w->db, &count, &w->err), ERR_OK);
    assert_int_equal(count, 4);
    assert_int_equal(store_event_last(w->db, w->d1, epoch_1, &last, &w->err), ERR_OK);
    assert_int_equal(last, 2);
    assert_int_equal(store_event_last(w->db, w->d2, epoch_2, &last, &w->err), ERR_OK);
    assert_int_equal(last, 0);
    struct store_device device;
    assert_int_equal(store_device_get(w->db, w->d1, &w->arena, &device, &w->err), ERR_OK);
    assert_string_equal(device.epoch, epoch_2);
    assert_int_equal(device.event_seq, 1);
    assert_int_equal(device.events, 3);
}

static void test_store_event__rolls_its_counters_back_with_it(void **state)
{
    struct world *w = *state;
    uint64_t count = 9;
    add(w, w->d1, epoch_1, 1, STORE_EVENT_STORED, 1);
    db_rollback(w->db);
    assert_int_equal(store_event_count(w->db, &count, &w->err), ERR_OK);
    assert_int_equal(count, 0);
    add(w, w->d1, epoch_1, 1, STORE_EVENT_STORED, 1);
}

static void test_store_event__lists_newest_first(void **state)
{
    struct world *w = *state;
    struct bytes *events = NULL;
    size_t len = 0;
    add(w, w->d1, epoch_1, 1, STORE_EVENT_STORED, 1);
    add(w, w->d1, epoch_1, 2, STORE_EVENT_STORED, 2);
    add(w, w->d1, epoch_2, 1, STORE_EVENT_STORED, 1);
    add(w, w->d2, epoch_1, 1, STORE_EVENT_STORED, 1);
    assert_int_equal(store_event_list(w->db, w->d1, 2, &w->arena, &events, &len, &w->err), ERR_OK);
    assert_int_equal(len, 2);
    assert_memory_equal(events[0].ptr, "Z2/1", 4);
    assert_memory_equal(events[1].ptr, "Z1/2", 4);
}

struct seen {
    int calls;
    int limit;
    char names[128];
};

static bool on_device(void *arg, const struct store_device *device)
{
    struct seen *seen = arg;
    (void)snprintf(seen->names + strlen(seen->names), sizeof seen->names - strlen(seen->names),
                   "%s %lld;", device->device, (long long)device->last_seen_ms);
    return ++seen->calls < seen->limit;
}

static void test_store_device__each_goes_by_row_and_can_be_ended(void **state)
{
    struct world *w = *state;
    struct seen all = {.limit = 10};
    struct seen one = {.limit = 1};
    assert_int_equal(store_device_seen(w->db, w->d2, 7, &w->err), ERR_OK);
    assert_int_equal(store_device_each(w->db, on_device, &all, &w->err), ERR_OK);
    assert_string_equal(all.names, "site/d1 0;site/d2 7;");
    assert_int_equal(store_device_each(w->db, on_device, &one, &w->err), ERR_OK);
    assert_string_equal(one.names, "site/d1 0;");
    assert_int_equal(db_commit(w->db, &w->err), ERR_OK);
}

static void test_store_device__rows_of_no_device_are_refused(void **state)
{
    struct world *w = *state;
    assert_int_equal(store_device_seen(w->db, 4711, 7, &w->err), ERR_FAILED);
    assert_non_null(strstr(w->err.text, "FOREIGN KEY"));
    db_rollback(w->db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_store_device__has_the_same_row_for_ever, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_store_device__keeps_the_latest_of_everything, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_store_event__counts_each_number_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_store_event__rolls_its_counters_back_with_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_store_event__lists_newest_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_store_device__each_goes_by_row_and_can_be_ended,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_store_device__rows_of_no_device_are_refused, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
