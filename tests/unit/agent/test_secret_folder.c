/* SPDX-License-Identifier: Apache-2.0
 *
 * Secrets as files in memory: owner, modes, one switch, gone when they are to be gone, and never on
 * a disk. /dev/shm is the tmpfs.
 */
#include "agent/io/secret_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <linux/magic.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/clock.h"
#include "common/file.h"
#include "tests/support/tempdir.h"

enum { ROUNDS = 200 };

struct world {
    char base[SECRET_FOLDER_PATH_MAX];
    struct secret_folder *folder;
    struct err err;
};

static int set_up(void **state)
{
    struct world *w = mem_new(1, sizeof *w);
    uint64_t number;
    clock_random(&number, sizeof number);
    (void)snprintf(w->base, sizeof w->base, "/dev/shm/captain-test-%016llx",
                   (unsigned long long)number);
    w->folder = secret_folder_new(w->base);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    secret_folder_free(w->folder);
    enum err_code code = file_remove_tree(w->base, &w->err);
    mem_free(w);
    return code == ERR_OK ? 0 : -1;
}

static struct secret secret_of(const char *name, const char *value)
{
    return (struct secret){name, bytes_of(value, strlen(value))};
}

static void put(struct world *w, const char *app, const char *value)
{
    struct secret secrets[] = {secret_of("token", value), secret_of("db-password", value)};
    assert_int_equal(secret_folder_put(w->folder, app, secrets, 2, NULL, &w->err), ERR_OK);
}

static char *path_of(const struct world *w, const char *rest)
{
    return tempdir_path(w->base, rest);
}

static void assert_value(const struct world *w, const char *rest, const char *value)
{
    char *path = path_of(w, rest);
    char *text = tempdir_read(path, NULL);
    assert_non_null(text);
    assert_string_equal(text, value);
    free(text);
    free(path);
}

/* Entries of the base without its lock. */
static unsigned entries(const struct world *w)
{
    unsigned count = 0;
    DIR *listing = opendir(w->base);
    assert_non_null(listing);
    for (struct dirent *e = readdir(listing); e; e = readdir(listing))
        count += strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && strcmp(e->d_name, ".lock");
    (void)closedir(listing);
    return count;
}

static void assert_stat(const struct world *w, const char *rest, uid_t uid, mode_t mode)
{
    struct stat st;
    char *path = path_of(w, rest);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_uid, uid);
    assert_int_equal(st.st_mode & 07777, mode);
    free(path);
}

static void test_secret_folder__holds_what_was_put_with_its_modes(void **state)
{
    struct world *w = *state;
    put(w, "hello", "s3cret");
    assert_value(w, "hello/token", "s3cret");
    assert_value(w, "hello/db-password", "s3cret");
    assert_stat(w, "hello", geteuid(), 0500);
    assert_stat(w, "hello/token", geteuid(), 0400);
    assert_stat(w, "", geteuid(), 0711);
}

static void test_secret_folder__belongs_to_the_users_app(void **state)
{
    struct world *w = *state;
    struct app_user user;
    struct secret secret = secret_of("token", "s3cret");
    if (geteuid() != 0 || !getpwnam("nobody"))
        skip();
    assert_int_equal(app_user_find("nobody", &user, &w->err), ERR_OK);
    assert_int_equal(secret_folder_put(w->folder, "hello", &secret, 1, &user, &w->err), ERR_OK);
    assert_stat(w, "hello", user.uid, 0500);
    assert_stat(w, "hello/token", user.uid, 0400);
    assert_true(secret_folder_same(w->folder, "hello", &secret, 1, &user));
    assert_false(secret_folder_same(w->folder, "hello", &secret, 1, NULL)); /* another owner */
}

static void test_secret_folder__knows_what_is_the_same(void **state)
{
    struct world *w = *state;
    struct secret set[] = {secret_of("a", "1"), secret_of("b", "2")};
    struct secret other[] = {secret_of("a", "1"), secret_of("b", "3")};
    struct secret named[] = {secret_of("a", "1"), secret_of("c", "2")};
    assert_true(secret_folder_same(w->folder, "hello", NULL, 0, NULL)); /* no base */
    assert_int_equal(secret_folder_put(w->folder, "hello", set, 2, NULL, &w->err), ERR_OK);
    assert_true(secret_folder_same(w->folder, "hello", set, 2, NULL));
    assert_false(secret_folder_same(w->folder, "hello", other, 2, NULL));
    assert_false(secret_folder_same(w->folder, "hello", named, 2, NULL));
    assert_false(secret_folder_same(w->folder, "hello", set, 1, NULL));
    assert_false(secret_folder_same(w->folder, "hello", NULL, 0, NULL));
    char *path = path_of(w, "hello/a");
    assert_int_equal(chmod(path, 0444), 0);
    assert_false(secret_folder_same(w->folder, "hello", set, 2, NULL));
    free(path);
}

static void test_secret_folder__an_empty_value_is_one_too(void **state)
{
    struct world *w = *state;
    struct secret secret = secret_of("empty", "");
    assert_int_equal(secret_folder_put(w->folder, "hello", &secret, 1, NULL, &w->err), ERR_OK);
    assert_value(w, "hello/empty", "");
    assert_true(secret_folder_same(w->folder, "hello", &secret, 1, NULL));
}

static void test_secret_folder__the_old_set_goes_with_the_sweep(void **state)
{
    struct world *w = *state;
    put(w, "hello", "old");
    put(w, "hello", "new");
    assert_value(w, "hello/token", "new");
    assert_value(w, ".hello.1/token", "old"); /* for who is on the way */
    assert_int_equal(secret_folder_sweep(w->folder, "hello", &w->err), ERR_OK);
    assert_value(w, "hello/token", "new");
    assert_int_equal(entries(w), 2); /* link and set */
}

static void test_secret_folder__is_gone_when_the_app_goes(void **state)
{
    struct world *w = *state;
    put(w, "hello", "one");
    put(w, "hello-2", "two");
    assert_int_equal(secret_folder_drop(w->folder, "hello", &w->err), ERR_OK);
    assert_int_equal(secret_folder_drop(w->folder, "hello", &w->err), ERR_OK);
    assert_value(w, "hello-2/token", "two");
    assert_int_equal(entries(w), 2);
}

static void test_secret_folder__removes_what_is_of_no_app_it_knows(void **state)
{
    struct world *w = *state;
    static const char *const apps[] = {"hello", "other"};
    put(w, "hello", "old");
    put(w, "hello", "new");
    put(w, "gone", "x");
    char *stray = path_of(w, "stray.txt"), *next = path_of(w, ".next");
    tempdir_write(stray, "x", 1);
    assert_int_equal(symlink(".gone.1", next), 0);
    assert_int_equal(secret_folder_keep_only(w->folder, apps, 2, &w->err), ERR_OK);
    assert_value(w, "hello/token", "new");
    assert_int_equal(entries(w), 2);
    free(stray);
    free(next);
}

static void test_secret_folder__nothing_to_remove_makes_nothing(void **state)
{
    struct world *w = *state;
    struct stat st;
    assert_int_equal(secret_folder_keep_only(w->folder, NULL, 0, &w->err), ERR_OK);
    assert_int_equal(secret_folder_drop(w->folder, "hello", &w->err), ERR_OK);
    assert_int_equal(secret_folder_sweep(w->folder, "hello", &w->err), ERR_OK);
    assert_int_not_equal(stat(w->base, &st), 0);
}

static bool is_on_disk(const char *path)
{
    struct statfs fs;
    assert_int_equal(statfs(path, &fs), 0);
    return fs.f_type != TMPFS_MAGIC && (uint32_t)fs.f_type != (uint32_t)RAMFS_MAGIC;
}

static void refuse_on_disk(const char *base, struct world *w)
{
    struct secret secret = secret_of("token", "s3cret");
    struct secret_folder *folder = secret_folder_new(base);
    assert_int_equal(secret_folder_put(folder, "hello", &secret, 1, NULL, &w->err), ERR_DENIED);
    assert_non_null(strstr(w->err.text, "on a disk"));
    assert_non_null(strstr(w->err.hint, "/run"));
    secret_folder_free(folder);
}

static void test_secret_folder__refuses_a_disk_and_writes_nothing(void **state)
{
    struct world *w = *state;
    char *dir = tempdir_make();
    char *base = tempdir_path(dir, "secrets");
    struct stat st;
    if (!is_on_disk(dir)) {
        free(base);
        tempdir_remove(dir);
        skip();
    }
    refuse_on_disk(base, w);
    assert_int_not_equal(stat(base, &st), 0); /* not even a folder */
    refuse_on_disk(dir, w);
    assert_int_equal(rmdir(dir), 0); /* it is empty still */
    free(base);
    free(dir);
}

static void test_secret_folder__refuses_a_folder_that_others_write_to(void **state)
{
    struct world *w = *state;
    struct secret secret = secret_of("token", "s3cret");
    assert_int_equal(mkdir(w->base, 0777), 0);
    assert_int_equal(chmod(w->base, 0777), 0);
    assert_int_equal(secret_folder_put(w->folder, "hello", &secret, 1, NULL, &w->err), ERR_DENIED);
    assert_int_equal(entries(w), 0);
}

static void test_secret_folder__two_agents_do_not_share_one(void **state)
{
    struct world *w = *state;
    struct secret secret = secret_of("token", "theirs");
    put(w, "hello", "ours");
    struct secret_folder *other = secret_folder_new(w->base);
    assert_int_equal(secret_folder_put(other, "hello", &secret, 1, NULL, &w->err), ERR_CONFLICT);
    assert_non_null(strstr(w->err.text, "process"));
    assert_int_equal(secret_folder_keep_only(other, NULL, 0, &w->err), ERR_CONFLICT);
    assert_value(w, "hello/token", "ours");
    secret_folder_free(w->folder); /* an agent that ends leaves them for the next */
    w->folder = other;
    assert_value(w, "hello/token", "ours");
    assert_int_equal(secret_folder_put(other, "hello", &secret, 1, NULL, &w->err), ERR_OK);
    assert_value(w, "hello/token", "theirs");
}

static void test_secret_folder__a_set_that_cannot_be_written_leaves_the_old_one(void **state)
{
    struct world *w = *state;
    struct secret bad[] = {secret_of("token", "new"), secret_of("no/name", "x")};
    put(w, "hello", "old");
    assert_int_equal(secret_folder_put(w->folder, "hello", bad, 2, NULL, &w->err), ERR_IO);
    assert_null(strstr(w->err.text, "new"));
    assert_value(w, "hello/token", "old");
    assert_int_equal(entries(w), 2);
    assert_int_equal(secret_folder_put(w->folder, "../x", bad, 1, NULL, &w->err), ERR_MALFORMED);
}

static void test_secret_folder__takes_the_runtime_folder_of_systemd(void **state)
{
    (void)state;
    char base[SECRET_FOLDER_PATH_MAX];
    assert_int_equal(setenv("RUNTIME_DIRECTORY", "/run/one:/run/two", 1), 0);
    assert_string_equal(secret_folder_base(NULL, base), "/run/one");
    assert_string_equal(secret_folder_base("/run/mine", base), "/run/mine");
    assert_int_equal(unsetenv("RUNTIME_DIRECTORY"), 0);
    assert_string_equal(secret_folder_base(NULL, base), "/run/captain-agent");
}

/* ---- a reader that never stops ---- */

struct reader {
    char path[SECRET_FOLDER_PATH_MAX];
    _Atomic bool stop;
    _Atomic unsigned passes, missing, mixed;
};

static bool read_at(int folder, const char *name, char ret[static 16])
{
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, ret, 15) : -1;
    if (fd >= 0)
        (void)close(fd);
    ret[len > 0 ? len : 0] = '\0';
    return len > 0;
}

/* Opens the folder once and reads both; and one of them by its whole path. */
static void *read_on(void *arg)
{
    struct reader *r = arg;
    char a[16], b[16], c[16], path[SECRET_FOLDER_PATH_MAX + 16];
    (void)snprintf(path, sizeof path, "%s/token", r->path);
    while (!r->stop) {
        int folder = open(r->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        bool all = folder >= 0 && read_at(folder, "token", a) &&
                   read_at(folder, "db-password", b) && read_at(AT_FDCWD, path, c);
        r->missing += !all;
        r->mixed += all && (!str_equal(a, b) || strlen(c) != 7);
        if (folder >= 0)
            (void)close(folder);
        r->passes++;
    }
    return NULL;
}

static void test_secret_folder__a_reader_never_sees_a_mix_or_none(void **state)
{
    struct world *w = *state;
    struct reader reader = {.stop = false};
    pthread_t thread;
    char value[16];
    put(w, "hello", "val-000");
    secret_folder_path(w->base, "hello", reader.path);
    assert_int_equal(pthread_create(&thread, NULL, read_on, &reader), 0);
    for (unsigned i = 1; i <= ROUNDS; i++) {
        (void)snprintf(value, sizeof value, "val-%03u", i);
        put(w, "hello", value);
        /* Passes that began before the switch have ended: what the delay of the sweep stands for. */
        for (unsigned from = reader.passes; reader.passes < from + 2;)
            (void)sched_yield();
        assert_int_equal(secret_folder_sweep(w->folder, "hello", &w->err), ERR_OK);
    }
    reader.stop = true;
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(reader.missing, 0);
    assert_int_equal(reader.mixed, 0);
    assert_int_equal(entries(w), 2);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_secret_folder__holds_what_was_put_with_its_modes),
        T(test_secret_folder__belongs_to_the_users_app),
        T(test_secret_folder__knows_what_is_the_same),
        T(test_secret_folder__an_empty_value_is_one_too),
        T(test_secret_folder__the_old_set_goes_with_the_sweep),
        T(test_secret_folder__is_gone_when_the_app_goes),
        T(test_secret_folder__removes_what_is_of_no_app_it_knows),
        T(test_secret_folder__nothing_to_remove_makes_nothing),
        T(test_secret_folder__refuses_a_disk_and_writes_nothing),
        T(test_secret_folder__refuses_a_folder_that_others_write_to),
        T(test_secret_folder__two_agents_do_not_share_one),
        T(test_secret_folder__a_set_that_cannot_be_written_leaves_the_old_one),
        T(test_secret_folder__takes_the_runtime_folder_of_systemd),
        T(test_secret_folder__a_reader_never_sees_a_mix_or_none),
    };
    return cmocka_run_group_tests_name("secret_folder", tests, NULL, NULL);
}
