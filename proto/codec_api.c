/* SPDX-License-Identifier: Apache-2.0
 *
 * api.proto: one row a field, one table a message. The macros are explained in codec_table.h. Names
 * in requests are held to their length only: captain answers a wrong one with a better sentence.
 */
#include "proto/codec_table.h"

#include "common/base/mem.h"
#include "proto/api.pb-c.h"

enum { DIGEST_DIGITS = DIGEST_HEX - 1, PAGE_MAX = 1000 };

#define S struct api_reply
static const struct codec_row api_reply_rows[] = {
    U32(code, 0, 65535),
    TEXT(error, CAUSE_MAX, TEXT),
    TEXT(hint, CAUSE_MAX, TEXT),
    BYTES(body, 1, API_MAX_BYTES),
};
#undef S
CODEC_TYPE(api_reply, api_reply, API_REPLY_MAX_BYTES);

#define S struct artifact_put
static const struct codec_row artifact_put_rows[] = {
    NEED_BYTES(sha256, DIGEST_BYTES, DIGEST_BYTES),
    U64(size_bytes, 0, COUNTER_MAX),
    U64(offset, 0, COUNTER_MAX),
    BYTES(data, 1, PIECE_MAX_BYTES),
};
#undef S
CODEC_TYPE(artifact_put, artifact_put, PIECE_MAX_BYTES + 1024);

#define S struct artifact_state
static const struct codec_row artifact_state_rows[] = {
    U64(next_offset, 0, COUNTER_MAX),
    BOOL(complete),
};
#undef S
CODEC_TYPE(artifact_state, artifact_state, 128);

#define S struct artifact_get
static const struct codec_row artifact_get_rows[] = {
    NEED_BYTES(sha256, DIGEST_BYTES, DIGEST_BYTES),
    U64(offset, 0, COUNTER_MAX),
    U32(length, 0, PIECE_MAX_BYTES),
};
#undef S
CODEC_TYPE(artifact_get, artifact_get, 256);

#define S struct artifact_piece
static const struct codec_row artifact_piece_rows[] = {
    BYTES(data, 1, PIECE_MAX_BYTES),
    U64(size_bytes, 0, COUNTER_MAX),
};
#undef S
CODEC_TYPE(artifact_piece, artifact_piece, PIECE_MAX_BYTES + 1024);

#define S struct release_create
static const struct codec_row release_create_rows[] = {
    NEED_BYTES(envelope, 1, ENVELOPE_MAX_BYTES),
    TEXT(reason, REASON_MAX, TEXT),
};
#undef S
CODEC_TYPE(release_create, release_create, ENVELOPE_MAX_BYTES + REASON_MAX + 1024);

#define S struct release_next
static const struct codec_row release_next_rows[] = {
    NEED(app, NAME_MAX_BYTES, LINE),
};
#undef S
CODEC_TYPE(release_next, release_next, 1024);

#define S struct release_sequence
static const struct codec_row release_sequence_rows[] = {
    U64(last_sequence, 0, COUNTER_MAX),
};
#undef S
CODEC_TYPE(release_sequence, release_sequence, 128);

#define S struct release_query
static const struct codec_row release_query_rows[] = {
    TEXT(app, NAME_MAX_BYTES, LINE),
    TEXT(version, NAME_MAX_BYTES, LINE),
};
#undef S
CODEC_TYPE(release_query, release_query, 1024);

#define S struct release_artifact
static const struct codec_row release_artifact_rows[] = {
    NEED(path, PATH_MAX_BYTES, PATH), TEXT(kind, TOKEN_MAX, LINE),      TEXT(target, 256, LINE),
    U64(size_bytes, 0, COUNTER_MAX),  TEXT(sha256, DIGEST_DIGITS, HEX),
};
#undef S
CODEC_TYPE(release_artifact, release_artifact, 4096);

#define S struct release_info_source
static const struct codec_row release_info_source_rows[] = {
    NEED(repository, URL_MAX, GRAPH),
    NEED(commit, 64, COMMIT),
};
#undef S
CODEC_TYPE(release_info_source, release_info__source, 4096);

#define S struct release_info
static const struct codec_row release_info_rows[] = {
    NEED(app, TOKEN_MAX, TOKEN),
    NEED(version, VERSION_MAX, VERSION),
    U64(sequence, 0, COUNTER_MAX),
    TEXT(digest, DIGEST_DIGITS, HEX),
    I64(created_ms, 0, INT64_MAX),
    TEXT(created_by, ACTOR_MAX, LINE),
    U64(decision, 0, COUNTER_MAX),
    U64(size_bytes, 0, COUNTER_MAX),
    U32(data_version, 0, INT32_MAX),
    SUBS(sources, release_info_source, 0, 64),
    NEED_TEXTS(channels, 0, 256, NAME_MAX_BYTES, GRAPH),
    NEED_TEXTS(signers, 0, 16, KEYID_HEX, HEX),
    SUBS(artifacts, release_artifact, 0, 64),
    NEED_TEXTS(services, 0, 16, 1024, LINE),
    NEED_TEXTS(checks, 0, 32, 1024, LINE),
    BYTES(envelope, 1, ENVELOPE_MAX_BYTES),
    U64(devices, 0, COUNTER_MAX),
};
#undef S
CODEC_TYPE(release_info, release_info, API_MAX_BYTES);

#define S struct release_list
static const struct codec_row release_list_rows[] = {
    SUBS(releases, release_info, 0, LIST_MAX),
};
#undef S
CODEC_TYPE(release_list, release_list, API_MAX_BYTES);

#define S struct channel_set_request
static const struct codec_row channel_set_request_rows[] = {
    NEED(channel, NAME_MAX_BYTES, LINE),
    NEED(release, NAME_MAX_BYTES, LINE),
    TEXT(reason, REASON_MAX, TEXT),
};
#undef S
CODEC_TYPE(channel_set_request, channel_set_request, REASON_MAX + 1024);

#define S struct channel_query
static const struct codec_row channel_query_rows[] = {
    TEXT(channel, NAME_MAX_BYTES, LINE),
    U32(limit, 0, PAGE_MAX),
};
#undef S
CODEC_TYPE(channel_query, channel_query, 1024);

#define S struct state_count
static const struct codec_row state_count_rows[] = {
    NEED(name, NAME_MAX_BYTES, LINE),
    U64(devices, 0, COUNTER_MAX),
};
#undef S
CODEC_TYPE(state_count, state_count, 256);

#define S struct channel_info
static const struct codec_row channel_info_rows[] = {
    NEED(channel, NAME_MAX_BYTES, GRAPH),  TEXT(release, NAME_MAX_BYTES, GRAPH),
    TEXT(digest, DIGEST_DIGITS, HEX),      U64(generation, 0, COUNTER_MAX),
    I64(since_ms, 0, INT64_MAX),           TEXT(set_by, ACTOR_MAX, LINE),
    TEXT(reason, REASON_MAX, TEXT),        U64(decision, 0, COUNTER_MAX),
    TEXT(previous, NAME_MAX_BYTES, GRAPH), U64(devices, 0, COUNTER_MAX),
    U64(on_release, 0, COUNTER_MAX),       SUBS(states, state_count, 0, 64),
    SUBS(versions, state_count, 0, 256),
};
#undef S
CODEC_TYPE(channel_info, channel_info, 128 << 10);

#define S struct channel_list
static const struct codec_row channel_list_rows[] = {
    SUBS(channels, channel_info, 0, LIST_MAX),
};
#undef S
CODEC_TYPE(channel_list, channel_list, API_MAX_BYTES);

#define S struct channel_change
static const struct codec_row channel_change_rows[] = {
    U64(decision, 0, COUNTER_MAX),         I64(time_ms, 0, INT64_MAX),
    TEXT(actor, ACTOR_MAX, LINE),          TEXT(release, NAME_MAX_BYTES, GRAPH),
    TEXT(previous, NAME_MAX_BYTES, GRAPH), TEXT(reason, REASON_MAX, TEXT),
};
#undef S
CODEC_TYPE(channel_change, channel_change, 8 << 10);

#define S struct channel_history
static const struct codec_row channel_history_rows[] = {
    NEED(channel, NAME_MAX_BYTES, GRAPH),
    SUBS(changes, channel_change, 0, PAGE_MAX),
};
#undef S
CODEC_TYPE(channel_history, channel_history, API_MAX_BYTES);

#define S struct device_query
static const struct codec_row device_query_rows[] = {
    TEXT(device, NAME_MAX_BYTES, LINE),
    TEXT(site, NAME_MAX_BYTES, LINE),
    TEXT(app, NAME_MAX_BYTES, LINE),
    TEXT(state, NAME_MAX_BYTES, LINE),
    U32(limit, 0, PAGE_MAX),
    TEXT(after, NAME_MAX_BYTES, LINE),
};
#undef S
CODEC_TYPE(device_query, device_query, 2048);

#define S struct device_app
static const struct codec_row device_app_rows[] = {
    NEED(app, TOKEN_MAX, TOKEN),      TEXT(channel, NAME_MAX_BYTES, GRAPH),
    TEXT(state, TOKEN_MAX, LINE),     TEXT(version, VERSION_MAX, VERSION),
    TEXT(digest, DIGEST_DIGITS, HEX), TEXT(desired_version, VERSION_MAX, VERSION),
    U64(generation, 0, COUNTER_MAX),  TEXT(reason, CAUSE_MAX, TEXT),
    U32(restarts, 0, UINT32_MAX),
};
#undef S
CODEC_TYPE(device_app, device_app, 2048);

#define S struct device_event
static const struct codec_row device_event_rows[] = {
    U64(seq, 0, COUNTER_MAX),    I64(time_ms, 0, INT64_MAX),          TEXT(kind, TOKEN_MAX, LINE),
    TEXT(app, TOKEN_MAX, TOKEN), TEXT(version, VERSION_MAX, VERSION), TEXT(code, TOKEN_MAX, LINE),
    TEXT(text, 2048, TEXT),      TEXT(attempt, ULID_LEN, ULID),
};
#undef S
CODEC_TYPE(device_event, device_event, 4096);

#define S struct device_info_telemetry
static const struct codec_row device_info_telemetry_rows[] = {
    U32(cpu_permille, 0, 1000),
    U64(memory_total_bytes, 0, COUNTER_MAX),
    U64(memory_available_bytes, 0, COUNTER_MAX),
    U64(disk_total_bytes, 0, COUNTER_MAX),
    U64(disk_free_bytes, 0, COUNTER_MAX),
    I64(received_ms, 0, INT64_MAX),
    U64(uptime_ms, 0, COUNTER_MAX),
    I32(temperature_millicelsius, -273150, 2000000),
    BOOL(has_temperature),
    SUBS(apps, app_metrics, 0, 8),
};
#undef S
CODEC_TYPE(device_info_telemetry, device_info__telemetry, 8 << 10);

#define S struct device_info
static const struct codec_row device_info_rows[] = {
    NEED(device, NAME_MAX_BYTES, GRAPH), BOOL(online),
    I64(last_seen_ms, 0, INT64_MAX),     TEXT(agent_version, VERSION_MAX, VERSION),
    SUBS(apps, device_app, 0, 8),        U64(events_stored, 0, COUNTER_MAX),
    U64(garbage, 0, COUNTER_MAX),        SUBS(events, device_event, 0, 50),
    I64(first_seen_ms, 0, INT64_MAX),    SUB(telemetry, device_info_telemetry),
    TEXT(identity, 32, TOKEN),           TEXT(incident, CAUSE_MAX, TEXT),
    I64(incident_ms, 0, INT64_MAX),
};
#undef S
CODEC_TYPE(device_info, device_info, 256 << 10);

#define S struct device_list
static const struct codec_row device_list_rows[] = {
    SUBS(devices, device_info, 0, PAGE_MAX),
    TEXT(next, NAME_MAX_BYTES, GRAPH),
};
#undef S
CODEC_TYPE(device_list, device_list, API_MAX_BYTES);

static atomic_bool status_query_agreed;
const struct codec_type codec_status_query = {
    .name = "status_query",
    .size = sizeof(struct status_query),
    .bytes_max = 1024,
    .descriptor = &captain__v1__status_query__descriptor,
    .agreed = &status_query_agreed,
};

#define S struct status
static const struct codec_row status_rows[] = {
    NEED(holder, HOLDER_MAX, LINE),
    TEXT(version, VERSION_MAX, VERSION),
    I64(started_ms, 0, INT64_MAX),
    TEXT(server_version, VERSION_MAX, VERSION),
    U64(log_seq, 0, COUNTER_MAX),
    U64(devices, 0, COUNTER_MAX),
    U64(online, 0, COUNTER_MAX),
    SUBS(channels, channel_info, 0, LIST_MAX),
    U64(health_messages, 0, COUNTER_MAX),
    U64(garbage_messages, 0, COUNTER_MAX),
    U64(dropped_messages, 0, COUNTER_MAX),
    U64(events_stored, 0, COUNTER_MAX),
    TEXT(store_url, URL_MAX, GRAPH),
    TEXT(tenant, TOKEN_MAX, TOKEN),
    I64(now_ms, 0, INT64_MAX),
};
#undef S
CODEC_TYPE(status, status, API_MAX_BYTES);

#define S struct log_query
static const struct codec_row log_query_rows[] = {
    U64(seq, 0, COUNTER_MAX),         U64(before, 0, COUNTER_MAX),         U32(limit, 0, PAGE_MAX),
    TEXT(kind, NAME_MAX_BYTES, LINE), TEXT(subject, NAME_MAX_BYTES, LINE),
};
#undef S
CODEC_TYPE(log_query, log_query, 1024);

/* A detail is an evidence or a field of the body in words. */
#define S struct log_detail
static const struct codec_row log_detail_rows[] = {
    NEED(name, TOKEN_MAX, GRAPH),
    TEXT(value, 4096, TEXT),
};
#undef S
CODEC_TYPE(log_detail, log_detail, 8 << 10);

#define S struct log_info
static const struct codec_row log_info_rows[] = {
    U64(seq, 0, COUNTER_MAX),
    I64(time_ms, 0, INT64_MAX),
    TEXT(actor, ACTOR_MAX, LINE),
    TEXT(kind, TOKEN_MAX, GRAPH),
    TEXT(subject, NAME_MAX_BYTES, LINE),
    TEXT(reason, REASON_MAX, TEXT),
    TEXT(hash, DIGEST_DIGITS, HEX),
    TEXT(previous, DIGEST_DIGITS, HEX),
    SUBS(details, log_detail, 0, 96),
};
#undef S
CODEC_TYPE(log_info, log_info, 512 << 10);

#define S struct log_list
static const struct codec_row log_list_rows[] = {
    SUBS(entries, log_info, 0, PAGE_MAX),
    U64(next_before, 0, COUNTER_MAX),
};
#undef S
CODEC_TYPE(log_list, log_list, API_MAX_BYTES);
