/* SPDX-License-Identifier: Apache-2.0
 *
 * The messages of enrol.proto as plain structs; messages.h says how they are to be read.
 */
#pragma once

#include "proto/messages.h"

struct enrol_request {
    struct codec_head head;
    const char *tenant;
    const char *site;
    const char *device;
    const char *token;
    struct bytes device_key;
    struct bytes seal_key;
    struct bytes nonce;
    int64_t time_ms;
    const char *hardware;
    const char *agent_version;
};
struct enrol_grant {
    struct codec_head head;
    const char *jwt;
    int64_t expires_ms;
    struct bytes nonce;
    const char *const *urls;
    size_t urls_len;
};
struct enrol_reply {
    struct codec_head head;
    uint32_t state;
    uint32_t code;
    const char *reason;
    uint32_t retry_ms;
    struct bytes sealed;
    struct bytes nonce;
};
struct trust_bundle {
    struct codec_head head;
    const char *tenant;
    const char *ca;
    struct bytes root;
    const char *const *urls;
    size_t urls_len;
    const char *enroll_creds;
};
struct token_created {
    struct codec_head head;
    const char *id;
    struct bytes public_key;
    const char *site;
    const struct label *labels;
    size_t labels_len;
    uint32_t uses;
    int64_t expires_ms;
    bool approval;
};
struct token_revoked {
    struct codec_head head;
    const char *id;
};
struct device_enrolled {
    struct codec_head head;
    const char *device;
    struct bytes device_key;
    struct bytes seal_key;
    const char *token;
    bool pending;
    const struct label *labels;
    size_t labels_len;
    const char *hardware;
};
struct device_verdict {
    struct codec_head head;
    const char *device;
    struct bytes device_key;
};
struct operator_added {
    struct codec_head head;
    const char *name;
    const char *role;
    struct bytes public_key;
    int64_t expires_ms;
    struct bytes replaces_key;
    int64_t replaces_expires_ms;
};
struct operator_removed {
    struct codec_head head;
    const char *name;
    struct bytes public_key;
};
struct incident_noted {
    struct codec_head head;
    const char *kind;
    const char *subject;
    const char *text;
    uint64_t suppressed;
};
struct token_new {
    struct codec_head head;
    struct bytes public_key;
    const char *site;
    const struct label *labels;
    size_t labels_len;
    uint32_t uses;
    int64_t ttl_ms;
    bool approval;
    const char *reason;
};
struct token_query {
    struct codec_head head;
    const char *id;
    const char *reason;
};
struct token_info {
    struct codec_head head;
    const char *id;
    const char *site;
    const struct label *labels;
    size_t labels_len;
    uint32_t uses;
    uint32_t used;
    int64_t created_ms;
    int64_t expires_ms;
    bool approval;
    const char *state;
    const char *created_by;
    uint64_t decision;
    const char *url;
    const char *fingerprint;
};
struct token_list {
    struct codec_head head;
    const struct token_info *tokens;
    size_t tokens_len;
};
struct device_verb {
    struct codec_head head;
    const char *device;
    const char *reason;
};
struct identity_query {
    struct codec_head head;
    const char *device;
    const char *state;
    uint32_t limit;
    const char *after;
};
struct identity_info {
    struct codec_head head;
    const char *device;
    const char *state;
    const char *key;
    const char *token;
    int64_t enrolled_ms;
    int64_t changed_ms;
    const char *changed_by;
    int64_t expires_ms;
    uint64_t decision;
    const char *hardware;
};
struct identity_list {
    struct codec_head head;
    const struct identity_info *identities;
    size_t identities_len;
    const char *next;
};
struct operator_add {
    struct codec_head head;
    const char *name;
    const char *role;
    struct bytes public_key;
    int64_t ttl_ms;
    const char *reason;
    bool replace;
};
struct operator_query {
    struct codec_head head;
    const char *name;
    const char *reason;
};
struct operator_info {
    struct codec_head head;
    const char *name;
    const char *role;
    const char *key;
    int64_t added_ms;
    const char *added_by;
    int64_t expires_ms;
    uint64_t decision;
    const char *jwt;
    const char *const *urls;
    size_t urls_len;
    const char *ca;
    bool removed;
};
struct operator_list {
    struct codec_head head;
    const struct operator_info *operators;
    size_t operators_len;
};
struct doctor_finding {
    struct codec_head head;
    const char *level;
    const char *what;
    const char *mend;
};
struct doctor {
    struct codec_head head;
    int64_t now_ms;
    const struct doctor_finding *findings;
    size_t findings_len;
};
