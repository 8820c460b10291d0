/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/enrol_bus.h"

#include <stdio.h>

#include "agent/io/identity_files.h"
#include "common/base/mem.h"

enum { ASK_TIMEOUT_MS = 10000 };

struct enrol_bus {
    struct bus *bus;
};

enum err_code enrol_bus_open(const struct enrol_bus_options *o, struct enrol_bus **ret,
                             struct err *err)
{
    const struct config *config = o->config;
    char creds[IDENTITY_PATH_MAX], name[2 * TOKEN_MAX + 32];
    if (!identity_files_has(config->folder, IDENTITY_ENROLL_CREDS))
        return err_set(err, ERR_NOT_FOUND, "%s holds no credential for enrolment", config->folder);
    identity_files_path(config->folder, IDENTITY_ENROLL_CREDS, creds);
    (void)snprintf(name, sizeof name, "captain-agent enroll %s/%s", config->site, config->device);
    struct bus_options options = {
        .url = config->nats_url,
        .name = name,
        .inbox_prefix = "_INBOX.enroll",
        .creds_path = creds,
        .tls_ca_path = config->nats_ca,
        .tls_cert_path = config->nats_cert,
        .tls_key_path = config->nats_key,
        .seed = o->seed,
        .reconnect_max_ms = o->reconnect_max_ms,
        .on_event = o->on_event,
        .arg = o->arg,
    };
    struct enrol_bus *bus = mem_new(1, sizeof *bus);
    enum err_code code = bus_open(o->loop, &options, &bus->bus, err);
    if (code || (code = bus_start(bus->bus, err))) {
        enrol_bus_close(bus);
        return code;
    }
    *ret = bus;
    return ERR_OK;
}

enum err_code enrol_bus_ask(struct enrol_bus *bus, struct bytes request, bus_reply_fn fn, void *arg,
                            struct err *err)
{
    return bus_request(bus->bus, "enroll", request, ASK_TIMEOUT_MS, fn, arg, err);
}

void enrol_bus_close(struct enrol_bus *bus)
{
    if (!bus)
        return;
    bus_close(bus->bus, 0);
    mem_free(bus);
}
