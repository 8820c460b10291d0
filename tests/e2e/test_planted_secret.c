/* SPDX-License-Identifier: Apache-2.0
 *
 * A secret that is planted is found where it belongs, in memory of the device, and nowhere else: no
 * log, database, stream, file, command line, environment or core file has it, before and after it is
 * replaced and removed. The search is shown to find what is there.
 */
#include "tests/e2e/secure.h"

#include <dirent.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/clock.h"
#include "common/hash.h"
#include "tests/support/find_text.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

enum { VALUE_BYTES = 24, VALUE_TEXT = 2 * VALUE_BYTES + 1, FORMS = 3, FORM_TEXT = 256 };

/* A random value, and how it would look where somebody wrote it down in another way. */
struct planted {
    char value[VALUE_TEXT];
    char forms[FORMS][FORM_TEXT];
};

static struct planted plant(void)
{
    struct planted planted;
    uint8_t random[VALUE_BYTES];
    const size_t len = VALUE_TEXT - 1;
    clock_random(random, sizeof random);
    str_hex(bytes_of(random, sizeof random), planted.value);
    (void)snprintf(planted.forms[0], FORM_TEXT, "%s", planted.value);
    str_hex(bytes_of(planted.value, len), planted.forms[1]);
    assert_non_null(sodium_bin2base64(planted.forms[2], FORM_TEXT, (const uint8_t *)planted.value,
                                      len, sodium_base64_VARIANT_ORIGINAL_NO_PADDING));
    return planted;
}

/* NULL, or the place. */
static const char *find(struct secure *secure, const struct planted *planted)
{
    char where[4096];
    for (size_t i = 0; i < FORMS; i++)
        if (find_text_in_tree(secure->dir, planted->forms[i], where, sizeof where) ||
            find_text_in_processes(planted->forms[i], where, sizeof where))
            return secure_text(secure, "%s", where);
    return NULL;
}

static void assert_nowhere(struct secure *secure, const struct planted *planted, const char *when)
{
    const char *where = find(secure, planted);
    if (where)
        fail_msg("%s the planted secret is in %s", when, where);
}

struct search {
    struct secure *secure;
    const struct planted *planted;
};

static bool is_found(void *arg)
{
    const struct search *search = arg;
    return find(search->secure, search->planted) != NULL;
}

/* The search finds what lies there: a file deep in the fleet, an environment, a command line. */
static void assert_found_when_there(struct secure *secure)
{
    const struct planted other = plant();
    for (size_t i = 0; i < FORMS; i++) {
        const char *path = secure_text(secure, "%s/nats/jetstream/planted", secure->folder);
        tempdir_write(path, other.forms[i], strlen(other.forms[i]));
        assert_string_equal(find(secure, &other), path);
        assert_int_equal(unlink(path), 0);
    }
    const char *const argv[][4] = {
        {"sleep", "600", NULL}, {"sh", "-c", secure_text(secure, "sleep 600; : %s", other.value)}};
    const char *const env[][2] = {{secure_text(secure, "PLANTED=%s", other.value), NULL}, {NULL}};
    for (size_t i = 0; i < 2; i++) {
        struct proc *proc = proc_start(&(struct proc_options){.argv = argv[i], .env = env[i]});
        assert_true(wait_until(is_found, &(struct search){secure, &other}, SECURE_WAIT_MS));
        assert_non_null(strstr(find(secure, &other), i ? "cmdline" : "environ"));
        proc_free(proc);
    }
    assert_nowhere(secure, &other, "afterwards");
}

/* ---- the life of a secret ---- */

static void expect_delivered(struct secure *secure, const struct planted *planted)
{
    uint8_t digest[DIGEST_BYTES];
    char hex[DIGEST_HEX];
    hash_bytes(bytes_of(planted->value, strlen(planted->value)), digest);
    str_hex(bytes_of(digest, sizeof digest), hex);
    secure_wait_file(secure, secure_app_path(secure, &secure->devices[0], "state/sums"), hex);
    char where[4096];
    assert_true(find_text_in_tree(secure->memory, planted->value, where, sizeof where));
}

static void set_from_stdin(struct secure *secure, const struct planted *planted)
{
    const char *path = secure_text(secure, "%s/value", secure->memory);
    const char *argv[] = {
        getenv("CAPTAIN_BIN"), "secret", "set", "hello/token", "--from", "-", "--wait", NULL};
    tempdir_write(path, planted->value, strlen(planted->value));
    if (secure_run(secure, argv, path) != 0)
        fail_msg("%s", secure_said(secure));
    assert_int_equal(unlink(path), 0);
}

static void rotate_from_env(struct secure *secure, const struct planted *planted)
{
    const char *argv[] = {getenv("CAPTAIN_BIN"), "secret", "rotate", "hello/token", "--from",
                          "env://PLANTED",       "--wait", NULL};
    const char *env[] = {secure->xdg, "USER=ada", secure_text(secure, "PLANTED=%s", planted->value),
                         NULL};
    (void)unlink(secure->out);
    if (proc_run(&(struct proc_options){.argv = argv, .env = env, .out_path = secure->out},
                 SECURE_RUN_MS) != 0)
        fail_msg("%s", secure_said(secure));
}

struct absence {
    const char *dir, *value;
};

static bool is_gone(void *arg)
{
    const struct absence *absence = arg;
    char where[4096];
    return !find_text_in_tree(absence->dir, absence->value, where, sizeof where);
}

/* ---- crashes ---- */

static unsigned cores_in(const char *dir)
{
    unsigned cores = 0;
    DIR *listing = opendir(dir);
    assert_non_null(listing);
    for (struct dirent *e; (e = readdir(listing));)
        cores += strncmp(e->d_name, "core", 4) == 0;
    (void)closedir(listing);
    return cores;
}

/* Whether a program that crashes there leaves a core file at all: not when core_pattern sends them
 * elsewhere, or nobody may. */
static bool leaves_core(struct secure *secure)
{
    const char *argv[] = {"sh", "-c", "kill -ABRT $$", NULL};
    const char *dir = secure_path(secure, "crash");
    assert_int_equal(mkdir(dir, 0777), 0);
    assert_int_equal(proc_run(&(struct proc_options){.argv = argv, .dir = dir}, SECURE_RUN_MS),
                     128 + SIGABRT);
    return cores_in(dir) > 0;
}

static void assert_no_core_limit(pid_t pid)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/limits", (int)pid);
    char *text = tempdir_read(path, NULL);
    unsigned long long soft = 1;
    const char *line = text ? strstr(text, "Max core file size") : NULL;
    if (!line || sscanf(line, "Max core file size %llu", &soft) != 1 || soft != 0)
        fail_msg("%s: a core file may be written", path);
    free(text);
}

/* The agent itself, below its parent; 0: none now. */
static pid_t child_of(pid_t parent)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent, (int)parent);
    char *text = tempdir_read(path, NULL);
    const long pid = text ? strtol(text, NULL, 10) : 0;
    free(text);
    return (pid_t)pid;
}

static bool is_dead(void *arg)
{
    return kill(*(pid_t *)arg, 0) != 0;
}

/* Both hold the value, or have held it, when they are told to abort in their own folder. */
static void crash(struct secure *secure)
{
    const bool cores = leaves_core(secure);
    struct secure_device *device = &secure->devices[0];
    pid_t agent = child_of(proc_pid(device->agent));
    assert_true(agent > 0);
    assert_no_core_limit(agent);
    assert_no_core_limit(proc_pid(device->agent));
    assert_no_core_limit(proc_pid(secure->captain));
    assert_int_equal(kill(agent, SIGABRT), 0);
    assert_true(wait_until(is_dead, &agent, SECURE_WAIT_MS));
    proc_signal(secure->captain, SIGABRT);
    int status = 0;
    assert_true(proc_wait(secure->captain, SECURE_RUN_MS, &status));
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_false(WCOREDUMP(status));
    assert_int_equal(cores_in(secure->dir), 0);
    assert_int_equal(cores_in(secure->folder), 0);
    print_message("a crash there %s a core file; captain and agent left none\n",
                  cores ? "leaves" : "does not leave");
    proc_free(secure->captain);
    secure_start_captain(secure);
    secure_wait_captain(secure);
}

static void test_planted_secret__is_found_where_it_belongs_and_nowhere_else(void **state)
{
    struct secure *secure = *state;
    const struct planted first = plant(), second = plant();
    secure_join(secure, 1);
    secure_release(secure, "1.0");
    CAPTAIN_OK(secure, "channel", "set", "hello/stable", "hello@1.0");
    secure_wait_serving(secure, &secure->devices[0], "1.0");
    assert_found_when_there(secure);

    set_from_stdin(secure, &first);
    expect_delivered(secure, &first);
    assert_nowhere(secure, &first, "delivered");

    rotate_from_env(secure, &second);
    expect_delivered(secure, &second);
    assert_nowhere(secure, &first, "replaced");
    assert_nowhere(secure, &second, "rotated");

    crash(secure);
    assert_nowhere(secure, &second, "after a crash");

    CAPTAIN_OK(secure, "secret", "rm", "hello/token", "--yes");
    assert_true(
        wait_until(is_gone, &(struct absence){secure->memory, second.value}, SECURE_WAIT_MS));
    assert_true(is_gone(&(struct absence){secure->memory, first.value}));
    CAPTAIN_OK(secure, "log", "ls", "--json");
    assert_nowhere(secure, &first, "removed");
    assert_nowhere(secure, &second, "removed");
}

/* Core files are wanted here, if the machine lets us: what is shown is that none comes of itself. A
 * sanitizer would keep them away too. */
static int set_up(void **state)
{
    static const char *env[2];
    static char asan[512];
    struct rlimit limit;
    const char *given = getenv("ASAN_OPTIONS");
    (void)snprintf(asan, sizeof asan, "ASAN_OPTIONS=%s:disable_coredump=0", given ? given : "");
    if (getrlimit(RLIMIT_CORE, &limit) != 0)
        return -1;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_CORE, &limit) != 0 || sodium_init() < 0)
        return -1;
    env[0] = asan;
    (void)secure_set_up(state);
    struct secure *secure = *state;
    secure->env = env;
    if (secure_init(secure, (const char *const[]){NULL}) != 0)
        fail_msg("%s", secure_said(secure));
    secure_start_nats(secure);
    secure_start_captain(secure);
    secure_wait_captain(secure);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_planted_secret__is_found_where_it_belongs_and_nowhere_else, set_up,
            secure_tear_down),
    };
    return cmocka_run_group_tests_name("planted_secret", tests, NULL, NULL);
}
