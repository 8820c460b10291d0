/* SPDX-License-Identifier: Apache-2.0
 *
 * What surrounds an app on its device: flags, secrets, its own user, word of a change. The test
 * plays captain (house.h) and seals secrets as captain does.
 */
#include <fcntl.h>
#include <pwd.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <linux/magic.h>

#include "agent/io/identity_files.h"
#include "common/base/cohort.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/file.h"
#include "tests/e2e/house.h"
#include "tests/support/find_text.h"
#include "tests/support/tempdir.h"
#include "tests/support/wait.h"

enum { VALUE_BYTES = 16 };

#define SERVE "busybox httpd -f -p 127.0.0.1:$PORT -h www & while kill -0 $!; do wait $!; done"
#define NOTE(name) "cat $CAPTAIN_FLAGS >> $CAPTAIN_STATE/" name ";"

struct scene {
    struct house *h;
    char base[128]; /* of the secrets */
    struct identity_keys keys;
    uint64_t generation; /* of the device's document */
    char planted[2 * VALUE_BYTES + 1];
};

static struct scene *scene;

/* ---- captain ---- */

static struct feature_flag flags_said[2];

static void want_flags(struct house *h, const char *ui, const char *limit)
{
    flags_said[0] =
        (struct feature_flag){.name = "new-ui", .value = ui, .salt = "s", .cut = COHORT_CUT_ALL};
    flags_said[1] =
        (struct feature_flag){.name = "limit", .value = "0", .otherwise = limit, .salt = "s"};
    h->more.flags = flags_said;
    h->more.flags_len = 2;
}

static struct sealed_secret seal(struct scene *s, const char *name, const char *value,
                                 const uint8_t *key)
{
    size_t len = strlen(value);
    uint8_t *box = arena_alloc(&s->h->arena, len + crypto_box_SEALBYTES);
    assert_non_null(box);
    assert_int_equal(crypto_box_seal(box, (const uint8_t *)value, len, key), 0);
    return (struct sealed_secret){.app = "hello",
                                  .name = name,
                                  .version = 1,
                                  .sealed = bytes_of(box, len + crypto_box_SEALBYTES)};
}

static void tell_device(struct scene *s, const struct sealed_secret *secrets, size_t len)
{
    struct device_desired said = {.tenant = "default",
                                  .device = "lyon/gw-1",
                                  .generation = ++s->generation,
                                  .issued_ms = clock_unix_ms(),
                                  .expires_ms = clock_unix_ms() + 3600 * 1000,
                                  .secrets = secrets,
                                  .secrets_len = len};
    house_store(
        s->h, "desired.device.lyon.gw-1",
        house_seal(s->h, SIGN_TYPE_DEVICE, &codec_device_desired, &said, &s->h->desired_key, NULL));
}

static void tell_secret(struct scene *s, const char *value)
{
    struct sealed_secret secrets[] = {seal(s, "token", value, s->keys.seal_public),
                                      seal(s, "user", "captain", s->keys.seal_public)};
    tell_device(s, secrets, 2);
}

/* ---- waiting ---- */

struct file_hope {
    char *path;
    const char *text; /* a part of it */
};

static bool file_has(void *arg)
{
    struct file_hope *hope = arg;
    char *text = tempdir_read(hope->path, NULL);
    bool has = text && strstr(text, hope->text);
    free(text);
    return has;
}

static void wait_file(struct house *h, char *path, const char *part)
{
    struct file_hope hope = {path, part};
    if (!wait_turning(h->loop, file_has, &hope, LONG_MS)) {
        house_dump(h);
        fail_msg("%s never has \"%s\"", path, part);
    }
}

static bool is_in_force(void *arg)
{
    const struct scene *s = arg;
    return s->h->health.device_generation == s->generation;
}

static void wait_in_force(struct scene *s)
{
    if (!wait_turning(s->h->loop, is_in_force, s, LONG_MS)) {
        house_dump(s->h);
        fail_msg("generation %d is never in force", (int)s->generation);
    }
}

static bool is_gone(void *arg)
{
    struct stat st;
    return stat(arg, &st) != 0;
}

static bool has_reason(void *arg)
{
    struct file_hope *hope = arg;
    const char *reason = house_status_of(scene->h)->reason;
    return reason && strstr(reason, hope->text);
}

static void wait_reason(struct house *h, const char *part)
{
    struct file_hope hope = {NULL, part};
    if (!wait_turning(h->loop, has_reason, &hope, LONG_MS)) {
        house_dump(h);
        fail_msg("no reason \"%s\"", part);
    }
}

static char *state_path(struct house *h, const char *name)
{
    return house_path_in(h, "device/apps/hello/state/%s", name);
}

static char *secret_path(struct scene *s, const char *name)
{
    return arena_printf(&s->h->arena, "%s/hello/%s", s->base, name);
}

static unsigned count(const char *text, const char *part)
{
    unsigned found = 0;
    for (; (text = strstr(text, part)); text += strlen(part))
        found++;
    return found;
}

/* ---- a planted value is looked for ---- */

static void search_everywhere(struct scene *s)
{
    struct house *h = s->h;
    char where[4096];
    if (find_text_in_tree(h->dir, s->planted, where, sizeof where) || /* device, log, store */
        find_text_in_tree(nats_server_dir(h->nats), s->planted, where, sizeof where) ||
        find_text_in_processes(s->planted, where, sizeof where))
        fail_msg("the planted secret is in %s", where);
    for (uint64_t i = 0; i < h->stored; i++)
        assert_null(strstr(h->events[i].text, s->planted));
    assert_null(strstr(house_status_of(h)->reason, s->planted));
}

/* ---- tests ---- */

static void test_settings__an_app_sees_its_flags_and_hears_of_a_change(void **state)
{
    struct house *h = *state;
    want_flags(h, "true", "12");
    house_install(h,
                  &(struct recipe){.version = "1.0",
                                   .reload_signal = "HUP",
                                   .command = NOTE("start") "trap '" NOTE("told") "' HUP; " SERVE});
    char *start = tempdir_read(state_path(h, "start"), NULL);
    assert_string_equal(start, "{\n \"limit\": 12,\n \"new-ui\": true\n}\n"); /* before it began */
    free(start);
    wait_file(h, house_path_in(h, "device/apps/hello/flags.env"), "FLAG_NEW_UI=\"true\"\n");
    uint64_t from = h->stored;
    want_flags(h, "beta", "13");
    h->generation++;
    struct released same = {.version = "1.0"};
    memcpy(same.digest, house_status_of(h)->digest.ptr, DIGEST_BYTES);
    house_publish_signed(h, &same, &h->desired_key, h->generation);
    wait_file(h, state_path(h, "told"), "\"new-ui\": \"beta\"");
    wait_file(h, house_path_in(h, "device/apps/hello/flags.env"), "FLAG_LIMIT=\"13\"\n");
    assert_true(
        wait_turning(h->loop, is_gone, house_path_in(h, "device/apps/hello/reload"), LONG_MS));
    house_wait_status(h, APP_STATE_HEALTHY, "1.0");
    assert_int_equal(h->stored, from); /* no restart, no activation */
}

static void test_settings__flags_survive_a_restart_without_captain(void **state)
{
    struct house *h = *state;
    want_flags(h, "true", "12");
    house_install(h, &(struct recipe){.version = "1.0"});
    char *path = house_path_in(h, "device/apps/hello/flags.json");
    struct stat before, after;
    assert_int_equal(stat(path, &before), 0);
    house_kill_agent(h);
    nats_server_kill(h->nats);
    assert_int_equal(unlink(house_path_in(h, "device/apps/hello/flags.env")), 0);
    house_start_agent(h);
    wait_file(h, house_path_in(h, "device/apps/hello/flags.env"), "FLAG_LIMIT=\"12\"\n");
    assert_int_equal(stat(path, &after), 0);
    assert_true(before.st_ino == after.st_ino); /* what was right was left alone */
}

static void test_settings__a_change_made_while_the_agent_died_is_told_after(void **state)
{
    struct house *h = *state;
    want_flags(h, "true", "12");
    house_install(h, &(struct recipe){.version = "1.0",
                                      .reload_signal = "USR1",
                                      .command = "trap '" NOTE("told") "' USR1; " SERVE});
    house_kill_agent(h);
    tempdir_write(house_path_in(h, "device/apps/hello/reload"), "", 0);
    house_start_agent(h);
    wait_file(h, state_path(h, "told"), "\"limit\": 12");
    assert_true(
        wait_turning(h->loop, is_gone, house_path_in(h, "device/apps/hello/reload"), LONG_MS));
}

static void test_settings__a_secret_arrives_changes_and_is_nowhere_else(void **state)
{
    struct scene *s = scene;
    struct house *h = *state;
    struct stat st;
    tell_secret(s, "first-value");
    house_install(
        h, &(struct recipe){.version = "1.0",
                            .command = "cp $CAPTAIN_SECRETS/user $CAPTAIN_STATE/user; " SERVE,
                            .reload = "sha256sum < $CAPTAIN_SECRETS/token >> "
                                      "$CAPTAIN_STATE/sums; echo reloaded"});
    wait_file(h, state_path(h, "user"), "captain"); /* there before it began */
    wait_in_force(s);
    wait_file(h, secret_path(s, "token"), "first-value");
    assert_int_equal(stat(secret_path(s, "token"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0400);
    assert_int_equal(stat(secret_path(s, ""), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0500);
    tell_secret(s, s->planted);
    wait_in_force(s);
    wait_file(h, secret_path(s, "token"), s->planted);
    wait_file(h, state_path(h, "sums"), "-\n");
    wait_file(h, house_path_in(h, "device/apps/hello/log/web.log"), "reloaded");
    char *old = arena_printf(&h->arena, "%s/.hello.1", s->base);
    assert_true(wait_turning(h->loop, is_gone, old, LONG_MS));
    search_everywhere(s);
    char *sums = tempdir_read(state_path(h, "sums"), NULL);
    assert_int_equal(count(sums, "-\n"), 1); /* told once */
    free(sums);
    tell_device(s, NULL, 0);
    wait_in_force(s);
    assert_true(wait_turning(h->loop, is_gone, secret_path(s, "token"), LONG_MS));
}

static void test_settings__a_reload_that_fails_is_an_event(void **state)
{
    struct scene *s = scene;
    struct house *h = *state;
    tell_secret(s, "first-value");
    house_install(h, &(struct recipe){.version = "1.0", .reload = "exit 3"});
    uint64_t from = h->stored;
    tell_secret(s, "other-value");
    house_wait_event(h, EVENT_KIND_SETTINGS_FAILED, from);
    assert_non_null(strstr(h->events[from].text, "service web"));
    assert_non_null(strstr(h->events[from].text, "exit code 3"));
    house_wait_status(h, APP_STATE_HEALTHY, "1.0");
}

static void test_settings__a_box_that_does_not_open_is_told_and_not_confirmed(void **state)
{
    struct scene *s = scene;
    struct house *h = *state;
    uint8_t public[crypto_box_PUBLICKEYBYTES], secret[crypto_box_SECRETKEYBYTES];
    tell_secret(s, "first-value");
    house_install(h, &(struct recipe){.version = "1.0"});
    wait_in_force(s);
    uint64_t from = h->stored, good = s->generation;
    assert_int_equal(crypto_box_keypair(public, secret), 0);
    struct sealed_secret secrets[] = {seal(s, "token", s->planted, public),
                                      seal(s, "user", "second", s->keys.seal_public)};
    tell_device(s, secrets, 2);
    house_wait_event(h, EVENT_KIND_SETTINGS_FAILED, from);
    assert_non_null(strstr(h->events[from].text, "secret token does not open"));
    wait_file(h, secret_path(s, "user"), "second");
    wait_reason(h, "secret token does not open");
    assert_int_equal(h->health.device_generation, good);
    house_wait_status(h, APP_STATE_HEALTHY, "1.0");
    tell_secret(s, "mended");
    wait_in_force(s);
    wait_file(h, secret_path(s, "token"), "mended");
}

static void test_settings__secrets_come_back_after_a_reboot_without_captain(void **state)
{
    struct scene *s = scene;
    struct house *h = *state;
    struct err err;
    char *ghost = arena_printf(&h->arena, "%s/.ghost.1", s->base);
    tell_secret(s, "first-value");
    house_install(h, &(struct recipe){.version = "1.0"});
    wait_in_force(s);
    house_kill_agent(h);
    nats_server_kill(h->nats);
    assert_int_equal(file_remove_tree(s->base, &err), ERR_OK); /* as the memory of a machine */
    assert_int_equal(mkdir(s->base, 0700), 0);
    assert_int_equal(mkdir(ghost, 0700), 0); /* of an app that is not configured */
    house_start_agent(h);
    wait_file(h, secret_path(s, "token"), "first-value");
    assert_true(wait_turning(h->loop, is_gone, ghost, LONG_MS));
}

static void test_settings__no_secret_is_written_to_a_disk(void **state)
{
    struct scene *s = scene;
    struct house *h = *state;
    struct statfs fs;
    assert_int_equal(statfs(h->dir, &fs), 0);
    if (fs.f_type == TMPFS_MAGIC)
        skip();
    h->extra = arena_printf(&h->arena, ", \"secrets\": \"%s\"", house_path_in(h, "on-disk"));
    house_write_config(h);
    tell_secret(s, s->planted);
    struct released r = house_release(h, &(struct recipe){.version = "1.0"});
    house_want(h, &r);
    house_start_agent(h);
    house_wait_event(h, EVENT_KIND_SETTINGS_FAILED, 0);
    house_wait_status(h, APP_STATE_HEALTHY, "1.0"); /* it serves all the same */
    wait_reason(h, "would be on a disk");
    assert_int_equal(h->health.device_generation, 0);
    search_everywhere(s);
}

static void test_settings__an_app_runs_as_its_own_user(void **state)
{
    struct scene *s = scene;
    struct house *h = *state;
    const struct passwd *nobody = getpwnam("nobody");
    struct stat st;
    if (geteuid() != 0 || !nobody)
        skip();
    uid_t uid = nobody->pw_uid;
    assert_int_equal(chmod(h->dir, 0711), 0);
    h->app_extra = ", \"user\": \"nobody\"";
    house_write_config(h);
    want_flags(h, "true", "12");
    tell_secret(s, "first-value");
    house_install(
        h, &(struct recipe){.version = "1.0",
                            .tree = true,
                            .command = "id -u > $CAPTAIN_STATE/ids; id -G >> $CAPTAIN_STATE/ids; "
                                       "cat $CAPTAIN_SECRETS/user $CAPTAIN_FLAGS > "
                                       "$CAPTAIN_STATE/seen; cat ../../../../../agent.db; "
                                       "touch www/x; ulimit -c > $CAPTAIN_STATE/core",
                            .also = "test $(id -u) != 0 && cat $CAPTAIN_SECRETS/token"});
    char *ids = tempdir_read(state_path(h, "ids"), NULL);
    assert_string_equal(ids, arena_printf(&h->arena, "%u\n%u\n", uid, nobody->pw_gid));
    free(ids);
    wait_file(h, state_path(h, "seen"), "captain{\n \"limit\": 12");
    assert_int_equal(stat(secret_path(s, "token"), &st), 0);
    assert_int_equal(st.st_uid, uid);
    assert_int_equal(stat(state_path(h, ""), &st), 0);
    assert_int_equal(st.st_uid, uid);
    assert_int_equal(stat(house_path_in(h, "device/apps/hello/log"), &st), 0);
    assert_int_equal(st.st_uid, uid);
    char *log = tempdir_read(house_path_in(h, "device/apps/hello/log/web.log"), NULL);
    assert_non_null(strstr(log, "agent.db: Permission denied"));
    assert_non_null(strstr(log, "www/x': Permission denied"));
    free(log);
}

static void test_settings__an_unknown_user_is_an_error_at_the_start(void **state)
{
    struct house *h = *state;
    h->app_extra = ", \"user\": \"nobody-of-that-name\"";
    house_write_config(h);
    const char *argv[] = {getenv("CAPTAIN_AGENT_BIN"), "--config", house_path_in(h, "agent.json"),
                          NULL};
    struct proc_options options = {.argv = argv, .out_path = house_path_in(h, "out")};
    assert_int_equal(proc_run(&options, LONG_MS), 2);
    char *out = tempdir_read(house_path_in(h, "out"), NULL);
    assert_non_null(strstr(out, "app hello: user: there is no user nobody-of-that-name"));
    free(out);
}

/* ---- a house with keys and a folder in memory ---- */

static void plant(struct scene *s)
{
    uint8_t value[VALUE_BYTES];
    clock_random(value, sizeof value);
    str_hex(bytes_of(value, sizeof value), s->planted);
    (void)snprintf(s->base, sizeof s->base, "/dev/shm/captain-e2e-%.16s", s->planted + VALUE_BYTES);
}

static int set_up(void **state)
{
    struct err err;
    int lock_fd = -1;
    if (house_setup(state) != 0)
        return -1;
    scene = mem_new(1, sizeof *scene);
    scene->h = *state;
    plant(scene);
    char *folder = house_path_in(scene->h, "device");
    if (sodium_init() < 0 || file_make_dirs(folder, 0700, &err) != ERR_OK ||
        identity_files_make(folder, &lock_fd, &scene->keys, &err) != ERR_OK)
        return -1;
    (void)close(lock_fd);
    scene->h->extra = arena_printf(&scene->h->arena, ", \"secrets\": \"%s\"", scene->base);
    house_write_config(scene->h);
    return 0;
}

static int tear_down(void **state)
{
    struct err err;
    int ret = house_teardown(state);
    enum err_code code = file_remove_tree(scene->base, &err);
    identity_keys_wipe(&scene->keys);
    mem_free(scene);
    return code == ERR_OK ? ret : -1;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_settings__an_app_sees_its_flags_and_hears_of_a_change),
        T(test_settings__flags_survive_a_restart_without_captain),
        T(test_settings__a_change_made_while_the_agent_died_is_told_after),
        T(test_settings__a_secret_arrives_changes_and_is_nowhere_else),
        T(test_settings__a_reload_that_fails_is_an_event),
        T(test_settings__a_box_that_does_not_open_is_told_and_not_confirmed),
        T(test_settings__secrets_come_back_after_a_reboot_without_captain),
        T(test_settings__no_secret_is_written_to_a_disk),
        T(test_settings__an_app_runs_as_its_own_user),
        T(test_settings__an_unknown_user_is_an_error_at_the_start),
    };
    return cmocka_run_group_tests_name("settings", tests, NULL, NULL);
}
