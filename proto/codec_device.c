/* SPDX-License-Identifier: Apache-2.0
 *
 * device.proto: one row a field, one table a message. The macros are explained in codec_table.h.
 */
#include "proto/codec_table.h"

#include "common/base/mem.h"
#include "proto/device.pb-c.h"

#define S struct app_status
static const struct codec_row app_status_rows[] = {
    NEED(app, TOKEN_MAX, TOKEN),
    TEXT(channel, TOKEN_MAX, TOKEN),
    ENUM(state, 0),
    BYTES(digest, DIGEST_BYTES, DIGEST_BYTES),
    TEXT(version, VERSION_MAX, VERSION),
    U64(generation, 0, COUNTER_MAX),
    TEXT(reason, CAUSE_MAX, TEXT),
    U32(restarts, 0, UINT32_MAX),
    BYTES(desired_digest, DIGEST_BYTES, DIGEST_BYTES),
    TEXT(rollout, ULID_LEN, ULID),
    U32(attempt_number, 0, 65535),
    TEXT(waiting, CAUSE_MAX, TEXT),
    BOOL(pinned),
};
#undef S
CODEC_TYPE(app_status, app_status, 2048);

#define S struct health_label
static const struct codec_row health_label_rows[] = {
    NEED(key, TOKEN_MAX, TOKEN),
    TEXT(value, TOKEN_MAX, LINE),
};
#undef S
CODEC_TYPE(health_label, health_label, 256);

#define S struct health
static const struct codec_row health_rows[] = {
    NEED(epoch, ULID_LEN, ULID),
    U64(event_seq, 0, COUNTER_MAX),
    I64(sent_ms, 0, INT64_MAX),
    U32(interval_ms, 0, DURATION_MAX_MS),
    TEXT(agent_version, VERSION_MAX, VERSION),
    SUBS(apps, app_status, 0, 8),
    U64(event_first, 0, COUNTER_MAX),
    TEXT(hardware, TOKEN_MAX, LINE),
    SUBS(labels, health_label, 0, 32),
    U64(instance, 0, UINT64_MAX),
    U64(device_generation, 0, COUNTER_MAX),
};
#undef S
CODEC_TYPE(health, health, 8 << 10);

#define S struct metric
static const struct codec_row metric_rows[] = {
    NEED(name, TOKEN_MAX, GRAPH),
    DOUBLE(value),
};
#undef S
CODEC_TYPE(metric, metric, 128);

#define S struct app_metrics
static const struct codec_row app_metrics_rows[] = {
    NEED(app, TOKEN_MAX, TOKEN),
    SUBS(metrics, metric, 0, 64),
};
#undef S
CODEC_TYPE(app_metrics, app_metrics, 8 << 10);

#define S struct telemetry
static const struct codec_row telemetry_rows[] = {
    I64(sent_ms, 0, INT64_MAX),
    U64(uptime_ms, 0, COUNTER_MAX),
    U32(cpu_permille, 0, 1000),
    U64(memory_total_bytes, 0, COUNTER_MAX),
    U64(memory_available_bytes, 0, COUNTER_MAX),
    U64(disk_total_bytes, 0, COUNTER_MAX),
    U64(disk_free_bytes, 0, COUNTER_MAX),
    I32(temperature_millicelsius, -273150, 2000000),
    BOOL(has_temperature),
    SUBS(apps, app_metrics, 0, 8),
};
#undef S
CODEC_TYPE(telemetry, telemetry, 8 << 10);

#define S struct event
static const struct codec_row event_rows[] = {
    NEED(epoch, ULID_LEN, ULID),
    U64(seq, 1, COUNTER_MAX),
    I64(time_ms, 0, INT64_MAX),
    ENUM(kind, 1),
    TEXT(app, TOKEN_MAX, TOKEN),
    TEXT(channel, TOKEN_MAX, TOKEN),
    U64(generation, 0, COUNTER_MAX),
    BYTES(digest, DIGEST_BYTES, DIGEST_BYTES),
    TEXT(version, VERSION_MAX, VERSION),
    TEXT(attempt, ULID_LEN, ULID),
    U32(code, 0, 65535),
    TEXT(text, 2048, TEXT),
    TEXT(rollout, ULID_LEN, ULID),
    U32(attempt_number, 0, 65535),
    U32(flaps, 0, UINT32_MAX),
};
#undef S
CODEC_TYPE(event, event, 4 << 10);

#define S struct ack
static const struct codec_row ack_rows[] = {
    NEED(epoch, ULID_LEN, ULID),
    U64(seq, 0, COUNTER_MAX),
};
#undef S
CODEC_TYPE(ack, ack, 128);

#define S struct lease_request
static const struct codec_row lease_request_rows[] = {
    NEED(app, TOKEN_MAX, TOKEN),
    NEED(channel, TOKEN_MAX, TOKEN),
    NEED(rollout, ULID_LEN, ULID),
    U32(attempt_number, 1, 65535),
    BOOL(rollback),
    BOOL(returned),
    BYTES(digest, DIGEST_BYTES, DIGEST_BYTES),
};
#undef S
CODEC_TYPE(lease_request, lease_request, 512);

#define S struct lease_reply
static const struct codec_row lease_reply_rows[] = {
    NEED(rollout, ULID_LEN, ULID),
    U32(attempt_number, 1, 65535),
    BOOL(granted),
    U32(lease_ms, 0, DURATION_MAX_MS),
    U32(retry_ms, 0, DURATION_MAX_MS),
    TEXT(answer, CAUSE_MAX, TEXT),
};
#undef S
CODEC_TYPE(lease_reply, lease_answer, 1024);
