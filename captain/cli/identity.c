/* SPDX-License-Identifier: Apache-2.0
 *
 * captain device approve | reject | revoke | retire | identities
 */
#include "captain/cli/client.h"
#include "captain/cli/number.h"
#include "captain/cli/output.h"
#include "captain/cli/terminal.h"
#include "common/base/mem.h"
#include "common/clock.h"

enum { LIMIT_MAX = 1000 };

static enum output_tone tone(const char *state)
{
    if (str_equal(state, "approved"))
        return OUTPUT_GOOD;
    return str_equal(state, "pending") ? OUTPUT_BUSY : OUTPUT_BAD;
}

/* What cannot be taken back is asked for. */
static enum err_code confirm(struct invocation *invocation, const char *what, struct err *err)
{
    const char *question = arena_printf(invocation->arena, "%s %s: %s?", invocation->command->verb,
                                        invocation->args[0], what);
    if (invocation->flags[FLAG_YES])
        return ERR_OK;
    if (!question)
        return err_set(err, ERR_USAGE, "the name of the device is too long");
    if (terminal_confirm(question, err) == ERR_OK)
        return ERR_OK;
    return err->code == ERR_USAGE ? err_hint(err, "--yes, if that is meant") : err->code;
}

static enum err_code give_verdict(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    const struct device_verb request = {.device = invocation->args[0],
                                        .reason = invocation->flags[FLAG_REASON]};
    struct identity_info info;
    if (client_open(invocation, &client, err) ||
        client_call(client,
                    &(struct client_call){"device", invocation->command->verb, &codec_device_verb,
                                          &request, &codec_identity_info, &info},
                    invocation->arena, err))
        return err->code;
    if (output_is_json())
        return output_message(&codec_identity_info, &info, invocation->arena, err);
    output_line("device %s is %s", info.device, info.state);
    return ERR_OK;
}

enum err_code cmd_device_approve(struct invocation *invocation, struct err *err)
{
    return give_verdict(invocation, err);
}

enum err_code cmd_device_reject(struct invocation *invocation, struct err *err)
{
    return give_verdict(invocation, err);
}

enum err_code cmd_device_revoke(struct invocation *invocation, struct err *err)
{
    static const char what[] = "it loses contact at once, and its key is void for good";
    return confirm(invocation, what, err) ? err->code : give_verdict(invocation, err);
}

enum err_code cmd_device_retire(struct invocation *invocation, struct err *err)
{
    static const char what[] = "it loses contact at once, and leaves the fleet's counts";
    return confirm(invocation, what, err) ? err->code : give_verdict(invocation, err);
}

static void print_table(const struct identity_list *list, struct arena *arena)
{
    struct output_table *table = output_table_new((const char *const[]){
        "DEVICE", "STATE", "SINCE", "BY", "ENROLLED", "CREDENTIAL UNTIL", "<KEY", NULL});
    for (size_t i = 0; i < list->identities_len; i++) {
        const struct identity_info *info = &list->identities[i];
        output_table_row(table, (const char *const[]){
                                    info->device,
                                    info->state,
                                    output_second(arena, info->changed_ms),
                                    info->changed_by,
                                    output_second(arena, info->enrolled_ms),
                                    output_second(arena, info->expires_ms),
                                    info->key,
                                });
        output_table_tone(table, 1, tone(info->state));
    }
    output_table_end(table);
}

enum err_code cmd_device_identities(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    const char *const *flags = invocation->flags;
    struct identity_query query = {.device = invocation->args_len ? invocation->args[0] : "",
                                   .state = flags[FLAG_STATE],
                                   .after = flags[FLAG_AFTER]};
    struct identity_list list;
    if (number_flag(invocation, FLAG_LIMIT, LIMIT_MAX, &query.limit, err) ||
        client_open(invocation, &client, err) ||
        client_call(client,
                    &(struct client_call){"device", "identities", &codec_identity_query, &query,
                                          &codec_identity_list, &list},
                    invocation->arena, err))
        return err->code;
    if (output_is_json())
        return output_message(&codec_identity_list, &list, invocation->arena, err);
    if (list.identities_len)
        print_table(&list, invocation->arena);
    else
        output_note("no such devices; captain token new lets one in");
    if (list.next[0])
        output_note("there are more: captain device identities --after %s", list.next);
    return ERR_OK;
}
