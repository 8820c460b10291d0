/* SPDX-License-Identifier: Apache-2.0
 *
 * captain rollout start | ls | show | watch | wait | plan | pause | resume | promote | abort | retry | undo |
 * exclude | approve
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "captain/cli/client.h"
#include "captain/cli/number.h"
#include "captain/cli/output.h"
#include "captain/cli/policy_file.h"
#include "captain/cli/rollout_view.h"
#include "captain/cli/rollout_watch.h"
#include "common/base/mem.h"
#include "common/clock.h"

enum { LIMIT_MAX = 500, RETRIES_MAX = 10000 };

static enum err_code print_info(const struct rollout_info *info, struct arena *arena,
                                struct err *err)
{
    struct rollout_view_size size;
    size_t len = 0;
    if (output_is_json())
        return output_message(&codec_rollout_info, info, arena, err);
    output_terminal_size(&size.width, &size.height, &size.plain);
    size.height = 0; /* what scrolls away can be scrolled back to */
    const struct output_row *rows = rollout_view_tree(info, clock_unix_ms(), &size, arena, &len);
    output_rows(rows, len);
    return ERR_OK;
}

/* Starting. */

static enum err_code read_start(struct invocation *invocation, struct rollout_start_request *ret,
                                struct err *err)
{
    struct policy_file file;
    if (policy_file_read(invocation->flags[FLAG_POLICY], invocation->arena, &file, err))
        return err->code;
    *ret = (struct rollout_start_request){.channel = invocation->args[0],
                                          .release = invocation->args[1],
                                          .policy = file.text,
                                          .policy_name = file.name,
                                          .reason = invocation->flags[FLAG_REASON]};
    return ERR_OK;
}

static enum err_code start(struct invocation *invocation, struct rollout_info *ret, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    struct rollout_start_request request;
    if (read_start(invocation, &request, err) || client_open(invocation, &client, err))
        return err->code;
    return client_call(client,
                       &(struct client_call){"rollout", "start", &codec_rollout_start_request,
                                             &request, &codec_rollout_info, ret},
                       invocation->arena, err);
}

enum err_code cmd_rollout_start(struct invocation *invocation, struct err *err)
{
    struct rollout_info info;
    if (start(invocation, &info, err))
        return err->code;
    if (invocation->flags[FLAG_WATCH])
        return rollout_follow(invocation, info.id, false, err);
    if (print_info(&info, invocation->arena, err))
        return err->code;
    output_note("captain rollout watch %s", info.id);
    return ERR_OK;
}

/* Planning. */

static void print_plan(const struct rollout_plan *plan, struct arena *arena)
{
    output_field("channel", "%s", plan->channel);
    output_field("from", "%s", plan->base_release[0] ? plan->base_release : "nothing");
    output_field("to", "%s", plan->release);
    output_field("policy", "%s", plan->policy_name);
    output_field("devices", "%" PRIu32 ", %" PRIu32 " of them eligible", plan->devices,
                 plan->eligible);
    for (size_t i = 0; i < plan->caps_len; i++)
        output_field("cap", "%s", plan->caps[i]);
    for (size_t i = 0; i < plan->holds_len; i++)
        output_field("holds it now", "%s", plan->holds[i]);
    output_line("%s", "");
    struct output_table *table =
        output_table_new((const char *const[]){"WAVE", ">DEVICES", "GATES", "WHICH", NULL});
    for (size_t i = 0; i < plan->waves_len; i++) {
        const struct rollout_plan_wave *wave = &plan->waves[i];
        const char *names = wave->sample_len ? "" : "-";
        for (size_t k = 0; k < wave->sample_len; k++)
            names =
                output_text(arena_printf(arena, "%s%s%s", names, k ? ", " : "", wave->sample[k]));
        if (wave->sample_len && wave->devices > wave->sample_len)
            names = output_text(arena_printf(arena, "%s, ...", names));
        output_table_row(table,
                         (const char *const[]){wave->name, output_number(arena, wave->devices),
                                               wave->gates, names});
    }
    output_table_end(table);
}

enum err_code cmd_rollout_plan(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    struct rollout_start_request request;
    struct rollout_plan plan;
    if (read_start(invocation, &request, err) || client_open(invocation, &client, err) ||
        client_call(client,
                    &(struct client_call){"rollout", "plan", &codec_rollout_start_request, &request,
                                          &codec_rollout_plan, &plan},
                    invocation->arena, err))
        return err->code;
    if (output_is_json())
        return output_message(&codec_rollout_plan, &plan, invocation->arena, err);
    print_plan(&plan, invocation->arena);
    output_note("nothing was sent; canaries are drawn anew by a start");
    return ERR_OK;
}

/* Looking. */

static const char *why_of(const struct rollout_info *info, struct arena *arena)
{
    if (!info->gate || str_equal(info->gate->verdict, "pass"))
        return "";
    return output_text(arena_printf(arena, "%s: %s", info->gate->gate, info->gate->sentence));
}

static void print_list(const struct rollout_list *list, struct arena *arena)
{
    struct output_table *table = output_table_new((const char *const[]){
        "ROLLOUT", "CHANNEL", "FROM", "TO", "STATE", ">ON IT", ">DEVICES", "BEGUN", "WHY", NULL});
    const int64_t now_ms = clock_unix_ms();
    for (size_t i = 0; i < list->rollouts_len; i++) {
        const struct rollout_info *info = &list->rollouts[i];
        const bool counted = info->devices > 0; /* of an ended one a list does not count */
        output_table_row(table, (const char *const[]){
                                    info->id,
                                    info->channel,
                                    info->base_release,
                                    info->release,
                                    info->state,
                                    counted ? output_number(arena, info->on_target) : "",
                                    counted ? output_number(arena, info->devices) : "",
                                    output_age(arena, info->started_ms, now_ms),
                                    why_of(info, arena),
                                });
        output_table_tone(table, 4,
                          info->outcome_good               ? OUTPUT_GOOD
                          : rollout_view_over(info)        ? OUTPUT_BAD
                          : str_equal(info->state, "held") ? OUTPUT_BAD
                                                           : OUTPUT_BUSY);
    }
    output_table_end(table);
}

enum err_code cmd_rollout_ls(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    struct rollout_query query = {.channel = invocation->args_len ? invocation->args[0] : "",
                                  .live = invocation->flags[FLAG_LIVE] != NULL};
    struct rollout_list list;
    if (number_flag(invocation, FLAG_LIMIT, LIMIT_MAX, &query.limit, err) ||
        client_open(invocation, &client, err) ||
        client_call(client,
                    &(struct client_call){"rollout", "ls", &codec_rollout_query, &query,
                                          &codec_rollout_list, &list},
                    invocation->arena, err))
        return err->code;
    if (output_is_json())
        return output_message(&codec_rollout_list, &list, invocation->arena, err);
    if (list.rollouts_len)
        print_list(&list, invocation->arena);
    else
        output_note("no rollouts; captain rollout start APP/CHANNEL APP@VERSION begins one");
    return ERR_OK;
}

static enum err_code ask(struct invocation *invocation, struct client *client,
                         struct rollout_info *ret, struct err *err)
{
    const struct rollout_query query = {.rollout = invocation->args_len ? invocation->args[0] : ""};
    return client_call(client,
                       &(struct client_call){"rollout", "show", &codec_rollout_query, &query,
                                             &codec_rollout_info, ret},
                       invocation->arena, err);
}

enum err_code cmd_rollout_show(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    struct rollout_info info;
    if (client_open(invocation, &client, err) || ask(invocation, client, &info, err))
        return err->code;
    return print_info(&info, invocation->arena, err);
}

/* The name that was given may come to mean another one; the id does not. */
static enum err_code resolve(struct invocation *invocation, const char **ret, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    struct rollout_info info;
    if (client_open(invocation, &client, err) || ask(invocation, client, &info, err))
        return err->code;
    *ret = info.id;
    return ERR_OK;
}

enum err_code cmd_rollout_watch(struct invocation *invocation, struct err *err)
{
    const char *id = NULL;
    if (resolve(invocation, &id, err))
        return err->code;
    return rollout_follow(invocation, id, false, err);
}

enum err_code cmd_rollout_wait(struct invocation *invocation, struct err *err)
{
    const char *id = NULL;
    if (resolve(invocation, &id, err))
        return err->code;
    return rollout_follow(invocation, id, true, err);
}

/* Telling. */

static enum err_code tell(struct client *client, const char *verb,
                          const struct rollout_action *action, struct arena *arena,
                          struct rollout_info *ret, struct err *err)
{
    return client_call(client,
                       &(struct client_call){"rollout", verb, &codec_rollout_action, action,
                                             &codec_rollout_info, ret},
                       arena, err);
}

static enum err_code tell_and_print(struct invocation *invocation,
                                    const struct rollout_action *action, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    struct rollout_info info;
    if (client_open(invocation, &client, err) ||
        tell(client, invocation->command->verb, action, invocation->arena, &info, err))
        return err->code;
    return print_info(&info, invocation->arena, err);
}

/* pause, resume, promote, abort, undo, approve: [ROLLOUT] */
enum err_code cmd_rollout_action(struct invocation *invocation, struct err *err)
{
    return tell_and_print(
        invocation,
        &(struct rollout_action){.rollout = invocation->args_len ? invocation->args[0] : "",
                                 .verb = invocation->command->verb,
                                 .gate = invocation->flags[FLAG_GATE],
                                 .reason = invocation->flags[FLAG_REASON],
                                 .keep = invocation->flags[FLAG_KEEP] != NULL},
        err);
}

/* DEVICE, or ROLLOUT DEVICE when more than one rollout is under way. */
static struct rollout_action about_device(const struct invocation *invocation)
{
    const bool both = invocation->args_len > 1;
    return (struct rollout_action){.rollout = both ? invocation->args[0] : "",
                                   .verb = invocation->command->verb,
                                   .device = invocation->args[both],
                                   .reason = invocation->flags[FLAG_REASON]};
}

enum err_code cmd_rollout_exclude(struct invocation *invocation, struct err *err)
{
    const struct rollout_action action = about_device(invocation);
    return tell_and_print(invocation, &action, err);
}

/* The next device that waits for a retry: in the penalty box, or in quarantine. */
static const char *next_stuck(const struct rollout_info *info)
{
    for (size_t w = 0; w < info->waves_len; w++)
        for (size_t s = 0; s < info->waves[w].sites_len; s++)
            for (size_t d = 0; d < info->waves[w].sites[s].failing_len; d++) {
                const struct rollout_device_info *device = &info->waves[w].sites[s].failing[d];
                if (device->boxed || str_equal(device->state, "quarantined"))
                    return device->device;
            }
    return NULL;
}

static enum err_code retry_all(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    struct rollout_info info;
    uint32_t told = 0;
    if (client_open(invocation, &client, err) || ask(invocation, client, &info, err))
        return err->code;
    for (const char *device; told < RETRIES_MAX && (device = next_stuck(&info)) != NULL; told++) {
        const struct rollout_action action = {.rollout = info.id,
                                              .verb = "retry",
                                              .device = device,
                                              .reason = invocation->flags[FLAG_REASON]};
        if (tell(client, "retry", &action, invocation->arena, &info, err))
            return err_wrap(err, "after %" PRIu32 " devices", told);
        output_note("%s may try again", device);
    }
    if (told == 0)
        output_note("no device is in the penalty box or in quarantine");
    return print_info(&info, invocation->arena, err);
}

/* retry, retry ROLLOUT (an id or a channel: all of its devices), retry [ROLLOUT] DEVICE. */
enum err_code cmd_rollout_retry(struct invocation *invocation, struct err *err)
{
    if (!invocation->flags[FLAG_ALL] && invocation->args_len > 0) {
        const struct rollout_action action = about_device(invocation);
        return tell_and_print(invocation, &action, err);
    }
    return retry_all(invocation, err);
}
