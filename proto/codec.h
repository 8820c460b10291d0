/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes to plain structs and back. Every limit of the contract (sizes, counts, character sets,
 * ranges) is a row of a table and is checked here in both directions, so nothing behind this file
 * sees a message that breaks one. protobuf-c does the wire format. Decoding allocates in an arena
 * only, with the arena's limit as the bound; foreign bytes of any kind end in a struct or in
 * ERR_MALFORMED / ERR_SIZE with the field's path in the text ("release.artifacts[2].sha256: 31
 * bytes, must be 32").
 */
#pragma once

#include "common/base/arena.h"
#include "proto/messages.h"
#include "proto/messages_enrol.h"
#include "proto/messages_rollout.h"
#include "proto/messages_root.h"
#include "proto/messages_setting.h"

struct codec_type; /* one message: its fields, offsets and limits */

/* ret points to the plain struct of type; it is filled only on success. in must live as long as ret
 * (bytes fields may be views of it or of the arena). Takes about 8 times in.len of the arena, plus
 * 1 KiB; encoding about 4 times the encoded size. */
MUST_USE enum err_code codec_decode(const struct codec_type *type, struct bytes in,
                                    struct arena *arena, void *ret, struct err *err);

/* message is the plain struct of type; the bytes are in the arena. NULL text counts as "". */
MUST_USE enum err_code codec_encode(const struct codec_type *type, const void *message,
                                    struct arena *arena, struct bytes *ret, struct err *err);

/* The proto3 JSON mapping (lowerCamelCase names, 64-bit integers as text, bytes as base64, enums by
 * name, defaults left out, except that repeated fields of the top level are always there), indented
 * by indent spaces (0: one line); without a newline at the end. Unknown fields are left out. */
MUST_USE enum err_code codec_json(const struct codec_type *type, const void *message, int indent,
                                  struct arena *arena, const char **ret, struct err *err);

/* The largest encoded size that codec_decode accepts for this type. */
size_t codec_max_bytes(const struct codec_type *type);

extern const struct codec_type codec_signature;
extern const struct codec_type codec_envelope;
extern const struct codec_type codec_role;
extern const struct codec_type codec_release_floor;
extern const struct codec_type codec_root;
extern const struct codec_type codec_source;
extern const struct codec_type codec_artifact;
extern const struct codec_type codec_env_var;
extern const struct codec_type codec_service;
extern const struct codec_type codec_check;
extern const struct codec_type codec_release;
extern const struct codec_type codec_cohort;
extern const struct codec_type codec_desired;
extern const struct codec_type codec_app_status;
extern const struct codec_type codec_health;
extern const struct codec_type codec_metric;
extern const struct codec_type codec_app_metrics;
extern const struct codec_type codec_telemetry;
extern const struct codec_type codec_event;
extern const struct codec_type codec_ack;
extern const struct codec_type codec_evidence;
extern const struct codec_type codec_log_entry;
extern const struct codec_type codec_captain_started;
extern const struct codec_type codec_release_created;
extern const struct codec_type codec_channel_set;
extern const struct codec_type codec_api_reply;
extern const struct codec_type codec_artifact_put;
extern const struct codec_type codec_artifact_state;
extern const struct codec_type codec_artifact_get;
extern const struct codec_type codec_artifact_piece;
extern const struct codec_type codec_release_create;
extern const struct codec_type codec_release_next;
extern const struct codec_type codec_release_sequence;
extern const struct codec_type codec_release_query;
extern const struct codec_type codec_release_artifact;
extern const struct codec_type codec_release_info_source;
extern const struct codec_type codec_release_info;
extern const struct codec_type codec_release_list;
extern const struct codec_type codec_channel_set_request;
extern const struct codec_type codec_channel_query;
extern const struct codec_type codec_state_count;
extern const struct codec_type codec_channel_info;
extern const struct codec_type codec_channel_list;
extern const struct codec_type codec_channel_change;
extern const struct codec_type codec_channel_history;
extern const struct codec_type codec_device_query;
extern const struct codec_type codec_device_app;
extern const struct codec_type codec_device_event;
extern const struct codec_type codec_device_info_telemetry;
extern const struct codec_type codec_device_info;
extern const struct codec_type codec_device_list;
extern const struct codec_type codec_status_query;
extern const struct codec_type codec_status;
extern const struct codec_type codec_log_query;
extern const struct codec_type codec_log_detail;
extern const struct codec_type codec_log_info;
extern const struct codec_type codec_log_list;
extern const struct codec_type codec_label;
extern const struct codec_type codec_selector;
extern const struct codec_type codec_pin;
extern const struct codec_type codec_device_desired;
extern const struct codec_type codec_health_label;
extern const struct codec_type codec_lease_request;
extern const struct codec_type codec_lease_reply;
extern const struct codec_type codec_rollout_started;
extern const struct codec_type codec_rollout_window;
extern const struct codec_type codec_rollout_stored_input;
extern const struct codec_type codec_rollout_command;
extern const struct codec_type codec_rollout_published;
extern const struct codec_type codec_rollout_verdict;
extern const struct codec_type codec_rollout_moved;
extern const struct codec_type codec_rollout_device_moved;
extern const struct codec_type codec_channel_policy;
extern const struct codec_type codec_fleet_freeze;
extern const struct codec_type codec_device_label_set;
extern const struct codec_type codec_device_pin_set;
extern const struct codec_type codec_device_set;
extern const struct codec_type codec_rollout_start_request;
extern const struct codec_type codec_rollout_plan_wave;
extern const struct codec_type codec_rollout_plan;
extern const struct codec_type codec_rollout_query;
extern const struct codec_type codec_rollout_gate_info;
extern const struct codec_type codec_rollout_device_info;
extern const struct codec_type codec_rollout_site_info;
extern const struct codec_type codec_rollout_wave_info;
extern const struct codec_type codec_rollout_info;
extern const struct codec_type codec_rollout_list;
extern const struct codec_type codec_rollout_action;
extern const struct codec_type codec_gate_replay_request;
extern const struct codec_type codec_gate_replay_verdict;
extern const struct codec_type codec_gate_replay;
extern const struct codec_type codec_policy_set_request;
extern const struct codec_type codec_policy_info;
extern const struct codec_type codec_policy_list;
extern const struct codec_type codec_freeze_request;
extern const struct codec_type codec_freeze_info;
extern const struct codec_type codec_why_reason;
extern const struct codec_type codec_why_app;
extern const struct codec_type codec_why;
extern const struct codec_type codec_drift_info;
extern const struct codec_type codec_drift_list;
extern const struct codec_type codec_device_change;
extern const struct codec_type codec_site_windows;
extern const struct codec_type codec_site_change;
extern const struct codec_type codec_site_info;
extern const struct codec_type codec_site_list;
extern const struct codec_type codec_enrol_request;
extern const struct codec_type codec_enrol_grant;
extern const struct codec_type codec_enrol_reply;
extern const struct codec_type codec_trust_bundle;
extern const struct codec_type codec_token_created;
extern const struct codec_type codec_token_revoked;
extern const struct codec_type codec_device_enrolled;
extern const struct codec_type codec_device_verdict;
extern const struct codec_type codec_operator_added;
extern const struct codec_type codec_operator_removed;
extern const struct codec_type codec_incident_noted;
extern const struct codec_type codec_token_new;
extern const struct codec_type codec_token_query;
extern const struct codec_type codec_token_info;
extern const struct codec_type codec_token_list;
extern const struct codec_type codec_device_verb;
extern const struct codec_type codec_identity_query;
extern const struct codec_type codec_identity_info;
extern const struct codec_type codec_identity_list;
extern const struct codec_type codec_operator_add;
extern const struct codec_type codec_operator_query;
extern const struct codec_type codec_operator_info;
extern const struct codec_type codec_operator_list;
extern const struct codec_type codec_doctor_finding;
extern const struct codec_type codec_doctor;
extern const struct codec_type codec_secret_set;
extern const struct codec_type codec_secret_removed;
extern const struct codec_type codec_flag_set;
extern const struct codec_type codec_flag_unset;
extern const struct codec_type codec_vault_key;
extern const struct codec_type codec_secret_put;
extern const struct codec_type codec_secret_query;
extern const struct codec_type codec_secret_info;
extern const struct codec_type codec_secret_list;
extern const struct codec_type codec_flag_change;
extern const struct codec_type codec_flag_info;
extern const struct codec_type codec_flag_list;
extern const struct codec_type codec_feature_flag;
extern const struct codec_type codec_sealed_secret;
extern const struct codec_type codec_root_publish;
extern const struct codec_type codec_root_query;
extern const struct codec_type codec_root_step;
extern const struct codec_type codec_root_info;
