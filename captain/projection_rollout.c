/* SPDX-License-Identifier: Apache-2.0
 *
 * What decisions of rollouts, policies, the freeze and single devices mean in the tables.
 *
 * Commands become inputs of their rollout here, so that a decision and what it does are one transaction. A
 * rollout without its start has none: its history was lost with the tables, or it has not begun yet.
 */
#include <string.h>

#include "captain/core/rollout.h"
#include "captain/io/store/channel.h"
#include "captain/io/store/rollout.h"
#include "captain/projection_private.h"
#include "proto/codec.h"

/* Inputs. */

static enum err_code add_input(struct projection *p, const struct store_rollout *rollout,
                               const struct rollout_stored_input *input, struct err *err)
{
    struct bytes encoded;
    if (rollout->inputs == 0)
        return ERR_OK;
    enum err_code code = codec_encode(&codec_rollout_stored_input, input, &p->arena, &encoded, err);
    if (code == ERR_OK)
        code = store_rollout_input_add(p->db, rollout->id, rollout->inputs, encoded, err);
    return code;
}

/* Starting. */

/* A channel that has never had a release is there from its first rollout on. */
static enum err_code ensure_channel(struct projection *p, const struct rollout_started *started,
                                    struct err *err)
{
    struct store_channel channel;
    struct err absent = {0};
    enum err_code code =
        store_channel_get(p->db, started->app, started->channel, &p->arena, &channel, &absent);
    if (code == ERR_OK && !channel.unsettled)
        return ERR_OK;
    if (code != ERR_OK && code != ERR_NOT_FOUND)
        return err_set(err, code, "%s", absent.text);
    channel = (struct store_channel){.app = started->app,
                                     .channel = started->channel,
                                     .since_ms = p->entry->time_ms,
                                     .set_by = p->entry->actor,
                                     .reason = p->entry->reason,
                                     .decision = p->entry->seq,
                                     .unsettled = true};
    memcpy(channel.digest, started->digest.ptr, DIGEST_BYTES);
    return store_channel_set(p->db, &channel, err);
}

static enum err_code supersede(struct projection *p, const char *id, struct err *err)
{
    struct store_rollout old;
    struct rollout_stored_input input = {
        .kind = ROLLOUT_IN_SUPERSEDE, .now_ms = p->entry->time_ms, .reason = p->entry->reason};
    enum err_code code = store_rollout_get(p->db, id, &p->arena, &old, err);
    return code == ERR_OK && old.ended_ms == 0 ? add_input(p, &old, &input, err) : code;
}

enum err_code projection_started(struct projection *p, struct err *err)
{
    struct rollout_started started;
    enum err_code code =
        codec_decode(&codec_rollout_started, p->entry->body, &p->arena, &started, err);
    if (code == ERR_OK)
        code = projection_check_release(p, started.app, started.digest, err);
    if (code == ERR_OK && started.base_digest.len > 0)
        code = projection_check_release(p, started.app, started.base_digest, err);
    if (code == ERR_OK)
        code = ensure_channel(p, &started, err);
    if (code == ERR_OK && started.supersedes[0])
        code = supersede(p, started.supersedes, err);
    if (code != ERR_OK)
        return code;
    struct store_rollout row = {.id = started.id,
                                .app = started.app,
                                .channel = started.channel,
                                .has_base = started.base_digest.len > 0,
                                .policy_name = started.policy_name,
                                .policy = started.policy,
                                .seed = started.seed,
                                .supersedes = started.supersedes,
                                .started_by = p->entry->actor,
                                .reason = p->entry->reason,
                                .started_ms = p->entry->time_ms,
                                .decision = p->entry->seq};
    memcpy(row.digest, started.digest.ptr, DIGEST_BYTES);
    if (row.has_base)
        memcpy(row.base_digest, started.base_digest.ptr, DIGEST_BYTES);
    return store_rollout_add(p->db, &row, err);
}

/* Operators. */

enum err_code projection_command(struct projection *p, struct err *err)
{
    struct rollout_command command;
    struct store_rollout row;
    enum err_code code =
        codec_decode(&codec_rollout_command, p->entry->body, &p->arena, &command, err);
    if (code == ERR_OK && !command.input)
        code = err_set(err, ERR_MALFORMED, "a command without its input");
    if (code == ERR_OK)
        code = store_rollout_get(p->db, command.id, &p->arena, &row, err);
    if (code != ERR_OK)
        return code;
    /* What is over can still be taken back. */
    const bool reopens =
        row.ended_ms > 0 &&
        (command.input->kind == ROLLOUT_IN_ABORT || command.input->kind == ROLLOUT_IN_SUPERSEDE) &&
        str_equal(row.state, rollout_state_name(ROLLOUT_SUCCEEDED));
    if (reopens)
        code = store_rollout_reopen(p->db, row.id, err);
    if (code != ERR_OK || (row.ended_ms > 0 && !reopens))
        return code;
    return add_input(p, &row, command.input, err);
}

/* What a rollout decided. */

enum err_code projection_published(struct projection *p, struct err *err)
{
    struct rollout_published published;
    enum err_code code =
        codec_decode(&codec_rollout_published, p->entry->body, &p->arena, &published, err);
    if (code != ERR_OK)
        return code;
    return store_rollout_published(p->db, &published, p->entry->body, p->entry->seq, err);
}

enum err_code projection_verdict(struct projection *p, struct err *err)
{
    struct rollout_verdict verdict;
    enum err_code code =
        codec_decode(&codec_rollout_verdict, p->entry->body, &p->arena, &verdict, err);
    return code ? code : store_rollout_effect(p->db, verdict.id, verdict.effect, err);
}

enum err_code projection_rollout_device(struct projection *p, struct err *err)
{
    struct rollout_device_moved moved;
    enum err_code code =
        codec_decode(&codec_rollout_device_moved, p->entry->body, &p->arena, &moved, err);
    return code ? code : store_rollout_effect(p->db, moved.id, moved.effect, err);
}

/* The channel as it stands after the end of a rollout: on the target when it succeeded, on the base when
 * it went back. */
static enum err_code settle_channel(struct projection *p, const struct store_rollout *row,
                                    bool succeeded, struct err *err)
{
    struct store_channel channel;
    enum err_code code = store_channel_get(p->db, row->app, row->channel, &p->arena, &channel, err);
    if (code != ERR_OK)
        return code;
    const uint8_t *digest = succeeded ? row->digest : row->base_digest;
    if (!succeeded && memcmp(channel.digest, digest, DIGEST_BYTES) == 0)
        return ERR_OK;
    memcpy(channel.digest, digest, DIGEST_BYTES);
    channel.has_base = succeeded && row->has_base;
    if (channel.has_base)
        memcpy(channel.base_digest, row->base_digest, DIGEST_BYTES);
    channel.since_ms = p->entry->time_ms;
    channel.set_by = row->started_by;
    channel.reason = row->reason;
    channel.decision = p->entry->seq;
    channel.unsettled = false;
    return store_channel_set(p->db, &channel, err);
}

enum err_code projection_moved(struct projection *p, struct err *err)
{
    struct rollout_moved moved;
    struct store_rollout row;
    enum err_code code = codec_decode(&codec_rollout_moved, p->entry->body, &p->arena, &moved, err);
    if (code == ERR_OK)
        code = store_rollout_moved(p->db, &moved, p->entry->time_ms, err);
    if (code == ERR_OK)
        code = store_rollout_get(p->db, moved.id, &p->arena, &row, err);
    if (code != ERR_OK || !moved.finished)
        return code;
    if (str_equal(moved.to, rollout_state_name(ROLLOUT_SUCCEEDED)))
        return settle_channel(p, &row, true, err);
    if (str_equal(moved.to, rollout_state_name(ROLLOUT_ABORTED)) && row.to_base && row.has_base)
        return settle_channel(p, &row, false, err);
    return ERR_OK;
}

/* Policies, the freeze, devices. */

enum err_code projection_policy(struct projection *p, struct err *err)
{
    struct channel_policy policy;
    enum err_code code =
        codec_decode(&codec_channel_policy, p->entry->body, &p->arena, &policy, err);
    if (code != ERR_OK)
        return code;
    return store_policy_set(p->db, &policy, p->entry->actor, p->entry->time_ms, p->entry->seq, err);
}

enum err_code projection_freeze(struct projection *p, struct err *err)
{
    struct fleet_freeze freeze;
    struct store_rollout *rows = NULL;
    size_t len = 0;
    enum err_code code = codec_decode(&codec_fleet_freeze, p->entry->body, &p->arena, &freeze, err);
    if (code == ERR_OK)
        code = store_setting_set_int(p->db, "frozen", freeze.on, err);
    if (code == ERR_OK)
        code = store_rollout_list(p->db, "", true, 0, &p->arena, &rows, &len, err);
    const struct rollout_stored_input input = {.kind = ROLLOUT_IN_FREEZE,
                                               .now_ms = p->entry->time_ms,
                                               .flag = freeze.on,
                                               .reason = p->entry->reason};
    for (size_t i = 0; code == ERR_OK && i < len; i++)
        code = add_input(p, &rows[i], &input, err);
    return code;
}

enum err_code projection_device_set(struct projection *p, struct err *err)
{
    struct device_set set;
    enum err_code code = codec_decode(&codec_device_set, p->entry->body, &p->arena, &set, err);
    if (code != ERR_OK)
        return code;
    return store_device_set_put(p->db, set.device, p->entry->body, p->entry->seq, err);
}

enum err_code projection_site(struct projection *p, struct err *err)
{
    struct site_windows site;
    enum err_code code = codec_decode(&codec_site_windows, p->entry->body, &p->arena, &site, err);
    return code ? code : store_site_set(p->db, &site, p->entry->actor, p->entry->time_ms, err);
}
