/* SPDX-License-Identifier: Apache-2.0
 *
 * What was made and signed without network, given to a real captain: a release in a folder, and the
 * next root, which revokes it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/base/mem.h"
#include "tests/e2e/world.h"
#include "tests/support/tempdir.h"

static struct world *world;
static struct arena arena;

static const char *at(const char *folder, const char *name)
{
    return arena_printf(&arena, "%s/%s", folder, name);
}

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, 1 << 20);
    world = world_new(0);
    (void)setenv("XDG_CONFIG_HOME", world->dir, 1);
    const char *yaml =
        "app: tool\nversion: \"1.0\"\nsources: [{repository: https://git.example.org/"
        "tool.git, commit: 8f6a1c0d3b5e7f9a1c2d4e6f8091a2b3c4d5e6f7}]\n"
        "artifacts: [{path: payload}]\n";
    tempdir_write(at(world->dir, "release.yaml"), yaml, strlen(yaml));
    tempdir_write(at(world->dir, "payload"), "what runs", 9);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_free(world);
    arena_fini(&arena);
    return 0;
}

static void run(int code, const char *said, const char *const *args)
{
    char *out DEFER(mem_free_ref) = NULL;
    char *err DEFER(mem_free_ref) = NULL;
    int exit_code = world_cli(world, args, &out, &err);
    if (exit_code != code)
        fail_msg("%s %s: exit %d and not %d: %s", args[0], args[1], exit_code, code, err);
    if (!strstr(out, said) && !strstr(err, said))
        fail_msg("\"%s\" is not in:\n%s%s", said, out, err);
}

#define RUN(code, said, ...) run(code, said, (const char *const[]){__VA_ARGS__, NULL})

static void test_signing__a_bundle_signed_offline_is_taken_in(void **state)
{
    (void)state;
    const char *bundle = at(world->dir, "bundle");
    RUN(0, "not signed yet", "release", "create", "-f", at(world->dir, "release.yaml"),
        "--sequence", "1", "--output", bundle);
    RUN(1, "none of the 0 signatures", "release", "create", "--bundle", bundle);
    RUN(0, "signed: 1", "release", "sign", bundle, "--key",
        at(world->captain_dir, "keys/release.key"));
    RUN(0, "valid", "release", "verify", bundle, "--root", at(world->captain_dir, "root.dsse"));
    RUN(0, "tool@1.0", "release", "create", "--bundle", bundle);
    RUN(0, "is there already", "release", "create", "--bundle", bundle);
    RUN(0, "tool@1.0", "release", "ls");
}

static void test_signing__the_next_root_is_published_and_revokes(void **state)
{
    (void)state;
    const char *bundle = at(world->dir, "bundle");
    const char *current = at(world->dir, "root.dsse"); /* a copy, as a person has it */
    const char *next = at(world->dir, "next.dsse");
    size_t len;
    char *root DEFER(mem_free_ref) = tempdir_read(at(world->captain_dir, "root.dsse"), &len);
    tempdir_write(current, root, len);
    RUN(0, "captain root sign", "root", "rotate", "--root", current, "--revoke", "tool@1.0",
        "--output", next);
    RUN(1, "none of the 0 signatures", "root", "publish", next, "--root", current, "--reason",
        "stolen key");
    RUN(0, "captain root publish", "root", "sign", next, "--root", current, "--key",
        at(world->captain_dir, "keys/root.key"));
    RUN(0, "version 2", "root", "publish", next, "--root", current, "--reason", "stolen key");
    RUN(17, "is revoked", "release", "verify", bundle, "--root", current);
    RUN(17, "is revoked", "release", "verify", bundle, "--root",
        at(world->captain_dir, "root.dsse"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signing__a_bundle_signed_offline_is_taken_in),
        cmocka_unit_test(test_signing__the_next_root_is_published_and_revokes),
    };
    return cmocka_run_group_tests_name("signing", tests, set_up, tear_down);
}
