/* SPDX-License-Identifier: Apache-2.0
 *
 * Issues desired state: builds the document of a channel from the tables, signs it with the online key
 * under a generation that rises (the larger of the last one plus 1 and the Unix time in ms, so that a
 * captain rebuilt from the log still rises), keeps it in the channel's row, publishes it into DESIRED and
 * clears the outbox mark when the stream has it. Issued again daily, and when the bus comes back without it.
 */
#pragma once

#include "captain/keys.h"
#include "common/bus.h"
#include "common/db.h"

struct desired_publisher;

struct desired_options {
    const char *tenant;
    const char *store_url; /* http://host:port, what devices are told */
    int64_t valid_ms;      /* 7 days */
    int64_t reissue_ms;    /* 1 day */
};

MUST_USE enum err_code desired_open(struct loop *loop, struct bus *bus, struct db *db,
                                    const struct keys *keys, const struct desired_options *options,
                                    struct desired_publisher **ret, struct err *err);
void desired_close(struct desired_publisher *publisher);

/* Inside the open transaction: writes the channel's next signed document and the mark. */
MUST_USE enum err_code desired_issue(struct desired_publisher *publisher, const char *app,
                                     const char *channel, uint64_t decision, struct err *err);
/* After the commit: sends what is marked. */
void desired_send(struct desired_publisher *publisher);
/* On ready: asks the stream for each channel's last message and marks what differs, then sends. */
void desired_connected(struct desired_publisher *publisher);
