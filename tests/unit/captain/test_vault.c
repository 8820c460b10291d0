/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/io/vault.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/hash.h"
#include "tests/support/tempdir.h"

#define MASTER "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define OTHER "10112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

struct world {
    char *dir;
    struct vault *vault;
    struct arena arena;
    struct err err;
    uint8_t device_public[VAULT_KEY_BYTES], device_secret[VAULT_KEY_BYTES];
};

static void write_file(const char *dir, const char *name, const char *text, mode_t mode)
{
    char *path = tempdir_path(dir, name);
    tempdir_write(path, text, strlen(text));
    assert_int_equal(chmod(path, mode), 0);
    free(path);
}

static int set_up(void **state)
{
    struct world *w = mem_new(1, sizeof *w);
    w->dir = tempdir_make();
    arena_init(&w->arena, 1 << 20);
    write_file(w->dir, "master.key", MASTER "\n", 0600);
    assert_int_equal(vault_open("file:master.key", w->dir, &w->vault, &w->err), ERR_OK);
    crypto_box_keypair(w->device_public, w->device_secret);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    vault_close(w->vault);
    arena_fini(&w->arena);
    tempdir_remove(w->dir);
    mem_free(w);
    return 0;
}

static struct bytes sealed(struct world *w, const void *value, size_t len)
{
    uint8_t *box = arena_alloc(&w->arena, len + VAULT_SEAL_BYTES);
    assert_int_equal(crypto_box_seal(box, value, len, vault_public_key(w->vault)), 0);
    return bytes_of(box, len + VAULT_SEAL_BYTES);
}

static void expect(struct world *w, const char *spec, enum err_code code)
{
    struct vault *vault = NULL;
    w->err = (struct err){0};
    if (vault_open(spec, w->dir, &vault, &w->err) != code)
        fail_msg("%s: %s", spec, w->err.text);
    assert_null(vault);
    assert_true(code != ERR_OK && w->err.text[0]);
    assert_null(strstr(w->err.text, "0011223344")); /* not a word of a key */
}

static void test_vault__a_master_key_is_read_three_ways(void **state)
{
    struct world *w = *state;
    struct vault *vault = NULL;
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", w->dir, 1), 0);
    assert_int_equal(vault_open("credential:master.key", "/nowhere", &vault, &w->err), ERR_OK);
    assert_memory_equal(vault_public_key(vault), vault_public_key(w->vault), VAULT_KEY_BYTES);
    vault_close(vault);
    assert_int_equal(setenv("VAULT_TEST", MASTER, 1), 0);
    const char *there = getenv("VAULT_TEST");
    assert_int_equal(vault_open("env:VAULT_TEST", w->dir, &vault, &w->err), ERR_OK);
    assert_memory_equal(vault_public_key(vault), vault_public_key(w->vault), VAULT_KEY_BYTES);
    vault_close(vault);
    assert_null(getenv("VAULT_TEST"));
    assert_int_equal(there[0], '\0'); /* overwritten where it stood */
}

static void test_vault__what_is_no_master_key_is_refused(void **state)
{
    struct world *w = *state;
    write_file(w->dir, "open.key", MASTER, 0644);
    write_file(w->dir, "short.key", "0011", 0600);
    write_file(w->dir, "odd.key", "x" MASTER, 0600);
    write_file(w->dir, "long.key", MASTER MASTER, 0600);
    expect(w, "file:nothing.key", ERR_NOT_FOUND);
    expect(w, "file:open.key", ERR_DENIED);
    expect(w, "file:short.key", ERR_MALFORMED);
    expect(w, "file:odd.key", ERR_MALFORMED);
    expect(w, "file:long.key", ERR_SIZE);
    expect(w, "file:", ERR_USAGE);
    expect(w, "master.key", ERR_USAGE);
    expect(w, "env:", ERR_USAGE);
    expect(w, "env:NOT_SET_ANYWHERE", ERR_NOT_FOUND);
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", w->dir, 1), 0);
    expect(w, "credential:../master.key", ERR_USAGE);
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    expect(w, "credential:master.key", ERR_NOT_FOUND);
}

static void test_vault__another_key_has_another_check(void **state)
{
    struct world *w = *state;
    struct vault *other = NULL;
    uint8_t a[DIGEST_BYTES], b[DIGEST_BYTES];
    write_file(w->dir, "other.key", OTHER, 0600);
    assert_int_equal(vault_open("file:other.key", w->dir, &other, &w->err), ERR_OK);
    vault_check(w->vault, a);
    vault_check(other, b);
    assert_memory_not_equal(a, b, DIGEST_BYTES);
    const struct bytes box = sealed(w, "x", 1);
    assert_int_equal(vault_test(w->vault, box, &w->err), ERR_OK);
    assert_int_equal(vault_test(other, box, &w->err), ERR_DENIED);
    vault_close(other);
}

static void test_vault__a_value_reaches_a_device(void **state)
{
    struct world *w = *state;
    uint8_t digest[DIGEST_BYTES], value[VAULT_VALUE_MAX], opened[VAULT_VALUE_MAX];
    struct bytes box = {0}, again = {0};
    randombytes_buf(value, sizeof value);
    assert_int_equal(vault_put(w->dir, sealed(w, value, sizeof value), digest, &w->err), ERR_OK);
    assert_int_equal(vault_reseal(w->vault, digest, w->device_public, &w->arena, &box, &w->err),
                     ERR_OK);
    assert_int_equal(box.len, VAULT_SEALED_MAX);
    assert_int_equal(
        crypto_box_seal_open(opened, box.ptr, box.len, w->device_public, w->device_secret), 0);
    assert_memory_equal(opened, value, sizeof value);
    assert_int_equal(vault_reseal(w->vault, digest, w->device_public, &w->arena, &again, &w->err),
                     ERR_OK);
    assert_false(bytes_equal(box, again)); /* why the box is kept, not made anew */
}

static void test_vault__sizes_are_bounded(void **state)
{
    struct world *w = *state;
    static const uint8_t value[VAULT_VALUE_MAX + 1];
    assert_int_equal(vault_test(w->vault, sealed(w, value, 1), &w->err), ERR_OK);
    assert_int_equal(vault_test(w->vault, sealed(w, value, VAULT_VALUE_MAX), &w->err), ERR_OK);
    assert_int_equal(vault_test(w->vault, sealed(w, value, 0), &w->err), ERR_SIZE);
    assert_int_equal(vault_test(w->vault, sealed(w, value, sizeof value), &w->err), ERR_SIZE);
    assert_int_equal(vault_test(w->vault, bytes_of(value, 10), &w->err), ERR_SIZE);
    assert_int_equal(vault_test(w->vault, bytes_of(value, 60), &w->err), ERR_DENIED);
}

static char *file_of(struct world *w, const uint8_t digest[DIGEST_BYTES])
{
    char hex[DIGEST_HEX], name[DIGEST_HEX + 8];
    str_hex(bytes_of(digest, DIGEST_BYTES), hex);
    (void)snprintf(name, sizeof name, "secret/%s", hex);
    return tempdir_path(w->dir, name);
}

static void test_vault__a_changed_file_is_no_value(void **state)
{
    struct world *w = *state;
    struct stat st;
    struct bytes box;
    uint8_t digest[DIGEST_BYTES];
    assert_int_equal(vault_put(w->dir, sealed(w, "abc", 3), digest, &w->err), ERR_OK);
    char *path = file_of(w, digest);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    size_t len = 0;
    char *data = tempdir_read(path, &len);
    data[len - 1] ^= 1;
    tempdir_write(path, data, len);
    assert_int_equal(vault_reseal(w->vault, digest, w->device_public, &w->arena, &box, &w->err),
                     ERR_HASH);
    assert_int_equal(vault_remove(w->dir, digest, &w->err), ERR_OK);
    assert_int_equal(vault_remove(w->dir, digest, &w->err), ERR_OK);
    assert_int_equal(vault_reseal(w->vault, digest, w->device_public, &w->arena, &box, &w->err),
                     ERR_NOT_FOUND);
    free(data);
    free(path);
}

static bool keeps(void *arg, const uint8_t digest[DIGEST_BYTES])
{
    return memcmp(arg, digest, DIGEST_BYTES) == 0;
}

static void test_vault__what_nobody_names_is_swept_away(void **state)
{
    struct world *w = *state;
    uint8_t kept[DIGEST_BYTES], gone[DIGEST_BYTES];
    assert_int_equal(vault_sweep(w->dir, keeps, kept, &w->err), ERR_OK); /* no folder yet */
    assert_int_equal(vault_put(w->dir, sealed(w, "a", 1), kept, &w->err), ERR_OK);
    assert_int_equal(vault_put(w->dir, sealed(w, "b", 1), gone, &w->err), ERR_OK);
    write_file(w->dir, "secret/0123.tmp", "half", 0600);
    assert_int_equal(vault_sweep(w->dir, keeps, kept, &w->err), ERR_OK);
    char *kept_path = file_of(w, kept), *gone_path = file_of(w, gone);
    char *half = tempdir_path(w->dir, "secret/0123.tmp");
    assert_int_equal(access(kept_path, F_OK), 0);
    assert_int_equal(access(gone_path, F_OK), -1);
    assert_int_equal(access(half, F_OK), -1);
    free(kept_path);
    free(gone_path);
    free(half);
}

#define VAULT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        VAULT_TEST(test_vault__a_master_key_is_read_three_ways),
        VAULT_TEST(test_vault__what_is_no_master_key_is_refused),
        VAULT_TEST(test_vault__another_key_has_another_check),
        VAULT_TEST(test_vault__a_value_reaches_a_device),
        VAULT_TEST(test_vault__sizes_are_bounded),
        VAULT_TEST(test_vault__a_changed_file_is_no_value),
        VAULT_TEST(test_vault__what_nobody_names_is_swept_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
