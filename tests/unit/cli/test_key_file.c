/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/key_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "tests/support/tempdir.h"

#define PASSPHRASE "correct horse"

struct world {
    char *dir;
    char *path;
    struct sign_key key;
    const char *answer; /* what is said when the passphrase is asked for; NULL: nobody may ask */
    unsigned asked;
    char asked_for[TOKEN_MAX + 1];
    struct err err;
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    world->dir = tempdir_make();
    world->path = tempdir_path(world->dir, "ada.key");
    sign_key_new(&world->key);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    tempdir_remove(world->dir);
    free(world->path);
    free(world);
    return 0;
}

static enum err_code answer(void *arg, const char *name,
                            char ret[static KEY_FILE_PASSPHRASE_MAX + 1], struct err *err)
{
    struct world *world = arg;
    (void)err;
    if (!world->answer)
        fail_msg("asked for the passphrase of \"%s\"", name);
    world->asked++;
    assert_int_equal(str_copy(world->asked_for, sizeof world->asked_for, name), ERR_OK);
    return str_copy(ret, KEY_FILE_PASSPHRASE_MAX + 1, world->answer);
}

static void save(struct world *world, const char *passphrase)
{
    if (key_file_save(&world->key, "ada", passphrase, world->path, &world->err))
        fail_msg("%s", world->err.text);
}

static enum err_code load(struct world *world, struct sign_key *ret)
{
    world->err = (struct err){0};
    return key_file_load(world->path, answer, world, ret, &world->err);
}

static void expect_refused(struct world *world, enum err_code code, const char *text)
{
    struct sign_key key = {.seed = {7}};
    assert_int_equal(load(world, &key), code);
    if (!strstr(world->err.text, text))
        fail_msg("\"%s\" is not in \"%s\"", text, world->err.text);
    assert_int_equal(key.seed[0], 7);
}

static void expect_mode_0600(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void test_key_file__a_sealed_key_opens_with_its_passphrase_alone(void **state)
{
    struct world *world = *state;
    struct sign_key key;
    save(world, PASSPHRASE);
    expect_mode_0600(world->path);
    world->answer = PASSPHRASE;
    assert_int_equal(load(world, &key), ERR_OK);
    assert_memory_equal(key.seed, world->key.seed, SIGN_SEED_BYTES);
    assert_memory_equal(key.public_key, world->key.public_key, SIGN_PUBLIC_BYTES);
    assert_string_equal(world->asked_for, "ada");

    world->answer = "correct horsf";
    expect_refused(world, ERR_DENIED, "not the passphrase of the key ada");
    world->answer = "";
    expect_refused(world, ERR_DENIED, "not the passphrase");
    assert_int_equal(world->asked, 3);
}

static void test_key_file__the_seed_is_not_in_a_sealed_file(void **state)
{
    struct world *world = *state;
    char seed[2 * SIGN_SEED_BYTES + 1];
    char public_key[2 * SIGN_PUBLIC_BYTES + 1];
    save(world, PASSPHRASE);
    str_hex(bytes_of(world->key.seed, SIGN_SEED_BYTES), seed);
    str_hex(bytes_of(world->key.public_key, SIGN_PUBLIC_BYTES), public_key);
    char *text = tempdir_read(world->path, NULL);
    assert_non_null(strstr(text, public_key));
    assert_null(strstr(text, seed));
    assert_null(strstr(text, PASSPHRASE));
    free(text);
}

static void test_key_file__a_plain_key_is_taken_without_a_question(void **state)
{
    struct world *world = *state;
    struct sign_key key;
    save(world, NULL);
    expect_mode_0600(world->path);
    assert_int_equal(load(world, &key), ERR_OK);
    assert_memory_equal(key.seed, world->key.seed, SIGN_SEED_BYTES);
    assert_int_equal(sign_key_load(world->path, &key, &world->err), ERR_OK);
    assert_memory_equal(key.seed, world->key.seed, SIGN_SEED_BYTES);
}

static void test_key_file__a_file_of_sign_key_save_is_a_key_file(void **state)
{
    struct world *world = *state;
    struct sign_key key;
    assert_int_equal(sign_key_save(&world->key, world->path, &world->err), ERR_OK);
    assert_int_equal(load(world, &key), ERR_OK);
    assert_memory_equal(key.seed, world->key.seed, SIGN_SEED_BYTES);
}

static void test_key_file__what_others_may_read_is_refused(void **state)
{
    struct world *world = *state;
    static const mode_t modes[] = {0644, 0640, 0604, 0620, 0601};
    struct key_file file;
    save(world, NULL);
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        assert_int_equal(chmod(world->path, modes[i]), 0);
        expect_refused(world, ERR_DENIED, "may be read by others");
        assert_int_equal(strncmp(world->err.hint, "chmod 600 ", 10), 0);
        assert_int_equal(key_file_inspect(world->path, &file, &world->err), ERR_DENIED);
    }
}

static void test_key_file__a_key_is_never_replaced(void **state)
{
    struct world *world = *state;
    struct sign_key other;
    struct sign_key key;
    save(world, NULL);
    sign_key_new(&other);
    assert_int_equal(key_file_save(&other, "ada", NULL, world->path, &world->err), ERR_CONFLICT);
    assert_int_equal(key_file_save(&other, "ada", PASSPHRASE, world->path, &world->err),
                     ERR_CONFLICT);
    assert_int_equal(load(world, &key), ERR_OK);
    assert_memory_equal(key.seed, world->key.seed, SIGN_SEED_BYTES);
}

static void test_key_file__inspecting_needs_no_passphrase_and_keeps_no_secret(void **state)
{
    struct world *world = *state;
    static const uint8_t zeros[SIGN_SEED_BYTES];
    struct key_file file;
    save(world, PASSPHRASE);
    assert_int_equal(key_file_inspect(world->path, &file, &world->err), ERR_OK);
    assert_true(file.sealed);
    assert_string_equal(file.name, "ada");
    assert_memory_equal(file.public_key, world->key.public_key, SIGN_PUBLIC_BYTES);

    char *plain = tempdir_path(world->dir, "plain.key");
    assert_int_equal(key_file_save(&world->key, "ada", NULL, plain, &world->err), ERR_OK);
    assert_int_equal(key_file_inspect(plain, &file, &world->err), ERR_OK);
    assert_false(file.sealed);
    assert_memory_equal(file.public_key, world->key.public_key, SIGN_PUBLIC_BYTES);
    assert_memory_equal(file.seed, zeros, sizeof zeros);
    free(plain);
}

/* The file with the first old replaced by new. */
static void edit(struct world *world, const char *original, const char *old, const char *new)
{
    char text[KEY_FILE_MAX_BYTES];
    const char *at = strstr(original, old);
    assert_non_null(at);
    int len = snprintf(text, sizeof text, "%.*s%s%s", (int)(at - original), original, new,
                       at + strlen(old));
    assert_true(len > 0 && (size_t)len < sizeof text);
    tempdir_write(world->path, text, (size_t)len);
    assert_int_equal(chmod(world->path, 0600), 0);
}

static void test_key_file__every_rule_of_the_form_is_kept(void **state)
{
    struct world *world = *state;
    static const struct {
        const char *old, *new, *text;
    } rows[] = {
        {"\"captain_key\": 1", "\"captain_key\": 2", "\"captain_key\" must be a number"},
        {"\"captain_key\": 1", "\"captain_key\": \"1\"", "\"captain_key\" must be a number"},
        {"\"captain_key\": 1,", "", "\"captain_key\" must be a number"},
        {"\"name\": \"ada\"", "\"name\": \"a/b\"", "\"name\" must be a plain name"},
        {"\"name\": \"ada\"", "\"name\": \"\"", "\"name\" must be a plain name"},
        {"\"name\": \"ada\"", "\"name\": \"a\\u0000b\"", ":"},
        {"\"name\": \"ada\"", "\"name\": \"ada\", \"extra\": 1", "unknown key \"extra\""},
        {"\"name\": \"ada\"", "\"name\": \"ada\", \"name\": \"bob\"", "duplicate"},
        {"argon2id13", "scrypt", "\"algorithm\" must be"},
        {"\"ops\": 3", "\"ops\": 9", "\"ops\" must be a number from 1 to 8"},
        {"\"ops\": 3", "\"ops\": 0", "\"ops\" must be"},
        {"\"ops\": 3", "\"ops\": 3.0", "\"ops\" must be"},
        {"\"mem\": 268435456", "\"mem\": 1073741825", "\"mem\" must be"},
        {"\"mem\": 268435456", "\"mem\": 8191", "\"mem\" must be"},
        {"\"mem\": 268435456", "\"mem\": -1", "\"mem\" must be"},
        {"\"salt\": \"", "\"salt\": \"0", "\"salt\" must be 32 hexadecimal digits"},
        {"\"nonce\": \"", "\"nonce\": \"x", "\"nonce\" must be 48 hexadecimal digits"},
        {"\"box\": \"", "\"box\": \"00", "\"box\" must be 96 hexadecimal digits"},
        {"\"public\": \"", "\"public\": \"0", "\"public\" must be 64 hexadecimal digits"},
        {"\"kdf\": {", "\"kdf\": {\"parallel\": 4, ", "unknown key \"parallel\""},
    };
    save(world, PASSPHRASE);
    char *original = tempdir_read(world->path, NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        edit(world, original, rows[i].old, rows[i].new);
        expect_refused(world, ERR_MALFORMED, rows[i].text);
    }
    free(original);
}

static void test_key_file__another_public_key_than_the_one_inside_is_refused(void **state)
{
    struct world *world = *state;
    struct sign_key other;
    char ours[2 * SIGN_PUBLIC_BYTES + 1];
    char theirs[2 * SIGN_PUBLIC_BYTES + 1];
    save(world, PASSPHRASE);
    char *original = tempdir_read(world->path, NULL);
    sign_key_new(&other);
    str_hex(bytes_of(world->key.public_key, SIGN_PUBLIC_BYTES), ours);
    str_hex(bytes_of(other.public_key, SIGN_PUBLIC_BYTES), theirs);
    edit(world, original, ours, theirs);
    world->answer = PASSPHRASE;
    struct sign_key key;
    assert_int_equal(load(world, &key), ERR_MALFORMED);
    free(original);
}

static void test_key_file__what_is_no_key_is_refused_without_repeating_it(void **state)
{
    struct world *world = *state;
    static const char *const texts[] = {"",
                                        "hello",
                                        "{",
                                        "[]",
                                        "00112233445566778899aabbccddeeff00112233445566778899aabb"
                                        "ccddeefg\n",
                                        "00112233445566778899aabbccddeeff00112233445566778899aabb"
                                        "ccddeeff\n\n"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        tempdir_write(world->path, texts[i], strlen(texts[i]));
        assert_int_equal(chmod(world->path, 0600), 0);
        expect_refused(world, ERR_MALFORMED, world->path);
        assert_null(strstr(world->err.text, "00112233"));
    }
    char *large = calloc(1, KEY_FILE_MAX_BYTES + 2);
    memset(large, '0', KEY_FILE_MAX_BYTES + 1);
    tempdir_write(world->path, large, KEY_FILE_MAX_BYTES + 1);
    assert_int_equal(chmod(world->path, 0600), 0);
    expect_refused(world, ERR_SIZE, "more than 4096 bytes");
    free(large);
    assert_int_equal(remove(world->path), 0);
    expect_refused(world, ERR_NOT_FOUND, "does not exist");
    assert_int_equal(mkdir(world->path, 0700), 0);
    expect_refused(world, ERR_MALFORMED, "is no file");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_key_file__a_sealed_key_opens_with_its_passphrase_alone),
        TEST(test_key_file__the_seed_is_not_in_a_sealed_file),
        TEST(test_key_file__a_plain_key_is_taken_without_a_question),
        TEST(test_key_file__a_file_of_sign_key_save_is_a_key_file),
        TEST(test_key_file__what_others_may_read_is_refused),
        TEST(test_key_file__a_key_is_never_replaced),
        TEST(test_key_file__inspecting_needs_no_passphrase_and_keeps_no_secret),
        TEST(test_key_file__every_rule_of_the_form_is_kept),
        TEST(test_key_file__another_public_key_than_the_one_inside_is_refused),
        TEST(test_key_file__what_is_no_key_is_refused_without_repeating_it),
    };
    return cmocka_run_group_tests_name("key_file", tests, NULL, NULL);
}
