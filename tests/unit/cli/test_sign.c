/* SPDX-License-Identifier: Apache-2.0
 *
 * captain release create --output | sign | assemble | verify
 */
#include <jansson.h>

#include "tests/unit/cli/sign_world.h"

static int verify(struct world *world, const char *file)
{
    return RUN(world, "release", "verify", file, "--root", "root.dsse");
}

/* Puts a release (changed by the test) into an envelope signed by ada and carl. */
static void write_release(struct world *world, const char *name, const struct release *release)
{
    const struct sign_key keys[] = {world->keys[ADA], world->keys[CARL]};
    struct bytes payload;
    struct bytes envelope = {0};
    if (codec_encode(&codec_release, release, &world->arena, &payload, &world->err) ||
        sign_seal(SIGN_TYPE_RELEASE, payload, keys, 2, &world->arena, &envelope, &world->err))
        fail_msg("%s", world->err.text);
    write_bytes(world, name, envelope);
}

static struct release release_of(struct world *world, const char *name)
{
    struct release release;
    struct envelope envelope = envelope_of(world, name);
    assert_int_equal(
        codec_decode(&codec_release, envelope.payload, &world->arena, &release, &world->err),
        ERR_OK);
    return release;
}

static void test_sign__two_people_sign_two_of_two(void **state)
{
    struct world *world = *state;
    make_release(world, "bundle", "1.0", NULL);
    expect_said(world, "err", "not signed yet");
    assert_int_equal(signatures(world, "bundle/release.dsse"), 0);
    assert_int_equal(verify(world, "bundle"), 10);

    write_bytes(world, "copy.dsse", read_bytes(world, "bundle/release.dsse"));
    sign(world, "bundle", "ada");
    expect_said(world, "out", "tool@1.0");
    expect_said(world, "out", "8f6a1c0d3b5e7f9a1c2d4e6f8091a2b3c4d5e6f7");
    expect_said(world, "out", "payload");
    assert_int_equal(verify(world, "bundle"), 11);
    expect_said(world, "out", "1 key, needed 2");
    expect_said(world, "err", "signed by 1 of the keys that may, 2 are needed");

    sign(world, "copy.dsse", "carl");
    assert_int_equal(verify(world, "copy.dsse"), 11);
    assert_int_equal(RUN(world, "release", "assemble", "bundle", "copy.dsse"), 0);
    expect_said(world, "err", "1 new signature");
    assert_int_equal(verify(world, "bundle"), 0);
    expect_said(world, "out", "2 keys, needed 2");
    expect_said(world, "out", "1 with the right hash");
    expect_said(world, "out", "valid");
    assert_int_equal(RUN(world, "release", "assemble", "bundle", "copy.dsse"), 0);
    expect_said(world, "err", "nothing new");
    assert_int_equal(signatures(world, "bundle/release.dsse"), 2);
}

static void test_sign__one_key_twice_is_one_key(void **state)
{
    struct world *world = *state;
    make_release(world, "bundle", "1.0", NULL);
    sign(world, "bundle", "ada");
    sign(world, "bundle", "ada");
    assert_int_equal(signatures(world, "bundle/release.dsse"), 1);
    assert_int_equal(RUN(world, "release", "sign", "bundle", "--key", "ada,captain/keys/ada.key"),
                     2);
    expect_said(world, "err", "are one key");

    /* What this program does not do, somebody else may. */
    const struct sign_key twice[] = {world->keys[ADA], world->keys[ADA]};
    struct bytes forged;
    struct envelope envelope = envelope_of(world, "bundle/release.dsse");
    assert_int_equal(sign_seal(SIGN_TYPE_RELEASE, envelope.payload, twice, 2, &world->arena,
                               &forged, &world->err),
                     ERR_OK);
    write_bytes(world, "forged.dsse", forged);
    assert_int_equal(signatures(world, "forged.dsse"), 2);
    assert_int_equal(verify(world, "forged.dsse"), 11);
}

static void test_sign__several_keys_sign_at_once(void **state)
{
    struct world *world = *state;
    make_release(world, "bundle", "1.0", "ada,carl");
    assert_int_equal(verify(world, "bundle"), 0);
    assert_int_equal(RUN(world, "release", "verify", "bundle", "--root", "root.dsse", "--json"), 0);
    json_t *json = json_loads(text_of(world, "out"), 0, NULL);
    assert_int_equal(json_array_size(json_object_get(json, "signers")), 2);
    assert_string_equal(json_string_value(json_object_get(json, "verdict")), "valid");
    json_decref(json);
}

static void test_sign__a_stranger_counts_for_nothing(void **state)
{
    struct world *world = *state;
    make_release(world, "bundle", "1.0", "bob");
    assert_int_equal(verify(world, "bundle"), 10);
    assert_int_equal(RUN(world, "release", "sign", "bundle", "--key", "bob", "--root", "root.dsse"),
                     0);
    expect_said(world, "err", "bob may not sign releases");
    sign(world, "bundle", "ada");
    assert_int_equal(verify(world, "bundle"), 11);
}

static void test_sign__what_was_edited_is_refused(void **state)
{
    struct world *world = *state;
    make_release(world, "bundle", "1.0", "ada,carl");
    struct release release = release_of(world, "bundle/release.dsse");
    struct envelope envelope = envelope_of(world, "bundle/release.dsse");
    struct bytes bytes;
    release.sequence++;
    assert_int_equal(
        codec_encode(&codec_release, &release, &world->arena, &envelope.payload, &world->err),
        ERR_OK);
    assert_int_equal(codec_encode(&codec_envelope, &envelope, &world->arena, &bytes, &world->err),
                     ERR_OK);
    write_bytes(world, "edited.dsse", bytes);
    assert_int_equal(verify(world, "edited.dsse"), 10);

    bytes = read_bytes(world, "bundle/release.dsse");
    write_bytes(world, "cut.dsse", bytes_of(bytes.ptr, bytes.len - 1));
    assert_int_equal(verify(world, "cut.dsse"), 18);
}

static void test_sign__every_reason_has_its_exit_code(void **state)
{
    struct world *world = *state;
    make_release(world, "bundle", "1.0", "ada,carl");
    struct release release = release_of(world, "bundle/release.dsse");
    release.created_ms = 1000;
    release.expires_ms = clock_unix_ms() - 1000;
    write_release(world, "expired.dsse", &release);
    assert_int_equal(verify(world, "expired.dsse"), 12);

    int64_t later_ms = clock_unix_ms() + ROOT_DOCUMENT_VALID_MS;
    const struct release_floor floor = {.app = "tool", .sequence = 8};
    write_root(world, "root.dsse", later_ms, &floor, NULL);
    assert_int_equal(verify(world, "bundle"), 13);
    expect_said(world, "err", "below the floor 8");

    struct document document;
    assert_int_equal(document_read(SIGN_TYPE_RELEASE, at(world, "bundle"), &world->arena, &document,
                                   &world->err),
                     ERR_OK);
    const struct bytes revoked = bytes_of(document.digest, DIGEST_BYTES);
    write_root(world, "root.dsse", later_ms, NULL, &revoked);
    assert_int_equal(verify(world, "bundle"), 17);

    write_root(world, "root.dsse", clock_unix_ms() - 1000, NULL, NULL);
    assert_int_equal(verify(world, "bundle"), 12);
}

static void test_sign__the_files_of_a_folder_are_what_the_release_says(void **state)
{
    struct world *world = *state;
    make_release(world, "bundle", "1.0", "ada,carl");
    struct release release = release_of(world, "bundle/release.dsse");
    char hex[DIGEST_HEX];
    str_hex(release.artifacts[0].sha256, hex);
    const char *path = arena_printf(&world->arena, "%s/bundle/artifacts/%s", world->dir, hex);
    tempdir_write(path, "what runt", 9);
    assert_int_equal(verify(world, "bundle"), 14);
    assert_int_equal(verify(world, "bundle/release.dsse"), 0);
    tempdir_write(path, "what", 4);
    assert_int_equal(verify(world, "bundle"), 15);
    assert_int_equal(remove(path), 0);
    assert_int_equal(verify(world, "bundle"), 3);
}

static void test_sign__copies_of_another_release_are_refused_with_both_digests(void **state)
{
    struct world *world = *state;
    char ours[DIGEST_HEX];
    char theirs[DIGEST_HEX];
    struct document document;
    make_release(world, "one", "1.0", "ada");
    make_release(world, "two", "1.1", "carl");
    struct bytes before = read_bytes(world, "one/release.dsse");
    assert_int_equal(RUN(world, "release", "assemble", "one", "two"), 5);
    assert_int_equal(
        document_read(SIGN_TYPE_RELEASE, at(world, "one"), &world->arena, &document, &world->err),
        ERR_OK);
    str_hex(bytes_of(document.digest, DIGEST_BYTES), ours);
    assert_int_equal(
        document_read(SIGN_TYPE_RELEASE, at(world, "two"), &world->arena, &document, &world->err),
        ERR_OK);
    str_hex(bytes_of(document.digest, DIGEST_BYTES), theirs);
    expect_said(world, "err", ours);
    expect_said(world, "err", theirs);
    assert_true(bytes_equal(before, read_bytes(world, "one/release.dsse")));
}

static void test_sign__a_document_of_another_kind_is_not_signed(void **state)
{
    struct world *world = *state;
    make_release(world, "bundle", "1.0", NULL);
    assert_int_equal(RUN(world, "root", "sign", "bundle/release.dsse", "--key", "ada"), 1);
    expect_said(world, "err", "is no root document");
    assert_int_equal(RUN(world, "release", "sign", "root.dsse", "--key", "ada"), 1);
    expect_said(world, "err", "is no release");
    assert_int_equal(signatures(world, "bundle/release.dsse"), 0);
}

static void test_sign__a_folder_with_a_release_is_never_written_over(void **state)
{
    struct world *world = *state;
    make_release(world, "bundle", "1.0", "ada");
    struct bytes before = read_bytes(world, "bundle/release.dsse");
    assert_int_equal(RUN(world, "release", "create", "-f", "release.yaml", "--sequence", "8",
                         "--output", "bundle"),
                     5);
    assert_true(bytes_equal(before, read_bytes(world, "bundle/release.dsse")));
    assert_int_equal(RUN(world, "release", "create", "-f", "release.yaml", "--output", "x"), 2);
    assert_int_equal(RUN(world, "release", "create", "-f", "release.yaml", "--sequence", "1"), 2);
    assert_int_equal(
        RUN(world, "release", "create", "-f", "release.yaml", "--sequence", "0", "--output", "x"),
        2);
}

static void test_sign__digest_words_tell_every_bit(void **state)
{
    (void)state;
    char words[DIGEST_WORDS_SIZE];
    char others[DIGEST_WORDS_SIZE];
    uint8_t digest[DIGEST_BYTES] = {0x7f, 0x00, 0x00, 0x01, 0x3f, 0x54, 0xdc, 0xc1};
    digest_words(digest, words);
    assert_int_equal(strncmp(words, "lusab babad gutih tugad\n", 24), 0);
    assert_int_equal(strlen(words), DIGEST_WORDS_SIZE - 1);
    for (size_t bit = 0; bit < 8 * DIGEST_BYTES; bit++) {
        digest[bit / 8] ^= (uint8_t)(1 << bit % 8);
        digest_words(digest, others);
        assert_string_not_equal(words, others);
        digest[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sign__two_people_sign_two_of_two),
        TEST(test_sign__one_key_twice_is_one_key),
        TEST(test_sign__several_keys_sign_at_once),
        TEST(test_sign__a_stranger_counts_for_nothing),
        TEST(test_sign__what_was_edited_is_refused),
        TEST(test_sign__every_reason_has_its_exit_code),
        TEST(test_sign__the_files_of_a_folder_are_what_the_release_says),
        TEST(test_sign__copies_of_another_release_are_refused_with_both_digests),
        TEST(test_sign__a_document_of_another_kind_is_not_signed),
        TEST(test_sign__a_folder_with_a_release_is_never_written_over),
        TEST(test_sign__digest_words_tell_every_bit),
    };
    return cmocka_run_group_tests_name("sign", tests, NULL, NULL);
}
