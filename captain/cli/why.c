/* SPDX-License-Identifier: Apache-2.0
 *
 * captain why | device why | drift | label | pin | unpin
 */
#include <stdio.h>
#include <string.h>

#include "captain/cli/client.h"
#include "captain/cli/number.h"
#include "captain/cli/output.h"
#include "common/base/mem.h"

enum { LIMIT_MAX = 1000 };

static const char *or_nothing(const char *text)
{
    return text[0] ? text : "nothing";
}

static void print_app(const struct why_app *app)
{
    if (app->ok)
        output_line("%s/%s runs %s, as it should", app->app, app->channel, app->runs);
    else if (strcmp(app->runs, app->should) == 0)
        output_line("%s/%s runs %s, as it should, but is not healthy", app->app, app->channel,
                    or_nothing(app->runs));
    else
        output_line("%s/%s runs %s and should run %s", app->app, app->channel,
                    or_nothing(app->runs), or_nothing(app->should));
    for (size_t i = 0; i < app->reasons_len; i++)
        output_line("  %-12s %s%s%s%s", app->reasons[i].what, app->reasons[i].text,
                    app->reasons[i].evidence[0] ? " (" : "", app->reasons[i].evidence,
                    app->reasons[i].evidence[0] ? ")" : "");
    if (!app->ok && app->reasons_len == 0)
        output_line("  captain knows no reason yet: it has just been told");
}

enum err_code cmd_why(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    const struct device_query query = {.device = invocation->args[0]};
    struct why why;
    if (client_open(invocation, &client, err) ||
        client_call(
            client,
            &(struct client_call){"device", "why", &codec_device_query, &query, &codec_why, &why},
            invocation->arena, err))
        return err->code;
    if (output_is_json())
        return output_message(&codec_why, &why, invocation->arena, err);
    for (size_t i = 0; i < why.apps_len; i++)
        print_app(&why.apps[i]);
    if (why.apps_len == 0)
        output_line("%s has told of no app yet", why.device);
    return ERR_OK;
}

static void print_drift(const struct drift_list *list)
{
    struct output_table *table = output_table_new(
        (const char *const[]){"DEVICE", "CHANNEL", "RUNS", "SHOULD RUN", "WHY", NULL});
    for (size_t i = 0; i < list->devices_len; i++) {
        const struct drift_info *info = &list->devices[i];
        char channel[CHANNEL_NAME_MAX * 2];
        (void)snprintf(channel, sizeof channel, "%s/%s", info->app, info->channel);
        output_table_row(table, (const char *const[]){info->device, channel, info->runs,
                                                      info->should, info->why});
    }
    output_table_end(table);
}

enum err_code cmd_device_drift(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    struct device_query query = {.site = invocation->flags[FLAG_SITE],
                                 .app = invocation->flags[FLAG_APP],
                                 .after = invocation->flags[FLAG_AFTER]};
    struct drift_list list;
    if (number_flag(invocation, FLAG_LIMIT, LIMIT_MAX, &query.limit, err) ||
        client_open(invocation, &client, err) ||
        client_call(client,
                    &(struct client_call){"device", "drift", &codec_device_query, &query,
                                          &codec_drift_list, &list},
                    invocation->arena, err))
        return err->code;
    if (output_is_json())
        return output_message(&codec_drift_list, &list, invocation->arena, err);
    if (list.devices_len)
        print_drift(&list);
    else
        output_note("every device runs what it should");
    if (list.next[0])
        output_note("there are more: captain device drift --after %s", list.next);
    return ERR_OK;
}

/* Changes. */

static enum err_code change(struct invocation *invocation, const struct device_change *request,
                            struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    struct device_info info;
    const char *verb = invocation->command->verb;
    if (client_open(invocation, &client, err) ||
        client_call(client,
                    &(struct client_call){"device", verb, &codec_device_change, request,
                                          &codec_device_info, &info},
                    invocation->arena, err))
        return err->code;
    if (output_is_json())
        return output_message(&codec_device_info, &info, invocation->arena, err);
    output_note("%s: %s is decided; the device is told at once, or when it is back", info.device,
                verb);
    return ERR_OK;
}

enum err_code cmd_device_label(struct invocation *invocation, struct err *err)
{
    struct device_label_set labels[COMMAND_ARGS_MAX];
    struct device_change request = {.device = invocation->args[0],
                                    .reason = invocation->flags[FLAG_REASON]};
    for (size_t i = 1; i < invocation->args_len; i++) {
        char *key = arena_strdup(invocation->arena, invocation->args[i]);
        char *equals = key ? strchr(key, '=') : NULL;
        if (!equals) {
            err_set(err, ERR_USAGE, "%s is no label", invocation->args[i]);
            return err_hint(err, "KEY=VALUE; KEY= takes it away");
        }
        *equals = '\0';
        labels[request.labels_len++] = (struct device_label_set){.key = key, .value = equals + 1};
    }
    request.labels = labels;
    return change(invocation, &request, err);
}

enum err_code cmd_device_pin(struct invocation *invocation, struct err *err)
{
    return change(invocation,
                  &(struct device_change){.device = invocation->args[0],
                                          .release = invocation->args[1],
                                          .reason = invocation->flags[FLAG_REASON]},
                  err);
}

enum err_code cmd_device_unpin(struct invocation *invocation, struct err *err)
{
    return change(invocation,
                  &(struct device_change){.device = invocation->args[0],
                                          .app = invocation->args[1],
                                          .reason = invocation->flags[FLAG_REASON]},
                  err);
}
