/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/captain_issue.h"

#include "captain/io/store/channel.h"
#include "captain/io/store/rollout.h"
#include "common/base/mem.h"
#include "proto/codec.h"

enum { CHANNEL_ARENA_BYTES = 4 << 20 };

static enum err_code issue_set(struct captain *captain, const struct log_entry *entry,
                               struct arena *arena, struct err *err)
{
    struct channel_set set;
    enum err_code code = codec_decode(&codec_channel_set, entry->body, arena, &set, err);
    return code ? code : desired_issue(captain->desired, set.app, set.channel, entry->seq, err);
}

static enum err_code issue_rollout(struct captain *captain, const char *id, uint64_t seq,
                                   struct arena *arena, struct err *err)
{
    struct store_rollout row;
    struct store_channel channel;
    enum err_code code = store_rollout_get(captain->db, id, arena, &row, err);
    if (code == ERR_OK)
        code = store_channel_get(captain->db, row.app, row.channel, arena, &channel, err);
    if (code != ERR_OK)
        return code;
    if (channel.unsettled && channel.generation == 0 && !row.published)
        return ERR_OK; /* it ended before it said anything */
    return desired_issue(captain->desired, row.app, row.channel, seq, err);
}

static enum err_code issue_published(struct captain *captain, const struct log_entry *entry,
                                     struct arena *arena, struct err *err)
{
    struct rollout_published published;
    enum err_code code =
        codec_decode(&codec_rollout_published, entry->body, arena, &published, err);
    return code ? code : issue_rollout(captain, published.id, entry->seq, arena, err);
}

static enum err_code issue_moved(struct captain *captain, const struct log_entry *entry,
                                 struct arena *arena, struct err *err)
{
    struct rollout_moved moved;
    enum err_code code = codec_decode(&codec_rollout_moved, entry->body, arena, &moved, err);
    if (code != ERR_OK || !moved.finished)
        return code;
    return issue_rollout(captain, moved.id, entry->seq, arena, err);
}

/* A channel that has no release yet takes its flags along with its first. */
static enum err_code issue_flags(struct captain *captain, const char *app, const char *name,
                                 struct arena *arena, struct err *err)
{
    struct store_channel channel;
    struct err absent = {0};
    enum err_code code = store_channel_get(captain->db, app, name, arena, &channel, &absent);
    if (code == ERR_NOT_FOUND || (code == ERR_OK && channel.generation == 0))
        return ERR_OK;
    if (code != ERR_OK)
        return err_set(err, code, "%s", absent.text);
    return desired_issue(captain->desired, app, name, channel.decision, err);
}

static enum err_code issue_flag_set(struct captain *captain, const struct log_entry *entry,
                                    struct arena *arena, struct err *err)
{
    struct flag_set flag;
    enum err_code code = codec_decode(&codec_flag_set, entry->body, arena, &flag, err);
    return code ? code : issue_flags(captain, flag.app, flag.channel, arena, err);
}

static enum err_code issue_flag_unset(struct captain *captain, const struct log_entry *entry,
                                      struct arena *arena, struct err *err)
{
    struct flag_unset flag;
    enum err_code code = codec_decode(&codec_flag_unset, entry->body, arena, &flag, err);
    return code ? code : issue_flags(captain, flag.app, flag.channel, arena, err);
}

static enum err_code issue_device(struct captain *captain, const struct log_entry *entry,
                                  struct arena *arena, struct err *err)
{
    struct device_set set;
    enum err_code code = codec_decode(&codec_device_set, entry->body, arena, &set, err);
    return code ? code : desired_devices_issue(captain->desired_devices, set.device, err);
}

/* device.enrolled, device.approved: labels of its token, or what was said of it before. */
static enum err_code issue_identity(struct captain *captain, const struct log_entry *entry,
                                    struct arena *arena, struct err *err)
{
    struct bytes said = {0};
    enum err_code code = store_device_set_get(captain->db, entry->subject, arena, &said, err);
    if (code != ERR_OK || said.len == 0)
        return code;
    return desired_devices_issue(captain->desired_devices, entry->subject, err);
}

/* Kinds of decisions that change what devices are told. */
static const struct {
    const char *kind;
    enum err_code (*issue)(struct captain *captain, const struct log_entry *entry,
                           struct arena *arena, struct err *err);
} ISSUES[] = {
    {"channel.set", issue_set},          {"rollout.published", issue_published},
    {"rollout.moved", issue_moved},      {"device.set", issue_device},
    {"flag.set", issue_flag_set},        {"flag.unset", issue_flag_unset},
    {"device.enrolled", issue_identity}, {"device.approved", issue_identity},
};

enum err_code captain_issue(struct captain *captain, const struct log_entry *entry, struct err *err)
{
    enum err_code code = ERR_OK;
    for (size_t i = 0; i < ARRAY_LEN(ISSUES); i++) {
        if (!str_equal(entry->kind, ISSUES[i].kind))
            continue;
        struct arena arena DEFER(arena_fini) = {0};
        arena_init(&arena, CHANNEL_ARENA_BYTES);
        code = ISSUES[i].issue(captain, entry, &arena, err);
    }
    return code;
}
