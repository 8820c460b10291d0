/* SPDX-License-Identifier: Apache-2.0 */
#include "captain/core/fleet.h"

#include <assert.h>
#include <string.h>

#include "captain/core/names.h"
#include "captain/core/slots.h"
#include "common/base/mem.h"
#include "common/base/rng.h"

enum {
    APPS_INLINE = 2, /* most devices run one app or two; the others get a block of APPS_MORE */
    APPS_MORE = FLEET_APPS_MAX - APPS_INLINE,
    ROWS_PER_CHUNK = 1024,
    MORE_PER_CHUNK = 64,
    TEXT_CHUNK_BYTES = 64 << 10,
    DEVICE_NAME_MAX = 2 * TOKEN_MAX + 1,
    CHUNKS_STEP = 64,
};

struct app {
    uint64_t generation;
    uint32_t release; /* in releases */
    uint16_t channel; /* in channels */
    uint8_t state;
};

/* One cache line: what a report that says nothing new has to touch. */
struct row {
    const char *name;
    int64_t last_seen_ms;
    uint32_t garbage;
    uint32_t more; /* block of further apps, or FLEET_NONE */
    uint8_t apps_len;
    bool reported;
    bool out;
    struct app apps[APPS_INLINE];
};
_Static_assert(sizeof(struct row) <= 64, "a row is one cache line");

/* How many devices of a channel run a release, by state. Lives while one does. */
struct cell {
    uint32_t channel;
    uint32_t release;
    uint32_t next; /* of the channel, or of the free list */
    uint32_t by_state[FLEET_STATES];
};

/* Arrays in pieces that never move: a table that doubles would need three times its size. */
struct chunks {
    void **at;
    uint32_t len;
    uint32_t cap;
    size_t bytes;
};

struct fleet {
    uint32_t devices_max;
    uint32_t devices_len;
    struct slots device_slots;
    struct chunks rows;
    struct chunks more;
    uint32_t more_len;
    struct chunks texts;
    size_t text_left; /* in the newest piece */

    struct names channels;
    struct names releases;
    uint32_t *channel_cells;   /* by channel: first of its cells */
    uint32_t *release_devices; /* by release */
    struct slots cell_slots;
    struct cell *cells;
    uint32_t cells_len;
    uint32_t cells_cap;
    uint32_t cells_free;

    uint32_t out;
    uint64_t garbage;
    int64_t online_ms;
    int64_t slot_ms;
    int64_t head; /* the slot of the newest time known: in units of slot_ms */
    uint64_t online;
    uint32_t wheel[FLEET_SEEN_SLOTS];
};

static void *chunks_add(struct chunks *chunks, size_t bytes)
{
    if (chunks->len == chunks->cap) {
        chunks->at =
            mem_grow(chunks->at, chunks->cap, chunks->cap + CHUNKS_STEP, sizeof *chunks->at);
        chunks->cap += CHUNKS_STEP;
    }
    chunks->bytes += bytes;
    return chunks->at[chunks->len++] = mem_new(1, bytes);
}

static void chunks_fini(struct chunks *chunks)
{
    for (uint32_t i = 0; i < chunks->len; i++)
        mem_free(chunks->at[i]);
    mem_free(chunks->at);
}

static size_t chunks_memory_bytes(const struct chunks *chunks)
{
    return chunks->bytes + chunks->cap * sizeof *chunks->at;
}

struct fleet *fleet_new(uint32_t devices_max, int64_t online_ms)
{
    struct fleet *fleet = mem_new(1, sizeof *fleet);
    fleet->devices_max = devices_max < FLEET_NONE ? devices_max : FLEET_NONE - 1;
    fleet->online_ms = online_ms > 0 ? online_ms : 1;
    /* One slot more than the time covers: the newest is filled only in part. */
    fleet->slot_ms = (fleet->online_ms - 1) / (FLEET_SEEN_SLOTS - 1) + 1;
    fleet->cells_free = FLEET_NONE;
    names_init(&fleet->channels, FLEET_CHANNELS_MAX);
    names_init(&fleet->releases, FLEET_RELEASES_MAX);
    fleet->channel_cells = mem_new(FLEET_CHANNELS_MAX, sizeof *fleet->channel_cells);
    memset(fleet->channel_cells, 0xff, FLEET_CHANNELS_MAX * sizeof *fleet->channel_cells);
    fleet->release_devices = mem_new(FLEET_RELEASES_MAX, sizeof *fleet->release_devices);
    return fleet;
}

void fleet_free(struct fleet *fleet)
{
    if (!fleet)
        return;
    slots_fini(&fleet->device_slots);
    slots_fini(&fleet->cell_slots);
    chunks_fini(&fleet->rows);
    chunks_fini(&fleet->more);
    chunks_fini(&fleet->texts);
    names_fini(&fleet->channels);
    names_fini(&fleet->releases);
    mem_free(fleet->channel_cells);
    mem_free(fleet->release_devices);
    mem_free(fleet->cells);
    mem_free(fleet);
}

static struct row *row_at(const struct fleet *fleet, uint32_t device)
{
    assert(device < fleet->devices_len);
    struct row *rows = fleet->rows.at[device / ROWS_PER_CHUNK];
    return &rows[device % ROWS_PER_CHUNK];
}

static struct app *app_at(const struct fleet *fleet, struct row *row, size_t i)
{
    if (i < APPS_INLINE)
        return &row->apps[i];
    struct app *block = fleet->more.at[row->more / MORE_PER_CHUNK];
    return &block[(size_t)(row->more % MORE_PER_CHUNK) * APPS_MORE + i - APPS_INLINE];
}

/* Devices. */

static bool same_device(const void *owner, uint32_t id, const void *key)
{
    return strcmp(row_at(owner, id)->name, key) == 0;
}

static uint32_t device_hash(const char *device)
{
    return (uint32_t)rng_hash(0, device, strlen(device));
}

uint32_t fleet_find(const struct fleet *fleet, const char *device)
{
    return slots_find(&fleet->device_slots, device_hash(device), same_device, fleet, device);
}

static const char *keep_text(struct fleet *fleet, const char *text, size_t size)
{
    if (fleet->text_left < size) {
        (void)chunks_add(&fleet->texts, TEXT_CHUNK_BYTES);
        fleet->text_left = TEXT_CHUNK_BYTES;
    }
    char *end = (char *)fleet->texts.at[fleet->texts.len - 1] + TEXT_CHUNK_BYTES;
    char *kept = memcpy(end - fleet->text_left, text, size);
    fleet->text_left -= size;
    return kept;
}

uint32_t fleet_add(struct fleet *fleet, const char *device)
{
    const uint32_t known = fleet_find(fleet, device);
    if (known != FLEET_NONE)
        return known;
    const size_t len = strlen(device);
    if (fleet->devices_len == fleet->devices_max || len > DEVICE_NAME_MAX)
        return FLEET_NONE;
    if (fleet->devices_len % ROWS_PER_CHUNK == 0)
        (void)chunks_add(&fleet->rows, ROWS_PER_CHUNK * sizeof(struct row));
    const uint32_t id = fleet->devices_len++;
    struct row *row = row_at(fleet, id);
    row->name = keep_text(fleet, device, len + 1);
    row->more = FLEET_NONE;
    slots_add(&fleet->device_slots, device_hash(device), id);
    return id;
}

const char *fleet_device_name(const struct fleet *fleet, uint32_t device)
{
    return row_at(fleet, device)->name;
}

/* The wheel: slot s holds how many devices were seen last in the time that s, head - 63 to head,
 * covers. */

static bool wheel_holds(const struct fleet *fleet, const struct row *row)
{
    return row->last_seen_ms > 0 &&
           row->last_seen_ms / fleet->slot_ms > fleet->head - FLEET_SEEN_SLOTS;
}

static uint32_t *wheel_slot(struct fleet *fleet, const struct row *row)
{
    return &fleet->wheel[row->last_seen_ms / fleet->slot_ms % FLEET_SEEN_SLOTS];
}

static void wheel_take(struct fleet *fleet, const struct row *row)
{
    if (!wheel_holds(fleet, row))
        return;
    --*wheel_slot(fleet, row);
    fleet->online--;
}

static void wheel_put(struct fleet *fleet, const struct row *row)
{
    if (!wheel_holds(fleet, row))
        return;
    ++*wheel_slot(fleet, row);
    fleet->online++;
}

static void wheel_forward(struct fleet *fleet, int64_t slot)
{
    for (int i = 0; i < FLEET_SEEN_SLOTS && fleet->head < slot; i++) {
        uint32_t *oldest = &fleet->wheel[++fleet->head % FLEET_SEEN_SLOTS];
        fleet->online -= *oldest;
        *oldest = 0;
    }
    fleet->head = slot;
}

/* The clock was set back: the times of before mean nothing any more, those devices count as seen
 * now. The only scan here, once per step of the clock. */
static void wheel_back(struct fleet *fleet, int64_t now_ms)
{
    memset(fleet->wheel, 0, sizeof fleet->wheel);
    fleet->online = 0;
    fleet->head = now_ms / fleet->slot_ms;
    for (uint32_t i = 0; i < fleet->devices_len; i++) {
        struct row *row = row_at(fleet, i);
        if (row->last_seen_ms > now_ms)
            row->last_seen_ms = now_ms;
        wheel_put(fleet, row);
    }
}

static void wheel_turn(struct fleet *fleet, int64_t now_ms)
{
    const int64_t slot = now_ms / fleet->slot_ms;
    if (slot > fleet->head)
        wheel_forward(fleet, slot);
    else if (slot <= fleet->head - FLEET_SEEN_SLOTS)
        wheel_back(fleet, now_ms);
}

static void see(struct fleet *fleet, struct row *row, int64_t now_ms)
{
    wheel_take(fleet, row);
    row->last_seen_ms = now_ms > 0 ? now_ms : 1;
    if (row->last_seen_ms / fleet->slot_ms > fleet->head)
        wheel_forward(fleet, row->last_seen_ms / fleet->slot_ms);
    wheel_put(fleet, row);
}

void fleet_seen(struct fleet *fleet, uint32_t device, int64_t now_ms)
{
    struct row *row = row_at(fleet, device);
    if (!row->out)
        see(fleet, row, now_ms);
}

/* Cells. */

struct cell_key {
    uint32_t channel;
    uint32_t release;
};

static bool same_cell(const void *owner, uint32_t id, const void *key)
{
    const struct fleet *fleet = owner;
    const struct cell_key *wanted = key;
    return fleet->cells[id].channel == wanted->channel &&
           fleet->cells[id].release == wanted->release;
}

static uint32_t cell_hash(struct cell_key key)
{
    return (uint32_t)rng_hash(0, &key, sizeof key);
}

static uint32_t cell_new(struct fleet *fleet, struct cell_key key)
{
    uint32_t id = fleet->cells_free;
    if (id != FLEET_NONE) {
        fleet->cells_free = fleet->cells[id].next;
    } else {
        if (fleet->cells_len == fleet->cells_cap) {
            const uint32_t cap = fleet->cells_cap ? fleet->cells_cap * 2 : 64;
            fleet->cells = mem_grow(fleet->cells, fleet->cells_cap, cap, sizeof *fleet->cells);
            fleet->cells_cap = cap;
        }
        id = fleet->cells_len++;
    }
    fleet->cells[id] = (struct cell){
        .channel = key.channel, .release = key.release, .next = fleet->channel_cells[key.channel]};
    fleet->channel_cells[key.channel] = id;
    slots_add(&fleet->cell_slots, cell_hash(key), id);
    return id;
}

static void cell_drop_if_empty(struct fleet *fleet, uint32_t id)
{
    struct cell *cell = &fleet->cells[id];
    for (int i = 0; i < FLEET_STATES; i++) {
        if (cell->by_state[i])
            return;
    }
    uint32_t *link = &fleet->channel_cells[cell->channel];
    while (*link != id)
        link = &fleet->cells[*link].next;
    *link = cell->next;
    slots_remove(&fleet->cell_slots, cell_hash((struct cell_key){cell->channel, cell->release}),
                 id);
    cell->next = fleet->cells_free;
    fleet->cells_free = id;
}

static void count_app(struct fleet *fleet, const struct app *app, int by)
{
    const struct cell_key key = {app->channel, app->release};
    uint32_t id = slots_find(&fleet->cell_slots, cell_hash(key), same_cell, fleet, &key);
    if (id == FLEET_NONE)
        id = cell_new(fleet, key);
    fleet->cells[id].by_state[app->state] += (uint32_t)by;
    if (by < 0)
        cell_drop_if_empty(fleet, id);
}

/* Adds (by 1) or takes away (by -1) what a row contributes to the counters. */
static void count_row(struct fleet *fleet, struct row *row, int by)
{
    for (size_t i = 0; i < row->apps_len; i++) {
        const struct app *app = app_at(fleet, row, i);
        count_app(fleet, app, by);
        bool first = true;
        for (size_t j = 0; j < i && first; j++)
            first = app_at(fleet, row, j)->release != app->release;
        if (first)
            fleet->release_devices[app->release] += (uint32_t)by;
    }
}

/* Reports. */

static bool app_same(const struct fleet *fleet, const struct app *app,
                     const struct fleet_app_report *report)
{
    return app->state == report->state && app->generation == report->generation &&
           strcmp(names_text(&fleet->channels, app->channel), report->channel) == 0 &&
           strcmp(names_text(&fleet->releases, app->release), report->release) == 0;
}

/* The order of apps says nothing. Channels of a report are unique, so equal lengths and every app
 * found is equality. */
static bool row_same(const struct fleet *fleet, struct row *row,
                     const struct fleet_app_report *apps, size_t apps_len)
{
    if (!row->reported || row->apps_len != apps_len)
        return false;
    for (size_t i = 0; i < apps_len; i++) {
        bool found = app_same(fleet, app_at(fleet, row, i), &apps[i]);
        for (size_t j = 0; j < apps_len && !found; j++)
            found = app_same(fleet, app_at(fleet, row, j), &apps[i]);
        if (!found)
            return false;
    }
    return true;
}

static bool name_fits(const char *name, size_t max)
{
    return name && memchr(name, '\0', max) != NULL;
}

static bool report_valid(const struct fleet_app_report *apps, size_t apps_len)
{
    if (apps_len > FLEET_APPS_MAX)
        return false;
    for (size_t i = 0; i < apps_len; i++) {
        if (!name_fits(apps[i].channel, CHANNEL_NAME_MAX) || !apps[i].channel[0] ||
            !name_fits(apps[i].release, RELEASE_NAME_MAX) || apps[i].state >= FLEET_STATES)
            return false;
        for (size_t j = 0; j < i; j++) {
            if (strcmp(apps[i].channel, apps[j].channel) == 0)
                return false;
        }
    }
    return true;
}

static void drop_names(struct fleet *fleet, const struct app *app)
{
    names_drop(&fleet->channels, app->channel);
    names_drop(&fleet->releases, app->release);
}

static bool hold_names(struct fleet *fleet, const struct fleet_app_report *report, struct app *ret)
{
    const uint32_t channel = names_hold(&fleet->channels, report->channel);
    const uint32_t release = names_hold(&fleet->releases, report->release);
    if (channel == NAMES_NONE || release == NAMES_NONE) {
        names_drop(&fleet->channels, channel);
        names_drop(&fleet->releases, release);
        return false;
    }
    *ret = (struct app){report->generation, release, (uint16_t)channel, (uint8_t)report->state};
    return true;
}

static bool hold_all(struct fleet *fleet, const struct fleet_app_report *apps, size_t apps_len,
                     struct app *ret)
{
    for (size_t i = 0; i < apps_len; i++) {
        if (hold_names(fleet, &apps[i], &ret[i]))
            continue;
        while (i > 0)
            drop_names(fleet, &ret[--i]);
        return false;
    }
    return true;
}

static void replace_apps(struct fleet *fleet, struct row *row, const struct app *apps,
                         size_t apps_len)
{
    count_row(fleet, row, -1);
    for (size_t i = 0; i < row->apps_len; i++)
        drop_names(fleet, app_at(fleet, row, i));
    if (apps_len > APPS_INLINE && row->more == FLEET_NONE) {
        if (fleet->more_len % MORE_PER_CHUNK == 0)
            (void)chunks_add(&fleet->more, MORE_PER_CHUNK * APPS_MORE * sizeof(struct app));
        row->more = fleet->more_len++;
    }
    row->apps_len = (uint8_t)apps_len;
    for (size_t i = 0; i < apps_len; i++)
        *app_at(fleet, row, i) = apps[i];
    count_row(fleet, row, 1);
}

enum fleet_change fleet_report(struct fleet *fleet, uint32_t device, int64_t now_ms,
                               const struct fleet_app_report *apps, size_t apps_len)
{
    struct row *row = row_at(fleet, device);
    if (row->out || !report_valid(apps, apps_len))
        return FLEET_REFUSED;
    enum fleet_change change = row->reported ? FLEET_SEEN : FLEET_NEW;
    if (!row_same(fleet, row, apps, apps_len)) {
        struct app held[FLEET_APPS_MAX];
        if (!hold_all(fleet, apps, apps_len, held))
            return FLEET_REFUSED;
        replace_apps(fleet, row, held, apps_len);
        if (row->reported)
            change = FLEET_CHANGED;
    }
    row->reported = true;
    wheel_turn(fleet, now_ms > 0 ? now_ms : 1);
    see(fleet, row, now_ms);
    return change;
}

uint64_t fleet_garbage(struct fleet *fleet, uint32_t device)
{
    struct row *row = row_at(fleet, device);
    if (row->garbage < UINT32_MAX)
        row->garbage++;
    fleet->garbage++;
    return row->garbage;
}

void fleet_put_out(struct fleet *fleet, uint32_t device, bool out)
{
    struct row *row = row_at(fleet, device);
    if (row->out == out)
        return;
    fleet->out = out ? fleet->out + 1 : fleet->out - 1;
    row->out = out;
    row->reported = false;
    if (!out)
        return;
    replace_apps(fleet, row, NULL, 0);
    wheel_take(fleet, row);
    row->last_seen_ms = 0;
}

/* Questions. */

bool fleet_is_out(const struct fleet *fleet, uint32_t device)
{
    return row_at(fleet, device)->out;
}

uint32_t fleet_len(const struct fleet *fleet)
{
    return fleet->devices_len;
}

void fleet_row(const struct fleet *fleet, uint32_t device, struct fleet_row *ret)
{
    struct row *row = row_at(fleet, device);
    *ret = (struct fleet_row){
        .last_seen_ms = row->last_seen_ms, .garbage = row->garbage, .apps_len = row->apps_len};
    for (size_t i = 0; i < row->apps_len; i++) {
        const struct app *app = app_at(fleet, row, i);
        ret->apps[i] = (struct fleet_app_report){names_text(&fleet->channels, app->channel),
                                                 names_text(&fleet->releases, app->release),
                                                 app->state, app->generation};
    }
}

void fleet_totals(struct fleet *fleet, int64_t now_ms, struct fleet_totals *ret)
{
    wheel_turn(fleet, now_ms > 0 ? now_ms : 1);
    *ret = (struct fleet_totals){fleet->devices_len - fleet->out, fleet->online, fleet->garbage};
}

bool fleet_online(const struct fleet *fleet, uint32_t device, int64_t now_ms)
{
    const int64_t seen_ms = row_at(fleet, device)->last_seen_ms;
    return seen_ms > 0 && seen_ms / fleet->slot_ms > now_ms / fleet->slot_ms - FLEET_SEEN_SLOTS;
}

size_t fleet_channel_counts(const struct fleet *fleet, const char *channel, struct fleet_count *ret,
                            size_t max)
{
    const uint32_t id = names_find(&fleet->channels, channel);
    size_t len = 0;
    if (id == NAMES_NONE)
        return 0;
    for (uint32_t i = fleet->channel_cells[id]; i != FLEET_NONE; i = fleet->cells[i].next) {
        if (len < max) {
            ret[len].release = names_text(&fleet->releases, fleet->cells[i].release);
            for (int s = 0; s < FLEET_STATES; s++)
                ret[len].by_state[s] = fleet->cells[i].by_state[s];
        }
        len++;
    }
    return len;
}

uint64_t fleet_release_devices(const struct fleet *fleet, const char *release)
{
    const uint32_t id = names_find(&fleet->releases, release);
    return id == NAMES_NONE ? 0 : fleet->release_devices[id];
}

size_t fleet_memory_bytes(const struct fleet *fleet)
{
    return sizeof *fleet + slots_memory_bytes(&fleet->device_slots) +
           slots_memory_bytes(&fleet->cell_slots) + chunks_memory_bytes(&fleet->rows) +
           chunks_memory_bytes(&fleet->more) + chunks_memory_bytes(&fleet->texts) +
           names_memory_bytes(&fleet->channels) + names_memory_bytes(&fleet->releases) +
           fleet->cells_cap * sizeof *fleet->cells +
           FLEET_CHANNELS_MAX * sizeof *fleet->channel_cells +
           FLEET_RELEASES_MAX * sizeof *fleet->release_devices;
}
