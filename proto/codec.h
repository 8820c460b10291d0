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
