/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/link_outbox.h"

#include <inttypes.h>
#include <stdio.h>

#include "agent/core/retry.h"
#include "agent/link.h"
#include "common/log.h"

enum {
    OUTBOX_ARENA_MAX_BYTES = 512 << 10,
    RESENT_MIN_MS = 1000, /* captain's acknowledgements make us send again at most this often */
    ID_MAX = 200,
};

static const struct retry_policy resend_retry = {.min_ms = 3000, .base_ms = 3000, .max_ms = 120000};

enum err_code link_outbox_init(struct link_outbox *o, const struct link_outbox_options *options,
                               struct err *err)
{
    struct arena arena;
    struct agent_outbox_row *rows;
    size_t len = 0;
    *o = (struct link_outbox){
        .options = *options, .resend_ms = INT64_MAX, .resent_ms = -RESENT_MIN_MS};
    arena_init(&arena, OUTBOX_ARENA_MAX_BYTES);
    enum err_code code = agent_store_outbox(options->store, 0, 1, &arena, &rows, &len, err);
    o->acked = code == ERR_OK && len > 0 ? rows[0].seq - 1 : agent_store_event_seq(options->store);
    o->sent = o->acked;
    arena_fini(&arena);
    return code;
}

void link_outbox_restart(struct link_outbox *o)
{
    o->sent = o->acked;
    o->resend_ms = INT64_MAX;
    o->failures = 0;
}

int64_t link_outbox_due_ms(const struct link_outbox *o)
{
    return o->resend_ms;
}

static void wait_for_ack(struct link_outbox *o, int64_t now_ms)
{
    o->resend_ms = o->sent > o->acked
                       ? now_ms + retry_delay_ms(&resend_retry, o->failures + 1, o->options.rng)
                       : INT64_MAX;
}

static bool send_one(struct link_outbox *o, struct bus *bus, const struct agent_outbox_row *row)
{
    char subject[BUS_SUBJECT_MAX + 1], id[ID_MAX], again[16] = "";
    struct err err;
    (void)snprintf(subject, sizeof subject, "event.%s.%s", o->options.site, o->options.device);
    if (o->rewinds > 0)
        (void)snprintf(again, sizeof again, "/%u", o->rewinds);
    (void)snprintf(id, sizeof id, "%s.%s/%s/%" PRIu64 "%s", o->options.site, o->options.device,
                   agent_store_epoch(o->options.store), row->seq, again);
    if (bus_publish(bus, subject, row->encoded, id, NULL, &err) != ERR_OK)
        return false;
    o->sent = row->seq;
    return true;
}

/* What captain misses is sent under a new id: the stream would take the old one for a duplicate of what
 * it may have lost, and drop it. Captain counts by number. */
static void rewind_outbox(struct link_outbox *o)
{
    o->sent = o->acked;
    o->rewinds++;
}

void link_outbox_send(struct link_outbox *o, struct bus *bus, int64_t now_ms)
{
    if (now_ms >= o->resend_ms) {
        o->failures++;
        rewind_outbox(o);
    }
    uint64_t out = o->sent - o->acked;
    if (o->sent >= agent_store_event_seq(o->options.store) || out >= LINK_WINDOW)
        return;
    struct arena arena;
    struct agent_outbox_row *rows;
    size_t len = 0;
    struct err err;
    arena_init(&arena, OUTBOX_ARENA_MAX_BYTES);
    if (agent_store_outbox(o->options.store, o->sent, LINK_WINDOW - out, &arena, &rows, &len,
                           &err) != ERR_OK)
        log_err("reading the outbox", &err);
    size_t i = 0;
    while (i < len && send_one(o, bus, &rows[i]))
        i++;
    arena_fini(&arena);
    wait_for_ack(o, now_ms);
    if (i < len) /* the bus takes no more: soon again, from there */
        o->resend_ms = now_ms + resend_retry.min_ms;
}

void link_outbox_acked(struct link_outbox *o, const struct ack *ack, int64_t now_ms)
{
    struct err err;
    if (!str_equal(ack->epoch, agent_store_epoch(o->options.store)) ||
        ack->seq > agent_store_event_seq(o->options.store) || ack->seq < o->acked)
        return;
    if (ack->seq == o->acked) { /* no progress: it misses the next one */
        if (o->sent > o->acked && now_ms - o->resent_ms >= RESENT_MIN_MS) {
            o->resent_ms = now_ms;
            rewind_outbox(o);
        }
        return;
    }
    if (agent_store_acked(o->options.store, ack->seq, &err) != ERR_OK) {
        log_err("emptying the outbox", &err); /* the rows stay and are acknowledged again */
        return;
    }
    o->acked = ack->seq;
    o->failures = 0;
    if (o->sent < o->acked)
        o->sent = o->acked;
    wait_for_ack(o, now_ms);
}
