/* SPDX-License-Identifier: Apache-2.0
 *
 * Arbitrary bytes as a document for the trust core, under a fixed root whose key is RFC 8032's first
 * test key. The first byte chooses the document; with its highest bit the rest is only the payload,
 * and is signed here, so that the rules behind the signature are reached. What is accepted must keep
 * to the rules; what is not must say why.
 */
#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "common/trust.h"
#include "proto/codec.h"

enum { ARENA_MAX_BYTES = 32 << 20, FLOOR = 5, SEALED = 0x80 };
#define NOW_MS INT64_C(1800000000000)

static const uint8_t seed[SIGN_SEED_BYTES] = {
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
    0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60};

static const struct trust_target target = {.app = "hello",
                                           .channel = "stable",
                                           .device = "lyon/gw-1",
                                           .os = "linux",
                                           .arch = "x86_64",
                                           .hardware = "",
                                           .agent_version = "1.0.0"};

struct input {
    struct bytes envelope;
    const struct root *root;
    struct arena arena;
    struct err err;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds)
{
    if (!holds)
        abort();
}

static enum err_code check_anchor(struct input *in)
{
    struct root root;
    const char *odd[4];
    enum err_code code = trust_root_anchor(in->envelope, &in->arena, &root, &in->err);
    if (code == ERR_OK)
        demand(root.roles_len >= 3 && trust_root_lint(&root, NOW_MS, &in->arena, odd, 4) <= 4);
    return code;
}

static enum err_code check_next(struct input *in)
{
    struct root root;
    enum err_code code = trust_root_next(in->root, in->envelope, &in->arena, &root, &in->err);
    if (code == ERR_OK)
        demand(root.version == in->root->version + 1 && str_equal(root.tenant, in->root->tenant));
    return code;
}

static enum err_code check_release(struct input *in)
{
    const struct trust_release_want want = {.signed_ms = NOW_MS};
    struct release release, installed;
    uint8_t digest[DIGEST_BYTES];
    enum err_code code = trust_check_release(in->root, in->envelope, &want, &target, NOW_MS,
                                             &in->arena, &release, digest, &in->err);
    if (code == ERR_OK)
        demand(release.sequence >= FLOOR && str_equal(release.app, "hello") &&
               (release.expires_ms == 0 || release.expires_ms > NOW_MS) &&
               trust_check_installed(in->envelope, digest, "hello", &in->arena, &installed,
                                     &in->err) == ERR_OK);
    return code;
}

static const struct trust_seen seen = {.generation = FLOOR};

static enum err_code check_desired(struct input *in)
{
    struct desired desired;
    enum err_code code = trust_check_desired(in->root, in->envelope, &target, &seen, NOW_MS,
                                             &in->arena, &desired, &in->err);
    if (code == ERR_OK)
        demand(desired.generation >= FLOOR && str_equal(desired.tenant, in->root->tenant) &&
               str_equal(desired.channel, "stable"));
    return code;
}

static enum err_code check_device(struct input *in)
{
    struct device_desired desired;
    enum err_code code = trust_check_device(in->root, in->envelope, &target, &seen, NOW_MS,
                                            &in->arena, &desired, &in->err);
    if (code == ERR_OK)
        demand(desired.generation >= FLOOR && str_equal(desired.device, "lyon/gw-1"));
    return code;
}

static const struct {
    const char *type;
    enum err_code (*check)(struct input *in);
} documents[] = {
    {SIGN_TYPE_ROOT, check_anchor},     {SIGN_TYPE_ROOT, check_next},
    {SIGN_TYPE_RELEASE, check_release}, {SIGN_TYPE_DESIRED, check_desired},
    {SIGN_TYPE_DEVICE, check_device},
};

static void check(struct input *in, const uint8_t *data, size_t size, const struct sign_key *key)
{
    const size_t kind = (data[0] & ~SEALED) % (sizeof documents / sizeof documents[0]);
    in->envelope = bytes_of(data + 1, size - 1);
    if (data[0] & SEALED && sign_seal(documents[kind].type, bytes_of(data + 1, size - 1), key, 1,
                                      &in->arena, &in->envelope, &in->err) != ERR_OK)
        return; /* larger than a document can be */
    const enum err_code code = documents[kind].check(in);
    if (code != ERR_OK)
        demand(in->err.code == code && in->err.text[0] && code >= ERR_BAD_SIGNATURE &&
               code <= ERR_ROOT_CHAIN);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sign_key key;
    sign_key_from_seed(seed, &key);
    const struct bytes public_key = bytes_of(key.public_key, SIGN_PUBLIC_BYTES);
    const struct role roles[] = {
        {.name = "root", .threshold = 1, .keys = &public_key, .keys_len = 1},
        {.name = "release", .threshold = 1, .keys = &public_key, .keys_len = 1},
        {.name = "desired", .threshold = 1, .keys = &public_key, .keys_len = 1}};
    const struct release_floor floor = {.app = "hello", .sequence = FLOOR};
    const struct root root = {.tenant = "acme",
                              .version = 7,
                              .expires_ms = NOW_MS + 1,
                              .roles = roles,
                              .roles_len = 3,
                              .floors = &floor,
                              .floors_len = 1};
    struct input in = {.root = &root};
    arena_init(&in.arena, ARENA_MAX_BYTES);
    if (size > 1)
        check(&in, data, size, &key);
    arena_fini(&in.arena);
    return 0;
}
