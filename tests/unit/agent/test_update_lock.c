/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/io/update_lock.h"
#include "tests/support/tempdir.h"

static char *dir, *path;
static char holder[UPDATE_LOCK_HOLDER_MAX];

static int setup(void **state)
{
    (void)state;
    dir = tempdir_make();
    path = tempdir_path(dir, "update.lock");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(path);
    tempdir_remove(dir);
    return 0;
}

static void put(const char *text)
{
    tempdir_write(path, text, strlen(text));
}

static void test_update_lock__a_missing_or_empty_file_is_not_held(void **unused)
{
    (void)unused;
    assert_false(update_lock_held(path, true, holder));
    put("");
    assert_false(update_lock_held(path, true, holder));
}

static void test_update_lock__a_file_with_text_names_its_holder(void **unused)
{
    (void)unused;
    put("firmware of axis 3\nsecond line\n");
    assert_true(update_lock_held(path, true, holder));
    assert_string_equal(holder, "firmware of axis 3");
    put("\x1b[31mred");
    assert_true(update_lock_held(path, true, holder));
    assert_string_equal(holder, "?[31mred");
}

static void test_update_lock__a_process_holds_it_as_long_as_it_lives(void **unused)
{
    (void)unused;
    char text[32];
    pid_t pid = fork();
    if (pid == 0)
        _exit(pause());
    (void)snprintf(text, sizeof text, "%d\n", (int)pid);
    put(text);
    assert_true(update_lock_held(path, true, holder));
    assert_true(strncmp(holder, "process ", 8) == 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_false(update_lock_held(path, true, holder));
}

static void test_update_lock__a_locked_file_is_held_whatever_is_in_it(void **unused)
{
    (void)unused;
    put("");
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_true(update_lock_held(path, true, holder));
    assert_string_equal(holder, "a process of the app");
    assert_int_equal(flock(fd, LOCK_UN), 0);
    assert_false(update_lock_held(path, true, holder));
    struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &all), 0);
    assert_true(update_lock_held(path, true, holder));
    (void)close(fd);
    assert_false(update_lock_held(path, true, holder));
}

static void test_update_lock__what_cannot_be_looked_at_counts_as_held(void **unused)
{
    (void)unused;
    char loop[4096];
    (void)snprintf(loop, sizeof loop, "%s/loop", dir);
    assert_int_equal(symlink("loop", loop), 0);
    assert_true(update_lock_held(loop, true, holder));
    assert_non_null(strstr(holder, "unknown holder"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_update_lock__##name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_missing_or_empty_file_is_not_held),
        TEST(a_file_with_text_names_its_holder),
        TEST(a_process_holds_it_as_long_as_it_lives),
        TEST(a_locked_file_is_held_whatever_is_in_it),
        TEST(what_cannot_be_looked_at_counts_as_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
