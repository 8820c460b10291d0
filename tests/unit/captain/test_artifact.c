/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/artifact.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/hash.h"
#include "tests/support/tempdir.h"

enum { SIZE = 3 * ARTIFACT_PIECE_MAX + 12345 };

struct fixture {
    char *dir;
    struct artifacts *store;
    uint8_t *data; /* SIZE bytes */
    uint8_t digest[DIGEST_BYTES];
    struct arena arena;
    struct err err;
};

static int set_up(void **state)
{
    struct fixture *f = mem_new(1, sizeof *f);
    struct rng rng;
    f->dir = tempdir_make();
    f->data = mem_new(1, SIZE);
    rng_seed(&rng, 7);
    for (size_t i = 0; i < SIZE; i++)
        f->data[i] = (uint8_t)rng_next(&rng);
    hash_bytes(bytes_of(f->data, SIZE), f->digest);
    arena_init(&f->arena, 4 << 20);
    assert_int_equal(artifacts_open(f->dir, &f->store, &f->err), ERR_OK);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    artifacts_close(f->store);
    arena_fini(&f->arena);
    mem_free(f->data);
    tempdir_remove(f->dir);
    mem_free(f);
    return 0;
}

static void reopen(struct fixture *f)
{
    artifacts_close(f->store);
    f->store = NULL;
    assert_int_equal(artifacts_open(f->dir, &f->store, &f->err), ERR_OK);
}

static enum err_code put(struct fixture *f, uint64_t offset, size_t len, uint64_t *ret_next,
                         bool *ret_complete)
{
    return artifacts_put(f->store, f->digest, SIZE, offset, bytes_of(f->data + offset, len),
                         ret_next, ret_complete, &f->err);
}

/* Sends pieces from where the store says until it is complete; returns how many. */
static int upload(struct fixture *f)
{
    uint64_t next = 0;
    bool complete = false;
    int pieces = 0;
    assert_int_equal(put(f, 0, 0, &next, &complete), ERR_OK);
    while (!complete) {
        const uint64_t left = SIZE - next;
        const size_t len = left < ARTIFACT_PIECE_MAX ? left : ARTIFACT_PIECE_MAX;
        assert_int_equal(put(f, next, len, &next, &complete), ERR_OK);
        pieces++;
    }
    assert_int_equal(next, SIZE);
    return pieces;
}

static char *stored_path(const struct fixture *f, const char *kind, const char *suffix)
{
    char hex[DIGEST_HEX], name[128];
    str_hex(bytes_of(f->digest, DIGEST_BYTES), hex);
    (void)snprintf(name, sizeof name, "%s/%s%s", kind, hex, suffix);
    return tempdir_path(f->dir, name);
}

static bool exists(const struct fixture *f, const char *kind, const char *suffix)
{
    char *path = stored_path(f, kind, suffix);
    const bool there = access(path, F_OK) == 0;
    free(path);
    return there;
}

static void check_stored(struct fixture *f)
{
    char *path = stored_path(f, "artifact", "");
    size_t len = 0;
    struct stat st;
    char *data = tempdir_read(path, &len);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_non_null(data);
    assert_int_equal(len, SIZE);
    assert_memory_equal(data, f->data, SIZE);
    assert_true(artifacts_has(f->store, f->digest, SIZE));
    assert_false(artifacts_has(f->store, f->digest, SIZE - 1));
    assert_false(exists(f, "upload", ".part"));
    free(data);
    free(path);
}

static void test_artifact__is_visible_only_when_complete(void **state)
{
    struct fixture *f = *state;
    uint64_t next = 99;
    bool complete = true;
    assert_false(artifacts_has(f->store, f->digest, SIZE));
    assert_int_equal(put(f, 0, 1000, &next, &complete), ERR_OK);
    assert_int_equal(next, 1000);
    assert_false(complete);
    assert_false(artifacts_has(f->store, f->digest, SIZE));
    assert_false(exists(f, "artifact", ""));
    assert_int_equal(upload(f), 4);
    check_stored(f);
    assert_int_equal(upload(f), 0); /* again: nothing to send */
}

static void test_artifact__upload_goes_on_after_a_restart(void **state)
{
    struct fixture *f = *state;
    uint64_t next;
    bool complete;
    assert_int_equal(put(f, 0, ARTIFACT_PIECE_MAX, &next, &complete), ERR_OK);
    reopen(f);
    assert_int_equal(put(f, 0, 0, &next, &complete), ERR_OK);
    assert_int_equal(next, ARTIFACT_PIECE_MAX);
    assert_int_equal(upload(f), 3);
    check_stored(f);
}

/* A child uploads and is killed in the middle of it, again and again; each goes on where the last
 * was cut. */
static void test_artifact__upload_survives_sigkill(void **state)
{
    struct fixture *f = *state;
    for (int kill_after = 1; kill_after <= 4; kill_after++) {
        int pipe_fds[2];
        assert_int_equal(pipe(pipe_fds), 0);
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            uint64_t next = 0;
            bool complete = false;
            (void)close(pipe_fds[0]);
            if (artifacts_open(f->dir, &f->store, NULL) != ERR_OK ||
                put(f, 0, 0, &next, &complete) != ERR_OK)
                _exit(1);
            while (next < SIZE - 1000) { /* small pieces, never the last one */
                if (put(f, next, 1000, &next, &complete) != ERR_OK ||
                    write(pipe_fds[1], "x", 1) != 1)
                    _exit(1);
            }
            for (;;)
                (void)pause();
        }
        (void)close(pipe_fds[1]);
        char buffer[1];
        for (int i = 0; i < 100 * kill_after; i++)
            assert_int_equal(read(pipe_fds[0], buffer, 1), 1);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        (void)close(pipe_fds[0]);
        assert_false(exists(f, "artifact", ""));
    }
    reopen(f);
    uint64_t next = 0;
    bool complete = false;
    assert_int_equal(put(f, 0, 0, &next, &complete), ERR_OK);
    assert_in_range(next, 1000 * 1000, SIZE - 1);
    (void)upload(f);
    check_stored(f);
}

static void test_artifact__pieces_may_be_sent_again(void **state)
{
    struct fixture *f = *state;
    uint64_t next;
    bool complete;
    assert_int_equal(put(f, 0, 5000, &next, &complete), ERR_OK);
    assert_int_equal(put(f, 2000, 5000, &next, &complete), ERR_OK);
    assert_int_equal(next, 7000);
    assert_int_equal(put(f, 0, 100, &next, &complete), ERR_OK);
    assert_int_equal(next, 7000);
    (void)upload(f);
    check_stored(f);
}

static void test_artifact__a_gap_is_refused(void **state)
{
    struct fixture *f = *state;
    uint64_t next = 0;
    bool complete;
    assert_int_equal(put(f, 0, 1000, &next, &complete), ERR_OK);
    assert_int_equal(put(f, 1001, 1000, &next, &complete), ERR_CONFLICT);
    assert_non_null(strstr(f->err.text, "1000"));
    (void)upload(f);
    check_stored(f);
}

static void test_artifact__wrong_content_is_gone(void **state)
{
    struct fixture *f = *state;
    uint64_t next;
    bool complete;
    f->data[SIZE / 2] ^= 1;
    for (uint64_t at = 0; at < SIZE - ARTIFACT_PIECE_MAX; at += ARTIFACT_PIECE_MAX)
        assert_int_equal(put(f, at, ARTIFACT_PIECE_MAX, &next, &complete), ERR_OK);
    assert_int_equal(put(f, next, SIZE - next, &next, &complete), ERR_HASH);
    assert_false(exists(f, "artifact", ""));
    assert_false(exists(f, "upload", ".part"));
    f->data[SIZE / 2] ^= 1;
    assert_int_equal(upload(f), 4);
    check_stored(f);
}

static void test_artifact__sizes_that_do_not_fit_are_refused(void **state)
{
    struct fixture *f = *state;
    uint64_t next = 0;
    bool complete = false;
    const struct bytes piece = bytes_of(f->data, 1000);
    assert_int_equal(artifacts_put(f->store, f->digest, 999, 0, piece, &next, &complete, &f->err),
                     ERR_SIZE);
    assert_int_equal(artifacts_put(f->store, f->digest, ARTIFACT_MAX_BYTES + 1, 0, piece, &next,
                                   &complete, &f->err),
                     ERR_SIZE);
    assert_int_equal(put(f, 0, ARTIFACT_PIECE_MAX + 1, &next, &complete), ERR_SIZE);
    assert_int_equal(put(f, 0, 1000, &next, &complete), ERR_OK);
    /* The same digest announced smaller than what is there already. */
    assert_int_equal(
        artifacts_put(f->store, f->digest, 10, 10, bytes_of(NULL, 0), &next, &complete, &f->err),
        ERR_SIZE);
    assert_false(exists(f, "upload", ".part"));
    (void)upload(f);
    check_stored(f);
    assert_int_equal(
        artifacts_put(f->store, f->digest, SIZE + 1, 0, piece, &next, &complete, &f->err),
        ERR_SIZE);
}

static void test_artifact__the_empty_one_is_an_artifact_too(void **state)
{
    struct fixture *f = *state;
    uint8_t digest[DIGEST_BYTES];
    uint64_t next = 9;
    bool complete = false;
    hash_bytes(bytes_of(NULL, 0), digest);
    assert_int_equal(
        artifacts_put(f->store, digest, 0, 0, bytes_of(NULL, 0), &next, &complete, &f->err),
        ERR_OK);
    assert_true(complete);
    assert_int_equal(next, 0);
    assert_true(artifacts_has(f->store, digest, 0));
}

static void test_artifact__get_reads_pieces(void **state)
{
    struct fixture *f = *state;
    struct bytes piece;
    uint64_t size = 0;
    assert_int_equal(artifacts_get(f->store, f->digest, 0, 10, &f->arena, &piece, &size, &f->err),
                     ERR_NOT_FOUND);
    (void)upload(f);
    assert_int_equal(
        artifacts_get(f->store, f->digest, 1000, 500, &f->arena, &piece, &size, &f->err), ERR_OK);
    assert_int_equal(size, SIZE);
    assert_int_equal(piece.len, 500);
    assert_memory_equal(piece.ptr, f->data + 1000, 500);
    assert_int_equal(
        artifacts_get(f->store, f->digest, SIZE - 5, 500, &f->arena, &piece, &size, &f->err),
        ERR_OK);
    assert_int_equal(piece.len, 5);
    assert_int_equal(
        artifacts_get(f->store, f->digest, SIZE + 5, 500, &f->arena, &piece, &size, &f->err),
        ERR_OK);
    assert_int_equal(piece.len, 0);
    assert_int_equal(
        artifacts_get(f->store, f->digest, UINT64_MAX, 500, &f->arena, &piece, &size, &f->err),
        ERR_SIZE);
    assert_int_equal(artifacts_get(f->store, f->digest, 0, ARTIFACT_PIECE_MAX + 1, &f->arena,
                                   &piece, &size, &f->err),
                     ERR_SIZE);
}

static void test_artifact__more_uploads_than_allowed_wait(void **state)
{
    struct fixture *f = *state;
    uint8_t digest[DIGEST_BYTES] = {0};
    uint64_t next;
    bool complete;
    for (int i = 0; i <= ARTIFACT_UPLOADS_MAX; i++) {
        digest[0] = (uint8_t)i;
        assert_int_equal(artifacts_put(f->store, digest, SIZE, 0, bytes_of(f->data, 10), &next,
                                       &complete, &f->err),
                         i < ARTIFACT_UPLOADS_MAX ? ERR_OK : ERR_FULL);
    }
    reopen(f); /* parts are found again, and still count */
    assert_int_equal(
        artifacts_put(f->store, digest, SIZE, 0, bytes_of(f->data, 10), &next, &complete, &f->err),
        ERR_FULL);
    digest[0] = 3;
    assert_int_equal(
        artifacts_put(f->store, digest, SIZE, 0, bytes_of(NULL, 0), &next, &complete, &f->err),
        ERR_OK);
    assert_int_equal(next, 10);
}

static void test_artifact__keeps_release_documents(void **state)
{
    struct fixture *f = *state;
    char *path = stored_path(f, "release", "");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(
            artifacts_put_release(f->store, f->digest, bytes_of("envelope", 8), &f->err), ERR_OK);
        char *text = tempdir_read(path, NULL);
        assert_string_equal(text, "envelope");
        free(text);
    }
    free(path);
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_artifact__is_visible_only_when_complete),
        STORE_TEST(test_artifact__upload_goes_on_after_a_restart),
        STORE_TEST(test_artifact__upload_survives_sigkill),
        STORE_TEST(test_artifact__pieces_may_be_sent_again),
        STORE_TEST(test_artifact__a_gap_is_refused),
        STORE_TEST(test_artifact__wrong_content_is_gone),
        STORE_TEST(test_artifact__sizes_that_do_not_fit_are_refused),
        STORE_TEST(test_artifact__the_empty_one_is_an_artifact_too),
        STORE_TEST(test_artifact__get_reads_pieces),
        STORE_TEST(test_artifact__more_uploads_than_allowed_wait),
        STORE_TEST(test_artifact__keeps_release_documents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
