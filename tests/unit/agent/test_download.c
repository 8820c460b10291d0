/* SPDX-License-Identifier: Apache-2.0
 *
 * The real captain-fetch, followed from the agent's loop; and helpers that lie, babble and die.
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
#include <unistd.h>

#include <cmocka.h>

#include "agent/io/download.h"
#include "common/base/mem.h"
#include "common/hash.h"
#include "tests/support/fault_http.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

enum { BODY_BYTES = 2 << 20 };

struct world {
    char *dir;
    char *to;
    struct loop *loop;
    struct fault_http *http;
    char *body;
    uint8_t sha256[DIGEST_BYTES];
    const char *urls[3];
    struct download_request request;
    struct download *download;
    unsigned ends;
    unsigned progresses;
    uint64_t progress_bytes, progress_total;
    struct err result;
    struct err err;
};

static int set_up(void **state)
{
    struct world *w = mem_new(1, sizeof *w);
    w->dir = tempdir_make();
    w->to = tempdir_path(w->dir, "file");
    assert_int_equal(loop_open(&w->loop, NULL), ERR_OK);
    w->body = mem_new(1, BODY_BYTES);
    for (size_t i = 0; i < BODY_BYTES; i++)
        w->body[i] = (char)(i * 2654435761U >> 11);
    hash_bytes(bytes_of(w->body, BODY_BYTES), w->sha256);
    w->http = fault_http_start(w->body, BODY_BYTES, "v1");
    w->urls[0] = fault_http_url(w->http);
    assert_non_null(getenv("CAPTAIN_FETCH_BIN"));
    w->request = (struct download_request){
        .helper = getenv("CAPTAIN_FETCH_BIN"),
        .urls = w->urls,
        .to = w->to,
        .max_bytes = BODY_BYTES,
        .size_bytes = BODY_BYTES,
        .sha256 = w->sha256,
    };
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    fault_http_free(w->http);
    loop_close(w->loop);
    tempdir_remove(w->dir);
    free(w->to);
    mem_free(w->body);
    mem_free(w);
    return 0;
}

static void on_progress(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
    struct world *w = arg;
    assert_true(done_bytes >= w->progress_bytes);
    w->progresses++;
    w->progress_bytes = done_bytes;
    w->progress_total = total_bytes;
}

static void on_done(void *arg, const struct err *err)
{
    struct world *w = arg;
    w->ends++;
    w->result = *err;
    w->download = NULL;
}

static bool has_ended(void *arg)
{
    return ((struct world *)arg)->ends > 0;
}

static bool has_progress(void *arg)
{
    return ((struct world *)arg)->progresses > 0;
}

static void start(struct world *w)
{
    w->ends = 0;
    assert_int_equal(
        download_start(w->loop, &w->request, on_progress, on_done, w, &w->download, &w->err),
        ERR_OK);
}

static enum err_code run(struct world *w)
{
    start(w);
    assert_true(wait_turning(w->loop, has_ended, w, 30000));
    turn_for(w->loop, 10);
    assert_int_equal(w->ends, 1);
    return w->result.code;
}

static bool file_is_there(struct world *w)
{
    struct stat st;
    return lstat(w->to, &st) == 0 && st.st_size == BODY_BYTES;
}

static void test_download__fetches_and_tells_progress(void **state)
{
    struct world *w = *state;
    fault_http_plan(w->http, &(struct fault_http_plan){.bytes_per_s = 1 << 20});
    assert_int_equal(run(w), ERR_OK);
    assert_true(file_is_there(w));
    assert_in_range(w->progresses, 1, 20);
    assert_int_equal(w->progress_total, BODY_BYTES);
}

static void test_download__tells_the_helpers_error(void **state)
{
    struct world *w = *state;
    fault_http_plan(w->http, &(struct fault_http_plan){.status = 404});
    assert_int_equal(run(w), ERR_NOT_FOUND);
    assert_non_null(strstr(w->result.text, "http 404"));
    w->body[5] ^= 1;
    fault_http_change(w->http, w->body, BODY_BYTES, "v2");
    fault_http_plan(w->http, &(struct fault_http_plan){0});
    assert_int_equal(run(w), ERR_HASH);
    assert_false(file_is_there(w));
}

static void test_download__passes_the_low_speed_limit(void **state)
{
    struct world *w = *state;
    w->request.low_speed_s = 1;
    w->request.low_speed_bytes = 1000000;
    fault_http_plan(w->http, &(struct fault_http_plan){.bytes_per_s = 1000});
    assert_int_equal(run(w), ERR_TOO_SLOW);
}

static void test_download__cancel_kills_and_the_next_resumes(void **state)
{
    struct world *w = *state;
    struct fault_http_counts counts;
    fault_http_plan(w->http, &(struct fault_http_plan){.bytes_per_s = 1 << 20});
    start(w);
    assert_true(wait_turning(w->loop, has_progress, w, 20000));
    download_cancel(w->download);
    download_cancel(NULL);
    fault_http_plan(w->http, &(struct fault_http_plan){0});
    /* The killed one may hold the file for a moment. */
    enum err_code code = run(w);
    for (int i = 0; i < 100 && code == ERR_CONFLICT; i++)
        code = run(w);
    assert_int_equal(code, ERR_OK);
    assert_true(file_is_there(w));
    fault_http_counts(w->http, &counts);
    assert_int_equal(counts.ranges, 1);
    assert_in_range(counts.body_bytes, BODY_BYTES, BODY_BYTES + (1 << 20));
}

static void test_download__cancel_at_once_is_silent(void **state)
{
    struct world *w = *state;
    start(w);
    download_cancel(w->download);
    turn_for(w->loop, 300);
    assert_int_equal(w->ends, 0);
    assert_int_equal(w->progresses, 0);
}

static void test_download__keeps_the_hash_for_later(void **state)
{
    struct world *w = *state;
    w->request.hash_later = true;
    w->sha256[0] ^= 1;
    assert_int_equal(run(w), ERR_OK);
    assert_true(file_is_there(w));
}

/* ---- few bytes, known by their hash ---- */

static void test_download__brings_what_its_hash_proves(void **state)
{
    struct world *w = *state;
    struct arena arena;
    struct bytes found;
    uint8_t sha256[DIGEST_BYTES];
    hash_bytes(bytes_of("the bundle", 10), sha256);
    fault_http_change(w->http, "the bundle", 10, "b");
    struct download_proven request = {
        .helper = w->request.helper,
        .user = geteuid() == 0 ? "nobody" : NULL,
        .url = fault_http_url(w->http),
        .sha256 = sha256,
        .folder = w->dir,
    };
    arena_init(&arena, 1 << 20);
    assert_int_equal(download_proven(&request, &arena, &found, &w->err), ERR_OK);
    assert_int_equal(found.len, 10);
    assert_memory_equal(found.ptr, "the bundle", 10);
    fault_http_change(w->http, "the bungle", 10, "c");
    assert_int_equal(download_proven(&request, &arena, &found, &w->err), ERR_HASH);
    fault_http_change(w->http, w->body, DOWNLOAD_PROVEN_MAX_BYTES + 1, "d");
    assert_int_equal(download_proven(&request, &arena, &found, &w->err), ERR_SIZE);
    fault_http_plan(w->http, &(struct fault_http_plan){.endless = true});
    assert_int_equal(download_proven(&request, &arena, &found, &w->err), ERR_SIZE);
    fault_http_plan(w->http, &(struct fault_http_plan){.status = 404});
    assert_int_equal(download_proven(&request, &arena, &found, &w->err), ERR_NOT_FOUND);
    /* A helper that says done and has nothing, or something else. */
    char *liar = tempdir_path(w->dir, "liar");
    tempdir_write(liar, "#!/bin/sh\necho done 1\n", 22);
    assert_int_equal(chmod(liar, 0755), 0);
    request.helper = liar;
    assert_int_equal(download_proven(&request, &arena, &found, &w->err), ERR_NOT_FOUND);
    static const char other[] = "#!/bin/sh\nprintf 'other bytes' > $4\necho done 1\n";
    tempdir_write(liar, other, sizeof other - 1);
    assert_int_equal(download_proven(&request, &arena, &found, &w->err), ERR_HASH);
    assert_int_equal(unlink(liar), 0);
    assert_int_equal(rmdir(w->dir), 0); /* nothing is left */
    assert_int_equal(mkdir(w->dir, 0700), 0);
    free(liar);
    arena_fini(&arena);
}

/* ---- as root, for another user ---- */

static void test_download__gives_the_folder_to_the_helpers_user(void **state)
{
    struct world *w = *state;
    struct stat st;
    if (geteuid() != 0)
        skip();
    w->request.user = "nobody";
    assert_int_equal(run(w), ERR_OK);
    assert_int_equal(stat(w->dir, &st), 0);
    assert_int_equal(st.st_uid, 65534);
    assert_int_equal(stat(w->to, &st), 0);
    assert_int_equal(st.st_uid, 65534);
}

/* The helper's user must not be able to have the agent give it what a link names. */
static void test_download__gives_no_folder_behind_a_link(void **state)
{
    struct world *w = *state;
    struct stat st;
    if (geteuid() != 0)
        skip();
    char *victim = tempdir_path(w->dir, "victim");
    char *inner = tempdir_path(w->dir, "victim/inner");
    char *link = tempdir_path(w->dir, "link");
    char *to = tempdir_path(w->dir, "link/inner/file");
    assert_int_equal(mkdir(victim, 0700), 0);
    assert_int_equal(mkdir(inner, 0700), 0);
    assert_int_equal(symlink("victim", link), 0);
    w->request.user = "nobody";
    w->request.to = to;
    assert_int_equal(
        download_start(w->loop, &w->request, on_progress, on_done, w, &w->download, &w->err),
        ERR_IO);
    assert_int_equal(stat(inner, &st), 0);
    assert_int_equal(st.st_uid, 0);
    w->request.user = "root";
    w->request.to = w->to;
    assert_int_equal(
        download_start(w->loop, &w->request, on_progress, on_done, w, &w->download, &w->err),
        ERR_DENIED);
    free(victim);
    free(inner);
    free(link);
    free(to);
}

/* ---- helpers that do not keep to the protocol ---- */

static void use_script(struct world *w, const char *script)
{
    static char path[600];
    (void)snprintf(path, sizeof path, "%s/helper", w->dir);
    char text[2000];
    (void)snprintf(text, sizeof text, "#!/bin/sh\n%s\n", script);
    tempdir_write(path, text, strlen(text));
    assert_int_equal(chmod(path, 0755), 0);
    w->request.helper = path;
}

static void assert_script(struct world *w, const char *script, enum err_code code, const char *text)
{
    use_script(w, script);
    assert_int_equal(run(w), code);
    if (code != ERR_OK)
        assert_non_null(strstr(w->result.text, text));
}

static void test_download__believes_no_helper_that_breaks_the_protocol(void **state)
{
    struct world *w = *state;
    static const char no_result[] = "ended without a result";
    assert_script(w, "exit 0", ERR_FAILED, no_result);
    assert_script(w, "kill -9 $$", ERR_FAILED, "killed by signal 9");
    assert_script(w, "exit 3", ERR_FAILED, "exit code 3");
    assert_script(w, "echo done 5; exit 1", ERR_FAILED, no_result);
    assert_script(w, "echo done 5; kill -9 $$", ERR_FAILED, no_result);
    assert_script(w, "printf 'done 5'", ERR_FAILED, no_result); /* an unfinished line */
    assert_script(w, "echo error 0 fine", ERR_FAILED, "fine");
    assert_script(w, "echo error 99999999999 big; exit 1", ERR_FAILED, "big");
    assert_script(w, "echo error 14; exit 14", ERR_HASH, "no reason given");
    assert_script(w, "echo error 14 first; echo done 5", ERR_HASH, "first");
    assert_script(w, "echo done 5; echo error 14 late", ERR_OK, "");
    assert_script(w, "head -c 3000 /dev/zero | tr '\\0' x; echo; echo done 1", ERR_OK, "");
    assert_script(w, "echo progress x y; echo progress 5; echo progress; echo done 1", ERR_OK, "");
    assert_int_equal(w->progresses, 0);
    assert_script(w, "head -c 300000 /dev/urandom; exit 1", ERR_FAILED, no_result);
}

static void test_download__says_when_there_is_no_helper(void **state)
{
    struct world *w = *state;
    w->request.helper = "/nonexistent/captain-fetch";
    assert_int_equal(run(w), ERR_FAILED);
    assert_non_null(strstr(w->result.text, "ended without a result"));
}

static void test_download__helper_sees_only_what_it_needs(void **state)
{
    struct world *w = *state;
    char script[700];
    char *seen = tempdir_path(w->dir, "seen");
    assert_int_equal(setenv("SECRET_OF_THE_AGENT", "x", 1), 0);
    int leaked = fcntl(STDERR_FILENO, F_DUPFD, 77); /* without close-on-exec */
    assert_int_equal(leaked, 77);
    (void)snprintf(script, sizeof script, "env > %s; ls /proc/$$/fd >> %s; echo done 1", seen,
                   seen);
    assert_script(w, script, ERR_OK, "");
    (void)close(leaked);
    char *text = tempdir_read(seen, NULL);
    assert_null(strstr(text, "SECRET"));
    assert_non_null(strstr(text, "\n0\n1\n"));
    assert_null(strstr(text, "\n77\n"));
    free(text);
    free(seen);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_download__fetches_and_tells_progress),
        T(test_download__tells_the_helpers_error),
        T(test_download__passes_the_low_speed_limit),
        T(test_download__cancel_kills_and_the_next_resumes),
        T(test_download__cancel_at_once_is_silent),
        T(test_download__keeps_the_hash_for_later),
        T(test_download__brings_what_its_hash_proves),
        T(test_download__gives_the_folder_to_the_helpers_user),
        T(test_download__gives_no_folder_behind_a_link),
        T(test_download__believes_no_helper_that_breaks_the_protocol),
        T(test_download__says_when_there_is_no_helper),
        T(test_download__helper_sees_only_what_it_needs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
