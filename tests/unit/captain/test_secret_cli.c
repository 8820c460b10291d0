/* SPDX-License-Identifier: Apache-2.0
 *
 * captain flag and captain secret, the real program, against a whole captain.
 */
#include "tests/unit/captain/setting_world.h"

enum { CLI_MS = 20000, WORDS_MAX = 24 };
static const char planted[] = "correct-horse-battery-staple-4711";

struct said {
    char *out, *err;
};

static void said_free(struct said *said)
{
    free(said->out);
    free(said->err);
    *said = (struct said){0};
}

static const char *const *command(struct world *w, const char *words)
{
    const char **argv = arena_alloc(&w->arena, (WORDS_MAX + 4) * sizeof *argv);
    char *copy = arena_strdup(&w->arena, words);
    size_t len = 0;
    argv[len++] = getenv("CAPTAIN_BIN");
    assert_non_null(argv[0]);
    argv[len++] = "--nats";
    argv[len++] = nats_server_url(w->server);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) {
        assert_true(len < WORDS_MAX);
        argv[len++] = word;
    }
    return argv;
}

/* words apart by blanks; the value of stdin comes from a file, or not. */
static int cli(struct world *w, const char *words, const char *in, struct said *ret)
{
    char *out = tempdir_path(w->dir, "cli.out"), *err = tempdir_path(w->dir, "cli.err");
    char *stdin_path = in ? tempdir_path(w->dir, in) : NULL;
    static const char *const env[] = {"CAPTAIN_OPERATOR=alice", "PLANTED=from-the-environment",
                                      NULL};
    tempdir_write(out, "", 0);
    tempdir_write(err, "", 0);
    const int status = proc_run(&(struct proc_options){.argv = command(w, words),
                                                       .env = env,
                                                       .in_path = stdin_path,
                                                       .out_path = out,
                                                       .err_path = err},
                                CLI_MS);
    if (ret)
        *ret = (struct said){tempdir_read(out, NULL), tempdir_read(err, NULL)};
    free(out);
    free(err);
    free(stdin_path);
    return status;
}

static void cli_ok(struct world *w, const char *words, const char *in, struct said *ret)
{
    struct said said = {0};
    const int status = cli(w, words, in, &said);
    if (status != 0)
        fail_msg("captain %s: %d\n%s%s", words, status, said.out, said.err);
    if (ret)
        *ret = said;
    else
        said_free(&said);
}

static void write_value(struct world *w, const char *value)
{
    char *path = tempdir_path(w->dir, "value");
    tempdir_write(path, value, strlen(value));
    free(path);
}

static void expect_sealed(struct world *w, const struct device_keys *keys, uint64_t *generation,
                          const char *value)
{
    const struct device_desired desired = wait_document(w, "lab/a", *generation);
    assert_int_equal(desired.secrets_len, 1);
    assert_secret(&desired.secrets[0], keys, "db", value);
    *generation = desired.generation;
}

static void test_secret_cli__values_come_from_file_stdin_and_environment(void **state)
{
    struct world *w = *state;
    struct device_keys keys;
    struct said said;
    uint64_t generation = 0;
    enrol(w, "lab/a", "approved", &keys);
    device_has(w, "lab.a", "stable", 0);
    wait_counts(w, 1, 0);
    write_value(w, planted);
    const char *set =
        arena_printf(&w->arena, "secret set hello/db --from %s/value --reason first", w->dir);
    cli_ok(w, set, NULL, &said);
    assert_non_null(strstr(said.out, "hello/db"));
    assert_null(strstr(said.out, planted));
    assert_null(strstr(said.err, planted));
    said_free(&said);
    expect_sealed(w, &keys, &generation, planted);
    write_value(w, "two\n");
    cli_ok(w, "secret set hello/db --from -", "value", &said);
    assert_non_null(strstr(said.err, "ends with a newline, which is part of it"));
    said_free(&said);
    expect_sealed(w, &keys, &generation, "two\n");
    cli_ok(w, "secret set hello/db --from env://PLANTED --site lab", NULL, NULL);
    expect_sealed(w, &keys, &generation, "from-the-environment");
    cli_ok(w, "secret ls hello", NULL, &said);
    assert_non_null(strstr(said.out, "site:lab"));
    assert_non_null(strstr(said.out, "0 of 1"));
    assert_non_null(strstr(said.out, "lab/a"));
    said_free(&said);
}

static void test_secret_cli__a_rotated_value_is_seen_by_nobody(void **state)
{
    struct world *w = *state;
    struct device_keys keys;
    struct said said;
    uint8_t opened[64] = "";
    enrol(w, "lab/a", "approved", &keys);
    device_has(w, "lab.a", "stable", 0);
    wait_counts(w, 1, 0);
    assert_int_equal(cli(w, "secret rotate hello/db", NULL, NULL), ERR_NOT_FOUND);
    cli_ok(w, "secret set hello/db --from env://PLANTED", NULL, NULL);
    const struct device_desired first = wait_document(w, "lab/a", 0);
    cli_ok(w, "secret rotate hello/db --json", NULL, &said);
    const struct device_desired second = wait_document(w, "lab/a", first.generation);
    const struct sealed_secret *secret = &second.secrets[0];
    assert_int_equal(secret->version, 2);
    assert_int_equal(secret->sealed.len, 43 + crypto_box_SEALBYTES); /* 32 bytes, base64url */
    assert_int_equal(crypto_box_seal_open(opened, secret->sealed.ptr, secret->sealed.len,
                                          keys.public_key, keys.secret_key),
                     0);
    assert_int_equal(strspn((const char *)opened, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuv"
                                                  "wxyz0123456789_-"),
                     43);
    assert_null(strstr(said.out, (const char *)opened));
    assert_null(strstr(said.err, (const char *)opened));
    said_free(&said);
}

static void test_secret_cli__waits_until_every_device_has_it(void **state)
{
    struct world *w = *state;
    struct device_keys keys;
    enrol(w, "lab/a", "approved", &keys);
    device_has(w, "lab.a", "stable", 0);
    wait_counts(w, 1, 0);
    char *out = tempdir_path(w->dir, "wait.out");
    static const char *const env[] = {"PLANTED=x", NULL};
    struct proc *proc = proc_start(&(struct proc_options){
        .argv = command(w, "secret set hello/db --from env://PLANTED --wait"),
        .env = env,
        .out_path = out});
    const struct device_desired desired = wait_document(w, "lab/a", 0);
    wait_confirmed(w, 0, 0, 1);
    assert_false(proc_wait(proc, 700, NULL)); /* longer than it takes to look again */
    device_has(w, "lab.a", "stable", desired.generation);
    int status = -1;
    assert_true(proc_wait(proc, CLI_MS, &status));
    proc_free(proc);
    assert_int_equal(status, 0);
    char *said = tempdir_read(out, NULL);
    assert_non_null(strstr(said, "1 of 1"));
    free(said);
    free(out);
}

static void test_secret_cli__removing_asks(void **state)
{
    struct world *w = *state;
    struct said said;
    cli_ok(w, "secret set hello/db --from env://PLANTED", NULL, NULL);
    assert_int_equal(cli(w, "secret rm hello/db", NULL, &said), ERR_USAGE); /* nobody to ask */
    assert_non_null(strstr(said.err, "--yes"));
    said_free(&said);
    assert_int_equal(list_secrets(w).secrets_len, 1);
    cli_ok(w, "secret rm hello/db --yes --reason old", NULL, &said);
    assert_non_null(strstr(said.err, "no secrets"));
    said_free(&said);
    assert_int_equal(list_secrets(w).secrets_len, 0);
}

static void test_secret_cli__bad_words_change_nothing(void **state)
{
    struct world *w = *state;
    struct said said;
    assert_int_equal(cli(w, "secret set hello/db hunter2", NULL, &said), ERR_USAGE);
    assert_non_null(strstr(said.err, "cannot be an argument"));
    assert_null(strstr(said.err, "hunter2"));
    said_free(&said);
    assert_int_equal(cli(w, "secret set hello/db", NULL, &said), ERR_USAGE);
    assert_non_null(strstr(said.err, "--from FILE"));
    said_free(&said);
    assert_int_equal(cli(w, "secret set hello/db --from -", NULL, NULL), ERR_USAGE); /* empty */
    assert_int_equal(cli(w, "flag set hello/stable a true --percent 0", NULL, NULL), ERR_USAGE);
    assert_int_equal(cli(w, "flag unset hello/stable a", NULL, NULL), ERR_NOT_FOUND);
    assert_int_equal(list_secrets(w).secrets_len, 0);
}

static void test_secret_cli__flags_are_set_listed_and_unset(void **state)
{
    struct world *w = *state;
    struct said said;
    cli_ok(w, "flag set hello/stable dark true --percent 12.5 --reason try", NULL, &said);
    assert_non_null(strstr(said.out, "12.5 %"));
    assert_non_null(strstr(said.out, "false"));
    said_free(&said);
    cli_ok(w, "flag set hello/stable color blue", NULL, NULL);
    cli_ok(w, "flag ls hello/stable", NULL, &said);
    assert_non_null(strstr(said.out, "dark"));
    assert_non_null(strstr(said.out, "100 %"));
    said_free(&said);
    cli_ok(w, "flag unset hello/stable dark", NULL, &said);
    assert_null(strstr(said.out, "dark"));
    assert_non_null(strstr(said.out, "color"));
    said_free(&said);
    cli_ok(w, "log ls --kind flag.set", NULL, &said);
    assert_non_null(strstr(said.out, "try"));
    said_free(&said);
}

/* The contexts of whoever runs the tests are not asked. */
static int set_up_cli(void **state)
{
    assert_int_equal(setenv("XDG_CONFIG_HOME", "/nonexistent", 1), 0);
    return set_up_vault(state);
}

#define CLI_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_cli, tear_down)

int main(int argc, char **argv)
{
    if (argc == 4 && str_equal(argv[1], "serve"))
        return setting_main(argv[2], argv[3]);
    const struct CMUnitTest tests[] = {
        CLI_TEST(test_secret_cli__values_come_from_file_stdin_and_environment),
        CLI_TEST(test_secret_cli__a_rotated_value_is_seen_by_nobody),
        CLI_TEST(test_secret_cli__waits_until_every_device_has_it),
        CLI_TEST(test_secret_cli__removing_asks),
        CLI_TEST(test_secret_cli__bad_words_change_nothing),
        CLI_TEST(test_secret_cli__flags_are_set_listed_and_unset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
