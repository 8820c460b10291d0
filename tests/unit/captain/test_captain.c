/* SPDX-License-Identifier: Apache-2.0
 *
 * `captain serve` as a process of its own (this program again): what it says to systemd, leaves in
 * its folder and in the log, and how it refuses.
 */
#include "captain/captain.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "captain/io/store/log.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"
#include "proto/codec.h"
#include "tests/support/nats_server.h"
#include "tests/support/proc.h"
#include "tests/support/tempdir.h"

enum { WAIT_MS = 20000, FIRST_STARTS = 8 };

static char self[PATH_MAX];

/* The child: serve URL FOLDER. */
static int serve(char **argv)
{
    struct captain_options options = {.nats_url = argv[2], .folder = argv[3]};
    struct err err = {0};
    enum err_code code = captain_serve(&options, &err);
    if (code != ERR_OK)
        log_err("ended", &err);
    return (int)code;
}

struct world {
    struct nats_server *server;
    char *dir;
    char *socket_path;
    char *output;
    int socket;
};

static int set_up(void **state)
{
    struct world *w = mem_new(1, sizeof *w);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    w->server = nats_server_start(NULL);
    w->dir = tempdir_make();
    w->socket_path = tempdir_path(w->dir, "notify");
    w->output = tempdir_path(w->dir, "output");
    assert_int_equal(str_copy(address.sun_path, sizeof address.sun_path, w->socket_path), ERR_OK);
    w->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(w->socket, (struct sockaddr *)&address, sizeof address), 0);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    (void)close(w->socket);
    nats_server_free(w->server);
    free(w->socket_path);
    free(w->output);
    tempdir_remove(w->dir);
    mem_free(w);
    return 0;
}

static struct proc *start(struct world *w, const char *folder)
{
    char notify[PATH_MAX];
    char path[PATH_MAX];
    (void)snprintf(notify, sizeof notify, "NOTIFY_SOCKET=%s", w->socket_path);
    (void)snprintf(path, sizeof path, "%s/%s", w->dir, folder);
    const char *const argv[] = {self, "serve", nats_server_url(w->server), path, NULL};
    const char *const env[] = {notify, "WATCHDOG_USEC=200000", NULL};
    struct proc_options options = {.argv = argv, .env = env, .out_path = w->output};
    return proc_start(&options);
}

/* Reads notifications until one contains word. */
static bool hears(struct world *w, const char *word, int64_t ms)
{
    int64_t until_ms = clock_mono_ms() + ms;
    for (;;) {
        char text[512];
        struct pollfd fd = {.fd = w->socket, .events = POLLIN};
        int64_t left_ms = until_ms - clock_mono_ms();
        if (left_ms < 0 || poll(&fd, 1, (int)left_ms) <= 0)
            return false;
        ssize_t len = recv(w->socket, text, sizeof text - 1, 0);
        text[len > 0 ? len : 0] = '\0';
        if (strstr(text, word))
            return true;
    }
}

static void stop(struct world *w, struct proc *proc)
{
    int status = -1;
    proc_signal(proc, SIGTERM);
    assert_true(hears(w, "STOPPING=1", WAIT_MS));
    assert_true(proc_wait(proc, WAIT_MS, &status));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    proc_free(proc);
}

static void expect_end(struct world *w, struct proc *proc, enum err_code code, const char *part)
{
    int status = -1;
    assert_true(proc_wait(proc, WAIT_MS, &status));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), (int)code);
    char *text = tempdir_read(w->output, NULL);
    if (!strstr(text, part))
        fail_msg("%s is not in: %s", part, text);
    free(text);
    proc_free(proc);
}

/* Kinds of the log of a folder whose captain has ended, oldest first; the body of the root. */
static void read_log(struct world *w, const char *folder, char ret_kinds[static 1024],
                     struct arena *arena, struct bytes *ret_root)
{
    char *path = tempdir_path(w->dir, folder);
    struct db *db = NULL;
    struct err err = {0};
    ret_kinds[0] = '\0';
    if (store_open(path, &db, &err) != ERR_OK)
        fail_msg("%s", err.text);
    struct store_log_row row;
    for (uint64_t seq = 1; store_log_get(db, seq, arena, &row, &err) == ERR_OK; seq++) {
        struct log_entry entry;
        assert_int_equal(codec_decode(&codec_log_entry, row.entry, arena, &entry, &err), ERR_OK);
        (void)snprintf(ret_kinds + strlen(ret_kinds), 1024 - strlen(ret_kinds), "%s ", entry.kind);
        if (str_equal(entry.kind, "root.created"))
            *ret_root = entry.body;
    }
    db_close(db);
    free(path);
}

static void test_captain__brings_the_root_into_a_new_log_and_ends_cleanly(void **state)
{
    struct world *w = *state;
    char kinds[1024];
    struct arena arena;
    struct bytes root = {0};
    arena_init(&arena, 16 << 20);
    struct proc *proc = start(w, "one");
    assert_true(hears(w, "READY=1", WAIT_MS));
    assert_true(hears(w, "WATCHDOG=1", WAIT_MS));
    assert_true(hears(w, "WATCHDOG=1", WAIT_MS));
    stop(w, proc);
    proc = start(w, "one");
    assert_true(hears(w, "READY=1", WAIT_MS));
    stop(w, proc);
    read_log(w, "one", kinds, &arena, &root);
    assert_string_equal(kinds, "captain.started root.created captain.started ");
    char *path = tempdir_path(w->dir, "one/root.dsse");
    size_t len = 0;
    char *text = tempdir_read(path, &len);
    assert_true(bytes_equal(root, bytes_of(text, len)));
    free(text);
    free(path);
    arena_fini(&arena);
}

static void test_captain__a_second_one_is_refused_with_the_holder_named(void **state)
{
    struct world *w = *state;
    char part[PATH_MAX];
    struct proc *proc = start(w, "one");
    assert_true(hears(w, "READY=1", WAIT_MS));
    (void)snprintf(part, sizeof part, ":%d", (int)proc_pid(proc));
    expect_end(w, start(w, "one"), ERR_CONFLICT, part);
    (void)snprintf(part, sizeof part, ":%d with folder %s/one holds this log", (int)proc_pid(proc),
                   w->dir);
    expect_end(w, start(w, "two"), ERR_CONFLICT, part);
    stop(w, proc);
}

static void test_captain__keys_of_another_fleet_are_refused(void **state)
{
    struct world *w = *state;
    struct proc *proc = start(w, "one");
    assert_true(hears(w, "READY=1", WAIT_MS));
    stop(w, proc);
    expect_end(w, start(w, "two"), ERR_ROOT_CHAIN, "is not the one that the log brought");
}

static void test_captain__lost_tables_come_back_from_the_stream(void **state)
{
    static const char *const names[] = {"one/captain.db", "one/captain.db-wal",
                                        "one/captain.db-shm"};
    struct world *w = *state;
    char kinds[1024];
    struct arena arena;
    struct bytes root = {0};
    arena_init(&arena, 16 << 20);
    struct proc *proc = start(w, "one");
    assert_true(hears(w, "READY=1", WAIT_MS));
    stop(w, proc);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char *path = tempdir_path(w->dir, names[i]);
        (void)unlink(path);
        free(path);
    }
    proc = start(w, "one");
    assert_true(hears(w, "READY=1", WAIT_MS));
    stop(w, proc);
    read_log(w, "one", kinds, &arena, &root);
    assert_string_equal(kinds, "captain.started root.created captain.started ");
    arena_fini(&arena);
}

static void test_captain__a_first_start_killed_anywhere_is_completed_by_the_next(void **state)
{
    struct world *w = *state;
    struct rng rng;
    char kinds[1024];
    struct arena arena;
    struct bytes root = {0};
    uint64_t seed = getenv("SEED") ? strtoull(getenv("SEED"), NULL, 10) : (uint64_t)clock_mono_ns();
    rng_seed(&rng, seed);
    (void)fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    for (int i = 0; i < FIRST_STARTS; i++) {
        struct proc *proc = start(w, "one");
        (void)proc_wait(proc, (int64_t)rng_below(&rng, 600), NULL);
        proc_free(proc); /* SIGKILL */
    }
    while (hears(w, "READY=1", 0))
        continue;
    struct proc *proc = start(w, "one");
    assert_true(hears(w, "READY=1", WAIT_MS));
    assert_true(hears(w, "WATCHDOG=1", WAIT_MS));
    stop(w, proc);
    arena_init(&arena, 16 << 20);
    read_log(w, "one", kinds, &arena, &root);
    const char *first = strstr(kinds, "root.created");
    assert_non_null(first);
    assert_null(strstr(first + 1, "root.created"));
    arena_fini(&arena);
}

#define CAPTAIN_TEST(name) cmocka_unit_test_setup_teardown(test_captain__##name, set_up, tear_down)

int main(int argc, char **argv)
{
    if (argc == 4 && str_equal(argv[1], "serve"))
        return serve(argv);
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0)
        return 2;
    const struct CMUnitTest tests[] = {
        CAPTAIN_TEST(brings_the_root_into_a_new_log_and_ends_cleanly),
        CAPTAIN_TEST(a_second_one_is_refused_with_the_holder_named),
        CAPTAIN_TEST(keys_of_another_fleet_are_refused),
        CAPTAIN_TEST(lost_tables_come_back_from_the_stream),
        CAPTAIN_TEST(a_first_start_killed_anywhere_is_completed_by_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
