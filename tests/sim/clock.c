/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/clock.h"

#include "common/base/mem.h"

static bool is_before(const struct clock_event *a, const struct clock_event *b)
{
    return a->at_ms < b->at_ms || (a->at_ms == b->at_ms && a->order < b->order);
}

void clock_fini(struct clock *clock)
{
    mem_free(clock->heap);
    *clock = (struct clock){0};
}

static void rise(struct clock *clock, size_t i)
{
    const struct clock_event event = clock->heap[i];
    while (i > 0 && is_before(&event, &clock->heap[(i - 1) / 2])) {
        clock->heap[i] = clock->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    clock->heap[i] = event;
}

void clock_put(struct clock *clock, int64_t at_ms, enum clock_kind kind, uint32_t who,
               const struct bus_message *message)
{
    if (clock->len == clock->capacity) {
        const size_t capacity = clock->capacity ? clock->capacity * 2 : 256;
        clock->heap = mem_grow(clock->heap, clock->capacity, capacity, sizeof *clock->heap);
        clock->capacity = capacity;
    }
    struct clock_event *event = &clock->heap[clock->len];
    *event = (struct clock_event){.at_ms = at_ms < clock->now_ms ? clock->now_ms : at_ms,
                                  .order = clock->order++,
                                  .kind = kind,
                                  .who = who};
    if (message)
        event->message = *message;
    rise(clock, clock->len++);
}

static void sink(struct clock *clock)
{
    const struct clock_event event = clock->heap[clock->len];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= clock->len)
            break;
        if (child + 1 < clock->len && is_before(&clock->heap[child + 1], &clock->heap[child]))
            child++;
        if (!is_before(&clock->heap[child], &event))
            break;
        clock->heap[i] = clock->heap[child];
        i = child;
    }
    clock->heap[i] = event;
}

bool clock_next(struct clock *clock, struct clock_event *ret)
{
    if (clock->len == 0)
        return false;
    *ret = clock->heap[0];
    clock->now_ms = ret->at_ms;
    clock->len--;
    if (clock->len > 0)
        sink(clock);
    return true;
}
