/* SPDX-License-Identifier: Apache-2.0
 *
 * The two bounded queues between the loop thread and the bus's other threads. Part of bus.c; knows
 * nothing of NATS. The mutexes in here guard the queues alone.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/bus.h"
#include "common/loop.h"

/* A user's subject behind one of the server's prefixes, or an inbox with its number. */
enum { BUS_SUBJECT_ROOM = 2 * (BUS_SUBJECT_MAX + 1) };

/* ---- inbox: from any thread to the loop ---- */

/* What an item of the inbox carries: a message (to bus_link_message and bus_link_drop), or a struct
 * to be freed by mem_free. */
enum bus_item_kind {
    BUS_ITEM_MESSAGE,  /* index: the subscription */
    BUS_ITEM_REPLY,    /* the subject's last token is the request's number */
    BUS_ITEM_CONSUMED, /* index: the consumer's generation */
    BUS_ITEM_BROKEN,   /* index: a generation that had to drop what comes next; nothing carried */
    BUS_ITEM_OUTCOME,  /* struct bus_outcome */
    BUS_ITEM_EVENT,    /* struct bus_happening */
};

/* A request that could not be sent, and why. */
struct bus_outcome {
    uint64_t request;
    struct err err;
};

struct bus_happening {
    enum bus_event event;
    uint64_t session; /* the number of the connection it is about */
    char version[VERSION_MAX + 1];
    char text[ERR_TEXT_MAX];
};

struct bus_item {
    void *object; /* owned by whoever holds the item */
    uint32_t kind, index;
    size_t size_bytes;
};

struct bus_inbox;

/* fn runs on the loop thread when something is waiting, at least once after each put and each wake.
 */
MUST_USE enum err_code bus_inbox_open(struct loop *loop, loop_fn fn, void *arg,
                                      struct bus_inbox **ret, struct err *err);
/* The owner has emptied it, and nobody puts any more. NULL is fine. */
void bus_inbox_close(struct bus_inbox *inbox);
/* From any thread. False when there are max waiting (or BUS_INBOX_MAX_BYTES): the item is still the
 * caller's. SIZE_MAX: always takes it, for the few that must not get lost. */
bool bus_inbox_put(struct bus_inbox *inbox, struct bus_item item, size_t max);
/* From any thread; copies; never refused. */
void bus_inbox_put_event(struct bus_inbox *inbox, const struct bus_happening *event,
                         const char *text);
void bus_inbox_put_outcome(struct bus_inbox *inbox, const struct bus_outcome *outcome);
/* From any thread: runs fn in a later turn. */
void bus_inbox_wake(struct bus_inbox *inbox);
/* On the loop thread. False when nothing waits. */
bool bus_inbox_take(struct bus_inbox *inbox, struct bus_item *ret);
/* On the loop thread, once per batch: tells the writers how much room there is. */
void bus_inbox_account(struct bus_inbox *inbox);

/* ---- outbox: from the loop to the bus thread ---- */

enum bus_order_kind { BUS_ORDER_PUBLISH, BUS_ORDER_CONSUME };

struct bus_order {
    struct bus_order *next;
    enum bus_order_kind kind;
    uint64_t session; /* of the connection it is meant for; later ones drop it */
    uint64_t number;  /* PUBLISH: the request, or 0; CONSUME: the consumer's generation */
    size_t size_bytes;

    const char *subject; /* PUBLISH; CONSUME: the stream's name */
    const char *reply, *msg_id;
    struct bytes data;
    struct bus_expect expect; /* CONSUME: last_seq is the first sequence wanted */

    char *tail_next; /* where the next copy goes */
    char tail[];     /* what the pointers above point to */
};

/* tail_bytes is the room for the copies below. Owned; mem_free. */
struct bus_order *bus_order_new(enum bus_order_kind kind, size_t tail_bytes);
/* What a text takes in the tail; 0 for NULL. */
size_t bus_order_room(const char *text);
/* Copies into the tail; NULL gives NULL. */
const char *bus_order_text(struct bus_order *order, const char *text);
struct bytes bus_order_bytes(struct bus_order *order, struct bytes data);

struct bus_outbox;

struct bus_outbox *bus_outbox_new(void);
/* Frees what is in it too. NULL is fine. */
void bus_outbox_free(struct bus_outbox *outbox);
/* Takes the order and returns true; false when it is full: the order is still the caller's. */
bool bus_outbox_put(struct bus_outbox *outbox, struct bus_order *order);
/* The first order, or NULL; what it occupied stays accounted until bus_outbox_done. */
struct bus_order *bus_outbox_take(struct bus_outbox *outbox);
/* Frees the order. True when this crossed the mark below which it is relieved. */
bool bus_outbox_done(struct bus_outbox *outbox, struct bus_order *order);
/* How often it became congested, or relieved again, so far: an odd number means it is congested. */
uint64_t bus_outbox_crossings(struct bus_outbox *outbox);
/* Waits until there is an order, somebody kicked, or the time (clock_mono_ms's) has come. */
void bus_outbox_wait(struct bus_outbox *outbox, int64_t until_ms);
/* From any thread: ends the current wait, or the next one. */
void bus_outbox_kick(struct bus_outbox *outbox);

/* A count of callbacks that may still come from the library; the bus thread waits for their end
 * before it lets go of what they use. Release is the callback's last act. */
void bus_outbox_hold(struct bus_outbox *outbox);
void bus_outbox_release(struct bus_outbox *outbox);
void bus_outbox_wait_released(struct bus_outbox *outbox);
