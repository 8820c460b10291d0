/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/summary.h"

#include <string.h>

#include "captain/api_private.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/hash.h"
#include "common/log.h"

enum {
    ARENA_BYTES = 16 << 20,
    COST_SHARE = 20, /* it takes at most one part in so many of captain's time */
    COMPLAIN_MS = 60000,
};

struct summary {
    struct captain *captain;
    struct loop_timer timer;
    struct api_request request; /* what the parts of an answer are made with */
    uint8_t said[DIGEST_BYTES]; /* of what was said last, without what always moves */
    int64_t said_ms;            /* loop's clock; 0: never */
    int64_t complained_ms;
};

/* Times and counters of messages are no news. */
static enum err_code digest_of(struct summary *summary, const struct status *status,
                               uint8_t ret[static DIGEST_BYTES], struct err *err)
{
    struct status still = *status;
    struct bytes encoded;
    still.now_ms = 0;
    still.health_messages = still.garbage_messages = still.dropped_messages = 0;
    still.events_stored = 0;
    const enum err_code code =
        codec_encode(&codec_status, &still, &summary->request.arena, &encoded, err);
    if (code == ERR_OK)
        hash_bytes(encoded, ret);
    return code;
}

static enum err_code say(struct summary *summary, const struct status *status, struct err *err)
{
    struct bytes data;
    const enum err_code code =
        codec_encode(&codec_status, status, &summary->request.arena, &data, err);
    return code ? code : bus_publish(summary->captain->bus, SUMMARY_SUBJECT, data, NULL, NULL, err);
}

static enum err_code look(struct summary *summary, int64_t now_ms, struct err *err)
{
    uint8_t digest[DIGEST_BYTES];
    union api_out out;
    memset(&out, 0, sizeof out);
    summary->request.named = NULL;
    arena_reset(&summary->request.arena);
    enum err_code code = api_status_show(&summary->request, &out, err);
    if (code == ERR_OK)
        code = digest_of(summary, &out.status, digest, err);
    if (code != ERR_OK)
        return code;
    if (summary->said_ms != 0 && now_ms - summary->said_ms < SUMMARY_SILENCE_MS &&
        memcmp(digest, summary->said, DIGEST_BYTES) == 0)
        return ERR_OK;
    code = say(summary, &out.status, err);
    if (code == ERR_OK) {
        memcpy(summary->said, digest, DIGEST_BYTES);
        summary->said_ms = now_ms;
    }
    return code;
}

static void complain(struct summary *summary, int64_t now_ms, const struct err *err)
{
    if (summary->complained_ms != 0 && now_ms - summary->complained_ms < COMPLAIN_MS)
        return;
    summary->complained_ms = now_ms;
    log_err("dashboards are not told how the fleet is", err);
}

static void on_timer(void *arg)
{
    struct summary *summary = arg;
    struct captain *captain = summary->captain;
    const int64_t now_ms = loop_now_ms(captain->loop), start_ns = clock_mono_ns();
    struct err err = {0};
    if (captain->ready && bus_connected(captain->bus) && look(summary, now_ms, &err) != ERR_OK)
        complain(summary, now_ms, &err);
    /* The larger the fleet's tables, the rarer. */
    const int64_t pause_ms = COST_SHARE * (clock_mono_ns() - start_ns) / 1000000;
    loop_timer_at(captain->loop, &summary->timer,
                  now_ms + (pause_ms > SUMMARY_PAUSE_MS ? pause_ms : SUMMARY_PAUSE_MS), on_timer,
                  summary);
}

struct summary *summary_new(struct captain *captain)
{
    struct summary *summary = mem_new(1, sizeof *summary);
    summary->captain = captain;
    summary->request.captain = captain;
    arena_init(&summary->request.arena, ARENA_BYTES);
    arena_init(&summary->request.scratch, API_SCRATCH_BYTES);
    loop_timer_at(captain->loop, &summary->timer, loop_now_ms(captain->loop), on_timer, summary);
    return summary;
}

void summary_free(struct summary *summary)
{
    if (!summary)
        return;
    loop_timer_stop(&summary->timer);
    arena_fini(&summary->request.arena);
    arena_fini(&summary->request.scratch);
    mem_free(summary);
}
