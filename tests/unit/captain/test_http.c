/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/http.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "captain/io/artifact.h"
#include "captain/io/http_range.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/hash.h"
#include "tests/support/port.h"
#include "tests/support/tempdir.h"

enum { SIZE = 3 << 20, DOWNLOADS = 16 };

struct fixture {
    char *dir;
    struct http_server *server;
    uint8_t *data; /* SIZE bytes */
    char hex[DIGEST_HEX];
    struct err err;
};

static int set_up(void **state)
{
    struct fixture *f = mem_new(1, sizeof *f);
    struct artifacts *store = NULL;
    uint8_t digest[DIGEST_BYTES];
    uint64_t next = 0;
    bool complete = false;
    struct rng rng;
    f->dir = tempdir_make();
    f->data = mem_new(1, SIZE);
    rng_seed(&rng, 11);
    for (size_t i = 0; i < SIZE; i++)
        f->data[i] = (uint8_t)rng_next(&rng);
    hash_bytes(bytes_of(f->data, SIZE), digest);
    str_hex(bytes_of(digest, DIGEST_BYTES), f->hex);
    assert_int_equal(artifacts_open(f->dir, &store, &f->err), ERR_OK);
    while (!complete)
        assert_int_equal(artifacts_put(store, digest, SIZE, next,
                                       bytes_of(f->data + next, ARTIFACT_PIECE_MAX), &next,
                                       &complete, &f->err),
                         ERR_OK);
    assert_int_equal(artifacts_put_release(store, digest, bytes_of("signed", 6), &f->err), ERR_OK);
    hash_bytes(bytes_of(NULL, 0), digest);
    assert_int_equal(
        artifacts_put(store, digest, 0, 0, bytes_of(NULL, 0), &next, &complete, &f->err), ERR_OK);
    artifacts_close(store);
    assert_int_equal(http_server_open("127.0.0.1:0", f->dir, NULL, &f->server, &f->err), ERR_OK);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    http_server_close(f->server);
    mem_free(f->data);
    tempdir_remove(f->dir);
    mem_free(f);
    return 0;
}

/* A client of its own, so that no library tidies a path or a header. */
struct reply {
    int status;
    char *raw; /* headers, with a NUL where the body begins */
    uint8_t *body;
    size_t body_len;
};

static void reply_free(struct reply *reply)
{
    free(reply->raw);
    *reply = (struct reply){0};
}

static struct reply talk(const struct fixture *f, const char *request)
{
    struct reply reply = {0};
    size_t len = 0, cap = SIZE + 65536;
    const int fd = port_connect(http_server_port(f->server));
    assert_true(fd >= 0);
    for (size_t sent = 0; sent < strlen(request);) {
        const ssize_t n = send(fd, request + sent, strlen(request) - sent, MSG_NOSIGNAL);
        assert_true(n > 0);
        sent += (size_t)n;
    }
    reply.raw = calloc(1, cap + 1);
    for (ssize_t n = 1; n > 0 && len<cap; len += n> 0 ? (size_t)n : 0)
        n = recv(fd, reply.raw + len, cap - len, 0);
    (void)close(fd);
    char *body = strstr(reply.raw, "\r\n\r\n");
    assert_non_null(body);
    assert_int_equal(sscanf(reply.raw, "HTTP/1.1 %d", &reply.status), 1);
    body[2] = '\0';
    reply.body = (uint8_t *)body + 4;
    reply.body_len = len - (size_t)(body + 4 - reply.raw);
    return reply;
}

static struct reply ask(const struct fixture *f, const char *method, const char *path,
                        const char *headers)
{
    char request[2048];
    (void)snprintf(request, sizeof request,
                   "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n", method, path,
                   headers);
    return talk(f, request);
}

static struct reply ask_artifact(const struct fixture *f, const char *method, const char *headers)
{
    char path[128];
    (void)snprintf(path, sizeof path, "/artifact/%s", f->hex);
    return ask(f, method, path, headers);
}

static void assert_header(const struct reply *reply, const char *name, const char *value)
{
    char line[256];
    (void)snprintf(line, sizeof line, "\r\n%s: %s\r\n", name, value);
    if (!strcasestr(reply->raw, line))
        fail_msg("no '%s: %s' in:\n%s", name, value, reply->raw);
}

static void assert_body(const struct fixture *f, const struct reply *reply, size_t offset,
                        size_t len)
{
    assert_int_equal(reply->body_len, len);
    assert_memory_equal(reply->body, f->data + offset, len);
}

static void test_http__serves_a_whole_artifact(void **state)
{
    struct fixture *f = *state;
    char etag[DIGEST_HEX + 2];
    struct reply reply = ask_artifact(f, "GET", "");
    (void)snprintf(etag, sizeof etag, "\"%s\"", f->hex);
    assert_int_equal(reply.status, 200);
    assert_header(&reply, "ETag", etag);
    assert_header(&reply, "Content-Length", "3145728");
    assert_header(&reply, "Accept-Ranges", "bytes");
    assert_header(&reply, "Cache-Control", "public, max-age=31536000, immutable");
    assert_body(f, &reply, 0, SIZE);
    reply_free(&reply);
}

static void test_http__head_sends_no_body(void **state)
{
    struct fixture *f = *state;
    struct reply reply = ask_artifact(f, "HEAD", "");
    assert_int_equal(reply.status, 200);
    assert_header(&reply, "Content-Length", "3145728");
    assert_int_equal(reply.body_len, 0);
    reply_free(&reply);
}

static void test_http__serves_ranges(void **state)
{
    struct fixture *f = *state;
    const struct {
        const char *header;
        size_t offset, len;
        const char *content_range;
    } cases[] = {
        {"Range: bytes=0-0\r\n", 0, 1, "bytes 0-0/3145728"},
        {"Range: bytes=1000-1999\r\n", 1000, 1000, "bytes 1000-1999/3145728"},
        {"Range: bytes=3000000-\r\n", 3000000, SIZE - 3000000, "bytes 3000000-3145727/3145728"},
        {"Range: bytes=-100\r\n", SIZE - 100, 100, "bytes 3145628-3145727/3145728"},
        {"Range: bytes=-99999999\r\n", 0, SIZE, "bytes 0-3145727/3145728"},
        {"Range: bytes=3145727-99999999\r\n", SIZE - 1, 1, "bytes 3145727-3145727/3145728"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reply reply = ask_artifact(f, "GET", cases[i].header);
        assert_int_equal(reply.status, 206);
        assert_header(&reply, "Content-Range", cases[i].content_range);
        assert_body(f, &reply, cases[i].offset, cases[i].len);
        reply_free(&reply);
    }
}

static void test_http__refuses_ranges_that_cannot_be(void **state)
{
    struct fixture *f = *state;
    static const char *const headers[] = {"Range: bytes=3145728-\r\n", "Range: bytes=-0\r\n",
                                          "Range: bytes=18446744073709551600-\r\n"};
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        struct reply reply = ask_artifact(f, "GET", headers[i]);
        assert_int_equal(reply.status, 416);
        assert_header(&reply, "Content-Range", "bytes */3145728");
        assert_int_equal(reply.body_len, 0);
        reply_free(&reply);
    }
}

static void test_http__ignores_ranges_it_does_not_know(void **state)
{
    struct fixture *f = *state;
    static const char *const headers[] = {"Range: bytes=0-1,5-6\r\n", "Range: lines=0-1\r\n",
                                          "Range: bytes=5-3\r\n", "Range: bytes=x\r\n",
                                          "Range: bytes=99999999999999999999-\r\n"};
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        struct reply reply = ask_artifact(f, "GET", headers[i]);
        assert_int_equal(reply.status, 200);
        assert_body(f, &reply, 0, SIZE);
        reply_free(&reply);
    }
}

static void test_http__if_range_needs_the_same_file(void **state)
{
    struct fixture *f = *state;
    char headers[256];
    (void)snprintf(headers, sizeof headers, "Range: bytes=5-9\r\nIf-Range: \"%s\"\r\n", f->hex);
    struct reply same = ask_artifact(f, "GET", headers);
    assert_int_equal(same.status, 206);
    assert_body(f, &same, 5, 5);
    reply_free(&same);
    struct reply other = ask_artifact(f, "GET", "Range: bytes=5-9\r\nIf-Range: \"other\"\r\n");
    assert_int_equal(other.status, 200);
    assert_body(f, &other, 0, SIZE);
    reply_free(&other);
}

static void test_http__not_modified_when_the_client_has_it(void **state)
{
    struct fixture *f = *state;
    char headers[4][256];
    (void)snprintf(headers[0], sizeof headers[0], "If-None-Match: \"%s\"\r\n", f->hex);
    (void)snprintf(headers[1], sizeof headers[1], "If-None-Match: \"a\", W/\"%s\" , \"b\"\r\n",
                   f->hex);
    (void)snprintf(headers[2], sizeof headers[2], "If-None-Match: *\r\n");
    (void)snprintf(headers[3], sizeof headers[3], "If-None-Match: \"a\"\r\n");
    for (int i = 0; i < 4; i++) {
        struct reply reply = ask_artifact(f, "GET", headers[i]);
        assert_int_equal(reply.status, i < 3 ? 304 : 200);
        assert_int_equal(reply.body_len, i < 3 ? 0 : SIZE);
        reply_free(&reply);
    }
}

static void test_http__nothing_else_is_there(void **state)
{
    struct fixture *f = *state;
    char upper[128], longer[128], other[128], slash[128];
    char *secret = tempdir_path(f->dir, "secret");
    tempdir_write(secret, "secret", 6);
    free(secret);
    (void)snprintf(upper, sizeof upper, "/artifact/%s", f->hex);
    for (char *p = upper + 10; *p; p++)
        *p = *p >= 'a' && *p <= 'f' ? (char)(*p - 32) : *p;
    (void)snprintf(longer, sizeof longer, "/artifact/%s0", f->hex);
    (void)snprintf(other, sizeof other, "/artifact/%s", f->hex);
    other[10] = other[10] == '0' ? '1' : '0';
    (void)snprintf(slash, sizeof slash, "/artifact/%s/", f->hex);
    const char *const paths[] = {
        upper,
        longer,
        other,
        slash,
        "/",
        "/artifact/",
        "/artifact",
        "/secret",
        "/artifact/../secret",
        "/artifact/%2e%2e/secret",
        "/artifact/..%2fsecret",
        "//secret",
        "/upload/",
        "/artifact/.",
        "/release/..",
        "/artifact/0000000000000000000000000000000000000000000000000000000000000000/../../secret",
    };
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct reply reply = ask(f, "GET", paths[i], "");
        assert_int_equal(reply.status, 404);
        assert_null(memmem(reply.body, reply.body_len, "secret", 6));
        reply_free(&reply);
    }
}

static void test_http__only_get_and_head(void **state)
{
    struct fixture *f = *state;
    static const char *const methods[] = {"PUT", "DELETE", "OPTIONS", "PATCH"};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        struct reply reply = ask_artifact(f, methods[i], "");
        assert_int_equal(reply.status, 405);
        assert_header(&reply, "Allow", "GET, HEAD");
        reply_free(&reply);
    }
    struct reply reply = ask_artifact(f, "POST", "Content-Length: 0\r\n");
    assert_int_equal(reply.status, 405);
    reply_free(&reply);
}

static void test_http__serves_release_documents_health_and_empty_files(void **state)
{
    struct fixture *f = *state;
    char path[128], hex[DIGEST_HEX];
    uint8_t digest[DIGEST_BYTES];
    (void)snprintf(path, sizeof path, "/release/%s", f->hex);
    struct reply reply = ask(f, "GET", path, "");
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.body_len, 6);
    assert_memory_equal(reply.body, "signed", 6);
    reply_free(&reply);
    reply = ask(f, "GET", "/healthz", "");
    assert_int_equal(reply.status, 200);
    reply_free(&reply);
    hash_bytes(bytes_of(NULL, 0), digest);
    str_hex(bytes_of(digest, DIGEST_BYTES), hex);
    (void)snprintf(path, sizeof path, "/artifact/%s", hex);
    reply = ask(f, "GET", path, "");
    assert_int_equal(reply.status, 200);
    assert_header(&reply, "Content-Length", "0");
    reply_free(&reply);
}

static void *download(void *arg)
{
    const struct fixture *f = arg;
    struct reply reply = ask_artifact(f, "GET", "");
    const bool good =
        reply.status == 200 && reply.body_len == SIZE && memcmp(reply.body, f->data, SIZE) == 0;
    reply_free(&reply);
    return good ? arg : NULL;
}

static void test_http__serves_many_at_once(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[DOWNLOADS];
    for (int i = 0; i < DOWNLOADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, download, f), 0);
    for (int i = 0; i < DOWNLOADS; i++) {
        void *result = NULL;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_ptr_equal(result, f);
    }
}

static void test_http__a_client_that_goes_away_harms_nothing(void **state)
{
    struct fixture *f = *state;
    char request[256];
    (void)snprintf(request, sizeof request, "GET /artifact/%s HTTP/1.1\r\nHost: x\r\n\r\n", f->hex);
    for (int i = 0; i < 20; i++) {
        const struct linger reset = {.l_onoff = 1, .l_linger = 0};
        const int fd = port_connect(http_server_port(f->server));
        char byte;
        assert_true(fd >= 0);
        assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
        assert_int_equal(recv(fd, &byte, 1, 0), 1);
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
        (void)close(fd);
    }
    struct reply reply = ask_artifact(f, "GET", "");
    assert_int_equal(reply.status, 200);
    assert_body(f, &reply, 0, SIZE);
    reply_free(&reply);
}

static void test_http__a_taken_port_is_named(void **state)
{
    struct fixture *f = *state;
    char address[64];
    struct http_server *second = NULL;
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", http_server_port(f->server));
    assert_int_equal(http_server_open(address, f->dir, NULL, &second, &f->err), ERR_CONFLICT);
    assert_non_null(strstr(f->err.text, strchr(address, ':') + 1));
    assert_non_null(strstr(f->err.text, "127.0.0.1"));
    assert_null(second);
}

static void test_http__addresses_are_checked(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {
        "",      "127.0.0.1", ":8080",          "127.0.0.1:",   "127.0.0.1:65536", "127.0.0.1:-1",
        "::1:0", "[::1]",     "example.org:80", "127.0.0.1:80a"};
    struct http_server *server = NULL;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(http_server_open(bad[i], f->dir, NULL, &server, &f->err), ERR_USAGE);
    assert_int_equal(http_server_open("0.0.0.0:0", f->dir, NULL, &server, &f->err), ERR_OK);
    assert_int_not_equal(http_server_port(server), 0);
    http_server_close(server);
}

static void test_http__range_of_an_empty_file_is_impossible(void **state)
{
    (void)state;
    struct http_range range;
    http_range_parse("bytes=0-", 0, &range);
    assert_int_equal(range.kind, HTTP_RANGE_IMPOSSIBLE);
    http_range_parse(NULL, 0, &range);
    assert_int_equal(range.kind, HTTP_RANGE_WHOLE);
    http_range_parse("bytes=0-18446744073709551615", 10, &range);
    assert_int_equal(range.kind,
                     HTTP_RANGE_WHOLE); /* the largest number does not fit: not read, so ignored */
}

#define SERVER_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVER_TEST(test_http__serves_a_whole_artifact),
        SERVER_TEST(test_http__head_sends_no_body),
        SERVER_TEST(test_http__serves_ranges),
        SERVER_TEST(test_http__refuses_ranges_that_cannot_be),
        SERVER_TEST(test_http__ignores_ranges_it_does_not_know),
        SERVER_TEST(test_http__if_range_needs_the_same_file),
        SERVER_TEST(test_http__not_modified_when_the_client_has_it),
        SERVER_TEST(test_http__nothing_else_is_there),
        SERVER_TEST(test_http__only_get_and_head),
        SERVER_TEST(test_http__serves_release_documents_health_and_empty_files),
        SERVER_TEST(test_http__serves_many_at_once),
        SERVER_TEST(test_http__a_client_that_goes_away_harms_nothing),
        SERVER_TEST(test_http__a_taken_port_is_named),
        SERVER_TEST(test_http__addresses_are_checked),
        cmocka_unit_test(test_http__range_of_an_empty_file_is_impossible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
