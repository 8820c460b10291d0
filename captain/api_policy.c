/* SPDX-License-Identifier: Apache-2.0
 *
 * policy.set | show | ls: the policy that a channel's rollouts have unless a start says otherwise. History is
 * the log.
 */
#include <string.h>

#include "captain/api_private.h"
#include "captain/io/policy_yaml.h"

/* A rollout that lives takes the new policy at its next wave, so it must be able to. */
static enum err_code check_live(struct api_request *request, const struct api_channel *channel,
                                const struct policy *policy, struct err *err)
{
    struct rollout_handle live;
    struct rollout_view view;
    if (!rollouts_live(request->captain->rollouts, channel->app, channel->channel, &live))
        return ERR_OK;
    rollout_view(live.core, &view);
    if (view.wave == ROLLOUT_NONE || view.state > ROLLOUT_HELD ||
        policy_check_change(rollout_policy(live.core), policy, view.wave, err) == ERR_OK)
        return ERR_OK;
    (void)err_wrap(err, "rollout %s is under way", live.id);
    err->code = ERR_CONFLICT;
    return err_hint(err, "captain rollout abort %s, or wait for its end", live.id);
}

enum err_code api_policy_prepare(struct api_request *request, struct arena *arena,
                                 struct decision *ret, struct err *err)
{
    const struct policy_set_request *in = &request->in.policy_set;
    struct api_channel channel;
    struct policy policy;
    struct channel_policy set;
    enum err_code code = api_read_channel(in->channel, &channel, err);
    if (code == ERR_OK)
        code = policy_yaml_parse(in->name[0] ? in->name : "policy",
                                 bytes_of(in->policy, strlen(in->policy)), &policy, err);
    if (code == ERR_OK)
        code = check_live(request, &channel, &policy, err);
    if (code != ERR_OK)
        return code;
    set = (struct channel_policy){.app = channel.app, .channel = channel.channel};
    set.name = arena_strdup(arena, policy.name);
    if (in->policy[0])
        set.policy = in->policy; /* as it was written, comments too */
    else
        code = policy_yaml_write(&policy, arena, &set.policy, err);
    if (code != ERR_OK)
        return code;
    *ret =
        (struct decision){.actor = request->actor, .kind = "channel.policy", .reason = in->reason};
    ret->subject = arena_printf(arena, "%s/%s", channel.app, channel.channel);
    return ret->subject && set.name
               ? codec_encode(&codec_channel_policy, &set, arena, &ret->body, err)
               : api_too_large(err);
}

static enum err_code show(struct api_request *request, const char *text, struct policy_info *ret,
                          struct err *err)
{
    struct api_channel channel;
    struct policy policy;
    struct err absent = {0};
    enum err_code code = api_read_channel(text, &channel, err);
    if (code != ERR_OK)
        return code;
    code = store_policy_get(request->captain->db, channel.app, channel.channel, &request->arena,
                            ret, &absent);
    if (code == ERR_OK)
        return ERR_OK;
    if (code != ERR_NOT_FOUND)
        return err_set(err, code, "%s", absent.text);
    *ret = (struct policy_info){.channel = text, .name = "normal"};
    code = policy_named("normal", &policy, err);
    return code == ERR_OK ? policy_yaml_write(&policy, &request->arena, &ret->policy, err) : code;
}

enum err_code api_policy_was_set(struct api_request *request, union api_out *ret, struct err *err)
{
    return show(request, request->in.policy_set.channel, &ret->policy_info, err);
}

enum err_code api_policy_show(struct api_request *request, union api_out *ret, struct err *err)
{
    return show(request, request->in.channel_query.channel, &ret->policy_info, err);
}

enum err_code api_policy_ls(struct api_request *request, union api_out *ret, struct err *err)
{
    struct policy_info *policies = NULL;
    const enum err_code code = store_policy_list(request->captain->db, &request->arena, &policies,
                                                 &ret->policy_list.policies_len, err);
    ret->policy_list.policies = policies;
    return code;
}
