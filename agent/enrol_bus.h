/* SPDX-License-Identifier: Apache-2.0
 *
 * The bus with the credential that may do nothing but ask on `enroll`: for a device that has none of
 * its own yet, or none that is taken any more.
 */
#pragma once

#include "agent/config.h"
#include "common/bus.h"

struct enrol_bus;

struct enrol_bus_options {
    struct loop *loop;
    const struct config *config; /* folder, nats_url, nats_ca; borrowed */
    uint64_t seed;
    int64_t reconnect_max_ms;
    bus_event_fn on_event;
    void *arg;
};

/* Starts to connect. ERR_NOT_FOUND without a credential. */
MUST_USE enum err_code enrol_bus_open(const struct enrol_bus_options *options,
                                      struct enrol_bus **ret, struct err *err);
/* As bus_request. */
MUST_USE enum err_code enrol_bus_ask(struct enrol_bus *bus, struct bytes request, bus_reply_fn fn,
                                     void *arg, struct err *err);
/* Not from a callback of the bus; may run callbacks of requests. NULL is fine. */
void enrol_bus_close(struct enrol_bus *bus);
