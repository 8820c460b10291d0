/* SPDX-License-Identifier: Apache-2.0 */
#include "common/bus_queue.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/mem.h"
#include "common/clock.h"

/* ---- inbox ---- */

enum { BATCH_MIN = 64, BATCH_KEEP = 4096 /* a larger array is given back once it was read */ };

struct batch {
    struct bus_item *items;
    size_t len, cap;
};

struct bus_inbox {
    uv_async_t async;
    loop_fn fn;
    void *arg;

    pthread_mutex_t lock;
    struct batch filling;
    size_t waiting, waiting_bytes; /* in both batches, as of the last accounting */

    /* The loop's own. */
    struct batch reading;
    size_t read, taken, taken_bytes; /* read of this batch; taken since the last accounting */
};

static void on_async(uv_async_t *handle)
{
    struct bus_inbox *inbox = handle->data;
    inbox->fn(inbox->arg);
}

enum err_code bus_inbox_open(struct loop *loop, loop_fn fn, void *arg, struct bus_inbox **ret,
                             struct err *err)
{
    struct bus_inbox *inbox = mem_new(1, sizeof *inbox);
    int failed = uv_async_init(loop_uv(loop), &inbox->async, on_async);
    if (failed != 0) {
        mem_free(inbox);
        return err_sys(err, -failed, "cannot make the bus's inbox");
    }
    (void)pthread_mutex_init(&inbox->lock, NULL);
    inbox->async.data = inbox;
    inbox->fn = fn;
    inbox->arg = arg;
    *ret = inbox;
    return ERR_OK;
}

static void on_inbox_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

void bus_inbox_close(struct bus_inbox *inbox)
{
    if (inbox == NULL) {
        return;
    }
    assert(inbox->filling.len == 0 && inbox->read == inbox->reading.len);
    mem_free(inbox->filling.items);
    mem_free(inbox->reading.items);
    (void)pthread_mutex_destroy(&inbox->lock);
    uv_close((uv_handle_t *)&inbox->async, on_inbox_closed);
}

static void batch_push(struct batch *batch, struct bus_item item)
{
    if (batch->len == batch->cap) {
        size_t cap = batch->cap == 0 ? BATCH_MIN : batch->cap * 2;
        batch->items = mem_grow(batch->items, batch->cap, cap, sizeof *batch->items);
        batch->cap = cap;
    }
    batch->items[batch->len++] = item;
}

bool bus_inbox_put(struct bus_inbox *inbox, struct bus_item item, size_t max)
{
    (void)pthread_mutex_lock(&inbox->lock);
    bool must = max == SIZE_MAX;
    bool fits = must || (inbox->waiting < max &&
                         inbox->waiting_bytes + item.size_bytes <= BUS_INBOX_MAX_BYTES);
    bool wake = fits && inbox->filling.len == 0;
    if (fits) {
        batch_push(&inbox->filling, item);
        inbox->waiting++;
        inbox->waiting_bytes += item.size_bytes;
    }
    (void)pthread_mutex_unlock(&inbox->lock);
    if (wake) {
        bus_inbox_wake(inbox);
    }
    return fits;
}

void bus_inbox_put_event(struct bus_inbox *inbox, const struct bus_happening *event,
                         const char *text)
{
    struct bus_happening *copy = mem_new(1, sizeof *copy);
    *copy = *event;
    (void)snprintf(copy->text, sizeof copy->text, "%s", text);
    (void)bus_inbox_put(inbox, (struct bus_item){copy, BUS_ITEM_EVENT, 0, 0}, SIZE_MAX);
}

void bus_inbox_put_outcome(struct bus_inbox *inbox, const struct bus_outcome *outcome)
{
    struct bus_outcome *copy = mem_new(1, sizeof *copy);
    *copy = *outcome;
    (void)bus_inbox_put(inbox, (struct bus_item){copy, BUS_ITEM_OUTCOME, 0, 0}, SIZE_MAX);
}

void bus_inbox_wake(struct bus_inbox *inbox)
{
    (void)uv_async_send(&inbox->async);
}

void bus_inbox_account(struct bus_inbox *inbox)
{
    (void)pthread_mutex_lock(&inbox->lock);
    inbox->waiting -= inbox->taken;
    inbox->waiting_bytes -= inbox->taken_bytes;
    (void)pthread_mutex_unlock(&inbox->lock);
    inbox->taken = 0;
    inbox->taken_bytes = 0;
}

/* The batch that was filled while the last one was read. */
static void swap_batches(struct bus_inbox *inbox)
{
    struct batch empty = inbox->reading;
    empty.len = 0;
    if (empty.cap > BATCH_KEEP) {
        mem_free(empty.items);
        empty = (struct batch){0};
    }
    (void)pthread_mutex_lock(&inbox->lock);
    inbox->reading = inbox->filling;
    inbox->filling = empty;
    (void)pthread_mutex_unlock(&inbox->lock);
    inbox->read = 0;
}

bool bus_inbox_take(struct bus_inbox *inbox, struct bus_item *ret)
{
    if (inbox->read == inbox->reading.len) {
        swap_batches(inbox);
    }
    if (inbox->read == inbox->reading.len) {
        return false;
    }
    *ret = inbox->reading.items[inbox->read++];
    inbox->taken++;
    inbox->taken_bytes += ret->size_bytes;
    return true;
}

/* ---- orders ---- */

struct bus_order *bus_order_new(enum bus_order_kind kind, size_t tail_bytes)
{
    size_t size_bytes = sizeof(struct bus_order) + tail_bytes;
    struct bus_order *order = mem_new(1, size_bytes);
    order->kind = kind;
    order->size_bytes = size_bytes;
    order->tail_next = order->tail;
    return order;
}

size_t bus_order_room(const char *text)
{
    return text != NULL ? strlen(text) + 1 : 0;
}

struct bytes bus_order_bytes(struct bus_order *order, struct bytes data)
{
    char *copy = order->tail_next;
    assert(copy + data.len <= (char *)order + order->size_bytes);
    if (data.len > 0) {
        memcpy(copy, data.ptr, data.len);
    }
    order->tail_next += data.len;
    return bytes_of(copy, data.len);
}

const char *bus_order_text(struct bus_order *order, const char *text)
{
    return text != NULL ? (const char *)bus_order_bytes(order, bytes_of(text, strlen(text) + 1)).ptr
                        : NULL;
}

/* ---- outbox ---- */

struct bus_outbox {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct bus_order *head, **tail;
    size_t len, bytes; /* the order being carried out included */
    uint64_t crossings;
    bool kicked;
    unsigned held;
};

struct bus_outbox *bus_outbox_new(void)
{
    struct bus_outbox *outbox = mem_new(1, sizeof *outbox);
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&outbox->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    (void)pthread_mutex_init(&outbox->lock, NULL);
    outbox->tail = &outbox->head;
    return outbox;
}

void bus_outbox_free(struct bus_outbox *outbox)
{
    if (outbox == NULL) {
        return;
    }
    for (struct bus_order *order; (order = bus_outbox_take(outbox)) != NULL;) {
        mem_free(order);
    }
    (void)pthread_cond_destroy(&outbox->changed);
    (void)pthread_mutex_destroy(&outbox->lock);
    mem_free(outbox);
}

/* True when the mark above (or, congested, below) it was passed. Called with the lock. */
static bool cross(struct bus_outbox *outbox)
{
    bool congested = outbox->crossings % 2 == 1;
    bool crossed =
        congested
            ? outbox->len < BUS_OUTBOX_MAX / 4 && outbox->bytes < BUS_OUTBOX_MAX_BYTES / 4
            : outbox->len > BUS_OUTBOX_MAX / 4 * 3 || outbox->bytes > BUS_OUTBOX_MAX_BYTES / 4 * 3;
    outbox->crossings += crossed;
    return crossed;
}

bool bus_outbox_put(struct bus_outbox *outbox, struct bus_order *order)
{
    (void)pthread_mutex_lock(&outbox->lock);
    bool fits =
        outbox->len < BUS_OUTBOX_MAX && outbox->bytes + order->size_bytes <= BUS_OUTBOX_MAX_BYTES;
    if (fits) {
        *outbox->tail = order;
        outbox->tail = &order->next;
        outbox->len++;
        outbox->bytes += order->size_bytes;
        (void)cross(outbox);
        (void)pthread_cond_signal(&outbox->changed);
    }
    (void)pthread_mutex_unlock(&outbox->lock);
    return fits;
}

struct bus_order *bus_outbox_take(struct bus_outbox *outbox)
{
    (void)pthread_mutex_lock(&outbox->lock);
    struct bus_order *order = outbox->head;
    if (order != NULL) {
        outbox->head = order->next;
        outbox->tail = outbox->head == NULL ? &outbox->head : outbox->tail;
    }
    (void)pthread_mutex_unlock(&outbox->lock);
    return order;
}

bool bus_outbox_done(struct bus_outbox *outbox, struct bus_order *order)
{
    (void)pthread_mutex_lock(&outbox->lock);
    outbox->len--;
    outbox->bytes -= order->size_bytes;
    bool crossed = outbox->crossings % 2 == 1 && cross(outbox);
    (void)pthread_mutex_unlock(&outbox->lock);
    mem_free(order);
    return crossed;
}

uint64_t bus_outbox_crossings(struct bus_outbox *outbox)
{
    (void)pthread_mutex_lock(&outbox->lock);
    uint64_t crossings = outbox->crossings;
    (void)pthread_mutex_unlock(&outbox->lock);
    return crossings;
}

void bus_outbox_wait(struct bus_outbox *outbox, int64_t until_ms)
{
    /* Conditions cannot wait by CLOCK_BOOTTIME; a suspend in between only makes the wait longer. */
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t wait_ms = until_ms - clock_mono_ms();
    wait_ms = wait_ms > 0 ? wait_ms : 0;
    int64_t nsec = until.tv_nsec + wait_ms % 1000 * 1000000;
    until.tv_sec += wait_ms / 1000 + nsec / 1000000000;
    until.tv_nsec = nsec % 1000000000;

    (void)pthread_mutex_lock(&outbox->lock);
    int ended = 0;
    while (outbox->head == NULL && !outbox->kicked && ended == 0) {
        ended = until_ms == INT64_MAX
                    ? pthread_cond_wait(&outbox->changed, &outbox->lock)
                    : pthread_cond_timedwait(&outbox->changed, &outbox->lock, &until);
    }
    outbox->kicked = false;
    (void)pthread_mutex_unlock(&outbox->lock);
}

void bus_outbox_kick(struct bus_outbox *outbox)
{
    (void)pthread_mutex_lock(&outbox->lock);
    outbox->kicked = true;
    (void)pthread_cond_signal(&outbox->changed);
    (void)pthread_mutex_unlock(&outbox->lock);
}

void bus_outbox_hold(struct bus_outbox *outbox)
{
    (void)pthread_mutex_lock(&outbox->lock);
    outbox->held++;
    (void)pthread_mutex_unlock(&outbox->lock);
}

void bus_outbox_release(struct bus_outbox *outbox)
{
    (void)pthread_mutex_lock(&outbox->lock);
    outbox->held--;
    outbox->kicked = true;
    (void)pthread_cond_signal(&outbox->changed);
    (void)pthread_mutex_unlock(&outbox->lock);
}

void bus_outbox_wait_released(struct bus_outbox *outbox)
{
    (void)pthread_mutex_lock(&outbox->lock);
    while (outbox->held > 0) {
        (void)pthread_cond_wait(&outbox->changed, &outbox->lock);
    }
    (void)pthread_mutex_unlock(&outbox->lock);
}
