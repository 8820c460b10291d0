/* SPDX-License-Identifier: Apache-2.0
 *
 * Probes against real servers and commands, good, bad and slow; each ends exactly once.
 */
#include <dirent.h>
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

#include "agent/io/probe.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "tests/support/fault_http.h"
#include "tests/support/port.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

enum { BODY_BYTES = 200 << 10 };

struct world {
    struct loop *loop;
    struct fault_http *http;
    char *body;
    unsigned ends;
    bool ok;
    char text[200];
    struct err err;
};

static int set_up(void **state)
{
    struct world *w = mem_new(1, sizeof *w);
    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(loop_open(&w->loop, NULL), ERR_OK);
    w->body = mem_new(1, BODY_BYTES);
    memset(w->body, '.', BODY_BYTES);
    memcpy(w->body + 1000, "version 1.1", 11);
    memcpy(w->body + 100000, "beyond the bound", 16);
    w->http = fault_http_start(w->body, BODY_BYTES, "x");
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    fault_http_free(w->http);
    loop_close(w->loop);
    mem_free(w->body);
    mem_free(w);
    return 0;
}

static void on_done(void *arg, bool ok, const char *text)
{
    struct world *w = arg;
    w->ends++;
    w->ok = ok;
    (void)snprintf(w->text, sizeof w->text, "%s", text);
}

static bool has_ended(void *arg)
{
    return ((struct world *)arg)->ends > 0;
}

static struct probe *start(struct world *w, struct probe_spec spec)
{
    struct probe *probe = NULL;
    spec.timeout_ms = spec.timeout_ms != 0 ? spec.timeout_ms : 10000;
    w->ends = 0;
    assert_int_equal(probe_start(w->loop, &spec, on_done, w, &probe, &w->err), ERR_OK);
    assert_int_equal(w->ends, 0);
    return probe;
}

static void assert_ends(struct world *w, struct probe_spec spec, bool ok, const char *text)
{
    (void)start(w, spec);
    assert_true(wait_turning(w->loop, has_ended, w, 20000));
    turn_for(w->loop, 10);
    assert_int_equal(w->ends, 1);
    assert_string_equal(w->text, text);
    assert_int_equal(w->ok, ok);
}

static struct probe_spec http_at(const char *url)
{
    return (struct probe_spec){.kind = PROBE_HTTP, .url = url};
}

static struct probe_spec http_to(struct world *w)
{
    return http_at(fault_http_url(w->http));
}

static void test_probe__http_takes_200(void **state)
{
    struct world *w = *state;
    assert_ends(w, http_to(w), true, "");
}

static void test_probe__http_says_another_status(void **state)
{
    struct world *w = *state;
    fault_http_plan(w->http, &(struct fault_http_plan){.status = 500});
    assert_ends(w, http_to(w), false, "http 500");
    struct probe_spec spec = http_to(w);
    spec.expect_status = 500;
    assert_ends(w, spec, true, "");
}

static void test_probe__http_follows_no_redirect(void **state)
{
    struct world *w = *state;
    fault_http_plan(w->http, &(struct fault_http_plan){.status = 302, .loop = true});
    assert_ends(w, http_to(w), false, "http 302");
}

static void test_probe__http_looks_at_64_kib_of_body(void **state)
{
    struct world *w = *state;
    struct probe_spec spec = http_to(w);
    spec.expect_body = "version 1.1";
    assert_ends(w, spec, true, "");
    spec.expect_body = "version 1.2";
    assert_ends(w, spec, false, "the body is not as expected");
    spec.expect_body = "beyond the bound";
    assert_ends(w, spec, false, "the body is not as expected");
}

static void test_probe__http_ends_an_endless_body(void **state)
{
    struct world *w = *state;
    struct probe_spec spec = http_to(w);
    memset(w->body, '.', BODY_BYTES);
    fault_http_change(w->http, w->body, BODY_BYTES, "y");
    fault_http_plan(w->http, &(struct fault_http_plan){.endless = true});
    spec.expect_body = "never";
    assert_ends(w, spec, false, "the body is not as expected");
}

static void test_probe__http_uses_names_addresses_and_queries(void **state)
{
    struct world *w = *state;
    char url[128];
    (void)snprintf(url, sizeof url, "http://localhost:%u/?q=1#part", fault_http_port(w->http));
    assert_ends(w, http_at(url), true, "");
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", fault_http_port(w->http));
    assert_ends(w, http_at(url), true, "");
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u?x", fault_http_port(w->http));
    assert_ends(w, http_at(url), true, "");
}

static void test_probe__ends_at_its_timeout(void **state)
{
    struct world *w = *state;
    struct probe_spec spec = http_to(w);
    spec.timeout_ms = 200;
    fault_http_plan(w->http, &(struct fault_http_plan){.silent = true});
    int64_t start_ms = clock_mono_ms();
    assert_ends(w, spec, false, "no answer in 200ms");
    assert_in_range(clock_mono_ms() - start_ms, 190, 5000);
    fault_http_plan(w->http, &(struct fault_http_plan){.bytes_per_s = 10});
    spec.expect_body = "never";
    assert_ends(w, spec, false, "no answer in 200ms");
}

static void test_probe__says_refused(void **state)
{
    struct world *w = *state;
    char text[64];
    (void)snprintf(text, sizeof text, "http://localhost:%u/", port_free());
    assert_ends(w, http_at(text), false, "connection refused");
    (void)snprintf(text, sizeof text, "127.0.0.1:%u", port_free());
    assert_ends(w, (struct probe_spec){.kind = PROBE_TCP, .address = text}, false,
                "connection refused");
}

static void test_probe__tcp_connects(void **state)
{
    struct world *w = *state;
    char text[64];
    (void)snprintf(text, sizeof text, "localhost:%u", fault_http_port(w->http));
    assert_ends(w, (struct probe_spec){.kind = PROBE_TCP, .address = text}, true, "");
}

static void test_probe__says_when_a_name_is_not_found(void **state)
{
    struct world *w = *state;
    (void)start(w, http_at("http://no-such-host.invalid/"));
    assert_true(wait_turning(w->loop, has_ended, w, 20000));
    assert_false(w->ok);
    assert_int_equal(w->ends, 1);
}

static unsigned threads(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/task");
    for (struct dirent *one = readdir(dir); one != NULL; one = readdir(dir))
        count += one->d_name[0] != '.';
    (void)closedir(dir);
    return count;
}

/* First of all tests: another's lookup would have started the pool. */
static void test_probe__starts_no_thread_for_addresses(void **state)
{
    struct world *w = *state;
    char url[64];
    unsigned before = threads();
    (void)snprintf(url, sizeof url, "http://localhost:%u/", fault_http_port(w->http));
    assert_ends(w, http_at(url), true, "");
    assert_ends(w, http_to(w), true, "");
    assert_int_equal(threads(), before);
}

static void test_probe__refuses_what_it_cannot_read(void **state)
{
    struct world *w = *state;
    static const char *const urls[] = {"",
                                       "https://x/",
                                       "http://",
                                       "http:///x",
                                       "http://x:0/",
                                       "http://x:65536/",
                                       "http://x:y/",
                                       "http://a b/",
                                       "http://x/\r\nEvil: 1",
                                       "http://user@x/",
                                       "http://[::1/",
                                       "http://[::1]x/",
                                       "ftp://x/"};
    static const char *const addresses[] = {"", "x", "x:", ":80", "x:80:90", "[::1]", "x:99999"};
    struct probe *probe = NULL;
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct probe_spec spec = http_at(urls[i]);
        assert_int_equal(probe_start(w->loop, &spec, on_done, w, &probe, &w->err), ERR_MALFORMED);
    }
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        struct probe_spec spec = {.kind = PROBE_TCP, .address = addresses[i]};
        assert_int_equal(probe_start(w->loop, &spec, on_done, w, &probe, &w->err), ERR_MALFORMED);
    }
    turn_for(w->loop, 10);
    assert_int_equal(w->ends, 0);
}

static struct probe_spec command(const char *const *argv)
{
    return (struct probe_spec){.kind = PROBE_EXEC, .argv = argv};
}

static void test_probe__exec_says_how_it_ended(void **state)
{
    struct world *w = *state;
    const char *good[] = {"true", NULL};
    const char *bad[] = {"sh", "-c", "exit 3", NULL};
    const char *killed[] = {"sh", "-c", "kill -9 $$", NULL};
    const char *missing[] = {"/nonexistent/check", NULL};
    assert_ends(w, command(good), true, "");
    assert_ends(w, command(bad), false, "exit code 3");
    assert_ends(w, command(killed), false, "killed by signal 9");
    assert_ends(w, command(missing), false, "exit code 127: the command cannot be run");
}

struct look {
    char *path;
    long pid;
};

static bool pid_is_written(void *arg)
{
    struct look *look = arg;
    char *text = tempdir_read(look->path, NULL);
    look->pid = text != NULL ? strtol(text, NULL, 10) : 0;
    free(text);
    return look->pid > 0;
}

static bool pid_is_gone(void *arg)
{
    return kill((pid_t)((struct look *)arg)->pid, 0) != 0;
}

/* The command and what it started are gone after timeout and cancel. */
static void assert_killed(struct world *w, bool cancel)
{
    char *dir = tempdir_make();
    struct look look = {.path = tempdir_path(dir, "pid")};
    const char *argv[] = {"sh", "-c", "(echo $$ > pid; while :; do sleep 0.1; done) & wait", NULL};
    struct probe_spec spec = command(argv);
    spec.folder = dir;
    spec.timeout_ms = cancel ? 60000 : 2000;
    struct probe *probe = start(w, spec);
    assert_true(wait_turning(w->loop, pid_is_written, &look, 20000));
    if (cancel)
        probe_cancel(probe);
    else
        assert_true(wait_turning(w->loop, has_ended, w, 20000));
    assert_true(wait_turning(w->loop, pid_is_gone, &look, 20000));
    assert_int_equal(w->ends, cancel ? 0 : 1);
    free(look.path);
    tempdir_remove(dir);
}

static void test_probe__exec_is_killed_at_its_timeout(void **state)
{
    struct world *w = *state;
    assert_killed(w, false);
    assert_string_equal(w->text, "no answer in 2s");
}

static void test_probe__exec_is_killed_by_cancel(void **state)
{
    assert_killed(*state, true);
}

static void test_probe__cancel_is_silent_at_any_time(void **state)
{
    struct world *w = *state;
    probe_cancel(NULL);
    for (int turns = 0; turns < 6; turns++) {
        struct probe *probe = start(w, http_to(w));
        for (int i = 0; i < turns && w->ends == 0; i++)
            loop_turn(w->loop, 5);
        if (w->ends > 0)
            continue;
        probe_cancel(probe);
        turn_for(w->loop, 20);
        assert_int_equal(w->ends, 0);
    }
    struct probe *looking = start(w, http_at("http://no-such-host.invalid/"));
    loop_turn(w->loop, 1);
    if (w->ends == 0)
        probe_cancel(looking);
    turn_for(w->loop, 20);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_probe__starts_no_thread_for_addresses),
        T(test_probe__http_takes_200),
        T(test_probe__http_says_another_status),
        T(test_probe__http_follows_no_redirect),
        T(test_probe__http_looks_at_64_kib_of_body),
        T(test_probe__http_ends_an_endless_body),
        T(test_probe__http_uses_names_addresses_and_queries),
        T(test_probe__ends_at_its_timeout),
        T(test_probe__says_refused),
        T(test_probe__tcp_connects),
        T(test_probe__says_when_a_name_is_not_found),
        T(test_probe__refuses_what_it_cannot_read),
        T(test_probe__exec_says_how_it_ended),
        T(test_probe__exec_is_killed_at_its_timeout),
        T(test_probe__exec_is_killed_by_cancel),
        T(test_probe__cancel_is_silent_at_any_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
