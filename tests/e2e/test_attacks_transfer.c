/* SPDX-License-Identifier: Apache-2.0
 *
 * SECURITY.md, "Attacks that must bounce", the transfer half, against a real fleet: each with the code that captain hears,
 * and nothing of it on the device. tests/README.md says which test shows each of the others.
 */
#include <dirent.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "tests/e2e/world.h"
#include "tests/support/support.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

enum { PAYLOAD = 100000 };

struct wanted {
    struct world *world;
    const char *code;
};

static bool was_said(void *arg)
{
    const struct wanted *wanted = arg;
    json_t *device = world_json(wanted->world, (const char *[]){"device", "show", "lab/d0", NULL});
    bool found = false;
    size_t i;
    json_t *event;
    json_array_foreach(json_object_get(device, "events"), i, event)
    {
        const char *code = json_string_value(json_object_get(event, "code"));
        found = found || (code && strcmp(code, wanted->code) == 0);
    }
    json_decref(device);
    return found;
}

static unsigned entries(const struct world *world, const char *folder)
{
    char path[PATH_MAX];
    unsigned count = 0;
    (void)snprintf(path, sizeof path, "%s/data/apps/hello/%s", world->agents[0].dir, folder);
    DIR *dir = opendir(path);
    if (!dir)
        support_die(0, "%s is missing", path);
    for (struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    (void)closedir(dir);
    return count;
}

/* A device that serves 1.0. */
static struct world *start(void)
{
    struct world *world = world_new(1);
    world_agents_start(world);
    world_release(world, "1.0", "/index.html");
    world_channel_set(world, "hello@1.0");
    world_wait_serving(world, "1.0", 20000);
    assert_int_equal(entries(world, "releases"), 1);
    return world;
}

/* The device says why, keeps what it has, and has nothing else. */
static void assert_bounces(struct world *world, const char *code)
{
    assert_true(wait_until(was_said, &(struct wanted){world, code}, 30000));
    assert_true(world_serves(world, 0, "1.0"));
    assert_int_equal(entries(world, "releases"), 1);
    world_check_disks(world);
}

/* Every file of the store gets another last byte. */
static void spoil_store(const struct world *world)
{
    char path[PATH_MAX], name[2 * PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/artifact", world->captain_dir);
    DIR *dir = opendir(path);
    if (!dir)
        support_die(0, "%s is missing", path);
    for (struct dirent *entry; (entry = readdir(dir));) {
        size_t len = 0;
        (void)snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        char *text = entry->d_name[0] == '.' ? NULL : tempdir_read(name, &len);
        if (text && len > 0) {
            text[len - 1] = (char)~text[len - 1];
            tempdir_write(name, text, len);
        }
        free(text);
    }
    (void)closedir(dir);
}

static void test_attacks_transfer__artifact_swapped_on_the_server_is_hash_14(void **state)
{
    (void)state;
    struct world *world = start();
    world_release_with(world, "1.1", "/index.html", PAYLOAD);
    spoil_store(world);
    world_channel_set(world, "hello@1.1");
    assert_bounces(world, "hash");
    world_free(world);
}

static void create(struct world *world, const char *text)
{
    char path[PATH_MAX], key[PATH_MAX];
    char *err = NULL;
    (void)snprintf(path, sizeof path, "%s/other.yaml", world->dir);
    (void)snprintf(key, sizeof key, "%s/keys/release.key", world->captain_dir);
    tempdir_write(path, text, strlen(text));
    if (world_cli(world, (const char *[]){"release", "create", "-f", path, "--key", key, NULL},
                  NULL, &err) != 0)
        support_die(0, "release create: %s", err);
    free(err);
}

#define HEAD                                                                                       \
    "app: hello\nversion: \"1.1\"\nsources:\n"                                                     \
    "  - {repository: \"https://example.org/hello.git\", commit: "                                 \
    "\"0000000000000000000000000000000000000007\"}\n"

static void
test_attacks_transfer__artifact_for_another_architecture_is_wrong_target_16(void **state)
{
    (void)state;
    struct world *world = start();
    create(world, HEAD "artifacts:\n"
                       "  - {path: hello-1.0/www, to: www, os: linux, arch: vax}\n");
    world_channel_set(world, "hello@1.1");
    assert_bounces(world, "wrong_target");
    world_free(world);
}

/* A hook that no artifact brought: the folder holds what was signed and nothing else, so there is no such program, and
 * what was planted where the transfer's user may write is gone. */
/* The digest of a release that captain has; to be freed. */
static char *digest_of(struct world *world, const char *name)
{
    char *out = NULL;
    const char *const words[] = {"--json", "release", "show", name, NULL};
    assert_int_equal(world_cli(world, words, &out, NULL), 0);
    json_t *release = json_loads(out, 0, NULL);
    const char *digest = json_string_value(json_object_get(release, "digest"));
    assert_non_null(digest);
    char *copy = strdup(digest);
    json_decref(release);
    free(out);
    return copy;
}

/* A program that touches the mark when it runs. */
static void plant_hook(const char *folder, const char *mark)
{
    char name[PATH_MAX + 32], script[PATH_MAX + 64];
    (void)snprintf(script, sizeof script, "#!/bin/sh\ntouch %s\n", mark);
    (void)snprintf(name, sizeof name, "%s/hook", folder);
    tempdir_write(name, script, strlen(script));
    assert_int_equal(chmod(name, 0755), 0);
}

static bool is_there(const char *folder, const char *what)
{
    struct stat st;
    char name[2 * PATH_MAX + 32];
    (void)snprintf(name, sizeof name, "%s/%s", folder, what);
    return lstat(name, &st) == 0;
}

static void test_attacks_transfer__a_hook_that_no_artifact_brought_does_not_run(void **state)
{
    (void)state;
    char apps[PATH_MAX], path[2 * PATH_MAX], name[2 * PATH_MAX + 32], mark[PATH_MAX];
    struct world *world = start();
    create(world, HEAD "artifacts:\n  - {path: hello-1.0/www, to: www}\n"
                       "services:\n  - {name: web, command: [busybox, httpd, -f, -p, "
                       "\"127.0.0.1:${PORT}\", -h, www], pre_stop: [./hook], stop_timeout: 2s}\n"
                       "confirm: 1s\n");
    /* Where a helper gone bad would put it: in the release that is to come. */
    char *digest = digest_of(world, "hello@1.1");
    (void)snprintf(mark, sizeof mark, "%s/mark", world->dir);
    (void)snprintf(apps, sizeof apps, "%s/data/apps/hello", world->agents[0].dir);
    (void)snprintf(path, sizeof path, "%s/staging/%s", apps, digest);
    assert_int_equal(mkdir(path, 0700), 0);
    plant_hook(path, mark);
    static const char *const folders[] = {"incoming", "unpack", "unpack/tree"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        (void)snprintf(name, sizeof name, "%s/%s", path, folders[i]);
        assert_int_equal(mkdir(name, 0777), 0);
        plant_hook(name, mark);
    }
    world_channel_set(world, "hello@1.1");
    world_wait_healthy(world, 1, 30000);
    world_release(world, "1.2", "/index.html"); /* stops 1.1, whose hook is asked */
    world_channel_set(world, "hello@1.2");
    world_wait_serving(world, "1.2", 30000);
    assert_false(is_there(world->dir, "mark"));
    (void)snprintf(path, sizeof path, "%s/releases/%s", apps, digest);
    assert_true(is_there(path, "."));
    assert_false(is_there(path, "root/hook"));
    assert_false(is_there(path, "hook"));
    assert_false(is_there(path, "incoming"));
    free(digest);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attacks_transfer__artifact_swapped_on_the_server_is_hash_14),
        cmocka_unit_test(
            test_attacks_transfer__artifact_for_another_architecture_is_wrong_target_16),
        cmocka_unit_test(test_attacks_transfer__a_hook_that_no_artifact_brought_does_not_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
