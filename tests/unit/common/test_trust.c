/* SPDX-License-Identifier: Apache-2.0
 *
 * What the trust core says of desired states and releases. test_trust_root.c has the chain of roots.
 */
#include "tests/unit/common/trust_lab.h"

/* ---- desired ---- */

static struct bytes sealed_desired(struct lab *lab)
{
    return seal(lab, SIGN_TYPE_DESIRED, encode(lab, &codec_desired, &lab->desired),
                &lab->keys[DESIRED_KEY], 1);
}

static enum err_code check_desired(struct lab *lab, struct bytes envelope,
                                   const struct trust_seen *seen, int64_t now_ms)
{
    const struct trust_target target = {.app = "hello", .channel = "stable"};
    struct desired found;
    return trust_check_desired(&lab->root, envelope, &target, seen, now_ms, &lab->arena, &found,
                               &lab->err);
}

static void test_desired__replayed_or_of_an_equal_generation(void **state)
{
    struct lab *lab = *state;
    lab->desired.generation = 6;
    struct bytes six = sealed_desired(lab);
    lab->desired.release_version = "2.0";
    struct bytes other_six = sealed_desired(lab);
    lab->desired.generation = 5;
    struct bytes five = sealed_desired(lab);
    const struct trust_seen none = {0}, last = {six, 6, 6}, lost = {{NULL, 0}, 0, 6},
                            counter_ahead = {five, 5, 6}, counter_lost = {six, 6, 0};
    assert_int_equal(check_desired(lab, five, &none, NOW_MS), ERR_OK);
    assert_int_equal(check_desired(lab, six, &last, NOW_MS), ERR_OK);
    assert_int_equal(check_desired(lab, five, &last, NOW_MS), ERR_ROLLBACK);
    assert_int_equal(check_desired(lab, other_six, &last, NOW_MS), ERR_ROLLBACK);
    assert_int_equal(check_desired(lab, five, &lost, NOW_MS), ERR_ROLLBACK);
    assert_int_equal(check_desired(lab, other_six, &lost, NOW_MS), ERR_OK); /* nothing to compare */
    assert_int_equal(check_desired(lab, five, &counter_ahead, NOW_MS), ERR_ROLLBACK);
    assert_int_equal(check_desired(lab, five, &counter_lost, NOW_MS), ERR_ROLLBACK);
}

static void test_desired__in_the_order_of_the_rules(void **state)
{
    struct lab *lab = *state;
    const struct trust_seen seen = {{NULL, 0}, 0, 9};
    lab->desired.expires_ms = NOW_MS;
    lab->desired.tenant = "other";
    struct bytes foreign = seal(lab, SIGN_TYPE_DESIRED, encode(lab, &codec_desired, &lab->desired),
                                &lab->keys[RELEASE_KEY], 1);
    lab->root.expires_ms = NOW_MS;
    assert_int_equal(check_desired(lab, foreign, &seen, NOW_MS), ERR_EXPIRED);
    assert_non_null(strstr(lab->err.text, "root document"));
    lab->root.expires_ms = 0;
    assert_int_equal(check_desired(lab, foreign, &seen, NOW_MS), ERR_BAD_SIGNATURE);
    assert_int_equal(check_desired(lab, sealed_desired(lab), &seen, NOW_MS), ERR_WRONG_TARGET);
    lab->desired.tenant = "acme";
    lab->desired.channel = "beta";
    assert_int_equal(check_desired(lab, sealed_desired(lab), &seen, NOW_MS), ERR_WRONG_TARGET);
    lab->desired.channel = "stable";
    assert_int_equal(check_desired(lab, sealed_desired(lab), &seen, NOW_MS), ERR_ROLLBACK);
    lab->desired.generation = 9;
    assert_int_equal(check_desired(lab, sealed_desired(lab), &seen, NOW_MS), ERR_EXPIRED);
    assert_int_equal(check_desired(lab, sealed_desired(lab), &seen, NOW_MS - 1), ERR_OK);
    assert_int_equal(check_desired(lab, sealed_desired(lab), &seen, TRUST_ANY_TIME), ERR_OK);
}

static void test_desired__of_a_device_is_for_that_device(void **state)
{
    struct lab *lab = *state;
    const struct trust_target self = {.device = "lyon/gw-1"};
    const struct trust_seen none = {0};
    struct device_desired said = {.tenant = "acme", .device = "lyon/gw-1", .generation = 1}, found;
    struct bytes payload = encode(lab, &codec_device_desired, &said);
    struct bytes good = seal(lab, SIGN_TYPE_DEVICE, payload, &lab->keys[DESIRED_KEY], 1),
                 as_channel = seal(lab, SIGN_TYPE_DESIRED, payload, &lab->keys[DESIRED_KEY], 1);
    assert_int_equal(
        trust_check_device(&lab->root, good, &self, &none, NOW_MS, &lab->arena, &found, &lab->err),
        ERR_OK);
    assert_int_equal(trust_check_device(&lab->root, as_channel, &self, &none, NOW_MS, &lab->arena,
                                        &found, &lab->err),
                     ERR_MALFORMED);
    said.device = "lyon/gw-2";
    payload = encode(lab, &codec_device_desired, &said);
    assert_int_equal(
        trust_check_device(&lab->root,
                           seal(lab, SIGN_TYPE_DEVICE, payload, &lab->keys[DESIRED_KEY], 1), &self,
                           &none, NOW_MS, &lab->arena, &found, &lab->err),
        ERR_WRONG_TARGET);
}

/* ---- release ---- */

static struct bytes sealed_release(struct lab *lab)
{
    struct bytes payload = encode(lab, &codec_release, &lab->release);
    hash_bytes(payload, lab->digest);
    return seal(lab, SIGN_TYPE_RELEASE, payload, &lab->keys[RELEASE_KEY], 1);
}

static const struct trust_target gateway = {
    .app = "hello", .os = "linux", .arch = "x86_64", .hardware = "rpi4", .agent_version = "1.4.0"};

static enum err_code check_release(struct lab *lab, const struct trust_release_want *more,
                                   int64_t now_ms)
{
    struct bytes envelope = sealed_release(lab);
    struct trust_release_want want = *more;
    struct release found;
    uint8_t digest[DIGEST_BYTES];
    want.digest = want.digest ? want.digest : lab->digest;
    const enum err_code code = trust_check_release(&lab->root, envelope, &want, &gateway, now_ms,
                                                   &lab->arena, &found, digest, &lab->err);
    if (code == ERR_OK)
        assert_memory_equal(digest, lab->digest, DIGEST_BYTES);
    return code;
}

static const struct trust_release_want plain = {0};

static void test_release__of_other_bytes_expired_revoked_below_the_floor(void **state)
{
    struct lab *lab = *state;
    static const uint8_t other[DIGEST_BYTES] = {1};
    const struct trust_release_want swapped = {.digest = other}, floor_seen = {.floor_seen = 8};
    assert_int_equal(check_release(lab, &plain, NOW_MS), ERR_OK);
    assert_int_equal(check_release(lab, &swapped, NOW_MS), ERR_HASH);
    assert_int_equal(check_release(lab, &floor_seen, NOW_MS), ERR_ROLLBACK);
    struct release_floor floors[2] = {{.app = "other", .sequence = 99},
                                      {.app = "hello", .sequence = 8}};
    lab->root.floors = floors;
    lab->root.floors_len = 2;
    assert_int_equal(check_release(lab, &plain, NOW_MS), ERR_ROLLBACK);
    floors[1].sequence = 7;
    assert_int_equal(check_release(lab, &plain, NOW_MS), ERR_OK);
    (void)sealed_release(lab);
    struct bytes revoked = bytes_of(lab->digest, DIGEST_BYTES);
    lab->root.revoked = &revoked;
    lab->root.revoked_len = 1;
    assert_int_equal(check_release(lab, &plain, NOW_MS), ERR_REVOKED);
    lab->root.revoked_len = 0;
    lab->release.expires_ms = NOW_MS;
    assert_int_equal(check_release(lab, &plain, NOW_MS), ERR_EXPIRED);
    assert_int_equal(check_release(lab, &plain, NOW_MS - 1), ERR_OK);
    lab->root.expires_ms = NOW_MS - 1;
    assert_int_equal(check_release(lab, &plain, NOW_MS - 1), ERR_EXPIRED);
}

static void test_release__with_a_skewed_clock_is_not_installed(void **state)
{
    struct lab *lab = *state;
    const struct trust_release_want signed_now = {.signed_ms = NOW_MS};
    static const struct {
        int64_t ahead_ms;
        enum err_code code;
    } rows[] = {{0, ERR_OK},
                {-TRUST_CLOCK_SKEW_MS, ERR_OK},
                {-TRUST_CLOCK_SKEW_MS - 1, ERR_EXPIRED},
                {-1800000000000, ERR_EXPIRED}, /* 1970 */
                {-1900000000000, ERR_EXPIRED},
                {3650 * INT64_C(86400000), ERR_EXPIRED}}; /* ten years: the root has expired */
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(check_release(lab, &signed_now, NOW_MS + rows[i].ahead_ms), rows[i].code);
        if (rows[i].code != ERR_OK && rows[i].ahead_ms < 0)
            assert_non_null(strstr(lab->err.text, "clock unsure"));
    }
}

static void test_release__fits_this_device(void **state)
{
    struct lab *lab = *state;
    static const uint8_t sha[DIGEST_BYTES] = {3};
    const struct artifact any = {
        .path = "bin/hello", .kind = ARTIFACT_KIND_FILE, .sha256 = bytes_of(sha, DIGEST_BYTES)};
    struct artifact artifacts[3] = {any, any, any};
    lab->release.artifacts = artifacts;
    lab->release.artifacts_len = 1;
    assert_int_equal(check_release(lab, &plain, NOW_MS), ERR_OK);
    artifacts[0].arch = "aarch64";
    assert_int_equal(check_release(lab, &plain, NOW_MS), ERR_WRONG_TARGET);
    assert_non_null(strstr(lab->err.text, "bin/hello"));
    lab->release.artifacts_len = 2; /* one for each architecture */
    artifacts[1].arch = "x86_64";
    artifacts[1].os = "linux";
    artifacts[1].hardware = "rpi4";
    assert_int_equal(check_release(lab, &plain, NOW_MS), ERR_OK);
    lab->release.artifacts_len = 3; /* and a path that this device would be without */
    artifacts[2].path = "lib/model";
    artifacts[2].hardware = "jetson";
    assert_int_equal(check_release(lab, &plain, NOW_MS), ERR_WRONG_TARGET);
    lab->release.artifacts_len = 0;
    lab->release.app = "other";
    assert_int_equal(check_release(lab, &plain, NOW_MS), ERR_WRONG_TARGET);
}

static void test_release__may_need_a_newer_agent(void **state)
{
    static const struct {
        const char *minimum;
        enum err_code code;
    } rows[] = {{"", ERR_OK},
                {"1.4.0", ERR_OK},
                {"1.4", ERR_OK},
                {"1", ERR_OK},
                {"1.3.99", ERR_OK},
                {"1.4.1", ERR_WRONG_TARGET},
                {"1.4.0-rc1", ERR_OK},
                {"1.10", ERR_WRONG_TARGET},
                {"2", ERR_WRONG_TARGET},
                {"1.4.0.1", ERR_WRONG_TARGET},
                {"99999999999999999999", ERR_WRONG_TARGET}};
    struct lab *lab = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        lab->release.minimum_agent = rows[i].minimum;
        if (check_release(lab, &plain, NOW_MS) != rows[i].code)
            fail_msg("minimum_agent \"%s\": %s", rows[i].minimum, lab->err.text);
    }
}

static void test_release__that_is_installed_needs_no_keys(void **state)
{
    struct lab *lab = *state;
    struct release found;
    lab->release.expires_ms = 1;
    struct bytes envelope = sealed_release(lab);
    assert_int_equal(
        trust_check_installed(envelope, lab->digest, "hello", &lab->arena, &found, &lab->err),
        ERR_OK);
    assert_string_equal(found.version, "1.0");
    assert_int_equal(
        trust_check_installed(envelope, lab->digest, "other", &lab->arena, &found, &lab->err),
        ERR_WRONG_TARGET);
    lab->digest[0] ^= 1;
    assert_int_equal(
        trust_check_installed(envelope, lab->digest, "hello", &lab->arena, &found, &lab->err),
        ERR_HASH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(desired__replayed_or_of_an_equal_generation),
        TEST(desired__in_the_order_of_the_rules),
        TEST(desired__of_a_device_is_for_that_device),
        TEST(release__of_other_bytes_expired_revoked_below_the_floor),
        TEST(release__with_a_skewed_clock_is_not_installed),
        TEST(release__fits_this_device),
        TEST(release__may_need_a_newer_agent),
        TEST(release__that_is_installed_needs_no_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
