/* SPDX-License-Identifier: Apache-2.0
 *
 * The half of the bus that talks to NATS (bus.c): the bus thread, its connection and its
 * reconnects. It takes orders from the outbox and puts what happens into the inbox. The other half,
 * bus_loop.c, is the public functions. Part of the bus; not for others.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/bus.h"
#include "common/bus_queue.h"

struct bus_link;

/* Borrows everything. options has no zeroes that mean a default; replies is the subject before the
 * last token of all replies. */
struct bus_link *bus_link_new(const struct bus_options *options, const char *replies,
                              struct bus_inbox *inbox, struct bus_outbox *outbox);
/* Before the start; the subject is borrowed. Its messages have the index of this call, from 0. */
void bus_link_subscribe(struct bus_link *link, const char *subject);
MUST_USE enum err_code bus_link_start(struct bus_link *link, struct err *err);
/* Sends the outbox for at most flush_ms and ends the thread; afterwards nothing is put any more. */
void bus_link_stop(struct bus_link *link, int64_t flush_ms);
/* Not running. NULL is fine. */
void bus_link_free(struct bus_link *link);
/* Messages dropped so far. From any thread. */
uint64_t bus_link_dropped(const struct bus_link *link);

/* Views a message item; what ret points to lives as long as the item. */
void bus_link_message(const struct bus_item *item, struct bus_message *ret);
/* The last token of the subject a message came on. */
const char *bus_link_token(const struct bus_item *item);
/* The reply's status header as an error; ERR_OK when it has none. */
MUST_USE enum err_code bus_link_status(const struct bus_item *item, struct err *err);
/* Frees what the item carries, of any kind. */
void bus_link_drop(const struct bus_item *item);
