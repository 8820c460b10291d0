/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/io/deadman_file.h"
#include "agent/io/release_dir.h"
#include "common/clock.h"
#include "common/file.h"
#include "tests/support/tempdir.h"

#define BOOT_A "11111111-1111-1111-1111-111111111111"
#define BOOT_B "22222222-2222-2222-2222-222222222222"

struct world {
    char *dir;
    struct release_dir releases;
    struct err err;
};

static void digest_of(int id, uint8_t ret[DIGEST_BYTES])
{
    memset(ret, id, DIGEST_BYTES);
}

static void put_release(struct world *w, int id)
{
    uint8_t digest[DIGEST_BYTES];
    char staging[RELEASE_DIR_PATH_MAX];
    digest_of(id, digest);
    assert_int_equal(release_dir_staging(&w->releases, digest, staging, &w->err), ERR_OK);
    assert_int_equal(release_dir_commit(&w->releases, digest, &w->err), ERR_OK);
}

static void switch_to(struct world *w, int id)
{
    uint8_t digest[DIGEST_BYTES];
    digest_of(id, digest);
    assert_int_equal(release_dir_switch(&w->releases, digest, &w->err), ERR_OK);
}

static int current(struct world *w)
{
    bool set;
    uint8_t digest[DIGEST_BYTES];
    assert_int_equal(release_dir_current(&w->releases, &set, digest, &w->err), ERR_OK);
    return set ? digest[0] : 0;
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->dir = tempdir_make();
    assert_int_equal(release_dir_open(&w->releases, w->dir, &w->err), ERR_OK);
    put_release(w, 1);
    put_release(w, 2);
    switch_to(w, 1);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    tempdir_remove(w->dir);
    free(w);
    return 0;
}

static struct deadman armed(int64_t mono_ms, const char *boot)
{
    struct deadman d = {.has_previous = true};
    const struct deadman_clock now = {mono_ms, 5000, boot};
    digest_of(2, d.target);
    digest_of(1, d.previous);
    deadman_arm(&d, 10000, &now);
    return d;
}

static bool due(const struct deadman *d, int64_t mono_ms, const char *boot)
{
    const struct deadman_clock now = {mono_ms, 5000, boot};
    return deadman_due(d, &now);
}

static void test_deadman__is_due_at_its_deadline(void **unused)
{
    (void)unused;
    struct deadman d = armed(1000, BOOT_A);
    assert_false(due(&d, 10999, BOOT_A));
    assert_true(due(&d, 11000, BOOT_A));
    const struct deadman_clock later = {9000, 13000, BOOT_A};
    assert_false(
        deadman_resumed(&d, &later)); /* the agent was started again: the deadline stands */
    assert_true(due(&d, 11000, BOOT_A));
    d.state = DEADMAN_FIRED;
    assert_false(due(&d, 11000, BOOT_A));
}

static void test_deadman__begins_anew_after_a_reboot_but_not_for_ever(void **unused)
{
    (void)unused;
    struct deadman d = armed(1000000, BOOT_A);
    assert_false(due(&d, 2000000, BOOT_B)); /* the clock of another boot says nothing */
    for (int i = 1; i < DEADMAN_REBOOTS_MAX; i++) {
        const struct deadman_clock boot = {100, 9000, i % 2 ? BOOT_B : BOOT_A};
        d.processes_len = 1;
        assert_true(deadman_resumed(&d, &boot));
        assert_int_equal(d.processes_len, 0);
        assert_false(deadman_due(&d, &boot));
        assert_true(due(&d, 10100, boot.boot_id));
    }
    const struct deadman_clock last = {100, 9000, DEADMAN_REBOOTS_MAX % 2 ? BOOT_B : BOOT_A};
    assert_true(deadman_resumed(&d, &last));
    assert_true(deadman_due(&d, &last)); /* at once: the machine dies of it */
}

static void test_deadman__survives_on_disk(void **state)
{
    struct world *w = *state;
    struct deadman read, d = armed(123456789012345, BOOT_A);
    assert_int_equal(deadman_file_read(w->dir, &read, &w->err), ERR_NOT_FOUND);
    d.reboots = 2;
    d.processes[d.processes_len++] = (struct deadman_process){17, 123456789};
    d.processes[d.processes_len++] = (struct deadman_process){INT32_MAX, UINT64_MAX};
    assert_int_equal(deadman_file_write(w->dir, &d, &w->err), ERR_OK);
    assert_int_equal(deadman_file_read(w->dir, &read, &w->err), ERR_OK);
    assert_memory_equal(read.target, d.target, DIGEST_BYTES);
    assert_memory_equal(read.previous, d.previous, DIGEST_BYTES);
    assert_true(read.has_previous);
    assert_string_equal(read.boot_id, BOOT_A);
    assert_true(read.deadline_ms == d.deadline_ms && read.window_ms == d.window_ms &&
                read.deadline_unix_ms == d.deadline_unix_ms);
    assert_int_equal(read.reboots, 2);
    assert_int_equal(read.processes_len, 2);
    assert_memory_equal(read.processes, d.processes, sizeof read.processes);
    assert_int_equal(deadman_file_remove(w->dir, &w->err), ERR_OK);
    assert_int_equal(deadman_file_remove(w->dir, &w->err), ERR_OK);
    assert_int_equal(deadman_file_read(w->dir, &read, &w->err), ERR_NOT_FOUND);
}

static void test_deadman__junk_is_no_record(void **state)
{
    struct world *w = *state;
    static const char *const junk[] = {"",
                                       "x",
                                       "captain deadman 1\ntarget zz\n",
                                       "captain deadman 1\nprocess 12\n",
                                       "captain deadman 1\ndeadline -5\n",
                                       "captain deadman 1\nabc"};
    char *path = tempdir_path(w->dir, "deadman");
    struct deadman read;
    for (size_t i = 0; i < sizeof junk / sizeof *junk; i++) {
        tempdir_write(path, junk[i], strlen(junk[i]));
        assert_int_equal(deadman_file_read(w->dir, &read, &w->err), ERR_MALFORMED);
    }
    free(path);
}

static void test_deadman__points_back_and_says_so(void **state)
{
    struct world *w = *state;
    struct deadman read, d = armed(1000, BOOT_A);
    assert_int_equal(deadman_file_write(w->dir, &d, &w->err), ERR_OK);
    switch_to(w, 2);
    assert_int_equal(deadman_file_fire(w->dir, &d, &w->err), ERR_OK);
    assert_int_equal(current(w), 1);
    assert_int_equal(deadman_file_read(w->dir, &read, &w->err), ERR_OK);
    assert_int_equal(read.state, DEADMAN_FIRED);
}

static void test_deadman__a_first_release_has_nothing_to_go_back_to(void **state)
{
    struct world *w = *state;
    struct deadman d = armed(1000, BOOT_A);
    d.has_previous = false;
    switch_to(w, 2);
    assert_int_equal(deadman_file_fire(w->dir, &d, &w->err), ERR_OK);
    assert_int_equal(current(w), 0);
}

static void test_deadman__a_link_that_points_elsewhere_stays(void **state)
{
    struct world *w = *state;
    struct deadman d = armed(1000, BOOT_A);
    put_release(w, 3);
    switch_to(w, 3);
    assert_int_equal(deadman_file_fire(w->dir, &d, &w->err), ERR_OK);
    assert_int_equal(current(w), 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_deadman__##name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(is_due_at_its_deadline),
        TEST(begins_anew_after_a_reboot_but_not_for_ever),
        TEST(survives_on_disk),
        TEST(junk_is_no_record),
        TEST(points_back_and_says_so),
        TEST(a_first_release_has_nothing_to_go_back_to),
        TEST(a_link_that_points_elsewhere_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
