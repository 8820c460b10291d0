/* SPDX-License-Identifier: Apache-2.0
 *
 * enrol.proto: one row a field, one table a message. The macros are explained in codec_table.h.
 */
#include "proto/codec_table.h"

#include "common/base/mem.h"
#include "proto/enrol.pb-c.h"

#define S struct enrol_request
static const struct codec_row enrol_request_rows[] = {
    NEED(tenant, TOKEN_MAX, TOKEN),
    NEED(site, TOKEN_MAX, TOKEN),
    NEED(device, TOKEN_MAX, TOKEN),
    TEXT(token, ULID_LEN, ULID),
    NEED_BYTES(device_key, KEY_BYTES, KEY_BYTES),
    NEED_BYTES(seal_key, KEY_BYTES, KEY_BYTES),
    NEED_BYTES(nonce, 16, 16),
    I64(time_ms, 0, INT64_MAX),
    TEXT(hardware, TOKEN_MAX, VERSION),
    TEXT(agent_version, 64, VERSION),
};
#undef S
CODEC_TYPE(enrol_request, enrol_request, 2048);

#define S struct enrol_grant
static const struct codec_row enrol_grant_rows[] = {
    NEED(jwt, 4096, GRAPH),
    I64(expires_ms, 0, INT64_MAX),
    NEED_BYTES(nonce, 16, 16),
    NEED_TEXTS(urls, 0, 8, URL_MAX, GRAPH),
};
#undef S
CODEC_TYPE(enrol_grant, enrol_grant, 8192);

#define S struct enrol_reply
static const struct codec_row enrol_reply_rows[] = {
    U32(state, 0, 3),
    U32(code, 0, 65535),
    TEXT(reason, CAUSE_MAX, TEXT),
    U32(retry_ms, 0, DURATION_MAX_MS),
    BYTES(sealed, 1, 12288),
    BYTES(nonce, 16, 16),
};
#undef S
CODEC_TYPE(enrol_reply, enrol_reply, 16384);

#define S struct trust_bundle
static const struct codec_row trust_bundle_rows[] = {
    NEED(tenant, TOKEN_MAX, TOKEN), NEED(ca, 16384, TEXT),
    NEED_BYTES(root, 1, 60 << 10),  NEED_TEXTS(urls, 1, 8, URL_MAX, GRAPH),
    NEED(enroll_creds, 4096, TEXT),
};
#undef S
CODEC_TYPE(trust_bundle, trust_bundle, 64 << 10);

#define S struct token_created
static const struct codec_row token_created_rows[] = {
    NEED(id, ULID_LEN, ULID),
    NEED_BYTES(public_key, KEY_BYTES, KEY_BYTES),
    NEED(site, TOKEN_MAX, TOKEN),
    SUBS(labels, label, 0, 32),
    U32(uses, 1, 1000000),
    I64(expires_ms, 0, INT64_MAX),
    BOOL(approval),
};
#undef S
CODEC_TYPE(token_created, token_created, 8192);

#define S struct token_revoked
static const struct codec_row token_revoked_rows[] = {
    NEED(id, ULID_LEN, ULID),
};
#undef S
CODEC_TYPE(token_revoked, token_revoked, 64);

#define S struct device_enrolled
static const struct codec_row device_enrolled_rows[] = {
    NEED(device, NAME_MAX_BYTES, GRAPH),
    NEED_BYTES(device_key, KEY_BYTES, KEY_BYTES),
    NEED_BYTES(seal_key, KEY_BYTES, KEY_BYTES),
    NEED(token, ULID_LEN, ULID),
    BOOL(pending),
    SUBS(labels, label, 0, 32),
    TEXT(hardware, TOKEN_MAX, VERSION),
};
#undef S
CODEC_TYPE(device_enrolled, device_enrolled, 8192);

#define S struct device_verdict
static const struct codec_row device_verdict_rows[] = {
    NEED(device, NAME_MAX_BYTES, GRAPH),
    NEED_BYTES(device_key, KEY_BYTES, KEY_BYTES),
};
#undef S
CODEC_TYPE(device_verdict, device_verdict, 256);

#define S struct operator_added
static const struct codec_row operator_added_rows[] = {
    NEED(name, TOKEN_MAX, TOKEN),
    NEED(role, 32, TOKEN),
    NEED_BYTES(public_key, KEY_BYTES, KEY_BYTES),
    I64(expires_ms, 0, INT64_MAX),
    BYTES(replaces_key, KEY_BYTES, KEY_BYTES),
    I64(replaces_expires_ms, 0, INT64_MAX),
};
#undef S
CODEC_TYPE(operator_added, operator_added, 256);

#define S struct operator_removed
static const struct codec_row operator_removed_rows[] = {
    NEED(name, TOKEN_MAX, TOKEN),
    NEED_BYTES(public_key, KEY_BYTES, KEY_BYTES),
};
#undef S
CODEC_TYPE(operator_removed, operator_removed, 256);

#define S struct incident_noted
static const struct codec_row incident_noted_rows[] = {
    NEED(kind, TOKEN_MAX, TOKEN),
    TEXT(subject, CAUSE_MAX, LINE),
    TEXT(text, CAUSE_MAX, TEXT),
    U64(suppressed, 0, COUNTER_MAX),
};
#undef S
CODEC_TYPE(incident_noted, incident_noted, 4096);

#define S struct token_new
static const struct codec_row token_new_rows[] = {
    NEED_BYTES(public_key, KEY_BYTES, KEY_BYTES),
    NEED(site, TOKEN_MAX, TOKEN),
    SUBS(labels, label, 0, 32),
    U32(uses, 0, 1000000),
    I64(ttl_ms, 0, INT64_MAX),
    BOOL(approval),
    TEXT(reason, REASON_MAX, TEXT),
};
#undef S
CODEC_TYPE(token_new, token_new, 8192);

#define S struct token_query
static const struct codec_row token_query_rows[] = {
    TEXT(id, ULID_LEN, GRAPH),
    TEXT(reason, REASON_MAX, TEXT),
};
#undef S
CODEC_TYPE(token_query, token_query, 8192);

#define S struct token_info
static const struct codec_row token_info_rows[] = {
    TEXT(id, ULID_LEN, ULID),      TEXT(site, TOKEN_MAX, TOKEN),
    SUBS(labels, label, 0, 32),    U32(uses, 0, UINT32_MAX),
    U32(used, 0, UINT32_MAX),      I64(created_ms, 0, INT64_MAX),
    I64(expires_ms, 0, INT64_MAX), BOOL(approval),
    TEXT(state, 32, TOKEN),        TEXT(created_by, ACTOR_MAX, LINE),
    U64(decision, 0, COUNTER_MAX), TEXT(url, URL_MAX, GRAPH),
    TEXT(fingerprint, 64, HEX),
};
#undef S
CODEC_TYPE(token_info, token_info, 16384);

#define S struct token_list
static const struct codec_row token_list_rows[] = {
    SUBS(tokens, token_info, 0, LIST_MAX),
};
#undef S
CODEC_TYPE(token_list, token_list, API_MAX_BYTES);

#define S struct device_verb
static const struct codec_row device_verb_rows[] = {
    NEED(device, NAME_MAX_BYTES, GRAPH),
    TEXT(reason, REASON_MAX, TEXT),
};
#undef S
CODEC_TYPE(device_verb, device_verb, 8192);

#define S struct identity_query
static const struct codec_row identity_query_rows[] = {
    TEXT(device, NAME_MAX_BYTES, GRAPH),
    TEXT(state, 32, TOKEN),
    U32(limit, 0, UINT32_MAX),
    TEXT(after, NAME_MAX_BYTES, GRAPH),
};
#undef S
CODEC_TYPE(identity_query, identity_query, 1024);

#define S struct identity_info
static const struct codec_row identity_info_rows[] = {
    TEXT(device, NAME_MAX_BYTES, GRAPH),
    TEXT(state, 32, TOKEN),
    TEXT(key, 64, GRAPH),
    TEXT(token, ULID_LEN, ULID),
    I64(enrolled_ms, 0, INT64_MAX),
    I64(changed_ms, 0, INT64_MAX),
    TEXT(changed_by, ACTOR_MAX, LINE),
    I64(expires_ms, 0, INT64_MAX),
    U64(decision, 0, COUNTER_MAX),
    TEXT(hardware, TOKEN_MAX, VERSION),
};
#undef S
CODEC_TYPE(identity_info, identity_info, 8192);

#define S struct identity_list
static const struct codec_row identity_list_rows[] = {
    SUBS(identities, identity_info, 0, LIST_MAX),
    TEXT(next, NAME_MAX_BYTES, GRAPH),
};
#undef S
CODEC_TYPE(identity_list, identity_list, API_MAX_BYTES);

#define S struct operator_add
static const struct codec_row operator_add_rows[] = {
    NEED(name, TOKEN_MAX, TOKEN),
    NEED(role, 32, TOKEN),
    NEED_BYTES(public_key, KEY_BYTES, KEY_BYTES),
    I64(ttl_ms, 0, INT64_MAX),
    TEXT(reason, REASON_MAX, TEXT),
    BOOL(replace),
};
#undef S
CODEC_TYPE(operator_add, operator_add, 8192);

#define S struct operator_query
static const struct codec_row operator_query_rows[] = {
    TEXT(name, TOKEN_MAX, TOKEN),
    TEXT(reason, REASON_MAX, TEXT),
};
#undef S
CODEC_TYPE(operator_query, operator_query, 8192);

#define S struct operator_info
static const struct codec_row operator_info_rows[] = {
    TEXT(name, TOKEN_MAX, TOKEN),
    TEXT(role, 32, TOKEN),
    TEXT(key, 64, GRAPH),
    I64(added_ms, 0, INT64_MAX),
    TEXT(added_by, ACTOR_MAX, LINE),
    I64(expires_ms, 0, INT64_MAX),
    U64(decision, 0, COUNTER_MAX),
    TEXT(jwt, 4096, GRAPH),
    NEED_TEXTS(urls, 0, 8, URL_MAX, GRAPH),
    TEXT(ca, 16384, TEXT),
    BOOL(removed),
};
#undef S
CODEC_TYPE(operator_info, operator_info, 16384);

#define S struct operator_list
static const struct codec_row operator_list_rows[] = {
    SUBS(operators, operator_info, 0, LIST_MAX),
};
#undef S
CODEC_TYPE(operator_list, operator_list, API_MAX_BYTES);

#define S struct doctor_finding
static const struct codec_row doctor_finding_rows[] = {
    NEED(level, 16, TOKEN),
    NEED(what, CAUSE_MAX, TEXT),
    TEXT(mend, CAUSE_MAX, TEXT),
};
#undef S
CODEC_TYPE(doctor_finding, doctor_finding, 4096);

#define S struct doctor
static const struct codec_row doctor_rows[] = {
    I64(now_ms, 0, INT64_MAX),
    SUBS(findings, doctor_finding, 0, 256),
};
#undef S
CODEC_TYPE(doctor, doctor, API_MAX_BYTES);
