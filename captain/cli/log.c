/* SPDX-License-Identifier: Apache-2.0
 *
 * captain log ls | show
 */
#include <inttypes.h>

#include "captain/cli/client.h"
#include "captain/cli/number.h"
#include "captain/cli/output.h"
#include "common/base/mem.h"

enum { LIMIT_MAX = 1000 };

static void print_table(const struct log_list *list, struct arena *arena)
{
    struct output_table *table = output_table_new(
        (const char *const[]){">SEQ", "TIME", "ACTOR", "KIND", "SUBJECT", "<REASON", NULL});
    for (size_t i = 0; i < list->entries_len; i++) {
        const struct log_info *entry = &list->entries[i];
        output_table_row(table,
                         (const char *const[]){output_number(arena, entry->seq),
                                               output_second(arena, entry->time_ms), entry->actor,
                                               entry->kind, entry->subject, entry->reason});
    }
    output_table_end(table);
}

enum err_code cmd_log_ls(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    const char *const *flags = invocation->flags;
    struct log_query query = {.kind = flags[FLAG_KIND], .subject = flags[FLAG_SUBJECT]};
    struct log_list list;
    if ((flags[FLAG_BEFORE] && number_sequence(flags[FLAG_BEFORE], &query.before, err)) ||
        number_flag(invocation, FLAG_LIMIT, LIMIT_MAX, &query.limit, err) ||
        client_open(invocation, &client, err) ||
        client_call(
            client,
            &(struct client_call){"log", "ls", &codec_log_query, &query, &codec_log_list, &list},
            invocation->arena, err))
        return err->code;
    if (output_is_json())
        return output_message(&codec_log_list, &list, invocation->arena, err);
    print_table(&list, invocation->arena);
    if (list.next_before)
        output_note("there are more: captain log ls --before %" PRIu64, list.next_before);
    return ERR_OK;
}

enum err_code cmd_log_show(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    struct log_query query = {0};
    struct log_info info;
    if (number_sequence(invocation->args[0], &query.seq, err) ||
        client_open(invocation, &client, err) ||
        client_call(
            client,
            &(struct client_call){"log", "show", &codec_log_query, &query, &codec_log_info, &info},
            invocation->arena, err))
        return err->code;
    if (output_is_json())
        return output_message(&codec_log_info, &info, invocation->arena, err);
    output_field("entry", "%" PRIu64, info.seq);
    output_field("time", "%s", output_time(invocation->arena, info.time_ms));
    output_field("actor", "%s", info.actor);
    output_field("kind", "%s", info.kind);
    output_field("subject", "%s", info.subject);
    output_field("reason", "%s", info.reason);
    output_field("hash", "%s", info.hash);
    output_field("previous", "%s", info.previous);
    for (size_t i = 0; i < info.details_len; i++)
        output_field(info.details[i].name, "%s", info.details[i].value);
    return ERR_OK;
}
