/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/captain/api_world.h"

#include <sqlite3.h>

static void test_api__status_says_who_answers(void **state)
{
    struct world *w = *state;
    char pid[16];
    const struct status status = status_of(w);
    (void)snprintf(pid, sizeof pid, ":%d", (int)proc_pid(w->captain));
    assert_non_null(strstr(status.holder, pid));
    assert_string_equal(status.version, CAPTAIN_VERSION);
    assert_string_equal(status.tenant, "default");
    assert_true(strncmp(status.store_url, "http://127.0.0.1:", 17) == 0);
    assert_int_equal(status.devices, 0);
    assert_true(status.started_ms > 1700000000000);
}

static void test_api__artifacts_go_in_and_out(void **state)
{
    struct world *w = *state;
    struct artifact_get get = {
        .sha256 = bytes_of(w->sha256, DIGEST_BYTES), .offset = 300000, .length = 1000};
    struct artifact_piece piece;
    assert_int_equal(
        ask(w, "artifact.get", &codec_artifact_get, &get, &codec_artifact_piece, &piece),
        ERR_NOT_FOUND);
    upload(w);
    ask_ok(w, "artifact.get", &codec_artifact_get, &get, &codec_artifact_piece, &piece);
    assert_int_equal(piece.size_bytes, CONTENT_LEN);
    assert_int_equal(piece.data.len, 1000);
    assert_memory_equal(piece.data.ptr, w->content + 300000, 1000);
    /* Other bytes under a name: refused, and nothing stays. */
    w->sha256[0] ^= 1;
    const struct artifact_put wrong = {
        .sha256 = bytes_of(w->sha256, DIGEST_BYTES), .size_bytes = 5, .data = bytes_of("wrong", 5)};
    struct artifact_state at;
    assert_int_equal(
        ask(w, "artifact.put", &codec_artifact_put, &wrong, &codec_artifact_state, &at), ERR_HASH);
    get.sha256 = bytes_of(w->sha256, DIGEST_BYTES);
    assert_int_equal(
        ask(w, "artifact.get", &codec_artifact_get, &get, &codec_artifact_piece, &piece),
        ERR_NOT_FOUND);
}

static void test_api__release_is_created_once(void **state)
{
    struct world *w = *state;
    struct release_info info = {0};
    const struct release_next next = {.app = "hello"};
    struct release_sequence last;
    const struct bytes envelope = sealed_release(w, "1.0", 1, "", &w->release_key);
    assert_int_equal(create(w, envelope, &info), ERR_NOT_FOUND); /* nothing uploaded */
    assert_non_null(strstr(w->error, "is not in the store"));
    upload(w);
    assert_int_equal(create(w, envelope, &info), ERR_OK);
    assert_string_equal(info.app, "hello");
    assert_string_equal(info.version, "1.0");
    assert_string_equal(info.created_by, "operator:alice");
    assert_int_equal(info.size_bytes, CONTENT_LEN);
    const uint64_t decision = info.decision, log_seq = status_of(w).log_seq;
    assert_int_equal(decision, log_seq);

    assert_int_equal(create(w, envelope, &info), ERR_OK); /* the same again */
    assert_int_equal(info.decision, decision);
    assert_int_equal(create(w, sealed_release(w, "1.0", 2, "other", &w->release_key), &info),
                     ERR_CONFLICT);
    assert_non_null(strstr(w->error, "hello@1.0 exists with other content"));
    assert_true(w->hint[0] != '\0');
    assert_int_equal(create(w, sealed_release(w, "1.1", 1, "", &w->release_key), &info),
                     ERR_CONFLICT);
    assert_non_null(strstr(w->error, "sequence 1"));
    assert_int_equal(status_of(w).log_seq, log_seq); /* nothing of it was decided */
    ask_ok(w, "release.next", &codec_release_next, &next, &codec_release_sequence, &last);
    assert_int_equal(last.last_sequence, 1);
}

static void test_api__release_needs_the_fleets_signature(void **state)
{
    struct world *w = *state;
    struct release_info info = {0};
    struct sign_key stranger;
    sign_key_new(&stranger);
    upload(w);
    assert_int_equal(create(w, sealed_release(w, "1.0", 1, "", &stranger), &info),
                     ERR_BAD_SIGNATURE);
    assert_int_equal(create(w, bytes_of("junk", 4), &info), ERR_MALFORMED);
    const struct release_query all = {.app = ""};
    struct release_list list;
    ask_ok(w, "release.ls", &codec_release_query, &all, &codec_release_list, &list);
    assert_int_equal(list.releases_len, 0);
}

static void test_api__release_that_no_device_could_install_is_refused(void **state)
{
    struct world *w = *state;
    const int64_t now_ms = clock_unix_ms();
    const struct {
        int64_t expires_ms;
        const char *text;
    } rows[] = {{1, "release hello@1.0 expired at 1970-01-01T00:00:00.001Z"},
                {now_ms - 1, "release hello@1.0 expired at 2"},
                {now_ms + 50000, "within a minute"}};
    struct release_info info;
    upload(w);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct bytes envelope =
            sealed_until(w, "1.0", 1, "", rows[i].expires_ms, &w->release_key);
        assert_int_equal(create(w, envelope, &info), ERR_EXPIRED);
        assert_non_null(strstr(w->error, rows[i].text));
    }
    assert_int_equal(
        create(w, sealed_until(w, "1.0", 1, "", now_ms + 120000, &w->release_key), &info), ERR_OK);
}

static void test_api__releases_are_told(void **state)
{
    struct world *w = *state;
    struct release_query query = {.app = "hello"};
    struct release_list list;
    struct release_info info;
    struct channel_info channel;
    struct envelope envelope;
    upload(w);
    (void)create_ok(w, "1.0", 1);
    (void)create_ok(w, "1.1", 2);
    assert_int_equal(set_channel(w, "hello/stable", "hello@1.0", &channel), ERR_OK);
    ask_ok(w, "release.ls", &codec_release_query, &query, &codec_release_list, &list);
    assert_int_equal(list.releases_len, 2);
    assert_string_equal(list.releases[0].version, "1.1"); /* newest first */
    assert_int_equal(list.releases[0].channels_len, 0);
    assert_int_equal(list.releases[1].channels_len, 1);
    assert_string_equal(list.releases[1].channels[0], "hello/stable");

    query.version = "1.0";
    ask_ok(w, "release.show", &codec_release_query, &query, &codec_release_info, &info);
    assert_int_equal(info.artifacts_len, 1);
    assert_string_equal(info.artifacts[0].kind, "tree");
    assert_string_equal(info.artifacts[0].target, "linux/any");
    assert_string_equal(info.services[0], "web: busybox httpd -f");
    assert_string_equal(info.checks[0], "home: http http://127.0.0.1:8080/");
    assert_string_equal(info.sources[0].repository, "https://example.org/hello");
    assert_int_equal(info.signers_len, 1);
    assert_int_equal(info.envelope.len, 0);
    ask_ok(w, "release.export", &codec_release_query, &query, &codec_release_info, &info);
    assert_ok(w, codec_decode(&codec_envelope, info.envelope, &w->arena, &envelope, &w->err));
    query.version = "9";
    assert_int_equal(
        ask(w, "release.show", &codec_release_query, &query, &codec_release_info, &info),
        ERR_NOT_FOUND);
    assert_string_equal(w->error, "release hello@9 is not known here\napp hello has: 1.1, 1.0");
    assert_string_equal(w->hint, "captain release ls hello");
}

/* More than the memory of one request, were their documents read for it. */
static void test_api__a_list_of_large_releases_is_told(void **state)
{
    enum { RELEASES = 200, PADDING_BYTES = 400 << 10 };
    struct world *w = *state;
    struct release_query query = {.app = "hello"};
    struct release_list list;
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    char *path = tempdir_path(w->dir, "captain.db");
    upload(w);
    (void)create_ok(w, "1.0", 1);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    free(path);
    (void)sqlite3_busy_timeout(db, 5000);
    static const char sql[] =
        "INSERT INTO release (digest, app, version, sequence, created_ms, created_by, decision, "
        "size_bytes, envelope) VALUES (randomblob(32), 'hello', '2.' || ?1, ?1 + 1, 1, "
        "'operator:test', 3, 1, zeroblob(?2))";
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    for (int i = 1; i <= RELEASES; i++) {
        (void)sqlite3_bind_int(stmt, 1, i);
        (void)sqlite3_bind_int(stmt, 2, PADDING_BYTES);
        assert_int_equal(sqlite3_step(stmt), SQLITE_DONE);
        (void)sqlite3_reset(stmt);
    }
    (void)sqlite3_finalize(stmt);
    (void)sqlite3_close(db);
    ask_ok(w, "release.ls", &codec_release_query, &query, &codec_release_list, &list);
    assert_int_equal(list.releases_len, RELEASES + 1);
    assert_string_equal(list.releases[0].version, "2.200");
}

static void on_desired(void *arg, const struct bus_message *message, const struct err *err)
{
    struct world *w = arg;
    struct envelope envelope;
    struct desired *desired = arena_alloc(&w->arena, sizeof *desired);
    w->answered = true;
    w->unanswered = *err;
    if (!message)
        return;
    const void *copy = arena_dup(&w->arena, message->data.ptr, message->data.len);
    assert_ok(w, codec_decode(&codec_envelope, bytes_of(copy, message->data.len), &w->arena,
                              &envelope, &w->err));
    assert_ok(w, codec_decode(&codec_desired, envelope.payload, &w->arena, desired, &w->err));
    w->answer = bytes_of(desired, sizeof *desired);
}

/* What devices are told, from the stream. */
static struct desired desired_now(struct world *w, const char *subject)
{
    w->answered = false;
    assert_ok(w, bus_get_last(w->bus, "DESIRED", subject, 2000, on_desired, w, &w->err));
    assert_true(wait_turning(w->loop, was_answered, w, WAIT_MS));
    if (w->unanswered.code != ERR_OK)
        fail_msg("%s: %s", subject, w->unanswered.text);
    return *(const struct desired *)w->answer.ptr;
}

static void test_api__channel_is_set(void **state)
{
    struct world *w = *state;
    struct channel_info channel;
    const struct channel_query query = {.channel = "hello/stable"};
    struct channel_history history;
    upload(w);
    (void)create_ok(w, "1.0", 1);
    (void)create_ok(w, "1.1", 2);
    assert_int_equal(set_channel(w, "hello/stable", "hello@1.0", &channel), ERR_OK);
    assert_string_equal(channel.channel, "hello/stable");
    assert_string_equal(channel.release, "hello@1.0");
    assert_string_equal(channel.previous, "");
    assert_string_equal(channel.set_by, "operator:alice");
    assert_string_equal(channel.reason, "better");
    assert_true(channel.generation > 0);
    assert_int_equal(set_channel(w, "hello/stable", "hello@1.1", &channel), ERR_OK);
    assert_string_equal(channel.previous, "hello@1.0");
    const uint64_t generation = channel.generation, log_seq = status_of(w).log_seq;
    assert_int_equal(set_channel(w, "hello/stable", "hello@1.1", &channel),
                     ERR_OK); /* so already */
    assert_int_equal(channel.generation, generation);
    assert_int_equal(status_of(w).log_seq, log_seq);

    ask_ok(w, "channel.history", &codec_channel_query, &query, &codec_channel_history, &history);
    assert_int_equal(history.changes_len, 2);
    assert_string_equal(history.changes[0].release, "hello@1.1");
    assert_string_equal(history.changes[0].previous, "hello@1.0");
    assert_string_equal(history.changes[1].release, "hello@1.0");
    assert_int_equal(history.changes[0].decision, log_seq);
    /* Published before it is answered, though the stream may take it a moment later. */
    const int64_t until_ms = clock_mono_ms() + WAIT_MS;
    while (desired_now(w, "desired.channel.hello.stable").generation != generation)
        assert_true(clock_mono_ms() < until_ms);
    assert_string_equal(desired_now(w, "desired.channel.hello.stable").release_version, "1.1");
}

static void test_api__channel_refuses_what_is_not_there(void **state)
{
    struct world *w = *state;
    struct channel_info channel;
    const struct channel_query query = {.channel = "hello/nowhere"};
    upload(w);
    (void)create_ok(w, "1.0", 1);
    assert_int_equal(set_channel(w, "hello/stable", "hello@2.0", &channel), ERR_NOT_FOUND);
    assert_string_equal(w->error, "release hello@2.0 is not known here\napp hello has: 1.0");
    assert_int_equal(set_channel(w, "web/stable", "web@1", &channel), ERR_NOT_FOUND);
    assert_string_equal(w->error, "release web@1 is not known here\napp web has none");
    assert_int_equal(set_channel(w, "web/stable", "hello@1.0", &channel), ERR_USAGE);
    assert_int_equal(set_channel(w, "hello", "hello@1.0", &channel), ERR_USAGE);
    assert_int_equal(set_channel(w, "hello/a.b", "hello@1.0", &channel), ERR_USAGE);
    assert_int_equal(set_channel(w, "hello/>", "hello@1.0", &channel), ERR_USAGE);
    assert_int_equal(set_channel(w, "hello/stable", "hello", &channel), ERR_USAGE);
    assert_true(w->hint[0] != '\0');
    assert_int_equal(
        ask(w, "channel.show", &codec_channel_query, &query, &codec_channel_info, &channel),
        ERR_NOT_FOUND);
    struct channel_list list;
    const struct channel_query all = {.channel = ""};
    ask_ok(w, "channel.ls", &codec_channel_query, &all, &codec_channel_list, &list);
    assert_int_equal(list.channels_len, 0);
}

/* Devices. */

static const char *detail(const struct log_info *info, const char *name)
{
    for (size_t i = 0; i < info->details_len; i++) {
        if (str_equal(info->details[i].name, name))
            return info->details[i].value;
    }
    return "";
}

static void test_api__log_tells_decisions(void **state)
{
    struct world *w = *state;
    struct channel_info channel;
    struct log_query query = {.limit = 2};
    struct log_list list;
    struct log_info info;
    upload(w);
    const struct release_info release = create_ok(w, "1.0", 1);
    assert_int_equal(set_channel(w, "hello/stable", "hello@1.0", &channel), ERR_OK);
    ask_ok(w, "log.ls", &codec_log_query, &query, &codec_log_list, &list);
    assert_int_equal(list.entries_len, 2);
    assert_string_equal(list.entries[0].kind, "channel.set");
    assert_string_equal(list.entries[0].subject, "hello/stable");
    assert_string_equal(list.entries[0].actor, "operator:alice");
    assert_string_equal(list.entries[1].kind, "release.created");
    assert_string_equal(list.entries[0].previous, list.entries[1].hash);
    assert_int_equal(list.next_before, list.entries[1].seq);
    query.seq = list.entries[0].seq;
    ask_ok(w, "log.show", &codec_log_query, &query, &codec_log_info, &info);
    assert_string_equal(detail(&info, "release"), "hello@1.0");
    assert_string_equal(detail(&info, "digest"), release.digest);
    assert_string_equal(info.reason, "better");
    for (query.seq = 1; query.seq <= 3; query.seq++)
        ask_ok(w, "log.show", &codec_log_query, &query, &codec_log_info, &info);
    assert_string_equal(detail(&info, "version"), "1.0");
    query.seq = 1;
    ask_ok(w, "log.show", &codec_log_query, &query, &codec_log_info, &info);
    assert_string_equal(info.kind, "captain.started");
    assert_true(detail(&info, "holder")[0] != '\0');
    query = (struct log_query){.kind = "channel.set", .subject = "hello/stable"};
    ask_ok(w, "log.ls", &codec_log_query, &query, &codec_log_list, &list);
    assert_int_equal(list.entries_len, 1);
    assert_int_equal(list.next_before, 0);
    query.seq = 999;
    assert_int_equal(ask(w, "log.show", &codec_log_query, &query, &codec_log_info, &info),
                     ERR_NOT_FOUND);
}

static void test_api__bad_requests_are_answered(void **state)
{
    struct world *w = *state;
    static const uint8_t junk[] = {0xff, 0xff, 0xff, 0x07};
    const struct bytes garbage = bytes_of(junk, sizeof junk);
    struct status status;
    assert_int_equal(ask_raw(w, "channel.set", garbage, &codec_status, &status), ERR_MALFORMED);
    assert_true(w->error[0] != '\0');
    assert_int_equal(ask_raw(w, "device.ls", garbage, &codec_status, &status), ERR_MALFORMED);
    assert_int_equal(ask_raw(w, "device.dance", garbage, &codec_status, &status), ERR_USAGE);
    assert_non_null(strstr(w->error, "device.dance"));
    assert_ok(w, bus_publish(w->bus, "api.alice.channel.set", garbage, NULL, NULL, &w->err));
    assert_int_equal(status_of(w).log_seq, 2);
}

static void on_parallel(void *arg, const struct bus_message *message, const struct err *err)
{
    struct world *w = arg;
    struct api_reply reply = {.code = ERR_FAILED};
    w->parallel_done++;
    if (err->code != ERR_OK)
        return;
    const void *copy = arena_dup(&w->arena, message->data.ptr, message->data.len);
    assert_ok(w, codec_decode(&codec_api_reply, bytes_of(copy, message->data.len), &w->arena,
                              &reply, &w->err));
    w->parallel_ok += reply.code == 0;
}

static bool all_answered(void *arg)
{
    return ((struct world *)arg)->parallel_done == PARALLEL;
}

static void test_api__many_at_once_are_all_answered(void **state)
{
    struct world *w = *state;
    const char *const releases[] = {"hello@1.0", "hello@1.1"};
    upload(w);
    (void)create_ok(w, "1.0", 1);
    (void)create_ok(w, "1.1", 2);
    const uint64_t before = status_of(w).log_seq;
    for (int i = 0; i < PARALLEL; i++) {
        const struct channel_set_request request = {.channel = "hello/stable",
                                                    .release = releases[i % 2]};
        struct bytes data;
        assert_ok(w, codec_encode(&codec_channel_set_request, &request, &w->arena, &data, &w->err));
        assert_ok(
            w, bus_request(w->bus, "api.bob.channel.set", data, WAIT_MS, on_parallel, w, &w->err));
    }
    assert_true(wait_turning(w->loop, all_answered, w, WAIT_MS));
    assert_int_equal(w->parallel_ok, PARALLEL);
    assert_int_equal(status_of(w).log_seq, before + PARALLEL); /* each moved the channel */
}

static void test_api__what_was_answered_survives_sigkill(void **state)
{
    struct world *w = *state;
    struct channel_info channel;
    const struct channel_query query = {.channel = "hello/stable"};
    upload(w);
    (void)create_ok(w, "1.0", 1);
    device_says(w, "lab.a", "1.0", APP_STATE_HEALTHY);
    wait_counts(w, 1, 0);
    assert_int_equal(set_channel(w, "hello/stable", "hello@1.0", &channel), ERR_OK);
    (void)captain_end(w, SIGKILL);
    captain_start(w);
    wait_ready(w);
    ask_ok(w, "channel.show", &codec_channel_query, &query, &codec_channel_info, &channel);
    assert_string_equal(channel.release, "hello@1.0");
    assert_int_equal(channel.on_release, 1); /* counted from the last health stored */
    assert_int_equal(status_of(w).devices, 1);
    const struct artifact_get get = {.sha256 = bytes_of(w->sha256, DIGEST_BYTES), .length = 10};
    struct artifact_piece piece;
    ask_ok(w, "artifact.get", &codec_artifact_get, &get, &codec_artifact_piece, &piece);
    assert_int_equal(piece.size_bytes, CONTENT_LEN);
}

#define API_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    if (argc == 4 && str_equal(argv[1], "serve"))
        return captain_main(argv[2], argv[3]);
    const struct CMUnitTest tests[] = {
        API_TEST(test_api__status_says_who_answers),
        API_TEST(test_api__artifacts_go_in_and_out),
        API_TEST(test_api__release_is_created_once),
        API_TEST(test_api__release_needs_the_fleets_signature),
        API_TEST(test_api__release_that_no_device_could_install_is_refused),
        API_TEST(test_api__releases_are_told),
        API_TEST(test_api__a_list_of_large_releases_is_told),
        API_TEST(test_api__channel_is_set),
        API_TEST(test_api__channel_refuses_what_is_not_there),
        API_TEST(test_api__log_tells_decisions),
        API_TEST(test_api__bad_requests_are_answered),
        API_TEST(test_api__many_at_once_are_all_answered),
        API_TEST(test_api__what_was_answered_survives_sigkill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
