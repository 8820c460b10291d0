/* SPDX-License-Identifier: Apache-2.0
 *
 * One artifact, fetched by the real captain-fetch, and by helpers gone bad: this program itself, started under the name
 * of what it does, with the rights that the real one has. Whatever they do, what gets a name in the release's root is
 * what was signed, or nothing.
 */
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/app_artifact.h"
#include "common/base/mem.h"
#include "common/file.h"
#include "common/hash.h"
#include "tests/support/fault_http.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"
#include "tests/unit/agent/bad_helper.h"

enum { BODY_BYTES = 200000, ROUNDS = 6 };

struct world {
    char *dir, *staging, *go;
    struct loop *loop;
    struct fault_http *http;
    char *body;
    uint8_t sha256[DIGEST_BYTES];
    char hex[DIGEST_HEX];
    struct config config;
    struct artifact artifact;
    const char *urls[3];
    struct app_artifact *running;
    unsigned ends;
    struct err err;
};

static int set_up(void **state)
{
    struct world *w = mem_new(1, sizeof *w);
    w->dir = tempdir_make();
    w->staging = tempdir_path(w->dir, "staging");
    w->go = tempdir_path(w->dir, "go");
    tempdir_write(w->go, "", 0);
    assert_int_equal(mkdir(w->staging, 0700), 0);
    assert_int_equal(loop_open(&w->loop, NULL), ERR_OK);
    w->body = mem_new(1, BODY_BYTES);
    for (size_t i = 0; i < BODY_BYTES; i++)
        w->body[i] = (char)(i * 2654435761U >> 11);
    hash_bytes(bytes_of(w->body, BODY_BYTES), w->sha256);
    str_hex(bytes_of(w->sha256, DIGEST_BYTES), w->hex);
    char *good = tempdir_path(w->dir, "good");
    tempdir_write(good, w->body, BODY_BYTES);
    free(good);
    w->http = fault_http_start(w->body, BODY_BYTES, "v1");
    w->urls[0] = fault_http_url(w->http);
    w->config = (struct config){
        .fetch_helper = getenv("CAPTAIN_FETCH_BIN"),
        .fetch_user = geteuid() == 0 ? "nobody" : NULL,
    };
    w->artifact = (struct artifact){
        .path = "bin/app",
        .kind = ARTIFACT_KIND_FILE,
        .size_bytes = BODY_BYTES,
        .sha256 = bytes_of(w->sha256, DIGEST_BYTES),
        .executable = true,
        .unpacked_bytes_max = 1 << 20,
        .unpacked_files_max = 10,
    };
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    app_artifact_cancel(w->running);
    fault_http_free(w->http);
    loop_close(w->loop);
    tempdir_remove(w->dir);
    free(w->staging);
    free(w->go);
    mem_free(w->body);
    mem_free(w);
    return 0;
}

static void on_progress(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
    (void)arg;
    assert_true(total_bytes == 0 || done_bytes <= total_bytes);
}

static void on_done(void *arg, const struct err *err)
{
    struct world *w = arg;
    w->ends++;
    w->err = *err;
    w->running = NULL;
}

static bool has_ended(void *arg)
{
    return ((struct world *)arg)->ends > 0;
}

static enum err_code run(struct world *w)
{
    struct app_artifact_order order = {
        .loop = w->loop,
        .config = &w->config,
        .staging = w->staging,
        .artifact = &w->artifact,
        .urls = w->urls,
        .progress = on_progress,
        .done = on_done,
        .arg = w,
    };
    w->ends = 0;
    w->err = (struct err){.code = ERR_OK};
    if (app_artifact_start(&order, &w->running, &w->err) != ERR_OK)
        return w->err.code;
    assert_true(wait_turning(w->loop, has_ended, w, 60000));
    return w->err.code;
}

/* The program itself under another name. */
static void use_bad_helper(struct world *w, const char *mode)
{
    static char path[PATH_MAX];
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(len > 0);
    self[len] = '\0';
    (void)snprintf(path, sizeof path, "%s/%s", w->dir, mode);
    (void)unlink(path);
    assert_int_equal(symlink(self, path), 0);
    w->config.fetch_helper = path;
}

static char *placed(struct world *w, const char *path)
{
    char inner[PATH_MAX];
    (void)snprintf(inner, sizeof inner, "staging/root/%s", path);
    return tempdir_path(w->dir, inner);
}

static void assert_nothing(struct world *w)
{
    struct stat st;
    char *path = placed(w, "bin/app");
    if (lstat(path, &st) == 0)
        fail_msg("%s was installed", path);
    free(path);
    path = placed(w, "tree");
    if (lstat(path, &st) == 0)
        fail_msg("%s was installed", path);
    free(path);
}

static void assert_placed(struct world *w)
{
    char *path = placed(w, "bin/app");
    size_t len = 0;
    struct stat st;
    char *found = tempdir_read(path, &len);
    assert_non_null(found);
    assert_int_equal(len, BODY_BYTES);
    assert_memory_equal(found, w->body, BODY_BYTES);
    assert_int_equal(lstat(path, &st), 0);
    assert_int_equal(st.st_uid, geteuid());
    assert_int_equal(st.st_gid, getegid());
    assert_int_equal(st.st_nlink, 1);
    assert_int_equal(st.st_mode, S_IFREG | 0755);
    free(found);
    free(path);
}

static void test_artifact__is_fetched_verified_and_placed(void **state)
{
    struct world *w = *state;
    struct fault_http_counts counts;
    assert_int_equal(run(w), ERR_OK);
    assert_placed(w);
    assert_int_equal(app_artifact_bytes_there(w->staging), 0);
    /* What lies whole in incoming is verified, not fetched again. */
    char *place = placed(w, "bin/app");
    char *incoming = tempdir_path(w->dir, "staging/incoming/");
    char name[PATH_MAX];
    (void)snprintf(name, sizeof name, "%s%s", incoming, w->hex);
    assert_int_equal(rename(place, name), 0);
    assert_true(app_artifact_bytes_there(w->staging) >= BODY_BYTES);
    assert_int_equal(run(w), ERR_OK);
    assert_placed(w);
    fault_http_counts(w->http, &counts);
    assert_int_equal(counts.requests, 1);
    free(incoming);
    free(place);
}

static void test_artifact__damaged_on_the_disk_is_fetched_again(void **state)
{
    struct world *w = *state;
    char name[PATH_MAX];
    (void)snprintf(name, sizeof name, "%s/incoming", w->staging);
    assert_int_equal(mkdir(name, 0700), 0);
    (void)snprintf(name, sizeof name, "%s/incoming/%s", w->staging, w->hex);
    w->body[7] ^= 1;
    tempdir_write(name, w->body, BODY_BYTES);
    w->body[7] ^= 1;
    assert_int_equal(run(w), ERR_OK);
    assert_placed(w);
}

static void test_artifact__swapped_on_the_server_is_14(void **state)
{
    struct world *w = *state;
    w->body[5] ^= 1;
    fault_http_change(w->http, w->body, BODY_BYTES, "v2");
    assert_int_equal(run(w), ERR_HASH);
    assert_int_equal(w->err.code, 14);
    assert_nothing(w);
    assert_int_equal(app_artifact_bytes_there(w->staging), 0);
}

static void test_artifact__leaves_out_the_store_that_has_wrong_bytes(void **state)
{
    struct world *w = *state;
    struct fault_http_counts counts;
    char *wrong = mem_new(1, BODY_BYTES);
    memcpy(wrong, w->body, BODY_BYTES);
    wrong[5] ^= 1;
    struct fault_http *first = fault_http_start(wrong, BODY_BYTES, "w");
    w->urls[1] = w->urls[0];
    w->urls[0] = fault_http_url(first);
    enum err_code code = run(w);
    fault_http_free(first);
    mem_free(wrong);
    assert_int_equal(code, ERR_OK);
    assert_placed(w);
    fault_http_counts(w->http, &counts);
    assert_int_equal(counts.requests, 1);
}

/* The first half is of another file than the rest, and no ETag tells. */
static void test_artifact__mends_what_was_put_together_wrongly(void **state)
{
    struct world *w = *state;
    struct fault_http_plan plan = {.cut_after = BODY_BYTES / 2, .no_etag = true};
    w->body[5] ^= 1;
    fault_http_change(w->http, w->body, BODY_BYTES, "");
    fault_http_plan(w->http, &plan);
    assert_int_equal(run(w), ERR_NO_CONTACT);
    w->body[5] ^= 1;
    fault_http_change(w->http, w->body, BODY_BYTES, "");
    plan.cut_after = 0;
    fault_http_plan(w->http, &plan);
    assert_int_equal(run(w), ERR_OK);
    assert_placed(w);
}

static void test_artifact__endless_body_is_15(void **state)
{
    struct world *w = *state;
    fault_http_plan(w->http, &(struct fault_http_plan){.endless = true});
    assert_int_equal(run(w), ERR_SIZE);
    assert_int_equal(w->err.code, 15);
    assert_nothing(w);
}

static void test_artifact__redirects_to_other_schemes_are_denied(void **state)
{
    struct world *w = *state;
    static const char *const bad[] = {"file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x/"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct fault_http_plan plan = {.status = 302};
        (void)snprintf(plan.location, sizeof plan.location, "%s", bad[i]);
        fault_http_plan(w->http, &plan);
        assert_int_equal(run(w), ERR_DENIED);
        assert_nothing(w);
    }
}

static void test_artifact__goes_on_after_a_cut(void **state)
{
    struct world *w = *state;
    struct fault_http_counts counts;
    fault_http_plan(w->http, &(struct fault_http_plan){.cut_after = 70000});
    assert_int_equal(run(w), ERR_NO_CONTACT);
    assert_nothing(w);
    fault_http_plan(w->http, &(struct fault_http_plan){0});
    assert_int_equal(run(w), ERR_OK);
    assert_placed(w);
    fault_http_counts(w->http, &counts);
    assert_int_equal(counts.ranges, 1);
}

/* ---- helpers that lie about what they fetched ---- */

static void test_artifact__believes_no_helper(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *mode;
        enum err_code code;
    } cases[] = {
        {"lie", ERR_HASH},    {"short", ERR_SIZE},   {"link", ERR_DENIED},
        {"fifo", ERR_DENIED}, {"names", ERR_DENIED}, {"nothing", ERR_NOT_FOUND},
    };
    struct stat before, after;
    assert_int_equal(stat("/etc/passwd", &before), 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        use_bad_helper(w, cases[i].mode);
        if (run(w) != cases[i].code)
            fail_msg("%s: %s", cases[i].mode, w->err.text);
        assert_nothing(w);
    }
    assert_int_equal(stat("/etc/passwd", &after), 0);
    assert_int_equal(after.st_mode, before.st_mode);
    assert_int_equal(after.st_ctim.tv_nsec, before.st_ctim.tv_nsec);
}

/* The bad one may make one more file before it sees that it is over. */
static bool is_removed(void *arg)
{
    return file_remove_tree(((struct world *)arg)->staging, NULL) == ERR_OK;
}

/* The attack between check and use: the helper's user goes on writing while the agent verifies, and after. What is
 * installed is the right one, and stays it, or nothing is. */
static void attack(struct world *w, const char *mode)
{
    unsigned good = 0;
    if (geteuid() != 0)
        skip(); /* it takes two users */
    for (int i = 0; i < ROUNDS; i++) {
        use_bad_helper(w, mode);
        enum err_code code = run(w);
        if (code == ERR_OK) {
            assert_placed(w);
            turn_for(w->loop, 20);
            assert_placed(w);
            good++;
        } else {
            assert_nothing(w);
            assert_true(code == ERR_HASH || code == ERR_NOT_FOUND || code == ERR_DENIED ||
                        code == ERR_SIZE || code == ERR_IO);
        }
        char *place = placed(w, "bin/app");
        (void)unlink(place);
        free(place);
        assert_int_equal(unlink(w->go), 0);
        tempdir_write(w->go, "", 0);
        assert_true(wait_until(is_removed, w, 20000));
        assert_int_equal(mkdir(w->staging, 0700), 0);
    }
    print_message("%s: %u of %d were right and installed, the others refused\n", mode, good,
                  ROUNDS);
}

static void test_artifact__changed_between_check_and_use(void **state)
{
    attack(*state, "hold");
}

static void test_artifact__exchanged_between_check_and_use(void **state)
{
    attack(*state, "swap");
}

/* ---- and about what they unpacked ---- */

static void test_artifact__takes_from_the_unpacker_only_what_a_release_may_hold(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *mode;
        enum err_code code;
    } cases[] = {
        {"climb", ERR_MALFORMED},
        {"pipe", ERR_MALFORMED},
        {"large", ERR_SIZE},
        {"many", ERR_SIZE},
    };
    w->artifact.kind = ARTIFACT_KIND_TREE;
    w->artifact.path = "tree";
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        use_bad_helper(w, cases[i].mode);
        if (run(w) != cases[i].code)
            fail_msg("%s: %s", cases[i].mode, w->err.text);
        assert_nothing(w);
    }
    use_bad_helper(w, "setuid");
    assert_int_equal(run(w), ERR_OK);
    struct stat st;
    char *path = placed(w, "tree/file");
    assert_int_equal(lstat(path, &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0755);
    assert_int_equal(st.st_uid, geteuid());
    free(path);
}

static void test_artifact__takes_no_tree_that_somebody_still_writes(void **state)
{
    struct world *w = *state;
    if (geteuid() != 0)
        skip(); /* it takes two users */
    w->artifact.kind = ARTIFACT_KIND_TREE;
    w->artifact.path = "tree";
    use_bad_helper(w, "keep");
    assert_int_equal(run(w), ERR_DENIED);
    assert_non_null(strstr(w->err.text, "open for writing"));
    assert_nothing(w);
}

static void test_artifact__cancel_is_silent(void **state)
{
    struct world *w = *state;
    fault_http_plan(w->http, &(struct fault_http_plan){.bytes_per_s = 100000});
    struct app_artifact_order order = {
        .loop = w->loop,
        .config = &w->config,
        .staging = w->staging,
        .artifact = &w->artifact,
        .urls = w->urls,
        .progress = on_progress,
        .done = on_done,
        .arg = w,
    };
    assert_int_equal(app_artifact_start(&order, &w->running, &w->err), ERR_OK);
    turn_for(w->loop, 50);
    app_artifact_cancel(w->running);
    w->running = NULL;
    turn_for(w->loop, 100);
    assert_int_equal(w->ends, 0);
    assert_nothing(w);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strncmp(argv[1], "--", 2) == 0)
        return be_bad(argc, argv);
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_artifact__is_fetched_verified_and_placed),
        T(test_artifact__damaged_on_the_disk_is_fetched_again),
        T(test_artifact__swapped_on_the_server_is_14),
        T(test_artifact__leaves_out_the_store_that_has_wrong_bytes),
        T(test_artifact__mends_what_was_put_together_wrongly),
        T(test_artifact__endless_body_is_15),
        T(test_artifact__redirects_to_other_schemes_are_denied),
        T(test_artifact__goes_on_after_a_cut),
        T(test_artifact__believes_no_helper),
        T(test_artifact__changed_between_check_and_use),
        T(test_artifact__exchanged_between_check_and_use),
        T(test_artifact__takes_from_the_unpacker_only_what_a_release_may_hold),
        T(test_artifact__takes_no_tree_that_somebody_still_writes),
        T(test_artifact__cancel_is_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
