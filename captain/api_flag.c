/* SPDX-License-Identifier: Apache-2.0
 *
 * flag.set | unset | ls: the feature flags of a channel.
 */
#include "captain/api_private.h"
#include "captain/desired_flags.h"

enum { PERMYRIAD_ALL = 10000 };

static enum err_code check_name(const char *name, struct err *err)
{
    if (name[0])
        return ERR_OK;
    (void)err_set(err, ERR_USAGE, "which flag?");
    return err_hint(err, "captain flag set APP/CHANNEL NAME VALUE");
}

/* The flag of that name; NULL when the channel has none. */
static enum err_code find(struct api_request *request, const struct api_channel *channel,
                          const char *name, const struct store_flag **ret, struct err *err)
{
    struct store_flag *rows = NULL;
    size_t len = 0;
    enum err_code code = store_flag_list(request->captain->db, channel->app, channel->channel,
                                         &request->arena, &rows, &len, err);
    *ret = NULL;
    for (size_t i = 0; code == ERR_OK && i < len; i++)
        if (str_equal(rows[i].name, name))
            *ret = &rows[i];
    return code;
}

static bool is_set(const struct store_flag *now, const struct flag_set *flag)
{
    return now && str_equal(now->value, flag->value) &&
           str_equal(now->otherwise, flag->otherwise) && now->permyriad == flag->permyriad;
}

/* One that the channel's document has no room for is refused before it is decided. */
static enum err_code check_room(struct api_request *request, const struct flag_set *flag,
                                struct err *err)
{
    struct store_channel channel = {.generation = 0};
    struct err absent = {0};
    const enum err_code code = store_channel_get(request->captain->db, flag->app, flag->channel,
                                                 &request->arena, &channel, &absent);
    if (code != ERR_OK && code != ERR_NOT_FOUND)
        return err_set(err, code, "%s", absent.text);
    return desired_flags_check(request->captain->db, flag, channel.desired.len, &request->arena,
                               err);
}

enum err_code api_flag_set_prepare(struct api_request *request, struct arena *arena,
                                   struct decision *ret, struct err *err)
{
    const struct flag_change *in = &request->in.flag_change;
    const struct store_flag *now = NULL;
    struct api_channel channel;
    enum err_code code = api_read_channel(in->channel, &channel, err);
    if (code == ERR_OK)
        code = check_name(in->name, err);
    if (code == ERR_OK)
        code = find(request, &channel, in->name, &now, err);
    if (code != ERR_OK)
        return code;
    const struct flag_set flag = {.app = channel.app,
                                  .channel = channel.channel,
                                  .name = in->name,
                                  .value = in->value,
                                  .otherwise = in->otherwise,
                                  .permyriad = in->permyriad ? in->permyriad : PERMYRIAD_ALL,
                                  .salt = arena_printf(arena, "%s/%s", channel.app, in->name)};
    *ret = (struct decision){.actor = request->actor, .kind = "flag.set", .reason = in->reason};
    ret->subject = arena_printf(arena, "%s/%s", channel.app, channel.channel);
    if (!flag.salt || !ret->subject)
        return api_too_large(err);
    request->settled = is_set(now, &flag);
    code = check_room(request, &flag, err);
    return code ? code : codec_encode(&codec_flag_set, &flag, arena, &ret->body, err);
}

enum err_code api_flag_unset_prepare(struct api_request *request, struct arena *arena,
                                     struct decision *ret, struct err *err)
{
    const struct flag_change *in = &request->in.flag_change;
    const struct store_flag *now = NULL;
    struct api_channel channel;
    enum err_code code = api_read_channel(in->channel, &channel, err);
    if (code == ERR_OK)
        code = check_name(in->name, err);
    if (code == ERR_OK)
        code = find(request, &channel, in->name, &now, err);
    if (code != ERR_OK)
        return code;
    if (!now) {
        (void)err_set(err, ERR_NOT_FOUND, "channel %s has no flag %s", in->channel, in->name);
        return err_hint(err, "captain flag ls %s", in->channel);
    }
    const struct flag_unset flag = {
        .app = channel.app, .channel = channel.channel, .name = in->name};
    *ret = (struct decision){.actor = request->actor, .kind = "flag.unset", .reason = in->reason};
    ret->subject = arena_printf(arena, "%s/%s", channel.app, channel.channel);
    return ret->subject ? codec_encode(&codec_flag_unset, &flag, arena, &ret->body, err)
                        : api_too_large(err);
}

static bool describe(struct api_request *request, const struct store_flag *row,
                     struct flag_info *ret)
{
    *ret = (struct flag_info){
        .channel = arena_printf(&request->arena, "%s/%s", row->app, row->channel),
        .name = row->name,
        .value = row->value,
        .otherwise = row->otherwise,
        .permyriad = row->permyriad,
        .set_ms = row->set_ms,
        .set_by = row->set_by,
        .decision = row->decision,
    };
    return ret->channel != NULL;
}

enum err_code api_flag_was_set(struct api_request *request, union api_out *ret, struct err *err)
{
    const struct flag_change *in = &request->in.flag_change;
    const struct store_flag *now = NULL;
    struct api_channel channel;
    enum err_code code = api_read_channel(in->channel, &channel, err);
    if (code == ERR_OK)
        code = find(request, &channel, in->name, &now, err);
    if (code != ERR_OK)
        return code;
    if (!now)
        return err_set(err, ERR_CONFLICT, "flag %s of %s was unset again", in->name, in->channel);
    return describe(request, now, &ret->flag_info) ? ERR_OK : api_too_large(err);
}

/* Of one channel (flag.unset: what is left of it), or of all. */
enum err_code api_flag_ls(struct api_request *request, union api_out *ret, struct err *err)
{
    const struct flag_change *in = &request->in.flag_change;
    struct api_channel channel = {.app = ""};
    struct store_flag *rows = NULL;
    size_t len = 0;
    enum err_code code = in->channel[0] ? api_read_channel(in->channel, &channel, err) : ERR_OK;
    if (code == ERR_OK)
        code = store_flag_list(request->captain->db, channel.app, channel.channel, &request->arena,
                               &rows, &len, err);
    if (code != ERR_OK)
        return code;
    struct flag_info *infos = arena_alloc(&request->arena, (len + 1) * sizeof *infos);
    for (size_t i = 0; infos && i < len; i++)
        if (!describe(request, &rows[i], &infos[i]))
            return api_too_large(err);
    ret->flag_list = (struct flag_list){.flags = infos, .flags_len = len};
    return infos ? ERR_OK : api_too_large(err);
}
