/* SPDX-License-Identifier: Apache-2.0
 *
 * For the tests of captain's authoritative side: a folder with real tables, keys and artifact
 * store, and signed releases and entries to put into them.
 */
#pragma once

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "captain/io/artifact.h"
#include "captain/io/store/store.h"
#include "captain/keys.h"
#include "common/base/mem.h"
#include "common/hash.h"
#include "proto/codec.h"
#include "tests/support/tempdir.h"
#include "tests/unit/captain/assert_ok.h"

#define FIXTURE_NOW_MS INT64_C(1800000000000)

struct fixture {
    char *dir;
    struct db *db;
    struct keys keys;
    struct sign_key release_key;
    struct artifacts *artifacts;
    struct arena arena;
    struct err err;
};

static inline void fixture_open(struct fixture *f)
{
    char path[PATH_MAX];
    bool created = false;
    f->dir = tempdir_make();
    arena_init(&f->arena, 64 << 20);
    assert_ok(f, store_open(f->dir, &f->db, &f->err));
    assert_ok(f, keys_open(f->dir, "default", FIXTURE_NOW_MS, &f->keys, &created, &f->err));
    assert_true(created);
    (void)snprintf(path, sizeof path, "%s/keys/release.key", f->dir);
    assert_ok(f, sign_key_load(path, &f->release_key, &f->err));
    assert_ok(f, artifacts_open(f->dir, &f->artifacts, &f->err));
}

static inline void fixture_close(struct fixture *f)
{
    db_close(f->db);
    artifacts_close(f->artifacts);
    keys_close(&f->keys);
    arena_fini(&f->arena);
    tempdir_remove(f->dir);
}

static inline int fixture_set_up(void **state)
{
    struct fixture *f = mem_new(1, sizeof *f);
    fixture_open(f);
    *state = f;
    return 0;
}

static inline int fixture_tear_down(void **state)
{
    fixture_close(*state);
    mem_free(*state);
    return 0;
}

/* A signed release document and its digest. */
static inline struct bytes fixture_release(struct fixture *f, const char *app, const char *version,
                                           uint64_t sequence, uint8_t ret_digest[DIGEST_BYTES])
{
    uint8_t sha[DIGEST_BYTES] = {1, 2, 3};
    struct artifact artifact = {.path = "web",
                                .kind = ARTIFACT_KIND_TREE,
                                .size_bytes = 1000,
                                .sha256 = bytes_of(sha, sizeof sha)};
    struct release release = {.app = app,
                              .version = version,
                              .sequence = sequence,
                              .created_ms = FIXTURE_NOW_MS,
                              .artifacts = &artifact,
                              .artifacts_len = 1};
    struct bytes payload;
    struct bytes envelope;
    assert_ok(f, codec_encode(&codec_release, &release, &f->arena, &payload, &f->err));
    hash_bytes(payload, ret_digest);
    assert_ok(f, sign_seal(SIGN_TYPE_RELEASE, payload, &f->release_key, 1, &f->arena, &envelope,
                           &f->err));
    return envelope;
}

static inline struct bytes fixture_release_body(struct fixture *f, const uint8_t *digest,
                                                struct bytes envelope)
{
    struct release_created created = {.digest = bytes_of(digest, DIGEST_BYTES),
                                      .envelope = envelope};
    struct bytes body;
    assert_ok(f, codec_encode(&codec_release_created, &created, &f->arena, &body, &f->err));
    return body;
}

static inline struct bytes fixture_channel_body(struct fixture *f, const char *app,
                                                const char *channel, const uint8_t *digest,
                                                const uint8_t *base)
{
    struct channel_set set = {.app = app,
                              .channel = channel,
                              .digest = bytes_of(digest, DIGEST_BYTES),
                              .base_digest = bytes_of(base, base ? DIGEST_BYTES : 0)};
    struct bytes body;
    assert_ok(f, codec_encode(&codec_channel_set, &set, &f->arena, &body, &f->err));
    return body;
}
