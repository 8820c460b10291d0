/* SPDX-License-Identifier: Apache-2.0
 *
 * Transfers from a server that misbehaves: what resumes, what starts again, what is refused with which code, and
 * what is left on disk.
 */
#include "tests/unit/fetch/transfer_world.h"

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
    assert_int_equal(st.st_mode & 07777, 0600);
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

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_transfer__fetches_hashes_and_names_the_file),
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
