/* SPDX-License-Identifier: Apache-2.0
 *
 * captain freeze [show] | thaw
 */
#include "captain/cli/client.h"
#include "captain/cli/output.h"
#include "common/base/mem.h"

static enum err_code print_one(const struct freeze_info *info, struct arena *arena, struct err *err)
{
    if (output_is_json())
        return output_message(&codec_freeze_info, info, arena, err);
    output_field("fleet", "%s",
                 info->on ? "frozen: nothing new is rolled out; going back is allowed"
                          : "not frozen");
    output_field("since", "%s", output_time(arena, info->since_ms));
    output_field("set by", "%s", info->set_by);
    output_field("reason", "%s", info->reason);
    return ERR_OK;
}

static enum err_code set(struct invocation *invocation, bool on, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    const struct freeze_request request = {.on = on, .reason = invocation->flags[FLAG_REASON]};
    struct freeze_info info;
    if (!request.reason || !request.reason[0]) {
        err_set(err, ERR_USAGE, "captain %s needs a reason", invocation->command->noun);
        return err_hint(err, "captain %s --reason TEXT%s", invocation->command->noun,
                        on ? "; captain freeze show" : "");
    }
    if (client_open(invocation, &client, err) ||
        client_call(client,
                    &(struct client_call){"freeze", "set", &codec_freeze_request, &request,
                                          &codec_freeze_info, &info},
                    invocation->arena, err))
        return err->code;
    return print_one(&info, invocation->arena, err);
}

enum err_code cmd_freeze(struct invocation *invocation, struct err *err)
{
    return set(invocation, true, err);
}

enum err_code cmd_thaw(struct invocation *invocation, struct err *err)
{
    return set(invocation, false, err);
}

enum err_code cmd_freeze_show(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    const struct status_query query = {0};
    struct freeze_info info;
    if (client_open(invocation, &client, err) ||
        client_call(client,
                    &(struct client_call){"freeze", "get", &codec_status_query, &query,
                                          &codec_freeze_info, &info},
                    invocation->arena, err))
        return err->code;
    return print_one(&info, invocation->arena, err);
}
