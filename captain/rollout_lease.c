/* SPDX-License-Identifier: Apache-2.0
 *
 * lease.<site>.<device>: may this device change now? What can be refused without a trace is; everything else
 * is an input, and the answer leaves when that is durable.
 */
#include <string.h>

#include "captain/inbox.h"
#include "captain/rollouts_private.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/log.h"
#include "proto/codec.h"

enum { REQUEST_ARENA_BYTES = 64 << 10, DEVICE_MAX = 2 * TOKEN_MAX + 2 };

void rollouts_answer(struct rollouts *r, const char *reply, const struct lease_reply *answer)
{
    struct arena arena DEFER(arena_fini) = {0};
    struct bytes data;
    struct err err = {0};
    arena_init(&arena, REQUEST_ARENA_BYTES);
    enum err_code code = codec_encode(&codec_lease_reply, answer, &arena, &data, &err);
    if (code == ERR_OK)
        code = bus_publish(r->parts.bus, reply, data, NULL, NULL, &err);
    if (code != ERR_OK) /* the device asks again */
        log_write(LOG_LEVEL_DEBUG, "answer to %s: %s", reply, err.text);
}

static bool device_of(const char *subject, char ret[static DEVICE_MAX])
{
    const char *site = strchr(subject, '.');
    const char *device = site ? strchr(site + 1, '.') : NULL;
    if (!device || strlen(site + 1) >= DEVICE_MAX)
        return false;
    memcpy(ret, site + 1, strlen(site + 1) + 1);
    ret[device - site - 1] = '/';
    return true;
}

struct ask {
    struct rollouts *rollouts;
    struct rollouts_live *live;
    const struct lease_request *request;
    const char *reply; /* NULL: nobody waits */
    uint32_t member;
};

static void refuse(const struct ask *ask, enum lease_answer answer, int64_t retry_ms)
{
    const int64_t wait_ms = retry_ms > 0 ? retry_ms - clock_unix_ms() : 0;
    struct lease_reply reply = {.rollout = ask->request->rollout,
                                .attempt_number = ask->request->attempt_number,
                                .answer = lease_answer_name(answer)};
    if (wait_ms > 0 && wait_ms < UINT32_MAX)
        reply.retry_ms = (uint32_t)wait_ms;
    if (ask->reply)
        rollouts_answer(ask->rollouts, ask->reply, &reply);
}

/* The core would learn nothing from the ask, and says no: nothing needs to be stored. */
static bool is_idle_no(const struct ask *ask, enum lease_answer *ret, int64_t *ret_retry_ms)
{
    struct rollout_device_view view;
    struct rollout_view all;
    rollout_view(ask->live->core, &all);
    if (ask->member >= all.members)
        return false;
    rollout_device_view(ask->live->core, ask->member, &view);
    *ret = rollout_would_answer(ask->live->core, ask->member, ask->request->rollback,
                                clock_unix_ms(), ret_retry_ms);
    return *ret != LEASE_GRANTED && !view.leased && view.device != ROLLOUT_APPLYING &&
           !view.silent && view.eligible && ask->request->attempt_number > view.attempt;
}

static void take_return(const struct ask *ask)
{
    struct rollout_input input = {.kind = ROLLOUT_IN_RETURN, .member = ask->member};
    /* A lease that was carried over is known as attempt 0. */
    if (str_equal(ask->request->rollout, ask->live->row.id))
        input.u.lease_return.attempt = ask->request->attempt_number;
    rollouts_push(ask->live, &input, NULL, NULL);
}

static void take_ask(const struct ask *ask)
{
    enum lease_answer answer;
    int64_t retry_ms = 0;
    if (!str_equal(ask->request->rollout, ask->live->row.id)) {
        refuse(ask, LEASE_ENDED, 0);
        return;
    }
    if (is_idle_no(ask, &answer, &retry_ms)) {
        refuse(ask, answer, retry_ms);
        return;
    }
    struct rollout_input input = {.kind = ROLLOUT_IN_ASK, .member = ask->member};
    input.u.ask.attempt = ask->request->attempt_number;
    input.u.ask.rollback = ask->request->rollback;
    rollouts_push(ask->live, &input, NULL, ask->reply);
}

static void take(struct rollouts *r, const char *device, const struct lease_request *request,
                 const char *reply)
{
    struct ask ask = {r, rollouts_of_channel(r, request->app, request->channel), request, reply,
                      ROLLOUT_NONE};
    if (!ask.live) {
        refuse(&ask, LEASE_ENDED, 0);
        return;
    }
    ask.member = rollouts_member_of(ask.live, fleet_find(r->parts.fleet, device));
    if (ask.member == ROLLOUT_NONE || !ask.live->begun)
        refuse(&ask, LEASE_NOT_IN_WAVE, 0); /* it joins with its next health */
    else if (request->returned)
        take_return(&ask);
    else
        take_ask(&ask);
}

void rollouts_on_lease(void *arg, const struct bus_message *message)
{
    struct rollouts *r = arg;
    char device[DEVICE_MAX];
    struct lease_request request;
    struct err err = {0};
    struct arena arena DEFER(arena_fini) = {0};
    if (!r->ready)
        return; /* the device asks again */
    if (r->parts.incidents &&
        !inbox_is_own(r->parts.incidents, message, message->subject + strlen("lease.")))
        return;
    arena_init(&arena, REQUEST_ARENA_BYTES);
    if (!device_of(message->subject, device) ||
        codec_decode(&codec_lease_request, message->data, &arena, &request, &err) != ERR_OK) {
        log_write(LOG_LEVEL_DEBUG, "message on %s cannot be read: %s", message->subject, err.text);
        return;
    }
    take(r, device, &request, message->reply);
}
