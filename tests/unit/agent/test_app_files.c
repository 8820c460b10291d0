/* SPDX-License-Identifier: Apache-2.0
 *
 * Flags as files: replaced whole, under the eyes of a reader that never stops.
 */
#include "agent/io/app_files.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "tests/support/tempdir.h"

enum { ROUNDS = 300, FILL = 20000 };

struct world {
    char *dir;
    char json[APP_FILES_PATH_MAX], env[APP_FILES_PATH_MAX];
    struct err err;
};

static int set_up(void **state)
{
    struct world *w = mem_new(1, sizeof *w);
    w->dir = tempdir_make();
    app_files_paths(w->dir, w->json, w->env);
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

static struct bytes text_of(const char *text)
{
    return bytes_of(text, strlen(text));
}

static void assert_file(const char *path, const char *expected)
{
    char *text = tempdir_read(path, NULL);
    assert_string_equal(text, expected);
    free(text);
}

static void test_app_files__are_written_and_found_the_same(void **state)
{
    struct world *w = *state;
    struct stat st;
    assert_false(app_files_same(w->dir, text_of("{}\n"), text_of("")));
    assert_int_equal(app_files_write(w->dir, text_of("{}\n"), text_of("A=\"1\"\n"), &w->err),
                     ERR_OK);
    assert_file(w->json, "{}\n");
    assert_file(w->env, "A=\"1\"\n");
    assert_true(app_files_same(w->dir, text_of("{}\n"), text_of("A=\"1\"\n")));
    assert_false(app_files_same(w->dir, text_of("{}\n"), text_of("A=\"2\"\n")));
    assert_false(app_files_same(w->dir, text_of("{ }\n"), text_of("A=\"1\"\n")));
    assert_int_equal(stat(w->json, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
}

static void test_app_files__what_is_the_same_keeps_its_inode(void **state)
{
    struct world *w = *state;
    struct stat json, env, again;
    assert_int_equal(app_files_write(w->dir, text_of("{}\n"), text_of("A=\"1\"\n"), &w->err),
                     ERR_OK);
    assert_int_equal(stat(w->json, &json), 0);
    assert_int_equal(stat(w->env, &env), 0);
    assert_int_equal(app_files_write(w->dir, text_of("{ }\n"), text_of("A=\"1\"\n"), &w->err),
                     ERR_OK);
    assert_int_equal(stat(w->env, &again), 0);
    assert_true(env.st_ino == again.st_ino);
    assert_int_equal(stat(w->json, &again), 0);
    assert_false(json.st_ino == again.st_ino);
}

static void test_app_files__a_folder_that_is_not_there_is_an_error(void **state)
{
    struct world *w = *state;
    char *gone = tempdir_path(w->dir, "gone");
    assert_int_equal(app_files_write(gone, text_of("{}\n"), text_of(""), &w->err), ERR_IO);
    free(gone);
}

/* ---- a reader that never stops ---- */

struct reader {
    const char *path;
    _Atomic bool stop;
    _Atomic unsigned missing, half, reads, letters[2];
};

static void *read_on(void *arg)
{
    struct reader *r = arg;
    while (!r->stop) {
        char *text = tempdir_read(r->path, NULL);
        size_t len = text ? strlen(text) : 0;
        bool whole = len == FILL && strspn(text, text[0] == 'a' ? "a" : "b") == FILL;
        r->missing += !text;
        r->half += text && !whole;
        if (whole)
            r->letters[text[0] == 'b']++;
        r->reads++;
        free(text);
    }
    return NULL;
}

static void test_app_files__a_reader_never_sees_a_half_or_none(void **state)
{
    struct world *w = *state;
    char *texts[2];
    pthread_t threads[2];
    struct reader readers[2] = {{.path = w->json}, {.path = w->env}};
    for (int i = 0; i < 2; i++) {
        texts[i] = mem_new(1, FILL + 1);
        memset(texts[i], i ? 'b' : 'a', FILL);
    }
    assert_int_equal(app_files_write(w->dir, text_of(texts[0]), text_of(texts[0]), &w->err),
                     ERR_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &readers[i]), 0);
    for (int i = 1; i < ROUNDS || readers[0].letters[1] == 0 || readers[1].letters[1] == 0; i++)
        assert_int_equal(
            app_files_write(w->dir, text_of(texts[i % 2]), text_of(texts[i % 2]), &w->err), ERR_OK);
    for (int i = 0; i < 2; i++) {
        readers[i].stop = true;
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(readers[i].missing, 0);
        assert_int_equal(readers[i].half, 0);
        mem_free(texts[i]);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_app_files__are_written_and_found_the_same),
        T(test_app_files__what_is_the_same_keeps_its_inode),
        T(test_app_files__a_folder_that_is_not_there_is_an_error),
        T(test_app_files__a_reader_never_sees_a_half_or_none),
    };
    return cmocka_run_group_tests_name("app_files", tests, NULL, NULL);
}
