/* SPDX-License-Identifier: Apache-2.0
 *
 * Word of a change, to real services: once for what comes together, never before there is a handler.
 */
#include "agent/app_reload.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

enum { LONG_MS = 20000 };

struct world {
    char *dir, *db, *log, *go;
    struct loop *loop;
    struct agent_store *store;
    struct rng rng;
    struct app_services *services;
    struct app_reload *reload;
    struct service service;
    struct release release;
    struct app_plan_service plan_service;
    struct app_plan plan;
    const char *argv[4], *hook[4], *env[4];
    char log_env[512], go_env[512];
    unsigned done, failed;
    char text[256];
    struct err err;
};

static void on_news(void *arg)
{
    (void)arg;
}

static void on_exit_of(void *arg, const char *service, const char *text)
{
    (void)arg;
    (void)service;
    (void)text;
}

static void on_failed(void *arg, const char *text)
{
    struct world *w = arg;
    w->failed++;
    (void)snprintf(w->text, sizeof w->text, "%s", text);
}

static void on_done(void *arg)
{
    struct world *w = arg;
    w->done++;
}

/* As the agent's turn: rows, then the gate. */
static void on_turn_end(void *arg)
{
    struct world *w = arg;
    assert_int_equal(app_services_store(w->services, &w->err), ERR_OK);
    assert_int_equal(agent_store_commit(w->store, &w->err), ERR_OK);
    app_services_release(w->services);
}

static void make_plan(struct world *w)
{
    (void)snprintf(w->log_env, sizeof w->log_env, "LOG=%s", w->log);
    (void)snprintf(w->go_env, sizeof w->go_env, "GO=%s", w->go);
    w->env[0] = "PATH=/usr/bin:/bin";
    w->env[1] = w->log_env;
    w->env[2] = w->go_env;
    w->argv[0] = w->hook[0] = "/bin/sh";
    w->argv[1] = w->hook[1] = "-c";
    w->service = (struct service){.name = "web", .restart_min_ms = 20, .restart_max_ms = 20};
    w->release = (struct release){.version = "1", .services = &w->service, .services_len = 1};
    w->plan_service = (struct app_plan_service){
        .service = &w->service,
        .spec = {.name = "hello/web", .argv = w->argv, .env = w->env, .folder = w->dir}};
    w->plan = (struct app_plan){&w->release, &w->plan_service, NULL};
}

static int set_up(void **state)
{
    struct world *w = mem_new(1, sizeof *w);
    struct app_services_options services;
    bool rebooted;
    w->dir = tempdir_make();
    w->db = tempdir_path(w->dir, "agent.db");
    w->log = tempdir_path(w->dir, "log");
    w->go = tempdir_path(w->dir, "go");
    assert_int_equal(loop_open(&w->loop, &w->err), ERR_OK);
    assert_int_equal(agent_store_open(w->db, &w->store, &w->err), ERR_OK);
    rng_seed(&w->rng, 1);
    services = (struct app_services_options){.loop = w->loop,
                                             .store = w->store,
                                             .app = "hello",
                                             .rng = &w->rng,
                                             .on_news = on_news,
                                             .on_exit = on_exit_of,
                                             .arg = w};
    assert_int_equal(app_services_open(&services, &w->services, &rebooted, &w->err), ERR_OK);
    struct app_reload_options reload = {.loop = w->loop,
                                        .services = w->services,
                                        .on_failed = on_failed,
                                        .on_done = on_done,
                                        .arg = w};
    w->reload = app_reload_new(&reload);
    make_plan(w);
    loop_on_turn_end(w->loop, on_turn_end, w);
    *state = w;
    return 0;
}

static bool is_down(void *arg)
{
    return !app_services_running(((struct world *)arg)->services);
}

static int tear_down(void **state)
{
    struct world *w = *state;
    app_reload_free(w->reload);
    app_services_stop(w->services);
    bool down = wait_turning(w->loop, is_down, w, LONG_MS);
    app_services_close(w->services);
    agent_store_close(w->store);
    loop_close(w->loop);
    free(w->db);
    free(w->log);
    free(w->go);
    tempdir_remove(w->dir);
    mem_free(w);
    return down ? 0 : -1;
}

static unsigned count(const struct world *w, const char *word)
{
    char *text = tempdir_read(w->log, NULL);
    unsigned found = 0;
    for (const char *at = text; at && (at = strstr(at, word)); at += strlen(word))
        found++;
    free(text);
    return found;
}

struct words {
    struct world *w;
    const char *word;
    unsigned least;
};

static bool is_logged(void *arg)
{
    const struct words *words = arg;
    return count(words->w, words->word) >= words->least;
}

static void wait_word(struct world *w, const char *word, unsigned least)
{
    struct words words = {w, word, least};
    assert_true(wait_turning(w->loop, is_logged, &words, LONG_MS));
}

static bool is_done(void *arg)
{
    return ((struct world *)arg)->done > 0;
}

static void wait_done(struct world *w)
{
    assert_true(wait_turning(w->loop, is_done, w, LONG_MS));
}

static void start(struct world *w, const char *script)
{
    w->argv[2] = script;
    app_services_start(w->services, &w->plan);
}

#define LISTEN "trap 'echo told >> $LOG' HUP; echo up >> $LOG; while :; do sleep 0.02; done"

static void test_app_reload__changes_that_come_together_are_told_once(void **state)
{
    struct world *w = *state;
    w->plan_service.reload_signal = SIGHUP;
    start(w, LISTEN);
    wait_word(w, "up", 1);
    for (int i = 0; i < 5; i++) {
        app_reload_due(w->reload, &w->plan);
        loop_turn(w->loop, 1);
    }
    wait_done(w);
    wait_word(w, "told", 1);
    turn_for(w->loop, 500);
    assert_int_equal(count(w, "told"), 1);
    assert_int_equal(w->done, 1);
    app_reload_due(w->reload, &w->plan);
    wait_word(w, "told", 2);
    assert_int_equal(w->failed, 0);
}

static void test_app_reload__a_signal_waits_for_its_handler(void **state)
{
    struct world *w = *state;
    w->plan_service.reload_signal = SIGHUP;
    start(w, "echo begun >> $LOG; until [ -e $GO ]; do sleep 0.02; done; " LISTEN);
    wait_word(w, "begun", 1);
    app_reload_due(w->reload, &w->plan);
    turn_for(w->loop, 700);
    assert_int_equal(count(w, "begun"), 1); /* it was not ended by the signal */
    assert_int_equal(w->done, 0);
    tempdir_write(w->go, "", 0);
    wait_word(w, "told", 1);
    wait_done(w);
    assert_int_equal(app_services_restarts(w->services), 0);
}

static void test_app_reload__who_began_after_the_change_is_not_told(void **state)
{
    struct world *w = *state;
    struct child_identity identity;
    w->plan_service.reload_signal = SIGHUP;
    start(w, LISTEN);
    wait_word(w, "up", 1);
    app_reload_due(w->reload, &w->plan);
    assert_int_equal(app_services_identities(w->services, &identity, 1), 1);
    assert_int_equal(kill((pid_t)identity.pid, SIGKILL), 0);
    wait_word(w, "up", 2);
    wait_done(w);
    assert_int_equal(count(w, "told"), 0);
    assert_int_equal(w->failed, 0);
}

static void test_app_reload__a_hook_runs_again_for_what_changed_meanwhile(void **state)
{
    struct world *w = *state;
    w->hook[2] = "echo hook >> $LOG; until [ -e $GO ]; do sleep 0.02; done";
    w->plan_service.reload = w->hook;
    start(w, LISTEN);
    wait_word(w, "up", 1);
    app_reload_due(w->reload, &w->plan);
    wait_word(w, "hook", 1);
    app_reload_due(w->reload, &w->plan);
    app_reload_due(w->reload, &w->plan);
    turn_for(w->loop, 400);
    assert_int_equal(count(w, "hook"), 1); /* one at a time */
    assert_int_equal(w->done, 0);
    tempdir_write(w->go, "", 0);
    wait_done(w);
    assert_int_equal(count(w, "hook"), 2);
}

static void test_app_reload__a_hook_that_takes_too_long_is_ended_and_told(void **state)
{
    struct world *w = *state;
    w->hook[2] = "echo hook >> $LOG; sleep 60";
    w->service.stop_timeout_ms = 200;
    w->plan_service.reload = w->hook;
    start(w, LISTEN);
    wait_word(w, "up", 1);
    app_reload_due(w->reload, &w->plan);
    wait_done(w);
    assert_int_equal(w->failed, 1);
    assert_string_equal(w->text, "service web is not told of changed flags or secrets: no answer "
                                 "in 200ms");
}

static void test_app_reload__what_is_cancelled_is_not_told(void **state)
{
    struct world *w = *state;
    w->plan_service.reload_signal = SIGHUP;
    start(w, LISTEN);
    wait_word(w, "up", 1);
    app_reload_due(w->reload, &w->plan);
    app_reload_cancel(w->reload);
    turn_for(w->loop, 500);
    assert_int_equal(count(w, "told"), 0);
    assert_int_equal(w->done, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_app_reload__changes_that_come_together_are_told_once),
        T(test_app_reload__a_signal_waits_for_its_handler),
        T(test_app_reload__who_began_after_the_change_is_not_told),
        T(test_app_reload__a_hook_runs_again_for_what_changed_meanwhile),
        T(test_app_reload__a_hook_that_takes_too_long_is_ended_and_told),
        T(test_app_reload__what_is_cancelled_is_not_told),
    };
    return cmocka_run_group_tests_name("app_reload", tests, NULL, NULL);
}
