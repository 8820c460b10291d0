/* SPDX-License-Identifier: Apache-2.0
 *
 * The user of an app: found, refused, given folders, let in. What needs two users needs root.
 */
#include "agent/io/app_user.h"

#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/io/update_lock.h"
#include "common/base/mem.h"
#include "common/file.h"
#include "tests/support/tempdir.h"

enum { OTHER_UID = 12345 };

struct world {
    char *dir;
    struct app_user nobody;
    struct err err;
};

static int set_up(void **state)
{
    struct world *w = mem_new(1, sizeof *w);
    w->dir = tempdir_make();
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    tempdir_remove(w->dir);
    mem_free(w);
    return 0;
}

static void need_root(struct world *w)
{
    if (geteuid() != 0 || !getpwnam("nobody"))
        skip();
    assert_int_equal(app_user_find("nobody", &w->nobody, &w->err), ERR_OK);
}

static char *make_file(struct world *w, const char *name, const char *text)
{
    char *path = tempdir_path(w->dir, name);
    tempdir_write(path, text, strlen(text));
    return path;
}

static void assert_stat(const struct world *w, const char *name, uid_t uid, mode_t mode)
{
    struct stat st;
    char *path = tempdir_path(w->dir, name);
    assert_int_equal(lstat(path, &st), 0);
    assert_int_equal(st.st_uid, uid);
    assert_int_equal(st.st_mode & 07777, mode);
    free(path);
}

static void make_folder(struct world *w, const char *name, mode_t mode)
{
    char *path = tempdir_path(w->dir, name);
    assert_int_equal(mkdir(path, mode), 0);
    assert_int_equal(chmod(path, mode), 0);
    free(path);
}

static void test_app_user__our_own_is_found_whoever_we_are(void **state)
{
    struct world *w = *state;
    struct app_user user;
    const struct passwd *us = getpwuid(geteuid());
    assert_non_null(us);
    assert_int_equal(app_user_find(us->pw_name, &user, &w->err), ERR_OK);
    assert_int_equal(user.uid, geteuid());
    assert_in_range(user.groups_len, 1, APP_USER_GROUPS_MAX);
}

static void test_app_user__one_that_does_not_exist_is_named(void **state)
{
    struct world *w = *state;
    struct app_user user;
    assert_int_equal(app_user_find("nobody-of-that-name", &user, &w->err), ERR_NOT_FOUND);
    assert_string_equal(w->err.text, "there is no user nobody-of-that-name");
}

static void test_app_user__another_one_needs_root(void **state)
{
    struct world *w = *state;
    int status = 0;
    need_root(w);
    pid_t pid = fork();
    if (pid == 0) {
        struct app_user user;
        bool refused = setresuid(OTHER_UID, OTHER_UID, OTHER_UID) == 0 &&
                       app_user_find("nobody", &user, &w->err) == ERR_DENIED &&
                       strstr(w->err.text, "is not root") && strstr(w->err.hint, "as root");
        _exit(refused ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_app_user__is_given_a_folder_with_what_was_its_owners(void **state)
{
    struct world *w = *state;
    need_root(w);
    make_folder(w, "state", 0700);
    make_folder(w, "state/inner", 0750);
    free(make_file(w, "state/inner/file", "x"));
    char *outside = make_file(w, "outside", "x"), *theirs = make_file(w, "state/theirs", "x");
    char *link = tempdir_path(w->dir, "state/link"), *folder = tempdir_path(w->dir, "state");
    assert_int_equal(chown(theirs, OTHER_UID, OTHER_UID), 0);
    assert_int_equal(symlink(outside, link), 0);
    assert_int_equal(app_user_give(folder, &w->nobody, &w->err), ERR_OK);
    assert_stat(w, "state", w->nobody.uid, 0700);
    assert_stat(w, "state/inner", w->nobody.uid, 0750);
    assert_stat(w, "state/inner/file", w->nobody.uid, 0644);
    assert_stat(w, "state/theirs", OTHER_UID, 0644);
    assert_stat(w, "outside", 0, 0644);
    free(outside);
    free(theirs);
    free(link);
    free(folder);
}

static void test_app_user__is_let_in_where_its_app_is(void **state)
{
    struct world *w = *state;
    need_root(w);
    assert_int_equal(chmod(w->dir, 0700), 0);
    make_folder(w, "apps", 0700);
    make_folder(w, "apps/hello", 0700);
    make_folder(w, "apps/other", 0700);
    make_folder(w, "apps/hello/releases", 0700);
    make_folder(w, "apps/hello/staging", 0700);
    char *app = tempdir_path(w->dir, "apps/hello");
    assert_int_equal(app_user_let_in(w->dir, app, &w->nobody, &w->err), ERR_OK);
    assert_stat(w, "", 0, 0711);
    assert_stat(w, "apps", 0, 0711);
    assert_stat(w, "apps/hello", 0, 0710);
    assert_stat(w, "apps/hello/releases", 0, 0711);
    assert_stat(w, "apps/hello/staging", 0, 0700);
    assert_stat(w, "apps/other", 0, 0700);
    assert_int_equal(app_user_let_in("/elsewhere", app, &w->nobody, &w->err), ERR_SIZE);
    free(app);
}

static void test_app_user__a_release_can_be_read_and_run_not_written(void **state)
{
    struct world *w = *state;
    char *release = tempdir_path(w->dir, "release");
    make_folder(w, "release", 0700);
    make_folder(w, "release/bin", 0700);
    char *program = make_file(w, "release/bin/web", "x"), *page = make_file(w, "release/page", "x");
    assert_int_equal(chmod(program, 0700), 0);
    assert_int_equal(chmod(page, 0600), 0);
    assert_int_equal(app_user_open_release(release, &w->err), ERR_OK);
    assert_stat(w, "release", geteuid(), 0755);
    assert_stat(w, "release/bin", geteuid(), 0755);
    assert_stat(w, "release/bin/web", geteuid(), 0755);
    assert_stat(w, "release/page", geteuid(), 0644);
    free(release);
    free(program);
    free(page);
}

static void test_app_user__its_links_do_not_show_what_is_of_others(void **state)
{
    struct world *w = *state;
    struct arena arena;
    struct bytes text;
    char holder[UPDATE_LOCK_HOLDER_MAX];
    need_root(w);
    arena_init(&arena, 1 << 16);
    char *ours = make_file(w, "ours", "of root"), *link = tempdir_path(w->dir, "link");
    assert_int_equal(symlink(ours, link), 0);
    assert_int_equal(app_user_read(link, &w->nobody, 100, &arena, &text, &w->err), ERR_DENIED);
    assert_int_equal(app_user_read(link, NULL, 100, &arena, &text, &w->err), ERR_OK);
    assert_int_equal(app_user_read(w->dir, NULL, 100, &arena, &text, &w->err), ERR_DENIED);
    assert_true(update_lock_held(link, false, holder));
    assert_null(strstr(holder, "of root"));
    assert_int_equal(chown(ours, w->nobody.uid, w->nobody.gid), 0);
    assert_int_equal(app_user_read(link, &w->nobody, 100, &arena, &text, &w->err), ERR_OK);
    assert_int_equal(text.len, 7);
    free(ours);
    free(link);
    arena_fini(&arena);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_app_user__our_own_is_found_whoever_we_are),
        T(test_app_user__one_that_does_not_exist_is_named),
        T(test_app_user__another_one_needs_root),
        T(test_app_user__is_given_a_folder_with_what_was_its_owners),
        T(test_app_user__is_let_in_where_its_app_is),
        T(test_app_user__a_release_can_be_read_and_run_not_written),
        T(test_app_user__its_links_do_not_show_what_is_of_others),
    };
    (void)umask(022);
    return cmocka_run_group_tests_name("app_user", tests, NULL, NULL);
}
