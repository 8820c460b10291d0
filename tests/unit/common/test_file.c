/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/clock.h"
#include "common/file.h"
#include "tests/support/tempdir.h"

static int set_up(void **state)
{
    *state = tempdir_make();
    return 0;
}

static int tear_down(void **state)
{
    tempdir_remove(*state);
    return 0;
}

/* dir/name; of a small ring, so that tests need not free. */
static const char *in(const char *dir, const char *name)
{
    static char paths[8][4096];
    static unsigned next;
    char *path = paths[next++ % ARRAY_LEN(paths)];
    (void)snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static unsigned mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static void assert_holds(const char *path, const char *expected)
{
    size_t len = 0;
    char *text = tempdir_read(path, &len);
    assert_non_null(text);
    assert_int_equal(len, strlen(expected));
    assert_string_equal(text, expected);
    free(text);
}

static unsigned count_entries(const char *path)
{
    unsigned count = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while (readdir(dir))
        count++;
    (void)closedir(dir);
    return count - 2;
}

static void test_file__makes_all_folders_of_a_path(void **state)
{
    struct err err;
    const char *deep = in(*state, "a/b/c/");
    assert_int_equal(file_make_dirs(deep, 0700, &err), ERR_OK);
    assert_int_equal(mode_of(deep), 0700);
    assert_int_equal(mode_of(in(*state, "a")), 0700);
    assert_int_equal(file_make_dirs(deep, 0700, &err), ERR_OK);
    assert_int_equal(file_make_dirs("/", 0700, &err), ERR_OK);
    assert_int_equal(file_make_dirs("", 0700, &err), ERR_USAGE);
}

static void test_file__a_file_in_the_way_of_folders_is_an_error(void **state)
{
    struct err err;
    tempdir_write(in(*state, "f"), "x", 1);
    assert_int_equal(file_make_dirs(in(*state, "f"), 0700, &err), ERR_IO);
    assert_int_equal(err.sys, ENOTDIR);
    assert_int_equal(file_make_dirs(in(*state, "f/g"), 0700, &err), ERR_IO);
    assert_holds(in(*state, "f"), "x");
}

static void test_file__replace_writes_the_whole_file_with_its_mode(void **state)
{
    struct err err;
    const char *path = in(*state, "f");
    mode_t mask = umask(077);
    assert_int_equal(file_replace(path, bytes_of("one", 3), 0644, &err), ERR_OK);
    (void)umask(mask);
    assert_holds(path, "one");
    assert_int_equal(mode_of(path), 0644);
    assert_int_equal(file_replace(path, bytes_of("three", 5), 0600, &err), ERR_OK);
    assert_holds(path, "three");
    assert_int_equal(mode_of(path), 0600);
    assert_int_equal(file_replace(path, bytes_of(NULL, 0), 0600, &err), ERR_OK);
    assert_holds(path, "");
    assert_int_equal(count_entries(*state), 1);
}

static void test_file__replace_that_fails_leaves_the_old_file(void **state)
{
    struct err err;
    assert_int_equal(mkdir(in(*state, "dir"), 0700), 0);
    tempdir_write(in(*state, "dir/keep"), "x", 1);
    assert_int_equal(file_replace(in(*state, "dir"), bytes_of("y", 1), 0600, &err), ERR_IO);
    assert_holds(in(*state, "dir/keep"), "x");
    assert_int_equal(count_entries(*state), 1);
    assert_int_equal(file_replace(in(*state, "no/f"), bytes_of("y", 1), 0600, &err), ERR_IO);
    assert_int_equal(err.sys, ENOENT);
}

static void test_file__what_a_power_cut_left_is_written_over(void **state)
{
    struct err err;
    tempdir_write(in(*state, "f.tmp"), "half of something longer", 24);
    assert_int_equal(file_replace(in(*state, "f"), bytes_of("new", 3), 0600, &err), ERR_OK);
    assert_holds(in(*state, "f"), "new");
    assert_false(exists(in(*state, "f.tmp")));
}

static void test_file__replace_does_not_write_through_a_link(void **state)
{
    struct err err;
    tempdir_write(in(*state, "victim"), "safe", 4);
    assert_int_equal(symlink(in(*state, "victim"), in(*state, "f.tmp")), 0);
    assert_int_equal(file_replace(in(*state, "f"), bytes_of("x", 1), 0600, &err), ERR_IO);
    assert_int_equal(err.sys, ELOOP);
    assert_holds(in(*state, "victim"), "safe");
}

enum { BIG = 300000 };

/* Replaces the file for ever, all 'a' and all 'b' in turns, and tells after each. */
static void replace_for_ever(const char *path, int tell)
{
    char *data = mem_new(1, BIG);
    for (unsigned i = 0;; i++) {
        memset(data, i % 2 ? 'b' : 'a', BIG);
        if (file_replace(path, bytes_of(data, BIG), 0600, NULL) != ERR_OK ||
            write(tell, "x", 1) != 1)
            _exit(1);
    }
}

/* Kills the writer after rounds replacements, somewhere inside the next one. */
static void kill_writer_after(const char *path, unsigned rounds, unsigned spins)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        replace_for_ever(path, ends[1]);
    for (unsigned i = 0; i < rounds; i++) {
        char byte;
        assert_int_equal(read(ends[0], &byte, 1), 1);
    }
    while (spins--)
        (void)clock_mono_ns();
    int status = 0;
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void assert_whole(const char *path)
{
    size_t len = 0;
    char *data = tempdir_read(path, &len);
    assert_int_equal(len, BIG);
    for (size_t i = 1; i < len; i++)
        if (data[i] != data[0])
            fail_msg("torn at byte %zu", i);
    free(data);
}

static void test_file__replace_is_atomic_when_killed(void **state)
{
    const char *path = in(*state, "f");
    const uint64_t seed = (uint64_t)clock_unix_ms();
    struct rng rng;
    print_message("seed %llu\n", (unsigned long long)seed);
    rng_seed(&rng, seed);
    for (int i = 0; i < 20; i++) {
        kill_writer_after(path, 1 + (unsigned)rng_below(&rng, 3), (unsigned)rng_below(&rng, 20000));
        assert_whole(path);
        assert_true(count_entries(*state) <= 2); /* it and at most one left behind */
    }
    assert_int_equal(file_replace(path, bytes_of("end", 3), 0600, NULL), ERR_OK);
    assert_holds(path, "end");
}

static void test_file__two_writers_at_once_both_write_whole_files(void **state)
{
    const char *path = in(*state, "f");
    pid_t children[2];
    for (int c = 0; c < 2; c++) {
        children[c] = fork();
        assert_true(children[c] >= 0);
        if (children[c] == 0) {
            char *data = mem_new(1, BIG);
            memset(data, 'a' + c, BIG);
            for (int i = 0; i < 20; i++)
                if (file_replace(path, bytes_of(data, BIG), 0600, NULL) != ERR_OK)
                    _exit(1);
            _exit(0);
        }
    }
    for (int c = 0; c < 2; c++) {
        int status = 0;
        assert_int_equal(waitpid(children[c], &status, 0), children[c]);
        assert_int_equal(status, 0);
    }
    assert_whole(path);
    assert_int_equal(count_entries(*state), 1);
}

static void test_file__read_takes_up_to_the_limit(void **state)
{
    struct arena arena;
    struct bytes data = {NULL, 7};
    struct err err;
    char *big = mem_new(1, BIG);
    memset(big, 'z', BIG);
    tempdir_write(in(*state, "f"), big, BIG);
    arena_init(&arena, 1 << 20);
    assert_int_equal(file_read(in(*state, "f"), BIG - 1, &arena, &data, &err), ERR_SIZE);
    assert_int_equal(data.len, 7);
    assert_int_equal(file_read(in(*state, "f"), BIG, &arena, &data, &err), ERR_OK);
    assert_int_equal(data.len, BIG);
    assert_memory_equal(data.ptr, big, BIG);
    assert_int_equal(data.ptr[BIG], '\0');
    arena_fini(&arena);
    arena_init(&arena, BIG);
    assert_int_equal(file_read(in(*state, "f"), BIG, &arena, &data, &err), ERR_SIZE);
    arena_fini(&arena);
    mem_free(big);
}

static void test_file__read_of_special_and_missing_files(void **state)
{
    struct arena arena;
    struct bytes data;
    struct err err;
    arena_init(&arena, 1 << 20);
    assert_int_equal(file_read(in(*state, "no"), 10, &arena, &data, &err), ERR_NOT_FOUND);
    assert_int_equal(file_read(*state, 10, &arena, &data, &err), ERR_IO);
    tempdir_write(in(*state, "empty"), "", 0);
    assert_int_equal(file_read(in(*state, "empty"), 0, &arena, &data, &err), ERR_OK);
    assert_int_equal(data.len, 0);
    assert_string_equal((const char *)data.ptr, "");
    /* Its size is said to be 0. */
    assert_int_equal(file_read("/proc/self/status", 65536, &arena, &data, &err), ERR_OK);
    assert_memory_equal(data.ptr, "Name:", 5);
    arena_fini(&arena);
}

static void test_file__remove_tree_takes_everything(void **state)
{
    struct err err;
    assert_int_equal(file_make_dirs(in(*state, "t/a/b/c"), 0700, &err), ERR_OK);
    for (int i = 0; i < 300; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "t/a/b/f%d", i);
        tempdir_write(in(*state, name), "x", 1);
    }
    assert_int_equal(mkfifo(in(*state, "t/fifo"), 0600), 0);
    assert_int_equal(chmod(in(*state, "t/a/b"), 0500), 0);
    assert_int_equal(file_remove_tree(in(*state, "t"), &err), ERR_OK);
    assert_int_equal(count_entries(*state), 0);
    assert_int_equal(file_remove_tree(in(*state, "t"), &err), ERR_OK);
    tempdir_write(in(*state, "f"), "x", 1);
    assert_int_equal(file_remove_tree(in(*state, "f"), &err), ERR_OK);
    assert_false(exists(in(*state, "f")));
}

static void test_file__remove_tree_does_not_follow_links(void **state)
{
    struct err err;
    assert_int_equal(file_make_dirs(in(*state, "outside"), 0700, &err), ERR_OK);
    assert_int_equal(file_make_dirs(in(*state, "t/a"), 0700, &err), ERR_OK);
    tempdir_write(in(*state, "outside/f"), "safe", 4);
    assert_int_equal(symlink(in(*state, "outside"), in(*state, "t/dir")), 0);
    assert_int_equal(symlink(in(*state, "outside/f"), in(*state, "t/a/file")), 0);
    assert_int_equal(symlink("../..", in(*state, "t/a/up")), 0);
    assert_int_equal(symlink("nowhere", in(*state, "t/broken")), 0);
    assert_int_equal(file_remove_tree(in(*state, "t"), &err), ERR_OK);
    assert_false(exists(in(*state, "t")));
    assert_holds(in(*state, "outside/f"), "safe");
    /* The path itself may be a link: then the link goes. */
    assert_int_equal(symlink("outside", in(*state, "link")), 0);
    assert_int_equal(file_remove_tree(in(*state, "link"), &err), ERR_OK);
    assert_false(exists(in(*state, "link")));
    assert_holds(in(*state, "outside/f"), "safe");
}

static void test_file__remove_tree_has_a_bound_on_its_depth(void **state)
{
    struct err err;
    char path[1024] = "";
    size_t len = 0;
    for (int i = 0; i < 200; i++)
        len += (size_t)snprintf(path + len, sizeof path - len, "d%s", i < 199 ? "/" : "");
    assert_int_equal(file_make_dirs(in(*state, path), 0700, &err), ERR_OK);
    assert_int_equal(file_remove_tree(in(*state, "d"), &err), ERR_FULL);
    assert_non_null(strstr(err.text, "deeper than"));
}

static void test_file__lock_names_the_holder_and_ends_with_its_descriptor(void **state)
{
    struct err err;
    int first = -1;
    int second = -1;
    const char *path = in(*state, "lock");
    assert_int_equal(file_lock(path, "captain 01J pid 7", &first, &err), ERR_OK);
    assert_int_equal(mode_of(path), 0600);
    assert_int_equal(file_lock(path, "another", &second, &err), ERR_CONFLICT);
    assert_non_null(strstr(err.text, "held by captain 01J pid 7"));
    assert_int_equal(second, -1);
    assert_true(fcntl(first, F_GETFD) & FD_CLOEXEC);
    (void)close(first);
    assert_int_equal(file_lock(path, "short", &second, &err), ERR_OK);
    assert_holds(path, "short");
    (void)close(second);
}

static void test_file__a_killed_holder_loses_its_lock(void **state)
{
    struct err err;
    int fd = -1;
    int ends[2];
    const char *path = in(*state, "lock");
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (file_lock(path, "the child", &fd, NULL) == ERR_OK && write(ends[1], "x", 1) == 1)
            (void)pause();
        _exit(1);
    }
    char byte;
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(file_lock(path, "the parent", &fd, &err), ERR_CONFLICT);
    assert_non_null(strstr(err.text, "held by the child"));
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(file_lock(path, "the parent", &fd, &err), ERR_OK);
    (void)close(fd);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void test_file__sync_dir_wants_a_folder(void **state)
{
    struct err err;
    assert_int_equal(file_sync_dir(*state, &err), ERR_OK);
    assert_int_equal(file_sync_dir(in(*state, "no"), &err), ERR_IO);
}

#define IN_DIR(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(test_file__makes_all_folders_of_a_path),
        IN_DIR(test_file__a_file_in_the_way_of_folders_is_an_error),
        IN_DIR(test_file__replace_writes_the_whole_file_with_its_mode),
        IN_DIR(test_file__replace_that_fails_leaves_the_old_file),
        IN_DIR(test_file__what_a_power_cut_left_is_written_over),
        IN_DIR(test_file__replace_does_not_write_through_a_link),
        IN_DIR(test_file__replace_is_atomic_when_killed),
        IN_DIR(test_file__two_writers_at_once_both_write_whole_files),
        IN_DIR(test_file__read_takes_up_to_the_limit),
        IN_DIR(test_file__read_of_special_and_missing_files),
        IN_DIR(test_file__remove_tree_takes_everything),
        IN_DIR(test_file__remove_tree_does_not_follow_links),
        IN_DIR(test_file__remove_tree_has_a_bound_on_its_depth),
        IN_DIR(test_file__lock_names_the_holder_and_ends_with_its_descriptor),
        IN_DIR(test_file__a_killed_holder_loses_its_lock),
        IN_DIR(test_file__sync_dir_wants_a_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
