/* SPDX-License-Identifier: Apache-2.0
 *
 * Devices get into a fleet with TLS and roles, and out of it: captain init, nats-server, captain serve,
 * captain-agent, and what an operator types.
 */
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "tests/support/port.h"
#include "tests/support/proc.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

enum { ARENA_BYTES = 64 << 20, RUN_MS = 60000, WAIT_MS = 60000, ARGS_MAX = 24, AGENTS_MAX = 4 };
enum { CUT_MS = 5000 }; /* a device that is revoked has lost contact by then */

struct fleet {
    struct arena arena;
    char *dir;
    const char *folder, *out, *xdg;
    uint16_t nats_port, store_port;
    struct proc *nats, *captain, *agents[AGENTS_MAX];
};

static const char *text(struct fleet *fleet, const char *fmt, ...) PRINTF_LIKE(2, 3);
static const char *text(struct fleet *fleet, const char *fmt, ...)
{
    char line[2048];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    const char *kept = arena_strdup(&fleet->arena, line);
    assert_non_null(kept);
    return kept;
}

static const char *content(struct fleet *fleet, const char *path)
{
    char *read = tempdir_read(path, NULL);
    const char *kept = arena_strdup(&fleet->arena, read ? read : "");
    free(read);
    assert_non_null(kept);
    return kept;
}

static const char *said(struct fleet *fleet)
{
    return content(fleet, fleet->out);
}

static int run(struct fleet *fleet, const char *const *argv)
{
    const char *env[] = {fleet->xdg, "USER=ada", NULL};
    (void)unlink(fleet->out);
    return proc_run(&(struct proc_options){.argv = argv, .env = env, .out_path = fleet->out},
                    RUN_MS);
}

static int captain(struct fleet *fleet, const char *const *words)
{
    const char *argv[ARGS_MAX] = {getenv("CAPTAIN_BIN")};
    for (size_t i = 0; words[i]; i++)
        argv[i + 1] = words[i];
    return run(fleet, argv);
}
#define CAPTAIN(fleet, ...) captain(fleet, (const char *const[]){__VA_ARGS__, NULL})
#define CAPTAIN_OK(fleet, ...)                                                                     \
    do {                                                                                           \
        if (CAPTAIN(fleet, __VA_ARGS__) != 0)                                                      \
            fail_msg("%s", said(fleet));                                                           \
    } while (0)

static struct proc *start(struct fleet *fleet, const char *log, const char *const *argv)
{
    const char *env[] = {fleet->xdg, NULL};
    return proc_start(&(struct proc_options){
        .argv = argv, .env = env, .out_path = text(fleet, "%s/%s", fleet->dir, log)});
}

static void start_nats(struct fleet *fleet)
{
    const char *argv[] = {"nats-server", "-c", text(fleet, "%s/nats/server.conf", fleet->folder),
                          NULL};
    fleet->nats = start(fleet, "nats.log", argv);
}

static void start_captain(struct fleet *fleet)
{
    const char *argv[] = {getenv("CAPTAIN_BIN"), "serve", "--data", fleet->folder, NULL};
    fleet->captain = start(fleet, "captain.log", argv);
}

static void end(struct proc **proc)
{
    proc_signal(*proc, SIGTERM);
    assert_true(proc_wait(*proc, RUN_MS, NULL));
    proc_free(*proc);
    *proc = NULL;
}

static bool answers(void *arg)
{
    return CAPTAIN(arg, "status", "--timeout", "1s") == 0;
}

static void wait_captain(struct fleet *fleet)
{
    if (!wait_until(answers, fleet, WAIT_MS))
        fail_msg("%s\n%s", said(fleet), content(fleet, text(fleet, "%s/captain.log", fleet->dir)));
}

static int set_up(void **state)
{
    struct fleet *fleet = mem_new(1, sizeof *fleet);
    arena_init(&fleet->arena, ARENA_BYTES);
    fleet->dir = tempdir_make();
    fleet->folder = text(fleet, "%s/fleet", fleet->dir);
    fleet->out = text(fleet, "%s/out", fleet->dir);
    fleet->xdg = text(fleet, "XDG_CONFIG_HOME=%s/config", fleet->dir);
    fleet->nats_port = port_free();
    fleet->store_port = port_free();
    CAPTAIN_OK(fleet, "init", fleet->folder, "--tenant", "acme", "--host", "localhost", "--url",
               text(fleet, "tls://localhost:%u", fleet->nats_port), "--listen",
               text(fleet, "127.0.0.1:%u", fleet->store_port));
    start_nats(fleet);
    start_captain(fleet);
    wait_captain(fleet);
    *state = fleet;
    return 0;
}

static int tear_down(void **state)
{
    struct fleet *fleet = *state;
    for (size_t i = 0; i < AGENTS_MAX; i++)
        proc_free(fleet->agents[i]);
    proc_free(fleet->captain);
    proc_free(fleet->nats);
    tempdir_remove(fleet->dir);
    arena_fini(&fleet->arena);
    mem_free(fleet);
    return 0;
}

/* Tokens and devices. */

struct token {
    const char *id, *text, *fingerprint, *url;
};

static struct token token_new(struct fleet *fleet, const char *const *more)
{
    const char *words[ARGS_MAX] = {"token", "new", "--json", "--site"};
    struct token token = {.id = NULL};
    for (size_t i = 0; more[i]; i++)
        words[i + 4] = more[i];
    if (captain(fleet, words) != 0)
        fail_msg("%s", said(fleet));
    json_t *json = json_loads(said(fleet), 0, NULL);
    assert_non_null(json);
    token.id = text(fleet, "%s", json_string_value(json_object_get(json, "id")));
    token.text = text(fleet, "%s", json_string_value(json_object_get(json, "token")));
    token.fingerprint = text(fleet, "%s", json_string_value(json_object_get(json, "fingerprint")));
    token.url = text(fleet, "%s", json_string_value(json_object_get(json, "url")));
    json_decref(json);
    return token;
}
#define TOKEN(fleet, ...) token_new(fleet, (const char *const[]){__VA_ARGS__, NULL})

/* The configuration of device `name` of site lyon, its state in the folder `place`. */
static const char *configure(struct fleet *fleet, const char *name, const char *place)
{
    const char *path = text(fleet, "%s/%s.json", fleet->dir, place);
    const char *config =
        text(fleet,
             "{\"device\": \"%s\", \"site\": \"lyon\", \"tenant\": \"acme\", "
             "\"folder\": \"%s/%s\", \"secrets\": \"%s/%s-secrets\", "
             "\"apps\": {\"demo\": {\"channel\": \"stable\"}}, "
             "\"intervals\": {\"health\": \"500ms\", \"reconnect_first\": \"500ms\", "
             "\"reconnect_max\": \"1s\"}, \"fetch\": {\"helper\": \"%s\"}}",
             name, fleet->dir, place, fleet->dir, place, getenv("CAPTAIN_FETCH_BIN"));
    tempdir_write(path, config, strlen(config));
    return path;
}

static struct proc *enroll_start(struct fleet *fleet, const char *config, const struct token *token,
                                 const char *log)
{
    const char *argv[] = {getenv("CAPTAIN_AGENT_BIN"),
                          "enroll",
                          "--config",
                          config,
                          "--url",
                          token->url,
                          "--token",
                          token->text,
                          "--fingerprint",
                          token->fingerprint,
                          NULL};
    return start(fleet, log, argv);
}

/* Its exit code; what it said is in fleet->out. */
static int enroll(struct fleet *fleet, const char *name, const struct token *token)
{
    int status = 0;
    (void)unlink(fleet->out);
    struct proc *proc = enroll_start(fleet, configure(fleet, name, name), token, "out");
    assert_true(proc_wait(proc, RUN_MS, &status));
    proc_free(proc);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void start_agent(struct fleet *fleet, size_t i, const char *place)
{
    const char *argv[] = {getenv("CAPTAIN_AGENT_BIN"), "--config",
                          text(fleet, "%s/%s.json", fleet->dir, place), NULL};
    fleet->agents[i] = start(fleet, text(fleet, "%s.log", place), argv);
}

static size_t count(const char *haystack, const char *needle)
{
    size_t found = 0;
    for (const char *at = strstr(haystack, needle); at; at = strstr(at + 1, needle))
        found++;
    return found;
}

/* Waiting for what a command or a log says. */
struct hope {
    struct fleet *fleet;
    const char *const *words; /* of captain; NULL: log */
    const char *log, *wanted;
    size_t times;
};

static bool comes_true(void *arg)
{
    const struct hope *hope = arg;
    struct fleet *fleet = hope->fleet;
    const char *out = fleet->out;
    if (hope->words && captain(fleet, hope->words) != 0)
        return false;
    if (hope->log)
        out = text(fleet, "%s/%s", fleet->dir, hope->log);
    return count(content(fleet, out), hope->wanted) >= hope->times;
}

static void wait_said(struct fleet *fleet, const char *const *words, const char *wanted)
{
    struct hope hope = {.fleet = fleet, .words = words, .wanted = wanted, .times = 1};
    if (!wait_until(comes_true, &hope, WAIT_MS))
        fail_msg("not said: %s\nbut: %s", wanted, said(fleet));
}

static void wait_log(struct fleet *fleet, const char *log, const char *wanted, size_t times)
{
    struct hope hope = {.fleet = fleet, .log = log, .wanted = wanted, .times = times};
    if (!wait_until(comes_true, &hope, WAIT_MS))
        fail_msg("%s: not %zu times: %s\nbut:\n%s", log, times, wanted,
                 content(fleet, text(fleet, "%s/%s", fleet->dir, log)));
}

static const char *const DEVICES[] = {"device", "ls", NULL};
static const char *const IDENTITIES[] = {"device", "identities", NULL};
static const char *const INCIDENTS[] = {"log", "ls", "--kind", "incident.noted", NULL};
static const char REFUSED[] = "the bus refuses";

/* Tests. */

static void test_enrolment__a_token_lets_one_device_in(void **state)
{
    struct fleet *fleet = *state;
    const struct token token = TOKEN(fleet, "lyon", "--label", "rack=3");
    if (enroll(fleet, "gate-1", &token) != 0)
        fail_msg("%s", said(fleet));
    start_agent(fleet, 0, "gate-1");
    wait_said(fleet, DEVICES, "online");
    CAPTAIN_OK(fleet, "device", "show", "gate-1");
    assert_non_null(strstr(said(fleet), "approved"));
    CAPTAIN_OK(fleet, "token", "ls");
    assert_non_null(strstr(said(fleet), "1 of 1"));
    assert_non_null(strstr(said(fleet), "rack=3"));
    /* The secret half was shown to its maker and is nowhere else. */
    const char *seed = strrchr(token.text, '-') + 1;
    static const char *const places[] = {"captain.log", "nats.log", "gate-1.log",
                                         "fleet/captain.db", "fleet/captain.db-wal"};
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        size_t len = 0;
        char *bytes = tempdir_read(text(fleet, "%s/%s", fleet->dir, places[i]), &len);
        if (bytes)
            assert_null(memmem(bytes, len, seed, strlen(seed)));
        free(bytes);
    }
}

static void test_enrolment__tokens_that_are_no_good_are_refused_and_noted(void **state)
{
    struct fleet *fleet = *state;
    const struct token used = TOKEN(fleet, "lyon"), foreign = TOKEN(fleet, "nice"),
                       expired = TOKEN(fleet, "lyon", "--ttl", "1ms"),
                       revoked = TOKEN(fleet, "lyon");
    CAPTAIN_OK(fleet, "token", "revoke", revoked.id);
    assert_int_equal(enroll(fleet, "gate-1", &used), 0);
    const struct {
        const struct token *token;
        const char *why;
    } rows[] = {{&used, "used up"},
                {&foreign, "another site"},
                {&expired, "expired"},
                {&revoked, "revoked"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_not_equal(enroll(fleet, "gate-2", rows[i].token), 0);
        if (!strstr(said(fleet), rows[i].why))
            fail_msg("not \"%s\" but %s", rows[i].why, said(fleet));
        wait_said(fleet, INCIDENTS, rows[i].token->id);
    }
    CAPTAIN_OK(fleet, "device", "identities");
    assert_null(strstr(said(fleet), "gate-2"));
}

static void test_enrolment__an_operator_approves_and_rejects(void **state)
{
    struct fleet *fleet = *state;
    const struct token token = TOKEN(fleet, "lyon", "--uses", "2", "--approve");
    struct proc *good =
        enroll_start(fleet, configure(fleet, "gate-1", "gate-1"), &token, "enroll-1.log");
    wait_said(fleet, IDENTITIES, "pending");
    CAPTAIN_OK(fleet, "device", "approve", "gate-1");
    int status = -1;
    assert_true(proc_wait(good, RUN_MS, &status));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    proc_free(good);

    struct proc *bad =
        enroll_start(fleet, configure(fleet, "gate-2", "gate-2"), &token, "enroll-2.log");
    wait_said(fleet, IDENTITIES, "pending");
    CAPTAIN_OK(fleet, "device", "reject", "gate-2", "--reason", "not ours");
    assert_true(proc_wait(bad, RUN_MS, &status));
    assert_true(WIFEXITED(status));
    assert_int_not_equal(WEXITSTATUS(status), 0);
    proc_free(bad);
    assert_int_equal(CAPTAIN(fleet, "device", "retire", "gate-2", "--yes"), 5);
}

static void test_enrolment__a_revoked_device_is_cut_and_stays_out(void **state)
{
    struct fleet *fleet = *state;
    const struct token token = TOKEN(fleet, "lyon", "--uses", "3");
    assert_int_equal(enroll(fleet, "gate-1", &token), 0);
    assert_int_equal(enroll(fleet, "gate-2", &token), 0);
    start_agent(fleet, 0, "gate-1");
    start_agent(fleet, 1, "gate-2");
    wait_log(fleet, "gate-1.log", "connected to the bus", 1);
    wait_log(fleet, "gate-2.log", "connected to the bus", 1);
    wait_said(fleet, DEVICES, "gate-2 online");
    assert_int_equal(CAPTAIN(fleet, "device", "revoke", "gate-1"), 2); /* nobody to be asked */
    const int64_t before_ms = clock_mono_ms();
    CAPTAIN_OK(fleet, "device", "revoke", "gate-1", "--yes", "--reason", "stolen");
    wait_log(fleet, "gate-1.log", REFUSED, 1);
    const int64_t took_ms = clock_mono_ms() - before_ms;
    print_message("cut and refused %lld ms after the command\n", (long long)took_ms);
    assert_true(took_ms < CUT_MS);

    /* Neither server nor captain forgets it, and the other device comes back. */
    end(&fleet->captain);
    end(&fleet->nats);
    const size_t refused = count(content(fleet, text(fleet, "%s/gate-1.log", fleet->dir)), REFUSED);
    start_nats(fleet);
    wait_log(fleet, "gate-1.log", REFUSED, refused + 2); /* before captain is there */
    start_captain(fleet);
    wait_captain(fleet);
    wait_log(fleet, "gate-2.log", "connected to the bus", 2);
    end(&fleet->agents[0]);
    start_agent(fleet, 0, "gate-1");
    wait_log(fleet, "gate-1.log", REFUSED, refused + 4);
    assert_int_equal(
        count(content(fleet, text(fleet, "%s/gate-1.log", fleet->dir)), "connected to the bus"), 1);
    CAPTAIN_OK(fleet, "device", "ls");
    assert_non_null(strstr(said(fleet), "gate-1 revoked"));
    CAPTAIN_OK(fleet, "why", "gate-1");
    assert_non_null(strstr(said(fleet), "revoked"));

    /* A new device in its place has a new key. */
    end(&fleet->agents[0]);
    assert_int_equal(
        rename(text(fleet, "%s/gate-1", fleet->dir), text(fleet, "%s/old", fleet->dir)), 0);
    if (enroll(fleet, "gate-1", &token) != 0)
        fail_msg("%s", said(fleet));
    start_agent(fleet, 0, "gate-1");
    wait_said(fleet, DEVICES, "gate-1 online");
}

static void test_enrolment__a_retired_device_leaves_the_counts(void **state)
{
    struct fleet *fleet = *state;
    const struct token token = TOKEN(fleet, "lyon");
    assert_int_equal(enroll(fleet, "gate-1", &token), 0);
    start_agent(fleet, 0, "gate-1");
    wait_said(fleet, DEVICES, "online");
    CAPTAIN_OK(fleet, "device", "retire", "gate-1", "--yes");
    wait_log(fleet, "gate-1.log", REFUSED, 1);
    CAPTAIN_OK(fleet, "device", "ls");
    assert_null(strstr(said(fleet), "gate-1"));
    end(&fleet->captain);
    start_captain(fleet);
    wait_captain(fleet);
    CAPTAIN_OK(fleet, "device", "ls");
    assert_null(strstr(said(fleet), "gate-1"));
    CAPTAIN_OK(fleet, "device", "identities", "--state", "retired");
    assert_non_null(strstr(said(fleet), "gate-1"));
}

static void test_enrolment__a_copied_device_is_noticed(void **state)
{
    struct fleet *fleet = *state;
    const struct token token = TOKEN(fleet, "lyon");
    const char *from = text(fleet, "%s/gate-1", fleet->dir),
               *to = text(fleet, "%s/copy", fleet->dir);
    assert_int_equal(enroll(fleet, "gate-1", &token), 0);
    const char *copy[] = {"cp", "-a", from, to, NULL};
    assert_int_equal(run(fleet, copy), 0);
    (void)configure(fleet, "gate-1", "copy");
    start_agent(fleet, 0, "gate-1");
    start_agent(fleet, 1, "copy");
    wait_said(fleet, INCIDENTS, "two agents speak as lyon/gate-1");
    CAPTAIN_OK(fleet, "device", "show", "gate-1");
    assert_non_null(strstr(said(fleet), "clone: two agents"));
}

#define ENROLMENT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENROLMENT_TEST(test_enrolment__a_token_lets_one_device_in),
        ENROLMENT_TEST(test_enrolment__tokens_that_are_no_good_are_refused_and_noted),
        ENROLMENT_TEST(test_enrolment__an_operator_approves_and_rejects),
        ENROLMENT_TEST(test_enrolment__a_revoked_device_is_cut_and_stays_out),
        ENROLMENT_TEST(test_enrolment__a_retired_device_leaves_the_counts),
        ENROLMENT_TEST(test_enrolment__a_copied_device_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
