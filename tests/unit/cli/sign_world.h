/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys and signing without network, by the real program: no server runs here at all. Each test has
 * a folder of its own, which is the person's home, with the keys ada, bob and carl (plain) and a
 * root: 2 of ada and bob sign roots, 2 of ada and carl sign releases.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "captain/cli/document.h"
#include "captain/root_document.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/trust.h"
#include "proto/codec.h"
#include "tests/support/proc.h"
#include "tests/support/tempdir.h"

enum { DEADLINE_MS = 30000, KEYS = 3, ADA = 0, BOB = 1, CARL = 2 };

struct world {
    char *dir;
    char config[600];
    struct arena arena;
    struct sign_key keys[KEYS];
    struct sign_key desired;
    struct err err;
};

static const char *const names[KEYS] = {"ada", "bob", "carl"};

static inline const char *at(struct world *world, const char *name)
{
    return arena_printf(&world->arena, "%s/%s", world->dir, name);
}

/* Runs captain in the world's folder; what it said is in the files out and err. */
static inline int captain(struct world *world, const char *const *args)
{
    const char *argv[40] = {getenv("CAPTAIN_BIN")};
    const char *env[] = {world->config, "NATS_URL=nats://127.0.0.1:1", "PASS=correct horse", NULL};
    for (size_t i = 0; args[i] && i + 2 < ARRAY_LEN(argv); i++)
        argv[i + 1] = args[i];
    (void)unlink(at(world, "out"));
    (void)unlink(at(world, "err"));
    return proc_run(&(struct proc_options){.argv = argv,
                                           .env = env,
                                           .dir = world->dir,
                                           .out_path = at(world, "out"),
                                           .err_path = at(world, "err")},
                    DEADLINE_MS);
}

#define RUN(world, ...) captain(world, (const char *const[]){__VA_ARGS__, NULL})

static inline const char *text_of(struct world *world, const char *name)
{
    struct bytes text;
    if (file_read(at(world, name), 1 << 20, &world->arena, &text, &world->err))
        fail_msg("%s", world->err.text);
    return (const char *)text.ptr;
}

static inline void expect_said(struct world *world, const char *file, const char *text)
{
    const char *said = text_of(world, file);
    if (!strstr(said, text))
        fail_msg("\"%s\" is not in:\n%s", text, said);
}

static inline struct bytes read_bytes(struct world *world, const char *name)
{
    struct bytes bytes;
    assert_int_equal(file_read(at(world, name), 1 << 20, &world->arena, &bytes, &world->err),
                     ERR_OK);
    return bytes;
}

static inline void write_bytes(struct world *world, const char *name, struct bytes bytes)
{
    assert_int_equal(file_replace(at(world, name), bytes, 0644, &world->err), ERR_OK);
}

/* -- the world -------------------------------------------------------------------------------- */

static inline void write_root(struct world *world, const char *name, int64_t expires_ms,
                              const struct release_floor *floor, const struct bytes *revoked)
{
    uint8_t root_keys[2][SIGN_PUBLIC_BYTES];
    uint8_t release_keys[2][SIGN_PUBLIC_BYTES];
    memcpy(root_keys[0], world->keys[ADA].public_key, SIGN_PUBLIC_BYTES);
    memcpy(root_keys[1], world->keys[BOB].public_key, SIGN_PUBLIC_BYTES);
    memcpy(release_keys[0], world->keys[ADA].public_key, SIGN_PUBLIC_BYTES);
    memcpy(release_keys[1], world->keys[CARL].public_key, SIGN_PUBLIC_BYTES);
    const struct root_document_role roles[] = {
        {TRUST_ROLE_ROOT, (const uint8_t(*)[SIGN_PUBLIC_BYTES])root_keys, 2, 2},
        {TRUST_ROLE_RELEASE, (const uint8_t(*)[SIGN_PUBLIC_BYTES])release_keys, 2, 2},
        {TRUST_ROLE_DESIRED, (const uint8_t(*)[SIGN_PUBLIC_BYTES])world->desired.public_key, 1, 1},
    };
    struct root root;
    struct bytes envelope;
    assert_int_equal(
        root_document_first("default", roles, 3, expires_ms, &world->arena, &root, &world->err),
        ERR_OK);
    root.floors = floor;
    root.floors_len = floor != NULL;
    root.revoked = revoked;
    root.revoked_len = revoked != NULL;
    if (root_document_seal(&root, world->keys, 2, &world->arena, &envelope, &world->err))
        fail_msg("%s", world->err.text);
    write_bytes(world, name, envelope);
}

static inline int set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    world->dir = tempdir_make();
    arena_init(&world->arena, 64 << 20);
    (void)snprintf(world->config, sizeof world->config, "XDG_CONFIG_HOME=%s", world->dir);
    assert_int_equal(file_make_dirs(at(world, "captain/keys"), 0700, &world->err), ERR_OK);
    sign_key_new(&world->desired);
    for (size_t i = 0; i < KEYS; i++) {
        sign_key_new(&world->keys[i]);
        const char *path =
            arena_printf(&world->arena, "%s/captain/keys/%s.key", world->dir, names[i]);
        assert_int_equal(key_file_save(&world->keys[i], names[i], NULL, path, &world->err), ERR_OK);
    }
    write_root(world, "root.dsse", clock_unix_ms() + ROOT_DOCUMENT_VALID_MS, NULL, NULL);
    *state = world;
    return 0;
}

static inline int tear_down(void **state)
{
    struct world *world = *state;
    arena_fini(&world->arena);
    tempdir_remove(world->dir);
    free(world);
    return 0;
}

/* Writes release tool@1.0 to the folder called name, unsigned unless key is given. */
static inline void make_release(struct world *world, const char *name, const char *version,
                                const char *key)
{
    const char *yaml =
        arena_printf(&world->arena,
                     "app: tool\nversion: \"%s\"\nsources: [{repository: https://git.example.org/"
                     "tool.git, commit: 8f6a1c0d3b5e7f9a1c2d4e6f8091a2b3c4d5e6f7}]\n"
                     "artifacts: [{path: payload}]\n",
                     version);
    tempdir_write(at(world, "release.yaml"), yaml, strlen(yaml));
    tempdir_write(at(world, "payload"), "what runs", 9);
    int code = key ? RUN(world, "release", "create", "-f", "release.yaml", "--sequence", "7",
                         "--output", name, "--key", key)
                   : RUN(world, "release", "create", "-f", "release.yaml", "--sequence", "7",
                         "--output", name);
    if (code)
        fail_msg("exit %d: %s", code, text_of(world, "err"));
}

static inline void sign(struct world *world, const char *file, const char *key)
{
    if (RUN(world, "release", "sign", file, "--key", key))
        fail_msg("%s", text_of(world, "err"));
}

static inline struct envelope envelope_of(struct world *world, const char *name)
{
    struct envelope envelope;
    assert_int_equal(codec_decode(&codec_envelope, read_bytes(world, name), &world->arena,
                                  &envelope, &world->err),
                     ERR_OK);
    return envelope;
}

static inline size_t signatures(struct world *world, const char *name)
{
    return envelope_of(world, name).signatures_len;
}
