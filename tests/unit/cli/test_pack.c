/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/cli/pack.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/tempdir.h"

struct world {
    char *dir;
    char path[256];
    char out[256];
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    world->dir = tempdir_make();
    (void)snprintf(world->out, sizeof world->out, "%s/out.tar.zst", world->dir);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    tempdir_remove(world->dir);
    free(world);
    return 0;
}

static const char *at(struct world *world, const char *name)
{
    (void)snprintf(world->path, sizeof world->path, "%s/%s", world->dir, name);
    return world->path;
}

/* The same tree, its files made in another order, at another time. */
static void make_tree(struct world *world, const char *name, bool backwards)
{
    static const char *const files[] = {"a", "b.txt", "sub/c", "sub-d"};
    char path[128];
    assert_int_equal(mkdir(at(world, name), 0700), 0);
    (void)snprintf(path, sizeof path, "%s/sub", name);
    assert_int_equal(mkdir(at(world, path), 0755), 0);
    for (size_t i = 0; i < 4; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", name, files[backwards ? 3 - i : i]);
        tempdir_write(at(world, path), files[backwards ? 3 - i : i], 1);
        assert_int_equal(chmod(world->path, backwards ? 0640 : 0664), 0);
        const struct timeval times[2] = {{backwards ? 1000 : 2000, 0},
                                         {backwards ? 1000 : 2000, 0}};
        assert_int_equal(utimes(world->path, times), 0);
    }
    (void)snprintf(path, sizeof path, "%s/sub/up", name);
    assert_int_equal(symlink("../a", at(world, path)), 0);
}

static struct pack pack(struct world *world, const char *name)
{
    struct pack result;
    struct err err = {0};
    assert_int_equal(pack_tree(at(world, name), world->out, &result, &err), ERR_OK);
    return result;
}

static void expect_refused(struct world *world, const char *name, const char *error)
{
    struct pack result;
    struct err err = {0};
    assert_int_not_equal(pack_tree(at(world, name), world->out, &result, &err), ERR_OK);
    assert_non_null(strstr(err.text, error));
}

static void test_pack__the_same_tree_has_the_same_digest(void **state)
{
    struct world *world = *state;
    make_tree(world, "one", false);
    make_tree(world, "two", true);
    struct pack one = pack(world, "one");
    struct pack two = pack(world, "two");
    assert_memory_equal(one.sha256, two.sha256, DIGEST_BYTES);
    assert_int_equal(one.size_bytes, two.size_bytes);
    assert_int_equal(one.entries, 6);
    assert_int_equal(one.unpacked_bytes, 4);
}

static void test_pack__a_change_that_matters_changes_the_digest(void **state)
{
    struct world *world = *state;
    make_tree(world, "tree", false);
    struct pack before = pack(world, "tree");
    assert_int_equal(chmod(at(world, "tree/a"), 0755), 0);
    struct pack runs = pack(world, "tree");
    assert_memory_not_equal(before.sha256, runs.sha256, DIGEST_BYTES);
    tempdir_write(at(world, "tree/a"), "A", 1);
    struct pack content = pack(world, "tree");
    assert_memory_not_equal(runs.sha256, content.sha256, DIGEST_BYTES);
    tempdir_write(at(world, "tree/new"), "", 0);
    struct pack more = pack(world, "tree");
    assert_int_equal(more.entries, 7);
}

static void test_pack__links_that_leave_are_refused(void **state)
{
    struct world *world = *state;
    static const char *const targets[] = {"/etc/passwd", "../outside", "sub/../../outside"};
    for (size_t i = 0; i < 3; i++) {
        char name[16];
        char link[64];
        (void)snprintf(name, sizeof name, "t%zu", i);
        make_tree(world, name, false);
        (void)snprintf(link, sizeof link, "%s/out", name);
        assert_int_equal(symlink(targets[i], at(world, link)), 0);
        expect_refused(world, name, "leaves the folder");
    }
}

static void test_pack__what_is_no_file_is_refused(void **state)
{
    struct world *world = *state;
    make_tree(world, "tree", false);
    assert_int_equal(mkfifo(at(world, "tree/pipe"), 0600), 0);
    expect_refused(world, "tree", "pipe is neither file, folder nor link");
    expect_refused(world, "nowhere", "cannot read the folder");
}

static void test_pack__an_empty_folder_is_fine(void **state)
{
    struct world *world = *state;
    assert_int_equal(mkdir(at(world, "empty"), 0700), 0);
    struct pack empty = pack(world, "empty");
    assert_int_equal(empty.entries, 0);
    assert_true(empty.size_bytes > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pack__the_same_tree_has_the_same_digest, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_pack__a_change_that_matters_changes_the_digest, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_pack__links_that_leave_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_pack__what_is_no_file_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_pack__an_empty_folder_is_fine, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
