/* SPDX-License-Identifier: Apache-2.0
 *
 * One artifact, fetched by the real captain-fetch, and by helpers gone bad: this program itself, started under the name
 * of what it does, with the rights that the real one has. Whatever they do, what gets a name in the release's root is
 * what was signed, or nothing.
 */
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
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
#include "tests/support/support.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

enum { BODY_BYTES = 200000, ROUNDS = 6, HELPER_MAX_S = 60 };

/* ---- the helpers gone bad: another process, without cmocka ---- */

struct bad {
    const char *mode; /* our own name */
    int folder;
    const char *name; /* in it: what we are asked for */
    bool unpacks;
    char *good;
    size_t good_len;
    int go_fd; /* of the file "go": as long as it has its name we go on */
};

static void must(bool fine, const char *what)
{
    if (!fine)
        support_die(0, "bad helper: %s", what);
}

static void say_done(void)
{
    must(write(STDOUT_FILENO, "done 5\n", 7) == 7, "say");
}

static int put(const struct bad *bad, const char *name, const void *data, size_t len)
{
    int fd = openat(bad->folder, name, O_RDWR | O_CREAT | O_TRUNC, 0666);
    must(fd >= 0 && write(fd, data, len) == (ssize_t)len, name);
    return fd;
}

/* Goes on after the helper has ended, outside its process group, until the test removes the file "go". */
static bool go_on(void)
{
    if (fork() != 0)
        return false;
    (void)setsid();
    (void)alarm(HELPER_MAX_S);
    (void)close(STDOUT_FILENO);
    return true;
}

static bool told_to_stop(const struct bad *bad)
{
    struct stat st;
    return fstat(bad->go_fd, &st) != 0 || st.st_nlink == 0;
}

/* Writes through the descriptor that it still has, and tries to get another. */
static void hold(const struct bad *bad)
{
    int fd = put(bad, bad->name, bad->good, bad->good_len);
    if (!go_on()) {
        say_done();
        return;
    }
    for (unsigned i = 0; !told_to_stop(bad); i++) {
        char byte = (char)(i % 2 ? bad->good[0] : ~bad->good[0]);
        (void)!pwrite(fd, &byte, 1, 0);
        int other = openat(bad->folder, bad->name, O_WRONLY);
        if (other >= 0) {
            (void)!pwrite(other, &byte, 1, 0);
            (void)close(other);
        }
    }
}

/* Exchanges the file for another one, again and again. */
static void swap(const struct bad *bad)
{
    (void)close(put(bad, bad->name, bad->good, bad->good_len));
    if (!go_on()) {
        say_done();
        return;
    }
    for (unsigned i = 0; !told_to_stop(bad); i++) {
        bad->good[0] = (char)~bad->good[0];
        int fd = openat(bad->folder, "other", O_RDWR | O_CREAT | O_TRUNC, 0666);
        if (fd >= 0) {
            (void)!write(fd, bad->good, bad->good_len);
            (void)close(fd);
        }
        (void)renameat(bad->folder, "other", bad->folder, bad->name);
    }
}

static void fetch_badly(struct bad *bad)
{
    if (str_equal(bad->mode, "hold")) {
        hold(bad);
        return;
    }
    if (str_equal(bad->mode, "swap")) {
        swap(bad);
        return;
    }
    if (str_equal(bad->mode, "link"))
        must(symlinkat("/etc/passwd", bad->folder, bad->name) == 0, "symlink");
    else if (str_equal(bad->mode, "fifo"))
        must(mkfifoat(bad->folder, bad->name, 0600) == 0, "fifo");
    else if (str_equal(bad->mode, "names"))
        must(close(put(bad, "one", bad->good, bad->good_len)) == 0 &&
                 linkat(bad->folder, "one", bad->folder, bad->name, 0) == 0,
             "link");
    else if (str_equal(bad->mode, "short"))
        (void)close(put(bad, bad->name, bad->good, bad->good_len - 1));
    else if (str_equal(bad->mode, "lie")) {
        bad->good[bad->good_len - 1] = (char)~bad->good[bad->good_len - 1];
        (void)close(put(bad, bad->name, bad->good, bad->good_len));
    } else if (!str_equal(bad->mode, "nothing"))
        (void)close(put(bad, bad->name, bad->good, bad->good_len));
    say_done();
}

static void unpack_badly(struct bad *bad)
{
    must(mkdirat(bad->folder, bad->name, 0755) == 0, "mkdir");
    bad->folder = openat(bad->folder, bad->name, O_RDONLY | O_DIRECTORY);
    int fd = put(bad, "file", "x", 1);
    if (str_equal(bad->mode, "setuid"))
        must(fchmod(fd, 06777) == 0, "chmod");
    else if (str_equal(bad->mode, "climb"))
        must(symlinkat("../../../../../etc/passwd", bad->folder, "door") == 0, "symlink");
    else if (str_equal(bad->mode, "pipe"))
        must(mkfifoat(bad->folder, "pipe", 0666) == 0, "fifo");
    else if (str_equal(bad->mode, "large"))
        must(ftruncate(fd, 1 << 30) == 0, "truncate");
    else if (str_equal(bad->mode, "many")) {
        for (int i = 0; i < 20; i++) {
            char name[16];
            (void)snprintf(name, sizeof name, "f%d", i);
            (void)close(put(bad, name, "x", 1));
        }
    } else if (str_equal(bad->mode, "keep") && go_on()) {
        while (!told_to_stop(bad))
            (void)!pwrite(fd, "y", 1, 0);
        return;
    }
    (void)close(fd);
    say_done();
}

static const char *option(int argc, char **argv, const char *name)
{
    for (int i = 1; i + 1 < argc; i++) {
        if (str_equal(argv[i], name))
            return argv[i + 1];
    }
    return NULL;
}

static int be_bad(int argc, char **argv)
{
    char folder[PATH_MAX];
    char path[PATH_MAX];
    struct bad bad = {.mode = strrchr(argv[0], '/') + 1};
    const char *to = option(argc, argv, "--to");
    const char *user = option(argc, argv, "--user");
    bad.unpacks = to == NULL;
    to = bad.unpacks ? option(argc, argv, "--unpack-to") : to;
    (void)snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(to, '/') - to), to);
    bad.name = strrchr(to, '/') + 1;
    bad.folder = open(folder, O_RDONLY | O_DIRECTORY);
    (void)snprintf(path, sizeof path, "%.*s/good", (int)(bad.mode - 1 - argv[0]), argv[0]);
    bad.good = tempdir_read(path, &bad.good_len);
    (void)snprintf(path, sizeof path, "%.*s/go", (int)(bad.mode - 1 - argv[0]), argv[0]);
    bad.go_fd = open(path, O_RDONLY);
    must(bad.folder >= 0 && bad.go_fd >= 0 && bad.good != NULL, "places");
    const struct passwd *other = user != NULL ? getpwnam(user) : NULL;
    must(user == NULL ||
             (other != NULL && setresgid(other->pw_gid, other->pw_gid, other->pw_gid) == 0 &&
              setresuid(other->pw_uid, other->pw_uid, other->pw_uid) == 0),
         "become");
    (void)umask(0);
    if (bad.unpacks)
        unpack_badly(&bad);
    else
        fetch_badly(&bad);
    _exit(0);
}

/* ---- the tests ---- */

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
        assert_int_equal(file_remove_tree(w->staging, NULL), ERR_OK);
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
