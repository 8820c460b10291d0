/* SPDX-License-Identifier: Apache-2.0
 *
 * Flags and secrets in the tables, by the decisions that put them there.
 */
#include "tests/unit/captain/fixture.h"

#include "captain/desired_flags.h"
#include "captain/io/store/secret.h"
#include "captain/projection.h"
#include "common/base/cohort.h"

static void apply(struct fixture *f, uint64_t seq, const char *kind, const struct codec_type *type,
                  const void *body)
{
    struct log_entry entry = {.seq = seq,
                              .time_ms = FIXTURE_NOW_MS + (int64_t)seq,
                              .actor = "operator:alice",
                              .kind = kind,
                              .subject = "hello"};
    assert_ok(f, codec_encode(type, body, &f->arena, &entry.body, &f->err));
    assert_ok(f, projection_apply(f->db, f->artifacts, &entry, &f->err));
    assert_ok(f, db_commit(f->db, &f->err));
}

static void set_flag(struct fixture *f, uint64_t seq, const char *channel, const char *name,
                     const char *value, uint32_t permyriad)
{
    const struct flag_set flag = {.app = "hello",
                                  .channel = channel,
                                  .name = name,
                                  .value = value,
                                  .otherwise = "false",
                                  .permyriad = permyriad,
                                  .salt = arena_printf(&f->arena, "hello/%s", name)};
    apply(f, seq, "flag.set", &codec_flag_set, &flag);
}

static void test_store_setting__flags_are_set_and_unset(void **state)
{
    struct fixture *f = *state;
    struct store_flag *rows;
    size_t len = 0;
    set_flag(f, 1, "stable", "b", "true", 10000);
    set_flag(f, 2, "stable", "a", "true", 2500);
    set_flag(f, 3, "beta", "a", "x", 10000);
    set_flag(f, 4, "stable", "a", "yes", 5000);
    assert_ok(f, store_flag_list(f->db, "hello", "stable", &f->arena, &rows, &len, &f->err));
    assert_int_equal(len, 2);
    assert_string_equal(rows[0].name, "a");
    assert_string_equal(rows[0].value, "yes");
    assert_int_equal(rows[0].permyriad, 5000);
    assert_string_equal(rows[0].salt, "hello/a");
    assert_int_equal(rows[0].decision, 4);
    assert_int_equal(rows[0].set_ms, FIXTURE_NOW_MS + 4);
    assert_string_equal(rows[0].set_by, "operator:alice");
    const struct flag_unset unset = {.app = "hello", .channel = "stable", .name = "a"};
    apply(f, 5, "flag.unset", &codec_flag_unset, &unset);
    apply(f, 6, "flag.unset", &codec_flag_unset, &unset); /* the log may say so twice */
    assert_ok(f, store_flag_list(f->db, "", "", &f->arena, &rows, &len, &f->err));
    assert_int_equal(len, 2);
    assert_string_equal(rows[0].channel, "beta");
    assert_string_equal(rows[1].name, "b");
}

static void test_store_setting__raising_a_percentage_only_adds_devices(void **state)
{
    struct fixture *f = *state;
    const struct feature_flag *flags;
    size_t len = 0;
    uint64_t cut = 0;
    for (uint32_t permyriad = 1; permyriad <= 10000; permyriad += 1111) {
        set_flag(f, permyriad, "stable", "a", "true", permyriad);
        assert_ok(f,
                  desired_flags_read(f->db, "hello", "stable", &f->arena, &flags, &len, &f->err));
        assert_int_equal(len, 1);
        assert_string_equal(flags[0].salt, "hello/a"); /* the order of devices stays */
        assert_true(flags[0].cut > cut);
        cut = flags[0].cut;
        int in = 0;
        for (int i = 0; i < 1000; i++) {
            char device[16];
            (void)snprintf(device, sizeof device, "lab/d%d", i);
            in += cohort_hash(flags[0].salt, device) < cut;
        }
        assert_in_range(in, (int)permyriad / 10 > 60 ? (int)permyriad / 10 - 60 : 0,
                        (int)permyriad / 10 + 60);
    }
    assert_true(cut == COHORT_CUT_ALL);
}

static enum err_code check(struct fixture *f, const char *name, const char *value, size_t envelope)
{
    const struct flag_set flag = {.app = "hello",
                                  .channel = "stable",
                                  .name = name,
                                  .value = value,
                                  .otherwise = "",
                                  .permyriad = 10000,
                                  .salt = "hello/x"};
    f->err = (struct err){0};
    return desired_flags_check(f->db, &flag, envelope, &f->arena, &f->err);
}

static void test_store_setting__flags_that_do_not_fit_are_refused(void **state)
{
    struct fixture *f = *state;
    char value[1001], name[16];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (uint64_t i = 0; i < 23; i++) {
        (void)snprintf(name, sizeof name, "f%02d", (int)i);
        set_flag(f, i + 1, "stable", name, value, 10000);
    }
    assert_int_equal(check(f, "f23", "short", 30000), ERR_OK);
    assert_int_equal(check(f, "f22", value, 30000), ERR_OK); /* in place of itself */
    assert_int_equal(check(f, "f23", value, 30000), ERR_SIZE);
    assert_non_null(strstr(f->err.text, "room for 24576"));
    assert_non_null(strstr(f->err.hint, "flag unset"));
    /* A large cohort beside them leaves less. */
    assert_int_equal(check(f, "f23", "short", 65536), ERR_SIZE);
    assert_int_equal(check(f, "f22", "short", 65536), ERR_OK); /* it becomes smaller */
}

static void test_store_setting__flags_are_at_most_64(void **state)
{
    struct fixture *f = *state;
    char name[16];
    for (uint64_t i = 0; i < DESIRED_FLAGS_MAX; i++) {
        (void)snprintf(name, sizeof name, "f%02d", (int)i);
        set_flag(f, i + 1, "stable", name, "true", 10000);
    }
    assert_int_equal(check(f, "one-more", "true", 0), ERR_FULL);
    assert_int_equal(check(f, "f00", "false", 0), ERR_OK);
}

/* Secrets. */

static void set_secret(struct fixture *f, uint64_t seq, const char *name, const char *scope,
                       uint8_t digest, uint64_t version)
{
    uint8_t bytes[DIGEST_BYTES] = {digest};
    const struct secret_set set = {.app = "hello",
                                   .name = name,
                                   .scope = scope,
                                   .digest = bytes_of(bytes, sizeof bytes),
                                   .version = version};
    apply(f, seq, "secret.set", &codec_secret_set, &set);
}

static size_t secrets(struct fixture *f, struct store_secret **rows)
{
    size_t len = 0;
    assert_ok(f, store_secret_list(f->db, "", "", &f->arena, rows, &len, &f->err));
    return len;
}

static uint64_t last_version(struct fixture *f)
{
    uint64_t version = 0;
    assert_ok(f, store_secret_last_version(f->db, "hello", "db", &version, &f->err));
    return version;
}

static void test_store_setting__secrets_keep_their_versions_and_leave_garbage(void **state)
{
    struct fixture *f = *state;
    struct store_secret *rows;
    const uint8_t(*garbage)[DIGEST_BYTES];
    size_t len = 0;
    bool named = false;
    assert_int_equal(last_version(f), 0);
    set_secret(f, 1, "db", "", 1, 1);
    set_secret(f, 2, "db", "site:lab", 2, 2);
    set_secret(f, 3, "db", "", 3, 3);
    assert_int_equal(secrets(f, &rows), 2);
    assert_int_equal(rows[0].digest[0], 3);
    assert_int_equal(rows[0].version, 3);
    assert_string_equal(rows[1].scope, "site:lab");
    assert_ok(f, store_secret_garbage(f->db, &f->arena, &garbage, &len, &f->err));
    assert_int_equal(len, 1);
    assert_int_equal(garbage[0][0], 1);
    assert_ok(f, store_secret_garbage_gone(f->db, garbage[0], &f->err));
    const struct secret_removed removed = {.app = "hello", .name = "db", .scope = ""};
    apply(f, 4, "secret.removed", &codec_secret_removed, &removed);
    assert_int_equal(secrets(f, &rows), 1);
    assert_int_equal(last_version(f), 3); /* a new value will not look like an old one */
    assert_ok(f, store_secret_garbage(f->db, &f->arena, &garbage, &len, &f->err));
    assert_int_equal(len, 1);
    assert_int_equal(garbage[0][0], 3);
    assert_ok(f, store_secret_named(f->db, garbage[0], &named, &f->err));
    assert_false(named);
    assert_ok(f, store_secret_named(f->db, rows[0].digest, &named, &f->err));
    assert_true(named);
}

static void put_device(struct fixture *f, const char *device, uint64_t version, const char *box)
{
    const struct store_secret_device row = {.app = "hello",
                                            .name = "db",
                                            .scope = "",
                                            .version = version,
                                            .seal_key = bytes_of("key", 3),
                                            .sealed = bytes_of(box, strlen(box))};
    assert_ok(f, store_secret_device_put(f->db, device, &row, &f->err));
}

static void test_store_setting__a_device_confirms_what_a_document_brought(void **state)
{
    struct fixture *f = *state;
    struct store_secret_device *rows;
    const struct store_secret secret = {.app = "hello", .name = "db", .scope = "", .version = 1};
    const char **waiting;
    uint64_t devices = 0, confirmed = 0, waits = 0;
    size_t len = 0;
    put_device(f, "lab/a", 1, "boxa");
    put_device(f, "lab/b", 0, ""); /* no key: nothing to send */
    assert_ok(f, store_secret_device_issued(f->db, "lab/a", 7, &f->err));
    assert_ok(f, store_secret_device_issued(f->db, "lab/b", 7, &f->err));
    assert_ok(f, store_secret_device_waits(f->db, "lab/a", &waits, &f->err));
    assert_int_equal(waits, 7);
    assert_ok(f, store_secret_device_waits(f->db, "lab/b", &waits, &f->err));
    assert_int_equal(waits, 0);
    assert_ok(f, store_secret_device_confirm(f->db, "lab/a", 6, &f->err));
    assert_ok(f, store_secret_counts(f->db, &secret, &devices, &confirmed, &f->err));
    assert_int_equal(devices, 2);
    assert_int_equal(confirmed, 0);
    assert_ok(f, store_secret_device_issued(f->db, "lab/a", 9, &f->err)); /* the same box again */
    assert_ok(f, store_secret_device_list(f->db, "lab/a", &f->arena, &rows, &len, &f->err));
    assert_int_equal(len, 1);
    assert_int_equal(rows[0].generation, 7);
    assert_ok(f, store_secret_device_confirm(f->db, "lab/a", 8, &f->err));
    assert_ok(f, store_secret_counts(f->db, &secret, &devices, &confirmed, &f->err));
    assert_int_equal(confirmed, 1);
    assert_ok(f, store_secret_waiting(f->db, &secret, 20, &f->arena, &waiting, &len, &f->err));
    assert_int_equal(len, 1);
    assert_string_equal(waiting[0], "lab/b");
    put_device(f, "lab/a", 2, "boxb"); /* another value: to be confirmed anew */
    assert_ok(f, store_secret_counts(f->db, &secret, &devices, &confirmed, &f->err));
    assert_int_equal(confirmed, 0);
}

#define SETTING_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SETTING_TEST(test_store_setting__flags_are_set_and_unset),
        SETTING_TEST(test_store_setting__raising_a_percentage_only_adds_devices),
        SETTING_TEST(test_store_setting__flags_that_do_not_fit_are_refused),
        SETTING_TEST(test_store_setting__flags_are_at_most_64),
        SETTING_TEST(test_store_setting__secrets_keep_their_versions_and_leave_garbage),
        SETTING_TEST(test_store_setting__a_device_confirms_what_a_document_brought),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
