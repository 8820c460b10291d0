/* SPDX-License-Identifier: Apache-2.0
 *
 * rollout.start, and what an operator tells a rollout afterwards. What the rollout itself would
 * refuse is refused here first, with a sentence, because its answer comes after the decision.
 */
#include <stdio.h>
#include <string.h>

#include "captain/api_private.h"
#include "captain/io/policy_yaml.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/clock.h"
#include "common/hash.h"

enum err_code api_demand_reason(const char *reason, const char *what, struct err *err)
{
    if (reason && reason[0])
        return ERR_OK;
    (void)err_set(err, ERR_USAGE, "%s needs a reason", what);
    return err_hint(err, "--reason TEXT");
}

/* Starting. */

/* A policy that came as text: its complaints name the file as the operator knows it. */
static enum err_code read_policy(const char *name, const char *text, struct policy *ret,
                                 struct err *err)
{
    const enum err_code code =
        policy_yaml_parse(name[0] ? name : "policy", bytes_of(text, strlen(text)), ret, err);
    if (code == ERR_NOT_FOUND)
        return err_hint(err, "--policy careful, normal, fast or a FILE");
    return code;
}

static enum err_code policy_of_channel(struct api_request *request,
                                       const struct api_channel *channel, struct policy *ret,
                                       struct err *err)
{
    struct policy_info stored;
    struct err absent = {0};
    const enum err_code code = store_policy_get(
        request->captain->db, channel->app, channel->channel, &request->arena, &stored, &absent);
    if (code == ERR_NOT_FOUND)
        return policy_named("normal", ret, err);
    if (code != ERR_OK)
        return err_set(err, code, "%s", absent.text);
    return read_policy(stored.name, stored.policy, ret, err);
}

enum err_code api_rollout_policy(struct api_request *request, const struct api_channel *channel,
                                 struct policy *ret, struct err *err)
{
    const struct rollout_start_request *in = &request->in.rollout_start;
    if (in->policy[0] || in->policy_name[0])
        return read_policy(in->policy_name, in->policy, ret, err);
    return policy_of_channel(request, channel, ret, err);
}

enum err_code api_rollout_base(struct api_request *request, const struct api_channel *channel,
                               struct api_base *ret, struct err *err)
{
    struct captain *captain = request->captain;
    struct store_channel row;
    struct err absent = {0};
    memset(ret, 0, sizeof *ret);
    (void)rollouts_live(captain->rollouts, channel->app, channel->channel, &ret->live);
    const enum err_code code = store_channel_get(captain->db, channel->app, channel->channel,
                                                 &request->arena, &row, &absent);
    if (code == ERR_NOT_FOUND)
        return ERR_OK;
    if (code != ERR_OK)
        return err_set(err, code, "%s", absent.text);
    ret->has_base = !row.unsettled;
    memcpy(ret->digest, row.digest, DIGEST_BYTES);
    return ERR_OK;
}

static enum err_code sequence_of_base(struct api_request *request, const struct api_base *base,
                                      uint64_t *ret, struct err *err)
{
    struct store_release release;
    *ret = 0;
    if (!base->has_base)
        return ERR_OK;
    const enum err_code code =
        store_release_get(request->captain->db, base->digest, &request->arena, &release, err);
    if (code == ERR_OK)
        *ret = release.sequence;
    return code;
}

enum err_code api_rollout_floors(struct api_request *request, const struct policy *policy,
                                 const struct api_base *base, const struct store_release *target,
                                 struct err *err)
{
    uint64_t from = 0;
    enum err_code code = sequence_of_base(request, base, &from, err);
    /* The first release ever starts from nothing: there is nothing that has to pass. */
    for (uint32_t i = 0; i < policy->floors_len && code == ERR_OK && base->has_base; i++) {
        const struct policy_floor *floor = &policy->floors[i];
        struct store_release release;
        code = store_release_find(request->captain->db, target->app, floor->version,
                                  &request->arena, &release, err);
        if (code != ERR_OK)
            return code == ERR_NOT_FOUND
                       ? api_release_unknown(request, target->app, floor->version, err)
                       : code;
        if (from >= release.sequence || target->sequence <= release.sequence)
            continue;
        (void)err_set(err, ERR_CONFLICT, "%s@%s must be passed through first: %s", target->app,
                      floor->version, floor->reason);
        return err_hint(err, "captain rollout start %s %s@%s", request->in.rollout_start.channel,
                        target->app, floor->version);
    }
    return code;
}

/* Where it should go already: nothing to decide, and most likely not what was meant. */
static enum err_code check_new(const struct api_request *request, const struct api_base *base,
                               const struct store_release *target, struct err *err)
{
    const struct rollout_start_request *in = &request->in.rollout_start;
    if (base->live.id && memcmp(base->live.digest, target->digest, DIGEST_BYTES) == 0) {
        struct rollout_view view;
        rollout_view(base->live.core, &view);
        /* One that goes back from this very release may be tried again. */
        if (view.state > ROLLOUT_SUCCEEDED)
            return ERR_OK;
        (void)err_set(err, ERR_CONFLICT, "%s is being rolled out to %s already, by rollout %s",
                      in->release, in->channel, base->live.id);
        return err_hint(err, "captain rollout watch %s", base->live.id);
    }
    if (base->live.id || !base->has_base || memcmp(base->digest, target->digest, DIGEST_BYTES) != 0)
        return ERR_OK;
    (void)err_set(err, ERR_CONFLICT, "channel %s is on %s already", in->channel, in->release);
    return err_hint(err, "captain device drift shows who does not run it");
}

/* Back to the base of the rollout that is under way: the fast way, not a rollout of its own. */
static enum err_code decide_back(struct api_request *request, const struct rollout_handle *live,
                                 struct arena *arena, struct decision *ret, struct err *err)
{
    struct rollout_stored_input input = {.kind = ROLLOUT_IN_SUPERSEDE,
                                         .now_ms = clock_unix_ms(),
                                         .flag = true,
                                         .reason = request->in.rollout_start.reason};
    struct rollout_command command = {.id = live->id, .input = &input, .verb = "undo"};
    (void)snprintf(request->rollout, sizeof request->rollout, "%s", live->id);
    *ret = (struct decision){.actor = request->actor,
                             .kind = "rollout.command",
                             .subject = request->rollout,
                             .reason = request->in.rollout_start.reason};
    return codec_encode(&codec_rollout_command, &command, arena, &ret->body, err);
}

static enum err_code decide_start(struct api_request *request, const struct api_channel *channel,
                                  const struct api_base *base, const struct store_release *target,
                                  const struct policy *policy, struct arena *arena,
                                  struct decision *ret, struct err *err)
{
    struct rollout_started started = {.id = request->rollout,
                                      .app = channel->app,
                                      .channel = channel->channel,
                                      .digest = bytes_of(target->digest, DIGEST_BYTES),
                                      .policy_name = policy->name,
                                      .supersedes = base->live.id ? base->live.id : ""};
    clock_ulid(request->rollout);
    clock_random(&started.seed, sizeof started.seed);
    started.base_digest = bytes_of(base->digest, base->has_base ? DIGEST_BYTES : 0);
    /* In full, so that what another version of this program thinks of "careful" changes nothing. */
    const enum err_code code = policy_yaml_write(policy, arena, &started.policy, err);
    if (code != ERR_OK)
        return code;
    *ret = (struct decision){.actor = request->actor,
                             .kind = "rollout.started",
                             .reason = request->in.rollout_start.reason};
    ret->subject = arena_printf(arena, "%s/%s", channel->app, channel->channel);
    return ret->subject ? codec_encode(&codec_rollout_started, &started, arena, &ret->body, err)
                        : api_too_large(err);
}

enum err_code api_rollout_prepare(struct api_request *request, struct arena *arena,
                                  struct decision *ret, struct err *err)
{
    const struct rollout_start_request *in = &request->in.rollout_start;
    struct api_channel channel;
    struct store_release target;
    struct policy policy;
    struct api_base base;
    enum err_code code = api_read_channel(in->channel, &channel, err);
    if (code == ERR_OK)
        code = api_find_release(request, channel.app, in->release, &target, err);
    if (code == ERR_OK)
        code = api_rollout_policy(request, &channel, &policy, err);
    if (code == ERR_OK)
        code = api_rollout_base(request, &channel, &base, err);
    if (code == ERR_OK)
        code = check_new(request, &base, &target, err);
    if (code == ERR_OK)
        code = api_rollout_floors(request, &policy, &base, &target, err);
    if (code != ERR_OK)
        return code;
    const bool back = base.live.id && base.live.has_base &&
                      memcmp(base.live.base_digest, target.digest, DIGEST_BYTES) == 0;
    return back ? decide_back(request, &base.live, arena, ret, err)
                : decide_start(request, &channel, &base, &target, &policy, arena, ret, err);
}

/* Telling it. */

struct told {
    struct rollout_handle handle;
    struct rollout_view view;
    struct rollout_stored_input input;
    uint32_t device; /* fleet's number; FLEET_NONE */
};

static enum err_code refuse_state(const struct told *told, const char *what, struct err *err)
{
    (void)err_set(err, ERR_CONFLICT, "rollout %s is %s; %s", told->handle.id,
                  rollout_state_name(told->view.state), what);
    return err_hint(err, "captain rollout show %s", told->handle.id);
}

static bool is_under_way(const struct told *told)
{
    return told->view.state == ROLLOUT_PENDING || told->view.state == ROLLOUT_RUNNING ||
           told->view.state == ROLLOUT_PAUSED ||
           (told->view.state == ROLLOUT_HELD && told->view.held_gate != GATE_ROLLBACK);
}

static enum err_code fill_pause(struct api_request *request, struct told *told, struct err *err)
{
    told->input.kind = ROLLOUT_IN_PAUSE;
    request->settled = told->view.state == ROLLOUT_PAUSED;
    return is_under_way(told) ? ERR_OK : refuse_state(told, "there is nothing to pause", err);
}

static enum err_code fill_resume_held(struct api_request *request, struct told *told,
                                      struct err *err)
{
    const struct rollout_action *in = &request->in.rollout_action;
    const char *held = gate_name(told->view.held_gate);
    if (!str_equal(in->gate, held)) {
        (void)err_set(err, in->gate[0] ? ERR_CONFLICT : ERR_USAGE,
                      "rollout %s is held by gate %s%s%s", told->handle.id, held,
                      in->gate[0] ? ", not by " : "", in->gate);
        return err_hint(err, "captain rollout resume %s --gate %s --reason TEXT", told->handle.id,
                        held);
    }
    told->input.what = told->view.held_gate;
    told->input.number = told->view.wave == ROLLOUT_NONE ? 0 : told->view.wave;
    return api_demand_reason(in->reason, "resuming past a gate", err);
}

static enum err_code fill_resume(struct api_request *request, struct told *told, struct err *err)
{
    const char *gate = request->in.rollout_action.gate;
    told->input.kind = ROLLOUT_IN_RESUME;
    if (gate[0] && gate_by_name(gate) == 0) {
        (void)err_set(err, ERR_USAGE, "there is no gate %s", gate);
        return err_hint(err, "captain rollout show %s names the one that holds", told->handle.id);
    }
    if (told->view.state == ROLLOUT_HELD)
        return fill_resume_held(request, told, err);
    request->settled = told->view.state == ROLLOUT_RUNNING && !gate[0];
    if (told->view.state == ROLLOUT_PAUSED && gate[0])
        return refuse_state(told, "by an operator, and not by a gate", err);
    return told->view.state == ROLLOUT_PAUSED || request->settled
               ? ERR_OK
               : refuse_state(told, "there is nothing to resume", err);
}

static enum err_code fill_promote(struct api_request *request, struct told *told, struct err *err)
{
    (void)request;
    told->input.kind = ROLLOUT_IN_PROMOTE;
    if (!is_under_way(told) || told->view.state == ROLLOUT_PAUSED ||
        told->view.wave == ROLLOUT_NONE)
        return refuse_state(told, "there is no wave to pass by", err);
    if (told->view.verdict.verdict == GATE_FAIL) {
        (void)err_set(err, ERR_CONFLICT, "gate %s has failed; nobody passes by a failed gate",
                      gate_name(told->view.verdict.gate));
        return err_hint(err, "captain rollout resume %s --gate %s --reason TEXT acknowledges it",
                        told->handle.id, gate_name(told->view.verdict.gate));
    }
    if (told->view.wave + 1 == rollout_policy(told->handle.core)->waves_len)
        return refuse_state(told, "its last wave ends when its devices are healthy", err);
    return ERR_OK;
}

static enum err_code fill_abort(struct api_request *request, struct told *told, struct err *err)
{
    (void)err; /* it is taken in every state, and twice */
    told->input.kind = ROLLOUT_IN_ABORT;
    told->input.flag = request->in.rollout_action.keep;
    request->settled = told->view.state >= ROLLOUT_ABORTING ||
                       (told->view.state == ROLLOUT_HELD && !is_under_way(told));
    return ERR_OK;
}

static enum err_code fill_undo(struct api_request *request, struct told *told, struct err *err)
{
    told->input.kind = ROLLOUT_IN_SUPERSEDE;
    told->input.flag = true;
    request->settled = told->view.state >= ROLLOUT_ABORTING;
    return told->handle.has_base
               ? ERR_OK
               : refuse_state(told, "it was the first of its channel: nothing is behind it", err);
}

/* The member that the request names. */
static enum err_code fill_device(struct api_request *request, struct told *told,
                                 struct rollout_device_view *ret, struct err *err)
{
    struct captain *captain = request->captain;
    const char *text = request->in.rollout_action.device;
    if (!text[0]) {
        (void)err_set(err, ERR_USAGE, "which device?");
        return err_hint(err, "captain rollout %s %s [SITE/]DEVICE", request->verb->verb,
                        told->handle.id);
    }
    const enum err_code code = api_find_device(captain, text, &told->device, err);
    if (code != ERR_OK)
        return code;
    told->input.member = rollouts_member(captain->rollouts, &told->handle, told->device);
    if (told->input.member == ROLLOUT_NONE)
        return err_set(err, ERR_NOT_FOUND, "device %s is not in rollout %s",
                       fleet_device_name(captain->fleet, told->device), told->handle.id);
    rollout_device_view(told->handle.core, told->input.member, ret);
    return ERR_OK;
}

static enum err_code fill_retry(struct api_request *request, struct told *told, struct err *err)
{
    struct rollout_device_view view;
    told->input.kind = ROLLOUT_IN_RETRY;
    const enum err_code code = fill_device(request, told, &view, err);
    if (code != ERR_OK)
        return code;
    if (told->view.state == ROLLOUT_SUPERSEDED || told->view.state == ROLLOUT_SUCCEEDED)
        return refuse_state(told, "start it again to reach this device", err);
    if (view.boxed || view.device == ROLLOUT_QUARANTINED)
        return ERR_OK;
    return err_set(err, ERR_CONFLICT, "device %s is neither in the penalty box nor in quarantine",
                   fleet_device_name(request->captain->fleet, told->device));
}

static enum err_code fill_exclude(struct api_request *request, struct told *told, struct err *err)
{
    struct rollout_device_view view;
    told->input.kind = ROLLOUT_IN_EXCLUDE;
    enum err_code code = fill_device(request, told, &view, err);
    if (code == ERR_OK)
        code = api_demand_reason(request->in.rollout_action.reason, "leaving a device out", err);
    request->settled = code == ERR_OK && view.excluded;
    return code;
}

static enum err_code fill_approve(struct api_request *request, struct told *told, struct err *err)
{
    told->input.kind = ROLLOUT_IN_APPROVE;
    if (!is_under_way(told) || told->view.wave == ROLLOUT_NONE)
        return refuse_state(told, "no wave of it is open for approval", err);
    told->input.number = told->view.wave;
    told->input.operator_id = rng_hash(0, request->actor, strlen(request->actor));
    return ERR_OK;
}

static const struct {
    const char *verb;
    enum err_code (*fill)(struct api_request *request, struct told *told, struct err *err);
} ACTIONS[] = {
    {"pause", fill_pause},     {"resume", fill_resume},   {"promote", fill_promote},
    {"abort", fill_abort},     {"retry", fill_retry},     {"undo", fill_undo},
    {"exclude", fill_exclude}, {"approve", fill_approve},
};

static enum err_code fill(struct api_request *request, struct told *told, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(ACTIONS); i++)
        if (str_equal(ACTIONS[i].verb, request->verb->verb))
            return ACTIONS[i].fill(request, told, err);
    return err_set(err, ERR_USAGE, "a rollout knows no %s", request->verb->verb);
}

enum err_code api_rollout_action_prepare(struct api_request *request, struct arena *arena,
                                         struct decision *ret, struct err *err)
{
    const struct rollout_action *in = &request->in.rollout_action;
    struct told told = {.input = {.now_ms = clock_unix_ms(), .reason = in->reason},
                        .device = FLEET_NONE};
    enum err_code code = api_find_rollout(request, in->rollout, &told.handle, err);
    if (code != ERR_OK)
        return code;
    rollout_view(told.handle.core, &told.view);
    (void)snprintf(request->rollout, sizeof request->rollout, "%s", told.handle.id);
    code = fill(request, &told, err);
    if (code != ERR_OK)
        return code;
    struct rollout_command command = {
        .id = request->rollout, .input = &told.input, .verb = request->verb->verb};
    if (told.device != FLEET_NONE)
        command.device = fleet_device_name(request->captain->fleet, told.device);
    *ret = (struct decision){.actor = request->actor,
                             .kind = "rollout.command",
                             .subject = request->rollout,
                             .reason = in->reason};
    return codec_encode(&codec_rollout_command, &command, arena, &ret->body, err);
}

enum err_code api_rollout_was_told(struct api_request *request, union api_out *ret, struct err *err)
{
    struct rollout_handle handle;
    const enum err_code code =
        rollouts_find(request->captain->rollouts, request->rollout, &handle, err);
    return code == ERR_OK ? api_rollout_describe(request, &handle, &ret->rollout_info, err) : code;
}
