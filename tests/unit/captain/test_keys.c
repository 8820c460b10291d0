/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/captain/fixture.h"

#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"

static void path_of(const struct fixture *f, const char *name, char ret[static PATH_MAX])
{
    (void)snprintf(ret, PATH_MAX, "%s/%s", f->dir, name);
}

static void test_keys__are_made_once_and_loaded_after(void **state)
{
    struct fixture *f = *state;
    struct keys again;
    bool created = true;
    assert_ok(f, keys_open(f->dir, "default", FIXTURE_NOW_MS + 1, &again, &created, &f->err));
    assert_false(created);
    assert_memory_equal(again.desired.seed, f->keys.desired.seed, SIGN_SEED_BYTES);
    assert_true(bytes_equal(again.root_envelope, f->keys.root_envelope));
    assert_int_equal(again.root.version, 1);
    assert_int_equal(again.root.roles_len, 3);
    assert_int_equal(again.root.expires_ms, FIXTURE_NOW_MS + INT64_C(365) * 86400000);
    keys_close(&again);
}

static void test_keys__are_for_nobody_else(void **state)
{
    static const char *const names[] = {"keys", "keys/root.key", "keys/release.key",
                                        "keys/desired.key"};
    struct fixture *f = *state;
    char path[PATH_MAX];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct stat st;
        path_of(f, names[i], path);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 077, 0);
    }
}

static void test_keys__a_missing_one_is_named_and_not_replaced(void **state)
{
    static const char *const names[] = {"desired.key", "root.dsse"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct fixture f = {0};
        struct keys keys;
        bool created = false;
        char path[PATH_MAX];
        char name[64];
        fixture_open(&f);
        (void)snprintf(name, sizeof name, "keys/%s", names[i]);
        path_of(&f, name, path);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(keys_open(f.dir, "default", FIXTURE_NOW_MS, &keys, &created, &f.err),
                         ERR_FAILED);
        assert_non_null(strstr(f.err.text, path));
        assert_int_equal(access(path, F_OK), -1);
        fixture_close(&f);
    }
    (void)state;
}

static void test_keys__the_devices_copy_of_the_root_is_written_again(void **state)
{
    struct fixture *f = *state;
    struct keys keys;
    bool created = true;
    char path[PATH_MAX];
    path_of(f, "root.dsse", path);
    assert_int_equal(unlink(path), 0);
    assert_ok(f, keys_open(f->dir, "default", FIXTURE_NOW_MS, &keys, &created, &f->err));
    keys_close(&keys);
    size_t len = 0;
    char *text = tempdir_read(path, &len);
    assert_true(bytes_equal(bytes_of(text, len), f->keys.root_envelope));
    free(text);
    tempdir_write(path, "other", 5);
    assert_int_equal(keys_open(f->dir, "default", FIXTURE_NOW_MS, &keys, &created, &f->err),
                     ERR_ROOT_CHAIN);
}

static void test_keys__a_first_start_that_was_cut_off_begins_again(void **state)
{
    struct fixture *f = *state;
    struct keys keys;
    bool created = false;
    char *dir = tempdir_make();
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/keys.new", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/keys.new/root.key", dir);
    tempdir_write(path, "half", 4);
    assert_ok(f, keys_open(dir, "default", FIXTURE_NOW_MS, &keys, &created, &f->err));
    assert_true(created);
    keys_close(&keys);
    tempdir_remove(dir);
}

static void test_keys__of_another_tenant_are_refused(void **state)
{
    struct fixture *f = *state;
    struct keys keys;
    bool created = false;
    assert_int_equal(keys_open(f->dir, "acme", FIXTURE_NOW_MS, &keys, &created, &f->err),
                     ERR_USAGE);
    assert_non_null(strstr(f->err.text, "belongs to tenant \"default\", not to \"acme\""));
}

static void test_keys__a_root_of_other_keys_is_refused(void **state)
{
    struct fixture *f = *state;
    struct keys keys;
    struct sign_key other;
    bool created = false;
    char path[PATH_MAX];
    sign_key_new(&other);
    path_of(f, "keys/desired.key", path);
    assert_int_equal(unlink(path), 0);
    assert_ok(f, sign_key_save(&other, path, &f->err));
    assert_int_equal(keys_open(f->dir, "default", FIXTURE_NOW_MS, &keys, &created, &f->err),
                     ERR_ROOT_CHAIN);
}

static void test_keys__of_root_and_releases_may_be_elsewhere(void **state)
{
    struct fixture *f = *state;
    struct keys keys;
    bool created = false;
    char path[PATH_MAX];
    path_of(f, "keys/root.key", path);
    assert_int_equal(unlink(path), 0);
    path_of(f, "keys/release.key", path);
    assert_int_equal(unlink(path), 0);
    assert_ok(f, keys_open(f->dir, "default", FIXTURE_NOW_MS, &keys, &created, &f->err));
    assert_false(created);
    keys_close(&keys);
}

static void test_keys__open_only_releases_of_the_release_key(void **state)
{
    struct fixture *f = *state;
    struct release release;
    uint8_t digest[DIGEST_BYTES];
    uint8_t found[DIGEST_BYTES];
    struct bytes good = fixture_release(f, "hello", "1.0", 1, digest);
    assert_ok(f, keys_open_release(&f->keys, good, &f->arena, &release, found, &f->err));
    assert_string_equal(release.app, "hello");
    assert_memory_equal(found, digest, DIGEST_BYTES);
    f->release_key = f->keys.desired; /* a key of the fleet, but of another role */
    struct bytes forged = fixture_release(f, "hello", "1.0", 1, digest);
    assert_int_equal(keys_open_release(&f->keys, forged, &f->arena, &release, found, &f->err),
                     ERR_BAD_SIGNATURE);
}

static void test_keys__refuse_what_the_root_revoked_or_put_below_the_floor(void **state)
{
    struct fixture *f = *state;
    struct release release;
    uint8_t digest[DIGEST_BYTES];
    uint8_t found[DIGEST_BYTES];
    struct bytes envelope = fixture_release(f, "hello", "1.0", 4, digest);
    struct release_floor floor = {.app = "hello", .sequence = 5};
    struct bytes revoked = bytes_of(digest, DIGEST_BYTES);
    f->keys.root.floors = &floor;
    f->keys.root.floors_len = 1;
    assert_int_equal(keys_open_release(&f->keys, envelope, &f->arena, &release, found, &f->err),
                     ERR_ROLLBACK);
    floor.sequence = 4;
    assert_ok(f, keys_open_release(&f->keys, envelope, &f->arena, &release, found, &f->err));
    f->keys.root.revoked = &revoked;
    f->keys.root.revoked_len = 1;
    assert_int_equal(keys_open_release(&f->keys, envelope, &f->arena, &release, found, &f->err),
                     ERR_REVOKED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_keys__are_made_once_and_loaded_after, fixture_set_up,
                                        fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_keys__are_for_nobody_else, fixture_set_up,
                                        fixture_tear_down),
        cmocka_unit_test(test_keys__a_missing_one_is_named_and_not_replaced),
        cmocka_unit_test_setup_teardown(test_keys__the_devices_copy_of_the_root_is_written_again,
                                        fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_keys__a_first_start_that_was_cut_off_begins_again,
                                        fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_keys__of_another_tenant_are_refused, fixture_set_up,
                                        fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_keys__a_root_of_other_keys_is_refused, fixture_set_up,
                                        fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_keys__of_root_and_releases_may_be_elsewhere,
                                        fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_keys__open_only_releases_of_the_release_key,
                                        fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(
            test_keys__refuse_what_the_root_revoked_or_put_below_the_floor, fixture_set_up,
            fixture_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
