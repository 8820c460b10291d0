/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/captain/setting_world.h"

#include "common/base/cohort.h"

static enum err_code set_flag(struct world *w, const char *channel, const char *name,
                              const char *value, uint32_t permyriad, struct flag_info *ret)
{
    const struct flag_change change = {.channel = channel,
                                       .name = name,
                                       .value = value,
                                       .otherwise = "false",
                                       .permyriad = permyriad,
                                       .reason = "to see"};
    return ask(w, "flag.set", &codec_flag_change, &change, &codec_flag_info, ret);
}

static struct flag_info set_flag_ok(struct world *w, const char *channel, const char *name,
                                    const char *value, uint32_t permyriad)
{
    struct flag_info info = {.name = ""};
    if (set_flag(w, channel, name, value, permyriad, &info) != ERR_OK)
        fail_msg("flag %s: %s", name, w->error);
    return info;
}

static struct desired channel_document(struct world *w, const char *channel)
{
    struct store_channel row;
    struct sign_key key;
    struct bytes payload;
    struct desired desired;
    char path[PATH_MAX];
    struct db *db = open_tables(w);
    assert_ok(w, store_channel_get(db, "hello", channel, &w->arena, &row, &w->err));
    db_close(db);
    (void)snprintf(path, sizeof path, "%s/keys/desired.key", w->dir);
    assert_ok(w, sign_key_load(path, &key, &w->err));
    const struct sign_role role = {(const uint8_t(*)[SIGN_PUBLIC_BYTES])key.public_key, 1, 1};
    assert_ok(w, sign_open(SIGN_TYPE_DESIRED, SIGN_DESIRED_MAX_BYTES, row.desired, &role, &w->arena,
                           &payload, &w->err));
    assert_ok(w, codec_decode(&codec_desired, payload, &w->arena, &desired, &w->err));
    return desired;
}

static void make_channel(struct world *w)
{
    struct channel_info channel;
    upload(w);
    (void)create_ok(w, "1.0", 1);
    assert_int_equal(set_channel(w, "hello/stable", "hello@1.0", &channel), ERR_OK);
}

static void test_flag__goes_out_with_the_channel(void **state)
{
    struct world *w = *state;
    make_channel(w);
    const struct desired before = channel_document(w, "stable");
    assert_int_equal(before.flags_len, 0);
    const struct flag_info info = set_flag_ok(w, "hello/stable", "dark-mode", "true", 2500);
    assert_string_equal(info.channel, "hello/stable");
    assert_int_equal(info.permyriad, 2500);
    assert_string_equal(info.set_by, "operator:alice");
    const struct desired after = channel_document(w, "stable");
    assert_true(after.generation > before.generation);
    assert_int_equal(after.decision, before.decision); /* the release is still that decision's */
    assert_true(bytes_equal(after.release_digest, before.release_digest));
    assert_int_equal(after.flags_len, 1);
    assert_string_equal(after.flags[0].name, "dark-mode");
    assert_string_equal(after.flags[0].value, "true");
    assert_string_equal(after.flags[0].otherwise, "false");
    assert_string_equal(after.flags[0].salt, "hello/dark-mode");
    assert_true(after.flags[0].cut == UINT64_MAX / 4 + 1);
    /* The same again decides nothing. */
    const struct flag_info again = set_flag_ok(w, "hello/stable", "dark-mode", "true", 2500);
    assert_int_equal(again.decision, info.decision);
    assert_int_equal(channel_document(w, "stable").generation, after.generation);
    (void)set_flag_ok(w, "hello/stable", "dark-mode", "true", 0);
    assert_true(channel_document(w, "stable").flags[0].cut == COHORT_CUT_ALL);
}

static void test_flag__of_a_channel_without_a_release_waits_for_the_first(void **state)
{
    struct world *w = *state;
    (void)set_flag_ok(w, "hello/stable", "a", "true", 0);
    (void)set_flag_ok(w, "hello/other", "b", "true", 0);
    make_channel(w);
    const struct desired desired = channel_document(w, "stable");
    assert_int_equal(desired.flags_len, 1);
    assert_string_equal(desired.flags[0].name, "a");
}

static void test_flag__is_listed_unset_and_in_the_log(void **state)
{
    struct world *w = *state;
    struct flag_list list;
    struct log_list log;
    make_channel(w);
    (void)set_flag_ok(w, "hello/stable", "a", "true", 0);
    (void)set_flag_ok(w, "hello/stable", "b", "blue", 100);
    (void)set_flag_ok(w, "hello/beta", "c", "true", 0);
    struct flag_change query = {.channel = ""};
    ask_ok(w, "flag.ls", &codec_flag_change, &query, &codec_flag_list, &list);
    assert_int_equal(list.flags_len, 3);
    assert_string_equal(list.flags[0].channel, "hello/beta");
    query = (struct flag_change){.channel = "hello/stable", .name = "a"};
    ask_ok(w, "flag.unset", &codec_flag_change, &query, &codec_flag_list, &list);
    assert_int_equal(list.flags_len, 1);
    assert_string_equal(list.flags[0].name, "b");
    const struct desired desired = channel_document(w, "stable");
    assert_int_equal(desired.flags_len, 1);
    assert_string_equal(desired.flags[0].name, "b");
    assert_int_equal(ask(w, "flag.unset", &codec_flag_change, &query, &codec_flag_list, &list),
                     ERR_NOT_FOUND);
    assert_non_null(strstr(w->hint, "captain flag ls hello/stable"));
    const struct log_query of_kind = {.kind = "flag.set"};
    ask_ok(w, "log.ls", &codec_log_query, &of_kind, &codec_log_list, &log);
    assert_int_equal(log.entries_len, 3);
    assert_string_equal(log.entries[0].subject, "hello/beta");
    assert_string_equal(log.entries[0].reason, "to see");
}

static void test_flag__bad_words_are_refused(void **state)
{
    struct world *w = *state;
    struct flag_info info;
    char value[1001], name[16];
    assert_int_equal(set_flag(w, "hello", "a", "true", 0, &info), ERR_USAGE);
    assert_int_equal(set_flag(w, "hello/stable", "", "true", 0, &info), ERR_USAGE);
    assert_int_equal(set_flag(w, "he.llo/stable", "a", "true", 0, &info), ERR_USAGE);
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (int i = 0; i < 23; i++) {
        (void)snprintf(name, sizeof name, "f%02d", i);
        (void)set_flag_ok(w, "hello/stable", name, value, 0);
    }
    assert_int_equal(set_flag(w, "hello/stable", "f23", value, 0, &info), ERR_SIZE);
    assert_non_null(strstr(w->hint, "flag unset"));
    make_channel(w);
    assert_int_equal(channel_document(w, "stable").flags_len, 23);
}

#define FLAG_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_keyless, tear_down)

int main(int argc, char **argv)
{
    if (argc == 4 && str_equal(argv[1], "serve"))
        return setting_main(argv[2], argv[3]);
    const struct CMUnitTest tests[] = {
        FLAG_TEST(test_flag__goes_out_with_the_channel),
        FLAG_TEST(test_flag__of_a_channel_without_a_release_waits_for_the_first),
        FLAG_TEST(test_flag__is_listed_unset_and_in_the_log),
        FLAG_TEST(test_flag__bad_words_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
