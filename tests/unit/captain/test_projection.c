/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/captain/fixture.h"

#include <unistd.h>

#include "captain/io/store/channel.h"
#include "captain/io/store/release.h"
#include "captain/projection.h"

static enum err_code apply(struct fixture *f, uint64_t seq, const char *kind, struct bytes body)
{
    struct log_entry entry = {.seq = seq,
                              .time_ms = FIXTURE_NOW_MS + (int64_t)seq,
                              .actor = "operator:alice",
                              .kind = kind,
                              .subject = "",
                              .body = body,
                              .reason = "because"};
    enum err_code code = projection_apply(f->db, f->artifacts, &entry, &f->err);
    if (code == ERR_OK)
        return db_commit(f->db, &f->err);
    db_rollback(f->db);
    return code;
}

static void create(struct fixture *f, uint64_t seq, const char *app, const char *version,
                   uint64_t sequence, uint8_t ret_digest[DIGEST_BYTES])
{
    struct bytes envelope = fixture_release(f, app, version, sequence, ret_digest);
    assert_ok(f, apply(f, seq, "release.created", fixture_release_body(f, ret_digest, envelope)));
}

static void test_projection__brings_a_release_into_table_and_store(void **state)
{
    struct fixture *f = *state;
    struct store_release row;
    uint64_t last = 0;
    uint8_t digest[DIGEST_BYTES];
    char path[PATH_MAX];
    char hex[DIGEST_HEX];
    create(f, 3, "hello", "1.0", 7, digest);
    assert_ok(f, store_release_find(f->db, "hello", "1.0", &f->arena, &row, &f->err));
    assert_memory_equal(row.digest, digest, DIGEST_BYTES);
    assert_int_equal(row.sequence, 7);
    assert_int_equal(row.decision, 3);
    assert_int_equal(row.size_bytes, 1000);
    assert_string_equal(row.created_by, "operator:alice");
    assert_ok(f, store_release_last_sequence(f->db, "hello", &last, &f->err));
    assert_int_equal(last, 7);
    assert_ok(f, store_release_last_sequence(f->db, "other", &last, &f->err));
    assert_int_equal(last, 0);
    str_hex(bytes_of(digest, DIGEST_BYTES), hex);
    (void)snprintf(path, sizeof path, "%s/release/%s", f->dir, hex);
    size_t len = 0;
    char *text = tempdir_read(path, &len);
    assert_true(bytes_equal(bytes_of(text, len), row.envelope));
    free(text);
}

static void test_projection__moves_a_channel(void **state)
{
    struct fixture *f = *state;
    struct store_channel row;
    uint8_t one[DIGEST_BYTES];
    uint8_t two[DIGEST_BYTES];
    create(f, 1, "hello", "1.0", 1, one);
    create(f, 2, "hello", "1.1", 2, two);
    assert_ok(f, apply(f, 3, "channel.set", fixture_channel_body(f, "hello", "stable", one, NULL)));
    assert_ok(f, store_channel_get(f->db, "hello", "stable", &f->arena, &row, &f->err));
    assert_memory_equal(row.digest, one, DIGEST_BYTES);
    assert_false(row.has_base);
    assert_int_equal(row.generation, 0);
    assert_ok(f,
              store_channel_issued(f->db, "hello", "stable", 10, 5, bytes_of("doc", 3), &f->err));
    assert_ok(f, apply(f, 4, "channel.set", fixture_channel_body(f, "hello", "stable", two, one)));
    assert_ok(f, store_channel_get(f->db, "hello", "stable", &f->arena, &row, &f->err));
    assert_memory_equal(row.digest, two, DIGEST_BYTES);
    assert_true(row.has_base);
    assert_memory_equal(row.base_digest, one, DIGEST_BYTES);
    assert_int_equal(row.decision, 4);
    assert_int_equal(row.since_ms, FIXTURE_NOW_MS + 4);
    assert_string_equal(row.reason, "because");
    assert_int_equal(row.generation, 10); /* issuing is not the projection's */
    assert_true(row.unsent);
}

static void test_projection__the_mark_goes_only_with_the_newest_generation(void **state)
{
    struct fixture *f = *state;
    struct store_channel row;
    struct store_channel *unsent;
    size_t len = 9;
    uint8_t one[DIGEST_BYTES];
    create(f, 1, "hello", "1.0", 1, one);
    assert_ok(f, apply(f, 2, "channel.set", fixture_channel_body(f, "hello", "stable", one, NULL)));
    assert_ok(f,
              store_channel_issued(f->db, "hello", "stable", 10, 5, bytes_of("doc", 3), &f->err));
    assert_ok(f, store_channel_sent(f->db, "hello", "stable", 9, &f->err));
    assert_ok(f, store_channel_list_unsent(f->db, &f->arena, &unsent, &len, &f->err));
    assert_int_equal(len, 1);
    assert_ok(f, store_channel_sent(f->db, "hello", "stable", 10, &f->err));
    assert_ok(f, store_channel_list_unsent(f->db, &f->arena, &unsent, &len, &f->err));
    assert_int_equal(len, 0);
    assert_ok(f, store_channel_get(f->db, "hello", "stable", &f->arena, &row, &f->err));
    assert_int_equal(row.generation, 10);
    assert_int_equal(store_channel_issued(f->db, "hello", "none", 1, 1, bytes_of("x", 1), &f->err),
                     ERR_NOT_FOUND);
}

static void test_projection__refuses_what_contradicts_the_tables(void **state)
{
    struct fixture *f = *state;
    uint8_t one[DIGEST_BYTES];
    uint8_t other[DIGEST_BYTES];
    uint8_t unknown[DIGEST_BYTES] = {9};
    create(f, 1, "hello", "1.0", 1, one);
    create(f, 2, "world", "1.0", 1, other);
    assert_int_equal(
        apply(f, 3, "channel.set", fixture_channel_body(f, "hello", "stable", unknown, NULL)),
        ERR_NOT_FOUND);
    assert_int_equal(
        apply(f, 3, "channel.set", fixture_channel_body(f, "hello", "stable", other, NULL)),
        ERR_MALFORMED);
    uint8_t digest[DIGEST_BYTES];
    struct bytes again = fixture_release(f, "hello", "1.0", 2, digest);
    assert_int_equal(apply(f, 3, "release.created", fixture_release_body(f, digest, again)),
                     ERR_FAILED); /* the version is taken */
    struct bytes lower = fixture_release(f, "hello", "0.9", 3, digest);
    assert_int_equal(apply(f, 3, "release.created", fixture_release_body(f, unknown, lower)),
                     ERR_HASH);
    assert_int_equal(apply(f, 3, "release.created", bytes_of("\xff\xff", 2)), ERR_MALFORMED);
}

static void test_projection__knows_its_kinds_and_no_other(void **state)
{
    struct fixture *f = *state;
    struct captain_started started = {.holder = "h:1", .folder = "/x", .version = "0"};
    struct bytes body;
    assert_ok(f, codec_encode(&codec_captain_started, &started, &f->arena, &body, &f->err));
    assert_ok(f, apply(f, 1, "captain.started", body));
    assert_ok(f, apply(f, 2, "root.created", f->keys.root_envelope));
    assert_int_equal(apply(f, 3, "root.created", bytes_of("\xff", 1)), ERR_MALFORMED);
    assert_int_equal(apply(f, 3, "rollout.started", body), ERR_MALFORMED);
    assert_non_null(strstr(f->err.text, "rollout.started"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_projection__brings_a_release_into_table_and_store,
                                        fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_projection__moves_a_channel, fixture_set_up,
                                        fixture_tear_down),
        cmocka_unit_test_setup_teardown(
            test_projection__the_mark_goes_only_with_the_newest_generation, fixture_set_up,
            fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_projection__refuses_what_contradicts_the_tables,
                                        fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(test_projection__knows_its_kinds_and_no_other,
                                        fixture_set_up, fixture_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
