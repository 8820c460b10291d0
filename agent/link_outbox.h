/* SPDX-License-Identifier: Apache-2.0
 *
 * Events on their way from the store to captain: which are sent, which are stored there, when to
 * send again.
 */
#pragma once

#include "agent/io/agent_store.h"
#include "common/base/rng.h"
#include "common/bus.h"

struct link_outbox_options {
    struct agent_store *store;
    struct rng *rng;           /* of the backoff */
    const char *site, *device; /* borrowed */
};

struct link_outbox {
    struct link_outbox_options options;
    uint64_t acked;    /* captain has stored all up to it */
    uint64_t sent;     /* the newest one given to this connection; at least acked */
    int64_t resend_ms; /* INT64_MAX: nothing is out */
    int64_t resent_ms; /* when captain last made us send again */
    uint32_t failures;
    uint32_t rewinds; /* how often what was sent was sent again; never goes back */
};

MUST_USE enum err_code link_outbox_init(struct link_outbox *outbox,
                                        const struct link_outbox_options *options, struct err *err);
/* A new connection: whatever is not acknowledged is sent again. */
void link_outbox_restart(struct link_outbox *outbox);
/* Sends what the window and the bus take. */
void link_outbox_send(struct link_outbox *outbox, struct bus *bus, int64_t now_ms);
/* Captain's word. One of another epoch, or beyond what was written, is ignored. */
void link_outbox_acked(struct link_outbox *outbox, const struct ack *ack, int64_t now_ms);
/* When link_outbox_send is due though nothing happens; INT64_MAX: never. */
int64_t link_outbox_due_ms(const struct link_outbox *outbox);
