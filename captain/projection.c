/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/projection.h"

#include <string.h>

#include "captain/io/store/channel.h"
#include "captain/io/store/release.h"
#include "captain/projection_private.h"
#include "common/base/mem.h"
#include "common/hash.h"
#include "proto/codec.h"

/* A release decoded has many small things beside its bytes. */
enum { PROJECTION_ARENA_BYTES = 16 << 20 };

static enum err_code apply_nothing(struct projection *context, struct err *err)
{
    struct captain_started started;
    return codec_decode(&codec_captain_started, context->entry->body, &context->arena, &started,
                        err);
}

static uint64_t size_of(const struct release *release)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < release->artifacts_len; i++)
        sum += release->artifacts[i].size_bytes;
    return sum > INT64_MAX ? INT64_MAX : sum;
}

static enum err_code add_release(struct projection *context, const struct release_created *created,
                                 const struct release *release, struct err *err)
{
    struct store_release row = {.app = release->app,
                                .version = release->version,
                                .sequence = release->sequence,
                                .created_ms = context->entry->time_ms,
                                .created_by = context->entry->actor,
                                .decision = context->entry->seq,
                                .size_bytes = size_of(release),
                                .envelope = created->envelope};
    memcpy(row.digest, created->digest.ptr, DIGEST_BYTES);
    enum err_code code = store_release_add(context->db, &row, err);
    if (code == ERR_OK)
        code = artifacts_put_release(context->artifacts, row.digest, row.envelope, err);
    return code;
}

static enum err_code apply_release(struct projection *context, struct err *err)
{
    struct release_created created;
    struct envelope envelope;
    struct release release;
    uint8_t digest[DIGEST_BYTES];
    struct arena *arena = &context->arena;
    enum err_code code =
        codec_decode(&codec_release_created, context->entry->body, arena, &created, err);
    if (code == ERR_OK)
        code = codec_decode(&codec_envelope, created.envelope, arena, &envelope, err);
    if (code == ERR_OK)
        code = codec_decode(&codec_release, envelope.payload, arena, &release, err);
    if (code != ERR_OK)
        return code;
    hash_bytes(envelope.payload, digest);
    if (!bytes_equal(created.digest, bytes_of(digest, DIGEST_BYTES)))
        return err_set(err, ERR_HASH, "the digest is not that of the release in it");
    return add_release(context, &created, &release, err);
}

enum err_code projection_check_release(struct projection *context, const char *app,
                                       struct bytes digest, struct err *err)
{
    struct store_release release;
    enum err_code code = store_release_get(context->db, digest.ptr, &context->arena, &release, err);
    if (code == ERR_OK && !str_equal(release.app, app))
        return err_set(err, ERR_MALFORMED, "release %s@%s is not of app %s", release.app,
                       release.version, app);
    return code;
}

static enum err_code apply_channel(struct projection *context, struct err *err)
{
    struct channel_set set;
    enum err_code code =
        codec_decode(&codec_channel_set, context->entry->body, &context->arena, &set, err);
    if (code == ERR_OK)
        code = projection_check_release(context, set.app, set.digest, err);
    if (code == ERR_OK && set.base_digest.len > 0)
        code = projection_check_release(context, set.app, set.base_digest, err);
    if (code != ERR_OK)
        return code;
    struct store_channel row = {.app = set.app,
                                .channel = set.channel,
                                .has_base = set.base_digest.len > 0,
                                .since_ms = context->entry->time_ms,
                                .set_by = context->entry->actor,
                                .reason = context->entry->reason,
                                .decision = context->entry->seq};
    memcpy(row.digest, set.digest.ptr, DIGEST_BYTES);
    if (row.has_base)
        memcpy(row.base_digest, set.base_digest.ptr, DIGEST_BYTES);
    return store_channel_set(context->db, &row, err);
}

static const struct {
    const char *kind;
    enum err_code (*apply)(struct projection *context, struct err *err);
} KINDS[] = {
    {"captain.started", apply_nothing},
    {"root.created", projection_root_created},
    {"root.rotated", projection_root_rotated},
    {"release.created", apply_release},
    {"channel.set", apply_channel},
    {"channel.policy", projection_policy},
    {"rollout.started", projection_started},
    {"rollout.command", projection_command},
    {"rollout.published", projection_published},
    {"rollout.verdict", projection_verdict},
    {"rollout.moved", projection_moved},
    {"rollout.device", projection_rollout_device},
    {"fleet.frozen", projection_freeze},
    {"fleet.thawed", projection_freeze},
    {"device.set", projection_device_set},
    {"site.windows", projection_site},
    {"flag.set", projection_flag_set},
    {"flag.unset", projection_flag_unset},
    {"secret.set", projection_secret_set},
    {"secret.removed", projection_secret_removed},
    {"token.created", projection_token_created},
    {"token.revoked", projection_token_revoked},
    {"device.enrolled", projection_device_enrolled},
    {"device.approved", projection_device_verdict},
    {"device.rejected", projection_device_verdict},
    {"device.revoked", projection_device_verdict},
    {"device.retired", projection_device_verdict},
    {"operator.added", projection_operator_added},
    {"operator.removed", projection_operator_removed},
    {"incident.noted", projection_incident},
};

enum err_code projection_apply(struct db *db, struct artifacts *artifacts,
                               const struct log_entry *entry, struct err *err)
{
    struct projection context = {.db = db, .artifacts = artifacts, .entry = entry};
    for (size_t i = 0; i < ARRAY_LEN(KINDS); i++) {
        if (!str_equal(entry->kind, KINDS[i].kind))
            continue;
        arena_init(&context.arena, PROJECTION_ARENA_BYTES);
        enum err_code code = KINDS[i].apply(&context, err);
        arena_fini(&context.arena);
        return code == ERR_OK
                   ? ERR_OK
                   : err_wrap(err, "entry %llu, %s", (unsigned long long)entry->seq, entry->kind);
    }
    return err_set(err, ERR_MALFORMED,
                   "entry %llu is of kind \"%s\", which this captain does not know",
                   (unsigned long long)entry->seq, entry->kind);
}
