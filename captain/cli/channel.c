/* SPDX-License-Identifier: Apache-2.0
 *
 * captain channel set | ls | show | history
 */
#include "captain/cli/channel.h"

#include <inttypes.h>

#include "captain/cli/number.h"
#include "captain/cli/output.h"
#include "common/base/mem.h"
#include "common/clock.h"

static enum err_code check_channel(const char *text, struct err *err)
{
    char app[TOKEN_MAX + 1];
    char channel[TOKEN_MAX + 1];
    if (str_split_pair(text, '/', app, channel, err) == ERR_OK)
        return ERR_OK;
    err->code = ERR_USAGE;
    return err_hint(err, "APP/CHANNEL, as in hello/stable (captain channel ls)");
}

static enum err_code check_release(const char *text, struct err *err)
{
    char app[TOKEN_MAX + 1];
    char version[VERSION_MAX + 1];
    if (str_split_pair(text, '@', app, version, err) == ERR_OK)
        return ERR_OK;
    err->code = ERR_USAGE;
    return err_hint(err, "APP@VERSION, as in hello@1.1 (captain release ls)");
}

static const char *counts(struct arena *arena, const struct state_count *list, size_t len)
{
    const char *all = "";
    for (size_t i = 0; i < len && all; i++)
        all = arena_printf(arena, "%s%s%" PRIu64 " %s", all, i ? ", " : "", list[i].devices,
                           list[i].name);
    return output_text(all);
}

static enum err_code print_one(const struct channel_info *info, struct arena *arena,
                               struct err *err)
{
    if (output_is_json())
        return output_message(&codec_channel_info, info, arena, err);
    output_field("channel", "%s", info->channel);
    output_field("release", "%s", info->release);
    output_field("digest", "%s", info->digest);
    output_field("generation", "%" PRIu64, info->generation);
    output_field("since", "%s", output_time(arena, info->since_ms));
    output_field("set by", "%s", info->set_by);
    output_field("reason", "%s", info->reason);
    output_field("decision", "%" PRIu64, info->decision);
    output_field("previous", "%s", info->previous);
    output_field("devices", "%" PRIu64 " of %" PRIu64 " healthy on it", info->on_release,
                 info->devices);
    output_field("states", "%s", counts(arena, info->states, info->states_len));
    output_field("versions", "%s", counts(arena, info->versions, info->versions_len));
    return ERR_OK;
}

enum err_code cmd_channel_set(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    struct channel_set_request request = {.channel = invocation->args[0],
                                          .release = invocation->args[1],
                                          .reason = invocation->flags[FLAG_REASON]};
    struct channel_info info;
    if (check_channel(request.channel, err) || check_release(request.release, err) ||
        client_open(invocation, &client, err) ||
        client_call(client,
                    &(struct client_call){"channel", "set", &codec_channel_set_request, &request,
                                          &codec_channel_info, &info},
                    invocation->arena, err))
        return err->code;
    return print_one(&info, invocation->arena, err);
}

void channel_table(const struct channel_info *channels, size_t len, struct arena *arena)
{
    struct output_table *table = output_table_new((const char *const[]){
        "CHANNEL", "RELEASE", "PREVIOUS", ">ON IT", ">DEVICES", "SINCE", "<STATES", NULL});
    int64_t now_ms = clock_unix_ms();
    for (size_t i = 0; i < len; i++) {
        const struct channel_info *info = &channels[i];
        output_table_row(table, (const char *const[]){
                                    info->channel,
                                    info->release,
                                    info->previous,
                                    output_number(arena, info->on_release),
                                    output_number(arena, info->devices),
                                    output_age(arena, info->since_ms, now_ms),
                                    counts(arena, info->states, info->states_len),
                                });
        output_table_tone(table, 3, info->on_release == info->devices ? OUTPUT_GOOD : OUTPUT_BUSY);
    }
    output_table_end(table);
}

enum err_code cmd_channel_ls(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    struct channel_query query = {0};
    struct channel_list list;
    if (client_open(invocation, &client, err) ||
        client_call(client,
                    &(struct client_call){"channel", "ls", &codec_channel_query, &query,
                                          &codec_channel_list, &list},
                    invocation->arena, err))
        return err->code;
    if (output_is_json())
        return output_message(&codec_channel_list, &list, invocation->arena, err);
    if (list.channels_len)
        channel_table(list.channels, list.channels_len, invocation->arena);
    else
        output_note("no channels yet; captain channel set APP/CHANNEL APP@VERSION makes one");
    return ERR_OK;
}

enum err_code cmd_channel_show(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    struct channel_query query = {.channel = invocation->args[0]};
    struct channel_info info;
    if (check_channel(query.channel, err) || client_open(invocation, &client, err) ||
        client_call(client,
                    &(struct client_call){"channel", "show", &codec_channel_query, &query,
                                          &codec_channel_info, &info},
                    invocation->arena, err))
        return err->code;
    return print_one(&info, invocation->arena, err);
}

static void print_history(const struct channel_history *history, struct arena *arena)
{
    struct output_table *table = output_table_new(
        (const char *const[]){">DECISION", "TIME", "RELEASE", "PREVIOUS", "BY", "<REASON", NULL});
    for (size_t i = 0; i < history->changes_len; i++) {
        const struct channel_change *change = &history->changes[i];
        output_table_row(table, (const char *const[]){output_number(arena, change->decision),
                                                      output_second(arena, change->time_ms),
                                                      change->release, change->previous,
                                                      change->actor, change->reason});
    }
    output_table_end(table);
}

enum err_code cmd_channel_history(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    struct channel_query query = {.channel = invocation->args[0]};
    struct channel_history history;
    if (check_channel(query.channel, err) ||
        number_flag(invocation, FLAG_LIMIT, 1000, &query.limit, err) ||
        client_open(invocation, &client, err) ||
        client_call(client,
                    &(struct client_call){"channel", "history", &codec_channel_query, &query,
                                          &codec_channel_history, &history},
                    invocation->arena, err))
        return err->code;
    if (output_is_json())
        return output_message(&codec_channel_history, &history, invocation->arena, err);
    print_history(&history, invocation->arena);
    return ERR_OK;
}
