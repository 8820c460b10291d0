/* SPDX-License-Identifier: Apache-2.0
 *
 * A captain (this program again, as a child) that decides without pause and writes what was
 * acknowledged to a pipe is killed at random moments, sometimes nats-server with it. After each
 * round both copies agree, and everything acknowledged is there exactly once.
 */
#include "tests/unit/captain/log_actor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "common/base/rng.h"
#include "common/clock.h"

enum { ROUNDS = 20, ALIVE_MIN_MS = 20, ALIVE_MAX_MS = 250, ACKED_MAX = 200000 };

struct acked {
    uint64_t seq;
    char name[32];
};

/* The child. */

struct teller {
    struct actor actor;
    struct order orders[8];
    unsigned round, next;
};

static void tell(const struct order *order)
{
    struct acked acked = {.seq = order->seq};
    memcpy(acked.name, order->name, sizeof acked.name);
    if (write(STDOUT_FILENO, &acked, sizeof acked) != (ssize_t)sizeof acked)
        _exit(3);
}

static void refill(struct teller *t)
{
    for (size_t i = 0; i < ARRAY_LEN(t->orders); i++) {
        struct order *order = &t->orders[i];
        if (order->calls > 0 && !order->done)
            continue;
        if (order->done && order->err.code == ERR_OK)
            tell(order);
        *order = (struct order){.calls = 0};
        (void)snprintf(order->name, sizeof order->name, "r%u-%u", t->round, t->next++);
        order->calls = 1; /* submitted; done makes it 2 */
        if (decisions_submit(t->actor.decisions, order_prepare, order_done, order, &t->actor.err) !=
            ERR_OK)
            _exit(4);
    }
}

/* url folder round. Ends when it is killed, or lost. */
static int be_captain(char **argv)
{
    static struct teller teller;
    struct loop *loop = NULL;
    struct err err = {0};
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    teller.round = (unsigned)strtoul(argv[4], NULL, 10);
    if (loop_open(&loop, &err) != ERR_OK)
        return 2;
    actor_open(&teller.actor, loop, argv[2], argv[3], argv[4]);
    while (teller.actor.lost.code == ERR_OK) {
        loop_turn(loop, 100);
        if (teller.actor.ready > 0)
            refill(&teller);
    }
    (void)fprintf(stderr, "lost: %s\n", teller.actor.lost.text);
    return 1;
}

/* The parent. */

static struct acked acked[ACKED_MAX];
static size_t acked_len;

static pid_t start_captain(const char *url, const char *dir, unsigned round, int *ret_fd)
{
    int fds[2];
    char text[16];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    (void)snprintf(text, sizeof text, "%u", round);
    char *argv[] = {(char *)(uintptr_t) "captain",
                    (char *)(uintptr_t) "captain",
                    (char *)(uintptr_t)url,
                    (char *)(uintptr_t)dir,
                    text,
                    NULL};
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)dup2(fds[1], STDOUT_FILENO);
        (void)execv("/proc/self/exe", argv);
        _exit(127);
    }
    (void)close(fds[1]);
    *ret_fd = fds[0];
    return pid;
}

static bool read_one(int fd, int wait_ms)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    assert_true(acked_len < ACKED_MAX);
    if (poll(&poll_fd, 1, wait_ms) <= 0)
        return false;
    ssize_t got = read(fd, &acked[acked_len], sizeof acked[0]); /* written whole: below PIPE_BUF */
    if (got != (ssize_t)sizeof acked[0])
        return false;
    acked_len++;
    return true;
}

static void read_for(int fd, int64_t ms)
{
    int64_t until_ms = clock_mono_ms() + ms;
    for (int64_t now_ms = clock_mono_ms(); now_ms < until_ms; now_ms = clock_mono_ms())
        (void)read_one(fd, (int)(until_ms - now_ms));
}

static void kill_captain(pid_t pid)
{
    int status = 0;
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status)); /* it did not end by itself */
}

/* Starts a captain in this process: it completes the copies; then looks. */
static void check(const char *url, const char *dir)
{
    struct actor actor;
    struct loop *loop = NULL;
    struct err err = {0};
    assert_int_equal(loop_open(&loop, &err), ERR_OK);
    actor_lead(&actor, loop, url, dir, "check:1");
    uint64_t last = decisions_last_seq(actor.decisions);
    assert_copies_agree(&actor, last > 200 ? last - 200 : 1, last);
    struct arena arena;
    struct store_log_row *rows = NULL;
    size_t notes = 0;
    arena_init(&arena, 256 << 20);
    assert_int_equal(
        store_log_list(actor.db, 0, "test.note", "", UINT32_MAX, &arena, &rows, &notes, &actor.err),
        ERR_OK);
    assert_int_equal(setting_of(&actor, "notes"), (int64_t)notes); /* applied once each */
    for (size_t i = 0; i < acked_len; i++) {
        struct store_log_row *found = NULL;
        size_t len = 0;
        assert_int_equal(store_log_list(actor.db, 0, "test.note", acked[i].name, 5, &arena, &found,
                                        &len, &actor.err),
                         ERR_OK);
        if (len != 1 || found[0].seq != acked[i].seq)
            fail_msg("%s was acknowledged at %llu and is there %zu times", acked[i].name,
                     (unsigned long long)acked[i].seq, len);
    }
    arena_fini(&arena);
    actor_close(&actor);
    loop_close(loop);
}

static void test_decision__survives_kills_at_any_moment(void **state)
{
    (void)state;
    struct rng rng;
    uint64_t seed = (uint64_t)clock_mono_ns();
    if (getenv("SEED"))
        seed = strtoull(getenv("SEED"), NULL, 10);
    rng_seed(&rng, seed);
    (void)fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    struct nats_server *server = nats_server_start(NULL);
    char *dir = tempdir_make();
    for (unsigned round = 0; round < ROUNDS; round++) {
        int fd = -1;
        bool server_too = rng_below(&rng, 3) == 0;
        pid_t pid = start_captain(nats_server_url(server), dir, round, &fd);
        assert_true(read_one(fd, WAIT_MS)); /* it decides */
        read_for(fd, ALIVE_MIN_MS + (int64_t)rng_below(&rng, ALIVE_MAX_MS - ALIVE_MIN_MS));
        if (server_too) {
            nats_server_kill(server);
            read_for(fd, (int64_t)rng_below(&rng, 30));
            nats_server_restart(server, NULL);
            read_for(fd, (int64_t)rng_below(&rng, 300));
        }
        kill_captain(pid);
        while (read_one(fd, 0))
            continue;
        (void)close(fd);
        check(nats_server_url(server), dir);
    }
    (void)fprintf(stderr, "%zu decisions acknowledged in %d rounds\n", acked_len, ROUNDS);
    assert_true(acked_len > ROUNDS);
    nats_server_free(server);
    tempdir_remove(dir);
}

int main(int argc, char **argv)
{
    if (argc == 5 && str_equal(argv[1], "captain"))
        return be_captain(argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decision__survives_kills_at_any_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
