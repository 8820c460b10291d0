/* SPDX-License-Identifier: Apache-2.0
 *
 * A device that was put out (revoked, rejected, retired) is left out of what lives, by the decision that
 * `rollout exclude` makes: it is silent because nobody lets it speak, and that is no fault of a release.
 * Looked for at every sweep, so that neither a crash nor a full queue can make it forgotten.
 */
#include <stdio.h>

#include "captain/core/admit.h"
#include "captain/io/store/trust.h"
#include "captain/rollouts_private.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/log.h"
#include "proto/codec.h"

enum { LEAVING_MAX = 64 }; /* decisions at once: operators have theirs in the same queue */

struct leaving {
    struct rollouts *r;
    char id[ULID_TEXT];
    uint32_t device;
    const char *state; /* of admit_state_names */
};

static bool takes_part(const struct rollouts_live *live, uint32_t device, uint32_t *ret_member)
{
    struct rollout_device_view view;
    *ret_member = live && rollouts_is_live(live) ? rollouts_member_of(live, device) : ROLLOUT_NONE;
    if (*ret_member == ROLLOUT_NONE || *ret_member >= live->members_stepped)
        return false;
    rollout_device_view(live->core, *ret_member, &view);
    return !view.excluded && !view.deleted;
}

static enum err_code prepare(void *arg, struct arena *arena, struct decision *ret, struct err *err)
{
    const struct leaving *leaving = arg;
    const struct rollouts_parts *parts = &leaving->r->parts;
    struct rollout_stored_input input = {
        .kind = ROLLOUT_IN_EXCLUDE, .now_ms = clock_unix_ms(), .reason = leaving->state};
    if (!takes_part(rollouts_by_id(leaving->r, leaving->id), leaving->device, &input.member))
        return err_set(err, ERR_CONFLICT, "nothing is left to decide");
    const struct rollout_command command = {.id = leaving->id,
                                            .input = &input,
                                            .verb = "exclude",
                                            .device =
                                                fleet_device_name(parts->fleet, leaving->device)};
    *ret = (struct decision){.actor = arena_printf(arena, "captain:%s", parts->holder),
                             .kind = "rollout.command",
                             .subject = leaving->id,
                             .reason = leaving->state};
    return codec_encode(&codec_rollout_command, &command, arena, &ret->body, err);
}

static void decided(void *arg, uint64_t seq, const struct err *err)
{
    struct leaving *leaving = arg;
    (void)seq;
    leaving->r->leaving--;
    if (err->code != ERR_OK && err->code != ERR_CONFLICT && err->code != ERR_NO_CONTACT)
        log_err("a device that was put out is still in a rollout", err);
    mem_free(leaving);
}

static void leave(struct rollouts_live *live, uint32_t device, const char *state)
{
    struct rollouts *r = live->rollouts;
    struct err err = {0};
    struct leaving *leaving = mem_new(1, sizeof *leaving);
    *leaving = (struct leaving){.r = r, .device = device, .state = state};
    (void)snprintf(leaving->id, sizeof leaving->id, "%s", live->row.id);
    if (decisions_submit(r->parts.decisions, prepare, decided, leaving, &err) == ERR_OK)
        r->leaving++;
    else
        mem_free(leaving); /* the next sweep finds it again */
}

struct search {
    struct rollouts *r;
    const char *state;
};

static void found(void *arg, const char *device)
{
    const struct search *search = arg;
    struct rollouts *r = search->r;
    const uint32_t number = fleet_find(r->parts.fleet, device);
    uint32_t member;
    for (uint32_t i = 0; number != FLEET_NONE && i < r->lives_len; i++)
        if (r->leaving < LEAVING_MAX && takes_part(r->lives[i], number, &member))
            leave(r->lives[i], number, search->state);
}

void rollouts_leave_out(struct rollouts *r)
{
    static const enum admit_state states[] = {ADMIT_REJECTED, ADMIT_REVOKED, ADMIT_RETIRED};
    struct err err = {0};
    for (size_t i = 0; i < ARRAY_LEN(states) && r->lives_len > 0 && r->leaving == 0; i++) {
        struct search search = {r, admit_state_names[states[i]]};
        if (store_identity_each(r->parts.db, search.state, found, &search, &err) != ERR_OK)
            log_err("which devices were put out", &err);
    }
}
