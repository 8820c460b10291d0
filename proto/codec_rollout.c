/* SPDX-License-Identifier: Apache-2.0
 *
 * rollout.proto: one row a field, one table a message. The macros are explained in codec_table.h.
 */
#include "proto/codec_table.h"

#include "common/base/mem.h"
#include "proto/rollout.pb-c.h"

/* A policy file; the members of a start, packed, which stay in the tables. */
enum {
    POLICY_MAX_BYTES = 64 << 10,
    MEMBERS_MAX_BYTES = 400 << 20,
    STORED_MAX_BYTES = MEMBERS_MAX_BYTES + (1 << 20),
};

#define S struct rollout_started
static const struct codec_row rollout_started_rows[] = {
    TEXT(id, ULID_LEN, ULID),
    TEXT(app, TOKEN_MAX, TOKEN),
    TEXT(channel, NAME_MAX_BYTES, LINE),
    BYTES(digest, DIGEST_BYTES, DIGEST_BYTES),
    BYTES(base_digest, DIGEST_BYTES, DIGEST_BYTES),
    TEXT(policy_name, CAUSE_MAX, TEXT),
    TEXT(policy, POLICY_MAX_BYTES, TEXT),
    U64(seed, 0, UINT64_MAX),
    TEXT(supersedes, CAUSE_MAX, TEXT),
};
#undef S
CODEC_TYPE(rollout_started, rollout_started, API_MAX_BYTES);

#define S struct rollout_window
static const struct codec_row rollout_window_rows[] = {
    I64(from_ms, 0, INT64_MAX),
    I64(to_ms, 0, INT64_MAX),
};
#undef S
CODEC_TYPE(rollout_window, rollout_window, 16 << 10);

#define S struct rollout_stored_input
static const struct codec_row rollout_stored_input_rows[] = {
    U32(kind, 0, UINT32_MAX),
    I64(now_ms, 0, INT64_MAX),
    U32(member, 0, UINT32_MAX),
    U32(attempt, 0, UINT32_MAX),
    BOOL(flag),
    U32(what, 0, UINT32_MAX),
    U32(sequence, 0, UINT32_MAX),
    U32(flaps, 0, UINT32_MAX),
    U32(number, 0, UINT32_MAX),
    I64(since_ms, 0, INT64_MAX),
    DOUBLE(value),
    U64(operator_id, 0, UINT64_MAX),
    BOOL(not_a_number),
    TEXT(policy, POLICY_MAX_BYTES, TEXT),
    BYTES(members, 1, MEMBERS_MAX_BYTES),
    SUBS(windows, rollout_window, 0, LIST_MAX),
    TEXT(reason, REASON_MAX, TEXT),
};
#undef S
CODEC_TYPE(rollout_stored_input, rollout_input, STORED_MAX_BYTES);

#define S struct rollout_command
static const struct codec_row rollout_command_rows[] = {
    TEXT(id, ULID_LEN, ULID),
    SUB(input, rollout_stored_input),
    TEXT(verb, CAUSE_MAX, TEXT),
    TEXT(device, NAME_MAX_BYTES, LINE),
};
#undef S
CODEC_TYPE(rollout_command, rollout_command, API_MAX_BYTES);

#define S struct rollout_published
static const struct codec_row rollout_published_rows[] = {
    TEXT(id, ULID_LEN, ULID),
    U64(effect, 0, COUNTER_MAX),
    U64(input, 0, COUNTER_MAX),
    BOOL(to_base),
    U32(wave, 0, UINT32_MAX),
    U64(cut, 0, UINT64_MAX),
    TEXTS(devices, 0, 1024, NAME_MAX_BYTES, LINE),
    TEXTS(selectors, 0, 16, CAUSE_MAX, LINE),
    TEXT(cause, CAUSE_MAX, TEXT),
};
#undef S
CODEC_TYPE(rollout_published, rollout_published, API_MAX_BYTES);

#define S struct rollout_verdict
static const struct codec_row rollout_verdict_rows[] = {
    TEXT(id, ULID_LEN, ULID),
    U64(effect, 0, COUNTER_MAX),
    U64(input, 0, COUNTER_MAX),
    U32(wave, 0, UINT32_MAX),
    TEXT(gate, CAUSE_MAX, TEXT),
    TEXT(verdict, CAUSE_MAX, TEXT),
    TEXT(reason, REASON_MAX, TEXT),
    TEXT(sentence, CAUSE_MAX, TEXT),
    U32(n, 0, UINT32_MAX),
    U32(healthy, 0, UINT32_MAX),
    U32(failed, 0, UINT32_MAX),
    U32(missing, 0, UINT32_MAX),
    DOUBLE(observed),
    DOUBLE(threshold),
    DOUBLE(p),
    I64(until_ms, 0, INT64_MAX),
    TEXT(policy_digest, CAUSE_MAX, TEXT),
    TEXT(snapshot_digest, CAUSE_MAX, TEXT),
};
#undef S
CODEC_TYPE(rollout_verdict, rollout_verdict, 16 << 10);

#define S struct rollout_moved
static const struct codec_row rollout_moved_rows[] = {
    TEXT(id, ULID_LEN, ULID),
    U64(effect, 0, COUNTER_MAX),
    U64(input, 0, COUNTER_MAX),
    TEXT(from, CAUSE_MAX, TEXT),
    TEXT(to, CAUSE_MAX, TEXT),
    TEXT(cause, CAUSE_MAX, TEXT),
    BOOL(finished),
};
#undef S
CODEC_TYPE(rollout_moved, rollout_moved, 16 << 10);

#define S struct rollout_device_moved
static const struct codec_row rollout_device_moved_rows[] = {
    TEXT(id, ULID_LEN, ULID),           U64(effect, 0, COUNTER_MAX), U64(input, 0, COUNTER_MAX),
    TEXT(device, NAME_MAX_BYTES, LINE), TEXT(what, CAUSE_MAX, TEXT), TEXT(class, CAUSE_MAX, TEXT),
};
#undef S
CODEC_TYPE(rollout_device_moved, rollout_device, 16 << 10);

#define S struct channel_policy
static const struct codec_row channel_policy_rows[] = {
    TEXT(app, TOKEN_MAX, TOKEN),
    TEXT(channel, NAME_MAX_BYTES, LINE),
    TEXT(name, CAUSE_MAX, TEXT),
    TEXT(policy, POLICY_MAX_BYTES, TEXT),
};
#undef S
CODEC_TYPE(channel_policy, channel_policy, API_MAX_BYTES);

#define S struct fleet_freeze
static const struct codec_row fleet_freeze_rows[] = {
    BOOL(on),
};
#undef S
CODEC_TYPE(fleet_freeze, fleet_freeze, 16 << 10);

#define S struct device_label_set
static const struct codec_row device_label_set_rows[] = {
    TEXT(key, CAUSE_MAX, TEXT),
    TEXT(value, CAUSE_MAX, TEXT),
};
#undef S
CODEC_TYPE(device_label_set, device_label_set, 16 << 10);

#define S struct device_pin_set
static const struct codec_row device_pin_set_rows[] = {
    TEXT(app, TOKEN_MAX, TOKEN),
    BYTES(digest, DIGEST_BYTES, DIGEST_BYTES),
};
#undef S
CODEC_TYPE(device_pin_set, device_pin_set, 16 << 10);

#define S struct device_set
static const struct codec_row device_set_rows[] = {
    TEXT(device, NAME_MAX_BYTES, LINE),
    SUBS(labels, device_label_set, 0, LIST_MAX),
    SUBS(pins, device_pin_set, 0, LIST_MAX),
};
#undef S
CODEC_TYPE(device_set, device_set, 16 << 10);

#define S struct rollout_start_request
static const struct codec_row rollout_start_request_rows[] = {
    TEXT(channel, NAME_MAX_BYTES, LINE),  TEXT(release, NAME_MAX_BYTES, LINE),
    TEXT(policy, POLICY_MAX_BYTES, TEXT), TEXT(policy_name, CAUSE_MAX, TEXT),
    TEXT(reason, REASON_MAX, TEXT),
};
#undef S
CODEC_TYPE(rollout_start_request, rollout_start_request, API_MAX_BYTES);

#define S struct rollout_plan_wave
static const struct codec_row rollout_plan_wave_rows[] = {
    TEXT(name, CAUSE_MAX, TEXT),
    U32(devices, 0, UINT32_MAX),
    TEXTS(sample, 0, 256, NAME_MAX_BYTES, LINE),
    TEXT(gates, CAUSE_MAX, TEXT),
};
#undef S
CODEC_TYPE(rollout_plan_wave, rollout_plan_wave, 16 << 10);

#define S struct rollout_plan
static const struct codec_row rollout_plan_rows[] = {
    TEXT(channel, NAME_MAX_BYTES, LINE),
    TEXT(release, NAME_MAX_BYTES, LINE),
    TEXT(base_release, NAME_MAX_BYTES, LINE),
    TEXT(policy_name, CAUSE_MAX, TEXT),
    U32(devices, 0, UINT32_MAX),
    U32(eligible, 0, UINT32_MAX),
    SUBS(waves, rollout_plan_wave, 0, LIST_MAX),
    TEXTS(caps, 0, 256, CAUSE_MAX, TEXT),
    TEXTS(holds, 0, 256, CAUSE_MAX, TEXT),
    U64(log_seq, 0, COUNTER_MAX),
};
#undef S
CODEC_TYPE(rollout_plan, rollout_plan, API_MAX_BYTES);

#define S struct rollout_query
static const struct codec_row rollout_query_rows[] = {
    TEXT(rollout, NAME_MAX_BYTES, LINE),
    TEXT(channel, NAME_MAX_BYTES, LINE),
    BOOL(live),
    U32(limit, 0, UINT32_MAX),
};
#undef S
CODEC_TYPE(rollout_query, rollout_query, 16 << 10);

#define S struct rollout_gate_info
static const struct codec_row rollout_gate_info_rows[] = {
    TEXT(gate, CAUSE_MAX, TEXT),     TEXT(verdict, CAUSE_MAX, TEXT), TEXT(reason, REASON_MAX, TEXT),
    TEXT(sentence, CAUSE_MAX, TEXT), I64(until_ms, 0, INT64_MAX),
};
#undef S
CODEC_TYPE(rollout_gate_info, rollout_gate_info, 16 << 10);

#define S struct rollout_device_info
static const struct codec_row rollout_device_info_rows[] = {
    TEXT(device, NAME_MAX_BYTES, LINE),
    TEXT(state, CAUSE_MAX, TEXT),
    TEXT(class, CAUSE_MAX, TEXT),
    TEXT(text, CAUSE_MAX, TEXT),
    BOOL(boxed),
};
#undef S
CODEC_TYPE(rollout_device_info, rollout_device_info, 16 << 10);

#define S struct rollout_site_info
static const struct codec_row rollout_site_info_rows[] = {
    TEXT(site, NAME_MAX_BYTES, LINE), U32(devices, 0, UINT32_MAX),
    U32(healthy, 0, UINT32_MAX),      U32(applying, 0, UINT32_MAX),
    U32(failed, 0, UINT32_MAX),       SUBS(failing, rollout_device_info, 0, LIST_MAX),
};
#undef S
CODEC_TYPE(rollout_site_info, rollout_site_info, API_MAX_BYTES);

#define S struct rollout_wave_info
static const struct codec_row rollout_wave_info_rows[] = {
    TEXT(name, CAUSE_MAX, TEXT),
    TEXT(state, CAUSE_MAX, TEXT),
    U32(devices, 0, UINT32_MAX),
    U32(healthy, 0, UINT32_MAX),
    U32(failed, 0, UINT32_MAX),
    I64(started_ms, 0, INT64_MAX),
    I64(ended_ms, 0, INT64_MAX),
    SUBS(gates, rollout_gate_info, 0, LIST_MAX),
    SUBS(sites, rollout_site_info, 0, LIST_MAX),
};
#undef S
CODEC_TYPE(rollout_wave_info, rollout_wave_info, API_MAX_BYTES);

#define S struct rollout_info
static const struct codec_row rollout_info_rows[] = {
    TEXT(id, ULID_LEN, ULID),
    TEXT(channel, NAME_MAX_BYTES, LINE),
    TEXT(release, NAME_MAX_BYTES, LINE),
    TEXT(base_release, NAME_MAX_BYTES, LINE),
    TEXT(state, CAUSE_MAX, TEXT),
    TEXT(policy_name, CAUSE_MAX, TEXT),
    I64(started_ms, 0, INT64_MAX),
    I64(ended_ms, 0, INT64_MAX),
    TEXT(started_by, CAUSE_MAX, TEXT),
    TEXT(reason, REASON_MAX, TEXT),
    U32(wave, 0, UINT32_MAX),
    SUBS(waves, rollout_wave_info, 0, LIST_MAX),
    SUB(gate, rollout_gate_info),
    U32(devices, 0, UINT32_MAX),
    U32(on_target, 0, UINT32_MAX),
    U32(in_flight, 0, UINT32_MAX),
    U32(failed, 0, UINT32_MAX),
    U32(quarantined, 0, UINT32_MAX),
    U32(exposed, 0, UINT32_MAX),
    U64(decision, 0, COUNTER_MAX),
    BOOL(outcome_good),
    TEXT(policy, POLICY_MAX_BYTES, TEXT),
    TEXT(next, CAUSE_MAX, TEXT),
    U32(to_go_back, 0, UINT32_MAX),
};
#undef S
CODEC_TYPE(rollout_info, rollout_info, API_MAX_BYTES);

#define S struct rollout_list
static const struct codec_row rollout_list_rows[] = {
    SUBS(rollouts, rollout_info, 0, LIST_MAX),
};
#undef S
CODEC_TYPE(rollout_list, rollout_list, API_MAX_BYTES);

#define S struct rollout_action
static const struct codec_row rollout_action_rows[] = {
    TEXT(rollout, NAME_MAX_BYTES, LINE),
    TEXT(verb, CAUSE_MAX, TEXT),
    TEXT(gate, CAUSE_MAX, TEXT),
    TEXT(reason, REASON_MAX, TEXT),
    BOOL(keep),
    TEXT(device, NAME_MAX_BYTES, LINE),
};
#undef S
CODEC_TYPE(rollout_action, rollout_action, 16 << 10);

#define S struct gate_replay_request
static const struct codec_row gate_replay_request_rows[] = {
    TEXT(rollout, NAME_MAX_BYTES, LINE),
    U64(at_input, 0, COUNTER_MAX),
    TEXT(policy, POLICY_MAX_BYTES, TEXT),
    TEXT(policy_name, CAUSE_MAX, TEXT),
};
#undef S
CODEC_TYPE(gate_replay_request, gate_replay_request, API_MAX_BYTES);

#define S struct gate_replay_verdict
static const struct codec_row gate_replay_verdict_rows[] = {
    U64(input, 0, COUNTER_MAX),
    I64(time_ms, 0, INT64_MAX),
    U32(wave, 0, UINT32_MAX),
    SUB(gate, rollout_gate_info),
    BOOL(recorded),
};
#undef S
CODEC_TYPE(gate_replay_verdict, gate_replay_verdict, 16 << 10);

#define S struct gate_replay
static const struct codec_row gate_replay_rows[] = {
    TEXT(rollout, NAME_MAX_BYTES, LINE),
    TEXT(policy_name, CAUSE_MAX, TEXT),
    SUBS(verdicts, gate_replay_verdict, 0, LIST_MAX),
    BOOL(same),
    TEXT(first_difference, CAUSE_MAX, TEXT),
    BOOL(stopped),
    U64(stop_input, 0, COUNTER_MAX),
    U32(stop_exposed, 0, UINT32_MAX),
    U32(recorded_exposed, 0, UINT32_MAX),
    U64(inputs, 0, COUNTER_MAX),
};
#undef S
CODEC_TYPE(gate_replay, gate_replay, API_MAX_BYTES);

#define S struct policy_set_request
static const struct codec_row policy_set_request_rows[] = {
    TEXT(channel, NAME_MAX_BYTES, LINE),
    TEXT(name, CAUSE_MAX, TEXT),
    TEXT(policy, POLICY_MAX_BYTES, TEXT),
    TEXT(reason, REASON_MAX, TEXT),
};
#undef S
CODEC_TYPE(policy_set_request, policy_set_request, API_MAX_BYTES);

#define S struct policy_info
static const struct codec_row policy_info_rows[] = {
    TEXT(channel, NAME_MAX_BYTES, LINE),  TEXT(name, CAUSE_MAX, TEXT),
    TEXT(policy, POLICY_MAX_BYTES, TEXT), I64(since_ms, 0, INT64_MAX),
    TEXT(set_by, CAUSE_MAX, TEXT),        U64(decision, 0, COUNTER_MAX),
};
#undef S
CODEC_TYPE(policy_info, policy_info, API_MAX_BYTES);

#define S struct policy_list
static const struct codec_row policy_list_rows[] = {
    SUBS(policies, policy_info, 0, LIST_MAX),
};
#undef S
CODEC_TYPE(policy_list, policy_list, API_MAX_BYTES);

#define S struct freeze_request
static const struct codec_row freeze_request_rows[] = {
    BOOL(on),
    TEXT(reason, REASON_MAX, TEXT),
};
#undef S
CODEC_TYPE(freeze_request, freeze_request, 16 << 10);

#define S struct freeze_info
static const struct codec_row freeze_info_rows[] = {
    BOOL(on),
    I64(since_ms, 0, INT64_MAX),
    TEXT(set_by, CAUSE_MAX, TEXT),
    TEXT(reason, REASON_MAX, TEXT),
};
#undef S
CODEC_TYPE(freeze_info, freeze_info, 16 << 10);

#define S struct why_reason
static const struct codec_row why_reason_rows[] = {
    TEXT(what, CAUSE_MAX, TEXT),
    TEXT(text, CAUSE_MAX, TEXT),
    TEXT(evidence, CAUSE_MAX, TEXT),
};
#undef S
CODEC_TYPE(why_reason, why_reason, 16 << 10);

#define S struct why_app
static const struct codec_row why_app_rows[] = {
    TEXT(app, TOKEN_MAX, TOKEN),
    TEXT(channel, NAME_MAX_BYTES, LINE),
    TEXT(runs, NAME_MAX_BYTES, LINE),
    TEXT(should, NAME_MAX_BYTES, LINE),
    BOOL(ok),
    TEXT(rollout, NAME_MAX_BYTES, LINE),
    SUBS(reasons, why_reason, 0, LIST_MAX),
};
#undef S
CODEC_TYPE(why_app, why_app, 16 << 10);

#define S struct why
static const struct codec_row why_rows[] = {
    TEXT(device, NAME_MAX_BYTES, LINE),
    SUBS(apps, why_app, 0, LIST_MAX),
};
#undef S
CODEC_TYPE(why, why, API_MAX_BYTES);

#define S struct drift_info
static const struct codec_row drift_info_rows[] = {
    TEXT(device, NAME_MAX_BYTES, LINE),  TEXT(app, TOKEN_MAX, TOKEN),
    TEXT(channel, NAME_MAX_BYTES, LINE), TEXT(runs, NAME_MAX_BYTES, LINE),
    TEXT(should, NAME_MAX_BYTES, LINE),  TEXT(why, CAUSE_MAX, TEXT),
};
#undef S
CODEC_TYPE(drift_info, drift_info, 16 << 10);

#define S struct drift_list
static const struct codec_row drift_list_rows[] = {
    SUBS(devices, drift_info, 0, LIST_MAX),
    TEXT(next, CAUSE_MAX, TEXT),
};
#undef S
CODEC_TYPE(drift_list, drift_list, API_MAX_BYTES);

#define S struct device_change
static const struct codec_row device_change_rows[] = {
    TEXT(device, NAME_MAX_BYTES, LINE),  TEXT(app, TOKEN_MAX, TOKEN),
    TEXT(release, NAME_MAX_BYTES, LINE), SUBS(labels, device_label_set, 0, LIST_MAX),
    TEXT(reason, REASON_MAX, TEXT),
};
#undef S
CODEC_TYPE(device_change, device_change, 16 << 10);

#define S struct site_windows
static const struct codec_row site_windows_rows[] = {
    NEED(site, TOKEN_MAX, TOKEN),
    TEXT(windows, CAUSE_MAX, LINE),
};
#undef S
CODEC_TYPE(site_windows, site_windows, 4096);

#define S struct site_change
static const struct codec_row site_change_rows[] = {
    TEXT(site, TOKEN_MAX, TOKEN),
    TEXT(windows, CAUSE_MAX, LINE),
    TEXT(reason, REASON_MAX, TEXT),
};
#undef S
CODEC_TYPE(site_change, site_change, 16 << 10);

#define S struct site_info
static const struct codec_row site_info_rows[] = {
    NEED(site, TOKEN_MAX, TOKEN),  TEXT(windows, CAUSE_MAX, LINE), I64(since_ms, 0, INT64_MAX),
    TEXT(set_by, ACTOR_MAX, LINE), I64(opens_ms, 0, INT64_MAX),    I64(closes_ms, 0, INT64_MAX),
};
#undef S
CODEC_TYPE(site_info, site_info, 4096);

#define S struct site_list
static const struct codec_row site_list_rows[] = {
    SUBS(sites, site_info, 0, LIST_MAX),
};
#undef S
CODEC_TYPE(site_list, site_list, API_MAX_BYTES);
