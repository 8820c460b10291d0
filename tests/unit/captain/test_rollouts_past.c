/* SPDX-License-Identifier: Apache-2.0
 *
 * Rollouts and what was before them: nothing at all, a success that is taken back, tables that are lost.
 * And documents of single devices.
 */
#include "captain/io/store/trust.h"
#include "tests/unit/captain/rollouts_world.h"

enum { DEVICES = 8 };

static int set_up(void **state)
{
    *state = world_open(DEVICES);
    return 0;
}

static int set_up_new(void **state)
{
    *state = world_open_on(DEVICES, NULL);
    return 0;
}

static int tear_down(void **state)
{
    world_close(*state);
    return 0;
}

static const char *channel_release(struct world *w)
{
    const struct channel_query query = {.channel = "hello/stable"};
    struct channel_info channel;
    ask_ok(w, "channel.show", &codec_channel_query, &query, &codec_channel_info, &channel);
    return arena_strdup(&w->arena, channel.release);
}

static unsigned with_release(const struct world *w)
{
    unsigned count = 0;
    for (unsigned i = 0; i < w->sims_len; i++)
        count += w->sims[i].has_release;
    return count;
}

static void test_rollouts__the_first_release_ever_goes_out_in_waves_too(void **state)
{
    struct world *w = *state;
    start_rollout(w, "hello@1.1", POLICY);
    await_state(w, w->rollout, "succeeded");
    assert_int_equal(with_release(w), DEVICES);
    assert_int_equal(running(w, w->two), DEVICES);
    assert_string_equal(channel_release(w), "hello@1.1");
}

static void test_rollouts__a_first_release_that_fails_is_held_and_goes_nowhere(void **state)
{
    struct world *w = *state;
    for (unsigned i = 0; i < w->sims_len; i++)
        w->sims[i].bad = true;
    start_rollout(w, "hello@1.1", POLICY);
    await_state(w, w->rollout, "held"); /* there is nothing to go back to */
    assert_true(exposed(w) <= 2);
    assert_int_equal(act(w, "abort", "", ""), ERR_OK);
    await_state(w, w->rollout, "aborted");
    (void)turn_until(w, never, 500);
    assert_true(exposed(w) <= 2);
    assert_int_equal(with_release(w), 0);
    /* The next one has no base either. */
    for (unsigned i = 0; i < w->sims_len; i++)
        w->sims[i].bad = false;
    start_rollout(w, "hello@1.2", POLICY);
    await_state(w, w->rollout, "succeeded");
    assert_int_equal(running(w, w->three), DEVICES);
    assert_string_equal(channel_release(w), "hello@1.2");
}

static void test_rollouts__a_success_can_be_taken_back(void **state)
{
    struct world *w = *state;
    start_rollout(w, "hello@1.1", POLICY);
    await_state(w, w->rollout, "succeeded");
    assert_string_equal(channel_release(w), "hello@1.1");
    assert_int_equal(act(w, "undo", "", ""), ERR_OK);
    await_state(w, w->rollout, "aborted");
    assert_int_equal(running(w, w->one), DEVICES);
    assert_string_equal(channel_release(w), "hello@1.0");
    assert_int_equal(captain_end(w, SIGTERM), 0);
    assert_string_equal(story_of(w, w->rollout),
                        "running wave1 wave2 wave3 succeeded aborting base rolling_back aborted ");
    assert_int_equal(check_history(w, w->rollout), ROLLOUT_ABORTED);
}

static bool some_are_on_two(struct world *w)
{
    return running(w, w->two) >= 2 && w->busy == 0;
}

static void remove_tables(struct world *w)
{
    static const char *const names[] = {"captain.db", "captain.db-wal", "captain.db-shm"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char *path = tempdir_path(w->dir, names[i]);
        (void)remove(path); /* not all of them need be there */
        free(path);
    }
}

static void test_rollouts__one_whose_history_is_lost_ends_where_it_stands(void **state)
{
    struct world *w = *state;
    for (unsigned i = 0; i < w->sims_len; i++)
        w->sims[i].stuck = false;
    w->work_ms = 100;
    start_rollout(w, "hello@1.1", POLICY);
    assert_true(turn_until(w, some_are_on_two, WAIT_MS));
    assert_int_equal(captain_end(w, SIGKILL), SIGKILL);
    assert_true(turn_until(w, some_are_on_two, WAIT_MS));
    remove_tables(w);
    captain_start(w); /* the stream has the whole log */
    wait_ready(w);
    await_state(w, w->rollout, "aborted");
    (void)turn_until(w, never, 500);
    assert_in_range(running(w, w->two), 2, DEVICES);
    assert_string_equal(channel_release(w), "hello@1.0");
    /* And the channel can go on. */
    await_known(w);
    start_rollout(w, "hello@1.2", POLICY);
    await_state(w, w->rollout, "succeeded");
    assert_int_equal(running(w, w->three), DEVICES);
}

/* Devices that were put out. */

static void put_out(struct world *w, const char *device)
{
    struct db *db = NULL;
    struct store_identity identity = {
        .device = device, .token = "t", .state = "approved", .changed_by = "test", .hardware = ""};
    assert_ok(w, store_open(w->dir, &db, &w->err));
    assert_ok(w, store_identity_enrol(db, &identity, &w->err));
    identity.state = "revoked";
    assert_ok(w, store_identity_state(db, &identity, &w->err));
    assert_ok(w, db_commit(db, &w->err));
    db_close(db);
}

static void test_rollouts__one_does_not_wait_for_who_was_put_out(void **state)
{
    struct world *w = *state;
    const struct log_query query = {.kind = "rollout.command", .limit = 10};
    struct log_list page;
    w->sims[3].online = false;
    start_rollout(w, "hello@1.1", POLICY);
    put_out(w, w->sims[3].name); /* it may be the canary: then nobody moves before this */
    await_state(w, w->rollout, "succeeded");
    assert_int_equal(running(w, w->two), DEVICES - 1);
    ask_ok(w, "log.ls", &codec_log_query, &query, &codec_log_list, &page);
    assert_int_equal(page.entries_len, 1); /* said once */
    assert_string_equal(page.entries[0].subject, w->rollout);
    assert_memory_equal(page.entries[0].actor, "captain:", strlen("captain:"));
    assert_string_equal(page.entries[0].reason, "revoked");
}

/* Single devices. */

static bool a_document_came(struct world *w)
{
    return w->device_documents > 0;
}

static void change_device(struct world *w, const char *verb, const struct device_change *change)
{
    struct device_info info;
    ask_ok(w, verb, &codec_device_change, change, &codec_device_info, &info);
}

static void test_rollouts__labels_and_pins_reach_their_device(void **state)
{
    struct world *w = *state;
    const struct device_label_set label = {.key = "ring", .value = "early"};
    const struct device_change labels = {
        .device = w->sims[0].name, .labels = &label, .labels_len = 1, .reason = "test"};
    const struct device_change pin = {
        .device = w->sims[0].name, .app = "hello", .release = "hello@1.1", .reason = "test"};
    change_device(w, "device.label", &labels);
    assert_true(turn_until(w, a_document_came, WAIT_MS));
    assert_string_equal(w->device_subject, "dn.device.site0.d00");
    assert_string_equal(w->device_desired.device, w->sims[0].name);
    assert_int_equal(w->device_desired.labels_len, 1);
    assert_string_equal(w->device_desired.labels[0].value, "early");
    const uint64_t generation = w->device_desired.generation;
    w->device_documents = 0;
    change_device(w, "device.pin", &pin);
    assert_true(turn_until(w, a_document_came, WAIT_MS));
    assert_true(w->device_desired.generation > generation);
    assert_int_equal(w->device_desired.labels_len, 1);
    assert_int_equal(w->device_desired.pins_len, 1);
    assert_string_equal(w->device_desired.pins[0].version, "1.1");
    assert_memory_equal(w->device_desired.pins[0].digest.ptr, w->two, DIGEST_BYTES);
    /* Said again by a captain that starts, for a stream that may have lost it. */
    w->device_documents = 0;
    w->answered = false;
    assert_ok(w, bus_request(w->bus, "$JS.API.STREAM.DELETE.DESIRED", (struct bytes){0}, 5000,
                             on_answer, w, &w->err));
    assert_true(turn_until(w, was_answered, WAIT_MS));
    assert_int_equal(captain_end(w, SIGKILL), SIGKILL);
    captain_start(w);
    assert_true(turn_until(w, a_document_came, WAIT_MS));
    assert_int_equal(w->device_desired.pins_len, 1);
}

#define PAST_TEST(name, before)                                                                    \
    cmocka_unit_test_setup_teardown(test_rollouts__##name, before, tear_down)

int main(int argc, char **argv)
{
    if (argc == 4 && str_equal(argv[1], "serve"))
        return captain_main(argv[2], argv[3]);
    const struct CMUnitTest tests[] = {
        PAST_TEST(the_first_release_ever_goes_out_in_waves_too, set_up_new),
        PAST_TEST(a_first_release_that_fails_is_held_and_goes_nowhere, set_up_new),
        PAST_TEST(a_success_can_be_taken_back, set_up),
        PAST_TEST(one_whose_history_is_lost_ends_where_it_stands, set_up),
        PAST_TEST(one_does_not_wait_for_who_was_put_out, set_up),
        PAST_TEST(labels_and_pins_reach_their_device, set_up),
    };
    if (argc == 2)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
