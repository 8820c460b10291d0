/* SPDX-License-Identifier: Apache-2.0
 *
 * trust.proto: one row a field, one table a message. The macros are explained in codec_table.h.
 */
#include "proto/codec_table.h"

#include "common/base/mem.h"
#include "proto/trust.pb-c.h"

#define S struct signature
static const struct codec_row signature_rows[] = {
    NEED_BYTES(sig, SIG_BYTES, SIG_BYTES),
    TEXT(keyid, KEYID_HEX, HEX),
};
#undef S
CODEC_TYPE(signature, signature, 256);

/* A release is the largest payload: 512 KiB, so that its log entry fits into one message of the
 * bus. SIGN_RELEASE_MAX_BYTES (1 MiB) is only the outer cap before parsing; root and desired have
 * their own. */
#define S struct envelope
static const struct codec_row envelope_rows[] = {
    NEED_BYTES(payload, 1, 512 << 10),
    NEED(payload_type, 128, GRAPH),
    SUBS(signatures, signature, 0, 16),
};
#undef S
CODEC_TYPE(envelope, envelope, ENVELOPE_MAX_BYTES);

#define S struct role
static const struct codec_row role_rows[] = {
    NEED(name, TOKEN_MAX, TOKEN),
    U32(threshold, 1, 16),
    NEED_BYTES_LIST(keys, 1, 16, KEY_BYTES),
};
#undef S
CODEC_TYPE(role, role, 1024);

#define S struct release_floor
static const struct codec_row release_floor_rows[] = {
    NEED(app, TOKEN_MAX, TOKEN),
    U64(sequence, 0, COUNTER_MAX),
};
#undef S
CODEC_TYPE(release_floor, release_floor, 256);

#define S struct root
static const struct codec_row root_rows[] = {
    NEED(tenant, TOKEN_MAX, TOKEN),      U64(version, 1, COUNTER_MAX),
    I64(expires_ms, 0, INT64_MAX),       SUBS(roles, role, 1, 8),
    SUBS(floors, release_floor, 0, 256), NEED_BYTES_LIST(revoked, 0, 1024, DIGEST_BYTES),
};
#undef S
CODEC_TYPE(root, root, 64 << 10);

#define S struct source
static const struct codec_row source_rows[] = {
    NEED(repository, URL_MAX, GRAPH),
    NEED(commit, 64, COMMIT),
};
#undef S
CODEC_TYPE(source, source, 4096);

#define S struct artifact
static const struct codec_row artifact_rows[] = {
    NEED(path, PATH_MAX_BYTES, PATH),
    ENUM(kind, 1),
    TEXT(os, TOKEN_MAX, VERSION),
    TEXT(arch, TOKEN_MAX, VERSION),
    TEXT(hardware, TOKEN_MAX, VERSION),
    U64(size_bytes, 0, COUNTER_MAX),
    NEED_BYTES(sha256, DIGEST_BYTES, DIGEST_BYTES),
    NEED_TEXTS(urls, 0, 8, URL_MAX, GRAPH),
    U64(unpacked_bytes_max, 0, COUNTER_MAX),
    U32(unpacked_files_max, 0, INT32_MAX),
    BOOL(executable),
};
#undef S
CODEC_TYPE(artifact, artifact, 32 << 10);

#define S struct env_var
static const struct codec_row env_var_rows[] = {
    NEED(name, 128, TOKEN),
    TEXT(value, 4096, TEXT),
};
#undef S
CODEC_TYPE(env_var, env_var, 8 << 10);

#define S struct service
static const struct codec_row service_rows[] = {
    NEED(name, TOKEN_MAX, TOKEN),
    TEXTS(command, 1, 64, 1024, TEXT),
    SUBS(env, env_var, 0, 64),
    TEXT(working_dir, PATH_MAX_BYTES, PATH),
    U64(memory_max_bytes, 0, COUNTER_MAX),
    U32(open_files_max, 0, 1 << 20),
    U32(stop_timeout_ms, 0, DURATION_MAX_MS),
    U32(restart_min_ms, 0, DURATION_MAX_MS),
    U32(restart_max_ms, 0, DURATION_MAX_MS),
    TEXTS(pre_stop, 0, 64, 1024, TEXT),
    TEXT(reload_signal, 16, TOKEN),
    TEXTS(reload, 0, 64, 1024, TEXT),
};
#undef S
CODEC_TYPE(service, service, 512 << 10);

#define S struct check
static const struct codec_row check_rows[] = {
    NEED(name, TOKEN_MAX, TOKEN),
    ENUM(kind, 1),
    TEXT(service, TOKEN_MAX, TOKEN),
    TEXT(url, URL_MAX, GRAPH),
    U32(expect_status, 0, 599),
    TEXT(expect_body, 1024, TEXT),
    TEXT(address, 320, GRAPH),
    TEXTS(command, 0, 64, 1024, TEXT),
    U32(interval_ms, 0, DURATION_MAX_MS),
    U32(timeout_ms, 0, DURATION_MAX_MS),
    U32(healthy_threshold, 0, 1000),
    U32(unhealthy_threshold, 0, 1000),
};
#undef S
CODEC_TYPE(check, check, 128 << 10);

#define S struct release
static const struct codec_row release_rows[] = {
    NEED(app, TOKEN_MAX, TOKEN),
    NEED(version, VERSION_MAX, VERSION),
    U64(sequence, 1, COUNTER_MAX),
    I64(created_ms, 0, INT64_MAX),
    I64(expires_ms, 0, INT64_MAX),
    SUBS(sources, source, 0, 64),
    SUBS(artifacts, artifact, 0, 64),
    SUBS(services, service, 0, 16),
    SUBS(checks, check, 0, 32),
    U32(data_version, 0, INT32_MAX),
    TEXT(minimum_agent, VERSION_MAX, VERSION),
    TEXT(provenance, URL_MAX, TEXT),
    TEXT(metrics_file, PATH_MAX_BYTES, PATH),
    U32(confirm_ms, 0, DURATION_MAX_MS),
};
#undef S
CODEC_TYPE(release, release, 512 << 10);

#define S struct label
static const struct codec_row label_rows[] = {
    NEED(key, TOKEN_MAX, TOKEN),
    TEXT(value, TOKEN_MAX, LINE),
};
#undef S
CODEC_TYPE(label, label, 256);

#define S struct selector
static const struct codec_row selector_rows[] = {
    SUBS(all, label, 1, 16),
};
#undef S
CODEC_TYPE(selector, selector, 4096);

#define S struct cohort
static const struct codec_row cohort_rows[] = {
    TEXT(salt, TOKEN_MAX, TOKEN),
    U64(cut, 0, UINT64_MAX),
    NEED_TEXTS(devices, 0, 1024, NAME_MAX_BYTES, GRAPH),
    SUBS(selectors, selector, 0, 16),
};
#undef S
CODEC_TYPE(cohort, cohort, 56 << 10);

#define S struct feature_flag
static const struct codec_row feature_flag_rows[] = {
    NEED(name, 128, TOKEN), TEXT(value, 1024, LINE), TEXT(otherwise, 1024, LINE),
    TEXT(salt, 160, GRAPH), U64(cut, 0, UINT64_MAX),
};
#undef S
CODEC_TYPE(feature_flag, feature_flag, 4096);

#define S struct desired
static const struct codec_row desired_rows[] = {
    NEED(tenant, TOKEN_MAX, TOKEN),
    NEED(app, TOKEN_MAX, TOKEN),
    NEED(channel, TOKEN_MAX, TOKEN),
    U64(generation, 1, COUNTER_MAX),
    I64(issued_ms, 0, INT64_MAX),
    I64(expires_ms, 0, INT64_MAX),
    NEED_BYTES(release_digest, DIGEST_BYTES, DIGEST_BYTES),
    U64(release_sequence, 0, COUNTER_MAX),
    TEXT(release_version, VERSION_MAX, VERSION),
    BYTES(base_digest, DIGEST_BYTES, DIGEST_BYTES),
    U64(base_sequence, 0, COUNTER_MAX),
    TEXT(base_version, VERSION_MAX, VERSION),
    SUB(cohort, cohort),
    TEXT(rollout, TOKEN_MAX, TOKEN),
    NEED_TEXTS(stores, 0, 8, URL_MAX, GRAPH),
    U64(decision, 0, COUNTER_MAX),
    BOOL(lease),
    BOOL(without_captain),
    U32(lease_wait_ms, 0, DURATION_MAX_MS),
    SUBS(flags, feature_flag, 0, 64),
};
#undef S
CODEC_TYPE(desired, desired, 64 << 10);

#define S struct pin
static const struct codec_row pin_rows[] = {
    NEED(app, TOKEN_MAX, TOKEN),
    NEED_BYTES(digest, DIGEST_BYTES, DIGEST_BYTES),
    TEXT(version, VERSION_MAX, VERSION),
    U64(sequence, 0, COUNTER_MAX),
};
#undef S
CODEC_TYPE(pin, pin, 512);

#define S struct sealed_secret
static const struct codec_row sealed_secret_rows[] = {
    NEED(app, TOKEN_MAX, TOKEN),
    NEED(name, 128, TOKEN),
    U64(version, 1, COUNTER_MAX),
    NEED_BYTES(sealed, 49, 8192),
};
#undef S
CODEC_TYPE(sealed_secret, sealed_secret, 10 << 10);

/* With its envelope it fits SIGN_DESIRED_MAX_BYTES. */
#define S struct device_desired
static const struct codec_row device_desired_rows[] = {
    NEED(tenant, TOKEN_MAX, TOKEN),  NEED(device, NAME_MAX_BYTES, GRAPH),
    U64(generation, 1, COUNTER_MAX), I64(issued_ms, 0, INT64_MAX),
    I64(expires_ms, 0, INT64_MAX),   SUBS(labels, label, 0, 32),
    SUBS(pins, pin, 0, 8),           NEED_TEXTS(stores, 0, 8, URL_MAX, GRAPH),
    U64(decision, 0, COUNTER_MAX),   SUBS(secrets, sealed_secret, 0, 64),
};
#undef S
CODEC_TYPE(device_desired, device_desired, 60 << 10);
