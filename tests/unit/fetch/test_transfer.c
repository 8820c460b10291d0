/* SPDX-License-Identifier: Apache-2.0
 *
 * Transfers from a server that misbehaves: what resumes, what starts again, what is refused with
 * which code, and what is left on disk.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/fetch/transfer.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/hash.h"
#include "tests/support/fault_http.h"
#include "tests/support/port.h"
#include "tests/support/proc.h"
#include "tests/support/support.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

enum { BODY_BYTES = 3 << 20 };

struct world {
    char *dir;
    int dir_fd;
    char *body;
    uint8_t sha256[DIGEST_BYTES];
    struct fault_http *http;
    const char *urls[4];
    struct transfer_options options;
    struct err err;
};

static void fill(char *body, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++)
        body[i] = (char)((i * 2654435761U + seed) >> 13);
}

static int set_up(void **state)
{
    struct world *w = mem_new(1, sizeof *w);
    w->dir = tempdir_make();
    w->dir_fd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    w->body = mem_new(1, BODY_BYTES);
    fill(w->body, BODY_BYTES, 1);
    hash_bytes(bytes_of(w->body, BODY_BYTES), w->sha256);
    w->http = fault_http_start(w->body, BODY_BYTES, "v1");
    w->urls[0] = fault_http_url(w->http);
    w->options = (struct transfer_options){
        .urls = w->urls,
        .folder_fd = w->dir_fd,
        .name = "file",
        .max_bytes = 10 << 20,
        .size_bytes = BODY_BYTES,
        .sha256 = w->sha256,
        .mode = 0644,
        .durable = true,
        .low_speed_bytes = 1000,
        .low_speed_s = 30,
    };
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    fault_http_free(w->http);
    (void)close(w->dir_fd);
    tempdir_remove(w->dir);
    mem_free(w->body);
    mem_free(w);
    return 0;
}

static enum err_code run(struct world *w)
{
    int fd = -1;
    uint64_t size = 0;
    w->err = (struct err){.code = ERR_OK};
    enum err_code code = transfer_run(&w->options, &fd, &size, &w->err);
    if (code == ERR_OK) {
        assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
        (void)close(fd);
    } else {
        assert_int_equal(w->err.code, code);
        assert_int_not_equal(w->err.text[0], '\0');
    }
    return code;
}

static void assert_whole(struct world *w)
{
    uint8_t digest[DIGEST_BYTES];
    uint8_t expected[DIGEST_BYTES];
    uint64_t size = 0;
    int fd = openat(w->dir_fd, "file", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(hash_file(fd, digest, &size, NULL), ERR_OK);
    (void)close(fd);
    hash_bytes(bytes_of(w->body, BODY_BYTES), expected);
    assert_int_equal(size, BODY_BYTES);
    assert_memory_equal(digest, expected, DIGEST_BYTES);
}

/* Number of files in the folder, and the size of the hidden partial one (0: none). */
static unsigned files(struct world *w, uint64_t *ret_partial)
{
    unsigned count = 0;
    struct stat st;
    DIR *dir = opendir(w->dir);
    *ret_partial = 0;
    for (struct dirent *one = readdir(dir); one != NULL; one = readdir(dir)) {
        if (str_equal(one->d_name, ".") || str_equal(one->d_name, ".."))
            continue;
        count++;
        size_t len = strlen(one->d_name);
        if (len > 5 && str_equal(one->d_name + len - 5, ".part") &&
            fstatat(w->dir_fd, one->d_name, &st, 0) == 0)
            *ret_partial = (uint64_t)st.st_size;
    }
    (void)closedir(dir);
    return count;
}

static void assert_empty(struct world *w)
{
    uint64_t partial;
    assert_int_equal(files(w, &partial), 0);
}

static struct fault_http_counts counts(struct world *w)
{
    struct fault_http_counts ret;
    fault_http_counts(w->http, &ret);
    return ret;
}

/* ---- good ---- */

static void test_transfer__fetches_hashes_and_names_the_file(void **state)
{
    struct world *w = *state;
    struct stat st;
    uint64_t partial;
    assert_int_equal(run(w), ERR_OK);
    assert_whole(w);
    assert_int_equal(files(w, &partial), 1); /* no side file stays */
    assert_int_equal(fstatat(w->dir_fd, "file", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0644);
}

static void test_transfer__sets_the_executable_mode(void **state)
{
    struct world *w = *state;
    struct stat st;
    w->options.mode = 0755;
    assert_int_equal(run(w), ERR_OK);
    assert_int_equal(fstatat(w->dir_fd, "file", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
}

static void test_transfer__asks_nobody_when_the_file_is_there(void **state)
{
    struct world *w = *state;
    assert_int_equal(run(w), ERR_OK);
    assert_int_equal(run(w), ERR_OK);
    assert_int_equal(counts(w).requests, 1);
}

static void test_transfer__fetches_again_when_the_file_there_is_another(void **state)
{
    struct world *w = *state;
    char *path = tempdir_path(w->dir, "file");
    tempdir_write(path, "old", 3);
    assert_int_equal(run(w), ERR_OK);
    assert_whole(w);
    free(path);
}

static void test_transfer__works_without_size_and_hash(void **state)
{
    struct world *w = *state;
    w->options.size_bytes = 0;
    w->options.sha256 = NULL;
    fault_http_plan(w->http, &(struct fault_http_plan){.no_length = true, .no_etag = true});
    assert_int_equal(run(w), ERR_OK);
    assert_whole(w);
}

static void test_transfer__takes_the_second_address_when_the_first_fails(void **state)
{
    struct world *w = *state;
    char dead[64];
    (void)snprintf(dead, sizeof dead, "http://127.0.0.1:%u/x", port_free());
    w->urls[0] = dead;
    w->urls[1] = fault_http_url(w->http);
    assert_int_equal(run(w), ERR_OK);
    assert_whole(w);
}

/* ---- cut and resumed ---- */

static void cut_at(struct world *w, uint64_t bytes)
{
    uint64_t partial;
    fault_http_plan(w->http, &(struct fault_http_plan){.cut_after = bytes});
    assert_int_equal(run(w), ERR_NO_CONTACT);
    (void)files(w, &partial);
    assert_int_equal(partial, bytes);
    fault_http_plan(w->http, &(struct fault_http_plan){0});
}

static void test_transfer__resumes_where_it_was_cut(void **state)
{
    struct world *w = *state;
    cut_at(w, 1000000);
    uint64_t before = counts(w).body_bytes;
    assert_int_equal(run(w), ERR_OK);
    assert_whole(w);
    assert_int_equal(counts(w).ranges, 1);
    assert_int_equal(counts(w).body_bytes - before, BODY_BYTES - 1000000);
}

static void test_transfer__resumes_after_every_cut_until_whole(void **state)
{
    struct world *w = *state;
    fault_http_plan(w->http, &(struct fault_http_plan){.cut_after = 400000});
    int runs = 1;
    while (run(w) != ERR_OK) {
        assert_int_equal(w->err.code, ERR_NO_CONTACT);
        assert_in_range(++runs, 1, 9);
    }
    assert_int_equal(runs, BODY_BYTES / 400000 + 1);
    assert_int_equal(counts(w).body_bytes, BODY_BYTES);
    assert_whole(w);
}

static void test_transfer__starts_again_when_the_file_changed(void **state)
{
    struct world *w = *state;
    cut_at(w, 1000000);
    fill(w->body, BODY_BYTES, 77);
    hash_bytes(bytes_of(w->body, BODY_BYTES), w->sha256);
    fault_http_change(w->http, w->body, BODY_BYTES, "v2");
    uint64_t before = counts(w).body_bytes;
    assert_int_equal(run(w), ERR_OK);
    assert_whole(w);
    assert_int_equal(counts(w).body_bytes - before, BODY_BYTES); /* If-Range saw it: one answer */
}

static void test_transfer__starts_again_when_a_changed_file_has_no_etag(void **state)
{
    struct world *w = *state;
    cut_at(w, 1000000);
    fill(w->body, BODY_BYTES, 78);
    hash_bytes(bytes_of(w->body, BODY_BYTES), w->sha256);
    fault_http_change(w->http, w->body, BODY_BYTES, "v1"); /* a lying validator */
    assert_int_equal(run(w), ERR_OK);
    assert_whole(w);
}

static void test_transfer__starts_again_when_ranges_are_ignored(void **state)
{
    struct world *w = *state;
    cut_at(w, 1000000);
    fault_http_plan(w->http, &(struct fault_http_plan){.ignore_ranges = true});
    assert_int_equal(run(w), ERR_OK);
    assert_whole(w);
}

static void test_transfer__does_not_trust_another_range(void **state)
{
    struct world *w = *state;
    cut_at(w, 1000000);
    fault_http_plan(w->http, &(struct fault_http_plan){.wrong_range = true});
    assert_int_equal(run(w), ERR_NO_CONTACT);
    assert_int_equal(run(w), ERR_OK); /* without a range this time */
    assert_whole(w);
}

static void test_transfer__mends_a_damaged_partial_file(void **state)
{
    struct world *w = *state;
    uint64_t partial;
    cut_at(w, 1000000);
    DIR *dir = opendir(w->dir);
    for (struct dirent *one = readdir(dir); one != NULL; one = readdir(dir)) {
        if (strstr(one->d_name, ".part") == NULL)
            continue;
        int fd = openat(w->dir_fd, one->d_name, O_WRONLY);
        assert_int_equal(pwrite(fd, "XXXX", 4, 500), 4);
        (void)close(fd);
    }
    (void)closedir(dir);
    assert_int_equal(run(w), ERR_OK);
    assert_whole(w);
    assert_int_equal(files(w, &partial), 1);
}

static void test_transfer__goes_on_at_another_address(void **state)
{
    struct world *w = *state;
    struct fault_http *other = fault_http_start(w->body, BODY_BYTES, "other");
    struct fault_http_counts second;
    cut_at(w, 1000000);
    w->urls[0] = fault_http_url(other);
    assert_int_equal(run(w), ERR_OK);
    fault_http_counts(other, &second);
    fault_http_free(other);
    assert_whole(w);
    assert_int_equal(second.body_bytes, BODY_BYTES - 1000000);
}

static void test_transfer__keeps_nothing_of_a_file_without_hash(void **state)
{
    struct world *w = *state;
    w->options.sha256 = NULL;
    cut_at(w, 1000000);
    assert_int_equal(run(w), ERR_OK);
    assert_whole(w);
    assert_int_equal(counts(w).ranges, 0);
}

/* ---- attacks ---- */

static void test_transfer__refuses_a_swapped_artifact(void **state)
{
    struct world *w = *state;
    w->body[12345] ^= 1;
    fault_http_change(w->http, w->body, BODY_BYTES, "v1");
    assert_int_equal(run(w), ERR_HASH);
    assert_empty(w);
}

static void test_transfer__refuses_an_endless_body(void **state)
{
    struct world *w = *state;
    fault_http_plan(w->http, &(struct fault_http_plan){.endless = true});
    assert_int_equal(run(w), ERR_SIZE);
    assert_empty(w);
    assert_in_range(counts(w).body_bytes, 0, BODY_BYTES + (16 << 20)); /* what sockets buffered */
}

static void test_transfer__refuses_an_endless_body_of_unknown_size(void **state)
{
    struct world *w = *state;
    w->options.size_bytes = 0;
    w->options.sha256 = NULL;
    w->options.max_bytes = 1 << 20;
    fault_http_plan(w->http, &(struct fault_http_plan){.endless = true});
    assert_int_equal(run(w), ERR_SIZE);
    assert_empty(w);
}

static void test_transfer__refuses_a_length_before_the_body_comes(void **state)
{
    struct world *w = *state;
    fault_http_plan(w->http, &(struct fault_http_plan){.claim_length = 1ULL << 40});
    assert_int_equal(run(w), ERR_SIZE);
    assert_empty(w);
    w->options.size_bytes = 0;
    w->options.sha256 = NULL;
    assert_int_equal(run(w), ERR_SIZE);
    assert_empty(w);
}

static void test_transfer__reports_a_body_shorter_than_its_length(void **state)
{
    struct world *w = *state;
    w->options.size_bytes = 0;
    fault_http_plan(w->http, &(struct fault_http_plan){.claim_length = BODY_BYTES + 5});
    assert_int_equal(run(w), ERR_NO_CONTACT);
    fault_http_plan(w->http, &(struct fault_http_plan){0});
    assert_int_equal(run(w), ERR_OK); /* all of it was there */
    assert_whole(w);
}

static void test_transfer__refuses_one_byte_per_second(void **state)
{
    struct world *w = *state;
    int64_t start_ms = clock_mono_ms();
    w->options.low_speed_s = 2;
    fault_http_plan(w->http, &(struct fault_http_plan){.bytes_per_s = 1});
    assert_int_equal(run(w), ERR_TOO_SLOW);
    assert_in_range(clock_mono_ms() - start_ms, 1000, 8000);
}

static void test_transfer__refuses_a_silent_server(void **state)
{
    struct world *w = *state;
    w->options.low_speed_s = 1;
    fault_http_plan(w->http, &(struct fault_http_plan){.silent = true});
    assert_int_equal(run(w), ERR_TOO_SLOW);
}

static void redirect_to(struct world *w, const char *where, enum err_code code)
{
    struct fault_http_plan plan = {.status = 302};
    (void)snprintf(plan.location, sizeof plan.location, "%s", where);
    fault_http_plan(w->http, &plan);
    assert_int_equal(run(w), code);
    assert_empty(w);
}

static void test_transfer__follows_no_redirect_to_other_schemes(void **state)
{
    struct world *w = *state;
    redirect_to(w, "file:///etc/passwd", ERR_DENIED);
    redirect_to(w, "ftp://127.0.0.1/x", ERR_DENIED);
    redirect_to(w, "gopher://127.0.0.1/x", ERR_DENIED);
    redirect_to(w, "FILE:///etc/passwd", ERR_DENIED);
}

static void test_transfer__fetches_no_other_schemes(void **state)
{
    struct world *w = *state;
    static const char *const bad[] = {"file:///etc/passwd", "ftp://127.0.0.1/x", "/etc/passwd", "",
                                      "dict://127.0.0.1/x"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        w->urls[0] = bad[i];
        assert_int_equal(run(w), ERR_DENIED);
    }
    assert_empty(w);
}

static void test_transfer__follows_five_redirects_and_no_more(void **state)
{
    struct world *w = *state;
    struct fault_http *first = fault_http_start("x", 1, "r");
    struct fault_http_plan plan = {.status = 307};
    (void)snprintf(plan.location, sizeof plan.location, "%s", fault_http_url(w->http));
    fault_http_plan(first, &plan);
    w->urls[0] = fault_http_url(first);
    assert_int_equal(run(w), ERR_OK);
    assert_whole(w);
    fault_http_free(first);
    assert_int_equal(unlinkat(w->dir_fd, "file", 0), 0);
    unsigned before = counts(w).requests;
    w->urls[0] = fault_http_url(w->http);
    fault_http_plan(w->http, &(struct fault_http_plan){.status = 301, .loop = true});
    assert_int_equal(run(w), ERR_DENIED);
    assert_int_equal(counts(w).requests - before, TRANSFER_REDIRECTS_MAX + 1);
    assert_empty(w);
}

static void test_transfer__says_what_the_server_said(void **state)
{
    struct world *w = *state;
    static const struct {
        int status;
        enum err_code code;
    } cases[] = {{404, ERR_NOT_FOUND},  {410, ERR_NOT_FOUND},  {403, ERR_DENIED},
                 {401, ERR_DENIED},     {500, ERR_NO_CONTACT}, {503, ERR_NO_CONTACT},
                 {429, ERR_NO_CONTACT}, {418, ERR_FAILED},     {304, ERR_FAILED},
                 {302, ERR_FAILED}};
    char number[8];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fault_http_plan(w->http, &(struct fault_http_plan){.status = cases[i].status});
        assert_int_equal(run(w), cases[i].code);
        (void)snprintf(number, sizeof number, "%d", cases[i].status);
        assert_non_null(strstr(w->err.text, number));
    }
    assert_empty(w);
}

static void test_transfer__shows_no_secret_of_the_address(void **state)
{
    struct world *w = *state;
    char url[128];
    (void)snprintf(url, sizeof url, "http://user:hunter2@127.0.0.1:%u/file?X-Amz-Signature=hunter2",
                   fault_http_port(w->http));
    w->urls[0] = url;
    fault_http_plan(w->http, &(struct fault_http_plan){.status = 404});
    assert_int_equal(run(w), ERR_NOT_FOUND);
    assert_null(strstr(w->err.text, "hunter2"));
    assert_non_null(strstr(w->err.text, "127.0.0.1"));
}

static void test_transfer__does_not_follow_a_link_in_the_place_of_the_file(void **state)
{
    struct world *w = *state;
    char *victim = tempdir_path(w->dir, "victim");
    tempdir_write(victim, "keep", 4);
    assert_int_equal(symlinkat("victim", w->dir_fd, "file"), 0);
    assert_int_equal(run(w), ERR_OK);
    assert_whole(w); /* the link was replaced */
    size_t len;
    char *text = tempdir_read(victim, &len);
    assert_string_equal(text, "keep");
    free(text);
    free(victim);
}

/* ---- TLS, by openssl's test server, which answers with the whole text of a file ---- */

struct tls {
    struct proc *proc;
    char url[64];
    uint16_t port;
};

static bool answers(void *arg)
{
    struct tls *tls = arg;
    int fd = port_connect(tls->port);
    if (fd >= 0)
        (void)close(fd);
    return fd >= 0;
}

static void start_tls(struct world *w, struct tls *tls, const char *answer)
{
    char port[8];
    char *path = tempdir_path(w->dir, "answer");
    const char *request[] = {"openssl", "req",           "-x509",   "-newkey",
                             "ed25519", "-nodes",        "-keyout", "key.pem",
                             "-out",    "cert.pem",      "-days",   "2",
                             "-subj",   "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
                             NULL};
    tempdir_write(path, answer, strlen(answer));
    free(path);
    assert_int_equal(proc_run(&(struct proc_options){.argv = request, .dir = w->dir}, 20000), 0);
    tls->port = port_free();
    (void)snprintf(port, sizeof port, "%u", tls->port);
    (void)snprintf(tls->url, sizeof tls->url, "https://127.0.0.1:%u/answer", tls->port);
    const char *server[] = {"openssl", "s_server", "-accept", port,     "-cert", "cert.pem",
                            "-key",    "key.pem",  "-HTTP",   "-quiet", NULL};
    tls->proc = proc_start(&(struct proc_options){.argv = server, .dir = w->dir});
    assert_true(wait_until(answers, tls, 20000));
}

static struct bytes read_cert(struct world *w)
{
    size_t len = 0;
    char *path = tempdir_path(w->dir, "cert.pem");
    char *text = tempdir_read(path, &len);
    free(path);
    assert_non_null(text);
    return bytes_of(text, len);
}

static void test_transfer__goes_from_https_never_to_http(void **state)
{
    struct world *w = *state;
    struct tls tls;
    char answer[256];
    (void)snprintf(answer, sizeof answer,
                   "HTTP/1.0 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n",
                   fault_http_url(w->http));
    start_tls(w, &tls, answer);
    w->options.ca_pem = read_cert(w);
    w->urls[0] = tls.url;
    enum err_code direct = run(w);
    /* Also not by way of http -> https -> http. */
    struct fault_http *first = fault_http_start("x", 1, "r");
    struct fault_http_plan plan = {.status = 302};
    (void)snprintf(plan.location, sizeof plan.location, "%s", tls.url);
    fault_http_plan(first, &plan);
    w->urls[0] = fault_http_url(first);
    enum err_code detour = run(w);
    fault_http_free(first);
    proc_free(tls.proc);
    free((void *)w->options.ca_pem.ptr);
    assert_int_equal(direct, ERR_DENIED);
    assert_int_equal(detour, ERR_DENIED);
    assert_non_null(strstr(w->err.text, "redirect from https"));
    assert_int_equal(counts(w).requests, 0);
}

static void test_transfer__trusts_only_the_certificates_given(void **state)
{
    struct world *w = *state;
    struct tls tls;
    start_tls(w, &tls, "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc");
    hash_bytes(bytes_of("abc", 3), w->sha256);
    w->options.size_bytes = 3;
    w->urls[0] = tls.url;
    enum err_code stranger = run(w);
    w->options.ca_pem = read_cert(w);
    enum err_code known = run(w);
    proc_free(tls.proc);
    free((void *)w->options.ca_pem.ptr);
    assert_int_equal(stranger, ERR_DENIED);
    assert_int_equal(known, ERR_OK);
}

/* ---- the disk ---- */

static void test_transfer__refuses_a_file_that_does_not_fit(void **state)
{
    struct world *w = *state;
    char *small = tempdir_path(w->dir, "small");
    assert_int_equal(mkdir(small, 0700), 0);
    if (mount("tmpfs", small, "tmpfs", 0, "size=1m") != 0) {
        (void)rmdir(small);
        free(small);
        skip(); /* needs root */
    }
    w->options.folder_fd = open(small, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum err_code announced = run(w);
    fault_http_plan(w->http, &(struct fault_http_plan){.no_length = true});
    enum err_code streamed = run(w); /* the server does not say how much: the write fails */
    struct stat st;
    DIR *dir = opendir(small);
    uint64_t kept = 0;
    for (struct dirent *one = readdir(dir); one != NULL; one = readdir(dir)) {
        if (strstr(one->d_name, ".part") != NULL && fstatat(dirfd(dir), one->d_name, &st, 0) == 0)
            kept = (uint64_t)st.st_size;
    }
    (void)closedir(dir);
    (void)mount("tmpfs", small, "tmpfs", MS_REMOUNT, "size=20m");
    enum err_code after = run(w); /* somebody made room: the rest comes */
    (void)close(w->options.folder_fd);
    (void)umount2(small, MNT_DETACH);
    (void)rmdir(small);
    free(small);
    assert_int_equal(announced, ERR_NO_SPACE);
    assert_int_equal(streamed, ERR_NO_SPACE);
    assert_in_range(kept, 100000, 1 << 20);
    assert_int_equal(after, ERR_OK);
}

/* ---- the program ---- */

static struct proc *start_program(struct world *w, const char *hex, const char *out)
{
    char *to = tempdir_path(w->dir, "file");
    const char *argv[] = {getenv("CAPTAIN_FETCH_BIN"),
                          "--url",
                          fault_http_url(w->http),
                          "--to",
                          to,
                          "--max-bytes",
                          "10000000",
                          "--sha256",
                          hex,
                          NULL};
    struct proc_options options = {.argv = argv, .out_path = out, .err_path = NULL};
    struct proc *proc = proc_start(&options);
    free(to);
    return proc;
}

struct growth {
    struct world *w;
    uint64_t above;
};

static bool has_grown(void *arg)
{
    struct growth *growth = arg;
    uint64_t partial;
    (void)files(growth->w, &partial);
    return partial > growth->above;
}

/* Killed again and again in the middle, it goes on each time and never sends for what it has. */
static void test_transfer__survives_sigkill_in_the_middle(void **state)
{
    struct world *w = *state;
    char hex[DIGEST_HEX];
    char *out = tempdir_path(w->dir, "out");
    assert_non_null(getenv("CAPTAIN_FETCH_BIN"));
    str_hex(bytes_of(w->sha256, DIGEST_BYTES), hex);
    fault_http_plan(w->http, &(struct fault_http_plan){.bytes_per_s = 4 << 20});
    struct growth growth = {.w = w};
    for (int i = 0; i < 3; i++) {
        struct proc *proc = start_program(w, hex, out);
        assert_true(wait_until(has_grown, &growth, 20000));
        proc_free(proc); /* SIGKILL */
        (void)files(w, &growth.above);
    }
    fault_http_plan(w->http, &(struct fault_http_plan){0});
    struct proc *proc = start_program(w, hex, out);
    int status = -1;
    assert_true(proc_wait(proc, 20000, &status));
    proc_free(proc);
    assert_int_equal(status, 0);
    assert_whole(w);
    assert_int_equal(counts(w).ranges, 3);
    char *text = tempdir_read(out, NULL);
    assert_non_null(strstr(text, "done 3145728\n"));
    free(text);
    free(out);
}

static void test_transfer__two_at_once_do_not_mix(void **state)
{
    struct world *w = *state;
    char hex[DIGEST_HEX];
    char *out = tempdir_path(w->dir, "out");
    str_hex(bytes_of(w->sha256, DIGEST_BYTES), hex);
    fault_http_plan(w->http, &(struct fault_http_plan){.bytes_per_s = 1 << 20});
    struct growth growth = {.w = w};
    struct proc *proc = start_program(w, hex, out);
    assert_true(wait_until(has_grown, &growth, 20000));
    assert_int_equal(run(w), ERR_CONFLICT);
    proc_free(proc);
    fault_http_plan(w->http, &(struct fault_http_plan){0});
    assert_int_equal(run(w), ERR_OK);
    assert_whole(w);
    free(out);
}

/* One case of a bad command line: its exit status is the code, and it says why. */
static void assert_usage(struct world *w, const char *const *argv)
{
    char *out = tempdir_path(w->dir, "out");
    struct proc_options options = {.argv = argv, .out_path = out};
    assert_int_equal(proc_run(&options, 20000), ERR_USAGE);
    char *text = tempdir_read(out, NULL);
    assert_non_null(strstr(text, "error 2 "));
    free(text);
    assert_int_equal(unlink(out), 0);
    free(out);
}

static void test_transfer__program_refuses_a_bad_command_line(void **state)
{
    struct world *w = *state;
    const char *bin = getenv("CAPTAIN_FETCH_BIN");
    const char *none[] = {bin, NULL};
    const char *unknown[] = {bin, "--fast", NULL};
    const char *number[] = {bin,      "--url",       "http://x/", "--to",
                            "/tmp/x", "--max-bytes", "12x",       NULL};
    const char *unchecked[] = {bin,           "--url", "http://x/",   "--to",   "/tmp/x",
                               "--max-bytes", "12",    "--unpack-to", "/tmp/y", NULL};
    const char *hash[] = {bin,           "--url", "http://x/", "--to", "/tmp/x",
                          "--max-bytes", "12",    "--sha256",  "abcd", NULL};
    assert_usage(w, none);
    assert_usage(w, unknown);
    assert_usage(w, number);
    assert_usage(w, unchecked);
    assert_usage(w, hash);
}

/* With a user it does not run as root; when that cannot be, it does not run. */
static void test_transfer__program_gives_root_away_or_ends(void **state)
{
    struct world *w = *state;
    if (geteuid() != 0)
        skip();
    char *to = tempdir_path(w->dir, "file");
    char *out = tempdir_path(w->dir, "out");
    const char *nobody[] = {getenv("CAPTAIN_FETCH_BIN"),
                            "--url",
                            fault_http_url(w->http),
                            "--to",
                            to,
                            "--max-bytes",
                            "10000000",
                            "--user",
                            "nobody",
                            NULL};
    const char *root[] = {nobody[0],  "--url",  fault_http_url(w->http),
                          "--to",     to,       "--max-bytes",
                          "10000000", "--user", "root",
                          NULL};
    const char *unknown[] = {
        nobody[0],  "--url",  fault_http_url(w->http), "--to", to, "--max-bytes",
        "10000000", "--user", "no-such-user",          NULL};
    assert_int_equal(proc_run(&(struct proc_options){.argv = root, .out_path = out}, 20000),
                     ERR_DENIED);
    assert_int_equal(proc_run(&(struct proc_options){.argv = unknown, .out_path = out}, 20000),
                     ERR_DENIED);
    assert_int_equal(counts(w).requests, 0);
    /* The folder is root's, 0700: the dropped helper must not be able to write there. */
    assert_int_equal(proc_run(&(struct proc_options){.argv = nobody, .out_path = out}, 20000),
                     ERR_IO);
    struct stat st;
    assert_int_equal(fchown(w->dir_fd, 65534, 65534), 0);
    assert_int_equal(proc_run(&(struct proc_options){.argv = nobody, .out_path = out}, 20000), 0);
    assert_int_equal(stat(to, &st), 0);
    assert_int_equal(st.st_uid, 65534);
    free(out);
    free(to);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_transfer__fetches_hashes_and_names_the_file),
        T(test_transfer__sets_the_executable_mode),
        T(test_transfer__asks_nobody_when_the_file_is_there),
        T(test_transfer__fetches_again_when_the_file_there_is_another),
        T(test_transfer__works_without_size_and_hash),
        T(test_transfer__takes_the_second_address_when_the_first_fails),
        T(test_transfer__resumes_where_it_was_cut),
        T(test_transfer__resumes_after_every_cut_until_whole),
        T(test_transfer__starts_again_when_the_file_changed),
        T(test_transfer__starts_again_when_a_changed_file_has_no_etag),
        T(test_transfer__starts_again_when_ranges_are_ignored),
        T(test_transfer__does_not_trust_another_range),
        T(test_transfer__mends_a_damaged_partial_file),
        T(test_transfer__goes_on_at_another_address),
        T(test_transfer__keeps_nothing_of_a_file_without_hash),
        T(test_transfer__refuses_a_swapped_artifact),
        T(test_transfer__refuses_an_endless_body),
        T(test_transfer__refuses_an_endless_body_of_unknown_size),
        T(test_transfer__refuses_a_length_before_the_body_comes),
        T(test_transfer__reports_a_body_shorter_than_its_length),
        T(test_transfer__refuses_one_byte_per_second),
        T(test_transfer__refuses_a_silent_server),
        T(test_transfer__follows_no_redirect_to_other_schemes),
        T(test_transfer__fetches_no_other_schemes),
        T(test_transfer__follows_five_redirects_and_no_more),
        T(test_transfer__says_what_the_server_said),
        T(test_transfer__shows_no_secret_of_the_address),
        T(test_transfer__does_not_follow_a_link_in_the_place_of_the_file),
        T(test_transfer__goes_from_https_never_to_http),
        T(test_transfer__trusts_only_the_certificates_given),
        T(test_transfer__refuses_a_file_that_does_not_fit),
        T(test_transfer__survives_sigkill_in_the_middle),
        T(test_transfer__two_at_once_do_not_mix),
        T(test_transfer__program_refuses_a_bad_command_line),
        T(test_transfer__program_gives_root_away_or_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
