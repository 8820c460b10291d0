/* SPDX-License-Identifier: Apache-2.0
 *
 * captain policy lint | show | set | ls
 */
#include <inttypes.h>
#include <string.h>

#include "captain/cli/client.h"
#include "captain/cli/output.h"
#include "captain/cli/policy_file.h"
#include "captain/io/policy_yaml.h"
#include "common/base/mem.h"
#include "common/file.h"

static enum err_code read_file(const char *path, struct arena *arena, struct policy_file *ret,
                               struct err *err)
{
    struct bytes text;
    struct policy policy;
    if (file_read(path, POLICY_YAML_MAX_BYTES, arena, &text, err)) {
        if (err->code == ERR_NOT_FOUND)
            return err_hint(err, "--policy careful, normal, fast or a file that is there");
        return err->code;
    }
    if (policy_yaml_parse(path, text, &policy, err))
        return err->code;
    const char *slash = strrchr(path, '/');
    ret->name = slash ? slash + 1 : path;
    ret->text = (const char *)text.ptr;
    return text.len ? ERR_OK : err_set(err, ERR_USAGE, "%s is empty", path);
}

enum err_code policy_file_read(const char *word, struct arena *arena, struct policy_file *ret,
                               struct err *err)
{
    struct policy policy;
    struct err unnamed = {0};
    *ret = (struct policy_file){.name = "", .text = ""};
    if (!word)
        return ERR_OK;
    if (policy_named(word, &policy, &unnamed))
        return read_file(word, arena, ret, err);
    ret->name = word;
    return ERR_OK;
}

enum err_code cmd_policy_lint(struct invocation *invocation, struct err *err)
{
    struct policy_file file;
    struct policy policy;
    struct policy_info info = {0};
    if (policy_file_read(invocation->args[0], invocation->arena, &file, err) ||
        policy_yaml_parse(file.name, bytes_of(file.text, strlen(file.text)), &policy, err) ||
        policy_yaml_write(&policy, invocation->arena, &info.policy, err))
        return err->code;
    info.name = policy.name;
    if (output_is_json())
        return output_message(&codec_policy_info, &info, invocation->arena, err);
    /* What it means in full: every default written out. */
    output_line("%s", info.policy);
    return ERR_OK;
}

static enum err_code print_one(const struct policy_info *info, struct arena *arena, struct err *err)
{
    if (output_is_json())
        return output_message(&codec_policy_info, info, arena, err);
    output_field("channel", "%s", info->channel);
    output_field("policy", "%s%s", info->name, info->decision ? "" : " (nobody has set another)");
    output_field("since", "%s", output_time(arena, info->since_ms));
    output_field("set by", "%s", info->set_by);
    if (info->decision)
        output_field("decision", "%" PRIu64, info->decision);
    output_line("%s", "");
    output_line("%s", info->policy);
    return ERR_OK;
}

enum err_code cmd_policy_show(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    struct channel_query query = {.channel = invocation->args[0]};
    struct policy_info info;
    if (client_open(invocation, &client, err) ||
        client_call(client,
                    &(struct client_call){"policy", "show", &codec_channel_query, &query,
                                          &codec_policy_info, &info},
                    invocation->arena, err))
        return err->code;
    return print_one(&info, invocation->arena, err);
}

enum err_code cmd_policy_set(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    struct policy_file file;
    struct policy_info info;
    if (policy_file_read(invocation->args[1], invocation->arena, &file, err))
        return err->code;
    const struct policy_set_request request = {.channel = invocation->args[0],
                                               .name = file.name,
                                               .policy = file.text,
                                               .reason = invocation->flags[FLAG_REASON]};
    if (client_open(invocation, &client, err) ||
        client_call(client,
                    &(struct client_call){"policy", "set", &codec_policy_set_request, &request,
                                          &codec_policy_info, &info},
                    invocation->arena, err))
        return err->code;
    return print_one(&info, invocation->arena, err);
}

enum err_code cmd_policy_ls(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    struct channel_query query = {0};
    struct policy_list list;
    struct arena *arena = invocation->arena;
    if (client_open(invocation, &client, err) ||
        client_call(client,
                    &(struct client_call){"policy", "ls", &codec_channel_query, &query,
                                          &codec_policy_list, &list},
                    arena, err))
        return err->code;
    if (output_is_json())
        return output_message(&codec_policy_list, &list, arena, err);
    if (list.policies_len == 0) {
        output_note("every channel has policy normal; captain policy set APP/CHANNEL POLICY");
        return ERR_OK;
    }
    struct output_table *table = output_table_new(
        (const char *const[]){"CHANNEL", "POLICY", "SINCE", "BY", ">DECISION", NULL});
    for (size_t i = 0; i < list.policies_len; i++) {
        const struct policy_info *info = &list.policies[i];
        output_table_row(table, (const char *const[]){
                                    info->channel, info->name, output_time(arena, info->since_ms),
                                    info->set_by, output_number(arena, info->decision)});
    }
    output_table_end(table);
    return ERR_OK;
}
