/* SPDX-License-Identifier: Apache-2.0
 *
 * The messages of api.proto as plain structs; messages.h says how they are to be read.
 */
#pragma once

#include "proto/messages.h"

/* api.proto */
struct api_reply {
    struct codec_head head;
    uint32_t code;
    const char *error;
    const char *hint;
    struct bytes body;
};
struct artifact_put {
    struct codec_head head;
    struct bytes sha256;
    uint64_t size_bytes;
    uint64_t offset;
    struct bytes data;
};
struct artifact_state {
    struct codec_head head;
    uint64_t next_offset;
    bool complete;
};
struct artifact_get {
    struct codec_head head;
    struct bytes sha256;
    uint64_t offset;
    uint32_t length;
};
struct artifact_piece {
    struct codec_head head;
    struct bytes data;
    uint64_t size_bytes;
};
struct release_create {
    struct codec_head head;
    struct bytes envelope;
    const char *reason;
};
struct release_next {
    struct codec_head head;
    const char *app;
};
struct release_sequence {
    struct codec_head head;
    uint64_t last_sequence;
};
struct release_query {
    struct codec_head head;
    const char *app;
    const char *version;
};
struct release_artifact {
    struct codec_head head;
    const char *path;
    const char *kind;
    const char *target;
    uint64_t size_bytes;
    const char *sha256;
};
struct release_info_source {
    struct codec_head head;
    const char *repository;
    const char *commit;
};
struct release_info {
    struct codec_head head;
    const char *app;
    const char *version;
    uint64_t sequence;
    const char *digest;
    int64_t created_ms;
    const char *created_by;
    uint64_t decision;
    uint64_t size_bytes;
    uint32_t data_version;
    const struct release_info_source *sources;
    size_t sources_len;
    const char *const *channels;
    size_t channels_len;
    const char *const *signers;
    size_t signers_len;
    const struct release_artifact *artifacts;
    size_t artifacts_len;
    const char *const *services;
    size_t services_len;
    const char *const *checks;
    size_t checks_len;
    struct bytes envelope;
    uint64_t devices;
};
struct release_list {
    struct codec_head head;
    const struct release_info *releases;
    size_t releases_len;
};
struct channel_set_request {
    struct codec_head head;
    const char *channel;
    const char *release;
    const char *reason;
};
struct channel_query {
    struct codec_head head;
    const char *channel;
    uint32_t limit;
};
struct state_count {
    struct codec_head head;
    const char *name;
    uint64_t devices;
};
struct channel_info {
    struct codec_head head;
    const char *channel;
    const char *release;
    const char *digest;
    uint64_t generation;
    int64_t since_ms;
    const char *set_by;
    const char *reason;
    uint64_t decision;
    const char *previous;
    uint64_t devices;
    uint64_t on_release;
    const struct state_count *states;
    size_t states_len;
    const struct state_count *versions;
    size_t versions_len;
};
struct channel_list {
    struct codec_head head;
    const struct channel_info *channels;
    size_t channels_len;
};
struct channel_change {
    struct codec_head head;
    uint64_t decision;
    int64_t time_ms;
    const char *actor;
    const char *release;
    const char *previous;
    const char *reason;
};
struct channel_history {
    struct codec_head head;
    const char *channel;
    const struct channel_change *changes;
    size_t changes_len;
};
struct device_query {
    struct codec_head head;
    const char *device;
    const char *site;
    const char *app;
    const char *state;
    uint32_t limit;
    const char *after;
};
struct device_app {
    struct codec_head head;
    const char *app;
    const char *channel;
    const char *state;
    const char *version;
    const char *digest;
    const char *desired_version;
    uint64_t generation;
    const char *reason;
    uint32_t restarts;
};
struct device_event {
    struct codec_head head;
    uint64_t seq;
    int64_t time_ms;
    const char *kind;
    const char *app;
    const char *version;
    const char *code;
    const char *text;
    const char *attempt;
};
struct device_info_telemetry {
    struct codec_head head;
    uint32_t cpu_permille;
    uint64_t memory_total_bytes;
    uint64_t memory_available_bytes;
    uint64_t disk_total_bytes;
    uint64_t disk_free_bytes;
    int64_t received_ms;
    uint64_t uptime_ms;
    int32_t temperature_millicelsius;
    bool has_temperature;
    const struct app_metrics *apps;
    size_t apps_len;
};
struct device_info {
    struct codec_head head;
    const char *device;
    bool online;
    int64_t last_seen_ms;
    const char *agent_version;
    const struct device_app *apps;
    size_t apps_len;
    uint64_t events_stored;
    uint64_t garbage;
    const struct device_event *events;
    size_t events_len;
    int64_t first_seen_ms;
    const struct device_info_telemetry *telemetry; /* NULL: absent */
    const char *identity;
    const char *incident;
    int64_t incident_ms;
};
struct device_list {
    struct codec_head head;
    const struct device_info *devices;
    size_t devices_len;
    const char *next;
};
struct status_query {
    struct codec_head head;
};
struct status {
    struct codec_head head;
    const char *holder;
    const char *version;
    int64_t started_ms;
    const char *server_version;
    uint64_t log_seq;
    uint64_t devices;
    uint64_t online;
    const struct channel_info *channels;
    size_t channels_len;
    uint64_t health_messages;
    uint64_t garbage_messages;
    uint64_t dropped_messages;
    uint64_t events_stored;
    const char *store_url;
    const char *tenant;
    int64_t now_ms;
};
struct log_query {
    struct codec_head head;
    uint64_t seq;
    uint64_t before;
    uint32_t limit;
    const char *kind;
    const char *subject;
};
struct log_detail {
    struct codec_head head;
    const char *name;
    const char *value;
};
struct log_info {
    struct codec_head head;
    uint64_t seq;
    int64_t time_ms;
    const char *actor;
    const char *kind;
    const char *subject;
    const char *reason;
    const char *hash;
    const char *previous;
    const struct log_detail *details;
    size_t details_len;
};
struct log_list {
    struct codec_head head;
    const struct log_info *entries;
    size_t entries_len;
    uint64_t next_before;
};
