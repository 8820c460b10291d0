/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/captain/setting_world.h"

#include <dirent.h>
#include <ftw.h>
#include <unistd.h>

#include "captain/io/store/log.h"

static void test_secret__without_a_master_key_there_are_none(void **state)
{
    struct world *w = *state;
    struct secret_info info;
    struct secret_list list;
    assert_int_equal(set_secret(w, "db", "", "x", false, &info), ERR_USAGE);
    assert_non_null(strstr(w->error, "no master key"));
    assert_non_null(strstr(w->hint, "master_key"));
    const struct secret_put put = {
        .app = "hello", .name = "db", .sealed = bytes_of(w->content, 60)};
    assert_int_equal(ask(w, "secret.set", &codec_secret_put, &put, &codec_secret_info, &info),
                     ERR_USAGE);
    assert_int_equal(list_secrets(w).secrets_len, 0);
    assert_int_equal(remove_secret(w, "db", "", &list), ERR_NOT_FOUND);
}

static void test_secret__reaches_a_device_and_is_confirmed(void **state)
{
    struct world *w = *state;
    struct device_keys keys;
    enrol(w, "lab/a", "approved", &keys);
    device_has(w, "lab.a", "stable", 0);
    wait_counts(w, 1, 0);
    struct secret_info info = set_ok(w, "db", "", "hunter2");
    assert_int_equal(info.version, 1);
    assert_string_equal(info.set_by, "operator:alice");
    assert_true(info.decision > 0);
    struct device_desired desired = wait_document(w, "lab/a", 0);
    assert_string_equal(desired.device, "lab/a");
    assert_int_equal(desired.secrets_len, 1);
    assert_int_equal(desired.secrets[0].version, 1);
    assert_secret(&desired.secrets[0], &keys, "db", "hunter2");
    wait_confirmed(w, 0, 0, 1);
    const struct secret_list list = list_secrets(w);
    assert_int_equal(list.secrets[0].waiting_len, 1);
    assert_string_equal(list.secrets[0].waiting[0], "lab/a");
    device_has(w, "lab.a", "stable", desired.generation - 1); /* one that has not got it yet */
    wait_counts(w, 2, 0);
    wait_confirmed(w, 0, 0, 1);
    device_has(w, "lab.a", "stable", desired.generation);
    wait_confirmed(w, 0, 1, 1);
    assert_int_equal(list_secrets(w).secrets[0].waiting_len, 0);
}

static void test_secret__the_same_box_goes_on_until_it_changes(void **state)
{
    struct world *w = *state;
    struct device_keys keys;
    struct device_info device;
    enrol(w, "lab/a", "approved", &keys);
    device_has(w, "lab.a", "stable", 0);
    wait_counts(w, 1, 0);
    (void)set_ok(w, "db", "", "hunter2");
    const struct device_desired first = wait_document(w, "lab/a", 0);
    device_has(w, "lab.a", "stable", first.generation);
    wait_confirmed(w, 0, 1, 1);
    /* Another reason to issue: a label. */
    const struct device_label_set label = {.key = "rack", .value = "7"};
    const struct device_change change = {.device = "lab/a", .labels = &label, .labels_len = 1};
    ask_ok(w, "device.label", &codec_device_change, &change, &codec_device_info, &device);
    const struct device_desired second = wait_document(w, "lab/a", first.generation);
    assert_int_equal(second.labels_len, 1);
    assert_true(bytes_equal(second.secrets[0].sealed, first.secrets[0].sealed));
    wait_confirmed(w, 0, 1, 1); /* it has it, with the document before */
    struct secret_info info;
    assert_int_equal(set_secret(w, "db", "", "hunter3", true, &info), ERR_OK);
    assert_int_equal(info.version, 2);
    const struct device_desired third = wait_document(w, "lab/a", second.generation);
    assert_int_equal(third.labels_len, 1);
    assert_int_equal(third.secrets[0].version, 2);
    assert_secret(&third.secrets[0], &keys, "db", "hunter3");
    wait_confirmed(w, 0, 0, 1);
    /* A captain that starts anew has no reason to issue, and nobody has to confirm again. */
    device_has(w, "lab.a", "stable", third.generation);
    wait_confirmed(w, 0, 1, 1);
    assert_int_equal(WEXITSTATUS(captain_end(w, SIGTERM)), 0);
    captain_start(w);
    wait_ready(w);
    wait_confirmed(w, 0, 1, 1);
    struct device_desired last = {.generation = 0};
    const int64_t until_ms = clock_mono_ms() + WAIT_MS;
    while (!document(w, "lab/a", &last)) {
        assert_true(clock_mono_ms() < until_ms); /* it is sent again at each start */
        turn_for(w->loop, 10);
    }
    assert_int_equal(last.generation, third.generation);
}

static void test_secret__the_most_specific_scope_wins(void **state)
{
    struct world *w = *state;
    struct device_keys a, b;
    struct secret_list list;
    enrol(w, "lab/a", "approved", &a);
    enrol(w, "shop/b", "approved", &b);
    device_has(w, "lab.a", "stable", 0);
    device_has(w, "shop.b", "beta", 0);
    wait_counts(w, 2, 0);
    (void)set_ok(w, "db", "", "of the app");
    struct device_desired on_a = wait_document(w, "lab/a", 0);
    struct device_desired on_b = wait_document(w, "shop/b", 0);
    assert_secret(&on_a.secrets[0], &a, "db", "of the app");
    assert_secret(&on_b.secrets[0], &b, "db", "of the app");
    assert_int_equal(set_ok(w, "db", "channel:beta", "of beta").version, 2);
    on_b = wait_document(w, "shop/b", on_b.generation);
    assert_secret(&on_b.secrets[0], &b, "db", "of beta");
    assert_int_equal(on_b.secrets[0].version, 2);
    (void)set_ok(w, "db", "device:lab/a", "of a");
    on_a = wait_document(w, "lab/a", on_a.generation);
    assert_secret(&on_a.secrets[0], &a, "db", "of a");
    wait_confirmed(w, 0, 0, 0); /* the app's own value reaches nobody now */
    /* It moves to another channel. */
    device_has(w, "shop.b", "stable", 0);
    on_b = wait_document(w, "shop/b", on_b.generation);
    assert_secret(&on_b.secrets[0], &b, "db", "of the app");
    assert_int_equal(remove_secret(w, "db", "device:lab/a", &list), ERR_OK);
    assert_int_equal(list.secrets_len, 2);
    on_a = wait_document(w, "lab/a", on_a.generation);
    assert_secret(&on_a.secrets[0], &a, "db", "of the app");
    assert_int_equal(remove_secret(w, "db", "", &list), ERR_OK);
    on_a = wait_document(w, "lab/a", on_a.generation);
    assert_int_equal(on_a.secrets_len, 0);
    on_b = wait_document(w, "shop/b", on_b.generation);
    assert_int_equal(on_b.secrets_len, 0);
}

static void test_secret__only_devices_that_were_let_in_get_one(void **state)
{
    struct world *w = *state;
    struct device_keys keys;
    struct device_desired desired;
    enrol(w, "lab/revoked", "revoked", &keys);
    enrol(w, "lab/pending", "pending", &keys);
    device_has(w, "lab.revoked", "stable", 0);
    device_has(w, "lab.pending", "stable", 0);
    device_has(w, "lab.stranger", "stable", 0);
    wait_counts(w, 3, 0);
    (void)set_ok(w, "db", "", "hunter2");
    wait_confirmed(w, 0, 0, 2); /* pending and stranger should have it, some day */
    assert_false(document(w, "lab/revoked", &desired));
    assert_false(document(w, "lab/pending", &desired));
    assert_false(document(w, "lab/stranger", &desired));
    /* Let in; its next word of another channel has captain look again. */
    enrol(w, "lab/stranger", "approved", &keys);
    device_has(w, "lab.stranger", "beta", 0);
    desired = wait_document(w, "lab/stranger", 0);
    assert_secret(&desired.secrets[0], &keys, "db", "hunter2");
    /* With a new key, as after enrolling anew, the old box is of no use to it. */
    enrol(w, "lab/stranger", "approved", &keys);
    device_has(w, "lab.stranger", "stable", 0);
    desired = wait_document(w, "lab/stranger", desired.generation);
    assert_secret(&desired.secrets[0], &keys, "db", "hunter2");
}

static void test_secret__bad_words_are_refused(void **state)
{
    struct world *w = *state;
    struct secret_info info;
    struct secret_list list;
    char large[4098];
    assert_int_equal(set_secret(w, "db", "tenant:x", "x", false, &info), ERR_USAGE);
    assert_non_null(strstr(w->hint, "--device"));
    assert_int_equal(set_secret(w, "db", "", "x", true, &info), ERR_NOT_FOUND);
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    assert_int_equal(set_secret(w, "db", "", large, false, &info), ERR_SIZE);
    large[4096] = '\0';
    assert_int_equal(set_secret(w, "db", "", large, false, &info), ERR_OK);
    const struct secret_put put = {
        .app = "hello", .name = "db", .sealed = bytes_of(w->content, 60)};
    assert_int_equal(ask(w, "secret.set", &codec_secret_put, &put, &codec_secret_info, &info),
                     ERR_DENIED);
    assert_int_equal(remove_secret(w, "other", "", &list), ERR_NOT_FOUND);
    assert_int_equal(remove_secret(w, "db", "site:lab", &list), ERR_NOT_FOUND);
}

static size_t secret_files(struct world *w)
{
    char *path = tempdir_path(w->dir, "secret");
    DIR *dir = opendir(path);
    size_t files = 0;
    for (struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir))
        files += entry->d_name[0] != '.';
    if (dir)
        assert_int_equal(closedir(dir), 0);
    free(path);
    return files;
}

static void test_secret__files_go_with_their_decisions(void **state)
{
    struct world *w = *state;
    struct secret_list list;
    (void)set_ok(w, "db", "", "one");
    (void)set_ok(w, "db", "", "two");
    (void)set_ok(w, "token", "", "three");
    assert_int_equal(secret_files(w), 2);
    assert_int_equal(remove_secret(w, "token", "", &list), ERR_OK);
    assert_int_equal(secret_files(w), 1);
    /* Left by one that was cut off before its decision. */
    char *orphan = tempdir_path(w->dir, "secret/" MASTER_A);
    tempdir_write(orphan, "x", 1);
    assert_int_equal(WEXITSTATUS(captain_end(w, SIGTERM)), 0);
    captain_start(w);
    wait_ready(w);
    assert_int_equal(access(orphan, F_OK), -1);
    assert_int_equal(secret_files(w), 1);
    free(orphan);
}

static void test_secret__another_master_key_is_noticed_at_the_start(void **state)
{
    struct world *w = *state;
    struct secret_list list;
    (void)set_ok(w, "db", "", "one");
    assert_int_equal(WEXITSTATUS(captain_end(w, SIGTERM)), 0);
    assert_int_equal(setenv("SETTING_MASTER", MASTER_B, 1), 0);
    captain_start(w);
    int status = 0;
    assert_true(proc_wait(w->captain, WAIT_MS, &status));
    assert_int_equal(WEXITSTATUS(status), ERR_DENIED);
    proc_free(w->captain);
    char *out = tempdir_path(w->dir, "captain.out");
    char *said = tempdir_read(out, NULL);
    assert_non_null(strstr(said, "the master key is not the one that sealed"));
    free(said);
    free(out);
    /* Without one they can be removed; then a new key may come. */
    assert_int_equal(unsetenv("SETTING_MASTER"), 0);
    captain_start(w);
    wait_ready(w);
    assert_int_equal(remove_secret(w, "db", "", &list), ERR_OK);
    assert_int_equal(WEXITSTATUS(captain_end(w, SIGTERM)), 0);
    assert_int_equal(setenv("SETTING_MASTER", MASTER_B, 1), 0);
    captain_start(w);
    wait_ready(w);
    assert_int_equal(set_ok(w, "db", "", "two").version, 2);
}

static void test_secret__many_devices_are_reached_in_slices(void **state)
{
    enum { DEVICES = 600 };
    struct world *w = *state;
    struct db *db = open_tables(w);
    uint8_t public_key[32], secret_key[32];
    char name[32];
    crypto_box_keypair(public_key, secret_key);
    for (int i = 0; i < DEVICES; i++) {
        (void)snprintf(name, sizeof name, "lab/d%03d", i);
        struct store_identity identity = {.device = name,
                                          .token = "t",
                                          .state = "approved",
                                          .changed_by = "test",
                                          .hardware = ""};
        randombytes_buf(identity.device_key, sizeof identity.device_key);
        memcpy(identity.seal_key, public_key, sizeof public_key);
        assert_ok(w, store_identity_enrol(db, &identity, &w->err));
    }
    assert_ok(w, db_commit(db, &w->err));
    db_close(db);
    for (int i = 0; i < DEVICES; i++) {
        (void)snprintf(name, sizeof name, "lab.d%03d", i);
        device_has(w, name, "stable", 0);
    }
    wait_counts(w, DEVICES, 0);
    assert_true(set_ok(w, "db", "", "hunter2").settling);
    wait_confirmed(w, 0, 0, DEVICES);
    assert_int_equal(list_secrets(w).secrets[0].waiting_len, 20);
    for (int i = 0; i < DEVICES; i++) {
        (void)snprintf(name, sizeof name, "lab.d%03d", i);
        device_has(w, name, "stable", INT64_MAX);
    }
    wait_confirmed(w, 0, DEVICES, DEVICES);
    const struct device_desired last = wait_document(w, "lab/d599", 0);
    assert_int_equal(last.secrets_len, 1);
}

/* A planted value is nowhere. */

static const char planted[] = "correct-horse-battery-staple-4711";
static int searched;

static int holds_nothing(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    size_t len = 0;
    (void)ftw;
    if (type != FTW_F || !S_ISREG(st->st_mode))
        return 0;
    char *data = tempdir_read(path, &len);
    if (data && memmem(data, len, planted, strlen(planted)))
        fail_msg("%s holds the secret", path);
    free(data);
    searched++;
    return 0;
}

static void test_secret__a_planted_value_is_nowhere(void **state)
{
    struct world *w = *state;
    struct device_keys keys;
    struct log_entry entry;
    struct store_log_row *rows;
    size_t len = 0;
    char path[64];
    enrol(w, "lab/a", "approved", &keys);
    device_has(w, "lab.a", "stable", 0);
    wait_counts(w, 1, 0);
    (void)set_ok(w, "db", "", planted);
    const struct device_desired desired = wait_document(w, "lab/a", 0);
    assert_secret(&desired.secrets[0], &keys, "db", planted);
    /* Tables, log, sealed file, journal; the stream's store and the server's log. */
    assert_int_equal(nftw(w->dir, holds_nothing, 16, FTW_PHYS), 0);
    assert_int_equal(nftw(nats_server_dir(w->server), holds_nothing, 16, FTW_PHYS), 0);
    assert_true(searched > 8);
    for (int i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)proc_pid(w->captain),
                       i ? "environ" : "cmdline");
        char *data = tempdir_read(path, &len);
        if (!data) { /* not even its own user may look into it */
            assert_int_not_equal(geteuid(), 0);
            continue;
        }
        assert_null(memmem(data, len, planted, strlen(planted)));
        assert_null(memmem(data, len, MASTER_A, strlen(MASTER_A))); /* wiped where it stood */
        free(data);
    }
    (void)snprintf(path, sizeof path, "/proc/%d/limits", (int)proc_pid(w->captain));
    char *limits = tempdir_read(path, NULL);
    assert_non_null(limits);
    assert_non_null(strstr(limits, "Max core file size        0 "));
    free(limits);
    /* Nor is the box in the log. */
    struct db *db = open_tables(w);
    assert_ok(w, store_log_list(db, 0, "secret.set", "", 1, &w->arena, &rows, &len, &w->err));
    assert_int_equal(len, 1);
    assert_ok(w, codec_decode(&codec_log_entry, rows[0].entry, &w->arena, &entry, &w->err));
    assert_true(entry.body.len < 64);
    db_close(db);
}

#define SECRET_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_vault, tear_down)

int main(int argc, char **argv)
{
    if (argc == 4 && str_equal(argv[1], "serve"))
        return setting_main(argv[2], argv[3]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_secret__without_a_master_key_there_are_none,
                                        set_up_keyless, tear_down),
        SECRET_TEST(test_secret__reaches_a_device_and_is_confirmed),
        SECRET_TEST(test_secret__the_same_box_goes_on_until_it_changes),
        SECRET_TEST(test_secret__the_most_specific_scope_wins),
        SECRET_TEST(test_secret__only_devices_that_were_let_in_get_one),
        SECRET_TEST(test_secret__bad_words_are_refused),
        SECRET_TEST(test_secret__files_go_with_their_decisions),
        SECRET_TEST(test_secret__another_master_key_is_noticed_at_the_start),
        SECRET_TEST(test_secret__many_devices_are_reached_in_slices),
        SECRET_TEST(test_secret__a_planted_value_is_nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
