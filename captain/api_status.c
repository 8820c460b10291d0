/* SPDX-License-Identifier: Apache-2.0
 *
 * status.show: how captain and the fleet are, from counters.
 */
#include "captain/api_private.h"
#include "common/clock.h"

enum err_code api_status_show(struct api_request *request, union api_out *ret, struct err *err)
{
    const struct captain *captain = request->captain;
    struct status *status = &ret->status;
    struct fleet_totals totals;
    struct ingest_counts counts;
    enum err_code code = api_channels(request, &status->channels, &status->channels_len, err);
    if (code == ERR_OK)
        code = store_event_count(captain->db, &status->events_stored, err);
    if (code != ERR_OK)
        return code;
    fleet_totals(captain->fleet, clock_unix_ms(), &totals);
    ingest_counts(captain->ingest, &counts);
    status->holder = captain->holder;
    status->version = CAPTAIN_VERSION;
    status->started_ms = captain->started_ms;
    status->server_version = bus_server_version(captain->bus);
    status->log_seq = decisions_last_seq(captain->decisions);
    status->devices = totals.devices;
    status->online = totals.online;
    status->health_messages = counts.health;
    status->garbage_messages = counts.garbage;
    status->dropped_messages = bus_dropped(captain->bus);
    status->store_url = captain->store_url;
    status->tenant = captain->options.tenant;
    status->now_ms = clock_unix_ms();
    return ERR_OK;
}
