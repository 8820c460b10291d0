/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of the trust core share: keys, a root of them, documents to seal.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/hash.h"
#include "common/trust.h"
#include "proto/codec.h"

enum { KEYS = 8, RELEASE_KEY = 6, DESIRED_KEY = 7 };
static const int64_t NOW_MS = 1800000000000, DAY_MS = 24 * 3600 * 1000;

/* A role: which keys, and how many must sign. */
struct who {
    unsigned first, len, threshold;
};

struct lab {
    struct arena arena;
    struct err err;
    struct sign_key keys[KEYS]; /* 0 to 5 for roots, then release, desired */
    struct bytes publics[KEYS];
    struct role roles[3];
    struct root root;
    struct desired desired;
    struct release release;
    uint8_t digest[DIGEST_BYTES]; /* of the release sealed last */
};

static inline struct bytes encode(struct lab *lab, const struct codec_type *type,
                                  const void *message)
{
    struct bytes ret;
    if (codec_encode(type, message, &lab->arena, &ret, &lab->err) != ERR_OK)
        fail_msg("%s", lab->err.text);
    return ret;
}

static inline struct bytes seal(struct lab *lab, const char *type, struct bytes payload,
                                const struct sign_key *keys, size_t len)
{
    struct bytes ret;
    if (sign_seal(type, payload, keys, len, &lab->arena, &ret, &lab->err) != ERR_OK)
        fail_msg("%s", lab->err.text);
    return ret;
}

static inline void name_root_role(struct lab *lab, struct who who)
{
    lab->roles[0] = (struct role){.name = "root",
                                  .threshold = who.threshold,
                                  .keys = &lab->publics[who.first],
                                  .keys_len = who.len};
}

static inline int setup(void **state)
{
    static const uint8_t digest[DIGEST_BYTES] = {7};
    struct lab *lab = mem_new(1, sizeof *lab);
    arena_init(&lab->arena, 64 << 20);
    for (unsigned i = 0; i < KEYS; i++) {
        uint8_t seed[SIGN_SEED_BYTES] = {(uint8_t)(i + 1)};
        sign_key_from_seed(seed, &lab->keys[i]);
        lab->publics[i] = bytes_of(lab->keys[i].public_key, SIGN_PUBLIC_BYTES);
    }
    name_root_role(lab, (struct who){0, 1, 1});
    lab->roles[1] = (struct role){
        .name = "release", .threshold = 1, .keys = &lab->publics[RELEASE_KEY], .keys_len = 1};
    lab->roles[2] = (struct role){
        .name = "desired", .threshold = 1, .keys = &lab->publics[DESIRED_KEY], .keys_len = 1};
    lab->root = (struct root){.tenant = "acme",
                              .version = 5,
                              .expires_ms = NOW_MS + DAY_MS,
                              .roles = lab->roles,
                              .roles_len = 3};
    lab->desired = (struct desired){.tenant = "acme",
                                    .app = "hello",
                                    .channel = "stable",
                                    .generation = 5,
                                    .issued_ms = NOW_MS,
                                    .expires_ms = NOW_MS + DAY_MS,
                                    .release_digest = bytes_of(digest, DIGEST_BYTES)};
    lab->release = (struct release){.app = "hello", .version = "1.0", .sequence = 7};
    *state = lab;
    return 0;
}

static inline int teardown(void **state)
{
    struct lab *lab = *state;
    arena_fini(&lab->arena);
    mem_free(lab);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
