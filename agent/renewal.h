/* SPDX-License-Identifier: Apache-2.0
 *
 * Keeps this device's credential fresh: asks for the next one when core/renew.h says so, over the
 * device's own connection or, when the server takes its credential no longer, over the enrolment
 * credential; writes what it gets. Two months offline and back: no person is needed.
 */
#pragma once

#include "agent/config.h"
#include "common/base/rng.h"
#include "common/bus.h"

struct renewal;

struct renewal_owner {
    /* bus_request on renew.<site>.<device>, over the device's own connection. */
    enum err_code (*ask)(void *arg, struct bytes request, bus_reply_fn fn, void *fn_arg,
                         struct err *err);
    /* A new credential is on disk: the connection should be made anew, soon. */
    void (*renewed)(void *arg);
    void *arg;
};

struct renewal_options {
    struct loop *loop;
    const struct config *config; /* borrowed */
    struct rng *rng;
    struct renewal_owner owner;
};

/* *ret is NULL, and all is well, when the configuration brings a credential of its own. */
MUST_USE enum err_code renewal_open(const struct renewal_options *options, struct renewal **ret,
                                    struct err *err);
/* Not from a callback of a bus; the link must have been closed before. NULL is fine, as below. */
void renewal_close(struct renewal *renewal);

/* The device's own connection came or went; the server refused its credential. */
void renewal_bus(struct renewal *renewal, bool connected);
void renewal_refused(struct renewal *renewal);
