/* SPDX-License-Identifier: Apache-2.0
 *
 * rollout.ls | show: how rollouts stand. A live one is read from its core, an ended one in a list from the
 * tables alone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "captain/api_private.h"
#include "captain/core/wave.h"
#include "common/base/mem.h"
#include "common/clock.h"
#include "common/log.h"

enum {
    LIST_DEFAULT = 50,
    LIST_TOP = 500,
    SITES_TOLD_MAX = 64, /* those with failures first */
    TEXTS_MAX = 64,      /* devices whose own words are looked up for one answer */
    STRATA = 1 << 16,
};

/* Finding one. */

static enum err_code find_only(struct api_request *request, struct rollout_handle *ret,
                               struct err *err)
{
    struct captain *captain = request->captain;
    struct store_rollout *rows;
    size_t len = 0;
    enum err_code code =
        store_rollout_list(captain->db, "", true, 2, &request->arena, &rows, &len, err);
    if (code == ERR_OK && len == 0)
        code = store_rollout_list(captain->db, "", false, 1, &request->arena, &rows, &len, err);
    if (code != ERR_OK)
        return code;
    if (len == 1)
        return rollouts_find(captain->rollouts, rows[0].id, ret, err);
    (void)err_set(err, len ? ERR_USAGE : ERR_NOT_FOUND,
                  len ? "several rollouts are under way: which one?" : "there is no rollout yet");
    return len ? err_hint(err, "captain rollout ls")
               : err_hint(err, "captain rollout start APP/CHANNEL APP@VERSION");
}

enum err_code api_find_rollout(struct api_request *request, const char *text,
                               struct rollout_handle *ret, struct err *err)
{
    if (!text || !text[0])
        return find_only(request, ret, err);
    const enum err_code code = rollouts_find(request->captain->rollouts, text, ret, err);
    return code == ERR_NOT_FOUND ? err_hint(err, "captain rollout ls") : code;
}

/* Gates. */

bool api_gate_info(struct api_request *request, const struct policy *policy,
                   const struct gate_result *result, struct rollout_gate_info *ret)
{
    char sentence[GATE_SENTENCE_MAX];
    gate_sentence(policy, result, sentence);
    *ret = (struct rollout_gate_info){.gate = gate_name(result->gate),
                                      .verdict = gate_verdict_name(result->verdict),
                                      .reason = gate_reason_name(result->reason),
                                      .sentence = arena_strdup(&request->arena, sentence),
                                      .until_ms = result->until_ms};
    return ret->sentence != NULL;
}

/* All that the policy asks for, as they see the open wave now. */
static bool take_gates(struct api_request *request, const struct rollout *core,
                       struct rollout_wave_info *ret)
{
    const struct policy *policy = rollout_policy(core);
    struct gate_snapshot snapshot;
    struct gate_eval eval;
    struct rollout_gate_info *gates = arena_alloc(&request->arena, GATE_IDS * sizeof *gates);
    const int64_t now_ms = clock_unix_ms();
    if (!gates)
        return false;
    ret->gates = gates;
    if (!rollout_snapshot(core, now_ms, &snapshot))
        return true;
    gate_eval(policy, &snapshot, now_ms, &eval);
    for (int gate = GATE_COVERAGE; gate < GATE_ROLLBACK; gate++) {
        const struct gate_result *result = &eval.gates[gate];
        if (result->reason == GATE_OFF || result->gate == 0)
            continue;
        if (!api_gate_info(request, policy, result, &gates[ret->gates_len++]))
            return false;
    }
    return true;
}

/* Sites of the open wave, and waves, in one walk over the members. */

struct site {
    const char *name; /* a view of a device's name */
    size_t name_len;
    struct rollout_site_info info;
    struct rollout_device_info *failing;
};

struct walk {
    struct api_request *request;
    const struct rollout_handle *handle;
    struct rollout_view view;
    struct rollout_wave_info *waves;
    uint32_t waves_len;
    struct site *sites;
    uint32_t sites_len, sites_cap;
    uint32_t *site_of; /* by stratum, plus 1 */
    uint32_t texts;
    bool full;
};

/* One that found no row in a full fleet is counted under no name. */
static const char *name_of(const struct walk *walk, uint32_t member)
{
    const uint32_t device = walk->handle->members[member];
    return device == FLEET_NONE ? "?/?" : fleet_device_name(walk->request->captain->fleet, device);
}

static uint32_t site_by_name(struct walk *walk, const char *device)
{
    const size_t len = strcspn(device, "/");
    for (uint32_t i = 0; i < walk->sites_len; i++)
        if (walk->sites[i].name_len == len && memcmp(walk->sites[i].name, device, len) == 0)
            return i;
    if (walk->sites_len == walk->sites_cap) {
        const uint32_t cap = walk->sites_cap ? 2 * walk->sites_cap : 64;
        walk->sites = mem_grow(walk->sites, walk->sites_cap, cap, sizeof *walk->sites);
        walk->sites_cap = cap;
    }
    walk->sites[walk->sites_len] = (struct site){.name = device, .name_len = len};
    return walk->sites_len++;
}

static struct site *site_of(struct walk *walk, uint32_t member, uint16_t stratum)
{
    if (walk->site_of[stratum] == 0)
        walk->site_of[stratum] = site_by_name(walk, name_of(walk, member)) + 1;
    return &walk->sites[walk->site_of[stratum] - 1];
}

/* In the device's own words; "" when it said none. */
static const char *words_of(struct walk *walk, uint32_t device)
{
    struct health health;
    struct err err = {0};
    if (device == FLEET_NONE || walk->texts++ >= TEXTS_MAX ||
        api_device_health(walk->request, device, &health, &err) != ERR_OK)
        return "";
    for (size_t i = 0; i < health.apps_len; i++)
        if (str_equal(health.apps[i].app, walk->handle->app))
            return health.apps[i].reason;
    return "";
}

static bool is_failing(const struct rollout_device_view *device)
{
    return device->failed || device->boxed || device->device == ROLLOUT_FAILED ||
           device->device == ROLLOUT_UNHEALTHY || device->device == ROLLOUT_QUARANTINED;
}

static void take_failing(struct walk *walk, struct site *site, uint32_t member,
                         const struct rollout_device_view *device)
{
    const uint32_t number = walk->handle->members[member];
    site->info.failed++;
    if (!site->failing)
        site->failing =
            arena_alloc(&walk->request->arena, API_DEVICES_NAMED_MAX * sizeof *site->failing);
    if (!site->failing)
        walk->full = true;
    else if (site->info.failing_len < API_DEVICES_NAMED_MAX)
        site->failing[site->info.failing_len++] = (struct rollout_device_info){
            .device = name_of(walk, member),
            .state = rollout_device_name(device->device),
            .class = device->class == POLICY_CLASS_NONE ? "" : policy_class_name(device->class),
            .text = words_of(walk, number),
            .boxed = device->boxed};
}

static void take_member(struct walk *walk, uint32_t member)
{
    struct rollout_device_view device;
    rollout_device_view(walk->handle->core, member, &device);
    if (device.wave >= walk->waves_len || device.deleted || device.excluded)
        return;
    struct rollout_wave_info *wave = &walk->waves[device.wave];
    const bool healthy = device.device == ROLLOUT_HEALTHY && !device.failed;
    const bool failing = is_failing(&device);
    wave->devices++;
    wave->healthy += healthy;
    wave->failed += device.failed;
    /* Failing devices of earlier waves are told too: they count in the wave that is open. */
    if (device.wave != walk->view.wave && !failing)
        return;
    struct site *site = site_of(walk, member, device.stratum);
    site->info.devices++;
    site->info.healthy += healthy;
    site->info.applying += device.device == ROLLOUT_APPLYING || device.device == ROLLOUT_RETURNING;
    if (failing)
        take_failing(walk, site, member, &device);
}

static int compare_sites(const void *a, const void *b)
{
    const struct site *x = a, *y = b;
    if (x->info.failed != y->info.failed)
        return x->info.failed > y->info.failed ? -1 : 1;
    const size_t len = x->name_len < y->name_len ? x->name_len : y->name_len;
    const int order = memcmp(x->name, y->name, len);
    return order ? order : (x->name_len > y->name_len) - (x->name_len < y->name_len);
}

static bool tell_sites(struct walk *walk, struct rollout_wave_info *ret)
{
    const uint32_t told = walk->sites_len < SITES_TOLD_MAX ? walk->sites_len : SITES_TOLD_MAX;
    struct arena *arena = &walk->request->arena;
    struct rollout_site_info *infos = arena_alloc(arena, (told + 1) * sizeof *infos);
    if (walk->sites_len)
        qsort(walk->sites, walk->sites_len, sizeof *walk->sites, compare_sites);
    bool complete = infos != NULL;
    for (uint32_t i = 0; i < told && complete; i++) {
        const struct site *site = &walk->sites[i];
        infos[i] = site->info;
        infos[i].failing = site->failing;
        infos[i].site = arena_printf(arena, "%.*s", (int)site->name_len, site->name);
        complete = infos[i].site != NULL;
    }
    ret->sites = infos;
    ret->sites_len = told;
    return complete && !walk->full;
}

/* Waves. */

/* Of a wave that is still to come, as far as the number is known by now. */
static void size_next_waves(const struct walk *walk, const struct policy *policy)
{
    uint32_t taken = 0;
    for (uint32_t i = 0; i < walk->waves_len; i++) {
        const struct policy_wave *wave = &policy->waves[i];
        const bool counted = wave->kind == POLICY_WAVE_COUNT || wave->kind == POLICY_WAVE_PERCENT ||
                             wave->kind == POLICY_WAVE_ALL;
        if (str_equal(walk->waves[i].state, "next") && counted)
            walk->waves[i].devices = wave_size(wave, walk->view.eligible_now, taken);
        taken += walk->waves[i].devices;
    }
}

static bool is_over(enum rollout_state state)
{
    return state == ROLLOUT_SUCCEEDED || state >= ROLLOUT_ABORTING;
}

static const char *wave_state(const struct rollout_view *view, uint32_t wave)
{
    if (view->wave == ROLLOUT_NONE || wave > view->wave)
        return "next";
    if (wave < view->wave || view->state == ROLLOUT_SUCCEEDED)
        return "done";
    return is_over(view->state) ? "failed" : "open";
}

static bool take_waves(struct walk *walk, struct rollout_info *ret)
{
    const struct policy *policy = rollout_policy(walk->handle->core);
    struct arena *arena = &walk->request->arena;
    walk->waves_len = policy->waves_len;
    walk->waves = arena_alloc(arena, (policy->waves_len + 1) * sizeof *walk->waves);
    if (!walk->waves)
        return false;
    for (uint32_t i = 0; i < policy->waves_len; i++)
        walk->waves[i] = (struct rollout_wave_info){.name = policy->waves[i].name,
                                                    .state = wave_state(&walk->view, i)};
    walk->site_of = mem_new(STRATA, sizeof *walk->site_of);
    for (uint32_t member = 0; member < walk->handle->members_len; member++)
        take_member(walk, member);
    size_next_waves(walk, policy);
    bool complete = true;
    if (walk->view.wave != ROLLOUT_NONE && walk->view.wave < walk->waves_len) {
        struct rollout_wave_info *open = &walk->waves[walk->view.wave];
        open->started_ms = walk->view.wave_from_ms;
        complete = take_gates(walk->request, walk->handle->core, open) && tell_sites(walk, open);
    }
    mem_free(walk->site_of);
    mem_free(walk->sites);
    ret->waves = walk->waves;
    ret->waves_len = walk->waves_len;
    return complete;
}

/* What comes next. */

static const char *next_wave(struct arena *arena, const struct walk *walk)
{
    const uint32_t next = walk->view.wave == ROLLOUT_NONE ? 0 : walk->view.wave + 1;
    if (next >= walk->waves_len)
        return "then every device has it";
    const struct rollout_wave_info *wave = &walk->waves[next];
    return wave->devices ? arena_printf(arena, "then %s, %u more device%s", wave->name,
                                        wave->devices, wave->devices == 1 ? "" : "s")
                         : arena_printf(arena, "then %s", wave->name);
}

static const char *what_next(struct arena *arena, const struct walk *walk)
{
    const struct rollout_handle *handle = walk->handle;
    const char *gate = gate_name(walk->view.held_gate);
    switch (walk->view.state) {
    case ROLLOUT_PENDING:
    case ROLLOUT_RUNNING:
        return next_wave(arena, walk);
    case ROLLOUT_PAUSED:
        return arena_printf(arena, "captain rollout resume %s", handle->id);
    case ROLLOUT_HELD:
        return walk->view.held_gate == GATE_ROLLBACK
                   ? arena_printf(
                         arena, "captain rollout retry %s, or resume --gate rollback --reason TEXT",
                         handle->id)
                   : arena_printf(arena,
                                  "captain rollout resume %s --gate %s --reason TEXT, or abort",
                                  handle->id, gate);
    case ROLLOUT_ABORTING:
    case ROLLOUT_ROLLING_BACK:
        return arena_printf(arena, "%u device%s go%s back", walk->view.to_go_back,
                            walk->view.to_go_back == 1 ? "" : "s",
                            walk->view.to_go_back == 1 ? "es" : "");
    default:
        return "";
    }
}

static bool take_gate(struct api_request *request, const struct rollout_handle *handle,
                      const struct rollout_view *view, struct rollout_info *ret)
{
    if (view->verdict.gate == 0)
        return true;
    struct rollout_gate_info *gate = arena_alloc(&request->arena, sizeof *gate);
    if (!gate)
        return false;
    ret->gate = gate;
    return api_gate_info(request, rollout_policy(handle->core), &view->verdict, gate);
}

static bool goes_back(const struct rollout_view *view)
{
    return view->state == ROLLOUT_ABORTING || view->state == ROLLOUT_ROLLING_BACK ||
           (view->state == ROLLOUT_HELD && view->held_gate == GATE_ROLLBACK);
}

/* From counters alone. */
static bool take_head(struct api_request *request, const struct rollout_handle *handle,
                      const struct rollout_view *view, struct rollout_info *ret)
{
    const struct bytes base = bytes_of(handle->base_digest, handle->has_base ? DIGEST_BYTES : 0);
    *ret = (struct rollout_info){
        .id = arena_strdup(&request->arena, handle->id),
        .channel = arena_printf(&request->arena, "%s/%s", handle->app, handle->channel),
        .release = api_release_name(request, bytes_of(handle->digest, DIGEST_BYTES)),
        .base_release = api_release_name(request, base),
        .state = handle->lost_state ? handle->lost_state : rollout_state_name(view->state),
        .policy_name = handle->policy_name,
        .started_ms = handle->started_ms,
        .ended_ms = handle->ended_ms,
        .started_by = handle->started_by,
        .reason = handle->reason,
        .wave = view->wave == ROLLOUT_NONE ? 0 : view->wave + 1,
        .devices = view->members,
        .on_target = view->by_device[ROLLOUT_HEALTHY],
        .in_flight = view->in_flight,
        .failed = view->boxed,
        .quarantined = view->quarantined,
        .exposed = view->exposed,
        .decision = handle->decision,
        .outcome_good = view->state == ROLLOUT_SUCCEEDED,
        .to_go_back = goes_back(view) ? view->to_go_back : 0,
    };
    return ret->id && ret->channel && ret->release && ret->base_release;
}

enum err_code api_rollout_describe(struct api_request *request, const struct rollout_handle *handle,
                                   struct rollout_info *ret, struct err *err)
{
    struct walk walk = {.request = request, .handle = handle};
    rollout_view(handle->core, &walk.view);
    if (!take_head(request, handle, &walk.view, ret) ||
        !take_gate(request, handle, &walk.view, ret) || !take_waves(&walk, ret))
        return api_too_large(err);
    ret->next = what_next(&request->arena, &walk);
    ret->policy = handle->policy_text;
    return ret->next ? ERR_OK : api_too_large(err);
}

enum err_code api_rollout_show(struct api_request *request, union api_out *ret, struct err *err)
{
    const struct rollout_query *query = &request->in.rollout_query;
    struct rollout_handle handle;
    const enum err_code code = api_find_rollout(
        request, query->rollout[0] ? query->rollout : query->channel, &handle, err);
    return code == ERR_OK ? api_rollout_describe(request, &handle, &ret->rollout_info, err) : code;
}

/* Telling those who watch. */

static enum err_code publish(struct api_request *request, const struct rollout_handle *handle,
                             struct err *err)
{
    char subject[BUS_SUBJECT_MAX + 1];
    struct rollout_info info;
    struct bytes data;
    enum err_code code = api_rollout_describe(request, handle, &info, err);
    if (code == ERR_OK)
        code = codec_encode(&codec_rollout_info, &info, &request->arena, &data, err);
    if (code != ERR_OK)
        return code;
    (void)snprintf(subject, sizeof subject, "rollout.%s", handle->id);
    return bus_publish(request->captain->bus, subject, data, NULL, NULL, err);
}

void api_rollout_changed(void *captain, const struct rollout_handle *handle)
{
    struct api_request *request = mem_new(1, sizeof *request);
    struct err err = {0};
    request->captain = captain;
    arena_init(&request->arena, API_ARENA_BYTES);
    arena_init(&request->scratch, API_SCRATCH_BYTES);
    /* Whoever watches asks again after a while; a bus that is away has said so itself. */
    if (publish(request, handle, &err) != ERR_OK && err.code != ERR_NO_CONTACT)
        log_err("a rollout's state could not be told", &err);
    arena_fini(&request->arena);
    arena_fini(&request->scratch);
    mem_free(request);
}

/* Listing. */

static bool list_ended(struct api_request *request, const struct store_rollout *row,
                       struct rollout_info *ret)
{
    const struct bytes base = bytes_of(row->base_digest, row->has_base ? DIGEST_BYTES : 0);
    *ret = (struct rollout_info){
        .id = row->id,
        .channel = arena_printf(&request->arena, "%s/%s", row->app, row->channel),
        .release = api_release_name(request, bytes_of(row->digest, DIGEST_BYTES)),
        .base_release = api_release_name(request, base),
        .state = row->state,
        .policy_name = row->policy_name,
        .started_ms = row->started_ms,
        .ended_ms = row->ended_ms,
        .started_by = row->started_by,
        .reason = row->reason,
        .decision = row->decision,
        .outcome_good = str_equal(row->state, rollout_state_name(ROLLOUT_SUCCEEDED)),
    };
    return ret->channel && ret->release && ret->base_release;
}

static bool list_one(struct api_request *request, const struct store_rollout *row,
                     struct rollout_info *ret)
{
    struct rollout_handle handle;
    struct rollout_view view;
    if (row->ended_ms != 0 ||
        !rollouts_live(request->captain->rollouts, row->app, row->channel, &handle) ||
        !str_equal(handle.id, row->id))
        return list_ended(request, row, ret);
    rollout_view(handle.core, &view);
    return take_head(request, &handle, &view, ret) && take_gate(request, &handle, &view, ret);
}

enum err_code api_rollout_ls(struct api_request *request, union api_out *ret, struct err *err)
{
    const struct rollout_query *query = &request->in.rollout_query;
    struct rollout_list *list = &ret->rollout_list;
    const uint32_t limit = !query->limit             ? LIST_DEFAULT
                           : query->limit < LIST_TOP ? query->limit
                                                     : LIST_TOP;
    struct store_rollout *rows;
    size_t len = 0;
    const enum err_code code = store_rollout_list(request->captain->db, query->channel, query->live,
                                                  limit, &request->arena, &rows, &len, err);
    if (code != ERR_OK)
        return code;
    struct rollout_info *infos = arena_alloc(&request->arena, (len + 1) * sizeof *infos);
    if (!infos)
        return api_too_large(err);
    for (size_t i = 0; i < len; i++)
        if (!list_one(request, &rows[i], &infos[i]))
            return api_too_large(err);
    list->rollouts = infos;
    list->rollouts_len = len;
    return ERR_OK;
}
