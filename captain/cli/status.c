/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "captain/cli/channel.h"
#include "captain/cli/output.h"
#include "common/base/mem.h"
#include "common/clock.h"

static void print(const struct status *status, struct arena *arena)
{
    output_field("captain", "%s, version %s, tenant %s", status->holder, status->version,
                 status->tenant);
    output_field("started", "%s", output_age(arena, status->started_ms, clock_unix_ms()));
    output_field("nats-server", "%s", status->server_version);
    output_field("store", "%s", status->store_url);
    output_field("log", "%s", output_count(arena, status->log_seq, "decision"));
    output_field("devices", "%" PRIu64 " of %" PRIu64 " online", status->online, status->devices);
    output_field("messages", "%" PRIu64 " health, %" PRIu64 " garbage, %" PRIu64 " dropped",
                 status->health_messages, status->garbage_messages, status->dropped_messages);
    output_field("events", "%" PRIu64, status->events_stored);
    if (status->channels_len == 0)
        return;
    output_line("%s", "");
    channel_table(status->channels, status->channels_len, arena);
}

enum err_code cmd_status(struct invocation *invocation, struct err *err)
{
    struct client *client DEFER(client_close_ref) = NULL;
    struct status_query query = {0};
    struct status status;
    if (client_open(invocation, &client, err) ||
        client_call(client,
                    &(struct client_call){"status", "show", &codec_status_query, &query,
                                          &codec_status, &status},
                    invocation->arena, err))
        return err->code;
    if (output_is_json())
        return output_message(&codec_status, &status, invocation->arena, err);
    print(&status, invocation->arena);
    return ERR_OK;
}
