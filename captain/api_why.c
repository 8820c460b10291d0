/* SPDX-License-Identifier: Apache-2.0
 *
 * device.why | drift: what a device should run, what it runs, and why these differ, with evidence.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "captain/api_private.h"
#include "common/base/mem.h"
#include "common/clock.h"

enum {
    REASONS_MAX = 16,
    EVENTS_LOOKED_AT = 20,
    HOLDERS_TOLD = 3,
    PAGE_DEFAULT = 200,
    PAGE_MAX = 1000
};

/* What a channel wants now: what its rollout, or else its last decision, says. */

struct wanted {
    char channel[CHANNEL_NAME_MAX]; /* of whom this is */
    bool in_rollout;
    struct rollout_handle handle; /* of the live rollout */
    uint8_t target_digest[DIGEST_BYTES],
        digest[DIGEST_BYTES];  /* digest: of those not in the wave */
    struct bytes target, base; /* empty: nothing */
    const char *target_name, *base_name;
};

static enum err_code wanted_of(struct api_request *request, const struct api_channel *channel,
                               struct wanted *ret, struct err *err)
{
    struct captain *captain = request->captain;
    struct store_channel row;
    memset(ret, 0, sizeof *ret);
    (void)snprintf(ret->channel, sizeof ret->channel, "%s/%s", channel->app, channel->channel);
    ret->in_rollout =
        rollouts_live(captain->rollouts, channel->app, channel->channel, &ret->handle);
    if (ret->in_rollout) {
        memcpy(ret->target_digest, ret->handle.digest, DIGEST_BYTES);
        memcpy(ret->digest, ret->handle.base_digest, DIGEST_BYTES);
        ret->target = bytes_of(ret->target_digest, DIGEST_BYTES);
        ret->base = bytes_of(ret->digest, ret->handle.has_base ? DIGEST_BYTES : 0);
    } else {
        const enum err_code code = store_channel_get(captain->db, channel->app, channel->channel,
                                                     &request->arena, &row, err);
        if (code == ERR_OK && !row.unsettled) {
            memcpy(ret->digest, row.digest, DIGEST_BYTES);
            ret->base = bytes_of(ret->digest, DIGEST_BYTES);
        }
        if (code == ERR_NOT_FOUND)
            *err = (struct err){0}; /* an agent may name a channel that nobody has set */
        else if (code != ERR_OK)
            return code;
    }
    ret->target_name = api_release_name(request, ret->target);
    ret->base_name = api_release_name(request, ret->base);
    return ret->target_name && ret->base_name ? ERR_OK : api_too_large(err);
}

/* What one app of one device should run. */
struct should {
    const struct wanted *wanted;
    struct bytes digest; /* empty: nothing */
    const char *name;
    bool pinned;
    uint32_t member; /* ROLLOUT_NONE: not in a rollout */
    bool target;     /* the rollout gives it the target */
};

static void should_of(struct api_request *request, const struct wanted *wanted, uint32_t device,
                      struct should *ret)
{
    *ret = (struct should){.wanted = wanted, .member = ROLLOUT_NONE};
    if (wanted->in_rollout)
        ret->member = rollouts_member(request->captain->rollouts, &wanted->handle, device);
    ret->target = ret->member != ROLLOUT_NONE && rollout_targets(wanted->handle.core, ret->member);
    ret->digest = ret->target ? wanted->target : wanted->base;
    ret->name = ret->target ? wanted->target_name : wanted->base_name;
}

static void take_pin(struct api_request *request, const struct device_set *said, const char *app,
                     struct should *ret)
{
    for (size_t i = 0; i < said->pins_len; i++)
        if (str_equal(said->pins[i].app, app)) {
            ret->pinned = true;
            ret->digest = said->pins[i].digest;
            ret->name = api_release_name(request, ret->digest);
        }
}

/* Reasons. */

struct telling {
    struct api_request *request;
    uint32_t device;
    const char *name;
    const struct should *should;
    struct why_reason *reasons;
    size_t len;
    bool full;
};

static void tell(struct telling *telling, const char *what, const char *evidence, const char *fmt,
                 ...) PRINTF_LIKE(4, 5);
static void tell(struct telling *telling, const char *what, const char *evidence, const char *fmt,
                 ...)
{
    char text[ERR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    const char *copy = arena_strdup(&telling->request->arena, text);
    if (!copy || !evidence)
        telling->full = true;
    else if (telling->len < REASONS_MAX)
        telling->reasons[telling->len++] =
            (struct why_reason){.what = what, .text = copy, .evidence = evidence};
}

static const char *since(struct telling *telling, const char *what, int64_t unix_ms)
{
    char time[32] = "never";
    if (unix_ms > 0)
        str_format_time(unix_ms, time);
    return arena_printf(&telling->request->arena, "%s %s", what, time);
}

static void tell_contact(struct telling *telling)
{
    const struct captain *captain = telling->request->captain;
    struct fleet_row row;
    if (fleet_online(captain->fleet, telling->device, clock_unix_ms()))
        return;
    fleet_row(captain->fleet, telling->device, &row);
    tell(telling, "silent", since(telling, "last seen", row.last_seen_ms),
         "the device is out of contact");
}

/* Who holds what it waits for. */
static const char *holders(struct telling *telling)
{
    const struct rollout_handle *handle = &telling->should->wanted->handle;
    const struct fleet *fleet = telling->request->captain->fleet;
    const char *text = "";
    uint32_t told = 0;
    struct rollout_view view;
    rollout_view(handle->core, &view);
    for (uint32_t i = 0; i < handle->members_len && told < HOLDERS_TOLD && text; i++) {
        struct rollout_device_view device;
        rollout_device_view(handle->core, i, &device);
        if (!device.leased || handle->members[i] == FLEET_NONE)
            continue;
        text = arena_printf(&telling->request->arena, "%s%s%s", text, told ? ", " : "held by ",
                            fleet_device_name(fleet, handle->members[i]));
        told++;
    }
    if (text && view.in_flight > told)
        text = arena_printf(&telling->request->arena, "%s and %" PRIu32 " more", text,
                            view.in_flight - told);
    return text;
}

static void tell_lease(struct telling *telling)
{
    const struct rollout_handle *handle = &telling->should->wanted->handle;
    int64_t retry_ms = 0;
    const enum lease_answer answer =
        rollout_would_lease(handle->core, telling->should->member, clock_unix_ms(), &retry_ms);
    switch (answer) {
    case LEASE_FROZEN:
        tell(telling, "freeze", "captain freeze says who froze it", "the fleet is frozen");
        return;
    case LEASE_WINDOW:
        tell(telling, "window", since(telling, retry_ms ? "opens" : "opens again:", retry_ms),
             "the maintenance window of its site is closed");
        return;
    case LEASE_CAP_FLEET:
    case LEASE_CAP_RAMP:
    case LEASE_CAP_SITE:
    case LEASE_CAP_SITE_PERCENT:
    case LEASE_CAP_GROUP:
        tell(telling, "cap", holders(telling), "as many devices change now as may at once (%s)",
             lease_answer_name(answer));
        return;
    case LEASE_PAUSED:
        tell(telling, "paused", "", "rollout %s is paused by an operator", handle->id);
        return;
    default:
        return;
    }
}

static void tell_gate(struct telling *telling, const struct rollout_view *view)
{
    const struct rollout_handle *handle = &telling->should->wanted->handle;
    char sentence[GATE_SENTENCE_MAX];
    if (view->verdict.gate == 0 || view->verdict.verdict == GATE_PASS)
        return;
    gate_sentence(rollout_policy(handle->core), &view->verdict, sentence);
    tell(telling, "gate",
         arena_printf(&telling->request->arena, "gate %s: %s", gate_name(view->verdict.gate),
                      sentence),
         "rollout %s %s%s", handle->id,
         view->verdict.verdict == GATE_WAIT   ? "waits"
         : view->verdict.verdict == GATE_HOLD ? "is held"
                                              : "has failed",
         view->state == ROLLOUT_RUNNING || view->state == ROLLOUT_HELD ? "" : ", and goes back");
}

static void tell_place(struct telling *telling, const struct rollout_device_view *device,
                       const struct rollout_view *view)
{
    const struct rollout_handle *handle = &telling->should->wanted->handle;
    const char *class = device->class == POLICY_CLASS_NONE ? "" : policy_class_name(device->class);
    if (device->device == ROLLOUT_QUARANTINED)
        tell(telling, "quarantined", class,
             "it could not go back, and is left alone until "
             "captain rollout retry");
    else if (device->boxed)
        tell(telling, "boxed", class,
             "it failed, and is in the penalty box until captain rollout "
             "retry");
    if (device->excluded)
        tell(telling, "excluded", "", "it was left out of rollout %s", handle->id);
    else if (!device->eligible && device->wave == ROLLOUT_NONE)
        tell(telling, "eligible", "", "it was not seen lately when rollout %s began", handle->id);
    else if (device->wave == ROLLOUT_NONE)
        tell(telling, "wave", "",
             "rollout %s is at wave %" PRIu32 " of %" PRIu32 ", and has not come to it", handle->id,
             view->wave == ROLLOUT_NONE ? 0 : view->wave + 1,
             rollout_policy(handle->core)->waves_len);
    if (device->leased)
        tell(telling, "lease", since(telling, "its lease ends", device->lease_until_ms),
             "it is changing now");
}

static void tell_rollout(struct telling *telling)
{
    struct rollout_device_view device;
    struct rollout_view view;
    if (!telling->should->wanted->in_rollout)
        return;
    if (telling->should->member == ROLLOUT_NONE) {
        tell(telling, "rollout", "", "it is not in rollout %s, which steers its channel",
             telling->should->wanted->handle.id);
        return;
    }
    rollout_view(telling->should->wanted->handle.core, &view);
    rollout_device_view(telling->should->wanted->handle.core, telling->should->member, &device);
    tell_place(telling, &device, &view);
    tell_gate(telling, &view);
    if (telling->should->target && !device.leased)
        tell_lease(telling);
}

/* The last event of this app that tells of trouble. */
static enum err_code tell_event(struct telling *telling, const char *app, struct err *err)
{
    struct api_request *request = telling->request;
    const int64_t id = ingest_device_id(request->captain->ingest, telling->device);
    struct bytes *encoded;
    size_t len = 0;
    if (id < 0)
        return ERR_OK;
    enum err_code code = store_event_list(request->captain->db, id, EVENTS_LOOKED_AT,
                                          &request->arena, &encoded, &len, err);
    for (size_t i = 0; i < len && code == ERR_OK; i++) {
        struct event event;
        code = codec_decode(&codec_event, encoded[i], &request->arena, &event, err);
        if (code != ERR_OK)
            return err_wrap(err, "a stored event of %s", telling->name);
        if (!str_equal(event.app, app) || event.code == 0)
            continue;
        tell(telling, event.code == ERR_NO_SPACE ? "disk" : "error",
             since(telling, err_name((enum err_code)event.code), event.time_ms), "%s", event.text);
        return ERR_OK;
    }
    return code;
}

/* Nothing that is said to the channel reaches who is not let in. */
static enum err_code tell_identity(struct telling *telling, struct err *err)
{
    struct device_info info = {.device = telling->name};
    const enum err_code code = api_identity_of(telling->request, false, &info, err);
    if (code == ERR_OK && info.identity[0] && !str_equal(info.identity, "approved"))
        tell(telling, "identity", "captain device identities", "captain does not let it in: %s",
             info.identity);
    return code;
}

/* One app. */

static enum err_code why_app(struct api_request *request, uint32_t device,
                             const struct device_set *said, const struct app_status *app,
                             struct why_app *ret, struct err *err)
{
    struct should should;
    struct wanted wanted;
    struct api_channel channel = {0};
    struct telling telling = {.request = request, .device = device, .name = said->device};
    (void)snprintf(channel.app, sizeof channel.app, "%s", app->app);
    (void)snprintf(channel.channel, sizeof channel.channel, "%s", app->channel);
    enum err_code code = wanted_of(request, &channel, &wanted, err);
    if (code != ERR_OK)
        return code;
    should_of(request, &wanted, device, &should);
    take_pin(request, said, app->app, &should);
    telling.should = &should;
    telling.reasons = arena_alloc(&request->arena, REASONS_MAX * sizeof *telling.reasons);
    if (!telling.reasons)
        return api_too_large(err);
    *ret = (struct why_app){.app = app->app,
                            .channel = app->channel,
                            .runs = api_release_name(request, app->digest),
                            .should = should.name,
                            .rollout = wanted.in_rollout ? wanted.handle.id : ""};
    ret->ok = bytes_equal(app->digest, should.digest) && app->state == APP_STATE_HEALTHY;
    code = tell_identity(&telling, err);
    if (should.pinned)
        tell(&telling, "pinned", "captain device unpin takes it away", "an operator holds it on %s",
             ret->should ? ret->should : "");
    if (!ret->ok || (wanted.in_rollout && !should.target))
        tell_rollout(&telling);
    if (!ret->ok) {
        tell_contact(&telling);
        if (app->waiting[0])
            tell(&telling, "waiting", "the device says so", "%s", app->waiting);
        if (app->reason[0])
            tell(&telling, "error", api_state_name((unsigned)app->state), "%s", app->reason);
        code = code ? code : tell_event(&telling, app->app, err);
    }
    ret->reasons = telling.reasons;
    ret->reasons_len = telling.len;
    if (code == ERR_OK && (telling.full || !ret->runs || !ret->should))
        return api_too_large(err);
    return code;
}

enum err_code api_device_why(struct api_request *request, union api_out *ret, struct err *err)
{
    struct captain *captain = request->captain;
    struct device_set said;
    struct health health;
    uint32_t device = 0;
    struct err unwritten = {0};
    enum err_code code = api_find_device(captain, request->in.device_query.device, &device, err);
    if (code != ERR_OK)
        return code;
    const enum err_code flushed = ingest_flush(captain->ingest, &unwritten);
    (void)flushed; /* logged where it fails; what is stored is still worth showing */
    ret->why.device = fleet_device_name(captain->fleet, device);
    code = api_device_said(request, ret->why.device, &said, err);
    if (code == ERR_OK)
        code = api_device_health(request, device, &health, err);
    if (code != ERR_OK)
        return code;
    struct why_app *apps = arena_alloc(&request->arena, (health.apps_len + 1) * sizeof *apps);
    if (!apps)
        return api_too_large(err);
    for (size_t i = 0; i < health.apps_len && code == ERR_OK; i++)
        code = why_app(request, device, &said, &health.apps[i], &apps[i], err);
    ret->why.apps = apps;
    ret->why.apps_len = health.apps_len;
    return code;
}

/* Drift. */

struct drift {
    struct api_request *request;
    struct drift_info *infos;
    size_t len, limit;
    struct wanted wanted;          /* of the channel seen last: most devices follow the same */
    struct store_device_set *said; /* of those of whom anything is said, by name */
    size_t said_len;
};

static enum err_code said_of(struct drift *drift, const char *device, struct device_set *ret,
                             struct err *err)
{
    size_t low = 0, high = drift->said_len;
    *ret = (struct device_set){.device = device};
    while (low < high) {
        const size_t middle = (low + high) / 2;
        const int order = strcmp(drift->said[middle].device, device);
        if (order == 0)
            return codec_decode(&codec_device_set, drift->said[middle].set, &drift->request->arena,
                                ret, err);
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return ERR_OK;
}

static const char *short_why(const struct drift *drift, uint32_t device,
                             const struct should *should, unsigned state)
{
    struct rollout_device_view view;
    if (!fleet_online(drift->request->captain->fleet, device, clock_unix_ms()))
        return "out of contact";
    if (should->member != ROLLOUT_NONE) {
        rollout_device_view(should->wanted->handle.core, should->member, &view);
        if (view.boxed)
            return "in the penalty box";
        return view.device == ROLLOUT_ON_BASE ? "" : rollout_device_name(view.device);
    }
    if (should->pinned)
        return "pinned";
    return state == APP_STATE_HEALTHY ? "has not changed yet" : api_state_name(state);
}

static enum err_code drift_of_app(struct drift *drift, uint32_t device,
                                  const struct device_set *said, const struct fleet_app_report *app,
                                  struct err *err)
{
    struct api_request *request = drift->request;
    struct should should;
    struct api_channel channel;
    enum err_code code = api_read_channel(app->channel, &channel, err);
    if (code == ERR_OK && !str_equal(drift->wanted.channel, app->channel))
        code = wanted_of(request, &channel, &drift->wanted, err);
    if (code != ERR_OK)
        return code;
    should_of(request, &drift->wanted, device, &should);
    take_pin(request, said, channel.app, &should);
    struct drift_info *info = &drift->infos[drift->len];
    if (!should.name)
        return api_too_large(err);
    if (str_equal(should.name, app->release))
        return ERR_OK;
    *info = (struct drift_info){.device = said->device,
                                .app = arena_strdup(&request->arena, channel.app),
                                .channel = arena_strdup(&request->arena, channel.channel),
                                .runs = arena_strdup(&request->arena, app->release),
                                .should = should.name,
                                .why = short_why(drift, device, &should, app->state)};
    drift->len++;
    return info->app && info->channel && info->runs ? ERR_OK : api_too_large(err);
}

static bool wanted(const struct device_query *query, const char *device, const char *channel)
{
    const size_t site = strlen(query->site), app = strlen(query->app);
    return (!site || (strncmp(device, query->site, site) == 0 && device[site] == '/')) &&
           (!app || (strncmp(channel, query->app, app) == 0 && channel[app] == '/'));
}

static enum err_code drift_of(struct drift *drift, uint32_t device, struct err *err)
{
    struct device_set said;
    struct fleet_row row;
    enum err_code code =
        said_of(drift, fleet_device_name(drift->request->captain->fleet, device), &said, err);
    fleet_row(drift->request->captain->fleet, device, &row);
    for (size_t i = 0; i < row.apps_len && code == ERR_OK; i++)
        if (wanted(&drift->request->in.device_query, said.device, row.apps[i].channel))
            code = drift_of_app(drift, device, &said, &row.apps[i], err);
    return code;
}

static enum err_code first_of_page(struct api_request *request, uint32_t *ret, struct err *err)
{
    const char *after = request->in.device_query.after;
    const uint32_t found = after[0] ? fleet_find(request->captain->fleet, after) : FLEET_NONE;
    *ret = 0;
    if (!after[0])
        return ERR_OK;
    if (found == FLEET_NONE)
        return err_set(err, ERR_NOT_FOUND, "device %s is not known here", after);
    *ret = found + 1;
    return ERR_OK;
}

enum err_code api_device_drift(struct api_request *request, union api_out *ret, struct err *err)
{
    const uint32_t limit = request->in.device_query.limit;
    struct drift drift = {.request = request,
                          .limit = limit && limit < PAGE_MAX ? limit : PAGE_DEFAULT};
    const uint32_t end = api_fleet_len(request->captain);
    uint32_t device = 0;
    enum err_code code = first_of_page(request, &device, err);
    if (code == ERR_OK)
        code = store_device_set_list(request->captain->db, false, &request->arena, &drift.said,
                                     &drift.said_len, err);
    drift.infos =
        arena_alloc(&request->arena, (drift.limit + FLEET_APPS_MAX) * sizeof *drift.infos);
    if (!drift.infos)
        return api_too_large(err);
    for (; device < end && drift.len < drift.limit && code == ERR_OK; device++)
        code = drift_of(&drift, device, err);
    ret->drift_list = (struct drift_list){.devices = drift.infos, .devices_len = drift.len};
    if (device < end && device > 0)
        ret->drift_list.next = fleet_device_name(request->captain->fleet, device - 1);
    return code;
}
