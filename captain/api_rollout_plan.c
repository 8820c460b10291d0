/* SPDX-License-Identifier: Apache-2.0
 *
 * rollout.plan: what a start would do now, by the code of the start itself: the same members, the same draw
 * rules, the same core. Nothing is sent and nothing is decided.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "captain/api_private.h"
#include "captain/core/wave.h"
#include "common/base/mem.h"
#include "common/clock.h"

enum { SENTENCES_MAX = 32 };

struct plan {
    struct api_request *request;
    struct policy policy;
    struct api_base base;
    struct rollout_start start;
    const uint32_t *devices; /* fleet's number of each member */
    struct rollout *core;
    const char *caps[SENTENCES_MAX], *holds[SENTENCES_MAX];
    size_t caps_len, holds_len;
};

static void plan_fini(struct plan *plan)
{
    rollout_free(plan->core);
}

static void say(struct plan *plan, const char **list, size_t *len, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
static void say(struct plan *plan, const char **list, size_t *len, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    const char *copy = *len < SENTENCES_MAX ? arena_strdup(&plan->request->arena, text) : NULL;
    if (copy)
        list[(*len)++] = copy;
}
#define CAP(plan, ...) say(plan, (plan)->caps, &(plan)->caps_len, __VA_ARGS__)
#define HOLD(plan, ...) say(plan, (plan)->holds, &(plan)->holds_len, __VA_ARGS__)

static void say_caps(struct plan *plan)
{
    const struct policy *policy = &plan->policy;
    char lease[32];
    if (policy->admission.max_in_flight)
        CAP(plan, "at most %u devices change at once", policy->admission.max_in_flight);
    if (policy->admission.max_in_flight_per_site)
        CAP(plan, "at most %u of a site at once", policy->admission.max_in_flight_per_site);
    if (policy->admission.max_in_flight_per_group)
        CAP(plan, "at most %u of a kind of hardware at once",
            policy->admission.max_in_flight_per_group);
    if (policy->admission.max_unavailable_per_site_percent < 100)
        CAP(plan, "at most %u %% of a site at once%s",
            policy->admission.max_unavailable_per_site_percent,
            policy->admission.allow_one ? ", but one of a small site" : "");
    if (policy->admission.ramp_start)
        CAP(plan, "%u at once to begin with, %u more for each success",
            policy->admission.ramp_start, policy->admission.ramp_gain);
    str_format_duration(policy->admission.lease_ms, lease);
    CAP(plan, "a device has %s for its change", lease);
    CAP(plan, policy->admission.window_end == POLICY_WINDOW_STOP_OFFERS
                  ? "in a site's maintenance windows; none begins that might not end in it"
                  : "in a site's maintenance windows; what has begun is finished");
}

static void say_holds(struct plan *plan, const struct store_release *target)
{
    struct captain *captain = plan->request->captain;
    struct rollout_view view;
    struct err err = {0};
    rollout_view(plan->core, &view);
    if (rollouts_frozen(captain->rollouts))
        HOLD(plan, "the fleet is frozen (captain thaw)");
    if (plan->start.members_len == 0)
        HOLD(plan, "no device follows this channel");
    else if (view.eligible_now == 0)
        HOLD(plan, "no device was in contact lately enough to be eligible");
    if (plan->base.live.id)
        HOLD(plan, "rollout %s is under way and would be superseded", plan->base.live.id);
    if (plan->base.has_base && memcmp(plan->base.digest, target->digest, DIGEST_BYTES) == 0)
        HOLD(plan, "the channel is on this release already");
    if (api_rollout_floors(plan->request, &plan->policy, &plan->base, target, &err) != ERR_OK)
        HOLD(plan, "%s", err.text);
    for (uint32_t i = 0; i < plan->policy.waves_len; i++) {
        const uint32_t approvals = plan->policy.waves[i].approvals + plan->policy.approvals;
        if (approvals)
            HOLD(plan, "wave %s ends only with %u approval%s", plan->policy.waves[i].name,
                 approvals, approvals == 1 ? "" : "s");
    }
}

/* Waves. */

static const char *gates_in_words(struct plan *plan, const struct policy_wave *wave)
{
    const struct policy *policy = &plan->policy;
    char soak[32], text[400];
    str_format_duration(wave->soak_ms < 0 ? policy->soak_ms : wave->soak_ms, soak);
    size_t len = (size_t)snprintf(text, sizeof text,
                                  "%.0f %% report, at most %u %% (%u to %u) fail, healthy for %s",
                                  100 * policy->coverage.quorum, policy->failures.max_percent,
                                  policy->failures.min_abs, policy->failures.max_abs, soak);
    if (policy->rate.on)
        len += (size_t)snprintf(text + len, sizeof text - len, ", rate against %g %%",
                                100 * policy->rate.p0);
    if (policy->compare.on)
        len += (size_t)snprintf(text + len, sizeof text - len, ", compare against control");
    if (policy->metrics_len)
        len += (size_t)snprintf(text + len, sizeof text - len, ", %u metric%s", policy->metrics_len,
                                policy->metrics_len == 1 ? "" : "s");
    if (policy->approvals + wave->approvals)
        (void)snprintf(text + len, sizeof text - len, ", %u approved by",
                       policy->approvals + wave->approvals);
    return arena_strdup(&plan->request->arena, text);
}

/* Of a wave that the core has not opened: the picked by counting, the counted by its own formula. */
static uint32_t size_of(const struct plan *plan, uint32_t wave, uint32_t taken)
{
    const struct policy_wave *of = &plan->policy.waves[wave];
    struct rollout_view view;
    uint32_t picked = 0;
    rollout_view(plan->core, &view);
    if (of->kind != POLICY_WAVE_SELECTOR && of->kind != POLICY_WAVE_NAMED)
        return wave_size(of, view.eligible_now, taken);
    for (uint32_t i = 0; i < plan->start.members_len; i++)
        picked += plan->start.members[i].pick == wave;
    return picked;
}

/* The first wave as the core has drawn it. */
static bool take_first(struct plan *plan, struct rollout_plan_wave *ret)
{
    const char **names = arena_alloc(&plan->request->arena, API_DEVICES_NAMED_MAX * sizeof *names);
    struct rollout_device_view device;
    if (!names)
        return false;
    ret->sample = names;
    for (uint32_t i = 0; i < plan->start.members_len; i++) {
        rollout_device_view(plan->core, i, &device);
        if (device.wave != 0)
            continue;
        ret->devices++;
        if (ret->sample_len < API_DEVICES_NAMED_MAX)
            names[ret->sample_len++] =
                fleet_device_name(plan->request->captain->fleet, plan->devices[i]);
    }
    return true;
}

static bool take_waves(struct plan *plan, struct rollout_plan *ret)
{
    struct rollout_plan_wave *waves =
        arena_alloc(&plan->request->arena, plan->policy.waves_len * sizeof *waves);
    uint32_t taken = 0;
    if (!waves || !take_first(plan, &waves[0]))
        return false;
    for (uint32_t i = 0; i < plan->policy.waves_len; i++) {
        waves[i].name = plan->policy.waves[i].name;
        waves[i].gates = gates_in_words(plan, &plan->policy.waves[i]);
        if (i > 0)
            waves[i].devices = size_of(plan, i, taken);
        taken += waves[i].devices;
        if (!waves[i].gates)
            return false;
    }
    ret->waves = waves;
    ret->waves_len = plan->policy.waves_len;
    return true;
}

/* All of it. */

static enum err_code open_plan(struct plan *plan, const struct api_channel *channel,
                               struct err *err)
{
    struct rollout_effects effects;
    char id[ULID_TEXT];
    uint64_t seed;
    clock_ulid(id);
    clock_random(&seed, sizeof seed);
    const enum err_code code = rollouts_members_now(
        plan->request->captain->rollouts, channel->app, channel->channel, id, &plan->policy, seed,
        &plan->request->arena, &plan->start, &plan->devices, err);
    if (code != ERR_OK)
        return code;
    plan->core = rollout_new();
    const struct rollout_input input = {
        .kind = ROLLOUT_IN_START, .now_ms = clock_unix_ms(), .u.start = plan->start};
    rollout_step(plan->core, &input, &effects);
    return ERR_OK;
}

static bool copy_list(struct arena *arena, const char *const *list, size_t len,
                      const char *const **ret, size_t *ret_len)
{
    *ret = arena_dup(arena, list, len * sizeof *list);
    *ret_len = len;
    return *ret != NULL || len == 0;
}

static enum err_code fill(struct plan *plan, const struct store_release *target,
                          struct rollout_plan *ret, struct err *err)
{
    struct api_request *request = plan->request;
    struct arena *arena = &request->arena;
    struct rollout_view view;
    rollout_view(plan->core, &view);
    ret->channel = request->in.rollout_start.channel;
    ret->release = request->in.rollout_start.release;
    ret->base_release = api_release_name(
        request, bytes_of(plan->base.digest, plan->base.has_base ? DIGEST_BYTES : 0));
    ret->policy_name = arena_strdup(arena, plan->policy.name);
    ret->devices = plan->start.members_len;
    ret->eligible = view.eligible_now;
    ret->log_seq = decisions_last_seq(request->captain->decisions);
    say_caps(plan);
    say_holds(plan, target);
    const bool complete =
        ret->base_release && ret->policy_name && take_waves(plan, ret) &&
        copy_list(arena, plan->caps, plan->caps_len, &ret->caps, &ret->caps_len) &&
        copy_list(arena, plan->holds, plan->holds_len, &ret->holds, &ret->holds_len);
    return complete ? ERR_OK : api_too_large(err);
}

enum err_code api_rollout_plan(struct api_request *request, union api_out *ret, struct err *err)
{
    const struct rollout_start_request *in = &request->in.rollout_start;
    struct plan plan DEFER(plan_fini) = {.request = request};
    struct api_channel channel;
    struct store_release target;
    enum err_code code = api_read_channel(in->channel, &channel, err);
    if (code == ERR_OK)
        code = api_find_release(request, channel.app, in->release, &target, err);
    if (code == ERR_OK)
        code = api_rollout_policy(request, &channel, &plan.policy, err);
    if (code == ERR_OK)
        code = api_rollout_base(request, &channel, &plan.base, err);
    if (code == ERR_OK)
        code = open_plan(&plan, &channel, err);
    return code == ERR_OK ? fill(&plan, &target, &ret->rollout_plan, err) : code;
}
