/* SPDX-License-Identifier: Apache-2.0
 *
 * The root chain through a whole captain: published by an operator, on the bus for devices, in force
 * for captain itself, and still there whatever was lost or cut off.
 */
#include "tests/unit/captain/api_world.h"

#include "common/trust.h"

static char *root_path(const struct world *w)
{
    return tempdir_path(w->dir, "root.dsse");
}

static struct bytes file_of(struct world *w, const char *name)
{
    char *path = tempdir_path(w->dir, name);
    size_t len = 0;
    char *text = tempdir_read(path, &len);
    assert_non_null(text);
    struct bytes ret = bytes_of(arena_dup(&w->arena, text, len), len);
    free(text);
    free(path);
    return ret;
}

static struct sign_key key_of(struct world *w, const char *name)
{
    char path[PATH_MAX];
    struct sign_key key;
    (void)snprintf(path, sizeof path, "%s/keys/%s.key", w->dir, name);
    assert_ok(w, sign_key_load(path, &key, &w->err));
    return key;
}

/* As the one in the folder, with another version, floor and key for desired state; NULL: the same. */
static struct bytes next_root(struct world *w, uint64_t version, const struct sign_key *desired,
                              const struct sign_key *signer)
{
    struct root root;
    struct bytes payload, envelope;
    const struct sign_key root_key = key_of(w, "root");
    assert_ok(w, trust_root_anchor(file_of(w, "root.dsse"), &w->arena, &root, &w->err));
    struct role roles[3] = {root.roles[0], root.roles[1], root.roles[2]};
    const struct release_floor floor = {.app = "hello", .sequence = version};
    struct bytes own = desired ? bytes_of(desired->public_key, SIGN_PUBLIC_BYTES) : *roles[2].keys;
    roles[2].keys = &own;
    root.roles = roles;
    root.version = version;
    root.floors = &floor;
    root.floors_len = 1;
    assert_ok(w, codec_encode(&codec_root, &root, &w->arena, &payload, &w->err));
    assert_ok(w, sign_seal(SIGN_TYPE_ROOT, payload, signer ? signer : &root_key, 1, &w->arena,
                           &envelope, &w->err));
    return envelope;
}

static enum err_code publish(struct world *w, struct bytes envelope, struct root_info *ret)
{
    const struct root_publish request = {.envelope = envelope, .reason = "yearly"};
    return ask(w, "root.publish", &codec_root_publish, &request, &codec_root_info, ret);
}

static struct root_info show(struct world *w, uint64_t version)
{
    const struct root_query query = {.version = version};
    struct root_info info;
    ask_ok(w, "root.show", &codec_root_query, &query, &codec_root_info, &info);
    return info;
}

static struct root_info publish_ok(struct world *w, struct bytes envelope)
{
    struct root_info info;
    if (publish(w, envelope, &info) != ERR_OK)
        fail_msg("%s (%s)", w->error, w->unanswered.text);
    return info;
}

/* What a device would get. */
static void wait_in_stream(struct world *w, uint64_t version, struct bytes envelope)
{
    char subject[64];
    const int64_t until_ms = clock_mono_ms() + WAIT_MS;
    (void)snprintf(subject, sizeof subject, "desired.root.%llu", (unsigned long long)version);
    do {
        assert_true(clock_mono_ms() < until_ms);
        w->answered = false;
        w->answer = (struct bytes){0};
        assert_ok(w, bus_get_last(w->bus, "DESIRED", subject, 5000, on_answer, w, &w->err));
        assert_true(wait_turning(w->loop, was_answered, w, WAIT_MS));
    } while (!bytes_equal(w->answer, envelope));
}

static void restart(struct world *w)
{
    assert_true(WIFEXITED(captain_end(w, SIGTERM)));
    captain_start(w);
    wait_ready(w);
}

static void expect_version(struct world *w, uint64_t version, struct bytes envelope)
{
    const struct root_info info = show(w, 0);
    assert_non_null(info.root);
    assert_int_equal(info.root->version, version);
    assert_true(bytes_equal(info.envelope, envelope));
    assert_true(bytes_equal(file_of(w, "root.dsse"), envelope));
    assert_true(bytes_equal(file_of(w, "keys/root.dsse"), envelope));
}

static void test_roots__one_published_is_in_force_and_on_the_bus(void **state)
{
    struct world *w = *state;
    const struct bytes one = file_of(w, "root.dsse");
    wait_in_stream(w, 1, one);
    upload(w);
    struct release_info release = create_ok(w, "1.0", 1);
    const struct bytes two = next_root(w, 2, NULL, NULL);
    const struct root_info info = publish_ok(w, two);
    assert_int_equal(info.chain_len, 2);
    assert_int_equal(info.chain[0].version, 1);
    assert_string_equal(info.chain[1].by, "operator:alice");
    assert_string_equal(info.chain[1].reason, "yearly");
    assert_true(info.odd_len > 0);
    expect_version(w, 2, two);
    wait_in_stream(w, 1, one);
    wait_in_stream(w, 2, two);
    assert_true(bytes_equal(show(w, 1).envelope, one));
    assert_int_equal(create(w, sealed_release(w, "1.1", 1, "", &w->release_key), &release),
                     ERR_ROLLBACK);                    /* below the new floor */
    assert_int_equal(publish_ok(w, two).chain_len, 2); /* again: it is so already */
}

static void test_roots__what_devices_would_refuse_is_not_published(void **state)
{
    struct world *w = *state;
    const struct bytes one = file_of(w, "root.dsse");
    struct sign_key foreign;
    struct root_info info;
    sign_key_new(&foreign);
    assert_int_equal(publish(w, next_root(w, 2, NULL, &foreign), &info), ERR_BAD_SIGNATURE);
    assert_int_equal(publish(w, next_root(w, 3, NULL, NULL), &info), ERR_ROOT_CHAIN);
    assert_int_equal(publish(w, next_root(w, 1, NULL, NULL), &info), ERR_ROLLBACK);
    assert_int_equal(publish(w, next_root(w, 2, &foreign, NULL), &info), ERR_ROOT_CHAIN);
    assert_non_null(strstr(w->error, "does not name captain's own key"));
    assert_non_null(strstr(w->hint, "keys/desired.key"));
    const struct root_publish silent = {.envelope = next_root(w, 2, NULL, NULL)};
    assert_int_equal(ask(w, "root.publish", &codec_root_publish, &silent, &codec_root_info, &info),
                     ERR_USAGE);
    expect_version(w, 1, one);
}

static void test_roots__a_cut_between_the_files_is_mended(void **state)
{
    struct world *w = *state;
    const struct bytes one = file_of(w, "root.dsse");
    const struct bytes two = next_root(w, 2, NULL, NULL);
    (void)publish_ok(w, two);
    char *keys = tempdir_path(w->dir, "keys/root.dsse"), *copy = root_path(w);
    tempdir_write(copy, one.ptr, one.len); /* only the first was replaced */
    restart(w);
    expect_version(w, 2, two);
    tempdir_write(copy, one.ptr, one.len); /* neither was: the table has it */
    tempdir_write(keys, one.ptr, one.len);
    restart(w);
    expect_version(w, 2, two);
    free(keys);
    free(copy);
}

static void test_roots__tables_that_were_lost_come_back_from_the_log(void **state)
{
    static const char *const names[] = {"captain.db", "captain.db-wal", "captain.db-shm"};
    struct world *w = *state;
    const struct bytes two = next_root(w, 2, NULL, NULL);
    (void)publish_ok(w, two);
    const struct bytes three = next_root(w, 3, NULL, NULL);
    (void)publish_ok(w, three);
    assert_true(WIFEXITED(captain_end(w, SIGTERM)));
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char *path = tempdir_path(w->dir, names[i]);
        (void)remove(path);
        free(path);
    }
    captain_start(w);
    wait_ready(w);
    expect_version(w, 3, three);
    assert_int_equal(show(w, 0).chain_len, 3);
    wait_in_stream(w, 2, two);
}

static void test_roots__a_stream_that_lost_them_gets_them_again(void **state)
{
    struct world *w = *state;
    const struct bytes two = next_root(w, 2, NULL, NULL);
    (void)publish_ok(w, two);
    wait_in_stream(w, 2, two);
    w->answered = false;
    assert_ok(w, bus_request(w->bus, "$JS.API.STREAM.DELETE.DESIRED", bytes_of(NULL, 0), 5000,
                             on_answer, w, &w->err));
    assert_true(wait_turning(w->loop, was_answered, w, WAIT_MS));
    assert_int_equal(w->unanswered.code, ERR_OK);
    restart(w);
    wait_in_stream(w, 2, two);
}

#define ROOT_TEST(name) cmocka_unit_test_setup_teardown(test_roots__##name, set_up, tear_down)

int main(int argc, char **argv)
{
    if (argc == 4 && str_equal(argv[1], "serve"))
        return captain_main(argv[2], argv[3]);
    const struct CMUnitTest tests[] = {
        ROOT_TEST(one_published_is_in_force_and_on_the_bus),
        ROOT_TEST(what_devices_would_refuse_is_not_published),
        ROOT_TEST(a_cut_between_the_files_is_mended),
        ROOT_TEST(tables_that_were_lost_come_back_from_the_log),
        ROOT_TEST(a_stream_that_lost_them_gets_them_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
