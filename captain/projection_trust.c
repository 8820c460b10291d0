/* SPDX-License-Identifier: Apache-2.0
 *
 * What decisions about tokens, devices, operators and incidents mean in the tables.
 */
#include <string.h>

#include "captain/core/admit.h"
#include "captain/io/store/rollout.h"
#include "captain/io/store/trust.h"
#include "captain/projection_private.h"
#include "proto/codec.h"

enum { LABELS_MAX = 64 };

enum err_code projection_token_created(struct projection *p, struct err *err)
{
    struct token_created created;
    enum err_code code =
        codec_decode(&codec_token_created, p->entry->body, &p->arena, &created, err);
    if (code != ERR_OK)
        return code;
    struct store_token row = {.id = created.id,
                              .site = created.site,
                              .body = p->entry->body,
                              .uses = created.uses,
                              .approval = created.approval,
                              .created_ms = p->entry->time_ms,
                              .expires_ms = created.expires_ms,
                              .created_by = p->entry->actor,
                              .decision = p->entry->seq};
    memcpy(row.public_key, created.public_key.ptr, SIGN_PUBLIC_BYTES);
    return store_token_add(p->db, &row, err);
}

enum err_code projection_token_revoked(struct projection *p, struct err *err)
{
    struct token_revoked revoked;
    const enum err_code code =
        codec_decode(&codec_token_revoked, p->entry->body, &p->arena, &revoked, err);
    return code ? code : store_token_revoke(p->db, revoked.id, p->entry->time_ms, err);
}

/* Devices. */

static enum err_code put_label(struct device_label_set *labels, size_t *len,
                               const struct label *label, struct err *err)
{
    size_t i = 0;
    while (i < *len && !str_equal(labels[i].key, label->key))
        i++;
    if (i == LABELS_MAX)
        return err_set(err, ERR_FULL, "a device has at most %d labels", LABELS_MAX);
    labels[i] = (struct device_label_set){.key = label->key, .value = label->value};
    *len += i == *len;
    return ERR_OK;
}

/* What an operator said of the device before stays; the token's labels come on top. */
static enum err_code set_labels(struct projection *p, const struct device_enrolled *enrolled,
                                struct err *err)
{
    struct device_set set = {.device = enrolled->device};
    struct bytes body = {0};
    struct device_label_set *labels = arena_alloc(&p->arena, LABELS_MAX * sizeof *labels);
    if (!labels)
        return err_set(err, ERR_SIZE, "the labels of a device take too much memory");
    enum err_code code = store_device_set_get(p->db, enrolled->device, &p->arena, &body, err);
    if (code == ERR_OK && body.len > 0)
        code = codec_decode(&codec_device_set, body, &p->arena, &set, err);
    if (code != ERR_OK)
        return code;
    set.labels_len = set.labels_len < LABELS_MAX ? set.labels_len : LABELS_MAX;
    if (set.labels_len > 0)
        memcpy(labels, set.labels, set.labels_len * sizeof *labels);
    set.labels = labels;
    for (size_t i = 0; code == ERR_OK && i < enrolled->labels_len; i++)
        code = put_label(labels, &set.labels_len, &enrolled->labels[i], err);
    if (code == ERR_OK)
        code = codec_encode(&codec_device_set, &set, &p->arena, &body, err);
    return code ? code : store_device_set_put(p->db, set.device, body, p->entry->seq, err);
}

enum err_code projection_device_enrolled(struct projection *p, struct err *err)
{
    struct device_enrolled enrolled;
    enum err_code code =
        codec_decode(&codec_device_enrolled, p->entry->body, &p->arena, &enrolled, err);
    if (code != ERR_OK)
        return code;
    struct store_identity row = {
        .device = enrolled.device,
        .token = enrolled.token,
        .state = admit_state_names[enrolled.pending ? ADMIT_PENDING : ADMIT_APPROVED],
        .enrolled_ms = p->entry->time_ms,
        .changed_by = p->entry->actor,
        .decision = p->entry->seq,
        .hardware = enrolled.hardware};
    memcpy(row.device_key, enrolled.device_key.ptr, SIGN_PUBLIC_BYTES);
    memcpy(row.seal_key, enrolled.seal_key.ptr, SIGN_PUBLIC_BYTES);
    code = store_identity_enrol(p->db, &row, err);
    if (code == ERR_OK)
        code = store_token_use(p->db, enrolled.token, err);
    if (code == ERR_OK && enrolled.labels_len > 0)
        code = set_labels(p, &enrolled, err);
    return code;
}

static enum err_code revoke_key(struct projection *p, const struct device_verdict *verdict,
                                bool for_good, struct err *err)
{
    struct store_revoked_key row = {.name = verdict->device,
                                    .at_ms = p->entry->time_ms,
                                    .until_ms = p->entry->time_ms + PROJECTION_REVOKED_FOR_MS,
                                    .for_good = for_good};
    memcpy(row.key, verdict->device_key.ptr, SIGN_PUBLIC_BYTES);
    return store_revoked_key_put(p->db, &row, err);
}

/* device.approved | rejected | revoked | retired: the kind's second word is the state. */
enum err_code projection_device_verdict(struct projection *p, struct err *err)
{
    struct device_verdict verdict;
    enum admit_state state;
    enum err_code code =
        codec_decode(&codec_device_verdict, p->entry->body, &p->arena, &verdict, err);
    if (code != ERR_OK)
        return code;
    if (!admit_state_parse(strchr(p->entry->kind, '.') + 1, &state))
        return err_set(err, ERR_MALFORMED, "a device cannot be so");
    struct store_identity row = {.device = verdict.device,
                                 .state = admit_state_names[state],
                                 .changed_ms = p->entry->time_ms,
                                 .changed_by = p->entry->actor,
                                 .decision = p->entry->seq};
    memcpy(row.device_key, verdict.device_key.ptr, SIGN_PUBLIC_BYTES);
    code = store_identity_state(p->db, &row, err);
    if (code == ERR_OK && (state == ADMIT_REVOKED || state == ADMIT_RETIRED))
        code = revoke_key(p, &verdict, state == ADMIT_REVOKED, err);
    return code;
}

/* Operators. */

/* The credential of that key is void until it has run out. */
static enum err_code revoke_operator(struct projection *p, const char *name, struct bytes key,
                                     int64_t expires_ms, struct err *err)
{
    struct store_revoked_key row = {
        .name = name,
        .at_ms = p->entry->time_ms,
        .until_ms =
            expires_ms ? expires_ms + ACCOUNT_REVOCATION_SLACK_S * INT64_C(1000) : INT64_MAX};
    memcpy(row.key, key.ptr, SIGN_PUBLIC_BYTES);
    return store_revoked_key_put(p->db, &row, err);
}

enum err_code projection_operator_added(struct projection *p, struct err *err)
{
    struct operator_added added;
    enum err_code code =
        codec_decode(&codec_operator_added, p->entry->body, &p->arena, &added, err);
    if (code == ERR_OK && added.replaces_key.len > 0)
        code = revoke_operator(p, added.name, added.replaces_key, added.replaces_expires_ms, err);
    if (code != ERR_OK)
        return code;
    struct store_operator row = {.name = added.name,
                                 .role = added.role,
                                 .added_ms = p->entry->time_ms,
                                 .added_by = p->entry->actor,
                                 .expires_ms = added.expires_ms,
                                 .decision = p->entry->seq};
    memcpy(row.public_key, added.public_key.ptr, SIGN_PUBLIC_BYTES);
    return store_operator_put(p->db, &row, err);
}

enum err_code projection_operator_removed(struct projection *p, struct err *err)
{
    struct operator_removed removed;
    struct store_operator row;
    enum err_code code =
        codec_decode(&codec_operator_removed, p->entry->body, &p->arena, &removed, err);
    if (code == ERR_OK)
        code = store_operator_get(p->db, removed.name, &p->arena, &row, err);
    if (code == ERR_OK)
        code = store_operator_remove(p->db, removed.name, p->entry->time_ms, err);
    return code ? code : revoke_operator(p, removed.name, removed.public_key, row.expires_ms, err);
}

enum err_code projection_incident(struct projection *p, struct err *err)
{
    struct incident_noted noted;
    const enum err_code code =
        codec_decode(&codec_incident_noted, p->entry->body, &p->arena, &noted, err);
    return code ? code : store_incidents_add(p->db, 1 + noted.suppressed, err);
}
