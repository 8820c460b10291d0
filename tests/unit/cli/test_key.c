/* SPDX-License-Identifier: Apache-2.0
 *
 * captain key new | ls | rm, and passphrases, asked for on a real terminal.
 */
#include <jansson.h>
#include <poll.h>
#include <pty.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/unit/cli/sign_world.h"

static void test_key__a_key_with_a_passphrase_signs_with_it_alone(void **state)
{
    struct world *world = *state;
    assert_int_equal(RUN(world, "key", "new", "dora", "--passphrase", "env://PASS"), 0);
    expect_said(world, "out", "dora.key");
    make_release(world, "bundle", "1.0", NULL);
    tempdir_write(at(world, "wrong"), "incorrect horse\n", 16);
    tempdir_write(at(world, "right"), "correct horse\n", 14);
    assert_int_equal(chmod(at(world, "wrong"), 0600), 0);
    assert_int_equal(chmod(at(world, "right"), 0644), 0);
    const char *key = "dora";
    assert_int_equal(RUN(world, "release", "sign", "bundle", "--key", key, "--passphrase", "wrong"),
                     4);
    expect_said(world, "err", "not the passphrase of the key dora");
    assert_int_equal(RUN(world, "release", "sign", "bundle", "--key", key, "--passphrase", "right"),
                     4);
    expect_said(world, "err", "may be read by others");
    assert_int_equal(signatures(world, "bundle/release.dsse"), 0);
    assert_int_equal(chmod(at(world, "right"), 0600), 0);
    assert_int_equal(RUN(world, "release", "sign", "bundle", "--key", key, "--passphrase", "right"),
                     0);
    assert_int_equal(signatures(world, "bundle/release.dsse"), 1);
    assert_int_equal(RUN(world, "release", "sign", "bundle", "--key", key, "--passphrase",
                         "env://NOBODY_SET_THIS"),
                     2);
}

static void test_key__a_new_key_is_only_for_its_owner_and_replaces_none(void **state)
{
    struct world *world = *state;
    struct stat st;
    assert_int_equal(RUN(world, "key", "new", "eve", "--passphrase", "/dev/null"), 2);
    expect_said(world, "err", "--yes");
    assert_int_equal(access(at(world, "captain/keys/eve.key"), F_OK), -1);
    assert_int_equal(RUN(world, "key", "new", "eve", "--yes", "--passphrase", "/dev/null"), 0);
    expect_said(world, "err", "not encrypted");
    assert_int_equal(stat(at(world, "captain/keys/eve.key"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(RUN(world, "key", "new", "eve", "--yes", "--passphrase", "/dev/null"), 5);
    assert_int_equal(RUN(world, "key", "new", "../eve", "--yes", "--passphrase", "/dev/null"), 2);

    assert_int_equal(RUN(world, "key", "ls", "--root", "root.dsse", "--json"), 0);
    json_t *json = json_loads(text_of(world, "out"), 0, NULL);
    json_t *list = json_object_get(json, "keys");
    assert_int_equal(json_array_size(list), 4);
    json_t *ada = json_array_get(list, 0);
    assert_string_equal(json_string_value(json_object_get(ada, "name")), "ada");
    assert_string_equal(json_string_value(json_object_get(ada, "roles")), "root, release");
    assert_true(json_is_false(json_object_get(ada, "encrypted")));
    assert_null(json_object_get(json_array_get(list, 3), "roles"));
    json_decref(json);

    assert_int_equal(RUN(world, "key", "rm", "eve", "--yes"), 0);
    assert_int_equal(RUN(world, "key", "rm", "eve", "--yes"), 3);
}

static void test_key__a_key_that_others_may_read_signs_nothing(void **state)
{
    struct world *world = *state;
    make_release(world, "bundle", "1.0", NULL);
    assert_int_equal(chmod(at(world, "captain/keys/ada.key"), 0640), 0);
    assert_int_equal(RUN(world, "release", "sign", "bundle", "--key", "ada"), 4);
    expect_said(world, "err", "chmod 600");
    assert_int_equal(RUN(world, "release", "sign", "bundle", "--key", "nobody"), 2);
    expect_said(world, "err", "there is no key nobody");
    assert_int_equal(signatures(world, "bundle/release.dsse"), 0);
}

/* A person at a terminal: what the program writes is gathered, up to a text. */
struct person {
    int fd;
    pid_t pid;
    char heard[4096];
    size_t len;
};

static void sit_down(struct world *world, struct person *person, const char *const *argv)
{
    *person = (struct person){.fd = -1};
    person->pid = forkpty(&person->fd, NULL, NULL, NULL);
    assert_true(person->pid >= 0);
    if (person->pid > 0)
        return;
    if (putenv(world->config) || chdir(world->dir))
        _exit(126);
    (void)execv(argv[0], (char *const *)argv);
    _exit(127);
}

static void hear(struct person *person, const char *text)
{
    int64_t end_ms = clock_mono_ms() + DEADLINE_MS;
    while (!strstr(person->heard, text)) {
        struct pollfd poll_fd = {.fd = person->fd, .events = POLLIN};
        int64_t left_ms = end_ms - clock_mono_ms();
        if (left_ms <= 0 || poll(&poll_fd, 1, (int)left_ms) <= 0)
            fail_msg("\"%s\" was not said, but:\n%s", text, person->heard);
        ssize_t n =
            read(person->fd, person->heard + person->len, sizeof person->heard - 1 - person->len);
        if (n <= 0)
            fail_msg("\"%s\" was not said to the end, but:\n%s", text, person->heard);
        person->len += (size_t)n;
        person->heard[person->len] = '\0';
    }
}

static void say(const struct person *person, const char *text)
{
    assert_int_equal(write(person->fd, text, strlen(text)), (ssize_t)strlen(text));
}

static int leave(struct person *person)
{
    int status = 0;
    char rest[256];
    while (read(person->fd, rest, sizeof rest) > 0)
        ;
    assert_int_equal(waitpid(person->pid, &status, 0), person->pid);
    (void)close(person->fd);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void test_key__a_passphrase_is_asked_for_twice_and_never_seen(void **state)
{
    struct world *world = *state;
    const char *const argv[] = {getenv("CAPTAIN_BIN"), "key", "new", "fay", NULL};
    struct person person;
    sit_down(world, &person, argv);
    hear(&person, "new key fay: ");
    say(&person, "first words\n");
    hear(&person, "once more: ");
    say(&person, "other words\n");
    hear(&person, "two passphrases");
    assert_int_equal(leave(&person), 2);
    assert_int_equal(access(at(world, "captain/keys/fay.key"), F_OK), -1);

    sit_down(world, &person, argv);
    hear(&person, "new key fay: ");
    say(&person, "first words\n");
    hear(&person, "once more: ");
    say(&person, "first words\n");
    hear(&person, "fay.key");
    assert_null(strstr(person.heard, "words"));
    assert_int_equal(leave(&person), 0);
    assert_int_equal(access(at(world, "captain/keys/fay.key"), F_OK), 0);
}

static void test_key__whoever_mistypes_is_asked_again(void **state)
{
    struct world *world = *state;
    struct person person;
    assert_int_equal(RUN(world, "key", "new", "dora", "--passphrase", "env://PASS"), 0);
    make_release(world, "bundle", "1.0", NULL);
    const char *const argv[] = {
        getenv("CAPTAIN_BIN"), "release", "sign", "bundle", "--key", "dora", NULL};
    sit_down(world, &person, argv);
    hear(&person, "passphrase of the key dora: ");
    assert_non_null(strstr(person.heard, "tool@1.0")); /* shown before it is asked */
    say(&person, "korrect horse\n");
    hear(&person, "this is not the passphrase of the key dora\r\npassphrase of the key dora: ");
    say(&person, "correct horse\n");
    hear(&person, "signed: 1");
    assert_int_equal(leave(&person), 0);

    sit_down(world, &person, argv);
    hear(&person, "passphrase of the key dora: ");
    say(&person, "\x03"); /* Ctrl-C */
    assert_int_equal(leave(&person), 130);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_key__a_key_with_a_passphrase_signs_with_it_alone),
        TEST(test_key__a_new_key_is_only_for_its_owner_and_replaces_none),
        TEST(test_key__a_key_that_others_may_read_signs_nothing),
        TEST(test_key__a_passphrase_is_asked_for_twice_and_never_seen),
        TEST(test_key__whoever_mistypes_is_asked_again),
    };
    return cmocka_run_group_tests_name("key", tests, NULL, NULL);
}
