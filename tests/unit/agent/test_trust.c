/* SPDX-License-Identifier: Apache-2.0
 *
 * What a device accepts, with documents signed here. Each attack of SECURITY.md that ends in trust.c bounces with its
 * own code.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/trust.h"
#include "common/base/mem.h"
#include "common/hash.h"
#include "common/sign.h"
#include "proto/codec.h"
#include "tests/support/tempdir.h"

enum { KEYS = 4 };
static const int64_t NOW_MS = 1800000000000;
static const int64_t DAY_MS = 24 * 3600 * 1000;

struct lab {
    char *dir, *root_path, *kept_path, *db_path;
    struct arena arena;
    struct sign_key keys[KEYS]; /* 0 root, 1 and 2 release, 3 desired */
    struct root root;
    struct role roles[3];
    struct bytes root_keys[1], release_keys[2], desired_keys[1];
    struct agent_store *store;
    struct trust *trust;
    struct err err;
};

static struct bytes key_bytes(const struct sign_key *key)
{
    return bytes_of(key->public_key, SIGN_PUBLIC_BYTES);
}

static struct bytes encode(struct lab *lab, const struct codec_type *type, const void *message)
{
    struct bytes ret;
    if (codec_encode(type, message, &lab->arena, &ret, &lab->err) != ERR_OK)
        fail_msg("%s", lab->err.text);
    return ret;
}

static struct bytes seal(struct lab *lab, const char *type, struct bytes payload,
                         const struct sign_key *keys, size_t len)
{
    struct bytes ret;
    assert_int_equal(sign_seal(type, payload, keys, len, &lab->arena, &ret, &lab->err), ERR_OK);
    return ret;
}

static void write_root(struct lab *lab, const struct sign_key *key)
{
    struct bytes sealed = seal(lab, SIGN_TYPE_ROOT, encode(lab, &codec_root, &lab->root), key, 1);
    tempdir_write(lab->root_path, sealed.ptr, sealed.len);
}

static enum err_code reopen(struct lab *lab)
{
    trust_close(lab->trust);
    lab->trust = NULL;
    struct trust_options options = {
        .anchor = lab->root_path, .kept = lab->kept_path, .tenant = "acme", .store = lab->store};
    return trust_open(&options, &lab->trust, &lab->err);
}

static int setup(void **state)
{
    struct lab *lab = calloc(1, sizeof *lab);
    lab->dir = tempdir_make();
    lab->root_path = tempdir_path(lab->dir, "root.dsse");
    lab->kept_path = tempdir_path(lab->dir, "kept.dsse");
    lab->db_path = tempdir_path(lab->dir, "agent.db");
    arena_init(&lab->arena, 8 << 20);
    for (size_t i = 0; i < KEYS; i++)
        sign_key_new(&lab->keys[i]);
    lab->root_keys[0] = key_bytes(&lab->keys[0]);
    lab->release_keys[0] = key_bytes(&lab->keys[1]);
    lab->release_keys[1] = key_bytes(&lab->keys[2]);
    lab->desired_keys[0] = key_bytes(&lab->keys[3]);
    lab->roles[0] =
        (struct role){.name = "root", .threshold = 1, .keys = lab->root_keys, .keys_len = 1};
    lab->roles[1] =
        (struct role){.name = "release", .threshold = 2, .keys = lab->release_keys, .keys_len = 2};
    lab->roles[2] =
        (struct role){.name = "desired", .threshold = 1, .keys = lab->desired_keys, .keys_len = 1};
    lab->root = (struct root){.tenant = "acme",
                              .version = 5,
                              .expires_ms = NOW_MS + 300 * DAY_MS,
                              .roles = lab->roles,
                              .roles_len = 3};
    write_root(lab, &lab->keys[0]);
    assert_int_equal(agent_store_open(lab->db_path, &lab->store, &lab->err), ERR_OK);
    if (reopen(lab) != ERR_OK)
        fail_msg("%s", lab->err.text);
    *state = lab;
    return 0;
}

static int teardown(void **state)
{
    struct lab *lab = *state;
    trust_close(lab->trust);
    agent_store_close(lab->store);
    arena_fini(&lab->arena);
    free(lab->root_path);
    free(lab->kept_path);
    free(lab->db_path);
    tempdir_remove(lab->dir);
    free(lab);
    return 0;
}

/* ---- root ---- */

static void test_trust__root_must_be_signed_by_its_own_root_role(void **state)
{
    struct lab *lab = *state;
    write_root(lab, &lab->keys[3]);
    assert_int_equal(reopen(lab), ERR_BAD_SIGNATURE);
    assert_non_null(strstr(lab->err.text, lab->root_path));
}

static void test_trust__root_of_another_tenant(void **state)
{
    struct lab *lab = *state;
    lab->root.tenant = "other";
    write_root(lab, &lab->keys[0]);
    assert_int_equal(reopen(lab), ERR_WRONG_TARGET);
}

static enum err_code take(struct lab *lab, struct bytes envelope, struct bytes last,
                          uint64_t last_generation);
static struct bytes signed_desired(struct lab *lab, uint64_t generation, int64_t issued_ms);

static const struct bytes nothing = {NULL, 0};

/* The lab's root as it is now, with that version. */
static struct bytes next_root(struct lab *lab, uint64_t version)
{
    lab->root.version = version;
    return seal(lab, SIGN_TYPE_ROOT, encode(lab, &codec_root, &lab->root), &lab->keys[0], 1);
}

static void test_trust__root_never_goes_back(void **state)
{
    struct lab *lab = *state;
    struct bytes six = next_root(lab, 6);
    assert_int_equal(trust_take_root(lab->trust, six, &lab->err), ERR_OK);
    assert_int_equal(trust_root_version(lab->trust), 6);
    assert_int_equal(trust_take_root(lab->trust, six, &lab->err), ERR_ROLLBACK);
    assert_int_equal(reopen(lab), ERR_OK); /* the anchor has 5, what was kept has 6 */
    assert_int_equal(trust_root_version(lab->trust), 6);
}

static void test_trust__root_lost_is_awaited_and_nothing_else_is_taken(void **state)
{
    struct lab *lab = *state;
    struct bytes six = next_root(lab, 6), desired = signed_desired(lab, 5, NOW_MS);
    assert_int_equal(trust_take_root(lab->trust, six, &lab->err), ERR_OK);
    tempdir_write(lab->kept_path, "torn", 4);
    assert_int_equal(reopen(lab), ERR_OK);
    assert_int_equal(trust_root_version(lab->trust), 5);
    assert_int_equal(take(lab, desired, nothing, 0), ERR_ROLLBACK);
    assert_non_null(strstr(lab->err.text, "awaited"));
    assert_int_equal(trust_take_root(lab->trust, six, &lab->err), ERR_OK);
    assert_int_equal(take(lab, desired, nothing, 0), ERR_OK);
    assert_int_equal(remove(lab->root_path), 0); /* the anchor was only the way in */
    assert_int_equal(reopen(lab), ERR_OK);
    assert_int_equal(trust_root_version(lab->trust), 6);
}

static void test_trust__root_that_cannot_be_written_is_not_in_force(void **state)
{
    struct lab *lab = *state;
    struct bytes six = next_root(lab, 6);
    assert_int_equal(remove(lab->kept_path), 0);
    assert_int_equal(mkdir(lab->kept_path, 0700), 0);
    assert_int_not_equal(trust_take_root(lab->trust, six, &lab->err), ERR_OK);
    assert_int_equal(trust_root_version(lab->trust), 5);
    assert_int_equal(rmdir(lab->kept_path), 0);
    assert_int_equal(trust_take_root(lab->trust, six, &lab->err), ERR_OK);
    assert_int_equal(trust_root_version(lab->trust), 6);
}

static void test_trust__new_desired_keys_begin_their_counters_anew(void **state)
{
    struct lab *lab = *state;
    struct bytes old = signed_desired(lab, 50, NOW_MS + TRUST_CLOCK_SKEW_MS + 1);
    assert_int_equal(take(lab, old, nothing, 0), ERR_OK);
    struct sign_key stolen = lab->keys[3];
    for (uint64_t version = 6; version < 60; version++) { /* more often than there are counters */
        sign_key_new(&lab->keys[3]);
        lab->desired_keys[0] = key_bytes(&lab->keys[3]);
        if (trust_take_root(lab->trust, next_root(lab, version), &lab->err) != ERR_OK)
            fail_msg("%s", lab->err.text);
        if (take(lab, signed_desired(lab, 3, NOW_MS), old, 50) != ERR_OK)
            fail_msg("%s", lab->err.text);
        assert_int_equal(take(lab, signed_desired(lab, 2, NOW_MS), old, 50), ERR_ROLLBACK);
    }
    lab->keys[3] = stolen;
    assert_int_equal(take(lab, signed_desired(lab, 90, NOW_MS), nothing, 0), ERR_BAD_SIGNATURE);
    assert_int_equal(reopen(lab), ERR_OK); /* with the old ones that the anchor names: 59 counts */
    assert_int_equal(trust_root_version(lab->trust), 59);
}

static void test_trust__same_desired_keys_keep_their_counters(void **state)
{
    struct lab *lab = *state;
    assert_int_equal(take(lab, signed_desired(lab, 50, NOW_MS), nothing, 0), ERR_OK);
    lab->root.expires_ms += DAY_MS;
    assert_int_equal(trust_take_root(lab->trust, next_root(lab, 6), &lab->err), ERR_OK);
    assert_int_equal(take(lab, signed_desired(lab, 49, NOW_MS), nothing, 0), ERR_ROLLBACK);
}

static void test_trust__back_after_two_months_and_three_rotations(void **state)
{
    struct lab *lab = *state;
    struct bytes roots[3];
    const int64_t later_ms = NOW_MS + 400 * DAY_MS;
    struct sign_key root_key = lab->keys[0];
    for (uint64_t i = 0; i < 3; i++) { /* each with a new root key, desired key and end */
        struct sign_key both[2] = {lab->keys[0]};
        sign_key_new(&both[1]);
        sign_key_new(&lab->keys[3]);
        lab->root_keys[0] = key_bytes(&both[1]);
        lab->desired_keys[0] = key_bytes(&lab->keys[3]);
        lab->root.version = 6 + i;
        lab->root.expires_ms = i < 2 ? NOW_MS + (int64_t)i * DAY_MS : later_ms + DAY_MS;
        struct bytes payload = encode(lab, &codec_root, &lab->root);
        roots[i] = seal(lab, SIGN_TYPE_ROOT, payload, both, 2);
        lab->keys[0] = both[1];
        lab->root_keys[0] = key_bytes(&lab->keys[0]);
    }
    struct desired now = {.tenant = "acme",
                          .app = "hello",
                          .channel = "stable",
                          .generation = 1,
                          .issued_ms = later_ms,
                          .expires_ms = later_ms + DAY_MS,
                          .release_digest = bytes_of(root_key.public_key, DIGEST_BYTES)};
    struct bytes envelope =
        seal(lab, SIGN_TYPE_DESIRED, encode(lab, &codec_desired, &now), &lab->keys[3], 1);
    struct desired found;
    for (size_t i = 0; i < 3; i++) {
        assert_int_not_equal(trust_desired(lab->trust, envelope, "hello", "stable", nothing, 0,
                                           later_ms, &lab->arena, &found, &lab->err),
                             ERR_OK);
        if (trust_take_root(lab->trust, roots[i], &lab->err) != ERR_OK)
            fail_msg("root %zu: %s", i, lab->err.text);
    }
    if (trust_desired(lab->trust, envelope, "hello", "stable", nothing, 0, later_ms, &lab->arena,
                      &found, &lab->err) != ERR_OK)
        fail_msg("%s", lab->err.text);
    lab->keys[0] = root_key;
    assert_int_equal(trust_take_root(lab->trust, next_root(lab, 9), &lab->err), ERR_BAD_SIGNATURE);
}

static void test_trust__root_that_cannot_be_kept_to(void **state)
{
    struct lab *lab = *state;
    static uint8_t small_order[SIGN_PUBLIC_BYTES] = {1};
    lab->roles[1].threshold = 3; /* of two keys */
    write_root(lab, &lab->keys[0]);
    assert_int_equal(reopen(lab), ERR_ROOT_CHAIN);
    lab->roles[1].threshold = 1;
    lab->release_keys[1] = bytes_of(small_order, sizeof small_order);
    write_root(lab, &lab->keys[0]);
    assert_int_equal(reopen(lab), ERR_ROOT_CHAIN);
    lab->root.roles_len = 2; /* no desired role */
    lab->release_keys[1] = key_bytes(&lab->keys[2]);
    write_root(lab, &lab->keys[0]);
    assert_int_equal(reopen(lab), ERR_ROOT_CHAIN);
    tempdir_write(lab->root_path, "garbage", 7);
    assert_int_equal(reopen(lab), ERR_MALFORMED);
}

/* ---- release ---- */

static struct release good_release(void)
{
    return (struct release){
        .app = "hello", .version = "1.0", .sequence = 7, .created_ms = NOW_MS - DAY_MS};
}

static enum err_code check_signed(struct lab *lab, const struct release *release,
                                  const struct sign_key *keys, size_t len)
{
    struct bytes payload = encode(lab, &codec_release, release);
    uint8_t digest[DIGEST_BYTES];
    hash_bytes(payload, digest);
    struct release found;
    enum err_code code = trust_release(lab->trust, seal(lab, SIGN_TYPE_RELEASE, payload, keys, len),
                                       digest, "hello", NOW_MS, &lab->arena, &found, &lab->err);
    if (code == ERR_OK)
        assert_string_equal(found.version, release->version);
    return code;
}

static enum err_code check_release(struct lab *lab, const struct release *release)
{
    return check_signed(lab, release, &lab->keys[1], 2);
}

static void test_trust__release_signed_by_two_of_two(void **state)
{
    struct lab *lab = *state;
    struct release release = good_release();
    assert_int_equal(check_release(lab, &release), ERR_OK);
}

static void test_trust__release_half_signed_or_twice_by_one(void **state)
{
    struct lab *lab = *state;
    struct release release = good_release();
    struct sign_key twice[2] = {lab->keys[1], lab->keys[1]},
                    foreign[2] = {lab->keys[0], lab->keys[3]};
    assert_int_equal(check_signed(lab, &release, &lab->keys[1], 1), ERR_THRESHOLD);
    assert_int_equal(check_signed(lab, &release, twice, 2), ERR_THRESHOLD);
    assert_int_equal(check_signed(lab, &release, foreign, 2), ERR_BAD_SIGNATURE);
}

static void test_trust__release_of_other_bytes_is_a_matter_of_the_store(void **state)
{
    struct lab *lab = *state;
    struct release release = good_release(), found;
    struct bytes envelope =
        seal(lab, SIGN_TYPE_RELEASE, encode(lab, &codec_release, &release), &lab->keys[1], 2);
    static const uint8_t other[DIGEST_BYTES] = {1};
    assert_int_equal(
        trust_release(lab->trust, envelope, other, "hello", NOW_MS, &lab->arena, &found, &lab->err),
        ERR_HASH);
    static const char page[] = "<html>log in to the guest network</html>";
    assert_int_equal(trust_release(lab->trust, bytes_of(page, sizeof page - 1), other, "hello",
                                   NOW_MS, &lab->arena, &found, &lab->err),
                     ERR_HASH);
}

static void test_trust__release_of_another_app_expired_revoked_or_below_the_floor(void **state)
{
    struct lab *lab = *state;
    struct release release = good_release();
    release.app = "other";
    assert_int_equal(check_release(lab, &release), ERR_WRONG_TARGET);
    release = good_release();
    release.expires_ms = NOW_MS;
    assert_int_equal(check_release(lab, &release), ERR_EXPIRED);
    release = good_release();
    struct release_floor floor = {.app = "hello", .sequence = 8};
    lab->root.floors = &floor;
    lab->root.floors_len = 1;
    write_root(lab, &lab->keys[0]);
    assert_int_equal(reopen(lab), ERR_OK);
    assert_int_equal(check_release(lab, &release), ERR_ROLLBACK);
    release.sequence = 8;
    assert_int_equal(check_release(lab, &release), ERR_OK);
    lab->root.floors_len = 0; /* a floor that was seen holds */
    write_root(lab, &lab->keys[0]);
    assert_int_equal(reopen(lab), ERR_OK);
    release.sequence = 7;
    assert_int_equal(check_release(lab, &release), ERR_ROLLBACK);
    release.sequence = 8;
    uint8_t digest[DIGEST_BYTES];
    hash_bytes(encode(lab, &codec_release, &release), digest);
    struct bytes revoked = bytes_of(digest, DIGEST_BYTES);
    lab->root.revoked = &revoked;
    lab->root.revoked_len = 1;
    write_root(lab, &lab->keys[0]);
    assert_int_equal(reopen(lab), ERR_OK);
    assert_int_equal(check_release(lab, &release), ERR_REVOKED);
}

static void test_trust__what_runs_keeps_running_when_everything_expired(void **state)
{
    struct lab *lab = *state;
    struct release release = good_release(), found;
    release.expires_ms = NOW_MS - 1;
    lab->root.expires_ms = NOW_MS - 1;
    write_root(lab, &lab->keys[0]);
    assert_int_equal(reopen(lab), ERR_OK);
    struct bytes payload = encode(lab, &codec_release, &release);
    uint8_t digest[DIGEST_BYTES];
    hash_bytes(payload, digest);
    struct bytes envelope = seal(lab, SIGN_TYPE_RELEASE, payload, &lab->keys[1], 2);
    assert_int_equal(
        trust_check_installed(envelope, digest, "hello", &lab->arena, &found, &lab->err), ERR_OK);
    release.expires_ms = 0;
    assert_int_equal(check_release(lab, &release), ERR_EXPIRED); /* but nothing new is installed */
}

/* ---- desired ---- */

static struct desired good_desired(uint64_t generation)
{
    static const uint8_t digest[DIGEST_BYTES] = {7};
    return (struct desired){.tenant = "acme",
                            .app = "hello",
                            .channel = "stable",
                            .generation = generation,
                            .issued_ms = NOW_MS,
                            .expires_ms = NOW_MS + 7 * DAY_MS,
                            .release_digest = bytes_of(digest, DIGEST_BYTES)};
}

static struct bytes seal_desired(struct lab *lab, const struct desired *desired)
{
    return seal(lab, SIGN_TYPE_DESIRED, encode(lab, &codec_desired, desired), &lab->keys[3], 1);
}

static struct bytes signed_desired(struct lab *lab, uint64_t generation, int64_t issued_ms)
{
    struct desired desired = good_desired(generation);
    desired.issued_ms = issued_ms;
    return seal_desired(lab, &desired);
}

static enum err_code take(struct lab *lab, struct bytes envelope, struct bytes last,
                          uint64_t last_generation)
{
    struct desired found;
    return trust_desired(lab->trust, envelope, "hello", "stable", last, last_generation, NOW_MS,
                         &lab->arena, &found, &lab->err);
}

static void test_trust__desired_in_rising_generations(void **state)
{
    struct lab *lab = *state;
    struct desired five = good_desired(5), six = good_desired(6), other_six = good_desired(6);
    other_six.release_version = "2.0";
    struct bytes first = seal_desired(lab, &five), second = seal_desired(lab, &six);
    assert_int_equal(take(lab, first, nothing, 0), ERR_OK);
    assert_int_equal(take(lab, first, first, 5), ERR_OK); /* the same bytes again */
    assert_int_equal(take(lab, second, first, 5), ERR_OK);
    assert_int_equal(take(lab, first, second, 6), ERR_ROLLBACK);
    assert_int_equal(take(lab, seal_desired(lab, &other_six), second, 6), ERR_ROLLBACK);
}

static void test_trust__desired_is_not_replayed_after_the_database_was_lost(void **state)
{
    struct lab *lab = *state;
    struct desired five = good_desired(5), six = good_desired(6);
    struct bytes first = seal_desired(lab, &five), second = seal_desired(lab, &six);
    assert_int_equal(take(lab, second, nothing, 0), ERR_OK);
    trust_close(lab->trust);
    agent_store_close(lab->store);
    lab->trust = NULL;
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s%s", lab->db_path, suffixes[i]);
        (void)remove(path);
    }
    assert_int_equal(agent_store_open(lab->db_path, &lab->store, &lab->err), ERR_OK);
    assert_int_equal(reopen(lab), ERR_OK);
    assert_int_equal(take(lab, first, nothing, 0),
                     ERR_ROLLBACK); /* the second copy of the counters knows */
    assert_int_equal(take(lab, second, nothing, 0), ERR_OK);
}

static void test_trust__desired_of_others(void **state)
{
    struct lab *lab = *state;
    struct desired desired = good_desired(5);
    desired.tenant = "other";
    assert_int_equal(take(lab, seal_desired(lab, &desired), nothing, 0), ERR_WRONG_TARGET);
    desired = good_desired(5);
    desired.channel = "beta";
    assert_int_equal(take(lab, seal_desired(lab, &desired), nothing, 0), ERR_WRONG_TARGET);
    desired = good_desired(5);
    desired.app = "other";
    assert_int_equal(take(lab, seal_desired(lab, &desired), nothing, 0), ERR_WRONG_TARGET);
    desired = good_desired(5);
    struct bytes payload = encode(lab, &codec_desired, &desired);
    assert_int_equal(take(lab, seal(lab, SIGN_TYPE_DESIRED, payload, &lab->keys[1], 2), nothing, 0),
                     ERR_BAD_SIGNATURE);
    assert_int_equal(take(lab, seal(lab, SIGN_TYPE_RELEASE, payload, &lab->keys[3], 1), nothing, 0),
                     ERR_MALFORMED);
    assert_int_equal(take(lab, seal_desired(lab, &desired), nothing, 0),
                     ERR_OK); /* none of them raised a counter */
}

static void test_trust__desired_expired(void **state)
{
    struct lab *lab = *state;
    struct desired desired = good_desired(5);
    desired.expires_ms = NOW_MS;
    assert_int_equal(take(lab, seal_desired(lab, &desired), nothing, 0), ERR_EXPIRED);
}

static void test_trust__clock_before_the_last_signed_time_installs_nothing(void **state)
{
    struct lab *lab = *state;
    struct release release = good_release();
    struct desired desired = good_desired(5);
    desired.issued_ms = NOW_MS + TRUST_CLOCK_SKEW_MS + 1;
    assert_int_equal(take(lab, seal_desired(lab, &desired), nothing, 0), ERR_OK);
    assert_int_equal(check_release(lab, &release), ERR_EXPIRED);
    assert_non_null(strstr(lab->err.text, "clock unsure"));
}

static enum err_code take_device(struct lab *lab, const char *type,
                                 const struct device_desired *said, size_t key)
{
    struct device_desired found;
    struct bytes envelope =
        seal(lab, type, encode(lab, &codec_device_desired, said), &lab->keys[key], 1);
    return trust_device(lab->trust, envelope, "lyon/gw-1", nothing, 0, NOW_MS, &lab->arena, &found,
                        &lab->err);
}

static void test_trust__what_a_device_is_told_is_held_to_the_same_rules(void **state)
{
    struct lab *lab = *state;
    const struct device_desired good = {.tenant = "acme",
                                        .device = "lyon/gw-1",
                                        .generation = 5,
                                        .issued_ms = NOW_MS,
                                        .expires_ms = NOW_MS + DAY_MS};
    struct device_desired other = good;
    assert_int_equal(take_device(lab, SIGN_TYPE_DEVICE, &good, 3), ERR_OK);
    other.tenant = "other";
    assert_int_equal(take_device(lab, SIGN_TYPE_DEVICE, &other, 3), ERR_WRONG_TARGET);
    other = good;
    other.device = "lyon/gw-2";
    assert_int_equal(take_device(lab, SIGN_TYPE_DEVICE, &other, 3), ERR_WRONG_TARGET);
    other = good;
    other.generation = 4;
    assert_int_equal(take_device(lab, SIGN_TYPE_DEVICE, &other, 3), ERR_ROLLBACK);
    other.generation = 6;
    other.expires_ms = NOW_MS;
    assert_int_equal(take_device(lab, SIGN_TYPE_DEVICE, &other, 3), ERR_EXPIRED);
    other.expires_ms = NOW_MS + DAY_MS;
    assert_int_not_equal(take_device(lab, SIGN_TYPE_DEVICE, &other, 1), ERR_OK);
    assert_int_not_equal(take_device(lab, SIGN_TYPE_DESIRED, &other, 3), ERR_OK); /* not its type */
    assert_int_equal(take_device(lab, SIGN_TYPE_DEVICE, &other, 3), ERR_OK);
}

/* What holds the counters at their ends, and the clock behind for ever, is forgotten with the key. */
static void test_trust__a_rotation_heals_what_a_stolen_key_said_at_its_worst(void **state)
{
    struct lab *lab = *state;
    struct release release = good_release();
    struct device_desired device = {.tenant = "acme",
                                    .device = "lyon/gw-1",
                                    .generation = INT64_MAX,
                                    .issued_ms = INT64_MAX,
                                    .expires_ms = INT64_MAX};
    struct bytes worst = signed_desired(lab, INT64_MAX, INT64_MAX);
    assert_int_equal(take(lab, worst, nothing, 0), ERR_OK);
    assert_int_equal(take_device(lab, SIGN_TYPE_DEVICE, &device, 3), ERR_OK);
    assert_int_equal(check_release(lab, &release), ERR_EXPIRED);
    assert_non_null(strstr(lab->err.text, "clock unsure"));
    sign_key_new(&lab->keys[3]);
    lab->desired_keys[0] = key_bytes(&lab->keys[3]);
    assert_int_equal(trust_take_root(lab->trust, next_root(lab, 6), &lab->err), ERR_OK);
    assert_int_equal(take(lab, signed_desired(lab, 1, NOW_MS), worst, INT64_MAX), ERR_OK);
    device.generation = device.issued_ms = 1;
    assert_int_equal(take_device(lab, SIGN_TYPE_DEVICE, &device, 3), ERR_OK);
    assert_int_equal(check_release(lab, &release), ERR_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_trust__##name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(root_must_be_signed_by_its_own_root_role),
        TEST(root_of_another_tenant),
        TEST(root_never_goes_back),
        TEST(root_lost_is_awaited_and_nothing_else_is_taken),
        TEST(root_that_cannot_be_written_is_not_in_force),
        TEST(new_desired_keys_begin_their_counters_anew),
        TEST(same_desired_keys_keep_their_counters),
        TEST(a_rotation_heals_what_a_stolen_key_said_at_its_worst),
        TEST(back_after_two_months_and_three_rotations),
        TEST(root_that_cannot_be_kept_to),
        TEST(release_signed_by_two_of_two),
        TEST(release_half_signed_or_twice_by_one),
        TEST(release_of_other_bytes_is_a_matter_of_the_store),
        TEST(release_of_another_app_expired_revoked_or_below_the_floor),
        TEST(what_runs_keeps_running_when_everything_expired),
        TEST(desired_in_rising_generations),
        TEST(desired_is_not_replayed_after_the_database_was_lost),
        TEST(desired_of_others),
        TEST(desired_expired),
        TEST(what_a_device_is_told_is_held_to_the_same_rules),
        TEST(clock_before_the_last_signed_time_installs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
