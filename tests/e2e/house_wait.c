/* SPDX-License-Identifier: Apache-2.0
 *
 * What tests of the house wait for, each with a deadline.
 */
#include "tests/e2e/house.h"

#include <stdarg.h>
#include <stddef.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/base/ulid.h"
#include "common/bus.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/hash.h"
#include "common/sign.h"
#include "proto/codec.h"
#include "tests/support/http_page.h"
#include "tests/support/nats_server.h"
#include "tests/support/port.h"
#include "tests/support/proc.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

const struct app_status *house_status_of(const struct house *h)
{
    static const struct app_status none = {.version = "", .reason = ""};
    return h->health.apps_len > 0 ? &h->health.apps[0] : &none;
}

bool house_has_status(void *arg)
{
    struct hope *hope = arg;
    const struct app_status *status = house_status_of(hope->h);
    return status->state == hope->state && str_equal(status->version, hope->version) &&
           status->generation == hope->h->generation;
}

bool house_has_event(void *arg)
{
    struct hope *hope = arg;
    for (uint64_t i = hope->from; i < hope->h->stored; i++) {
        if (hope->h->events[i].kind == hope->kind)
            return true;
    }
    return false;
}

void house_dump(struct house *h)
{
    for (uint64_t i = 0; i < h->stored; i++)
        print_message("event %" PRIu64 " kind %d %s code %u %s\n", h->events[i].seq,
                      (int)h->events[i].kind, h->events[i].version, h->events[i].code,
                      h->events[i].text);
    print_message("state %d version %s reason %s generation %" PRIu64 "\n",
                  (int)house_status_of(h)->state, house_status_of(h)->version,
                  house_status_of(h)->reason, house_status_of(h)->generation);
    char *log = tempdir_read(house_path_in(h, "agent.log"), NULL);
    print_message("%s\n", log ? log : "");
    free(log);
}

void house_wait_status(struct house *h, enum app_state state, const char *version)
{
    struct hope hope = {.h = h, .state = state, .version = version};
    if (!wait_turning(h->loop, house_has_status, &hope, LONG_MS)) {
        house_dump(h);
        fail_msg("never in state %d with version \"%s\"", (int)state, version);
    }
}

void house_wait_event(struct house *h, enum event_kind kind, uint64_t from)
{
    struct hope hope = {.h = h, .kind = kind, .from = from};
    if (!wait_turning(h->loop, house_has_event, &hope, LONG_MS)) {
        house_dump(h);
        fail_msg("no event of kind %d", (int)kind);
    }
}

bool house_serves(struct house *h, const char *text)
{
    return http_page_is(h->service_port, text);
}

struct page {
    struct house *h;
    const char *text;
};

static bool serves_page(void *arg)
{
    struct page *page = arg;
    return house_serves(page->h, page->text);
}

void house_wait_page(struct house *h, const char *text)
{
    struct page page = {h, text};
    assert_true(wait_turning(h->loop, serves_page, &page, LONG_MS));
}

void house_expect_kinds(struct house *h, uint64_t from, const enum event_kind *kinds, size_t len)
{
    bool same = h->stored - from == len;
    for (size_t i = 0; i < len && same; i++)
        same = h->events[from + i].kind == kinds[i];
    if (!same) {
        house_dump(h);
        fail_msg("not the events expected");
    }
}

struct released house_install(struct house *h, const struct recipe *recipe)
{
    struct released r = house_release(h, recipe);
    uint64_t from = h->stored;
    house_want(h, &r);
    if (!h->agent)
        house_start_agent(h);
    house_wait_event(h, EVENT_KIND_CONFIRMED, from);
    house_wait_status(h, APP_STATE_HEALTHY, recipe->version);
    house_wait_page(h, recipe->version);
    return r;
}

/* The process that listens, by its command line. */
enum { SERVER_ALONE_MS = 5000 };

struct server {
    struct house *h;
    pid_t pid; /* -1: none, -2: more than one */
};

/* While it answers it has a child of the same name. */
static bool is_not_two(void *arg)
{
    struct server *server = arg;
    struct house *h = server->h;
    char *out = house_path_in(h, "pgrep.txt"),
         *pattern = arena_printf(&h->arena, "httpd -f -p 127.0.0.1:%u", h->service_port);
    (void)unlink(out);
    const char *argv[] = {"pgrep", "-f", "--", pattern, NULL};
    struct proc_options options = {.argv = argv, .out_path = out};
    server->pid = -1;
    if (proc_run(&options, 10000) != 0)
        return true;
    char *text = tempdir_read(out, NULL);
    char *end;
    long pid = strtol(text, &end, 10);
    server->pid = end != text && str_equal(end, "\n") ? (pid_t)pid : -2;
    free(text);
    return server->pid != -2;
}

pid_t house_service_pid(struct house *h)
{
    struct server server = {.h = h, .pid = -1};
    (void)wait_until(is_not_two, &server, SERVER_ALONE_MS);
    return server.pid;
}

struct words {
    struct house *h;
    const char *text;
    size_t len;
};

static bool is_waiting(void *arg)
{
    struct words *words = arg;
    const char *waiting = house_status_of(words->h)->waiting;
    return waiting && strstr(waiting, words->text);
}

void house_wait_waiting(struct house *h, const char *text)
{
    struct words words = {.h = h, .text = text};
    if (!wait_turning(h->loop, is_waiting, &words, LONG_MS)) {
        house_dump(h);
        fail_msg("never waits for \"%s\"", text);
    }
}

static bool has_asked(void *arg)
{
    struct words *words = arg;
    return words->h->asks_len >= words->len;
}

void house_wait_asks(struct house *h, size_t len)
{
    struct words words = {.h = h, .len = len};
    if (!wait_turning(h->loop, has_asked, &words, LONG_MS)) {
        house_dump(h);
        fail_msg("%zu asks, not %zu", h->asks_len, len);
    }
}

pid_t house_agent_pid(struct house *h)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)proc_pid(h->agent),
                   (int)proc_pid(h->agent));
    char *text = tempdir_read(path, NULL);
    long pid = text ? strtol(text, NULL, 10) : 0;
    free(text);
    return (pid_t)pid;
}
