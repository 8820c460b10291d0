/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/config.h"
#include "agent/io/identity_files.h"
#include "common/base/rng.h"
#include "common/clock.h"
#include "tests/support/tempdir.h"

static char *dir;
static struct arena arena;
static struct err err;

static int setup(void **state)
{
    (void)state;
    dir = tempdir_make();
    arena_init(&arena, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tempdir_remove(dir);
    arena_fini(&arena);
    return 0;
}

static char *read_text(enum identity_file file)
{
    char path[IDENTITY_PATH_MAX];
    identity_files_path(dir, file, path);
    return tempdir_read(path, NULL);
}

static void make(struct identity_keys *ret)
{
    int lock_fd;
    if (identity_files_make(dir, &lock_fd, ret, &err) != ERR_OK)
        fail_msg("%s", err.text);
    (void)close(lock_fd);
}

static void test_identity_files__makes_keys_once(void **unused)
{
    (void)unused;
    struct identity_keys first, second, read;
    assert_int_equal(identity_files_keys(dir, &read, &err), ERR_NOT_FOUND);
    make(&first);
    make(&second);
    assert_memory_equal(&first, &second, sizeof first);
    assert_int_equal(identity_files_keys(dir, &read, &err), ERR_OK);
    assert_memory_equal(&first, &read, sizeof first);
    assert_memory_not_equal(first.seal_public, first.device.public_key, 32);
}

static void test_identity_files__never_overwrites_a_key_it_cannot_read(void **unused)
{
    (void)unused;
    struct identity_keys keys;
    char path[IDENTITY_PATH_MAX];
    int lock_fd;
    make(&keys);
    identity_files_path(dir, IDENTITY_DEVICE_KEY, path);
    tempdir_write(path, "spoilt\n", 7);
    assert_int_equal(identity_files_make(dir, &lock_fd, &keys, &err), ERR_MALFORMED);
    char *text = read_text(IDENTITY_DEVICE_KEY);
    assert_string_equal(text, "spoilt\n");
    free(text);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(identity_files_make(dir, &lock_fd, &keys, &err), ERR_DENIED);
}

static void test_identity_files__lets_one_enrol_at_a_time(void **unused)
{
    (void)unused;
    struct identity_keys keys;
    int first_fd, second_fd;
    assert_int_equal(identity_files_make(dir, &first_fd, &keys, &err), ERR_OK);
    assert_int_equal(identity_files_make(dir, &second_fd, &keys, &err), ERR_CONFLICT);
    assert_non_null(strstr(err.text, "captain-agent enroll"));
    (void)close(first_fd);
    make(&keys);
}

static void test_identity_files__closes_an_open_folder(void **unused)
{
    (void)unused;
    struct identity_keys keys;
    struct stat st;
    char *path = tempdir_path(dir, "identity");
    assert_int_equal(mkdir(path, 0755), 0);
    make(&keys);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    free(path);
}

static void write_for_ever(void)
{
    static char long_text[8192];
    struct identity_keys keys;
    int lock_fd;
    memset(long_text, 'b', sizeof long_text);
    for (;;) {
        char path[IDENTITY_PATH_MAX];
        identity_files_path(dir, IDENTITY_SEAL_KEY, path);
        (void)unlink(path);
        if (identity_files_make(dir, &lock_fd, &keys, NULL) == ERR_OK)
            (void)close(lock_fd);
        if (identity_files_write(dir, IDENTITY_CA, bytes_of("a", 1), NULL) != ERR_OK ||
            identity_files_write(dir, IDENTITY_CA, bytes_of(long_text, sizeof long_text), NULL) !=
                ERR_OK)
            _exit(EXIT_FAILURE);
    }
}

/* Killed at any moment, each file is the old one or the new one, and keys are whole or not there. */
static void test_identity_files__survives_kill_at_any_moment(void **unused)
{
    (void)unused;
    uint64_t seed;
    struct rng rng;
    clock_random(&seed, sizeof seed);
    print_message("seed %llu\n", (unsigned long long)seed);
    rng_seed(&rng, seed);
    for (int i = 0; i < 40; i++) {
        pid_t pid = fork();
        if (pid == 0)
            write_for_ever();
        int64_t until_ns = clock_mono_ns() + (int64_t)rng_below(&rng, 20000000);
        while (clock_mono_ns() < until_ns)
            ;
        assert_int_equal(kill(pid, SIGKILL), 0);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status)); /* it could write until then */
        struct identity_keys keys;
        enum err_code code = identity_files_keys(dir, &keys, &err);
        if (code != ERR_OK && code != ERR_NOT_FOUND)
            fail_msg("%s", err.text);
        char *ca = read_text(IDENTITY_CA);
        assert_true(!ca || strlen(ca) == 1 || strlen(ca) == 8192);
        free(ca);
    }
}

static void test_identity_files__keeps_the_servers(void **unused)
{
    (void)unused;
    static const char *const urls[] = {"tls://a:4222", "nats://b"}, *const bad[] = {"http://a"},
                             *const comma[] = {"tls://a,tls://b"};
    struct identity_keys keys;
    struct identity_nats nats;
    make(&keys);
    assert_int_equal(identity_files_read_nats(dir, &arena, &nats, &err), ERR_NOT_FOUND);
    assert_int_equal(identity_files_write_nats(dir, urls, 2, "acme", &err), ERR_OK);
    assert_int_equal(identity_files_read_nats(dir, &arena, &nats, &err), ERR_OK);
    assert_string_equal(nats.url, "tls://a:4222,nats://b");
    assert_string_equal(nats.tenant, "acme");
    assert_int_equal(identity_files_write_nats(dir, bad, 1, "acme", &err), ERR_MALFORMED);
    assert_int_equal(identity_files_write_nats(dir, comma, 1, "acme", &err), ERR_MALFORMED);
    assert_int_equal(identity_files_write_nats(dir, urls, 0, "acme", &err), ERR_MALFORMED);
    static const char *const broken[] = {"",
                                         "{}",
                                         "[]",
                                         "{\"urls\": [], \"tenant\": \"a\"}",
                                         "{\"urls\": [\"x\"], \"tenant\": \"a\"}",
                                         "{\"urls\": [\"tls://a\"], \"tenant\": \"a b\"}",
                                         "{\"urls\": [7], \"tenant\": \"a\"}"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        struct bytes text = bytes_of(broken[i], strlen(broken[i]));
        assert_int_equal(identity_files_write(dir, IDENTITY_NATS, text, &err), ERR_OK);
        assert_int_equal(identity_files_read_nats(dir, &arena, &nats, &err), ERR_MALFORMED);
    }
}

static enum err_code load(const char *more, struct config *ret)
{
    char *path = tempdir_path(dir, "agent.json");
    const char *text = arena_printf(&arena,
                                    "{\"device\": \"d\", \"site\": \"s\", \"folder\": \"%s\", "
                                    "\"apps\": {\"a\": {\"channel\": \"c\"}}%s}",
                                    dir, more);
    tempdir_write(path, text, strlen(text));
    enum err_code code = config_load(path, &arena, ret, &err);
    free(path);
    return code;
}

static void test_identity_files__fill_what_the_configuration_leaves_out(void **unused)
{
    (void)unused;
    static const char *const urls[] = {"tls://a:4222"};
    struct identity_keys keys;
    struct config config;
    assert_int_equal(load("", &config), ERR_MALFORMED);
    assert_non_null(strstr(err.text, "nats: is missing"));
    assert_non_null(strstr(err.hint, "captain-agent enroll"));

    make(&keys);
    assert_int_equal(identity_files_write_nats(dir, urls, 1, "acme", &err), ERR_OK);
    assert_int_equal(load("", &config), ERR_MALFORMED);
    assert_non_null(strstr(err.text, "root: is missing"));
    assert_int_equal(identity_files_write(dir, IDENTITY_ROOT, bytes_of("r", 1), &err), ERR_OK);
    assert_int_equal(identity_files_write(dir, IDENTITY_CA, bytes_of("c", 1), &err), ERR_OK);
    assert_int_equal(identity_files_write(dir, IDENTITY_ENROLL_CREDS, bytes_of("e", 1), &err),
                     ERR_OK);
    assert_int_equal(load("", &config), ERR_OK);
    assert_string_equal(config.nats_url, "tls://a:4222");
    assert_string_equal(config.tenant, "acme");
    assert_non_null(strstr(config.nats_creds, "/identity/device.creds"));
    assert_non_null(strstr(config.nats_ca, "/identity/ca.pem"));
    assert_non_null(strstr(config.root, "/root.dsse"));
    assert_true(config.renews);

    assert_int_equal(load(", \"tenant\": \"t\", \"root\": \"/r\", \"nats\": {\"url\": "
                          "\"nats://b\", \"creds\": \"/c\", \"ca\": \"/ca\"}",
                          &config),
                     ERR_OK);
    assert_string_equal(config.nats_url, "nats://b");
    assert_string_equal(config.tenant, "t");
    assert_string_equal(config.nats_creds, "/c");
    assert_string_equal(config.nats_ca, "/ca");
    assert_string_equal(config.root, "/r");
    assert_false(config.renews);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_identity_files__makes_keys_once),
        TEST(test_identity_files__never_overwrites_a_key_it_cannot_read),
        TEST(test_identity_files__lets_one_enrol_at_a_time),
        TEST(test_identity_files__closes_an_open_folder),
        TEST(test_identity_files__survives_kill_at_any_moment),
        TEST(test_identity_files__keeps_the_servers),
        TEST(test_identity_files__fill_what_the_configuration_leaves_out),
    };
    return cmocka_run_group_tests_name("identity_files", tests, NULL, NULL);
}
