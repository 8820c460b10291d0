/* SPDX-License-Identifier: Apache-2.0
 *
 * Releases on disk: whole or not there, `current` always at a whole one, whenever the process is
 * killed.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/io/release_dir.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/clock.h"
#include "tests/support/tempdir.h"

struct world {
    char *temp;
    char path[512];
    struct release_dir dir;
    struct err err;
};

static int set_up(void **state)
{
    struct world *w = mem_new(1, sizeof *w);
    w->temp = tempdir_make();
    (void)snprintf(w->path, sizeof w->path, "%s/app", w->temp);
    assert_int_equal(release_dir_open(&w->dir, w->path, &w->err), ERR_OK);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    tempdir_remove(w->temp);
    mem_free(w);
    return 0;
}

static void digest_of(uint8_t n, uint8_t ret[DIGEST_BYTES])
{
    memset(ret, n, DIGEST_BYTES);
}

/* A release of a document and files that all say its number. */
static enum err_code stage(struct world *w, uint8_t n, unsigned files)
{
    uint8_t digest[DIGEST_BYTES];
    char staging[RELEASE_DIR_PATH_MAX];
    char path[RELEASE_DIR_PATH_MAX + 64];
    char text[8];
    digest_of(n, digest);
    enum err_code code = release_dir_staging(&w->dir, digest, staging, &w->err);
    if (code != ERR_OK)
        return code;
    (void)snprintf(text, sizeof text, "%u", n);
    (void)snprintf(path, sizeof path, "%s/root", staging);
    (void)mkdir(path, 0777);
    (void)snprintf(path, sizeof path, "%s/release.dsse", staging);
    tempdir_write(path, text, strlen(text));
    for (unsigned i = 0; i < files; i++) {
        (void)snprintf(path, sizeof path, "%s/root/file%u", staging, i);
        tempdir_write(path, text, strlen(text));
    }
    return ERR_OK;
}

/* Everything in the release says its number. */
static bool is_whole(struct world *w, uint8_t n, unsigned files)
{
    uint8_t digest[DIGEST_BYTES];
    char root[RELEASE_DIR_PATH_MAX];
    char path[RELEASE_DIR_PATH_MAX + 64];
    char text[8];
    digest_of(n, digest);
    (void)snprintf(text, sizeof text, "%u", n);
    release_dir_root(&w->dir, digest, root);
    for (unsigned i = 0; i < files; i++) {
        (void)snprintf(path, sizeof path, "%s/file%u", root, i);
        char *found = tempdir_read(path, NULL);
        bool same = found != NULL && str_equal(found, text);
        free(found);
        if (!same)
            return false;
    }
    return release_dir_has(&w->dir, digest);
}

/* The number `current` points to, 0: none. */
static unsigned current(struct world *w)
{
    uint8_t digest[DIGEST_BYTES] = {0};
    bool set = true;
    assert_int_equal(release_dir_current(&w->dir, &set, digest, &w->err), ERR_OK);
    return set ? digest[0] : 0;
}

static void install(struct world *w, uint8_t n)
{
    uint8_t digest[DIGEST_BYTES];
    digest_of(n, digest);
    assert_int_equal(stage(w, n, 3), ERR_OK);
    assert_int_equal(release_dir_commit(&w->dir, digest, &w->err), ERR_OK);
}

static enum err_code switch_to(struct world *w, uint8_t n)
{
    uint8_t digest[DIGEST_BYTES];
    digest_of(n, digest);
    return release_dir_switch(&w->dir, digest, &w->err);
}

static void test_release_dir__starts_empty(void **state)
{
    struct world *w = *state;
    uint8_t digest[DIGEST_BYTES];
    digest_of(1, digest);
    assert_int_equal(current(w), 0);
    assert_false(release_dir_has(&w->dir, digest));
    assert_int_equal(switch_to(w, 1), ERR_NOT_FOUND);
    assert_int_equal(release_dir_open(&w->dir, w->path, &w->err), ERR_OK); /* again is fine */
}

static void test_release_dir__installs_switches_and_goes_back(void **state)
{
    struct world *w = *state;
    install(w, 1);
    install(w, 2);
    assert_int_equal(current(w), 0);
    assert_int_equal(switch_to(w, 1), ERR_OK);
    assert_int_equal(current(w), 1);
    assert_int_equal(switch_to(w, 2), ERR_OK);
    assert_int_equal(current(w), 2);
    assert_int_equal(switch_to(w, 1), ERR_OK);
    assert_int_equal(current(w), 1);
    assert_true(is_whole(w, 1, 3));
    assert_true(is_whole(w, 2, 3));
    assert_int_equal(release_dir_clear(&w->dir, &w->err), ERR_OK);
    assert_int_equal(current(w), 0);
    assert_int_equal(release_dir_clear(&w->dir, &w->err), ERR_OK);
}

static void test_release_dir__paths_are_those_of_the_header(void **state)
{
    struct world *w = *state;
    uint8_t digest[DIGEST_BYTES];
    char hex[DIGEST_HEX];
    char path[RELEASE_DIR_PATH_MAX];
    char expected[RELEASE_DIR_PATH_MAX];
    digest_of(7, digest);
    str_hex(bytes_of(digest, DIGEST_BYTES), hex);
    assert_int_equal(stage(w, 7, 1), ERR_OK);
    release_dir_document(&w->dir, digest, path);
    (void)snprintf(expected, sizeof expected, "%s/staging/%s/release.dsse", w->path, hex);
    assert_string_equal(path, expected);
    assert_int_equal(release_dir_commit(&w->dir, digest, &w->err), ERR_OK);
    release_dir_document(&w->dir, digest, path);
    (void)snprintf(expected, sizeof expected, "%s/releases/%s/release.dsse", w->path, hex);
    assert_string_equal(path, expected);
    release_dir_state(&w->dir, path);
    (void)snprintf(expected, sizeof expected, "%s/state", w->path);
    assert_string_equal(path, expected);
}

static void test_release_dir__commit_drops_rights_and_what_does_not_belong(void **state)
{
    struct world *w = *state;
    uint8_t digest[DIGEST_BYTES];
    char path[RELEASE_DIR_PATH_MAX];
    char file[RELEASE_DIR_PATH_MAX + 32];
    struct stat st;
    digest_of(3, digest);
    assert_int_equal(stage(w, 3, 1), ERR_OK);
    assert_int_equal(release_dir_staging(&w->dir, digest, path, &w->err), ERR_OK);
    (void)snprintf(file, sizeof file, "%s/incoming", path);
    assert_int_equal(mkdir(file, 0700), 0);
    (void)snprintf(file, sizeof file, "%s/incoming/hook", path);
    tempdir_write(file, "evil", 4);
    (void)snprintf(file, sizeof file, "%s/hook", path);
    tempdir_write(file, "evil", 4);
    (void)snprintf(file, sizeof file, "%s/root/file0", path);
    assert_int_equal(chmod(file, 06777), 0);
    assert_int_equal(release_dir_commit(&w->dir, digest, &w->err), ERR_OK);
    release_dir_root(&w->dir, digest, path);
    (void)snprintf(file, sizeof file, "%s/file0", path);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_uid, geteuid());
    assert_int_equal(st.st_gid, getegid());
    assert_int_equal(st.st_mode, S_IFREG | 0755);
    (void)snprintf(file, sizeof file, "%s/../hook", path);
    assert_int_equal(lstat(file, &st), -1);
    (void)snprintf(file, sizeof file, "%s/../incoming", path);
    assert_int_equal(lstat(file, &st), -1);
}

static void test_release_dir__commit_takes_nothing_of_another_user(void **state)
{
    struct world *w = *state;
    uint8_t digest[DIGEST_BYTES];
    char path[RELEASE_DIR_PATH_MAX];
    char file[RELEASE_DIR_PATH_MAX + 32];
    struct stat st;
    if (geteuid() != 0)
        skip();
    digest_of(3, digest);
    assert_int_equal(stage(w, 3, 1), ERR_OK);
    assert_int_equal(release_dir_staging(&w->dir, digest, path, &w->err), ERR_OK);
    (void)snprintf(file, sizeof file, "%s/root/file0", path);
    assert_int_equal(chown(file, 65534, 65534), 0);
    assert_int_equal(release_dir_commit(&w->dir, digest, &w->err), ERR_DENIED);
    assert_false(release_dir_has(&w->dir, digest));
    /* A staging folder that somebody else could write is not gone on with. */
    assert_int_equal(chown(path, 65534, 65534), 0);
    assert_int_equal(release_dir_staging(&w->dir, digest, path, &w->err), ERR_OK);
    assert_int_equal(lstat(file, &st), -1);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_uid, 0);
}

static void test_release_dir__commit_follows_no_link_and_takes_no_device(void **state)
{
    struct world *w = *state;
    uint8_t digest[DIGEST_BYTES];
    char staging[RELEASE_DIR_PATH_MAX];
    char path[RELEASE_DIR_PATH_MAX + 32];
    char victim[600];
    struct stat st;
    digest_of(4, digest);
    (void)snprintf(victim, sizeof victim, "%s/victim", w->temp);
    tempdir_write(victim, "x", 1);
    assert_int_equal(chmod(victim, 0666), 0);
    assert_int_equal(stage(w, 4, 1), ERR_OK);
    assert_int_equal(release_dir_staging(&w->dir, digest, staging, &w->err), ERR_OK);
    (void)snprintf(path, sizeof path, "%s/root/link", staging);
    assert_int_equal(symlink(victim, path), 0);
    (void)snprintf(path, sizeof path, "%s/root/fifo", staging);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(release_dir_commit(&w->dir, digest, &w->err), ERR_MALFORMED);
    assert_false(release_dir_has(&w->dir, digest));
    assert_int_equal(unlink(path), 0);
    (void)snprintf(path, sizeof path, "%s/root/link", staging);
    assert_int_equal(release_dir_commit(&w->dir, digest, &w->err), ERR_MALFORMED);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("file0", path), 0);
    assert_int_equal(release_dir_commit(&w->dir, digest, &w->err), ERR_OK);
    assert_int_equal(stat(victim, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0666);
}

static void test_release_dir__commit_again_is_fine(void **state)
{
    struct world *w = *state;
    uint8_t digest[DIGEST_BYTES];
    digest_of(5, digest);
    install(w, 5);
    assert_int_equal(release_dir_commit(&w->dir, digest, &w->err), ERR_OK);
    assert_int_equal(stage(w, 5, 1), ERR_OK); /* fetched twice: the first stays */
    assert_int_equal(release_dir_commit(&w->dir, digest, &w->err), ERR_OK);
    assert_true(is_whole(w, 5, 3));
    digest_of(6, digest);
    assert_int_equal(release_dir_commit(&w->dir, digest, &w->err), ERR_IO); /* nothing staged */
}

static void test_release_dir__current_takes_no_foreign_link(void **state)
{
    struct world *w = *state;
    char link[600];
    static const char *const bad[] = {
        "/etc",
        "releases",
        "releases/../state",
        "releases/abcd",
        "releases/"
        "zz00000000000000000000000000000000000000000000000000000000000000",
        "releases/"
        "0909090909090909090909090909090909090909090909090909090909090909"};
    (void)snprintf(link, sizeof link, "%s/current", w->path);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(symlink(bad[i], link), 0);
        assert_int_equal(current(w), 0); /* the last one dangles */
        assert_int_equal(unlink(link), 0);
    }
}

static void test_release_dir__prune_keeps_what_it_is_told(void **state)
{
    struct world *w = *state;
    uint8_t keep[2][DIGEST_BYTES];
    char state_file[600];
    for (uint8_t n = 1; n <= 4; n++)
        install(w, n);
    assert_int_equal(stage(w, 8, 1), ERR_OK);
    assert_int_equal(stage(w, 9, 1), ERR_OK);
    assert_int_equal(switch_to(w, 2), ERR_OK);
    (void)snprintf(state_file, sizeof state_file, "%s/state/data", w->path);
    tempdir_write(state_file, "mine", 4);
    digest_of(2, keep[0]);
    digest_of(9, keep[1]);
    assert_int_equal(release_dir_prune(&w->dir, (const uint8_t(*)[DIGEST_BYTES])keep, 2, &w->err),
                     ERR_OK);
    for (uint8_t n = 1; n <= 4; n++)
        assert_int_equal(is_whole(w, n, 3), n == 2);
    char hex[DIGEST_HEX];
    char path[700];
    struct stat st;
    for (uint8_t n = 8; n <= 9; n++) {
        uint8_t digest[DIGEST_BYTES];
        digest_of(n, digest);
        str_hex(bytes_of(digest, DIGEST_BYTES), hex);
        (void)snprintf(path, sizeof path, "%s/staging/%s", w->path, hex);
        assert_int_equal(lstat(path, &st) == 0, n == 9);
    }
    assert_int_equal(current(w), 2);
    assert_int_equal(lstat(state_file, &st), 0);
}

/* ---- killed anywhere ---- */

/* A child that installs and switches between two releases for ever. */
static void churn(struct world *w)
{
    for (;;) {
        for (uint8_t n = 1; n <= 2; n++) {
            uint8_t digest[DIGEST_BYTES];
            uint8_t other[1][DIGEST_BYTES];
            digest_of(n, digest);
            digest_of((uint8_t)(3 - n), other[0]);
            bool worked = stage(w, n, 8) == ERR_OK &&
                          release_dir_commit(&w->dir, digest, &w->err) == ERR_OK &&
                          release_dir_switch(&w->dir, digest, &w->err) == ERR_OK &&
                          release_dir_prune(&w->dir, (const uint8_t(*)[DIGEST_BYTES]) & digest, 1,
                                            &w->err) == ERR_OK;
            if (!worked)
                _exit(1);
        }
    }
}

static void assert_consistent(struct world *w, bool *was_set)
{
    unsigned now = current(w);
    assert_int_equal(release_dir_open(&w->dir, w->path, &w->err), ERR_OK);
    assert_int_equal(current(w), now);
    assert_true(!*was_set || now != 0); /* once there is a release, there always is one */
    *was_set = now != 0;
    for (uint8_t n = 1; n <= 2; n++) {
        uint8_t digest[DIGEST_BYTES];
        digest_of(n, digest);
        if (release_dir_has(&w->dir, digest))
            assert_true(is_whole(w, n, 8));
    }
    assert_true(now == 0 || is_whole(w, (uint8_t)now, 8));
}

static void test_release_dir__is_whole_whenever_it_is_killed(void **state)
{
    struct world *w = *state;
    struct rng rng;
    uint64_t seed = (uint64_t)clock_mono_ns();
    bool was_set = false;
    unsigned sets = 0;
    rng_seed(&rng, seed);
    print_message("seed %llu\n", (unsigned long long)seed);
    for (int round = 0; round < 60; round++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            churn(w);
        /* Random moments are what this test is about. */
        long ns = 1000000 + (long)rng_below(&rng, 30000000);
        (void)nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
        assert_int_equal(kill(pid, SIGKILL), 0);
        int status = 0;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status)); /* it had not failed */
        assert_consistent(w, &was_set);
        sets += was_set;
    }
    assert_in_range(sets, 1, 60);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_release_dir__starts_empty),
        T(test_release_dir__installs_switches_and_goes_back),
        T(test_release_dir__paths_are_those_of_the_header),
        T(test_release_dir__commit_drops_rights_and_what_does_not_belong),
        T(test_release_dir__commit_takes_nothing_of_another_user),
        T(test_release_dir__commit_follows_no_link_and_takes_no_device),
        T(test_release_dir__commit_again_is_fine),
        T(test_release_dir__current_takes_no_foreign_link),
        T(test_release_dir__prune_keeps_what_it_is_told),
        T(test_release_dir__is_whole_whenever_it_is_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
