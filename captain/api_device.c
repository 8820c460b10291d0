/* SPDX-License-Identifier: Apache-2.0
 *
 * device.ls | show
 */
#include <stdio.h>
#include <string.h>

#include "captain/api_private.h"
#include "common/base/mem.h"
#include "common/clock.h"

enum {
    PAGE_DEFAULT = 1000,
    PAGE_BYTES = 600 << 10,
    ROW_BYTES = 256, /* about what a device takes beside its apps */
};

/* Words. */

static const char *event_name(unsigned kind)
{
    static const char *const names[] = {
        [EVENT_KIND_UNSPECIFIED] = "unspecified",
        [EVENT_KIND_AGENT_STARTED] = "agent_started",
        [EVENT_KIND_DESIRED_ACCEPTED] = "desired_accepted",
        [EVENT_KIND_DESIRED_REJECTED] = "desired_rejected",
        [EVENT_KIND_FETCHED] = "fetched",
        [EVENT_KIND_ACTIVATED] = "activated",
        [EVENT_KIND_CONFIRMED] = "confirmed",
        [EVENT_KIND_ROLLED_BACK] = "rolled_back",
        [EVENT_KIND_FAILED] = "failed",
        [EVENT_KIND_SERVICE_EXITED] = "service_exited",
        [EVENT_KIND_HEALTHY] = "healthy",
        [EVENT_KIND_UNHEALTHY] = "unhealthy",
        [EVENT_KIND_SETTINGS_FAILED] = "settings_failed",
    };
    return kind < ARRAY_LEN(names) ? names[kind] : names[EVENT_KIND_UNSPECIFIED];
}

/* One device. */

static bool take_app(struct api_request *request, const struct app_status *app,
                     struct device_app *ret)
{
    const char *desired = api_release_name(request, app->desired_digest);
    const char *digest = api_hex(request, app->digest);
    if (!desired || !digest)
        return false;
    const char *at = strchr(desired, '@');
    *ret = (struct device_app){.app = app->app,
                               .channel = app->channel,
                               .state = api_state_name((unsigned)app->state),
                               .version = app->version,
                               .digest = digest,
                               .desired_version = at ? at + 1 : "",
                               .generation = app->generation,
                               .reason = app->reason,
                               .restarts = app->restarts};
    return true;
}

enum err_code api_device_health(struct api_request *request, uint32_t device, struct health *ret,
                                struct err *err)
{
    const int64_t id = ingest_device_id(request->captain->ingest, device);
    struct store_device row;
    *ret = (struct health){0};
    if (id < 0)
        return ERR_OK;
    const enum err_code code =
        store_device_get(request->captain->db, id, &request->arena, &row, err);
    if (code != ERR_OK || row.health.len == 0)
        return code;
    return codec_decode(&codec_health, row.health, &request->arena, ret, err);
}

/* What its last health said. */
static enum err_code take_health(struct api_request *request, struct bytes encoded,
                                 struct device_info *ret, struct err *err)
{
    struct health health;
    if (encoded.len == 0)
        return ERR_OK;
    const enum err_code code = codec_decode(&codec_health, encoded, &request->arena, &health, err);
    if (code != ERR_OK)
        return err_wrap(err, "the stored health of %s", ret->device);
    struct device_app *apps = arena_alloc(&request->arena, (health.apps_len + 1) * sizeof *apps);
    if (!apps)
        return api_too_large(err);
    for (size_t i = 0; i < health.apps_len; i++) {
        if (!take_app(request, &health.apps[i], &apps[i]))
            return api_too_large(err);
    }
    ret->agent_version = health.agent_version;
    ret->apps = apps;
    ret->apps_len = health.apps_len;
    return ERR_OK;
}

static enum err_code describe(struct api_request *request, uint32_t device,
                              struct store_device *ret_row, struct device_info *ret,
                              struct err *err)
{
    const struct captain *captain = request->captain;
    const int64_t id = ingest_device_id(captain->ingest, device);
    struct fleet_row row;
    fleet_row(captain->fleet, device, &row);
    *ret = (struct device_info){.device = fleet_device_name(captain->fleet, device),
                                .online = fleet_online(captain->fleet, device, clock_unix_ms()),
                                .last_seen_ms = row.last_seen_ms};
    *ret_row = (struct store_device){0};
    enum err_code code = api_identity_of(request, false, ret, err);
    if (id < 0 || code != ERR_OK)
        return code; /* heard of, and the disk takes nothing at the moment */
    code = store_device_get(captain->db, id, &request->arena, ret_row, err);
    if (code != ERR_OK)
        return code;
    ret->events_stored = ret_row->events;
    ret->garbage = ret_row->garbage;
    ret->first_seen_ms = ret_row->first_seen_ms;
    return take_health(request, ret_row->health, ret, err);
}

/* Listing, by name. */

struct filter {
    const struct device_query *query;
    size_t site_len, app_len;
    unsigned state; /* FLEET_STATES: any */
};

static enum err_code read_filter(const struct device_query *query, struct filter *ret,
                                 struct err *err)
{
    *ret = (struct filter){query, strlen(query->site), strlen(query->app), FLEET_STATES};
    if (query->site[0] && !str_is_token(query->site))
        return err_set(err, ERR_USAGE, "'%s' is not the name of a site", query->site);
    if (query->app[0] && !str_is_token(query->app))
        return err_set(err, ERR_USAGE, "'%s' is not the name of an app", query->app);
    for (unsigned state = 0; query->state[0] && state < FLEET_STATES; state++) {
        if (str_equal(query->state, api_state_name(state)))
            ret->state = state;
    }
    if (!query->state[0] || ret->state < FLEET_STATES)
        return ERR_OK;
    (void)err_set(err, ERR_USAGE, "'%s' is not a state of an app", query->state);
    return err_hint(err, "none, installing, confirming, healthy, unhealthy or failed");
}

static bool filter_passes(const struct filter *filter, const struct fleet *fleet, uint32_t device)
{
    const struct device_query *query = filter->query;
    const char *name = fleet_device_name(fleet, device);
    struct fleet_row row;
    if (fleet_is_out(fleet, device))
        return false;
    if (query->site[0] &&
        (strncmp(name, query->site, filter->site_len) != 0 || name[filter->site_len] != '/'))
        return false;
    if (!query->app[0] && filter->state == FLEET_STATES)
        return true;
    fleet_row(fleet, device, &row);
    for (size_t i = 0; i < row.apps_len; i++) {
        const char *channel = row.apps[i].channel;
        if ((!query->app[0] || (strncmp(channel, query->app, filter->app_len) == 0 &&
                                channel[filter->app_len] == '/')) &&
            (filter->state == FLEET_STATES || row.apps[i].state == filter->state))
            return true;
    }
    return false;
}

uint32_t api_fleet_len(const struct captain *captain)
{
    return fleet_len(captain->fleet);
}

/* The first devices by name of those offered. */
struct page {
    const struct fleet *fleet;
    uint32_t *devices; /* sorted */
    size_t len, cap;
};

static const char *page_name(const struct page *page, size_t at)
{
    return fleet_device_name(page->fleet, page->devices[at]);
}

static void page_offer(struct page *page, uint32_t device, const char *name)
{
    if (page->len == page->cap && strcmp(name, page_name(page, page->len - 1)) >= 0)
        return;
    size_t low = 0;
    for (size_t high = page->len; low < high;) {
        const size_t middle = low + (high - low) / 2;
        if (strcmp(page_name(page, middle), name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    page->len += page->len < page->cap;
    memmove(&page->devices[low + 1], &page->devices[low],
            (page->len - low - 1) * sizeof *page->devices);
    page->devices[low] = device;
}

static void fill_page(const struct captain *captain, const struct filter *filter, struct page *page)
{
    const uint32_t end = api_fleet_len(captain);
    for (uint32_t device = 0; device < end; device++) {
        const char *name = fleet_device_name(captain->fleet, device);
        if (strcmp(name, filter->query->after) > 0 && filter_passes(filter, captain->fleet, device))
            page_offer(page, device, name);
    }
}

/* A page ends early when the devices on it have so much to say that one message would not carry it. */
static enum err_code describe_page(struct api_request *request, const struct page *page,
                                   size_t limit, struct device_list *list, struct err *err)
{
    struct device_info *infos = arena_alloc(&request->arena, (limit + 1) * sizeof *infos);
    struct store_device row;
    size_t bytes = 0;
    enum err_code code = infos ? ERR_OK : api_too_large(err);
    while (code == ERR_OK && list->devices_len < page->len) {
        if (list->devices_len == limit || bytes > PAGE_BYTES) {
            list->next = infos[list->devices_len - 1].device;
            break;
        }
        code = describe(request, page->devices[list->devices_len], &row, &infos[list->devices_len],
                        err);
        bytes += ROW_BYTES + 2 * row.health.len; /* digests are text here */
        list->devices_len++;
    }
    list->devices = infos;
    return code;
}

enum err_code api_device_ls(struct api_request *request, union api_out *ret, struct err *err)
{
    const struct device_query *query = &request->in.device_query;
    const uint32_t limit =
        query->limit && query->limit < PAGE_DEFAULT ? query->limit : PAGE_DEFAULT;
    struct filter filter = {0};
    /* One more than asked for says whether there is more. */
    struct page page = {.fleet = request->captain->fleet, .cap = (size_t)limit + 1};
    page.devices = arena_alloc(&request->arena, page.cap * sizeof *page.devices);
    enum err_code code = page.devices ? read_filter(query, &filter, err) : api_too_large(err);
    if (code != ERR_OK)
        return code;
    ingest_settle(request->captain->ingest); /* what came in this turn is not in the tables yet */
    fill_page(request->captain, &filter, &page);
    return describe_page(request, &page, limit, &ret->device_list, err);
}

/* Showing one. */

enum err_code api_find_device(const struct captain *captain, const char *text, uint32_t *ret,
                              struct err *err)
{
    const uint32_t end = api_fleet_len(captain);
    uint32_t found = strchr(text, '/') ? fleet_find(captain->fleet, text) : FLEET_NONE;
    for (uint32_t device = 0; !strchr(text, '/') && device < end; device++) {
        const char *name = fleet_device_name(captain->fleet, device);
        if (!str_equal(strchr(name, '/') + 1, text))
            continue;
        if (found != FLEET_NONE) {
            (void)err_set(err, ERR_USAGE, "device %s is not unique: %s, %s", text,
                          fleet_device_name(captain->fleet, found), name);
            return err_hint(err, "name it with its site: SITE/DEVICE");
        }
        found = device;
    }
    if (found == FLEET_NONE) {
        (void)err_set(err, ERR_NOT_FOUND, "device %s is not known here", text);
        return err_hint(err, "captain device ls");
    }
    *ret = found;
    return ERR_OK;
}

static enum err_code take_events(struct api_request *request, int64_t id, struct device_info *ret,
                                 struct err *err)
{
    struct bytes *encoded;
    size_t len = 0;
    enum err_code code = store_event_list(request->captain->db, id, API_EVENTS_MAX, &request->arena,
                                          &encoded, &len, err);
    if (code != ERR_OK)
        return code;
    struct device_event *events = arena_alloc(&request->arena, (len + 1) * sizeof *events);
    if (!events)
        return api_too_large(err);
    for (size_t i = 0; i < len; i++) {
        struct event event;
        code = codec_decode(&codec_event, encoded[i], &request->arena, &event, err);
        if (code != ERR_OK)
            return err_wrap(err, "a stored event of %s", ret->device);
        events[i] =
            (struct device_event){.seq = event.seq,
                                  .time_ms = event.time_ms,
                                  .kind = event_name((unsigned)event.kind),
                                  .app = event.app,
                                  .version = event.version,
                                  .code = event.code ? err_name((enum err_code)event.code) : "",
                                  .text = event.text,
                                  .attempt = event.attempt};
    }
    ret->events = events;
    ret->events_len = len;
    return ERR_OK;
}

static enum err_code take_telemetry(struct api_request *request, const struct store_device *row,
                                    struct device_info *ret, struct err *err)
{
    struct telemetry telemetry;
    if (row->telemetry.len == 0)
        return ERR_OK;
    const enum err_code code =
        codec_decode(&codec_telemetry, row->telemetry, &request->arena, &telemetry, err);
    if (code != ERR_OK)
        return err_wrap(err, "the stored telemetry of %s", ret->device);
    struct device_info_telemetry *told = arena_alloc(&request->arena, sizeof *told);
    if (!told)
        return api_too_large(err);
    *told = (struct device_info_telemetry){
        .cpu_permille = telemetry.cpu_permille,
        .memory_total_bytes = telemetry.memory_total_bytes,
        .memory_available_bytes = telemetry.memory_available_bytes,
        .disk_total_bytes = telemetry.disk_total_bytes,
        .disk_free_bytes = telemetry.disk_free_bytes,
        .received_ms = row->telemetry_ms,
        .uptime_ms = telemetry.uptime_ms,
        .temperature_millicelsius = telemetry.temperature_millicelsius,
        .has_temperature = telemetry.has_temperature,
        .apps = telemetry.apps,
        .apps_len = telemetry.apps_len,
    };
    ret->telemetry = told;
    return ERR_OK;
}

enum err_code api_describe_device(struct api_request *request, const char *text,
                                  struct device_info *ret, struct err *err)
{
    struct captain *captain = request->captain;
    struct store_device row;
    struct err unwritten = {0};
    uint32_t device = 0;
    enum err_code code = api_find_device(captain, text, &device, err);
    if (code != ERR_OK)
        return code;
    /* When it fails it has been logged, and what is stored is still worth showing. */
    if (ingest_flush(captain->ingest, &unwritten) != ERR_OK &&
        ingest_device_id(captain->ingest, device) < 0)
        return err_set(err, unwritten.code, "%s", unwritten.text);
    code = describe(request, device, &row, ret, err);
    if (code == ERR_OK)
        code = api_identity_of(request, true, ret, err);
    if (code == ERR_OK)
        code = take_events(request, row.id, ret, err);
    return code == ERR_OK ? take_telemetry(request, &row, ret, err) : code;
}

enum err_code api_device_show(struct api_request *request, union api_out *ret, struct err *err)
{
    return api_describe_device(request, request->in.device_query.device, &ret->device_info, err);
}
