/* SPDX-License-Identifier: Apache-2.0
 *
 * The chain of roots by itself. A rotation is tried for every combination of old and new keys,
 * thresholds and signers; what must come out is computed here by counting, from the rule.
 */
#include "tests/unit/common/trust_lab.h"

static struct bytes sealed_root(struct lab *lab, unsigned signers)
{
    struct sign_key keys[KEYS];
    size_t len = 0;
    for (unsigned i = 0; i < KEYS; i++)
        if (signers & 1u << i)
            keys[len++] = lab->keys[i];
    return seal(lab, SIGN_TYPE_ROOT, encode(lab, &codec_root, &lab->root), keys, len);
}

static unsigned keys_of(struct who who)
{
    return ((1u << who.len) - 1) << who.first;
}

/* The rule: threshold of the old keys, and of the new ones. */
static enum err_code must_be(struct who old, struct who new, unsigned signers)
{
    const unsigned by_old = (unsigned)__builtin_popcount(signers & keys_of(old)),
                   by_new = (unsigned)__builtin_popcount(signers & keys_of(new));
    if (by_old < old.threshold)
        return by_old == 0 ? ERR_BAD_SIGNATURE : ERR_THRESHOLD;
    if (by_new < new.threshold)
        return by_new == 0 ? ERR_BAD_SIGNATURE : ERR_THRESHOLD;
    return ERR_OK;
}

static void rotate(struct lab *lab, struct who old_role, struct who new_role, unsigned signers)
{
    struct root old, next;
    name_root_role(lab, old_role);
    lab->root.version = 5;
    if (trust_root_anchor(sealed_root(lab, keys_of(old_role)), &lab->arena, &old, &lab->err))
        fail_msg("%s", lab->err.text);
    name_root_role(lab, new_role);
    lab->root.version = 6;
    const enum err_code code =
        trust_root_next(&old, sealed_root(lab, signers), &lab->arena, &next, &lab->err);
    if (code != must_be(old_role, new_role, signers))
        fail_msg("from %u of %u to %u of %u (keys from %u), signed by 0x%x: %s, must be %s (%s)",
                 old_role.threshold, old_role.len, new_role.threshold, new_role.len, new_role.first,
                 signers, err_name(code), err_name(must_be(old_role, new_role, signers)),
                 lab->err.text);
    if (code == ERR_OK)
        assert_int_equal(next.version, 6);
    arena_reset(&lab->arena);
}

static void test_root__every_rotation_by_every_set_of_signers(void **state)
{
    static const struct who roles[] = {{0, 1, 1}, {0, 2, 1}, {0, 2, 2}, {0, 3, 2}, {0, 3, 3}};
    struct lab *lab = *state;
    unsigned tried = 0;
    for (size_t o = 0; o < ARRAY_LEN(roles); o++) {
        for (size_t n = 0; n < ARRAY_LEN(roles); n++) {
            for (unsigned first = 0; first <= roles[o].len; first++) { /* shared keys, then none */
                const struct who new = {first, roles[n].len, roles[n].threshold};
                const unsigned all = keys_of(roles[o]) | keys_of(new);
                for (unsigned signers = 0; signers <= all; signers++, tried++)
                    rotate(lab, roles[o], new, signers);
            }
        }
    }
    print_message("%u rotations\n", tried);
}

static struct root anchor_of(struct lab *lab, struct who who)
{
    struct root ret;
    name_root_role(lab, who);
    if (trust_root_anchor(sealed_root(lab, keys_of(who)), &lab->arena, &ret, &lab->err))
        fail_msg("%s", lab->err.text);
    return ret;
}

static enum err_code next_of(struct lab *lab, const struct root *old, struct bytes envelope)
{
    struct root next;
    return trust_root_next(old, envelope, &lab->arena, &next, &lab->err);
}

static void test_root__one_key_that_signs_twice_counts_once(void **state)
{
    struct lab *lab = *state;
    struct root old = anchor_of(lab, (struct who){0, 2, 2});
    struct sign_key twice[3] = {lab->keys[0], lab->keys[0], lab->keys[0]};
    lab->root.version = 6;
    struct bytes payload = encode(lab, &codec_root, &lab->root);
    assert_int_equal(next_of(lab, &old, seal(lab, SIGN_TYPE_ROOT, payload, twice, 3)),
                     ERR_THRESHOLD);
}

static void test_root__key_ids_count_for_nothing(void **state)
{
    struct lab *lab = *state;
    struct root old = anchor_of(lab, (struct who){0, 2, 2});
    lab->root.version = 6;
    struct envelope envelope;
    struct bytes one = sealed_root(lab, 1), both = sealed_root(lab, 3), damaged;
    assert_int_equal(codec_decode(&codec_envelope, one, &lab->arena, &envelope, &lab->err), ERR_OK);
    struct signature same[2] = {envelope.signatures[0], envelope.signatures[0]};
    same[0].keyid = "0000000000000001";
    same[1].keyid = "0000000000000002"; /* one key's signature under two names */
    envelope.signatures = same;
    envelope.signatures_len = 2;
    damaged = encode(lab, &codec_envelope, &envelope);
    assert_int_equal(next_of(lab, &old, damaged), ERR_THRESHOLD);
    assert_int_equal(codec_decode(&codec_envelope, both, &lab->arena, &envelope, &lab->err),
                     ERR_OK);
    struct signature crossed[2] = {envelope.signatures[0], envelope.signatures[1]};
    crossed[0].keyid = envelope.signatures[1].keyid; /* each under the other's name */
    crossed[1].keyid = envelope.signatures[0].keyid;
    envelope.signatures = crossed;
    assert_int_equal(next_of(lab, &old, encode(lab, &codec_envelope, &envelope)), ERR_OK);
}

static void test_root__follows_by_exactly_one(void **state)
{
    static const struct {
        uint64_t version;
        enum err_code code;
    } rows[] = {{1, ERR_ROLLBACK}, {4, ERR_ROLLBACK},   {5, ERR_ROLLBACK},
                {6, ERR_OK},       {7, ERR_ROOT_CHAIN}, {INT64_MAX, ERR_ROOT_CHAIN}};
    struct lab *lab = *state;
    struct root old = anchor_of(lab, (struct who){0, 1, 1});
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        lab->root.version = rows[i].version;
        assert_int_equal(next_of(lab, &old, sealed_root(lab, 1)), rows[i].code);
    }
    lab->root.version = 6;
    lab->root.tenant = "other";
    assert_int_equal(next_of(lab, &old, sealed_root(lab, 1)), ERR_ROOT_CHAIN);
    assert_non_null(strstr(lab->err.text, "other"));
}

static void test_root__expiry_of_the_old_one_does_not_end_the_chain(void **state)
{
    struct lab *lab = *state;
    lab->root.expires_ms = NOW_MS - 1;
    struct root old = anchor_of(lab, (struct who){0, 1, 1}), next;
    assert_int_equal(trust_root_fresh(&old, NOW_MS, &lab->err), ERR_EXPIRED);
    lab->root.version = 6;
    lab->root.expires_ms = NOW_MS + 1;
    assert_int_equal(trust_root_next(&old, sealed_root(lab, 1), &lab->arena, &next, &lab->err),
                     ERR_OK);
    assert_int_equal(trust_root_fresh(&next, NOW_MS, &lab->err), ERR_OK);
    assert_int_equal(trust_root_fresh(&next, NOW_MS + 1, &lab->err), ERR_EXPIRED);
    assert_int_equal(trust_root_fresh(&next, TRUST_ANY_TIME, &lab->err), ERR_OK);
}

/* Each as a next root, and as an anchor. */
static void expect_bad_form(struct lab *lab, const char *part)
{
    struct root old, anchor;
    struct role good[3];
    struct root right = lab->root;
    for (size_t i = 0; i < 3; i++)
        good[i] = (struct role){.name = lab->roles[i].name,
                                .threshold = 1,
                                .keys = &lab->publics[i == 0 ? 0 : RELEASE_KEY + i - 1],
                                .keys_len = 1};
    good[1].name = "release";
    good[2].name = "desired";
    struct bytes bad = sealed_root(lab, 0xff);
    right.version = lab->root.version - 1;
    right.roles = good;
    right.roles_len = 3;
    struct bytes sealed = seal(lab, SIGN_TYPE_ROOT, encode(lab, &codec_root, &right), lab->keys, 1);
    assert_int_equal(trust_root_anchor(sealed, &lab->arena, &old, &lab->err), ERR_OK);
    assert_int_equal(next_of(lab, &old, bad), ERR_ROOT_CHAIN);
    assert_non_null(strstr(lab->err.text, part));
    assert_int_equal(trust_root_anchor(bad, &lab->arena, &anchor, &lab->err), ERR_ROOT_CHAIN);
    assert_non_null(strstr(lab->err.text, part));
}

static void test_root__that_cannot_be_kept_to(void **state)
{
    static const uint8_t small_order[SIGN_PUBLIC_BYTES] = {1};
    struct lab *lab = *state;
    struct bytes weak[2] = {lab->publics[RELEASE_KEY], bytes_of(small_order, SIGN_PUBLIC_BYTES)},
                 twice[2] = {lab->publics[RELEASE_KEY], lab->publics[RELEASE_KEY]};
    lab->roles[1].threshold = 2;
    expect_bad_form(lab, "2 signatures are asked for, but there are 1 keys");
    lab->roles[1] = (struct role){.name = "release", .threshold = 1, .keys = weak, .keys_len = 2};
    expect_bad_form(lab, "key 2 is not a usable key");
    lab->roles[1].keys = twice;
    expect_bad_form(lab, "key 2 is there twice");
    lab->roles[1].keys_len = 1;
    lab->roles[1].name = "desired";
    expect_bad_form(lab, "role \"desired\" is there twice");
    lab->roles[1].name = "other";
    expect_bad_form(lab, "names no role \"release\"");
}

static void test_root__anchor_is_signed_by_its_own_keys(void **state)
{
    struct lab *lab = *state;
    struct root ret = {0};
    name_root_role(lab, (struct who){0, 3, 2});
    assert_int_equal(trust_root_anchor(sealed_root(lab, 0x1), &lab->arena, &ret, &lab->err),
                     ERR_THRESHOLD);
    assert_int_equal(trust_root_anchor(sealed_root(lab, 0xf8), &lab->arena, &ret, &lab->err),
                     ERR_BAD_SIGNATURE);
    assert_int_equal(ret.version, 0); /* untouched on failure */
    assert_int_equal(trust_root_anchor(sealed_root(lab, 0x5), &lab->arena, &ret, &lab->err),
                     ERR_OK);
    struct bytes payload = encode(lab, &codec_root, &lab->root);
    struct bytes foreign = seal(lab, SIGN_TYPE_RELEASE, payload, lab->keys, 3);
    assert_int_equal(trust_root_anchor(foreign, &lab->arena, &ret, &lab->err), ERR_MALFORMED);
    static uint8_t large[SIGN_ROOT_MAX_BYTES + 1];
    assert_int_equal(trust_root_anchor(bytes_of(large, sizeof large), &lab->arena, &ret, &lab->err),
                     ERR_SIZE);
}

static void test_root__says_which_roles_changed(void **state)
{
    struct lab *lab = *state;
    struct role roles[3] = {lab->roles[0], lab->roles[1], lab->roles[2]};
    struct root next = lab->root;
    struct bytes order[2] = {lab->publics[1], lab->publics[0]};
    next.roles = roles;
    assert_false(trust_role_changed(&lab->root, &next, "desired"));
    roles[2].keys = &lab->publics[0];
    assert_true(trust_role_changed(&lab->root, &next, "desired"));
    assert_false(trust_role_changed(&lab->root, &next, "root"));
    name_root_role(lab, (struct who){0, 2, 1});
    roles[0].keys = order;
    roles[0].keys_len = 2;
    assert_false(trust_role_changed(&lab->root, &next, "root")); /* the same keys, turned round */
    roles[0].threshold = 2;
    assert_true(trust_role_changed(&lab->root, &next, "root"));
    assert_true(trust_role_has(&next, "root", lab->keys[1].public_key));
    assert_false(trust_role_has(&next, "root", lab->keys[2].public_key));
}

static void test_root__lint_names_what_is_odd(void **state)
{
    struct lab *lab = *state;
    const char *odd[8];
    size_t len = trust_root_lint(&lab->root, NOW_MS, &lab->arena, odd, ARRAY_LEN(odd));
    assert_int_equal(len, 3);
    assert_non_null(strstr(odd[0], "expires soon"));
    assert_string_equal(odd[1], "role root: one key of 1 is enough");
    assert_string_equal(odd[2], "role release: one key of 1 is enough");
    assert_int_equal(trust_root_lint(&lab->root, NOW_MS, &lab->arena, odd, 1), 1);
    name_root_role(lab, (struct who){0, 3, 2});
    lab->roles[1].keys = lab->publics; /* shared with role root */
    lab->roles[1].keys_len = 2;
    lab->roles[1].threshold = 2;
    lab->root.expires_ms = NOW_MS + 300 * DAY_MS;
    len = trust_root_lint(&lab->root, NOW_MS, &lab->arena, odd, ARRAY_LEN(odd));
    assert_int_equal(len, 3);
    assert_non_null(strstr(odd[0], "all 2 keys are needed"));
    assert_non_null(strstr(odd[1], "is in role root and in role release"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(root__every_rotation_by_every_set_of_signers),
        TEST(root__one_key_that_signs_twice_counts_once),
        TEST(root__key_ids_count_for_nothing),
        TEST(root__follows_by_exactly_one),
        TEST(root__expiry_of_the_old_one_does_not_end_the_chain),
        TEST(root__that_cannot_be_kept_to),
        TEST(root__anchor_is_signed_by_its_own_keys),
        TEST(root__says_which_roles_changed),
        TEST(root__lint_names_what_is_odd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
