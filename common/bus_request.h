/* SPDX-License-Identifier: Apache-2.0
 *
 * The requests of a bus that have no reply yet, each with its deadline, and what the replies of
 * JetStream mean. Part of bus.c; knows nothing of NATS's library. Loop thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/bus.h"
#include "common/loop.h"

/* Who waits: exactly one of the two is set. */
struct bus_waiter {
    bus_reply_fn reply;
    bus_stored_fn stored;
    void *arg;
};
/* Tells the waiter that it ended with this error. */
void bus_waiter_fail(const struct bus_waiter *waiter, const struct err *err);

struct bus_requests;

struct bus_requests *bus_requests_new(struct loop *loop);
/* It is empty. NULL is fine. */
void bus_requests_free(struct bus_requests *requests);
/* Returns the new request's number, never 0 and never used before; 0 when BUS_REQUESTS_MAX are
 * waiting. After timeout_ms the waiter gets ERR_TIMEOUT. */
uint64_t bus_requests_add(struct bus_requests *requests, const struct bus_waiter *waiter,
                          int64_t timeout_ms);
/* Removes the request; false when it has ended already. */
bool bus_requests_take(struct bus_requests *requests, uint64_t number, struct bus_waiter *ret);
/* Ends all that are waiting now. */
void bus_requests_fail_all(struct bus_requests *requests, const struct err *err);

/* The acknowledgement of a stream ({"stream":"S","seq":7}, {"error":{...}}): ERR_CONFLICT for a
 * wrong expected sequence, ERR_NO_CONTACT when JetStream is not available, ERR_FAILED for other
 * refusals, ERR_MALFORMED for what is none. */
MUST_USE enum err_code bus_parse_ack(struct bytes json, uint64_t *ret_seq, bool *ret_duplicate,
                                     struct err *err);
/* A reply's status header ("404", with its description): ERR_OK for NULL. */
MUST_USE enum err_code bus_parse_status(const char *status, const char *description,
                                        struct err *err);
/* The server's version in a reply to PING.STATZ; "" when there is none. */
void bus_parse_version(struct bytes json, char ret[static VERSION_MAX + 1]);
