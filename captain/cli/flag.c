/* SPDX-License-Identifier: Apache-2.0
 *
 * captain flag set | unset | ls
 */
#include "captain/cli/client.h"
#include "captain/cli/output.h"
#include "captain/cli/setting.h"
#include "common/base/mem.h"

static const char *percent_text(struct arena *arena, uint32_t permyriad)
{
    const unsigned whole = permyriad / 100, part = permyriad % 100;
    const char *text = part == 0        ? arena_printf(arena, "%u %%", whole)
                       : part % 10 == 0 ? arena_printf(arena, "%u.%u %%", whole, part / 10)
                                        : arena_printf(arena, "%u.%02u %%", whole, part);
    return output_text(text);
}

/* Of the devices outside; nobody is outside of all of them. */
static const char *otherwise_text(const struct flag_info *info)
{
    return info->permyriad == 10000 ? "" : info->otherwise;
}

static enum err_code print_one(const struct flag_info *info, struct arena *arena, struct err *err)
{
    if (output_is_json())
        return output_message(&codec_flag_info, info, arena, err);
    output_field("channel", "%s", info->channel);
    output_field("flag", "%s", info->name);
    output_field("value", "%s", info->value);
    output_field("devices", "%s", percent_text(arena, info->permyriad));
    output_field("otherwise", "%s", otherwise_text(info));
    output_field("since", "%s", output_time(arena, info->set_ms));
    output_field("set by", "%s", info->set_by);
    output_field("decision", "%s", output_number(arena, info->decision));
    return ERR_OK;
}

enum err_code cmd_flag_set(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    const char *const *flags = invocation->flags;
    struct flag_change change = {.channel = invocation->args[0],
                                 .name = invocation->args[1],
                                 .value = invocation->args[2],
                                 .otherwise = setting_otherwise(invocation->args[2]),
                                 .reason = flags[FLAG_REASON]};
    struct flag_info info;
    if ((flags[FLAG_PERCENT] && setting_percent(flags[FLAG_PERCENT], &change.permyriad, err)) ||
        client_open(invocation, &client, err) ||
        client_call(client,
                    &(struct client_call){"flag", "set", &codec_flag_change, &change,
                                          &codec_flag_info, &info},
                    invocation->arena, err))
        return err->code;
    return print_one(&info, invocation->arena, err);
}

static enum err_code print_list(const struct flag_list *list, struct arena *arena, struct err *err)
{
    if (output_is_json())
        return output_message(&codec_flag_list, list, arena, err);
    if (list->flags_len == 0) {
        output_note("no flags; captain flag set APP/CHANNEL NAME VALUE makes one");
        return ERR_OK;
    }
    struct output_table *table = output_table_new((const char *const[]){
        "CHANNEL", "FLAG", "VALUE", ">DEVICES", "OTHERWISE", "SINCE", "BY", ">DECISION", NULL});
    for (size_t i = 0; i < list->flags_len; i++) {
        const struct flag_info *info = &list->flags[i];
        output_table_row(
            table, (const char *const[]){info->channel, info->name, info->value,
                                         percent_text(arena, info->permyriad), otherwise_text(info),
                                         output_second(arena, info->set_ms), info->set_by,
                                         output_number(arena, info->decision)});
    }
    output_table_end(table);
    return ERR_OK;
}

/* Prints what is left of the channel. */
enum err_code cmd_flag_unset(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    const struct flag_change change = {.channel = invocation->args[0],
                                       .name = invocation->args[1],
                                       .reason = invocation->flags[FLAG_REASON]};
    struct flag_list list;
    if (client_open(invocation, &client, err) ||
        client_call(client,
                    &(struct client_call){"flag", "unset", &codec_flag_change, &change,
                                          &codec_flag_list, &list},
                    invocation->arena, err))
        return err->code;
    return print_list(&list, invocation->arena, err);
}

enum err_code cmd_flag_ls(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    const struct flag_change query = {.channel = invocation->args_len ? invocation->args[0] : ""};
    struct flag_list list;
    if (client_open(invocation, &client, err) ||
        client_call(client,
                    &(struct client_call){"flag", "ls", &codec_flag_change, &query,
                                          &codec_flag_list, &list},
                    invocation->arena, err))
        return err->code;
    return print_list(&list, invocation->arena, err);
}
