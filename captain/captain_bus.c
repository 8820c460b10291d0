/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/captain_bus.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

#include "captain/captain_trust.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/notify.h"

enum { RECONNECT_MAX_MS = 5000, CLOSE_FLUSH_MS = 2000 };

/* Events. */

static void connected(struct captain *captain)
{
    if (!bus_connected(captain->bus) || !bus_connected(captain->streams))
        return; /* the other one comes here too */
    log_write(LOG_LEVEL_INFO, "bus: connected to nats-server %s", bus_server_version(captain->bus));
    decisions_connected(captain->decisions);
}

static void disconnected(struct captain *captain, const char *name, const char *why)
{
    log_write(LOG_LEVEL_WARNING, "%s: disconnected: %s", name, why);
    notify_status("no contact with NATS: %s", why);
    decisions_disconnected(captain->decisions);
}

static void take_event(struct captain *captain, const char *name, enum bus_event event,
                       const char *text, uint64_t count)
{
    switch (event) {
    case BUS_CONNECTED:
        connected(captain);
        break;
    case BUS_DISCONNECTED:
        disconnected(captain, name, text);
        break;
    case BUS_CONGESTED:
        log_write(LOG_LEVEL_WARNING, "%s: %" PRIu64 " orders wait to be sent", name, count);
        break;
    case BUS_RELIEVED:
        log_write(LOG_LEVEL_INFO, "%s: the outbox is emptying", name);
        break;
    case BUS_SLOW:
        log_write(LOG_LEVEL_WARNING, "%s: %" PRIu64 " messages dropped, captain is too slow", name,
                  count);
        break;
    case BUS_AUTH_ERROR:
        log_write(LOG_LEVEL_ERROR, "%s: nats-server refuses the credentials: %s", name, text);
        break;
    }
}

static void on_bus(void *arg, enum bus_event event, const char *text, uint64_t count)
{
    take_event(arg, "bus", event, text, count);
}

static void on_streams(void *arg, enum bus_event event, const char *text, uint64_t count)
{
    take_event(arg, "streams", event, text, count);
}

/* Opening. */

static enum err_code open_one(struct captain *captain, const char *creds, bus_event_fn on_event,
                              struct bus **ret, struct err *err)
{
    const bool first = on_event == on_bus;
    struct bus_options options = {.url = captain->options.nats_url,
                                  .name = first ? "captain" : "captain-streams",
                                  .inbox_prefix = "_INBOX.captain",
                                  .creds_path = creds,
                                  .tls_ca_path = captain->options.nats_ca,
                                  .reconnect_max_ms = RECONNECT_MAX_MS,
                                  .ask_version = first,
                                  .on_event = on_event,
                                  .arg = captain};
    clock_random(&options.seed, sizeof options.seed);
    return bus_open(captain->loop, &options, ret, err);
}

static enum err_code open_streams(struct captain *captain, struct err *err)
{
    char creds[PATH_MAX];
    const int len =
        snprintf(creds, sizeof creds, "%s/" ACCOUNT_STREAMS_CREDS, captain->options.folder);
    if (len < 0 || (size_t)len >= sizeof creds)
        return err_set(err, ERR_SIZE, "the path of folder %s is too long", captain->options.folder);
    return open_one(captain, creds, on_streams, &captain->streams, err);
}

enum err_code captain_bus_open(struct captain *captain, struct err *err)
{
    bool roles = false;
    enum err_code code = captain_trust_has_roles(captain, &roles, err);
    if (code == ERR_OK)
        code = open_one(captain, captain->options.nats_creds, on_bus, &captain->bus, err);
    if (code == ERR_OK && roles)
        return open_streams(captain, err);
    captain->streams = captain->bus;
    return code;
}

enum err_code captain_bus_start(struct captain *captain, struct err *err)
{
    const enum err_code code = bus_start(captain->bus, err);
    return code || captain->streams == captain->bus ? code : bus_start(captain->streams, err);
}

void captain_bus_close(struct captain *captain)
{
    if (captain->streams != captain->bus)
        bus_close(captain->streams, CLOSE_FLUSH_MS);
    bus_close(captain->bus, CLOSE_FLUSH_MS);
}
