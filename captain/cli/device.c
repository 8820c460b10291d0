/* SPDX-License-Identifier: Apache-2.0
 *
 * captain device ls | show
 */
#include "captain/cli/device.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "captain/cli/number.h"
#include "captain/cli/output.h"
#include "common/base/mem.h"
#include "common/clock.h"

enum { LIMIT_MAX = 1000 };

static const char *wanted(const struct device_app *app)
{
    return str_equal(app->version, app->desired_version) ? "" : app->desired_version;
}

/* One that is not let in (any more) is more than offline. */
static const char *contact(const struct device_info *info)
{
    if (info->identity[0] && !str_equal(info->identity, "approved"))
        return info->identity;
    return info->online ? "online" : "offline";
}

static void print_row(struct output_table *table, const struct device_info *info,
                      const struct device_app *app, struct arena *arena, int64_t now_ms)
{
    const char *state = app ? app->state : "";
    output_table_row(
        table, (const char *const[]){
                   info->device,
                   contact(info),
                   app ? output_text(arena_printf(arena, "%s/%s", app->app, app->channel)) : "",
                   app ? app->version : "",
                   app ? wanted(app) : "",
                   state,
                   output_age(arena, info->last_seen_ms, now_ms),
                   app ? app->reason : "",
               });
    output_table_tone(table, 1, info->online ? OUTPUT_GOOD : OUTPUT_BAD);
    output_table_tone(table, 5, output_state_tone(state));
}

void device_table(const struct device_list *list, struct arena *arena)
{
    struct output_table *table = output_table_new((const char *const[]){
        "DEVICE", "CONTACT", "CHANNEL", "RUNS", "WANTED", "STATE", "SEEN", "<REASON", NULL});
    int64_t now_ms = clock_unix_ms();
    for (size_t i = 0; i < list->devices_len; i++) {
        const struct device_info *info = &list->devices[i];
        if (info->apps_len == 0)
            print_row(table, info, NULL, arena, now_ms);
        for (size_t k = 0; k < info->apps_len; k++)
            print_row(table, info, &info->apps[k], arena, now_ms);
    }
    output_table_end(table);
}

enum err_code device_list_ask(struct client *client, const struct device_query *query,
                              struct arena *arena, struct device_list *ret, struct err *err)
{
    return client_call(
        client,
        &(struct client_call){"device", "ls", &codec_device_query, query, &codec_device_list, ret},
        arena, err);
}

enum err_code cmd_device_ls(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    const char *const *flags = invocation->flags;
    struct device_query query = {.site = flags[FLAG_SITE],
                                 .app = flags[FLAG_APP],
                                 .state = flags[FLAG_STATE],
                                 .after = flags[FLAG_AFTER]};
    struct device_list list;
    if (number_flag(invocation, FLAG_LIMIT, LIMIT_MAX, &query.limit, err) ||
        client_open(invocation, &client, err) ||
        device_list_ask(client, &query, invocation->arena, &list, err))
        return err->code;
    if (output_is_json())
        return output_message(&codec_device_list, &list, invocation->arena, err);
    if (list.devices_len)
        device_table(&list, invocation->arena);
    else
        output_note("no such devices");
    if (list.next[0])
        output_note("there are more: captain device ls --after %s", list.next);
    return ERR_OK;
}

static void print_app(const struct device_app *app)
{
    output_field("app", "%s/%s runs %s, wants %s, is %s%s%s", app->app, app->channel,
                 app->version[0] ? app->version : "nothing",
                 app->desired_version[0] ? app->desired_version : "nothing", app->state,
                 app->reason[0] ? ": " : "", app->reason);
    if (app->restarts)
        output_field("restarts", "%" PRIu32, app->restarts);
}

static void print_telemetry(const struct device_info_telemetry *telemetry, struct arena *arena)
{
    output_field("cpu", "%.1f %%", telemetry->cpu_permille / 10.0);
    output_field("memory", "%s of %s available",
                 output_size(arena, telemetry->memory_available_bytes),
                 output_size(arena, telemetry->memory_total_bytes));
    output_field("disk", "%s of %s free", output_size(arena, telemetry->disk_free_bytes),
                 output_size(arena, telemetry->disk_total_bytes));
    if (telemetry->has_temperature)
        output_field("temperature", "%.1f C", telemetry->temperature_millicelsius / 1000.0);
    for (size_t i = 0; i < telemetry->apps_len; i++) {
        const struct app_metrics *app = &telemetry->apps[i];
        for (size_t k = 0; k < app->metrics_len; k++)
            output_field(app->app, "%s %g", app->metrics[k].name, app->metrics[k].value);
    }
}

static void print_events(const struct device_info *info, struct arena *arena)
{
    if (info->events_len == 0)
        return;
    output_line("%s", "");
    struct output_table *table =
        output_table_new((const char *const[]){">EVENT", "TIME", "KIND", "RELEASE", "<TEXT", NULL});
    for (size_t i = 0; i < info->events_len; i++) {
        const struct device_event *event = &info->events[i];
        const char *both = event->code[0] && event->text[0] ? ": " : "";
        output_table_row(table, (const char *const[]){
                                    output_number(arena, event->seq),
                                    output_second(arena, event->time_ms),
                                    event->kind,
                                    arena_printf(arena, "%s%s%s", event->app,
                                                 event->version[0] ? "@" : "", event->version),
                                    arena_printf(arena, "%s%s%s", event->code, both, event->text),
                                });
    }
    output_table_end(table);
}

enum err_code cmd_device_show(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    struct device_query query = {.device = invocation->args[0]};
    struct device_info info;
    struct arena *arena = invocation->arena;
    if (client_open(invocation, &client, err) ||
        client_call(client,
                    &(struct client_call){"device", "show", &codec_device_query, &query,
                                          &codec_device_info, &info},
                    arena, err))
        return err->code;
    if (output_is_json())
        return output_message(&codec_device_info, &info, arena, err);
    output_field("device", "%s", info.device);
    output_field("contact", "%s, seen %s", info.online ? "online" : "offline",
                 output_age(arena, info.last_seen_ms, clock_unix_ms()));
    output_field("first seen", "%s", output_time(arena, info.first_seen_ms));
    output_field("agent", "%s", info.agent_version);
    output_field("identity", "%s", info.identity);
    if (info.incident[0])
        output_field("incident", "%s, %s", info.incident,
                     output_age(arena, info.incident_ms, clock_unix_ms()));
    for (size_t i = 0; i < info.apps_len; i++)
        print_app(&info.apps[i]);
    if (info.telemetry)
        print_telemetry(info.telemetry, arena);
    output_field("events", "%" PRIu64, info.events_stored);
    output_field("garbage", "%" PRIu64, info.garbage);
    print_events(&info, arena);
    return ERR_OK;
}
