/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS, a full disk, and the program itself: killed, run twice, given a bad command line, run as root.
 */
#include "tests/unit/fetch/transfer_world.h"

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

/* A certificate that is right in all but the name. */
static void test_fetch__trusts_no_certificate_of_another_host(void **state)
{
    struct world *w = *state;
    struct tls tls;
    char elsewhere[64];
    start_tls(w, &tls, "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc");
    hash_bytes(bytes_of("abc", 3), w->sha256);
    w->options.size_bytes = 3;
    w->options.ca_pem = read_cert(w);
    (void)snprintf(elsewhere, sizeof elsewhere, "https://localhost:%u/answer", tls.port);
    w->urls[0] = elsewhere;
    enum err_code code = run(w);
    proc_free(tls.proc);
    free((void *)w->options.ca_pem.ptr);
    assert_int_equal(code, ERR_DENIED);
    assert_non_null(strstr(w->err.text, "not trusted"));
    struct stat st;
    assert_int_equal(fstatat(w->dir_fd, "file", &st, 0), -1);
}

/* The bundle of the enrolment: nobody vouches for the server, the hash does for the bytes. */
static void test_fetch__takes_the_hash_as_proof_where_it_is_told(void **state)
{
    struct world *w = *state;
    struct tls tls;
    start_tls(w, &tls, "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc");
    hash_bytes(bytes_of("abd", 3), w->sha256);
    w->options.size_bytes = 0;
    w->options.hash_is_proof = true;
    w->urls[0] = tls.url;
    enum err_code other = run(w);
    hash_bytes(bytes_of("abc", 3), w->sha256);
    enum err_code right = run(w);
    w->options.sha256 = NULL;
    w->options.name = "second";
    enum err_code without = run(w); /* no proof: then the server must be known */
    proc_free(tls.proc);
    assert_int_equal(other, ERR_HASH);
    assert_int_equal(right, ERR_OK);
    assert_int_equal(without, ERR_DENIED);
}

static void test_fetch__goes_from_https_never_to_http(void **state)
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

static void test_fetch__trusts_only_the_certificates_given(void **state)
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

static void test_fetch__refuses_a_file_that_does_not_fit(void **state)
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
static void test_fetch__survives_sigkill_in_the_middle(void **state)
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

static void test_fetch__two_at_once_do_not_mix(void **state)
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

/* The limit on the size of files leaves room for what is written beside a tiny one. */
static void test_fetch__takes_a_tiny_file(void **state)
{
    struct world *w = *state;
    char hex[DIGEST_HEX];
    char *to = tempdir_path(w->dir, "tiny");
    hash_bytes(bytes_of("abc", 3), w->sha256);
    str_hex(bytes_of(w->sha256, DIGEST_BYTES), hex);
    fault_http_change(w->http, "abc", 3, "tiny");
    const char *argv[] = {getenv("CAPTAIN_FETCH_BIN"),
                          "--url",
                          fault_http_url(w->http),
                          "--to",
                          to,
                          "--max-bytes",
                          "3",
                          "--size",
                          "3",
                          "--sha256",
                          hex,
                          NULL};
    assert_int_equal(proc_run(&(struct proc_options){.argv = argv}, 20000), 0);
    char *text = tempdir_read(to, NULL);
    assert_string_equal(text, "abc");
    free(text);
    free(to);
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

static void test_fetch__refuses_a_bad_command_line(void **state)
{
    struct world *w = *state;
    const char *bin = getenv("CAPTAIN_FETCH_BIN");
    const char *none[] = {bin, NULL};
    const char *unknown[] = {bin, "--fast", NULL};
    const char *number[] = {bin,      "--url",       "http://x/", "--to",
                            "/tmp/x", "--max-bytes", "12x",       NULL};
    const char *both[] = {bin,           "--url", "http://x/",   "--to",   "/tmp/x",
                          "--max-bytes", "12",    "--unpack-to", "/tmp/y", NULL};
    const char *proofless[] = {bin,           "--url", "https://x/",      "--to", "/tmp/x",
                               "--max-bytes", "12",    "--hash-is-proof", NULL};
    const char *proof_of_much[] = {
        bin,          "--url",
        "https://x/", "--to",
        "/tmp/x",     "--max-bytes",
        "65537",      "--hash-is-proof",
        "--sha256",   "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        NULL};
    const char *hash[] = {bin,           "--url", "http://x/", "--to", "/tmp/x",
                          "--max-bytes", "12",    "--sha256",  "abcd", NULL};
    assert_usage(w, none);
    assert_usage(w, unknown);
    assert_usage(w, number);
    assert_usage(w, both);
    assert_usage(w, proofless);
    assert_usage(w, proof_of_much);
    assert_usage(w, hash);
}

/* With a user it does not run as root; when that cannot be, it does not run. */
static void test_fetch__gives_root_away_or_ends(void **state)
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
        T(test_fetch__goes_from_https_never_to_http),
        T(test_fetch__trusts_only_the_certificates_given),
        T(test_fetch__trusts_no_certificate_of_another_host),
        T(test_fetch__takes_the_hash_as_proof_where_it_is_told),
        T(test_fetch__refuses_a_file_that_does_not_fit),
        T(test_fetch__survives_sigkill_in_the_middle),
        T(test_fetch__two_at_once_do_not_mix),
        T(test_fetch__takes_a_tiny_file),
        T(test_fetch__refuses_a_bad_command_line),
        T(test_fetch__gives_root_away_or_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
