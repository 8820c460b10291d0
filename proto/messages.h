/* SPDX-License-Identifier: Apache-2.0
 *
 * The messages of the contract as plain structs, one to one with the .proto files beside this file: same
 * names, same units, same order. Text is never NULL after decoding ("" when absent). Everything a
 * message points to lives in the arena it was decoded into, or is borrowed from whoever built it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/str.h"

/* Fields that a newer program wrote and this one does not know; kept, and written again. */
struct codec_head {
    const void *unknown;
    size_t unknown_len;
};

/* trust.proto */
enum artifact_kind {
    ARTIFACT_KIND_UNSPECIFIED = 0,
    ARTIFACT_KIND_FILE = 1,
    ARTIFACT_KIND_TREE = 2,
};
enum check_kind {
    CHECK_KIND_UNSPECIFIED = 0,
    CHECK_KIND_PROCESS = 1,
    CHECK_KIND_HTTP = 2,
    CHECK_KIND_TCP = 3,
    CHECK_KIND_EXEC = 4,
};
struct signature {
    struct codec_head head;
    struct bytes sig;
    const char *keyid;
};
struct envelope {
    struct codec_head head;
    struct bytes payload;
    const char *payload_type;
    const struct signature *signatures;
    size_t signatures_len;
};
struct role {
    struct codec_head head;
    const char *name;
    uint32_t threshold;
    const struct bytes *keys;
    size_t keys_len;
};
struct release_floor {
    struct codec_head head;
    const char *app;
    uint64_t sequence;
};
struct root {
    struct codec_head head;
    const char *tenant;
    uint64_t version;
    int64_t expires_ms;
    const struct role *roles;
    size_t roles_len;
    const struct release_floor *floors;
    size_t floors_len;
    const struct bytes *revoked;
    size_t revoked_len;
};
struct source {
    struct codec_head head;
    const char *repository;
    const char *commit;
};
struct artifact {
    struct codec_head head;
    const char *path;
    enum artifact_kind kind;
    const char *os;
    const char *arch;
    const char *hardware;
    uint64_t size_bytes;
    struct bytes sha256;
    const char *const *urls;
    size_t urls_len;
    uint64_t unpacked_bytes_max;
    uint32_t unpacked_files_max;
    bool executable;
};
struct env_var {
    struct codec_head head;
    const char *name;
    const char *value;
};
struct service {
    struct codec_head head;
    const char *name;
    const char *const *command;
    size_t command_len;
    const struct env_var *env;
    size_t env_len;
    const char *working_dir;
    uint64_t memory_max_bytes;
    uint32_t open_files_max;
    uint32_t stop_timeout_ms;
    uint32_t restart_min_ms;
    uint32_t restart_max_ms;
    const char *const *pre_stop;
    size_t pre_stop_len;
    const char *reload_signal;
    const char *const *reload;
    size_t reload_len;
};
struct check {
    struct codec_head head;
    const char *name;
    enum check_kind kind;
    const char *service;
    const char *url;
    uint32_t expect_status;
    const char *expect_body;
    const char *address;
    const char *const *command;
    size_t command_len;
    uint32_t interval_ms;
    uint32_t timeout_ms;
    uint32_t healthy_threshold;
    uint32_t unhealthy_threshold;
};
struct release {
    struct codec_head head;
    const char *app;
    const char *version;
    uint64_t sequence;
    int64_t created_ms;
    int64_t expires_ms;
    const struct source *sources;
    size_t sources_len;
    const struct artifact *artifacts;
    size_t artifacts_len;
    const struct service *services;
    size_t services_len;
    const struct check *checks;
    size_t checks_len;
    uint32_t data_version;
    const char *minimum_agent;
    const char *provenance;
    const char *metrics_file;
    uint32_t confirm_ms;
};
struct label {
    struct codec_head head;
    const char *key;
    const char *value;
};
struct selector {
    struct codec_head head;
    const struct label *all;
    size_t all_len;
};
struct cohort {
    struct codec_head head;
    const char *salt;
    uint64_t cut;
    const char *const *devices;
    size_t devices_len;
    const struct selector *selectors;
    size_t selectors_len;
};
struct feature_flag {
    struct codec_head head;
    const char *name;
    const char *value;
    const char *otherwise;
    const char *salt;
    uint64_t cut;
};
struct desired {
    struct codec_head head;
    const char *tenant;
    const char *app;
    const char *channel;
    uint64_t generation;
    int64_t issued_ms;
    int64_t expires_ms;
    struct bytes release_digest;
    uint64_t release_sequence;
    const char *release_version;
    struct bytes base_digest;
    uint64_t base_sequence;
    const char *base_version;
    const struct cohort *cohort; /* NULL: absent */
    const char *rollout;
    const char *const *stores;
    size_t stores_len;
    uint64_t decision;
    bool lease;
    bool without_captain;
    uint32_t lease_wait_ms;
    const struct feature_flag *flags;
    size_t flags_len;
};
struct pin {
    struct codec_head head;
    const char *app;
    struct bytes digest;
    const char *version;
    uint64_t sequence;
};
struct sealed_secret {
    struct codec_head head;
    const char *app;
    const char *name;
    uint64_t version;
    struct bytes sealed;
};
struct device_desired {
    struct codec_head head;
    const char *tenant;
    const char *device;
    uint64_t generation;
    int64_t issued_ms;
    int64_t expires_ms;
    const struct label *labels;
    size_t labels_len;
    const struct pin *pins;
    size_t pins_len;
    const char *const *stores;
    size_t stores_len;
    uint64_t decision;
    const struct sealed_secret *secrets;
    size_t secrets_len;
};

/* device.proto */
enum app_state {
    APP_STATE_UNSPECIFIED = 0,
    APP_STATE_NONE = 1,
    APP_STATE_INSTALLING = 2,
    APP_STATE_CONFIRMING = 3,
    APP_STATE_HEALTHY = 4,
    APP_STATE_UNHEALTHY = 5,
    APP_STATE_FAILED = 6,
};
enum event_kind {
    EVENT_KIND_UNSPECIFIED = 0,
    EVENT_KIND_AGENT_STARTED = 1,
    EVENT_KIND_DESIRED_ACCEPTED = 2,
    EVENT_KIND_DESIRED_REJECTED = 3,
    EVENT_KIND_FETCHED = 4,
    EVENT_KIND_ACTIVATED = 5,
    EVENT_KIND_CONFIRMED = 6,
    EVENT_KIND_ROLLED_BACK = 7,
    EVENT_KIND_FAILED = 8,
    EVENT_KIND_SERVICE_EXITED = 9,
    EVENT_KIND_HEALTHY = 10,
    EVENT_KIND_UNHEALTHY = 11,
    EVENT_KIND_SETTINGS_FAILED = 12,
};
struct app_status {
    struct codec_head head;
    const char *app;
    const char *channel;
    enum app_state state;
    struct bytes digest;
    const char *version;
    uint64_t generation;
    const char *reason;
    uint32_t restarts;
    struct bytes desired_digest;
    const char *rollout;
    uint32_t attempt_number;
    const char *waiting;
    bool pinned;
};
struct health_label {
    struct codec_head head;
    const char *key;
    const char *value;
};
struct health {
    struct codec_head head;
    const char *epoch;
    uint64_t event_seq;
    int64_t sent_ms;
    uint32_t interval_ms;
    const char *agent_version;
    const struct app_status *apps;
    size_t apps_len;
    uint64_t event_first;
    const char *hardware;
    const struct health_label *labels;
    size_t labels_len;
    uint64_t instance;
    uint64_t device_generation;
};
struct metric {
    struct codec_head head;
    const char *name;
    double value;
};
struct app_metrics {
    struct codec_head head;
    const char *app;
    const struct metric *metrics;
    size_t metrics_len;
};
struct telemetry {
    struct codec_head head;
    int64_t sent_ms;
    uint64_t uptime_ms;
    uint32_t cpu_permille;
    uint64_t memory_total_bytes;
    uint64_t memory_available_bytes;
    uint64_t disk_total_bytes;
    uint64_t disk_free_bytes;
    int32_t temperature_millicelsius;
    bool has_temperature;
    const struct app_metrics *apps;
    size_t apps_len;
};
struct event {
    struct codec_head head;
    const char *epoch;
    uint64_t seq;
    int64_t time_ms;
    enum event_kind kind;
    const char *app;
    const char *channel;
    uint64_t generation;
    struct bytes digest;
    const char *version;
    const char *attempt;
    uint32_t code;
    const char *text;
    const char *rollout;
    uint32_t attempt_number;
    uint32_t flaps;
};
struct ack {
    struct codec_head head;
    const char *epoch;
    uint64_t seq;
};
struct lease_request {
    struct codec_head head;
    const char *app;
    const char *channel;
    const char *rollout;
    uint32_t attempt_number;
    bool rollback;
    bool returned;
    struct bytes digest;
};
struct lease_reply {
    struct codec_head head;
    const char *rollout;
    uint32_t attempt_number;
    bool granted;
    uint32_t lease_ms;
    uint32_t retry_ms;
    const char *answer;
};

/* log.proto */
struct evidence {
    struct codec_head head;
    const char *name;
    const char *value;
};
struct log_entry {
    struct codec_head head;
    uint64_t seq;
    struct bytes previous;
    int64_t time_ms;
    const char *actor;
    const char *kind;
    const char *subject;
    struct bytes body;
    const char *reason;
    const struct evidence *evidence;
    size_t evidence_len;
};
struct captain_started {
    struct codec_head head;
    const char *holder;
    const char *folder;
    const char *version;
};
struct release_created {
    struct codec_head head;
    struct bytes digest;
    struct bytes envelope;
};
struct channel_set {
    struct codec_head head;
    const char *app;
    const char *channel;
    struct bytes digest;
    struct bytes base_digest;
};

#include "proto/messages_api.h"
