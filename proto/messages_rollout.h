/* SPDX-License-Identifier: Apache-2.0
 *
 * The messages of rollout.proto as plain structs; messages.h says how they are to be read.
 */
#pragma once

#include "proto/messages.h"

struct rollout_started {
    struct codec_head head;
    const char *id;
    const char *app;
    const char *channel;
    struct bytes digest;
    struct bytes base_digest;
    const char *policy_name;
    const char *policy;
    uint64_t seed;
    const char *supersedes;
};
struct rollout_window {
    struct codec_head head;
    int64_t from_ms;
    int64_t to_ms;
};
/* RolloutInput; struct rollout_input is the core's. */
struct rollout_stored_input {
    struct codec_head head;
    uint32_t kind;
    int64_t now_ms;
    uint32_t member;
    uint32_t attempt;
    bool flag;
    uint32_t what;
    uint32_t sequence;
    uint32_t flaps;
    uint32_t number;
    int64_t since_ms;
    double value;
    uint64_t operator_id;
    bool not_a_number;
    const char *policy;
    struct bytes members;
    const struct rollout_window *windows;
    size_t windows_len;
    const char *reason;
};
struct rollout_command {
    struct codec_head head;
    const char *id;
    const struct rollout_stored_input *input; /* NULL: absent */
    const char *verb;
    const char *device;
};
struct rollout_published {
    struct codec_head head;
    const char *id;
    uint64_t effect;
    uint64_t input;
    bool to_base;
    uint32_t wave;
    uint64_t cut;
    const char *const *devices;
    size_t devices_len;
    const char *const *selectors;
    size_t selectors_len;
    const char *cause;
};
struct rollout_verdict {
    struct codec_head head;
    const char *id;
    uint64_t effect;
    uint64_t input;
    uint32_t wave;
    const char *gate;
    const char *verdict;
    const char *reason;
    const char *sentence;
    uint32_t n;
    uint32_t healthy;
    uint32_t failed;
    uint32_t missing;
    double observed;
    double threshold;
    double p;
    int64_t until_ms;
    const char *policy_digest;
    const char *snapshot_digest;
};
struct rollout_moved {
    struct codec_head head;
    const char *id;
    uint64_t effect;
    uint64_t input;
    const char *from;
    const char *to;
    const char *cause;
    bool finished;
};
/* RolloutDevice */
struct rollout_device_moved {
    struct codec_head head;
    const char *id;
    uint64_t effect;
    uint64_t input;
    const char *device;
    const char *what;
    const char *class;
};
struct channel_policy {
    struct codec_head head;
    const char *app;
    const char *channel;
    const char *name;
    const char *policy;
};
struct fleet_freeze {
    struct codec_head head;
    bool on;
};
struct device_label_set {
    struct codec_head head;
    const char *key;
    const char *value;
};
struct device_pin_set {
    struct codec_head head;
    const char *app;
    struct bytes digest;
};
struct device_set {
    struct codec_head head;
    const char *device;
    const struct device_label_set *labels;
    size_t labels_len;
    const struct device_pin_set *pins;
    size_t pins_len;
};
struct rollout_start_request {
    struct codec_head head;
    const char *channel;
    const char *release;
    const char *policy;
    const char *policy_name;
    const char *reason;
};
struct rollout_plan_wave {
    struct codec_head head;
    const char *name;
    uint32_t devices;
    const char *const *sample;
    size_t sample_len;
    const char *gates;
};
struct rollout_plan {
    struct codec_head head;
    const char *channel;
    const char *release;
    const char *base_release;
    const char *policy_name;
    uint32_t devices;
    uint32_t eligible;
    const struct rollout_plan_wave *waves;
    size_t waves_len;
    const char *const *caps;
    size_t caps_len;
    const char *const *holds;
    size_t holds_len;
    uint64_t log_seq;
};
struct rollout_query {
    struct codec_head head;
    const char *rollout;
    const char *channel;
    bool live;
    uint32_t limit;
};
struct rollout_gate_info {
    struct codec_head head;
    const char *gate;
    const char *verdict;
    const char *reason;
    const char *sentence;
    int64_t until_ms;
};
struct rollout_device_info {
    struct codec_head head;
    const char *device;
    const char *state;
    const char *class;
    const char *text;
    bool boxed;
};
struct rollout_site_info {
    struct codec_head head;
    const char *site;
    uint32_t devices;
    uint32_t healthy;
    uint32_t applying;
    uint32_t failed;
    const struct rollout_device_info *failing;
    size_t failing_len;
};
struct rollout_wave_info {
    struct codec_head head;
    const char *name;
    const char *state;
    uint32_t devices;
    uint32_t healthy;
    uint32_t failed;
    int64_t started_ms;
    int64_t ended_ms;
    const struct rollout_gate_info *gates;
    size_t gates_len;
    const struct rollout_site_info *sites;
    size_t sites_len;
};
struct rollout_info {
    struct codec_head head;
    const char *id;
    const char *channel;
    const char *release;
    const char *base_release;
    const char *state;
    const char *policy_name;
    int64_t started_ms;
    int64_t ended_ms;
    const char *started_by;
    const char *reason;
    uint32_t wave;
    const struct rollout_wave_info *waves;
    size_t waves_len;
    const struct rollout_gate_info *gate; /* NULL: absent */
    uint32_t devices;
    uint32_t on_target;
    uint32_t in_flight;
    uint32_t failed;
    uint32_t quarantined;
    uint32_t exposed;
    uint64_t decision;
    bool outcome_good;
    const char *policy;
    const char *next;
    uint32_t to_go_back;
};
struct rollout_list {
    struct codec_head head;
    const struct rollout_info *rollouts;
    size_t rollouts_len;
};
struct rollout_action {
    struct codec_head head;
    const char *rollout;
    const char *verb;
    const char *gate;
    const char *reason;
    bool keep;
    const char *device;
};
struct gate_replay_request {
    struct codec_head head;
    const char *rollout;
    uint64_t at_input;
    const char *policy;
    const char *policy_name;
};
struct gate_replay_verdict {
    struct codec_head head;
    uint64_t input;
    int64_t time_ms;
    uint32_t wave;
    const struct rollout_gate_info *gate; /* NULL: absent */
    bool recorded;
};
struct gate_replay {
    struct codec_head head;
    const char *rollout;
    const char *policy_name;
    const struct gate_replay_verdict *verdicts;
    size_t verdicts_len;
    bool same;
    const char *first_difference;
    bool stopped;
    uint64_t stop_input;
    uint32_t stop_exposed;
    uint32_t recorded_exposed;
    uint64_t inputs;
};
struct policy_set_request {
    struct codec_head head;
    const char *channel;
    const char *name;
    const char *policy;
    const char *reason;
};
struct policy_info {
    struct codec_head head;
    const char *channel;
    const char *name;
    const char *policy;
    int64_t since_ms;
    const char *set_by;
    uint64_t decision;
};
struct policy_list {
    struct codec_head head;
    const struct policy_info *policies;
    size_t policies_len;
};
struct freeze_request {
    struct codec_head head;
    bool on;
    const char *reason;
};
struct freeze_info {
    struct codec_head head;
    bool on;
    int64_t since_ms;
    const char *set_by;
    const char *reason;
};
struct why_reason {
    struct codec_head head;
    const char *what;
    const char *text;
    const char *evidence;
};
struct why_app {
    struct codec_head head;
    const char *app;
    const char *channel;
    const char *runs;
    const char *should;
    bool ok;
    const char *rollout;
    const struct why_reason *reasons;
    size_t reasons_len;
};
struct why {
    struct codec_head head;
    const char *device;
    const struct why_app *apps;
    size_t apps_len;
};
struct drift_info {
    struct codec_head head;
    const char *device;
    const char *app;
    const char *channel;
    const char *runs;
    const char *should;
    const char *why;
};
struct drift_list {
    struct codec_head head;
    const struct drift_info *devices;
    size_t devices_len;
    const char *next;
};
struct device_change {
    struct codec_head head;
    const char *device;
    const char *app;
    const char *release;
    const struct device_label_set *labels;
    size_t labels_len;
    const char *reason;
};
struct site_windows {
    struct codec_head head;
    const char *site;
    const char *windows;
};
struct site_change {
    struct codec_head head;
    const char *site;
    const char *windows;
    const char *reason;
};
struct site_info {
    struct codec_head head;
    const char *site;
    const char *windows;
    int64_t since_ms;
    const char *set_by;
    int64_t opens_ms;
    int64_t closes_ms;
};
struct site_list {
    struct codec_head head;
    const struct site_info *sites;
    size_t sites_len;
};
