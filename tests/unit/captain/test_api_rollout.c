/* SPDX-License-Identifier: Apache-2.0
 *
 * What operators ask of rollouts and around them: what is refused, with which words, and what is answered.
 * How rollouts go is in test_rollouts.c.
 */
#include "captain/core/rollout.h"
#include "tests/unit/captain/api_world.h"

enum { DEVICES = 8 }; /* the compare gate wants 5 for control */

/* 1.0 runs everywhere, 1.1 and 1.2 are there. */
static int set_up_fleet(void **state)
{
    struct channel_info channel;
    const int failed = set_up(state);
    struct world *w = *state;
    upload(w);
    (void)create_ok(w, "1.0", 1);
    (void)create_ok(w, "1.1", 2);
    (void)create_ok(w, "1.2", 3);
    assert_int_equal(set_channel(w, "hello/stable", "hello@1.0", &channel), ERR_OK);
    for (int i = 0; i < DEVICES; i++) {
        char device[32];
        (void)snprintf(device, sizeof device, "lyon.d%d", i);
        device_says(w, device, "1.0", APP_STATE_HEALTHY);
    }
    wait_counts(w, DEVICES, 0);
    return failed;
}

static enum err_code start(struct world *w, const char *release, const char *policy,
                           struct rollout_info *ret)
{
    const struct rollout_start_request request = {.channel = "hello/stable",
                                                  .release = release,
                                                  .policy = policy,
                                                  .policy_name = policy[0] ? "p.yaml" : "",
                                                  .reason = "because"};
    return ask(w, "rollout.start", &codec_rollout_start_request, &request, &codec_rollout_info,
               ret);
}

static enum err_code act(struct world *w, const char *verb, const struct rollout_action *action,
                         struct rollout_info *ret)
{
    char full[64];
    (void)snprintf(full, sizeof full, "rollout.%s", verb);
    return ask(w, full, &codec_rollout_action, action, &codec_rollout_info, ret);
}

static struct rollout_info show(struct world *w, const char *rollout)
{
    const struct rollout_query query = {.rollout = rollout};
    struct rollout_info info;
    ask_ok(w, "rollout.show", &codec_rollout_query, &query, &codec_rollout_info, &info);
    return info;
}

static void test_api_rollout__a_start_is_told_with_its_canary(void **state)
{
    struct world *w = *state;
    struct rollout_info info;
    assert_int_equal(start(w, "hello@1.1", "", &info), ERR_OK);
    info = show(w, info.id);
    assert_string_equal(info.channel, "hello/stable");
    assert_string_equal(info.release, "hello@1.1");
    assert_string_equal(info.base_release, "hello@1.0");
    assert_string_equal(info.policy_name, "normal");
    assert_string_equal(info.started_by, "operator:alice");
    assert_string_equal(info.reason, "because");
    assert_string_equal(info.state, "running");
    assert_int_equal(info.devices, DEVICES);
    assert_int_equal(info.wave, 1);
    assert_int_equal(info.waves_len, 3);
    assert_string_equal(info.waves[0].state, "open");
    assert_int_equal(info.waves[0].devices, 1);
    assert_int_equal(info.waves[1].devices, 1); /* a quarter, the canary included */
    assert_int_equal(info.waves[2].devices, DEVICES - 2);
    assert_string_equal(info.waves[2].state, "next");
    assert_string_equal(info.gate->gate, "coverage");
    assert_string_equal(info.gate->verdict, "wait");
    assert_int_equal(info.waves[0].sites_len, 1);
    assert_string_equal(info.waves[0].sites[0].site, "lyon");
    assert_non_null(strstr(info.policy, "quorum: 0.9")); /* every default is written out */
    assert_string_equal(show(w, "hello/stable").id, info.id);
    assert_string_equal(show(w, "").id, info.id);
}

static void test_api_rollout__what_cannot_start_is_refused_before_it_is_decided(void **state)
{
    struct world *w = *state;
    struct rollout_info info;
    const uint64_t log_seq = status_of(w).log_seq;
    assert_int_equal(start(w, "hello@1.0", "", &info), ERR_CONFLICT);
    assert_string_equal(w->error, "channel hello/stable is on hello@1.0 already");
    assert_int_equal(start(w, "hello@9", "", &info), ERR_NOT_FOUND);
    assert_int_equal(start(w, "web@1.0", "", &info), ERR_USAGE);
    assert_int_equal(start(w, "hello@1.1", "soak: soon\n", &info), ERR_USAGE);
    assert_true(strncmp(w->error, "p.yaml:1:7: soak", 16) == 0);
    assert_int_equal(
        start(w, "hello@1.2", "floors: [{version: 1.1, reason: moves the data}]\n", &info),
        ERR_CONFLICT);
    assert_string_equal(w->error, "hello@1.1 must be passed through first: moves the data");
    assert_int_equal(status_of(w).log_seq, log_seq);
    assert_int_equal(
        start(w, "hello@1.1", "floors: [{version: 1.1, reason: moves the data}]\n", &info), ERR_OK);
}

static void test_api_rollout__a_channel_has_one_master(void **state)
{
    struct world *w = *state;
    struct rollout_info info;
    struct channel_info channel;
    assert_int_equal(start(w, "hello@1.1", "", &info), ERR_OK);
    char *first = arena_strdup(&w->arena, info.id);
    assert_int_equal(set_channel(w, "hello/stable", "hello@1.2", &channel), ERR_CONFLICT);
    assert_non_null(strstr(w->error, first));
    assert_non_null(strstr(w->hint, "captain rollout abort hello/stable"));
    assert_int_equal(start(w, "hello@1.1", "", &info), ERR_CONFLICT);
    assert_int_equal(start(w, "hello@1.2", "", &info), ERR_OK);
    assert_string_equal(info.base_release, "hello@1.0"); /* what succeeded last, not 1.1 */
    assert_string_not_equal(info.id, first);
    const struct rollout_query all = {.limit = 10};
    struct rollout_list list;
    ask_ok(w, "rollout.ls", &codec_rollout_query, &all, &codec_rollout_list, &list);
    assert_int_equal(list.rollouts_len, 2);
}

static void test_api_rollout__operators_are_refused_with_the_right_words(void **state)
{
    struct world *w = *state;
    struct rollout_info info;
    assert_int_equal(act(w, "pause", &(struct rollout_action){0}, &info), ERR_NOT_FOUND);
    assert_int_equal(start(w, "hello@1.1", "", &info), ERR_OK);
    assert_int_equal(act(w, "resume", &(struct rollout_action){.gate = "soak"}, &info),
                     ERR_CONFLICT);
    assert_int_equal(act(w, "resume", &(struct rollout_action){.gate = "soap"}, &info), ERR_USAGE);
    assert_int_equal(act(w, "pause", &(struct rollout_action){0}, &info), ERR_OK);
    assert_string_equal(show(w, "").state, "paused");
    assert_int_equal(act(w, "pause", &(struct rollout_action){0}, &info), ERR_OK); /* twice */
    assert_int_equal(act(w, "promote", &(struct rollout_action){0}, &info), ERR_CONFLICT);
    assert_int_equal(act(w, "resume", &(struct rollout_action){0}, &info), ERR_OK);
    assert_string_equal(show(w, "").state, "running");
    assert_int_equal(act(w, "exclude", &(struct rollout_action){.device = "d1"}, &info), ERR_USAGE);
    assert_string_equal(w->error, "leaving a device out needs a reason");
    assert_int_equal(
        act(w, "exclude", &(struct rollout_action){.device = "d9", .reason = "x"}, &info),
        ERR_NOT_FOUND);
    assert_int_equal(
        act(w, "exclude", &(struct rollout_action){.device = "d1", .reason = "x"}, &info), ERR_OK);
    assert_int_equal(act(w, "retry", &(struct rollout_action){.device = "d2"}, &info),
                     ERR_CONFLICT);
    assert_int_equal(act(w, "abort", &(struct rollout_action){0}, &info), ERR_OK);
    assert_int_equal(act(w, "abort", &(struct rollout_action){.rollout = "hello/stable"}, &info),
                     ERR_OK);
    assert_int_equal(act(w, "pause", &(struct rollout_action){.rollout = "hello/stable"}, &info),
                     ERR_CONFLICT);
}

static void test_api_rollout__a_plan_decides_nothing(void **state)
{
    struct world *w = *state;
    const struct rollout_start_request request = {
        .channel = "hello/stable", .release = "hello@1.1", .policy_name = "careful"};
    struct rollout_plan plan;
    const uint64_t log_seq = status_of(w).log_seq;
    ask_ok(w, "rollout.plan", &codec_rollout_start_request, &request, &codec_rollout_plan, &plan);
    assert_string_equal(plan.base_release, "hello@1.0");
    assert_int_equal(plan.devices, DEVICES);
    assert_int_equal(plan.eligible, DEVICES);
    assert_int_equal(plan.waves_len, 4);
    assert_int_equal(plan.waves[0].devices, 3);
    assert_int_equal(plan.waves[0].sample_len, 3);
    uint32_t sum = 0;
    for (size_t i = 0; i < plan.waves_len; i++)
        sum += plan.waves[i].devices;
    assert_int_equal(sum, DEVICES);
    assert_true(plan.caps_len > 0);
    assert_true(plan.holds_len > 0); /* approvals */
    assert_int_equal(plan.log_seq, log_seq);
    assert_int_equal(status_of(w).log_seq, log_seq);
}

static void test_api_rollout__policies_belong_to_channels(void **state)
{
    struct world *w = *state;
    struct channel_query query = {.channel = "hello/stable"};
    struct policy_set_request set = {.channel = "hello/stable",
                                     .name = "ours.yaml",
                                     .policy = "# by night\nwaves: [{name: all, all: true}]\n",
                                     .reason = "ours"};
    struct policy_info info;
    struct policy_list list;
    struct rollout_info rollout;
    ask_ok(w, "policy.show", &codec_channel_query, &query, &codec_policy_info, &info);
    assert_string_equal(info.name, "normal");
    assert_int_equal(info.decision, 0);
    ask_ok(w, "policy.set", &codec_policy_set_request, &set, &codec_policy_info, &info);
    assert_string_equal(info.name, "ours");
    assert_string_equal(info.policy, set.policy); /* comments too */
    assert_true(info.decision > 0);
    ask_ok(w, "policy.ls", &codec_channel_query, &query, &codec_policy_list, &list);
    assert_int_equal(list.policies_len, 1);
    assert_int_equal(start(w, "hello@1.1", "", &rollout), ERR_OK);
    assert_string_equal(rollout.policy_name, "ours");
    assert_int_equal(rollout.waves_len, 1);
    set.policy = "";
    set.name = "fast"; /* its first wave is another one, and ours has begun */
    assert_int_equal(
        ask(w, "policy.set", &codec_policy_set_request, &set, &codec_policy_info, &info),
        ERR_CONFLICT);
}

static void test_api_rollout__a_freeze_has_a_reason_and_an_author(void **state)
{
    struct world *w = *state;
    struct freeze_request request = {.on = true};
    const struct status_query query = {0};
    struct freeze_info info;
    assert_int_equal(
        ask(w, "freeze.set", &codec_freeze_request, &request, &codec_freeze_info, &info),
        ERR_USAGE);
    request.reason = "black friday";
    ask_ok(w, "freeze.set", &codec_freeze_request, &request, &codec_freeze_info, &info);
    ask_ok(w, "freeze.get", &codec_status_query, &query, &codec_freeze_info, &info);
    assert_true(info.on);
    assert_string_equal(info.set_by, "operator:alice");
    assert_string_equal(info.reason, "black friday");
    struct rollout_info rollout;
    assert_int_equal(start(w, "hello@1.1", "", &rollout), ERR_OK);
    request.on = false;
    ask_ok(w, "freeze.set", &codec_freeze_request, &request, &codec_freeze_info, &info);
    assert_false(info.on);
}

static void test_api_rollout__gates_are_replayed_from_what_is_stored(void **state)
{
    struct world *w = *state;
    struct rollout_info info;
    struct gate_replay_request request = {.rollout = "hello/stable"};
    struct gate_replay replay;
    assert_int_equal(start(w, "hello@1.1", "", &info), ERR_OK);
    assert_int_equal(act(w, "abort", &(struct rollout_action){0}, &info), ERR_OK);
    const int64_t until_ms = clock_mono_ms() + WAIT_MS;
    while (show(w, "hello/stable").ended_ms == 0)
        assert_true(clock_mono_ms() < until_ms);
    ask_ok(w, "gate.replay", &codec_gate_replay_request, &request, &codec_gate_replay, &replay);
    assert_string_equal(replay.first_difference, "");
    assert_true(replay.same);
    assert_true(replay.inputs >= 2);
    assert_true(replay.verdicts_len >= 1);
    assert_true(replay.verdicts[0].recorded);
    assert_string_equal(replay.verdicts[0].gate->gate, "coverage");
    request.policy_name = "careful";
    ask_ok(w, "gate.replay", &codec_gate_replay_request, &request, &codec_gate_replay, &replay);
    assert_string_equal(replay.policy_name, "careful");
    request.policy_name = "reckless";
    assert_int_equal(
        ask(w, "gate.replay", &codec_gate_replay_request, &request, &codec_gate_replay, &replay),
        ERR_NOT_FOUND);
}

static const struct why_reason *reason_of(const struct why_app *app, const char *what)
{
    for (size_t i = 0; i < app->reasons_len; i++)
        if (str_equal(app->reasons[i].what, what))
            return &app->reasons[i];
    return NULL;
}

static void test_api_rollout__why_and_drift_know_pins_waves_and_errors(void **state)
{
    struct world *w = *state;
    const struct device_query query = {.device = "d1"}, all = {.limit = 100};
    struct device_change change = {.device = "d1", .release = "hello@1.2"};
    struct device_info info;
    struct drift_list drift;
    struct why why;
    assert_int_equal(ask(w, "device.pin", &codec_device_change, &change, &codec_device_info, &info),
                     ERR_USAGE); /* why? */
    change.reason = "by hand";
    ask_ok(w, "device.pin", &codec_device_change, &change, &codec_device_info, &info);
    device_event(w, "lyon.d1", 1);
    wait_counts(w, 0, 1);
    ask_ok(w, "device.why", &codec_device_query, &query, &codec_why, &why);
    assert_int_equal(why.apps_len, 1);
    assert_string_equal(why.apps[0].should, "hello@1.2");
    assert_false(why.apps[0].ok);
    assert_non_null(reason_of(&why.apps[0], "pinned"));
    assert_string_equal(reason_of(&why.apps[0], "error")->text, "check home failed");
    ask_ok(w, "device.drift", &codec_device_query, &all, &codec_drift_list, &drift);
    assert_int_equal(drift.devices_len, 1);
    assert_string_equal(drift.devices[0].device, "lyon/d1");
    assert_string_equal(drift.devices[0].runs, "hello@1.0");
    assert_string_equal(drift.devices[0].should, "hello@1.2");
    change = (struct device_change){.device = "d1", .app = "hello"};
    ask_ok(w, "device.unpin", &codec_device_change, &change, &codec_device_info, &info);
    ask_ok(w, "device.drift", &codec_device_query, &all, &codec_drift_list, &drift);
    assert_int_equal(drift.devices_len, 0);
    assert_int_equal(
        ask(w, "device.unpin", &codec_device_change, &change, &codec_device_info, &info),
        ERR_NOT_FOUND);
}

static void test_api_rollout__labels_are_added_and_taken_away(void **state)
{
    struct world *w = *state;
    struct device_label_set labels[] = {{.key = "ring", .value = "beta"},
                                        {.key = "x", .value = "1"}};
    struct device_change change = {.device = "d0", .labels = labels, .labels_len = 2};
    struct device_info info;
    struct rollout_plan plan;
    const struct rollout_start_request request = {
        .channel = "hello/stable",
        .release = "hello@1.1",
        .policy_name = "p",
        .policy = "waves: [{name: beta, select: \"ring=beta\"}, {name: all, all: true}]\n"};
    ask_ok(w, "device.label", &codec_device_change, &change, &codec_device_info, &info);
    ask_ok(w, "rollout.plan", &codec_rollout_start_request, &request, &codec_rollout_plan, &plan);
    assert_int_equal(plan.waves[0].devices, 1);
    assert_string_equal(plan.waves[0].sample[0], "lyon/d0");
    labels[0].value = "";
    ask_ok(w, "device.label", &codec_device_change, &change, &codec_device_info, &info);
    ask_ok(w, "rollout.plan", &codec_rollout_start_request, &request, &codec_rollout_plan, &plan);
    assert_int_equal(plan.waves[0].devices, 0);
    labels[0] = (struct device_label_set){.key = "site", .value = "paris"};
    assert_int_equal(
        ask(w, "device.label", &codec_device_change, &change, &codec_device_info, &info),
        ERR_USAGE);
}

#define API_TEST(name)                                                                             \
    cmocka_unit_test_setup_teardown(test_api_rollout__##name, set_up_fleet, tear_down)

int main(int argc, char **argv)
{
    if (argc == 4 && str_equal(argv[1], "serve"))
        return captain_main(argv[2], argv[3]);
    const struct CMUnitTest tests[] = {
        API_TEST(a_start_is_told_with_its_canary),
        API_TEST(what_cannot_start_is_refused_before_it_is_decided),
        API_TEST(a_channel_has_one_master),
        API_TEST(operators_are_refused_with_the_right_words),
        API_TEST(a_plan_decides_nothing),
        API_TEST(policies_belong_to_channels),
        API_TEST(a_freeze_has_a_reason_and_an_author),
        API_TEST(gates_are_replayed_from_what_is_stored),
        API_TEST(why_and_drift_know_pins_waves_and_errors),
        API_TEST(labels_are_added_and_taken_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
