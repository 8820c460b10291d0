/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <sodium.h>

#include "common/base/mem.h"
#include "common/hash.h"
#include "common/sign.h"
#include "proto/codec.h"
#include "tests/support/tempdir.h"

#define TEST_1_SEED "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
#define TEST_1_PUBLIC "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"

enum { KEYS = 3 };

/* Keys of known seeds, a role that wants two of the three, and an arena. */
struct signing {
    struct arena arena;
    struct sign_key keys[KEYS];
    uint8_t publics[KEYS][SIGN_PUBLIC_BYTES];
    struct sign_role role;
    struct err err;
};

static int set_up(void **state)
{
    struct signing *s = mem_new(1, sizeof *s);
    arena_init(&s->arena, 8 << 20);
    for (int i = 0; i < KEYS; i++) {
        uint8_t seed[SIGN_SEED_BYTES] = {(uint8_t)(i + 1)};
        sign_key_from_seed(seed, &s->keys[i]);
        memcpy(s->publics[i], s->keys[i].public_key, SIGN_PUBLIC_BYTES);
    }
    s->role = (struct sign_role){(const uint8_t(*)[SIGN_PUBLIC_BYTES])s->publics, KEYS, 2};
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct signing *s = *state;
    arena_fini(&s->arena);
    mem_free(s);
    return 0;
}

static struct bytes text(const char *t)
{
    return bytes_of(t, strlen(t));
}

static void assert_hex(struct bytes data, const char *expected)
{
    char *hex = mem_new(1, 2 * data.len + 1);
    str_hex(data, hex);
    assert_string_equal(hex, expected);
    mem_free(hex);
}

static struct bytes seal(struct signing *s, const struct sign_key *keys, size_t len)
{
    struct bytes sealed;
    assert_int_equal(
        sign_seal(SIGN_TYPE_RELEASE, text("payload"), keys, len, &s->arena, &sealed, &s->err),
        ERR_OK);
    return sealed;
}

/* A seal made by hand, with whatever is in it. */
static struct bytes encode(struct signing *s, const struct envelope *envelope)
{
    struct bytes bytes;
    assert_int_equal(codec_encode(&codec_envelope, envelope, &s->arena, &bytes, &s->err), ERR_OK);
    return bytes;
}

static struct envelope decode(struct signing *s, struct bytes bytes)
{
    struct envelope envelope;
    assert_int_equal(codec_decode(&codec_envelope, bytes, &s->arena, &envelope, &s->err), ERR_OK);
    return envelope;
}

static enum err_code open_sealed(struct signing *s, struct bytes sealed)
{
    struct bytes payload = text("untouched");
    s->err = (struct err){0};
    enum err_code code = sign_open(SIGN_TYPE_RELEASE, SIGN_RELEASE_MAX_BYTES, sealed, &s->role,
                                   &s->arena, &payload, &s->err);
    assert_true(bytes_equal(payload, text(code == ERR_OK ? "payload" : "untouched")));
    assert_int_equal(s->err.code, code);
    return code;
}

static void test_sign__the_vectors_of_the_specification(void **state)
{
    struct signing *s = *state;
    uint8_t seed[SIGN_SEED_BYTES];
    struct sign_key key;
    struct bytes pae;
    struct bytes sealed;
    assert_int_equal(str_unhex(TEST_1_SEED, seed, sizeof seed), ERR_OK);
    sign_key_from_seed(seed, &key);
    assert_hex(bytes_of(key.public_key, SIGN_PUBLIC_BYTES), TEST_1_PUBLIC);

    const char *type = "http://example.com/HelloWorld";
    assert_int_equal(sign_pae(type, text("hello world"), &s->arena, &pae, &s->err), ERR_OK);
    assert_hex(pae, "44535345763120323920687474703a2f2f6578616d706c652e636f6d2f48656c6c6f576f726c64"
                    "2031312068656c6c6f20776f726c64");
    assert_int_equal(sign_seal(type, text("hello world"), &key, 1, &s->arena, &sealed, &s->err),
                     ERR_OK);
    assert_hex(
        decode(s, sealed).signatures[0].sig,
        "e031d7dd99f8aa904abc48fb99a13c3bdbbd6e35c49cf2cb9f25d5509d8f5c947c0d22dc2f7403a45bdf"
        "24e8f7a41fd23c7b25e898386e8c6c31be8abee60007");
}

static void test_sign__the_vector_of_nothing(void **state)
{
    struct signing *s = *state;
    uint8_t seed[SIGN_SEED_BYTES];
    struct sign_key key;
    struct bytes pae;
    assert_int_equal(str_unhex(TEST_1_SEED, seed, sizeof seed), ERR_OK);
    sign_key_from_seed(seed, &key);
    assert_int_equal(sign_pae("", text(""), &s->arena, &pae, &s->err), ERR_OK);
    assert_hex(pae, "445353457631203020203020");
    /* No envelope may have an empty type, so the signature is checked without one. */
    uint8_t sig[SIGN_SIGNATURE_BYTES];
    assert_int_equal(str_unhex("f814eebe6c0b24cb85d6ac3a7730869209223ea9feaea470160ce97a9b5b1798"
                               "0a84893f5a2c6d554689c329e89eeaac6167cd58a5317a0f798d6fbff21d0f00",
                               sig, sizeof sig),
                     ERR_OK);
    assert_int_equal(crypto_sign_verify_detached(sig, pae.ptr, pae.len, key.public_key), 0);
}

static void test_sign__what_is_sealed_opens(void **state)
{
    struct signing *s = *state;
    assert_int_equal(open_sealed(s, seal(s, s->keys, 2)), ERR_OK);
    assert_int_equal(open_sealed(s, seal(s, s->keys + 1, 2)), ERR_OK);
    assert_int_equal(open_sealed(s, seal(s, s->keys, 3)), ERR_OK);
}

static void test_sign__too_few_keys_miss_the_threshold(void **state)
{
    struct signing *s = *state;
    assert_int_equal(open_sealed(s, seal(s, s->keys, 1)), ERR_THRESHOLD);
    assert_non_null(strstr(s->err.text, "signed by 1"));
    s->role.threshold = 0;
    assert_int_equal(open_sealed(s, seal(s, s->keys, 3)), ERR_THRESHOLD);
}

static void test_sign__one_key_signing_twice_counts_once(void **state)
{
    struct signing *s = *state;
    const struct sign_key twice[] = {s->keys[0], s->keys[0]};
    assert_int_equal(open_sealed(s, seal(s, twice, 2)), ERR_THRESHOLD);
    /* Another key id does not make it another key. */
    struct envelope envelope = decode(s, seal(s, twice, 2));
    struct signature signatures[2] = {envelope.signatures[0], envelope.signatures[1]};
    signatures[1].keyid = "0123456789abcdef";
    envelope.signatures = signatures;
    assert_int_equal(open_sealed(s, encode(s, &envelope)), ERR_THRESHOLD);
}

static void test_sign__one_key_listed_twice_counts_once(void **state)
{
    struct signing *s = *state;
    memcpy(s->publics[1], s->publics[0], SIGN_PUBLIC_BYTES);
    assert_int_equal(open_sealed(s, seal(s, s->keys, 1)), ERR_THRESHOLD);
}

static void test_sign__key_ids_are_only_hints(void **state)
{
    struct signing *s = *state;
    struct envelope envelope = decode(s, seal(s, s->keys, 2));
    struct signature signatures[2] = {envelope.signatures[0], envelope.signatures[1]};
    const char *first = signatures[0].keyid;
    signatures[0].keyid = signatures[1].keyid;
    signatures[1].keyid = first;
    envelope.signatures = signatures;
    assert_int_equal(open_sealed(s, encode(s, &envelope)), ERR_OK);
}

static void test_sign__unknown_keys_do_not_count(void **state)
{
    struct signing *s = *state;
    struct sign_key stranger;
    sign_key_new(&stranger);
    assert_int_equal(open_sealed(s, seal(s, &stranger, 1)), ERR_BAD_SIGNATURE);
    const struct sign_key mixed[] = {stranger, s->keys[0]};
    assert_int_equal(open_sealed(s, seal(s, mixed, 2)), ERR_THRESHOLD);
    const struct sign_key enough[] = {stranger, s->keys[0], s->keys[2]};
    assert_int_equal(open_sealed(s, seal(s, enough, 3)), ERR_OK);
    assert_int_equal(open_sealed(s, seal(s, NULL, 0)), ERR_BAD_SIGNATURE);
}

static void test_sign__a_tampered_payload_is_refused(void **state)
{
    struct signing *s = *state;
    struct envelope envelope = decode(s, seal(s, s->keys, 3));
    envelope.payload = text("payloae");
    assert_int_equal(open_sealed(s, encode(s, &envelope)), ERR_BAD_SIGNATURE);
}

static void test_sign__no_flipped_bit_passes(void **state)
{
    struct signing *s = *state;
    struct bytes sealed = seal(s, s->keys, 2);
    uint8_t *copy = arena_dup(&s->arena, sealed.ptr, sealed.len);
    size_t opened = 0;
    s->role.threshold = 2;
    for (size_t bit = 0; bit < 8 * sealed.len; bit++) {
        struct bytes payload = text("untouched");
        struct arena arena;
        arena_init(&arena, 1 << 20);
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (sign_open(SIGN_TYPE_RELEASE, SIGN_RELEASE_MAX_BYTES, bytes_of(copy, sealed.len),
                      &s->role, &arena, &payload, &s->err) == ERR_OK) {
            /* Only the key id, a hint, may differ. */
            assert_true(bytes_equal(payload, text("payload")));
            opened++;
        }
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
        arena_fini(&arena);
    }
    assert_in_range(opened, 0, 2 * 8 * 18);
    assert_int_equal(open_sealed(s, bytes_of(copy, sealed.len)), ERR_OK);
}

static void test_sign__the_type_is_signed_too(void **state)
{
    struct signing *s = *state;
    struct bytes sealed = seal(s, s->keys, 3);
    struct bytes payload;
    assert_int_equal(sign_open(SIGN_TYPE_DESIRED, SIGN_DESIRED_MAX_BYTES, sealed, &s->role,
                               &s->arena, &payload, &s->err),
                     ERR_MALFORMED);
    assert_non_null(strstr(s->err.text, SIGN_TYPE_RELEASE));
    struct envelope envelope = decode(s, sealed);
    envelope.payload_type = SIGN_TYPE_DESIRED;
    assert_int_equal(sign_open(SIGN_TYPE_DESIRED, SIGN_DESIRED_MAX_BYTES, encode(s, &envelope),
                               &s->role, &s->arena, &payload, &s->err),
                     ERR_BAD_SIGNATURE);
}

static void test_sign__sizes_are_checked_before_anything_is_parsed(void **state)
{
    struct signing *s = *state;
    struct bytes sealed = seal(s, s->keys, 2);
    struct bytes payload;
    assert_int_equal(sign_open(SIGN_TYPE_RELEASE, sealed.len - 1, sealed, &s->role, &s->arena,
                               &payload, &s->err),
                     ERR_SIZE);
    assert_int_equal(
        sign_open(SIGN_TYPE_RELEASE, sealed.len, sealed, &s->role, &s->arena, &payload, &s->err),
        ERR_OK);
    struct arena small;
    arena_init(&small, 64);
    assert_int_not_equal(sign_open(SIGN_TYPE_RELEASE, SIGN_RELEASE_MAX_BYTES, sealed, &s->role,
                                   &small, &payload, &s->err),
                         ERR_OK);
    arena_fini(&small);
}

static void test_sign__foreign_bytes_are_refused(void **state)
{
    struct signing *s = *state;
    assert_int_not_equal(open_sealed(s, text("hello")), ERR_OK);
    assert_int_not_equal(open_sealed(s, text("")), ERR_OK);
    struct bytes sealed = seal(s, s->keys, 2);
    for (size_t len = 0; len < sealed.len; len++)
        assert_int_not_equal(open_sealed(s, bytes_of(sealed.ptr, len)), ERR_OK);
}

static void test_sign__more_signatures_than_allowed_are_refused(void **state)
{
    struct signing *s = *state;
    struct sign_key many[SIGN_SIGNATURES_MAX + 1];
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        many[i] = s->keys[i % KEYS];
    struct bytes sealed;
    assert_int_equal(open_sealed(s, seal(s, many, SIGN_SIGNATURES_MAX)), ERR_OK);
    assert_int_equal(
        sign_seal(SIGN_TYPE_RELEASE, text("x"), many, ARRAY_LEN(many), &s->arena, &sealed, &s->err),
        ERR_FULL);
}

static void test_sign__keys_of_small_order_are_refused(void **state)
{
    struct signing *s = *state;
    static const char *const bad[] = {
        /* order 1, 2, 4, 4, 8, 8 */
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        /* not canonical, and no point at all */
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0200000000000000000000000000000000000000000000000000000000000000",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        uint8_t key[SIGN_PUBLIC_BYTES];
        assert_int_equal(str_unhex(bad[i], key, sizeof key), ERR_OK);
        assert_false(sign_public_key_usable(key));
    }
    for (int i = 0; i < KEYS; i++)
        assert_true(sign_public_key_usable(s->publics[i]));
}

static void test_sign__a_key_of_small_order_signs_nothing(void **state)
{
    struct signing *s = *state;
    /* With the neutral element as key, R = it and S = 0 fit any message. */
    uint8_t sig[SIGN_SIGNATURE_BYTES] = {1};
    memset(s->publics, 0, sizeof s->publics);
    for (int i = 0; i < KEYS; i++)
        s->publics[i][0] = 1;
    s->role.threshold = 1;
    const struct signature signature = {.sig = bytes_of(sig, sizeof sig), .keyid = ""};
    const struct envelope envelope = {.payload = text("payload"),
                                      .payload_type = SIGN_TYPE_RELEASE,
                                      .signatures = &signature,
                                      .signatures_len = 1};
    assert_int_equal(open_sealed(s, encode(s, &envelope)), ERR_BAD_SIGNATURE);
}

/* A signature over pae that Ed25519's equation accepts for a key with a part of order two: it does
 * in half of all cases, so try until it does. */
static void sign_with_impure_key(struct bytes pae, uint8_t *ret_key, uint8_t *ret_sig)
{
    uint8_t order_two[SIGN_PUBLIC_BYTES] = {0xec};
    uint8_t secret[32], once[32], wide[64], hash[32], point[SIGN_PUBLIC_BYTES];
    memset(order_two + 1, 0xff, 30);
    order_two[31] = 0x7f;
    crypto_core_ed25519_scalar_random(secret);
    assert_int_equal(crypto_scalarmult_ed25519_base_noclamp(point, secret), 0);
    assert_int_equal(crypto_core_ed25519_add(ret_key, point, order_two), 0);
    for (int i = 0; i < 200; i++) {
        crypto_hash_sha512_state state;
        crypto_core_ed25519_scalar_random(once);
        assert_int_equal(crypto_scalarmult_ed25519_base_noclamp(ret_sig, once), 0);
        (void)crypto_hash_sha512_init(&state);
        (void)crypto_hash_sha512_update(&state, ret_sig, 32);
        (void)crypto_hash_sha512_update(&state, ret_key, 32);
        (void)crypto_hash_sha512_update(&state, pae.ptr, pae.len);
        (void)crypto_hash_sha512_final(&state, wide);
        crypto_core_ed25519_scalar_reduce(hash, wide);
        crypto_core_ed25519_scalar_mul(hash, hash, secret);
        crypto_core_ed25519_scalar_add(ret_sig + 32, once, hash);
        if (crypto_sign_verify_detached(ret_sig, pae.ptr, pae.len, ret_key) == 0)
            return;
    }
    fail_msg("no signature in 200 tries");
}

static void test_sign__a_key_with_a_part_of_small_order_signs_nothing(void **state)
{
    struct signing *s = *state;
    uint8_t sig[SIGN_SIGNATURE_BYTES];
    struct bytes pae;
    assert_int_equal(sign_pae(SIGN_TYPE_RELEASE, text("payload"), &s->arena, &pae, &s->err),
                     ERR_OK);
    sign_with_impure_key(pae, s->publics[0], sig);
    assert_false(sign_public_key_usable(s->publics[0]));
    s->role.threshold = 1;
    const struct signature signature = {.sig = bytes_of(sig, sizeof sig), .keyid = ""};
    const struct envelope envelope = {.payload = text("payload"),
                                      .payload_type = SIGN_TYPE_RELEASE,
                                      .signatures = &signature,
                                      .signatures_len = 1};
    assert_int_equal(open_sealed(s, encode(s, &envelope)), ERR_BAD_SIGNATURE);
}

static void test_sign__key_id_is_the_head_of_the_hash(void **state)
{
    struct signing *s = *state;
    uint8_t digest[DIGEST_BYTES];
    char hex[DIGEST_HEX];
    char id[17];
    sign_key_id(s->publics[0], id);
    hash_bytes(bytes_of(s->publics[0], SIGN_PUBLIC_BYTES), digest);
    str_hex(bytes_of(digest, sizeof digest), hex);
    assert_int_equal(strlen(id), 16);
    assert_memory_equal(id, hex, 16);
    assert_string_equal(decode(s, seal(s, s->keys, 1)).signatures[0].keyid, id);
}

static void test_sign__new_keys_differ_and_a_wiped_one_is_zero(void **state)
{
    (void)state;
    const uint8_t zero[SIGN_SEED_BYTES] = {0};
    struct sign_key a;
    struct sign_key b;
    sign_key_new(&a);
    sign_key_new(&b);
    assert_memory_not_equal(a.seed, b.seed, SIGN_SEED_BYTES);
    assert_memory_not_equal(a.public_key, b.public_key, SIGN_PUBLIC_BYTES);
    sign_key_wipe(&a);
    assert_memory_equal(a.seed, zero, SIGN_SEED_BYTES);
}

static void test_sign__a_key_file_is_ours_alone(void **state)
{
    struct signing *s = *state;
    char *dir = tempdir_make();
    char *path = tempdir_path(dir, "release.key");
    struct sign_key loaded;
    struct stat st;
    assert_int_equal(sign_key_save(&s->keys[0], path, &s->err), ERR_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, 65);
    assert_int_equal(sign_key_load(path, &loaded, &s->err), ERR_OK);
    assert_memory_equal(&loaded, &s->keys[0], sizeof loaded);
    static const mode_t open_modes[] = {0640, 0604, 0620, 0660, 0644};
    for (size_t i = 0; i < ARRAY_LEN(open_modes); i++) {
        assert_int_equal(chmod(path, open_modes[i]), 0);
        assert_int_equal(sign_key_load(path, &loaded, &s->err), ERR_DENIED);
        assert_non_null(strstr(s->err.hint, "chmod 600 /"));
    }
    free(path);
    tempdir_remove(dir);
}

static void test_sign__a_bad_key_file_is_refused(void **state)
{
    struct signing *s = *state;
    static const char *const bad[] = {
        "", "\n", "12", TEST_1_SEED "00", TEST_1_SEED " ", TEST_1_SEED "\n\n", ("x" TEST_1_SEED)};
    char *dir = tempdir_make();
    char *path = tempdir_path(dir, "key");
    struct sign_key key = {.seed = {9}};
    assert_int_equal(sign_key_load(path, &key, &s->err), ERR_NOT_FOUND);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        tempdir_write(path, bad[i], strlen(bad[i]));
        assert_int_equal(chmod(path, 0600), 0);
        assert_int_equal(sign_key_load(path, &key, &s->err), ERR_MALFORMED);
        assert_int_equal(key.seed[0], 9);
        assert_null(strstr(s->err.text, "9d61b19d")); /* no secret in an error */
    }
    tempdir_write(path, TEST_1_SEED, 64);
    assert_int_equal(sign_key_load(path, &key, &s->err), ERR_OK);
    free(path);
    tempdir_remove(dir);
}

#define SIGNING(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIGNING(test_sign__the_vectors_of_the_specification),
        SIGNING(test_sign__the_vector_of_nothing),
        SIGNING(test_sign__what_is_sealed_opens),
        SIGNING(test_sign__too_few_keys_miss_the_threshold),
        SIGNING(test_sign__one_key_signing_twice_counts_once),
        SIGNING(test_sign__one_key_listed_twice_counts_once),
        SIGNING(test_sign__key_ids_are_only_hints),
        SIGNING(test_sign__unknown_keys_do_not_count),
        SIGNING(test_sign__a_tampered_payload_is_refused),
        SIGNING(test_sign__no_flipped_bit_passes),
        SIGNING(test_sign__the_type_is_signed_too),
        SIGNING(test_sign__sizes_are_checked_before_anything_is_parsed),
        SIGNING(test_sign__foreign_bytes_are_refused),
        SIGNING(test_sign__more_signatures_than_allowed_are_refused),
        SIGNING(test_sign__keys_of_small_order_are_refused),
        SIGNING(test_sign__a_key_of_small_order_signs_nothing),
        SIGNING(test_sign__a_key_with_a_part_of_small_order_signs_nothing),
        SIGNING(test_sign__key_id_is_the_head_of_the_hash),
        SIGNING(test_sign__new_keys_differ_and_a_wiped_one_is_zero),
        SIGNING(test_sign__a_key_file_is_ours_alone),
        SIGNING(test_sign__a_bad_key_file_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
